//! A cloud with EC2's interface: instances, by its query API.
//!
//! Who an instance is stands in its tags, which it is given with its creation. A creation carries a token, which the
//! provider answers as it did the first time: a reply that was lost makes no second instance. The token is of the owner,
//! the machine, what it is made of, and the attempt: a provider goes on answering with the first instance when that has
//! long been terminated, so each attempt after one that ended has a token of its own. When a machine was made is what the
//! provider says (its launch time), since a repeated request has to be the same to the letter.
//!
//! Not every server honours tokens, so what is there is looked at first; and where two instances are one machine all the
//! same, the older is it and the other is a stray. How long to wait after [`MachineError::Throttled`] is the caller's to
//! decide. An instance that is terminated is gone: it cannot be started again, and is no more listed.
//!
//! Whoever makes a machine may say which address of the subnet it is given (`PrivateIpAddress`, `Ipv6Address`). A server
//! that gives another is found out by what it says of the instance: [`MachineError::NotVerified`]. While an instance that
//! is shutting down has the address, there is no room for another: [`MachineError::Quota`].

mod query;
mod reply;
mod signature;
mod view;

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::Engine as _;
use forebay_world::VmId;
use sha2::{Digest as _, Sha256};

use super::{
    Done, Gate, Image, Inventory, MachineCapabilities, MachineError, MachineExecutor, MachineSpec, MachineState,
    MachineStatistics, MachineView, Owner,
};
pub use signature::{Credentials, NoCredentials};
pub use view::Ec2View;
use view::Instance;

/// Attempts in one call, where each before has ended unseen.
const ATTEMPTS_MOST: u32 = 8;
const OWNER: &str = "forebay:owner";
const VM: &str = "forebay:vm";
const GENERATION: &str = "forebay:generation";
const SPEC: &str = "forebay:spec";
const ATTEMPT: &str = "forebay:attempt";

/// A region of a cloud.
#[derive(Clone, Debug)]
pub struct Ec2Region {
    /// Where it is asked: `https://ec2.eu-central-1.amazonaws.com`.
    pub endpoint: String,
    /// Its name, which signatures hold: `eu-central-1`.
    pub region: String,
    /// What requests are signed with.
    pub credentials: Credentials,
    /// The network that instances are put in; `None` takes the account's.
    pub subnet: Option<String>,
    /// Security groups of instances.
    pub groups: Vec<String>,
}

/// Machines of one owner in one region.
#[derive(Debug)]
pub struct Ec2Executor {
    view: Ec2View,
}

impl Ec2Executor {
    /// A client of a region. Nothing is asked yet.
    ///
    /// # Errors
    /// [`MachineError::Unsupported`] when the address is none that secrets may be sent to.
    pub fn new(region: Ec2Region, owner: Owner) -> Result<Ec2Executor, MachineError> {
        Ec2View::new(region, owner).map(|view| Ec2Executor { view })
    }

    /// Asks whether a machine could be made, without making it (EC2's `DryRun`).
    ///
    /// # Errors
    /// [`MachineError`], as [`MachineExecutor::create`].
    pub fn could_create(&mut self, spec: &MachineSpec) -> Result<(), MachineError> {
        self.check(spec)?;
        let mut parameters = self.launch(spec, 0)?;
        parameters.push(("DryRun".to_owned(), "true".to_owned()));
        match self.view.query.ask("RunInstances", &parameters, spec.vm) {
            Err(MachineError::Rejected { why, .. }) if why.starts_with("DryRunOperation") => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(self.view.rejected("RunInstances", "it was asked only whether it could, and did")),
        }
    }

    fn alive(&self, vm: VmId) -> Result<Vec<Instance>, MachineError> {
        Ok(self.view.of(vm)?.into_iter().filter(Instance::is_alive).collect())
    }

    fn check(&self, spec: &MachineSpec) -> Result<(), MachineError> {
        spec.check()?;
        let unsupported = |what: &str, allowed| {
            Err(MachineError::Unsupported { endpoint: self.hypervisor(), what: what.to_owned(), allowed })
        };
        if !matches!(spec.image, Image::Provider { .. }) {
            return unsupported("an image of this host", "an image of the provider's, by its name");
        }
        if !spec.ports.is_empty() {
            return unsupported("a port of ours", "none: the region's network has its own");
        }
        if spec.configuration.as_ref().is_some_and(|configuration| configuration.network.is_some()) {
            return unsupported("a network configuration", "none: the region's network tells machines their addresses");
        }
        if spec.paused {
            return unsupported("a machine that does not run yet", "one that runs");
        }
        Ok(())
    }

    /// The parameters of a creation: the same for the same machine and attempt, to the letter.
    fn launch(&self, spec: &MachineSpec, attempt: u32) -> Result<Vec<(String, String)>, MachineError> {
        let Image::Provider { image, kind } = &spec.image else {
            return Err(self.view.rejected("RunInstances", "no image"));
        };
        let digest = spec.digest().to_string();
        let mut pairs: Vec<(String, String)> = [
            ("ImageId", image.as_str()),
            ("InstanceType", kind),
            ("MinCount", "1"),
            ("MaxCount", "1"),
            // A guest that powers itself off is over, as one that is terminated.
            ("InstanceInitiatedShutdownBehavior", "terminate"),
            ("TagSpecification.1.ResourceType", "instance"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        match spec.address {
            Some(IpAddr::V4(address)) => pairs.push(("PrivateIpAddress".to_owned(), address.to_string())),
            Some(IpAddr::V6(address)) => pairs.push(("Ipv6Address.1.Ipv6Address".to_owned(), address.to_string())),
            None => {}
        }
        if let Some(subnet) = &self.view.region.subnet {
            pairs.push(("SubnetId".to_owned(), subnet.clone()));
        }
        for (at, group) in self.view.region.groups.iter().enumerate() {
            pairs.push((format!("SecurityGroupId.{}", at + 1), group.clone()));
        }
        if let Some(configuration) = &spec.configuration {
            let data = base64::engine::general_purpose::STANDARD.encode(&configuration.user_data);
            pairs.push(("UserData".to_owned(), data));
        }
        let tags = [
            ("Name", format!("{}-{}", self.view.owner, spec.vm)),
            (OWNER, self.view.owner.to_string()),
            (VM, spec.vm.0.to_string()),
            (GENERATION, spec.generation.to_string()),
            (SPEC, digest.clone()),
            (ATTEMPT, attempt.to_string()),
        ];
        for (at, (key, value)) in tags.iter().enumerate() {
            pairs.push((format!("TagSpecification.1.Tag.{}.Key", at + 1), (*key).to_owned()));
            pairs.push((format!("TagSpecification.1.Tag.{}.Value", at + 1), value.clone()));
        }
        // Not of the generation: where a reply was lost and a later plan asks again before the instance can be seen, the
        // provider refuses, and makes no second one.
        let place = format!("{:?} {:?}", self.view.region.subnet, self.view.region.groups);
        let intent = format!("{}/{} {digest} {place} {attempt}", self.view.owner, spec.vm);
        pairs.push(("ClientToken".to_owned(), signature::hex(&Sha256::digest(intent))));
        Ok(pairs)
    }

    fn terminate(&self, vm: VmId, instances: &[Instance], gate: &mut Gate) -> Result<u32, MachineError> {
        let mut writes = 0;
        for instance in instances {
            gate.pass(&format!("terminate {} ({vm})", instance.id))?;
            let parameters = [("InstanceId.1".to_owned(), instance.id.clone())];
            match self.view.query.ask("TerminateInstances", &parameters, vm) {
                // It is gone already.
                Err(MachineError::Rejected { why, .. }) if why.starts_with("InvalidInstanceID.NotFound") => {}
                answer => drop(answer?),
            }
            writes += 1;
        }
        Ok(writes)
    }

    /// That an instance has the address that was asked for.
    fn verify_address(&self, spec: &MachineSpec, instance: &Instance) -> Result<(), MachineError> {
        let Some(asked) = spec.address.filter(|asked| !instance.addresses.contains(asked)) else { return Ok(()) };
        let given: Vec<String> = instance.addresses.iter().map(IpAddr::to_string).collect();
        let given = if given.is_empty() { "no address that is told".to_owned() } else { given.join(" and ") };
        let difference = format!("{} has {given}, and was to have {asked}", instance.id);
        Err(MachineError::NotVerified { endpoint: self.hypervisor(), vm: spec.vm, difference })
    }

    /// Tags that a hand has taken off and that can be told from the rest, put back.
    fn mend_tags(&self, spec: &MachineSpec, instance: &Instance, gate: &mut Gate) -> Result<u32, MachineError> {
        let wanted = [("Name", format!("{}-{}", self.view.owner, spec.vm)), (GENERATION, spec.generation.to_string())];
        let missing: Vec<_> = wanted.iter().filter(|(key, _)| !instance.tags.contains_key(*key)).collect();
        if missing.is_empty() {
            return Ok(0);
        }
        gate.pass(&format!("tags of {} ({})", instance.id, spec.vm))?;
        let mut parameters = vec![("ResourceId.1".to_owned(), instance.id.clone())];
        for (at, (key, value)) in missing.iter().enumerate() {
            parameters.push((format!("Tag.{}.Key", at + 1), (*key).to_owned()));
            parameters.push((format!("Tag.{}.Value", at + 1), value.clone()));
        }
        self.view.query.ask("CreateTags", &parameters, spec.vm)?;
        Ok(1)
    }
}

impl MachineView for Ec2Executor {
    fn hypervisor(&self) -> String {
        self.view.hypervisor()
    }

    fn owner(&self) -> &Owner {
        self.view.owner()
    }

    fn capabilities(&self) -> MachineCapabilities {
        self.view.capabilities()
    }

    fn list(&mut self) -> Result<Inventory, MachineError> {
        self.view.list()
    }

    fn statistics(&mut self) -> Result<BTreeMap<VmId, MachineStatistics>, MachineError> {
        self.view.statistics()
    }
}

impl MachineExecutor for Ec2Executor {
    fn create(&mut self, spec: &MachineSpec, gate: &mut Gate) -> Result<Done, MachineError> {
        self.check(spec)?;
        let (vm, digest) = (spec.vm, spec.digest());
        let known = self.view.of(vm)?;
        if let Some(instance) = known.iter().find(|instance| instance.is_alive()) {
            let standing = instance.tags.get(SPEC).and_then(|text| text.parse().ok());
            return match standing {
                Some(standing) if standing != digest => Err(MachineError::Conflict { vm, standing, given: digest }),
                Some(_) if instance.state() == MachineState::ShutOff => {
                    Err(self.view.rejected(&format!("start {vm}"), "it was stopped by a hand; remove it first"))
                }
                Some(_) => {
                    self.verify_address(spec, instance)?;
                    self.mend_tags(spec, instance, gate).map(|writes| Done { writes })
                }
                None => {
                    Err(self.view.rejected(&format!("adopt {vm}"), "its tag forebay:spec is gone; remove it first"))
                }
            };
        }
        let first = known.iter().map(|dead| dead.attempt() + 1).max().unwrap_or(0);
        for attempt in first..first.saturating_add(ATTEMPTS_MOST) {
            gate.pass(&format!("run {vm}, attempt {attempt}"))?;
            let reply = self.view.query.ask("RunInstances", &self.launch(spec, attempt)?, vm)?;
            let instance = reply.items("instancesSet").next().and_then(Instance::read);
            let Some(instance) = instance else {
                return Err(self.view.rejected("RunInstances", "no instance in its answer"));
            };
            // An instance that ended long ago, from an attempt that nobody remembers.
            if instance.is_alive() {
                if instance.addresses.is_empty() && spec.address.is_some() {
                    // Not every answer to a creation tells what was given.
                    let seen = self.view.of(vm)?.into_iter().find(|seen| seen.id == instance.id);
                    self.verify_address(spec, &seen.unwrap_or(instance))?;
                } else {
                    self.verify_address(spec, &instance)?;
                }
                return Ok(Done { writes: attempt - first + 1 });
            }
        }
        let difference = format!("{ATTEMPTS_MOST} attempts all gave instances that have ended");
        Err(MachineError::NotVerified { endpoint: self.hypervisor(), vm, difference })
    }

    fn resume(&mut self, _vm: VmId, _gate: &mut Gate) -> Result<Done, MachineError> {
        Ok(Done::default())
    }

    fn shut_down(&mut self, _vm: VmId, _gate: &mut Gate) -> Result<Done, MachineError> {
        let what = "an end by itself".to_owned();
        Err(MachineError::Unsupported { endpoint: self.hypervisor(), what, allowed: "destroy" })
    }

    fn destroy(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        let writes = self.terminate(vm, &self.alive(vm)?, gate)?;
        match self.alive(vm)?.first() {
            None => Ok(Done { writes }),
            Some(left) => {
                let difference = format!("{} is {}", left.id, left.state);
                Err(MachineError::NotVerified { endpoint: self.hypervisor(), vm, difference })
            }
        }
    }

    fn remove(&mut self, vm: VmId, gate: &mut Gate) -> Result<Done, MachineError> {
        self.destroy(vm, gate)
    }

    fn sweep(&mut self, gate: &mut Gate) -> Result<Done, MachineError> {
        let mut writes = 0;
        for (vm, stray) in self.view.strays(&self.view.ours()?) {
            writes += self.terminate(vm, &[stray], gate)?;
        }
        Ok(Done { writes })
    }
}
