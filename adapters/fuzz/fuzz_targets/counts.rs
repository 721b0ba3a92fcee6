//! Any bytes as a table of counts.
#![no_main]

use std::io::Cursor;

use forebay_adapters::Input;
use forebay_adapters::counts::read_counts_from;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(input) = Input::from_reader("fuzz", Cursor::new(bytes.to_vec())) {
        if let Err(error) = read_counts_from(input) {
            assert!(!error.hint().is_empty());
        }
    }
});
