//! The gate before each write.
//!
//! Whoever owns an executor is asked before every single write whether it may still be done: a kill switch, a lease
//! that ran out. A test stops an executor here between any two writes, as a crash would.
//!
//! Who lets a write pass may give a [`Permit`] with it, a lock as a rule. The gate keeps it until the write is over: until
//! the next write asks, until [`Gate::done`], or until the gate goes. Make a gate for one call of an executor and let it go
//! after that, so that no lock is held while nothing is written.
//!
//! ```text
//!   pass("port up")   permit taken ─┐ write
//!   pass("start vm-7")  let go, asked again, taken ─┐ write
//!   the call is over, the gate goes                 └ let go
//! ```

use std::fmt;

/// Asked before each write.
pub struct Gate {
    ask: Option<Box<dyn FnMut(&str) -> Result<Permit, String> + Send>>,
    /// Of the write under way.
    held: Option<Permit>,
}

/// What has to be held for the length of a write. It is let go by being dropped.
pub struct Permit(Option<Box<dyn Send>>);

/// A write was not done because the gate was closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped before {write}: {why}")]
pub struct Stopped {
    /// The write that was not done.
    pub write: String,
    /// Who closed the gate, and why.
    pub why: String,
}

impl Permit {
    /// Nothing has to be held.
    pub fn free() -> Permit {
        Permit(None)
    }

    /// `held` is dropped when the write is over.
    pub fn holding(held: impl Send + 'static) -> Permit {
        Permit(Some(Box::new(held)))
    }
}

impl Gate {
    /// Lets everything pass.
    pub fn open() -> Gate {
        Gate { ask: None, held: None }
    }

    /// Asks `may` before each write, which is described to it.
    pub fn asking(mut may: impl FnMut(&str) -> bool + Send + 'static) -> Gate {
        Gate::permitting(
            move |write| if may(write) { Ok(Permit::free()) } else { Err("the gate is closed".to_owned()) },
        )
    }

    /// Asks `ask` for a permit for each write, which is described to it; or for the reason why not.
    pub fn permitting(ask: impl FnMut(&str) -> Result<Permit, String> + Send + 'static) -> Gate {
        Gate { ask: Some(Box::new(ask)), held: None }
    }

    /// Asks `next` as well, after this one: both have to let a write pass, and both permits are held for its length.
    pub fn and(mut self, mut next: Gate) -> Gate {
        Gate::permitting(move |write| {
            let first = self.ask(write)?;
            // Permits go in the order in which they were taken last.
            let second = next.ask(write)?;
            Ok(Permit::holding((second, first)))
        })
    }

    /// Tells `hear` of each write that was asked for, and of the reason where it may not be done.
    pub fn telling(mut self, mut hear: impl FnMut(&str, Option<&str>) + Send + 'static) -> Gate {
        Gate::permitting(move |write| {
            let permit = self.ask(write);
            hear(write, permit.as_ref().err().map(String::as_str));
            permit
        })
    }

    /// Asks whether this write may be done. The permit of the write before it is let go first.
    ///
    /// # Errors
    /// [`Stopped`] when not.
    pub fn pass(&mut self, write: &str) -> Result<(), Stopped> {
        self.done();
        let permit = self.ask(write).map_err(|why| Stopped { write: write.to_owned(), why })?;
        self.held = Some(permit);
        Ok(())
    }

    /// The last write is over: its permit is let go. Dropping the gate does as much.
    pub fn done(&mut self) {
        self.held = None;
    }

    fn ask(&mut self, write: &str) -> Result<Permit, String> {
        self.ask.as_mut().map_or(Ok(Permit::free()), |ask| ask(write))
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.ask.is_some() { "Gate(asking)" } else { "Gate(open)" })
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Permit(holding)" } else { "Permit(free)" })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A lock that counts how often it is held.
    struct Held(Arc<AtomicUsize>);

    impl Held {
        fn new(count: &Arc<AtomicUsize>) -> Held {
            count.fetch_add(1, Ordering::SeqCst);
            Held(count.clone())
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn locking(count: &Arc<AtomicUsize>) -> Gate {
        let count = count.clone();
        Gate::permitting(move |_| Ok(Permit::holding(Held::new(&count))))
    }

    #[test]
    fn a_permit_is_held_from_its_write_to_the_next_and_no_longer_than_the_gate() {
        let count = Arc::new(AtomicUsize::new(0));
        let held = || count.load(Ordering::SeqCst);
        let mut gate = locking(&count).and(locking(&count));
        for write in ["first", "second"] {
            gate.pass(write).unwrap();
            assert_eq!(held(), 2);
        }
        gate.done();
        assert_eq!(held(), 0);
        gate.pass("third").unwrap();
        drop(gate);
        assert_eq!(held(), 0);
    }

    #[test]
    fn what_one_of_two_refuses_is_refused_and_holds_nothing() {
        let count = Arc::new(AtomicUsize::new(0));
        let mut asked = 0;
        let closing = Gate::permitting(move |_| {
            asked += 1;
            if asked == 1 { Ok(Permit::free()) } else { Err("closed by a key".to_owned()) }
        });
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = heard.clone();
        let mut gate = locking(&count).and(closing).telling(move |write, why| {
            ear.lock().unwrap().push(format!("{write}: {}", why.unwrap_or("passed")));
        });
        gate.pass("first").unwrap();
        let stopped = gate.pass("second").unwrap_err();
        assert_eq!(stopped.to_string(), "stopped before second: closed by a key");
        assert_eq!(count.load(Ordering::SeqCst), 0);
        assert_eq!(*heard.lock().unwrap(), ["first: passed", "second: closed by a key"]);
    }
}
