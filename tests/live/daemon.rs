//! A libvirtd that is killed and that hangs while a guest serves, while others are made and while all go: what serves goes
//! on, one machine comes of each that is asked for, and in the end nothing is left.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::edge::{self, Edge};
use super::hypervisor::Kind;
use super::scene::{PATIENCE, Scene, TOO_LATE, UNSEEN, UNWANTED};

const THREE: (&str, &str) = ("fixed]\nvms = 1", "fixed]\nvms = 3");
/// What was seen is soon believed no more.
const SHORT_SIGHT: (&str, &str) = ("freshness = \"1 min\"", "freshness = \"6 s\"");
/// Orders that libvirt carries out.
const LIBVIRTS: [&str; 4] = ["create", "resume", "shut down", "remove"];
/// How long after orders began the daemon is killed [ms]: one takes about 400 ms to start a guest. A machine that failed
/// five times would be given up.
const AT_LAUNCH: [(&str, u64); 4] = [("create", 0), ("create", 150), ("create", 400), ("resume", 0)];
const AT_DRAIN: [(&str, u64); 6] =
    [("shut down", 0), ("remove", 0), ("shut down", 20), ("remove", 40), ("shut down", 100), ("remove", 100)];

#[test]
#[ignore = "needs root, knot, libvirt, qemu and openvswitch"]
fn capacity_stands_when_libvirtd_dies() {
    if !edge::have_all_of(Kind::Libvirt) {
        return;
    }
    let mut scene = Scene::of(Edge::with(Kind::Libvirt, 0));
    it_dies_while_one_serves(&mut scene);
    it_dies_while_nobody_wants_what_serves(&mut scene);
    it_hangs(&mut scene);
    it_dies_while_others_are_made(&mut scene);
    it_dies_while_all_go(&mut scene);
    scene.close();
}

fn it_dies_while_one_serves(scene: &mut Scene) {
    println!("   libvirtd is killed under a guest that serves");
    scene.restart(&[SHORT_SIGHT]);
    scene.hear("1 ready");
    let known = scene.edge.domains();
    scene.trail.news();
    scene.edge.libvirt().kill();
    hear_that_it_is_not_seen(scene);
    scene.assert_stays(TOO_LATE);
    assert!(scene.is_answered());
    scene.edge.libvirt().start();
    scene.hear("is seen again");
    scene.edge.forget_answers();
    scene.wait_for("the guest is answered again", |scene| scene.is_answered());
    scene.assert_stands();
    assert_eq!(scene.edge.domains(), known);
    let orders: Vec<_> =
        scene.trail.news().into_iter().filter(|noted| LIBVIRTS.contains(&noted.order.as_str())).collect();
    assert!(orders.is_empty(), "{orders:?}");
}

fn it_dies_while_nobody_wants_what_serves(scene: &mut Scene) {
    println!("   it is not there, and nobody wants the guest");
    let known = scene.edge.domains();
    scene.edge.libvirt().kill();
    scene.restart(&[SHORT_SIGHT, UNWANTED]);
    hear_that_it_is_not_seen(scene);
    scene.assert_stays(TOO_LATE);
    assert!(scene.is_answered());
    scene.restart(&[SHORT_SIGHT]);
    hear_that_it_is_not_seen(scene);
    scene.edge.libvirt().start();
    scene.hear("is seen again");
    scene.hear("1 ready");
    scene.assert_stands();
    assert_eq!(scene.edge.domains(), known);
}

fn it_hangs(scene: &mut Scene) {
    println!("   it says nothing any more");
    scene.restart(&[SHORT_SIGHT]);
    scene.hear("1 ready");
    scene.edge.libvirt().signal("STOP");
    hear_that_it_is_not_seen(scene);
    scene.assert_stays(TOO_LATE);
    assert!(scene.is_answered());
    println!("   nor does it when forebay is started again");
    scene.edge.stop_forebay();
    scene.edge.restart_forebay();
    hear_that_it_is_not_seen(scene);
    scene.edge.libvirt().signal("CONT");
    scene.hear("is seen again");
    scene.hear("1 ready");
    scene.assert_stands();
}

fn it_dies_while_others_are_made(scene: &mut Scene) {
    println!("   it is killed while two more are made");
    scene.trail.news();
    scene.restart(&[THREE]);
    killed_at(scene, "all three serve", &AT_LAUNCH, |scene| scene.edge.records().len() == 3);
    scene.assert_stands();
    assert_eq!(scene.witness.guests().len(), 3, "{:?}", scene.witness.guests());
    assert_eq!(scene.edge.domains().len(), 3);
    assert_eq!(scene.witness.names().len(), 3, "one came of each: {:?}", scene.witness.names());
    for address in scene.edge.records() {
        assert!(scene.edge.get(&address, "/health"), "{address} is answered, and does not serve");
    }
}

fn it_dies_while_all_go(scene: &mut Scene) {
    println!("   it is killed while all go");
    scene.trail.news();
    scene.restart(&[&[UNWANTED][..], &UNSEEN].concat());
    killed_at(scene, "nothing is left", &AT_DRAIN, |scene| scene.edge.is_empty());
}

fn hear_that_it_is_not_seen(scene: &mut Scene) {
    let uri = scene.edge.libvirt().uri();
    scene.hear(&format!("{uri} is not seen: "));
}

/// Kills the daemon so many milliseconds after orders began, each point once, and starts it again, until something has come
/// about after all of them.
fn killed_at(scene: &mut Scene, what: &str, points: &[(&str, u64)], mut is_so: impl FnMut(&mut Scene) -> bool) {
    let mut points: VecDeque<(&str, u64)> = points.iter().copied().collect();
    let begun = Instant::now();
    let mut looked = Instant::now();
    loop {
        let news = scene.trail.news();
        let begins = |order: &str| news.iter().any(|noted| noted.order == order && noted.outcome == "begun");
        if let Some(place) = points.iter().position(|(order, _)| begins(order)) {
            let (order, after) = points.remove(place).expect("it is there");
            std::thread::sleep(Duration::from_millis(after));
            scene.edge.libvirt().kill();
            println!("   {:5.1} s: killed {after} ms after: {order}", begun.elapsed().as_secs_f64());
            std::thread::sleep(Duration::from_millis(500));
            scene.edge.libvirt().start();
            // What was tried meanwhile is over.
            scene.trail.news();
        }
        scene.edge.assert_alive();
        assert_eq!(scene.witness.wrongs(), Vec::<String>::new());
        if looked.elapsed() > Duration::from_millis(500) {
            looked = Instant::now();
            if is_so(scene) {
                break;
            }
        }
        assert!(begun.elapsed() < 2 * PATIENCE, "{what} does not come about; there is: {}", scene.edge.left());
        std::thread::sleep(Duration::from_millis(2));
    }
    println!("   {:5.1} s: {what}", begun.elapsed().as_secs_f64());
    assert!(points.is_empty(), "it was not killed at {points:?}");
}
