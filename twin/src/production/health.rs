//! `[health.CLASS]`, checked: how it is told that a machine of a class serves, how many sessions it has, and what its
//! cache is warmed with.

use std::path::Path;

use forebay_world::Duration;
use toml::Spanned;

use super::spec::{HealthSpec, ProductionSpec};
use crate::scenario::finding::Findings;
use crate::scenario::site::Site;

/// How machines of a class are asked. Paths begin with `/` and can stand in a request as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Port that answers HTTP.
    pub port: u16,
    /// Path that answers 200 to 299 when the machine serves.
    pub path: String,
    /// Name that is asked for; the machine's address where `None`.
    pub host: Option<String>,
    /// Time from one question to the next.
    pub period: Duration,
    /// Time that an answer may take.
    pub timeout: Duration,
    /// Good answers in a row that make a machine healthy.
    pub healthy_after: u32,
    /// Bad ones in a row that make it unhealthy.
    pub unhealthy_after: u32,
    /// Where it says how many sessions it has.
    pub sessions: Option<SessionsPage>,
    /// Paths that are asked for before it gets clients, the most popular first.
    pub warm: Vec<String>,
}

/// A page that says how many sessions a machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionsPage {
    /// Its path.
    pub path: String,
    /// How the number stands there.
    pub form: SessionsForm,
}

/// How a number of sessions stands on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionsForm {
    /// It is all there is.
    Number,
    /// A metric of Prometheus's text format; samples of several labels add up.
    Metric(String),
    /// A place in JSON (RFC 6901).
    Pointer(String),
}

/// Paths that a cache is warmed with.
const WARM_MOST: usize = 10_000;

/// How machines of each class are asked, where it is said.
pub(super) fn check(
    spec: &ProductionSpec,
    site: &Site,
    folder: &Path,
    findings: &mut Findings,
) -> Vec<Option<HealthCheck>> {
    let mut health = vec![None; site.topology.classes.len()];
    for (class, given) in &spec.health {
        let found = site.classes.find(class, findings);
        let checked = check_health(given.get_ref(), folder, findings);
        if let Some(place) = found.and_then(|class| health.get_mut(class)) {
            *place = Some(checked);
        }
    }
    health
}

fn check_health(spec: &HealthSpec, folder: &Path, findings: &mut Findings) -> HealthCheck {
    findings.require(
        *spec.port.get_ref() > 0,
        spec.port.span(),
        || "`port` is 0".to_owned(),
        "1 to 65535",
        "the port at which machines answer HTTP",
    );
    check_path(&spec.path, "path", findings);
    if let Some(host) = &spec.host {
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        findings.require(
            !host.get_ref().is_empty() && host.get_ref().bytes().all(plain),
            host.span(),
            || "`host` is no name of a host".to_owned(),
            "such as video.cdn.example",
            "it is sent as it is (Host:)",
        );
    }
    within(&spec.period, "period", Duration::from_millis(100), Duration::from_hours(1), findings);
    within(&spec.timeout, "timeout", Duration::from_millis(10), Duration::from_mins(5), findings);
    findings.require(
        spec.timeout.get_ref() <= spec.period.get_ref(),
        spec.timeout.span(),
        || format!("`timeout` is {}", spec.timeout.get_ref()),
        &format!("at most `period`, {}", spec.period.get_ref()),
        "a question is over before the next is asked",
    );
    for (key, count) in [("healthy_after", &spec.healthy_after), ("unhealthy_after", &spec.unhealthy_after)] {
        count_within(count, key, 1, 1000, findings);
    }
    let sessions = spec.sessions.as_ref().map(|sessions| {
        let place = sessions.span();
        let sessions = sessions.get_ref();
        check_path(&sessions.path, "path", findings);
        let form = match (&sessions.metric, &sessions.pointer) {
            (Some(_), Some(_)) => {
                findings.add(
                    place,
                    "`metric` and `pointer` are both given",
                    "one of the two, or neither",
                    "`metric` is for Prometheus's text format, `pointer` for JSON",
                );
                SessionsForm::Number
            }
            (Some(metric), None) => {
                let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b':');
                let name = metric.get_ref();
                findings.require(
                    !name.is_empty() && name.bytes().all(plain) && !name.as_bytes()[0].is_ascii_digit(),
                    metric.span(),
                    || format!("`metric` is \"{name}\""),
                    "a name of letters, digits, _ and :",
                    "samples of several labels add up",
                );
                SessionsForm::Metric(name.clone())
            }
            (None, Some(pointer)) => {
                let text = pointer.get_ref();
                findings.require(
                    text.is_empty() || text.starts_with('/'),
                    pointer.span(),
                    || format!("`pointer` is \"{text}\""),
                    "a JSON pointer (RFC 6901): /sessions/now",
                    "it begins with /",
                );
                SessionsForm::Pointer(text.clone())
            }
            (None, None) => SessionsForm::Number,
        };
        SessionsPage { path: sessions.path.get_ref().clone(), form }
    });
    HealthCheck {
        port: *spec.port.get_ref(),
        path: spec.path.get_ref().clone(),
        host: spec.host.as_ref().map(|host| host.get_ref().clone()),
        period: *spec.period.get_ref(),
        timeout: *spec.timeout.get_ref(),
        healthy_after: *spec.healthy_after.get_ref(),
        unhealthy_after: *spec.unhealthy_after.get_ref(),
        sessions,
        warm: check_warm(spec, folder, findings),
    }
}

fn check_warm(spec: &HealthSpec, folder: &Path, findings: &mut Findings) -> Vec<String> {
    let mut warm: Vec<String> = Vec::new();
    for path in &spec.warm {
        check_path(path, "warm", findings);
        warm.push(path.get_ref().clone());
    }
    if let Some(file) = &spec.warm_file {
        let path = folder.join(file.get_ref());
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
                for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
                    if !is_path(line) {
                        findings.add(
                            file.span(),
                            format!("`warm_file`: {}:{number} is no path", path.display()),
                            "/segments/1.ts, visible ASCII, one a line",
                            "write others in %-encoding",
                        );
                        break;
                    }
                    warm.push(line.to_owned());
                }
            }
            Err(error) => findings.add(
                file.span(),
                format!("`warm_file`: {} cannot be read: {error}", path.display()),
                "a file of paths, one a line",
                "taken from this file's folder unless absolute",
            ),
        }
    }
    if warm.len() > WARM_MOST {
        let span = spec.warm_file.as_ref().map_or(spec.path.span(), Spanned::span);
        findings.add(
            span,
            format!("{} paths to warm", warm.len()),
            format!("at most {WARM_MOST}"),
            "the most popular do",
        );
    }
    warm
}

fn is_path(text: &str) -> bool {
    text.starts_with('/')
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !text.contains('#')
        && text.len() <= 4096
}

fn check_path(path: &Spanned<String>, key: &str, findings: &mut Findings) {
    findings.require(
        is_path(path.get_ref()),
        path.span(),
        || format!("`{key}` is no path: \"{}\"", path.get_ref()),
        "begins with /, visible ASCII",
        "such as \"/health\"; write others in %-encoding",
    );
}

/// That a span is from `least` to `most`.
pub(super) fn within(value: &Spanned<Duration>, key: &str, least: Duration, most: Duration, findings: &mut Findings) {
    findings.require(
        (least..=most).contains(value.get_ref()),
        value.span(),
        || format!("`{key}` is {}", value.get_ref()),
        &format!("allowed: {least} to {most}"),
        "give a span in this range",
    );
}

/// That a number is from `least` to `most`.
pub(super) fn count_within(value: &Spanned<u32>, key: &str, least: u32, most: u32, findings: &mut Findings) {
    findings.require(
        (least..=most).contains(value.get_ref()),
        value.span(),
        || format!("`{key}` is {}", value.get_ref()),
        &format!("allowed: {least} to {most}"),
        "give a number in this range",
    );
}
