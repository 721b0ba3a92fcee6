//! How machines do, as their clients see it: asked over HTTP, counted as a load balancer counts, and warmed up before
//! clients come.
//!
//! ```text
//!   Probe ── Prober::round ──▶ Answer of each machine ──▶ HealthRecord::note ──▶ Health
//!                                └─ sessions under way, where a page tells
//!   Warming::warm ──▶ how much of the popular content a machine has taken in
//! ```
//!
//! A machine is healthy after so many good answers in a row and unhealthy after so many bad ones (`successThreshold` and
//! `failureThreshold` of Kubernetes' probes, `rise` and `fall` of HAProxy's checks). A good answer has a status from 200 to
//! 299 and arrives whole; nobody is redirected. A machine that could not be asked in time is not counted: that says
//! something of who asks. What a page does not tell is not known, and never zero.
//!
//! Plain HTTP only: machines are asked by their address, which no certificate names. No proxy is used.

mod health;
mod request;
mod round;
mod sessions;
mod warming;

#[cfg(test)]
mod tests;

use forebay_world::Duration;

pub use health::{Health, HealthRecord};
pub use request::ProbeFailure;
pub use round::{Answer, Probed, Prober};
pub use sessions::{Count, Sessions};
pub use warming::{Warmed, Warming};

/// How machines of a kind are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What is asked for: `/healthz`.
    pub path: String,
    /// The port.
    pub port: u16,
    /// The name that is asked for (the `Host` header), where the address will not do.
    pub host: Option<String>,
    /// Until the whole answer is there.
    pub timeout: Duration,
    /// Good answers in a row that make a machine healthy.
    pub healthy_after: u32,
    /// Bad answers in a row that make it unhealthy.
    pub unhealthy_after: u32,
    /// Where it says how many sessions are under way.
    pub sessions: Option<Sessions>,
}

/// What cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; allowed: {allowed}")]
pub struct ProbeError {
    /// What was given.
    pub what: String,
    /// What is allowed there.
    pub allowed: &'static str,
}

impl Default for Probe {
    /// `/` at port 80, in 1 s; healthy after 2 good answers, unhealthy after 3 bad ones.
    fn default() -> Probe {
        Probe {
            path: "/".to_owned(),
            port: 80,
            host: None,
            timeout: Duration::from_secs(1),
            healthy_after: 2,
            unhealthy_after: 3,
            sessions: None,
        }
    }
}

impl Probe {
    /// Whether machines can be asked that.
    ///
    /// # Errors
    /// [`ProbeError`].
    pub fn check(&self) -> Result<(), ProbeError> {
        let wrong = |what: String, allowed| Err(ProbeError { what, allowed });
        check_target(&self.path, self.host.as_deref(), self.port)?;
        if self.timeout.is_zero() {
            return wrong("a timeout of 0 s".to_owned(), "more than none");
        }
        if self.healthy_after == 0 || self.unhealthy_after == 0 {
            return wrong("0 answers in a row".to_owned(), "1 or more");
        }
        let Some(sessions) = &self.sessions else { return Ok(()) };
        sessions.check()
    }
}

fn check_target(path: &str, host: Option<&str>, port: u16) -> Result<(), ProbeError> {
    check_path(path)?;
    let is_name =
        |host: &str| !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    if let Some(host) = host.filter(|host| !is_name(host)) {
        return Err(ProbeError { what: format!("host {host:?}"), allowed: "a host name, with a port or without" });
    }
    if port == 0 {
        return Err(ProbeError { what: "port 0".to_owned(), allowed: "1 to 65535" });
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), ProbeError> {
    let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if is_path {
        return Ok(());
    }
    Err(ProbeError { what: format!("path {path:?}"), allowed: "a path from / on, of visible ASCII, others as %XX" })
}
