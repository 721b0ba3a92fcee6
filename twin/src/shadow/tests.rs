//! Shadow mode over hypervisors in memory, on a clock that is told what the time is.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_adapters::machines::fake::{ALL, FakeHypervisor, FakeView};
use forebay_adapters::machines::{Foreign, MachineState};
use forebay_adapters::{LoggedQuery, Vantage};
use forebay_sim::Stream;
use forebay_world::*;
use jiff::tz::TimeZone;

use super::*;
use crate::controller::Controller;
use crate::controller::config::DemandSource;
use crate::journal::{Header, replay};
use crate::policy::{self, Knowledge};
use crate::production::Production;
use crate::watch::{Board, EventWatch, Pace, QueryWatch, look_at_hypervisor};

/// Two regions and one class, of which a machine has places for 200 sessions of a minute; who makes machines, where queries
/// are seen and what else a test is about stands after it. Its last table is that of the class.
pub(super) const SITE: &str = r#"
[production]
name = "test"
owner = "forebay-test"
state = "state"
[every_region]
access = { capacity = "100 Gbit/s", delay = "5 ms" }
hosts = [{ count = 2, cpu = "32 vCPU", memory = "64 GiB", nic = "20 Gbit/s", concurrent_boots = 4 }]
[[region]]
name = "ams"
lat = 52.0
lon = 5.0
time_zone = "UTC"
[[region]]
name = "fra"
lat = 50.0
lon = 8.0
time_zone = "UTC"
[mesh]
capacity = "100 Gbit/s"
[[flavour]]
name = "edge"
cpu = "2 vCPU"
memory = "4 GiB"
bandwidth = "2 Gbit/s"
price_per_hour = 0.1
boot_median = "50 s"
warm_up = "10 s"
[[class]]
name = "video"
kind = "streaming"
flavour = "edge"
bit_rate = "5 Mbit/s"
duration = "1 min"
cpu = "10 mCPU"
violation_price_per_minute = 1.0
"#;

/// The production of [`SITE`] and of what stands after it.
pub(super) fn production(rest: &str) -> Production {
    let text = format!("{SITE}{rest}");
    Production::from_text("test.toml", &text, Path::new("")).unwrap_or_else(|error| panic!("{error}"))
}

/// Each region has a hypervisor of its own.
const REST: &str = r#"
ttl = "10 s"
[[hypervisor]]
hosts = "ams-*"
kind = "ec2"
endpoint = "http://127.0.0.1:1"
region = "ams"
[[hypervisor]]
hosts = "fra-*"
kind = "ec2"
endpoint = "http://127.0.0.1:1"
region = "fra"
[dns]
dnstap = ["unix:/nonexistent/dnstap.sock"]
vantage = "authority"
zones = ["cdn.example"]
[dns.geography]
prefixes = "networks.csv"
[live]
freshness = "60 s"
[controller]
period = "60 s"
demand = "dns"
[controller.guard]
floor = 1
[[shadow.incumbent]]
names = "edge-*"
class = "video"
"#;

/// 2026-06-01T00:00:00Z.
const START: u64 = 1_780_272_000;
const TTL: f64 = 10.0;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(START + seconds)
}

/// What happens, and when \[s\].
enum Step {
    /// A machine appears on the hypervisor of a region: its name, and whether it is said since when.
    Comes(usize, &'static str, bool),
    Goes(usize, &'static str),
    Reachable(usize, bool),
    Heard(bool),
    /// Requests of each region's clients \[1/s\].
    Demand([f64; 2]),
}

/// Resolvers of a region, each of which asks when a client does and its answer has ended.
struct Resolvers {
    chance: Stream,
    next: [Vec<f64>; 2],
    demand: [f64; 2],
}

const RESOLVERS: usize = 40;

/// Production by script, and the clock.
struct Script {
    now: Arc<AtomicU64>,
    hypervisors: [FakeHypervisor; 2],
    board: Arc<Board>,
    production: Arc<Production>,
    queries: QueryWatch,
    steps: Vec<(u64, Step)>,
    resolvers: Resolvers,
    is_heard: bool,
}

impl Script {
    /// A second passes.
    fn second(&mut self) {
        let second = self.now.fetch_add(1_000_000_000, Ordering::SeqCst) / 1_000_000_000 + 1 - START;
        self.ask(second as f64);
        self.happen(second);
    }

    fn happen(&mut self, second: u64) {
        while self.steps.first().is_some_and(|(when, _)| *when <= second) {
            match self.steps.remove(0).1 {
                Step::Comes(region, name, is_dated) => {
                    let foreign = Foreign {
                        state: MachineState::Running,
                        since: is_dated.then(|| at(second)),
                        ..Foreign::new(name, name)
                    };
                    self.hypervisors[region].add_foreign(foreign);
                }
                Step::Goes(region, name) => assert!(self.hypervisors[region].remove_foreign(name)),
                Step::Reachable(region, is_reachable) => self.hypervisors[region].set_reachable(is_reachable),
                Step::Heard(is_heard) => self.is_heard = is_heard,
                Step::Demand(demand) => self.resolvers.demand = demand,
            }
        }
        self.queries.set_connected(u32::from(self.is_heard));
        for (index, hypervisor) in self.hypervisors.iter().enumerate() {
            let mut view = FakeView::connect(hypervisor, self.production.owner.clone(), ALL);
            let seen = look_at_hypervisor(&mut view).map_err(|error| error.to_string());
            self.board.hypervisor(index, at(second), seen);
        }
    }

    fn ask(&mut self, until: f64) {
        let Resolvers { chance, next, demand } = &mut self.resolvers;
        for (region, next) in next.iter_mut().enumerate() {
            let each = demand[region] / RESOLVERS as f64;
            for (resolver, next) in next.iter_mut().enumerate() {
                while *next <= until && each > 0.0 {
                    let seconds = Duration::from_secs_f64(*next).unwrap();
                    let query = LoggedQuery {
                        at: at(0) + seconds,
                        client: format!("10.{region}.{resolver}.1").parse().unwrap(),
                        server: None,
                        ecs: None,
                        name: "www.cdn.example",
                        qtype: 1,
                        vantage: Vantage::Authority,
                    };
                    if self.is_heard {
                        self.queries.take(&query);
                    }
                    *next += TTL + chance.exponential() / each;
                }
            }
        }
    }
}

impl Pace for Script {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.now.load(Ordering::SeqCst))
    }

    fn rest(&mut self, span: Duration) {
        assert!(span <= Duration::from_secs(1));
        self.second();
    }

    fn is_over(&self) -> bool {
        false
    }
}

/// All that came of a script.
struct Came {
    reports: Vec<TickReport>,
    ending: Ending,
    world: ShadowWorld<Script>,
    folder: tempfile::TempDir,
    pages: String,
}

impl Came {
    fn writes(&mut self) -> u64 {
        self.world.pace().hypervisors.iter().map(FakeHypervisor::writes).sum()
    }
}

fn play(steps: Vec<(u64, Step)>, seconds: u64, policy: &str) -> Came {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("networks.csv"), "prefix,region\n10.0.0.0/16,ams\n10.1.0.0/16,fra\n").unwrap();
    let text =
        format!("{SITE}{REST}").replace("state = \"state\"", &format!("state = \"state\"\npolicy = \"{policy}\""));
    let production = Production::from_text("test.toml", &text, folder.path()).unwrap_or_else(|error| panic!("{error}"));
    let production = Arc::new(production);
    let now = Arc::new(AtomicU64::new(START * 1_000_000_000));
    let board = Arc::new(Board::new(&production));
    let queries = QueryWatch::new(&production).unwrap().unwrap();
    let clock = Arc::clone(&now);
    let seers = Seers {
        production: Arc::clone(&production),
        board: Arc::clone(&board),
        queries: Some(queries.clone()),
        events: EventWatch::new(&production),
        clock: Arc::new(move || Timestamp::from_nanos(clock.load(Ordering::SeqCst))),
    };
    let mut chance = Stream::new(7, "resolvers", 0);
    let next = [(); 2].map(|()| (0..RESOLVERS).map(|_| chance.uniform() * TTL).collect());
    let mut script = Script {
        now,
        hypervisors: [FakeHypervisor::default(), FakeHypervisor::default()],
        board,
        production: Arc::clone(&production),
        queries,
        steps,
        resolvers: Resolvers { chance, next, demand: [0.0; 2] },
        is_heard: true,
    };
    script.happen(0);
    let (source, _) = demand_source(&production).unwrap();
    let config = production.controller.clone();
    let decides = policy::build(policy, &config, &production.topology, &Knowledge::default()).unwrap();
    let mut controller = Controller::new(Arc::clone(&production.topology), config.clone(), decides);
    let mut world = ShadowWorld::new(seers, script, source, 3);
    let header = Header::new(&production.topology, &config, policy, None, &Knowledge::default());
    let kept = Folder::create(&production.state, at(0), &header).unwrap();
    let (mut reports, mut pages) = (Vec::new(), String::new());
    let ending = follow(&mut world, &mut controller, Some(kept), &TimeZone::UTC, at(seconds), |world, tick, report| {
        pages = page(world, &report, policy, tick.index + 1).text().to_owned();
        reports.push(report);
    })
    .unwrap();
    Came { reports, ending, world, folder, pages }
}

/// Machines come and go, and so do clients.
fn day() -> Vec<(u64, Step)> {
    vec![
        (0, Step::Comes(0, "edge-1", false)),
        (0, Step::Comes(0, "edge-2", false)),
        (0, Step::Comes(0, "edge-3", false)),
        (0, Step::Comes(0, "db-1", false)),
        (0, Step::Comes(1, "edge-9", false)),
        (0, Step::Demand([6.0, 2.0])),
        (600, Step::Comes(0, "edge-4", true)),
        (617, Step::Demand([12.0, 2.0])),
        (1_500, Step::Goes(0, "edge-1")),
        (1_503, Step::Demand([4.0, 2.0])),
        (1_505, Step::Goes(0, "edge-2")),
    ]
}

#[test]
fn what_production_did_is_told_to_the_second_and_nothing_is_written() {
    let mut came = play(day(), 2_400, "predictive");
    assert_eq!(came.writes(), 0);
    let summary = &came.ending.summary;
    let [ams, fra] = [0, 1].map(|cell| summary.cells[cell].production.unwrap());
    assert_eq!((ams.launches, ams.ends), (1, 2));
    assert_eq!((fra.launches, fra.ends), (0, 0));
    let hours = (1_500 + 1_505 + 2_400 + 1_800) as f64 / 3600.0;
    assert!((ams.vm_hours - hours).abs() < 1e-9, "{:?}", ams);
    assert!((fra.vm_hours - 2_400.0 / 3600.0).abs() < 1e-9, "{:?}", fra);
    assert_eq!(ams.unseen_vm_hours, 0.0);
    assert_eq!(summary.strangers, ["db-1"]);
    assert_eq!((summary.unknown_minutes, summary.machines_apart, summary.ticks), (0.0, 0, 40));

    // Each turn is told at its tick, with its second.
    let launched: Vec<_> = came.reports.iter().flat_map(|report| &report.launched).collect();
    let ended: Vec<_> = came.reports.iter().flat_map(|report| &report.ended).collect();
    assert_eq!(launched.iter().map(|one| (one.name.as_str(), one.at)).collect::<Vec<_>>(), [("edge-4", at(600))]);
    let names = [("edge-1", at(1_500)), ("edge-2", at(1_505))];
    assert_eq!(ended.iter().map(|one| (one.name.as_str(), one.at)).collect::<Vec<_>>(), names);
    assert_eq!(came.reports[9].launched.len(), 1, "the window that ends at 600 s");
    // It serves after a boot of 50 s and a warm-up of 10 s.
    let ready = |tick: usize| came.reports[tick].cells[0].production.as_ref().unwrap().ready;
    assert_eq!([ready(9), ready(10), ready(11)], [3, 4, 4]);

    // The twin of theirs stood as long as production's machines did, and cost as much.
    let theirs = summary.figures["vm_hours"].theirs.unwrap();
    let all = ams.vm_hours + fra.vm_hours;
    assert!((theirs.mean - all).abs() < 1e-6 && theirs.ci95.unwrap() < 1e-9, "{theirs:?}");
    assert!((summary.figures["capacity_cost"].theirs.unwrap().mean - all * 0.1).abs() < 1e-6);

    // Demand is told from DNS within its error: 40 resolvers each hid what they knew.
    let demand = |tick: usize| came.reports[tick].cells[0].demand.unwrap();
    for (tick, truth) in [(9, 6.0), (24, 12.0)] {
        let told = demand(tick);
        assert!((told.sessions_per_second - truth).abs() < 4.0 * told.standard_error + 0.3, "{tick}: {told:?}");
    }
    // Twice the clients: production has one machine too few or many, ours follow.
    let wanted = |tick: usize| came.reports[tick].cells[0].ours.wanted;
    assert!(wanted(24) > wanted(9) && wanted(39) < wanted(24), "{} {} {}", wanted(9), wanted(24), wanted(39));
    assert!(summary.cells[0].ours.launches > 0 && summary.forecast.scored > 40, "{:?}", summary.forecast);
}

#[test]
fn the_journal_replays_and_the_summary_is_there_for_people_and_programs() {
    let came = play(day(), 1_200, "predictive");
    let shadow = came.folder.path().join("state/shadow");
    let journal = File::open(shadow.join("20260601T000000Z/journal.jsonl")).unwrap();
    let report = replay(BufReader::new(journal)).unwrap();
    assert_eq!((report.difference, report.ticks), (None, 20));
    let ticks = std::fs::read_to_string(shadow.join("20260601T000000Z/ticks.jsonl")).unwrap();
    assert_eq!(ticks.lines().count(), 20);
    for line in ticks.lines() {
        let read: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(read["cells"][0]["ours"]["why"].as_str().is_some_and(|why| !why.is_empty()));
    }
    assert_eq!(came.ending.written, [shadow.join("2026-06-01")]);
    let markdown = std::fs::read_to_string(shadow.join("2026-06-01.md")).unwrap();
    assert!(markdown.contains("| ams | video | 1 | 0 |") && markdown.contains("SLO violation minutes"), "{markdown}");
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(shadow.join("2026-06-01.json")).unwrap()).unwrap();
    assert_eq!(json["cells"][0]["production"]["launches"], 1);
    for line in [
        "forebay_shadow_production_launches_total{region=\"ams\",class=\"video\"} 1",
        "forebay_shadow_ticks_total 20",
        "# TYPE forebay_shadow_machine_seconds_total counter",
    ] {
        assert!(came.pages.contains(line), "{line}\n{}", came.pages);
    }
}

#[test]
fn what_is_not_seen_is_unknown_and_counts_for_nothing() {
    let mut steps = day();
    steps.extend([
        (1_200, Step::Reachable(0, false)),
        (1_320, Step::Heard(false)),
        (1_920, Step::Heard(true)),
        (1_980, Step::Reachable(0, true)),
    ]);
    steps.retain(|(_, step)| !matches!(step, Step::Goes(..)));
    steps.sort_by_key(|(when, _)| *when);
    let came = play(steps, 2_700, "predictive");
    // Of a hypervisor that is silent for longer than is fresh nothing is known; nor of demand, without a sender.
    let at_tick = |second: u64| &came.reports[(second / 60 - 1) as usize];
    assert!(at_tick(1_200).cells[0].production.is_some());
    let dark = at_tick(1_500);
    assert!(dark.cells[0].production.is_none() && dark.cells[1].production.is_some());
    assert!(dark.cells.iter().all(|cell| cell.demand.is_none() && cell.sessions.is_none()));
    assert!(dark.coverage < 0.5 && dark.line().contains("demand unknown"), "{}", dark.line());
    assert!(dark.silent.iter().any(|silent| silent.source.contains("ams")), "{:?}", dark.silent);
    // Nothing shrinks on what is not seen.
    assert!(at_tick(1_860).cells[0].ours.wanted >= at_tick(1_260).cells[0].ours.wanted);

    let summary = &came.ending.summary;
    let (ams, fra) = (&summary.cells[0], &summary.cells[1]);
    // 11 minutes from 1,320 s on for fra; for ams from when the last look was too old.
    assert!((9.0..=12.0).contains(&fra.unknown_minutes), "{}", fra.unknown_minutes);
    assert!((11.0..=14.0).contains(&ams.unknown_minutes), "{}", ams.unknown_minutes);
    let did = ams.production.unwrap();
    // The machines are back as they were: none came, none went, and of the gap nothing is claimed.
    assert_eq!((did.launches, did.ends), (1, 0));
    let gap = 4.0 * 780.0 / 3600.0;
    assert!((did.unseen_vm_hours - gap).abs() < 0.02, "{:?}", did);
    let seen = (3 * 2_700 + 2_100) as f64 / 3600.0 - did.unseen_vm_hours;
    assert!((did.vm_hours - seen).abs() < 1e-9, "{:?}", did);
    // What the twins come to leaves the time out that was not seen, on both sides.
    let hours = summary.figures["vm_hours"].theirs.unwrap().mean;
    let known = (4.0 * ams.known_minutes - 10.0 + fra.known_minutes) / 60.0;
    assert!((hours - known).abs() < 0.1, "{hours} {known}");
    // Forecasts whose windows were dark are not scored.
    assert!(summary.forecast.unknown > 5, "{:?}", summary.forecast);
}

#[test]
fn the_same_comes_of_the_same() {
    let told = |came: &Came| {
        let reports: Vec<String> = came.reports.iter().map(|report| serde_json::to_string(report).unwrap()).collect();
        (reports, serde_json::to_string(&came.ending.summary).unwrap())
    };
    let (one, other) = (play(day(), 900, "predictive"), play(day(), 900, "predictive"));
    assert_eq!(told(&one), told(&other));
    let file =
        |came: &Came| std::fs::read(came.folder.path().join("state/shadow/20260601T000000Z/journal.jsonl")).unwrap();
    assert!(file(&one) == file(&other));
}

/// Days end at midnight; a summary of each is left.
#[test]
fn each_day_is_summed_up() {
    let zone = TimeZone::get("Asia/Kathmandu").unwrap();
    // Midnight there is 18:15 UTC.
    let until = at(18 * 3600 + 15 * 60);
    assert_ne!(day_of(until, &zone), day_of(until + Duration::from_secs(1), &zone));
    let came = play(vec![(0, Step::Demand([1.0, 1.0])), (0, Step::Comes(0, "edge-1", false))], 86_400 + 300, "hpa");
    let shadow = came.folder.path().join("state/shadow");
    assert_eq!(came.ending.written, [shadow.join("2026-06-01"), shadow.join("2026-06-02")]);
    let hours = |day: &str| {
        let read = std::fs::read(shadow.join(day)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&read).unwrap();
        (json["ticks"].as_u64().unwrap(), json["cells"][0]["production"]["vm_hours"].as_f64().unwrap())
    };
    let (ticks, whole) = hours("2026-06-01.json");
    assert!(ticks == 1440 && (whole - 24.0).abs() < 1e-9, "{ticks} {whole}");
    let (ticks, rest) = hours("2026-06-02.json");
    assert!(ticks == 5 && (rest - 300.0 / 3600.0).abs() < 1e-9, "{ticks} {rest}");
    assert_eq!(came.ending.summary.ticks, 1445);
}

#[test]
fn a_file_by_which_demand_cannot_be_told_is_refused() {
    let (head, tail) = REST.split_once("[dns]").unwrap();
    let tail = tail.split_once("[live]").unwrap().1.replace("demand = \"dns\"", "demand = \"sessions\"");
    let health = "[health.video]\nport = 80\npath = \"/\"\nsessions = { path = \"/sessions\" }\n[live]";
    let without = format!("{head}{health}{tail}");
    let error = demand_source(&production(&without)).unwrap_err();
    assert!(error.to_string().contains("test sees no queries") && error.hint().contains("[dns]"));
    // Where queries are seen, they tell it; where no machine is others', its own say.
    let dns = "[dns]\ndnstap = [\"unix:/nonexistent/dnstap.sock\"]\nvantage = \"authority\"\n\
               [dns.geography]\nfallback = \"ams\"\n";
    let with = demand_source(&production(&format!("{head}{dns}{health}{tail}"))).unwrap();
    assert_eq!(with, (DemandSource::Dns, true));
    let own = without.split("[[shadow.incumbent]]").next().unwrap();
    assert_eq!(demand_source(&production(own)).unwrap(), (DemandSource::Sessions, false));
}
