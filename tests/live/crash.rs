//! Forebay, killed without a word before, during and after every single thing that it does in the lives of two guests.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::edge::{self, Edge};
use super::trail::{Noted, Trail};
use super::witness::Witness;

/// What edge.toml has, and what the short lives of two guests need. They say how many sessions they have, and are let have
/// them.
const WANTED: [(&str, &str); 4] = [
    ("policy = \"predictive\"", "policy = \"fixed\""),
    ("[controller.policy.predictive]", "[controller.policy.fixed]\nvms = 2\n\n[controller.policy.predictive]"),
    ("unhealthy_after = 5", "unhealthy_after = 5\nsessions = { path = \"/sessions\" }"),
    ("drain_deadline = \"15 s\"", "drain_deadline = \"5 min\""),
];
/// The same when they are wanted no more, and clients are not seen any more, who would keep their slice.
const UNWANTED: [(&str, &str); 2] = [("vms = 2", "vms = 0"), ("demand = \"dns\"", "demand = \"sessions\"")];
/// How long after an order began it is certainly under way, and is hardly over: a guest takes longer to start.
const UNDER_WAY: Duration = Duration::from_millis(30);
/// No order is expected any more after so long without one.
const CALM: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(240);

/// Kills forebay at each point once, and starts it again.
struct Killer {
    trail: Trail,
    points: BTreeSet<String>,
    /// A hypervisor carries an order out. There are few of those: no other point is worth missing its end.
    is_awaited: bool,
    last: Instant,
}

impl Killer {
    /// Kills at the first new point that the audit tells of, if there is one.
    fn look(&mut self, edge: &mut Edge) {
        let news = self.trail.news();
        if !news.is_empty() {
            self.last = Instant::now();
        }
        for noted in news {
            let is_rare = !matches!(noted.order.as_str(), "slice" | "answer" | "warm");
            if is_rare {
                self.is_awaited = noted.outcome == "begun";
            } else if self.is_awaited {
                continue;
            }
            // What is asked of a guest that ends is over at once.
            let kinds: &[&str] = match (noted.outcome.as_str(), noted.order.as_str()) {
                ("begun", "shut down" | "remove") => &["begun"],
                ("begun", _) => &["begun", "under way"],
                _ => &["ended"],
            };
            let new = kinds.iter().map(|kind| point(&noted, kind)).find(|point| !self.points.contains(point));
            let Some(point) = new else { continue };
            if point.ends_with("under way") {
                std::thread::sleep(UNDER_WAY);
            }
            edge.kill_forebay();
            println!("   killed: {point}");
            self.points.insert(point);
            // What it had still written is not what the next one does.
            self.trail.news();
            edge.restart_forebay();
            (self.is_awaited, self.last) = (false, Instant::now());
            return;
        }
    }

    /// Kills wherever it can until something has come about and nothing is done any more.
    fn until(&mut self, edge: &mut Edge, witness: &Witness, what: &str, mut is_so: impl FnMut(&mut Edge) -> bool) {
        let begun = Instant::now();
        let mut looked = Instant::now();
        let mut so = false;
        while !so || self.last.elapsed() < CALM {
            self.look(edge);
            edge.assert_alive();
            assert_eq!(witness.wrongs(), Vec::<String>::new());
            if looked.elapsed() > Duration::from_millis(300) {
                so = is_so(edge);
                looked = Instant::now();
            }
            assert!(begun.elapsed() < PATIENCE, "{what} does not come about; there is: {}", edge.left());
            std::thread::sleep(Duration::from_millis(2));
        }
        println!("   {what} after {:.1} s", begun.elapsed().as_secs_f64());
    }
}

/// An order at which it is killed: the same whichever plan asks for it, and however often.
fn point(noted: &Noted, kind: &str) -> String {
    let what = match noted.order.as_str() {
        "slice" | "answer" => noted.target.split_once(':').unwrap().1.trim().to_owned(),
        _ => String::new(),
    };
    format!("{} ({what}) {kind}", noted.order)
}

#[test]
#[ignore = "needs root, knot, qemu and openvswitch"]
fn killed_at_every_step_it_goes_on_and_leaves_nothing() {
    if !edge::have_all() {
        return;
    }
    let mut edge = Edge::new();
    let crowd = edge.trickle();
    edge.write_file(&WANTED);
    let witness = Witness::start(&edge.path(""));
    let mut killer = Killer {
        trail: Trail::new(&edge.path("state")),
        points: BTreeSet::new(),
        is_awaited: false,
        last: Instant::now(),
    };
    let begun = Instant::now();
    edge.restart_forebay();
    killer.until(&mut edge, &witness, "both serve", |edge| edge.records().len() == 2);
    let guests = witness.guests();
    assert_eq!(guests.len(), 2, "{guests:?}");
    let set_sessions = |edge: &Edge, sessions: u32| {
        for guest in witness.guests() {
            assert!(edge.get(&guest.address, &format!("/cgi-bin/sessions?{sessions}")));
        }
    };

    // Clients are with them when they are wanted no more.
    witness.sessions.store(2, Ordering::SeqCst);
    set_sessions(&edge, 2);
    edge.write_file(&[&WANTED[..], &UNWANTED].concat());
    edge.kill_forebay();
    edge.restart_forebay();
    killer.until(&mut edge, &witness, "clients of one are sent elsewhere", |edge| edge.records().len() == 1);
    let drained = Instant::now();
    killer.until(&mut edge, &witness, "all who were sent came", |_| drained.elapsed() > Duration::from_secs(20));
    assert_eq!(witness.guests().len(), 2, "its sessions go on");
    set_sessions(&edge, 0);
    witness.sessions.store(0, Ordering::SeqCst);
    killer.until(&mut edge, &witness, "nothing is left", Edge::is_empty);
    crowd.stop();
    edge.stop_forebay();
    assert!(edge.is_empty(), "something of ours is left: {}", edge.left());
    assert_eq!(witness.wrongs(), Vec::<String>::new());
    assert_eq!(witness.names().len(), 2, "two guests were all that was asked for: {:?}", witness.names());
    println!("   {} kills in {:.1} s", killer.points.len(), begun.elapsed().as_secs_f64());
    for order in ["slice", "create", "resume", "warm", "answer", "shut down", "remove"] {
        for kind in ["begun", "ended"] {
            let is_it = |point: &&String| point.starts_with(order) && point.ends_with(kind);
            assert!(killer.points.iter().any(|point| is_it(&point)), "{order} was never {kind}: {:?}", killer.points);
        }
    }
    edge.assert_journal_replays();
}
