//! Machines: one suite for every executor, and what a guest then does.
//!
//! What needs root and programs is ignored unless asked for: `cargo test -p forebay-adapters --test machines -- --ignored
//! --test-threads 1 --nocapture`. A test that lacks something says so and passes, except with `FOREBAY_SERVERS=required`:
//! then it fails. All that a test makes stands in namespaces and folders of its own, and goes with it.

mod conformance;
#[cfg(feature = "ec2")]
mod ec2;
#[cfg(feature = "ec2")]
mod ec2_server;
mod fake;
mod guest;
#[path = "../slices/lab.rs"]
#[allow(dead_code, reason = "the lab of slices has more than machines need")]
mod lab;
#[cfg(feature = "libvirt")]
mod libvirt;
#[cfg(feature = "libvirt")]
mod libvirt_daemon;
#[cfg(feature = "ec2")]
mod moto;
mod qemu;
mod views;
