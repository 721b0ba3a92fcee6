//! What the kernel can have against a request, said with the device and the object that it was about.

use std::io;

/// A request that was not carried out, or an answer that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket could not be opened, written or read. Requests sent before may or may not have been carried out:
    /// read back what is there.
    #[error("netlink: cannot {what}: {source}")]
    Socket {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// There is no such device in the network namespace of the thread that opened the socket.
    #[error("{subject}: no such device in this network namespace")]
    NoSuchDevice {
        /// What the request was about.
        subject: String,
    },
    /// The process may not do this.
    #[error("{subject}: not permitted: needs CAP_NET_ADMIN in the device's network namespace")]
    NotPermitted {
        /// What the request was about.
        subject: String,
    },
    /// The kernel refused.
    #[error("{subject}: {}{}", io::Error::from_raw_os_error(*errno), said(message.as_deref()))]
    Refused {
        /// What the request was about.
        subject: String,
        /// The kernel's error number.
        errno: i32,
        /// The kernel's own words (extended acknowledgement), where it has some.
        message: Option<String>,
    },
    /// A request that cannot be meant; nothing was sent.
    #[error("{subject}: {what}")]
    Invalid {
        /// What the request was about.
        subject: String,
        /// What is wrong with it, and what is allowed.
        what: String,
    },
    /// What was listed kept changing while it was read.
    #[error("{subject}: changed during each of {tries} readings; try again when it is quieter")]
    Interrupted {
        /// What was listed.
        subject: String,
        /// Readings.
        tries: u32,
    },
    /// The kernel's answer is not what the protocol says.
    #[error("{subject}: the kernel's answer cannot be read: {what}")]
    Malformed {
        /// What was asked.
        subject: String,
        /// What is wrong with the answer.
        what: String,
    },
}

fn said(message: Option<&str>) -> String {
    message.map_or_else(String::new, |message| format!(": {message}"))
}

impl NetlinkError {
    /// The error for what the kernel answered.
    pub(super) fn from_errno(subject: &str, errno: i32, message: Option<String>) -> NetlinkError {
        let subject = subject.to_owned();
        let permission = [rustix::io::Errno::PERM, rustix::io::Errno::ACCESS];
        if errno == rustix::io::Errno::NODEV.raw_os_error() {
            NetlinkError::NoSuchDevice { subject }
        } else if permission.iter().any(|known| known.raw_os_error() == errno) {
            NetlinkError::NotPermitted { subject }
        } else {
            NetlinkError::Refused { subject, errno, message }
        }
    }

    /// Whether what the request was about is not there: the device, or the object on it. To delete it is then done.
    ///
    /// The kernel says ENOENT of a class or filter, and EINVAL with words of its own of a parent discipline that is
    /// not there; only the first is taken for absence.
    pub fn is_absent(&self) -> bool {
        match self {
            NetlinkError::NoSuchDevice { .. } => true,
            NetlinkError::Refused { errno, .. } => *errno == rustix::io::Errno::NOENT.raw_os_error(),
            _ => false,
        }
    }

    /// Whether something of that name is there already.
    pub fn is_present_already(&self) -> bool {
        matches!(self, NetlinkError::Refused { errno, .. } if *errno == rustix::io::Errno::EXIST.raw_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_object_and_the_remedy() {
        let text = |errno, message: Option<&str>| {
            NetlinkError::from_errno("class 1:10 of eth0", errno, message.map(str::to_owned)).to_string()
        };
        assert_eq!(text(19, None), "class 1:10 of eth0: no such device in this network namespace");
        assert!(text(1, None).contains("needs CAP_NET_ADMIN"));
        assert_eq!(text(17, None), "class 1:10 of eth0: File exists (os error 17)");
        assert!(text(22, Some("Invalid handle")).ends_with("(os error 22): Invalid handle"));
        assert!(NetlinkError::from_errno("x", 2, None).is_absent());
        assert!(NetlinkError::from_errno("x", 17, None).is_present_already());
    }
}
