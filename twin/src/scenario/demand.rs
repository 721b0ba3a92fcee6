//! Load, crowds, known events, resolvers and content of a scenario.

use forebay_sim::setup::{Announcement, Content, Dns, FlashCrowd, Load, Synthetic};
use forebay_world::{ClassId, KnownEvent, RegionId, Timestamp};

use super::finding::Findings;
use super::shape;
use super::site::{Site, require_range, require_some_time};
use super::spec::{LoadSpec, ScenarioSpec};

/// Synthetic load of each client region × class, dense.
pub(super) fn check_load(spec: &ScenarioSpec, site: &Site, findings: &mut Findings) -> Vec<Load> {
    let mut load = vec![Load::None; site.topology.cells()];
    for (name, given) in &spec.load {
        let class = site.classes.find(name, findings);
        require_range(&given.sessions_per_second, "sessions_per_second", 0.0, 1e9, findings);
        require_range(&given.noise_sigma, "noise_sigma", 0.0, 3.0, findings);
        require_some_time(&given.noise_step, "noise_step", findings);
        let weights = check_weights(spec, name.get_ref(), given, site, findings);
        let total: f64 = weights.iter().sum();
        if total <= 0.0 || total.is_nan() {
            findings.add(
                name.span(),
                format!("the load of class \"{}\" has no region to come from: all weights are 0", name.get_ref()),
                "at least one region needs a `population` or `weight` above 0",
                "give a region `population = 1.0`",
            );
        }
        // Shapes are checked for every region, also where nobody lives.
        for region in 0..site.topology.regions.len() {
            let own = given.regions.get(site.regions.listed()[region].as_str());
            let daily = shape::daily(own.and_then(|own| own.daily.as_ref()).unwrap_or(&given.daily), findings);
            let weekly = shape::weekly(own.and_then(|own| own.weekly.as_ref()).unwrap_or(&given.weekly), findings);
            let rate = given.sessions_per_second.get_ref() * weights[region] / total;
            if let Some(class) = class
                && rate > 0.0
            {
                load[site.topology.cell(RegionId::at(region), ClassId::at(class))] = Load::Synthetic(Synthetic {
                    sessions_per_second: rate,
                    daily,
                    weekly,
                    noise_sigma: *given.noise_sigma.get_ref(),
                    noise_step: *given.noise_step.get_ref(),
                });
            }
        }
    }
    findings.0.dedup();
    load
}

fn check_weights(spec: &ScenarioSpec, class: &str, given: &LoadSpec, site: &Site, findings: &mut Findings) -> Vec<f64> {
    let mut weights: Vec<f64> = spec.region.iter().map(|region| *region.get_ref().population.get_ref()).collect();
    for (name, own) in &given.regions {
        let region = site.regions.find(name, findings);
        if let Some(weight) = &own.weight {
            require_range(weight, &format!("weight of {class} in {}", name.get_ref()), 0.0, 1e12, findings);
            if let Some(region) = region {
                weights[region] = *weight.get_ref();
            }
        }
    }
    weights
}

/// Flash crowds.
pub(super) fn check_crowds(
    spec: &ScenarioSpec,
    site: &Site,
    start: Timestamp,
    findings: &mut Findings,
) -> Vec<FlashCrowd> {
    let mut crowds = Vec::new();
    for crowd in &spec.crowd {
        let crowd = crowd.get_ref();
        require_range(&crowd.factor, "factor", 0.0, 10_000.0, findings);
        require_range(&crowd.factor_sigma, "factor_sigma", 0.0, 3.0, findings);
        let regions = site.regions.find_all(crowd.regions.as_ref(), findings);
        let classes = site.classes.find_all(crowd.classes.as_ref(), findings);
        let at = crowd.at.get_ref().resolve(start);
        findings.require(
            at >= start,
            crowd.at.span(),
            || format!("crowd \"{}\" begins before the run", crowd.name.get_ref()),
            &format!("the run begins at {start}"),
            "give a span after the start, such as \"2 h\"",
        );
        let mut cells: Vec<usize> = regions
            .iter()
            .flat_map(|region| classes.iter().map(move |class| (*region, *class)))
            .map(|(region, class)| site.topology.cell(RegionId::at(region), ClassId::at(class)))
            .collect();
        cells.sort_unstable();
        cells.dedup();
        crowds.push(FlashCrowd {
            name: crowd.name.get_ref().clone(),
            cells,
            at,
            jitter: crowd.jitter,
            ramp: crowd.ramp,
            hold: crowd.hold,
            decay: crowd.decay,
            factor: *crowd.factor.get_ref(),
            factor_sigma: *crowd.factor_sigma.get_ref(),
        });
    }
    crowds
}

/// Known events.
pub(super) fn check_events(
    spec: &ScenarioSpec,
    site: &Site,
    start: Timestamp,
    findings: &mut Findings,
) -> Vec<Announcement> {
    let ids = super::names::Names::collect("event", spec.event.iter().map(|event| &event.get_ref().id), findings);
    debug_assert_eq!(ids.listed().len(), spec.event.len());
    let mut announced = Vec::new();
    for event in &spec.event {
        let event = event.get_ref();
        let (begin, end) = (event.start.get_ref().resolve(start), event.end.get_ref().resolve(start));
        findings.require(
            begin < end,
            event.end.span(),
            || format!("event \"{}\" ends before it starts", event.id.get_ref()),
            &format!("it starts at {begin}"),
            "give an `end` after its `start`",
        );
        if let Some(uplift) = &event.uplift {
            require_range(uplift, "uplift", 0.0, 10_000.0, findings);
        }
        announced.push(Announcement {
            known_from: event.known_from.as_ref().map_or(start, |when| when.get_ref().resolve(start)),
            event: KnownEvent {
                id: event.id.get_ref().clone(),
                kind: event.kind.clone(),
                start: begin,
                end,
                regions: site
                    .regions
                    .find_all(event.regions.as_ref(), findings)
                    .into_iter()
                    .map(RegionId::at)
                    .collect(),
                classes: site.classes.find_all(event.classes.as_ref(), findings).into_iter().map(ClassId::at).collect(),
                uplift: event.uplift.as_ref().map(|uplift| *uplift.get_ref()),
            },
        });
    }
    announced
}

/// Resolvers and their habits.
pub(super) fn check_dns(spec: &ScenarioSpec, findings: &mut Findings) -> Dns {
    let dns = &spec.dns;
    require_range(&dns.resolver_skew, "resolver_skew", 0.0, 5.0, findings);
    require_range(&dns.extending_share, "extending_share", 0.0, 1.0, findings);
    require_range(&dns.ecs_share, "ecs_share", 0.0, 1.0, findings);
    let mut resolvers = Vec::new();
    for region in &spec.region {
        let count =
            region.get_ref().resolvers.as_ref().or(spec.every_region.resolvers.as_ref()).unwrap_or(&dns.resolvers);
        findings.require(
            (1..=100_000).contains(count.get_ref()),
            count.span(),
            || format!("`resolvers` is {}", count.get_ref()),
            "allowed: 1 to 100000",
            "clients need somebody to ask",
        );
        resolvers.push(*count.get_ref());
    }
    findings.require(
        (1..=100_000).contains(dns.ecs_subnets.get_ref()),
        dns.ecs_subnets.span(),
        || format!("`ecs_subnets` is {}", dns.ecs_subnets.get_ref()),
        "allowed: 1 to 100000",
        "to have none, set `ecs_share = 0.0`",
    );
    Dns {
        resolvers,
        resolver_skew: *dns.resolver_skew.get_ref(),
        ttl: spec.class.iter().map(|class| *class.get_ref().ttl.as_ref().unwrap_or(&dns.ttl).get_ref()).collect(),
        extending_share: *dns.extending_share.get_ref(),
        extended_ttl: dns.extended_ttl,
        ecs_share: *dns.ecs_share.get_ref(),
        ecs_subnets: *dns.ecs_subnets.get_ref(),
    }
}

/// Content and caches.
pub(super) fn check_content(spec: &ScenarioSpec, findings: &mut Findings) -> Content {
    let mut content = Content {
        objects: Vec::new(),
        exponent: Vec::new(),
        cached: Vec::new(),
        origin_delay: spec.content.origin_delay,
    };
    let every = &spec.content;
    for class in &spec.class {
        let own = class.get_ref().content.as_ref();
        let objects = own.map_or(&every.objects, |own| &own.objects);
        let exponent = own.map_or(&every.exponent, |own| &own.exponent);
        findings.require(
            (1..=100_000_000).contains(objects.get_ref()),
            objects.span(),
            || format!("`objects` is {}", objects.get_ref()),
            "allowed: 1 to 100000000",
            "a catalogue has at least one object",
        );
        require_range(exponent, "exponent", 0.0, 5.0, findings);
        content.objects.push(*objects.get_ref());
        content.exponent.push(*exponent.get_ref());
        content.cached.push(own.map_or(every.cached, |own| own.cached));
    }
    findings.0.dedup();
    content
}
