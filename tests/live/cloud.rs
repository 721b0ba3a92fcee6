//! Machines of a cloud: they stand before the crowd comes, are answered at the addresses that they were given, and go after
//! it; a quota is told, and what serves stays; credentials that nobody knows are told, and whose they are.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use forebay_world::Timestamp;

use super::crowd::{Crowd, NAME};
use super::edge::assert_journals_replay;
use super::instance::Instance;
use super::knot::{self, Knot};
use super::lab::have;
use super::moto::{self, Moto};
use super::sky::{Gatekeeper, Guests, instances};
use super::trail::{Noted, Trail};

/// When the crowd comes, and how long it stays.
const CROWD_BEGINS: Duration = Duration::from_secs(75);
const CROWD_STAYS: Duration = Duration::from_secs(40);
/// Requests a second before and after it, and with it.
const RATES: [f64; 2] = [5.0, 30.0];
const PATIENCE: Duration = Duration::from_secs(90);
/// Time for which a quota is exceeded.
const QUOTA: Duration = Duration::from_secs(60);

/// A cloud, a name server, and forebay. What is used first goes first.
struct Scene {
    forebay: Option<Instance>,
    guests: Guests,
    gatekeeper: Gatekeeper,
    _knot: Knot,
    moto: Arc<Moto>,
    owner: String,
    dns_port: u16,
    health_port: u16,
    subnet: String,
    network: String,
    begun: Instant,
    epoch: Duration,
    folder: tempfile::TempDir,
}

/// `None` where something is missing, which has been said.
fn scene() -> Option<Scene> {
    if !have(&["python3", "setpriv", "knotd", "knotc"]) {
        return None;
    }
    let moto = Arc::new(Moto::start_or_say()?);
    let folder = tempfile::Builder::new().prefix("fb").tempdir().unwrap();
    let process = std::process::id();
    // Of the networks of loopback, one for each process.
    let network = format!("127.{}.{}", 64 + process % 64, process / 64 % 256);
    let subnet = moto.subnet(&format!("{network}.0/24"));
    let owner = format!("forebay-{process}");
    let dns_port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let health_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let knot = Knot::start(None, folder.path(), dns_port, &[]);
    let begun = Instant::now();
    while knot::zone(folder.path()).is_none_or(|zone| !zone.contains("192.0.2.1")) {
        assert!(begun.elapsed() < PATIENCE, "knot does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    fs::write(
        folder.path().join("small.yaml"),
        "#cloud-config\nbootcmd: [echo {address}/{prefix_length} via {gateway}]\n",
    )
    .unwrap();
    let gatekeeper = Gatekeeper::start(&moto.endpoint);
    let guests = Guests::start(Arc::clone(&moto), owner.clone(), health_port, folder.path());
    let scene = Scene {
        forebay: None,
        guests,
        gatekeeper,
        _knot: knot,
        moto,
        owner,
        dns_port,
        health_port,
        subnet,
        network,
        begun: Instant::now(),
        epoch: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap(),
        folder,
    };
    scene.write_credentials("AKID", "secret-of-the-test");
    Some(scene)
}

impl Scene {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_credentials(&self, key: &str, secret: &str) {
        let text = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
        fs::write(self.path("credentials"), text).unwrap();
        fs::set_permissions(self.path("credentials"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the file of production, in which a crowd is announced for this time since the beginning.
    fn write_file(&self, begins: Duration, ends: Duration, changes: &[(&str, &str)]) {
        let at = |span: Duration| Timestamp::from_nanos((self.epoch + span).as_nanos() as u64).to_string();
        let text = include_str!("cloud.toml")
            .replace("@RUN@", self.folder.path().to_str().unwrap())
            .replace("@OWNER@", &self.owner)
            .replace("@ENDPOINT@", &self.gatekeeper.endpoint)
            .replace("@CLOUD@", moto::REGION)
            .replace("@IMAGE@", moto::IMAGE)
            .replace("@SUBNET@", &self.subnet)
            .replace("@NETWORK@", &self.network)
            .replace("@PORT@", &self.dns_port.to_string())
            .replace("@HEALTH@", &self.health_port.to_string())
            .replace("@BEGINS@", &at(begins))
            .replace("@ENDS@", &at(ends));
        let text = changes.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        fs::write(self.path("cloud.toml"), text).unwrap();
    }

    fn start(&mut self) {
        self.forebay = Some(Instance::start(None, &self.path("cloud.toml"), &self.path("forebay.log")));
    }

    fn stop(&mut self) {
        let forebay = self.forebay.take().unwrap();
        forebay.signal("TERM");
        let (status, said) = forebay.end(Duration::from_secs(60));
        assert!(status.success(), "{status}\n{said}");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("forebay.log")).unwrap_or_default()
    }

    fn crowd(&self, rates: Vec<(Duration, f64)>) -> Crowd {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        Crowd::start(socket, SocketAddr::from(([127, 0, 0, 1], self.dns_port)), self.begun, rates)
    }

    /// Waits until something is so.
    fn wait(&mut self, what: &str, patience: Duration, mut is_so: impl FnMut(&mut Scene) -> bool) {
        let begun = Instant::now();
        loop {
            self.assert_sound();
            if is_so(self) {
                println!("   {:6.1} s  {what}", self.begun.elapsed().as_secs_f64());
                return;
            }
            assert!(begun.elapsed() < patience, "not within {patience:?}: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// That forebay runs, and nothing was seen that must not be.
    fn assert_sound(&mut self) {
        let ended = self.forebay.as_mut().and_then(Instance::ended);
        assert!(ended.is_none(), "forebay ended: {ended:?}\n{}", self.log());
        let wrongs = self.guests.seen().wrongs;
        assert!(wrongs.is_empty(), "{wrongs:?}\n{}", self.log());
    }

    /// The operator wants no machine any more: all go, and nothing of ours is left.
    fn take_out_of_service(&mut self) {
        self.stop();
        let hour = Duration::from_secs(3600);
        self.write_file(
            hour,
            2 * hour,
            &[
                ("policy = \"predictive\"", "policy = \"fixed\""),
                ("demand = \"dns\"", "demand = \"sessions\""),
                ("warm = [\"/health\"]", "warm = [\"/health\"]\nsessions = { path = \"/sessions\" }"),
                (
                    "[controller.policy.predictive]",
                    "[controller.policy.fixed]\nvms = 0\n\n[controller.policy.predictive]",
                ),
            ],
        );
        self.start();
        self.wait("nothing of ours is left", PATIENCE, |scene| {
            let zone = knot::zone(scene.folder.path()).unwrap_or_default();
            instances(&scene.moto, &scene.owner).iter().all(|instance| !instance.is_alive)
                && !zone.lines().any(|line| line.contains("forebay") || line.contains(NAME))
        });
        self.stop();
        self.assert_sound();
        assert!(instances(&self.moto, &self.owner).iter().all(|instance| !instance.is_alive));
        assert_journals_replay(&self.path("state"));
    }
}

/// An instance of somebody else's in the same subnet; its identity.
fn add_foreign(scene: &Scene) -> String {
    let made = scene.moto.ask(
        "ec2",
        &[
            ("Action", "RunInstances"),
            ("ImageId", moto::IMAGE),
            ("InstanceType", "t3.micro"),
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("SubnetId", &scene.subnet),
            ("PrivateIpAddress", &format!("{}.250", scene.network)),
        ],
    );
    moto::between(&made, "<instanceId>", "</instanceId>").to_owned()
}

fn is_running(moto: &Moto, id: &str) -> bool {
    let answer = moto.ask("ec2", &[("Action", "DescribeInstances"), ("InstanceId.1", id)]);
    moto::between(moto::between(&answer, "<instanceState>", "</instanceState>"), "<name>", "</name>") == "running"
}

#[test]
#[ignore = "needs root, knot, python3-venv, and moto from a Python package index"]
fn an_instance_stands_before_the_crowd_comes_and_is_gone_after_it() {
    let Some(mut scene) = scene() else { return };
    let foreign = add_foreign(&scene);
    let crowd_ends = CROWD_BEGINS + CROWD_STAYS;
    let later = Duration::from_secs(3600);
    let crowd = scene.crowd(vec![(CROWD_BEGINS, RATES[0]), (crowd_ends, RATES[1]), (later, RATES[0])]);
    scene.write_file(CROWD_BEGINS, crowd_ends, &[]);
    scene.start();
    scene.wait("one is answered", PATIENCE, |scene| scene.guests.seen().answered.len() == 1);
    let first = scene.guests.seen().answered;
    scene.wait("two are answered", PATIENCE, |scene| scene.guests.seen().answered.len() == 2);
    assert!(scene.begun.elapsed() < CROWD_BEGINS, "the second came {:?} late", scene.begun.elapsed() - CROWD_BEGINS);
    let seen = scene.guests.seen();
    assert_eq!(seen.alive, seen.answered, "each instance is answered at the address that it was given");
    let hosts: Vec<u8> = seen.alive.iter().map(|of| of.rsplit_once('.').unwrap().1.parse().unwrap()).collect();
    assert!(seen.alive.iter().all(|of| of.starts_with(&scene.network)), "{:?}", seen.alive);
    assert!(hosts.iter().all(|last| (4..255).contains(last)), "EC2 keeps the others: {hosts:?}");
    scene.wait("the crowd has come", PATIENCE, |scene| scene.begun.elapsed() > CROWD_BEGINS);
    let most = scene.guests.seen().launched.len();
    scene.wait("one has gone", 2 * PATIENCE, |scene| !scene.guests.seen().ended.is_empty());
    let seen = scene.guests.seen();
    assert!(seen.ended[0].0.duration_since(scene.begun) > crowd_ends, "while the crowd was there");
    println!("   {} queries, {most} instances; {:?}", crowd.sent(), scene.gatekeeper.asked());
    assert_eq!(scene.gatekeeper.launches().len(), seen.launched.len(), "each launch was asked for once");
    assert!(seen.launched.iter().any(|(_, address)| first.contains(address)));
    scene.take_out_of_service();
    crowd.stop();
    assert!(is_running(&scene.moto, &foreign), "what is not ours stays");
}

#[test]
#[ignore = "needs root, knot, python3-venv, and moto from a Python package index"]
fn a_quota_is_told_and_what_serves_stays() {
    let Some(mut scene) = scene() else { return };
    // So late that one serves before a second is wanted for it.
    let crowd_begins = Duration::from_secs(75);
    let later = Duration::from_secs(3600);
    let crowd = scene.crowd(vec![(crowd_begins, RATES[0]), (later, RATES[1])]);
    scene.write_file(crowd_begins, later, &[]);
    scene.start();
    scene.wait("one is answered", PATIENCE, |scene| scene.guests.seen().answered.len() == 1);
    let first = scene.guests.seen();
    let message = "You have requested more instances (2) than your current instance limit of 1 allows.";
    scene.gatekeeper.refuse(Some(("InstanceLimitExceeded", message)));
    let mut trail = Trail::new(&scene.path("state"));
    let mut noted: Vec<Noted> = Vec::new();
    let is_told = |noted: &Noted| {
        noted.order == "create"
            && noted.outcome == "failed"
            && noted.why.contains("no room for vm-")
            && noted.why.contains(message)
    };
    scene.wait("the quota is told in the audit", PATIENCE, |_| {
        noted.extend(trail.news());
        noted.iter().any(is_told)
    });
    let told = "InstanceLimitExceeded: You have requested more instances";
    scene.wait("and in the log", Duration::from_secs(5), |scene| scene.log().contains(told));
    // For a while nothing can come, and nothing goes.
    let (refused_at, before) = (Instant::now(), scene.gatekeeper.launches().len());
    while refused_at.elapsed() < QUOTA {
        scene.assert_sound();
        let seen = scene.guests.seen();
        assert_eq!((&seen.alive, &seen.answered), (&first.alive, &first.answered));
        std::thread::sleep(Duration::from_millis(100));
    }
    let launches = scene.gatekeeper.launches();
    let tries = launches.len() - before;
    let spans: Vec<f64> = launches[1..].windows(2).map(|two| two[1].duration_since(two[0]).as_secs_f64()).collect();
    println!("   {tries} tries in {QUOTA:?}, apart by {spans:.1?} s");
    // Three in a few seconds, then one each time that the breaker has rested.
    assert!((3..=10).contains(&tries), "{tries} tries in {QUOTA:?}");
    assert!(spans[3..].iter().all(|span| *span > 8.0), "{spans:?}");
    let lines = scene.log().lines().filter(|line| line.contains(told)).count();
    assert!(lines <= tries, "{lines} lines for {tries} tries:\n{}", scene.log());
    scene.gatekeeper.refuse(None);
    scene.wait("the second comes", Duration::from_secs(40), |scene| scene.guests.seen().answered.len() >= 2);
    let seen = scene.guests.seen();
    assert!(seen.answered.is_superset(&first.answered) && seen.ended.is_empty(), "{:?}", seen.answered);
    assert_eq!(first.answered.intersection(&seen.answered).collect::<BTreeSet<_>>().len(), 1);
    scene.take_out_of_service();
    crowd.stop();
}

fn forebay(arguments: &[&str], file: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_forebay")).args(arguments).arg(file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
#[ignore = "needs root, knot, python3-venv, and moto from a Python package index"]
fn credentials_that_are_not_known_are_told_and_whose_they_are() {
    let Some(mut scene) = scene() else { return };
    // Whoever follows instances has no key.
    scene.guests.stop();
    let (key, secret) = scene.moto.lock();
    scene.write_credentials(&key, "hunter2-hunter2");
    scene.write_file(CROWD_BEGINS, CROWD_BEGINS + CROWD_STAYS, &[]);
    let whose = format!("its credentials are those of profile default of {}", scene.path("credentials").display());
    let (_, said) = forebay(&["check"], &scene.path("cloud.toml"));
    assert!(said.contains("not permitted") && said.contains(&whose) && !said.contains("hunter2"), "{said}");
    scene.start();
    let forebay_log = |scene: &mut Scene| scene.log().contains(&whose);
    let begun = Instant::now();
    while !forebay_log(&mut scene) {
        assert!(begun.elapsed() < PATIENCE, "{}", scene.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(scene.gatekeeper.launches().is_empty() && !scene.log().contains("hunter2"), "{}", scene.log());
    // They are mended while it runs.
    scene.write_credentials(&key, &secret);
    let name = format!("{} at {} is seen again", moto::REGION, scene.gatekeeper.endpoint);
    while !scene.log().contains(&name) {
        assert!(begun.elapsed() < PATIENCE, "{}", scene.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    scene.stop();
    let (_, said) = forebay(&["check"], &scene.path("cloud.toml"));
    assert!(said.contains(&format!("0 machines of {}, 0 others", scene.owner)), "{said}");
}
