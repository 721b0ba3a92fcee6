//! Handles: how queueing disciplines and classes are named.

use std::fmt;
use std::str::FromStr;

/// A handle `MAJOR:MINOR`, both hexadecimal in text as tc writes them.
///
/// A discipline has minor 0 (`1:`), a class the major of its discipline. `fff1:` and above are kept by the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    /// The discipline.
    pub major: u16,
    /// The class in it, or 0.
    pub minor: u16,
}

impl Handle {
    /// The parent of a device's root discipline.
    pub const ROOT: Handle = Handle { major: 0xffff, minor: 0xffff };
    /// No handle.
    pub const NONE: Handle = Handle { major: 0, minor: 0 };

    /// `major:minor`.
    pub const fn new(major: u16, minor: u16) -> Handle {
        Handle { major, minor }
    }

    /// The handle as the kernel has it.
    pub const fn to_bits(self) -> u32 {
        (self.major as u32) << 16 | self.minor as u32
    }

    /// The handle from what the kernel has.
    pub const fn from_bits(bits: u32) -> Handle {
        Handle { major: (bits >> 16) as u16, minor: bits as u16 }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Handle::ROOT => f.write_str("root"),
            Handle::NONE => f.write_str("none"),
            Handle { major, minor: 0 } => write!(f, "{major:x}:"),
            Handle { major, minor } => write!(f, "{major:x}:{minor:x}"),
        }
    }
}

/// A text that is no handle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no handle such as 1: or 1:10 (hexadecimal), root or none")]
pub struct HandleError(String);

impl FromStr for Handle {
    type Err = HandleError;

    /// Reads `1:`, `1:10`, `root` or `none`.
    fn from_str(text: &str) -> Result<Handle, HandleError> {
        let number = |digits: &str| match digits {
            "" => Some(0),
            _ if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => u16::from_str_radix(digits, 16).ok(),
            _ => None,
        };
        let read = match text {
            "root" => Some(Handle::ROOT),
            "none" => Some(Handle::NONE),
            _ => text
                .split_once(':')
                .filter(|(major, _)| !major.is_empty())
                .and_then(|(major, minor)| Some(Handle::new(number(major)?, number(minor)?))),
        };
        read.ok_or_else(|| HandleError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn handles_are_hexadecimal_as_in_tc() {
        let check = |text: &str, major, minor| {
            assert_eq!(text.parse(), Ok(Handle::new(major, minor)));
            assert_eq!(Handle::new(major, minor).to_string(), text);
        };
        check("1:", 1, 0);
        check("1:10", 1, 16);
        check("f00d:abc", 0xf00d, 0xabc);
        check("root", 0xffff, 0xffff);
        for text in ["", ":", ":1", "1", "1:x", "10000:", "+1:", "1:-1"] {
            assert_eq!(text.parse::<Handle>(), Err(HandleError(text.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn a_handle_is_read_as_it_was_written(bits: u32) {
            let handle = Handle::from_bits(bits);
            prop_assert_eq!(handle.to_bits(), bits);
            prop_assert_eq!(handle.to_string().parse(), Ok(handle));
        }
    }
}
