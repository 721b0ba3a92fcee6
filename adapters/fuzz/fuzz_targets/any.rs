//! Any bytes as a log whose format is told by content.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| forebay_adapters_fuzz::read_log(None, bytes));
