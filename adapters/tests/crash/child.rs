//! A process that is this program again: it says how far it has come, and waits where it is told to.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// Longest that anything is waited for: machines that test are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Names the role of a process, and so that it has one.
const ROLE: &str = "FOREBAY_CRASH_ROLE";

/// The test that is a process's main function when it has a role.
#[test]
fn child() {
    let Ok(role) = env::var(ROLE) else { return };
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let folder = env::var_os("FOREBAY_CRASH_FOLDER").unwrap();
    let at = env::var("FOREBAY_CRASH_AT").unwrap();
    match role.as_str() {
        "holder" => super::lease::holder(Path::new(&folder), &at),
        "contender" => super::lease::contender(Path::new(&folder)),
        "writer" => super::records::writer(Path::new(&folder)),
        other => panic!("no role {other}"),
    }
}

/// Says something to the test.
pub fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@{what}").unwrap();
    out.flush().unwrap();
}

/// Waits for a line from the test.
pub fn wait_for_word() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

/// A process of the test's, gone when this is.
pub struct Process {
    child: Child,
    stdin: ChildStdin,
    said: Receiver<String>,
}

impl Process {
    /// Starts one in a role, which is told of a folder and of one place in what it does.
    pub fn start(role: &str, folder: &Path, at: &str) -> Process {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["child::child", "--exact", "--nocapture"]);
        command.env(ROLE, role).env("FOREBAY_CRASH_FOLDER", folder).env("FOREBAY_CRASH_AT", at);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, said) = channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // The harness prints the name of the test before its first word, on the same line.
                if let Some((_, word)) = line.split_once('@') {
                    let _ = sender.send(word.to_owned());
                }
            }
        });
        Process { child, stdin, said }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Lets it go on from where it waits.
    pub fn go_on(&mut self) {
        self.stdin.write_all(b"go\n").unwrap();
    }

    /// What it says next; `None` when it has ended.
    pub fn next_word(&self) -> Option<String> {
        match self.said.recv_timeout(PATIENCE) {
            Ok(word) => Some(word),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("process {} says nothing", self.pid()),
        }
    }

    /// Waits until it says that.
    pub fn wait_for(&self, word: &str) {
        while self.next_word().unwrap_or_else(|| panic!("ended before it said {word}")) != word {}
    }

    /// Ends it as a crash does.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again until there is an answer; how long that took.
pub fn poll<T>(mut ask: impl FnMut() -> Option<T>) -> (T, Duration) {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return (answer, began.elapsed());
        }
        assert!(began.elapsed() < PATIENCE, "nothing came");
        thread::sleep(Duration::from_millis(5));
    }
}
