//! Slices on real links and on one in memory: one suite for every executor.

mod conformance;
mod fake;
