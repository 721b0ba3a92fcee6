//! Threads that look at production again and again, each by a view of its own: one for each hypervisor, each link, the name
//! server, each class of machines that can be asked, each feed, and one for queries.
//!
//! What hangs keeps nobody else from looking, and holds nothing that writes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration as Wait;

use forebay_adapters::ReadOptions;
use forebay_adapters::dnstap_listener::{DnstapListener, ListenError, ListenOptions};
use forebay_adapters::probe::ProbeError;
use forebay_adapters::tail::{Tail, TailFrom};
use forebay_world::{ClassId, Duration, RegionId, Timestamp};

use super::announced::EventWatch;
use super::{Board, Clock, HealthWatch, QueryWatch, look_at_answers, look_at_hypervisor, look_at_link};
use crate::production::Production;

/// How long a rest of the thread that hears queries may be.
const HEARD_WITHIN: Duration = Duration::from_millis(200);

/// Why production cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Queries cannot be listened for.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Machines cannot be asked.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The system has no more threads.
    #[error("no thread can be started")]
    Thread(#[from] std::io::Error),
}

/// Where all that is seen is put.
#[derive(Clone)]
pub struct Seers {
    /// What there is.
    pub production: Arc<Production>,
    /// What was seen of it.
    pub board: Arc<Board>,
    /// Queries, where they are seen.
    pub queries: Option<QueryWatch>,
    /// Events.
    pub events: EventWatch,
    /// What the time is.
    pub clock: Clock,
}

/// The threads. They end when this is dropped.
pub struct Watchers {
    stops: Vec<Sender<()>>,
    /// Those whose end is waited for: they hold sockets.
    hearing: Vec<JoinHandle<()>>,
}

impl Watchers {
    /// Begins to look, every `period`, and to listen.
    ///
    /// # Errors
    /// [`WatchError`]. What does not answer is no error: the board says so, and it is asked again.
    pub fn start(seers: &Seers, period: Duration) -> Result<Watchers, WatchError> {
        let Seers { production, board, clock, .. } = seers;
        let mut watchers = Watchers { stops: Vec::new(), hearing: Vec::new() };
        watchers.listen(seers)?;
        for (index, hosted) in production.hypervisors.iter().enumerate() {
            let (hypervisor, owner) = (hosted.hypervisor.clone(), production.owner.clone());
            let (board, clock) = (Arc::clone(board), Arc::clone(clock));
            watchers.spawn(format!("hypervisor-{index}"), move |stop| {
                let open = || hypervisor.view(&owner).map_err(told);
                watch(
                    stop,
                    period,
                    &clock,
                    open,
                    |view| look_at_hypervisor(&mut **view).map_err(told),
                    |at, seen| {
                        board.hypervisor(index, at, seen);
                    },
                );
            })?;
        }
        for region in (0..production.networks.len()).map(RegionId::at) {
            if !production.network(region).is_some_and(crate::production::Network::is_seen) {
                continue;
            }
            let (board, clock, production) = (Arc::clone(board), Arc::clone(clock), Arc::clone(production));
            watchers.spawn(format!("link-{region}"), move |stop| {
                let network = production.network(region);
                let open = || match network.and_then(crate::production::Network::view) {
                    Some(view) => view.map_err(told),
                    None => Err("nobody makes slices there".to_owned()),
                };
                watch(
                    stop,
                    period,
                    &clock,
                    open,
                    |view| look_at_link(&mut **view, &None).map_err(told),
                    |at, seen| {
                        board.link(region.index(), at, seen);
                    },
                );
            })?;
        }
        if let Some(answering) = production.answering.clone().filter(|answering| !answering.is_our_own()) {
            let (board, clock, owner) = (Arc::clone(board), Arc::clone(clock), production.owner.clone());
            let names: Vec<_> = answering.names.iter().flatten().cloned().collect();
            watchers.spawn("answers".to_owned(), move |stop| {
                let open = || match answering.view(owner.as_str()) {
                    Ok(Some(view)) => Ok(view),
                    Ok(None) => Err("it is our own".to_owned()),
                    Err(error) => Err(told(error)),
                };
                watch(
                    stop,
                    period,
                    &clock,
                    open,
                    |view| look_at_answers(&mut **view, &names).map_err(told),
                    |at, seen| {
                        board.answers(at, seen);
                    },
                );
            })?;
        }
        for class in (0..production.health.len()).map(ClassId::at) {
            let Some(check) = production.health_of(class) else { continue };
            let mut watch = HealthWatch::new(class, check, Arc::clone(board), Arc::clone(clock))?;
            watchers.spawn(format!("health-{class}"), move |stop| {
                let period = watch.period;
                again(&stop, period, || watch.look());
            })?;
        }
        watchers.read_feeds(seers)?;
        Ok(watchers)
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

    fn listen(&mut self, seers: &Seers) -> Result<(), WatchError> {
        let (Some(queries), Some(watch)) = (&seers.production.queries, &seers.queries) else { return Ok(()) };
        if !queries.dnstap.is_empty() {
            let listener = DnstapListener::bind(&queries.dnstap, &ListenOptions::default())?;
            let (watch, clock) = (watch.clone(), Arc::clone(&seers.clock));
            let thread = self.spawn("queries".to_owned(), move |stop| {
                while watch.hear(&listener, HEARD_WITHIN, clock()) && !has_ended(&stop) {}
                // What is not heard is not zero.
                watch.deafen();
            })?;
            self.hearing.push(thread);
        }
        for (number, log) in queries.logs.iter().enumerate() {
            let (watch, log, clock) = (watch.clone(), log.clone(), Arc::clone(&seers.clock));
            let vantage = queries.vantage;
            self.spawn(format!("log-{number}"), move |stop| {
                let mut tail = None;
                again(&stop, Duration::from_secs(1), || {
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
                    watch.set_log(number, read.is_ok() && log.path.exists());
                });
            })?;
        }
        Ok(())
    }

    fn read_feeds(&mut self, seers: &Seers) -> Result<(), std::io::Error> {
        for (number, mut reader) in seers.events.readers().into_iter().enumerate() {
            let clock = Arc::clone(&seers.clock);
            self.spawn(format!("feed-{number}"), move |stop| {
                let every = reader.every;
                again(&stop, every, || reader.poll(clock()));
            })?;
        }
        Ok(())
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.stops.clear();
        for thread in self.hearing.drain(..) {
            // One that panicked has said so on its own.
            let _ = thread.join();
        }
    }
}

/// Opens, looks, and looks again; what cannot be opened or seen is told and opened anew.
fn watch<V, S>(
    stop: Receiver<()>,
    period: Duration,
    clock: &Clock,
    mut open: impl FnMut() -> Result<V, String>,
    mut look: impl FnMut(&mut V) -> Result<S, String>,
    mut put: impl FnMut(Timestamp, Result<S, String>),
) {
    let mut view = None;
    again(&stop, period, || {
        let at = clock();
        let seen = view.take().map_or_else(&mut open, Ok).and_then(|mut opened| {
            let seen = look(&mut opened)?;
            view = Some(opened);
            Ok(seen)
        });
        put(at, seen);
    });
}

/// Does something every `period` until it is time to stop.
fn again(stop: &Receiver<()>, period: Duration, mut work: impl FnMut()) {
    loop {
        work();
        match stop.recv_timeout(Wait::from_nanos(period.as_nanos())) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn has_ended(stop: &Receiver<()>) -> bool {
    stop.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected)
}

/// An error and what caused it, in one line.
pub(super) fn told(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text.replace('\n', " ")
}
