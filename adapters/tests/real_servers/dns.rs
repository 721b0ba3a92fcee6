//! Real DNS servers feed our readers: dnstap through a socket, and text logs. Debian: knot knot-module-dnstap bind9
//! unbound dnsdist pdns-server pdns-backend-sqlite3 sqlite3 dnsmasq-base dnsperf.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use forebay_adapters::dnstap_listener::{
    DnstapListener, Ending, ListenAddress, ListenOptions, Received, SenderReport, completeness,
};
use forebay_adapters::tail::{Tail, TailFrom};
use forebay_adapters::{LogFormat, QueryReport, ReadOptions, Vantage, read_queries};
use forebay_world::Timestamp;

use crate::{PATIENCE, Server, free_port, have, search_path};

/// Names that are asked for, in turn.
const NAMES: usize = 200;
const ZONE: &str = "cdn.test. 20 IN SOA ns.cdn.test. a.cdn.test. 1 60 60 600 20\n\
    cdn.test. 20 IN NS ns.cdn.test.\nns.cdn.test. 20 IN A 127.0.0.1\n*.cdn.test. 20 IN A 192.0.2.1\n";

/// A question that is no part of the load, and its name.
const PROBE: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x05probe\x03cdn\x04test\0\0\x01\0\x01";
const PROBED: &str = "probe.cdn.test";
/// A folder for one run, whose path is short enough for a unix socket.
struct Run {
    folder: tempfile::TempDir,
    port: u16,
}

impl Run {
    fn new() -> Run {
        let folder = tempfile::Builder::new().prefix("fb").tempdir().unwrap();
        let mut queries = String::new();
        for number in 0..NAMES {
            writeln!(queries, "v{number}.cdn.test A").unwrap();
        }
        fs::write(folder.path().join("queries"), queries).unwrap();
        fs::write(folder.path().join("cdn.test.zone"), ZONE).unwrap();
        Run { folder, port: free_port() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a configuration, with the folder for `@RUN@` and the port for `@PORT@`.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let folder = self.folder.path().display().to_string();
        fs::write(self.path(name), text.replace("@RUN@", &folder).replace("@PORT@", &self.port.to_string())).unwrap();
        self.path(name)
    }

    /// Starts a server in the folder and waits until it answers. It ends with its [`Server`], and with the thread that
    /// starts it should that end without a word.
    fn start(&self, program: &str, arguments: &[&str]) -> Server {
        let output = File::create(self.path("output")).unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", program])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("PATH", search_path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut server = Server { child };
        let socket = self.prober();
        let begun = Instant::now();
        loop {
            let _ = socket.send(PROBE);
            if socket.recv(&mut [0; 512]).is_ok_and(|length| length > 12) {
                return server;
            }
            let ended = server.child.try_wait().unwrap();
            if ended.is_some() || begun.elapsed() > PATIENCE {
                panic!("{program} does not answer: {}", fs::read_to_string(self.path("output")).unwrap_or_default());
            }
            // Refused at once while nobody listens.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts a server and waits until it answers and what it is asked comes through the listener: it may answer before
    /// its own sender has connected.
    fn start_tapped(&self, listener: &DnstapListener, program: &str, arguments: &[&str]) -> Server {
        let server = self.start(program, arguments);
        let socket = self.prober();
        let begun = Instant::now();
        loop {
            let _ = socket.send(PROBE);
            match listener.receive(Duration::from_millis(200)) {
                Received::Batch(batch) if batch.iter().any(|query| query.name == PROBED) => return server,
                Received::Ended => panic!("the listener ended"),
                _ => {}
            }
            if begun.elapsed() > PATIENCE {
                let output = fs::read_to_string(self.path("output")).unwrap_or_default();
                panic!("{program} sends no dnstap: {:?}\n{output}", listener.senders());
            }
        }
    }

    fn prober(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        socket
    }

    /// Runs dnsperf with client subnet 203.0.113.0/24. It keeps at most 100 queries unanswered, fewer than the socket
    /// of a server holds, so that none is lost before a slow one.
    fn load(&self, arguments: &[&str]) -> Load {
        let port = self.port.to_string();
        let queries = self.path("queries").display().to_string();
        let base = ["-s", "127.0.0.1", "-p", &port, "-d", &queries, "-E", "8:00011800cb0071", "-T", "1", "-q", "100"];
        let output = Command::new("dnsperf").args(base).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let figure = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
            let figure = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
            figure.unwrap_or_else(|| panic!("dnsperf: {text}{}", String::from_utf8_lossy(&output.stderr)))
        };
        Load { sent: figure("Queries sent:") as u64, seconds: figure("Run time (s):") }
    }

    fn listen(&self) -> DnstapListener {
        let address = ListenAddress::Unix(self.path("tap.sock"));
        DnstapListener::bind(&[address], &ListenOptions::default()).unwrap()
    }
}

/// What dnsperf did.
struct Load {
    /// Queries.
    sent: u64,
    /// Wall time.
    seconds: f64,
}

/// What came through a listener.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    queries: u64,
    with_subnet: u64,
    by_vantage: BTreeMap<Vantage, u64>,
}

/// Receives while `load` runs, then until all that it sent is there and nothing more comes, or nothing has come for
/// long; leaves the probes of the start out.
fn receive(listener: &DnstapListener, load: impl FnOnce() -> Load + Send) -> (Load, Seen) {
    let (mut seen, sent) = (Seen::default(), OnceLock::new());
    let result = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let load = load();
            sent.set(load.sent).expect("one load is run");
            load
        });
        let mut silent_seconds = 0;
        loop {
            match listener.receive(Duration::from_secs(1)) {
                Received::Batch(batch) => {
                    silent_seconds = 0;
                    for query in batch.iter().filter(|query| query.name != PROBED) {
                        assert!(query.name.ends_with(".cdn.test") && query.qtype == 1, "{query:?}");
                        assert_eq!(query.client.to_string(), "127.0.0.0");
                        seen.queries += 1;
                        seen.with_subnet += u64::from(query.ecs == Some("203.0.113.0/24".parse().unwrap()));
                        *seen.by_vantage.entry(query.vantage).or_default() += 1;
                    }
                }
                Received::Nothing if load.is_finished() => {
                    silent_seconds += 1;
                    let all = sent.get().is_some_and(|sent| seen.queries >= *sent);
                    // Servers send what they have buffered every second.
                    if silent_seconds >= if all { 2 } else { 6 } {
                        break;
                    }
                }
                Received::Nothing => {}
                Received::Ended => panic!("the listener ended"),
            }
        }
        load.join().unwrap()
    });
    (result, seen)
}

/// Frames, bad ones among them, and queries dropped for want of a consumer; every frame is one or the other.
fn total(senders: &[SenderReport]) -> (u64, u64, u64) {
    for sender in senders {
        assert_eq!(sender.frames, sender.queries + sender.skipped.total() + sender.bad_frames, "{sender:?}");
    }
    let sum = |of: fn(&SenderReport) -> u64| senders.iter().map(of).sum();
    (sum(|s| s.frames), sum(|s| s.bad_frames), sum(|s| s.dropped))
}

/// The reports of all senders once none is connected any more.
fn ended(listener: &DnstapListener) -> Vec<SenderReport> {
    let begun = Instant::now();
    loop {
        let senders = listener.senders();
        if senders.iter().all(|sender| sender.open == 0) {
            return senders;
        }
        assert!(begun.elapsed() < PATIENCE, "{senders:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Reads a text log; the queries of the load alone.
fn read_log(path: &Path) -> (QueryReport, u64, u64) {
    let (mut queries, mut with_subnet) = (0, 0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let options = ReadOptions { now: Some(Timestamp::from_secs(now)), ..ReadOptions::default() };
    let report = read_queries(path, &options, &mut |query| {
        if query.name != PROBED {
            assert!(query.name.ends_with(".cdn.test") && query.qtype == 1, "{query:?}");
            queries += 1;
            with_subnet += u64::from(query.ecs == Some("203.0.113.0/24".parse().unwrap()));
        }
    })
    .unwrap();
    println!("{report}\n{}", report.remarks().join("\n"));
    assert_eq!((report.malformed.count, report.out_of_order), (0, 0), "{report:?}");
    (report, queries, with_subnet)
}

fn start_knot(run: &Run, listener: &DnstapListener) -> Server {
    let configuration = run.write(
        "knot.conf",
        "server:\n    rundir: \"@RUN@\"\n    listen: 127.0.0.1@@PORT@\n    edns-client-subnet: on\n    udp-workers: 1\n    tcp-workers: 1\n\
         database:\n    storage: \"@RUN@\"\nlog:\n  - target: stderr\n    any: info\n\
         mod-stats:\n  - id: all\n    request-protocol: on\n\
         mod-dnstap:\n  - id: tap\n    sink: unix:@RUN@/tap.sock\n    identity: knot-edge1\n    log-queries: on\n    log-responses: on\n\
         template:\n  - id: default\n    storage: \"@RUN@\"\n    file: \"%s.zone\"\n    global-module: [mod-stats/all, mod-dnstap/tap]\n\
         zone:\n  - domain: cdn.test.\n    zonefile-sync: -1\n",
    );
    run.start_tapped(listener, "knotd", &["-c", configuration.to_str().unwrap()])
}

/// Queries that Knot has counted itself.
fn counted_by_knot(run: &Run) -> u64 {
    let socket = run.path("knot.sock");
    let output = Command::new("knotc").args(["-s", socket.to_str().unwrap(), "stats"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let counts = text.lines().filter(|line| line.contains("request-protocol[udp4]"));
    counts.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
}

#[test]
#[ignore = "needs knot and dnsperf"]
fn knot_feeds_the_listener_at_a_steady_rate_and_at_full_speed() {
    if !have(&["knotd", "knotc"]) {
        return;
    }
    let run = Run::new();
    let listener = run.listen();
    let knot = start_knot(&run, &listener);
    // Knot hands its frames to a thread of its own through a queue of 512, and loses what does not fit: at 1,000 q/s with
    // responses a quarter of a second of them, which a busy machine may take; at higher rates the share that comes says
    // more about the machine.
    let loads: [(&str, &[&str], f64); 4] = [
        ("1,000 q/s", &["-Q", "1000", "-l", "4"], 99.0),
        ("5,000 q/s", &["-Q", "5000", "-l", "3"], 0.0),
        ("50,000 q/s", &["-Q", "50000", "-l", "3"], 0.0),
        ("full speed", &["-l", "4"], 0.0),
    ];
    for (what, arguments, least) in loads {
        let (counted_before, dropped_before) = (counted_by_knot(&run), total(&listener.senders()).2);
        let (Load { sent, seconds }, seen) = receive(&listener, || run.load(arguments));
        let answered = counted_by_knot(&run) - counted_before;
        let (frames, bad, dropped) = total(&listener.senders());
        let dropped = dropped - dropped_before;
        println!(
            "knot at {what}: {sent} sent in {seconds:.2} s, {answered} answered, {} received, {dropped} dropped for want \
             of a consumer; {frames} frames so far, {bad} bad; {}",
            seen.queries,
            completeness(seen.queries + dropped, answered)
        );
        assert_eq!((bad, seen.with_subnet), (0, seen.queries));
        assert_eq!(seen.by_vantage.keys().copied().collect::<Vec<_>>(), [Vantage::Authority]);
        assert!(seen.queries > 0 && seen.queries + dropped <= sent);
        assert!(100.0 * seen.queries as f64 >= least * answered as f64, "{}", completeness(seen.queries, answered));
    }
    drop(knot);
    // Knot has said STOP behind its last frame, so that all it has written has arrived.
    let senders = ended(&listener);
    println!("{senders:#?}");
    assert_eq!(total(&senders).1, 0);
    let knot = senders.iter().find(|sender| sender.name == "knot-edge1").unwrap();
    assert_eq!((knot.ending.as_ref(), knot.disconnects), (Some(&Ending::Finished), 0));
}

#[test]
#[ignore = "needs knot and dnsperf"]
fn knot_comes_again_after_a_restart() {
    if !have(&["knotd"]) {
        return;
    }
    let run = Run::new();
    let listener = run.listen();
    for round in 1..=2 {
        let knot = start_knot(&run, &listener);
        let (Load { sent, .. }, seen) = receive(&listener, || run.load(&["-n", "1", "-Q", "1000"]));
        assert_eq!((sent, seen.queries), (NAMES as u64, NAMES as u64), "round {round}");
        drop(knot);
    }
    let senders = ended(&listener);
    let knot = senders.iter().find(|sender| sender.name == "knot-edge1").unwrap();
    assert!(knot.connections >= 2 && knot.queries >= 2 * NAMES as u64, "{knot:?}");
    println!("{knot:?}");
}

#[test]
#[ignore = "needs bind9 and dnsperf"]
fn bind_sends_and_logs_every_query() {
    if !have(&["named"]) {
        return;
    }
    // Each print-time, and rotation while it is followed.
    for print_time in ["iso8601-utc", "iso8601", "local"] {
        let run = Run::new();
        let listener = run.listen();
        let configuration = run.write(
            "named.conf",
            &"options {\n  directory \"@RUN@\"; pid-file \"@RUN@/named.pid\"; session-keyfile \"@RUN@/session.key\";\n\
              listen-on port @PORT@ { 127.0.0.1; }; listen-on-v6 { none; };\n  recursion no; notify no; querylog yes; dnssec-validation no;\n\
              query-source address 127.0.0.1;\n\
              dnstap { auth; }; dnstap-output unix \"@RUN@/tap.sock\"; dnstap-identity \"bind-edge1\";\n\
              fstrm-set-input-queue-size 16384;\n};\n\
              logging {\n  channel q { file \"@RUN@/query.log\" versions 5 size 20k; print-time TIME; print-category yes; print-severity yes; };\n\
              category queries { q; };\n};\ncontrols { };\nzone \"cdn.test\" { type primary; file \"@RUN@/cdn.test.zone\"; };\n"
                .replace("TIME", print_time),
        );
        let log = run.path("query.log");
        let mut tail = Tail::open(&log, &ReadOptions::default(), TailFrom::Begin).unwrap();
        let bind = run.start_tapped(&listener, "named", &["-f", "-c", configuration.to_str().unwrap()]);
        let (mut followed, mut polls) = (0, 0);
        let (Load { sent, .. }, seen) = receive(&listener, || {
            std::thread::scope(|scope| {
                let load = scope.spawn(|| run.load(&["-n", "1", "-Q", "200"]));
                while !load.is_finished() {
                    tail.poll(&mut |query| followed += u64::from(query.name != PROBED)).unwrap();
                    polls += 1;
                    std::thread::sleep(Duration::from_millis(20));
                }
                load.join().unwrap()
            })
        });
        tail.poll(&mut |query| followed += u64::from(query.name != PROBED)).unwrap();
        println!(
            "bind, {print_time}: sent {sent}, {} by dnstap, {followed} followed over {} rotations",
            seen.queries,
            tail.rotations()
        );
        assert_eq!((seen.queries, seen.with_subnet), (sent, sent));
        assert_eq!((followed, tail.report().unwrap().malformed.count), (sent, 0));
        assert!(tail.rotations() >= 1);
        let (report, ..) = read_log(&log);
        assert_eq!((report.format, report.vantage()), (LogFormat::Bind, Some(Vantage::Authority)));
        assert_eq!(report.with_ecs, report.queries);
        drop(bind);
    }
}

#[test]
#[ignore = "needs unbound and dnsperf"]
fn unbound_sends_and_logs_every_query() {
    if !have(&["unbound"]) {
        return;
    }
    let run = Run::new();
    let listener = run.listen();
    let configuration = run.write(
        "unbound.conf",
        "server:\n  interface: 127.0.0.1@@PORT@\n  outgoing-interface: 127.0.0.1\n  username: \"\"\n  chroot: \"\"\n  directory: \"@RUN@\"\n  pidfile: \"@RUN@/unbound.pid\"\n\
         \x20 use-syslog: no\n  logfile: \"@RUN@/log\"\n  log-queries: yes\n  log-replies: yes\n  module-config: \"iterator\"\n\
         \x20 local-zone: \"cdn.test.\" redirect\n  local-data: \"cdn.test. 20 IN A 192.0.2.1\"\n\
         dnstap:\n  dnstap-enable: yes\n  dnstap-socket-path: \"@RUN@/tap.sock\"\n  dnstap-identity: \"ub1\"\n  dnstap-send-identity: yes\n\
         \x20 dnstap-log-client-query-messages: yes\n  dnstap-log-client-response-messages: yes\n\
         remote-control:\n  control-enable: no\n",
    );
    let _unbound = run.start_tapped(&listener, "unbound", &["-d", "-c", configuration.to_str().unwrap()]);
    let (Load { sent, .. }, seen) = receive(&listener, || run.load(&["-n", "5", "-Q", "1000"]));
    println!("unbound: sent {sent}, {seen:?}");
    assert_eq!((seen.queries, seen.with_subnet), (sent, sent));
    assert_eq!(seen.by_vantage.keys().copied().collect::<Vec<_>>(), [Vantage::BeforeResolver]);
    let (report, queries, _) = read_log(&run.path("log"));
    assert_eq!((report.format, queries), (LogFormat::Unbound, sent));
}

#[test]
#[ignore = "needs dnsdist and dnsperf"]
fn dnsdist_sends_over_tcp() {
    if !have(&["dnsdist"]) {
        return;
    }
    let run = Run::new();
    let address = "tcp:127.0.0.1:0".parse().unwrap();
    let listener = DnstapListener::bind(&[address], &ListenOptions::default()).unwrap();
    let ListenAddress::Tcp(port) = listener.addresses()[0] else { panic!("it listens at TCP") };
    let configuration = run.write(
        "dnsdist.conf",
        &"setLocal(\"127.0.0.1:@PORT@\")\nnewServer({address=\"127.0.0.1:9\", healthCheckMode=\"up\"})\n\
          logger = newFrameStreamTcpLogger(\"TAP\", {inputQueueSize=16384})\naddAction(AllRule(), DnstapLogAction(\"dnsdist-1\", logger))\n\
          addAction(AllRule(), SpoofAction(\"192.0.2.1\"))\nsetSecurityPollSuffix(\"\")\n"
            .replace("TAP", &port.to_string()),
    );
    let _dnsdist = run.start_tapped(
        &listener,
        "dnsdist",
        &["--supervised", "--disable-syslog", "-C", configuration.to_str().unwrap()],
    );
    let (Load { sent, .. }, seen) = receive(&listener, || run.load(&["-n", "5", "-Q", "1000"]));
    println!("dnsdist: sent {sent}, {seen:?}, {:?}", listener.senders());
    assert_eq!((seen.queries, seen.with_subnet), (sent, sent));
}

#[test]
#[ignore = "needs pdns-server, pdns-backend-sqlite3, sqlite3 and dnsperf"]
fn powerdns_logs_every_query() {
    if !have(&["pdns_server", "pdnsutil", "sqlite3"]) {
        return;
    }
    let run = Run::new();
    run.write(
        "pdns.conf",
        "daemon=no\nguardian=no\nsetuid=\nsetgid=\nsocket-dir=@RUN@\nlocal-address=127.0.0.1\nlocal-port=@PORT@\nlaunch=gsqlite3\n\
         gsqlite3-database=@RUN@/pdns.db\nedns-subnet-processing=yes\nlog-dns-queries=yes\nloglevel=6\nsecurity-poll-suffix=\n",
    );
    let schema = Path::new("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql");
    let made = Command::new("sqlite3").arg(run.path("pdns.db")).stdin(File::open(schema).unwrap()).status().unwrap();
    assert!(made.success());
    let configuration = format!("--config-dir={}", run.folder.path().display());
    let zone = run.path("cdn.test.zone");
    let loaded = Command::new("pdnsutil")
        .args([&configuration, "load-zone", "cdn.test", zone.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    let server = run.start("pdns_server", &[&configuration]);
    let Load { sent, .. } = run.load(&["-n", "5", "-Q", "1000"]);
    drop(server);
    let (report, queries, with_subnet) = read_log(&run.path("output"));
    println!("powerdns: sent {sent}");
    assert_eq!((report.format, queries, with_subnet), (LogFormat::PowerDns, sent, sent));
}

#[test]
#[ignore = "needs dnsmasq-base and dnsperf"]
fn dnsmasq_logs_every_query() {
    if !have(&["dnsmasq"]) {
        return;
    }
    let run = Run::new();
    let (port, log) = (format!("--port={}", run.port), format!("--log-facility={}", run.path("log").display()));
    let arguments = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        "--address=/cdn.test/192.0.2.1",
        "--log-queries",
        "--user=",
        "--pid-file=",
        &port,
        &log,
    ];
    let server = run.start("dnsmasq", &arguments);
    let Load { sent, .. } = run.load(&["-n", "5", "-Q", "1000"]);
    drop(server);
    let (report, queries, _) = read_log(&run.path("log"));
    assert_eq!((report.format, queries), (LogFormat::Dnsmasq, sent));
}
