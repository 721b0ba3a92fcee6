//! Files of terms that are over: of each kind one a [term](crate::lease), `audit-8.jsonl`, `journal-8.jsonl`. They go when
//! they are old enough; never those of the present term, or of the last one before it.
//!
//! Oldest first, and only as far as all are old enough: what is left is the end of the chain of
//! [audits](crate::audit), which still holds, and a crash in between leaves no gap.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use forebay_world::Timestamp;

use crate::line_file::sync_folder;

/// Removes what terms before `present` left in `folder`, of these kinds, as far as nobody has written to it since `since`.
/// Says what went, the oldest first.
///
/// # Errors
/// When the folder cannot be read, or a file not be removed; those before it have gone.
pub fn discard(folder: &Path, kinds: &[&str], present: u64, since: Timestamp) -> io::Result<Vec<PathBuf>> {
    let mut terms: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let epoch = path.file_name().and_then(|name| epoch_of(name.to_str()?, kinds));
        if let Some(epoch) = epoch.filter(|epoch| *epoch < present) {
            terms.entry(epoch).or_default().push(path);
        }
    }
    // What is gone on from, and what one wants to look at after a crash.
    terms.pop_last();
    let mut gone = Vec::new();
    for mut files in terms.into_values() {
        files.sort();
        for path in &files {
            if written_at(path)? >= since {
                return Ok(gone);
            }
        }
        for path in files {
            fs::remove_file(&path)?;
            gone.push(path);
        }
        sync_folder(folder)?;
    }
    Ok(gone)
}

fn epoch_of(name: &str, kinds: &[&str]) -> Option<u64> {
    let of_kind = |kind: &&str| name.strip_prefix(*kind)?.strip_prefix('-')?.strip_suffix(".jsonl")?.parse().ok();
    kinds.iter().find_map(of_kind)
}

/// When a file was last written to. One that says a time before 1970 is as old as can be.
fn written_at(path: &Path) -> io::Result<Timestamp> {
    let at = fs::symlink_metadata(path)?.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(Timestamp::from_nanos(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration as Wait, UNIX_EPOCH};

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::audit::{Audit, Entry, Outcome, verify_folder};
    use crate::lease::Holder;
    use crate::line_file::Durability;

    const DAY: u64 = 24 * 3600;

    /// An audit and a journal of each epoch, last written to on the given day.
    fn folder(terms: &[(u64, u64)]) -> TempDir {
        let folder = TempDir::new().unwrap();
        let holder = Holder { host: "ctl-1".into(), pid: 7, instance: "0f-0".into() };
        for (epoch, _) in terms {
            let mut audit = Audit::begin(folder.path(), *epoch, &holder, Timestamp::EPOCH).unwrap();
            let entry =
                Entry { order: "create".into(), target: "vm-1".into(), why: "".into(), outcome: Outcome::Begun };
            audit.append(Timestamp::EPOCH, entry, Durability::Soon).unwrap();
            fs::write(folder.path().join(format!("journal-{epoch}.jsonl")), "{}\n").unwrap();
        }
        for (epoch, day) in terms {
            for kind in ["audit", "journal"] {
                let file =
                    File::options().append(true).open(folder.path().join(format!("{kind}-{epoch}.jsonl"))).unwrap();
                file.set_modified(UNIX_EPOCH + Wait::from_secs(day * DAY)).unwrap();
            }
        }
        folder
    }

    fn left(folder: &Path) -> Vec<u64> {
        let epochs = |kind: &str| {
            let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            let mut epochs: Vec<u64> = names.filter_map(|name| epoch_of(name.to_str()?, &[kind])).collect();
            epochs.sort_unstable();
            epochs
        };
        let (audits, journals) = (epochs("audit"), epochs("journal"));
        assert_eq!(audits, journals);
        audits
    }

    #[test]
    fn the_oldest_go_and_the_chain_of_what_is_left_holds() {
        let folder = folder(&[(1, 1), (2, 2), (5, 3), (6, 10), (7, 11)]);
        fs::write(folder.path().join("ledger-1.jsonl"), "").unwrap();
        fs::write(folder.path().join("audit-1.jsonl.old"), "").unwrap();
        let since = Timestamp::from_secs(5 * DAY);
        let gone = discard(folder.path(), &["audit", "journal"], 7, since).unwrap();
        let names: Vec<_> = gone.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        assert_eq!(names[..3], ["audit-1.jsonl", "journal-1.jsonl", "audit-2.jsonl"]);
        assert_eq!(left(folder.path()), [6, 7]);
        assert!(folder.path().join("ledger-1.jsonl").exists() && folder.path().join("audit-1.jsonl.old").exists());
        assert_eq!(verify_folder(folder.path()).unwrap().len(), 2);
        // The present one and the last before it stay, however old.
        discard(folder.path(), &["audit", "journal"], 8, Timestamp::MAX).unwrap();
        assert_eq!(left(folder.path()), [7]);
        assert!(discard(&folder.path().join("nowhere"), &["audit"], 8, Timestamp::MAX).is_err());
    }

    #[test]
    fn nothing_goes_from_the_middle() {
        // Somebody has written to the first again: a fenced instance that woke.
        let folder = folder(&[(1, 9), (2, 2), (3, 2), (4, 9)]);
        assert!(discard(folder.path(), &["audit", "journal"], 5, Timestamp::from_secs(5 * DAY)).unwrap().is_empty());
        assert_eq!(left(folder.path()), [1, 2, 3, 4]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_left_is_always_a_whole_end(days in prop::collection::vec(0u64..20, 1..8), since in 0u64..25) {
            let terms: Vec<(u64, u64)> = (1u64..).step_by(2).zip(days).collect();
            let folder = folder(&terms);
            let present = terms.last().unwrap().0;
            discard(folder.path(), &["audit", "journal"], present, Timestamp::from_secs(since * DAY)).unwrap();
            let left = left(folder.path());
            let all: Vec<u64> = terms.iter().map(|(epoch, _)| *epoch).collect();
            prop_assert!(all.ends_with(&left));
            prop_assert!(left.len() >= all.len().min(2));
            prop_assert_eq!(verify_folder(folder.path()).unwrap().len(), left.len());
            for (epoch, day) in &terms {
                prop_assert!(*day < since || left.contains(epoch), "{} was younger", epoch);
            }
        }
    }
}
