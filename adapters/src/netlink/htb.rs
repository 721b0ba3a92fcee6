//! Hierarchical token buckets: the options of the discipline and of its classes, and their bytes (linux/pkt_sched.h).

use forebay_world::BitsPerSecond;
use netlink_packet_core::DefaultNla;

use super::handle::Handle;
use super::statistics::Statistics;
use super::wire::{Malformed, attributes, emitted, u32_at, u32_of, u64_of};

/// The kind of discipline and classes.
pub(super) const KIND: &str = "htb";

const PARAMETERS: u16 = 1;
const INIT: u16 = 2;
const DIRECT_QUEUE: u16 = 5;
const RATE_64: u16 = 6;
const CEIL_64: u16 = 7;

/// The version of the options that the kernel speaks.
const VERSION: u32 = 3;
/// Least priority (TC_HTB_NUMPRIO - 1); the kernel takes more for this.
const LAST_PRIORITY: u32 = 7;
/// A frame as iproute2 reckons it for bursts: a MTU of 1,500 bytes and room for headers.
const FRAME_BYTES: u64 = 1600;
/// A rate table is not needed, since the kernel reckons with frames as they are (TC_LINKLAYER_ETHERNET).
const ETHERNET: u8 = 1;
/// Nanoseconds of the kernel's unit of time in bursts (PSCHED_SHIFT).
const TICK_NS: u64 = 64;

/// The options of an HTB discipline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Htb {
    /// Minor of the class that takes what no filter matches. When there is no such class, or 0, that traffic is not
    /// limited at all.
    pub default_minor: u16,
    /// Packets that may wait outside any class; `None` takes the device's queue length at the moment of making.
    pub direct_packets: Option<u32>,
}

impl Htb {
    pub(super) fn write(&self) -> Vec<u8> {
        // The quotient of rate and default quantum, which tc sets to 10 too; classes here bring a quantum of their own.
        let rate_to_quantum = 10;
        let global = [VERSION, rate_to_quantum, u32::from(self.default_minor), 0, 0].map(u32::to_ne_bytes).concat();
        let mut written = vec![DefaultNla::new(INIT, global)];
        written.extend(self.direct_packets.map(|packets| number(DIRECT_QUEUE, packets)));
        emitted(&written)
    }

    pub(super) fn read(options: &[u8]) -> Result<Htb, Malformed> {
        let (mut default_minor, mut direct_packets) = (None, None);
        for attribute in attributes(options) {
            match attribute? {
                (INIT, value) => default_minor = Some(u32_at(value, 8)? as u16),
                (DIRECT_QUEUE, value) => direct_packets = Some(u32_of(value)?),
                _ => {}
            }
        }
        let default_minor = default_minor.ok_or_else(|| Malformed("htb without its options".to_owned()))?;
        Ok(Htb { default_minor, direct_packets })
    }
}

/// A time for which a class may send beyond its rate, in the kernel's ticks of 64 ns.
///
/// The kernel keeps bursts as times, so bytes become ticks and back with a loss below one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Burst {
    /// Ticks of 64 ns; at most 274 s.
    pub ticks: u32,
}

impl Burst {
    /// The time that `bytes` take at a rate, as tc would round it: down.
    pub fn of_bytes(bytes: u64, rate_bytes_per_s: u64) -> Burst {
        let ticks = u128::from(bytes) * 1_000_000_000 / u128::from(rate_bytes_per_s.max(1)) / u128::from(TICK_NS);
        Burst { ticks: u32::try_from(ticks).unwrap_or(u32::MAX) }
    }

    /// Bytes at a rate, to the nearest.
    pub fn bytes(self, rate_bytes_per_s: u64) -> u64 {
        let nanoseconds = u128::from(self.ticks) * u128::from(TICK_NS);
        let bytes = (nanoseconds * u128::from(rate_bytes_per_s) + 500_000_000) / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// What iproute2 gives when it is told nothing, rate/HZ + a frame, with HZ = 1000 and at least four frames.
    ///
    /// iproute2 itself takes the resolution of the kernel's timers for HZ, 1 GHz today, and so comes to one frame
    /// whatever the rate. Yet the discipline is woken late on a busy machine, and what a class could have sent in the
    /// meantime is lost when its burst does not hold it. Over any time t a class sends at most ceil × t + its burst.
    pub fn usual(rate_bytes_per_s: u64) -> Burst {
        let bytes = (rate_bytes_per_s / 1000 + FRAME_BYTES).max(4 * FRAME_BYTES);
        Burst::of_bytes(bytes, rate_bytes_per_s)
    }
}

/// A class of an HTB discipline: what it is guaranteed, and what it may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HtbClass {
    /// The class from which it borrows, or the discipline (`1:`), whose classes borrow from nobody. A class that is not
    /// there the kernel takes for the discipline, without a word.
    pub parent: Handle,
    /// Its own name.
    pub handle: Handle,
    /// Guaranteed rate in bytes per second, link layer headers included, checksums and gaps of Ethernet not. At least 1.
    ///
    /// Guarantees hold as long as those of one parent do not exceed its own; the kernel does not check.
    pub rate_bytes_per_s: u64,
    /// Rate up to which it may borrow, in bytes per second; at least the rate.
    pub ceil_bytes_per_s: u64,
    /// From 0, served first with what is left over, to 7. Guarantees come before priorities.
    pub priority: u32,
    /// Bytes that it may borrow before the next class of its priority has its turn: at least a frame.
    pub quantum_bytes: u32,
    /// Time of sending at line rate within the guarantee.
    pub burst: Burst,
    /// Time of sending at line rate within the ceiling.
    pub ceil_burst: Burst,
}

impl HtbClass {
    /// A class with the usual bursts, priority 0 and a quantum of a tenth of a second of its rate, within a frame and
    /// 200,000 bytes (the kernel's limits). Rates are rounded up to whole bytes, and the ceiling is at least the rate.
    pub fn new(parent: Handle, handle: Handle, rate: BitsPerSecond, ceil: BitsPerSecond) -> HtbClass {
        let rate_bytes_per_s = rate.0.div_ceil(8).max(1);
        let ceil_bytes_per_s = ceil.0.div_ceil(8).max(rate_bytes_per_s);
        HtbClass {
            parent,
            handle,
            rate_bytes_per_s,
            ceil_bytes_per_s,
            priority: 0,
            quantum_bytes: (rate_bytes_per_s / 10).clamp(FRAME_BYTES, 200_000) as u32,
            burst: Burst::usual(rate_bytes_per_s),
            ceil_burst: Burst::usual(ceil_bytes_per_s),
        }
    }

    /// The class with another priority, 0 to 7.
    pub fn with_priority(self, priority: u32) -> HtbClass {
        HtbClass { priority, ..self }
    }

    /// Guaranteed rate.
    pub fn rate(&self) -> BitsPerSecond {
        BitsPerSecond(self.rate_bytes_per_s.saturating_mul(8))
    }

    /// Rate up to which it may borrow.
    pub fn ceil(&self) -> BitsPerSecond {
        BitsPerSecond(self.ceil_bytes_per_s.saturating_mul(8))
    }

    /// What cannot be meant, said; the kernel refuses some of it without a word and mends the rest unasked.
    pub(super) fn fault(&self) -> Option<String> {
        let ceil_too_low = self.ceil_bytes_per_s < self.rate_bytes_per_s;
        let foreign = self.parent.major != self.handle.major || self.parent == self.handle || self.handle.minor == 0;
        let checks: [(bool, &str); 5] = [
            (foreign, "a parent that it cannot have; allowed: the discipline or another class of the same discipline"),
            (self.rate_bytes_per_s == 0, "rate 0; allowed: at least 1 byte/s"),
            (ceil_too_low, "a ceiling below the rate; allowed: at least the rate"),
            (self.priority > LAST_PRIORITY, "a priority beyond 7; allowed: 0 to 7"),
            (
                self.quantum_bytes == 0 || self.quantum_bytes > i32::MAX as u32,
                "a quantum that is 0 or beyond 2,147,483,647; allowed: from one frame up",
            ),
        ];
        checks.iter().find(|(wrong, _)| *wrong).map(|(_, what)| (*what).to_owned())
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut parameters = [rate_bytes(self.rate_bytes_per_s), rate_bytes(self.ceil_bytes_per_s)].concat();
        let level = 0;
        let rest = [self.burst.ticks, self.ceil_burst.ticks, self.quantum_bytes, level, self.priority];
        parameters.extend(rest.map(u32::to_ne_bytes).concat());
        let mut written = Vec::new();
        for (kind, rate) in [(RATE_64, self.rate_bytes_per_s), (CEIL_64, self.ceil_bytes_per_s)] {
            if u32::try_from(rate).is_err() {
                written.push(DefaultNla::new(kind, rate.to_ne_bytes().to_vec()));
            }
        }
        written.push(DefaultNla::new(PARAMETERS, parameters));
        emitted(&written)
    }

    /// Reads the options of a class whose names are known from the message's header.
    pub(super) fn read(parent: Handle, handle: Handle, options: &[u8]) -> Result<HtbClass, Malformed> {
        let (mut parameters, mut rate_64, mut ceil_64) = (None, None, None);
        for attribute in attributes(options) {
            match attribute? {
                (PARAMETERS, value) => parameters = Some(value),
                (RATE_64, value) => rate_64 = Some(u64_of(value)?),
                (CEIL_64, value) => ceil_64 = Some(u64_of(value)?),
                _ => {}
            }
        }
        let parameters = parameters.ok_or_else(|| Malformed("a class without its options".to_owned()))?;
        let field = |at| u32_at(parameters, at);
        Ok(HtbClass {
            // The kernel gives the root as the parent of those that are the discipline's own.
            parent: if parent == Handle::ROOT { Handle::new(handle.major, 0) } else { parent },
            handle,
            rate_bytes_per_s: rate_64.unwrap_or(field(8)?.into()),
            ceil_bytes_per_s: ceil_64.unwrap_or(field(20)?.into()),
            burst: Burst { ticks: field(24)? },
            ceil_burst: Burst { ticks: field(28)? },
            quantum_bytes: field(32)?,
            priority: field(40)?,
        })
    }
}

/// A `tc_ratespec` for Ethernet without overhead. What 32 bits do not hold is said beside it.
fn rate_bytes(rate_bytes_per_s: u64) -> Vec<u8> {
    let rate = u32::try_from(rate_bytes_per_s).unwrap_or(u32::MAX);
    // Cell size, link layer, overhead, cell alignment and least packet.
    [&[0, ETHERNET, 0, 0, 0, 0, 0, 0], &rate.to_ne_bytes()[..]].concat()
}

fn number(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_ne_bytes().to_vec())
}

/// A class as it is on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenClass {
    /// What was asked for, in the kernel's words.
    pub class: HtbClass,
    /// The discipline in which packets of the class wait, [`Handle::NONE`] of an inner class.
    pub leaf: Handle,
    /// Counters.
    pub statistics: Statistics,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn class() -> impl Strategy<Value = HtbClass> {
        let rate = prop_oneof![any::<u64>(), 0..=u64::from(u32::MAX), Just(u64::from(u32::MAX) + 1)];
        (any::<(u32, u32, u32, u32, u32, u32)>(), rate.clone(), rate).prop_map(|(numbers, rate, ceil)| HtbClass {
            parent: Handle::new(1, numbers.0 as u16),
            handle: Handle::new(1, numbers.1 as u16),
            rate_bytes_per_s: rate,
            ceil_bytes_per_s: ceil,
            priority: numbers.2,
            quantum_bytes: numbers.3,
            burst: Burst { ticks: numbers.4 },
            ceil_burst: Burst { ticks: numbers.5 },
        })
    }

    proptest! {
        #[test]
        fn a_class_is_read_as_it_was_written(class in class()) {
            prop_assert_eq!(HtbClass::read(class.parent, class.handle, &class.write()), Ok(class));
        }

        #[test]
        fn a_discipline_is_read_as_it_was_written(default_minor: u16, direct_packets: Option<u32>) {
            let htb = Htb { default_minor, direct_packets };
            prop_assert_eq!(Htb::read(&htb.write()), Ok(htb));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Htb::read(&bytes);
            let _ = HtbClass::read(Handle::ROOT, Handle::NONE, &bytes);
        }

        #[test]
        fn a_new_class_is_fit_to_be_sent(rate: u64, ceil: u64, priority in 0_u32..8) {
            let class = HtbClass::new(Handle::new(1, 0), Handle::new(1, 1), BitsPerSecond(rate), BitsPerSecond(ceil));
            prop_assert_eq!(class.with_priority(priority).fault(), None);
            // Nothing that was promised is rounded away, and less than a byte per second is added.
            prop_assert!(u128::from(class.rate_bytes_per_s) * 8 >= u128::from(rate));
            prop_assert!(u128::from(class.rate_bytes_per_s) * 8 < u128::from(rate) + 9);
        }

        #[test]
        fn a_burst_in_bytes_comes_back_within_a_tick(bytes in 1_u64..1_000_000, rate in 1_000_u64..10_000_000_000) {
            let back = Burst::of_bytes(bytes, rate).bytes(rate);
            let tick_bytes = rate * TICK_NS / 1_000_000_000 + 1;
            prop_assert!(back.abs_diff(bytes) <= tick_bytes, "{back} {bytes}");
        }
    }

    #[test]
    fn a_burst_holds_at_least_four_frames_and_a_millisecond() {
        for (mbit, least) in [(1, 6400), (10, 6400), (100, 14_000), (10_000, 1_250_000)] {
            let rate = mbit * 125_000;
            let bytes = Burst::usual(rate).bytes(rate);
            assert!(bytes + 100 >= least && bytes < least + 2 * FRAME_BYTES, "{mbit} Mbit/s: {bytes}");
        }
        // The longest that the kernel can express, for a rate so small that the burst takes an hour.
        assert_eq!(Burst::usual(1), Burst { ticks: u32::MAX });
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let good = HtbClass::new(Handle::new(1, 0), Handle::new(1, 1), BitsPerSecond(8), BitsPerSecond(80));
        let check = |class: HtbClass, word: &str| assert!(class.fault().unwrap().contains(word), "{class:?}");
        check(HtbClass { rate_bytes_per_s: 0, ..good }, "rate 0");
        check(HtbClass { ceil_bytes_per_s: 0, ..good }, "ceiling");
        check(good.with_priority(8), "priority");
        check(HtbClass { quantum_bytes: 0, ..good }, "quantum");
        check(HtbClass { parent: good.handle, ..good }, "parent");
        check(HtbClass { parent: Handle::ROOT, ..good }, "parent");
    }
}
