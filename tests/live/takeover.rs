//! Two instances of one production: one writes, and the other takes over when it cannot any more.

use std::time::{Duration, Instant};

use super::edge::{self, Edge};
use super::trail::{Noted, Trail};

/// One guest stands all the time, and a lease that ends soon.
const CHANGES: [(&str, &str); 3] = [
    ("floor = 0", "floor = 1"),
    ("ceiling = 3", "ceiling = 1"),
    ("freshness = \"1 min\"", "freshness = \"1 min\"\nlease = { duration = \"6 s\", renew_every = \"1 s\" }"),
];
const LEASE: Duration = Duration::from_secs(6);
const PATIENCE: Duration = Duration::from_secs(120);

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come about");
        std::thread::sleep(Duration::from_millis(100));
    }
    begun.elapsed()
}

#[test]
#[ignore = "needs root, knot, qemu and openvswitch"]
fn of_two_instances_one_writes_and_one_that_wakes_too_late_does_not() {
    if !edge::have_all() {
        return;
    }
    let mut edge = Edge::new();
    edge.write_file(&CHANGES);
    let mut trail = Trail::new(&edge.path("state"));
    let mut first = edge.instance("first.log");
    first.hear("writes, in epoch 1", PATIENCE);
    wait_for("a guest serves", || edge.records().len() == 1);
    let address = edge.records().pop_first().unwrap();

    // A second one waits, says so, and touches nothing.
    let mut second = edge.instance("second.log");
    second.hear("waits: ", PATIENCE);
    std::thread::sleep(2 * LEASE);
    assert!(second.said().contains(&format!("process {}", first.id())), "{}", second.said());
    assert!(!second.said().contains("writes"), "{}", second.said());
    assert!(trail.news().iter().all(|noted| noted.epoch == 1));

    // The first is killed.
    let killed = Instant::now();
    first.kill();
    second.hear("writes, in epoch 2", PATIENCE);
    let took = killed.elapsed();
    println!("   the second writes {:.2} s after the first was killed", took.as_secs_f64());
    assert!(took < Duration::from_secs(3), "{took:?}");
    edge.forget_answers();
    let repaired = wait_for("the guest is answered again", || edge.records().contains(&address));
    println!("   and has repaired what was broken {:.1} s later", repaired.as_secs_f64());

    // The second is paused, with something to do that it does not know of yet.
    let mut third = edge.instance("third.log");
    third.hear("waits: ", PATIENCE);
    // What it had done before is noted: an order that is over is heard of at the next beat.
    wait_for_calm(&mut trail);
    second.signal("STOP");
    let stopped = Instant::now();
    edge.forget_answers();
    third.hear("writes, in epoch 3", PATIENCE);
    let took = stopped.elapsed();
    println!("   the third writes {:.2} s after the second was paused", took.as_secs_f64());
    assert!(took >= LEASE - Duration::from_secs(1) && took < 2 * LEASE, "{took:?}");
    wait_for("the guest is answered again", || edge.records().contains(&address));

    // It wakes, and while it does the third does nothing: whatever changes now is the second's.
    wait_for_calm(&mut trail);
    third.signal("STOP");
    edge.forget_answers();
    let before = edge.standing();
    second.signal("CONT");
    let woken = Instant::now();
    let (status, said) = second.end(Duration::from_secs(30));
    println!("   the second ended {:.2} s after it woke: {}", woken.elapsed().as_secs_f64(), last_line(&said));
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("the lease is lost"), "{said}");
    assert_eq!(edge.standing(), before, "somebody wrote");
    third.signal("CONT");
    let late: Vec<Noted> = trail.news().into_iter().filter(|noted| noted.epoch == 2).collect();
    println!("   the second noted since: {late:?}");
    assert!(late.iter().all(|noted| noted.writes == 0), "{late:?}");
    // Nobody has taken the third's lease meanwhile, and it goes on.
    wait_for("the guest is answered again", || edge.records().contains(&address));
    assert!(edge.get(&address, "/health"));
    third.signal("TERM");
    let (status, said) = third.end(Duration::from_secs(30));
    assert!(status.success(), "{said}");
    assert_eq!(edge.records().len(), 1, "capacity stands when nobody writes");
    assert!(edge.get(&address, "/health"));
    edge.assert_journal_replays();
}

/// Waits until nothing is noted for a second.
fn wait_for_calm(trail: &mut Trail) {
    wait_for("nothing is under way", || {
        let calm = trail.news().is_empty();
        std::thread::sleep(Duration::from_secs(1));
        calm && trail.news().is_empty()
    });
}

fn last_line(said: &str) -> &str {
    said.trim_end().lines().rev().find(|line| line.contains("error")).unwrap_or_default()
}
