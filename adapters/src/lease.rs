//! The lease: of several instances that share a folder, one writes.
//!
//! ```text
//!   first    epoch 7 ── write ── write ──╳ paused ················· wakes: write refused, Fenced { ours: 7, now: 8 }
//!   second   waits ── sees no renewal for `duration`, or no process ──▶ epoch 8 ── write ── write ──
//! ```
//!
//! Each time an instance takes the lease is a [`Term`] with an epoch of its own, a fencing token that only grows (Kleppmann,
//! *Designing Data-Intensive Applications*, chapter 8). Every write is done within [`Term::enter`], under a kernel lock that
//! whoever takes over needs for itself: an instance that was paused cannot write when it wakes, not even one that had
//! checked already, and no epoch begins while a write of another is under way. Such a write is waited for, however long it
//! takes: [`Waiting::WriteUnderWay`] says whose it is.
//!
//! No clocks of two machines are compared (as in Gray and Cheriton, *Leases*, SOSP 1989, and in leader election of
//! Kubernetes' client-go). The holder counts its lease from before each renewal, who waits counts from when it last saw one,
//! each on CLOCK_BOOTTIME, which nobody sets and which goes on while the machine sleeps. A process that has ended is not
//! waited for: the kernel has let its lock go.
//!
//! ```text
//!   lease.json   who holds it, in which epoch        on the disk before a term begins
//!   renewed      epoch and count of renewals         written in place; what is lost of it costs time, never safety
//!   held-7       locked while the process of epoch 7 lives
//!   writing      locked shared for the length of a write, alone by whoever takes over
//! ```
//!
//! The folder must stand on a file system with flock(2): any local one. On NFS it is as good as the server's locks, which
//! a server takes from a client that it has not heard of for long; there, a write that hung meanwhile is not fenced.
//!
//! Nothing here waits or sleeps: whoever wants the lease asks again.

mod error;
mod folder;
mod holder;
mod term;
mod waiting;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use forebay_world::Duration;

use crate::clock;
use folder::{Folder, Ground, Seen};

pub use error::{LeaseError, TermError};
pub use holder::Holder;
pub use term::{Term, WriteGuard};
pub use waiting::{Acquired, Waiting};

/// How long a lease holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// Without a renewal for so long, it is over.
    pub duration: Duration,
    /// How often its holder renews it; at most a third of `duration`, so that one renewal may be late.
    pub renew_every: Duration,
}

/// A clock that nobody sets, as [`Lease::with_clock`] takes it.
pub type BootClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// One instance's wish for the lease of a folder.
pub struct Lease {
    folder: Folder,
    holder: Holder,
    terms: LeaseTerms,
    clock: BootClock,
    /// What was seen last, and since when it has stood like that.
    watched: Option<(Seen, Duration)>,
    /// Since when a write of another has been in the way.
    blocked_since: Option<Duration>,
}

/// Who holds the lease of a folder, and in which epoch, as it was written down: `None` where nobody does. For whoever only
/// looks; nothing is made or locked.
///
/// # Errors
/// [`LeaseError`].
pub fn standing(folder: &Path) -> Result<Option<(u64, Holder)>, LeaseError> {
    let record = Folder::at(folder).record()?;
    Ok(record.holder.map(|holder| (record.epoch, holder)))
}

impl Default for LeaseTerms {
    /// 15 s, renewed every 3 s.
    fn default() -> LeaseTerms {
        LeaseTerms { duration: Duration::from_secs(15), renew_every: Duration::from_secs(3) }
    }
}

impl Lease {
    /// Opens the lease of a folder, which is made where there is none. Nothing is taken yet.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn open(folder: &Path, holder: Holder, terms: LeaseTerms) -> Result<Lease, LeaseError> {
        Lease::with_clock(folder, holder, terms, Arc::new(clock::boottime))
    }

    /// The same, by a clock of the caller's. It must never go back, and count the time in which the machine sleeps.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn with_clock(folder: &Path, holder: Holder, terms: LeaseTerms, clock: BootClock) -> Result<Lease, LeaseError> {
        let LeaseTerms { duration, renew_every } = terms;
        if renew_every.is_zero() || renew_every.as_nanos() > duration.as_nanos() / 3 {
            let what = format!("a lease of {duration} that is renewed every {renew_every}");
            return Err(LeaseError::Contradiction { what });
        }
        let folder = Folder::open(folder)?;
        Ok(Lease { folder, holder, terms, clock, watched: None, blocked_since: None })
    }

    /// Who wants it.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Takes the lease where it is free, its holder's process has ended, or its holder has not renewed it while this
    /// instance watched for as long as the holder said it would. Returns at once in any case.
    ///
    /// Ask again every fraction of a second: what is not seen is not counted.
    ///
    /// # Errors
    /// [`LeaseError`] when the folder cannot be used or says nothing that can be understood.
    pub fn try_acquire(&mut self) -> Result<Acquired, LeaseError> {
        let ground = match self.judge()? {
            Ok(ground) => ground,
            Err(waiting) => {
                self.blocked_since = None;
                return Ok(Acquired::Waiting(waiting));
            }
        };
        let Some(writing) = self.folder.lock_writing_alone()? else {
            let now = (self.clock)();
            let since = *self.blocked_since.get_or_insert(now);
            let write = self.folder.write_under_way();
            let holder = self.watched.as_ref().and_then(|(seen, _)| seen.record.holder.clone());
            return Ok(Acquired::Waiting(Waiting::WriteUnderWay { holder, write, waited: now.saturating_sub(since) }));
        };
        self.blocked_since = None;
        // It may have been renewed, released or taken meanwhile; from here on nobody can.
        drop(ground);
        let _ground = match self.judge()? {
            Ok(ground) => ground,
            Err(waiting) => return Ok(Acquired::Waiting(waiting)),
        };
        let (seen, _) = self.watched.take().expect("what was judged was seen");
        let epoch = self.folder.epoch_after(&seen.record)?;
        let began = (self.clock)();
        let held = self.folder.begin(epoch, &self.holder, self.terms.duration)?;
        drop(writing);
        let term = Term::new(self.folder.clone(), epoch, &self.holder, self.terms, self.clock.clone(), began, held);
        Ok(Acquired::Term(term))
    }

    /// Looks at the lease, and says on what ground it may be taken, or why not.
    fn judge(&mut self) -> Result<Result<Ground, Waiting>, LeaseError> {
        let seen = self.folder.look()?;
        let now = (self.clock)();
        let since = match &self.watched {
            Some((before, since)) if *before == seen => *since,
            _ => now,
        };
        self.watched = Some((seen.clone(), since));
        let (epoch, duration) = (seen.record.epoch, seen.record.duration);
        let Some(holder) = seen.record.holder else { return Ok(Ok(Ground::Free)) };
        if let Some(lock) = self.folder.lock_of_ended(epoch)? {
            return Ok(Ok(Ground::Ended(lock)));
        }
        let silent = now.saturating_sub(since);
        if silent >= duration {
            return Ok(Ok(Ground::Lapsed));
        }
        Ok(Err(Waiting::Held { holder, epoch, silent, left: duration.saturating_sub(silent) }))
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("folder", &self.folder).field("holder", &self.holder).finish_non_exhaustive()
    }
}
