//! Ctrl-C: the first asks for an end, the second does not ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set when the user or the system asks for an end.
pub(super) fn requested() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    // Without a handler the process just ends, which is no reason not to run.
    let _ = ctrlc::set_handler(move || {
        if set.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
    flag
}
