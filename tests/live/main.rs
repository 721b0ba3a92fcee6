//! Production for real, and nothing mocked: Knot tells of its queries by dnstap, `forebay live` forecasts a crowd, QEMU boots
//! guests, Open vSwitch keeps them to their slices, and Knot answers with their addresses. Then the crowd goes home.
//!
//! ```text
//!   load ──▶ knot ──dnstap──▶ forebay ──QMP──▶ qemu ── tap ┐
//!             ▲                  │ OVSDB                  br0 ── sink: clients
//!             └──── RFC 2136 ────┘
//! ```
//!
//! Needs root and programs: `FOREBAY_SERVERS=required cargo test --workspace --test live -- --ignored --nocapture`. One alone:
//!
//! | what | after `--ignored --nocapture --exact` |
//! |---|---|
//! | shadow on the same lab, held against what was true, and by its system calls (2.5 min; strace) | `shadow::shadow_sees_what_production_does_and_sends_not_one_write` |
//! | shadow by a log in local time and a calendar (70 s; bind9, no root) | `followed::a_log_in_local_time_and_a_calendar_are_followed_through_whatever_replaces_them` |

mod crash;
mod crowd;
mod deeds;
mod edge;
mod followed;
#[path = "../../adapters/tests/machines/guest.rs"]
#[allow(dead_code, reason = "made for the tests of adapters, which use all of it")]
mod guest;
mod instance;
#[path = "../../adapters/tests/slices/lab.rs"]
#[allow(dead_code, reason = "made for the tests of adapters, which use all of it")]
mod lab;
mod mishaps;
mod refusals;
mod shadow;
mod speech;
mod takeover;
mod trace;
mod trail;
mod witness;

use std::time::{Duration, Instant};

use crowd::Crowd;
use edge::{Edge, Event};

#[test]
#[ignore = "needs root, knot, qemu and openvswitch"]
fn a_guest_stands_before_the_crowd_comes_and_is_gone_after_it() {
    if !edge::have_all() {
        return;
    }
    let mut edge = Edge::new();
    let begun = Instant::now();
    // Five requests a second; later a crowd of six times as many, for a minute. It is announced.
    let crowd_begins = Duration::from_secs(100);
    let crowd_ends = crowd_begins + Duration::from_secs(60);
    let crowd = Crowd::start(
        edge.crowd_socket(),
        edge.dns(),
        begun,
        vec![(crowd_begins, 5.0), (crowd_ends, 30.0), (Duration::from_secs(3_600), 5.0)],
    );
    edge.start_forebay(crowd_begins, crowd_ends);

    let mut events: Vec<(Duration, Event)> = Vec::new();
    let mut most = 0;
    let mut is_retired = false;
    while begun.elapsed() < crowd_ends + Duration::from_secs(300) {
        edge.assert_alive();
        for event in edge.look() {
            println!("   {:6.1} s  {event:?}", begun.elapsed().as_secs_f64());
            events.push((begun.elapsed(), event));
        }
        most = most.max(edge.serving());
        if is_retired && edge.is_empty() {
            break;
        }
        // When the crowd's guest has gone home, the operator takes the rest out of service.
        if !is_retired && events.iter().any(|(_, event)| matches!(event, Event::MachineGone(_))) {
            is_retired = true;
            println!("   {:6.1} s  out of service", begun.elapsed().as_secs_f64());
            edge.stop_forebay();
            edge.write_file(&[
                ("policy = \"predictive\"", "policy = \"fixed\""),
                ("demand = \"dns\"", "demand = \"sessions\""),
                ("warm = [\"/health\"]", "warm = [\"/health\"]\nsessions = { path = \"/sessions\" }"),
                (
                    "[controller.policy.predictive]",
                    "[controller.policy.fixed]\nvms = 0\n\n[controller.policy.predictive]",
                ),
            ]);
            edge.restart_forebay();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let sent = crowd.stop();
    assert!(is_retired, "the crowd's guest has not gone: {events:?}");
    let first = |wanted: fn(&Event) -> bool| events.iter().find(|(_, event)| wanted(event)).map(|(at, _)| *at);
    let second_guest = events.iter().filter(|(_, event)| matches!(event, Event::Serves(_))).nth(1).map(|(at, _)| *at);
    println!("   {sent} queries sent; most that served at the same time: {most}");
    let slice = first(|event| matches!(event, Event::Slice)).expect("a slice stands");
    let machine = first(|event| matches!(event, Event::Machine(_))).expect("a guest is made");
    let port = first(|event| matches!(event, Event::Port(_))).expect("a port has rules");
    let serves = first(|event| matches!(event, Event::Serves(_))).expect("a guest serves");
    let answered = first(|event| matches!(event, Event::Answered(_))).expect("a guest is answered");
    assert!(slice <= machine && machine <= port && port <= serves && serves <= answered, "{events:?}");
    assert!(most >= 2, "the crowd needs two");
    assert!(second_guest.expect("two guests served") < crowd_begins, "it stood too late: {events:?}");
    assert!(edge.slice_carried() > 1000, "what guests serve goes through their slice");
    assert!(edge.is_empty(), "something of ours is left: {}", edge.left());
    edge.stop_forebay();
    assert!(edge.is_empty(), "something of ours is left: {}", edge.left());
    edge.assert_journal_replays();
}
