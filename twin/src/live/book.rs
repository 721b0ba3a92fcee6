//! What live mode remembers across a crash, and where it is written down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_adapters::ledger::{self, Durability, Ledger, LedgerError};
use forebay_world::{ClassId, FlavourId, HostId, Plan, PlannedVm, RegionId, Steering, Topology, VmId, VmIntent};
use serde::{Deserialize, Serialize};

use crate::deployment::rollout::{Change, Course};
use crate::guard::GuardMemory;

/// One thing to remember.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// What is known of a machine.
    Course {
        /// Which.
        vm: VmId,
        /// What.
        course: Course,
    },
    /// Nothing is left of a machine.
    Gone {
        /// Which.
        vm: VmId,
    },
    /// The plan in force.
    Plan {
        /// As the controller made it.
        plan: Box<Plan>,
    },
    /// What the guard must remember: cooldowns.
    Guard {
        /// All of it.
        memory: GuardMemory,
    },
    /// No machine of this number or a later one was ever asked for.
    Next {
        /// The number.
        vm: VmId,
    },
    /// What numbers of regions, hosts, classes and flavours stand for in all of it.
    Names {
        /// All of them.
        names: Names,
    },
    /// Machines of cells that a person decides about, as a person has said yes to them.
    Approved {
        /// All of them.
        vms: BTreeMap<VmId, PlannedVm>,
    },
}

/// Names, each list in the order of its numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    regions: Vec<String>,
    hosts: Vec<String>,
    classes: Vec<String>,
    flavours: Vec<String>,
}

impl Names {
    /// Those of a topology.
    pub fn of(topology: &Topology) -> Names {
        Names {
            regions: topology.regions.iter().map(|region| region.name.clone()).collect(),
            hosts: topology.hosts.iter().map(|host| host.name.clone()).collect(),
            classes: topology.classes.iter().map(|class| class.name.clone()).collect(),
            flavours: topology.flavours.iter().map(|flavour| flavour.name.clone()).collect(),
        }
    }

    /// A machine in the numbers of other names.
    fn rename(&self, vm: VmId, planned: &PlannedVm, topology: &Topology) -> Result<PlannedVm, BookError> {
        let now = Names::of(topology);
        let find = |kind: &'static str, old: &[String], new: &[String], index: usize| {
            let name = old.get(index).cloned().unwrap_or_default();
            let at = new.iter().position(|known| *known == name);
            at.ok_or(BookError::Unknown { vm, kind, name })
        };
        let region = RegionId::at(find("region", &self.regions, &now.regions, planned.region.index())?);
        let class = ClassId::at(find("class", &self.classes, &now.classes, planned.class.index())?);
        Ok(PlannedVm {
            region,
            class,
            host: HostId::at(find("host", &self.hosts, &now.hosts, planned.host.index())?),
            flavour: FlavourId::at(find("flavour", &self.flavours, &now.flavours, planned.flavour.index())?),
            slice: topology.slice(region, class),
            intent: planned.intent,
        })
    }
}

/// Why one cannot go on from what was written down.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// It cannot be read, or no more be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is none, although there were terms before this one.
    #[error("{}: there is no ledger, and {before} terms were before this one", folder.display())]
    Lost {
        /// Where it should be.
        folder: PathBuf,
        /// Terms before.
        before: u64,
    },
    /// A machine stands on something that the file does not name any more.
    #[error("{vm} is of {kind} {name:?}, which the file does not name any more")]
    Unknown {
        /// The machine.
        vm: VmId,
        /// Of what kind.
        kind: &'static str,
        /// What it was called.
        name: String,
    },
}

impl BookError {
    /// What may help.
    pub fn hint(&self) -> &'static str {
        match self {
            BookError::Ledger(LedgerError::Damaged { hint, .. }) => hint,
            BookError::Ledger(_) => "is there room, and is the folder this user's?",
            BookError::Lost { .. } => {
                "bring ledger-*.jsonl back; or end the machines that bear the owner's mark, and take another state folder"
            }
            BookError::Unknown { .. } => {
                "name it again as it was, drain its machines (a ceiling of 0), and take it away when they are gone"
            }
        }
    }
}

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Machines that are not wholly gone.
    pub courses: BTreeMap<VmId, Course>,
    /// The plan in force.
    pub plan: Option<Arc<Plan>>,
    /// What the guard must remember.
    pub guard: Option<GuardMemory>,
    /// The first number that no machine ever had.
    pub next: VmId,
    /// What a person has said yes to.
    pub approved: BTreeMap<VmId, PlannedVm>,
    /// What numbers stand for.
    names: Option<Names>,
}

impl Memory {
    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Course { vm, course } => {
                self.next = self.next.max(VmId(vm.0.saturating_add(1)));
                self.courses.insert(vm, course);
            }
            Entry::Gone { vm } => drop(self.courses.remove(&vm)),
            Entry::Plan { plan } => self.plan = Some(Arc::from(plan)),
            Entry::Guard { memory } => self.guard = Some(memory),
            Entry::Next { vm } => self.next = self.next.max(vm),
            Entry::Approved { vms } => self.approved = vms,
            Entry::Names { names } => self.names = Some(names),
        }
    }

    /// Puts all of it in the numbers of a topology. A plan of other numbers is forgotten: a controller plans anew from the
    /// machines that stand.
    fn fit(&mut self, topology: &Topology) -> Result<(), BookError> {
        let now = Names::of(topology);
        if let Some(before) = self.names.take().filter(|before| *before != now) {
            for (vm, course) in &mut self.courses {
                course.planned = before.rename(*vm, &course.planned, topology)?;
            }
            for (vm, planned) in &mut self.approved {
                *planned = before.rename(*vm, planned, topology)?;
            }
            let generation = self.plan.as_ref().map(|plan| plan.generation);
            self.guard = None;
            self.plan = generation.map(|generation| {
                let steering = Steering::home(topology.cells());
                let vms = self.courses.iter().filter(|(_, course)| course.leaving.is_none() && course.failed.is_none());
                let running =
                    |(vm, course): (&VmId, &Course)| (*vm, PlannedVm { intent: VmIntent::Running, ..course.planned });
                Arc::new(Plan {
                    generation: generation.next(),
                    parent: generation,
                    vms: vms.map(running).collect(),
                    steering,
                    ..Plan::default()
                })
            });
        }
        self.names = Some(now);
        Ok(())
    }

    fn snapshot(&self) -> Vec<Entry> {
        let mut entries = vec![Entry::Next { vm: self.next }];
        entries.extend(self.names.iter().map(|names| Entry::Names { names: names.clone() }));
        entries.extend(self.plan.iter().map(|plan| Entry::Plan { plan: Box::new((**plan).clone()) }));
        entries.extend(self.guard.iter().map(|memory| Entry::Guard { memory: memory.clone() }));
        if !self.approved.is_empty() {
            entries.push(Entry::Approved { vms: self.approved.clone() });
        }
        entries.extend(self.courses.iter().map(|(vm, course)| Entry::Course { vm: *vm, course: course.clone() }));
        entries
    }
}

/// Memory, written down.
#[derive(Debug)]
pub struct Book {
    /// `None` where nothing needs to outlive us.
    ledger: Option<Ledger<Entry>>,
    memory: Memory,
}

/// Records after which the ledger is written anew, where the snapshot is much shorter.
const CHANGES_MOST: u64 = 10_000;
/// The same in bytes: plans are long.
const BYTES_MOST: u64 = 64 << 20;

impl Book {
    /// A book that is not kept.
    pub fn unkept() -> Book {
        Book { ledger: None, memory: Memory::default() }
    }

    /// Goes on from what the terms before wrote in `folder`, in a segment of this term's and in the numbers of `topology`;
    /// says what a crash tore off.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn open(folder: &Path, epoch: u64, topology: &Topology) -> Result<(Book, Option<String>), BookError> {
        let mut memory = Memory::default();
        let mut remark = None;
        match ledger::read::<Entry>(folder)? {
            Some(past) => {
                remark = past.torn.map(|torn| format!("{}: {torn}", past.path.display()));
                past.snapshot.into_iter().chain(past.changes).for_each(|entry| memory.take(entry));
            }
            // Not to know of machines that stand is no reason to end them.
            None if epoch > 1 => return Err(BookError::Lost { folder: folder.to_owned(), before: epoch - 1 }),
            None => {}
        }
        memory.fit(topology)?;
        let ledger = Ledger::begin(folder, epoch, &memory.snapshot())?;
        ledger.discard_past(5)?;
        Ok((Book { ledger: Some(ledger), memory }, remark))
    }

    /// What is remembered.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Remembers more. When this returns, it outlives a crash where it `must`; otherwise it may be lost with those after it.
    ///
    /// # Errors
    /// [`LedgerError`]: nothing that depends on it may be done.
    pub fn write(&mut self, entries: Vec<Entry>, must: bool) -> Result<(), LedgerError> {
        if let Some(ledger) = &mut self.ledger {
            for entry in &entries {
                ledger.append(entry, Durability::Soon)?;
            }
            if must && !entries.is_empty() {
                ledger.sync()?;
            }
        }
        entries.into_iter().for_each(|entry| self.memory.take(entry));
        if let Some(ledger) = &mut self.ledger
            && (ledger.changes() > CHANGES_MOST.max(4 * self.memory.courses.len() as u64)
                || ledger.bytes() > BYTES_MOST)
        {
            ledger.compact(&self.memory.snapshot())?;
        }
        Ok(())
    }
}

impl From<&Change> for Entry {
    fn from(change: &Change) -> Entry {
        match change {
            Change::Course(vm, course) => Entry::Course { vm: *vm, course: (**course).clone() },
            Change::Gone(vm) => Entry::Gone { vm: *vm },
        }
    }
}
