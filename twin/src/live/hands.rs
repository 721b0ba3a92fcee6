//! Hands: each carries out the orders of one hypervisor, link or name server, and looks again after each.

use std::net::IpAddr;
use std::sync::Arc;

use forebay_adapters::Prefix;
use forebay_adapters::machines::{MachineError, MachineExecutor};
use forebay_adapters::probe::Warming;
use forebay_adapters::slices::{SliceError, SliceExecutor};
use forebay_adapters::steering::{Guarded, SteeringError, SteeringExecutor, SteeringView};
use forebay_world::{Duration, RegionId};

use super::{GateMaker, answers, shape};
use crate::deployment::rollout::{Failure, Outcome, Task};
use crate::production::Production;
use crate::watch::{Board, Clock, Names, look_at_answers, look_at_hypervisor, look_at_link};

/// What a hand did.
#[derive(Clone, Debug, PartialEq)]
pub struct Did {
    /// How it ended.
    pub outcome: Outcome,
    /// Writes that it took.
    pub writes: u32,
    /// What else is to be said of it.
    pub remarks: Vec<String>,
}

impl Did {
    fn done(writes: u32) -> Did {
        Did { outcome: Outcome::Done, writes, remarks: Vec::new() }
    }

    fn failed(failure: Failure, why: impl std::fmt::Display) -> Did {
        Did { outcome: Outcome::Failed { failure, why: why.to_string() }, writes: 0, remarks: Vec::new() }
    }
}

/// Carries orders out, and looks.
pub trait Hand: Send {
    /// Looks at what there is, and puts it on the board.
    fn look(&mut self);

    /// Carries one order out.
    fn carry_out(&mut self, task: &Task) -> Did;
}

/// Opens an executor, as often as it has to be.
pub type Opener<E> = Box<dyn FnMut() -> Result<E, String> + Send>;

/// The executor that is open, or a new one.
fn open<'a, E>(executor: &'a mut Option<E>, opener: &mut Opener<E>) -> Result<&'a mut E, String> {
    match executor {
        Some(executor) => Ok(executor),
        None => Ok(executor.insert(opener()?)),
    }
}

/// The hand of a hypervisor.
pub struct MachineHands {
    index: usize,
    production: Arc<Production>,
    board: Arc<Board>,
    clock: Clock,
    gates: GateMaker,
    opener: Opener<Box<dyn MachineExecutor>>,
    executor: Option<Box<dyn MachineExecutor>>,
}

impl MachineHands {
    /// The hand of the hypervisor at this position of the file's.
    pub fn new(
        index: usize,
        production: Arc<Production>,
        board: Arc<Board>,
        clock: Clock,
        gates: GateMaker,
        opener: Opener<Box<dyn MachineExecutor>>,
    ) -> Self {
        MachineHands { index, production, board, clock, gates, opener, executor: None }
    }
}

impl Hand for MachineHands {
    fn look(&mut self) {
        let at = (self.clock)();
        let hypervisor = &self.production.hypervisors[self.index].hypervisor;
        let seen = open(&mut self.executor, &mut self.opener)
            .and_then(|executor| look_at_hypervisor(&mut **executor).map_err(|error| hypervisor.told(&error)));
        if seen.is_err() {
            self.executor = None;
        }
        self.board.hypervisor(self.index, at, seen);
    }

    fn carry_out(&mut self, task: &Task) -> Did {
        let executor = match open(&mut self.executor, &mut self.opener) {
            Ok(executor) => executor,
            Err(why) => return Did::failed(Failure::Unreachable, why),
        };
        let mut gate = (self.gates)();
        let result = match task {
            Task::Create { vm, generation, planned, address, .. } => {
                let capabilities = executor.capabilities();
                match shape::machine(&self.production, capabilities, *vm, *generation, planned, *address) {
                    Ok(spec) => executor.create(&spec, &mut gate),
                    Err(why) => return Did::failed(Failure::Permanent, why),
                }
            }
            Task::Resume(vm) => executor.resume(*vm, &mut gate),
            Task::ShutDown(vm) => executor.shut_down(*vm, &mut gate),
            Task::Remove(vm) => executor.remove(*vm, &mut gate),
            Task::Slice { .. } | Task::Answer { .. } | Task::Warm { .. } => unreachable!("no hypervisor's task"),
        };
        match result {
            Ok(done) => Did::done(done.writes),
            Err(error) => {
                let failure = match &error {
                    MachineError::Stopped(_) => Failure::Stopped,
                    MachineError::Unreachable { .. } => Failure::Unreachable,
                    MachineError::Unsupported { .. }
                    | MachineError::Contradiction { .. }
                    | MachineError::Conflict { .. }
                    | MachineError::Foreign { .. }
                    | MachineError::Missing { .. }
                    | MachineError::Denied { .. } => Failure::Permanent,
                    _ => Failure::Transient,
                };
                if failure == Failure::Unreachable {
                    self.executor = None;
                }
                Did::failed(failure, self.production.hypervisors[self.index].hypervisor.told(&error))
            }
        }
    }
}

/// The hand of a region's access link.
pub struct LinkHands {
    region: RegionId,
    production: Arc<Production>,
    board: Arc<Board>,
    clock: Clock,
    gates: GateMaker,
    opener: Opener<Box<dyn SliceExecutor>>,
    executor: Option<Box<dyn SliceExecutor>>,
    asked: crate::watch::Asked,
}

impl LinkHands {
    /// The hand of a region's link.
    pub fn new(
        region: RegionId,
        production: Arc<Production>,
        board: Arc<Board>,
        clock: Clock,
        gates: GateMaker,
        opener: Opener<Box<dyn SliceExecutor>>,
    ) -> Self {
        LinkHands { region, production, board, clock, gates, opener, executor: None, asked: None }
    }
}

impl Hand for LinkHands {
    fn look(&mut self) {
        let at = (self.clock)();
        let asked = &self.asked;
        let seen = open(&mut self.executor, &mut self.opener)
            .and_then(|executor| look_at_link(&mut **executor, asked).map_err(|error| error.to_string()));
        if seen.is_err() {
            self.executor = None;
        }
        self.board.link(self.region.index(), at, seen);
    }

    fn carry_out(&mut self, task: &Task) -> Did {
        let Task::Slice { generation, slices, ports } = task else { unreachable!("no link's task") };
        let executor = match open(&mut self.executor, &mut self.opener) {
            Ok(executor) => executor,
            Err(why) => return Did::failed(Failure::Unreachable, why),
        };
        let mut wanted = shape::link(&self.production, self.region, *generation, slices, ports);
        let mut gate = (self.gates)();
        if slices.is_empty() && ports.is_empty() {
            return match executor.remove(&mut gate) {
                Ok(applied) => {
                    self.asked = Some(wanted);
                    Did::done(applied.writes)
                }
                Err(error) => self.failed(error),
            };
        }
        if !executor.capabilities().port_security {
            // Whoever cannot keep a machine to its addresses can still tell whose packets they are.
            for port in std::mem::take(&mut wanted.ports).into_values() {
                let alone = |address: IpAddr| Prefix::new(address, if address.is_ipv4() { 32 } else { 128 });
                let sources = port.addresses.into_iter().filter_map(alone);
                wanted.slices.entry(port.slice).and_modify(|slice| slice.sources.extend(sources));
            }
        }
        let mut remarks = Vec::new();
        loop {
            match executor.apply(&wanted, &mut gate) {
                Ok(applied) => {
                    self.asked = Some(wanted);
                    return Did { outcome: Outcome::Done, writes: applied.writes, remarks };
                }
                // A machine whose port somebody took away is in nobody else's way.
                Err(SliceError::Unknown { kind: "port", name, .. }) if wanted.ports.remove(&name).is_some() => {
                    remarks.push(format!("there is no port {name}"));
                }
                Err(error) => return self.failed(error),
            }
        }
    }
}

impl LinkHands {
    fn failed(&mut self, error: SliceError) -> Did {
        let failure = match &error {
            SliceError::Stopped(_) => Failure::Stopped,
            SliceError::Unreachable { .. } => Failure::Unreachable,
            SliceError::Refused(_)
            | SliceError::Unguarded { .. }
            | SliceError::Contradiction { .. }
            | SliceError::Foreign { .. }
            | SliceError::Stale { .. } => Failure::Permanent,
            _ => Failure::Transient,
        };
        if matches!(error, SliceError::Unreachable { .. } | SliceError::Ovsdb(_) | SliceError::Netlink(_)) {
            self.executor = None;
        }
        Did::failed(failure, error)
    }
}

/// The hand of the name server.
pub struct AnswerHands {
    production: Arc<Production>,
    board: Arc<Board>,
    clock: Clock,
    gates: GateMaker,
    opener: Opener<Guarded<Box<dyn SteeringExecutor>>>,
    executor: Option<Guarded<Box<dyn SteeringExecutor>>>,
}

impl AnswerHands {
    /// The hand of the name server.
    pub fn new(
        production: Arc<Production>,
        board: Arc<Board>,
        clock: Clock,
        gates: GateMaker,
        opener: Opener<Guarded<Box<dyn SteeringExecutor>>>,
    ) -> Self {
        AnswerHands { production, board, clock, gates, opener, executor: None }
    }
}

impl Hand for AnswerHands {
    fn look(&mut self) {
        let at = (self.clock)();
        let seen = open(&mut self.executor, &mut self.opener)
            .and_then(|guarded| look_at_answers(&mut **guarded.executor(), &[]).map_err(|error| error.to_string()));
        if seen.is_err() {
            self.executor = None;
        }
        self.board.answers(at, seen);
    }

    fn carry_out(&mut self, task: &Task) -> Did {
        let Task::Answer { generation, members, steering } = task else { unreachable!("no name server's task") };
        let guarded = match open(&mut self.executor, &mut self.opener) {
            Ok(guarded) => guarded,
            Err(why) => return Did::failed(Failure::Unreachable, why),
        };
        let per_region = guarded.executor().capabilities().per_region;
        let (wanted, mut remarks) = answers::answers(&self.production, *generation, members, steering, per_region);
        if wanted.names.is_empty() {
            // Nobody is sent anywhere: nothing of ours is to be left.
            return match guarded.executor().remove(&mut (self.gates)()) {
                Ok(applied) => Did::done(applied.writes),
                Err(error) => self.failed(error),
            };
        }
        match guarded.apply(&wanted, &mut (self.gates)()) {
            Ok(step) => {
                let is_whole = step.step.share_left <= 0.0;
                remarks.extend(step.step.remarks.iter().map(ToString::to_string));
                let outcome = if is_whole { Outcome::Done } else { Outcome::Underway };
                Did { outcome, writes: step.applied.writes, remarks }
            }
            Err(error) => self.failed(error),
        }
    }
}

impl AnswerHands {
    fn failed(&mut self, error: SteeringError) -> Did {
        let failure = match &error {
            SteeringError::Stopped(_) => Failure::Stopped,
            SteeringError::Unreachable { .. } => Failure::Unreachable,
            SteeringError::Contradiction { .. } => Failure::Permanent,
            _ => Failure::Transient,
        };
        if failure == Failure::Unreachable {
            self.executor = None;
        }
        Did::failed(failure, error)
    }
}

/// The hand that warms machines up.
pub struct WarmHands {
    production: Arc<Production>,
    gates: GateMaker,
}

impl WarmHands {
    /// The hand that warms machines up.
    pub fn new(production: Arc<Production>, gates: GateMaker) -> Self {
        WarmHands { production, gates }
    }
}

/// Paths that are asked for at the same time, and what one of them may be.
const WARM_AT_ONCE: usize = 8;
const WARM_BYTES_MOST: u64 = 1 << 30;
/// Time for all of them. What has not come by then comes with the first clients.
const WARM_LONGEST: Duration = Duration::from_mins(1);

impl Hand for WarmHands {
    fn look(&mut self) {}

    fn carry_out(&mut self, task: &Task) -> Did {
        let Task::Warm { class, region, address, .. } = task else { unreachable!("not about warmth") };
        let (Some(check), Some(address)) =
            (self.production.health_of(*class), Names(&self.production).address(*region, *address))
        else {
            return Did::failed(Failure::Permanent, "nothing is said of what it shall have, or where it is");
        };
        // It changes what a machine holds: a stopped controller does not.
        if let Err(stopped) = (self.gates)().pass("warm a machine") {
            return Did::failed(Failure::Stopped, stopped);
        }
        let warming = Warming {
            paths: check.warm.clone(),
            port: check.port,
            host: check.host.clone(),
            parallel: WARM_AT_ONCE,
            timeout: check.timeout.max(Duration::from_secs(10)),
            longest: WARM_LONGEST,
            bytes_most: WARM_BYTES_MOST,
        };
        match warming.warm(address) {
            Ok(warmed) => {
                let (came, all) = (warmed.came, check.warm.len());
                Did { outcome: Outcome::Done, writes: 0, remarks: vec![format!("{came} of {all} paths came")] }
            }
            Err(error) => Did::failed(Failure::Permanent, error),
        }
    }
}
