//! Live dnstap: servers connect to a socket of ours and send their queries as they come.
//!
//! ```text
//! knot ──unix──▶ ┐                                 ┌ thread a connection: frames, questions
//! bind ──unix──▶ ├ DnstapListener ─▶ connection ──▶ │ addresses cut to /24 and /56
//! dnsdist ─tcp─▶ ┘                                 └ batch ─▶ bounded queue ─▶ receive()
//! ```
//!
//! Frame Streams with the handshake (READY, ACCEPT, START … STOP, FINISH) or without it. Many senders, which may go and
//! come again; each is counted by the identity that its frames carry. When the consumer does not keep up the queue is
//! full, and what is dropped is counted, never silent. Before anything is queued, client addresses are cut.
//!
//! Servers lose frames too when they are faster than their own queues, and do not say so on this socket: compare
//! [`SenderReport::queries`] with the server's own counters ([`completeness`]).

mod address;
mod batch;
mod connection;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use address::{ListenAddress, ListenError};
pub use batch::QueryBatch;
pub use connection::{Ending, SenderReport};

use address::Socket;
use connection::Connection;

/// How long an acceptor sleeps when nobody connects.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Senders that are told apart after they have gone; further ones share one report.
const SENDERS_KEPT: usize = 1024;

/// Limits of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections at a time; further ones are closed at once, and counted.
    pub connections_max: usize,
    /// Longest frame \[bytes\]; a longer one ends its connection.
    pub frame_bytes_max: usize,
    /// Batches that wait for the consumer, each of what was read from one connection at once (up to 256 KiB of frames).
    pub queue_batches_max: usize,
    /// Permissions of a unix socket: who may connect is who may write to it.
    pub socket_mode: u32,
}

impl Default for ListenOptions {
    fn default() -> Self {
        ListenOptions { connections_max: 64, frame_bytes_max: 256 * 1024, queue_batches_max: 256, socket_mode: 0o660 }
    }
}

/// What [`DnstapListener::receive`] has.
#[derive(Debug)]
pub enum Received {
    /// Queries.
    Batch(QueryBatch),
    /// Nothing came in the given time.
    Nothing,
    /// The listener was stopped and all is received.
    Ended,
}

/// Listens for dnstap senders. Stops when dropped.
pub struct DnstapListener {
    receiver: Receiver<QueryBatch>,
    shared: Arc<Shared>,
    addresses: Vec<ListenAddress>,
    acceptors: Vec<JoinHandle<()>>,
}

impl DnstapListener {
    /// Begins to listen. A unix socket that nobody listens to any more is replaced.
    ///
    /// # Errors
    /// [`ListenError`] for an address that cannot be listened at; no address is then.
    pub fn bind(addresses: &[ListenAddress], options: &ListenOptions) -> Result<DnstapListener, ListenError> {
        let sockets = addresses
            .iter()
            .map(|address| Socket::bind(address, options.socket_mode))
            .collect::<Result<Vec<_>, _>>()?;
        let (sender, receiver) = sync_channel(options.queue_batches_max.max(1));
        let shared = Arc::new(Shared {
            options: options.clone(),
            stop: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            senders: Mutex::new(Senders::default()),
        });
        let addresses = sockets.iter().map(|socket| socket.address.clone()).collect();
        let mut listener = DnstapListener { receiver, shared, addresses, acceptors: Vec::new() };
        for socket in sockets {
            let (shared, sender) = (Arc::clone(&listener.shared), sender.clone());
            let address = socket.address.clone();
            let thread = thread::Builder::new().name("dnstap".to_owned());
            let acceptor = thread.spawn(move || accept(&socket, &shared, &sender));
            listener.acceptors.push(acceptor.map_err(|source| ListenError::Unusable { address, source })?);
        }
        Ok(listener)
    }

    /// Where it listens; a TCP port 0 is replaced by the port that was given.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// The next queries, waited for at most so long.
    pub fn receive(&self, wait: Duration) -> Received {
        match self.receiver.recv_timeout(wait) {
            Ok(batch) => Received::Batch(batch),
            Err(RecvTimeoutError::Timeout) => Received::Nothing,
            Err(RecvTimeoutError::Disconnected) => Received::Ended,
        }
    }

    /// Counts by sender, by name.
    pub fn senders(&self) -> Vec<SenderReport> {
        self.shared.senders().report()
    }

    /// Connections that were closed at once because there were too many.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Ends listening and every connection, after what has arrived is read; [`DnstapListener::receive`] then gives the
    /// rest and ends.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for DnstapListener {
    fn drop(&mut self) {
        self.stop();
        // A connection never waits for a full queue, so its thread ends whether or not somebody receives.
        for acceptor in self.acceptors.drain(..) {
            let _ = acceptor.join();
        }
    }
}

/// Share of a server's queries that were seen, in a line for the operator; `answered` is the server's own counter over
/// the same time (`knotc stats`, `rndc stats`). Queries are compared, never responses.
pub fn completeness(seen: u64, answered: u64) -> String {
    if answered == 0 {
        return format!("{seen} queries seen; the server has counted none");
    }
    let percent = seen as f64 / answered as f64 * 100.0;
    let lost = answered.saturating_sub(seen);
    format!("{seen} of {answered} queries seen ({percent:.2} %), {lost} lost on the way")
}

/// What the threads of a listener share.
struct Shared {
    options: ListenOptions,
    stop: AtomicBool,
    refused: AtomicU64,
    senders: Mutex<Senders>,
}

impl Shared {
    fn senders(&self) -> MutexGuard<'_, Senders> {
        // Counts are whole after every update: a panic elsewhere cannot leave them halfway.
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Reports of open connections, and of those that ended, by sender.
#[derive(Default)]
struct Senders {
    open: Vec<Arc<Mutex<SenderReport>>>,
    ended: std::collections::BTreeMap<String, SenderReport>,
}

impl Senders {
    fn report(&self) -> Vec<SenderReport> {
        let mut all = self.ended.clone();
        for report in &self.open {
            let report = report.lock().unwrap_or_else(PoisonError::into_inner).clone();
            all.entry(report.name.clone()).or_insert_with(|| SenderReport::new(&report.name)).add(&report);
        }
        all.into_values().collect()
    }

    fn end(&mut self, report: &Arc<Mutex<SenderReport>>) {
        self.open.retain(|open| !Arc::ptr_eq(open, report));
        let report = report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = self.ended.contains_key(&report.name) || self.ended.len() < SENDERS_KEPT;
        let name = if known { report.name.clone() } else { "others".to_owned() };
        self.ended.entry(name.clone()).or_insert_with(|| SenderReport::new(&name)).add(&report);
    }
}

/// Takes connections until the listener stops, then waits for theirs to end.
fn accept(socket: &Socket, shared: &Arc<Shared>, queue: &SyncSender<QueryBatch>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while !shared.stopping() {
        let (stream, peer) = match socket.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, an aborted connection: none of these is the listener's end.
                if error.kind() != io::ErrorKind::Interrupted {
                    thread::sleep(ACCEPT_PAUSE);
                }
                continue;
            }
        };
        threads.retain(|thread| !thread.is_finished());
        let report = Arc::new(Mutex::new(SenderReport::new(&peer)));
        {
            let mut senders = shared.senders();
            if senders.open.len() >= shared.options.connections_max {
                drop(senders);
                shared.refused.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            senders.open.push(Arc::clone(&report));
        }
        let (owned, kept, queue) = (Arc::clone(shared), Arc::clone(&report), queue.clone());
        let connection = thread::Builder::new().name("dnstap".to_owned()).spawn(move || {
            Connection::new(stream, &owned, &kept, queue).run();
            owned.senders().end(&kept);
        });
        match connection {
            Ok(thread) => threads.push(thread),
            Err(_) => {
                shared.refused.fetch_add(1, Ordering::Relaxed);
                shared.senders().open.retain(|open| !Arc::ptr_eq(open, &report));
            }
        }
    }
    socket.close();
    for thread in threads {
        let _ = thread.join();
    }
}

#[cfg(test)]
mod tests;
