//! What looks at a cloud: `DescribeInstances`, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use forebay_world::{Generation, Timestamp, VmId};

use super::query::Query;
use super::reply::Element;
use super::{ATTEMPT, Ec2Region, GENERATION, OWNER, SPEC, VM};
use crate::machines::{
    Foreign, Inventory, Machine, MachineCapabilities, MachineError, MachineState, MachineStatistics, MachineView, Mark,
    Owner,
};

/// Instances on a page.
const PAGE: usize = 1000;

/// Sees one owner's machines in one region, and all others of the account. Credentials that may `ec2:DescribeInstances`
/// are enough.
#[derive(Debug)]
pub struct Ec2View {
    pub(super) query: Query,
    pub(super) region: Ec2Region,
    pub(super) owner: Owner,
}

/// One instance.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) id: String,
    pub(super) zone: String,
    pub(super) state: String,
    kind: Option<String>,
    vcpus: Option<u32>,
    pub(super) launched: Option<Timestamp>,
    /// All of its interfaces.
    pub(super) addresses: BTreeSet<IpAddr>,
    pub(super) tags: BTreeMap<String, String>,
}

impl Ec2View {
    /// A client of a region. Nothing is asked yet.
    ///
    /// # Errors
    /// [`MachineError::Unsupported`] when the address is none that secrets may be sent to.
    pub fn new(region: Ec2Region, owner: Owner) -> Result<Ec2View, MachineError> {
        Ok(Ec2View { query: Query::new(region.clone())?, region, owner })
    }

    pub(super) fn rejected(&self, what: &str, why: &str) -> MachineError {
        MachineError::Rejected { endpoint: self.hypervisor(), what: what.to_owned(), why: why.to_owned() }
    }

    /// Instances that filters let through, all pages of them.
    fn describe(&self, filters: &[(&str, &str)], vm: VmId) -> Result<Vec<Instance>, MachineError> {
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut parameters = vec![("MaxResults".to_owned(), PAGE.to_string())];
            for (at, (name, value)) in filters.iter().enumerate() {
                parameters.push((format!("Filter.{}.Name", at + 1), (*name).to_owned()));
                parameters.push((format!("Filter.{}.Value.1", at + 1), (*value).to_owned()));
            }
            parameters.extend(next.clone().map(|token| ("NextToken".to_owned(), token)));
            let reply = self.query.describe("DescribeInstances", &parameters, vm)?;
            let reservations = reply.items("reservationSet").flat_map(|reservation| reservation.items("instancesSet"));
            for item in reservations {
                let instance = Instance::read(item);
                found.push(instance.ok_or_else(|| self.rejected("DescribeInstances", "an instance without an id"))?);
            }
            let token = reply.text_at("nextToken").map(str::to_owned);
            if token.is_none() {
                return Ok(found);
            }
            if token == next {
                return Err(self.rejected("DescribeInstances", "the same page again and again"));
            }
            next = token;
        }
    }

    /// All instances of ours that bear a machine's number, the dead among them too; the oldest first.
    pub(super) fn of(&self, vm: VmId) -> Result<Vec<Instance>, MachineError> {
        let filters = [("tag:forebay:owner", self.owner.as_str()), ("tag:forebay:vm", &vm.0.to_string())];
        let mut found = self.describe(&filters, vm)?;
        // Not every server filters.
        found.retain(|instance| self.is_ours(instance) && instance.vm() == Some(vm));
        found.sort_by(|a, b| (a.launched, &a.id).cmp(&(b.launched, &b.id)));
        Ok(found)
    }

    fn is_ours(&self, instance: &Instance) -> bool {
        instance.tags.get(OWNER).map(String::as_str) == Some(self.owner.as_str())
    }

    fn machine(&self, instance: &Instance) -> Option<Machine> {
        let tag = |name: &str| instance.tags.get(name);
        let mark = Mark {
            owner: self.owner.clone(),
            vm: instance.vm()?,
            generation: tag(GENERATION).and_then(|text| text.parse().ok()).map_or(Generation::default(), Generation),
            // Where nobody says, it is never old enough to be collected.
            created: instance.launched.unwrap_or(Timestamp::MAX),
            spec: tag(SPEC)?.parse().ok()?,
        };
        Some(Machine {
            uuid: mark.uuid(),
            name: instance.id.clone(),
            host: instance.zone.clone(),
            state: instance.state(),
            since: instance.launched.filter(|_| instance.state() == MachineState::Running),
            addresses: instance.addresses.clone(),
            mark,
        })
    }

    /// The second and further instances of a machine.
    pub(super) fn strays(&self, ours: &[Instance]) -> Vec<(VmId, Instance)> {
        let mut first = BTreeSet::new();
        let machines = ours.iter().filter_map(|instance| Some((self.machine(instance)?.mark.vm, instance)));
        machines.filter(|(vm, _)| !first.insert(*vm)).map(|(vm, instance)| (vm, instance.clone())).collect()
    }

    pub(super) fn ours(&self) -> Result<Vec<Instance>, MachineError> {
        let mut found = self.describe(&[("tag:forebay:owner", self.owner.as_str())], VmId(0))?;
        found.retain(|instance| self.is_ours(instance) && instance.is_alive());
        found.sort_by(|a, b| (a.launched, &a.id).cmp(&(b.launched, &b.id)));
        Ok(found)
    }
}

impl Instance {
    pub(super) fn read(item: &Element) -> Option<Instance> {
        let text = |path: &str| item.text_at(path).map(str::to_owned);
        let number = |path: &str| item.text_at(path)?.parse::<u16>().ok().map(u32::from);
        let launched = item.text_at("launchTime").and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let launched = launched.and_then(|time| u64::try_from(time.as_nanosecond()).ok()).map(Timestamp::from_nanos);
        let tag = |tag: &Element| Some((tag.text_at("key")?.to_owned(), tag.text_at("value").unwrap_or("").to_owned()));
        Some(Instance {
            id: text("instanceId")?,
            zone: text("placement/availabilityZone").unwrap_or_else(|| "an unknown zone".to_owned()),
            state: text("instanceState/name").unwrap_or_default(),
            kind: text("instanceType"),
            vcpus: number("cpuOptions/coreCount")
                .zip(number("cpuOptions/threadsPerCore"))
                .map(|(cores, per)| cores * per),
            launched,
            addresses: addresses(item),
            tags: item.items("tagSet").filter_map(tag).collect(),
        })
    }

    pub(super) fn vm(&self) -> Option<VmId> {
        self.tags.get(VM)?.parse().ok().map(VmId)
    }

    pub(super) fn attempt(&self) -> u32 {
        self.tags.get(ATTEMPT).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub(super) fn state(&self) -> MachineState {
        match self.state.as_str() {
            "pending" => MachineState::Booting,
            "running" => MachineState::Running,
            "stopping" => MachineState::ShuttingDown,
            "stopped" => MachineState::ShutOff,
            _ => MachineState::Unknown,
        }
    }

    /// One that is being terminated cannot be kept from it.
    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.state.as_str(), "shutting-down" | "terminated")
    }

    /// What it is as one that is not ours, or has lost tags that say what it is.
    fn foreign(&self) -> Foreign {
        let name = self.tags.get("Name").filter(|name| !name.is_empty()).unwrap_or(&self.id);
        let state = self.state();
        Foreign {
            state,
            vcpus: self.vcpus,
            since: self.launched.filter(|_| state == MachineState::Running),
            kind: self.kind.clone(),
            tags: self.tags.clone(),
            owner: self.tags.get(OWNER).and_then(|owner| owner.parse().ok()),
            ..Foreign::new(name, &self.id)
        }
    }
}

/// Addresses within its network that an instance has (EC2's `Instance` and `InstanceNetworkInterface`).
fn addresses(item: &Element) -> BTreeSet<IpAddr> {
    let interfaces = || item.items("networkInterfaceSet");
    let further = interfaces().flat_map(|interface| {
        let v4 = interface.items("privateIpAddressesSet").filter_map(|of| of.text_at("privateIpAddress"));
        v4.chain(interface.items("ipv6AddressesSet").filter_map(|of| of.text_at("ipv6Address")))
    });
    let first = [item.text_at("privateIpAddress"), item.text_at("ipv6Address")].into_iter().flatten();
    first.chain(further).filter_map(|text| text.parse().ok()).collect()
}

impl MachineView for Ec2View {
    fn hypervisor(&self) -> String {
        self.region.endpoint.clone()
    }

    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn capabilities(&self) -> MachineCapabilities {
        MachineCapabilities {
            graceful_stop: false,
            statistics: false,
            paused_creation: false,
            idempotent_creation: true,
            native_token: true,
            configuration: true,
            ports: false,
            addresses: true,
            restart: false,
        }
    }

    fn list(&mut self) -> Result<Inventory, MachineError> {
        let mut all = self.describe(&[], VmId(0))?;
        all.retain(Instance::is_alive);
        all.sort_by(|a, b| (a.launched, &a.id).cmp(&(b.launched, &b.id)));
        let (ours, foreign): (Vec<_>, Vec<_>) = all.into_iter().partition(|instance| self.is_ours(instance));
        let mut inventory = Inventory::default();
        for instance in &ours {
            match self.machine(instance) {
                Some(machine) => drop(inventory.machines.entry(machine.mark.vm).or_insert(machine)),
                // Whoever took the rest of its tags away has to say what it is.
                None => inventory.foreign.push(instance.foreign()),
            }
        }
        let named = |(vm, instance): (VmId, Instance)| format!("{}, beside what is {vm}", instance.id);
        inventory.strays = self.strays(&ours).into_iter().map(named).collect();
        inventory.foreign.extend(foreign.iter().map(Instance::foreign));
        inventory.foreign.sort();
        Ok(inventory)
    }

    fn statistics(&mut self) -> Result<BTreeMap<VmId, MachineStatistics>, MachineError> {
        Ok(BTreeMap::new())
    }
}
