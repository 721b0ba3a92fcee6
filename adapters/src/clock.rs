//! The clocks that this crate reads itself: the wall's, to say when; and one that no hand sets, to say how long.

use std::time::SystemTime;

use forebay_world::{Duration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// What the wall clock shows. It may be set, so no span is measured by it.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Time since this machine started, that in which it was suspended included (clock_gettime(2), CLOCK_BOOTTIME).
pub(crate) fn boottime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds).saturating_add(Duration::from_nanos(u64::try_from(now.tv_nsec).unwrap_or_default()))
}
