//! The switch in memory, held against the suite, and the suite held against its faults.

use forebay_adapters::slices::fake::{FakeExecutor, FakeSwitch, FakeView, Fault};
use forebay_adapters::slices::{Gate, LinkSlices, SliceError, SliceExecutor, SliceView};
use forebay_world::{BitsPerSecond, Capabilities, SliceId};

use super::conformance::{self, Rig, slices};

struct Memory {
    switch: FakeSwitch,
    can: Capabilities,
}

impl Memory {
    fn new(can: Capabilities) -> Self {
        Memory { switch: FakeSwitch::default(), can }
    }
}

impl Rig for Memory {
    fn connect(&self) -> Box<dyn SliceExecutor> {
        Box::new(FakeExecutor::connect(&self.switch, self.can))
    }

    fn view(&self) -> Box<dyn SliceView> {
        Box::new(FakeView::connect(&self.switch, self.can))
    }

    fn everything(&self) -> String {
        format!("{} writes: {:?}", self.switch.writes(), self.switch)
    }

    fn ports(&self) -> Vec<String> {
        if self.can.port_security { vec!["vnet0".to_owned(), "vnet1".to_owned()] } else { Vec::new() }
    }

    fn disturb(&self, way: usize) -> bool {
        match way {
            0 => self.switch.disturb(SliceId(0), |slice| slice.ceiling = BitsPerSecond(1_000_000)),
            1 => self.switch.disturb(SliceId(1), |slice| slice.sources.clear()),
            _ => false,
        }
    }

    fn add_foreign(&self) {
        self.switch.add_foreign("a queue of somebody's");
    }

    fn foreign_is_untouched(&self) -> bool {
        self.switch.foreign() == ["a queue of somebody's"]
    }

    fn leftovers(&self) -> Vec<String> {
        let standing = FakeExecutor::connect(&self.switch, self.can).read().expect("readable");
        if standing.is_empty() { Vec::new() } else { vec![format!("{standing:?}")] }
    }

    fn independent_differences(&self, _wanted: &LinkSlices) -> Vec<String> {
        Vec::new()
    }
}

const CEILINGS: Capabilities =
    Capabilities { guarantee: false, weight: false, priority: false, port_security: false, ..Capabilities::ALL };

#[test]
fn it_conforms_whatever_it_can_do() {
    conformance::conforms(&Memory::new(Capabilities::ALL));
    conformance::conforms(&Memory::new(CEILINGS));
    conformance::conforms(&Memory::new(Capabilities { weight: false, statistics: false, ..Capabilities::ALL }));
}

#[test]
fn what_fails_on_the_way_is_said_and_mended_by_the_same_call() {
    let faults = [
        (Fault::Lost, "broke"),
        (Fault::LostReply, "broke"),
        (Fault::Ignored, "not so"),
        (Fault::Rejected, "will not"),
    ];
    for (fault, said) in faults {
        for before in 0..5 {
            let rig = Memory::new(Capabilities::ALL);
            let wanted = slices(&rig, 1, &[(6, 10), (3, 8)]);
            rig.switch.fail_next(std::iter::repeat_n(Fault::None, before).chain([fault]));
            let mut executor = rig.connect();
            let error = executor.apply(&wanted, &mut Gate::open()).unwrap_err();
            assert!(error.to_string().contains(said), "{fault:?} after {before}: {error}");
            executor.apply(&wanted, &mut Gate::open()).expect("the same call mends it");
            assert_eq!(
                wanted.differences(&Capabilities::ALL, &executor.read().unwrap()).unwrap(),
                Vec::<String>::new()
            );
        }
    }
}

#[test]
fn a_view_is_no_writer_and_opens_and_reads_without_a_write() {
    let rig = Memory::new(Capabilities::ALL);
    let wanted = slices(&rig, 1, &[(6, 10), (3, 8)]);
    // The first that connects is the writer; a view is not the first.
    let mut view = rig.view();
    let mut executor = rig.connect();
    executor.apply(&wanted, &mut Gate::open()).unwrap();
    rig.switch.fail_next([Fault::Rejected]);
    let (before, writes) = (rig.everything(), rig.switch.writes());
    let standing = view.read().unwrap();
    assert_eq!(view.counters().unwrap().len(), 2);
    assert_eq!(rig.view().read().unwrap(), standing);
    drop(view);
    assert_eq!((rig.everything(), rig.switch.writes()), (before, writes));
    assert_eq!(wanted.differences(&Capabilities::ALL, &standing).unwrap(), Vec::<String>::new());
    assert!(executor.remove(&mut Gate::open()).is_err(), "the fault was kept for a write");
}

#[test]
fn a_switch_that_does_not_answer_is_an_error_and_not_an_empty_one() {
    let rig = Memory::new(Capabilities::ALL);
    rig.switch.set_reachable(false);
    let mut executor = rig.connect();
    assert!(matches!(executor.read().unwrap_err(), SliceError::Unreachable { .. }));
    assert!(matches!(executor.counters().unwrap_err(), SliceError::Unreachable { .. }));
    assert!(matches!(rig.view().read().unwrap_err(), SliceError::Unreachable { .. }));
    assert!(matches!(rig.view().counters().unwrap_err(), SliceError::Unreachable { .. }));
    let wanted = slices(&rig, 1, &[(6, 10)]);
    assert!(matches!(executor.apply(&wanted, &mut Gate::open()).unwrap_err(), SliceError::Unreachable { .. }));
    assert_eq!(rig.switch.writes(), 0);
}

#[test]
fn counters_are_of_the_slices_that_stand() {
    let rig = Memory::new(Capabilities::ALL);
    let mut executor = rig.connect();
    executor.apply(&slices(&rig, 1, &[(6, 10), (3, 8)]), &mut Gate::open()).unwrap();
    rig.switch.carry(SliceId(1), 3_000);
    let counted = executor.counters().unwrap();
    assert_eq!((counted[&SliceId(0)].bytes, counted[&SliceId(1)].bytes, counted[&SliceId(1)].packets), (0, 3_000, 2));
}
