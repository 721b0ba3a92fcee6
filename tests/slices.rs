//! Slices from outside: what `forebay slices` prints is what a run plans, in every format, and in the simulated world no
//! machine is ever without its slice.

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use forebay::run::Run;
use forebay::scenario::{Overrides, Scenario};
use forebay_world::Timestamp;
use serde_json::Value;

const CONTENTION: &str = "scenarios/slice-contention.toml";

fn forebay(arguments: &[&str]) -> Output {
    Command::cargo_bin("forebay")
        .expect("the command is built")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .output()
        .expect("it runs")
}

fn data(arguments: &[&str]) -> String {
    let output = forebay(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it speaks UTF-8")
}

#[test]
fn what_is_printed_is_what_a_run_plans() {
    let scenario =
        Scenario::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join(CONTENTION), &Overrides::default()).unwrap();
    let mut run = Run::new(&scenario, "hpa").unwrap();
    let until = scenario.setup.start + "75min".parse().unwrap();
    let tick = std::iter::from_fn(|| run.tick().unwrap()).find(|tick| tick.observation.at == until).unwrap();
    let told: Value =
        serde_json::from_str(&data(&["slices", CONTENTION, "-p", "hpa", "--at", "75min", "--format", "json"]))
            .expect("it is JSON");
    assert_eq!(told["at"], serde_json::to_value(until).unwrap());
    assert_eq!(told["generation"], tick.plan.generation.0);
    let slices = told["slices"].as_array().unwrap();
    assert_eq!(slices.len(), tick.plan.slices.len());
    let mut gave_way = 0;
    for (told, (id, planned)) in slices.iter().zip(&tick.plan.slices) {
        let (region, class) = scenario.setup.topology.cell_at(id.index());
        assert_eq!(told["region"], scenario.setup.topology.region(region).name);
        assert_eq!(told["class"], scenario.setup.topology.class(class).name);
        assert_eq!(told["guarantee_bps"], planned.guarantee.0);
        assert_eq!(told["ceiling_bps"], planned.ceiling.0);
        assert_eq!(told["dscp"], planned.dscp);
        match &tick.decision.cells[id.index()].gave_way {
            None => assert!(told["gave_way"].is_null()),
            Some(why) => {
                gave_way += 1;
                assert_eq!(told["gave_way"]["reason"], why.reason);
            }
        }
    }
    assert!(gave_way > 0, "during the release somebody gives way");
    let ietf: Value =
        serde_json::from_str(&data(&["slices", CONTENTION, "-p", "hpa", "--at", "75min", "--format", "ietf"])).unwrap();
    let services = ietf["ietf-network-slice-service:network-slice-services"]["slice-service"].as_array().unwrap();
    assert_eq!(services.len(), slices.len());
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("slices", data(&["slices", CONTENTION, "-p", "hpa", "--at", "75min"]));
    });
}

#[test]
fn a_moment_outside_the_run_is_refused() {
    for (at, why) in [("4h", "the run is over after 3 h"), ("10s", "nothing has been decided by then")] {
        let output = forebay(&["slices", CONTENTION, "-p", "hpa", "--at", at]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why) && said.contains("hint: "), "{said}");
        assert!(output.stdout.is_empty());
    }
}

/// A timetable that has no machines most of the time, and a class that hardly anybody wants.
const RARE: &str = r#"
[controller.guard]
floor = 0
shrink_cooldown = "0 s"

[controller.slicing]
linger = "5 min"

[[controller.policy.scheduled.entries]]
cells = "*/download"
from = "01:20"
until = "01:40"
vms = 2

[[controller.policy.scheduled.entries]]
cells = "lis/web"
from = "02:10"
until = "02:30"
vms = 1
"#;

#[test]
fn in_the_simulated_world_no_machine_is_without_its_slice() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(CONTENTION)).unwrap();
    let (head, _) = text.split_once("# A machine that drains").expect("the scenario ends with the controller");
    let rare = head
        .replace("sessions_per_second = 0.35", "sessions_per_second = 0.0")
        .replace("sessions_per_second = 1.0", "sessions_per_second = 0.0005")
        .replace("sessions_per_second = 0.05", "sessions_per_second = 0.0")
        + RARE;
    let scenario = Scenario::from_text("rare.toml", &rare, Path::new(""), &Overrides::default())
        .unwrap_or_else(|error| panic!("{error}"));
    let topology = &scenario.setup.topology;
    let mut run = Run::new(&scenario, "scheduled").unwrap();
    let (mut removed, mut created, mut before) = (0, 0, Vec::new());
    let mut last = Timestamp::EPOCH;
    while let Some(tick) = run.tick().unwrap() {
        for vm in &tick.observation.vms {
            let slice = topology.slice(vm.region, vm.class);
            let stands = tick.observation.slices.iter().any(|seen| seen.slice == slice);
            assert!(stands, "{}: {} has no slice", tick.observation.at, vm.id);
        }
        assert!(tick.plan.vms.values().all(|vm| tick.plan.slices.contains_key(&vm.slice)));
        let now: Vec<_> = tick.plan.slices.keys().copied().collect();
        removed += before.iter().filter(|slice| !now.contains(slice)).count();
        created += now.iter().filter(|slice| !before.contains(slice)).count();
        before = now;
        last = tick.observation.at;
    }
    assert_eq!(last, scenario.setup.end);
    assert!(created > 2 && removed > 2, "{created} came, {removed} went");
}
