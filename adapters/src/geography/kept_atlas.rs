//! An atlas that is kept up to date: its files are replaced while it is used, and one that is replaced by a worse one
//! leaves the last good in use.

use std::path::PathBuf;
use std::time::SystemTime;

use forebay_world::Timestamp;

use super::Atlas;
use crate::error::ReadError;
use crate::last_good::{Freshness, LastGood};

/// Prefix tables and databases that are looked at again and again.
pub struct KeptAtlas {
    files: Vec<PathBuf>,
    /// What each file looked like when it was last opened.
    seen: Vec<Option<Look>>,
    kept: LastGood<Atlas>,
}

/// When a file was last written, and how long it is \[bytes\].
type Look = (SystemTime, u64);

impl KeptAtlas {
    /// Opens the files at `now`: the first time, all of them must be good.
    ///
    /// # Errors
    /// As [`Atlas::open`].
    pub fn open(files: Vec<PathBuf>, now: Timestamp) -> Result<KeptAtlas, ReadError> {
        let seen = look(&files);
        let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        let mut kept = LastGood::new(names.join(", "));
        let atlas = Atlas::open(&files)?;
        kept.take(now, Ok::<_, ReadError>(atlas));
        Ok(KeptAtlas { files, seen, kept })
    }

    /// Opens the files anew at `now` if one has changed, or if they could not be opened the last time. Regions keep their
    /// numbers; whatever is wrong, the last good stays.
    pub fn refresh(&mut self, now: Timestamp) -> Freshness {
        let seen = look(&self.files);
        if seen == self.seen && self.freshness().is_fresh() {
            return self.freshness();
        }
        self.seen = seen;
        let came = self.atlas().opened_anew(&self.files);
        self.kept.take(now, came);
        self.freshness()
    }

    /// The last good.
    pub fn atlas(&self) -> &Atlas {
        self.kept.value().expect("it was good when it was opened")
    }

    /// The last good, to locate with.
    pub fn atlas_mut(&mut self) -> &mut Atlas {
        self.kept.value_mut().expect("it was good when it was opened")
    }

    /// How good it is.
    pub fn freshness(&self) -> Freshness {
        self.kept.freshness()
    }
}

fn look(files: &[PathBuf]) -> Vec<Option<Look>> {
    let one = |file: &PathBuf| {
        let metadata = file.metadata().ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geography::database::tests::{mmdb, records};

    #[test]
    fn a_file_that_is_replaced_by_a_worse_one_leaves_the_last_good() {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = ["nets.csv", "countries.mmdb"].map(|name| folder.path().join(name)).to_vec();
        let (table, database) = (b"prefix,region\n10.0.0.0/8,ams\n".to_vec(), mmdb(1_700_000_000, &records()));
        let write = |number: usize, content: &[u8]| std::fs::write(&files[number], content).unwrap();
        let at = Timestamp::from_secs;
        write(0, &table);
        write(1, &database[..database.len() / 2]);
        assert!(KeptAtlas::open(files.clone(), at(0)).is_err(), "the first must be good");
        write(1, &database);
        let mut kept = KeptAtlas::open(files.clone(), at(1)).unwrap();
        let region = |kept: &mut KeptAtlas, address: &str| {
            let atlas = kept.atlas_mut();
            let region = atlas.locate(address.parse().unwrap(), None)?;
            Some((region, atlas.regions()[region.index()].clone()))
        };
        let ams = region(&mut kept, "10.0.0.1").unwrap();
        let germany = region(&mut kept, "1.0.0.1").unwrap();
        assert_eq!((ams.1.as_str(), germany.1.as_str()), ("ams", "DE"));
        assert_eq!(kept.refresh(at(2)), Freshness::Fresh { since: at(1) });

        // A database that is cut short, one that is damaged, a table with a slip, and a file that is gone.
        let mut damaged = database.clone();
        damaged[..4].copy_from_slice(&0u32.to_be_bytes());
        damaged.push(0);
        let worse: [(usize, &[u8], &str); 3] = [
            (1, &database[..database.len() - 200], "countries.mmdb"),
            (1, &damaged, "countries.mmdb: not a usable MMDB database"),
            (0, b"prefix,region\n10.0.0.0/88,ams\n", "nets.csv:2: prefix"),
        ];
        for (number, content, said) in worse {
            write(number, content);
            let Freshness::Stale { why, .. } = kept.refresh(at(3)) else { panic!("{said}: {}", kept.freshness()) };
            assert!(why.contains(said), "{why}");
            assert_eq!(region(&mut kept, "10.0.0.1").unwrap(), ams);
            assert_eq!(region(&mut kept, "1.0.0.1").unwrap(), germany);
            write(number, if number == 0 { &table } else { &database });
            assert!(kept.refresh(at(4)).is_fresh());
        }
        std::fs::remove_file(&files[1]).unwrap();
        assert!(matches!(kept.refresh(at(5)), Freshness::Stale { since, .. } if since == at(4)));
        assert_eq!(region(&mut kept, "1.0.0.1").unwrap(), germany);

        // A newer table counts at once, and the regions that were known keep their numbers.
        write(1, &database);
        write(0, b"prefix,region\n9.0.0.0/8,new\n10.0.0.0/8,ams\n11.0.0.0/8,lhr\n");
        assert_eq!(kept.refresh(at(6)), Freshness::Fresh { since: at(6) });
        assert_eq!(region(&mut kept, "10.0.0.1").unwrap(), ams);
        assert_eq!(region(&mut kept, "1.0.0.1").unwrap(), germany);
        assert_eq!(region(&mut kept, "11.0.0.1").unwrap().1, "lhr");
    }
}
