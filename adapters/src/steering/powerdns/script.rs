//! Scripts that answer by weight: what a LUA record says, and read back.
//!
//! A script is written from what is to be answered and nothing else, so that it is read back by writing it again: what it
//! answers stands in a comment at its begin.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::answers::Clients;
use super::super::dns_name::DnsName;
use super::super::expressed::Expressed;
use super::super::record_set::{Kind, RecordSet};
use crate::prefix::Prefix;

/// What all scripts have in common.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) regions: BTreeMap<String, Vec<Prefix>>,
    pub(super) probed_port: Option<u16>,
}

impl Script {
    /// The record set of a name: a record a family.
    pub(super) fn set(&self, name: &DnsName, answers: &Expressed) -> RecordSet {
        let records = [true, false].into_iter().filter_map(|v4| self.record(answers, v4));
        RecordSet::new(name, Kind::Lua, answers.ttl_seconds, records)
    }

    /// What a set of ours answers.
    pub(super) fn answers(&self, sets: &[RecordSet]) -> Option<Expressed> {
        let [set] = sets else { return None };
        let mut answers = Expressed { ttl_seconds: set.ttl_seconds, pools: BTreeMap::new() };
        for record in &set.records {
            let noted = record.split_once("--[[")?.1.split_once("]]")?.0;
            for part in noted.split(';') {
                let (clients, members) = part.split_once(' ')?;
                let clients = if clients == "*" { Clients::Others } else { Clients::Region(clients.to_owned()) };
                let pool = answers.pools.entry(clients).or_default();
                for member in members.split(' ') {
                    let (address, parts) = member.split_once('=')?;
                    pool.insert(address.parse().ok()?, parts.parse().ok()?);
                }
            }
        }
        // Whatever else it does is not what we wrote.
        (self.set(&set.owner, &answers).records == set.records).then_some(answers)
    }

    /// `A ";--[[…]] return …"`.
    fn record(&self, answers: &Expressed, v4: bool) -> Option<String> {
        let family = |pool: &BTreeMap<IpAddr, u32>| -> BTreeMap<IpAddr, u32> {
            pool.iter().filter(|(address, _)| address.is_ipv4() == v4).map(|(a, parts)| (*a, *parts)).collect()
        };
        let pools: Vec<(&Clients, BTreeMap<IpAddr, u32>)> = answers
            .pools
            .iter()
            .map(|(clients, pool)| (clients, family(pool)))
            .filter(|(_, pool)| !pool.is_empty())
            .collect();
        if pools.is_empty() {
            return None;
        }
        let (mut noted, mut code, mut others) = (Vec::new(), String::new(), "return {}".to_owned());
        for (clients, pool) in &pools {
            let members: Vec<String> = pool.iter().map(|(address, parts)| format!("{address}={parts}")).collect();
            let members = members.join(" ");
            match clients {
                Clients::Others => {
                    noted.push(format!("* {members}"));
                    others = self.pick(pool);
                }
                Clients::Region(region) => {
                    noted.push(format!("{region} {members}"));
                    let networks = self.regions.get(region).map_or(&[][..], Vec::as_slice);
                    let networks: Vec<String> = networks.iter().map(|network| format!("'{network}'")).collect();
                    code += &format!("if netmask({{{}}}) then {} end ", networks.join(","), self.pick(pool));
                }
            }
        }
        let kind = if v4 { "A" } else { "AAAA" };
        Some(format!("{kind} \";--[[{}]] {code}{others}\"", noted.join(";")))
    }

    /// Code that returns one of some addresses.
    fn pick(&self, pool: &BTreeMap<IpAddr, u32>) -> String {
        let weights: Vec<String> = pool.iter().map(|(address, parts)| format!("{{{parts},'{address}'}}")).collect();
        let weights = format!("{{{}}}", weights.join(","));
        let Some(port) = self.probed_port else { return format!("return pickwhashed({weights})") };
        let addresses: Vec<String> = pool.keys().map(|address| format!("'{address}'")).collect();
        // All that take connections, or all where none does; of those by weight.
        format!(
            "local u={{}} for _,a in ipairs(ifportup({port},{{{}}},{{selector='all'}})) do u[a]=true end \
             local w={{}} for _,p in ipairs({weights}) do if u[p[2]] then w[#w+1]=p end end return pickwhashed(w)",
            addresses.join(",")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_as_it_was_written_and_another_is_none_of_ours() {
        let pool = |members: &[(&str, u32)]| -> BTreeMap<IpAddr, u32> {
            members.iter().map(|(address, parts)| (address.parse().unwrap(), *parts)).collect()
        };
        let others = pool(&[("192.0.2.1", 8000), ("192.0.2.2", 2000), ("2001:db8::1", 10_000)]);
        let ams = pool(&[("192.0.2.2", 10_000)]);
        let pools = [(Clients::Others, others), (Clients::Region("ams".to_owned()), ams)].into();
        let answers = Expressed { ttl_seconds: 20, pools };
        let name = "a.test".parse().unwrap();
        for probed_port in [None, Some(80)] {
            let regions = [("ams".to_owned(), vec!["198.18.0.0/15".parse().unwrap()])].into();
            let script = Script { regions, probed_port };
            let set = script.set(&name, &answers);
            assert_eq!(set.records.len(), 2);
            assert_eq!(script.answers(std::slice::from_ref(&set)), Some(answers.clone()));
            let other = Script { regions: BTreeMap::new(), probed_port };
            assert_eq!(other.answers(std::slice::from_ref(&set)), None, "other networks");
            let mut changed = set.clone();
            changed.records = set.records.iter().map(|record| record.replace("{8000,", "{1,")).collect();
            assert_eq!(script.answers(&[changed]), None);
        }
        let script = Script { regions: BTreeMap::new(), probed_port: None };
        let one = Expressed { ttl_seconds: 20, pools: [(Clients::Others, pool(&[("192.0.2.1", 10_000)]))].into() };
        let written = script.set(&name, &one).records.into_iter().next().unwrap();
        assert_eq!(written, "A \";--[[* 192.0.2.1=10000]] return pickwhashed({{10000,'192.0.2.1'}})\"");
    }
}
