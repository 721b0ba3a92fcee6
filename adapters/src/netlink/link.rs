//! Network devices, as far as their queues matter.

use netlink_packet_route::link::{LinkFlags, LinkHeader, State};

use super::wire::{Malformed, attributes, behind, text_of, u32_of};

/// Bytes of a link message's header.
const HEADER: usize = 16;
/// Longest name (IFNAMSIZ - 1).
const LONGEST_NAME: usize = 15;

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it is called now.
    pub name: String,
    /// The kernel's number for it, which stays when the name changes.
    pub index: u32,
    /// Largest packet without the header of the link layer.
    pub mtu_bytes: u32,
    /// Whether it has been switched on (`ip link set up`).
    pub is_up: bool,
    /// Whether packets pass.
    pub operation: Operation,
    /// Packets that may wait in queues that are made without a limit of their own (txqueuelen).
    pub queue_packets: u32,
    /// `veth`, `bridge` and so on; devices without a driver of that sort have none.
    pub kind: Option<String>,
    /// A text that the operator has attached.
    pub alias: Option<String>,
}

/// Whether packets pass (RFC 2863, ifOperStatus).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// They do.
    Up,
    /// They do not.
    Down,
    /// The device does not say; loopback and taps are that way.
    Unknown,
}

impl Link {
    /// Whether the kernel could have a device of that name.
    pub(super) fn may_be_called(name: &str) -> bool {
        (1..=LONGEST_NAME).contains(&name.len()) && !name.contains(['\0', '/'])
    }

    /// Reads RTM_NEWLINK (linux/if_link.h).
    pub(super) fn read(payload: &[u8]) -> Result<Link, Malformed> {
        const NAME: u16 = 3;
        const MTU: u16 = 4;
        const QUEUE: u16 = 13;
        const OPERATION: u16 = 16;
        const INFO: u16 = 18;
        const INFO_KIND: u16 = 1;
        const ALIAS: u16 = 20;
        let header = LinkHeader::parse(payload).map_err(|error| Malformed(error.to_string()))?;
        let mut name = None;
        let mut link = Link {
            name: String::new(),
            index: header.index,
            mtu_bytes: 0,
            is_up: header.flags.contains(LinkFlags::Up),
            operation: Operation::Unknown,
            queue_packets: 0,
            kind: None,
            alias: None,
        };
        for attribute in attributes(behind(payload, HEADER)?) {
            let (kind, value) = attribute?;
            match kind {
                NAME => name = Some(text_of(value)?),
                MTU => link.mtu_bytes = u32_of(value)?,
                QUEUE => link.queue_packets = u32_of(value)?,
                OPERATION => link.operation = operation(value.first().copied().unwrap_or_default()),
                ALIAS => link.alias = Some(text_of(value)?),
                INFO => {
                    for attribute in attributes(value) {
                        if let (INFO_KIND, value) = attribute? {
                            link.kind = Some(text_of(value)?);
                        }
                    }
                }
                _ => {}
            }
        }
        link.name = name.ok_or_else(|| Malformed("a device without a name".to_owned()))?;
        Ok(link)
    }
}

fn operation(number: u8) -> Operation {
    match State::from(number) {
        State::Up => Operation::Up,
        State::Unknown => Operation::Unknown,
        _ => Operation::Down,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_no_device_can_have() {
        for name in ["", "0123456789abcdef", "a/b", "a\0"] {
            assert!(!Link::may_be_called(name), "{name}");
        }
        assert!(Link::may_be_called("0123456789abcde"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Link::read(&bytes);
        }
    }
}
