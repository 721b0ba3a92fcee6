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
//! --test-threads 1 --nocapture`.

mod chronicle;
mod crash;
mod crowd;
mod edge;
mod foretelling;
#[path = "../../adapters/tests/machines/guest.rs"]
#[allow(dead_code, reason = "made for the tests of adapters, which use all of it")]
mod guest;
mod hypervisor;
mod instance;
#[path = "../../adapters/tests/slices/lab.rs"]
#[allow(dead_code, reason = "made for the tests of adapters, which use all of it")]
mod lab;
#[cfg(feature = "libvirt")]
#[path = "../../adapters/tests/machines/libvirt_daemon.rs"]
#[allow(dead_code, reason = "made for the tests of adapters, which use all of it")]
mod libvirt_daemon;
mod mishaps;
mod mission;
mod refusals;
mod takeover;
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
