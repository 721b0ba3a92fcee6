//! Machines, asked how they do: all of one class, round by round.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use forebay_adapters::probe::{Answer, Count, HealthRecord, Probe, ProbeError, Probed, Prober, Sessions};
use forebay_world::{ClassId, Duration, VmId};

use super::Clock;
use super::board::{Asked, Board};
use crate::production::{HealthCheck, SessionsForm};

/// Machines asked at the same time.
const AT_ONCE: usize = 32;

/// Asks the machines of one class.
pub struct HealthWatch {
    class: ClassId,
    /// Time from one round to the next.
    pub period: Duration,
    prober: Prober,
    probe: Probe,
    board: Arc<Board>,
    clock: Clock,
    records: BTreeMap<VmId, (IpAddr, HealthRecord)>,
    /// Machines whose turn did not come in the last round: they are first in the next.
    behind: BTreeSet<VmId>,
}

impl HealthWatch {
    /// Whoever asks the machines of a class.
    ///
    /// # Errors
    /// [`ProbeError`] for a check that cannot be.
    pub fn new(class: ClassId, check: &HealthCheck, board: Arc<Board>, clock: Clock) -> Result<Self, ProbeError> {
        let count = |form: &SessionsForm| match form {
            SessionsForm::Number => Count::Pointer(String::new()),
            SessionsForm::Metric(name) => Count::Line(name.clone()),
            SessionsForm::Pointer(pointer) => Count::Pointer(pointer.clone()),
        };
        let probe = Probe {
            path: check.path.clone(),
            port: check.port,
            host: check.host.clone(),
            timeout: check.timeout,
            healthy_after: check.healthy_after,
            unhealthy_after: check.unhealthy_after,
            sessions: check
                .sessions
                .as_ref()
                .map(|page| Sessions { path: Some(page.path.clone()), count: count(&page.form) }),
        };
        let prober = Prober::new(probe.clone(), AT_ONCE, check.period.max(check.timeout))?;
        Ok(HealthWatch {
            class,
            period: check.period,
            prober,
            probe,
            board,
            clock,
            records: BTreeMap::new(),
            behind: BTreeSet::new(),
        })
    }

    /// One round.
    pub fn look(&mut self) {
        let targets = self.board.targets();
        let mine: BTreeMap<VmId, IpAddr> = targets
            .iter()
            .filter(|(_, (class, _))| *class == self.class)
            .map(|(vm, (_, address))| (*vm, *address))
            .collect();
        self.records.retain(|vm, (address, _)| mine.get(vm) == Some(address));
        let behind: BTreeMap<VmId, IpAddr> =
            mine.iter().filter(|(vm, _)| self.behind.contains(vm)).map(|(vm, address)| (*vm, *address)).collect();
        let probed = self.prober.round(if behind.is_empty() { &mine } else { &behind });
        let missed = |(vm, probed): (&VmId, &Probed)| (probed.answer == Answer::NotAsked).then_some(*vm);
        self.behind = probed.iter().filter_map(missed).collect();
        let at = (self.clock)();
        let mut said = BTreeMap::new();
        for (vm, probed) in probed {
            let fresh = || (mine[&vm], HealthRecord::new(&self.probe, at));
            let (_, record) = self.records.entry(vm).or_insert_with(fresh);
            record.note(&probed.answer, at);
            let sessions = probed.sessions.map(|sessions| u32::try_from(sessions).unwrap_or(u32::MAX));
            // A machine that could not be asked said nothing: what it said before grows old.
            if record.heard() == Some(at) {
                said.insert(vm, Asked { at, health: record.health(), sessions });
            }
        }
        self.board.asked(said);
    }
}
