//! What it takes to do what the mandates say: what cells that may be written need to write with, and what demand is told by.

use std::collections::BTreeSet;

use forebay_adapters::Prefix;
use forebay_world::{ClassId, FlavourId, RegionId};

use super::spec::ProductionSpec;
use super::{Bridge, Hypervisor, NameServer, Production};
use crate::controller::config::DemandSource;
use crate::scenario::finding::Findings;

/// Finds what is missing.
pub(super) fn check(production: &Production, spec: &ProductionSpec, findings: &mut Findings) {
    check_demand(production, spec, findings);
    let topology = &production.topology;
    let written: Vec<(RegionId, ClassId)> =
        topology.cell_ids().filter(|(region, class)| production.mandate(*region, *class).may_write()).collect();
    let regions: BTreeSet<RegionId> = written.iter().map(|(region, _)| *region).collect();
    let classes: BTreeSet<ClassId> = written.iter().map(|(_, class)| *class).collect();
    // Whether machines of ours, and of providers, are made in each of them.
    let kinds: Vec<(RegionId, [bool; 2])> =
        regions.iter().map(|region| (*region, check_region(*region, production, spec, findings))).collect();
    for class in &classes {
        if production.health_of(*class).is_none() {
            let name = &topology.class(*class).name;
            findings.add(
                spec.class[class.index()].get_ref().name.span(),
                format!("class \"{name}\" may be written, and has no [health.{name}]"),
                "whether a machine serves must be asked",
                format!("add `[health.{name}]` with `port = 80` and `path = \"/health\"`, or make its cells `shadow`"),
            );
        }
    }
    if let Some(section) = spec.steering.as_ref().filter(|_| !written.is_empty())
        && let Some(NameServer::Rfc2136 { key: None, .. }) = production.answering.as_ref().map(|of| &of.server)
    {
        findings.add(
            section.get_ref().kind.span(),
            "steering needs a key, for something may be written",
            "`key_file` or `key_env` is needed here",
            "add `key_file = \"…\"`, a file that only its user can read",
        );
    }
    let flavours: BTreeSet<FlavourId> =
        classes.iter().flat_map(|class| production.market.allowed[class.index()].iter().copied()).collect();
    for flavour in flavours {
        check_flavour(flavour, &kinds, production, spec, findings);
    }
}

/// That demand is told by something.
fn check_demand(production: &Production, spec: &ProductionSpec, findings: &mut Findings) {
    let topology = &production.topology;
    let looked_at = |class: ClassId| {
        let mandates = topology.cell_ids().zip(&production.mandates);
        mandates.filter(|((_, of), _)| *of == class).any(|(_, mandate)| *mandate != super::Mandate::Off)
    };
    match spec.controller.get_ref().demand {
        DemandSource::Dns if production.queries.is_none() => findings.add(
            spec.controller.span(),
            "`controller.demand` is \"dns\", and there is no [dns]",
            "queries must be seen somewhere",
            "add `[dns]` with `dnstap = [\"unix:/run/forebay/dnstap.sock\"]`",
        ),
        DemandSource::Dns => {
            let told = production.queries.iter().flat_map(|queries| queries.class_of.iter().flatten());
            let told: BTreeSet<ClassId> = told.copied().collect();
            for (index, class) in topology.classes.iter().enumerate() {
                if !told.contains(&ClassId::at(index)) && looked_at(ClassId::at(index)) {
                    findings.add(
                        spec.class[index].get_ref().name.span(),
                        format!("nothing tells the demand of class \"{}\"", class.name),
                        "`controller.demand` is \"dns\", and [dns.names] has no name of it",
                        format!("add `{} = [\"www.cdn.example\"]` to [dns.names], or make its cells `off`", class.name),
                    );
                }
            }
        }
        DemandSource::Sessions => {
            for (index, class) in topology.classes.iter().enumerate() {
                let told = production.health[index].as_ref().is_some_and(|health| health.sessions.is_some());
                if !told && looked_at(ClassId::at(index)) {
                    findings.add(
                        spec.class[index].get_ref().name.span(),
                        format!("nothing tells the demand of class \"{}\"", class.name),
                        "`controller.demand` is \"sessions\", and its machines are not asked how many they have",
                        format!(
                            "add `sessions = {{ path = \"/sessions\" }}` to `[health.{}]`, or set `demand = \"dns\"` in \
                             [controller]",
                            class.name
                        ),
                    );
                }
            }
        }
    }
}

/// That machines can be made in a region; whether on hosts of ours, and of a provider.
fn check_region(
    region: RegionId,
    production: &Production,
    spec: &ProductionSpec,
    findings: &mut Findings,
) -> [bool; 2] {
    let topology = &production.topology;
    let name = &topology.region(region).name;
    let place = spec.region[region.index()].get_ref().name.span();
    let mut without: Vec<&str> = Vec::new();
    let mut kinds = [false, false];
    let mut ovs_missing = false;
    let network = production.network(region);
    let on_ovs = matches!(network.and_then(|network| network.bridge.as_ref()), Some(Bridge::OpenVswitch(_)));
    for (host, on) in topology.hosts.iter().zip(&production.hypervisor_of).filter(|(host, _)| host.region == region) {
        let Some(on) = on else {
            without.push(&host.name);
            continue;
        };
        let hypervisor = &production.hypervisors[*on].hypervisor;
        kinds[usize::from(hypervisor.is_provider())] = true;
        ovs_missing |= on_ovs && matches!(hypervisor, Hypervisor::Qemu { ovs: None, .. });
    }
    if !without.is_empty() {
        let shown = without.iter().take(4).copied().collect::<Vec<_>>().join(", ");
        let more = if without.len() > 4 { ", …" } else { "" };
        findings.add(
            place.clone(),
            format!("region \"{name}\" may be written, and nothing makes machines on {shown}{more}"),
            "every host needs a hypervisor",
            format!("add a [[hypervisor]] with `hosts = \"{name}-*\"`, or make its cells `shadow`"),
        );
    }
    if kinds[0] {
        let missing = [
            ("no network", network.is_none(), "addresses = \"10.20.0.0/24\"` and an `executor"),
            (
                "no `addresses`",
                network.is_some_and(|network| network.addresses.is_none()),
                "addresses = \"10.20.0.0/24\"",
            ),
            ("no `bridge`", network.is_some_and(|network| network.bridge.is_none()), "bridge = \"br0\""),
        ];
        for (what, is_missing, example) in missing {
            if is_missing {
                findings.add(
                    place.clone(),
                    format!("region \"{name}\" may be written, and its machines have {what}"),
                    "machines on hosts of ours are attached to a bridge, with an address of ours",
                    format!("add `{example}` to `[network.{name}]`"),
                );
            }
        }
    } else if kinds[1] && network.is_none_or(|network| network.addresses.is_none()) {
        findings.add(
            place.clone(),
            format!("region \"{name}\" may be written, and its machines have no `addresses`"),
            "a provider is told which address of its subnet each machine gets",
            format!("add `[network.{name}]` with the subnet's network: `addresses = \"10.20.0.0/24\"`"),
        );
    }
    if ovs_missing {
        findings.add(
            place,
            format!("region \"{name}\": QEMU is to attach machines to Open vSwitch, and is not told where that is"),
            "`ovs` is needed in its [[hypervisor]]",
            "add `ovs = \"unix:/run/openvswitch/db.sock\"`",
        );
    }
    kinds
}

/// That machines of a flavour boot wherever they may be made, and that all that is filled in is known.
fn check_flavour(
    flavour: FlavourId,
    kinds: &[(RegionId, [bool; 2])],
    production: &Production,
    spec: &ProductionSpec,
    findings: &mut Findings,
) {
    let name = &production.topology.flavours[flavour.index()].name;
    let place = spec.flavour[flavour.index()].get_ref().name.span();
    let image = production.image(flavour);
    for (of_provider, needed, example) in [
        (false, kinds.iter().any(|(_, of)| of[0]), "disk = \"/var/lib/forebay/images/edge.qcow2\""),
        (
            true,
            kinds.iter().any(|(_, of)| of[1]),
            "provider_image = \"ami-0a1b2c3d\"` and `provider_kind = \"t3.medium\"",
        ),
    ] {
        if needed && !image.is_some_and(|image| image.is_for(of_provider)) {
            let hosts = if of_provider { "a provider" } else { "hosts of ours" };
            findings.add(
                place.clone(),
                format!("flavour \"{name}\" may be made, and has nothing to boot on {hosts}"),
                format!("[image.{name}] is needed, with an image for {hosts}"),
                format!("add `[image.{name}]` with `{example}`"),
            );
        }
    }
    let Some(image) = image else { return };
    for (region, kinds) in kinds {
        let pool = production.network(*region).and_then(|network| network.addresses.as_ref());
        let is_used = [false, true].into_iter().any(|of| kinds[usize::from(of)] && image.uses("gateway", of));
        if is_used && pool.is_some_and(|pool| pool.gateway().is_none()) {
            let region = &production.topology.region(*region).name;
            findings.add(
                place.clone(),
                format!("image of flavour \"{name}\": {{gateway}} is not known in region \"{region}\""),
                format!("`gateway` of [network.{region}] is needed"),
                "add it, or leave {gateway} out",
            );
        }
    }
}

/// What is allowed and may surprise.
pub(super) fn remarks(production: &Production) -> Vec<String> {
    let topology = &production.topology;
    let mut remarks = Vec::new();
    for hosted in &production.hypervisors {
        if hosted.hosts.len() > 1 && matches!(hosted.hypervisor, Hypervisor::Libvirt { .. }) {
            let names: Vec<&str> =
                hosted.hosts.iter().take(3).map(|host| topology.hosts[host.index()].name.as_str()).collect();
            remarks.push(format!(
                "{} hosts ({}{}) are one libvirt daemon, {}: where each has its own, `uri` needs {{host}}",
                hosted.hosts.len(),
                names.join(", "),
                if hosted.hosts.len() > names.len() { ", …" } else { "" },
                hosted.hypervisor.name(),
            ));
        }
    }
    for (region, network) in topology.regions.iter().zip(&production.networks) {
        if network.as_ref().is_some_and(|network| network.executor.is_none()) {
            remarks.push(format!("region {}: nobody makes the slices of its access link ([network.{0}])", region.name));
        }
    }
    remarks.extend(kept_by_providers(production));
    if production.may_write() && production.answering.is_none() {
        remarks.push("machines are made, and nobody is steered to them: there is no [steering]".to_owned());
    }
    if let Some(answering) = &production.answering {
        for (class, name) in topology.classes.iter().zip(&answering.names) {
            if name.is_none() {
                remarks.push(format!(
                    "clients of class {} are not steered: [steering.names] has no name for it",
                    class.name
                ));
            }
        }
    }
    remarks
}

/// EC2 keeps the first four addresses of a subnet and the last (Amazon VPC User Guide, "Subnet CIDR blocks").
fn kept_by_providers(production: &Production) -> Vec<String> {
    let topology = &production.topology;
    let mut remarks = Vec::new();
    for (index, region) in topology.regions.iter().enumerate() {
        let hypervisors =
            topology.hosts.iter().zip(&production.hypervisor_of).filter(|(host, _)| host.region.index() == index);
        let mut ec2 = hypervisors.filter_map(|(_, on)| Some(&production.hypervisors[(*on)?].hypervisor));
        let pool = production.network(RegionId::at(index)).and_then(|network| network.addresses.as_ref());
        let Some(pool) = pool.filter(|_| ec2.any(|hypervisor| matches!(hypervisor, Hypervisor::Ec2 { .. }))) else {
            continue;
        };
        let first = pool.network().address();
        let kept = Prefix::new(first, if first.is_ipv4() { 30 } else { 126 });
        let Some(kept) = kept.filter(|kept| pool.gives_within(*kept) && kept.length() > pool.network().length()) else {
            continue;
        };
        remarks.push(format!(
            "region {}: where {} is a whole subnet, EC2 keeps its first four addresses: `reserved = [\"{kept}\"]` in \
             [network.{0}] gives them to no machine",
            region.name,
            pool.network(),
        ));
    }
    remarks
}
