//! A feed of events that is read again and again: a file, or a page fetched over HTTP.
//!
//! Whatever goes wrong, the last good edition stays, is expanded for the window that is asked for, and its state says
//! since when it is old and why. Time is the caller's.

use std::path::{Path, PathBuf};

use forebay_world::Timestamp;

use super::{CONTENT_MOST, EventOptions, Events, ExternalEvent, content_of, parse_events};
use crate::error::ReadError;
use crate::input::Input;
use crate::last_good::{Freshness, LastGood};

#[cfg(feature = "fetch")]
use super::fetch::{Fetched, Fetcher, Validators};

/// How long an answer may take, with all redirects.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Where a feed is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedSource {
    /// A file; `-` is standard input.
    File(PathBuf),
    /// An address: http or https.
    Url(String),
}

/// Why a feed cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Its file or content is not as it must be.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No answer, or none that is whole. Worth another try later.
    #[error("{url}: {what}")]
    Unreachable {
        /// The address, without user, password and query.
        url: String,
        /// What happened.
        what: String,
    },
    /// The server refuses.
    #[error("{url}: the server answers with status {status}")]
    Status {
        /// The address, without user, password and query.
        url: String,
        /// Its answer.
        status: u16,
    },
    /// More content than a feed may have.
    #[error("{url}: more than {} MB", CONTENT_MOST / 1_000_000)]
    TooLarge {
        /// The address, without user, password and query.
        url: String,
    },
    /// An address of a kind that is not fetched.
    #[error("{url}: not fetched; allowed: {allowed}")]
    Address {
        /// The address, without user, password and query.
        url: String,
        /// What is.
        allowed: &'static str,
    },
}

impl FeedError {
    /// What may help.
    pub fn hint(&self) -> &str {
        match self {
            FeedError::Read(error) => error.hint(),
            FeedError::Unreachable { .. } => "is the address right, and can this machine reach it?",
            FeedError::Status { status: 401 | 403, .. } => "the feed needs an address that may be read without a login",
            FeedError::Status { status: 404 | 410, .. } => "check the address: the server knows nothing there",
            FeedError::Status { .. } => "open the address in a browser to see what the server says",
            FeedError::TooLarge { .. } => "ask for a feed that leaves out what is long past",
            FeedError::Address { .. } => "give a file, or an address that begins with https://",
        }
    }
}

impl FeedSource {
    /// What a text names. `webcal:` is https, as calendar programs have it.
    ///
    /// # Errors
    /// [`FeedError::Address`] for other schemes.
    pub fn of(text: &str) -> Result<FeedSource, FeedError> {
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(FeedSource::File(text.into())) };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" if cfg!(feature = "fetch") => Ok(FeedSource::Url(text.to_owned())),
            "webcal" | "webcals" if cfg!(feature = "fetch") => Ok(FeedSource::Url(format!("https://{rest}"))),
            "http" | "https" | "webcal" | "webcals" => {
                let allowed = "files: this program was built without the feature fetch";
                Err(FeedError::Address { url: shown_url(text), allowed })
            }
            _ => Err(FeedError::Address { url: shown_url(text), allowed: "a path, http:// or https://" }),
        }
    }

    /// What it is called; of an address, without user, password and query, which may be secrets.
    pub fn name(&self) -> String {
        match self {
            FeedSource::File(path) => path.display().to_string(),
            FeedSource::Url(url) => shown_url(url),
        }
    }

    /// Reads it once.
    ///
    /// # Errors
    /// [`FeedError`].
    pub fn read(&self, options: &EventOptions) -> Result<Events, FeedError> {
        let content = match Reader::of(self, PATIENCE).read(&Edition::default())? {
            Came::New(content, _) => content,
            Came::Same => unreachable!("without validators there is nothing to be the same as"),
        };
        Ok(parse_events(Path::new(&self.name()), content, options)?)
    }
}

/// An address as it may be shown.
pub(super) fn shown_url(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let url = &url[..end];
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// What tells editions apart.
#[cfg(feature = "fetch")]
type Edition = Validators;
#[cfg(not(feature = "fetch"))]
type Edition = ();

enum Came {
    New(Vec<u8>, Edition),
    #[cfg_attr(not(feature = "fetch"), expect(dead_code, reason = "files are read anew each time"))]
    Same,
}

/// Reads the content of a feed.
#[derive(Debug)]
enum Reader {
    File(PathBuf),
    #[cfg(feature = "fetch")]
    Url(Fetcher),
}

impl Reader {
    fn of(source: &FeedSource, patience: std::time::Duration) -> Reader {
        match source {
            FeedSource::File(path) => Reader::File(path.clone()),
            #[cfg(feature = "fetch")]
            FeedSource::Url(url) => Reader::Url(Fetcher::new(url, patience)),
            #[cfg(not(feature = "fetch"))]
            FeedSource::Url(url) => {
                let _ = patience;
                Reader::File(url.into())
            }
        }
    }

    #[cfg_attr(not(feature = "fetch"), expect(unused_variables, reason = "files are read anew each time"))]
    fn read(&self, known: &Edition) -> Result<Came, FeedError> {
        match self {
            Reader::File(path) => Ok(Came::New(content_of(Input::open(path)?)?, Edition::default())),
            #[cfg(feature = "fetch")]
            Reader::Url(fetcher) => Ok(match fetcher.fetch(known)? {
                // What was packed for the way is unpacked here.
                Fetched::New(content, edition) => {
                    let name = fetcher.shown().to_owned();
                    let input = Input::from_reader(name, std::io::Cursor::new(content))?;
                    Came::New(content_of(input)?, edition)
                }
                Fetched::Same => Came::Same,
            }),
        }
    }
}

/// A feed that is kept up to date.
#[derive(Debug)]
pub struct EventFeed {
    reader: Reader,
    options: EventOptions,
    kept: LastGood<Kept>,
    events: Option<Events>,
}

#[derive(Debug)]
struct Kept {
    content: Vec<u8>,
    edition: Edition,
}

impl EventFeed {
    /// A feed that has not been read. The window of `options` is not used: each poll says its own.
    pub fn new(source: &FeedSource, options: EventOptions) -> EventFeed {
        EventFeed::with_patience(source, options, PATIENCE)
    }

    /// As [`EventFeed::new`], for answers that may take so long.
    pub fn with_patience(source: &FeedSource, options: EventOptions, patience: std::time::Duration) -> EventFeed {
        EventFeed { reader: Reader::of(source, patience), options, kept: LastGood::new(source.name()), events: None }
    }

    /// Looks for a newer edition at `now`, and expands what there is from `from` to `until`.
    pub fn poll(&mut self, now: Timestamp, from: Timestamp, until: Timestamp) -> Freshness {
        (self.options.from, self.options.until) = (from, until);
        let known = self.kept.value().map(|kept| kept.edition.clone()).unwrap_or_default();
        let came = self.reader.read(&known).and_then(|came| match came {
            Came::New(content, edition) => {
                let events = self.expand(content.clone())?;
                Ok(Some((Kept { content, edition }, events)))
            }
            Came::Same => Ok(None),
        });
        match came {
            Ok(Some((kept, events))) => {
                self.events = Some(events);
                self.kept.take(now, Ok::<_, FeedError>(kept));
                return self.freshness();
            }
            Ok(None) => self.kept.confirm(now),
            Err(error) => drop(self.kept.take(now, Err(error))),
        }
        // Time goes on for an old edition, too.
        if let Some(content) = self.kept.value().map(|kept| kept.content.clone()) {
            match self.expand(content) {
                Ok(events) => self.events = Some(events),
                Err(error) => drop(self.kept.take(now, Err(error))),
            }
        }
        self.freshness()
    }

    /// What it says, as of the last poll that could tell.
    pub fn events(&self) -> &[ExternalEvent] {
        self.events.as_ref().map_or(&[], |events| &events.events)
    }

    /// The same with what was read and left out.
    pub fn said(&self) -> Option<&Events> {
        self.events.as_ref()
    }

    /// How good it is.
    pub fn freshness(&self) -> Freshness {
        self.kept.freshness()
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        self.kept.source()
    }

    fn expand(&self, content: Vec<u8>) -> Result<Events, FeedError> {
        Ok(parse_events(Path::new(self.kept.source()), content, &self.options)?)
    }
}

#[cfg(test)]
mod tests;
