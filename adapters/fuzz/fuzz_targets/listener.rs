//! Any bytes as what a dnstap sender writes to the socket.
#![no_main]

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::Duration;

use forebay_adapters::dnstap_listener::{DnstapListener, ListenAddress, ListenOptions, Received};
use libfuzzer_sys::fuzz_target;

/// One listener for all runs: a sender that errs must not harm the next.
static SOCKET: OnceLock<std::path::PathBuf> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    let path = SOCKET.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("fbfuzz{}", std::process::id()));
        let listener = DnstapListener::bind(&[ListenAddress::Unix(path.clone())], &ListenOptions::default());
        let listener = listener.expect("the folder for temporary files can be written");
        std::thread::spawn(move || {
            while !matches!(listener.receive(Duration::from_secs(1)), Received::Ended) {
                assert!(listener.senders().len() <= 2000);
            }
        });
        path
    });
    let mut sender = loop {
        match UnixStream::connect(path) {
            // libFuzzer's own timer goes off while the listener is busy.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            sender => break sender.expect("the listener lives"),
        }
    };
    let _ = sender.write_all(bytes);
});
