//! Steering by record sets of a zone, whatever server it is on.
//!
//! Beside each name that is ours stands its [`Marker`], at `_forebay.NAME`. Which names there are is listed at
//! `_OWNER._forebay.ZONE`, together with the one writer and until when it is that. Name, mark and list change at once, and
//! only where they still are as they were seen; so another writer's change fails on the server, not only in what we know.
//! A writer that dies without a word stays the writer until its time has run out, or until the next of its line
//! ([`WriterTerm`]) comes.

mod registry;
mod view;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::answers::{Answers, Shares};
use super::dns_name::DnsName;
use super::executor::{Applied, SteeringExecutor};
use super::expressed::{Expressed, express};
use super::marker::Marker;
use super::record_set::{Change, Kind, RecordSet};
use super::standing::Standing;
use super::view::{SteeringCapabilities, SteeringView};
use super::{Gate, SteeringError};
use registry::{Registry, Writer};
use view::{Look, Mark, Seen};
pub(super) use view::{RecordSource, ZoneView};

/// How long a writer stays the only one after its last word, unless told otherwise \[s\].
const LEASE_SECONDS: u32 = 120;
/// Time to live of marks and lists \[s\]: nobody but their owner asks for them.
const MARK_TTL_SECONDS: u32 = 5;
/// Longest mark, so that it fits a record (RFC 1035 section 3.2.1) with all its counts.
const MARK_BYTES_MOST: usize = 60_000;

/// Who writes, and to what.
#[derive(Clone, Debug)]
pub struct ZoneOptions {
    /// The zone.
    pub zone: DnsName,
    /// Whose marks ours are: 1 to 32 small letters, digits and hyphens. Two owners may share a zone, not a name.
    pub owner: String,
    /// How long a writer that is heard of no more stays the only one \[s\].
    pub lease_seconds: u32,
    /// Takes over from another writer before its time has run out: for an operator who knows that it is dead.
    pub take_over: bool,
    /// Whose term this is, where writers follow one another under a lease: those before it need not run out.
    pub term: Option<WriterTerm>,
    /// Tells the time \[s since the Unix epoch\].
    pub clock: fn() -> u64,
}

/// One of a line of writers, each of which begins when the one before can write no more: the terms of a [lease].
///
/// A line's earlier writers are taken over from at once, also where one died without a word; others of the zone are not.
///
/// [lease]: crate::lease
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterTerm {
    /// The line, which no other has: letters, digits and hyphens.
    pub line: String,
    /// Which of them; it only grows.
    pub epoch: u64,
}

impl WriterTerm {
    fn writer(&self) -> String {
        format!("{}.{}", self.line, self.epoch)
    }

    /// Whether a writer of this name was of the same line, and before.
    fn follows(&self, writer: &str) -> bool {
        let epoch = writer.strip_prefix(&self.line).and_then(|rest| rest.strip_prefix('.'));
        epoch.and_then(|epoch| epoch.parse::<u64>().ok()).is_some_and(|epoch| epoch < self.epoch)
    }
}

impl ZoneOptions {
    /// Options for a zone, on the machine's clock.
    pub fn new(zone: DnsName, owner: &str) -> ZoneOptions {
        let owner = owner.to_owned();
        ZoneOptions { zone, owner, lease_seconds: LEASE_SECONDS, take_over: false, term: None, clock: unix_time }
    }
}

/// The machine's time \[s since the Unix epoch\].
pub(super) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Record sets of a server, to be changed.
pub(super) trait RecordStore: RecordSource {
    /// Whether a name stands in the zone itself, and is not made up from a wildcard.
    fn is_in_zone(&mut self, _owner: &DnsName) -> Result<bool, SteeringError> {
        Ok(true)
    }

    /// Takes it that there is no such set.
    fn forget(&mut self, owner: &DnsName, kind: Kind);

    /// Changes sets, all or none, where those expected are as last seen.
    fn commit(&mut self, change: &Change) -> Result<(), SteeringError>;

    /// Sets that answer a name so.
    fn sets_of(&self, name: &DnsName, answers: &Expressed) -> Vec<RecordSet>;

    /// Asks as clients would, where that is more than to look; what differs.
    fn verify(&mut self, _name: &DnsName, _answers: &Expressed) -> Result<Vec<String>, SteeringError> {
        Ok(Vec::new())
    }
}

/// Steers by record sets of one zone.
pub(super) struct Zone<S: RecordStore> {
    view: ZoneView<S>,
    options: ZoneOptions,
    writer: String,
    /// The list as it stands, while we are the writer.
    held: Option<Registry>,
}

impl<S: RecordStore> Zone<S> {
    pub(super) fn new(store: S, options: ZoneOptions) -> Result<Self, SteeringError> {
        static WRITERS: AtomicU64 = AtomicU64::new(0);
        if options.lease_seconds == 0 {
            let what = "a writer for 0 s; allowed: lease_seconds of 1 and more".to_owned();
            return Err(SteeringError::Contradiction { what });
        }
        if let Some(term) = &options.term
            && (term.line.is_empty() || !term.line.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
        {
            let what =
                format!("a line of writers \"{}\"; allowed: letters, digits and hyphens", term.line.escape_debug());
            return Err(SteeringError::Contradiction { what });
        }
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let alone = || format!("{nanos:x}-{}-{}", std::process::id(), WRITERS.fetch_add(1, Ordering::Relaxed));
        let writer = options.term.as_ref().map_or_else(alone, WriterTerm::writer);
        let view = ZoneView::new(store, &options)?;
        Ok(Zone { view, options, writer, held: None })
    }

    #[cfg(feature = "fetch")]
    pub(super) fn store(&self) -> &S {
        self.view.store()
    }

    /// Looks at everything that is listed, and at these names.
    fn look(&mut self, wanted: impl Iterator<Item = DnsName>) -> Result<Look, SteeringError> {
        let mut look = self.view.look(wanted)?;
        for (name, seen) in &mut look.names {
            let listed = look.registry.names.contains(name);
            let unknown = !seen.sets.is_empty() && !listed && matches!(seen.mark, Mark::None);
            if unknown && !self.view.store.is_in_zone(name)? {
                for set in seen.sets.drain(..) {
                    self.view.store.forget(name, set.kind);
                }
            }
        }
        Ok(look)
    }

    /// Refuses what stands in the way of these names.
    fn refuse_foreign(&self, look: &Look, names: impl Iterator<Item = DnsName>) -> Result<(), SteeringError> {
        let foreign = |what: String, hint| Err(SteeringError::Foreign { place: self.place(), what, hint });
        for name in names {
            let Some(seen) = look.names.get(&name) else { continue };
            match &seen.mark {
                Mark::Theirs(owner) => {
                    return foreign(format!("{name}, of owner {owner}"), "let one owner steer by each name");
                }
                Mark::None | Mark::Unreadable if look.registry.names.contains(&name) => {}
                Mark::Unreadable => {
                    return foreign(format!("the TXT set at _forebay.{name}"), "delete it, or choose another name");
                }
                Mark::None => {
                    if let Some(set) = seen.sets.first() {
                        let what = format!("the {} set at {name}", set.kind);
                        return foreign(what, "delete it first, or steer by another name");
                    }
                }
                Mark::Ours(_) => {}
            }
        }
        Ok(())
    }

    /// Becomes the writer, or stays it.
    fn hold(&mut self, seen: &Registry, gate: &mut Gate) -> Result<(), SteeringError> {
        let now = (self.options.clock)();
        let mut registry = seen.clone();
        if let Some(other) = registry.writer.as_ref().filter(|other| other.name != self.writer) {
            let is_over = self.options.term.as_ref().is_some_and(|term| term.follows(&other.name));
            if other.until > now && !is_over && !self.options.take_over {
                let left = other.until - now;
                let lock = format!("the right to write for {left} s more (writer {})", other.name);
                return Err(SteeringError::OtherWriter { place: self.place(), lock });
            }
            registry.writer = None;
        }
        let lease = u64::from(self.options.lease_seconds);
        let fresh = registry.writer.as_ref().is_some_and(|own| own.until >= now + lease.div_ceil(2));
        if !fresh {
            registry.writer = Some(Writer { name: self.writer.clone(), until: now + lease });
            let what = "become the only writer".to_owned();
            gate.pass(&what)?;
            let list = self.view.registry_name()?;
            let sets = vec![registry.to_set(&list)];
            self.view.store.commit(&Change { what, expected: vec![(list.clone(), Kind::Txt)], sets })?;
            // Where the server cannot refuse a second writer, the last one stands.
            self.view.store.begin()?;
            registry = Registry::parse(&self.view.store.set(&list, Kind::Txt)?);
            match &registry.writer {
                Some(writer) if writer.name == self.writer => {}
                Some(writer) => {
                    let lock = format!("the right to write (writer {})", writer.name);
                    return Err(SteeringError::OtherWriter { place: self.place(), lock });
                }
                None => {
                    let differences = vec!["the writer is not noted".to_owned()];
                    return Err(SteeringError::NotVerified { place: self.place(), differences });
                }
            }
        }
        self.held = Some(registry);
        Ok(())
    }

    /// Gives the right to write back where it is still ours, as far as that can be told.
    fn release(&mut self, gate: &mut Gate) {
        if self.held.take().is_none() {
            return;
        }
        // A writer that cannot say so stays it until its time has run out.
        let _ = self.give_back(gate);
    }

    fn give_back(&mut self, gate: &mut Gate) -> Result<(), SteeringError> {
        let list = self.view.registry_name()?;
        // What is known of the list may be old, and the right another's by now.
        self.view.store.begin()?;
        let mut registry = Registry::parse(&self.view.store.set(&list, Kind::Txt)?);
        if registry.writer.take().is_some_and(|writer| writer.name == self.writer) {
            let what = "be the writer no more".to_owned();
            gate.pass(&what)?;
            let sets = vec![registry.to_set(&list)];
            self.view.store.commit(&Change { what, expected: vec![(list, Kind::Txt)], sets })?;
        }
        Ok(())
    }

    /// Writes one name: what answers it, its mark, and whether it is listed.
    fn write(
        &mut self,
        name: &DnsName,
        seen: &Seen,
        answers: Option<&Expressed>,
        mark: Option<&Marker>,
        gate: &mut Gate,
    ) -> Result<(), SteeringError> {
        let (list, mark_name) = (self.view.registry_name()?, self.view.mark_name(name)?);
        let mut registry = self.held.clone().expect("the writer writes");
        let mut sets = answers.map_or(Vec::new(), |answers| self.view.store.sets_of(name, answers));
        for set in &seen.sets {
            if !sets.iter().any(|wanted| wanted.kind == set.kind) {
                sets.insert(0, RecordSet::none(name, set.kind));
            }
        }
        sets.retain(|set| !seen.sets.contains(set));
        let text = mark.map(Marker::to_string);
        if let Some(text) = text.as_ref().filter(|text| text.len() > MARK_BYTES_MOST) {
            let what = format!("{name}: a mark of {} bytes; allowed: {MARK_BYTES_MOST}", text.len());
            return Err(SteeringError::Contradiction { what });
        }
        sets.push(RecordSet::new(&mark_name, Kind::Txt, MARK_TTL_SECONDS, text));
        let changed = if mark.is_some() { registry.names.insert(name.clone()) } else { registry.names.remove(name) };
        // The last name takes the list with it.
        if mark.is_none() && registry.names.is_empty() {
            registry.writer = None;
        }
        if changed {
            sets.push(registry.to_set(&list));
        }
        let what = match (answers, mark) {
            (Some(answers), _) => format!("answer {name} {answers}"),
            (None, Some(_)) => format!("answer {name} no more"),
            (None, None) => format!("forget {name}"),
        };
        let kinds = self.view.store.kinds().iter().map(|kind| (name.clone(), *kind));
        let expected = kinds.chain([(mark_name, Kind::Txt), (list, Kind::Txt)]).collect();
        gate.pass(&what)?;
        self.view.store.commit(&Change { what, expected, sets })?;
        self.held = registry.writer.is_some().then_some(registry);
        Ok(())
    }

    fn applied(&self, writes: u32, share_off: f64) -> Applied {
        Applied { writes, acknowledgement: self.capabilities().acknowledgement, share_off }
    }

    fn not_verified(&self, differences: Vec<String>) -> Result<(), SteeringError> {
        if differences.is_empty() {
            return Ok(());
        }
        Err(SteeringError::NotVerified { place: self.place(), differences })
    }

    fn remove_all(&mut self, gate: &mut Gate) -> Result<u32, SteeringError> {
        let look = self.look(std::iter::empty())?;
        if !look.registry.is_there && look.names.is_empty() {
            return Ok(0);
        }
        self.hold(&look.registry, gate)?;
        let mut writes = 0;
        for (name, seen) in &look.names {
            let ours = !matches!(seen.mark, Mark::Theirs(_));
            let nothing = Seen { mark: Mark::None, sets: Vec::new() };
            self.write(name, if ours { seen } else { &nothing }, None, None, gate)?;
            writes += 1;
        }
        self.release(gate);
        let left = self.look(look.names.into_keys())?;
        let standing = self.view.standing(&left);
        if !standing.is_empty() || left.registry.is_there {
            self.not_verified(vec![format!("{standing:?} is left")])?;
        }
        Ok(writes)
    }
}

impl<S: RecordStore> SteeringView for Zone<S> {
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

impl<S: RecordStore> SteeringExecutor for Zone<S> {
    fn apply(&mut self, wanted: &Answers, gate: &mut Gate) -> Result<Applied, SteeringError> {
        let (capabilities, place) = (self.capabilities(), self.place());
        let shares = wanted.shares()?;
        let mut goal: BTreeMap<DnsName, (Shares, Expressed)> = BTreeMap::new();
        let mut share_off: f64 = 0.0;
        for (name, shares) in shares {
            self.view.mark_name(&name)?;
            let (expressed, off) = express(&name, &shares, &capabilities, &place)?;
            share_off = share_off.max(off);
            goal.insert(name, (shares, expressed));
        }
        let look = self.look(goal.keys().cloned())?;
        let standing = self.view.standing(&look);
        if let Some(newer) = standing.generation.filter(|standing| *standing > wanted.generation) {
            return Err(SteeringError::Stale { place, given: wanted.generation, standing: newer });
        }
        self.refuse_foreign(&look, goal.keys().cloned())?;
        let is = |name: &DnsName, seen: &Seen| match (&seen.mark, goal.get(name)) {
            (Mark::Ours(marker), Some((shares, expressed))) => {
                marker.now.as_ref() == Some(shares)
                    && self.view.store.answers_of(&seen.sets).as_ref() == Some(expressed)
                    && look.registry.names.contains(name)
            }
            // What the last generation withdrew is kept until the next writes something.
            (Mark::Ours(marker), None) => {
                marker.now.is_none() && seen.sets.is_empty() && look.registry.names.contains(name)
            }
            (Mark::Theirs(_), None) => true,
            _ => false,
        };
        let (_, changed): (Vec<_>, Vec<_>) = look.names.iter().partition(|(name, seen)| is(name, seen));
        if changed.is_empty() {
            return Ok(self.applied(0, share_off));
        }
        self.hold(&look.registry, gate)?;
        let mut writes = 0;
        let same = |name: &DnsName| !changed.iter().any(|(other, _)| *other == name);
        let (first, last): (Vec<_>, Vec<_>) = changed.iter().partition(|(name, _)| goal.contains_key(*name));
        for (name, seen) in first.into_iter().chain(last) {
            let known = if let Mark::Ours(marker) = &seen.mark { Some(marker) } else { None };
            let (now, expressed) = goal.get(name).cloned().unzip();
            let mark = Marker::next(known, &self.options.owner, wanted.generation, now);
            // What never stood, and shall not, needs no mark.
            let mark = (mark.now.is_some() || mark.before.is_some()).then_some(mark);
            self.write(name, seen, expressed.as_ref(), mark.as_ref(), gate)?;
            writes += 1;
        }
        // What an older generation withdrew is beyond a rollback.
        for (name, seen) in &look.names {
            if let Mark::Ours(marker) = &seen.mark
                && same(name)
                && marker.now.is_none()
                && marker.generation < wanted.generation
            {
                self.write(name, seen, None, None, gate)?;
                writes += 1;
            }
        }
        let look = self.look(goal.keys().cloned())?;
        let mut differences = wanted.differences(&capabilities, &self.view.standing(&look))?;
        for (name, (_, expressed)) in &goal {
            differences.extend(self.view.store.verify(name, expressed)?);
        }
        self.not_verified(differences)?;
        Ok(self.applied(writes, share_off))
    }

    fn remove(&mut self, gate: &mut Gate) -> Result<Applied, SteeringError> {
        let writes = self.remove_all(gate)?;
        Ok(self.applied(writes, 0.0))
    }

    fn rollback(&mut self, gate: &mut Gate) -> Result<Applied, SteeringError> {
        let (capabilities, place) = (self.capabilities(), self.place());
        let look = self.look(std::iter::empty())?;
        let newest = self.view.standing(&look).generation;
        let Some(newest) = newest else { return Err(SteeringError::NothingToRollBack { place }) };
        let mut share_off: f64 = 0.0;
        let mut targets = Vec::new();
        for (name, seen) in &look.names {
            if let Mark::Ours(marker) = &seen.mark
                && marker.generation == newest
                && !marker.rolled_back
            {
                let mark = marker.taken_back();
                let expressed = match &mark.now {
                    Some(shares) => {
                        let (expressed, off) = express(name, shares, &capabilities, &place)?;
                        share_off = share_off.max(off);
                        Some(expressed)
                    }
                    None => None,
                };
                targets.push((name, seen, mark, expressed));
            }
        }
        if targets.is_empty() {
            return Ok(self.applied(0, 0.0));
        }
        self.hold(&look.registry, gate)?;
        let writes = targets.len() as u32;
        for (name, seen, mark, expressed) in &targets {
            self.write(name, seen, expressed.as_ref(), Some(mark), gate)?;
        }
        let after = self.look(std::iter::empty())?;
        let standing = self.view.standing(&after);
        let mut differences = standing.strays.clone();
        for (name, _, _, expressed) in &targets {
            let stands = standing.names.get(*name).map(|stands| &stands.answered);
            if stands != expressed.as_ref() {
                differences.push(format!("{name} is not answered as before"));
            }
            if let Some(expressed) = expressed {
                differences.extend(self.view.store.verify(name, expressed)?);
            }
        }
        self.not_verified(differences)?;
        Ok(self.applied(writes, share_off))
    }
}

impl<S: RecordStore> Drop for Zone<S> {
    fn drop(&mut self) {
        // The next of a line need not wait for it; and a term that is over must not write, not even that.
        if self.options.term.is_none() {
            self.release(&mut Gate::open());
        }
    }
}
