//! An executor behind a lease, a kill switch and an audit log, all in one gate.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use forebay_adapters::Gate;
use forebay_adapters::audit::{self, Audit, Durability, Entry, Outcome, Text};
use forebay_adapters::kill_switch::KillSwitch;
use forebay_adapters::lease::{Acquired, Holder, Lease, LeaseTerms, Term, Waiting};
use forebay_adapters::machines::fake::{FakeExecutor, FakeHypervisor};
use forebay_adapters::machines::{Image, MachineCapabilities, MachineError, MachineExecutor, MachineSpec, Owner};
use forebay_world::{Bytes, Duration, Generation, Timestamp, VmId};

use super::child::folder;

const CAN: MachineCapabilities = MachineCapabilities {
    graceful_stop: true,
    statistics: false,
    paused_creation: false,
    idempotent_creation: true,
    native_token: false,
    configuration: false,
    ports: false,
    addresses: false,
    restart: true,
};

fn spec(vm: u64) -> MachineSpec {
    MachineSpec {
        vm: VmId(vm),
        generation: Generation(1),
        vcpus: 1,
        memory: Bytes(1 << 30),
        image: Image::Provider { image: "image".into(), kind: "small".into() },
        ports: Vec::new(),
        address: None,
        configuration: None,
        paused: false,
    }
}

fn instance(folder: &Path, nanos: &Arc<AtomicU64>) -> Lease {
    let nanos = nanos.clone();
    let clock = Arc::new(move || Duration::from_nanos(nanos.load(Ordering::SeqCst)));
    Lease::with_clock(folder, Holder::here().unwrap(), LeaseTerms::default(), clock).unwrap()
}

fn gate(term: &Term, switch: &KillSwitch, audit: &Arc<Mutex<Audit>>) -> Gate {
    let audit = audit.clone();
    term.gate().and(switch.gate()).telling(move |write, refused| {
        let outcome = refused.map_or(Outcome::Begun, |reason| Outcome::Refused { reason: reason.into() });
        let entry = Entry { order: "create".into(), target: Text::new(write), why: "test".into(), outcome };
        audit.lock().unwrap().append(Timestamp::EPOCH, entry, Durability::OnDisk).unwrap();
    })
}

#[test]
fn an_executor_writes_while_lease_and_switch_let_it_and_all_of_it_is_written_down() {
    let folder = folder();
    let nanos = Arc::new(AtomicU64::new(1));
    let hypervisor = FakeHypervisor::default();
    let owner: Owner = "crash".parse().unwrap();
    let mut executor = FakeExecutor::connect(&hypervisor, owner.clone(), CAN);
    let (mut first, mut second) = (instance(folder.path(), &nanos), instance(folder.path(), &nanos));
    let term = first.try_acquire().unwrap().term().unwrap();
    let begin = |term: &Term| {
        let audit = Audit::begin(folder.path(), term.epoch(), term.holder(), Timestamp::EPOCH).unwrap();
        Arc::new(Mutex::new(audit))
    };
    let audit = begin(&term);
    let stop = folder.path().join("stop");
    let switch = KillSwitch::with_files(Some(&stop), None).unwrap();

    let done = executor.create(&spec(1), &mut gate(&term, &switch, &audit)).unwrap();
    assert!(done.writes >= 2);
    // The switch is looked at before each write, and so before the second.
    let mut writes = 0;
    let path = stop.clone();
    let mut closing = gate(&term, &switch, &audit).telling(move |_, _| {
        writes += 1;
        if writes == 1 {
            fs::write(&path, "enough").unwrap();
        }
    });
    let before = hypervisor.writes();
    let error = executor.create(&spec(2), &mut closing).unwrap_err();
    assert!(matches!(&error, MachineError::Stopped(stopped) if stopped.why.contains("(\"enough\")")), "{error}");
    assert_eq!(hypervisor.writes(), before + 1);
    drop(closing);
    fs::remove_file(&stop).unwrap();

    // The lease runs out amid a call: the write that had begun may end, and is waited for; the next is refused.
    assert!(second.try_acquire().unwrap().term().is_none());
    let clock = nanos.clone();
    let mut lapsing = gate(&term, &switch, &audit).telling(move |_, _| {
        clock.fetch_add(LeaseTerms::default().duration.as_nanos(), Ordering::SeqCst);
    });
    let before = hypervisor.writes();
    lapsing.pass("a write").unwrap();
    let waiting = second.try_acquire().unwrap();
    assert!(matches!(waiting, Acquired::Waiting(Waiting::WriteUnderWay { .. })), "{waiting:?}");
    let error = executor.create(&spec(2), &mut lapsing).unwrap_err();
    assert!(matches!(&error, MachineError::Stopped(stopped) if stopped.why.contains("ran out")), "{error}");
    assert_eq!(hypervisor.writes(), before);
    // Nothing is held any more, though the gate is still there.
    let next = second.try_acquire().unwrap().term().unwrap();
    let theirs = begin(&next);
    executor.create(&spec(2), &mut gate(&next, &switch, &theirs)).unwrap();
    let error = executor.create(&spec(3), &mut gate(&term, &switch, &audit)).unwrap_err();
    assert!(error.to_string().contains("fenced: this is epoch 1, and epoch 2 has begun"), "{error}");

    let logs = audit::verify_folder(folder.path()).unwrap();
    assert_eq!(logs.iter().map(|log| log.epoch).collect::<Vec<_>>(), [1, 2]);
    let text = fs::read_to_string(&logs[0].path).unwrap();
    let told = |what: &str| text.matches(what).count();
    assert_eq!((told("\"refused\""), told("\"begun\"")), (3, done.writes as usize + 2));
}
