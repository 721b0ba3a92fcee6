//! `forebay live`: production, acted on.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, BufRead, BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration as Wait, SystemTime};

use anyhow::{Context, anyhow};
use forebay_adapters::audit::Audit;
use forebay_adapters::kill_switch::KillSwitch;
use forebay_adapters::lease::{Acquired, Holder, Lease, Term};
use forebay_adapters::ledger::LedgerError;
use forebay_adapters::steering::rfc2136::WriterTerm;
use forebay_world::{Duration, Observation, Plan, Timestamp, VmId, VmState};
use serde_json::json;

use super::arguments::LiveOptions;
use super::{Answer, Failure, interrupt, print};
use crate::controller::{Controller, Start};
use crate::decision::Decision;
use crate::drive::drive;
use crate::journal::{Header, Journal};
use crate::live::{self, Book, BookError, GateMaker, LiveWorld, Release, Threads};
use crate::policy::{self, Knowledge};
use crate::production::Production;
use crate::watch::{Board, Clock, EventWatch, HealthWatch, Hearing, Pace, QueryWatch, Tell};

pub(super) fn run(options: &LiveOptions) -> Result<Answer, Failure> {
    let production = Arc::new(Production::load(&options.file)?);
    for remark in &production.remarks {
        eprintln!("{}: {remark}", production.name);
    }
    if !production.may_write() {
        return Err(Failure::Other(
            anyhow!("{}: nothing may be written in any region and class", options.file.display()),
            "`mode` or `cells` of [live] must say advise or live somewhere; to look only, there is `forebay shadow`"
                .to_owned(),
        ));
    }
    refuse_providers(&production)?;
    let knowledge = Knowledge::default();
    let config = Release::confine(&production.mandates, &production.topology, &production.controller);
    let policy = policy::build(&production.policy, &config, &production.topology, &knowledge)?;
    let over = interrupt::requested();
    let kill_switch = kill_switch(&production)?;
    let Some(term) = acquire(&production, &over)? else { return Ok(Answer::Interrupted) };
    eprintln!("{}: writes, in epoch {}", production.name, term.epoch());
    let alive = Arc::new(AtomicU64::new(wall().as_nanos()));
    let keeper = keep(&term, &production, &alive, &over);
    let pace = Wall { over: Arc::clone(&over), alive };
    let result = govern(&production, config, policy, &knowledge, &term, &kill_switch, pace, options);
    over.store(true, Ordering::SeqCst);
    let lost = keeper.join().unwrap_or_else(|_| Some("the lease's keeper has panicked".to_owned()));
    match (result, lost) {
        (Err(failure), _) => Err(failure),
        (Ok(()), Some(why)) => Err(Failure::Other(
            anyhow!("{}: the lease is lost: {why}", production.name),
            "another instance may have taken over; start again to wait for it".to_owned(),
        )),
        (Ok(()), None) => {
            let _ = term.release();
            Ok(Answer::Yes)
        }
    }
}

/// Machines of a provider have addresses that it does not tell us yet: they could be made, and neither asked nor answered.
fn refuse_providers(production: &Production) -> Result<(), Failure> {
    let topology = &production.topology;
    for (index, host) in topology.hosts.iter().enumerate() {
        let classes = (0..topology.classes.len()).map(forebay_world::ClassId::at);
        let may_write = classes.into_iter().any(|class| production.mandate(host.region, class).may_write());
        let hypervisor = production.hypervisor(forebay_world::HostId::at(index));
        if may_write && hypervisor.is_some_and(|hypervisor| hypervisor.is_provider()) {
            return Err(Failure::Other(
                anyhow!("host {}: machines of a provider cannot be live yet: their addresses are not known", host.name),
                "set the cells of its region to shadow or off".to_owned(),
            ));
        }
    }
    Ok(())
}

/// Closed by a file in the state folder, or by SIGUSR1.
fn kill_switch(production: &Production) -> Result<KillSwitch, Failure> {
    fs::create_dir_all(&production.state).with_context(|| format!("{} cannot be made", production.state.display()))?;
    let (file, kept) = (production.state.join("kill"), production.state.join("kill-switch.json"));
    let switch = KillSwitch::with_files(Some(&file), Some(&kept))
        .map_err(|error| Failure::Other(error.into(), String::new()))?;
    switch.on_signal(signal_hook::consts::SIGUSR1).map_err(|error| Failure::Other(error.into(), String::new()))?;
    Ok(switch)
}

/// Waits for the lease; `None` when it was told to end meanwhile.
fn acquire(production: &Production, over: &AtomicBool) -> Result<Option<Term>, Failure> {
    let holder = Holder::here().context("this machine does not say who it is")?;
    let hint = || "is the state folder this user's, and on a local file system?".to_owned();
    let mut lease = Lease::open(&production.state, holder, production.lease)
        .map_err(|error| Failure::Other(error.into(), hint()))?;
    let mut said = String::new();
    let mut rounds = 0_u32;
    while !over.load(Ordering::SeqCst) {
        match lease.try_acquire().map_err(|error| Failure::Other(error.into(), hint()))? {
            Acquired::Term(term) => return Ok(Some(term)),
            Acquired::Waiting(waiting) => {
                if rounds.is_multiple_of(20) {
                    let now = waiting.to_string();
                    if now != said {
                        eprintln!("{}: waits: {now}", production.name);
                        said = now;
                    }
                }
            }
        }
        rounds = rounds.wrapping_add(1);
        thread::sleep(Wait::from_millis(250));
    }
    Ok(None)
}

/// Renews the lease until all is over, and ends all when it is lost; says why it was.
///
/// A loop that hangs must lose its lease, though this thread does not hang with it.
fn keep(
    term: &Term,
    production: &Production,
    alive: &Arc<AtomicU64>,
    over: &Arc<AtomicBool>,
) -> thread::JoinHandle<Option<String>> {
    let (term, over, alive, name) = (term.clone(), Arc::clone(over), Arc::clone(alive), production.name.clone());
    thread::spawn(move || {
        while !over.load(Ordering::SeqCst) {
            let silent = wall().since(Timestamp::from_nanos(alive.load(Ordering::SeqCst)));
            if silent < HANGS_AFTER
                && term.is_due()
                && let Err(error) = term.renew()
                && error.is_final()
            {
                eprintln!("{name}: {error}");
                over.store(true, Ordering::SeqCst);
                return Some(error.to_string());
            }
            thread::sleep(Wait::from_millis(100));
        }
        None
    })
}

#[allow(clippy::too_many_arguments, reason = "what a term is made of")]
fn govern(
    production: &Arc<Production>,
    config: crate::ControllerConfig,
    policy: Box<dyn policy::Policy>,
    knowledge: &Knowledge,
    term: &Term,
    kill_switch: &KillSwitch,
    pace: Wall,
    options: &LiveOptions,
) -> Result<(), Failure> {
    let over = &Arc::clone(&pace.over);
    let clock: Clock = Arc::new(wall);
    let other = |error: anyhow::Error| Failure::Other(error, String::new());
    let (book, torn) = Book::open(&production.state, term.epoch(), &production.topology).map_err(book_failure)?;
    if let Some(torn) = torn {
        eprintln!("{}: {torn}", production.name);
    }
    let audit =
        Audit::begin(&production.state, term.epoch(), term.holder(), clock()).context("the audit").map_err(other)?;
    let mut start = Start { plan: book.memory().plan.as_deref().cloned(), guard: book.memory().guard.clone() };
    if let Some(guard) = &mut start.guard {
        // A clock that once ran ahead must not forbid anything until then.
        let now = clock();
        guard.seen_at = guard.seen_at.min(now);
        guard.changed_at.iter_mut().for_each(|at| *at = (*at).min(now));
    }
    let mut controller = Controller::new(Arc::clone(&production.topology), config.clone(), policy);
    controller.go_on(start.clone());
    let mut header = Header::new(&production.topology, &config, &production.policy, None, knowledge);
    header.start = Some(start);
    let path = production.state.join(format!("journal-{}.jsonl", term.epoch()));
    let file = File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
    let journal = Journal::begin(BufWriter::new(file), &header).map_err(Failure::from)?;

    let board = Arc::new(Board::new(production));
    let queries = QueryWatch::new(production).context("[dns.geography]").map_err(other)?;
    let hearing = hearing(production, queries.as_ref(), &clock)?;
    let asking = askers(production, &board, &clock, over)?;
    let events = announcer(production, &clock, over);
    let responder = live::responder(production).map_err(|why| {
        Failure::Other(anyhow!(why), "is another server bound to that address, or is it another machine's?".to_owned())
    })?;
    let gates: GateMaker = {
        let (term, kill_switch) = (term.clone(), kill_switch.clone());
        Arc::new(move || kill_switch.gate().and(term.gate()))
    };
    let writer = WriterTerm { line: line(production, term).map_err(other)?, epoch: term.epoch() };
    let hands = live::hands(production, &board, &clock, &gates, responder.as_ref(), Some(&writer));
    let crew = Threads::start(production, hands, LOOK_EVERY).context("threads")?;
    let mut world = LiveWorld::new(Arc::clone(production), board, pace, crew, queries, book, Some(audit));
    let yes = yes();
    let until = options.span.map_or(Timestamp::from_nanos(u64::MAX), |span| clock().saturating_add(span));
    let mut teller = Teller {
        production,
        events: &events,
        kill_switch,
        json: options.json,
        troubles: Vec::new(),
        closed: None,
        proposed: Vec::new(),
        is_read: true,
    };
    let mut broken: Option<Failure> = None;
    let journal = RefCell::new(journal);
    let ended = drive(
        &mut world,
        &mut controller,
        production.controller.period,
        until,
        |world, controller, seen, plan, decision| {
            let kept = if world.halted().is_some() {
                Ok(())
            } else {
                let mut journal = journal.borrow_mut();
                journal.tick(&seen, &plan, &decision).and_then(|()| journal.flush()).map_err(Failure::from)
            };
            let kept = kept.and_then(|()| world.note(&decision, controller.guard_memory()).map_err(ledger_failure));
            if let Err(failure) = kept {
                // What cannot be remembered is not begun; what stands stays, and clients are answered as they were.
                if world.halted().is_none() {
                    failure.print();
                    eprintln!("{}: nothing is ordered any more until it is started again with room", production.name);
                }
                world.halt("what is decided cannot be written down");
            }
            let done = Ok(())
                .and_then(|()| {
                    world.set_events(events.known(seen.at));
                    yes.try_iter().try_for_each(|said| approve(world, said, production))
                })
                .and_then(|()| teller.tick(world, &seen, &plan, &decision));
            match done {
                Ok(()) => {}
                // Whoever read has gone; machines and clients have not.
                Err(Failure::ReaderGone) => teller.is_read = false,
                Err(failure) => {
                    broken = Some(failure);
                    return ControlFlow::Break(());
                }
            }
            if over.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
        |_, at, error| {
            eprintln!("{}: {at}: {error}", production.name);
            // A disk that takes no miss takes no tick either, and that ends the loop.
            let _ = journal.borrow_mut().missed(at, error);
        },
    );
    if let Err(error) = ended {
        broken = Some(Failure::Other(error.into(), "another writer has submitted a newer plan".to_owned()));
    }
    over.store(true, Ordering::SeqCst);
    drop(world);
    drop(hearing);
    for thread in asking {
        let _ = thread.join();
    }
    let flushed = journal.into_inner().finish().map_err(Failure::from);
    match broken {
        Some(failure) => Err(failure),
        None => flushed.map(drop),
    }
}

/// What instances that share this state folder are called where others write, too: drawn once. Only a term's instance asks.
fn line(production: &Production, term: &Term) -> anyhow::Result<String> {
    let path = production.state.join("writer");
    if let Ok(known) = fs::read_to_string(&path)
        && known.len() >= 32
        && known.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return Ok(known);
    }
    let drawn = &term.holder().instance;
    fs::write(&path, drawn).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(drawn.clone())
}

/// A loop that has not rested for so long hangs.
const HANGS_AFTER: Duration = Duration::from_mins(2);
/// How often hypervisors, links and the name server are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn book_failure(error: BookError) -> Failure {
    let hint = error.hint().to_owned();
    Failure::Other(anyhow::Error::new(error).context("what the terms before have left"), hint)
}

fn ledger_failure(error: LedgerError) -> Failure {
    Failure::Other(error.into(), "free some room; what stands stays".to_owned())
}

/// Time as it passes.
struct Wall {
    over: Arc<AtomicBool>,
    /// When it last rested, for whoever watches over it.
    alive: Arc<AtomicU64>,
}

impl Pace for Wall {
    fn now(&self) -> Timestamp {
        wall()
    }

    fn rest(&mut self, span: Duration) {
        self.alive.store(wall().as_nanos(), Ordering::SeqCst);
        let mut left = Wait::from_nanos(span.as_nanos());
        while !left.is_zero() && !self.over.load(Ordering::SeqCst) {
            let step = left.min(Wait::from_millis(100));
            thread::sleep(step);
            left -= step;
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// Hears what name servers say of queries.
fn hearing(production: &Production, queries: Option<&QueryWatch>, clock: &Clock) -> Result<Option<Hearing>, Failure> {
    let (Some(watch), Some(told)) = (queries, &production.queries) else { return Ok(None) };
    let name = production.name.clone();
    // Whoever held the lease before may listen there still: paused, it does not let go.
    let tell: Tell = Arc::new(move |text| eprintln!("{name}: {text}"));
    Ok(Some(Hearing::start(told, watch, clock, Some(tell))?))
}

/// Asks machines how they do, until all is over.
fn askers(
    production: &Production,
    board: &Arc<Board>,
    clock: &Clock,
    over: &Arc<AtomicBool>,
) -> Result<Vec<thread::JoinHandle<()>>, Failure> {
    let mut threads = Vec::new();
    for (index, check) in production.health.iter().enumerate() {
        let Some(check) = check else { continue };
        let class = forebay_world::ClassId::at(index);
        let mut watch = HealthWatch::new(class, check, Arc::clone(board), Arc::clone(clock))
            .map_err(|error| Failure::Other(error.into(), String::new()))?;
        let over = Arc::clone(over);
        threads.push(thread::spawn(move || {
            let mut pace = Wall { over, alive: Arc::default() };
            while !pace.is_over() {
                watch.look();
                pace.rest(watch.period);
            }
        }));
    }
    Ok(threads)
}

/// Keeps events up to date, until all is over. Nobody waits for it: a server may take its time.
fn announcer(production: &Arc<Production>, clock: &Clock, over: &Arc<AtomicBool>) -> EventWatch {
    let events = EventWatch::new(production);
    for mut reader in events.readers() {
        let (clock, over) = (Arc::clone(clock), Arc::clone(over));
        thread::spawn(move || {
            let mut pace = Wall { over, alive: Arc::default() };
            while !pace.is_over() {
                reader.poll(clock());
                pace.rest(reader.every);
            }
        });
    }
    events
}

/// What a person says yes to: one machine, or all that is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Yes {
    To(VmId),
    All,
    Unclear,
}

/// Lines that are typed: `yes vm-7`, `yes all`.
fn yes() -> Receiver<Yes> {
    let (sender, receiver): (Sender<Yes>, Receiver<Yes>) = channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            let words: Vec<&str> = line.split_whitespace().collect();
            let said = match words[..] {
                [] => continue,
                ["yes", "all"] => Yes::All,
                ["yes", vm] => {
                    vm.strip_prefix("vm-").unwrap_or(vm).parse().map_or(Yes::Unclear, |number| Yes::To(VmId(number)))
                }
                _ => Yes::Unclear,
            };
            if sender.send(said).is_err() {
                return;
            }
        }
    });
    receiver
}

fn approve(world: &mut LiveWorld<Wall, Threads>, said: Yes, production: &Production) -> Result<(), Failure> {
    let proposed: Vec<VmId> = world.proposals().map(|proposal| proposal.vm).collect();
    let chosen = match said {
        Yes::All => proposed,
        Yes::To(vm) if proposed.contains(&vm) => vec![vm],
        Yes::To(vm) => {
            eprintln!("{}: nothing is proposed for {vm}", production.name);
            return Ok(());
        }
        Yes::Unclear => {
            eprintln!("{}: allowed: yes vm-7, yes all", production.name);
            return Ok(());
        }
    };
    for vm in chosen {
        world.approve(vm).map_err(|error| Failure::Other(error.into(), String::new()))?;
        eprintln!("{}: {vm}: as you say", production.name);
    }
    Ok(())
}

/// Says what happens, a line a tick, and what has changed beside it.
struct Teller<'a> {
    production: &'a Production,
    events: &'a EventWatch,
    kill_switch: &'a KillSwitch,
    json: bool,
    troubles: Vec<(String, String)>,
    closed: Option<String>,
    proposed: Vec<VmId>,
    /// Whether somebody reads what is printed.
    is_read: bool,
}

impl Teller<'_> {
    fn tick(
        &mut self,
        world: &LiveWorld<Wall, Threads>,
        seen: &Observation,
        plan: &Plan,
        decision: &Decision,
    ) -> Result<(), Failure> {
        let production = self.production;
        let name = &production.name;
        let mut troubles = world.troubles();
        troubles.extend(self.events.troubles());
        for (what, why) in troubles.iter().filter(|trouble| !self.troubles.contains(trouble)) {
            eprintln!("{name}: {what} is not seen: {why}");
        }
        for (what, _) in self.troubles.iter().filter(|(what, _)| !troubles.iter().any(|(other, _)| other == what)) {
            eprintln!("{name}: {what} is seen again");
        }
        self.troubles = troubles;
        let closed = self.kill_switch.closed(seen.at).map(|closed| closed.to_string());
        if closed != self.closed {
            match &closed {
                Some(closed) => eprintln!("{name}: nothing is written: {closed}"),
                None => eprintln!("{name}: the kill switch is open again"),
            }
            self.closed = closed;
        }
        let topology = &production.topology;
        let proposed: Vec<VmId> = world.proposals().map(|proposal| proposal.vm).collect();
        for proposal in world.proposals().filter(|proposal| !self.proposed.contains(&proposal.vm)) {
            let (region, class) = (proposal.planned.region, proposal.planned.class);
            let what = if proposal.is_launch { "launch" } else { "drain" };
            let reason = &decision.cells[topology.cell(region, class)].reason;
            let cell = format!("{}/{}", topology.region(region).name, topology.class(class).name);
            eprintln!("{name}: would {what} {} in {cell}: {reason}; type: yes {}", proposal.vm, proposal.vm);
        }
        self.proposed = proposed;
        let count = |state: fn(VmState) -> bool| seen.vms.iter().filter(|vm| state(vm.state)).count();
        let ready = count(|state| state == VmState::Ready);
        let coming = count(VmState::is_coming);
        let draining = count(|state| state == VmState::Draining);
        let failed = count(|state| state == VmState::Failed);
        let queries: u64 = seen.demand.iter().flatten().map(|demand| demand.queries).sum();
        let unseen = seen.demand.iter().filter(|demand| demand.is_none()).count();
        let held = world.held().len();
        let line = if self.json {
            let cells: Vec<_> = decision
                .cells
                .iter()
                .map(|cell| {
                    json!({
                        "region": topology.region(cell.region).name, "class": topology.class(cell.class).name,
                        "ready": cell.ready, "coming": cell.coming, "draining": cell.draining,
                        "sessions": cell.sessions, "asked": cell.asked, "planned": cell.planned,
                        "bound_by": cell.bound_by, "reason": cell.reason,
                    })
                })
                .collect();
            let held: Vec<_> =
                world.held().iter().map(|(vm, held)| json!({"vm": vm, "held": format!("{held:?}")})).collect();
            let counts = world.counts();
            json!({
                "at": seen.at, "generation": plan.generation, "coverage": seen.coverage, "queries": queries,
                "ready": ready, "coming": coming, "draining": draining, "failed": failed,
                "orders": counts.orders, "failed_orders": counts.failed, "stopped": counts.stopped, "writes": counts.writes,
                "held": held, "cells": cells,
            })
            .to_string()
        } else {
            let mut line = format!(
                "{} plan {}: {ready} ready, {coming} coming, {draining} draining, {failed} failed; {queries} queries; coverage {:.0} %",
                seen.at,
                plan.generation,
                seen.coverage * 100.0
            );
            if unseen > 0 {
                line.push_str(&format!("; demand of {unseen} cells not seen"));
            }
            if held > 0 {
                line.push_str(&format!("; {held} held back"));
            }
            line
        };
        if !self.is_read {
            return Ok(());
        }
        print(format!("{line}\n").as_bytes())?;
        io::stdout().flush().map_err(Failure::stdout)?;
        Ok(())
    }
}
