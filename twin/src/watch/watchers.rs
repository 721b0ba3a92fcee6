//! Threads that look at production again and again, each by a view of its own: one for each hypervisor, each link, the name
//! server, each class of machines that can be asked, each feed, and one for queries.
//!
//! What hangs keeps nobody else from looking, and holds nothing that writes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use forebay_adapters::dnstap_listener::ListenError;
use forebay_adapters::probe::ProbeError;
use forebay_world::{ClassId, Duration, RegionId, Timestamp};

use super::announced::EventWatch;
use super::hearing::Hearing;
use super::repeat::again;
use super::{Board, Clock, HealthWatch, QueryWatch, look_at_answers, look_at_hypervisor, look_at_link};
use crate::production::Production;

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
    // It hears until this is dropped.
    _hearing: Option<Hearing>,
}

impl Watchers {
    /// Begins to look, every `period`, and to listen.
    ///
    /// # Errors
    /// [`WatchError`]. What does not answer is no error: the board says so, and it is asked again.
    pub fn start(seers: &Seers, period: Duration) -> Result<Watchers, WatchError> {
        let Seers { production, board, clock, .. } = seers;
        let mut watchers = Watchers { stops: Vec::new(), _hearing: None };
        if let (Some(queries), Some(watch)) = (&production.queries, &seers.queries) {
            watchers._hearing = Some(Hearing::start(queries, watch, clock, None)?);
        }
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

    fn spawn(&mut self, name: String, work: impl FnOnce(Receiver<()>) + Send + 'static) -> Result<(), std::io::Error> {
        let (sender, stop) = channel();
        thread::Builder::new().name(name).spawn(move || work(stop))?;
        self.stops.push(sender);
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
