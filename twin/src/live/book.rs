//! What live mode remembers across a crash, and where it is written down.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use forebay_adapters::ledger::{self, Durability, Ledger, LedgerError};
use forebay_world::{Plan, PlannedVm, VmId};
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
    /// Machines of cells that a person decides about, as a person has said yes to them.
    Approved {
        /// All of them.
        vms: BTreeMap<VmId, PlannedVm>,
    },
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
        }
    }

    fn snapshot(&self) -> Vec<Entry> {
        let mut entries = vec![Entry::Next { vm: self.next }];
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

impl Book {
    /// A book that is not kept.
    pub fn unkept() -> Book {
        Book { ledger: None, memory: Memory::default() }
    }

    /// Goes on from what the terms before wrote in `folder`, in a segment of this term's; says what a crash tore off.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open(folder: &Path, epoch: u64) -> Result<(Book, Option<String>), LedgerError> {
        let mut memory = Memory::default();
        let mut remark = None;
        if let Some(past) = ledger::read::<Entry>(folder)? {
            remark = past.torn.map(|torn| format!("{}: {torn}", past.path.display()));
            past.snapshot.into_iter().chain(past.changes).for_each(|entry| memory.take(entry));
        }
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
            && ledger.changes() > CHANGES_MOST.max(4 * self.memory.courses.len() as u64)
        {
            ledger.compact(&self.memory.snapshot())?;
        }
        Ok(())
    }
}

impl From<&Change> for Entry {
    fn from(change: &Change) -> Entry {
        match change {
            Change::Course(vm, course) => Entry::Course { vm: *vm, course: course.clone() },
            Change::Gone(vm) => Entry::Gone { vm: *vm },
        }
    }
}
