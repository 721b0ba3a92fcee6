//! Sockets and threads of the responder.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::SteeringError;
use super::answer::{Transported, cut, respond_counted};
use super::counters::{Counting, ResponderCounters, count};
use super::executor::Kept;
use super::rate_limit::{Limiter, RateLimit, Verdict};
use super::table::{RegionOf, SubZone, Table};

/// What a responder is made of.
pub struct ResponderOptions {
    /// The zone that is delegated to it.
    pub zone: SubZone,
    /// Bound sockets for datagrams, each served by a thread. Bound to one address each: an answer leaves by the address
    /// that the system chooses.
    pub udp: Vec<UdpSocket>,
    /// Listening sockets for connections, each served by a thread and one more a connection.
    pub tcp: Vec<TcpListener>,
    /// The region of a client network, and the names of all regions; without it all clients are answered alike.
    pub regions: Option<(RegionOf, BTreeSet<String>)>,
    /// File that keeps what is answered, and what was before; without it both end with the process.
    pub state: Option<PathBuf>,
    /// How many datagrams one network may get; without it, any number.
    pub rate_limit: Option<RateLimit>,
}

/// An authoritative server. It ends when it is dropped.
pub struct Responder {
    pub(super) shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Nobody else's responder keeps its state in the same file.
    _lock: Option<File>,
}

/// What threads and executors share.
pub(super) struct Shared {
    pub(super) zone: SubZone,
    pub(super) regions: Option<(RegionOf, BTreeSet<String>)>,
    pub(super) state: Option<PathBuf>,
    pub(super) kept: Mutex<Kept>,
    /// The executor that writes, and the next one's number.
    pub(super) writer: Mutex<(Option<u64>, u64)>,
    /// Where it can be asked.
    pub(super) address: Option<SocketAddr>,
    table: RwLock<Arc<Table>>,
    /// Counts the tables: a thread looks at the lock only when it has changed.
    version: AtomicU64,
    pub(super) ended: AtomicBool,
    counting: Counting,
    connections: AtomicUsize,
}

/// How long a thread waits before it looks whether all is over.
const GLANCE: Duration = Duration::from_millis(200);
/// How long a connection may say nothing (RFC 7766 section 6.2.3).
const IDLE: Duration = Duration::from_secs(10);
/// Connections at a time.
const CONNECTIONS_MOST: usize = 128;

impl Responder {
    /// Reads what was answered last, and begins to answer.
    ///
    /// # Errors
    /// [`SteeringError::Contradiction`] for a zone that cannot be served, [`SteeringError::Kept`] for a file that cannot be
    /// read, is damaged, or is another responder's, and for sockets that cannot be waited on.
    pub fn start(options: ResponderOptions) -> Result<Responder, SteeringError> {
        let ResponderOptions { zone, udp, tcp, regions, state, rate_limit } = options;
        zone.check()?;
        let lock = state.as_deref().map(Kept::lock).transpose()?;
        let kept = state.as_ref().map_or(Ok(Kept::default()), |path| Kept::read(path, &zone.name))?;
        let table = kept.table(&zone, regions.as_ref().map(|(region_of, _)| Arc::clone(region_of)));
        let address = udp.first().and_then(|socket| socket.local_addr().ok());
        let shared = Arc::new(Shared {
            zone,
            regions,
            state,
            kept: Mutex::new(kept),
            writer: Mutex::new((None, 0)),
            address,
            table: RwLock::new(Arc::new(table)),
            version: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            counting: Counting::default(),
            connections: AtomicUsize::new(0),
        });
        let mut responder = Responder { shared, threads: Vec::new(), _lock: lock };
        let failed =
            |error: std::io::Error| SteeringError::Kept { path: "a socket".to_owned(), why: error.to_string() };
        for socket in udp {
            socket.set_read_timeout(Some(GLANCE)).map_err(failed)?;
            let shared = Arc::clone(&responder.shared);
            responder.spawn("dns-udp", move || serve_datagrams(&shared, &socket, rate_limit)).map_err(failed)?;
        }
        for listener in tcp {
            listener.set_nonblocking(true).map_err(failed)?;
            let shared = Arc::clone(&responder.shared);
            responder.spawn("dns-tcp", move || serve_connections(&shared, &listener)).map_err(failed)?;
        }
        Ok(responder)
    }

    /// What it has seen and said.
    pub fn counters(&self) -> ResponderCounters {
        self.shared.counting.read()
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        self.threads.push(std::thread::Builder::new().name(name.to_owned()).spawn(run)?);
        Ok(())
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
        // Connections end within a glance, but for what they are sending.
        let begun = Instant::now();
        while self.shared.connections.load(Ordering::Acquire) > 0 && begun.elapsed() < IDLE {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Shared {
    /// Answers by another table from now on. A query that is being answered is so by the one that it began with.
    pub(super) fn swap(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        self.version.fetch_add(1, Ordering::Release);
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// The table that a thread answers by.
struct Current {
    table: Arc<Table>,
    version: u64,
}

impl Current {
    fn new(shared: &Shared) -> Current {
        let version = shared.version.load(Ordering::Acquire);
        Current { table: shared.table(), version }
    }

    fn get(&mut self, shared: &Shared) -> &Table {
        if shared.version.load(Ordering::Acquire) != self.version {
            *self = Current::new(shared);
        }
        &self.table
    }
}

fn serve_datagrams(shared: &Shared, socket: &UdpSocket, rate_limit: Option<RateLimit>) {
    let mut limiter = rate_limit.map(Limiter::new);
    let mut current = Current::new(shared);
    let mut buffer = vec![0; 65_535];
    while !shared.is_over() {
        // Errors are of single datagrams: one that nobody took, or none at all.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        count(&shared.counting.udp);
        let (message, table) = (&buffer[..length], current.get(shared));
        let Some(mut answer) = respond_counted(table, message, from.ip(), Transported::Udp, &shared.counting) else {
            continue;
        };
        match limiter.as_mut().map_or(Verdict::Send, |limiter| limiter.verdict(from.ip())) {
            Verdict::Send => {}
            Verdict::SendCut => match cut(message) {
                Some(cut) => {
                    count(&shared.counting.truncated);
                    answer = cut;
                }
                None => continue,
            },
            Verdict::Drop => {
                count(&shared.counting.limited);
                continue;
            }
        }
        let _ = socket.send_to(&answer, from);
    }
}

fn serve_connections(shared: &Arc<Shared>, listener: &TcpListener) {
    let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: GLANCE.as_nanos() as i64 };
    while !shared.is_over() {
        let mut waiting = [rustix::event::PollFd::new(listener, rustix::event::PollFlags::IN)];
        let _ = rustix::event::poll(&mut waiting, Some(&timeout));
        match listener.accept() {
            Ok((stream, from)) => {
                if shared.connections.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MOST {
                    shared.connections.fetch_sub(1, Ordering::AcqRel);
                    count(&shared.counting.connections_refused);
                    continue;
                }
                let serving = Arc::clone(shared);
                let serve = move || {
                    // What ends a connection is its own affair.
                    let _ = serve_connection(&serving, &stream, from);
                    serving.connections.fetch_sub(1, Ordering::AcqRel);
                };
                if std::thread::Builder::new().name("dns-tcp-one".to_owned()).spawn(serve).is_err() {
                    shared.connections.fetch_sub(1, Ordering::AcqRel);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // Out of descriptors, or the like: it goes on when there are some.
            Err(_) => std::thread::sleep(GLANCE),
        }
    }
}

fn serve_connection(shared: &Shared, mut stream: &TcpStream, from: SocketAddr) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GLANCE))?;
    stream.set_write_timeout(Some(IDLE))?;
    let mut current = Current::new(shared);
    loop {
        let mut length = [0; 2];
        read_whole(shared, stream, &mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        read_whole(shared, stream, &mut message)?;
        count(&shared.counting.tcp);
        let table = current.get(shared);
        let Some(answer) = respond_counted(table, &message, from.ip(), Transported::Tcp, &shared.counting) else {
            return Ok(());
        };
        let length = u16::try_from(answer.len()).map_err(std::io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), &answer[..]].concat())?;
    }
}

/// Fills a buffer, in no more than the time a connection may be idle.
fn read_whole(shared: &Shared, mut stream: &TcpStream, buffer: &mut [u8]) -> std::io::Result<()> {
    let (begun, mut at) = (Instant::now(), 0);
    while at < buffer.len() {
        match stream.read(&mut buffer[at..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => at += length,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) =>
            {
                if shared.is_over() || begun.elapsed() > IDLE {
                    return Err(ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
