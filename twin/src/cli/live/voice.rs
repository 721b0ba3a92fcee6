//! What there is to say to whoever runs this: on stderr, and while the terminal UI has the screen, among its alerts.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Failure;
use crate::tui::alert::{Alert, Severity};

/// Alerts that are kept; when more come, the oldest half goes.
const ALERTS_MOST: usize = 2000;

/// Says things. Clones are the same voice.
#[derive(Clone)]
pub(super) struct Voice(Arc<Inner>);

struct Inner {
    name: String,
    has_screen: AtomicBool,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    alerts: Arc<Vec<Alert>>,
    made: u64,
}

impl Voice {
    /// The voice of a production of this name.
    pub(super) fn of(name: &str) -> Voice {
        Voice(Arc::new(Inner { name: name.to_owned(), has_screen: AtomicBool::new(false), said: Mutex::default() }))
    }

    /// Says whether the screen is taken.
    pub(super) fn set_screen(&self, is_taken: bool) {
        self.0.has_screen.store(is_taken, Ordering::SeqCst);
    }

    /// Says something.
    pub(super) fn say(&self, severity: Severity, text: &str) {
        if !self.0.has_screen.load(Ordering::SeqCst) {
            self.write(text);
        }
        self.show(severity, text);
    }

    /// Writes a line to stderr. Where that has gone, with its terminal, nobody is left to be told, and all else goes on.
    pub(super) fn write(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{}: {text}", self.0.name);
    }

    /// Says what went wrong.
    pub(super) fn fail(&self, failure: &Failure) {
        if !self.0.has_screen.load(Ordering::SeqCst) {
            failure.print();
        }
        self.show(Severity::Critical, &failure.line());
    }

    /// Says something that is in the audit as well: to whoever looks at the screen only.
    pub(super) fn show(&self, severity: Severity, text: &str) {
        let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, at) = (said.made, super::wall());
        said.made += 1;
        let alerts = Arc::make_mut(&mut said.alerts);
        alerts.push(Alert { number, at, severity, region: None, class: None, text: text.to_owned() });
        if alerts.len() > ALERTS_MOST {
            alerts.drain(..ALERTS_MOST / 2);
        }
    }

    /// All that was said, the oldest first.
    pub(super) fn alerts(&self) -> Arc<Vec<Alert>> {
        Arc::clone(&self.0.said.lock().unwrap_or_else(PoisonError::into_inner).alerts)
    }
}
