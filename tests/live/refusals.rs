//! What `forebay live` refuses, and what it goes on from: no server is needed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::instance::Instance;

/// A file of production in a folder where nothing is there but the folder.
fn file(folder: &Path, changes: &[(&str, &str)]) -> PathBuf {
    let mut text = include_str!("edge.toml")
        .replace("@RUN@", folder.to_str().unwrap())
        .replace("@PORT@", "9")
        .replace("@OWNER@", "forebay-nowhere")
        .replace("@OVS@", folder.join("db.sock").to_str().unwrap())
        .replace("@KERNEL@", "/nowhere/vmlinuz")
        .replace("@INITRD@", "/nowhere/initrd");
    let (begin, end) = (text.find("[[event]]").unwrap(), text.find("[controller]").unwrap());
    text.replace_range(begin..end, "");
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    use std::os::unix::fs::PermissionsExt as _;
    let key = folder.join("dns.key");
    fs::write(&key, "hmac-sha256:steer:c3RlZXJpbmctaXMtdGVzdGVkLXdpdGgtdGhpcw==\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let path = folder.join("edge.toml");
    fs::write(&path, text).unwrap();
    path
}

/// Runs it for so long.
fn live(file: &Path, span: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["live", file.to_str().unwrap(), "--for", span])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn assert_refused(output: &Output, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for word in words.iter().chain(&["error: ", "hint: "]) {
        assert!(said.to_lowercase().contains(&word.to_lowercase()), "no \"{word}\" in: {said}");
    }
}

#[test]
fn a_file_under_which_nothing_may_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for mode in ["off", "shadow"] {
        let path = file(folder.path(), &[("mode = \"live\"", &format!("mode = \"{mode}\""))]);
        assert_refused(&live(&path, "1 s"), &["edge.toml", "nothing may be written", "forebay shadow"]);
    }
    assert!(!folder.path().join("state").exists(), "it left something");
    assert!(live(&folder.path().join("nothing.toml"), "1 s").status.code() == Some(2));
}

#[test]
fn a_state_folder_that_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &[]);
    fs::write(folder.path().join("state"), "not a folder").unwrap();
    assert_refused(&live(&path, "1 s"), &["state"]);
}

/// Nothing of what it shall act on is there: it says so of each, and asks for nothing.
#[test]
fn where_nothing_is_there_it_says_so_and_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &[("floor = 0", "floor = 1"), ("period = \"5 s\"", "period = \"1 s\"")]);
    let output = live(&path, "4 s");
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    for what in ["qemu", "link of ams", "127.0.0.1:9"] {
        let is_it = |line: &&str| line.contains(what) && line.contains("is not seen: ");
        assert!(said.lines().any(|line| is_it(&line)), "nothing of {what} in: {said}");
    }
    let audit = fs::read_to_string(folder.path().join("state/audit-1.jsonl")).unwrap();
    assert!(!audit.contains("\"create\""), "{audit}");
    let machines = folder.path().join("machines/forebay-nowhere");
    let made = fs::read_dir(machines).into_iter().flatten().flatten();
    assert_eq!(made.filter(|entry| entry.file_name().to_string_lossy().starts_with("vm-")).count(), 0);
}

#[test]
fn a_ledger_that_was_torn_off_is_gone_on_from_and_a_damaged_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let changes = [("floor = 0", "floor = 1"), ("period = \"5 s\"", "period = \"1 s\"")];
    let path = file(folder.path(), &changes);
    let first = live(&path, "3 s");
    assert!(first.status.success(), "{}", said(&first));
    let state = folder.path().join("state");
    let ledger = fs::read(state.join("ledger-1.jsonl")).unwrap();
    let last = ledger[..ledger.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let lines = ledger.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines > 3, "{}", String::from_utf8_lossy(&ledger));
    let kept: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(&state)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    let restore = || {
        fs::remove_dir_all(&state).unwrap();
        fs::create_dir(&state).unwrap();
        kept.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    };
    // Any cut of the last line: some here, each byte in the ledger's own tests.
    let length = ledger.len() - last;
    for cut in [1, 2, length / 3, length / 2, length - 2, length - 1] {
        restore();
        fs::write(state.join("ledger-1.jsonl"), &ledger[..last + cut]).unwrap();
        let output = live(&path, "1 s");
        assert!(output.status.success(), "{}", said(&output));
        let torn = format!("ledger-1.jsonl: line {lines} was torn off after {cut} bytes");
        assert!(said(&output).contains(&torn), "{}", said(&output));
        assert!(state.join("ledger-2.jsonl").exists());
    }
    // A byte in the middle, or a line that is gone: nobody knows what was forgotten.
    let mut flipped = ledger.clone();
    flipped[last - 3] ^= 1;
    let second = ledger.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let third = second + ledger[second..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let shortened = [&ledger[..second], &ledger[third..]].concat();
    for (damaged, line) in [(flipped, lines - 1), (shortened, 2)] {
        restore();
        fs::write(state.join("ledger-1.jsonl"), damaged).unwrap();
        let output = live(&path, "1 s");
        assert_refused(&output, &[&format!("ledger-1.jsonl:{line}: "), "allowed: "]);
        assert!(!state.join("ledger-2.jsonl").exists(), "it went on");
    }
}

#[test]
fn a_second_instance_waits_and_takes_over_when_the_first_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &[]);
    let patience = Duration::from_secs(60);
    let mut first = Instance::start(None, &path, &folder.path().join("first.log"));
    first.hear("writes, in epoch 1", patience);
    let mut second = Instance::start(None, &path, &folder.path().join("second.log"));
    second.hear("waits: ", patience);
    std::thread::sleep(Duration::from_secs(2));
    assert!(!second.said().contains("writes"));
    let begun = Instant::now();
    first.kill();
    second.hear("writes, in epoch 2", patience);
    println!("   took over after {:.2} s", begun.elapsed().as_secs_f64());
    assert!(begun.elapsed() < Duration::from_secs(5));
    second.signal("TERM");
    let (status, said) = second.end(patience);
    assert!(status.success(), "{said}");
}

/// What whoever held the lease before holds still is waited for, and taken once it is free: what queries are heard at, and
/// what metrics are given at.
#[test]
fn sockets_that_are_not_free_yet_are_taken_over_when_they_are() {
    use std::os::unix::net::UnixListener;
    let folder = tempfile::tempdir().unwrap();
    let metrics = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = metrics.local_addr().unwrap();
    let changes = [
        ("period = \"5 s\"", "period = \"1 s\""),
        ("[controller.guard]", &format!("[metrics]\nlisten = \"{address}\"\n\n[controller.guard]")),
    ];
    let path = file(folder.path(), &changes);
    let tap = UnixListener::bind(folder.path().join("tap.sock")).unwrap();
    let patience = Duration::from_secs(60);
    let mut instance = Instance::start(None, &path, &folder.path().join("log"));
    instance.hear("queries are not heard until it ends: ", patience);
    instance.hear(&format!("metrics are not given at {address} until it is free"), patience);
    instance.hear("demand of 1 cells not seen", patience);
    assert!(instance.said().contains("another program listens there"), "{}", instance.said());
    drop((tap, metrics));
    instance.hear("queries are heard again", patience);
    instance.hear("metrics are given", patience);
    let begun = Instant::now();
    let page = loop {
        let page = scrape(address);
        if page.contains("forebay_live_machines_wanted") || begun.elapsed() > patience {
            break page;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    for line in [
        "forebay_live_info{production=\"edge\",policy=\"predictive\"} 1",
        "forebay_live_lease_epoch 1",
        "forebay_live_kill_switch_open 1",
        "forebay_live_coverage_ratio 0",
        "forebay_live_machines{region=\"ams\",class=\"video\",state=\"ready\"} 0",
        "forebay_live_silent{source=\"link of ams\"} 1",
        "forebay_live_writes_total 0",
    ] {
        assert!(page.lines().any(|found| found == line), "no {line} in: {page}");
    }
    // The kill switch is noticed at the next beat, by whoever reads and by whoever scrapes.
    fs::write(folder.path().join("state/kill"), "").unwrap();
    instance.hear("nothing is written: kill switch closed by the file", patience);
    let begun = Instant::now();
    while !scrape(address).contains("forebay_live_kill_switch_open 0") {
        assert!(begun.elapsed() < patience, "{}", scrape(address));
        std::thread::sleep(Duration::from_millis(100));
    }
    fs::remove_file(folder.path().join("state/kill")).unwrap();
    instance.hear("the kill switch is open again", patience);
    instance.signal("TERM");
    let (status, said) = instance.end(patience);
    assert!(status.success(), "{said}");
}

/// A name server that writes a log is heard as one that sends dnstap; one that writes none is said, and counts as not heard.
#[test]
fn logs_of_name_servers_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("queries.log");
    let dnstap = format!("dnstap = [\"unix:{}/tap.sock\"]\n", folder.path().display());
    let table = format!("[[dns.log]]\npath = \"{}\"\n\n[dns.geography]", log.display());
    let changes = [("period = \"5 s\"", "period = \"1 s\""), (&*dnstap, ""), ("[dns.geography]", &*table)];
    let path = file(folder.path(), &changes);
    let patience = Duration::from_secs(60);
    let mut instance = Instance::start(None, &path, &folder.path().join("log"));
    instance.hear(&format!("log {} is not seen: it is not there", log.display()), patience);
    let mut out = fs::File::create(&log).unwrap();
    let mut ask = |count: usize| {
        let now = jiff::Timestamp::now();
        for port in 0..count {
            let client = format!("192.0.2.1#{}", 40_000 + port);
            writeln!(
                out,
                "{now:.3} client @0x7f {client} (video.cdn.test): query: video.cdn.test IN A -E(0) (192.0.2.53)"
            )
            .unwrap();
        }
    };
    ask(1);
    instance.hear(&format!("log {} is seen again", log.display()), patience);
    instance.hear("; 1 queries; ", patience);
    assert!(!instance.said().contains("not followed"), "{}", instance.said());
    ask(17);
    instance.hear("; 17 queries; ", patience);
    instance.signal("TERM");
    let (status, said) = instance.end(patience);
    assert!(status.success(), "{said}");
}

fn scrape(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: forebay\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

/// Terms that are long over leave nothing but what `keep` says, and the chain of audits that is left holds.
#[test]
fn audits_and_journals_that_are_too_old_go_when_a_term_begins() {
    let folder = tempfile::tempdir().unwrap();
    let changes = [("period = \"5 s\"", "period = \"1 s\""), ("mode = \"live\"", "mode = \"live\"\nkeep = \"7 d\"")];
    let path = file(folder.path(), &changes);
    let state = folder.path().join("state");
    for _ in 0..3 {
        let output = live(&path, "1 s");
        assert!(output.status.success() && !said(&output).contains(" are gone"), "{}", said(&output));
    }
    let old = std::time::SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    for epoch in 1..=3 {
        for kind in ["audit", "journal"] {
            let file = fs::File::options().append(true).open(state.join(format!("{kind}-{epoch}.jsonl"))).unwrap();
            file.set_modified(old).unwrap();
        }
    }
    let output = live(&path, "1 s");
    let words = "audit-1.jsonl, journal-1.jsonl, audit-2.jsonl, journal-2.jsonl are gone: `keep` is 7 d";
    assert!(output.status.success() && said(&output).contains(words), "{}", said(&output));
    let there =
        |kind: &str| (1..=4).filter(|epoch| state.join(format!("{kind}-{epoch}.jsonl")).exists()).collect::<Vec<_>>();
    assert_eq!((there("audit"), there("journal")), (vec![3, 4], vec![3, 4]), "the last term's stay, however old");
    let logs = forebay_adapters::audit::verify_folder(&state).unwrap();
    assert_eq!(logs.iter().map(|log| (log.epoch, log.after)).collect::<Vec<_>>(), [(3, Some(2)), (4, Some(3))]);
    let audit = fs::read_to_string(state.join("audit-4.jsonl")).unwrap();
    assert!(audit.contains("\"order\":\"discard\"") && audit.contains("audit-1.jsonl"), "{audit}");
}
