//! One guest that serves a trickle of clients while something around it goes wrong, and a witness who sees that nothing is
//! done to it.

use std::time::{Duration, Instant};

use super::crowd::Crowd;
use super::edge::Edge;
use super::trail::Trail;
use super::witness::Witness;

pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Whoever were to end the guest would have by then: clients linger for 13 s, and it has no more than 1 s to drain.
pub(crate) const TOO_LATE: Duration = Duration::from_secs(18);
/// One machine is wanted, by a policy that sees nothing and wants nothing else.
pub(crate) const WANTED: [(&str, &str); 3] = [
    ("policy = \"predictive\"", "policy = \"fixed\""),
    ("[controller.policy.predictive]", "[controller.policy.fixed]\nvms = 1\n\n[controller.policy.predictive]"),
    ("drain_deadline = \"15 s\"", "drain_deadline = \"1 s\""),
];
pub(crate) const UNWANTED: (&str, &str) = ("fixed]\nvms = 1", "fixed]\nvms = 0");
/// Nor are clients seen any more, who would keep their slice.
pub(crate) const UNSEEN: [(&str, &str); 2] = [
    ("demand = \"dns\"", "demand = \"sessions\""),
    ("warm = [\"/health\"]", "warm = [\"/health\"]\nsessions = { path = \"/sessions\" }"),
];

pub(crate) struct Scene {
    pub(crate) edge: Edge,
    pub(crate) witness: Witness,
    pub(crate) trail: Trail,
    crowd: Option<Crowd>,
    /// Of the guest that has served since the beginning.
    pub(crate) process: u32,
    pub(crate) address: String,
}

impl Scene {
    /// Starts forebay, which wants one machine, and waits until that serves.
    pub(crate) fn of(mut edge: Edge) -> Scene {
        let witness = Witness::start(&edge.path(""));
        let trail = Trail::new(&edge.path("state"));
        let crowd = Some(edge.trickle());
        edge.write_file(&WANTED);
        edge.restart_forebay();
        let mut scene = Scene { edge, witness, trail, crowd, process: 0, address: String::new() };
        scene.wait_for("a guest serves", |scene| scene.edge.records().len() == 1);
        let guest = scene.witness.guests().remove(0);
        (scene.process, scene.address) = (guest.process, guest.address);
        scene.assert_stands();
        scene
    }

    /// Sends the clients home and ends forebay. Nothing was done that must never be.
    pub(crate) fn close(&mut self) {
        if let Some(crowd) = self.crowd.take() {
            crowd.stop();
        }
        self.edge.stop_forebay();
        assert_eq!(self.witness.wrongs(), Vec::<String>::new());
    }

    /// Starts forebay on a file with these changes.
    pub(crate) fn restart(&mut self, changes: &[(&str, &str)]) {
        self.edge.kill_forebay();
        self.edge.write_file(&[&WANTED[..], changes].concat());
        self.edge.restart_forebay();
        self.edge.forebay().hear("writes, in epoch", PATIENCE);
    }

    pub(crate) fn hear(&mut self, what: &str) {
        let took = self.edge.forebay().hear(what, PATIENCE);
        let said = self.edge.forebay().said();
        let line = said.lines().find(|line| line.contains(what)).unwrap_or_default();
        println!("   {:4.1} s: {line}", took.as_secs_f64());
    }

    pub(crate) fn wait_for(&mut self, what: &str, mut is_so: impl FnMut(&mut Scene) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            self.edge.assert_alive();
            assert_eq!(self.witness.wrongs(), Vec::<String>::new());
            let said = self.edge.forebay().said();
            assert!(begun.elapsed() < PATIENCE, "{what} does not come about:\n{said}");
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("   {:4.1} s: {what}", begun.elapsed().as_secs_f64());
    }

    /// The guest of old runs, and serves a client.
    pub(crate) fn assert_stands(&self) {
        self.assert_runs();
        assert!(self.edge.get(&self.address, "/health"), "a client is not served");
    }

    pub(crate) fn assert_runs(&self) {
        assert_eq!(self.witness.wrongs(), Vec::<String>::new());
        let guests = self.witness.guests();
        assert!(guests.iter().any(|guest| guest.process == self.process), "{guests:?}");
    }

    /// The guest stands although nobody wants it, for longer than it would take to end it.
    pub(crate) fn assert_stays(&self, span: Duration) {
        self.assert_lasts(span, Scene::assert_stands);
    }

    pub(crate) fn assert_lasts(&self, span: Duration, assert: impl Fn(&Scene)) {
        let begun = Instant::now();
        while begun.elapsed() < span {
            assert(self);
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.edge.records().contains(&self.address)
    }
}
