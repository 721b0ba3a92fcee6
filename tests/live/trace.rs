//! System calls of a process and of all that it started, as strace(1) writes them down, read call by call.
//!
//! All that could reach anybody is traced: every call but those listed in [`SILENT`], which read, wait or concern the
//! process alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Calls that are not traced. `?` stands before those that not every kind of machine has.
const SILENT: &str = "read,readv,pread64,preadv,recvfrom,recvmsg,recvmmsg,?poll,ppoll,?select,?epoll_wait,epoll_pwait,futex,\
                      nanosleep,clock_nanosleep,sched_yield,close,lseek,munmap,mprotect,madvise,brk,getrandom,fstat,?stat,\
                      ?lstat,newfstatat,statx,?access,faccessat,rt_sigprocmask,rt_sigaction,rt_sigreturn,getdents64";

/// What strace needs to be told so that [`calls`] understands it. All that `command` starts is traced, but other programs
/// only with `is_deep`.
pub(crate) fn wrapped(file: &Path, is_deep: bool) -> Vec<String> {
    let what = format!("trace=!{SILENT}");
    let words = ["strace", "-D", "-f", "-yy", "-xx", "-s", "1048576", "-e", &what, "-o", file.to_str().unwrap()];
    // What is not followed would fail on calls that a filter stops.
    let how: &[&str] = if is_deep { &["--seccomp-bpf"] } else { &["-b", "execve"] };
    words.iter().chain(how).map(|word| (*word).to_owned()).collect()
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The thread that made it.
    pub(crate) thread: u32,
    pub(crate) name: String,
    /// As strace shows them.
    pub(crate) arguments: String,
    /// What it returned; empty where it never did.
    pub(crate) result: String,
}

/// What a file descriptor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Descriptor {
    /// Something with a path.
    File(PathBuf),
    /// A socket: its kind, and what tells it from others.
    Socket(String, String),
    /// A pipe, or something of the kernel's without a name.
    Nameless(String),
}

/// All calls of a trace, in the order in which they began to return.
pub(crate) fn calls(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut open: BTreeMap<u32, String> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let (Ok(thread), rest) = (thread.parse::<u32>(), rest.trim_start()) else { panic!("no call: {line}") };
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(begun) = rest.strip_suffix("<unfinished ...>").or_else(|| rest.strip_suffix("<detached ...>")) {
            open.insert(thread, begun.to_owned());
        } else if let Some((_, rest)) = rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            let begun = open.remove(&thread).unwrap_or_else(|| panic!("nothing was begun: {line}"));
            calls.push(call(thread, &(begun + rest)));
        } else {
            calls.push(call(thread, rest));
        }
    }
    // What never returned may have been done.
    calls.extend(open.into_iter().map(|(thread, begun)| call(thread, &begun)));
    calls
}

/// Whether the process that was traced has ended, and all that it did is in the trace.
pub(crate) fn is_whole(text: &str) -> bool {
    let first = text.split_once(' ').map_or("", |(thread, _)| thread);
    text.lines().any(|line| {
        let ended = line.strip_prefix(first).map(str::trim_start);
        ended.is_some_and(|rest| rest.starts_with("+++ exited") || rest.starts_with("+++ killed"))
    })
}

fn call(thread: u32, text: &str) -> Call {
    let (name, rest) = text.split_once('(').unwrap_or_else(|| panic!("no call: {text}"));
    // What comes after the last `) = ` with any number of spaces between.
    let end = rest.rmatch_indices(" = ").map(|(at, _)| at).find(|at| rest[..*at].trim_end().ends_with(')'));
    let (arguments, result) = match end {
        Some(at) => (rest[..at].trim_end().trim_end_matches(')'), rest[at + 3..].trim()),
        None => (rest, ""),
    };
    Call { thread, name: name.to_owned(), arguments: arguments.to_owned(), result: result.to_owned() }
}

impl Call {
    /// What it returned, where that is a number that says that it was done.
    pub(crate) fn number(&self) -> Option<u64> {
        let digits: String = self.result.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }

    /// Texts among its arguments, in order. All of each, or the trace is not whole.
    pub(crate) fn texts(&self) -> Vec<Vec<u8>> {
        let mut texts = Vec::new();
        // The name of a socket is told beside its number.
        let begin = if self.descriptor().is_some() { self.arguments.find(">, ").unwrap_or(0) } else { 0 };
        let mut rest = &self.arguments[begin..];
        while let Some((_, after)) = rest.split_once('"') {
            let (text, after) = after.split_once('"').unwrap_or_else(|| panic!("no end of a text: {}", self.name));
            assert!(!after.starts_with("..."), "a text was cut short: {}({}", self.name, self.arguments);
            texts.push(bytes(text));
            rest = after;
        }
        texts
    }

    /// The descriptor that is its first argument.
    pub(crate) fn descriptor(&self) -> Option<Descriptor> {
        descriptor(&self.arguments)
    }

    /// The descriptor that it returned.
    pub(crate) fn returned(&self) -> Option<Descriptor> {
        descriptor(&self.result)
    }

    /// Paths among its arguments, made whole by the folders before them.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        let mut folder = PathBuf::new();
        for part in self.arguments.split(", ") {
            if let Some(text) = part.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
                let path = PathBuf::from(String::from_utf8_lossy(&bytes(text)).into_owned());
                paths.push(folder.join(path));
            } else if let Some(Descriptor::File(path)) = descriptor(part.strip_prefix("AT_FDCWD").unwrap_or(part)) {
                folder = path;
            }
        }
        paths
    }
}

/// `7</path>` and `7<UDP:[…]>`, with and without the number.
fn descriptor(text: &str) -> Option<Descriptor> {
    let text = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let text = text.strip_prefix('<')?;
    // Names are written in hexadecimal digits, so that whatever else stands here is strace's own word.
    if let Some((kind, rest)) = text.split_once(":[").filter(|(kind, _)| !kind.contains(['\\', '>'])) {
        let (what, _) = rest.split_once("]>")?;
        return Some(Descriptor::Socket(kind.to_owned(), what.to_owned()));
    }
    // Of a device, its numbers come after its path: `</dev/null<char 1:3>>`.
    let name = String::from_utf8_lossy(&bytes(text.split(['>', '<']).next()?)).into_owned();
    if name.starts_with('/') {
        return Some(Descriptor::File(PathBuf::from(name)));
    }
    Some(Descriptor::Nameless(name))
}

/// What `\x7b\x22` stands for.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        match rest.strip_prefix("\\x").and_then(|digits| u8::from_str_radix(digits.get(..2)?, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                let first = rest.chars().next().expect("it is not empty");
                bytes.extend(first.to_string().bytes());
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    bytes
}

#[test]
fn a_call_is_put_together_from_its_pieces() {
    let text = concat!(
        r#"7 openat(AT_FDCWD<\x2f\x74>, "\x61", O_WRONLY|O_CREAT, 0666) = 3<\x2f\x74\x2f\x61>"#,
        "\n7 write(3<\\x2f\\x74\\x2f\\x61>, \"\\x78\\x0a\", 2 <unfinished ...>\n",
        "8   sendto(5<UDP:[127.0.0.1:1->127.0.0.1:53]>, \"\\x00\", 1, 0, NULL, 0) = 1\n",
        "7 --- SIGCHLD {si_signo=SIGCHLD} ---\n7 <... write resumed>)              = 2\n",
        "9 execve(\"\\x2f\\x62\", [\"\\x62\"], 0x7ff /* 3 vars */ <detached ...>\n",
        "8 access(\"\\x2f\", R_OK) = -1 ENOENT (No such file or directory)\n7 +++ exited with 0 +++\n",
    );
    let calls = calls(text);
    let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(names, ["openat", "sendto", "write", "access", "execve"]);
    assert_eq!(calls[0].paths(), [PathBuf::from("/t/a")]);
    assert_eq!(calls[0].returned(), Some(Descriptor::File("/t/a".into())));
    assert_eq!((calls[2].thread, calls[2].number(), calls[2].texts()), (7, Some(2), vec![b"x\n".to_vec()]));
    let socket = Descriptor::Socket("UDP".to_owned(), "127.0.0.1:1->127.0.0.1:53".to_owned());
    assert_eq!(calls[1].descriptor(), Some(socket));
    assert_eq!((calls[3].number(), calls[3].result.as_str()), (None, "-1 ENOENT (No such file or directory)"));
    assert_eq!((calls[4].result.as_str(), calls[4].texts().len()), ("", 2));
    assert!(is_whole(text) && !is_whole("7 exit_group(0) = ?\n"));
}

#[test]
#[should_panic(expected = "cut short")]
fn a_text_that_was_cut_short_is_no_text() {
    calls("1 write(3<\\x2f>, \"\\x61\"..., 2) = 2\n")[0].texts();
}
