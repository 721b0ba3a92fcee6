//! One connection of a sender: its handshake, its frames, and what is counted of it.

use std::io::{self, Read, Write};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use super::address::Stream;
use super::batch::QueryBatch;
use crate::dns_message::NameBuffer;
use crate::dnstap::{identity_of, read_frame};
use crate::frame_streams::{DNSTAP_CONTENT, Unit, control, control_frame, offers_dnstap, split_unit};
use crate::query_report::SkipCounts;

/// Bytes asked of the socket at once.
const CHUNK: usize = 256 * 1024;
/// How long a read waits before it looks whether the listener stops.
const READ_WAIT: Duration = Duration::from_millis(100);
const WRITE_WAIT: Duration = Duration::from_secs(5);
/// How long a sender may take until its frames begin.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

/// Counts of one sender, over all its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// The identity that its frames carry; without one, where it connected from or to.
    pub name: String,
    /// Connections open now.
    pub open: u64,
    /// Connections so far.
    pub connections: u64,
    /// Connections that ended otherwise than by STOP or by our own stopping.
    pub disconnects: u64,
    /// Data frames.
    pub frames: u64,
    /// Everything received \[bytes\].
    pub bytes: u64,
    /// Queries, delivered or dropped.
    pub queries: u64,
    /// Frames that are no queries to be counted.
    pub skipped: SkipCounts,
    /// Frames that are no dnstap.
    pub bad_frames: u64,
    /// Queries that were dropped because the consumer did not keep up.
    pub dropped: u64,
    /// How the latest connection that ended did so.
    pub ending: Option<Ending>,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The sender said STOP.
    Finished,
    /// The sender closed it without saying so.
    Closed,
    /// It was closed here, with the reason.
    Refused(String),
    /// The network or the operating system ended it.
    Failed(String),
    /// The listener was stopped.
    Stopped,
}

impl SenderReport {
    pub(super) fn new(name: &str) -> SenderReport {
        SenderReport {
            name: name.to_owned(),
            open: 0,
            connections: 0,
            disconnects: 0,
            frames: 0,
            bytes: 0,
            queries: 0,
            skipped: SkipCounts::default(),
            bad_frames: 0,
            dropped: 0,
            ending: None,
        }
    }

    /// Adds the counts of another connection.
    pub(super) fn add(&mut self, other: &SenderReport) {
        self.open += other.open;
        self.connections += other.connections;
        self.disconnects += other.disconnects;
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.queries += other.queries;
        self.skipped.add_all(&other.skipped);
        self.bad_frames += other.bad_frames;
        self.dropped += other.dropped;
        if other.ending.is_some() {
            self.ending.clone_from(&other.ending);
        }
    }
}

/// A connection that is served by a thread of its own.
pub(super) struct Connection<'s> {
    stream: Stream,
    shared: &'s Shared,
    report: &'s Arc<Mutex<SenderReport>>,
    queue: SyncSender<QueryBatch>,
    name: NameBuffer,
    /// The sender asked for the handshake.
    bidirectional: bool,
    /// Between START and STOP.
    within: bool,
    named: bool,
}

impl<'s> Connection<'s> {
    pub(super) fn new(
        stream: Stream,
        shared: &'s Shared,
        report: &'s Arc<Mutex<SenderReport>>,
        queue: SyncSender<QueryBatch>,
    ) -> Connection<'s> {
        let name = NameBuffer::new();
        Connection { stream, shared, report, queue, name, bidirectional: false, within: false, named: false }
    }

    /// Receives until the connection ends.
    pub(super) fn run(mut self) {
        self.count(|report| {
            report.open = 1;
            report.connections = 1;
        });
        let ending = self.receive().unwrap_or_else(|ending| ending);
        self.count(|report| {
            report.open = 0;
            report.disconnects = u64::from(!matches!(ending, Ending::Finished | Ending::Stopped));
            report.ending = Some(ending);
        });
    }

    fn receive(&mut self) -> Result<Ending, Ending> {
        let failed = |error: io::Error| Ending::Failed(error.to_string());
        self.stream.set_timeouts(READ_WAIT, WRITE_WAIT).map_err(failed)?;
        let begun = Instant::now();
        let mut buffer = vec![0; CHUNK];
        // What of the buffer is received and not yet taken.
        let mut end = 0;
        loop {
            match self.stream.read(&mut buffer[end..]) {
                Ok(0) => return Ok(Ending::Closed),
                Ok(read) => {
                    end += read;
                    self.count(|report| report.bytes += read as u64);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        if self.shared.stopping() {
                            return Ok(Ending::Stopped);
                        }
                        if !self.within && begun.elapsed() > HANDSHAKE_WAIT {
                            return Err(Ending::Refused("no frames were announced in time".to_owned()));
                        }
                    }
                    _ => return Err(failed(error)),
                },
            }
            let (taken, finished) = self.take(&buffer[..end])?;
            if finished {
                return Ok(Ending::Finished);
            }
            buffer.copy_within(taken..end, 0);
            end -= taken;
            if end == buffer.len() {
                // A frame longer than the buffer; its length was found to be allowed.
                let most = (self.shared.options.frame_bytes_max + 8).max(CHUNK);
                buffer.resize((buffer.len() * 2).min(most).max(end + 1), 0);
            }
        }
    }

    /// Takes the whole units of what was received: how many bytes they have, and whether the sender stopped.
    fn take(&mut self, received: &[u8]) -> Result<(usize, bool), Ending> {
        let mut counts = SenderReport::new("");
        let mut batch = QueryBatch::default();
        let mut taken = 0;
        let mut finished = false;
        let mut result = Ok(());
        while !finished {
            let (unit, length) = match split_unit(&received[taken..], self.shared.options.frame_bytes_max) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(what) => {
                    result = Err(Ending::Refused(what));
                    break;
                }
            };
            taken += length;
            match unit {
                Unit::Data(frame) if self.within => self.take_frame(frame, &mut counts, &mut batch),
                Unit::Data(_) => result = Err(Ending::Refused("a frame before START".to_owned())),
                Unit::Control(kind, fields) => match self.take_control(kind, fields) {
                    Ok(stopped) => finished = stopped,
                    Err(ending) => result = Err(ending),
                },
            }
            if result.is_err() {
                break;
            }
        }
        let queries = batch.len() as u64;
        if queries > 0
            && let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.queue.try_send(batch)
        {
            counts.dropped = queries;
        }
        self.count(|report| report.add(&counts));
        result.map(|()| (taken, finished))
    }

    fn take_frame(&mut self, frame: &[u8], counts: &mut SenderReport, batch: &mut QueryBatch) {
        counts.frames += 1;
        if !self.named {
            self.named = true;
            if let Some(identity) = identity_of(frame) {
                self.count(|report| report.name = identity);
            }
        }
        self.name.clear();
        match read_frame(frame, &mut self.name) {
            Some(Ok(asked)) => {
                counts.queries += 1;
                batch.push(&asked, self.name.as_str());
            }
            Some(Err(why)) => counts.skipped.add(why),
            None => counts.bad_frames += 1,
        }
    }

    /// Answers a control frame; true when the sender has stopped.
    fn take_control(&mut self, kind: u32, fields: &[u8]) -> Result<bool, Ending> {
        let no_dnstap = || Ending::Refused("a content other than protobuf:dnstap.Dnstap".to_owned());
        match (kind, self.within) {
            (control::READY, false) => {
                if !offers_dnstap(fields) {
                    return Err(no_dnstap());
                }
                self.bidirectional = true;
                self.send(&control_frame(control::ACCEPT, Some(DNSTAP_CONTENT)))?;
            }
            (control::START, false) => {
                if !offers_dnstap(fields) {
                    return Err(no_dnstap());
                }
                self.within = true;
            }
            (control::STOP, true) => {
                if self.bidirectional {
                    // A sender that does not wait for the answer has stopped all the same.
                    let _ = self.send(&control_frame(control::FINISH, None));
                }
                return Ok(true);
            }
            (kind, _) => return Err(Ending::Refused(format!("a control frame of type {kind} out of place"))),
        }
        Ok(false)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Ending> {
        self.stream.write_all(bytes).map_err(|error| Ending::Failed(error.to_string()))
    }

    fn count(&self, change: impl FnOnce(&mut SenderReport)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
