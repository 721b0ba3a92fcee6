//! Real servers on loopback, and our readers and clients beside them. They need the servers, so they are ignored unless
//! asked for: `cargo test -p forebay-adapters --test real_servers -- --ignored --test-threads 1 --nocapture`. A test whose
//! programs are missing says so and passes, except with `FOREBAY_SERVERS=required`: then it fails. No server asks anybody
//! beyond loopback.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

mod dns;
mod ovsdb;

/// How long a server may take to start or to end, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where programs are looked for: servers are not on everybody's path.
fn search_path() -> String {
    std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin"
}

/// Whether programs are there; says so when not, and fails when they have to be.
fn have(programs: &[&str]) -> bool {
    let path = search_path();
    let missing: Vec<_> = programs
        .iter()
        .chain(&["setpriv"])
        .filter(|program| !path.split(':').any(|folder| Path::new(folder).join(program).exists()))
        .collect();
    let required = std::env::var_os("FOREBAY_SERVERS").is_some_and(|value| value == "required");
    assert!(missing.is_empty() || !required, "{missing:?} are not installed, and FOREBAY_SERVERS=required");
    if !missing.is_empty() {
        eprintln!("NOT TESTED: {missing:?} are not installed");
    }
    missing.is_empty()
}

/// A port of loopback that is free for UDP and TCP. It is below those that the system gives to clients, so that none
/// of them takes it before the server does.
fn free_port() -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 12_000) as u16;
    for _ in 0..12_000 {
        let port = 20_000 + (first + TRIED.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// A server that ends with its test, however that goes.
struct Server {
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that was killed: its number may be another's by now.
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        // TERM first, so that the server says goodbye on its sockets.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
