//! Sets what the responder answers, and keeps it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_world::{Acknowledgement, Generation};

use super::super::answers::{Answers, Clients, Shares};
use super::super::ask::{Asker, Transport};
use super::super::dns_name::DnsName;
use super::super::executor::{Applied, SteeringExecutor};
use super::super::expressed::{Expressed, express};
use super::super::marker::Marker;
use super::super::standing::{Standing, StandingName};
use super::super::view::{SteeringCapabilities, SteeringView, Weights};
use super::super::{Gate, SteeringError};
use super::server::{Responder, Shared};
use super::table::{RegionOf, SubZone, Table};

/// What is answered and what was before, by name: what the file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Kept {
    marks: BTreeMap<DnsName, Marker>,
}

/// What the file begins with; then come lines of a name, a tabulator, and its mark.
const FORM: &str = "forebay-steering 1";
/// Whose marks they are: there is no other owner.
const OWNER: &str = "responder";
/// How long our own answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);

impl Kept {
    /// Keeps other responders off the file.
    pub(super) fn lock(path: &Path) -> Result<File, SteeringError> {
        let lock = path.with_extension("lock");
        let file = File::create(&lock).map_err(|error| cannot_keep(&lock, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(_) => {
                let (place, lock) = (path.display().to_string(), format!("the lock on {}", lock.display()));
                Err(SteeringError::OtherWriter { place, lock })
            }
        }
    }

    pub(super) fn read(path: &Path, zone: &DnsName) -> Result<Kept, SteeringError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Kept::default()),
            Err(error) => return Err(cannot_keep(path, &error)),
        };
        let wrong = |line: usize, why: String| SteeringError::Kept { path: format!("{}:{line}", path.display()), why };
        let mut lines = text.lines();
        let header = format!("{FORM} {zone}");
        if lines.next() != Some(&header) {
            let why = format!("not what was kept of zone {zone}; hint: move it away to begin with no answers");
            return Err(wrong(1, why));
        }
        let mut kept = Kept::default();
        for (at, line) in lines.enumerate() {
            let parts = line.split_once('\t').and_then(|(name, mark)| Some((name.parse().ok()?, Marker::parse(mark)?)));
            let Some((name, mark)) = parts else {
                return Err(wrong(
                    at + 2,
                    "not a name and its mark; hint: move the file away to begin with no answers".to_owned(),
                ));
            };
            kept.marks.insert(name, mark);
        }
        Ok(kept)
    }

    /// Writes the file so that it is the old or the new one whatever happens.
    fn write(&self, path: &Path, zone: &DnsName) -> Result<(), SteeringError> {
        let failed = |error: std::io::Error| cannot_keep(path, &error);
        let mut text = format!("{FORM} {zone}\n");
        for (name, mark) in &self.marks {
            text += &format!("{name}\t{mark}\n");
        }
        let beside = path.with_extension("new");
        let mut file = File::create(&beside).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&beside, path).map_err(failed)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    pub(super) fn table(&self, zone: &SubZone, region_of: Option<RegionOf>) -> Table {
        let names = self.marks.iter().filter_map(|(name, mark)| Some((name.clone(), mark.now.clone()?)));
        let names: BTreeMap<DnsName, Shares> = names.collect();
        let generation = self.generation().map_or(0, |generation| generation.0);
        Table::new(zone.clone(), generation as u32, region_of, &names)
    }

    fn generation(&self) -> Option<Generation> {
        self.marks.values().map(|mark| mark.generation).max()
    }
}

fn cannot_keep(path: &Path, error: &std::io::Error) -> SteeringError {
    SteeringError::Kept { path: path.display().to_string(), why: error.to_string() }
}

/// Sees what a responder of this process answers.
pub struct ResponderView {
    shared: Arc<Shared>,
}

impl ResponderView {
    /// For a responder that has started.
    pub fn new(responder: &Responder) -> ResponderView {
        ResponderView { shared: Arc::clone(&responder.shared) }
    }

    fn running(&self) -> Result<(), SteeringError> {
        if self.shared.ended.load(Ordering::Relaxed) {
            let (endpoint, why) = (self.place(), "it has ended".to_owned());
            return Err(SteeringError::Unreachable { endpoint, why });
        }
        Ok(())
    }
}

/// Sets what a responder of this process answers. The first that writes is the only writer, until it is dropped.
pub struct ResponderExecutor {
    view: ResponderView,
    writer: u64,
    asker: Option<Asker>,
}

impl ResponderExecutor {
    /// For a responder that has started.
    pub fn new(responder: &Responder) -> ResponderExecutor {
        let view = ResponderView::new(responder);
        let shared = &view.shared;
        let writer = {
            let mut writers = guard(&shared.writer);
            writers.1 += 1;
            writers.1
        };
        let loopback = |mut address: std::net::SocketAddr| {
            if address.ip().is_unspecified() {
                let v4 = address.is_ipv4();
                address.set_ip(if v4 { IpAddr::from([127, 0, 0, 1]) } else { std::net::Ipv6Addr::LOCALHOST.into() });
            }
            Asker::new(address, Transport::Udp, None, TIMEOUT)
        };
        let asker = shared.address.map(loopback);
        ResponderExecutor { view, writer, asker }
    }

    fn own(&self) -> Result<(), SteeringError> {
        let mut writers = guard(&self.view.shared.writer);
        match writers.0 {
            Some(writer) if writer != self.writer => {
                let lock = "the right to write, in this process".to_owned();
                Err(SteeringError::OtherWriter { place: self.place(), lock })
            }
            _ => {
                writers.0 = Some(self.writer);
                Ok(())
            }
        }
    }

    /// Keeps and answers this from now on.
    fn set(&mut self, kept: Kept, what: &str, gate: &mut Gate) -> Result<(), SteeringError> {
        self.own()?;
        gate.pass(what)?;
        let region_of = self.view.shared.regions.as_ref().map(|(region_of, _)| Arc::clone(region_of));
        let mut current = guard(&self.view.shared.kept);
        // One that has ended meanwhile keeps nothing any more: another may have its file.
        self.view.running()?;
        if let Some(path) = &self.view.shared.state {
            kept.write(path, &self.view.shared.zone.name)?;
        }
        self.view.shared.swap(kept.table(&self.view.shared.zone, region_of));
        *current = kept;
        Ok(())
    }

    /// Asks for every name as a client would.
    fn verify(&mut self) -> Result<(), SteeringError> {
        let marks = guard(&self.view.shared.kept).marks.clone();
        let Some(asker) = &mut self.asker else { return Ok(()) };
        let mut differences = Vec::new();
        for (name, mark) in &marks {
            for v6 in [false, true] {
                let (seen, ttl_seconds) = asker.addresses(name, v6, None)?;
                let Some(now) = &mark.now else {
                    differences.extend(seen.first().map(|address| format!("{name} is answered {address}")));
                    continue;
                };
                let due: Vec<IpAddr> = now.addresses().filter(|address| address.is_ipv6() == v6).collect();
                let pool = &now.pools[&Clients::Others];
                let missing = seen.is_empty() && pool.keys().any(|address| address.is_ipv6() == v6);
                if missing || seen.iter().any(|address| !due.contains(address)) {
                    differences.push(format!("{name} is answered {seen:?}"));
                } else if !seen.is_empty() && ttl_seconds != now.ttl_seconds {
                    differences.push(format!("{name} is answered for {ttl_seconds} s"));
                }
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(SteeringError::NotVerified { place: self.place(), differences })
    }

    fn applied(&self, writes: u32) -> Applied {
        Applied { writes, acknowledgement: self.capabilities().acknowledgement, share_off: 0.0 }
    }

    /// Refuses names that are not to be steered by here, and regions that nobody is in.
    fn check(&self, shares: &BTreeMap<DnsName, Shares>) -> Result<(), SteeringError> {
        let place = self.place();
        for (name, shares) in shares {
            express(name, shares, &self.capabilities(), &place)?;
            let zone = &self.view.shared.zone;
            if !name.is_within(&zone.name) {
                return Err(SteeringError::Contradiction { what: format!("{name}; allowed: names in {}", zone.name) });
            }
            if zone.name_servers.contains_key(name) {
                let what = format!("{name}, a name server of the zone,");
                return Err(SteeringError::Foreign { place, what, hint: "steer by another name" });
            }
            let Some((_, known)) = &self.view.shared.regions else { continue };
            for clients in shares.pools.keys() {
                if let Clients::Region(region) = clients
                    && !known.contains(region)
                {
                    let (kind, name, known) = ("region", region.clone(), known.iter().cloned().collect());
                    return Err(SteeringError::Unknown { place, kind, name, known });
                }
            }
        }
        Ok(())
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SteeringView for ResponderView {
    fn place(&self) -> String {
        let address = self.shared.address.map_or("no socket".to_owned(), |address| address.to_string());
        format!("zone {} of our own at {address}", self.shared.zone.name)
    }

    fn capabilities(&self) -> SteeringCapabilities {
        SteeringCapabilities {
            weights: Weights::Exact,
            per_region: self.shared.regions.is_some(),
            ttl: true,
            acknowledgement: Acknowledgement::Verified,
        }
    }

    fn read(&mut self) -> Result<Standing, SteeringError> {
        self.running()?;
        let (place, capabilities) = (self.place(), self.capabilities());
        let kept = guard(&self.shared.kept).clone();
        let mut standing = Standing { generation: kept.generation(), ..Standing::default() };
        for (name, mark) in kept.marks {
            match mark.now {
                None => {
                    standing.withdrawn.insert(name);
                }
                Some(asked) => {
                    let (answered, _) = express(&name, &asked, &capabilities, &place)?;
                    standing.names.insert(name, StandingName { generation: mark.generation, asked, answered });
                }
            }
        }
        Ok(standing)
    }

    fn answered(&mut self, names: &[DnsName]) -> Result<BTreeMap<DnsName, Option<Expressed>>, SteeringError> {
        let steered = self.read()?.names.into_iter().map(|(name, stands)| (name, stands.answered));
        // Name servers of the zone are answered as well, to everybody alike.
        let zone = &self.shared.zone;
        let servers = zone.name_servers.iter().map(|(name, addresses)| {
            let pool = addresses.iter().map(|address| (*address, 1)).collect();
            (
                name.clone(),
                Expressed { ttl_seconds: zone.negative_ttl_seconds, pools: [(Clients::Others, pool)].into() },
            )
        });
        let wanted = servers.chain(steered).filter(|(name, _)| names.contains(name));
        Ok(wanted.map(|(name, answered)| (name, Some(answered))).collect())
    }
}

impl SteeringView for ResponderExecutor {
    fn place(&self) -> String {
        self.view.place()
    }

    fn capabilities(&self) -> SteeringCapabilities {
        self.view.capabilities()
    }

    fn read(&mut self) -> Result<Standing, SteeringError> {
        self.view.read()
    }

    fn answered(&mut self, names: &[DnsName]) -> Result<BTreeMap<DnsName, Option<Expressed>>, SteeringError> {
        self.view.answered(names)
    }
}

impl SteeringExecutor for ResponderExecutor {
    fn apply(&mut self, wanted: &Answers, gate: &mut Gate) -> Result<Applied, SteeringError> {
        let shares = wanted.shares()?;
        self.check(&shares)?;
        self.view.running()?;
        let mut kept = guard(&self.view.shared.kept).clone();
        if let Some(standing) = kept.generation().filter(|standing| *standing > wanted.generation) {
            return Err(SteeringError::Stale { place: self.place(), given: wanted.generation, standing });
        }
        let mut changed = Vec::new();
        let names: Vec<DnsName> = shares.keys().chain(kept.marks.keys()).cloned().collect();
        for name in names {
            let known = kept.marks.get(&name);
            let now = shares.get(&name);
            if known.and_then(|mark| mark.now.as_ref()) == now {
                continue;
            }
            let mark = Marker::next(known, OWNER, wanted.generation, now.cloned());
            if mark.now.is_some() || mark.before.is_some() {
                kept.marks.insert(name.clone(), mark);
            } else {
                kept.marks.remove(&name);
            }
            changed.push(name.to_string());
        }
        if changed.is_empty() {
            return Ok(self.applied(0));
        }
        // What an older generation withdrew is beyond a rollback.
        kept.marks.retain(|_, mark| mark.now.is_some() || mark.generation == wanted.generation);
        self.set(kept, &format!("answer {} anew", changed.join(", ")), gate)?;
        self.verify()?;
        Ok(self.applied(1))
    }

    fn remove(&mut self, gate: &mut Gate) -> Result<Applied, SteeringError> {
        self.view.running()?;
        if guard(&self.view.shared.kept).marks.is_empty() {
            return Ok(self.applied(0));
        }
        self.set(Kept::default(), "answer nothing", gate)?;
        Ok(self.applied(1))
    }

    fn rollback(&mut self, gate: &mut Gate) -> Result<Applied, SteeringError> {
        self.view.running()?;
        let mut kept = guard(&self.view.shared.kept).clone();
        let Some(newest) = kept.generation() else {
            return Err(SteeringError::NothingToRollBack { place: self.place() });
        };
        let mut changed = 0;
        for mark in kept.marks.values_mut().filter(|mark| mark.generation == newest && !mark.rolled_back) {
            *mark = mark.taken_back();
            changed += 1;
        }
        if changed == 0 {
            return Ok(self.applied(0));
        }
        self.set(kept, &format!("take generation {newest} back"), gate)?;
        self.verify()?;
        Ok(self.applied(1))
    }
}

impl Drop for ResponderExecutor {
    fn drop(&mut self) {
        let mut writers = guard(&self.view.shared.writer);
        if writers.0 == Some(self.writer) {
            writers.0 = None;
        }
    }
}
