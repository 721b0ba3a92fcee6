//! Slices: one suite for every executor, what the kernel makes of our requests, and what traffic then gets.
//!
//! All but the switch in memory need root and programs, so they are ignored unless asked for: `cargo test -p
//! forebay-adapters --test slices -- --ignored --test-threads 1 --nocapture`. Debian: iproute2 ethtool openvswitch-switch.
//! A test that lacks something says so and passes, except with `FOREBAY_SERVERS=required`: then it fails. All that a test
//! makes stands in network namespaces of its own, and goes with it.

mod capture;
mod conformance;
mod fake;
mod guarantee;
mod isolation;
mod kernel;
mod lab;
mod leftovers;
mod ovn;
mod ovs;
mod shown;
mod sliced;
mod speed;
mod tc;
mod traffic;
mod views;
