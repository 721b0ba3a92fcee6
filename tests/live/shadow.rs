//! Production by one forebay, and two others that watch it in shadow: what they say of it is held against what was true, and
//! what they did is told from their system calls. They write nothing, to nobody.
//!
//! One watches as its operator would: with the owner of those machines, so that it knows them by their marks. The other is
//! told nothing but names, as of a production that no forebay runs.

mod truth;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::crowd::Crowd;
use super::deeds::{Deeds, Whose};
use super::edge::{self, Edge};
use super::instance::Instance;
use super::{trace, witness};
use truth::{Truth, seconds_of};

const PATIENCE: Duration = Duration::from_secs(120);
/// How often they look \[s\], and how much later than that it may be seen, on a machine that has other things to do.
const LOOK: f64 = 1.0;
const BLUR: f64 = 1.5;
/// What a tick has seen may be this much older: a look is dated by its begin, and lasts, on a busy machine \[s\].
const LASTS: f64 = 3.0;
/// How late the truth is seen by the test itself \[s\].
const LATE: f64 = 1.0;
const PRICE_PER_HOUR: f64 = 0.02;

/// Production, run by a policy that wants so many whatever it sees. What guests say of their sessions tells it demand, so
/// that a slice goes that has no guest.
fn wanted(vms: u32) -> [(&'static str, String); 5] {
    [
        ("demand = \"dns\"", "demand = \"sessions\"".to_owned()),
        ("warm = [\"/health\"]", "warm = [\"/health\"]\nsessions = { path = \"/sessions\" }".to_owned()),
        ("policy = \"predictive\"", "policy = \"fixed\"".to_owned()),
        (
            "[controller.policy.predictive]",
            format!("[controller.policy.fixed]\nvms = {vms}\n\n[controller.policy.predictive]"),
        ),
        ("drain_deadline = \"15 s\"", "drain_deadline = \"1 s\"".to_owned()),
    ]
}

struct Scene {
    edge: Edge,
    truth: Truth,
    crowd: Crowd,
}

impl Scene {
    /// Lets production go on with so many machines.
    fn want(&mut self, vms: u32) {
        println!("   {:6.1} s  production wants {vms}", self.truth.elapsed());
        self.edge.stop_forebay();
        self.write(vms);
        self.edge.restart_forebay();
    }

    fn write(&self, vms: u32) {
        let changes = wanted(vms);
        let changes: Vec<(&str, &str)> = changes.iter().map(|(from, to)| (*from, to.as_str())).collect();
        self.edge.write_file(&changes);
    }

    /// Goes on for a time, or until something is so.
    fn go_on(&mut self, what: &str, patience: Duration, mut is_so: impl FnMut(&mut Scene) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            self.edge.assert_alive();
            assert!(begun.elapsed() < patience, "{what} does not come about: {}", self.edge.read("forebay.log"));
            self.step();
        }
        println!("   {:6.1} s  {what}", self.truth.elapsed());
    }

    fn last(&mut self, span: Duration) {
        let until = Instant::now() + span;
        while Instant::now() < until {
            self.edge.assert_alive();
            self.step();
        }
    }

    fn step(&mut self) {
        self.truth.look(&self.edge, self.crowd.sent());
        std::thread::sleep(Duration::from_millis(150));
    }
}

/// One that watches.
struct Watcher {
    role: &'static str,
    instance: Instance,
}

impl Watcher {
    /// Starts one in a folder of its own, on a file made of production's.
    fn start(edge: &Edge, role: &'static str, changes: &[(&str, &str)]) -> Watcher {
        let folder = edge.path(role);
        let mut text = edge.filled();
        let (begin, end) = (text.find("[[event]]").unwrap(), text.find("[controller]").unwrap());
        text.replace_range(begin..end, "");
        let (state, tap) = (edge.path("state"), edge.path("tap.sock"));
        let (key, own) = (format!("key_file = \"{}\"\n", edge.path("dns.key").display()), folder.display().to_string());
        for (from, to) in [
            (state.to_str().unwrap(), format!("{own}/state").as_str()),
            (tap.to_str().unwrap(), &format!("{own}/tap.sock")),
            // Whoever only looks needs no key.
            (&key, ""),
            ("mode = \"live\"", "mode = \"shadow\""),
        ]
        .iter()
        .chain(changes)
        {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let file = folder.join("watch.toml");
        fs::write(&file, text).unwrap();
        let words =
            ["shadow", file.to_str().unwrap(), "--headless", "--json", "--look-every", "1s", "--replicates", "4"];
        let instance =
            edge.run(&trace::wrapped(&edge.path(&format!("{role}.trace")), true), &words, &format!("{role}.log"));
        Watcher { role, instance }
    }

    /// Lets it end; what it said of each tick, and at last.
    fn end(self, edge: &Edge) -> Report {
        self.instance.signal("TERM");
        let (status, said) = self.instance.end(PATIENCE);
        assert!(status.success(), "{status}\n{said}");
        let mut ticks: Vec<Value> = said
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        let summary = ticks.pop().expect("it sums up")["summary"].take();
        assert!(summary.is_object() && ticks.len() > 5, "{said}");
        Report { folder: edge.path(self.role), ticks, summary }
    }
}

/// What one that watched has said.
struct Report {
    folder: PathBuf,
    ticks: Vec<Value>,
    summary: Value,
}

#[test]
#[ignore = "needs root, knot, qemu, openvswitch and strace"]
fn shadow_sees_what_production_does_and_sends_not_one_write() {
    if !edge::have_all() || !super::lab::have(&["strace"]) {
        return;
    }
    // By names alone, guests of other labs on this machine are production's as well.
    let others = witness::guests(Path::new(""));
    assert!(others.is_empty(), "there are guests already, which cannot be told from those of this test: {others:?}");
    let edge = Edge::watched(&["marked", "named"]);
    let begun = Instant::now();
    let crowd = Crowd::start(edge.crowd_socket(), edge.dns(), begun, vec![(Duration::from_secs(3_600), 5.0)]);
    let truth = Truth::new(edge.path(""));
    let mut scene = Scene { edge, truth, crowd };
    scene.write(1);
    scene.edge.start_traced("live.trace");
    scene.go_on("a guest is answered", PATIENCE, |scene| scene.edge.records().len() == 1);

    let marked = Watcher::start(&scene.edge, "marked", &[]);
    let owner = format!("owner = \"forebay-{}\"", std::process::id());
    let named = [
        (owner.as_str(), "owner = \"somebody-else\""),
        ("[live]", "[[shadow.incumbent]]\nnames = \"vm-*\"\nclass = \"video\"\n\n[live]"),
    ];
    let named = Watcher::start(&scene.edge, "named", &named);
    let visits = Visits::start(&scene.edge);
    scene.last(Duration::from_secs(15));
    scene.want(2);
    scene.go_on("two are answered", PATIENCE, |scene| scene.edge.records().len() == 2);
    scene.last(Duration::from_secs(12));
    scene.want(1);
    scene.go_on("one is drained and gone", PATIENCE, |scene| scene.truth.standing() == 1);
    scene.last(Duration::from_secs(7));
    let loaded_until = scene.truth.now();
    scene.want(0);
    scene.go_on("all are drained and gone", PATIENCE, |scene| scene.truth.standing() == 0);
    scene.go_on("nothing is left", PATIENCE, |scene| scene.edge.is_empty());
    scene.last(Duration::from_secs(6));
    drop(visits);
    let reports = [marked.end(&scene.edge), named.end(&scene.edge)];
    scene.edge.stop_forebay();
    let Scene { edge, truth, crowd } = scene;
    crowd.stop();

    let program = PathBuf::from(env!("CARGO_BIN_EXE_forebay"));
    let did = |role: &str, own: Vec<PathBuf>| {
        let deeds = deeds(&edge, role, &Whose { own, program: program.clone(), dns_port: edge.dns().port() });
        println!("   {role}, by its system calls:\n{}", deeds.table());
        deeds
    };
    let watched =
        ["marked", "named"].map(|role| (role, did(role, vec![edge.path(role), edge.path(&format!("{role}.log"))])));
    let live = did("live", ["state", "forebay.log", "tap.sock"].map(|own| edge.path(own)).to_vec());

    let [marked, named] = &reports;
    println!("{}", fs::read_to_string(marked_page(marked)).unwrap());
    for report in &reports {
        println!("   {}:", report.folder.file_name().unwrap().to_str().unwrap());
        is_right_about_machines(report, &truth);
        is_right_about_queries(report, &truth);
        is_right_about_answers(report, &truth);
        replays(report);
    }
    is_right_about_drains(marked, &truth);
    is_right_about_links(marked, &truth, loaded_until);
    is_right_about_steering(marked);
    assert!(
        named.ticks.iter().all(|tick| tick["steering"] == Value::Array(Vec::new())),
        "nobody has told it where clients go"
    );

    for (role, deeds) in &watched {
        assert_eq!(deeds.writes, BTreeMap::new(), "{role} wrote");
        for kind in ["ovsdb", "openflow", "netlink", "dns", "dnstap", "program"] {
            assert!(deeds.asked(kind) > 0, "{role} asked nobody by {kind}: the trace shows too little");
        }
    }
    let marked = &watched[0].1;
    assert!(marked.asked("qmp") > 0 && marked.asked("http") > 0, "it asked no machine");
    // The same eyes see what production writes.
    for kind in ["qmp", "ovsdb", "dns", "netlink", "file", "program"] {
        assert!(live.written(kind) > 0, "live wrote by {kind}, and the trace does not show it");
    }
}

/// Clients who fetch pages all the time.
struct Visits {
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Visits {
    fn start(edge: &Edge) -> Visits {
        let is_over = Arc::<AtomicBool>::default();
        let (over, mut visit) = (Arc::clone(&is_over), edge.visitor());
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                visit();
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Visits { is_over, thread: Some(thread) }
    }
}

impl Drop for Visits {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = self.thread.take().unwrap().join();
    }
}

/// What a process did, by its trace, once that is whole.
fn deeds(edge: &Edge, role: &str, whose: &Whose) -> Deeds {
    let begun = Instant::now();
    loop {
        let text = edge.read(&format!("{role}.trace"));
        if trace::is_whole(&text) {
            return Deeds::of(&trace::calls(&text), whose);
        }
        assert!(begun.elapsed() < PATIENCE, "the trace of {role} does not end");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The summary for people.
fn marked_page(report: &Report) -> PathBuf {
    let shadow = fs::read_dir(report.folder.join("state/shadow")).unwrap();
    let pages =
        shadow.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages.max().expect("a page for people")
}

fn is_right_about_machines(report: &Report, truth: &Truth) {
    let did = &report.summary["cells"][0]["production"];
    let (launched, ended) = (told(report, "launched"), told(report, "ended"));
    assert_eq!((did["launches"].as_u64(), did["ends"].as_u64()), (Some(1), Some(2)), "{did}");
    let first_seen = seconds_of(&report.summary["from"]);
    for (name, at) in &launched {
        let (came, _) = truth.life(name);
        println!("   {name} was launched: said {:+.2} s from when it was", at - came);
        assert!(came > first_seen && (at - came).abs() < LOOK + BLUR, "{name}: {at} {came}");
    }
    for (name, at) in &ended {
        let went = truth.life(name).1.expect("it went");
        println!("   {name} ended: said {:+.2} s from when it did", at - went);
        assert!((at - went).abs() < LOOK + BLUR, "{name}: {at} {went}");
    }
    assert_eq!((launched.len(), ended.len()), (1, 2));
    // At each tick as many as there were, as far as nothing changed since they could be seen last.
    let mut compared = 0;
    for tick in &report.ticks {
        let at = seconds_of(&tick["at"]);
        let said = tick["cells"][0]["production"]["machines"].as_u64();
        let (before, now) = (truth.machines_at(at - LOOK - BLUR - LASTS), truth.machines_at(at + LATE));
        assert!(said == Some(before) || said == Some(now), "at {at}: said {said:?}, there were {before} and {now}");
        compared += 1;
        assert_eq!(tick["cells"][0]["production"]["twin_machines"], tick["cells"][0]["production"]["machines"]);
    }
    let (from, until) = (first_seen, seconds_of(&report.summary["until"]));
    let hours = truth.machine_seconds(from, until) / 3600.0;
    let said = did["vm_hours"].as_f64().unwrap();
    // Each end and each launch may be seen that late.
    let off = 4.0 * (LOOK + BLUR) / 3600.0;
    println!("   {compared} ticks; machine time said {:.1} s, was {:.1} s", said * 3600.0, hours * 3600.0);
    assert!((said - hours).abs() < off && did["unseen_vm_hours"].as_f64() == Some(0.0), "{did}: was {hours}");
    let cost = report.summary["figures"]["capacity_cost"]["theirs"]["mean"].as_f64().unwrap();
    println!("   cost of machines said {cost:.6}, was {:.6}", hours * PRICE_PER_HOUR);
    assert!((cost - hours * PRICE_PER_HOUR).abs() < off * PRICE_PER_HOUR, "{cost}");
}

fn is_right_about_queries(report: &Report, truth: &Truth) {
    // Servers reach whoever listens anew some seconds after he begins to.
    let whole = &report.ticks[2..];
    let (from, until) = (seconds_of(&report.ticks[1]["at"]), seconds_of(&whole[whole.len() - 1]["at"]));
    let demand = |tick: &Value| tick["cells"][0]["demand"].clone();
    let said: u64 = whole.iter().map(|tick| demand(tick)["queries"].as_u64().unwrap_or(0)).sum();
    let sent = truth.sent_by(until) - truth.sent_by(from);
    let last = demand(report.ticks.last().unwrap());
    let rate = sent / (until - from);
    println!(
        "   queries said {said}, sent {sent:.0}; sessions begin, said {}, are {rate:.2} 1/s",
        last["sessions_per_second"]
    );
    // The server gathers what it tells for a second or two.
    assert!((said as f64 - sent).abs() < 3.0 * rate + 2.0, "{said} {sent}");
    let (told, error) = (last["sessions_per_second"].as_f64().unwrap(), last["standard_error"].as_f64().unwrap());
    assert!((told - rate).abs() < 4.0 * error + 0.1 * rate, "{last}: {rate}");
    let silent: Vec<&Value> = report.ticks.iter().skip(1).flat_map(|tick| tick["silent"].as_array().unwrap()).collect();
    assert!(silent.is_empty(), "{silent:?}");
    assert!(report.ticks.iter().skip(2).all(|tick| tick["coverage"] == 1.0));
}

/// At each tick the addresses that were answered, as far as nothing changed since they could be seen last.
fn is_right_about_answers(report: &Report, truth: &Truth) {
    let mut seen = 0;
    for tick in report.ticks.iter().skip(1) {
        let at = seconds_of(&tick["at"]);
        let (before, now) = (truth.answers_at(at - LOOK - BLUR - LASTS), truth.answers_at(at + LATE));
        let answers = &tick["answers"][0];
        assert_eq!((answers["class"].as_str(), answers["name"].as_str()), (Some("video"), Some(super::crowd::NAME)));
        let pools = answers["pools"].as_array().unwrap();
        let said: Vec<String> = pools
            .iter()
            .flat_map(|pool| pool["addresses"].as_array().unwrap())
            .map(|one| one["address"].as_str().unwrap().to_owned())
            .collect();
        let is = |truth: &std::collections::BTreeSet<String>| truth.iter().eq(said.iter());
        assert!(is(&before) || is(&now), "at {at}: said {said:?}, were {before:?} and {now:?}");
        seen = seen.max(said.len());
        let answered = tick["cells"][0]["production"]["answered"].as_u64();
        assert_eq!(answered, Some(said.len() as u64), "{tick}");
    }
    println!("   answers of {} ticks are those that were given, {seen} at most", report.ticks.len() - 1);
    assert_eq!(seen, 2);
}

fn is_right_about_drains(report: &Report, truth: &Truth) {
    let drained = told(report, "drained");
    assert_eq!(drained.len(), 2, "{drained:?}");
    assert_eq!(report.summary["cells"][0]["production"]["drains"], 2);
    for (name, at) in &drained {
        let begun = truth.answered_until(name);
        println!("   {name} drained: said {:+.2} s from when clients were sent to it no more", at - begun);
        assert!((at - begun).abs() < LOOK + BLUR, "{name}: {at} {begun}");
        let ended = told(report, "ended").iter().find(|(other, _)| other == name).expect("it ended").1;
        assert!(ended - at > 10.0, "clients linger: {ended} {at}");
    }
    // Those that are answered are known by their names.
    let tick = report.ticks.iter().find(|tick| tick["cells"][0]["production"]["answered"] == 2).unwrap();
    for one in tick["answers"][0]["pools"][0]["addresses"].as_array().unwrap() {
        let name = one["machine"].as_str().expect("its machine is known");
        assert_eq!((one["address"].as_str(), one["region"].as_str()), (Some(truth.address(name)), Some("ams")));
        assert_eq!(one["share"], 0.5);
    }
}

/// What the link carried, tick by tick, comes to what its classes counted.
fn is_right_about_links(report: &Report, truth: &Truth, until: f64) {
    let measured: Vec<&Value> = report
        .ticks
        .iter()
        .filter(|tick| {
            seconds_of(&tick["at"]) < until && tick["links"].as_array().is_some_and(|links| !links.is_empty())
        })
        .collect();
    assert!(measured.len() > 6, "the link was measured");
    let window = |tick: &Value| tick["window_seconds"].as_f64().unwrap();
    let (first, last) = (measured[0], measured[measured.len() - 1]);
    let (from, until) = (seconds_of(&first["at"]) - window(first), seconds_of(&last["at"]));
    let said: f64 = measured.iter().map(|tick| tick["links"][0]["used"].as_f64().unwrap() * window(tick) / 8.0).sum();
    let carried = truth.carried_by(until) - truth.carried_by(from);
    println!("   link said to have carried {said:.0} bytes, counted {carried:.0}, in {:.0} s", until - from);
    assert!(carried > 50_000.0 && (said - carried).abs() < 0.1 * carried, "{said} {carried}");
}

fn is_right_about_steering(report: &Report) {
    let steering = &report.summary["steering"][0];
    assert_eq!((steering["of"].as_str(), steering["apart"].as_f64()), (Some("ams/video"), Some(0.0)), "{steering}");
    assert!(steering["ticks"].as_u64().unwrap() > 6, "{steering}");
    let tick = report.ticks.iter().find(|tick| !tick["steering"].as_array().unwrap().is_empty()).unwrap();
    assert_eq!(tick["steering"][0]["production"]["ams"], 1.0);
    assert!(tick["answers"][0]["whole"] == true);
}

/// Machines and seconds of all ticks.
fn told(report: &Report, what: &str) -> Vec<(String, f64)> {
    let machines = report.ticks.iter().flat_map(|tick| tick[what].as_array().unwrap());
    machines.map(|one| (one["name"].as_str().unwrap().to_owned(), seconds_of(&one["at"]))).collect()
}

fn replays(report: &Report) {
    let runs = fs::read_dir(report.folder.join("state/shadow")).unwrap().map(|entry| entry.unwrap().path());
    let journal = runs.map(|path| path.join("journal.jsonl")).find(|path| path.exists()).expect("a journal");
    let output = Command::new(env!("CARGO_BIN_EXE_forebay")).arg("replay").arg(&journal).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
