//! A lease by a clock of the test's: what holds whatever the order in which instances act, crash and pause.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const TERMS: LeaseTerms = LeaseTerms { duration: Duration::from_secs(9), renew_every: Duration::from_secs(3) };

/// A folder, and the clock of all who want its lease.
struct Bench {
    folder: TempDir,
    nanos: Arc<AtomicU64>,
}

impl Bench {
    fn new() -> Bench {
        Bench { folder: TempDir::new().unwrap(), nanos: Arc::new(AtomicU64::new(1)) }
    }

    fn instance(&self, pid: u32) -> Lease {
        let nanos = self.nanos.clone();
        let clock = Arc::new(move || Duration::from_nanos(nanos.load(Ordering::SeqCst)));
        let holder = Holder { host: "here".into(), pid, instance: format!("{pid}-0") };
        Lease::with_clock(self.folder.path(), holder, TERMS, clock).unwrap()
    }

    fn pass(&self, span: Duration) {
        self.nanos.fetch_add(span.as_nanos(), Ordering::SeqCst);
    }
}

fn take(lease: &mut Lease) -> Term {
    match lease.try_acquire().unwrap() {
        Acquired::Term(term) => term,
        Acquired::Waiting(waiting) => panic!("{waiting}"),
    }
}

fn wait(lease: &mut Lease) -> Waiting {
    match lease.try_acquire().unwrap() {
        Acquired::Term(term) => panic!("{term:?}"),
        Acquired::Waiting(waiting) => waiting,
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn one_holds_it_and_who_waits_is_told_who_and_how_long() {
    let bench = Bench::new();
    let (mut first, mut second) = (bench.instance(1), bench.instance(2));
    let term = take(&mut first);
    assert_eq!((term.epoch(), term.holder().pid, term.left()), (1, 1, TERMS.duration));
    assert_eq!(standing(bench.folder.path()).unwrap(), Some((1, first.holder().clone())));
    wait(&mut second);
    for round in 0..20 {
        bench.pass(SECOND * 2);
        let waiting = wait(&mut second);
        assert!(matches!(&waiting, Waiting::Held { holder, epoch: 1, .. } if holder.pid == 1), "{round}: {waiting:?}");
        if term.is_due() {
            term.renew().unwrap();
        }
        term.write("port up", || ()).unwrap();
    }
    let said = wait(&mut second).to_string();
    assert!(said.starts_with("process 1 on here (instance 1) holds the lease in epoch 1; no renewal for "), "{said}");
}

#[test]
fn an_ended_process_is_followed_at_once_and_a_silent_one_after_its_duration() {
    let bench = Bench::new();
    let (mut first, mut second, mut third) = (bench.instance(1), bench.instance(2), bench.instance(3));
    let term = take(&mut first);
    wait(&mut second);
    // Its last clone gone is what is left of a process that ended.
    drop(term);
    let term = take(&mut second);
    assert_eq!(term.epoch(), 2);
    // The third begins to watch late: what it has not seen does not count.
    bench.pass(SECOND * 8);
    assert!(matches!(wait(&mut third), Waiting::Held { silent: Duration::ZERO, .. }));
    bench.pass(SECOND * 8);
    wait(&mut third);
    bench.pass(SECOND);
    let next = take(&mut third);
    assert_eq!(next.epoch(), 3);
    assert!(matches!(term.enter("w"), Err(TermError::Fenced { ours: 2, now: 3 })));
    assert!(matches!(term.renew(), Err(TermError::Fenced { ours: 2, now: 3 })));
    assert!(matches!(term.release(), Err(TermError::Fenced { .. })));
    // The lock of the fenced one's process is none of the third's affair any more.
    drop(term);
    wait(&mut first);
    next.write("w", || ()).unwrap();
}

#[test]
fn a_lease_that_ran_out_is_over_even_when_nobody_took_it() {
    let bench = Bench::new();
    let mut first = bench.instance(1);
    let term = take(&mut first);
    bench.pass(TERMS.duration);
    assert_eq!(term.left(), Duration::ZERO);
    for error in [term.renew().unwrap_err(), term.enter("w").map(drop).unwrap_err(), term.release().unwrap_err()] {
        assert!(matches!(error, TermError::Lapsed { epoch: 1, late: Duration::ZERO }) && error.is_final(), "{error}");
    }
    drop(term);
    assert_eq!(take(&mut first).epoch(), 2);
}

#[test]
fn a_write_under_way_is_waited_for_and_named() {
    let bench = Bench::new();
    let (mut first, mut second) = (bench.instance(1), bench.instance(2));
    let term = take(&mut first);
    wait(&mut second);
    let (guard, beside) = (term.enter("start vm-7").unwrap(), term.enter("start vm-8").unwrap());
    drop(beside);
    bench.pass(TERMS.duration);
    assert!(matches!(wait(&mut second), Waiting::WriteUnderWay { waited: Duration::ZERO, .. }));
    bench.pass(SECOND * 30);
    let waiting = wait(&mut second);
    assert!(matches!(waiting, Waiting::WriteUnderWay { waited, .. } if waited == SECOND * 30), "{waiting:?}");
    let said = waiting.to_string();
    assert!(said.contains("waiting for 30.0 s") && said.contains("kill -9 1 on here"), "{said}");
    // What it was allowed to do it may end; nothing more.
    assert!(matches!(term.enter("start vm-9"), Err(TermError::Lapsed { .. })));
    drop(guard);
    assert_eq!(take(&mut second).epoch(), 2);
}

#[test]
fn the_gate_holds_the_right_to_write_from_one_write_to_the_next() {
    let bench = Bench::new();
    let (mut first, mut second) = (bench.instance(1), bench.instance(2));
    let term = take(&mut first);
    wait(&mut second);
    let mut gate = term.gate();
    gate.pass("start vm-7").unwrap();
    bench.pass(TERMS.duration);
    let waiting = wait(&mut second);
    let noted = format!("process {}, epoch 1: start vm-7", std::process::id());
    assert!(matches!(&waiting, Waiting::WriteUnderWay { write: Some(write), .. } if *write == noted), "{waiting:?}");
    let stopped = gate.pass("start vm-8").unwrap_err();
    assert_eq!(
        stopped.to_string(),
        "stopped before start vm-8: the lease of epoch 1 ran out 0.0 s ago without a renewal"
    );
    take(&mut second).write("w", || ()).unwrap();
}

#[test]
fn a_released_lease_is_free_at_once_and_writes_no_more() {
    let bench = Bench::new();
    let (mut first, mut second) = (bench.instance(1), bench.instance(2));
    let term = take(&mut first);
    let guard = term.enter("w").unwrap();
    assert!(matches!(term.release(), Err(TermError::Busy { .. })));
    drop(guard);
    term.release().unwrap();
    assert_eq!(standing(bench.folder.path()).unwrap(), None);
    assert!(matches!(term.enter("w"), Err(TermError::Released { epoch: 1 })));
    assert_eq!(take(&mut second).epoch(), 2);
}

#[test]
fn programs_that_are_started_do_not_keep_the_lease() {
    let bench = Bench::new();
    let (mut first, mut second) = (bench.instance(1), bench.instance(2));
    let term = take(&mut first);
    let _guard = term.enter("start a program").unwrap();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    drop((term, _guard));
    let taken = second.try_acquire();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(taken.unwrap().term().unwrap().epoch(), 2);
}

#[test]
fn damage_is_said_and_no_epoch_is_guessed() {
    let bench = Bench::new();
    let mut first = bench.instance(1);
    let term = take(&mut first);
    let path = bench.folder.path().join("lease.json");
    let most = format!("{{\"epoch\":{},\"holder\":null,\"duration\":\"9 s\"}}\n", u64::MAX);
    for text in ["", "{\"epoch\":0", "{\"epoch\":-1,\"holder\":null,\"duration\":\"9 s\"}", "\0\0\0", &most] {
        fs::write(&path, text).unwrap();
        let error = first.try_acquire().unwrap_err();
        assert!(matches!(error, LeaseError::Damaged { .. }) && error.to_string().contains("hint"), "{error}");
        assert!(term.enter("w").is_err());
    }
    fs::remove_file(&path).unwrap();
    assert!(first.try_acquire().unwrap_err().to_string().contains("it is gone, but epoch 1 was"));
    assert!(matches!(term.enter("w"), Err(TermError::Folder(_))));
    fs::write(&path, "{\"epoch\":41,\"holder\":null,\"duration\":\"15 s\"}").unwrap();
    assert_eq!(take(&mut first).epoch(), 42);
    let file = bench.folder.path().join("lease.json");
    let error = Lease::open(&file, Holder::here().unwrap(), TERMS).unwrap_err();
    assert!(error.to_string().contains("cannot make it"), "{error}");
    let wrong = LeaseTerms { duration: SECOND, renew_every: SECOND };
    let error = Lease::open(bench.folder.path(), Holder::here().unwrap(), wrong).unwrap_err();
    assert!(error.to_string().contains("three times"), "{error}");
}

#[test]
fn a_crash_before_the_first_record_is_in_nobodys_way() {
    let bench = Bench::new();
    let mut first = bench.instance(1);
    fs::write(bench.folder.path().join("held-1"), "").unwrap();
    fs::write(bench.folder.path().join("lease.json.new"), "{\"epo").unwrap();
    let term = take(&mut first);
    assert_eq!(term.epoch(), 1);
    // One before the second: its lock is there, its record is not.
    fs::write(bench.folder.path().join("held-2"), "").unwrap();
    drop(term);
    assert_eq!(take(&mut first).epoch(), 2);
}

#[test]
fn two_starts_are_never_the_same_holder() {
    let (one, two) = (Holder::here().unwrap(), Holder::here().unwrap());
    assert_eq!((&one.host, one.pid), (&two.host, std::process::id()));
    assert_ne!(one, two);
}

/// What one of three instances does next.
#[derive(Clone, Copy, Debug)]
enum Act {
    Ask,
    Renew,
    /// Checks, and holds the right to write.
    Enter,
    /// Does the write that it has the right to.
    Write,
    Leave,
    Release,
    /// Its process ends: in the middle of whatever it did.
    Crash,
    /// Time passes, in which nobody acts.
    Sleep(u64),
}

fn act() -> impl Strategy<Value = (usize, Act)> {
    let act = prop_oneof![
        6 => Just(Act::Ask),
        4 => Just(Act::Renew),
        6 => Just(Act::Enter),
        6 => Just(Act::Write),
        5 => Just(Act::Leave),
        1 => Just(Act::Release),
        1 => Just(Act::Crash),
        4 => (0u64..5).prop_map(Act::Sleep),
        1 => (5u64..30).prop_map(Act::Sleep),
    ];
    (0usize..3, act)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_the_order_epochs_never_interleave_and_nobody_is_locked_out(
        acts in prop::collection::vec(act(), 1..250),
    ) {
        let bench = Bench::new();
        let mut leases: Vec<Lease> = (0..3).map(|pid| bench.instance(pid)).collect();
        let mut terms: Vec<Option<Term>> = vec![None, None, None];
        let mut guards: Vec<Option<(u64, WriteGuard)>> = vec![None, None, None];
        let (mut log, mut begun): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
        for (who, act) in acts {
            match act {
                // Whoever has a term does not ask for another before that is over.
                Act::Ask if terms[who].is_none() => {
                    let taken = leases[who].try_acquire().unwrap().term();
                    if let Some(term) = taken {
                        prop_assert!(guards.iter().all(Option::is_none), "taken over amid a write");
                        prop_assert!(begun.last().is_none_or(|last| *last < term.epoch()));
                        begun.push(term.epoch());
                        terms[who] = Some(term);
                    }
                }
                Act::Renew => {
                    if terms[who].as_ref().is_some_and(|term| term.renew().is_err_and(|error| error.is_final())) {
                        terms[who] = None;
                    }
                }
                Act::Enter if guards[who].is_none() => {
                    if let Some(term) = &terms[who] {
                        guards[who] = term.enter("w").ok().map(|guard| (term.epoch(), guard));
                    }
                }
                Act::Write => log.extend(guards[who].as_ref().map(|(epoch, _)| *epoch)),
                Act::Leave => guards[who] = None,
                Act::Release => {
                    if terms[who].as_ref().is_some_and(|term| term.release().is_ok()) {
                        terms[who] = None;
                    }
                }
                Act::Crash => {
                    (terms[who], guards[who]) = (None, None);
                    leases[who] = bench.instance(who as u32);
                }
                Act::Sleep(seconds) => bench.pass(SECOND * seconds),
                Act::Ask | Act::Enter => {}
            }
        }
        prop_assert!(log.is_sorted(), "{:?}", log);
        // All are silent; whoever asks on has it in the end, and writes.
        guards.clear();
        let mut fresh = bench.instance(7);
        if let Acquired::Waiting(_) = fresh.try_acquire().unwrap() {
            bench.pass(TERMS.duration);
            let term = take(&mut fresh);
            prop_assert!(begun.last().is_none_or(|last| *last < term.epoch()));
            term.write("w", || ()).unwrap();
            for term in terms.iter().flatten() {
                prop_assert!(term.enter("w").is_err());
            }
        }
    }
}
