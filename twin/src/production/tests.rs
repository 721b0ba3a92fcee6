use std::collections::BTreeSet;
use std::path::PathBuf;

use forebay_adapters::machines::Image;
use forebay_world::{BitsPerSecond, VmId};
use proptest::prelude::*;

use super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/production")
}

fn text() -> String {
    std::fs::read_to_string(folder().join("edge.toml")).unwrap()
}

fn read(text: &str) -> Result<Production, String> {
    Production::from_text("edge.toml", text, &folder()).map_err(|error| match error {
        ScenarioError::Refused(refused) => refused.render(false),
        other => other.to_string(),
    })
}

/// The file with one part replaced, which must be there.
fn with(from: &str, to: &str) -> Result<Production, String> {
    let text = text();
    assert!(text.contains(from), "{from}");
    read(&text.replacen(from, to, 1))
}

#[test]
fn a_whole_file_is_read_as_it_says() {
    let production = read(&text()).unwrap_or_else(|said| panic!("{said}"));
    let topology = &production.topology;
    assert_eq!((topology.regions.len(), topology.hosts.len(), topology.cells()), (3, 5, 6));
    assert_eq!(topology.links[0].capacity, BitsPerSecond(40_000_000_000));
    let mandates: Vec<&str> = production.mandates.iter().map(|mandate| mandate.name()).collect();
    assert_eq!(mandates, ["live", "advise", "shadow", "shadow", "shadow", "shadow"]);

    // Three hosts of the cloud are one hypervisor, and the region that is only watched has none.
    assert_eq!(production.hypervisor_of, [Some(0), None, Some(1), Some(1), Some(1)]);
    assert_eq!(production.hypervisors[1].hosts, [HostId(2), HostId(3), HostId(4)]);
    let Some(Hypervisor::Qemu { folder, kvm: false, processor, ovs: Some(_), .. }) = production.hypervisor(HostId(0))
    else {
        panic!("{:?}", production.hypervisor(HostId(0)))
    };
    assert_eq!((folder, processor.as_str()), (&production.state.join("machines"), "max"));

    let (ams, web) = (RegionId(0), ClassId(1));
    let network = production.network(ams).unwrap();
    assert_eq!(network.bridge, Some(Bridge::OpenVswitch("br0".to_owned())));
    let pool = network.addresses.as_ref().unwrap();
    // Without the network itself, the gateway, one reserved, and the last sixteen.
    assert_eq!(pool.size(), 256 - 1 - 1 - 1 - 16);
    let address = pool.assign(VmId(0), &BTreeSet::new()).unwrap();
    assert_eq!((address.to_string(), pool.public_of(address).to_string()), ("10.20.0.3".into(), "192.0.2.3".into()));

    let filling = production.filling(VmId(7), ams, web, Some(address));
    let small = production.image(FlavourId(1)).unwrap();
    let Some(Image::Kernel { command_line, .. }) = small.image(false, &filling) else { panic!("{small:?}") };
    assert_eq!(command_line, "console=ttyS0 address=10.20.0.3/24 gateway=10.20.0.1");
    assert_eq!(small.image(true, &filling), None);
    let large = production.image(FlavourId(0)).unwrap();
    assert!(matches!(large.image(true, &filling), Some(Image::Provider { .. })));
    let told = large.user_data(&filling).unwrap();
    assert!(
        told.contains("hostname: vm-7\n") && told.contains("region=ams class=web home=${HOME} name=${name}"),
        "{told}"
    );
    assert!(told.contains("- { systemctl: restart }"), "{told}");

    let mut queries = production.queries.clone().unwrap();
    let mut class_of = |name: &str| queries.class_of[queries.names.class_of(name)];
    assert_eq!(class_of("a.video.cdn.example"), Some(ClassId(0)));
    assert_eq!(class_of("x.live.cdn.example"), Some(ClassId(0)));
    assert_eq!(class_of("live.cdn.example"), Some(web), "only what is below it is video");
    assert_eq!(class_of("elsewhere.example"), None);
    let geography = queries.whereabouts.open(&topology.regions).unwrap();
    assert_eq!(geography.region_of("203.0.113.9".parse().unwrap()), Some(RegionId(1)));
    assert_eq!(geography.region_of("8.8.8.8".parse().unwrap()), Some(ams));

    assert_eq!(production.ttl, [Duration::from_secs(20), Duration::from_secs(30)]);
    let answering = production.answering.as_ref().unwrap();
    assert_eq!(answering.names[1].as_ref().unwrap().as_str(), "www.cdn.example");
    assert_eq!((answering.rails.share_moved_most, answering.rails.ttl_least_seconds), (0.2, 20));
    let health = production.health_of(ClassId(0)).unwrap();
    assert_eq!(health.warm, ["/popular/1.ts", "/popular/2.ts", "/popular/3.ts?rendition=720"]);
    assert_eq!(production.incumbents[0].flavour, FlavourId(0));
    assert_eq!(production.controller.guard.budget_per_hour, Some(60.0));
    assert!(production.remarks.is_empty(), "{:?}", production.remarks);
}

/// What was decided is written down so that it reads back as the same.
#[test]
fn what_is_resolved_reads_back_as_the_same() {
    let production = read(&text()).unwrap();
    let again = read(&production.resolved).unwrap_or_else(|said| panic!("{said}\n{}", production.resolved));
    assert_eq!(format!("{:?}", strip(again)), format!("{:?}", strip(production)));
}

fn strip(mut production: Production) -> Production {
    production.resolved.clear();
    production
}

#[test]
fn shadow_needs_no_more_than_a_topology_and_queries() {
    let text = text();
    let until = |from: &str| text.find(from).unwrap();
    let small = format!(
        "{}{}\n[controller]\ndemand = \"dns\"\n",
        &text[..until("# The machines of this host")],
        &text[until("[dns]")..until("[steering]")],
    );
    let production = read(&small).unwrap_or_else(|said| panic!("{said}"));
    assert!(!production.may_write() && production.hypervisors.is_empty() && production.answering.is_none());
    assert!(production.mandates.iter().all(|mandate| *mandate == Mandate::Shadow));
}

#[test]
fn what_may_be_written_needs_what_it_is_written_with() {
    let live = "cells = [{ cells = \"ams/video\", mode = \"live\" }, { cells = \"ams/web\", mode = \"advise\" }]";
    for (from, to, said) in [
        ("mode = \"shadow\"\ncells", "mode = \"live\"\ncells", "nothing makes machines on fra-001"),
        (
            live,
            "cells = [{ cells = \"dub/*\", mode = \"live\" }]",
            "flavour \"edge-4\" may be made, and has nothing to boot on a provider",
        ),
        (
            live,
            "cells = [{ cells = \"dub/*\", mode = \"live\" }]",
            "region \"dub\" may be written, and its machines have no `addresses`",
        ),
        ("[health.web]", "[health.video2]", "unknown class \"video2\""),
        ("[health.web]\nport = 80\npath = \"/health\"\n", "", "class \"web\" may be written, and has no [health.web]"),
        ("gateway = \"10.20.0.1\"\n", "", "{gateway} is not known in region \"ams\""),
        (
            "addresses = \"10.20.0.0/24\"\ngateway = \"10.20.0.1\"\nreserved = [\"10.20.0.2\", \"10.20.0.240/28\"]\npublic = \"192.0.2.0/24\"",
            "",
            "its machines have no `addresses`",
        ),
        (
            "executor = { kind = \"ovs\", database = \"unix:/run/openvswitch/db.sock\", bridge = \"br0\", port = \"uplink\" }",
            "",
            "its machines have no `bridge`",
        ),
        (
            "kind = \"ovs\", database = \"unix:/run/openvswitch/db.sock\", bridge = \"br0\", port = \"uplink\"",
            "kind = \"ovn\", database = \"tcp:192.0.2.9:6641\", switch = \"edge\"",
            "is not told where that is",
        ),
        ("demand = \"dns\"", "demand = \"sessions\"", "nothing tells the demand of class \"web\""),
        ("policy = \"predictive\"", "policy = \"oracle\"", "policy oracle cannot run in production"),
        ("web = [\"cdn.example\"]\n", "", "nothing tells the demand of class \"web\""),
        ("\n[dns]\n", "\n[dnss]\n", "unknown key `dnss`"),
    ] {
        let refused = with(from, to).expect_err(said);
        assert!(refused.contains(said) && refused.contains("hint: "), "{said}: {refused}");
    }
}

/// A cloud may be written: with addresses of its subnet, and without a bridge or an executor of slices.
#[test]
fn a_region_of_a_cloud_needs_addresses_and_neither_bridge_nor_slices() {
    let written = |network: &str| {
        let live = "cells = [{ cells = \"ams/video\", mode = \"live\" }, { cells = \"ams/web\", mode = \"advise\" }]";
        let cloud = "cells = [{ cells = \"dub/*\", mode = \"live\" }]";
        let text = text().replacen(live, cloud, 1).replacen("[dns]\n", &format!("{network}\n[dns]\n"), 1);
        let small = "kernel = \"/var/lib/forebay/images/vmlinuz\"\n";
        let both = format!(
            "{small}provider_image = \"ami-0a1b2c3d\"\nprovider_kind = \"c6i.xlarge\"\nuser_data = \"cloud.yaml\"\n"
        );
        let folder = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(self::folder()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        let told = "#cloud-config\naddress: {address}/{prefix_length}\ngateway: {gateway}\n";
        std::fs::write(folder.path().join("cloud.yaml"), told).unwrap();
        Production::from_text("edge.toml", &text.replacen(small, &both, 1), folder.path()).map_err(
            |error| match error {
                ScenarioError::Refused(refused) => refused.render(false),
                other => other.to_string(),
            },
        )
    };
    for (network, said) in [
        ("", "region \"dub\" may be written, and its machines have no `addresses`"),
        ("[network.dub]\n", "a provider is told which address of its subnet each machine gets"),
        ("[network.dub]\naddresses = \"10.30.0.0/24\"", "{gateway} is not known in region \"dub\""),
    ] {
        let refused = written(network).expect_err(said);
        assert!(refused.contains(said) && refused.contains("hint: "), "{said}: {refused}");
        assert!(!refused.contains("bridge"), "{refused}");
    }
    let kept = |reserved: &str| {
        let network = format!("[network.dub]\naddresses = \"10.30.0.0/24\"\ngateway = \"10.30.0.1\"\n{reserved}");
        written(&network).unwrap_or_else(|said| panic!("{said}"))
    };
    let production = kept("");
    let said = "region dub: where 10.30.0.0/24 is a whole subnet, EC2 keeps its first four addresses: `reserved = \
                [\"10.30.0.0/30\"]` in [network.dub]";
    assert!(production.remarks.iter().any(|remark| remark.starts_with(said)), "{:?}", production.remarks);
    let production = kept("reserved = [\"10.30.0.0/30\"]");
    assert!(!production.remarks.iter().any(|remark| remark.contains("EC2 keeps")), "{:?}", production.remarks);
    let (dub, web) = (RegionId(2), ClassId(1));
    let address = Some("10.30.0.9".parse().unwrap());
    let told = production.image(FlavourId(1)).unwrap().user_data(&production.filling(VmId(7), dub, web, address));
    assert_eq!(told.unwrap(), "#cloud-config\naddress: 10.30.0.9/24\ngateway: 10.30.0.1\n");
}

#[test]
fn what_may_surprise_is_remarked() {
    for (from, to, said) in [
        ("127.0.0.1:9753", "0.0.0.0:9753", "can be read by whoever reaches"),
        ("web = \"www.cdn.example\"\n", "", "clients of class web are not steered"),
        (
            "10.20.0.0/24\"\ngateway = \"10.20.0.1\"\nreserved = [\"10.20.0.2\", \"10.20.0.240/28\"]\npublic = \"192.0.2.0/24\"",
            "10.20.0.0/28\"\ngateway = \"10.20.0.1\"",
            "has 13 addresses, and its hosts have room for 12 machines",
        ),
    ] {
        let production = with(from, to).unwrap_or_else(|said| panic!("{said}"));
        assert!(production.remarks.iter().any(|remark| remark.contains(said)), "{said}: {:?}", production.remarks);
    }
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_shown() {
    let key = "key_file = \"dns.key\"";
    for inline in [
        "key = \"hunter2-hunter2\"",
        "secret = \"hunter2-hunter2\"",
        "key_env = \"hunter2-hunter2\"",
        "key_file = \"hmac-sha256:steer:hunter2-hunter2\"",
        "key = \"\"\"hunter2-hunter2\nhunter2-hunter2\"\"\"",
        "key_file = \"dns.key\"\nurl = \"http://me:hunter2-hunter2@192.0.2.1/\"",
        // Another slip on the same line, and one that ends the reading.
        "api_key = 'hunter2-hunter2', b",
    ] {
        let refused = with(key, inline).expect_err(inline);
        assert!(refused.contains("hint: ") && !refused.contains("hunter2"), "{inline}: {refused}");
    }
    let refused = with(key, "token = \"hunter2\"").unwrap_err();
    assert!(refused.contains("secrets do not stand in this file") && refused.contains("key_file"), "{refused}");
}

#[test]
fn a_production_file_is_told_from_a_scenario() {
    let scenario =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/steady.toml")).unwrap();
    assert!(Production::is_one(&text()) && !Production::is_one(&scenario) && !Production::is_one(""));
    assert!(Production::is_one("[production]\nname = \"cut off"));
    assert!(!Production::is_one("# [production]\n[scenario]\nname = \"cut off"));
}

/// What a slip of the pen, or of a merge, does to a file.
fn slips() -> impl Strategy<Value = Vec<(usize, usize, String)>> {
    let piece = prop_oneof![
        "[\\[\\]{}=\"',#\n0-9a-zé.*/-]{0,6}",
        Just("\n[live]\nmode = \"live\"\n".to_owned()),
        Just("\"live\"".to_owned()),
        Just("[]".to_owned()),
        Just("999999999999".to_owned()),
        Just("\"0 s\"".to_owned()),
        Just("nan".to_owned()),
    ];
    proptest::collection::vec((any::<usize>(), 0usize..60, piece), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever happens to a good file, it is read or refused with something to say.
    #[test]
    fn no_text_makes_it_panic(slips in slips()) {
        let mut text = text();
        for (at, length, piece) in slips {
            let boundary = |mut at: usize| {
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                at
            };
            let from = boundary(at % text.len().max(1));
            let until = boundary((from + length).min(text.len()));
            text.replace_range(from..until.max(from), &piece);
        }
        if let Err(said) = read(&text) {
            prop_assert!(said.contains("Error") || said.contains("error"), "{}", said);
        }
    }

    /// A line that is taken out, or there twice.
    #[test]
    fn no_line_less_or_more_makes_it_panic(line in any::<prop::sample::Index>(), twice: bool) {
        let text = text();
        let mut lines: Vec<&str> = text.lines().collect();
        let at = line.index(lines.len());
        if twice {
            lines.insert(at, lines[at]);
        } else {
            lines.remove(at);
        }
        let _ = read(&lines.join("\n"));
    }
}
