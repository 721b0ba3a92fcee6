//! Steering: one suite for every executor, and what resolvers and load make of our own server.
//!
//! All but the server in memory need programs, so they are ignored unless asked for: `cargo test -p forebay-adapters
//! --test steering -- --ignored --test-threads 1 --nocapture`. Debian: knot knot-dnsutils bind9 bind9-dnsutils unbound
//! pdns-server pdns-backend-sqlite3 sqlite3. A test that lacks something says so and passes, except with
//! `FOREBAY_SERVERS=required`: then it fails. Every server listens on loopback only and ends with its test.

mod conformance;
mod fake;
mod powerdns;
mod responder;
mod rfc2136;
mod servers;
mod views;
