//! One request, bounded in time and in length.

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::time;

use forebay_world::Duration;
use ureq::Agent;
use ureq::config::Config;

/// Why an answer was not good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeFailure {
    /// Nobody listens.
    #[error("connection refused")]
    Refused,
    /// There was no whole answer in time.
    #[error("no whole answer in time")]
    Timeout,
    /// The answer ended before its end.
    #[error("the answer was cut off")]
    CutOff,
    /// What came is no HTTP.
    #[error("no HTTP: {0}")]
    NotHttp(String),
    /// A status other than 200 to 299.
    #[error("status {0}")]
    Status(u16),
    /// Somebody else was to be asked, who is not.
    #[error("status {0}, a redirect, which is not followed")]
    Redirect(u16),
    /// More than is taken in.
    #[error("more than {0} bytes")]
    TooLong(u64),
    /// The network would not.
    #[error("{0}")]
    Network(String),
}

/// Asks, one connection for each request.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    agent: Agent,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) machine: IpAddr,
    pub(super) port: u16,
    pub(super) host: Option<&'a str>,
    pub(super) path: &'a str,
}

impl Requests {
    pub(super) fn new() -> Requests {
        let config = Config::builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_idle_connections(0)
            .max_response_header_size(16 * 1024)
            // Machines are near; what the environment names is for the world.
            .proxy(None)
            .user_agent(concat!("forebay/", env!("CARGO_PKG_VERSION")))
            .build();
        Requests { agent: config.new_agent() }
    }

    /// Asks, and gives what comes to `take`, piece by piece, up to `most` bytes; whether that was all.
    ///
    /// # Errors
    /// [`ProbeFailure`], but for an answer that is longer.
    pub(super) fn get(
        &self,
        target: Target<'_>,
        timeout: Duration,
        most: u64,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, ProbeFailure> {
        let timeout = time::Duration::from_nanos(timeout.as_nanos());
        let url = format!("http://{}{}", SocketAddr::new(target.machine, target.port), target.path);
        let request =
            self.agent.get(&url).config().timeout_global(Some(timeout)).timeout_connect(Some(timeout)).build();
        let request = match target.host {
            Some(host) => request.header("Host", host),
            None => request,
        };
        let mut response = request.call().map_err(failure)?;
        match response.status().as_u16() {
            200..=299 => {}
            status @ 300..=399 => return Err(ProbeFailure::Redirect(status)),
            status => return Err(ProbeFailure::Status(status)),
        }
        let mut body = response.body_mut().as_reader();
        let mut buffer = [0; 16 * 1024];
        let mut left = most;
        loop {
            // One byte more than is taken tells whether there is more.
            let room = usize::try_from(left.saturating_add(1)).unwrap_or(usize::MAX).min(buffer.len());
            let read = match body.read(&mut buffer[..room]) {
                Ok(0) => return Ok(true),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failure(ureq::Error::from(error))),
            };
            if read as u64 > left {
                take(&buffer[..left as usize]);
                return Ok(false);
            }
            take(&buffer[..read]);
            left -= read as u64;
        }
    }
}

fn failure(error: ureq::Error) -> ProbeFailure {
    match error {
        ureq::Error::Timeout(_) => ProbeFailure::Timeout,
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => ProbeFailure::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ProbeFailure::Timeout,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
                ProbeFailure::CutOff
            }
            _ => ProbeFailure::Network(error.to_string()),
        },
        ureq::Error::ConnectionFailed => ProbeFailure::Network("no connection".to_owned()),
        other => ProbeFailure::NotHttp(crate::error::shown(other.to_string().as_bytes())),
    }
}
