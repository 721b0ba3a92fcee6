//! What a plan wants, in the terms of executors: a machine's specification, a link's slices.

use std::collections::{BTreeMap, BTreeSet};

use forebay_adapters::machines::{Attachment, Configuration, MachineCapabilities, MachinePort, MachineSpec};
use forebay_adapters::slices::{LinkSlices, Port, Slice};
use forebay_world::{Generation, PlannedSlice, PlannedVm, RegionId, SliceId, VmId};

use crate::deployment::rollout;
use crate::production::{Bridge, Production};
use crate::watch::Names;

/// What a machine shall be made of.
///
/// # Errors
/// What the file does not say of it.
pub(super) fn machine(
    production: &Production,
    capabilities: MachineCapabilities,
    vm: VmId,
    generation: Generation,
    planned: &PlannedVm,
    address: u32,
) -> Result<MachineSpec, String> {
    let names = Names(production);
    let (region, class) = (planned.region, planned.class);
    let flavour = &production.topology.flavours[planned.flavour.index()];
    let hypervisor = production.hypervisor(planned.host).ok_or("no hypervisor is given for its host")?;
    let network = production.network(region).ok_or("no network is given for its region")?;
    let address = names.address(region, address).ok_or("its region has no such address")?;
    let filling = production.filling(vm, region, class, Some(address));
    let image = production.image(planned.flavour).ok_or("no image is given for its flavour")?;
    let boots =
        image.image(hypervisor.is_provider(), &filling).ok_or("its flavour has no image for this hypervisor")?;
    let bridge = network.bridge.as_ref().filter(|_| !hypervisor.is_provider());
    let attachment = bridge.map(|bridge| match bridge {
        Bridge::Kernel(bridge) => Attachment::Bridge(bridge.clone()),
        Bridge::OpenVswitch(bridge) => {
            Attachment::OpenVswitch { bridge: bridge.clone(), interface: production.owner.uuid_of(vm) }
        }
    });
    let port = |attachment| MachinePort { name: names.port(vm), mac: names.mac(vm), attachment };
    let ports: Vec<MachinePort> = attachment.map(port).into_iter().collect();
    let configuration = image.user_data(&filling).map(|user_data| Configuration {
        user_data,
        // Whoever is given an address by the network is told it by the network.
        network: filling.address.filter(|_| !hypervisor.is_provider()).map(|(address, length, gateway)| {
            let mac = names.mac(vm);
            let route = gateway.map_or(String::new(), |gateway| {
                let to = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
                format!("    routes:\n      - {{to: \"{to}\", via: \"{gateway}\"}}\n")
            });
            format!(
                "version: 2\nethernets:\n  port0:\n    match: {{macaddress: \"{mac}\"}}\n    addresses: [\"{address}/{length}\"]\n{route}"
            )
        }),
        host_name: format!("{}-{}-{}", filling.region, filling.class, vm.0),
    });
    // Where a switch keeps machines to their slices, none sends before it does.
    let is_guarded = production.network(region).and_then(|network| network.executor.as_ref());
    let paused = !ports.is_empty() && capabilities.paused_creation && is_guarded.is_some_and(|e| e.guards_ports());
    Ok(MachineSpec {
        vm,
        generation,
        vcpus: u32::try_from(flavour.cpu.0.div_ceil(1000)).unwrap_or(u32::MAX),
        memory: flavour.memory,
        image: boots,
        ports,
        address: hypervisor.is_provider().then_some(address),
        configuration,
        paused,
    })
}

/// What shall stand on a region's link.
pub(super) fn link(
    production: &Production,
    region: RegionId,
    generation: Generation,
    slices: &BTreeMap<SliceId, PlannedSlice>,
    ports: &BTreeMap<VmId, rollout::Port>,
) -> LinkSlices {
    let names = Names(production);
    let capacity = production.topology.links[production.topology.region(region).access.index()].capacity;
    LinkSlices {
        generation,
        capacity,
        slices: slices.iter().map(|(id, terms)| (*id, Slice { terms: *terms, sources: BTreeSet::new() })).collect(),
        ports: ports
            .iter()
            .map(|(vm, port)| {
                let addresses = names.address(region, port.address).into_iter().collect();
                (names.port(*vm), Port { slice: port.slice, mac: names.mac(*vm), addresses })
            })
            .collect(),
    }
}
