//! Slice services as JSON of the YANG module `ietf-network-slice-service` (draft-ietf-teas-ietf-network-slice-nbi-yang,
//! revision 2026-05-27), as RFC 7951 encodes it: 64-bit integers are text, identities carry their module's name.
//!
//! Priority and weight have no leaf there and go into opaque tags; guarantee and ceiling also stand as committed and peak
//! rate (`cir`, `pir`) where the traffic of the machines comes in. Written only: nothing is read back.

use serde::Serialize;

use super::{DemarcationPoint, Expectation, SliceService};

/// The document: what `GET /restconf/data/ietf-network-slice-service:network-slice-services` would answer (RFC 8040).
#[derive(Serialize)]
pub struct Document<'a> {
    #[serde(rename = "ietf-network-slice-service:network-slice-services")]
    root: Services<'a>,
}

/// The services as a document.
pub fn document(services: &[SliceService]) -> Document<'_> {
    Document { root: Services { slice_service: services.iter().map(Service::of).collect() } }
}

/// Identities of the module, with its name.
mod identity {
    pub(super) const OPAQUE: &str = "ietf-network-slice-service:opaque";
    pub(super) const POINT_TO_MULTIPOINT: &str = "ietf-network-slice-service:point-to-multipoint";
    pub(super) const SENDER: &str = "ietf-network-slice-service:sender-role";
    pub(super) const RECEIVER: &str = "ietf-network-slice-service:receiver-role";
    pub(super) const BANDWIDTH: &str = "ietf-network-slice-service:one-way-bandwidth";
    pub(super) const DELAY: &str = "ietf-network-slice-service:one-way-delay-maximum";
    pub(super) const ISOLATION: &str = "ietf-network-slice-service:traffic-isolation";
    pub(super) const DSCP: &str = "ietf-network-slice-service:dscp";
    pub(super) const ANY: &str = "ietf-network-slice-service:any";
}

/// `container network-slice-services`
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Services<'a> {
    slice_service: Vec<Service<'a>>,
}

/// `list slice-service`
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Service<'a> {
    id: &'a str,
    description: &'a str,
    service_tags: Tags,
    service_slo_sle_policy: Policy,
    sdps: Sdps<'a>,
    connection_groups: Groups<'a>,
}

/// `container service-tags`
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Tags {
    tag_type: [Tag; 1],
}

/// `list tag-type`
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Tag {
    tag_type: &'static str,
    tag_type_value: [String; 2],
}

/// `container service-slo-sle-policy`
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Policy {
    slo_policy: SloPolicy,
    sle_policy: SlePolicy,
}

/// `container slo-policy`
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct SloPolicy {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metric_bound: Vec<MetricBound>,
}

/// `list metric-bound`
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct MetricBound {
    metric_type: &'static str,
    metric_unit: &'static str,
    bound: String,
}

/// `container sle-policy`
#[derive(Serialize)]
struct SlePolicy {
    isolation: Vec<&'static str>,
}

/// `container sdps`
#[derive(Serialize)]
struct Sdps<'a> {
    sdp: Vec<Sdp<'a>>,
}

/// `list sdp`
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Sdp<'a> {
    id: &'a str,
    description: &'a str,
    node_id: &'a str,
    service_match_criteria: Criteria<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incoming_qos_policy: Option<QosPolicy>,
}

/// `container service-match-criteria`
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Criteria<'a> {
    match_criterion: [Criterion<'a>; 1],
}

/// `list match-criterion`
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Criterion<'a> {
    index: u32,
    match_type: [MatchType; 1],
    target_connection_group_id: &'a str,
    connection_group_sdp_role: &'static str,
}

/// `list match-type`
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct MatchType {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dscp: Option<[u8; 1]>,
}

/// `container incoming-qos-policy`
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct QosPolicy {
    rate_limits: RateLimits,
}

/// `container rate-limits`, of which `ietf-ac-common` (RFC 9833) says more
#[derive(Serialize)]
struct RateLimits {
    cir: String,
    pir: String,
}

/// `container connection-groups`
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Groups<'a> {
    connection_group: [Group<'a>; 1],
}

/// `list connection-group`
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Group<'a> {
    id: &'a str,
    connectivity_type: &'static str,
    connectivity_construct: [Construct<'a>; 1],
}

/// `list connectivity-construct`
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Construct<'a> {
    id: &'static str,
    p2mp_sender_sdp: &'a str,
    p2mp_receiver_sdp: Vec<&'a str>,
}

impl<'a> Service<'a> {
    fn of(service: &'a SliceService) -> Self {
        let sender = Sdp::of(&service.sender, service, identity::SENDER);
        let receivers = service.receivers.iter().map(|receiver| Sdp::of(receiver, service, identity::RECEIVER));
        let construct = Construct {
            id: "1",
            p2mp_sender_sdp: &service.sender.id,
            p2mp_receiver_sdp: service.receivers.iter().map(|receiver| receiver.id.as_str()).collect(),
        };
        Service {
            id: &service.id,
            description: &service.description,
            service_tags: Tags {
                tag_type: [Tag {
                    tag_type: identity::OPAQUE,
                    tag_type_value: [format!("priority={}", service.priority), format!("weight={}", service.weight)],
                }],
            },
            service_slo_sle_policy: Policy::of(service),
            sdps: Sdps { sdp: std::iter::once(sender).chain(receivers).collect() },
            connection_groups: Groups {
                connection_group: [Group {
                    id: &service.id,
                    connectivity_type: identity::POINT_TO_MULTIPOINT,
                    connectivity_construct: [construct],
                }],
            },
        }
    }
}

impl Policy {
    fn of(service: &SliceService) -> Self {
        let objectives = &service.objectives;
        let bound =
            |metric_type, metric_unit, bound: u64| MetricBound { metric_type, metric_unit, bound: bound.to_string() };
        // Zero would mean without bound.
        let bandwidth = Some(objectives.bandwidth.0).filter(|rate| *rate > 0);
        let latency = objectives.latency.map(|latency| latency.as_nanos() / 1_000).filter(|micros| *micros > 0);
        let metric_bound = [
            bandwidth.map(|rate| bound(identity::BANDWIDTH, "bps", rate)),
            latency.map(|micros| bound(identity::DELAY, "microseconds", micros)),
        ];
        let isolation = |expectation: &Expectation| match expectation {
            Expectation::TrafficIsolation => identity::ISOLATION,
        };
        Policy {
            slo_policy: SloPolicy { metric_bound: metric_bound.into_iter().flatten().collect() },
            sle_policy: SlePolicy { isolation: service.expectations.iter().map(isolation).collect() },
        }
    }
}

impl<'a> Sdp<'a> {
    /// What machines send is known by its mark, and limited where it comes in.
    fn of(point: &'a DemarcationPoint, service: &'a SliceService, role: &'static str) -> Self {
        let match_type = match service.mark {
            Some(mark) => MatchType { r#type: identity::DSCP, dscp: Some([mark.number()]) },
            None => MatchType { r#type: identity::ANY, dscp: None },
        };
        let criterion = Criterion {
            index: 1,
            match_type: [match_type],
            target_connection_group_id: &service.id,
            connection_group_sdp_role: role,
        };
        let limits =
            || RateLimits { cir: service.objectives.bandwidth.0.to_string(), pir: service.ceiling.0.to_string() };
        Sdp {
            id: &point.id,
            description: &point.description,
            node_id: &point.node,
            service_match_criteria: Criteria { match_criterion: [criterion] },
            incoming_qos_policy: (role == identity::SENDER).then(|| QosPolicy { rate_limits: limits() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slicing::service::services;
    use crate::small_world::topology;
    use forebay_world::{BitsPerSecond, Duration, PlannedSlice, RegionId, SliceId, Steering};
    use serde_json::{Value, json};
    use std::collections::BTreeSet;

    /// Nodes of the module that are written here: parent, name, and whether it may be written at most once, as the module
    /// has them. Whatever else stands in a document is an error.
    const TREE: &[(&str, &[&str])] = &[
        ("network-slice-services", &["slice-service"]),
        (
            "slice-service",
            &["id", "description", "service-tags", "service-slo-sle-policy", "sdps", "connection-groups"],
        ),
        ("service-tags", &["tag-type"]),
        ("tag-type", &["tag-type", "tag-type-value"]),
        ("service-slo-sle-policy", &["slo-policy", "sle-policy"]),
        ("slo-policy", &["metric-bound"]),
        ("metric-bound", &["metric-type", "metric-unit", "bound"]),
        ("sle-policy", &["isolation"]),
        ("sdps", &["sdp"]),
        ("sdp", &["id", "description", "node-id", "service-match-criteria", "incoming-qos-policy"]),
        ("service-match-criteria", &["match-criterion"]),
        ("match-criterion", &["index", "match-type", "target-connection-group-id", "connection-group-sdp-role"]),
        ("match-type", &["type", "dscp"]),
        ("incoming-qos-policy", &["rate-limits"]),
        ("rate-limits", &["cir", "pir"]),
        ("connection-groups", &["connection-group"]),
        ("connection-group", &["id", "connectivity-type", "connectivity-construct"]),
        ("connectivity-construct", &["id", "p2mp-sender-sdp", "p2mp-receiver-sdp"]),
    ];
    /// Keys and mandatory leaves.
    const NEEDED: &[(&str, &[&str])] = &[
        ("slice-service", &["id"]),
        ("tag-type", &["tag-type"]),
        ("metric-bound", &["metric-type", "metric-unit"]),
        ("sdp", &["id"]),
        ("match-criterion", &["index", "target-connection-group-id"]),
        ("match-type", &["type"]),
        ("connection-group", &["id"]),
        ("connectivity-construct", &["id"]),
    ];
    const UINT64: &[&str] = &["bound", "cir", "pir"];
    const IDENTITIES: &[&str] = &["metric-type", "isolation", "type", "connectivity-type", "connection-group-sdp-role"];

    fn check(name: &str, value: &Value) {
        let Some((_, children)) = TREE.iter().find(|(parent, _)| *parent == name) else {
            let leaves = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            for leaf in leaves {
                let text = leaf.as_str().unwrap_or("");
                assert!(leaf.is_string() || leaf.is_u64(), "{name}: {leaf}");
                assert!(!UINT64.contains(&name) || text.parse::<u64>().is_ok(), "{name}: {leaf} (RFC 7951, sec. 6.1)");
                assert!(
                    !IDENTITIES.contains(&name) || text.starts_with("ietf-network-slice-service:"),
                    "{name}: {leaf}"
                );
            }
            return;
        };
        let entries = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for entry in entries {
            // The list and its key are namesakes.
            let Some(object) = entry.as_object() else {
                assert_eq!(name, "tag-type", "{entry} is a container");
                assert_eq!(entry, "ietf-network-slice-service:opaque");
                continue;
            };
            for (child, value) in object {
                assert!(children.contains(&child.as_str()), "{name} has no {child}");
                check(child, value);
            }
            for needed in NEEDED.iter().filter(|(parent, _)| *parent == name).flat_map(|(_, needed)| *needed) {
                assert!(object.contains_key(*needed), "{name} without {needed}");
            }
        }
    }

    fn example() -> Value {
        let topology = topology(3);
        let plain = PlannedSlice {
            guarantee: BitsPerSecond(2_000_000_000),
            ceiling: BitsPerSecond(100_000_000_000),
            weight: 3,
            priority: 1,
            dscp: 26,
            latency: Some(Duration::from_millis(125)),
        };
        let bare = PlannedSlice { guarantee: BitsPerSecond::ZERO, dscp: 0, latency: None, ..plain };
        let mut steering = Steering::home(topology.cells());
        // Viewers of iad are sent to ams, in part.
        steering.0[2] = vec![(RegionId(0), 1), (RegionId(1), 3)];
        let services = services(&[(SliceId(0), plain), (SliceId(3), bare)].into(), &steering, &topology);
        serde_json::to_value(document(&services)).unwrap()
    }

    #[test]
    fn a_document_has_the_nodes_of_the_module_and_all_that_are_mandatory() {
        let document = example();
        let (root, services) = document.as_object().unwrap().iter().next().unwrap();
        assert_eq!(root, "ietf-network-slice-service:network-slice-services");
        check("network-slice-services", services);
        for service in services["slice-service"].as_array().unwrap() {
            let sdps: Vec<&str> =
                service["sdps"]["sdp"].as_array().unwrap().iter().map(|sdp| sdp["id"].as_str().unwrap()).collect();
            assert!(sdps.len() >= 2, "a service has two SDPs at least");
            assert_eq!(sdps.iter().collect::<BTreeSet<_>>().len(), sdps.len(), "each with an id of its own");
            let group = &service["connection-groups"]["connection-group"][0];
            let construct = &group["connectivity-construct"][0];
            let mut joined = vec![construct["p2mp-sender-sdp"].as_str().unwrap()];
            joined.extend(construct["p2mp-receiver-sdp"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()));
            assert_eq!(joined, sdps, "the construct joins the SDPs that there are");
            for sdp in service["sdps"]["sdp"].as_array().unwrap() {
                let target = &sdp["service-match-criteria"]["match-criterion"][0]["target-connection-group-id"];
                assert_eq!(*target, group["id"]);
            }
        }
    }

    #[test]
    fn objectives_are_bounds_with_units() {
        let document = example();
        let services = &document["ietf-network-slice-service:network-slice-services"]["slice-service"];
        let bounds = &services[0]["service-slo-sle-policy"]["slo-policy"]["metric-bound"];
        let expected = json!([
            {
                "metric-type": "ietf-network-slice-service:one-way-bandwidth",
                "metric-unit": "bps",
                "bound": "2000000000",
            },
            {
                "metric-type": "ietf-network-slice-service:one-way-delay-maximum",
                "metric-unit": "microseconds",
                "bound": "125000",
            },
        ]);
        assert_eq!(*bounds, expected);
        let receivers = &services[0]["connection-groups"]["connection-group"][0]["connectivity-construct"][0];
        assert_eq!(receivers["p2mp-receiver-sdp"], json!(["ams-video-to-ams", "ams-video-to-iad"]));
        // No guarantee is not a bound of zero, which would mean without bound.
        assert_eq!(services[1]["service-slo-sle-policy"]["slo-policy"], json!({}));
        let criteria = &services[1]["sdps"]["sdp"][0]["service-match-criteria"]["match-criterion"][0];
        assert_eq!(criteria["match-type"], json!([{ "type": "ietf-network-slice-service:any" }]));
    }
}
