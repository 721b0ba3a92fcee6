//! Production files from outside: what `forebay check` says of them and of what they name, and what `forebay init` writes.
//!
//! What is wrong with a file is said with file, line, what is allowed and a hint: each slip of the table below is made in
//! `tests/production/edge.toml`, and the snapshot is what an operator then sees. Update with `INSTA_UPDATE=always`, and
//! read what changed.

mod command;

use std::fs::{self, Permissions};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use command::{forebay, said, stderr, stdout};
use serde_json::Value;

const FILE: &str = "edge.toml";

/// A folder with the file and what lies beside it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/production")).expect("it is there") {
        let path = entry.expect("readable").path();
        fs::copy(&path, folder.path().join(path.file_name().expect("named"))).expect("copied");
    }
    folder
}

fn text() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/production").join(FILE)).expect("readable")
}

/// Name of the snapshot, what stands in the file, and what stands there instead.
const SLIPS: &[(&str, &str, &str)] = &[
    ("owner", "owner = \"forebay-eu\"", "owner = \"Forebay EU\""),
    ("policy", "policy = \"predictive\"", "policy = \"predictiv\""),
    ("policy-of-the-future", "policy = \"predictive\"", "policy = \"oracle\""),
    ("unknown-section", "[metrics]", "[metric]"),
    ("unknown-key", "vantage = ", "vantge = "),
    ("topology", "lat = 52.37", "lat = 152.37"),
    ("controller", "ceiling = 40", "ceiling = 0"),
    ("hosts", "hosts = \"ams-*\"", "hosts = \"asm-001\""),
    ("hypervisor-kind", "kind = \"qemu\"", "kind = \"quemu\""),
    ("hypervisor-key-missing", "endpoint = \"https://ec2.eu-west-1.amazonaws.com\"\n", ""),
    ("hypervisor-key-of-another-kind", "kind = \"qemu\"\n", "kind = \"qemu\"\nuri = \"qemu:///system\"\n"),
    ("hypervisor-endpoint", "https://ec2.eu-west-1", "http://ec2.eu-west-1"),
    (
        "hypervisors-of-one-machine",
        "[image.edge-8]",
        "[[hypervisor]]\nhosts = \"fra-*\"\nkind = \"qemu\"\nacceleration = \"kvm\"\n\n[image.edge-8]",
    ),
    ("live-without-hypervisor", "\"ams/video\", mode", "\"fra/video\", mode"),
    ("image-of-unknown-flavour", "[image.edge-4]", "[image.edge-5]"),
    ("image-twice", "format = \"qcow2\"", "format = \"qcow2\"\nkernel = \"/boot/vmlinuz\""),
    ("image-path", "disk = \"/var/lib", "disk = \"var/lib"),
    ("image-format", "format = \"qcow2\"", "format = \"vmdk\""),
    ("image-provider-kind", "provider_kind = \"c6i.2xlarge\"\n", ""),
    ("user-data-missing", "user_data = \"edge.yaml\"", "user_data = \"edg.yaml\""),
    ("user-data-word", "gateway={gateway}", "gateway={gatway}"),
    ("memory", "memory = \"16 GiB\"", "memory = \"16 GB\""),
    ("network-of-unknown-region", "[network.ams]", "[network.asm]"),
    ("network-executor", "kind = \"ovs\", database", "kind = \"ovs\", databse"),
    ("network-database", "unix:/run/openvswitch/db.sock", "/run/openvswitch/db.sock"),
    ("network-addresses", "addresses = \"10.20.0.0/24\"", "addresses = \"10.20.0.7/24\""),
    ("network-gateway", "gateway = \"10.20.0.1\"", "gateway = \"10.21.0.1\""),
    ("network-public", "public = \"192.0.2.0/24\"", "public = \"192.0.2.0/25\""),
    ("network-overlap", "[dns]", "[network.fra]\naddresses = \"10.20.0.128/25\"\n\n[dns]"),
    ("dnstap", "\"unix:/run/forebay/dnstap.sock\"", "\"/run/forebay/dnstap.sock\""),
    ("dns-nowhere", "dnstap = [\"unix:/run/forebay/dnstap.sock\"]\n", ""),
    ("vantage", "vantage = \"authority\"", "vantage = \"authoritative\""),
    ("geography-file", "prefixes = \"networks.csv\"", "prefixes = \"network.csv\""),
    ("geography-fallback", "fallback = \"ams\"", "fallback = \"amsterdam\""),
    ("names-class", "video = [\"video.cdn.example\", ", "vidoe = [\"video.cdn.example\", "),
    ("names-twice", "web = [\"cdn.example\"]", "web = [\"cdn.example\", \"video.cdn.example\"]"),
    ("steering-server", "server = \"192.0.2.53:53\"", "server = \"ns1.cdn.example\""),
    ("steering-without-key", "key_file = \"dns.key\"\n", ""),
    ("steering-key-inline", "key_file = \"dns.key\"", "key = \"c2VjcmV0LXNlY3JldA==\""),
    ("steering-key-in-variable", "key_file = \"dns.key\"", "key_env = \"c2VjcmV0LXNlY3JldA==\""),
    ("steering-zone", "web = \"www.cdn.example\"", "web = \"www.example\""),
    ("steering-ttl", "ttl_least = \"20 s\"", "ttl_least = \"45 s\""),
    ("rails", "share_moved_most = 0.2", "share_moved_most = 20"),
    ("health-path", "path = \"/health\"\nsessions", "path = \"health\"\nsessions"),
    ("health-sessions", "metric = \"nginx_connections_active\"", "metric = \"a\", pointer = \"/a\""),
    ("health-timeout", "[health.web]", "[health.web]\ntimeout = \"7 s\""),
    ("warm-file", "warm_file = \"popular.txt\"", "warm_file = \"edge.yaml\""),
    ("history-file", "[controller]", "[history]\nfiles = [\"demand.csv\"]\n\n[controller]"),
    ("history-scale", "[controller]", "[history]\nfiles = [\"networks.csv\"]\nsessions_per_count = 0\n\n[controller]"),
    ("feed-nowhere", "file = \"matches.csv\"\n", ""),
    ("event-after-start", "start = 2026-07-19T19:00:00Z", "start = \"2 h\""),
    ("demand", "demand = \"dns\"", "demand = \"sessions\""),
    ("mode", "mode = \"shadow\"", "mode = \"shdow\""),
    ("mode-of-unknown-cell", "\"ams/video\", mode", "\"ams/vidoe\", mode"),
    ("disruption", "share = 0.2", "share = 2"),
    ("lease", "disruption = {", "lease = { duration = \"10 s\", renew_every = \"4 s\" }\ndisruption = {"),
    ("keep", "keep = \"30 d\"", "keep = \"12 h\""),
    ("metrics", "listen = \"127.0.0.1:9753\"", "listen = \"9753\""),
    ("incumbent", "flavour = \"edge-4\"\n", "flavour = \"edge\"\n"),
    ("no-toml", "[controller]", "[controller"),
];

#[test]
fn every_slip_has_its_message() {
    let folder = folder();
    let whole = text();
    let mut said_of: Vec<(&str, String)> = Vec::new();
    for (name, from, to) in SLIPS {
        let from = if name.starts_with("incumbent") { format!("class = \"web\"\n{from}") } else { (*from).to_owned() };
        let to = if name.starts_with("incumbent") { format!("class = \"web\"\n{to}") } else { (*to).to_owned() };
        assert!(whole.contains(&from), "{name}: {from}");
        fs::write(folder.path().join(FILE), whole.replacen(&from, &to, 1)).expect("written");
        let output = forebay(folder.path(), &["check", "--offline", FILE], b"");
        let said = stderr(&output).replace(folder.path().to_str().expect("in UTF-8"), "FOLDER");
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        assert!(output.stdout.is_empty(), "{name}: data on stdout");
        assert!(!said.contains("panicked"), "{name}: {said}");
        assert!(said.contains("edge.toml:") && said.contains("hint: "), "{name}: {said}");
        assert!(!said.contains("c2VjcmV0"), "{name}: a secret is shown: {said}");
        said_of.push((*name, said));
    }
    for (name, said) in said_of {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("production-{name}"), said);
        });
    }
}

#[test]
fn a_sound_file_is_said_to_be_sound() {
    let folder = folder();
    let (said_out, said_err) = said(folder.path(), &["check", "--offline", FILE]);
    assert_eq!(said_out, "edge.toml: sound: 3 regions, 5 hosts, 2 classes; cells: 4 shadow, 1 advise, 1 live\n");
    assert_eq!(said_err, "");
    let (line, _) = said(folder.path(), &["check", "--offline", "--json", FILE]);
    let object: Value = serde_json::from_str(&line).expect("one JSON object");
    assert_eq!(
        (&object["kind"], &object["sound"], &object["reached"]),
        (&"production".into(), &true.into(), &Value::Null)
    );
    assert!(!folder.path().join("state").exists(), "a check makes nothing");
}

/// A file of which some things answer and others do not.
fn small(folder: &Path, metrics: &str, dns: &str) -> String {
    format!(
        r#"
[production]
name = "lab"
owner = "forebay-check-{process}"
state = "state"
[[region]]
name = "lab"
lat = 0.0
lon = 0.0
time_zone = "UTC"
access = {{ capacity = "1 Gbit/s", delay = "1 ms" }}
hosts = [{{ count = 1, cpu = "4 vCPU", memory = "8 GiB", nic = "1 Gbit/s" }}]
[[flavour]]
name = "small"
cpu = "1 vCPU"
memory = "1 GiB"
bandwidth = "100 Mbit/s"
price_per_hour = 0.1
boot_median = "20 s"
[[class]]
name = "web"
kind = "streaming"
flavour = "small"
bit_rate = "1 Mbit/s"
duration = "1 min"
cpu = "1 mCPU"
violation_price_per_minute = 1.0
[[hypervisor]]
hosts = "*"
kind = "qemu"
acceleration = "tcg"
[image.small]
disk = "{folder}/small.qcow2"
[network.lab]
executor = {{ kind = "tc", device = "none0" }}
bridge = "br0"
addresses = "10.20.0.0/24"
[dns]
dnstap = ["unix:{folder}/dnstap.sock"]
[[dns.log]]
path = "later.log"
[dns.geography]
prefixes = "networks.csv"
fallback = "lab"
[steering]
kind = "rfc2136"
server = "{dns}"
zone = "cdn.example"
key_file = "dns.key"
names = {{ web = "www.cdn.example" }}
[[feed]]
file = "matches.csv"
[controller]
demand = "dns"
[metrics]
listen = "{metrics}"
"#,
        process = std::process::id(),
        folder = folder.display(),
    )
}

fn reached(folder: &Path) -> (Option<i32>, Vec<Value>) {
    let output = forebay(folder, &["check", "--json", "small.toml"], b"");
    let object: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    (output.status.code(), object["reached"].as_array().expect("things were asked").clone())
}

fn of<'a>(reached: &'a [Value], kind: &str) -> &'a Value {
    reached.iter().find(|one| one["kind"] == kind).unwrap_or_else(|| panic!("{kind}: {reached:?}"))
}

#[test]
fn what_does_not_answer_is_told_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    // Sockets that are taken, so that whoever asks meets one who does not answer, or one who listens.
    let listening = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let (metrics, dns) = (listening.local_addr().expect("bound"), silent.local_addr().expect("bound"));
    fs::write(path.join("small.toml"), small(path, &metrics.to_string(), &dns.to_string())).expect("written");
    fs::write(path.join("networks.csv"), "prefix,region\n198.51.100.0/24,elsewhere\n").expect("written");
    fs::write(path.join("matches.csv"), "id,start,end,kind\na,2026-01-01T00:00:00Z,2026-01-01T01:00:00Z,x\n")
        .expect("written");
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0";
    fs::write(path.join("dns.key"), format!("hmac-sha256:steer:{secret}\n")).expect("written");
    fs::set_permissions(path.join("dns.key"), Permissions::from_mode(0o644)).expect("set");
    let taken = UnixListener::bind(path.join("dnstap.sock")).expect("a socket");

    let before = names(path);
    let (status, seen) = reached(path);
    assert_eq!(status, Some(1), "{seen:?}");
    for (kind, ok, says) in [
        ("state", true, "it will be made"),
        ("hypervisor", true, "0 machines of forebay-check-"),
        ("image", false, "No such file"),
        ("switch", false, "none0"),
        ("dnstap", false, "another program listens there"),
        ("log", true, "it is not there yet"),
        ("geography", false, "networks.csv:2"),
        ("steering", false, "others may read or change it (mode 644)"),
        ("secret", false, "others may read or change it (mode 644)"),
        ("feed", true, "0 events"),
        ("metrics", false, "in use"),
    ] {
        let one = of(&seen, kind);
        assert_eq!(one["ok"], ok, "{kind}: {one}");
        assert!(one["says"].as_str().expect("a text").contains(says), "{kind}: {one}");
        assert!(
            ok || one["hint"].as_str().is_some_and(|hint| !hint.is_empty())
                || one["says"].as_str().is_some_and(|says| says.contains("hint: ") || says.contains("there are: ")),
            "{one}"
        );
    }
    assert!(!format!("{seen:?}").contains(secret));
    assert_eq!(names(path), before, "nothing is left behind");

    // All that can be mended here is.
    drop((taken, listening));
    fs::remove_file(path.join("dnstap.sock")).expect("removed");
    fs::write(path.join("small.qcow2"), "QFI").expect("written");
    fs::write(path.join("networks.csv"), "prefix,region\n198.51.100.0/24,lab\n").expect("written");
    fs::set_permissions(path.join("dns.key"), Permissions::from_mode(0o640)).expect("set");
    let before = names(path);
    let (status, seen) = reached(path);
    assert_eq!(status, Some(1));
    for kind in ["state", "hypervisor", "image", "dnstap", "log", "geography", "secret", "feed", "metrics"] {
        assert_eq!(of(&seen, kind)["ok"], true, "{seen:?}");
    }
    let steering = of(&seen, "steering");
    assert_eq!((&steering["ok"], of(&seen, "switch")["ok"] == false), (&Value::Bool(false), true), "{steering}");
    assert_eq!(names(path), before, "not even the socket is left behind");

    // For people, a line each.
    let output = forebay(path, &["check", "small.toml"], b"");
    let said = stdout(&output);
    assert!(said.contains("\nok      secret     "), "{said}");
    assert!(said.contains("\nFAILED  switch     lab (device none0): "), "{said}");
    assert_eq!(output.status.code(), Some(1));
    drop(silent);
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("it is there")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("in UTF-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_wrong_file_weighs_more_than_one_that_does_not_answer() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("wrong.toml"), text().replace("[dns]", "[dsn]")).expect("written");
    let output = forebay(path, &["check", "--offline", "--json", "wrong.toml", FILE], b"");
    assert_eq!(output.status.code(), Some(2));
    let lines: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON objects")).collect();
    assert_eq!((&lines[0]["sound"], &lines[1]["sound"]), (&false.into(), &true.into()));
    assert!(stderr(&output).contains("unknown key `dsn`"));
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/steady.toml");
    let (line, _) = said(path, &["check", "--json", scenario.to_str().expect("in UTF-8")]);
    assert_eq!(serde_json::from_str::<Value>(&line).expect("JSON")["kind"], "scenario");
}

#[test]
fn init_writes_a_file_that_is_sound_and_never_over_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let looked = ["--libvirt", "test:///none", "--ovs", "unix:none.sock"];
    let arguments = [&["init", "--out", "forebay.toml"][..], &looked[..]].concat();
    let (out, err) = said(path, &arguments);
    assert!(out.is_empty() && err.contains("forebay check forebay.toml"), "{err}");
    let written = fs::read_to_string(path.join("forebay.toml")).expect("written");
    assert!(written.contains("Open vSwitch was not seen at unix:none.sock"), "{written}");
    let (sound, _) = said(path, &["check", "--offline", "forebay.toml"]);
    assert!(sound.contains("sound: 1 regions, 1 hosts, 1 classes; cells: 1 shadow"), "{sound}");

    let again = forebay(path, &arguments, b"");
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("forebay.toml is there already") && stderr(&again).contains("hint: "));
    assert_eq!(fs::read_to_string(path.join("forebay.toml")).expect("still there"), written);
    let (printed, _) = said(path, &[&["init"][..], &looked[..]].concat());
    assert_eq!(printed, written);
    let nowhere = forebay(path, &["init", "--out", "none/forebay.toml"], b"");
    assert_eq!((nowhere.status.code(), stderr(&nowhere).contains("cannot be written")), (Some(2), true));
    assert_eq!(names(path), ["forebay.toml"]);
}
