//! Shadow mode by what servers write down and calendars say: a log of BIND's in local time, which is cut and begun anew
//! while it is followed, and a calendar that is replaced by others.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::crowd::Crowd;
use super::instance::Instance;
use super::lab::have;

const PATIENCE: Duration = Duration::from_secs(60);
const RATE: f64 = 20.0;

/// Production of which nothing is known but its names.
const FILE: &str = r#"
[production]
name = "followed"
owner = "forebay-followed"
state = "@RUN@/state"
policy = "predictive"
[[region]]
name = "ams"
lat = 52.37
lon = 4.90
time_zone = "Europe/Amsterdam"
access = { capacity = "10 Gbit/s", delay = "1 ms" }
hosts = [{ count = 8, cpu = "16 vCPU", memory = "64 GiB", nic = "10 Gbit/s" }]
[[flavour]]
name = "small"
cpu = "1 vCPU"
memory = "160 MiB"
bandwidth = "50 Mbit/s"
price_per_hour = 0.02
boot_median = "15 s"
[[class]]
name = "video"
kind = "streaming"
flavour = "small"
bit_rate = "1 Mbit/s"
duration = "20 s"
cpu = "10 mCPU"
ttl = "5 s"
violation_price_per_minute = 1.0
[dns]
vantage = "authority"
zones = ["cdn.test"]
[[dns.log]]
path = "@RUN@/query.log"
time_zone = "Asia/Tokyo"
[dns.geography]
fallback = "ams"
[dns.names]
video = ["video.cdn.test"]
[[feed]]
file = "@RUN@/matches.ics"
every = "10 s"
kind = "match"
[controller]
period = "5 s"
demand = "dns"
[controller.guard]
floor = 1
"#;

/// A server that has to end, and has to be gone.
struct Bind(Child);

impl Bind {
    fn start(folder: &Path, port: u16) -> Bind {
        let run = folder.to_str().unwrap();
        let zone = "$ORIGIN cdn.test.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 10\n@ NS ns\nns A 127.0.0.1\nvideo 5 A 192.0.2.1\n";
        fs::write(folder.join("cdn.test.zone"), zone).unwrap();
        let configuration = format!(
            "options {{ directory \"{run}\"; pid-file \"{run}/named.pid\"; session-keyfile \"{run}/session.key\";\n\
             listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; notify no; querylog yes;\n\
             dnssec-validation no; }};\n\
             logging {{ channel q {{ file \"{run}/query.log\" versions 3 size 30k; print-time local; }};\n\
             category queries {{ q; }}; }};\ncontrols {{ }};\n\
             zone \"cdn.test\" {{ type primary; file \"{run}/cdn.test.zone\"; }};\n"
        );
        fs::write(folder.join("named.conf"), configuration).unwrap();
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let mut command = Command::new("named");
        command.args(["-f", "-c", &format!("{run}/named.conf")]).env("PATH", path).env("TZ", "Asia/Tokyo");
        Bind(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn calendar(folder: &Path, events: &str) {
    // In one step, as whoever publishes a calendar does it.
    let text = format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\n{events}END:VCALENDAR\r\n");
    fs::write(folder.join("matches.new"), text).unwrap();
    fs::rename(folder.join("matches.new"), folder.join("matches.ics")).unwrap();
}

/// A match that begins so long from now, and lasts an hour.
fn coming(id: &str, span: Duration) -> String {
    let at = |span: Duration| {
        let moment = jiff::Timestamp::try_from(SystemTime::now() + span).unwrap();
        moment.strftime("%Y%m%dT%H%M%SZ").to_string()
    };
    let (start, end) = (at(span), at(span + Duration::from_secs(3600)));
    format!(
        "BEGIN:VEVENT\r\nUID:{id}\r\nDTSTAMP:{start}\r\nDTSTART:{start}\r\nDTEND:{end}\r\nSUMMARY:Final\r\nEND:VEVENT\r\n"
    )
}

#[test]
#[ignore = "needs bind9"]
fn a_log_in_local_time_and_a_calendar_are_followed_through_whatever_replaces_them() {
    if !have(&["named"]) {
        return;
    }
    let folder = tempfile::Builder::new().prefix("fb").tempdir().unwrap();
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _bind = Bind::start(folder.path(), port);
    calendar(folder.path(), "");
    let file = folder.path().join("followed.toml");
    fs::write(&file, FILE.replace("@RUN@", folder.path().to_str().unwrap())).unwrap();
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    let begun = Instant::now();
    while !folder.path().join("query.log").exists() {
        assert!(begun.elapsed() < PATIENCE, "named does not write its log");
        std::thread::sleep(Duration::from_millis(50));
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let crowd = Crowd::start(socket, server, Instant::now(), vec![(Duration::from_secs(3_600), RATE)]);
    let words = ["shadow", file.to_str().unwrap(), "--headless", "--json", "--replicates", "2"];
    let mut shadow = Instance::run(None, &[], &words, &folder.path().join("shadow.log"));
    shadow.hear("journal and ticks in", PATIENCE);
    let ticks = |shadow: &Instance| -> Vec<Value> {
        let lines = shadow.said();
        let whole = lines.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let wait_for = |shadow: &mut Instance, what: &str, is_so: &dyn Fn(&[Value]) -> bool| {
        let begun = Instant::now();
        while !is_so(&ticks(shadow)) {
            assert!(
                shadow.ended().is_none() && begun.elapsed() < PATIENCE,
                "{what} does not come about: {}",
                shadow.said()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        println!("   {:5.1} s  {what}", begun.elapsed().as_secs_f64());
    };
    let known = |folder: &Path| -> Vec<String> {
        let runs = fs::read_dir(folder.join("state/shadow")).unwrap().map(|entry| entry.unwrap().path());
        let text = fs::read_to_string(runs.map(|run| run.join("journal.jsonl")).next().unwrap()).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let last: Value = serde_json::from_str(whole.lines().last().unwrap()).unwrap();
        let events = find(&last, "events").and_then(Value::as_array).cloned().unwrap_or_default();
        events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    let silent = |ticks: &[Value]| ticks.last().map_or(0, |tick| tick["silent"].as_array().unwrap().len());
    wait_for(&mut shadow, "six ticks", &|ticks| ticks.len() >= 6);
    assert_eq!((known(folder.path()), silent(&ticks(&shadow))), (Vec::new(), 0));

    calendar(folder.path(), &coming("final-1", Duration::from_secs(600)));
    wait_for(&mut shadow, "a match is known", &|_| known(folder.path()).iter().any(|id| id.contains("final-1")));
    fs::write(folder.path().join("matches.ics"), "<html>not found</html>").unwrap();
    wait_for(&mut shadow, "it is said that the calendar is none", &|ticks| silent(ticks) == 1);
    assert!(known(folder.path()).iter().any(|id| id.contains("final-1")), "what was good last holds");
    let why = ticks(&shadow).pop().unwrap()["silent"][0].clone();
    println!("   {why}");
    assert!(why["source"].as_str().unwrap().ends_with("matches.ics"), "{why}");
    calendar(folder.path(), &coming("final-2", Duration::from_secs(1200)));
    wait_for(&mut shadow, "another is known", &|ticks| {
        silent(ticks) == 0 && known(folder.path()).iter().all(|id| id.contains("final-2"))
    });

    shadow.signal("TERM");
    let (status, said) = shadow.end(PATIENCE);
    crowd.stop();
    assert!(status.success(), "{said}");
    let mut ticks: Vec<Value> =
        said.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    ticks.pop().expect("it sums up");
    // Of one window alone no rate is told; and the last was cut short.
    let whole = &ticks[1..ticks.len() - 1];
    let told = |tick: &Value| tick["cells"][0]["demand"]["queries"].as_f64().unwrap();
    let queries: f64 = whole.iter().map(told).sum();
    let asked = RATE * whole.iter().map(|tick| tick["window_seconds"].as_f64().unwrap()).sum::<f64>();
    let rotated = folder.path().join("query.log.0").exists();
    let last = &whole[whole.len() - 1]["cells"][0]["demand"];
    println!("   {} ticks: {queries} queries told of {asked:.0}; rotated: {rotated}; {last}", whole.len());
    assert!(rotated, "the log was not begun anew");
    // None is lost when the log is begun anew, and none counts twice.
    assert!((queries - asked).abs() < 2.0 * RATE, "{queries} of {asked}");
    let rate = last["sessions_per_second"].as_f64().unwrap();
    assert!((rate - RATE).abs() < 4.0 * last["standard_error"].as_f64().unwrap() + 0.1 * RATE, "{last}");
    assert!(ticks.iter().skip(1).all(|tick| tick["coverage"] == 1.0));
}

/// The first value of a name, however deep.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(name).or_else(|| map.values().find_map(|value| find(value, name))),
        Value::Array(list) => list.iter().find_map(|value| find(value, name)),
        _ => None,
    }
}
