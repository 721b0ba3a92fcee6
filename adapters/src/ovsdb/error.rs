//! What can go wrong between a client and its server, and what is known of the request that was under way.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::endpoint::EndpointError;
use super::refusal::{Refusal, Refused};

/// What went wrong. `Display` is one line; [`hint`](OvsdbError::hint) may help.
#[derive(Debug, thiserror::Error)]
pub enum OvsdbError {
    /// A text that is no endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Nobody answers there.
    #[error("{endpoint}: cannot be reached: {source}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// Why.
        source: io::Error,
    },
    /// A file of the TLS connection that cannot be used.
    #[error("{}: {what}; allowed: {allowed}", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The two sides do not come to trust each other.
    #[error("{endpoint}: no secure connection: {what}")]
    Untrusted {
        /// Where.
        endpoint: String,
        /// Who refused whom, and why.
        what: String,
        /// What may help.
        hint: &'static str,
    },
    /// The connection ended. Nothing works until [`Client::reconnect`](super::Client::reconnect).
    #[error("{endpoint}: the connection is lost: {what}{}", unknown(.pending))]
    Lost {
        /// Where.
        endpoint: String,
        /// How.
        what: String,
        /// The request that was sent and not answered: whether it was done is unknown.
        pending: Option<&'static str>,
    },
    /// No answer came in time. The connection was closed: what comes later would be taken for another's answer.
    #[error("{endpoint}: no answer to {request} within {waited:?}{}", unknown(.pending))]
    Timeout {
        /// Where.
        endpoint: String,
        /// What was asked.
        request: &'static str,
        /// How long was waited.
        waited: Duration,
        /// The request, if it was sent whole: whether it was done is unknown.
        pending: Option<&'static str>,
    },
    /// What came is no OVSDB, or contradicts itself. The connection was closed.
    #[error("{endpoint}: {what}{}", unknown(.pending))]
    Garbage {
        /// Where.
        endpoint: String,
        /// What came.
        what: String,
        /// The request that was sent and not answered: whether it was done is unknown.
        pending: Option<&'static str>,
    },
    /// The connection was closed before, after the error that is told again here.
    #[error("{endpoint}: not connected ({why})")]
    Closed {
        /// Where.
        endpoint: String,
        /// What ended the connection.
        why: String,
    },
    /// The server does not do what was asked, all of it.
    #[error("{endpoint}: {request} is refused: {}", .refused.words)]
    Rejected {
        /// Where.
        endpoint: String,
        /// What was asked.
        request: &'static str,
        /// What the server said.
        refused: Refused,
    },
    /// An operation failed, and with it the transaction: nothing of it was done.
    #[error("{endpoint}: operation {number} of {of}, {described}, is refused: {}", .refused.words)]
    Operation {
        /// Where.
        endpoint: String,
        /// Which, counted from 1.
        number: usize,
        /// Operations of the transaction.
        of: usize,
        /// What it is, and on which table.
        described: String,
        /// What the server said.
        refused: Refused,
    },
    /// All operations were done and the whole of them was refused as it was committed: nothing was done.
    #[error("{endpoint}: the transaction is refused at its end: {}", .refused.words)]
    Commit {
        /// Where.
        endpoint: String,
        /// What the server said.
        refused: Refused,
    },
    /// The schema does not have what is to be monitored.
    #[error("{endpoint}: database {database} has no {what}")]
    Absent {
        /// Where.
        endpoint: String,
        /// The database.
        database: String,
        /// The table, or the table and column.
        what: String,
    },
}

impl OvsdbError {
    /// Whether a request was sent of which nobody knows whether it was done. Look before asking again.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            OvsdbError::Lost { pending, .. }
            | OvsdbError::Timeout { pending, .. }
            | OvsdbError::Garbage { pending, .. } => pending.is_some(),
            _ => false,
        }
    }

    /// Whether there is a connection no more, so that [`Client::reconnect`](super::Client::reconnect) is next.
    pub fn is_disconnected(&self) -> bool {
        match self {
            OvsdbError::Endpoint(_)
            | OvsdbError::Rejected { .. }
            | OvsdbError::Operation { .. }
            | OvsdbError::Commit { .. }
            | OvsdbError::Absent { .. } => false,
            OvsdbError::Unreachable { .. }
            | OvsdbError::TlsFile { .. }
            | OvsdbError::Untrusted { .. }
            | OvsdbError::Lost { .. }
            | OvsdbError::Timeout { .. }
            | OvsdbError::Garbage { .. }
            | OvsdbError::Closed { .. } => true,
        }
    }

    /// Why the server refused, if it did.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            OvsdbError::Rejected { refused, .. }
            | OvsdbError::Operation { refused, .. }
            | OvsdbError::Commit { refused, .. } => Some(&refused.refusal),
            _ => None,
        }
    }

    /// What may help.
    pub fn hint(&self) -> &'static str {
        match self {
            OvsdbError::Endpoint(error) => error.hint(),
            OvsdbError::Unreachable { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "is ovsdb-server running, and is this its socket?",
                io::ErrorKind::PermissionDenied => "the user needs write permission for the socket",
                io::ErrorKind::ConnectionRefused => "is ovsdb-server running, and does it listen there (--remote)?",
                io::ErrorKind::TimedOut => "is the host up, and does a firewall stand between?",
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => {
                    "the path of a unix socket has at most 107 bytes"
                }
                _ => "the operating system gave this reason",
            },
            OvsdbError::TlsFile { .. } => {
                "`openssl x509 -in FILE -noout -text` shows a certificate, `openssl pkey -in FILE -noout` checks a key"
            }
            OvsdbError::Untrusted { hint, .. } => hint,
            OvsdbError::Lost { .. } | OvsdbError::Closed { .. } => {
                "connect again; the server closes connections also when databases come, go or change their schema"
            }
            OvsdbError::Timeout { .. } => "is the server busy or stopped?",
            OvsdbError::Garbage { .. } => "is it an OVSDB server that listens there?",
            OvsdbError::Rejected { .. } | OvsdbError::Operation { .. } | OvsdbError::Commit { .. } => {
                match self.refusal() {
                    Some(Refusal::TimedOut) => "somebody else has changed the rows; look again",
                    Some(Refusal::NotOwner) => "another client holds the lock; wait until it is ours",
                    Some(Refusal::NotAllowed) => "the server is a backup or a follower; ask the active one",
                    Some(Refusal::Permission) => "the server's RBAC_Role table says what this client may do",
                    Some(Refusal::UnknownDatabase) => "list_dbs says which there are",
                    _ => "`ovsdb-client get-schema` says what is allowed",
                }
            }
            OvsdbError::Absent { .. } => "is it another version of the schema?",
        }
    }
}

fn unknown(pending: &Option<&'static str>) -> String {
    pending.map_or_else(String::new, |request| format!("; whether {request} was done is unknown"))
}
