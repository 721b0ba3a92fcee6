//! Any bytes as what somebody asks the responder.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| forebay_adapters_fuzz::ask_responder(bytes));
