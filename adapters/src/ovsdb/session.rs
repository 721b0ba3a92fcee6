//! One session: a connection, the messages that come through it, and how old the last sign of life is.

use std::io;
use std::time::Instant;

use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::error::OvsdbError;
use super::message::{Message, MessageReader};
use super::stream::{Stream, untrusted_or};

/// Bytes asked of the socket at once.
const CHUNK: usize = 64 * 1024;
/// Bytes that are kept unread, at most, while a request is written.
const BACKLOG_BYTES_MOST: usize = super::message::MESSAGE_BYTES_MOST;

/// What ended a session.
#[derive(Debug)]
pub(super) enum Fault {
    /// The network, the server or the operating system.
    Lost(io::Error),
    /// What came is no message.
    Garbage(String),
    /// A request could not be written in time.
    Stuck,
}

/// An open session.
pub(super) struct Session {
    stream: Stream,
    reader: MessageReader,
    buffer: Box<[u8]>,
    requests: u64,
    /// When something came last.
    pub(super) heard: Instant,
    /// When we asked for a sign of life that has not come.
    pub(super) probed: Option<Instant>,
}

impl Session {
    /// Connects.
    pub(super) fn open(endpoint: &Endpoint, deadline: Instant) -> Result<Session, OvsdbError> {
        let stream = Stream::connect(endpoint, deadline)?;
        let (reader, buffer) = (MessageReader::default(), vec![0; CHUNK].into_boxed_slice());
        Ok(Session { stream, reader, buffer, requests: 0, heard: Instant::now(), probed: None })
    }

    /// A number that no request of this session has had.
    pub(super) fn next_id(&mut self) -> Value {
        self.requests += 1;
        json!(self.requests)
    }

    /// Sends a message whole.
    pub(super) fn send(&mut self, message: &Value, deadline: Instant) -> Result<(), Fault> {
        let bytes = serde_json::to_vec(message).expect("names of JSON objects are text");
        let reader = &mut self.reader;
        let mut take = |came: &[u8]| {
            reader.push(came);
            reader.waiting_bytes() < BACKLOG_BYTES_MOST
        };
        self.stream.write_all(&bytes, deadline, &mut take).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => Fault::Stuck,
            _ => Fault::Lost(error),
        })
    }

    /// The next message, waited for until the deadline.
    pub(super) fn receive(&mut self, deadline: Instant) -> Result<Option<Message>, Fault> {
        loop {
            match self.reader.next_message() {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(error) => return Err(Fault::Garbage(error.to_string())),
            }
            match self.stream.read(&mut self.buffer, deadline).map_err(Fault::Lost)? {
                None => return Ok(None),
                Some(0) => {
                    let what = match self.reader.waiting_bytes() {
                        0 => "the server closed it".to_owned(),
                        bytes => format!("the server closed it {bytes} bytes into a message"),
                    };
                    return Err(Fault::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, what)));
                }
                Some(read) => {
                    self.heard = Instant::now();
                    self.probed = None;
                    self.reader.push(&self.buffer[..read]);
                }
            }
        }
    }
}

impl Fault {
    /// The same as an error of whoever asked. `request` is what was under way, `sent` whether all of it was.
    pub(super) fn told(self, endpoint: &Endpoint, request: Option<&'static str>, sent: bool) -> OvsdbError {
        let pending = request.filter(|_| sent);
        let told = endpoint.to_string();
        match self {
            Fault::Lost(error) => {
                let lost = |error: io::Error| {
                    let what = match error.kind() {
                        io::ErrorKind::TimedOut => "the server does not answer any more".to_owned(),
                        _ => error.to_string(),
                    };
                    OvsdbError::Lost { endpoint: told, what, pending }
                };
                // With a request under way, what became of it matters more.
                if pending.is_some() { lost(error) } else { untrusted_or(endpoint, error, lost) }
            }
            Fault::Garbage(what) => OvsdbError::Garbage { endpoint: told, what, pending },
            Fault::Stuck => {
                OvsdbError::Lost { endpoint: told, what: "the server does not read what we send".to_owned(), pending }
            }
        }
    }
}
