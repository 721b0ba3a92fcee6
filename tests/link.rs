//! `forebay link`: slices of a real link from a file, and what is said when they cannot be had.

mod command;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use command::{forebay, stderr, stdout};
use serde_json::Value;

const TC: &str = r#"capacity = "10 Mbit/s"

[executor]
kind = "tc"
device = "v0"

[[slice]]
name = "video"
guarantee = "6 Mbit/s"
priority = 1
sources = ["10.0.1.0/24", "fd00:1::/64"]

[[slice]]
name = "web"
guarantee = "3 Mbit/s"
ceiling = "8 Mbit/s"
weight = 2
sources = ["10.0.2.7"]
"#;

fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("link.toml"), text).expect("writable");
    folder
}

/// What is said by a command that must be refused, which gives no data.
fn refused(text: &str, action: &str) -> String {
    let folder = folder(text);
    let output = forebay(folder.path(), &["link", action, "link.toml"], b"");
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), String::new()), "{text}: {}", stderr(&output));
    stderr(&output)
}

#[test]
fn files_that_cannot_be_meant_are_refused_with_their_place() {
    let with = |from: &str, to: &str| {
        assert!(TC.contains(from), "{from}");
        refused(&TC.replacen(from, to, 1), "apply")
    };
    let cases = [
        ("guarantee = \"3 Mbit/s\"", "guarantee = \"5 Mbit/s\"", "4 Mbit/s of 10 Mbit/s are left"),
        ("ceiling = \"8 Mbit/s\"", "ceiling = \"2 Mbit/s\"", "under a ceiling of 2 Mbit/s"),
        ("weight = 2", "weight = 0", "a weight of 0"),
        ("weight = 2", "dscp = 64", "DSCP 64"),
        ("weight = 2", "wieght = 2", "did you mean `weight`?"),
        ("\"10.0.2.7\"", "\"10.0.2.300\"", "`10.0.2.300` is no network"),
        ("name = \"web\"", "name = \"video\"", "two slices are called `video`"),
        ("kind = \"tc\"", "kind = \"tx\"", "tx"),
        ("capacity = \"10 Mbit/s\"", "capacity = \"0 bit/s\"", "a link of no capacity"),
        ("capacity = \"10 Mbit/s\"", "", "capacity"),
    ];
    for (from, to, said) in cases {
        let text = with(from, to);
        assert!(text.contains(said) && text.contains("link.toml"), "{to}: {text}");
    }
    let port = format!("{TC}\n[[port]]\nname = \"p\"\nslice = \"vido\"\nmac = \"01:00:00:00:00:01\"\naddresses = []\n");
    let text = refused(&port, "apply");
    for said in ["did you mean `video`?", "01:00:00:00:00:01", "a port without addresses", "link.toml: 3 errors"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let nowhere = forebay(Path::new("."), &["link", "show", "no/such/link.toml"], b"");
    assert_eq!(nowhere.status.code(), Some(2));
}

#[test]
fn what_cannot_be_reached_or_expressed_is_said_and_nothing_is_written() {
    let device = refused(&TC.replace("\"v0\"", "\"no-such-device\""), "apply");
    assert!(device.contains("there is no device \"no-such-device\"; there are: ") && device.contains("lo"), "{device}");
    let ovs = |database: &str, more: &str| {
        let executor = format!("kind = \"ovs\"\ndatabase = \"{database}\"\nbridge = \"br0\"\nport = \"up\"\n{more}");
        TC.replace("kind = \"tc\"\ndevice = \"v0\"\n", &executor)
    };
    let unreachable = refused(&ovs("unix:/no/such/db.sock", ""), "apply");
    assert!(unreachable.contains("/no/such/db.sock") && unreachable.contains("hint:"), "{unreachable}");
    let scheme = refused(&ovs("http://localhost", ""), "show");
    assert!(scheme.contains("allowed: unix:/path/of/socket") && scheme.contains("link.toml"), "{scheme}");
    let no_files = refused(&ovs("ssl:localhost:6640", ""), "show");
    assert!(no_files.contains("needs the files of a CA certificate"), "{no_files}");
    let tls = "tls = { ca = \"ca.pem\", certificate = \"cert.pem\", private_key = \"key.pem\" }\n\
               openflow = \"unix:/no/such/br0.mgmt\"";
    let no_such_file = refused(&ovs("ssl:localhost:6640", tls), "show");
    assert!(no_such_file.contains("ca.pem") || no_such_file.contains("cert.pem"), "{no_such_file}");
    let ovn = TC.replace(
        "kind = \"tc\"\ndevice = \"v0\"\n",
        "kind = \"ovn\"\ndatabase = \"unix:/no/nb.sock\"\nswitch = \"sw\"\n",
    );
    assert!(refused(&ovn, "remove").contains("/no/nb.sock"));
}

/// A network namespace with a veth pair `v0`, `v1`, gone with the value.
struct Namespace(String);

impl Namespace {
    fn new(role: &str) -> Option<Namespace> {
        let name = format!("forebay{}-link-{role}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).stderr(Stdio::null()).status();
        let there = made.is_ok_and(|status| status.success());
        let required = std::env::var_os("FOREBAY_SERVERS").is_some_and(|value| value == "required");
        assert!(there || !required, "no network namespace can be made, and FOREBAY_SERVERS=required");
        if !there {
            eprintln!("NOT TESTED: no network namespace can be made");
            return None;
        }
        let namespace = Namespace(name);
        namespace.run("ip", &["link", "add", "v0", "type", "veth", "peer", "name", "v1"]);
        Some(namespace)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]).args(arguments);
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program, arguments).output().expect("it runs");
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// `forebay link ACTION FILE …`: its exit status and its data.
    fn link(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let arguments = [&["link"], arguments].concat();
        let output = self.command(env!("CARGO_BIN_EXE_forebay"), &arguments).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8(output.stdout).expect("text") + &said)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

#[test]
#[ignore = "needs root and iproute2"]
fn a_file_s_slices_stand_are_shown_and_go() {
    let Some(namespace) = Namespace::new("life") else { return };
    let folder = folder(TC);
    let path = folder.path().join("link.toml").display().to_string();
    let (status, planned) = namespace.link(&["apply", &path, "--dry-run"]);
    assert_eq!(status, Some(1), "{planned}");
    assert!(planned.contains("slice 0 does not stand"), "{planned}");
    let (status, applied) = namespace.link(&["apply", &path]);
    assert_eq!(status, Some(0), "{applied}");
    assert!(applied.contains("applied and verified"), "{applied}");
    let again = namespace.link(&["apply", &path]);
    assert_eq!(again, (Some(0), "device v0: nothing to do\n".to_owned()));
    let (status, shown) = namespace.link(&["show", &path, "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((status, &shown["generation"]), (Some(0), &Value::from(1)), "{shown}");
    assert_eq!(shown["slices"][1]["slice"], "web");
    assert_eq!(shown["slices"][1]["ceiling_bits_per_second"], 8_000_000);
    assert_eq!(shown["slices"][0]["sources"], serde_json::json!(["10.0.1.0/24", "fd00:1::/64"]));
    // Another file is a newer plan; one that says that it is older is refused.
    fs::write(&path, TC.replace("6 Mbit/s", "5 Mbit/s")).expect("writable");
    assert_eq!(namespace.link(&["show", &path]).0, Some(1), "what stands is another plan's");
    assert_eq!(namespace.link(&["apply", &path]).0, Some(0));
    fs::write(&path, format!("generation = 1\n{TC}")).expect("writable");
    let (status, stale) = namespace.link(&["apply", &path]);
    assert!(status == Some(2) && stale.contains("plan 1 is stale: plan 2 stands"), "{stale}");
    let (status, removed) = namespace.link(&["remove", &path]);
    assert!(status == Some(0) && removed.contains("removed"), "{removed}");
    assert!(!namespace.run("tc", &["qdisc", "show", "dev", "v0"]).contains("htb"));
}

/// Killed at whatever moment, the next start makes what stands what shall, and nothing is left at the end.
#[test]
#[ignore = "needs root and iproute2"]
fn a_command_that_is_killed_at_any_moment_is_mended_by_the_next() {
    let Some(namespace) = Namespace::new("killed") else { return };
    let mut text = TC.replace("10 Mbit/s", "100 Mbit/s");
    for slice in 0..200 {
        text.push_str(&format!(
            "[[slice]]\nname = \"s{slice}\"\nguarantee = \"12 kbit/s\"\nsources = [\"10.7.{slice}.0/24\"]\n"
        ));
    }
    let folder = folder(&text);
    let path = folder.path().join("link.toml").display().to_string();
    let begun = std::time::Instant::now();
    assert_eq!(namespace.link(&["apply", &path]).0, Some(0));
    let takes = begun.elapsed();
    assert_eq!(namespace.link(&["remove", &path]).0, Some(0));
    let mut partly = 0;
    for round in 0..40 {
        let mut child = namespace
            .command(env!("CARGO_BIN_EXE_forebay"), &["link", "apply", &path])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(takes * round / 40);
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        let classes = namespace.run("tc", &["class", "show", "dev", "v0"]).lines().count();
        partly += usize::from((1..204).contains(&classes));
        if round % 2 == 0 {
            let (status, said) = namespace.link(&["apply", &path]);
            assert_eq!(status, Some(0), "round {round}: {said}");
            assert_eq!(namespace.link(&["show", &path]).0, Some(0), "round {round}");
        }
        let (status, said) = namespace.link(&["remove", &path]);
        assert_eq!(status, Some(0), "round {round}: {said}");
        assert!(!namespace.run("tc", &["qdisc", "show", "dev", "v0"]).contains("htb"), "round {round}");
    }
    println!("   killed half way in {partly} of 40 rounds");
}
