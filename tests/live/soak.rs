//! Half an hour of crowds that come and go unannounced: clients are served all the while, and forebay does not grow.
//!
//! `FOREBAY_SOAK_MINUTES=5` makes it shorter or longer.

use std::fs;
use std::time::{Duration, Instant};

use super::crowd::Crowd;
use super::edge::{self, Edge};
use super::mission::take_out_of_service;
use super::witness::Witness;

const MINUTES: u64 = 30;
/// From one crowd to the next; each stays for half of that.
const WAVE: Duration = Duration::from_secs(240);
/// Requests a second without it, and with it: one guest is enough, and is not.
const RATES: [f64; 2] = [5.0, 30.0];
/// What forebay may be larger at the end than when it had seen two crowds, and all clients \[KiB\]: a longer history.
const GROWTH: u64 = 4 * 1024;
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
#[ignore = "needs root, knot, qemu and openvswitch, and half an hour"]
fn crowds_come_and_go_for_half_an_hour() {
    if !edge::have_all() {
        return;
    }
    let minutes = std::env::var("FOREBAY_SOAK_MINUTES").map_or(MINUTES, |text| text.parse().expect("minutes"));
    let span = Duration::from_secs(60 * minutes);
    let mut edge = Edge::new();
    let witness = Witness::start(&edge.path(""));
    let begun = Instant::now();
    let waves = 0..=(span.as_secs() / WAVE.as_secs()) as u32;
    let rates = waves.flat_map(|wave| [(WAVE * wave + WAVE / 2, RATES[0]), (WAVE * (wave + 1), RATES[1])]);
    let crowd = Crowd::start(edge.crowd_socket(), edge.dns(), begun, rates.collect());
    edge.write_file(&[]);
    edge.restart_forebay();

    let (mut asked, mut most, mut told) = (0_u32, 0, Instant::now());
    let mut sizes = Vec::new();
    while begun.elapsed() < span {
        edge.assert_alive();
        assert_eq!(witness.wrongs(), Vec::<String>::new());
        let answered = edge.records();
        assert!(begun.elapsed() < PATIENCE || !answered.is_empty(), "nobody is answered");
        for address in &answered {
            assert!(edge.get(address, "/health"), "{address} is answered, and does not serve");
            asked += 1;
        }
        most = most.max(answered.len());
        if told.elapsed() > Duration::from_secs(30) {
            sizes.push(resident(edge.forebay().id()));
            println!(
                "   {:5.0} s: {} answered, {} guests, {} KiB resident",
                begun.elapsed().as_secs_f64(),
                answered.len(),
                witness.guests().len(),
                sizes.last().unwrap(),
            );
            told = Instant::now();
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    println!("   {asked} requests served, by {} guests in all", witness.names().len());
    assert!(most >= 2, "a crowd needs two");
    let settled = (2 * WAVE.as_secs() / 30) as usize;
    if let (Some(settled), Some(last)) = (sizes.get(settled), sizes.last()) {
        assert!(*last < settled + GROWTH, "it grows: {sizes:?}");
    }

    take_out_of_service(&mut edge);
    let begun = Instant::now();
    while !edge.is_empty() {
        edge.assert_alive();
        assert!(begun.elapsed() < PATIENCE, "something of ours is left: {}", edge.left());
        std::thread::sleep(Duration::from_secs(1));
    }
    let sent = crowd.stop();
    edge.stop_forebay();
    assert_eq!(witness.wrongs(), Vec::<String>::new());
    println!("   {sent} queries sent");
    edge.assert_journal_replays();
}

/// Memory of a process that is its own and resident \[KiB\]: without its program's pages, which come as they are first used.
fn resident(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
