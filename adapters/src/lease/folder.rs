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

/// On what ground the lease may be taken.
#[derive(Debug)]
pub(super) enum Ground {
    /// Nobody has it.
    Free,
    /// The process of its holder is no more, as this lock of its own shows.
    Ended(#[expect(dead_code, reason = "held for as long as it is judged by")] File),
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
        let Some(text) = read(&path)? else {
            // Where a lease was, its record is: it is never taken away.
            let past = self.epochs()?.last().copied();
            return match past {
                None => Ok(Record { epoch: 0, holder: None, duration: Duration::ZERO }),
                Some(epoch) => Err(LeaseError::Damaged { path, what: format!("it is gone, but epoch {epoch} was") }),
            };
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
    pub(super) fn begin(&self, epoch: u64, holder: &Holder, duration: Duration) -> Result<File, LeaseError> {
        let path = self.held(epoch);
        let held = open(&path)?;
        if !try_lock(&held, FlockOperation::NonBlockingLockExclusive).map_err(unusable(&path, "lock it"))? {
            let what = format!("locked, though epoch {epoch} has not begun");
            return Err(LeaseError::Damaged { path, what });
        }
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
    pub(super) fn lock_of_ended(&self, epoch: u64) -> Result<Option<File>, LeaseError> {
        let path = self.held(epoch);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(unusable(&path, "open it"))?,
        };
        let locked = try_lock(&file, FlockOperation::NonBlockingLockShared).map_err(unusable(&path, "lock it"))?;
        Ok(locked.then_some(file))
    }

    /// For the length of a write, beside others of the same term; `None` while somebody takes over.
    pub(super) fn lock_writing(&self) -> Result<Option<File>, LeaseError> {
        self.try_lock_writing(FlockOperation::NonBlockingLockShared)
    }

    /// To take over, or to release; `None` while a write is under way.
    pub(super) fn lock_writing_alone(&self) -> Result<Option<File>, LeaseError> {
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

    fn try_lock_writing(&self, how: FlockOperation) -> Result<Option<File>, LeaseError> {
        let file = self.writing()?;
        let locked = try_lock(&file, how).map_err(unusable(&self.writing_path(), "lock it"))?;
        Ok(locked.then_some(file))
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

/// Notes what is written, for whoever waits; what cannot be noted is no reason not to write.
pub(super) fn note_write(writing: &File, note: &str) {
    let mut end = note.len().min(NOTE_BYTES_MOST);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    let padded = format!("{:NOTE_BYTES_MOST$}", &note[..end]);
    let _ = writing.write_all_at(padded.as_bytes(), 0);
}

fn open(path: &Path) -> Result<File, LeaseError> {
    open_plain(path).map_err(unusable(path, "open it"))
}

fn open_plain(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

fn try_lock(file: &File, how: FlockOperation) -> io::Result<bool> {
    match flock(file, how) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
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
