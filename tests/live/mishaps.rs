//! One guest that serves, and everything around it that can go wrong: clients are served all the while, and what is wrong is
//! said.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::edge::{self, Edge};
use super::scene::{PATIENCE, Scene, TOO_LATE, UNSEEN, UNWANTED};
use super::trail::Noted;

const ANOTHER: (&str, &str) = ("fixed]\nvms = 1", "fixed]\nvms = 2");

/// The state folder, on a disk of its own that is soon full.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: PathBuf) -> SmallDisk {
        fs::create_dir(&folder).unwrap();
        let arguments = ["-t", "tmpfs", "-o", "size=2M", "forebay", folder.to_str().unwrap()];
        assert!(Command::new("mount").args(arguments).status().unwrap().success());
        SmallDisk(folder)
    }

    fn fill(&self) {
        let zeros = vec![0_u8; 4096];
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        while std::io::Write::write_all(&mut file, &zeros).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
#[ignore = "needs root, knot, qemu and openvswitch"]
fn capacity_stands_whatever_goes_wrong() {
    if !edge::have_all() {
        return;
    }
    let edge = Edge::new();
    let disk = SmallDisk::mount(edge.path("state"));
    let mut scene = Scene::of(edge);
    // It goes before the folder that it is mounted in.
    let disk = disk;

    a_name_server_that_refuses(&mut scene);
    a_name_server_that_dies(&mut scene);
    a_switch_that_dies(&mut scene);
    places_that_are_not_there(&mut scene);
    a_closed_kill_switch(&mut scene);
    a_full_disk(&mut scene, &disk);
    a_guest_that_cannot_be_made(&mut scene);
    a_guest_that_never_serves(&mut scene);

    println!("   and now it goes");
    scene.restart(&[&[UNWANTED][..], &UNSEEN].concat());
    scene.wait_for("nothing is left", |scene| scene.edge.is_empty());
    scene.close();
}

fn a_name_server_that_refuses(scene: &mut Scene) {
    println!("   the key is wrong, and nobody wants the guest");
    let right = scene.edge.read("dns.key");
    let wrong = right.replace("c3RlZXJpbmct", "d3JvbmcgaXQg");
    assert_ne!(right, wrong);
    fs::write(scene.edge.path("dns.key"), wrong).unwrap();
    scene.restart(&[UNWANTED]);
    scene.hear("is not seen: ");
    scene.assert_stays(TOO_LATE);
    assert!(scene.is_answered());
    assert!(!scene.edge.forebay().said().contains("d3JvbmcgaXQg"), "a key was said");
    fs::write(scene.edge.path("dns.key"), right).unwrap();
    scene.restart(&[]);
}

fn a_name_server_that_dies(scene: &mut Scene) {
    println!("   the name server is killed, and nobody wants the guest");
    scene.edge.kill_knot();
    scene.restart(&[UNWANTED]);
    scene.hear("is not seen: ");
    scene.assert_stays(TOO_LATE);
    scene.restart(&[]);
    scene.hear("is not seen: ");
    scene.edge.start_knot();
    scene.hear("is seen again");
    scene.wait_for("the guest is answered", |scene| scene.is_answered());
    scene.assert_stands();
}

fn a_switch_that_dies(scene: &mut Scene) {
    println!("   the switch is killed");
    scene.edge.switch().kill_forwarder();
    std::thread::sleep(Duration::from_secs(1));
    scene.edge.switch().start_forwarder();
    scene.wait_for("clients are served again", |scene| scene.edge.get(&scene.address, "/health"));
    scene.assert_stands();
    println!("   its database is killed, and nobody wants the guest");
    scene.edge.switch().kill_database();
    scene.restart(&[UNWANTED]);
    scene.hear("is not seen: ");
    // The userspace datapath forwards nothing until ovs-vswitchd has its database again, whoever else is there.
    scene.assert_lasts(TOO_LATE, Scene::assert_runs);
    assert!(scene.is_answered());
    scene.restart(&[]);
    scene.hear("is not seen: ");
    scene.edge.switch().start_database();
    scene.hear("is seen again");
    scene.wait_for("clients are served", |scene| scene.edge.get(&scene.address, "/health"));
    scene.assert_stands();
}

fn places_that_are_not_there(scene: &mut Scene) {
    println!("   machines are where a file is");
    let file = scene.edge.path("file");
    fs::write(&file, "not a folder").unwrap();
    let folder = format!("folder = \"{}\"", scene.edge.path("machines").display());
    scene.restart(&[(&folder, &format!("folder = \"{}\"", file.display())), UNWANTED]);
    scene.hear("is not seen: ");
    scene.assert_stays(Duration::from_secs(6));
    scene.restart(&[]);
}

fn a_closed_kill_switch(scene: &mut Scene) {
    println!("   the kill switch is closed by a file");
    let file = scene.edge.path("state/kill");
    fs::write(&file, "mains of row B go").unwrap();
    scene.hear("nothing is written: kill switch closed by the file");
    scene.edge.forget_answers();
    let nobody_writes = |scene: &mut Scene| {
        let begun = Instant::now();
        scene.trail.news();
        while begun.elapsed() < Duration::from_secs(8) {
            assert!(!scene.is_answered(), "somebody wrote");
            let written: Vec<Noted> = scene.trail.news().into_iter().filter(|noted| noted.writes > 0).collect();
            assert!(written.is_empty(), "{written:?}");
            scene.assert_stands();
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    nobody_writes(scene);
    fs::remove_file(&file).unwrap();
    scene.hear("the kill switch is open again");
    scene.wait_for("the guest is answered again", |scene| scene.is_answered());
    println!("   by a signal, over a restart");
    scene.edge.forebay().signal("USR1");
    scene.hear("nothing is written: kill switch closed by a signal");
    scene.edge.forget_answers();
    nobody_writes(scene);
    scene.restart(&[]);
    scene.hear("nothing is written: kill switch closed by a signal");
    nobody_writes(scene);
    scene.edge.kill_forebay();
    fs::remove_file(scene.edge.path("state/kill-switch.json")).unwrap();
    scene.restart(&[]);
    scene.wait_for("the guest is answered again", |scene| scene.is_answered());
}

fn a_full_disk(scene: &mut Scene, disk: &SmallDisk) {
    println!("   the disk is full");
    disk.fill();
    // It looks on and holds its lease, and orders nothing that it could not remember.
    scene.hear("No space left on device");
    scene.hear("nothing is ordered any more until it is started again with room");
    scene.edge.forget_answers();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) {
        assert!(!scene.is_answered(), "somebody wrote");
        scene.assert_stands();
    }
    scene.edge.kill_forebay();
    // It does not start either, and says why.
    scene.edge.restart_forebay();
    let (status, said) = scene.edge.take_forebay().end(PATIENCE);
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("No space left on device") && said.contains("hint: "), "{said}");
    scene.assert_stands();
    disk.make_room();
    scene.restart(&[]);
    scene.hear("1 ready");
    scene.wait_for("the guest is answered again", |scene| scene.is_answered());
    scene.assert_stands();
}

fn a_guest_that_cannot_be_made(scene: &mut Scene) {
    println!("   another one is wanted, and its image is missing");
    let kernel = format!("kernel = \"{}\"", super::guest::image().0.display());
    scene.trail.news();
    scene.restart(&[ANOTHER, (&kernel, "kernel = \"/nowhere/vmlinuz\"")]);
    let mut why = String::new();
    scene.wait_for("it fails", |scene| {
        let failed = scene.trail.news().into_iter().find(|noted| noted.order == "create" && noted.outcome == "failed");
        failed.is_some_and(|noted| {
            why = noted.why;
            true
        })
    });
    println!("   {why}");
    assert!(why.contains("/nowhere/vmlinuz"), "{why}");
    scene.assert_stands();
    scene.restart(&[]);
}

fn a_guest_that_never_serves(scene: &mut Scene) {
    println!("   another one is wanted, and does not serve");
    let before = scene.witness.names().len();
    let serves_never = ("console=ttyS0", "console=ttyS0 serves=no");
    scene.restart(&[ANOTHER, serves_never, ("boot_deadline = \"4 min\"", "boot_deadline = \"20 s\"")]);
    scene.wait_for("it is made", |scene| scene.witness.guests().len() == 2);
    let begun = Instant::now();
    scene.wait_for("it is given up, and another is made", |scene| {
        scene.assert_stands();
        assert!(scene.edge.records().len() <= 1, "what does not serve is answered");
        scene.witness.names().len() >= before + 2
    });
    assert!(begun.elapsed() > Duration::from_secs(10), "it had no time to boot");
    scene.hear("1 failed");
}
