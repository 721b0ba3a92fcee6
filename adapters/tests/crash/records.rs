//! A writer of a ledger and of an audit log that is killed, again and again.

use std::path::Path;

use forebay_adapters::audit::{self, Audit, Entry, Outcome, Text};
use forebay_adapters::lease::{Holder, Lease, LeaseTerms};
use forebay_adapters::ledger::{self, Durability, Ledger, Past};
use forebay_world::Timestamp;

use super::child::{Process, folder, poll, say};

/// The number that a ledger has reached: a snapshot is the last one, each change one more.
fn reached(past: Option<&Past<u64>>) -> u64 {
    let Some(past) = past else { return 0 };
    let mut last = past.snapshot.first().copied().unwrap_or(0);
    for change in &past.changes {
        assert_eq!(*change, last + 1, "{past:?}");
        last = *change;
    }
    last
}

/// Counts on from where the term before left off, and says each number once it is on the disk.
pub(crate) fn writer(folder: &Path) {
    let terms = LeaseTerms::default();
    let mut lease = Lease::open(folder, Holder::here().unwrap(), terms).unwrap();
    let (term, _) = poll(|| lease.try_acquire().unwrap().term());
    let past = ledger::read(folder).unwrap();
    let mut last = reached(past.as_ref());
    let mut ledger = Ledger::begin(folder, term.epoch(), &[last]).unwrap();
    let at = Timestamp::from_secs(term.epoch());
    let mut audit = Audit::begin(folder, term.epoch(), term.holder(), at).unwrap();
    loop {
        last += 1;
        let entry = Entry {
            order: "count".into(),
            target: Text::new(&last),
            why: "x".repeat(300).as_str().into(),
            outcome: Outcome::Begun,
        };
        audit.append(at, entry, Durability::Soon).unwrap();
        ledger.append(&last, Durability::OnDisk).unwrap();
        if ledger.changes() == 40 {
            ledger.compact(&[last]).unwrap();
        }
        say(&format!("{last} {}", audit.head()));
    }
}

#[test]
fn killed_at_any_time_what_counted_as_written_is_there_and_the_chain_holds() {
    let folder = folder();
    let mut last = 0;
    for round in 0..12 {
        let process = Process::start("writer", folder.path(), "");
        let mut said = (0, String::new());
        // Another place each time: amid appends, and around compactions.
        for _ in 0..7 + 23 * round {
            let word = process.next_word().expect("it counts on");
            let (number, head) = word.split_once(' ').unwrap();
            let number = number.parse().unwrap();
            assert!(number > last, "{number} after {last}");
            (last, said) = (number, (number, head.to_owned()));
        }
        process.kill();
        let past: Past<u64> = ledger::read(folder.path()).unwrap().unwrap();
        let there = reached(Some(&past));
        assert!(there >= said.0, "round {round}: {} was on the disk, and {there} is there", said.0);
        last = there;
        let logs = audit::verify_folder(folder.path()).unwrap();
        assert_eq!(logs.len(), round + 1);
        let newest = logs.last().unwrap();
        assert_eq!(newest.epoch, past.epoch);
        audit::verify_holding(&newest.path, &said.1.parse().unwrap()).unwrap();
    }
}
