//! Ctrl-C: the first asks for an end, the second does not ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Set when the user or the system asks for an end.
pub(super) fn requested() -> Arc<AtomicBool> {
    handle(|| {})
}

/// As [`requested`], for who listens to a terminal: when the terminal itself is gone, reading its events may never
/// return, and nobody is left to ask a second time. The process ends after `grace` in any case.
pub(super) fn requested_within(grace: Duration) -> Arc<AtomicBool> {
    handle(move || end_after(grace))
}

/// As [`requested_within`], for who has things to bring to an end first, however long that takes: the time of grace begins
/// when `settled` is set.
pub(super) fn requested_after(settled: Arc<AtomicBool>, grace: Duration) -> Arc<AtomicBool> {
    handle(move || {
        let settled = Arc::clone(&settled);
        // Beside the handler, so that a second request is heard.
        let waits = move || {
            while !settled.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(50));
            }
            end_after(grace);
        };
        std::thread::spawn(waits);
    })
}

fn end_after(grace: Duration) {
    std::thread::sleep(grace);
    // Not `restore`, which panics where stderr has gone with the terminal.
    let _ = ratatui::try_restore();
    std::process::exit(130);
}

fn handle(first: impl Fn() + Send + 'static) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    // Without a handler the process just ends, which is no reason not to run.
    let _ = ctrlc::set_handler(move || {
        if set.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        first();
    });
    flag
}
