//! Threads that hear queries: one for what name servers send by dnstap, and one for each log that is being written.
//!
//! What is not heard is not zero: from the moment a listener is gone, and for every log that cannot be read, the
//! [`QueryWatch`] says so.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use forebay_adapters::ReadOptions;
use forebay_adapters::dnstap_listener::{DnstapListener, ListenAddress, ListenError, ListenOptions};
use forebay_adapters::tail::{Tail, TailFrom};
use forebay_world::Duration;

use super::repeat::{again, is_over, is_over_after};
use super::watchers::told;
use super::{Clock, QueryWatch, WatchError};
use crate::production::Queries;

/// How long a rest of the thread that hears queries may be.
const HEARD_WITHIN: Duration = Duration::from_millis(200);
/// Time from one look at a log to the next.
const READ_EVERY: Duration = Duration::from_secs(1);

/// Takes what there is to say to whoever runs this.
pub type Tell = Arc<dyn Fn(String) + Send + Sync>;

/// The threads. They end when this is dropped; whoever listens at the same sockets next finds them free.
pub struct Hearing {
    stops: Vec<Sender<()>>,
    /// Those whose end is waited for: they hold sockets.
    listening: Vec<JoinHandle<()>>,
}

impl Hearing {
    /// Begins to hear what `queries` names. Where another program listens at an address of ours, that is an error, unless
    /// somebody is to be told: then it is waited for, queries count as not heard meanwhile, and the address is taken over
    /// once it is free.
    ///
    /// # Errors
    /// [`WatchError`]. A log that cannot be read is no error: it is tried again.
    pub fn start(
        queries: &Queries,
        watch: &QueryWatch,
        clock: &Clock,
        patience: Option<Tell>,
    ) -> Result<Hearing, WatchError> {
        let mut hearing = Hearing { stops: Vec::new(), listening: Vec::new() };
        if !queries.dnstap.is_empty() {
            let listener = match (bind(&queries.dnstap), &patience) {
                (Err(error @ ListenError::InUse { .. }), Some(tell)) => {
                    tell(format!("queries are not heard until it ends: {error}; {}", error.hint()));
                    None
                }
                (bound, _) => Some(bound?),
            };
            let (watch, clock, addresses) = (watch.clone(), Arc::clone(clock), queries.dnstap.clone());
            let thread = hearing.spawn("queries".to_owned(), move |stop| {
                // However this thread ends.
                let _deaf = Deaf(watch.clone());
                listen(&stop, listener, &addresses, &watch, &clock, patience.as_ref());
            })?;
            hearing.listening.push(thread);
        }
        for (number, log) in queries.logs.iter().enumerate() {
            let (watch, log, clock, vantage) = (watch.clone(), log.clone(), Arc::clone(clock), queries.vantage);
            hearing.spawn(format!("log-{number}"), move |stop| {
                let mut tail = None;
                again(&stop, READ_EVERY, || {
                    let options = ReadOptions {
                        format: log.format,
                        zone: Some(log.zone.clone()),
                        now: Some(clock()),
                        vantage: Some(vantage),
                        ..ReadOptions::default()
                    };
                    // From its end: what was asked before is no load of now.
                    let opened = tail.take().map_or_else(|| Tail::open(&log.path, &options, TailFrom::End), Ok);
                    let read = opened.and_then(|mut opened| {
                        opened.poll(&mut |query| watch.take(query))?;
                        tail = Some(opened);
                        Ok(())
                    });
                    let is_there = || if log.path.exists() { Ok(()) } else { Err("it is not there".to_owned()) };
                    watch.set_log(number, read.map_err(told).and_then(|()| is_there()));
                });
            })?;
        }
        Ok(hearing)
    }

    fn spawn(
        &mut self,
        name: String,
        work: impl FnOnce(Receiver<()>) + Send + 'static,
    ) -> Result<JoinHandle<()>, std::io::Error> {
        let (sender, stop) = channel();
        let thread = thread::Builder::new().name(name).spawn(move || work(stop))?;
        self.stops.push(sender);
        Ok(thread)
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.stops.clear();
        for thread in self.listening.drain(..) {
            // One that panicked has said so on its own.
            let _ = thread.join();
        }
    }
}

fn bind(addresses: &[ListenAddress]) -> Result<DnstapListener, ListenError> {
    DnstapListener::bind(addresses, &ListenOptions::default())
}

/// Hears what comes, and asks for its addresses again and again while it has none.
fn listen(
    stop: &Receiver<()>,
    mut listener: Option<DnstapListener>,
    addresses: &[ListenAddress],
    watch: &QueryWatch,
    clock: &Clock,
    tell: Option<&Tell>,
) {
    let tell = |text: String| {
        if let Some(tell) = tell {
            tell(text);
        }
    };
    let mut said = String::new();
    while !is_over(stop) {
        match &listener {
            Some(open) => {
                if !watch.hear(open, HEARD_WITHIN, clock()) {
                    return;
                }
            }
            None => {
                if is_over_after(stop, HEARD_WITHIN) {
                    return;
                }
                match bind(addresses) {
                    Ok(bound) => {
                        listener = Some(bound);
                        tell("queries are heard again".to_owned());
                    }
                    // Whose it is was said at the begin.
                    Err(ListenError::InUse { .. }) => {}
                    Err(error) => {
                        let now = format!("queries are not heard: {error}; {}", error.hint());
                        if now != said {
                            tell(now.clone());
                            said = now;
                        }
                    }
                }
            }
        }
    }
}

struct Deaf(QueryWatch);

impl Drop for Deaf {
    fn drop(&mut self) {
        self.0.deafen();
    }
}

#[cfg(test)]
mod tests;
