//! Queueing disciplines of a device.

use super::handle::Handle;
use super::htb::{self, Htb};
use super::statistics::Statistics;
use super::wire::{Malformed, u32_at};

const PFIFO: &str = "pfifo";

/// A queueing discipline: where it stands, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qdisc {
    /// [`Handle::ROOT`], or the class whose packets wait in it.
    pub parent: Handle,
    /// Its own name, `MAJOR:`; the kernel chooses for [`Handle::NONE`].
    pub handle: Handle,
    /// What it does.
    pub kind: QdiscKind,
}

/// What a queueing discipline does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QdiscKind {
    /// Hierarchical token buckets.
    Htb(Htb),
    /// First in, first out.
    Pfifo {
        /// Packets that may wait.
        limit_packets: u32,
    },
    /// Anything else, which is seen but never made.
    Other(String),
}

impl Qdisc {
    /// An HTB discipline at a device's root, `major:`, whose class `major:default_minor` takes what no filter matches.
    ///
    /// The device's queue length has to be set before: disciplines take it over as they are made, and never again.
    pub fn htb(major: u16, default_minor: u16) -> Qdisc {
        let kind = QdiscKind::Htb(Htb { default_minor, direct_packets: None });
        Qdisc { parent: Handle::ROOT, handle: Handle::new(major, 0), kind }
    }

    /// A queue for a class.
    pub fn pfifo(class: Handle, major: u16, limit_packets: u32) -> Qdisc {
        Qdisc { parent: class, handle: Handle::new(major, 0), kind: QdiscKind::Pfifo { limit_packets } }
    }

    /// The name of the kind.
    pub fn name(&self) -> &str {
        match &self.kind {
            QdiscKind::Htb(_) => htb::KIND,
            QdiscKind::Pfifo { .. } => PFIFO,
            QdiscKind::Other(name) => name,
        }
    }

    /// Options as bytes, `None` for kinds that are not made here.
    pub(super) fn write(&self) -> Option<Vec<u8>> {
        match &self.kind {
            QdiscKind::Htb(htb) => Some(htb.write()),
            QdiscKind::Pfifo { limit_packets } => Some(limit_packets.to_ne_bytes().to_vec()),
            QdiscKind::Other(_) => None,
        }
    }
}

impl QdiscKind {
    pub(super) fn read(name: String, options: Option<&[u8]>) -> Result<QdiscKind, Malformed> {
        let none = || Malformed(format!("{name} without its options"));
        Ok(match name.as_str() {
            htb::KIND => QdiscKind::Htb(Htb::read(options.ok_or_else(none)?)?),
            PFIFO => QdiscKind::Pfifo { limit_packets: u32_at(options.ok_or_else(none)?, 0)? },
            _ => QdiscKind::Other(name),
        })
    }
}

/// A queueing discipline as it is on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenQdisc {
    /// What it is.
    pub qdisc: Qdisc,
    /// Counters.
    pub statistics: Statistics,
}
