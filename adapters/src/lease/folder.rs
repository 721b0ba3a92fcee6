//! The files of a lease, and the kernel's locks on them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use forebay_world::Duration;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{Holder, LeaseError};

/// Longest file that is read [bytes].
const BYTES_MOST: u64 = 64 * 1024;
/// Longest note of a write [bytes].
const NOTE_BYTES_MOST: usize = 400;

/// A folder with a lease.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// Who holds the lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) epoch: u64,
    /// Nobody where it was released.
    pub(super) holder: Option<Holder>,
    /// How long the holder takes itself for it without a renewal: it counts, not what others are set to.
    pub(super) duration: Duration,
}

/// What can be seen of a lease. Two that are equal lie within one renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) record: Record,
    renewed: Vec<u8>,
}

/// A lock that is let go when this is. Unlocked by word: a program that is just being started holds all that is open for a
/// moment, until it is that program.
#[derive(Debug)]
pub(super) struct Locked(File);

/// On what ground the lease may be taken.
#[derive(Debug)]
pub(super) enum Ground {
    /// Nobody has it.
    Free,
    /// The process of its holder is no more, as this lock of its own shows.
    Ended(#[expect(dead_code, reason = "held for as long as it is judged by")] Locked),
    /// Its holder is silent.
    Lapsed,
}

impl Folder {
    /// To look at; it is not made.
    pub(super) fn at(path: &Path) -> Folder {
        Folder(path.to_owned())
    }

    pub(super) fn open(path: &Path) -> Result<Folder, LeaseError> {
        fs::create_dir_all(path).map_err(unusable(path, "make it"))?;
        let folder = Folder(path.to_owned());
        folder.writing()?;
        Ok(folder)
    }

    /// What stands. Needs no lock: a record is replaced as a whole.
    pub(super) fn look(&self) -> Result<Seen, LeaseError> {
        let renewed = read(&self.0.join("renewed"))?.unwrap_or_default();
        Ok(Seen { record: self.record()?, renewed })
    }

    pub(super) fn record(&self) -> Result<Record, LeaseError> {
        let path = self.0.join("lease.json");
        let text = match read(&path)? {
            Some(text) => text,
            // Renewals come after the first record, and a record is never taken away.
            None => match read(&self.0.join("renewed"))? {
                None => return Ok(Record { epoch: 0, holder: None, duration: Duration::ZERO }),
                // The first may have come just now.
                Some(renewed) => read(&path)?.ok_or_else(|| {
                    let epoch = String::from_utf8_lossy(&renewed);
                    let epoch = epoch.split(' ').next().unwrap_or_default().trim_start_matches('0');
                    LeaseError::Damaged { path: path.clone(), what: format!("it is gone, but epoch {epoch} was") }
                })?,
            },
        };
        serde_json::from_slice(&text).map_err(|error| LeaseError::Damaged { path, what: error.to_string() })
    }

    /// The epoch of the next term.
    pub(super) fn epoch_after(&self, record: &Record) -> Result<u64, LeaseError> {
        record.epoch.checked_add(1).ok_or_else(|| LeaseError::Damaged {
            path: self.0.join("lease.json"),
            what: format!("epoch {}, after which there is none", record.epoch),
        })
    }

    /// Begins a term, under the lock of [`Folder::lock_writing_alone`]: when this returns it is on the disk. What comes back
    /// is to be kept for the length of the term.
    pub(super) fn begin(&self, epoch: u64, holder: &Holder, duration: Duration) -> Result<Locked, LeaseError> {
        let path = self.held(epoch);
        let held =
            try_lock(open(&path)?, FlockOperation::NonBlockingLockExclusive).map_err(unusable(&path, "lock it"))?;
        let Some(held) = held else {
            let what = format!("locked, though epoch {epoch} has not begun");
            return Err(LeaseError::Damaged { path, what });
        };
        self.write(&Record { epoch, holder: Some(holder.clone()), duration })?;
        self.note_renewal(epoch, 0)?;
        for past in self.epochs()?.into_iter().filter(|past| *past < epoch) {
            // Nobody looks at them any more; one that cannot go is in nobody's way.
            let _ = fs::remove_file(self.held(past));
        }
        Ok(held)
    }

    /// Replaces the record, on the disk.
    pub(super) fn write(&self, record: &Record) -> Result<(), LeaseError> {
        let (path, fresh) = (self.0.join("lease.json"), self.0.join("lease.json.new"));
        let mut text = serde_json::to_vec(record).expect("a record is plain data");
        text.push(b'\n');
        let write = || -> io::Result<()> {
            let mut file = File::create(&fresh)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(unusable(&path, "write it"))
    }

    /// Notes a renewal: in place and of one length, so that it needs no room on a disk that is full.
    pub(super) fn note_renewal(&self, epoch: u64, renewals: u64) -> Result<(), LeaseError> {
        let path = self.0.join("renewed");
        let write = || open_plain(&path)?.write_all_at(format!("{epoch:020} {renewals:020}\n").as_bytes(), 0);
        write().map_err(unusable(&path, "write it"))
    }

    /// The lock of an epoch's process, where it lets it be taken: the process has ended. Where the file is gone nothing can
    /// be told.
    pub(super) fn lock_of_ended(&self, epoch: u64) -> Result<Option<Locked>, LeaseError> {
        let path = self.held(epoch);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(unusable(&path, "open it"))?,
        };
        try_lock(file, FlockOperation::NonBlockingLockShared).map_err(unusable(&path, "lock it"))
    }

    /// For the length of a write, beside others of the same term; `None` while somebody takes over.
    pub(super) fn lock_writing(&self) -> Result<Option<Locked>, LeaseError> {
        self.try_lock_writing(FlockOperation::NonBlockingLockShared)
    }

    /// To take over, or to release; `None` while a write is under way.
    pub(super) fn lock_writing_alone(&self) -> Result<Option<Locked>, LeaseError> {
        self.try_lock_writing(FlockOperation::NonBlockingLockExclusive)
    }

    pub(super) fn writing_path(&self) -> PathBuf {
        self.0.join("writing")
    }

    /// The write that was noted last.
    pub(super) fn write_under_way(&self) -> Option<String> {
        let text = read(&self.writing_path()).ok()??;
        let text = String::from_utf8_lossy(&text);
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn try_lock_writing(&self, how: FlockOperation) -> Result<Option<Locked>, LeaseError> {
        try_lock(self.writing()?, how).map_err(unusable(&self.writing_path(), "lock it"))
    }

    fn writing(&self) -> Result<File, LeaseError> {
        open(&self.writing_path())
    }

    fn held(&self, epoch: u64) -> PathBuf {
        self.0.join(format!("held-{epoch}"))
    }

    /// Epochs whose locks are there, by number.
    fn epochs(&self) -> Result<Vec<u64>, LeaseError> {
        let list = || -> io::Result<Vec<u64>> {
            let mut epochs = Vec::new();
            for entry in fs::read_dir(&self.0)? {
                let name = entry?.file_name();
                epochs.extend(name.to_str().and_then(|name| name.strip_prefix("held-")?.parse::<u64>().ok()));
            }
            epochs.sort_unstable();
            Ok(epochs)
        };
        list().map_err(unusable(&self.0, "list it"))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Where that fails, closing it does as much.
        let _ = flock(&self.0, FlockOperation::NonBlockingUnlock);
    }
}

/// Notes what is written, for whoever waits; what cannot be noted is no reason not to write.
pub(super) fn note_write(writing: &Locked, note: &str) {
    let mut end = note.len().min(NOTE_BYTES_MOST);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    let padded = format!("{:NOTE_BYTES_MOST$}", &note[..end]);
    let _ = writing.0.write_all_at(padded.as_bytes(), 0);
}

fn open(path: &Path) -> Result<File, LeaseError> {
    open_plain(path).map_err(unusable(path, "open it"))
}

fn open_plain(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

fn try_lock(file: File, how: FlockOperation) -> io::Result<Option<Locked>> {
    match flock(&file, how) {
        Ok(()) => Ok(Some(Locked(file))),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, LeaseError> {
    let mut content = Vec::new();
    match File::open(path).and_then(|file| file.take(BYTES_MOST).read_to_end(&mut content)) {
        Ok(_) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(unusable(path, "read it")(source)),
    }
}

fn unusable(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> LeaseError {
    let path = path.to_owned();
    move |source| LeaseError::Unusable { path, what, source }
}
