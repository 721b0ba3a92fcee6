//! Fetches a feed over HTTP: conditionally, and never for long, much, or far.

use std::io::Read as _;
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;

use super::CONTENT_MOST;
use super::feed::FeedError;

/// Redirects that are followed.
const REDIRECTS: u32 = 3;

/// Asks for one address, again and again.
#[derive(Debug)]
pub(super) struct Fetcher {
    agent: Agent,
    url: String,
    /// The address as it may be shown: without secrets.
    shown: String,
}

/// What tells one edition of a page from the next (RFC 9110 section 8.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Validators {
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
}

/// What came.
#[derive(Debug)]
pub(super) enum Fetched {
    /// Another edition, or the first.
    New(Vec<u8>, Validators),
    /// The edition that the validators name.
    Same,
}

impl Fetcher {
    pub(super) fn new(url: &str, timeout: Duration) -> Fetcher {
        let config = Config::builder()
            .timeout_global(Some(timeout))
            .max_redirects(REDIRECTS)
            // Nobody is led from a secure address to another.
            .https_only(url.to_ascii_lowercase().starts_with("https:"))
            .http_status_as_error(false)
            .max_idle_connections(0)
            .user_agent(concat!("forebay/", env!("CARGO_PKG_VERSION")))
            .accept("text/calendar, text/csv, application/x-ndjson, application/json, text/plain;q=0.5, */*;q=0.1")
            .build();
        Fetcher { agent: config.new_agent(), url: url.to_owned(), shown: super::feed::shown_url(url) }
    }

    /// The address as it may be shown.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Asks for the edition after `known`.
    ///
    /// # Errors
    /// [`FeedError`] for everything but an answer with content, or that there is nothing new.
    pub(super) fn fetch(&self, known: &Validators) -> Result<Fetched, FeedError> {
        let unreachable =
            |error: ureq::Error| FeedError::Unreachable { url: self.shown.clone(), what: in_words(&error) };
        let mut request = self.agent.get(&self.url);
        if let Some(etag) = &known.etag {
            request = request.header("If-None-Match", etag);
        }
        if let Some(date) = &known.last_modified {
            request = request.header("If-Modified-Since", date);
        }
        let mut response = request.call().map_err(unreachable)?;
        let conditional = *known != Validators::default();
        match response.status().as_u16() {
            200 => {}
            304 if conditional => return Ok(Fetched::Same),
            status => return Err(FeedError::Status { url: self.shown.clone(), status }),
        }
        let header = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let validators = Validators { etag: header("etag"), last_modified: header("last-modified") };
        let mut content = Vec::new();
        let mut body = response.body_mut().as_reader().take(CONTENT_MOST as u64 + 1);
        body.read_to_end(&mut content).map_err(|error| unreachable(ureq::Error::from(error)))?;
        if content.len() > CONTENT_MOST {
            return Err(FeedError::TooLarge { url: self.shown.clone() });
        }
        Ok(Fetched::New(content, validators))
    }
}

/// What the client says, in the words of who runs it; never the address, which may hold secrets.
fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "no whole answer in time".to_owned(),
        ureq::Error::HostNotFound => "no such host".to_owned(),
        ureq::Error::TooManyRedirects => format!("more than {REDIRECTS} redirects"),
        ureq::Error::RequireHttpsOnly(_) => "a redirect from https to http".to_owned(),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => "no address that can be asked".to_owned(),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "connection refused".to_owned()
        }
        other => other.to_string(),
    }
}
