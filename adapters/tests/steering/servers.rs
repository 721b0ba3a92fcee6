//! Real servers on loopback, each with a zone that may be updated, and readers of them that are not ours.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use forebay_adapters::Prefix;

/// How long a server may take to start or to end, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A name of the zone that is nobody's business, and a wildcard; what all servers begin with.
pub(crate) const ZONE_FILE: &str = "cdn.test. 20 IN SOA ns.cdn.test. admin.cdn.test. 1 60 60 600 20\n\
    cdn.test. 20 IN NS ns.cdn.test.\nns.cdn.test. 20 IN A 127.0.0.1\nwww.cdn.test. 20 IN A 192.0.2.200\n\
    www.cdn.test. 20 IN TXT \"somebody's\"\n*.cdn.test. 20 IN A 192.0.2.250\n";

/// Where programs are looked for: servers are not on everybody's path.
pub(crate) fn search_path() -> String {
    std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin"
}

/// Whether programs are there; says so when not, and fails when they have to be.
pub(crate) fn have(programs: &[&str]) -> bool {
    let path = search_path();
    let missing: Vec<_> = programs
        .iter()
        .chain(&["setpriv", "dig", "nsupdate"])
        .filter(|program| !path.split(':').any(|folder| Path::new(folder).join(program).exists()))
        .collect();
    let required = std::env::var_os("FOREBAY_SERVERS").is_some_and(|value| value == "required");
    assert!(missing.is_empty() || !required, "{missing:?} are not installed, and FOREBAY_SERVERS=required");
    if !missing.is_empty() {
        eprintln!("NOT TESTED: {missing:?} are not installed");
    }
    missing.is_empty()
}

/// A port of loopback that is free for UDP and TCP, below those that the system gives to clients.
pub(crate) fn free_port() -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 10_000) as u16;
    for _ in 0..10_000 {
        let port = 22_000 + (first + TRIED.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// A folder and a port for one server, and the server while it runs.
pub(crate) struct Ground {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
    /// The secret of key `steer`.
    pub(crate) secret: String,
    program: &'static str,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Ground {
    pub(crate) fn new(program: &'static str) -> Ground {
        let folder = tempfile::Builder::new().prefix("fb").tempdir().unwrap();
        fs::write(folder.path().join("cdn.test.zone"), ZONE_FILE).unwrap();
        let secret = "c3RlZXJpbmctaXMtdGVzdGVkLXdpdGgtdGhpcw==".to_owned();
        let ground = Ground { folder, port: free_port(), secret, program, arguments: Vec::new(), child: None };
        ground.write("key", &format!("hmac-sha256:steer:{}\n", ground.secret));
        ground.write("wrong", "hmac-sha256:steer:b3RoZXItc2VjcmV0LW90aGVyLXNlY3JldA==\n");
        ground
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, with the folder for `@RUN@`, the port for `@PORT@` and the secret for `@SECRET@`.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let folder = self.folder.path().display().to_string();
        let text = text.replace("@RUN@", &folder).replace("@PORT@", &self.port.to_string());
        fs::write(self.path(name), text.replace("@SECRET@", &self.secret)).unwrap();
        self.path(name)
    }

    /// Starts the server and waits until it answers for this name. It ends with this, and with the thread that starts it.
    pub(crate) fn start(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self.start_again();
    }

    fn start_again(&mut self) {
        let output = File::create(self.path("output")).unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", self.program])
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .env("PATH", search_path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let begun = Instant::now();
        while !self.dig(&["www.cdn.test", "A", "+tries=1", "+time=1"]).contains("192.0.2.") {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let output = fs::read_to_string(self.path("output")).unwrap_or_default();
                panic!("{} does not answer: {output}", self.program);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let _ = Command::new("kill").arg(child.id().to_string()).status();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
    }

    pub(crate) fn while_stopped(&mut self, run: &mut dyn FnMut()) {
        self.stop();
        run();
        self.start_again();
    }

    /// What dig says, answers alone.
    pub(crate) fn dig(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let base = ["@127.0.0.1", "-p", &port, "+norec", "+noall", "+answer"];
        said(Command::new("dig").args(base).args(arguments))
    }

    /// Addresses and time to live, asked by dig; what came of `times` questions.
    pub(crate) fn ask(&self, name: &str, v6: bool, client: Option<Prefix>, times: usize) -> (Vec<IpAddr>, u32) {
        let subnet = client.map(|client| format!("+subnet={client}"));
        let mut arguments = vec![name, if v6 { "AAAA" } else { "A" }];
        arguments.extend(subnet.as_deref());
        let (mut seen, mut ttl_seconds) = (BTreeSet::new(), 0);
        for _ in 0..times {
            for line in self.dig(&arguments).lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                if let [_, ttl, "IN", "A" | "AAAA", address] = words[..] {
                    seen.insert(address.parse().unwrap());
                    ttl_seconds = ttl.parse().unwrap();
                }
            }
        }
        (seen.into_iter().collect(), ttl_seconds)
    }

    /// Changes the zone by hand.
    pub(crate) fn nsupdate(&self, lines: &str) {
        let key = fs::read_to_string(self.path("key")).unwrap();
        let script = format!("server 127.0.0.1 {}\nzone cdn.test.\n{lines}send\n", self.port);
        self.write("script", &script);
        let script = self.path("script");
        let output = Command::new("nsupdate").args(["-y", key.trim(), script.to_str().unwrap()]).output().unwrap();
        assert!(output.status.success(), "{lines}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let output = fs::read_to_string(self.path("output")).unwrap_or_default();
            let lines: Vec<&str> = output.lines().collect();
            eprintln!("{}: {}", self.program, lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

/// What a program says.
pub(crate) fn said(command: &mut Command) -> String {
    let Output { stdout, stderr, .. } = command.output().unwrap();
    String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr)
}
