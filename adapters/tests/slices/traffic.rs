//! Traffic from the sources of a lab to its sink, and what of it arrives.
//!
//! Senders and receivers are threads of the test in the lab's namespaces. What counts is what the sink's sockets have
//! received, as payload: queues reckon with headers too, see [`Load::on_the_link`].

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use rustix::process::setpriority_process;

use super::lab::{Lab, PRIORITY};

/// Payload of a datagram.
const DATAGRAM_BYTES: usize = 1400;
/// What a socket holds of datagrams that its thread has not taken yet.
const RECEIVE_BYTES: usize = 4 << 20;
/// How far a sender that was kept from running may catch up: what it missed beyond that it never sends.
const CATCH_UP: Duration = Duration::from_millis(50);
/// How long a socket waits before its thread looks at the time again.
const GLANCE: Duration = Duration::from_millis(100);

/// Traffic of one source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    source: usize,
    v6: bool,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Udp { mbit_per_s: f64 },
    Tcp { flows: usize },
}

impl Load {
    /// Datagrams at a constant rate of payload.
    pub(crate) fn udp(source: usize, mbit_per_s: f64) -> Load {
        Load { source, v6: false, kind: Kind::Udp { mbit_per_s } }
    }

    /// Connections that send as fast as they may.
    pub(crate) fn tcp(source: usize, flows: usize) -> Load {
        Load { source, v6: false, kind: Kind::Tcp { flows } }
    }

    /// What a rate of payload comes to on the link, where queues count whole frames: the header of Ethernet is 14 bytes
    /// (its checksum, preamble and gap do not count), of IPv4 20 and of IPv6 40, of UDP 8, of TCP 32 with a time stamp
    /// (RFC 7323). Segments fill packets of 1,500 bytes.
    pub(crate) fn on_the_link(&self, payload: f64) -> f64 {
        let network = if self.v6 { 40 } else { 20 };
        let (payload_bytes, headers) = match self.kind {
            Kind::Udp { .. } => (DATAGRAM_BYTES, 14 + network + 8),
            Kind::Tcp { .. } => (1500 - network - 32, 14 + network + 32),
        };
        payload * (payload_bytes + headers) as f64 / payload_bytes as f64
    }

    /// The other way about: the payload of a rate on the link.
    pub(crate) fn payload(&self, on_the_link: f64) -> f64 {
        on_the_link / self.on_the_link(1.0)
    }

    /// The same over IPv6.
    pub(crate) fn over_v6(self) -> Load {
        Load { v6: true, ..self }
    }
}

/// What arrived of a load, in Mbit/s of payload, second by second but for the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Mean of the seconds.
    pub(crate) mean: f64,
    /// The worst second.
    pub(crate) min: f64,
    /// The best second.
    pub(crate) max: f64,
    /// What was sent in the same time, mean; a machine that is busy may send less than it should.
    pub(crate) sent: f64,
}

impl std::fmt::Display for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ({:.2}-{:.2}) of {:.2} Mbit/s", self.mean, self.min, self.max, self.sent)
    }
}

/// Bytes by second since the begin.
#[derive(Clone, Debug)]
struct Count(Arc<Mutex<Vec<u64>>>);

impl Count {
    fn new(seconds: u64) -> Count {
        Count(Arc::new(Mutex::new(vec![0; seconds as usize])))
    }

    fn add(&self, since: Duration, bytes: usize) {
        if let Some(second) = self.0.lock().unwrap().get_mut(since.as_secs() as usize) {
            *second += bytes as u64;
        }
    }

    /// Mbit/s of each second but the first.
    fn rates(&self) -> Vec<f64> {
        self.0.lock().unwrap().iter().skip(1).map(|bytes| *bytes as f64 * 8.0 / 1e6).collect()
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sockets of a load, connected before it begins.
enum Sockets {
    Udp { from: UdpSocket, to: UdpSocket, mbit_per_s: f64 },
    Tcp(Vec<(TcpStream, TcpStream)>),
}

/// Runs loads at the same time for so many seconds, of which the first does not count, and says what arrived of each.
pub(crate) fn measure(lab: &Lab, loads: &[Load], seconds: u64) -> Vec<Received> {
    assert!(seconds >= 2);
    let ready: Vec<(Sockets, Count, Count)> =
        loads.iter().map(|load| (connect(lab, load), Count::new(seconds), Count::new(seconds))).collect();
    let threads: usize = ready.iter().map(|(sockets, ..)| 2 * sockets.flows()).sum();
    let begin = Arc::new(Barrier::new(threads));
    let duration = Duration::from_secs(seconds);
    std::thread::scope(|scope| {
        for (sockets, sent, received) in &ready {
            match sockets {
                Sockets::Udp { from, to, mbit_per_s } => {
                    let (begun, bytes_per_s) = (Arc::clone(&begin), mbit_per_s * 1e6 / 8.0);
                    scope.spawn(move || send_datagrams(from, bytes_per_s, sent, duration, &begun));
                    let begun = Arc::clone(&begin);
                    scope.spawn(move || receive(|buffer| to.recv(buffer), received, duration, &begun));
                }
                Sockets::Tcp(flows) => {
                    for (from, to) in flows {
                        let begun = Arc::clone(&begin);
                        scope.spawn(move || send_stream(from, sent, duration, &begun));
                        let begun = Arc::clone(&begin);
                        scope.spawn(move || receive(|buffer| (&mut &*to).read(buffer), received, duration, &begun));
                    }
                }
            }
        }
    });
    let figures = |(_, sent, received): &(Sockets, Count, Count)| {
        let rates = received.rates();
        Received {
            mean: mean(&rates),
            min: rates.iter().copied().fold(f64::INFINITY, f64::min),
            max: rates.iter().copied().fold(0.0, f64::max),
            sent: mean(&sent.rates()),
        }
    };
    ready.iter().map(figures).collect()
}

impl Sockets {
    fn flows(&self) -> usize {
        match self {
            Sockets::Udp { .. } => 1,
            Sockets::Tcp(flows) => flows.len(),
        }
    }
}

fn connect(lab: &Lab, load: &Load) -> Sockets {
    let there = SocketAddr::new(lab.sink_address(load.v6), 0);
    let any: SocketAddr = if load.v6 { "[::]:0".parse().unwrap() } else { "0.0.0.0:0".parse().unwrap() };
    match load.kind {
        Kind::Udp { mbit_per_s } => {
            let to = lab.sink().within(|| UdpSocket::bind(there).unwrap());
            to.set_read_timeout(Some(GLANCE)).unwrap();
            // A receiver that is kept from running for a moment should lose nothing by it.
            if set_socket_recv_buffer_size_force(&to, RECEIVE_BYTES).is_err() {
                set_socket_recv_buffer_size(&to, RECEIVE_BYTES).unwrap();
            }
            let from = lab.source(load.source).within(|| UdpSocket::bind(any).unwrap());
            from.connect(to.local_addr().unwrap()).unwrap();
            from.set_write_timeout(Some(GLANCE)).unwrap();
            Sockets::Udp { from, to, mbit_per_s }
        }
        Kind::Tcp { flows } => {
            let listener = lab.sink().within(|| TcpListener::bind(there).unwrap());
            let address = listener.local_addr().unwrap();
            let connected = (0..flows).map(|_| {
                let from = lab.source(load.source).within(|| TcpStream::connect(address).unwrap());
                let (to, _) = listener.accept().unwrap();
                from.set_write_timeout(Some(GLANCE)).unwrap();
                to.set_read_timeout(Some(GLANCE)).unwrap();
                (from, to)
            });
            Sockets::Tcp(connected.collect())
        }
    }
}

/// Sends datagrams as they become due.
fn send_datagrams(socket: &UdpSocket, bytes_per_s: f64, count: &Count, duration: Duration, begin: &Barrier) {
    let datagram = [0x5a; DATAGRAM_BYTES];
    let begun = start(begin);
    let mut due = 0.0;
    let mut last = Duration::ZERO;
    while last < duration {
        let now = begun.elapsed();
        due = (due + (now - last).as_secs_f64() * bytes_per_s).min(CATCH_UP.as_secs_f64() * bytes_per_s);
        last = now;
        while due >= DATAGRAM_BYTES as f64 {
            due -= DATAGRAM_BYTES as f64;
            // What a full queue refuses is lost, as it would be on a wire.
            if socket.send(&datagram).is_ok() {
                count.add(begun.elapsed(), DATAGRAM_BYTES);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn send_stream(mut stream: &TcpStream, count: &Count, duration: Duration, begin: &Barrier) {
    let chunk = [0x5a; 16 * 1024];
    let begun = start(begin);
    while begun.elapsed() < duration {
        match stream.write(&chunk) {
            Ok(written) => count.add(begun.elapsed(), written),
            Err(error) => assert!(is_wait(&error), "{error}"),
        }
    }
}

fn receive(read: impl Fn(&mut [u8]) -> std::io::Result<usize>, count: &Count, duration: Duration, begin: &Barrier) {
    let mut buffer = vec![0; 64 * 1024];
    let begun = start(begin);
    while begun.elapsed() < duration {
        match read(&mut buffer) {
            Ok(received) => count.add(begun.elapsed(), received),
            Err(error) => assert!(is_wait(&error), "{error}"),
        }
    }
}

/// Waits until all threads are there; the time of the begin.
fn start(begin: &Barrier) -> Instant {
    // Of this thread alone. Where it is not allowed, a busy machine makes worse figures.
    let _ = setpriority_process(None, PRIORITY);
    begin.wait();
    Instant::now()
}

fn is_wait(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
