//! Queries as name servers report them, folded into windows of demand by client region and class.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use forebay_adapters::dnstap_listener::{DnstapListener, Received};
use forebay_adapters::query::LoggedQuery;
use forebay_adapters::{Geography, NameClasses, Prefix, Vantage};
use forebay_world::{ClassId, Duration, Meter, QueryCount, QuerySample, RegionId, Timestamp};

use crate::production::Production;

/// What was seen in a window.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// For each client cell, dense.
    pub counts: Vec<QueryCount>,
    /// Sources of queries that were heard all the time, and how many there are.
    pub sources: (u32, u32),
    /// Queries that were lost on the way to us.
    pub lost: u64,
}

impl Seen {
    /// Whether every source was heard all the time, and nothing was lost.
    pub fn is_whole(&self) -> bool {
        let (heard, all) = self.sources;
        all > 0 && heard == all && self.lost == 0
    }
}

/// Folds queries into windows. Shared by whoever hears them and whoever closes windows.
#[derive(Clone)]
pub struct QueryWatch(Arc<Mutex<Fold>>);

struct Fold {
    meter: Meter,
    geography: Geography,
    classes: NameClasses,
    class_of: Vec<Option<ClassId>>,
    vantage: Vantage,
    /// The network on whose behalf we ask ourselves.
    own: Prefix,
    ttl: Vec<Duration>,
    cells_per_region: usize,
    /// Region and cache of who asks: looked up once, and again when it was forgotten.
    sources: HashMap<(IpAddr, Option<IpAddr>, Option<Prefix>), (Option<RegionId>, u64)>,
    /// Number of each name, which a cache keeps by itself, and its class: likewise.
    names: HashMap<String, (u32, usize)>,
    /// Places at which is listened.
    places: u32,
    /// Senders, and when each was last connected.
    senders: BTreeMap<String, Timestamp>,
    /// Senders that are connected now, and the fewest since the window began.
    connected: (u32, u32),
    /// Queries that were lost so far, and at the end of the last window.
    lost: (u64, u64),
    /// Each log, and why it cannot be read, if it cannot.
    logs: Vec<(String, Result<(), String>)>,
}

/// Of a log that nobody has looked at yet.
const NOT_YET: &str = "not read yet";

/// A sender that has been away for so long is not waited for any more.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(1);

/// Who keeps answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Keeper {
    /// A resolver that was seen being asked.
    Resolver(IpAddr),
    /// The resolvers of a region, of which no more is known.
    OfRegion(Option<RegionId>),
    /// A resolver that asks, and the network that it asks for.
    Asking(Prefix, Option<Prefix>),
}

/// Who asks, and names, of which is remembered where they belong. What is forgotten is looked up again, and the same.
const REMEMBERED_MOST: usize = 200_000;

/// The number of a cache or a name: it is told from what it is of, so that none has to be remembered for it to be the
/// same tomorrow, and the meter alone decides whom to forget.
fn number(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

impl QueryWatch {
    /// A fold of nothing, for the classes and places of a file. `None` where it says nothing of queries.
    ///
    /// # Errors
    /// [`forebay_adapters::ReadError`] when the files that say where clients are cannot be read.
    pub fn new(production: &Production) -> Result<Option<QueryWatch>, forebay_adapters::ReadError> {
        let Some(queries) = &production.queries else { return Ok(None) };
        let geography = queries.whereabouts.open(&production.topology.regions)?;
        Ok(Some(QueryWatch(Arc::new(Mutex::new(Fold {
            meter: Meter::new(production.topology.cells()),
            geography,
            classes: queries.names.clone(),
            class_of: queries.class_of.clone(),
            vantage: queries.vantage,
            own: forebay_adapters::steering::own_network(),
            ttl: production.ttl.clone(),
            cells_per_region: production.topology.classes.len(),
            sources: HashMap::new(),
            names: HashMap::new(),
            places: queries.dnstap.len() as u32,
            senders: BTreeMap::new(),
            connected: (0, 0),
            lost: (0, 0),
            logs: queries.logs.iter().map(|log| (log.path.display().to_string(), Err(NOT_YET.to_owned()))).collect(),
        })))))
    }

    fn fold(&self) -> std::sync::MutexGuard<'_, Fold> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says from when on queries would have been seen.
    pub fn begin(&self, at: Timestamp) {
        self.fold().meter.begin(at);
    }

    /// Takes in what a listener has, for at most so long; no more comes once this says so. `at` is the present moment.
    pub fn hear(&self, listener: &DnstapListener, wait: Duration, at: Timestamp) -> bool {
        let received = listener.receive(std::time::Duration::from_nanos(wait.as_nanos()));
        let senders = listener.senders();
        let mut fold = self.fold();
        let open = senders.iter().filter(|sender| sender.open > 0);
        // One that has said nothing yet may still be called otherwise.
        for sender in open.clone().filter(|sender| sender.queries > 0) {
            fold.senders.insert(sender.name.clone(), at);
        }
        fold.connect(open.count() as u32);
        fold.lost.0 = senders.iter().map(|sender| sender.dropped).sum::<u64>() + listener.refused();
        match received {
            Received::Batch(batch) => {
                for query in batch.iter() {
                    fold.take(&query);
                }
                true
            }
            Received::Nothing => true,
            Received::Ended => {
                fold.connect(0);
                false
            }
        }
    }

    /// Nobody listens any more.
    pub fn deafen(&self) {
        self.fold().connect(0);
    }

    /// Takes one query in.
    pub fn take(&self, query: &LoggedQuery<'_>) {
        self.fold().take(query);
    }

    /// Says that the log at a position was read, or why it could not be.
    pub fn set_log(&self, number: usize, read: Result<(), String>) {
        if let Some((_, last)) = self.fold().logs.get_mut(number) {
            *last = read;
        }
    }

    /// Logs that cannot be read, as operators know them, and why.
    pub fn troubles(&self) -> Vec<(String, String)> {
        let fold = self.fold();
        let unread = |(log, read): &(String, Result<(), String>)| {
            let why = read.as_ref().err().filter(|why| *why != NOT_YET)?;
            Some((format!("log {log}"), why.clone()))
        };
        fold.logs.iter().filter_map(unread).collect()
    }

    /// Says how many listeners had a sender all the time; what [`QueryWatch::hear`] finds out by itself.
    pub fn set_connected(&self, listeners: u32) {
        self.fold().connected = (listeners, listeners);
    }

    /// Closes the window at `at`.
    pub fn close(&self, at: Timestamp) -> Seen {
        let mut fold = self.fold();
        let fold = &mut *fold;
        fold.senders.retain(|_, last| at.since(*last) < FORGOTTEN_AFTER);
        let logs = (fold.logs.iter().filter(|(_, read)| read.is_ok()).count() as u32, fold.logs.len() as u32);
        let all = fold.places.max(fold.senders.len() as u32);
        let heard = fold.connected.1.min(all);
        let lost = fold.lost.0.saturating_sub(fold.lost.1);
        fold.connected.1 = fold.connected.0;
        fold.lost.1 = fold.lost.0;
        Seen { counts: fold.meter.close(at), sources: (heard + logs.0, all + logs.1), lost }
    }
}

impl Fold {
    fn connect(&mut self, open: u32) {
        self.connected = (open, self.connected.1.min(open));
    }

    fn take(&mut self, query: &LoggedQuery<'_>) {
        // Our own looks at what is answered are no demand.
        if query.vantage != self.vantage || query.ecs == Some(self.own) {
            return;
        }
        let Some((name, class)) = self.name(query.name) else { return };
        let (region, cache) = self.source(query);
        let Some(region) = region else { return };
        let cell = region.index() * self.cells_per_region + class.index();
        self.meter.record(QuerySample {
            at: query.at,
            cell: cell as u32,
            resolver: cache,
            cache,
            name,
            ttl: self.ttl[class.index()],
        });
    }

    fn name(&mut self, name: &str) -> Option<(u32, ClassId)> {
        let known = self.names.get(name).copied();
        let (number, class) = match known {
            Some(known) => known,
            None => {
                if self.names.len() >= REMEMBERED_MOST {
                    self.names.clear();
                }
                let known = (number(&name) as u32, self.classes.class_of(name));
                self.names.insert(name.to_owned(), known);
                known
            }
        };
        Some((number, self.class_of.get(class).copied().flatten()?))
    }

    fn source(&mut self, query: &LoggedQuery<'_>) -> (Option<RegionId>, u64) {
        let source = (query.client, query.server, query.ecs);
        if let Some(known) = self.sources.get(&source) {
            return *known;
        }
        if self.sources.len() >= REMEMBERED_MOST {
            self.sources.clear();
        }
        let region = self.geography.locate(query.client, query.ecs).map(|(region, _)| region);
        let keeper = match (query.vantage, query.server) {
            (Vantage::BeforeResolver, Some(server)) => Keeper::Resolver(server),
            (Vantage::BeforeResolver, None) => Keeper::OfRegion(region),
            (Vantage::Authority | Vantage::AfterResolver, _) => {
                Keeper::Asking(Prefix::of_client(query.client), query.ecs.map(Prefix::truncated))
            }
        };
        let cache = number(&keeper);
        self.sources.insert(source, (region, cache));
        (region, cache)
    }
}
