//! The time in which one instance holds the lease.

use std::fmt;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_world::Duration;

use super::folder::{self, Folder, Locked, Record};
use super::{BootClock, Holder, LeaseTerms, TermError};
use crate::gate::{Gate, Permit};

/// A lease that is held. Clones are the same term.
///
/// It ends when it is released, when it is not renewed in time, when another takes over, and with its process; also when
/// its last clone is dropped, which leaves the lease to whoever asks next.
#[derive(Clone)]
pub struct Term(Arc<Inner>);

/// The right to write, for as long as this is kept. Whoever wants to take over waits for it: keep it for one write.
#[derive(Debug)]
pub struct WriteGuard {
    writing: Locked,
}

struct Inner {
    folder: Folder,
    epoch: u64,
    holder: Holder,
    terms: LeaseTerms,
    clock: BootClock,
    renewal: Mutex<Renewal>,
    is_released: AtomicBool,
    /// The lock by which others see that this process lives.
    held: Mutex<Option<Locked>>,
}

struct Renewal {
    count: u64,
    /// When the last one was begun.
    at: Duration,
}

impl Term {
    pub(super) fn new(
        folder: Folder,
        epoch: u64,
        holder: &Holder,
        terms: LeaseTerms,
        clock: BootClock,
        began: Duration,
        held: Locked,
    ) -> Term {
        Term(Arc::new(Inner {
            folder,
            epoch,
            holder: holder.clone(),
            terms,
            clock,
            renewal: Mutex::new(Renewal { count: 0, at: began }),
            is_released: AtomicBool::new(false),
            held: Mutex::new(Some(held)),
        }))
    }

    /// The fencing token: higher than that of every term before.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// Who holds it.
    pub fn holder(&self) -> &Holder {
        &self.0.holder
    }

    /// How long it holds without another renewal; zero when it has run out.
    pub fn left(&self) -> Duration {
        let at = self.renewal().at;
        at.saturating_add(self.0.terms.duration).saturating_sub((self.0.clock)())
    }

    /// Whether it is time to renew.
    pub fn is_due(&self) -> bool {
        let at = self.renewal().at;
        (self.0.clock)() >= at.saturating_add(self.0.terms.renew_every)
    }

    /// Renews the lease: it holds for its duration from the beginning of this call.
    ///
    /// # Errors
    /// [`TermError`]. One that has run out cannot be renewed, even when nobody has taken it: take it again.
    pub fn renew(&self) -> Result<(), TermError> {
        let mut renewal = self.renewal();
        let began = (self.0.clock)();
        let Some(_writing) = self.0.folder.lock_writing()? else { return Err(self.busy()) };
        self.check(renewal.at)?;
        let count = renewal.count + 1;
        self.0.folder.note_renewal(self.0.epoch, count)?;
        *renewal = Renewal { count, at: began };
        Ok(())
    }

    /// The right to do one write, which is described to whoever waits. Does not wait.
    ///
    /// # Errors
    /// [`TermError`]: nothing may be written.
    pub fn enter(&self, write: &str) -> Result<WriteGuard, TermError> {
        let at = self.renewal().at;
        let Some(writing) = self.0.folder.lock_writing()? else { return Err(self.busy()) };
        // Under the lock: from here on nobody takes over until the guard goes.
        self.check(at)?;
        folder::note_write(&writing, &format!("process {}, epoch {}: {write}", process::id(), self.0.epoch));
        Ok(WriteGuard { writing })
    }

    /// Does one write.
    ///
    /// # Errors
    /// [`TermError`] when it may not be done; it was not begun then.
    pub fn write<R>(&self, what: &str, write: impl FnOnce() -> R) -> Result<R, TermError> {
        let _guard = self.enter(what)?;
        Ok(write())
    }

    /// A gate that holds this term's right to write for the length of each write. Make one for each call of an executor.
    pub fn gate(&self) -> Gate {
        let term = self.clone();
        Gate::permitting(move |write| match term.enter(write) {
            Ok(guard) => Ok(Permit::holding(guard)),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Gives the lease back: whoever asks next has it at once. Clones of this term write no more.
    ///
    /// # Errors
    /// [`TermError::Busy`] while a write is under way; then it is still held. Any other: it was not ours any more.
    pub fn release(&self) -> Result<(), TermError> {
        let Some(_writing) = self.0.folder.lock_writing_alone()? else { return Err(self.busy()) };
        let at = self.renewal().at;
        self.check(at)?;
        self.0.folder.write(&Record { epoch: self.0.epoch, holder: None, duration: self.0.terms.duration })?;
        self.0.is_released.store(true, Ordering::SeqCst);
        *self.0.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Whether this term stands. Only under the lock does the answer last.
    fn check(&self, renewed_at: Duration) -> Result<(), TermError> {
        let Inner { folder, epoch, holder, terms, clock, .. } = &*self.0;
        if self.0.is_released.load(Ordering::SeqCst) {
            return Err(TermError::Released { epoch: *epoch });
        }
        let record = folder.record()?;
        if record.epoch != *epoch || record.holder.as_ref() != Some(holder) {
            return Err(TermError::Fenced { ours: *epoch, now: record.epoch });
        }
        // Last, so that nothing is read after it that could have taken long.
        let (end, now) = (renewed_at.saturating_add(terms.duration), clock());
        if now >= end {
            return Err(TermError::Lapsed { epoch: *epoch, late: now.saturating_sub(end) });
        }
        Ok(())
    }

    fn busy(&self) -> TermError {
        TermError::Busy { path: self.0.folder.writing_path() }
    }

    fn renewal(&self) -> MutexGuard<'_, Renewal> {
        self.0.renewal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Term").field("epoch", &self.0.epoch).field("holder", &self.0.holder).finish_non_exhaustive()
    }
}

impl Drop for WriteGuard {
    fn drop(&mut self) {
        folder::note_write(&self.writing, "");
    }
}
