//! Which address a client network gets: weighted rendezvous hashing.

use std::net::IpAddr;

use crate::prefix::Prefix;

/// An address with what is drawn for it but for the client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) address: IpAddr,
    /// Weight above 0.
    pub(super) parts: u32,
    salt: u64,
}

impl Candidate {
    /// An address of a name; names draw apart, so that no network is always at the same end of all of them.
    pub(super) fn new(name: &str, address: IpAddr, parts: u32) -> Candidate {
        let mut salt = 0xcbf2_9ce4_8422_2325;
        let bits = match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        // FNV-1a, spread by what follows.
        for byte in name.bytes().chain(bits.to_be_bytes()) {
            salt = (salt ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Candidate { address, parts, salt: spread(salt) }
    }
}

/// The address that a network gets: that of the least `-ln(u) / weight`, u drawn for network and address.
pub(super) fn draw(candidates: &[Candidate], network: Prefix) -> Option<IpAddr> {
    let seed = spread(network.key());
    let cost = |candidate: &Candidate| {
        // 53 bits, never 0 and never 1.
        let unit = ((spread(seed ^ candidate.salt) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        -unit.ln() / f64::from(candidate.parts)
    };
    match candidates {
        [] => None,
        [only] => Some(only.address),
        several => {
            let costs = several.iter().map(|candidate| (cost(candidate), candidate.address));
            costs.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, address)| address)
        }
    }
}

/// SplitMix64's last step (Steele, Lea and Flood 2014).
fn spread(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const NETWORKS: u32 = 40_000;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let candidate =
            |(at, parts): (usize, &u32)| Candidate::new("a.test", IpAddr::from([192, 0, 2, at as u8]), *parts);
        weights.iter().enumerate().filter(|(_, parts)| **parts > 0).map(candidate).collect()
    }

    fn drawn(weights: &[u32]) -> Vec<IpAddr> {
        let candidates = candidates(weights);
        let network = |at: u32| Prefix::new(IpAddr::V4((0x0a00_0000 + (at << 8)).into()), 24).unwrap();
        (0..NETWORKS).map(|at| draw(&candidates, network(at)).unwrap()).collect()
    }

    /// Standard errors of a share that is counted over all networks.
    fn errors(seen: usize, share: f64) -> f64 {
        let networks = f64::from(NETWORKS);
        (seen as f64 - networks * share).abs() / (networks * share * (1.0 - share)).sqrt()
    }

    #[test]
    fn shares_are_the_weights() {
        let mut count: BTreeMap<IpAddr, usize> = BTreeMap::new();
        drawn(&[5000, 3000, 1500, 500]).into_iter().for_each(|address| *count.entry(address).or_default() += 1);
        for (seen, share) in count.values().zip([0.5, 0.3, 0.15, 0.05]) {
            assert!(errors(*seen, share) < 4.0, "{seen} of {NETWORKS} for {share}");
        }
        assert_eq!(count.len(), 4);
    }

    #[test]
    fn as_many_move_as_the_weights_do_and_all_of_them_there() {
        let before = drawn(&[5000, 3000, 2000]);
        for (after, moved) in
            [([4500, 3000, 2500], 0.05), ([5000, 3000, 2000], 0.0), ([5000, 5000, 0], 0.2), ([0, 3000, 2000], 0.5)]
        {
            let after_shares = drawn(&after);
            let movers = before.iter().zip(&after_shares).filter(|(a, b)| a != b).count();
            // Those that must, and those that an address which gains takes from one that stays: half as many at most here.
            let share = movers as f64 / f64::from(NETWORKS);
            let room = 5.0 * (moved / f64::from(NETWORKS)).sqrt();
            assert!(share >= moved - room && share <= 1.5 * moved + room, "{share} moved for {moved}");
        }
        // From an address that is gone, its clients go and nobody else does.
        let without = drawn(&[5000, 3000, 0]);
        assert!(before.iter().zip(&without).all(|(a, b)| a == b || a.to_string() == "192.0.2.2"));
    }
}
