//! Ctrl-C: the first asks for an end, the second does not ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Set when the user or the system asks for an end.
pub(super) fn requested() -> Arc<AtomicBool> {
    handle(None)
}

/// As [`requested`], for who listens to a terminal: when the terminal itself is gone, reading its events may never
/// return, and nobody is left to ask a second time. The process ends after `grace` in any case.
pub(super) fn requested_within(grace: Duration) -> Arc<AtomicBool> {
    handle(Some(grace))
}

fn handle(grace: Option<Duration>) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    // Without a handler the process just ends, which is no reason not to run.
    let _ = ctrlc::set_handler(move || {
        if set.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        if let Some(grace) = grace {
            std::thread::sleep(grace);
            ratatui::restore();
            std::process::exit(130);
        }
    });
    flag
}
