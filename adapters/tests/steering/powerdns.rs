//! PowerDNS by its HTTP API, with LUA records and without.
#![cfg(feature = "fetch")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use forebay_adapters::steering::powerdns::{PowerDnsExecutor, PowerDnsOptions, PowerDnsView, ZoneOptions};
use forebay_adapters::steering::{
    Clients, Health, Member, NameAnswers, Secret, SteeringError, SteeringExecutor, SteeringView, Weights,
};
use forebay_adapters::{Gate, Prefix};
use forebay_world::RegionId;

use super::conformance::{self, Rig, answers};
use super::rfc2136::{is_foreign, powerdns, transferred, whole_zone};
use super::servers::{Ground, free_port, have};

struct Api {
    ground: RefCell<Ground>,
    url: String,
    lua: bool,
    probed_port: Option<u16>,
}

const KEY: &str = "a-key-that-nobody-knows";

impl Api {
    fn start(lua: bool, probed_port: Option<u16>) -> Api {
        let port = free_port();
        let lua_records = if lua { "shared" } else { "no" };
        let with = format!(
            "api=yes\napi-key={KEY}\nwebserver=yes\nwebserver-address=127.0.0.1\nwebserver-port={port}\n\
             webserver-allow-from=127.0.0.0/8\nenable-lua-records={lua_records}\nlua-health-checks-interval=1\n"
        );
        let ground = powerdns(&with);
        ground.write("api-key", &format!("{KEY}\n"));
        ground.write("api-wrong", "another-key\n");
        Api { ground: RefCell::new(ground), url: format!("http://127.0.0.1:{port}"), lua, probed_port }
    }

    fn executor(&self, key: &str, zone: &str) -> Result<PowerDnsExecutor, SteeringError> {
        PowerDnsExecutor::connect(self.options(key), ZoneOptions::new(zone.parse().unwrap(), "forebay"))
    }

    fn options(&self, key: &str) -> PowerDnsOptions {
        let ground = self.ground.borrow();
        PowerDnsOptions {
            url: self.url.clone(),
            key: Secret::from_file(&ground.path(key)).unwrap(),
            dns: SocketAddr::from(([127, 0, 0, 1], ground.port)),
            regions: self.regions().into_iter().map(|(region, network)| (region, vec![network])).collect(),
            probed_port: self.probed_port,
        }
    }
}

impl Rig for Api {
    fn connect(&self) -> Box<dyn SteeringExecutor> {
        Box::new(self.executor("api-key", "cdn.test").expect("it is there"))
    }

    fn view(&self) -> Box<dyn SteeringView> {
        let zone = ZoneOptions::new("cdn.test".parse().unwrap(), "forebay");
        Box::new(PowerDnsView::connect(self.options("api-key"), zone).expect("it is there"))
    }

    fn everything(&self) -> String {
        whole_zone(&self.ground.borrow())
    }

    fn connect_with_wrong_key(&self) -> Option<Box<dyn SteeringExecutor>> {
        // It is refused when it connects.
        None
    }

    fn zone(&self) -> &'static str {
        "cdn.test"
    }

    fn foreign_name(&self) -> Option<&'static str> {
        Some("www")
    }

    fn disturb(&self, way: usize) -> bool {
        let mut ways = vec![
            "update add video.cdn.test. 20 A 192.0.2.66\n",
            "update delete _forebay.video.cdn.test. TXT\n",
            "update delete _forebay.video.cdn.test. TXT\nupdate add _forebay.video.cdn.test. 5 TXT \"what is\" \"this\"\n",
            "update delete _forebay._forebay.cdn.test. TXT\n",
        ];
        if !self.lua {
            ways.push("update delete video.cdn.test. A\n");
            ways.push("update delete video.cdn.test. A\nupdate add video.cdn.test. 999 A 192.0.2.11\n");
        }
        ways.get(way).map(|lines| self.ground.borrow().nsupdate(lines)).is_some()
    }

    fn foreign(&self) -> String {
        transferred(&self.ground.borrow()).into_iter().filter(|line| is_foreign(line)).collect::<Vec<_>>().join("\n")
    }

    fn leftovers(&self) -> Vec<String> {
        transferred(&self.ground.borrow()).into_iter().filter(|line| !is_foreign(line)).collect()
    }

    fn ask(&self, name: &str, v6: bool, client: Option<Prefix>) -> Option<(Vec<IpAddr>, u32)> {
        let (mut seen, ttl_seconds) = self.ground.borrow().ask(name, v6, client, 1);
        seen.retain(|address| address.to_string() != "192.0.2.250");
        Some((seen, ttl_seconds))
    }

    fn regions(&self) -> BTreeMap<String, Prefix> {
        if self.lua { [("ams".to_owned(), "198.18.0.0/24".parse().unwrap())].into() } else { BTreeMap::new() }
    }

    fn while_stopped(&self, run: &mut dyn FnMut()) -> bool {
        self.ground.borrow_mut().while_stopped(run);
        true
    }
}

const PROGRAMS: [&str; 3] = ["pdns_server", "pdnsutil", "sqlite3"];

#[test]
#[ignore = "needs pdns-server, pdns-backend-sqlite3, sqlite3 and bind9-dnsutils"]
fn it_conforms_with_scripts_and_without() {
    if have(&PROGRAMS) {
        let rig = Api::start(true, None);
        assert_eq!(rig.connect().capabilities().weights, Weights::ByScript);
        conformance::conforms(&rig);
        conformance::conforms(&Api::start(false, None));
    }
}

#[test]
#[ignore = "needs pdns-server, pdns-backend-sqlite3, sqlite3 and bind9-dnsutils"]
fn a_wrong_key_and_an_unknown_zone_are_said() {
    if !have(&PROGRAMS) {
        return;
    }
    let rig = Api::start(true, None);
    let error = rig.executor("api-wrong", "cdn.test").err().unwrap();
    println!("   {error}");
    assert!(matches!(&error, SteeringError::Credentials { why, .. } if why.contains("401")), "{error:?}");
    assert!(!error.to_string().contains("another-key"));
    let error = rig.executor("api-key", "none.test").unwrap().read().unwrap_err();
    println!("   {error}");
    assert!(matches!(&error, SteeringError::Unknown { known, .. } if known == &["cdn.test"]), "{error:?}");
    assert_eq!(rig.leftovers(), Vec::<String>::new());
}

#[test]
#[ignore = "needs pdns-server, pdns-backend-sqlite3, sqlite3 and bind9-dnsutils"]
fn scripts_keep_weights_and_the_same_network_its_address() {
    if !have(&PROGRAMS) {
        return;
    }
    let rig = Api::start(true, None);
    rig.connect().apply(&answers(&rig, 1, &[("video", [80, 20, 0, 0])]), &mut Gate::open()).unwrap();
    let ask = |at: u8| {
        let client: Prefix = format!("203.0.{at}.0/24").parse().unwrap();
        rig.ask("video.cdn.test", false, Some(client)).unwrap().0[0]
    };
    let drawn: Vec<IpAddr> = (0..100).map(ask).collect();
    let first = drawn.iter().filter(|address| address.to_string() == "192.0.2.11").count();
    println!("   80:20 of 100 networks: {first}");
    // Four standard errors.
    assert!((64..=96).contains(&first), "{first}");
    assert!((0..10).all(|at| ask(at) == drawn[usize::from(at)]));
}

#[test]
#[ignore = "needs pdns-server, pdns-backend-sqlite3, sqlite3 and bind9-dnsutils"]
fn what_takes_no_connections_is_answered_no_more() {
    if !have(&PROGRAMS) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let rig = Api::start(true, Some(listener.local_addr().unwrap().port()));
    let mut wanted = answers(&rig, 1, &[("video", [1, 1, 1, 1])]);
    let member = Member { site: RegionId(0), weight: 1, health: Health::Healthy };
    let pool = ["127.0.0.2", "127.0.0.3"].map(|address| (address.parse().unwrap(), member)).into();
    let name = NameAnswers { ttl_seconds: 20, pools: [(Clients::Others, pool)].into() };
    wanted.names.values_mut().for_each(|known| *known = name.clone());
    rig.connect().apply(&wanted, &mut Gate::open()).unwrap();
    let begun = Instant::now();
    let all_at_the_one = || {
        (0..20u8).all(|at| {
            let client: Prefix = format!("203.0.{at}.0/24").parse().unwrap();
            rig.ask("video.cdn.test", false, Some(client)).unwrap().0 == ["127.0.0.2".parse::<IpAddr>().unwrap()]
        })
    };
    while !all_at_the_one() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the one that takes no connections is answered still");
    }
    println!("   after {:.1} s", begun.elapsed().as_secs_f64());
}
