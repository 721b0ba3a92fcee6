//! `forebay live`: production, acted on.

mod attendant;
mod counter;
mod stage;
mod teller;
mod voice;
mod yes;

use std::fs;
use std::io::{self, IsTerminal as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration as Wait;

use anyhow::{Context, anyhow};
use forebay_adapters::kill_switch::KillSwitch;
use forebay_adapters::lease::{Acquired, Holder, Lease, Term};
use forebay_world::{Duration, Timestamp};

use super::arguments::LiveOptions;
use super::{Answer, Failure, interrupt, watch};
use crate::live::{LiveWorld, Release, Threads};
use crate::policy;
use crate::production::{Known, Mandate, Production};
use crate::tui::alert::Severity;
use crate::tui::{self, Feed, Follower};
use crate::watch::Pace;
use stage::{Parts, Stage};
use teller::Told;
use voice::Voice;

/// Production, as it is acted on from here.
type World = LiveWorld<Wall, Threads>;

pub(super) fn run(options: &LiveOptions) -> Result<Answer, Failure> {
    let production = Arc::new(Production::load(&options.file)?);
    let voice = Voice::of(&production.name);
    for remark in &production.remarks {
        voice.write(remark);
    }
    if !production.may_write() {
        return Err(Failure::Other(
            anyhow!("{}: nothing may be written in any region and class", options.file.display()),
            "`mode` or `cells` of [live] must say advise or live somewhere; to look only, there is `forebay shadow`"
                .to_owned(),
        ));
    }
    let Known { knowledge, remarks } = production.known(wall())?;
    for remark in &remarks {
        voice.write(remark);
    }
    let config = Release::confine(&production.mandates, &production.topology, &production.controller);
    let policy = policy::build(&production.policy, &config, &production.topology, &knowledge)?;
    let is_shown = !options.headless && !options.json && io::stdin().is_terminal() && io::stdout().is_terminal();
    // Whatever becomes of the terminal, orders that are out are waited for, and the lease is given back.
    let settled = Arc::new(AtomicBool::new(false));
    let over = if is_shown {
        interrupt::requested_after(Arc::clone(&settled), Wait::from_secs(2))
    } else {
        interrupt::requested()
    };
    let kill_switch = kill_switch(&production)?;
    let Some(term) = acquire(&production, &voice, &over)? else { return Ok(Answer::Interrupted) };
    voice.write(&format!("writes, in epoch {}", term.epoch()));
    let alive = Arc::new(AtomicU64::new(wall().as_nanos()));
    let keeper = keep(&term, &voice, &alive, &over);
    let pace = Wall { over: Arc::clone(&over), alive };
    let told = match (is_shown, options.json) {
        (true, _) => Told::Screen(Feed::default()),
        (false, true) => Told::Json,
        (false, false) => Told::Line,
    };
    let parts = Parts { production: &production, config, policy, knowledge, term: &term, kill_switch: &kill_switch };
    let stage = Stage::open(parts, pace, voice, told, options.span);
    let result = stage.and_then(|stage| if is_shown { show(stage, options, &over, &settled) } else { stage.govern() });
    over.store(true, Ordering::SeqCst);
    let lost = keeper.join().unwrap_or_else(|_| Some("the lease's keeper has panicked".to_owned()));
    let answer = match (result, lost) {
        (Err(failure), _) => Err(failure),
        (Ok(()), Some(why)) => Err(Failure::Other(
            anyhow!("{}: the lease is lost: {why}", production.name),
            "another instance may have taken over; start again to wait for it".to_owned(),
        )),
        (Ok(()), None) => {
            let _ = term.release();
            Ok(Answer::Yes)
        }
    };
    settled.store(true, Ordering::SeqCst);
    answer
}

/// The terminal UI, until its reader leaves or it is over; then orders that are out are waited for.
fn show(stage: Stage, options: &LiveOptions, over: &Arc<AtomicBool>, settled: &Arc<AtomicBool>) -> Result<(), Failure> {
    let (production, voice) = (Arc::clone(&stage.production), stage.voice.clone());
    let is_live = production.mandates.contains(&Mandate::Live);
    let start = stage.began;
    let (span, looks) = ((start, stage.until), (options.theme, options.ascii));
    let mode = if is_live { "LIVE" } else { "ADVISE" };
    let mut shown = watch::followed(&production, span, mode, looks, Arc::clone(over));
    shown.scene.is_operated = true;
    shown.desk = Some(Box::new(stage.counter()));
    let Told::Screen(feed) = &stage.teller.told else { unreachable!("who has a screen is told there") };
    let feed = feed.clone();
    let mut first = Some(Follower::new(&feed, start));
    voice.set_screen(true);
    let ended = EndOnDrop(Arc::clone(over), Arc::clone(settled));
    let thread = thread::Builder::new().name("live".to_owned()).spawn(move || {
        let _ended = ended;
        stage.govern()
    });
    let thread = thread.context("no thread can be started")?;
    let make = move |_: &str| {
        let follower = first.take().ok_or_else(|| "what is followed has one policy only".to_owned())?;
        Ok(Box::new(follower) as Box<dyn tui::Engine>)
    };
    // Whatever the screen does, what is out is waited for.
    let seen = catch_unwind(AssertUnwindSafe(|| tui::run(shown, make)));
    over.store(true, Ordering::SeqCst);
    voice.set_screen(false);
    voice.write("ends; orders that are out are waited for, and machines stay as they are");
    let result = thread.join().map_err(|_| anyhow!("live mode has failed; what it said is above"))?;
    result?;
    let seen = seen.map_err(|_| anyhow!("the terminal UI has failed; what it said is above"))?;
    seen.map_err(|error| Failure::Other(error.into(), "use --headless for one line a tick".to_owned()))
}

/// Ends all when it is dropped, also by a panic; and says that nothing is out any more.
struct EndOnDrop(Arc<AtomicBool>, Arc<AtomicBool>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        self.1.store(true, Ordering::SeqCst);
    }
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
fn acquire(production: &Production, voice: &Voice, over: &AtomicBool) -> Result<Option<Term>, Failure> {
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
                        voice.write(&format!("waits: {now}"));
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
    voice: &Voice,
    alive: &Arc<AtomicU64>,
    over: &Arc<AtomicBool>,
) -> thread::JoinHandle<Option<String>> {
    let (term, over, alive, voice) = (term.clone(), Arc::clone(over), Arc::clone(alive), voice.clone());
    thread::spawn(move || {
        while !over.load(Ordering::SeqCst) {
            let silent = wall().since(Timestamp::from_nanos(alive.load(Ordering::SeqCst)));
            if silent < HANGS_AFTER
                && term.is_due()
                && let Err(error) = term.renew()
                && error.is_final()
            {
                voice.say(Severity::Critical, &error.to_string());
                over.store(true, Ordering::SeqCst);
                return Some(error.to_string());
            }
            thread::sleep(Wait::from_millis(100));
        }
        None
    })
}

/// A loop that has not rested for so long hangs.
const HANGS_AFTER: Duration = Duration::from_mins(2);

fn wall() -> Timestamp {
    super::now().unwrap_or_default()
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
