//! All that live mode runs on, and its loop.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::BufWriter;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use anyhow::{Context, anyhow};
use forebay_adapters::audit::{self, Audit, Text};
use forebay_adapters::kill_switch::KillSwitch;
use forebay_adapters::lease::Term;
use forebay_adapters::ledger::{Durability, LedgerError};
use forebay_adapters::past_terms;
use forebay_adapters::steering::rfc2136::WriterTerm;
use forebay_world::{Duration, Timestamp};

use super::attendant::{Attendant, Metrics, Shared};
use super::counter::{Counter, Slot};
use super::teller::{Teller, Told};
use super::voice::Voice;
use super::yes::{self, Yes};
use super::{Failure, Production, Wall, World, wall};
use crate::controller::{Controller, ControllerConfig, Start};
use crate::drive::drive;
use crate::journal::{Header, Journal};
use crate::live::{self, Book, BookError, GateMaker, LiveWorld, Threads};
use crate::policy::{Knowledge, Policy};
use crate::tui::alert::Severity;
use crate::watch::{Board, Clock, EventWatch, HealthWatch, Hearing, Pace as _, QueryWatch, Tell};

/// How often hypervisors, links and the name server are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What each term leaves a file of.
const KINDS: [&str; 2] = ["audit", "journal"];

/// What a term is made of.
pub(super) struct Parts<'a> {
    pub(super) production: &'a Arc<Production>,
    pub(super) config: ControllerConfig,
    pub(super) policy: Box<dyn Policy>,
    pub(super) knowledge: Knowledge,
    pub(super) term: &'a Term,
    pub(super) kill_switch: &'a KillSwitch,
}

/// A term that has begun.
pub(super) struct Stage {
    pub(super) production: Arc<Production>,
    pub(super) voice: Voice,
    pub(super) teller: Teller,
    pub(super) began: Timestamp,
    pub(super) until: Timestamp,
    world: World,
    controller: Controller,
    journal: Journal<BufWriter<File>>,
    events: EventWatch,
    shared: Shared,
    over: Arc<AtomicBool>,
    asking: Vec<thread::JoinHandle<()>>,
    hearing: Option<Hearing>,
    slot: Slot,
    yes: Sender<Yes>,
    kill_switch: KillSwitch,
}

impl Stage {
    /// Goes on from what the terms before have left, and begins to look, to listen and to answer. Nothing is ordered yet.
    pub(super) fn open(
        parts: Parts<'_>,
        pace: Wall,
        voice: Voice,
        told: Told,
        span: Option<Duration>,
    ) -> Result<Stage, Failure> {
        let Parts { production, config, policy, knowledge, term, kill_switch } = parts;
        let over = Arc::clone(&pace.over);
        let clock: Clock = Arc::new(wall);
        let other = |error: anyhow::Error| Failure::Other(error, String::new());
        let (book, torn) = Book::open(&production.state, term.epoch(), &production.topology).map_err(book_failure)?;
        if let Some(torn) = torn {
            voice.say(Severity::Warning, &torn);
        }
        let mut audit = Audit::begin(&production.state, term.epoch(), term.holder(), clock())
            .context("the audit")
            .map_err(other)?;
        discard_past(production, term.epoch(), &mut audit, clock(), &voice);
        let mut start = Start { plan: book.memory().plan.as_deref().cloned(), guard: book.memory().guard.clone() };
        if let Some(guard) = &mut start.guard {
            // A clock that once ran ahead must not forbid anything until then.
            let now = clock();
            guard.seen_at = guard.seen_at.min(now);
            guard.changed_at.iter_mut().for_each(|at| *at = (*at).min(now));
        }
        let mut controller = Controller::new(Arc::clone(&production.topology), config.clone(), policy);
        controller.go_on(start.clone());
        let mut header = Header::new(&production.topology, &config, &production.policy, None, &knowledge);
        header.start = Some(start);
        let path = production.state.join(format!("journal-{}.jsonl", term.epoch()));
        let file = File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
        let journal = Journal::begin(BufWriter::new(file), &header).map_err(Failure::from)?;

        let board = Arc::new(Board::new(production));
        let queries = QueryWatch::new(production).context("[dns.geography]").map_err(other)?;
        let hearing = hearing(production, queries.as_ref(), &clock, &voice)?;
        let asking = askers(production, &board, &clock, &over)?;
        let events = announcer(production, &clock, &over);
        let metrics = Metrics::open(production.metrics, &voice)?;
        let responder = live::responder(production).map_err(|why| {
            let hint = "is another server bound to that address, or is it another machine's?";
            Failure::Other(anyhow!(why), hint.to_owned())
        })?;
        let gates: GateMaker = {
            let (term, kill_switch) = (term.clone(), kill_switch.clone());
            Arc::new(move || kill_switch.gate().and(term.gate()))
        };
        let writer = WriterTerm { line: line(production, term).map_err(other)?, epoch: term.epoch() };
        let hands = live::hands(production, &board, &clock, &gates, responder.as_ref(), Some(&writer));
        let crew = Threads::start(production, hands, LOOK_EVERY).context("threads")?;
        let mut world = LiveWorld::new(Arc::clone(production), board, pace, crew, queries, book, Some(audit));
        let (yes, heard) = channel();
        let has_screen = matches!(told, Told::Screen(_));
        if !has_screen {
            yes::take_lines(yes.clone());
        }
        let (shared, slot) = (Shared::default(), Slot::default());
        let mut attendant = Attendant {
            production: Arc::clone(production),
            voice: voice.clone(),
            yes: heard,
            kill_switch: kill_switch.clone(),
            term: term.clone(),
            events: events.clone(),
            shared: shared.clone(),
            metrics,
            slot: has_screen.then(|| slot.clone()),
            closed: None,
            failed: Default::default(),
        };
        world.set_on_beat(Box::new(move |world| attendant.beat(world)));
        let began = clock();
        let teller = Teller {
            production: Arc::clone(production),
            events: events.clone(),
            voice: voice.clone(),
            told,
            troubles: Vec::new(),
            proposed: Vec::new(),
            failed: Default::default(),
            ticks: 0,
        };
        Ok(Stage {
            production: Arc::clone(production),
            voice,
            teller,
            began,
            until: span.map_or(Timestamp::MAX, |span| began.saturating_add(span)),
            world,
            controller,
            journal,
            events,
            shared,
            over,
            asking,
            hearing,
            slot,
            yes,
            kill_switch: kill_switch.clone(),
        })
    }

    /// The desk of whoever looks.
    pub(super) fn counter(&self) -> Counter {
        Counter {
            slot: self.slot.clone(),
            yes: self.yes.clone(),
            kill_switch: self.kill_switch.clone(),
            voice: self.voice.clone(),
            kept: self.production.state.join("kill-switch.json"),
        }
    }

    /// To the end. What is out then is waited for.
    pub(super) fn govern(self) -> Result<(), Failure> {
        let Stage {
            production,
            voice,
            mut teller,
            until,
            mut world,
            mut controller,
            journal,
            events,
            shared,
            over,
            asking,
            hearing,
            ..
        } = self;
        let journal = RefCell::new(journal);
        let mut broken: Option<Failure> = None;
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
                        voice.fail(&failure);
                        let what = "nothing is ordered any more until it is started again with room";
                        voice.say(Severity::Critical, what);
                    }
                    world.halt("what is decided cannot be written down");
                }
                shared.note_tick(&seen, &decision);
                world.set_events(events.known(seen.at));
                match shared
                    .take_broken()
                    .map_or(Ok(()), Err)
                    .and_then(|()| teller.tick(world, &seen, &plan, &decision))
                {
                    Ok(()) => {}
                    // Whoever read has gone; machines and clients have not.
                    Err(Failure::ReaderGone) => teller.told = Told::Nobody,
                    Err(failure) => {
                        broken = Some(failure);
                        return ControlFlow::Break(());
                    }
                }
                if over.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
            |_, at, error| {
                voice.say(Severity::Warning, &format!("{at}: {error}"));
                shared.note_missed();
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
}

/// Lets go what terms that are long over have left. That it cannot be is no reason not to begin.
fn discard_past(production: &Production, epoch: u64, audit: &mut Audit, now: Timestamp, voice: &Voice) {
    let since = now.saturating_sub(production.keep);
    let gone = match past_terms::discard(&production.state, &KINDS, epoch, since) {
        Ok(gone) if gone.is_empty() => return,
        Ok(gone) => gone,
        Err(error) => {
            voice.say(Severity::Warning, &format!("audits and journals that are too old stay: {error}"));
            return;
        }
    };
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let names: Vec<String> = gone.iter().map(name).collect();
    let why = format!("`keep` is {}", production.keep);
    voice.say(Severity::Notice, &format!("{} are gone: {why}", names.join(", ")));
    let outcome = audit::Outcome::Done { writes: u32::try_from(gone.len()).unwrap_or(u32::MAX) };
    let entry =
        audit::Entry { order: "discard".into(), target: Text::new(&names.join(" ")), why: Text::new(&why), outcome };
    if let Err(error) = audit.append(now, entry, Durability::Soon) {
        voice.say(Severity::Critical, &format!("audit: {error}"));
    }
}

/// Hears what name servers say of queries, and reads the logs they write.
fn hearing(
    production: &Production,
    queries: Option<&QueryWatch>,
    clock: &Clock,
    voice: &Voice,
) -> Result<Option<Hearing>, Failure> {
    let (Some(watch), Some(told)) = (queries, &production.queries) else { return Ok(None) };
    // Whoever held the lease before may listen there still: paused, it does not let go.
    let voice = voice.clone();
    let tell: Tell = Arc::new(move |text| voice.say(Severity::Warning, &text));
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

fn book_failure(error: BookError) -> Failure {
    let hint = error.hint().to_owned();
    Failure::Other(anyhow::Error::new(error).context("what the terms before have left"), hint)
}

fn ledger_failure(error: LedgerError) -> Failure {
    Failure::Other(error.into(), "free some room; what stands stays".to_owned())
}
