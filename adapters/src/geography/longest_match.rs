//! Longest-prefix match over a table that does not change: nested prefixes flattened into neighbouring ranges, found
//! by bisection.

use std::collections::BTreeMap;
use std::net::IpAddr;

use forebay_world::RegionId;

use crate::prefix::Prefix;

/// Ranges of IPv4 and of IPv6 addresses.
#[derive(Default)]
pub(super) struct LongestMatch {
    v4: RangesV4,
    v6: Vec<Range>,
}

/// From `first` up to the next range.
struct Range {
    first: u128,
    region: Option<RegionId>,
}

/// Ranges of IPv4 addresses, with the places where those of each /16 begin: a large table is looked up in the few
/// ranges of one /16, which lie together in the cache.
#[derive(Default)]
struct RangesV4 {
    firsts: Vec<u32>,
    regions: Vec<Option<RegionId>>,
    /// By upper half of the address, and one more; empty for a small table.
    begins: Vec<u32>,
}

impl RangesV4 {
    /// Ranges from which on the begins are worth their 256 KiB; few in tests, so that both ways are tried.
    const LARGE: usize = if cfg!(test) { 8 } else { 64 };

    fn new(ranges: Vec<Range>) -> RangesV4 {
        // All firsts are below 2^32: the end of the last address has no range.
        let (firsts, regions): (Vec<u32>, Vec<_>) =
            ranges.into_iter().filter_map(|range| Some((u32::try_from(range.first).ok()?, range.region))).unzip();
        let mut begins = Vec::new();
        if firsts.len() > Self::LARGE {
            let mut at = 0;
            for half in 0..=u32::from(u16::MAX) {
                while firsts.get(at).is_some_and(|&first| first >> 16 < half) {
                    at += 1;
                }
                begins.push(at as u32);
            }
            begins.push(firsts.len() as u32);
        }
        RangesV4 { firsts, regions, begins }
    }

    fn find(&self, address: u32) -> Option<RegionId> {
        let half = (address >> 16) as usize;
        let (from, to) = match self.begins.get(half..half + 2) {
            Some(&[from, to]) => (from as usize, to as usize),
            _ => (0, self.firsts.len()),
        };
        let after = from + self.firsts[from..to].partition_point(|&first| first <= address);
        *self.regions.get(after.checked_sub(1)?)?
    }
}

impl LongestMatch {
    pub(super) fn new(table: BTreeMap<Prefix, RegionId>) -> Self {
        let (v4, v6): (Vec<_>, Vec<_>) = table.into_iter().partition(|(prefix, _)| prefix.address().is_ipv4());
        LongestMatch { v4: RangesV4::new(flatten(v4)), v6: flatten(v6) }
    }

    /// Region of the longest prefix that holds an address.
    pub(super) fn find(&self, address: IpAddr) -> Option<RegionId> {
        match address {
            IpAddr::V4(v4) => self.v4.find(v4.to_bits()),
            IpAddr::V6(v6) => {
                let at = self.v6.partition_point(|range| range.first <= v6.to_bits());
                self.v6[..at].last()?.region
            }
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Prefixes are nested or apart, and come ordered by first address, then length: an outer one before its inner ones.
fn flatten(prefixes: Vec<(Prefix, RegionId)>) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    let mut begin = |first: u128, region: Option<RegionId>| {
        match ranges.last_mut() {
            Some(last) if last.first == first => last.region = region,
            _ => ranges.push(Range { first, region }),
        };
    };
    // Prefixes that hold the present address, outermost first, with the address behind their last (`None`: no such).
    let mut open: Vec<(Option<u128>, RegionId)> = Vec::new();
    let outer = |open: &[(Option<u128>, RegionId)]| open.last().map(|&(_, region)| region);
    for (prefix, region) in prefixes {
        let first = bits(prefix.address());
        while let Some(&(Some(end), _)) = open.last()
            && end <= first
        {
            open.pop();
            begin(end, outer(&open));
        }
        let width = if prefix.address().is_ipv4() { 32 } else { 128 };
        let size = 1u128.checked_shl(u32::from(width - prefix.length()));
        open.push((size.and_then(|size| first.checked_add(size)), region));
        begin(first, Some(region));
    }
    while let Some((end, _)) = open.pop() {
        if let Some(end) = end {
            begin(end, outer(&open));
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn table(entries: &[(&str, u16)]) -> LongestMatch {
        LongestMatch::new(entries.iter().map(|&(prefix, region)| (prefix.parse().unwrap(), RegionId(region))).collect())
    }

    #[test]
    fn the_longest_prefix_wins() {
        let table = table(&[
            ("0.0.0.0/0", 0),
            ("10.0.0.0/8", 1),
            ("10.1.0.0/16", 2),
            ("10.1.0.0/24", 3),
            ("10.1.255.255", 4),
            ("255.255.255.0/24", 5),
            ("2001:db8::/32", 6),
            ("ffff::/16", 7),
        ]);
        let check = |address: &str, want: Option<u16>| {
            assert_eq!(table.find(address.parse().unwrap()), want.map(RegionId), "{address}");
        };
        check("9.255.255.255", Some(0));
        check("10.0.0.0", Some(1));
        check("10.1.0.7", Some(3));
        check("10.1.1.0", Some(2));
        check("10.1.255.255", Some(4));
        check("10.2.0.0", Some(1));
        check("11.0.0.0", Some(0));
        check("255.255.255.255", Some(5));
        check("2001:db8:ffff::", Some(6));
        check("2001:db9::", None);
        check("::", None);
        check("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some(7));
        assert_eq!(LongestMatch::default().find("10.0.0.1".parse().unwrap()), None);
    }

    proptest! {
        #[test]
        fn it_finds_what_a_search_of_all_prefixes_finds(
            entries in proptest::collection::vec((any::<u8>(), any::<bool>(), 0u8..=10, 0u16..5), 0..40),
            probes in proptest::collection::vec((any::<u8>(), any::<u8>(), any::<bool>()), 50),
        ) {
            // Few leading bits, so that prefixes nest; lengths count from the last of them.
            let address = |high: u8, low: u8, v4: bool| -> IpAddr {
                if v4 { Ipv4Addr::from([high, low, 0, 0]).into() }
                else { Ipv6Addr::from_bits(u128::from(high) << 120 | u128::from(low) << 112).into() }
            };
            let table: BTreeMap<Prefix, RegionId> = entries.iter()
                .map(|&(high, v4, length, region)| (Prefix::new(address(high, 0, v4), length).unwrap(), RegionId(region)))
                .collect();
            let flat = LongestMatch::new(table.clone());
            for (high, low, v4) in probes {
                let probe = address(high, low, v4);
                let want = table.iter().filter(|(p, _)| p.contains(probe)).max_by_key(|(p, _)| p.length()).map(|(_, &r)| r);
                prop_assert_eq!(flat.find(probe), want);
            }
        }
    }
}
