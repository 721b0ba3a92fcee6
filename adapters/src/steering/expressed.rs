//! What an executor makes of shares: as much of them as it can express.

use std::collections::BTreeMap;
use std::net::IpAddr;

use forebay_world::RegionId;

use super::SteeringError;
use super::answers::{Answers, Clients, Share, Shares};
use super::apportion::{WHOLE, apportion, distance};
use super::dns_name::DnsName;
use super::standing::Standing;
use super::view::{SteeringCapabilities, Weights};

/// One name as it is, or would be, answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expressed {
    /// How long resolvers may keep an answer \[s\]; 0 where it cannot be set.
    pub ttl_seconds: u32,
    /// By who asks: addresses and what each counts among its family. 1 where weights are not kept.
    pub pools: BTreeMap<Clients, BTreeMap<IpAddr, u32>>,
}

impl Shares {
    /// What an executor of these capabilities makes of it, and the share of clients that is answered otherwise than asked.
    ///
    /// # Errors
    /// What cannot be expressed, and what may help.
    pub(super) fn expressed(
        &self,
        capabilities: &SteeringCapabilities,
    ) -> Result<(Expressed, f64), (String, &'static str)> {
        if !capabilities.per_region
            && let Some(clients) = self.pools.keys().find(|clients| **clients != Clients::Others)
        {
            let hint = "steer all clients alike here, or delegate the name to the responder";
            return Err((format!("answers for {clients} alone"), hint));
        }
        let ttl_seconds = if capabilities.ttl { self.ttl_seconds } else { 0 };
        let mut expressed = Expressed { ttl_seconds, pools: BTreeMap::new() };
        let mut share_off: f64 = 0.0;
        for (clients, pool) in &self.pools {
            let mut kept = BTreeMap::new();
            for v4 in [true, false] {
                let family: BTreeMap<IpAddr, Share> =
                    pool.iter().filter(|(address, _)| address.is_ipv4() == v4).map(|(a, s)| (*a, *s)).collect();
                match capabilities.weights {
                    Weights::Exact | Weights::ByScript => {
                        kept.extend(family.into_iter().map(|(address, share)| (address, share.parts)));
                    }
                    Weights::ByAnswers { most } => {
                        let (records, off) = records(&family, most);
                        share_off = share_off.max(off);
                        kept.extend(records.into_iter().map(|address| (address, 1)));
                    }
                    Weights::None => {
                        let alike = apportion(&vec![1; family.len()], WHOLE);
                        let parts: Vec<u32> = family.values().map(|share| share.parts).collect();
                        let apart = parts.iter().max().zip(parts.iter().min()).is_some_and(|(max, min)| max - min > 1);
                        if apart && parts != alike {
                            let what = format!("different weights for {clients}");
                            return Err((what, "give all that are answered the same weight"));
                        }
                        kept.extend(family.into_keys().map(|address| (address, 1)));
                    }
                }
            }
            expressed.pools.insert(clients.clone(), kept);
        }
        Ok((expressed, share_off))
    }
}

/// The addresses that are answered so that their numbers by site come nearest to the shares of the sites; of equally near
/// ones the most. Also how far that is, as a share of clients.
fn records(family: &BTreeMap<IpAddr, Share>, most: usize) -> (Vec<IpAddr>, f64) {
    let mut sites: BTreeMap<RegionId, (u64, Vec<(u32, IpAddr)>)> = BTreeMap::new();
    for (address, share) in family {
        let (parts, addresses) = sites.entry(share.site).or_default();
        *parts += u64::from(share.parts);
        addresses.push((share.parts, *address));
    }
    if sites.is_empty() {
        return (Vec::new(), 0.0);
    }
    let parts: Vec<u64> = sites.values().map(|(parts, _)| *parts).collect();
    let due: Vec<u32> = parts.iter().map(|parts| *parts as u32).collect();
    let mut best: Option<(u32, Vec<usize>)> = None;
    for records in sites.len()..=most.max(sites.len()).min(family.len()) {
        let counts = apportion(&parts, records as u32);
        let counts: Vec<usize> =
            counts.iter().zip(sites.values()).map(|(count, (_, has))| (*count as usize).min(has.len())).collect();
        let weights: Vec<u64> = counts.iter().map(|count| *count as u64).collect();
        let off = distance(&apportion(&weights, WHOLE), &due);
        if best.as_ref().is_none_or(|(known, _)| off <= *known) {
            best = Some((off, counts));
        }
    }
    let (off, counts) = best.expect("there are as many addresses as sites");
    let mut answered = Vec::new();
    for ((_, addresses), count) in sites.values_mut().zip(counts) {
        // Of a site first those that are to get most; then by address, so that they stay.
        addresses.sort_by_key(|(parts, address)| (std::cmp::Reverse(*parts), *address));
        answered.extend(addresses.iter().take(count).map(|(_, address)| *address));
    }
    answered.sort();
    (answered, f64::from(off) / f64::from(WHOLE))
}

impl Answers {
    /// What an executor of these capabilities at this place will answer, by name.
    ///
    /// # Errors
    /// As [`Answers::shares`], and [`SteeringError::Refused`].
    pub fn expressed(
        &self,
        capabilities: &SteeringCapabilities,
        place: &str,
    ) -> Result<BTreeMap<DnsName, Expressed>, SteeringError> {
        let of = |(name, shares): (DnsName, Shares)| {
            let (expressed, _) = express(&name, &shares, capabilities, place)?;
            Ok((name, expressed))
        };
        self.shares()?.into_iter().map(of).collect()
    }

    /// What differs between what stands and what an executor of these capabilities would make of it, said for people;
    /// empty when nothing does.
    ///
    /// # Errors
    /// As [`Answers::expressed`].
    pub fn differences(
        &self,
        capabilities: &SteeringCapabilities,
        standing: &Standing,
    ) -> Result<Vec<String>, SteeringError> {
        let shares = self.shares()?;
        let mut found = standing.strays.clone();
        for (name, shares) in &shares {
            let (wanted, _) = express(name, shares, capabilities, "the executor")?;
            match standing.names.get(name) {
                None => found.push(format!("{name} is not answered")),
                Some(stands) if stands.answered != wanted => {
                    found.push(format!("{name} is answered {}, not {}", stands.answered, wanted));
                }
                Some(stands) if stands.asked != *shares => found.push(format!("{name} is noted with other shares")),
                Some(_) => {}
            }
        }
        let more = standing.names.keys().filter(|name| !shares.contains_key(*name));
        found.extend(more.map(|name| format!("{name} is answered")));
        Ok(found)
    }
}

/// As [`Shares::expressed`], with the name in what is refused.
pub(super) fn express(
    name: &DnsName,
    shares: &Shares,
    capabilities: &SteeringCapabilities,
    place: &str,
) -> Result<(Expressed, f64), SteeringError> {
    let refused = |(what, hint): (String, &'static str)| SteeringError::Refused {
        place: place.to_owned(),
        what: format!("{name}: {what}"),
        hint,
    };
    shares.expressed(capabilities).map_err(refused)
}

impl std::fmt::Display for Expressed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "for {} s", self.ttl_seconds)?;
        for (clients, pool) in &self.pools {
            let addresses: Vec<String> = pool.iter().map(|(address, counts)| format!("{address} ×{counts}")).collect();
            write!(
                f,
                " to {clients} {}",
                if addresses.is_empty() { "nothing".to_owned() } else { addresses.join(", ") }
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::NameAnswers;
    use crate::steering::answers::tests::pool;
    use forebay_world::Acknowledgement;
    use proptest::prelude::*;

    fn expressed(weights: Weights, members: &[(&str, u32)]) -> Result<(usize, f64), String> {
        let capabilities =
            SteeringCapabilities { weights, per_region: false, ttl: true, acknowledgement: Acknowledgement::Verified };
        let name = NameAnswers { ttl_seconds: 20, pools: [(Clients::Others, pool(members))].into() };
        let answers = Answers { names: [("a.test".parse().unwrap(), name)].into(), ..Answers::default() };
        let shares = answers.shares().unwrap().into_values().next().unwrap();
        let (expressed, off) = shares.expressed(&capabilities).map_err(|(what, _)| what)?;
        Ok((expressed.pools[&Clients::Others].len(), off))
    }

    #[test]
    fn weights_are_kept_by_numbers_of_records_as_nearly_as_can_be() {
        let by_answers = Weights::ByAnswers { most: 8 };
        let check = |members: &[(&str, u32)], records: usize, off: f64| {
            assert_eq!(expressed(by_answers, members).unwrap(), (records, off), "{members:?}");
        };
        check(&[("192.0.2.1", 1), ("192.0.2.2", 1), ("192.0.2.3", 1), ("192.0.2.4", 1)], 4, 0.0);
        // 2:1 between the sites is two of the one and one of the other.
        check(&[("192.0.2.1", 2), ("192.0.2.2", 2), ("192.0.2.3", 1), ("192.0.2.4", 1)], 3, 0.0001);
        // 3:1 cannot be had of two addresses a site.
        check(&[("192.0.2.1", 3), ("192.0.2.2", 3), ("192.0.2.3", 1), ("192.0.2.4", 1)], 3, 0.0833);
        check(&[("192.0.2.1", 3), ("192.0.2.2", 3), ("192.0.2.3", 0), ("192.0.2.4", 0)], 2, 0.0);
    }

    #[test]
    fn an_executor_without_weights_refuses_them() {
        assert_eq!(expressed(Weights::None, &[("192.0.2.1", 7), ("192.0.2.2", 7), ("192.0.2.3", 7)]), Ok((3, 0.0)));
        assert!(expressed(Weights::None, &[("192.0.2.1", 7), ("192.0.2.2", 8)]).unwrap_err().contains("weights"));
    }

    proptest! {
        #[test]
        fn every_site_with_a_share_is_answered(weights in proptest::collection::vec(1u32..100, 1..30), most in 1usize..20) {
            let texts: Vec<String> = (0..weights.len()).map(|at| format!("192.0.2.{}", at + 1)).collect();
            let members: Vec<(&str, u32)> = texts.iter().map(String::as_str).zip(weights).collect();
            let (records, off) = expressed(Weights::ByAnswers { most }, &members).unwrap();
            prop_assert!(records >= 2.min(members.len()) && records <= most.max(2) && (0.0..1.0).contains(&off));
        }
    }
}
