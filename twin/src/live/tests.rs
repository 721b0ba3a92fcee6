//! Live mode over executors in memory, on a clock that is told what the time is.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use forebay_adapters::machines::fake::{FakeExecutor, FakeHypervisor, Fault};
use forebay_adapters::machines::{self, MachineExecutor, MachineState, MachineView};
use forebay_adapters::probe::Health;
use forebay_adapters::slices::fake::{FakeExecutor as FakeSlices, FakeSwitch};
use forebay_adapters::slices::{SliceExecutor, SliceView};
use forebay_adapters::steering::fake::{FakeExecutor as FakeAnswers, FakeServer, ZoneOptions};
use forebay_adapters::steering::{self, Guarded, SteeringExecutor, SteeringView};
use forebay_world::*;

use super::*;
use crate::controller::Controller;
use crate::deployment::rollout::Task;
use crate::drive::drive;
use crate::policy::{Ask, Policy, Situation};
use crate::production::Production;
use crate::watch::{Board, Clock, Hearing, Pace, QueryWatch, Tell};

/// Asks for what it is told to, in every cell; and hears another policy before, to whom nobody listens.
#[derive(Clone)]
struct Told(Arc<Mutex<Vec<u32>>>, Option<Box<dyn Policy>>);

impl Policy for Told {
    fn name(&self) -> &'static str {
        "told"
    }

    fn ask(&mut self, now: &Situation<'_>, asks: &mut [Ask]) {
        if let Some(unheard) = &mut self.1 {
            unheard.ask(now, asks);
        }
        let told = self.0.lock().unwrap();
        asks.iter_mut().zip(told.iter()).for_each(|(ask, vms)| ask.vms = *vms);
    }

    fn clone_box(&self) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}

/// A file of so many regions with so many hosts and classes each.
fn file(regions: usize, hosts: usize, classes: usize, more: &str) -> String {
    let mut text = format!(
        "[production]\nname = \"test\"\nowner = \"forebay-test\"\nstate = \"state\"\npolicy = \"predictive\"\n\
         [every_region]\naccess = {{ capacity = \"400 Gbit/s\", delay = \"5 ms\" }}\n\
         hosts = [{{ count = {hosts}, cpu = \"64 vCPU\", memory = \"256 GiB\", nic = \"100 Gbit/s\", concurrent_boots = 4 }}]\n\
         [mesh]\ncapacity = \"100 Gbit/s\"\n\
         [[flavour]]\nname = \"edge\"\ncpu = \"2 vCPU\"\nmemory = \"4 GiB\"\nbandwidth = \"2 Gbit/s\"\nprice_per_hour = 0.1\nboot_median = \"20 s\"\n\
         [image.edge]\nkernel = \"/boot/vmlinuz\"\n\
         [[hypervisor]]\nhosts = \"*\"\nkind = \"qemu\"\nacceleration = \"tcg\"\n\
         ",
    );
    let classes: Vec<String> = (0..classes).map(|class| format!("c{class}")).collect();
    text.push_str("[steering]\nkind = \"rfc2136\"\nserver = \"127.0.0.1:53\"\nzone = \"cdn.example\"\nkey_file = \"dns.key\"\nrails = { share_moved_most = 1.0, ttl_least = \"5 s\" }\n[steering.names]\n");
    for class in &classes {
        text.push_str(&format!("{class} = \"{class}.cdn.example\"\n"));
    }
    for class in &classes {
        text.push_str(&format!("[health.{class}]\nport = 80\npath = \"/\"\nsessions = {{ path = \"/sessions\" }}\n"));
        text.push_str(&format!(
            "[[class]]\nname = \"{class}\"\nkind = \"streaming\"\nflavour = \"edge\"\nbit_rate = \"5 Mbit/s\"\nduration = \"1 min\"\ncpu = \"10 mCPU\"\nttl = \"10 s\"\nviolation_price_per_minute = 1.0\n"
        ));
    }
    for region in 0..regions {
        text.push_str(&format!(
            "[[region]]\nname = \"r{region}\"\nlat = {}.0\nlon = 5.0\ntime_zone = \"UTC\"\n\
             [network.r{region}]\nexecutor = {{ kind = \"ovs\", database = \"unix:/run/ovs.sock\", bridge = \"br0\", port = \"up{region}\" }}\naddresses = \"10.{region}.0.0/20\"\n",
            region
        ));
    }
    text + "[controller]\nperiod = \"10 s\"\n" + more
}

/// Time that passes when it is told to.
#[derive(Clone)]
struct Simulated(Arc<AtomicU64>, Arc<AtomicBool>);

impl Simulated {
    fn at(seconds: u64) -> Simulated {
        Simulated(Arc::new(AtomicU64::new(seconds * 1_000_000_000)), Arc::default())
    }

    fn clock(&self) -> Clock {
        let time = Arc::clone(&self.0);
        Arc::new(move || Timestamp::from_nanos(time.load(Ordering::SeqCst)))
    }
}

impl Pace for Simulated {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::SeqCst))
    }

    fn rest(&mut self, span: Duration) {
        self.0.fetch_add(span.as_nanos(), Ordering::SeqCst);
    }

    fn is_over(&self) -> bool {
        self.1.load(Ordering::SeqCst)
    }
}

/// Guests: what runs serves after its boot, and has as many sessions as it is told.
struct Guests {
    hypervisors: Vec<FakeHypervisor>,
    board: Arc<Board>,
    clock: Clock,
    owner: machines::Owner,
    sessions: Arc<AtomicU64>,
}

const BOOT: Duration = Duration::from_secs(15);

impl Hand for Guests {
    fn look(&mut self) {
        let at = (self.clock)();
        let mut said = BTreeMap::new();
        for hypervisor in &self.hypervisors {
            hypervisor.set_now(at);
            let mut view = machines::fake::FakeView::connect(hypervisor, self.owner.clone(), machines::fake::ALL);
            for (vm, machine) in view.list().map(|seen| seen.machines).unwrap_or_default() {
                let is_up = machine.state == MachineState::Running;
                let is_well = is_up && machine.since.is_some_and(|since| at.since(since) >= BOOT);
                let sessions = Some(self.sessions.load(Ordering::SeqCst) as u32);
                said.insert(vm, (if is_well { Health::Healthy } else { Health::Unhealthy }, sessions));
            }
        }
        self.board.health(at, said);
    }

    fn carry_out(&mut self, _: &Task) -> Did {
        Did { outcome: crate::deployment::rollout::Outcome::Done, writes: 0, remarks: Vec::new() }
    }
}

/// A production in memory.
struct Lab {
    production: Arc<Production>,
    hypervisors: Vec<FakeHypervisor>,
    switches: Vec<FakeSwitch>,
    server: FakeServer,
    told: Arc<Mutex<Vec<u32>>>,
    unheard: Option<Box<dyn Policy>>,
    sessions: Arc<AtomicU64>,
    time: Simulated,
    is_closed: Arc<AtomicBool>,
    log: Rc<RefCell<Vec<String>>>,
}

/// What a provider's executor can do.
const CLOUD: machines::MachineCapabilities = machines::MachineCapabilities {
    graceful_stop: false,
    statistics: false,
    paused_creation: false,
    ports: false,
    addresses: true,
    restart: false,
    ..machines::fake::ALL
};

impl Lab {
    fn new(regions: usize, classes: usize, more: &str) -> Lab {
        Lab::with_hosts(regions, 2, classes, more)
    }

    fn with_hosts(regions: usize, hosts: usize, classes: usize, more: &str) -> Lab {
        Lab::of(&file(regions, hosts, classes, more))
    }

    /// One region of a cloud with one class: nobody makes slices there, and nothing is attached to a bridge.
    fn cloud(more: &str) -> Lab {
        let text = file(1, 2, 1, more);
        let executor = text.lines().find(|line| line.starts_with("executor = ")).unwrap();
        let text = text
            .replace(executor, "")
            .replace("kernel = \"/boot/vmlinuz\"", "provider_image = \"ami-1\"\nprovider_kind = \"t3.micro\"")
            .replace(
                "kind = \"qemu\"\nacceleration = \"tcg\"",
                "kind = \"ec2\"\nendpoint = \"https://ec2.example\"\nregion = \"eu\"\nsubnet = \"subnet-1\"",
            );
        Lab::of(&text)
    }

    fn of(text: &str) -> Lab {
        let production = Production::from_text("test.toml", text, Path::new("/nonexistent"))
            .unwrap_or_else(|error| panic!("{error}"));
        let cells = production.topology.cells();
        Lab {
            hypervisors: production.hypervisors.iter().map(|_| FakeHypervisor::default()).collect(),
            switches: production.networks.iter().map(|_| FakeSwitch::default()).collect(),
            server: FakeServer::default(),
            told: Arc::new(Mutex::new(vec![1; cells])),
            unheard: None,
            sessions: Arc::default(),
            time: Simulated::at(1_000_000),
            is_closed: Arc::default(),
            log: Rc::default(),
            production: Arc::new(production),
        }
    }

    fn world(&self, book: Book) -> (LiveWorld<Simulated, Inline>, Controller) {
        self.world_that_hears(book, None)
    }

    fn world_that_hears(&self, book: Book, queries: Option<QueryWatch>) -> (LiveWorld<Simulated, Inline>, Controller) {
        let (production, clock) = (Arc::clone(&self.production), self.time.clock());
        let board = Arc::new(Board::new(&production));
        let closed = Arc::clone(&self.is_closed);
        let gates: GateMaker = Arc::new(move || {
            let closed = Arc::clone(&closed);
            Gate::asking(move |_| !closed.load(Ordering::SeqCst))
        });
        let hand = |index: usize, hypervisor: &FakeHypervisor| -> Box<dyn Hand> {
            let (hypervisor, owner) = (hypervisor.clone(), production.owner.clone());
            let is_provider = production.hypervisors[index].hypervisor.is_provider();
            let can = if is_provider { CLOUD } else { machines::fake::ALL };
            let opener: Opener<Box<dyn MachineExecutor>> =
                Box::new(move || Ok(Box::new(FakeExecutor::connect(&hypervisor, owner.clone(), can))));
            let hands = MachineHands::new(
                index,
                Arc::clone(&production),
                Arc::clone(&board),
                Arc::clone(&clock),
                Arc::clone(&gates),
                opener,
            );
            Box::new(hands)
        };
        let link = |region: usize, switch: &FakeSwitch| -> Option<Box<dyn Hand>> {
            production.networks[region].as_ref()?.executor.as_ref()?;
            let switch = switch.clone();
            let opener: Opener<Box<dyn SliceExecutor>> =
                Box::new(move || Ok(Box::new(FakeSlices::connect(&switch, Capabilities::ALL))));
            Some(Box::new(LinkHands::new(
                RegionId::at(region),
                Arc::clone(&production),
                Arc::clone(&board),
                Arc::clone(&clock),
                Arc::clone(&gates),
                opener,
            )))
        };
        let answering = production.answering.clone().unwrap();
        let server = self.server.clone();
        let owner = production.owner.to_string();
        let opener: Opener<Guarded<Box<dyn SteeringExecutor>>> = Box::new(move || {
            let options = ZoneOptions::new(answering.zone.clone(), &owner);
            let executor = FakeAnswers::connect(&server, steering::fake::ALL, options);
            let executor: Box<dyn SteeringExecutor> = Box::new(executor.map_err(|error| error.to_string())?);
            Guarded::new(executor, answering.rails).map_err(|error| error.to_string())
        });
        let answers = AnswerHands::new(
            Arc::clone(&production),
            Arc::clone(&board),
            Arc::clone(&clock),
            Arc::clone(&gates),
            opener,
        );
        let guests = Guests {
            hypervisors: self.hypervisors.clone(),
            board: Arc::clone(&board),
            clock: Arc::clone(&clock),
            owner: production.owner.clone(),
            sessions: Arc::clone(&self.sessions),
        };
        let hands = Hands {
            hypervisors: self.hypervisors.iter().enumerate().map(|(index, h)| hand(index, h)).collect(),
            links: self.switches.iter().enumerate().map(|(region, switch)| link(region, switch)).collect(),
            answers: Some(Box::new(answers)),
            warmth: vec![Box::new(guests)],
        };
        let crew = Inline::new(&production, hands);
        let config = Release::confine(&production.mandates, &production.topology, &production.controller);
        let policy = Box::new(Told(Arc::clone(&self.told), self.unheard.clone()));
        let mut controller = Controller::new(Arc::clone(&production.topology), config, policy);
        let memory = book.memory();
        controller
            .go_on(crate::controller::Start { plan: memory.plan.as_deref().cloned(), guard: memory.guard.clone() });
        let world = LiveWorld::new(production, board, self.time.clone(), crew, queries, book, None);
        (world, controller)
    }

    /// So many seconds.
    fn run(&self, world: &mut LiveWorld<Simulated, Inline>, controller: &mut Controller, seconds: u64) {
        let until = world.now() + Duration::from_secs(seconds);
        let period = self.production.controller.period;
        drive(
            world,
            controller,
            period,
            until,
            |world, controller, _, _, decision| {
                world.note(&decision, controller.guard_memory()).unwrap();
                ControlFlow::Continue(())
            },
            |_, at, error| self.log.borrow_mut().push(format!("{at}: {error}")),
        )
        .unwrap();
        assert!(self.log.borrow().is_empty(), "{:?}", self.log.borrow());
    }

    fn machines(&self) -> BTreeMap<VmId, MachineState> {
        let mut all = BTreeMap::new();
        for hypervisor in &self.hypervisors {
            let mut view =
                machines::fake::FakeView::connect(hypervisor, self.production.owner.clone(), machines::fake::ALL);
            all.extend(view.list().unwrap().machines.into_iter().map(|(vm, machine)| (vm, machine.state)));
        }
        all
    }

    fn answered(&self) -> usize {
        self.answers().len()
    }

    /// Addresses that clients are told.
    fn answers(&self) -> BTreeSet<IpAddr> {
        let answering = self.production.answering.as_ref().unwrap();
        let options = ZoneOptions::new(answering.zone.clone(), self.production.owner.as_str());
        let mut view = FakeAnswers::connect(&self.server, steering::fake::ALL, options).unwrap();
        let standing = SteeringView::read(&mut view).unwrap();
        let can = view.capabilities();
        standing.names.values().flat_map(|name| name.addresses(&can)).collect()
    }

    fn ports(&self) -> usize {
        let ports = |switch: &FakeSwitch| {
            SliceView::read(&mut FakeSlices::connect(switch, Capabilities::ALL)).unwrap().ports.len()
        };
        self.switches.iter().map(ports).sum()
    }

    fn tell(&self, vms: u32) {
        self.told.lock().unwrap().fill(vms);
    }
}

const LIVE: &str = "[controller.guard]\nfloor = 0\n[live]\nmode = \"live\"\ndisruption = { vms = 2, share = 0.1 }\nshutdown_deadline = \"10 s\"\n";

#[test]
fn machines_come_serve_and_go_and_nothing_is_left() {
    let lab = Lab::new(1, 2, LIVE);
    let (mut world, mut controller) = lab.world(Book::unkept());
    lab.tell(2);
    lab.run(&mut world, &mut controller, 90);
    assert_eq!(lab.machines().len(), 4);
    assert!(lab.machines().values().all(|state| *state == MachineState::Running), "{:?}", lab.machines());
    assert_eq!((lab.answered(), lab.ports()), (4, 4));
    let seen = world.observe().unwrap();
    assert!(seen.vms.iter().all(|vm| vm.state == VmState::Ready), "{:?}", seen.vms);
    assert_eq!(seen.slices.len(), 2);

    // While they have sessions, none is ended before its deadline.
    lab.sessions.store(3, Ordering::SeqCst);
    lab.tell(1);
    lab.run(&mut world, &mut controller, 200);
    assert_eq!((lab.machines().len(), lab.answered()), (4, 2));
    lab.sessions.store(0, Ordering::SeqCst);
    lab.run(&mut world, &mut controller, 120);
    assert_eq!((lab.machines().len(), lab.answered(), lab.ports()), (2, 2, 2));

    lab.tell(0);
    lab.run(&mut world, &mut controller, 700);
    assert_eq!((lab.machines().len(), lab.answered(), lab.ports()), (0, 0, 0));
    // Slices stay a while after the last of their machines.
    lab.run(&mut world, &mut controller, 3_600);
    let standing = SliceView::read(&mut FakeSlices::connect(&lab.switches[0], Capabilities::ALL)).unwrap();
    assert!(standing.is_empty(), "{standing:?}");
    assert!(world.book().memory().courses.is_empty());
}

/// Addresses that a hypervisor gave its machines.
fn given(lab: &Lab) -> BTreeSet<IpAddr> {
    let owner = lab.production.owner.clone();
    let mut view = machines::fake::FakeView::connect(&lab.hypervisors[0], owner, CLOUD);
    view.list().unwrap().machines.into_values().flat_map(|machine| machine.addresses).collect()
}

#[test]
fn machines_of_a_cloud_are_given_the_addresses_that_clients_are_told() {
    let lab = Lab::cloud(LIVE);
    let pool = lab.production.network(RegionId(0)).unwrap().addresses.clone().unwrap();
    let (mut world, mut controller) = lab.world(Book::unkept());
    lab.tell(3);
    lab.run(&mut world, &mut controller, 90);
    let given = given(&lab);
    assert!(given.len() == 3 && given.iter().all(|address| pool.has(*address)), "{given:?}");
    assert_eq!(lab.answers(), given);
    let seen = world.observe().unwrap();
    assert!(seen.vms.len() == 3 && seen.vms.iter().all(|vm| vm.state == VmState::Ready), "{:?}", seen.vms);
    assert!(seen.slices.is_empty() && seen.coverage == 1.0, "{seen:?}");
    assert_eq!(lab.switches[0].writes(), 0);
    lab.tell(0);
    lab.run(&mut world, &mut controller, 700);
    assert_eq!((lab.machines().len(), lab.answered()), (0, 0));
    assert!(world.book().memory().courses.is_empty());
}

/// Somebody answers at the address that a machine was to have and has not.
#[test]
fn a_machine_that_has_another_address_than_it_was_given_gets_no_clients_and_is_replaced() {
    let lab = Lab::cloud(&LIVE.replace("[live]", "[live]\nboot_deadline = \"2 min\""));
    let (mut world, mut controller) = lab.world(Book::unkept());
    lab.tell(1);
    lab.hypervisors[0].fail_next([Fault::OtherAddress]);
    lab.run(&mut world, &mut controller, 90);
    let other: IpAddr = [203, 0, 113, 255].into();
    assert_eq!((given(&lab), lab.answered()), ([other].into(), 0));
    let said: Vec<Remark> = world.take_remarks();
    let is_told = |remark: &Remark| matches!(remark, Remark::Order { why, .. } if why.contains("203.0.113.255"));
    assert!(said.iter().any(is_told), "{said:?}");
    lab.run(&mut world, &mut controller, 200);
    assert_eq!((lab.machines().len(), lab.answered()), (1, 1), "another has its place");
    assert!(!given(&lab).contains(&other));
    assert_eq!(lab.answers(), given(&lab));
}

#[test]
fn a_quota_is_told_and_what_serves_stays() {
    let lab = Lab::cloud(LIVE);
    let (mut world, mut controller) = lab.world(Book::unkept());
    lab.tell(1);
    lab.run(&mut world, &mut controller, 60);
    let first = given(&lab);
    lab.hypervisors[0].set_room(1);
    lab.tell(2);
    let before = world.counts().orders["create"];
    for _ in 0..15 {
        lab.run(&mut world, &mut controller, 60);
        assert_eq!((given(&lab), lab.answers()), (first.clone(), first.clone()));
    }
    // On each of two hosts five tries within half a minute, and one a minute then.
    let tries = world.counts().orders["create"] - before;
    assert!((10..=38).contains(&tries), "{tries} tries in a quarter of an hour");
    let said = world.take_remarks();
    let is_told = |remark: &Remark| matches!(remark, Remark::Order { why, .. } if why.contains("no room for vm-"));
    assert_eq!(said.iter().filter(|remark| is_told(remark)).count() as u64, tries, "{said:?}");
    lab.hypervisors[0].set_room(9);
    lab.run(&mut world, &mut controller, 150);
    assert_eq!((lab.machines().len(), lab.answered()), (2, 2));
    assert!(lab.answers().is_superset(&first));
}

#[test]
fn a_closed_gate_lets_nothing_through_and_loses_nothing() {
    let lab = Lab::new(1, 1, LIVE);
    let (mut world, mut controller) = lab.world(Book::unkept());
    lab.is_closed.store(true, Ordering::SeqCst);
    lab.tell(2);
    lab.run(&mut world, &mut controller, 100);
    assert_eq!((lab.machines().len(), lab.switches[0].writes(), lab.server.writes()), (0, 0, 0));
    assert!(world.counts().stopped > 3);
    lab.is_closed.store(false, Ordering::SeqCst);
    lab.run(&mut world, &mut controller, 100);
    assert_eq!((lab.machines().len(), lab.answered()), (2, 2));
}

#[test]
fn what_is_not_seen_is_not_touched() {
    let lab = Lab::new(1, 1, &LIVE.replace("[live]", "[live]\nfreshness = \"20 s\""));
    let (mut world, mut controller) = lab.world(Book::unkept());
    lab.tell(4);
    lab.run(&mut world, &mut controller, 100);
    assert_eq!(lab.answered(), 4);
    lab.hypervisors[0].set_reachable(false);
    lab.tell(1);
    lab.run(&mut world, &mut controller, 600);
    lab.hypervisors[0].set_reachable(true);
    assert_eq!((lab.machines().len(), lab.answered()), (4, 4), "blind for ten minutes, and nothing shrinks");
    lab.run(&mut world, &mut controller, 300);
    assert_eq!((lab.machines().len(), lab.answered()), (1, 1));
}

#[test]
fn answers_that_a_hand_took_away_come_back() {
    let lab = Lab::new(1, 1, LIVE);
    let (mut world, mut controller) = lab.world(Book::unkept());
    lab.tell(2);
    lab.run(&mut world, &mut controller, 100);
    assert_eq!(lab.answered(), 2);
    let name = lab.production.answering.as_ref().unwrap().names[0].clone().unwrap();
    lab.server.put(&name, "POOL", &[]);
    assert_eq!(lab.answered(), 0);
    lab.run(&mut world, &mut controller, 10);
    assert_eq!(lab.answered(), 2);
}

#[test]
fn a_socket_of_dnstap_that_another_holds_shrinks_nothing_until_it_is_taken_over() {
    use forebay_adapters::dnstap_listener::{DnstapListener, ListenOptions};
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("tap.sock");
    let dns = format!(
        "{LIVE}[dns]\ndnstap = [\"unix:{}\"]\nzones = [\"cdn.example\"]\n[dns.geography]\nfallback = \"r0\"\n[dns.names]\nc0 = [\"c0.cdn.example\"]\n",
        socket.display()
    );
    let lab = Lab::new(1, 1, &dns);
    let named = lab.production.queries.as_ref().unwrap();
    let other = DnstapListener::bind(&named.dnstap, &ListenOptions::default()).unwrap();
    let watch = QueryWatch::new(&lab.production).unwrap().unwrap();
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&said);
    let tell: Tell = Arc::new(move |text| told.lock().unwrap().push(text));
    let _hearing = Hearing::start(named, &watch, &lab.time.clock(), Some(tell)).unwrap();
    let (mut world, mut controller) = lab.world_that_hears(Book::unkept(), Some(watch.clone()));
    lab.tell(4);
    lab.run(&mut world, &mut controller, 100);
    assert_eq!(lab.answered(), 4, "what is asked for is made all the same");
    lab.tell(1);
    lab.run(&mut world, &mut controller, 900);
    assert_eq!(world.observe().unwrap().coverage, 0.0);
    assert_eq!((lab.machines().len(), lab.answered()), (4, 4), "deaf for a quarter of an hour, and nothing shrinks");

    drop(other);
    let begun = std::time::Instant::now();
    let patience = |what: &str| {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{what} does not come about");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    while said.lock().unwrap().len() < 2 {
        patience("that the socket is taken over");
    }
    // Nobody sends yet: that is not heard either.
    lab.run(&mut world, &mut controller, 300);
    assert_eq!(lab.machines().len(), 4);
    let _sender = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    while !watch.close(world.now()).is_whole() {
        patience("that a sender is heard");
    }
    lab.run(&mut world, &mut controller, 300);
    assert_eq!((lab.machines().len(), lab.answered()), (1, 1));
}

#[test]
fn whoever_starts_next_goes_on_from_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(2, 1, LIVE);
    lab.tell(2);
    let mut epoch = 0;
    // Killed every few seconds, at another point each time; machines are never made twice, and none is left over.
    for seconds in (1..40).map(|turn| 10 + turn % 7) {
        epoch += 1;
        let (book, _) = Book::open(folder.path(), epoch, &lab.production.topology).unwrap();
        let (mut world, mut controller) = lab.world(book);
        lab.run(&mut world, &mut controller, seconds);
        assert!(lab.machines().len() <= 4, "{:?}", lab.machines());
    }
    assert_eq!((lab.machines().len(), lab.answered(), lab.ports()), (4, 4, 4));
    let ids: Vec<u64> = lab.machines().keys().map(|vm| vm.0).collect();
    assert_eq!(ids, [0, 1, 2, 3], "the first that were asked for are the ones that serve");
}

#[test]
fn a_cell_that_advises_waits_for_a_yes_and_one_in_shadow_is_left_alone() {
    let more = "[controller.guard]\nfloor = 0\n[live]\nmode = \"shadow\"\ncells = [{ cells = \"r0/c0\", mode = \"advise\" }, { cells = \"r0/c1\", mode = \"live\" }]\n";
    let lab = Lab::new(2, 2, more);
    let (mut world, mut controller) = lab.world(Book::unkept());
    lab.tell(1);
    lab.run(&mut world, &mut controller, 200);
    assert_eq!(lab.machines().len(), 1, "only r0/c1 is live");
    let proposals: Vec<Proposal> = world.proposals().cloned().collect();
    assert_eq!(proposals.len(), 1, "the same wish for three minutes: {proposals:?}");
    assert!(proposals[0].is_launch && proposals[0].planned.class == ClassId(0));
    assert!(!world.approve(VmId(77)).unwrap());
    assert!(world.approve(proposals[0].vm).unwrap());
    lab.run(&mut world, &mut controller, 100);
    assert_eq!((lab.machines().len(), lab.answered()), (2, 2));
    // To let one go takes a yes as well.
    lab.tell(0);
    lab.run(&mut world, &mut controller, 600);
    assert_eq!(lab.machines().len(), 1);
    let proposals: Vec<Proposal> = world.proposals().cloned().collect();
    assert!(proposals.len() == 1 && !proposals[0].is_launch, "{proposals:?}");
    assert!(world.approve(proposals[0].vm).unwrap());
    lab.run(&mut world, &mut controller, 600);
    assert_eq!(lab.machines().len(), 0);
}

#[test]
fn a_yes_at_a_beat_makes_one_machine() {
    let more = "[controller.guard]\nfloor = 0\n[live]\nmode = \"advise\"\n";
    let lab = Lab::new(1, 1, more);
    let (mut world, mut controller) = lab.world(Book::unkept());
    let beats = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&beats);
    // Whatever is proposed is approved at the next beat: at each second of a window, the last before its end among them.
    world.set_on_beat(Box::new(move |world| {
        counted.fetch_add(1, Ordering::SeqCst);
        let proposed: Vec<VmId> = world.proposals().map(|proposal| proposal.vm).collect();
        proposed.into_iter().for_each(|vm| assert!(world.approve(vm).unwrap()));
    }));
    for vms in 1..=4 {
        lab.tell(vms);
        lab.run(&mut world, &mut controller, 121);
        assert_eq!((lab.machines().len(), lab.answered()), (vms as usize, vms as usize));
        assert_eq!(world.counts().done["create"], u64::from(vms), "{:?}", world.counts());
    }
    assert!(beats.load(Ordering::SeqCst) >= 4 * 121);
}

#[test]
fn figures_for_prometheus_say_what_was_done_and_what_keeps_more_from_it() {
    let lab = Lab::new(1, 1, &LIVE.replace("floor = 0\n", "floor = 0\nbudget_per_hour = 9.5\n"));
    let (mut world, mut controller) = lab.world(Book::unkept());
    lab.tell(2);
    lab.run(&mut world, &mut controller, 100);
    let figure = |world: &mut LiveWorld<Simulated, Inline>, controller: &mut Controller, is_open: bool, name: &str| {
        let seen = world.observe().unwrap();
        let (_, decision) = controller.step(&seen);
        let governed = Governed {
            last: Some((&seen, &decision)),
            ticks: 11,
            tick_took: Duration::from_millis(3),
            missed: 1,
            epoch: 4,
            lease_left: Duration::from_secs(7),
            is_open,
            silent: &[("zone cdn.example".to_owned(), "refused".to_owned())],
        };
        let text = page(world, &governed).text().to_owned();
        let line = text.lines().find(|line| line.starts_with(name) && line[name.len()..].starts_with(' '));
        line.map(|line| line[name.len() + 1..].parse::<f64>().unwrap())
    };
    let mut figure = |is_open: bool, name: &str| figure(&mut world, &mut controller, is_open, name);
    let cell = "region=\"r0\",class=\"c0\"";
    for (name, value) in [
        ("forebay_live_orders_total{order=\"create\",outcome=\"done\"}".to_owned(), 2.0),
        (format!("forebay_live_machines{{{cell},state=\"ready\"}}"), 2.0),
        (format!("forebay_live_machines{{{cell},state=\"failed\"}}"), 0.0),
        (format!("forebay_live_machines_wanted{{{cell},by=\"planned\"}}"), 2.0),
        ("forebay_live_lease_epoch".to_owned(), 4.0),
        ("forebay_live_kill_switch_open".to_owned(), 1.0),
        ("forebay_live_ticks_total".to_owned(), 11.0),
        ("forebay_live_ticks_missed_total".to_owned(), 1.0),
        ("forebay_live_tick_duration_seconds".to_owned(), 0.003),
        ("forebay_live_cost_per_hour".to_owned(), 0.2),
        ("forebay_live_budget_per_hour".to_owned(), 9.5),
        ("forebay_live_silent{source=\"zone cdn.example\"}".to_owned(), 1.0),
        ("forebay_live_coverage_ratio".to_owned(), 1.0),
        ("forebay_live_orders_out".to_owned(), 0.0),
    ] {
        assert_eq!(figure(true, &name), Some(value), "{name}");
    }
    assert_eq!(figure(false, "forebay_live_kill_switch_open"), Some(0.0));
    let age = figure(true, "forebay_live_sight_age_seconds{sight=\"link of r0\"}").expect("it was looked at");
    assert!((0.0..=3.0).contains(&age), "{age}");
    assert_eq!(figure(true, "forebay_live_orders_total{order=\"create\",outcome=\"refused\"}"), None);

    // What is not let through is counted as such, and said.
    lab.is_closed.store(true, Ordering::SeqCst);
    lab.tell(3);
    lab.run(&mut world, &mut controller, 60);
    assert!(world.counts().refused.values().sum::<u64>() == world.counts().stopped && world.counts().stopped > 0);
    assert!(world.take_remarks().iter().any(|remark| matches!(remark, Remark::Order { is_refused: true, .. })));
    assert!(world.take_remarks().is_empty());
}

#[test]
fn an_image_that_is_missing_costs_no_capacity_that_stands() {
    let lab = Lab::new(1, 1, LIVE);
    let (mut world, mut controller) = lab.world(Book::unkept());
    lab.tell(2);
    lab.run(&mut world, &mut controller, 100);
    lab.hypervisors[0].lose_image("/boot/vmlinuz");
    lab.tell(4);
    lab.run(&mut world, &mut controller, 600);
    assert_eq!((lab.machines().len(), lab.answered()), (2, 2));
    assert!(world.counts().failed["create"] < 60, "tried again and again: {:?}", world.counts());
}

/// The long run: `FOREBAY_HOURS=24 cargo test --release --lib live::tests::hours -- --nocapture`, with eleven machines of
/// each class in each region, or as many as `FOREBAY_MACHINES` says.
#[test]
fn hours_over_thirty_regions_keep_memory_flat() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let hours = number("FOREBAY_HOURS").unwrap_or(0);
    let minutes = if hours > 0 { hours * 60 } else { 20 };
    let (regions, each) = if hours > 0 { (30, 11) } else { (4, 5) };
    let each = number("FOREBAY_MACHINES").unwrap_or(each);
    // A host has room for 32, and the day's height is 1.3 of its mean.
    let hosts = (3.0 * 1.4 * each as f64 / 32.0).ceil() as usize;
    let more = LIVE.replace("[controller.guard]", "").replace("floor = 0\n", "");
    let mut lab = Lab::with_hosts(regions, hosts.max(2), 3, &more.replace("[live]", "[live]\nfreshness = \"3 min\""));
    let (topology, config) = (&lab.production.topology, &lab.production.controller);
    // What decides takes its time; what it says would answer to the sessions of the machines that it has asked for.
    let predictive = crate::policy::build("predictive", config, topology, &crate::policy::Knowledge::default());
    lab.unheard = Some(predictive.unwrap());
    lab.sessions.store(100, Ordering::SeqCst);
    let folder = tempfile::tempdir().unwrap();
    let (book, _) = Book::open(folder.path(), 1, &lab.production.topology).unwrap();
    let (mut world, mut controller) = lab.world(book);
    let resident = || -> u64 {
        let text = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let mut peaks = Vec::new();
    let (mut ticks, mut orders) = (Vec::new(), Vec::new());
    for minute in 0..minutes {
        // A day's course in every cell, up and down.
        let phase = minute as f64 / 720.0 * std::f64::consts::PI;
        lab.tell((each as f64 * (1.0 + 0.3 * phase.sin())).round() as u32);
        for _ in 0..6 {
            let began = std::time::Instant::now();
            let seen = world.observe().unwrap();
            let (plan, decision) = controller.step(&seen);
            world.note(&decision, controller.guard_memory()).unwrap();
            ticks.push(began.elapsed());
            let began = std::time::Instant::now();
            world.submit(&plan).unwrap();
            orders.push(began.elapsed());
            let until = world.now() + Duration::from_secs(10);
            world.wait_until(until).unwrap();
        }
        if minute % 60 == 59 || minute + 1 == minutes {
            peaks.push(resident());
        }
    }
    let told = |mut spans: Vec<std::time::Duration>| {
        spans.sort_unstable();
        let [median, most, longest] = [spans.len() / 2, spans.len() * 99 / 100, spans.len() - 1].map(|at| spans[at]);
        format!("median {median:?}, 99 % {most:?}, longest {longest:?}")
    };
    println!(
        "{regions} regions x 3 classes, {} machines on {} hosts, {minutes} min: decision {}; orders {}; own memory [KiB] by hour {peaks:?}",
        lab.machines().len(),
        lab.production.topology.hosts.len(),
        told(ticks),
        told(orders),
    );
    assert!(lab.machines().len() as u64 >= regions as u64 * 3 * (each - each / 5));
    if let [_, second, .., last] = peaks[..] {
        assert!(last < second + second / 5, "memory grows: {peaks:?}");
    }
}
