//! BIND, Knot and PowerDNS by dynamic updates.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use forebay_adapters::steering::rfc2136::{Rfc2136Executor, Rfc2136View, Transport, ZoneOptions};
use forebay_adapters::steering::{SteeringError, SteeringExecutor, SteeringView, TsigKey};
use forebay_adapters::{Gate, Prefix};

use super::conformance::{self, Rig, answers};
use super::servers::{Ground, have, said};

struct Updated {
    ground: RefCell<Ground>,
    transport: Transport,
}

impl Updated {
    fn executor(&self, key: &str) -> Rfc2136Executor {
        let ground = self.ground.borrow();
        let key = TsigKey::from_file(&ground.path(key)).unwrap();
        let options = ZoneOptions::new("cdn.test".parse().unwrap(), "forebay");
        Rfc2136Executor::new(SocketAddr::from(([127, 0, 0, 1], ground.port)), self.transport, key, options).unwrap()
    }
}

/// What a transfer of the zone shows.
pub(super) fn transferred(ground: &Ground) -> Vec<String> {
    let key = std::fs::read_to_string(ground.path("key")).unwrap();
    let lines = ground.dig(&["-y", key.trim(), "cdn.test", "AXFR"]);
    let mut lines: Vec<String> =
        lines.lines().filter(|line| line.contains(" IN ") || line.contains("\tIN\t")).map(str::to_owned).collect();
    lines.retain(|line| !line.contains("SOA") && !line.contains("TSIG"));
    lines.sort();
    lines.dedup();
    assert!(lines.iter().any(|line| line.starts_with("www.")), "{lines:?}");
    lines
}

/// All that is in the zone, with the number that every change of it raises.
pub(super) fn whole_zone(ground: &Ground) -> String {
    let key = std::fs::read_to_string(ground.path("key")).unwrap();
    let shown = ground.dig(&["-y", key.trim(), "cdn.test", "AXFR"]);
    let mut lines: Vec<&str> = shown.lines().filter(|line| !line.contains("TSIG") && !line.starts_with(';')).collect();
    lines.sort_unstable();
    assert!(lines.iter().any(|line| line.contains("SOA")), "{lines:?}");
    lines.join("\n")
}

pub(super) fn is_foreign(line: &str) -> bool {
    ["www.", "ns.", "*.", "cdn.test."].iter().any(|begin| line.starts_with(begin))
}

impl Rig for Updated {
    fn connect(&self) -> Box<dyn SteeringExecutor> {
        Box::new(self.executor("key"))
    }

    fn view(&self) -> Box<dyn SteeringView> {
        let server = SocketAddr::from(([127, 0, 0, 1], self.ground.borrow().port));
        let options = ZoneOptions::new("cdn.test".parse().unwrap(), "forebay");
        // Without a key: nothing that it sent could write.
        Box::new(Rfc2136View::new(server, self.transport, None, options).unwrap())
    }

    fn everything(&self) -> String {
        whole_zone(&self.ground.borrow())
    }

    fn connect_with_wrong_key(&self) -> Option<Box<dyn SteeringExecutor>> {
        Some(Box::new(self.executor("wrong")))
    }

    fn zone(&self) -> &'static str {
        "cdn.test"
    }

    fn foreign_name(&self) -> Option<&'static str> {
        Some("www")
    }

    fn disturb(&self, way: usize) -> bool {
        let lines = match way {
            0 => "update add video.cdn.test. 20 A 192.0.2.66\n",
            1 => "update delete video.cdn.test. A\n",
            2 => "update delete video.cdn.test. A\nupdate add video.cdn.test. 999 A 192.0.2.11\n",
            3 => "update delete _forebay.video.cdn.test. TXT\n",
            4 => {
                "update delete _forebay.video.cdn.test. TXT\nupdate add _forebay.video.cdn.test. 5 TXT \"what is\" \"this\"\n"
            }
            5 => "update delete _forebay._forebay.cdn.test. TXT\n",
            6 => {
                "update delete video.cdn.test. A\nupdate delete video.cdn.test. AAAA\nupdate add video.cdn.test. 20 CNAME www.cdn.test.\n"
            }
            _ => return false,
        };
        self.ground.borrow().nsupdate(lines);
        true
    }

    fn foreign(&self) -> String {
        transferred(&self.ground.borrow()).into_iter().filter(|line| is_foreign(line)).collect::<Vec<_>>().join("\n")
    }

    fn leftovers(&self) -> Vec<String> {
        transferred(&self.ground.borrow()).into_iter().filter(|line| !is_foreign(line)).collect()
    }

    fn ask(&self, name: &str, v6: bool, client: Option<Prefix>) -> Option<(Vec<IpAddr>, u32)> {
        let (mut seen, ttl_seconds) = self.ground.borrow().ask(name, v6, client, 1);
        // What the zone's wildcard answers is nobody's.
        seen.retain(|address| address.to_string() != "192.0.2.250");
        Some((seen, ttl_seconds))
    }

    fn regions(&self) -> BTreeMap<String, Prefix> {
        BTreeMap::new()
    }

    fn while_stopped(&self, run: &mut dyn FnMut()) -> bool {
        let stopped = &mut *self.ground.borrow_mut();
        // The executor is connected already, and asks nobody for the ground.
        stopped.while_stopped(run);
        true
    }
}

fn bind(with: &str) -> Ground {
    let mut ground = Ground::new("named");
    let configuration = ground.write(
        "named.conf",
        &"key steer { algorithm hmac-sha256; secret \"@SECRET@\"; };\nkey reader { algorithm hmac-sha256; secret \"@SECRET@\"; };\n\
          options { directory \"@RUN@\"; pid-file \"@RUN@/named.pid\"; session-keyfile \"@RUN@/session.key\";\n\
          listen-on port @PORT@ { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; notify no; dnssec-validation no;\n\
          minimal-responses yes; };\ncontrols { };\n\
          zone \"cdn.test\" { type primary; file \"@RUN@/cdn.test.zone\"; WITH };\n"
            .replace("WITH", with),
    );
    ground.start(&["-g", "-c", configuration.to_str().unwrap()]);
    ground
}

fn knot() -> Ground {
    let mut ground = Ground::new("knotd");
    let configuration = ground.write(
        "knot.conf",
        "server:\n    rundir: \"@RUN@\"\n    listen: 127.0.0.1@@PORT@\n    udp-workers: 1\n    tcp-workers: 1\n\
         database:\n    storage: \"@RUN@\"\nlog:\n  - target: stderr\n    any: info\n\
         key:\n  - id: steer\n    algorithm: hmac-sha256\n    secret: @SECRET@\n\
         acl:\n  - id: steer\n    key: steer\n    action: [update, transfer]\n\
         template:\n  - id: default\n    storage: \"@RUN@\"\n    file: \"%s.zone\"\n\
         zone:\n  - domain: cdn.test.\n    acl: steer\n    zonefile-sync: 0\n",
    );
    ground.start(&["-c", configuration.to_str().unwrap()]);
    ground
}

/// PowerDNS with a database, whatever else its configuration says.
pub(super) fn powerdns(with: &str) -> Ground {
    let mut ground = Ground::new("pdns_server");
    ground.write(
        "pdns.conf",
        &("daemon=no\nguardian=no\nsetuid=\nsetgid=\nsocket-dir=@RUN@\nlocal-address=127.0.0.1\nlocal-port=@PORT@\nlaunch=gsqlite3\n\
           gsqlite3-database=@RUN@/pdns.db\ngsqlite3-pragma-synchronous=0\ngsqlite3-dnssec=yes\nedns-subnet-processing=yes\n\
           cache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\nzone-cache-refresh-interval=0\nsecurity-poll-suffix=\n\
           dnsupdate=yes\nallow-dnsupdate-from=127.0.0.0/8\nloglevel=5\n"
            .to_owned()
            + with),
    );
    let schema = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";
    let made = Command::new("sqlite3")
        .arg(ground.path("pdns.db"))
        .stdin(std::fs::File::open(schema).unwrap())
        .status()
        .unwrap();
    assert!(made.success());
    let zone = ground.path("cdn.test.zone");
    let configuration = format!("--config-dir={}", ground.folder.path().display());
    for command in [
        vec!["load-zone", "cdn.test", zone.to_str().unwrap()],
        vec!["import-tsig-key", "steer", "hmac-sha256", &ground.secret],
        vec!["set-meta", "cdn.test", "TSIG-ALLOW-DNSUPDATE", "steer"],
        vec!["set-meta", "cdn.test", "TSIG-ALLOW-AXFR", "steer"],
    ] {
        let made = Command::new("pdnsutil").arg(&configuration).args(&command).output().unwrap();
        assert!(made.status.success(), "{command:?}: {}", String::from_utf8_lossy(&made.stderr));
    }
    ground.start(&[&configuration]);
    ground
}

const POLICY: &str = "update-policy { grant steer zonesub ANY; };";

fn each_transport(ground: Ground) {
    let mut rig = Updated { ground: RefCell::new(ground), transport: Transport::Tcp };
    conformance::conforms(&rig);
    rig.transport = Transport::Udp;
    conformance::conforms(&rig);
}

#[test]
#[ignore = "needs bind9 and bind9-dnsutils"]
fn bind_conforms() {
    if have(&["named"]) {
        each_transport(bind(POLICY));
    }
}

#[test]
#[ignore = "needs knot and bind9-dnsutils"]
fn knot_conforms() {
    if have(&["knotd"]) {
        each_transport(knot());
    }
}

#[test]
#[ignore = "needs pdns-server, pdns-backend-sqlite3, sqlite3 and bind9-dnsutils"]
fn powerdns_conforms() {
    if have(&["pdns_server", "pdnsutil", "sqlite3"]) {
        each_transport(powerdns(""));
    }
}

fn error_of(rig: &Updated, key: &str, edit: impl Fn(&mut ZoneOptions)) -> SteeringError {
    let ground = rig.ground.borrow();
    let mut options = ZoneOptions::new("cdn.test".parse().unwrap(), "forebay");
    edit(&mut options);
    let key = TsigKey::from_file(&ground.path(key)).unwrap();
    let server = SocketAddr::from(([127, 0, 0, 1], ground.port));
    let mut executor = Rfc2136Executor::new(server, rig.transport, key, options).unwrap();
    let error = executor.apply(&answers(rig, 1, &[("video", [1, 1, 1, 1])]), &mut Gate::open()).unwrap_err();
    println!("   {error}");
    error
}

#[test]
#[ignore = "needs bind9, knot, pdns-server, pdns-backend-sqlite3, sqlite3 and bind9-dnsutils"]
fn whoever_refuses_is_said_and_nothing_is_changed() {
    if !have(&["named", "knotd", "pdns_server", "pdnsutil", "sqlite3"]) {
        return;
    }
    for ground in [bind(POLICY), knot(), powerdns("")] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let secret = ground.secret.clone();
            ground.write("unknown", &format!("hmac-sha256:nobody:{secret}\n"));
            let port = ground.port;
            println!("port {port}, {transport:?}");
            let rig = Updated { ground: RefCell::new(probe(&ground)), transport };
            let error = error_of(&rig, "unknown", |_| ());
            assert!(matches!(error, SteeringError::Credentials { .. }), "{error:?}");
            let error = error_of(&rig, "wrong", |_| ());
            assert!(matches!(error, SteeringError::Credentials { .. }), "{error:?}");
            let late = |options: &mut ZoneOptions| options.clock = an_hour_late;
            let error = error_of(&rig, "key", late);
            match error {
                SteeringError::Clock { ours, theirs, .. } => assert!((3_500..3_700).contains(&(theirs - ours))),
                // PowerDNS does not say why.
                SteeringError::Credentials { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(transferred(&ground).iter().filter(|line| !is_foreign(line)).count(), 0);
    }
}

fn an_hour_late() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() - 3_600
}

/// The same server once more, which another stops.
fn probe(ground: &Ground) -> Ground {
    let mut probe = Ground::new("true");
    probe.port = ground.port;
    for name in ["key", "wrong", "unknown"] {
        std::fs::copy(ground.path(name), probe.path(name)).unwrap();
    }
    probe
}

#[test]
#[ignore = "needs bind9 and bind9-dnsutils"]
fn a_key_that_may_not_change_the_zone_is_told_so() {
    if !have(&["named"]) {
        return;
    }
    let rig = Updated {
        ground: RefCell::new(bind("update-policy { grant reader zonesub ANY; };")),
        transport: Transport::Tcp,
    };
    let error = error_of(&rig, "key", |_| ());
    assert!(matches!(&error, SteeringError::Credentials { why, .. } if why.contains("REFUSED")), "{error:?}");
    let port = rig.ground.borrow().port.to_string();
    let kdig = said(Command::new("dig").args(["@127.0.0.1", "-p", &port, "+short", "video.cdn.test", "TXT"]));
    assert_eq!(kdig, "");
}
