//! One `forebay live` or `forebay shadow`, and what it says.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub(crate) struct Instance {
    child: Child,
    log: PathBuf,
    /// What others had said there before \[bytes\].
    said_before: usize,
}

impl Instance {
    /// Starts one, in a network namespace or here; it says all in `log`. It ends with the thread that starts it.
    pub(crate) fn start(namespace: Option<&str>, file: &Path, log: &Path) -> Instance {
        Instance::run(namespace, &[], &["live", file.to_str().unwrap()], log)
    }

    /// Starts one with these arguments, by a program that runs it: strace(1) and what that is told.
    pub(crate) fn run(namespace: Option<&str>, by: &[String], arguments: &[&str], log: &Path) -> Instance {
        let said_before = fs::metadata(log).map_or(0, |metadata| metadata.len() as usize);
        let out = File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]);
        if let Some(namespace) = namespace {
            command.args(["ip", "netns", "exec", namespace]);
        }
        command.args(by).arg(env!("CARGO_BIN_EXE_forebay")).args(arguments);
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let child = command.env("PATH", path).spawn().unwrap();
        Instance { child, log: log.to_owned(), said_before }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        let all = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&all[self.said_before.min(all.len())..]).into_owned()
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends it a signal: `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status().unwrap().success());
    }

    /// Ends it without a chance to tidy up.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has said something, and says how long that took.
    pub(crate) fn hear(&mut self, what: &str, patience: Duration) -> Duration {
        let begun = Instant::now();
        loop {
            if self.said().contains(what) {
                return begun.elapsed();
            }
            let ended = self.ended();
            assert!(ended.is_none(), "{ended:?} before it said \"{what}\":\n{}", self.said());
            assert!(begun.elapsed() < patience, "never said \"{what}\":\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it has ended, and says how, and all that it said.
    pub(crate) fn end(mut self, patience: Duration) -> (ExitStatus, String) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return (status, self.said());
            }
            if begun.elapsed() > patience {
                let said = self.said();
                self.kill();
                panic!("it does not end:\n{said}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
