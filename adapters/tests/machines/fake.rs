//! The hypervisor in memory, held against the suite, and what it does with its faults.

use std::collections::BTreeSet;
use std::net::IpAddr;

use forebay_adapters::machines::fake::{ALL, FakeExecutor, FakeHypervisor, FakeView, Fault};
use forebay_adapters::machines::{
    Attachment, Configuration, Foreign, Gate, Image, MacAddress, MachineCapabilities, MachineError, MachineExecutor,
    MachinePort, MachineSpec, MachineState, MachineStatistics, MachineView,
};
use forebay_world::{Bytes, Duration, Generation, Timestamp, VmId};

use super::conformance::{self, Rig, other, owner};

struct Memory {
    hypervisor: FakeHypervisor,
    can: MachineCapabilities,
}

const FEW: MachineCapabilities = MachineCapabilities {
    graceful_stop: false,
    statistics: false,
    paused_creation: false,
    configuration: false,
    ports: false,
    addresses: true,
    ..ALL
};

impl Memory {
    fn new(can: MachineCapabilities) -> Self {
        Memory { hypervisor: FakeHypervisor::default(), can }
    }

    fn create(&self, vm: u64) -> Result<u32, MachineError> {
        self.connect().create(&self.spec(vm), &mut Gate::open()).map(|done| done.writes)
    }
}

impl Rig for Memory {
    fn connect(&self) -> Box<dyn MachineExecutor> {
        Box::new(FakeExecutor::connect(&self.hypervisor, owner(), self.can))
    }

    fn view(&self) -> Box<dyn MachineView> {
        Box::new(FakeView::connect(&self.hypervisor, owner(), self.can))
    }

    fn everything(&self) -> String {
        format!("{} writes: {:?}", self.hypervisor.writes(), self.hypervisor)
    }

    fn spec(&self, vm: u64) -> MachineSpec {
        let port = MachinePort {
            name: format!("v{vm}"),
            mac: MacAddress([2, 0, 0, 0, 0, vm as u8]),
            attachment: Attachment::Bridge("br0".to_owned()),
        };
        let configuration =
            Configuration { user_data: "#cloud-config\n".to_owned(), network: None, host_name: format!("edge-{vm}") };
        MachineSpec {
            vm: VmId(vm),
            generation: Generation(3),
            vcpus: 1,
            memory: Bytes(64 << 20),
            image: Image::Provider { image: "image".to_owned(), kind: "small".to_owned() },
            ports: if self.can.ports { vec![port] } else { Vec::new() },
            address: self.can.addresses.then(|| IpAddr::from([10, 0, 0, vm as u8])),
            configuration: self.can.configuration.then_some(configuration),
            paused: false,
        }
    }

    fn runs(&self, vm: VmId) -> bool {
        let is = |(mark, state): &(forebay_adapters::machines::Mark, MachineState)| {
            mark.owner == owner() && mark.vm == vm && *state == MachineState::Running
        };
        self.hypervisor.machines().iter().any(is)
    }

    fn crash(&self, vm: VmId) -> bool {
        self.hypervisor.disturb(&owner(), vm, MachineState::Crashed)
    }

    fn add_stray(&self) -> bool {
        self.hypervisor.add_stray("a disk without a machine");
        true
    }

    fn add_foreign(&self) {
        self.hypervisor.add_foreign(Foreign::new("a machine of somebody's", "0x1"));
        let mut executor = FakeExecutor::connect(&self.hypervisor, other(), self.can);
        executor.create(&self.spec(1), &mut Gate::open()).expect("it is made");
    }

    fn check_foreign(&self, seen: &Foreign) {
        let known = (seen.name.as_str(), seen.uuid, seen.state, seen.since);
        let uuid = Some(other().uuid_of(VmId(1)));
        assert_eq!(known, ("vm-1", uuid, MachineState::Running, Some(Timestamp::EPOCH)));
    }

    fn foreign_is_untouched(&self) -> bool {
        let is = |(mark, state): &(forebay_adapters::machines::Mark, MachineState)| {
            mark.owner == other() && *state == MachineState::Running
        };
        self.hypervisor.machines().iter().filter(|machine| is(machine)).count() == 1
    }

    fn leftovers(&self) -> Vec<String> {
        let machines = self.hypervisor.machines();
        machines.iter().filter(|(mark, _)| mark.owner == owner()).map(|(mark, _)| mark.to_string()).collect()
    }
}

#[test]
fn a_hypervisor_in_memory_conforms_whatever_it_can() {
    conformance::conforms(&Memory::new(ALL));
    conformance::conforms(&Memory::new(FEW));
}

#[test]
fn a_view_opens_and_reads_without_a_write_whatever_fault_is_set() {
    let memory = Memory::new(ALL);
    memory.create(1).unwrap();
    memory.hypervisor.add_foreign(Foreign { vcpus: Some(2), ..Foreign::new("web", "0x1") });
    memory.hypervisor.fail_next([Fault::Rejected]);
    let (before, writes) = (memory.everything(), memory.hypervisor.writes());
    let mut view = memory.view();
    let seen = view.list().unwrap();
    assert_eq!((seen.machines.len(), seen.foreign[0].name.as_str(), seen.foreign[0].vcpus), (1, "web", Some(2)));
    assert_eq!(view.statistics().unwrap().len(), 1);
    drop(view);
    assert_eq!((memory.everything(), memory.hypervisor.writes()), (before, writes));
    assert!(memory.create(2).is_err(), "the fault was kept for a write");
    // What is no more, nobody sees.
    assert!(memory.hypervisor.remove_foreign("0x1") && !memory.hypervisor.remove_foreign("0x1"));
    assert!(memory.view().list().unwrap().foreign.is_empty());
    memory.hypervisor.set_reachable(false);
    assert!(matches!(memory.view().list().unwrap_err(), MachineError::Unreachable { .. }));
    assert!(matches!(memory.view().statistics().unwrap_err(), MachineError::Unreachable { .. }));
}

#[test]
fn a_lost_reply_makes_one_machine() {
    for lost in [Fault::Lost, Fault::LostReply] {
        for before in 0..2 {
            let memory = Memory::new(ALL);
            memory.hypervisor.fail_next(std::iter::repeat_n(Fault::None, before).chain([lost]));
            let error = memory.create(1).unwrap_err();
            assert!(matches!(error, MachineError::Unreachable { .. }), "{error:?}");
            memory.create(1).expect("the second time it is made");
            assert_eq!(memory.hypervisor.machines().len(), 1);
            assert!(memory.runs(VmId(1)));
        }
    }
}

#[test]
fn what_was_accepted_and_not_done_is_noticed() {
    let memory = Memory::new(ALL);
    for faults in [vec![Fault::Ignored, Fault::Ignored], vec![Fault::None, Fault::Ignored]] {
        memory.hypervisor.fail_next(faults);
        let error = memory.create(1).unwrap_err();
        assert!(matches!(error, MachineError::NotVerified { vm: VmId(1), .. }), "{error:?}");
    }
    memory.create(1).unwrap();
    let few = Memory::new(FEW);
    few.hypervisor.fail_next([Fault::OtherAddress]);
    for _ in 0..2 {
        let error = few.create(1).unwrap_err();
        assert!(matches!(error, MachineError::NotVerified { vm: VmId(1), .. }), "{error:?}");
    }
    let given = &few.connect().list().unwrap().machines[&VmId(1)].addresses;
    assert!(given.len() == 1 && !given.contains(&IpAddr::from([10, 0, 0, 1])), "{given:?}");
    type Ask = fn(&mut dyn MachineExecutor) -> Result<forebay_adapters::machines::Done, MachineError>;
    let asks: [Ask; 2] = [
        |executor| executor.destroy(VmId(1), &mut Gate::open()),
        |executor| executor.remove(VmId(1), &mut Gate::open()),
    ];
    for ask in asks {
        memory.hypervisor.fail_next([Fault::Ignored]);
        let error = ask(&mut *memory.connect()).unwrap_err();
        assert!(matches!(error, MachineError::NotVerified { vm: VmId(1), .. }), "{error:?}");
    }
}

#[test]
fn what_is_said_no_to_says_why() {
    let memory = Memory::new(ALL);
    memory.hypervisor.set_room(1);
    memory.create(1).unwrap();
    let error = memory.create(2).unwrap_err();
    assert!(matches!(error, MachineError::Quota { vm: VmId(2), .. }), "{error:?}");
    assert!(error.to_string().contains("no room for vm-2: 1 machines"), "{error}");
    memory.hypervisor.set_room(9);
    memory.hypervisor.lose_image("image");
    let error = memory.create(2).unwrap_err();
    assert!(error.to_string().contains("there is no image \"image\"; hint:"), "{error}");
    memory.hypervisor.set_reachable(false);
    for error in [memory.connect().list().unwrap_err(), memory.create(1).unwrap_err()] {
        assert!(matches!(error, MachineError::Unreachable { .. }), "{error:?}");
    }
}

#[test]
fn one_orphan_that_will_not_go_does_not_keep_the_others() {
    let memory = Memory::new(ALL);
    for vm in 1..=3 {
        memory.create(vm).unwrap();
    }
    memory.hypervisor.fail_next([Fault::None, Fault::Denied]);
    let later = Timestamp::from_secs(3600);
    let mut executor = memory.connect();
    let none = BTreeSet::new();
    let collected = executor.collect_orphans(&none, Duration::from_mins(1), 9, later, &mut Gate::open()).expect("seen");
    assert_eq!(collected.removed, [VmId(2), VmId(3)]);
    assert!(matches!(&collected.failed[..], [(VmId(1), MachineError::Denied { .. })]), "{collected:?}");
    // A clock that runs behind the one that made them makes nobody old.
    memory.hypervisor.set_now(Timestamp::from_secs(9000));
    memory.create(4).unwrap();
    let collected =
        executor.collect_orphans(&none, Duration::from_nanos(0), 9, later, &mut Gate::open()).expect("seen");
    assert_eq!((collected.removed, collected.waiting), (vec![VmId(1)], vec![VmId(4)]));
}

#[test]
fn a_guest_that_will_not_end_is_seen_to_be_asked_and_can_be_destroyed() {
    let memory = Memory::new(ALL);
    memory.create(1).unwrap();
    memory.hypervisor.obey(&owner(), VmId(1), false);
    let used = MachineStatistics { processor_time: Some(Duration::from_secs(2)), ..MachineStatistics::default() };
    memory.hypervisor.count(&owner(), VmId(1), used.clone());
    let mut executor = memory.connect();
    assert_eq!(executor.statistics().unwrap()[&VmId(1)], used);
    executor.shut_down(VmId(1), &mut Gate::open()).unwrap();
    assert_eq!(executor.list().unwrap().machines[&VmId(1)].state, MachineState::ShuttingDown);
    executor.destroy(VmId(1), &mut Gate::open()).unwrap();
    assert_eq!(executor.list().unwrap().machines[&VmId(1)].state, MachineState::ShutOff);
    assert!(executor.statistics().unwrap().is_empty());
}
