//! Two instances, of which the first is killed, or stopped at each point around a write.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forebay_adapters::lease::{Acquired, Holder, Lease, LeaseTerms, Term, Waiting};
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use super::child::{Process, folder, poll, say, wait_for_word};

/// Of the instances that are stopped by hand.
const TERMS: LeaseTerms = LeaseTerms {
    duration: forebay_world::Duration::from_millis(1500),
    renew_every: forebay_world::Duration::from_millis(500),
};
const DURATION: Duration = Duration::from_millis(1500);
/// Of those that fight.
const SHORT: LeaseTerms = LeaseTerms {
    duration: forebay_world::Duration::from_millis(300),
    renew_every: forebay_world::Duration::from_millis(50),
};
/// How soon a process that ended is followed.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Points around a write, in their order; and whether its lock is held there.
const POINTS: [(&str, bool); 8] = [
    ("acquired", false),
    ("looking", true),
    ("entered", true),
    ("half written", true),
    ("written", true),
    ("left", false),
    ("renewing", false),
    ("renewed", false),
];

fn boottime() -> forebay_world::Duration {
    let now = clock_gettime(ClockId::Boottime);
    forebay_world::Duration::from_nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

fn log(folder: &Path, line: &str) {
    let mut log = OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    writeln!(log, "{line}").unwrap();
}

/// The epochs in the log, in the order in which they were written.
fn logged(folder: &Path) -> Vec<u64> {
    let text = fs::read_to_string(folder.join("log")).unwrap_or_default();
    text.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

/// The process that wrote last.
fn logged_by(folder: &Path) -> Option<u32> {
    let text = fs::read_to_string(folder.join("log")).ok()?;
    text.lines().next_back()?.split(' ').nth(1)?.parse().ok()
}

fn acquire(lease: &mut Lease) -> Option<Term> {
    lease.try_acquire().unwrap().term()
}

/// Takes the lease, does one write, renews, and tries another; waits at one point until it is told to go on.
pub(crate) fn holder(folder: &Path, at: &str) {
    let stop_at = at.to_owned();
    let point = move |point: &str| {
        say(&format!("at {point}"));
        if point == stop_at {
            wait_for_word();
        }
    };
    // The clock is asked amid the check of a write, under its lock; and as the first thing of a renewal.
    let hook = Arc::new(AtomicUsize::new(0));
    let (armed, at_point) = (hook.clone(), point.clone());
    let clock = move || {
        match armed.swap(0, Ordering::SeqCst) {
            1 => at_point("looking"),
            2 => at_point("renewing"),
            _ => {}
        }
        boottime()
    };
    let mut lease = Lease::with_clock(folder, Holder::here().unwrap(), TERMS, Arc::new(clock)).unwrap();
    let (term, _) = poll(|| acquire(&mut lease));
    point("acquired");
    hook.store(1, Ordering::SeqCst);
    let first = term.write("first", || {
        point("entered");
        log(folder, &format!("{} first, one half", term.epoch()));
        point("half written");
        log(folder, &format!("{} first, other half", term.epoch()));
        point("written");
    });
    say(&format!("first {}", first.map_or_else(|error| error.to_string(), |()| "done".to_owned())));
    point("left");
    hook.store(2, Ordering::SeqCst);
    let renewed = term.renew();
    say(&format!("renewal {}", renewed.map_or_else(|error| error.to_string(), |()| "done".to_owned())));
    point("renewed");
    let mut gate = term.gate();
    let second = gate.pass("second").map(|()| log(folder, &format!("{} second", term.epoch())));
    drop(gate);
    say(&format!("second {}", second.map_or_else(|error| error.to_string(), |()| "done".to_owned())));
    point("over");
}

/// Fights for the lease for ever, and writes in two halves whenever it has it.
pub(crate) fn contender(folder: &Path) {
    let mut lease = Lease::open(folder, Holder::here().unwrap(), SHORT).unwrap();
    say("there");
    loop {
        let Some(term) = acquire(&mut lease) else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        let halves = |term: &Term| {
            log(folder, &format!("{} {} one half", term.epoch(), std::process::id()));
            thread::sleep(Duration::from_millis(2));
            log(folder, &format!("{} {} other half", term.epoch(), std::process::id()));
        };
        loop {
            if term.is_due() && term.renew().is_err_and(|error| error.is_final()) {
                break;
            }
            if term.write("halves", || halves(&term)).is_err_and(|error| error.is_final()) {
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn second(folder: &Path) -> Lease {
    Lease::open(folder, Holder::here().unwrap(), TERMS).unwrap()
}

fn writes(term: &Term, folder: &Path) {
    for _ in 0..3 {
        term.renew().unwrap();
        term.write("ours", || log(folder, &format!("{} ours", term.epoch()))).unwrap();
    }
}

/// The first is stopped at a point, the second takes over, the first wakes.
fn stop_at(point: &str, is_writing: bool) {
    let folder = folder();
    let mut first = Process::start("holder", folder.path(), point);
    let mut lease = second(folder.path());
    let mut words = first.wait_for(&format!("at {point}"));
    assert!(acquire(&mut lease).is_none(), "{point}: it is held");
    first.stop();
    // It will not read that before it is let go on.
    first.go_on();
    let stopped = Instant::now();
    let term = if is_writing {
        // It may be anywhere in its write: nobody writes beside it, and who waits is told for whom, and how long.
        let mut told = None;
        while stopped.elapsed() < DURATION + Duration::from_secs(1) {
            match lease.try_acquire().unwrap() {
                Acquired::Term(term) => panic!("{point}: {term:?} beside a write"),
                Acquired::Waiting(waiting) => told = Some(waiting),
            }
            thread::sleep(Duration::from_millis(5));
        }
        let told = told.unwrap();
        let Waiting::WriteUnderWay { holder: Some(holder), waited, .. } = &told else { panic!("{point}: {told}") };
        assert_eq!(holder.pid, first.pid());
        assert!(!waited.is_zero() && told.to_string().contains(&format!("kill -9 {}", first.pid())), "{told}");
        if point != "looking" {
            assert!(told.to_string().contains(&format!("process {}, epoch 1: first", first.pid())), "{told}");
        }
        first.signal(Signal::CONT);
        let (term, took) = poll(|| acquire(&mut lease));
        assert!(took < AT_ONCE, "{point}: {took:?} after it woke");
        term
    } else {
        let (term, _) = poll(|| acquire(&mut lease));
        let took = stopped.elapsed();
        assert!(took < DURATION + AT_ONCE, "{point}: taken over after {took:?}");
        assert!(took > DURATION / 2, "{point}: taken over after {took:?} already");
        term
    };
    assert_eq!(term.epoch(), 2);
    writes(&term, folder.path());
    first.signal(Signal::CONT);
    while let Some(word) = first.next_word() {
        words.push(word);
    }
    let said: BTreeMap<&str, &str> = words.iter().map(|word| word.split_once(' ').unwrap()).collect();
    writes(&term, folder.path());
    let index = POINTS.iter().position(|(name, _)| *name == point).unwrap();
    // What had passed its check was done before the second began; all else was refused.
    let first_done = index >= 2;
    assert_eq!(said["first"] == "done", first_done, "{point}: {said:?}");
    assert_eq!(said["renewal"] == "done", point == "renewed", "{point}: {said:?}");
    assert!(said["second"].starts_with("stopped before second: "), "{point}: {said:?}");
    // Or whoever waits was just looking.
    let refused =
        ["fenced: this is epoch 1, and epoch 2 has begun", "the lease of epoch 1 ran out ", "locked: another"];
    assert!(refused.iter().any(|why| said["second"].contains(why)), "{point}: {said:?}");
    let mut expected = vec![1; if first_done { 2 } else { 0 }];
    expected.extend([2; 6]);
    assert_eq!(logged(folder.path()), expected, "{point}");
}

#[test]
fn stopped_at_any_point_around_a_write_it_writes_nothing_once_another_has_taken_over() {
    thread::scope(|scope| {
        for (point, is_writing) in POINTS {
            scope.spawn(move || stop_at(point, is_writing));
        }
    });
}

#[test]
fn killed_at_any_point_it_is_followed_at_once() {
    thread::scope(|scope| {
        for (point, _) in POINTS {
            scope.spawn(move || {
                let folder = folder();
                let first = Process::start("holder", folder.path(), point);
                let mut lease = second(folder.path());
                first.wait_for(&format!("at {point}"));
                assert!(acquire(&mut lease).is_none(), "{point}: it is held");
                first.kill();
                let (term, took) = poll(|| acquire(&mut lease));
                assert!(took < AT_ONCE, "{point}: {took:?}");
                writes(&term, folder.path());
                assert!(logged(folder.path()).is_sorted());
            });
        }
    });
}

#[test]
fn killed_while_stopped_amid_a_write_it_is_followed_at_once() {
    let folder = folder();
    let first = Process::start("holder", folder.path(), "half written");
    let mut lease = second(folder.path());
    first.wait_for("at half written");
    first.stop();
    let (_, waited) = poll(|| match lease.try_acquire().unwrap() {
        Acquired::Waiting(Waiting::WriteUnderWay { .. }) => Some(()),
        Acquired::Waiting(Waiting::Held { .. }) => None,
        Acquired::Term(term) => panic!("{term:?} beside a write"),
    });
    assert!(waited > DURATION / 2, "{waited:?}");
    first.kill();
    let (term, took) = poll(|| acquire(&mut lease));
    assert!(took < AT_ONCE, "{took:?}");
    writes(&term, folder.path());
    assert_eq!(logged(folder.path()), [1, 2, 2, 2]);
}

/// Numbers that look like chance and are the same each time (Lehmer's generator of Park and Miller, 1988).
struct Luck(u64);

impl Luck {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0 * 16_807 % 2_147_483_647;
        self.0 % most
    }
}

#[test]
fn however_three_are_stopped_and_killed_their_writes_never_interleave() {
    let folder = folder();
    let start = || {
        let process = Process::start("contender", folder.path(), "");
        process.wait_for("there");
        process
    };
    let mut all: Vec<Process> = (0..3).map(|_| start()).collect();
    let (began, mut luck) = (Instant::now(), Luck(20_260_614));
    while began.elapsed() < Duration::from_secs(8) {
        // Whoever writes, as a rule: stopping one that waits changes nothing.
        let last = logged_by(folder.path());
        let one = match all.iter().position(|process| Some(process.pid()) == last) {
            Some(writer) if luck.below(4) > 0 => writer,
            _ => luck.below(3) as usize,
        };
        match luck.below(4) {
            0 => {
                all.swap_remove(one).kill();
                all.push(start());
            }
            _ => {
                all[one].stop();
                thread::sleep(Duration::from_millis(luck.below(600)));
                all[one].signal(Signal::CONT);
            }
        }
        thread::sleep(Duration::from_millis(luck.below(150)));
    }
    all.into_iter().for_each(Process::kill);
    let text = fs::read_to_string(folder.path().join("log")).unwrap();
    let lines: Vec<(u64, &str, &str)> = text
        .lines()
        .map(|line| {
            let mut parts = line.splitn(3, ' ');
            (parts.next().unwrap().parse().unwrap(), parts.next().unwrap(), parts.next().unwrap())
        })
        .collect();
    let mut writers: BTreeMap<u64, &str> = BTreeMap::new();
    for (before, line) in lines.iter().zip(&lines[1..]) {
        assert!(before.0 <= line.0, "{before:?}, {line:?}");
        // A half is followed by the other, or by another epoch where it was killed between them.
        assert!(before.0 < line.0 || (before.1 == line.1 && before.2 != line.2), "{before:?}, {line:?}");
        assert!(before.0 == line.0 || line.2 == "one half", "{before:?}, {line:?}");
    }
    for (epoch, pid, _) in &lines {
        assert_eq!(writers.entry(*epoch).or_insert(pid), pid, "epoch {epoch}");
    }
    eprintln!("{} lines of {} epochs", lines.len(), writers.len());
    assert!(writers.len() >= 5 && lines.len() > 100, "{} lines of {} epochs", lines.len(), writers.len());
}
