//! What is done at each beat beside the loop: a person's yes is heard, what stands is put on the desk, metrics are given.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow};
use forebay_adapters::kill_switch::KillSwitch;
use forebay_adapters::lease::Term;
use forebay_adapters::metrics::{MetricsServer, Page};
use forebay_world::{Duration, Observation, Timestamp, VmId};

use super::counter::Slot;
use super::voice::Voice;
use super::yes::{ALLOWED, Yes};
use super::{Failure, Production, World};
use crate::decision::Decision;
use crate::deployment::rollout::Lane;
use crate::live::{Governed, Remark, page};
use crate::tui::Standing;
use crate::tui::alert::Severity;
use crate::watch::EventWatch;

/// What came of the last tick, as far as it is told at beats.
#[derive(Default)]
pub(super) struct LastTick {
    pub(super) last: Option<(Arc<Observation>, Arc<Decision>)>,
    pub(super) ticks: u64,
    pub(super) missed: u64,
    pub(super) took: Duration,
}

/// Shared by the loop and by whoever attends to it.
#[derive(Clone, Default)]
pub(super) struct Shared {
    pub(super) tick: Arc<Mutex<LastTick>>,
    /// Why the loop has to end.
    pub(super) broken: Arc<Mutex<Option<Failure>>>,
}

impl Shared {
    pub(super) fn note_tick(&self, seen: &Arc<Observation>, decision: &Arc<Decision>) {
        let mut tick = self.tick.lock().unwrap_or_else(PoisonError::into_inner);
        tick.last = Some((Arc::clone(seen), Arc::clone(decision)));
        tick.ticks += 1;
        tick.took = super::wall().since(seen.at);
    }

    pub(super) fn note_missed(&self) {
        self.tick.lock().unwrap_or_else(PoisonError::into_inner).missed += 1;
    }

    pub(super) fn take_broken(&self) -> Option<Failure> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

pub(super) struct Attendant {
    pub(super) production: Arc<Production>,
    pub(super) voice: Voice,
    pub(super) yes: Receiver<Yes>,
    pub(super) kill_switch: KillSwitch,
    pub(super) term: Term,
    pub(super) events: EventWatch,
    pub(super) shared: Shared,
    pub(super) metrics: Metrics,
    /// The desk, where somebody looks.
    pub(super) slot: Option<Slot>,
    /// Who closed the kill switch, as it was last told.
    pub(super) closed: Option<String>,
    /// What failed, and when that was told.
    pub(super) failed: BTreeMap<String, Timestamp>,
}

/// A failure that comes again and again is told as often.
const TOLD_AGAIN_AFTER: Duration = Duration::from_mins(10);

impl Attendant {
    pub(super) fn beat(&mut self, world: &mut World) {
        let heard: Vec<Yes> = self.yes.try_iter().collect();
        for said in heard {
            if let Err(failure) = self.approve(world, said) {
                *self.shared.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                world.halt("a yes cannot be written down");
            }
        }
        for remark in world.take_remarks() {
            match remark {
                Remark::Audit(why) => self.voice.say(Severity::Critical, &format!("audit: {why}")),
                Remark::Order { what, why, is_refused: true } => {
                    self.voice.show(Severity::Notice, &format!("{what}: not let through: {why}"));
                }
                Remark::Order { what, why, is_refused: false } => {
                    let text = format!("{what}: failed: {why}");
                    match self.is_news(&what, &why, world.present()) {
                        true => self.voice.say(Severity::Warning, &text),
                        false => self.voice.show(Severity::Warning, &text),
                    }
                }
            }
        }
        let closed = self.kill_switch.closed(world.present()).map(|closed| closed.to_string());
        if closed != self.closed {
            match &closed {
                Some(closed) => self.voice.say(Severity::Critical, &format!("nothing is written: {closed}")),
                None => self.voice.say(Severity::Clear, "the kill switch is open again"),
            }
            self.closed = closed;
        }
        if let Some(slot) = &self.slot {
            slot.put(self.standing(world));
        }
        if self.metrics.is_wanted(&self.voice) {
            self.metrics.publish(self.page(world));
        }
    }

    /// Whether such a failure was not told for a while: one that comes back at every try is in the audit every time.
    fn is_news(&mut self, what: &str, why: &str, now: Timestamp) -> bool {
        self.failed.retain(|_, at| now.since(*at) < TOLD_AGAIN_AFTER);
        let verb = what.split(' ').next().unwrap_or_default();
        match self.failed.entry(format!("{verb}: {why}")) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(now);
                true
            }
        }
    }

    fn approve(&self, world: &mut World, said: Yes) -> Result<(), Failure> {
        let proposed: Vec<VmId> = world.proposals().map(|proposal| proposal.vm).collect();
        let chosen = match said {
            Yes::All => proposed,
            Yes::To(vm) if proposed.contains(&vm) => vec![vm],
            Yes::To(vm) => {
                self.voice.say(Severity::Notice, &format!("nothing is proposed for {vm}"));
                return Ok(());
            }
            Yes::Unclear => {
                self.voice.say(Severity::Notice, ALLOWED);
                return Ok(());
            }
        };
        for vm in chosen {
            world.approve(vm).map_err(|error| Failure::Other(error.into(), String::new()))?;
            self.voice.say(Severity::Notice, &format!("{vm}: as you say"));
        }
        Ok(())
    }

    fn standing(&self, world: &World) -> Standing {
        let topology = &self.production.topology;
        let counts = world.counts();
        let proposals = world.proposals().map(|proposal| {
            let (region, class) = (proposal.planned.region, proposal.planned.class);
            let what = if proposal.is_launch { "launch" } else { "drain" };
            let reason = world.reason(topology.cell(region, class));
            let cell = format!("{}/{}", topology.region(region).name, topology.class(class).name);
            (proposal.vm.to_string(), format!("{what} in {cell}: {reason}"))
        });
        let breakers = world.breakers();
        let failing =
            breakers.iter().map(|(lane, failures, again, is_open)| (self.lane(*lane), *failures, *again, *is_open));
        let out = world.out().values().map(|out| (self.lane(out.lane), out.what.clone(), out.since));
        Standing {
            at: world.present(),
            closed: self.closed.clone(),
            halted: world.halted().map(str::to_owned),
            lease: (self.term.epoch(), self.term.holder().to_string(), self.term.left().as_secs_f64()),
            budget: (world.spending(), self.production.controller.guard.budget_per_hour),
            over: (counts.done.values().sum(), counts.failed.values().sum(), counts.stopped),
            proposals: proposals.collect(),
            out: out.collect(),
            held: world.held().iter().map(|(vm, why)| (vm.to_string(), why.to_string())).collect(),
            breakers: failing.collect(),
            alerts: self.voice.alerts(),
        }
    }

    fn lane(&self, lane: Lane) -> String {
        let topology = &self.production.topology;
        match lane {
            Lane::Link(region) => format!("link of {}", topology.region(region).name),
            Lane::Host(host) => topology.hosts.get(host.index()).map_or("?".to_owned(), |host| host.name.clone()),
            Lane::Warmth(vm) => format!("cache of {vm}"),
            Lane::Answers => self.production.answering.as_ref().map_or("answers".to_owned(), |answers| answers.name()),
        }
    }

    fn page(&self, world: &World) -> Page {
        let mut silent = world.troubles();
        silent.extend(self.events.troubles());
        let tick = self.shared.tick.lock().unwrap_or_else(PoisonError::into_inner);
        let governed = Governed {
            last: tick.last.as_ref().map(|(seen, decision)| (&**seen, &**decision)),
            ticks: tick.ticks,
            tick_took: tick.took,
            missed: tick.missed,
            epoch: self.term.epoch(),
            lease_left: self.term.left(),
            is_open: self.closed.is_none(),
            silent: &silent,
        };
        page(world, &governed)
    }
}

/// Metrics at an address, which whoever held the lease before may still hold: it is asked for until it is free.
pub(super) struct Metrics {
    address: Option<SocketAddr>,
    server: Option<MetricsServer>,
}

impl Metrics {
    /// Begins to give them, where the file names an address.
    pub(super) fn open(address: Option<SocketAddr>, voice: &Voice) -> Result<Metrics, Failure> {
        let mut metrics = Metrics { address, server: None };
        let Some(address) = address else { return Ok(metrics) };
        match MetricsServer::bind(address) {
            Ok(server) => metrics.server = Some(server),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let why = "another program listens there; see `listen` in [metrics]";
                voice.say(Severity::Warning, &format!("metrics are not given at {address} until it is free: {why}"));
            }
            Err(error) => {
                let error =
                    Err::<(), _>(anyhow!(error)).with_context(|| format!("metrics cannot be given at {address}"));
                let hint = "does this machine have that address? see `listen` in [metrics]";
                return error.map(|()| metrics).map_err(|error| Failure::Other(error, hint.to_owned()));
            }
        }
        Ok(metrics)
    }

    /// Whether a page is of any use now.
    fn is_wanted(&mut self, voice: &Voice) -> bool {
        if let (Some(address), None) = (self.address, &self.server)
            && let Ok(server) = MetricsServer::bind(address)
        {
            voice.say(Severity::Clear, &format!("metrics are given at {address} from now on"));
            self.server = Some(server);
        }
        self.server.is_some()
    }

    fn publish(&self, page: Page) {
        if let Some(server) = &self.server {
            server.publish(page);
        }
    }
}
