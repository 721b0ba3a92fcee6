//! What a machine has used, as counted by its hypervisor since it runs. What was not counted is `None`, never zero.

use std::collections::BTreeMap;

use forebay_world::{Bytes, Duration};

/// One machine's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineStatistics {
    /// Time of processors, all of them together.
    pub processor_time: Option<Duration>,
    /// Memory that it has.
    pub memory_assigned: Option<Bytes>,
    /// Memory that it uses; unknown until the guest's balloon driver reports.
    pub memory_used: Option<Bytes>,
    /// Interfaces, by the name of their port.
    pub interfaces: BTreeMap<String, InterfaceStatistics>,
    /// Disks, by the name of their device.
    pub disks: BTreeMap<String, DiskStatistics>,
}

/// One interface's counters, as the machine sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceStatistics {
    /// Bytes that came to it.
    pub received_bytes: u64,
    /// Packets that came to it.
    pub received_packets: u64,
    /// Packets that should have come to it.
    pub received_dropped: u64,
    /// Bytes that it sent.
    pub sent_bytes: u64,
    /// Packets that it sent.
    pub sent_packets: u64,
    /// Packets that it sent and nobody took.
    pub sent_dropped: u64,
}

/// One disk's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStatistics {
    /// Bytes read.
    pub read_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Writes.
    pub writes: u64,
}
