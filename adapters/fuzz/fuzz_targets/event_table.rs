//! Any bytes as a table of events: CSV and one JSON object a line.
#![no_main]

use forebay_adapters_fuzz::read_events;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    read_events(&[b"id,start,end,regions,classes,kind,uplift\n", bytes].concat());
    read_events(&[b"{\"id\":\"0\",\"start\":\"2026-06-14\"}\n", bytes].concat());
    read_events(bytes);
});
