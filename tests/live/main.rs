//! Production for real, and nothing mocked: Knot tells of its queries by dnstap, `forebay live` forecasts a crowd, QEMU or
//! libvirt boots guests, Open vSwitch keeps them to their slices, and Knot answers with their addresses. Then the crowd goes
//! home. Simulations of the same file have foretold it.
//!
//! ```text
//!   load ──▶ knot ──dnstap──▶ forebay ──QMP──▶ qemu ── tap ┐
//!             ▲                  │ OVSDB                  br0 ── sink: clients
//!             └──── RFC 2136 ────┘
//! ```
//!
//! Needs root and programs: `FOREBAY_SERVERS=required cargo test --workspace --features libvirt --test live -- --ignored
//! --test-threads 1 --nocapture`. One alone:
//!
//! | what | after `--ignored --nocapture --exact` |
//! |---|---|
//! | the whole mission, foretold by simulations (5 min; run by `tests/run`) | `a_guest_of_libvirt_stands_before_the_crowd_comes_and_is_gone_after_it` |
//! | two instances, one of them paused (1 min) | `takeover::of_two_instances_one_writes_and_one_that_wakes_too_late_does_not` |
//! | killed at every step (5 min) | `crash::killed_at_every_step_it_goes_on_and_leaves_nothing` |
//! | servers that die, refuse and fill up (5 min) | `mishaps::capacity_stands_whatever_goes_wrong` |
//! | a libvirtd that dies and hangs (5 min) | `daemon::capacity_stands_when_libvirtd_dies` |
//! | crowds that come and go for half an hour (`FOREBAY_SOAK_MINUTES`) | `soak::crowds_come_and_go_for_half_an_hour` |
//! | machines of a cloud (3.5 min; no guests) | `cloud::an_instance_stands_before_the_crowd_comes_and_is_gone_after_it` |
//! | a quota of a cloud is exceeded (3 min; no guests) | `cloud::a_quota_is_told_and_what_serves_stays` |
//! | credentials that a cloud does not know (30 s; no guests) | `cloud::credentials_that_are_not_known_are_told_and_whose_they_are` |
//! | shadow on the same lab, held against what was true, and by its system calls (2.5 min; strace) | `shadow::shadow_sees_what_production_does_and_sends_not_one_write` |
//! | shadow by a log in local time and a calendar (70 s; bind9, no root) | `followed::a_log_in_local_time_and_a_calendar_are_followed_through_whatever_replaces_them` |

mod chronicle;
mod cloud;
mod crash;
mod crowd;
#[cfg(feature = "libvirt")]
mod daemon;
mod deeds;
mod edge;
mod followed;
mod foretelling;
#[path = "../../adapters/tests/machines/guest.rs"]
#[allow(dead_code, reason = "made for the tests of adapters, which use all of it")]
mod guest;
mod hypervisor;
mod instance;
mod knot;
#[path = "../../adapters/tests/slices/lab.rs"]
#[allow(dead_code, reason = "made for the tests of adapters, which use all of it")]
mod lab;
#[cfg(feature = "libvirt")]
#[path = "../../adapters/tests/machines/libvirt_daemon.rs"]
#[allow(dead_code, reason = "made for the tests of adapters, which use all of it")]
mod libvirt_daemon;
mod mishaps;
mod mission;
#[path = "../../adapters/tests/machines/moto.rs"]
mod moto;
mod refusals;
mod scene;
mod shadow;
mod sky;
mod soak;
mod speech;
mod takeover;
mod trace;
mod trail;
mod witness;

use hypervisor::Kind;

#[test]
#[ignore = "needs root, knot, qemu and openvswitch"]
fn a_guest_stands_before_the_crowd_comes_and_is_gone_after_it() {
    mission::comes_about_as_foretold(Kind::Qemu);
}

#[cfg(feature = "libvirt")]
#[test]
#[ignore = "needs root, knot, libvirt, qemu and openvswitch"]
fn a_guest_of_libvirt_stands_before_the_crowd_comes_and_is_gone_after_it() {
    mission::comes_about_as_foretold(Kind::Libvirt);
}
