//! A process that is this program again: it says how far it has come, and waits where it is told to.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_parent_process_death_signal, waitpid};
use tempfile::TempDir;

/// Longest that anything is waited for: machines that test are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

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
pub(crate) fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@{what}").unwrap();
    out.flush().unwrap();
}

/// Waits for a line from the test.
pub(crate) fn wait_for_word() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

/// A folder in memory where there is one: how soon another takes over is not to be a matter of how busy the disk is.
pub(crate) fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// A process of the test's, gone when this is.
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    said: Receiver<String>,
}

impl Process {
    /// Starts one in a role, which is told of a folder and of one place in what it does.
    pub(crate) fn start(role: &str, folder: &Path, at: &str) -> Process {
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

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it, and comes back when all of its threads stand.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let stopped = waitpid(Some(Pid::from_child(&self.child)), WaitOptions::UNTRACED).unwrap();
        assert!(stopped.is_some_and(|(_, status)| status.stopped()), "{stopped:?}");
    }

    /// Lets it go on from where it waits.
    pub(crate) fn go_on(&mut self) {
        self.stdin.write_all(b"go\n").unwrap();
    }

    /// What it says next; `None` when it has ended.
    pub(crate) fn next_word(&self) -> Option<String> {
        match self.said.recv_timeout(PATIENCE) {
            Ok(word) => Some(word),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("process {} says nothing", self.pid()),
        }
    }

    /// Waits until it says that; what it said before.
    pub(crate) fn wait_for(&self, word: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let said = self.next_word().unwrap_or_else(|| panic!("ended before it said {word}"));
            if said == word {
                return before;
            }
            before.push(said);
        }
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) {
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
pub(crate) fn poll<T>(mut ask: impl FnMut() -> Option<T>) -> (T, Duration) {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return (answer, began.elapsed());
        }
        assert!(began.elapsed() < PATIENCE, "nothing came");
        thread::sleep(Duration::from_millis(5));
    }
}
