//! Whether queues have changed while they were being listed.
//!
//! A list that does not fit into one datagram comes in pieces, and the kernel goes on by counting: when something is
//! removed between two pieces, something else is passed over. For links it says so (NLM_F_DUMP_INTR), for disciplines,
//! classes and filters it does not. What it does say, to whoever has joined the group, is every change, and it says it
//! before the change is over: when nothing has been said by the end of a list, the list is whole.

use std::io;

use netlink_packet_route::tc::TcHeader;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;

use super::error::NetlinkError;
use super::wire::messages;

/// Groups of changes (RTNLGRP_LINK, RTNLGRP_TC).
const LINKS: u32 = 1;
const TRAFFIC_CONTROL: u32 = 4;
/// Types of link messages (RTM_NEWLINK to RTM_SETLINK).
const LINK_MESSAGES: std::ops::RangeInclusive<u16> = 16..=19;
/// Room for a datagram.
const DATAGRAM_BYTES: usize = 64 * 1024;

/// A socket that hears of changes, between [`Monitor::begin`] and [`Monitor::end`].
#[derive(Debug)]
pub(super) struct Monitor {
    socket: Socket,
    received: Vec<u8>,
}

/// Which changes count.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope {
    /// Those to the queues of one device, by index.
    Device(u32),
    /// Those to any device and its queues.
    Any,
}

impl Monitor {
    pub(super) fn open() -> Result<Monitor, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(fail("open a socket"))?;
        socket.bind_auto().map_err(fail("bind"))?;
        socket.set_non_blocking(true).map_err(fail("make a socket non-blocking"))?;
        Ok(Monitor { socket, received: Vec::with_capacity(DATAGRAM_BYTES) })
    }

    /// Hears from now on.
    pub(super) fn begin(&mut self) -> Result<(), NetlinkError> {
        // What a list that failed has left.
        self.heard(Scope::Any)?;
        for group in [TRAFFIC_CONTROL, LINKS] {
            self.socket.add_membership(group).map_err(fail("listen to changes"))?;
        }
        Ok(())
    }

    /// Hears no longer; whether something has changed since the begin.
    pub(super) fn end(&mut self, scope: Scope) -> Result<bool, NetlinkError> {
        for group in [TRAFFIC_CONTROL, LINKS] {
            self.socket.drop_membership(group).map_err(fail("listen to changes no longer"))?;
        }
        self.heard(scope)
    }

    fn heard(&mut self, scope: Scope) -> Result<bool, NetlinkError> {
        let mut changed = false;
        loop {
            self.received.clear();
            match self.socket.recv(&mut self.received, 0) {
                Ok(_) => changed |= is_about(&self.received, scope),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(changed),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // More was said than there was room for.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => changed = true,
                Err(error) => return Err(fail("receive")(error)),
            }
        }
    }
}

/// Whether a datagram tells of a change in the scope; one that cannot be read may.
fn is_about(datagram: &[u8], scope: Scope) -> bool {
    let Scope::Device(index) = scope else { return true };
    messages(datagram).any(|message| match message {
        Ok(message) if LINK_MESSAGES.contains(&message.kind) => false,
        Ok(message) => TcHeader::parse(message.payload).is_ok_and(|header| u32::try_from(header.index) == Ok(index)),
        Err(_) => true,
    })
}

fn fail(what: &'static str) -> impl FnOnce(io::Error) -> NetlinkError {
    move |source| NetlinkError::Socket { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_where_it_is() {
        let message = |kind: u16, index: i32| {
            let mut bytes = 36_u32.to_ne_bytes().to_vec();
            bytes.extend([kind, 0].map(u16::to_ne_bytes).concat());
            bytes.extend([0; 12]);
            bytes.extend(index.to_ne_bytes());
            bytes.extend([0; 12]);
            bytes
        };
        let (class, link) = (message(40, 7), message(16, 7));
        assert!(is_about(&class, Scope::Device(7)));
        assert!(!is_about(&class, Scope::Device(8)));
        assert!(!is_about(&link, Scope::Device(7)));
        assert!(is_about(&[link, class].concat(), Scope::Device(7)));
        assert!(is_about(&message(16, 7), Scope::Any));
        assert!(is_about(&[1, 2, 3], Scope::Device(7)));
    }
}
