//! `forebay shadow`: production watched, planned for, and left alone.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration as Wait;

use anyhow::{Context, anyhow};
use forebay_adapters::metrics::MetricsServer;
use forebay_world::{Duration, Timestamp};

use super::arguments::ShadowOptions;
use super::{Answer, Failure, folder_of, interrupt, print, time_zone, watch};
use crate::controller::Controller;
use crate::controller::config::DemandSource;
use crate::journal::Header;
use crate::policy;
use crate::production::{Known, Production};
use crate::scenario::read_text;
use crate::shadow::{self, Ending, Folder, FolderError, Seers, ShadowError, ShadowWorld, TickReport};
use crate::tick::Tick;
use crate::tui::{self, Feed, Follower};
use crate::watch::{Board, Clock, EventWatch, Pace, QueryWatch, WatchError, Watchers};

/// How long a rest may last before it is looked whether it is time to end.
const NAP: Wait = Wait::from_millis(50);

/// The wall's time.
#[derive(Clone)]
struct Wall {
    stop: Arc<AtomicBool>,
    /// The latest time that was told: a clock that is set back stands still meanwhile.
    latest: Arc<AtomicU64>,
}

impl Wall {
    fn clock(&self) -> Clock {
        let wall = self.clone();
        Arc::new(move || wall.now())
    }
}

impl Pace for Wall {
    fn now(&self) -> Timestamp {
        let now = super::now().map_or(0, Timestamp::as_nanos);
        Timestamp::from_nanos(self.latest.fetch_max(now, Ordering::SeqCst).max(now))
    }

    fn rest(&mut self, span: Duration) {
        let mut left = Wait::from_nanos(span.as_nanos());
        while !left.is_zero() && !self.is_over() {
            let nap = left.min(NAP);
            thread::sleep(nap);
            left -= nap;
        }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// All that shadow mode runs on.
struct Stage {
    production: Arc<Production>,
    world: ShadowWorld<Wall>,
    controller: Controller,
    folder: Folder,
    zone: jiff::tz::TimeZone,
    until: Timestamp,
    metrics: Option<MetricsServer>,
    // They look until it is over.
    _watchers: Watchers,
}

pub(super) fn run(options: ShadowOptions) -> Result<Answer, Failure> {
    let zone = time_zone(&options.time_zone)?;
    let production = load(&options.config)?;
    let is_shown = !options.headless && !options.json && io::stdout().is_terminal();
    let stop = if is_shown { interrupt::requested_within(Wait::from_secs(5)) } else { interrupt::requested() };
    let wall = Wall { stop: Arc::clone(&stop), latest: Arc::default() };
    for remark in &production.remarks {
        eprintln!("{}: {remark}", production.name);
    }
    let stage = open(production, &options, zone, &wall)?;
    eprintln!("{}: journal and ticks in {}", stage.production.name, stage.folder.run().display());
    let ending = if is_shown { show(stage, &options, Arc::clone(&stop))? } else { tell(stage, options.json, &stop)? };
    for path in &ending.written {
        eprintln!("summary: {}.md and .json", path.display());
    }
    let text = if options.json {
        let summary = serde_json::json!({ "summary": ending.summary });
        format!("{summary}\n")
    } else {
        ending.summary.markdown()
    };
    print(text.as_bytes())
}

fn load(path: &Path) -> Result<Arc<Production>, Failure> {
    let text = read_text(path)?;
    if !Production::is_one(&text) {
        return Err(Failure::Other(
            anyhow!("{} has no [production] table: it is no production file", path.display()),
            "`forebay init` writes one to begin with; scenarios are run by `forebay run`".to_owned(),
        ));
    }
    Ok(Arc::new(Production::from_text(&path.display().to_string(), &text, folder_of(path))?))
}

fn open(
    production: Arc<Production>,
    options: &ShadowOptions,
    zone: jiff::tz::TimeZone,
    wall: &Wall,
) -> Result<Stage, Failure> {
    let (source, is_other) = shadow::demand_source(&production).map_err(|error| {
        let hint = error.hint().to_owned();
        Failure::Other(error.into(), hint)
    })?;
    let mut config = production.controller.clone();
    config.demand = source;
    if is_other {
        eprintln!(
            "{}: machines of others cannot be asked how many sessions they have: demand is told from DNS",
            production.name
        );
    }
    if production.hypervisors.is_empty() {
        eprintln!("{}: no [[hypervisor]]: what production runs is not seen, and nothing compared", production.name);
    } else if production.incumbents.is_empty() && source == DemandSource::Dns {
        eprintln!(
            "{}: no [[shadow.incumbent]]: only machines with the mark of {} count",
            production.name, production.owner
        );
    }
    let Known { knowledge, remarks } = production.known(wall.now())?;
    for remark in &remarks {
        eprintln!("{}: {remark}", production.name);
    }
    let decides = policy::build(&production.policy, &config, &production.topology, &knowledge)?;
    let controller = Controller::new(Arc::clone(&production.topology), config.clone(), decides);
    let start = wall.now();
    let metrics = production.metrics.map(|address| {
        MetricsServer::bind(address).with_context(|| format!("metrics cannot be given at {address}")).map_err(|error| {
            Failure::Other(error, "does another program listen there? see `listen` in [metrics]".to_owned())
        })
    });
    let metrics = metrics.transpose()?;
    let seers = Seers {
        board: Arc::new(Board::new(&production)),
        queries: QueryWatch::new(&production)?,
        events: EventWatch::new(&production),
        clock: wall.clock(),
        production: Arc::clone(&production),
    };
    let watchers = Watchers::start(&seers, options.look_every)?;
    let header = Header::new(&production.topology, &config, &production.policy, None, &knowledge);
    let folder = Folder::create(&production.state, start, &header)?;
    let world = ShadowWorld::new(seers, wall.clone(), source, options.replicates);
    let until = options.lasts.map_or(Timestamp::MAX, |lasts| world.began().saturating_add(lasts));
    Ok(Stage { production, world, controller, folder, zone, until, metrics, _watchers: watchers })
}

impl Stage {
    /// To the end.
    fn follow(mut self, mut on_tick: impl FnMut(Tick, &TickReport)) -> Result<Ending, ShadowError> {
        let (policy, metrics) = (self.production.policy.clone(), self.metrics.take());
        let folder = Some(self.folder);
        shadow::follow(&mut self.world, &mut self.controller, folder, &self.zone, self.until, |world, tick, report| {
            if let Some(metrics) = &metrics {
                metrics.publish(shadow::page(world, &report, &policy, tick.index + 1));
            }
            on_tick(tick, &report);
        })
    }
}

/// One line a tick.
fn tell(stage: Stage, as_json: bool, stop: &AtomicBool) -> Result<Ending, Failure> {
    let mut refused = None;
    let ending = stage.follow(|_, report| {
        let line = if as_json { serde_json::to_string(report).map_err(anyhow::Error::from) } else { Ok(report.line()) };
        let printed = line.map_err(Failure::from).and_then(|line| print(format!("{line}\n").as_bytes()));
        if let Err(failure) = printed {
            // Whoever read it has gone: there is nobody to tell more.
            refused.get_or_insert(failure);
            stop.store(true, Ordering::SeqCst);
        }
    });
    let ending = ending?;
    refused.map_or(Ok(ending), Err)
}

/// The terminal UI, until its reader leaves.
fn show(stage: Stage, options: &ShadowOptions, stop: Arc<AtomicBool>) -> Result<Ending, Failure> {
    let (start, production) = (stage.world.began(), Arc::clone(&stage.production));
    let (span, looks) = ((start, stage.until), (options.theme, options.ascii));
    let shown = watch::followed(&production, span, "SHADOW", looks, Arc::clone(&stop));
    let feed = Feed::default();
    let (made, ended) = (feed.clone(), feed.clone());
    let thread = thread::Builder::new().name("shadow".to_owned()).spawn(move || {
        let ending = stage.follow(|tick, _| made.push(tick));
        ended.end();
        ending
    });
    let thread = thread.context("no thread can be started")?;
    let mut first = Some(Follower::new(&feed, start));
    let make = move |_: &str| {
        let follower = first.take().ok_or_else(|| "what is watched has one policy only".to_owned())?;
        Ok(Box::new(follower) as Box<dyn tui::Engine>)
    };
    let seen = tui::run(shown, make);
    stop.store(true, Ordering::SeqCst);
    let ending = thread.join().map_err(|_| anyhow!("shadow mode has failed"))?;
    seen.map_err(|error| Failure::Other(error.into(), "use --headless for one line a tick".to_owned()))?;
    Ok(ending?)
}

impl From<WatchError> for Failure {
    fn from(error: WatchError) -> Self {
        let hint = match &error {
            WatchError::Listen(error) => error.hint().to_owned(),
            WatchError::Probe(_) => "see [health.CLASS]".to_owned(),
            WatchError::Thread(_) => "end other programs, or raise the limit on threads".to_owned(),
        };
        Failure::Other(error.into(), hint)
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        Failure::Other(error.into(), "`state` of [production] is a folder that this user can write to".to_owned())
    }
}

impl From<ShadowError> for Failure {
    fn from(error: ShadowError) -> Self {
        match error {
            ShadowError::Folder(error) => error.into(),
            ShadowError::World(error) => Failure::Other(error.into(), String::new()),
        }
    }
}
