//! EC2's interface: tokens against a server of our own, and the wire against moto, which is somebody else's.

use std::net::IpAddr;
use std::time::Duration;

use forebay_adapters::machines::ec2::{Credentials, Ec2Executor, Ec2Region, Ec2View};
use forebay_adapters::machines::{
    Configuration, Foreign, Gate, Image, MachineError, MachineExecutor, MachineSpec, MachineState, MachineView, Owner,
};
use forebay_world::{Bytes, Generation, VmId};

use super::conformance::{self, Rig, other, owner};
use super::ec2_server::Server;
use super::lab;
use super::moto::{self, Moto};

fn region(endpoint: &str) -> Ec2Region {
    Ec2Region {
        endpoint: endpoint.to_owned(),
        region: moto::REGION.to_owned(),
        credentials: Credentials::fixed("AKID", "hunter2"),
        subnet: None,
        groups: Vec::new(),
    }
}

fn executor(endpoint: &str, owner: Owner) -> Ec2Executor {
    Ec2Executor::new(region(endpoint), owner).expect("loopback")
}

fn spec(vm: u64, image: &str) -> MachineSpec {
    let configuration =
        Configuration { user_data: "#cloud-config\n".to_owned(), network: None, host_name: format!("edge-{vm}") };
    MachineSpec {
        vm: VmId(vm),
        generation: Generation(3),
        vcpus: 2,
        memory: Bytes(1 << 30),
        image: Image::Provider { image: image.to_owned(), kind: "t3.micro".to_owned() },
        ports: Vec::new(),
        address: None,
        configuration: Some(configuration),
        paused: false,
    }
}

impl Rig for Server {
    fn connect(&self) -> Box<dyn MachineExecutor> {
        Box::new(executor(&self.endpoint(), owner()))
    }

    fn view(&self) -> Box<dyn MachineView> {
        Box::new(Ec2View::new(region(&self.endpoint()), owner()).expect("loopback"))
    }

    fn everything(&self) -> String {
        let mut state = self.state();
        // What is starting runs when it is looked at, whoever looks.
        state.instances.iter_mut().filter(|instance| instance.state == "pending").for_each(|i| i.state = "running");
        let asked = state.requests.iter().filter(|form| !form["Action"].starts_with("Describe")).count();
        format!("{asked} requests that may write: {:?}", state.instances)
    }

    fn spec(&self, vm: u64) -> MachineSpec {
        MachineSpec { address: Some(IpAddr::from([10, 0, 0, 10 + vm as u8])), ..spec(vm, "ami-1") }
    }

    fn runs(&self, vm: VmId) -> bool {
        let state = self.state();
        let mut ours = state.instances.iter().filter(|instance| {
            instance.tags["forebay:owner"] == owner().as_str() && instance.tags["forebay:vm"] == vm.0.to_string()
        });
        ours.any(|instance| matches!(instance.state, "pending" | "running"))
    }

    fn crash(&self, vm: VmId) -> bool {
        let number = vm.0.to_string();
        let mut state = self.state();
        state.instances.iter_mut().filter(|instance| instance.tags["forebay:vm"] == number).for_each(|instance| {
            if instance.tags["forebay:owner"] == owner().as_str() {
                instance.state = "terminated";
            }
        });
        true
    }

    fn add_stray(&self) -> bool {
        // A second instance of the same machine, as of a server that honours no tokens.
        let mut state = self.state();
        let mut second = state.instances.iter().rfind(|instance| instance.state == "running").unwrap().clone();
        second.id = format!("i-{:08x}", state.instances.len());
        state.instances.push(second);
        true
    }

    fn add_foreign(&self) {
        let theirs = MachineSpec { address: Some(IpAddr::from([10, 0, 0, 200])), ..self.spec(1) };
        executor(&self.endpoint(), other()).create(&theirs, &mut Gate::open()).expect("it is made");
    }

    fn check_foreign(&self, seen: &Foreign) {
        assert_eq!((seen.name.as_str(), &seen.id[..2]), (format!("{}-vm-1", other()).as_str(), "i-"));
        assert_eq!((seen.state, seen.vcpus, seen.kind.as_deref()), (MachineState::Running, Some(4), Some("t3.micro")));
        assert!(seen.since.is_some() && seen.memory.is_none() && seen.uuid.is_none(), "{seen:?}");
        assert_eq!(seen.tags["forebay:owner"], other().as_str());
    }

    fn foreign_is_untouched(&self) -> bool {
        let state = self.state();
        let mut others = state.instances.iter().filter(|instance| instance.tags["forebay:owner"] == other().as_str());
        others.all(|instance| instance.state == "running")
    }

    fn leftovers(&self) -> Vec<String> {
        let state = self.state();
        let ours = state.instances.iter().filter(|instance| instance.tags["forebay:owner"] == owner().as_str());
        ours.filter(|instance| instance.state != "terminated").map(|instance| instance.id.clone()).collect()
    }
}

#[test]
fn a_cloud_conforms() {
    conformance::conforms(&Server::start());
}

#[test]
fn a_creation_whose_reply_is_lost_is_not_repeated() {
    let server = Server::start();
    server.state().hide = true;
    let state = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = std::sync::Arc::clone(&state);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut gate = Gate::asking(move |_| {
                flag.store(true, std::sync::atomic::Ordering::SeqCst);
                // The server is told in the meantime.
                std::thread::sleep(Duration::from_millis(50));
                true
            });
            executor(&server.endpoint(), owner()).create(&server.spec(1), &mut gate)
        });
        while !state.load(std::sync::atomic::Ordering::SeqCst) {
            std::thread::yield_now();
        }
        server.state().lose_reply = true;
        let error = asking.join().unwrap().unwrap_err();
        assert!(matches!(error, MachineError::Unreachable { .. }), "{error}");
    });
    assert_eq!(server.leftovers().len(), 1, "it was made, and nobody was told");
    server.connect().create(&server.spec(1), &mut Gate::open()).unwrap();
    assert_eq!(server.leftovers().len(), 1);
    // A later plan asks for it before it shows: refused, and not made twice.
    let mut later = server.spec(1);
    later.generation = Generation(4);
    let error = server.connect().create(&later, &mut Gate::open()).unwrap_err();
    assert!(error.to_string().contains("IdempotentParameterMismatch"), "{error}");
    assert_eq!(server.leftovers().len(), 1);
    server.state().hide = false;
    server.connect().create(&later, &mut Gate::open()).unwrap();
    assert_eq!(server.leftovers().len(), 1);
}

#[test]
fn a_token_of_an_instance_that_has_ended_makes_another() {
    let server = Server::start();
    for forgotten in [false, true, true] {
        server.state().forget_dead = forgotten;
        let mut executor = server.connect();
        executor.create(&server.spec(1), &mut Gate::open()).unwrap();
        assert!(server.runs(VmId(1)), "forgotten: {forgotten}");
        executor.destroy(VmId(1), &mut Gate::open()).unwrap();
        assert!(!server.runs(VmId(1)));
    }
    let tokens: Vec<String> =
        server.state().requests.iter().filter_map(|form| form.get("ClientToken").cloned()).collect();
    assert!(tokens.iter().all(|token| token.len() == 64), "{tokens:?}");
}

#[test]
fn what_a_provider_says_is_told_apart_and_no_secret_with_it() {
    let server = Server::start();
    let cases: [(u16, &'static str, fn(&MachineError) -> bool); 9] = [
        (403, "UnauthorizedOperation", |error| matches!(error, MachineError::Denied { .. })),
        (401, "AuthFailure", |error| matches!(error, MachineError::Denied { .. })),
        (400, "InstanceLimitExceeded", |error| matches!(error, MachineError::Quota { vm: VmId(1), .. })),
        (400, "VcpuLimitExceeded", |error| matches!(error, MachineError::Quota { .. })),
        (400, "InvalidIPAddress.InUse", |error| matches!(error, MachineError::Quota { .. })),
        (503, "RequestLimitExceeded", |error| matches!(error, MachineError::Throttled { .. })),
        (400, "InvalidAMIID.NotFound", |error| matches!(error, MachineError::Missing { kind: "image", .. })),
        (500, "InternalError", |error| matches!(error, MachineError::Unreachable { .. })),
        (400, "SomethingNew", |error| matches!(error, MachineError::Rejected { .. })),
    ];
    for (status, code, is) in cases {
        server.state().refuse = Some((status, code, "words of theirs"));
        let error = server.connect().create(&server.spec(1), &mut Gate::open()).unwrap_err();
        assert!(is(&error), "{code}: {error:?}");
        assert!(error.to_string().contains("words of theirs"), "{error}");
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
    assert!(server.state().instances.is_empty());
    let mut executor = executor(&server.endpoint(), owner());
    executor.could_create(&server.spec(1)).unwrap();
    assert!(server.state().instances.is_empty(), "a dry run makes nothing");
    let error = executor.create(&spec(1, "ami-none"), &mut Gate::open()).unwrap_err();
    assert!(error.to_string().contains("ami-none"), "{error}");
    let shown = format!("{executor:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("AKID"), "{shown}");
    for address in ["http://ec2.example", "https://user@ec2.example", "ec2.example", "ftp://127.0.0.1"] {
        let error = Ec2Executor::new(region(address), owner()).unwrap_err();
        assert!(matches!(error, MachineError::Unsupported { .. }), "{address}: {error}");
    }
    drop(server);
    let error = executor.list().unwrap_err();
    assert!(matches!(error, MachineError::Unreachable { .. }), "{error}");
}

#[test]
fn an_instance_has_the_address_that_was_asked_for_or_is_found_out() {
    let server = Server::start();
    let v6 = MachineSpec { address: Some("fd00:20::7".parse().unwrap()), ..server.spec(1) };
    server.connect().create(&v6, &mut Gate::open()).unwrap();
    let seen = server.connect().list().unwrap();
    let given: Vec<String> = seen.machines[&VmId(1)].addresses.iter().map(IpAddr::to_string).collect();
    assert_eq!(given, ["10.0.0.250", "fd00:20::7"], "one that was asked for, and one that every instance has");
    // Somebody else's instance has it.
    let mut taken = server.spec(2);
    taken.address = Some(IpAddr::from([10, 0, 0, 250]));
    let error = server.connect().create(&taken, &mut Gate::open()).unwrap_err();
    assert!(matches!(&error, MachineError::Quota { vm: VmId(2), .. }), "{error:?}");
    assert!(error.to_string().contains("InvalidIPAddress.InUse"), "{error}");
    assert_eq!(server.leftovers().len(), 1);
    // A server that gives what it likes: said now, and whenever it is asked again; and it makes no further one.
    server.state().ignore_addresses = true;
    for what in ["made", "there"] {
        let error = server.connect().create(&server.spec(3), &mut Gate::open()).unwrap_err();
        assert!(matches!(&error, MachineError::NotVerified { vm: VmId(3), .. }), "{what}: {error:?}");
        let said = error.to_string();
        assert!(said.contains("has 10.0.0.251, and was to have 10.0.0.13"), "{what}: {said}");
    }
    // And one that does not tell what it gave.
    server.state().hide_addresses = true;
    let error = server.connect().create(&server.spec(4), &mut Gate::open()).unwrap_err();
    assert!(error.to_string().contains("has no address that is told, and was to have 10.0.0.14"), "{error}");
    assert_eq!(server.leftovers().len(), 3);
    for vm in 1..=4 {
        server.connect().remove(VmId(vm), &mut Gate::open()).unwrap();
    }
    assert!(server.leftovers().is_empty());
}

#[test]
fn tags_that_were_lost_are_mended_or_make_an_instance_nobodys() {
    let server = Server::start();
    let mut executor = server.connect();
    executor.create(&server.spec(1), &mut Gate::open()).unwrap();
    let data = server.state().instances[0].user_data.clone();
    assert_eq!(data, "I2Nsb3VkLWNvbmZpZwo=");
    server.state().instances[0].tags.remove("Name");
    assert_eq!(executor.create(&server.spec(1), &mut Gate::open()).unwrap().writes, 1);
    assert_eq!(server.state().instances[0].tags["Name"], format!("{}-vm-1", owner()));
    server.state().instances[0].tags.remove("forebay:spec");
    let seen = executor.list().unwrap();
    assert!(seen.machines.is_empty() && seen.foreign[0].owner == Some(owner()), "{seen:?}");
    // A machine of somebody's without any tag has the name that the provider gave it.
    server.state().instances[0].tags.clear();
    let seen = executor.list().unwrap().foreign;
    assert!(seen[0].name == seen[0].id && seen[0].owner.is_none() && seen[0].tags.is_empty(), "{seen:?}");
    server.state().instances[0].tags.extend(
        [("forebay:owner", owner().as_str()), ("forebay:vm", "1")]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    assert_eq!(executor.sweep(&mut Gate::open()).unwrap().writes, 0);
    let error = executor.create(&server.spec(1), &mut Gate::open()).unwrap_err();
    assert!(error.to_string().contains("forebay:spec"), "{error}");
}

#[test]
#[ignore = "needs python3-venv and moto from a Python package index"]
fn another_servers_words_are_understood() {
    if !lab::have(&["python3", "setpriv"]) {
        return;
    }
    let Some(moto) = Moto::start_or_say() else { return };
    let spec = |vm| spec(vm, moto::IMAGE);
    let mut theirs = executor(&moto.endpoint, other());
    theirs.create(&spec(1), &mut Gate::open()).unwrap();
    let mut ours = executor(&moto.endpoint, owner());
    assert!(ours.list().unwrap().machines.is_empty());
    ours.could_create(&spec(1)).unwrap();
    for vm in [1, 2] {
        assert_eq!(ours.create(&spec(vm), &mut Gate::open()).unwrap().writes, 1);
        assert_eq!(ours.create(&spec(vm), &mut Gate::open()).unwrap().writes, 0);
    }
    let seen = ours.list().unwrap();
    assert_eq!((seen.machines.len(), seen.foreign.len(), seen.strays.len()), (2, 1, 0), "{seen:?}");
    let foreign = &seen.foreign[0];
    assert_eq!((foreign.state, foreign.kind.as_deref()), (MachineState::Running, Some("t3.micro")), "{foreign:?}");
    assert!(foreign.since.is_some() && foreign.name == format!("{}-vm-1", other()), "{foreign:?}");
    println!("   {foreign}");
    assert_eq!(Ec2View::new(region(&moto.endpoint), owner()).unwrap().list().unwrap(), seen);
    let machine = &seen.machines[&VmId(2)];
    assert_eq!((machine.mark.spec, machine.mark.generation), (spec(2).digest(), Generation(3)));
    assert_eq!(machine.state, MachineState::Running);
    assert!(machine.since.is_some() && !machine.host.is_empty() && machine.name.starts_with("i-"), "{machine:?}");
    ours.remove(VmId(1), &mut Gate::open()).unwrap();
    // What has ended still shows: the next attempt is another.
    assert_eq!(ours.create(&spec(1), &mut Gate::open()).unwrap().writes, 1);
    for vm in [1, 2] {
        ours.remove(VmId(vm), &mut Gate::open()).unwrap();
    }
    assert!(ours.list().unwrap().machines.is_empty());
    assert_eq!(theirs.list().unwrap().machines.len(), 1);
}

#[test]
#[ignore = "needs python3-venv and moto from a Python package index"]
fn another_server_gives_the_address_that_is_asked_for_and_one_that_does_not_is_found_out() {
    if !lab::have(&["python3", "setpriv"]) {
        return;
    }
    let Some(moto) = Moto::start_or_say() else { return };
    let within = |subnet: String| Ec2Region { subnet: Some(subnet), ..region(&moto.endpoint) };
    let mut ours = Ec2Executor::new(within(moto.subnet("10.9.0.0/24")), owner()).unwrap();
    let at = |vm, address: &str| {
        let address: IpAddr = address.parse().unwrap();
        MachineSpec { address: Some(address), ..spec(vm, moto::IMAGE) }
    };
    for (vm, address) in [(1, "10.9.0.21"), (2, "10.9.0.200")] {
        for writes in [1, 0] {
            assert_eq!(ours.create(&at(vm, address), &mut Gate::open()).unwrap().writes, writes);
        }
        let seen = ours.list().unwrap();
        assert!(seen.machines[&VmId(vm)].addresses.iter().eq(&[address.parse::<IpAddr>().unwrap()]), "{seen:?}");
    }
    // It has no words for an address that is taken, and breaks off; nothing is made.
    let error = ours.create(&at(3, "10.9.0.21"), &mut Gate::open()).unwrap_err();
    assert!(matches!(error, MachineError::Unreachable { .. }), "{error}");
    assert_eq!(ours.list().unwrap().machines.len(), 2);
    // It knows nothing of addresses of IPv6.
    for _ in 0..2 {
        let error = ours.create(&at(4, "fd00:9::4"), &mut Gate::open()).unwrap_err();
        assert!(matches!(error, MachineError::NotVerified { vm: VmId(4), .. }), "{error}");
        println!("   {error}");
    }
    assert_eq!(ours.list().unwrap().machines.len(), 3);
    for vm in [1, 2, 4] {
        ours.remove(VmId(vm), &mut Gate::open()).unwrap();
    }
    assert!(ours.list().unwrap().machines.is_empty());
}

#[test]
#[ignore = "needs python3-venv and moto from a Python package index"]
fn another_server_finds_signatures_right_and_no_others() {
    if !lab::have(&["python3", "setpriv"]) {
        return;
    }
    let Some(moto) = Moto::start_or_say() else { return };
    let (key, secret) = moto.lock();
    let signed = |key: &str, secret: &str| {
        let credentials = Credentials::fixed(key, secret);
        Ec2Executor::new(Ec2Region { credentials, ..region(&moto.endpoint) }, owner()).unwrap()
    };
    let mut ours = signed(&key, &secret);
    assert!(ours.list().unwrap().machines.is_empty());
    ours.create(&spec(1, moto::IMAGE), &mut Gate::open()).unwrap();
    for (key, secret) in [(key.as_str(), "hunter2"), ("AKID", secret.as_str())] {
        let error = signed(key, secret).list().unwrap_err();
        assert!(matches!(error, MachineError::Denied { .. }), "{error:?}");
        println!("   {error}");
        assert!(!error.to_string().contains(secret), "{error}");
    }
    ours.remove(VmId(1), &mut Gate::open()).unwrap();
}
