//! An audit log that is changed, cut, and gone on with.

use std::fs::OpenOptions;
use std::io::Write as _;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn holder(pid: u32) -> Holder {
    Holder { host: "ctl-1".into(), pid, instance: "0f-0".into() }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + seconds)
}

fn entry(vm: u64) -> Entry {
    let outcome = match vm % 4 {
        0 => Outcome::Begun,
        1 => Outcome::Done { writes: vm as u32 },
        2 => Outcome::Refused { reason: "stopped before create: closed by a key".into() },
        _ => Outcome::Failed { reason: "the connection broke".into() },
    };
    Entry { order: "create".into(), target: Text::new(&format!("vm-{vm}")), why: "412 > 380 \"q/s\"".into(), outcome }
}

fn write(folder: &Path, epoch: u64, entries: u64) -> Audit {
    let mut audit = Audit::begin(folder, epoch, &holder(epoch as u32), at(epoch)).unwrap();
    for vm in 0..entries {
        audit.append(at(vm), entry(vm), Durability::Soon).unwrap();
    }
    audit
}

#[test]
fn who_when_what_and_why_stand_in_a_chain_that_holds() {
    let folder = TempDir::new().unwrap();
    let audit = write(folder.path(), 8, 3);
    let verified = verify(audit.path()).unwrap();
    assert_eq!((verified.epoch, verified.entries, &verified.head, verified.after), (8, 4, audit.head(), None));
    let text = fs::read_to_string(audit.path()).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().nth(2).unwrap()).unwrap();
    assert_eq!(line["holder"], "process 8 on ctl-1 (instance 0f)");
    assert_eq!((&line["epoch"], &line["at"]), (&8.into(), &at(1).to_string().into()));
    let entry = &line["event"]["entry"];
    assert_eq!((&entry["target"], &entry["outcome"]["done"]["writes"]), (&"vm-1".into(), &1.into()));
    let head: Head = audit.head().to_string().parse().unwrap();
    assert_eq!(head, *audit.head());
    for wrong in ["", "8", "8:1", "8:1:zz", "x:1:00", &head.to_string().to_uppercase()] {
        assert!(wrong.parse::<Head>().unwrap_err().contains("allowed"), "{wrong}");
    }
}

#[test]
fn text_is_bounded_and_cannot_forge_a_line() {
    let long = Text::new(&"é".repeat(5000)).to_string();
    assert!(long.len() <= Text::BYTES_MOST && long.ends_with('…'));
    assert_eq!(Text::from("a\n{\"n\":7}\u{1b}[2J").to_string(), "a\u{fffd}{\"n\":7}\u{fffd}[2J");
}

#[test]
fn terms_go_on_from_one_another_and_a_fenced_one_writes_down_what_it_was_refused() {
    let folder = TempDir::new().unwrap();
    let mut first = write(folder.path(), 3, 5);
    let second = write(folder.path(), 4, 2);
    first.append(at(9), entry(2), Durability::OnDisk).unwrap();
    let third = write(folder.path(), 9, 0);
    let all = verify_folder(folder.path()).unwrap();
    let told: Vec<_> = all.iter().map(|log| (log.epoch, log.entries, log.after)).collect();
    assert_eq!(told, [(3, 7, None), (4, 3, Some(3)), (9, 1, Some(4))]);
    for epoch in [4, 9] {
        let error = Audit::begin(folder.path(), epoch, &holder(1), at(0)).unwrap_err();
        assert!(matches!(error, AuditError::Superseded { now: 9, .. }), "{error}");
    }
    // The first may be put away; one in the middle may not.
    fs::remove_file(first.path()).unwrap();
    assert_eq!(verify_folder(folder.path()).unwrap().len(), 2);
    write(&folder.path().join("other"), 3, 4);
    fs::copy(folder.path().join("other/audit-3.jsonl"), folder.path().join("audit-3.jsonl")).unwrap();
    let error = verify_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains("audit-3.jsonl:6: missing; the log reached line 6 once"), "{error}");
    write(&folder.path().join("else"), 3, 7);
    fs::copy(folder.path().join("else/audit-3.jsonl"), folder.path().join("audit-3.jsonl")).unwrap();
    verify_folder(folder.path()).unwrap();
    fs::remove_file(second.path()).unwrap();
    let error = verify_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains("goes on from the log of epoch 4, which is missing"), "{error}");
    drop(third);
}

#[test]
fn a_torn_end_stays_as_it_is_and_is_bound_by_the_next_term() {
    let folder = TempDir::new().unwrap();
    let audit = write(folder.path(), 1, 3);
    let path = audit.path().to_owned();
    drop(audit);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 20]).unwrap();
    let torn = verify(&path).unwrap();
    assert_eq!((torn.entries, torn.torn.is_some()), (3, true));
    write(folder.path(), 2, 1);
    let all = verify_folder(folder.path()).unwrap();
    assert_eq!((all[0].torn.clone(), all[1].after), (torn.torn, Some(1)));
    // Whoever touches it afterwards is seen.
    for tampered in [&whole[..whole.len() - 21], &whole[..whole.len() - 19]] {
        fs::write(&path, tampered).unwrap();
        let error = verify_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("audit-1.jsonl:4: another torn end"), "{error}");
    }
}

#[test]
fn a_broken_log_is_not_gone_on_from_until_it_is_moved_away() {
    let folder = TempDir::new().unwrap();
    let path = write(folder.path(), 1, 3).path().to_owned();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("vm-1", "vm-9")).unwrap();
    let error = Audit::begin(folder.path(), 2, &holder(2), at(0)).unwrap_err();
    assert!(error.to_string().contains("audit-1.jsonl:3: does not fit its hash; "), "{error}");
    fs::rename(&path, folder.path().join("looked-at")).unwrap();
    write(folder.path(), 2, 1);
    assert_eq!(verify_folder(folder.path()).unwrap().len(), 1);
    // What a crash before the first line leaves is in nobody's way; a log without one is not what a crash leaves.
    fs::write(folder.path().join("audit-3.jsonl.new"), "{\"n\"").unwrap();
    write(folder.path(), 3, 1);
    fs::write(folder.path().join("audit-4.jsonl"), "").unwrap();
    assert!(matches!(verify_folder(folder.path()), Err(AuditError::Broken { line: 1, .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_change_of_any_byte_is_found(
        entries in 1u64..8,
        at in any::<prop::sample::Index>(),
        flip in 1u8..=255,
    ) {
        let folder = TempDir::new().unwrap();
        let audit = write(folder.path(), 1, entries);
        let mut text = fs::read(audit.path()).unwrap();
        let at = at.index(text.len());
        let line = text[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        text[at] ^= flip;
        fs::write(audit.path(), &text).unwrap();
        match verify(audit.path()) {
            Err(AuditError::Broken { line: found, .. }) => prop_assert_eq!(found, line),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
            // A last line may look as if a crash had torn it; that is said, and the end that was kept tells the rest.
            Ok(verified) => prop_assert!(line == entries + 1 && verified.torn.is_some()),
        }
        let error = verify_holding(audit.path(), audit.head()).unwrap_err();
        prop_assert!(matches!(error, AuditError::Broken { .. }), "{}", error);
    }

    #[test]
    fn a_line_removed_added_or_moved_is_found(
        entries in 2u64..8,
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        how in 0..4,
    ) {
        let folder = TempDir::new().unwrap();
        let audit = write(folder.path(), 1, entries);
        let text = fs::read_to_string(audit.path()).unwrap();
        let mut lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
        let (from, to) = (from.index(lines.len()), to.index(lines.len()));
        let is_tail = from + 1 == lines.len();
        match how {
            0 => drop(lines.remove(from)),
            1 => lines.insert(to, lines[from].clone()),
            2 if from != to => lines.swap(from, to),
            // A whole chain that was made by somebody else.
            _ => {
                let other = write(&folder.path().join("other"), 1, entries + 1);
                let text = fs::read_to_string(other.path()).unwrap().replace("process 1", "process 2");
                lines = text.lines().map(|line| format!("{line}\n")).collect();
            }
        }
        fs::write(audit.path(), lines.concat()).unwrap();
        let verified = verify(audit.path());
        if how == 0 && is_tail {
            prop_assert_eq!(verified.unwrap().entries, entries);
        } else {
            prop_assert!(matches!(verified, Err(AuditError::Broken { .. })), "{:?}", verified);
        }
        let error = verify_holding(audit.path(), audit.head()).unwrap_err();
        prop_assert!(matches!(error, AuditError::Broken { .. }), "{}", error);
    }
}

#[test]
fn cut_anywhere_the_rest_holds_and_the_end_that_was_kept_shows_it() {
    let folder = TempDir::new().unwrap();
    let audit = write(folder.path(), 1, 4);
    let whole = fs::read(audit.path()).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap();
    for cut in 0..whole.len() {
        fs::write(audit.path(), &whole[..cut]).unwrap();
        assert!(verify_holding(audit.path(), audit.head()).is_err());
        if cut > first {
            let verified = verify(audit.path()).unwrap();
            let complete = whole[..cut].iter().filter(|byte| **byte == b'\n').count() as u64;
            assert_eq!((verified.entries, verified.torn.is_some()), (complete, whole[cut - 1] != b'\n'));
        }
    }
}

#[test]
fn what_is_appended_by_another_hand_breaks_the_chain() {
    let folder = TempDir::new().unwrap();
    let audit = write(folder.path(), 1, 2);
    let text = fs::read_to_string(audit.path()).unwrap();
    let mut file = OpenOptions::new().append(true).open(audit.path()).unwrap();
    file.write_all(text.lines().next_back().unwrap().as_bytes()).unwrap();
    file.write_all(b"\n").unwrap();
    let error = verify(audit.path()).unwrap_err().to_string();
    assert!(error.contains("audit-1.jsonl:4: line 2 where 3 belongs"), "{error}");
}
