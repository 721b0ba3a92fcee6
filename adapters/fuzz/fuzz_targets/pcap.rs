//! Any bytes as a log of format `pcap`.
#![no_main]

use forebay_adapters::LogFormat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| forebay_adapters_fuzz::read_log(Some(LogFormat::Pcap), bytes));
