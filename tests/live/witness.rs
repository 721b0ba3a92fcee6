//! Watches guests from outside, and says what must never be: two of one identity, or one that is ended while clients are
//! sent to it, may still be on their way, or are with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::edge::owner;
use super::knot::records;

/// Clients that were sent to a guest may come for so long: two times to live, and a tail, as edge.toml has it.
const LINGER: Duration = Duration::from_secs(13);
/// What looking takes, at most: a look at the zone may be this old.
const BLUR: Duration = Duration::from_secs(2);
/// Time that a guest's process may need to become a daemon, while there are two of it.
const FORK: Duration = Duration::from_secs(8);

/// A guest's process.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub(crate) process: u32,
    pub(crate) name: String,
    pub(crate) address: String,
    first_seen: Instant,
}

#[derive(Default)]
struct Seen {
    guests: BTreeMap<u32, Guest>,
    answered: BTreeMap<String, Instant>,
    names: Vec<String>,
    wrongs: Vec<String>,
}

pub(crate) struct Witness {
    seen: Arc<Mutex<Seen>>,
    /// Sessions that every guest has.
    pub(crate) sessions: Arc<AtomicU32>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// Watches the guests that were made in a folder, and the zone behind a control socket of Knot's.
    pub(crate) fn start(folder: &Path) -> Witness {
        let (seen, sessions, is_over) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicU32>::default(), Arc::default());
        let thread = {
            let (seen, sessions, over) = (Arc::clone(&seen), Arc::clone(&sessions), Arc::<AtomicBool>::clone(&is_over));
            let folder = folder.to_owned();
            std::thread::spawn(move || {
                let mut rounds = 0_u32;
                while !over.load(Ordering::SeqCst) {
                    if rounds.is_multiple_of(5) {
                        let now = Instant::now();
                        let answered = records(&folder).into_iter().flatten().map(|address| (address, now));
                        seen.lock().unwrap().answered.extend(answered);
                    }
                    seen.lock().unwrap().look(guests(&folder), sessions.load(Ordering::SeqCst));
                    rounds += 1;
                    std::thread::sleep(Duration::from_millis(50));
                }
            })
        };
        Witness { seen, sessions, is_over, thread: Some(thread) }
    }

    /// Every guest that there ever was.
    pub(crate) fn names(&self) -> Vec<String> {
        self.seen.lock().unwrap().names.clone()
    }

    /// Guests that there are.
    pub(crate) fn guests(&self) -> Vec<Guest> {
        self.seen.lock().unwrap().guests.values().cloned().collect()
    }

    /// What must never be, and was.
    pub(crate) fn wrongs(&self) -> Vec<String> {
        self.seen.lock().unwrap().wrongs.clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = self.thread.take().unwrap().join();
    }
}

impl Seen {
    fn look(&mut self, found: BTreeMap<u32, (String, String)>, sessions: u32) {
        let now = Instant::now();
        let gone: Vec<u32> = self.guests.keys().copied().filter(|process| !found.contains_key(process)).collect();
        for guest in gone.into_iter().filter_map(|process| self.guests.remove(&process)) {
            // One of two was the parent of the other.
            if found.values().any(|(name, _)| *name == guest.name) {
                continue;
            }
            let since = self.answered.get(&guest.address).map(|at| now.duration_since(*at));
            if since.is_some_and(|since| since + BLUR < LINGER) {
                self.wrongs.push(format!("{} ended {since:?} after clients were sent to it last", guest.name));
            }
            if sessions > 0 && since.is_some() {
                self.wrongs.push(format!("{} ended with {sessions} sessions", guest.name));
            }
        }
        for (process, (name, address)) in found {
            if !self.names.contains(&name) {
                self.names.push(name.clone());
            }
            self.guests.entry(process).or_insert(Guest { process, name, address, first_seen: now });
        }
        let old = |guest: &&Guest| now.duration_since(guest.first_seen) >= FORK;
        for guest in self.guests.values().filter(old) {
            let twin = self
                .guests
                .values()
                .filter(old)
                .find(|other| other.name == guest.name && other.process > guest.process);
            if let Some(twin) = twin {
                self.wrongs.push(format!("{} twice: {} and {}", guest.name, guest.process, twin.process));
            }
        }
    }
}

/// Names and addresses of the guests that were made in a folder, or as our domains of libvirt, by process.
pub(crate) fn guests(folder: &Path) -> BTreeMap<u32, (String, String)> {
    let folder = folder.to_str().unwrap();
    let domain = format!("guest={}-vm-", owner());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(process) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).into_owned();
        let program = line.split('\0').next().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
        // Each names the folder that it was made in, or, where libvirt made it, its owner.
        if !program.starts_with("qemu-system") || !(line.contains(folder) || line.contains(&domain)) {
            continue;
        }
        let after = |key: &str, ends: &[char]| {
            let (_, rest) = line.split_once(key)?;
            rest.split(ends).next().map(str::to_owned)
        };
        let name = after("guest=", &['\0', ',']).unwrap_or_default();
        found.insert(process, (name, after("address=", &['/', '\0']).unwrap_or_default()));
    }
    found
}
