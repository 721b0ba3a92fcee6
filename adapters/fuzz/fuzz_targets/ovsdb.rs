//! Any bytes as what an OVSDB server says.
#![no_main]

use forebay_adapters_fuzz::read_ovsdb;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| read_ovsdb(bytes));
