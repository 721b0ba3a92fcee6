//! Counters of a queueing discipline or class.

use super::wire::{Malformed, attributes, u32_at, u64_of};

/// What has gone through, and what waits.
///
/// Counters live as long as their object: a change keeps them, an object made anew begins at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes sent on, with the headers of the link layer.
    pub bytes: u64,
    /// Packets sent on.
    pub packets: u64,
    /// Packets dropped.
    pub drops: u64,
    /// Times a packet had to wait for its rate.
    pub overlimits: u64,
    /// Packets handed back by the device.
    pub requeues: u64,
    /// Bytes waiting now.
    pub backlog_bytes: u64,
    /// Packets waiting now.
    pub backlog_packets: u64,
}

impl Statistics {
    /// Reads what is nested in TCA_STATS2 (linux/gen_stats.h).
    pub(super) fn read(bytes: &[u8]) -> Result<Statistics, Malformed> {
        const BASIC: u16 = 1;
        const QUEUE: u16 = 3;
        const PACKETS_64: u16 = 8;
        let mut statistics = Statistics::default();
        let mut packets_64 = None;
        for attribute in attributes(bytes) {
            let (kind, value) = attribute?;
            let field = |at| u32_at(value, at).map(u64::from);
            match kind {
                BASIC => {
                    let bytes = value.get(..8).ok_or_else(|| Malformed("short statistics".to_owned()))?;
                    statistics.bytes = u64_of(bytes)?;
                    statistics.packets = field(8)?;
                }
                QUEUE => {
                    statistics.backlog_packets = field(0)?;
                    statistics.backlog_bytes = field(4)?;
                    statistics.drops = field(8)?;
                    statistics.requeues = field(12)?;
                    statistics.overlimits = field(16)?;
                }
                PACKETS_64 => packets_64 = Some(u64_of(value)?),
                _ => {}
            }
        }
        // Sent only once 32 bits do not hold the count any more.
        statistics.packets = packets_64.unwrap_or(statistics.packets);
        Ok(statistics)
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::emitted;
    use super::*;
    use netlink_packet_core::DefaultNla;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counters_are_read_as_the_kernel_writes_them(bytes: u64, packets: u32, queue: [u32; 5], more: Option<u64>) {
            let basic = [&bytes.to_ne_bytes()[..], &packets.to_ne_bytes(), &[0; 4]].concat();
            let mut written =
                vec![DefaultNla::new(1, basic), DefaultNla::new(3, queue.map(u32::to_ne_bytes).concat())];
            written.extend(more.map(|packets| DefaultNla::new(8, packets.to_ne_bytes().to_vec())));
            let [qlen, backlog, drops, requeues, overlimits] = queue.map(u64::from);
            let want = Statistics {
                bytes,
                packets: more.unwrap_or(packets.into()),
                drops,
                overlimits,
                requeues,
                backlog_bytes: backlog,
                backlog_packets: qlen,
            };
            prop_assert_eq!(Statistics::read(&emitted(&written)), Ok(want));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Statistics::read(&bytes);
        }
    }
}
