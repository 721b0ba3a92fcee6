//! Any bytes as a DNS message.
#![no_main]

use forebay_adapters::dns_message::{NameBuffer, read_question};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut name = NameBuffer::new();
    if let Ok(question) = read_question(bytes, &mut name) {
        assert!(question.name.is_ascii());
    }
});
