//! Clients behind resolvers, each in a network of its own, that ask for a name at a rate that changes.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The name that is asked for.
pub(crate) const NAME: &str = "video.cdn.test";

/// A load that goes on until it is stopped.
pub(crate) struct Crowd {
    is_over: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Asks at each rate \[1/s\] until its time, counted from `begun`.
    pub(crate) fn start(socket: UdpSocket, server: SocketAddr, begun: Instant, rates: Vec<(Duration, f64)>) -> Crowd {
        let (is_over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (over, count) = (Arc::clone(&is_over), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            socket.set_nonblocking(true).unwrap();
            let mut due = 0.0;
            let mut last = Instant::now();
            let mut number = 0_u32;
            while !over.load(Ordering::SeqCst) {
                let rate = rates.iter().find(|(until, _)| begun.elapsed() < *until).map_or(0.0, |(_, rate)| *rate);
                due += rate * last.elapsed().as_secs_f64();
                last = Instant::now();
                while due >= 1.0 {
                    due -= 1.0;
                    number += 1;
                    let _ = socket.send_to(&query(number), server);
                    count.fetch_add(1, Ordering::SeqCst);
                }
                let mut answer = [0; 512];
                while socket.recv(&mut answer).is_ok() {}
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Crowd { is_over, sent, thread: Some(thread) }
    }

    /// Queries sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Ends it; queries sent.
    pub(crate) fn stop(mut self) -> u64 {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.sent.load(Ordering::SeqCst)
    }
}

/// Networks that clients are of, in turn: so many that each asks again only when its answer has long run out.
const NETWORKS: u32 = 8192;

/// A query for an address (RFC 1035), on behalf of a network (RFC 7871).
fn query(number: u32) -> Vec<u8> {
    let mut message = vec![(number >> 8) as u8, number as u8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in NAME.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    // OPT: root, type 41, 1232 bytes, no flags; option 8: IPv4, 24 bits, for us to say how much of it counts.
    let network = number % NETWORKS;
    let network = [10, (network >> 8) as u8, network as u8];
    message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0]);
    message.extend(network);
    message
}
