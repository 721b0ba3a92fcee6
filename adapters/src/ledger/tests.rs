//! A ledger that is cut, changed, fenced and out of room.

use std::collections::BTreeMap;
use std::process::Command;

use proptest::prelude::*;
use serde::Deserialize;
use tempfile::TempDir;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Note {
    Intent { vm: u32, what: String },
    Done { vm: u32 },
}

fn note() -> impl Strategy<Value = Note> {
    prop_oneof![
        (any::<u32>(), ".{0,40}").prop_map(|(vm, what)| Note::Intent { vm, what }),
        any::<u32>().prop_map(|vm| Note::Done { vm }),
    ]
}

fn done(vm: u32) -> Note {
    Note::Done { vm }
}

fn open(folder: &TempDir) -> Past<Note> {
    read(folder.path()).unwrap().unwrap()
}

#[test]
fn a_term_begins_with_what_the_last_one_left() {
    let folder = TempDir::new().unwrap();
    assert_eq!(read::<Note>(folder.path()).unwrap(), None);
    assert_eq!(read::<Note>(&folder.path().join("nowhere")).unwrap(), None);
    let mut first = Ledger::begin(folder.path(), 3, &[]).unwrap();
    first.append(&done(1), Durability::OnDisk).unwrap();
    first.append(&done(2), Durability::Soon).unwrap();
    first.sync().unwrap();
    let past = open(&folder);
    assert_eq!((past.epoch, &past.snapshot[..], &past.changes[..]), (3, &[][..], &[done(1), done(2)][..]));

    let mut second = Ledger::begin(folder.path(), 9, &past.changes).unwrap();
    second.append(&done(3), Durability::OnDisk).unwrap();
    // The fenced one wakes, and goes on as if nothing were.
    first.append(&done(4), Durability::OnDisk).unwrap();
    first.compact(&[done(5)]).unwrap();
    first.append(&done(6), Durability::OnDisk).unwrap();
    let past = open(&folder);
    assert_eq!((past.epoch, past.snapshot, past.changes), (9, vec![done(1), done(2)], vec![done(3)]));
    for epoch in [8, 9] {
        let error = Ledger::<Note>::begin(folder.path(), epoch, &[]).unwrap_err();
        assert!(matches!(error, LedgerError::Superseded { now: 9, .. }), "{error}");
    }
    assert_eq!((second.discard_past(0).unwrap(), segments(folder.path()).unwrap().len()), (1, 1));
}

#[test]
fn compaction_keeps_what_it_is_given_and_takes_no_more_room() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Ledger::begin(folder.path(), 1, &[]).unwrap();
    for vm in 0..1000 {
        ledger.append(&done(vm), Durability::Soon).unwrap();
    }
    let (long, changes) = (ledger.bytes(), ledger.changes());
    assert_eq!((changes, fs::metadata(ledger.path()).unwrap().len()), (1000, long));
    ledger.compact(&[done(7)]).unwrap();
    ledger.append(&done(8), Durability::OnDisk).unwrap();
    assert_eq!((ledger.changes(), ledger.epoch()), (1, 1));
    assert!(ledger.bytes() < long / 100 && fs::metadata(ledger.path()).unwrap().len() == ledger.bytes());
    let past = open(&folder);
    assert_eq!((past.snapshot, past.changes), (vec![done(7)], vec![done(8)]));
    // What a crash amid compaction leaves is no segment, and is in nobody's way.
    fs::write(folder.path().join("ledger-1.jsonl.new"), "{\"n\":0,").unwrap();
    assert_eq!(open(&folder).changes, [done(8)]);
    ledger.compact(&[]).unwrap();
    Ledger::<Note>::begin(folder.path(), 2, &[]).unwrap();
}

/// The records, and the length of the file after each of them.
fn written(folder: &TempDir, snapshot: &[Note], changes: &[Note]) -> Vec<u64> {
    let mut ledger = Ledger::begin(folder.path(), 5, snapshot).unwrap();
    let mut ends = vec![ledger.bytes()];
    for change in changes {
        ledger.append(change, Durability::Soon).unwrap();
        ends.push(ledger.bytes());
    }
    ends
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn cut_anywhere_what_is_read_is_what_was_written_whole_before(
        snapshot in prop::collection::vec(note(), 0..4),
        changes in prop::collection::vec(note(), 0..6),
    ) {
        let folder = TempDir::new().unwrap();
        let ends = written(&folder, &snapshot, &changes);
        let path = folder.path().join("ledger-5.jsonl");
        let whole = fs::read(&path).unwrap();
        prop_assert_eq!(whole.len() as u64, *ends.last().unwrap());
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            // The snapshot was on the disk before the file had its name: a crash cannot cut it.
            if (cut as u64) < ends[0] {
                prop_assert!(matches!(read::<Note>(folder.path()), Err(LedgerError::Damaged { .. })), "cut {}", cut);
                continue;
            }
            let past = open(&folder);
            let complete = ends.iter().filter(|end| **end <= cut as u64).count() - 1;
            prop_assert_eq!(&past.snapshot, &snapshot);
            prop_assert_eq!(&past.changes[..], &changes[..complete]);
            let rest = cut as u64 - ends[complete];
            let torn = (rest > 0).then(|| Torn { line: (1 + snapshot.len() + complete + 1) as u64, bytes: rest });
            prop_assert_eq!(past.torn, torn);
        }
    }

    #[test]
    fn a_changed_byte_is_never_read_as_something_else(
        changes in prop::collection::vec(note(), 1..5),
        at in any::<prop::sample::Index>(),
        flip in 1u8..=255,
    ) {
        let folder = TempDir::new().unwrap();
        written(&folder, &[done(0)], &changes);
        let path = folder.path().join("ledger-5.jsonl");
        let mut text = fs::read(&path).unwrap();
        let at = at.index(text.len());
        text[at] ^= flip;
        fs::write(&path, &text).unwrap();
        match read::<Note>(folder.path()) {
            Err(LedgerError::Damaged { line, .. }) => {
                let count = text[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
                prop_assert!(line == count || line == count + 1, "{line}, changed in {count}");
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
            // Only the last line can pass for torn; blanks between tokens say nothing.
            Ok(past) => {
                let past = past.unwrap();
                prop_assert!(past.changes == changes || past.torn.is_some());
                prop_assert!(changes.starts_with(&past.changes) && past.changes.len() + 1 >= changes.len());
            }
        }
    }
}

#[test]
fn a_line_that_was_taken_away_doubled_or_moved_is_said_with_its_place() {
    let folder = TempDir::new().unwrap();
    written(&folder, &[done(0)], &[done(1), done(2), done(3)]);
    let path = folder.path().join("ledger-5.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let other = folder.path().join("other");
    Ledger::begin(&other, 6, &[done(0)]).unwrap();
    let theirs = fs::read_to_string(other.join("ledger-6.jsonl")).unwrap();
    let theirs = theirs.lines().nth(1).unwrap();
    for (order, line, said) in [
        (vec![lines[0], lines[1], lines[3], lines[4]], 3, "record 3 where 2 belongs"),
        (vec![lines[0], lines[1], lines[1], lines[2]], 3, "record 1 where 2 belongs"),
        (vec![lines[0], lines[2], lines[1], lines[3]], 2, "record 2 where 1 belongs"),
        (vec![lines[0], theirs, lines[2]], 2, "does not fit its checksum"),
        (vec![lines[0], "", lines[1]], 2, "no record"),
        (vec![lines[0]], 1, "ends after 0 of 1 records of its snapshot"),
        (vec![], 1, "no first line"),
    ] {
        let text: String = order.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&path, text).unwrap();
        let error = read::<Note>(folder.path()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(said) && text.contains("hint: "), "{text}");
        assert!(text.starts_with(&format!("{}:{line}: ", path.display())), "{text}");
    }
    // Blocks that were never filled, where the file's length was.
    fs::write(&path, [text.as_bytes(), &[0; 300], b"\n"].concat()).unwrap();
    assert_eq!(open(&folder).torn, Some(Torn { line: 6, bytes: 301 }));
    // A record of another program is not damage, but not ours to guess at either.
    let error = read::<BTreeMap<String, u8>>(folder.path()).unwrap_err().to_string();
    assert!(error.contains("the version of the program"), "{error}");
}

/// A small disk of its own, gone when this is.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(kilobytes: u32) -> Option<SmallDisk> {
        let folder = TempDir::with_prefix(format!("forebay-ledger-{}-", std::process::id())).unwrap();
        let options = format!("size={kilobytes}k");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path());
        mount.output().is_ok_and(|output| output.status.success()).then(|| SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_an_error_and_what_was_written_can_be_read() {
    let Some(disk) = SmallDisk::mount(64) else {
        eprintln!("skipped: a small disk takes root and tmpfs");
        return;
    };
    let folder = disk.0.path();
    let others = folder.join("others");
    fs::write(&others, [7; 16 * 1024]).unwrap();
    let mut ledger = Ledger::begin(folder, 1, &[]).unwrap();
    let long = Note::Intent { vm: 1, what: "x".repeat(1000) };
    let mut whole = 0;
    let error = loop {
        match ledger.append(&long, Durability::OnDisk) {
            Ok(()) => whole += 1,
            Err(error) => break error,
        }
        assert!(whole < 100, "64 kB hold no hundred of them");
    };
    assert!(matches!(&error, LedgerError::Unwritable { source, .. } if source.kind() == io::ErrorKind::StorageFull));
    assert!(error.to_string().contains("hint: make room"), "{error}");
    // It stays an error, and stays readable to the last whole line.
    assert!(ledger.append(&long, Durability::OnDisk).is_err() && ledger.compact(&vec![long.clone(); 50]).is_err());
    let past: Past<Note> = read(folder).unwrap().unwrap();
    assert_eq!((past.changes.len(), past.torn), (whole, None));
    // Once there is room all goes on.
    fs::remove_file(&others).unwrap();
    ledger.append(&done(2), Durability::OnDisk).unwrap();
    let past: Past<Note> = read(folder).unwrap().unwrap();
    assert_eq!((past.changes.len(), past.changes.last()), (whole + 1, Some(&done(2))));
    ledger.compact(&[done(1)]).unwrap();
    ledger.append(&long, Durability::OnDisk).unwrap();
    let past: Past<Note> = read(folder).unwrap().unwrap();
    assert_eq!((past.snapshot, past.changes), (vec![done(1)], vec![long]));
}
