//! What shall be answered: names, who asks, and the addresses they are sent to.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use forebay_world::{Generation, RegionId};

use super::SteeringError;
use super::apportion::{WHOLE, apportion};
use super::dns_name::DnsName;

/// Answers to all the names that an executor shall steer by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// Number of the plan.
    pub generation: Generation,
    /// By name.
    pub names: BTreeMap<DnsName, NameAnswers>,
}

/// Answers to one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameAnswers {
    /// How long resolvers may keep an answer \[s\].
    pub ttl_seconds: u32,
    /// By who asks; always for [`Clients::Others`].
    pub pools: BTreeMap<Clients, Pool>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Clients {
    /// Everybody that has no pool of his own.
    Others,
    /// Clients of a region, by its name.
    Region(String),
}

/// Addresses that some clients may be sent to.
pub type Pool = BTreeMap<IpAddr, Member>;

/// An address of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The site it serves at. Where weights are numbers of records, they are kept between sites.
    pub site: RegionId,
    /// Weight against the other addresses of its family; 0 sends nobody there: how a machine is drained.
    pub weight: u32,
    /// Whether it may be answered.
    pub health: Health,
}

/// How an address does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Well.
    Healthy,
    /// Not well: it is not answered.
    Unhealthy,
    /// Not well, as all of its pool: it stays answered as it was. Set by [`super::Rails`], which say so.
    LastGood,
}

/// The same in the terms that are kept: no weights but shares, nothing that is not answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// How long resolvers may keep an answer \[s\].
    pub ttl_seconds: u32,
    /// By who asks.
    pub pools: BTreeMap<Clients, BTreeMap<IpAddr, Share>>,
}

/// What an address gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The site it serves at.
    pub site: RegionId,
    /// Of the clients that ask for its family, parts of [`WHOLE`]; never 0.
    pub parts: u32,
}

/// Longest time to live \[s\]: a week.
const TTL_MOST: u32 = 7 * 86_400;
/// Most addresses of a pool: an answer to one question, or a note of all of them, is 64 KiB at most.
pub const MEMBERS_MOST: usize = 1_000;

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Clients::Others => f.write_str("others"),
            Clients::Region(region) => write!(f, "clients of {region}"),
        }
    }
}

impl Answers {
    /// Checks that no pool has too many addresses.
    ///
    /// # Errors
    /// [`SteeringError::Contradiction`].
    pub(super) fn check_sizes(&self) -> Result<(), SteeringError> {
        for (name, answers) in &self.names {
            answers.check_sizes().map_err(|what| SteeringError::Contradiction { what: format!("{name}: {what}") })?;
        }
        Ok(())
    }

    /// What is to be kept of them, by name.
    ///
    /// # Errors
    /// [`SteeringError::Contradiction`] for what nobody can answer: a name without a pool for [`Clients::Others`], a pool
    /// of which nothing may be answered, an address that is none to send anybody to, a region's name that cannot be kept.
    pub fn shares(&self) -> Result<BTreeMap<DnsName, Shares>, SteeringError> {
        let of = |(name, answers): (&DnsName, &NameAnswers)| {
            let shares =
                answers.shares().map_err(|what| SteeringError::Contradiction { what: format!("{name}: {what}") });
            Ok((name.clone(), shares?))
        };
        self.names.iter().map(of).collect()
    }
}

impl NameAnswers {
    fn check_sizes(&self) -> Result<(), String> {
        match self.pools.iter().find(|(_, pool)| pool.len() > MEMBERS_MOST) {
            Some((clients, pool)) => Err(format!("{} addresses for {clients}; allowed: {MEMBERS_MOST}", pool.len())),
            None => Ok(()),
        }
    }

    fn shares(&self) -> Result<Shares, String> {
        if self.ttl_seconds > TTL_MOST {
            return Err(format!("a time to live of {} s; allowed: at most {TTL_MOST} s", self.ttl_seconds));
        }
        if !self.pools.contains_key(&Clients::Others) {
            return Err("no pool for others; allowed: pools of regions beside one for all who have none".to_owned());
        }
        self.check_sizes()?;
        let mut shares = Shares { ttl_seconds: self.ttl_seconds, pools: BTreeMap::new() };
        for (clients, pool) in &self.pools {
            if let Clients::Region(region) = clients {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
                if region.is_empty() || region.len() > 63 || !region.bytes().all(plain) {
                    return Err(format!(
                        "region {region:?}; allowed: 1 to 63 letters, digits, dots, hyphens, underscores"
                    ));
                }
            }
            if let Some(address) = pool.keys().find(|address| !is_host(**address)) {
                return Err(format!("{address} for {clients}; allowed: addresses of hosts, not mapped ones"));
            }
            let mut kept = shares_of(pool, true);
            kept.extend(shares_of(pool, false));
            if kept.is_empty() {
                return Err(format!("no healthy address with a weight for {clients}"));
            }
            shares.pools.insert(clients.clone(), kept);
        }
        Ok(shares)
    }
}

fn is_host(address: IpAddr) -> bool {
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !mapped && !broadcast
}

/// Shares of the addresses of one family that may be answered.
fn shares_of(pool: &Pool, v4: bool) -> BTreeMap<IpAddr, Share> {
    let answered = |(address, member): &(&IpAddr, &Member)| {
        address.is_ipv4() == v4 && member.weight > 0 && member.health != Health::Unhealthy
    };
    let members: Vec<(&IpAddr, &Member)> = pool.iter().filter(answered).collect();
    let weights: Vec<u64> = members.iter().map(|(_, member)| u64::from(member.weight)).collect();
    let share = |((address, member), parts): ((&IpAddr, &Member), u32)| (*address, Share { site: member.site, parts });
    members.into_iter().zip(apportion(&weights, WHOLE)).map(share).collect()
}

impl Shares {
    /// The same as answers once more, all healthy.
    pub fn to_answers(&self) -> NameAnswers {
        let member = |(address, share): (&IpAddr, &Share)| {
            (*address, Member { site: share.site, weight: share.parts, health: Health::Healthy })
        };
        let pools =
            self.pools.iter().map(|(clients, pool)| (clients.clone(), pool.iter().map(member).collect())).collect();
        NameAnswers { ttl_seconds: self.ttl_seconds, pools }
    }

    /// Every address that somebody may be sent to.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.pools.values().flat_map(|pool| pool.keys().copied())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A pool of addresses with weights, the first half of them at site 0, all healthy.
    pub(crate) fn pool(members: &[(&str, u32)]) -> Pool {
        let member = |(at, (address, weight)): (usize, &(&str, u32))| {
            let site = RegionId::at(2 * at / members.len());
            (address.parse().unwrap(), Member { site, weight: *weight, health: Health::Healthy })
        };
        members.iter().enumerate().map(member).collect()
    }

    fn shares(pools: &[(Clients, Pool)], ttl_seconds: u32) -> Result<Shares, String> {
        NameAnswers { ttl_seconds, pools: pools.iter().cloned().collect() }.shares()
    }

    #[test]
    fn what_is_kept_is_what_is_answered() {
        let mut members =
            pool(&[("192.0.2.1", 3), ("192.0.2.2", 1), ("192.0.2.3", 0), ("192.0.2.4", 9), ("2001:db8::1", 7)]);
        members.get_mut(&"192.0.2.4".parse().unwrap()).unwrap().health = Health::Unhealthy;
        let kept = shares(&[(Clients::Others, members)], 20).unwrap();
        let parts: Vec<(String, u32)> =
            kept.pools[&Clients::Others].iter().map(|(address, share)| (address.to_string(), share.parts)).collect();
        let want = [("192.0.2.1", 7500), ("192.0.2.2", 2500), ("2001:db8::1", WHOLE)];
        assert_eq!(parts, want.map(|(address, parts)| (address.to_owned(), parts)));
        assert_eq!(kept.to_answers().shares().unwrap(), kept);
    }

    #[test]
    fn what_nobody_can_answer_is_refused() {
        let good = pool(&[("192.0.2.1", 1)]);
        let refused = |pools: &[(Clients, Pool)], ttl, said: &str| {
            let error = shares(pools, ttl).unwrap_err();
            assert!(error.contains(said), "{error}");
        };
        refused(&[], 20, "no pool for others");
        refused(&[(Clients::Region("ams".to_owned()), good.clone())], 20, "no pool for others");
        refused(&[(Clients::Others, good.clone())], TTL_MOST + 1, "allowed: at most");
        refused(&[(Clients::Others, pool(&[("192.0.2.1", 0)]))], 20, "no healthy address");
        refused(&[(Clients::Others, pool(&[("0.0.0.0", 1)]))], 20, "addresses of hosts");
        refused(&[(Clients::Others, pool(&[("::ffff:192.0.2.1", 1)]))], 20, "addresses of hosts");
        refused(&[(Clients::Others, good.clone()), (Clients::Region("a'b".to_owned()), good)], 20, "allowed: 1 to 63");
    }
}
