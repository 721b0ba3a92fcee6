//! Any bytes as a calendar of events: read or refused, in bounded time and memory.
#![no_main]

use forebay_adapters_fuzz::read_events;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    read_events(&[b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\n", bytes, b"\nEND:VEVENT\nEND:VCALENDAR\n"].concat());
    read_events(bytes);
});
