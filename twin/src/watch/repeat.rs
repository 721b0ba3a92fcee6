//! What threads that look again and again do between two looks, and how they are told to stop: by the end of a channel.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration as Wait;

use forebay_world::Duration;

/// Does something every `period` until it is time to stop.
pub(super) fn again(stop: &Receiver<()>, period: Duration, mut work: impl FnMut()) {
    loop {
        work();
        if is_over_after(stop, period) {
            return;
        }
    }
}

/// Rests for `span`; whether it is time to stop, which is said at once.
pub(super) fn is_over_after(stop: &Receiver<()>, span: Duration) -> bool {
    !matches!(stop.recv_timeout(Wait::from_nanos(span.as_nanos())), Err(RecvTimeoutError::Timeout))
}

/// Whether it is time to stop.
pub(super) fn is_over(stop: &Receiver<()>) -> bool {
    stop.try_recv() == Err(TryRecvError::Disconnected)
}
