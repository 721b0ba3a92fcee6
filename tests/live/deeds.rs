//! What a process did to others, told from its system calls: what it asked of whom, and what it changed.
//!
//! A call that is not known to be harmless counts as a change, and so does a message that is not known to be a question.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use super::speech::{self, Said};
use super::trace::{Call, Descriptor};

/// What is whose.
pub(crate) struct Whose {
    /// Folders and files in which it may do what it likes: its own.
    pub(crate) own: Vec<PathBuf>,
    /// The program itself.
    pub(crate) program: PathBuf,
    /// Where the name server answers.
    pub(crate) dns_port: u16,
}

/// What was asked, and what was changed: how often, by kind and by what it was.
#[derive(Debug, Default)]
pub(crate) struct Deeds {
    pub(crate) looks: BTreeMap<(&'static str, String), u64>,
    pub(crate) writes: BTreeMap<(&'static str, String), u64>,
    streams: BTreeMap<String, (Peer, Vec<u8>)>,
    /// By the number of a socket, before it says where it leads.
    peers: BTreeMap<String, Peer>,
}

/// Who is at the other end of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Peer {
    Qmp,
    Ovsdb,
    OpenFlow,
    Dns,
    Http,
    /// Somebody who tells of queries, and was let in.
    Dnstap,
    Other(String),
}

/// Calls that change nothing but the process that makes them, or what nobody else sees.
const HARMLESS: &str = "accept accept4 arch_prctl capget chdir clock_getres clock_gettime clone clone3 close_range \
    dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait2 eventfd2 exit exit_group faccessat2 fadvise64 \
    fcntl fork fsync fdatasync fstatfs getcwd getegid geteuid getgid getpeername getpid getppid getrlimit getrusage \
    getsockname getsockopt gettid gettimeofday getuid get_mempolicy set_mempolicy getpgrp getpgid listen membarrier mremap pipe pipe2 pidfd_open \
    prctl prlimit64 readlink readlinkat restart_syscall rseq sched_getaffinity sched_setaffinity set_robust_list \
    set_tid_address setsockopt shutdown sigaltstack socket socketpair statfs sysinfo timerfd_create timerfd_settime \
    uname vfork wait4 waitid";

/// Calls that change what a path leads to.
const OF_PATHS: &str = "chmod chown fchmodat fchmodat2 fchownat futimesat lchown link linkat lremovexattr lsetxattr \
    mkdir mkdirat mknod mknodat mount removexattr rename renameat renameat2 rmdir setxattr symlink symlinkat \
    truncate unlink unlinkat utimensat";

/// Calls that change, or claim, what a descriptor leads to.
const OF_DESCRIPTORS: &str = "fallocate fchmod fchown flock fsetxattr ftruncate";

/// Requests to devices that ask only.
const ASKING: &str = "TCGETS TCGETS2 TIOCGWINSZ FIONREAD FIONBIO FIOCLEX SIOCGIFINDEX SIOCGIFFLAGS";

/// Words by which programs are told what to do, as people know them.
const VERBS: &str = "dump-flows add-flows link show add del set shadow live";

fn is_among(list: &str, word: &str) -> bool {
    list.split(' ').any(|known| known == word)
}

impl Deeds {
    /// What came of calls.
    pub(crate) fn of(calls: &[Call], whose: &Whose) -> Deeds {
        let mut deeds = Deeds::default();
        calls.iter().for_each(|call| deeds.take(call, whose));
        for (peer, stream) in std::mem::take(&mut deeds.streams).into_values() {
            let said = match &peer {
                Peer::Qmp => speech::qmp(&stream),
                Peer::Ovsdb => speech::ovsdb(&stream),
                Peer::OpenFlow => speech::openflow(&stream),
                Peer::Dns => speech::dns_over_tcp(&stream),
                Peer::Http => speech::http(&stream),
                Peer::Dnstap => speech::frame_streams(&stream),
                Peer::Other(who) => vec![Said::write("other", who.clone())],
            };
            said.into_iter().for_each(|said| deeds.note(said));
        }
        deeds
    }

    /// Changes of a kind.
    pub(crate) fn written(&self, kind: &str) -> u64 {
        self.writes.iter().filter(|((of, _), _)| *of == kind).map(|(_, count)| count).sum()
    }

    /// Questions of a kind.
    pub(crate) fn asked(&self, kind: &str) -> u64 {
        self.looks.iter().filter(|((of, _), _)| *of == kind).map(|(_, count)| count).sum()
    }

    /// For people: how often, to whom, what.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for (word, deeds) in [("asked", &self.looks), ("WROTE", &self.writes)] {
            for ((kind, what), count) in deeds {
                let _ = writeln!(text, "{word} {count:>6}  {kind:<9} {what}");
            }
        }
        text
    }

    fn note(&mut self, said: Said) {
        let deeds = if said.is_write { &mut self.writes } else { &mut self.looks };
        *deeds.entry((said.kind, said.what)).or_default() += 1;
    }

    fn take(&mut self, call: &Call, whose: &Whose) {
        match call.name.as_str() {
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "sendto" | "sendmsg" => self.sent(call, whose),
            "open" | "openat" | "openat2" | "creat" => self.opened(call, whose),
            "connect" => self.connected(call, whose),
            "bind" => self.bound(call, whose),
            "execve" | "execveat" => self.executed(call, whose),
            "kill" | "tkill" | "tgkill" | "pidfd_send_signal" | "rt_sigqueueinfo" | "rt_tgsigqueueinfo" => {
                // Signal 0 asks whether somebody is there.
                let is_asked = call.arguments.ends_with(", 0") || call.arguments.ends_with(", 0, NULL, 0");
                self.note(Said {
                    kind: "process",
                    what: format!("{} {}", call.name, call.arguments),
                    is_write: !is_asked,
                });
            }
            "ioctl" => {
                let request = call.arguments.split(", ").nth(1).unwrap_or_default().trim();
                if !is_among(ASKING, request) {
                    self.note(Said::write("device", request.to_owned()));
                }
            }
            "mmap" => {
                let is_shared = call.arguments.contains("MAP_SHARED") && call.arguments.contains("PROT_WRITE");
                let file = call.arguments.split(", ").nth(4).unwrap_or_default();
                if is_shared && !file.starts_with("-1") {
                    self.note(Said::write("file", format!("mapped {file}")));
                }
            }
            "fcntl"
                if ["F_SETLK", "F_OFD_SETLK", "F_SETLEASE", "F_NOTIFY"]
                    .iter()
                    .any(|of| call.arguments.contains(of)) =>
            {
                self.touched(call, call.descriptor(), whose);
            }
            name if is_among(OF_PATHS, name) => {
                for path in call.paths() {
                    self.touched(call, Some(Descriptor::File(path)), whose);
                }
            }
            name if is_among(OF_DESCRIPTORS, name) => self.touched(call, call.descriptor(), whose),
            name if is_among(HARMLESS, name) => {
                if name.starts_with("accept")
                    && let Some(Descriptor::Socket(_, what)) = call.returned()
                {
                    self.peers.insert(number(&what).to_owned(), Peer::Dnstap);
                }
            }
            name => self.note(Said::write("call", name.to_owned())),
        }
    }

    /// A change of a file, which may be its own.
    fn touched(&mut self, call: &Call, what: Option<Descriptor>, whose: &Whose) {
        match what {
            Some(Descriptor::File(path)) if whose.is_own(&path) => {}
            Some(Descriptor::File(path)) => self.note(Said::write("file", format!("{} {}", call.name, path.display()))),
            other => self.note(Said::write("file", format!("{} {other:?}", call.name))),
        }
    }

    fn opened(&mut self, call: &Call, whose: &Whose) {
        let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"];
        if call.name != "creat" && !writes.iter().any(|flag| call.arguments.contains(flag)) {
            return;
        }
        let path = match call.returned() {
            Some(Descriptor::File(path)) => Some(path),
            // Also what failed was meant.
            _ => call.paths().into_iter().next(),
        };
        self.touched(call, path.map(Descriptor::File), whose);
    }

    fn connected(&mut self, call: &Call, whose: &Whose) {
        let Some(Descriptor::Socket(_, what)) = call.descriptor() else { return };
        let path = call.texts().into_iter().next().map(|text| String::from_utf8_lossy(&text).into_owned());
        let peer = if call.arguments.contains("AF_UNIX") {
            let path = path.unwrap_or_default();
            match Path::new(&path).file_name().and_then(|name| name.to_str()).unwrap_or_default() {
                "qmp.sock" => Peer::Qmp,
                "db.sock" => Peer::Ovsdb,
                name if name.ends_with(".mgmt") => Peer::OpenFlow,
                _ => Peer::Other(path),
            }
        } else if call.arguments.contains("AF_INET") {
            whose.at(port(&call.arguments))
        } else {
            return;
        };
        self.peers.insert(number(&what).to_owned(), peer);
    }

    fn bound(&mut self, call: &Call, whose: &Whose) {
        if call.arguments.contains("AF_UNIX") {
            // A name that begins with a zero stands in no folder.
            for text in call.texts().into_iter().filter(|text| text.first().is_some_and(|first| *first != 0)) {
                let path = PathBuf::from(String::from_utf8_lossy(&text).into_owned());
                self.touched(call, Some(Descriptor::File(path)), whose);
            }
        }
    }

    fn executed(&mut self, call: &Call, whose: &Whose) {
        // A program is looked for in several places.
        if call.result.starts_with("-1") {
            return;
        }
        let words: Vec<String> = call.texts().iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect();
        let program = words.first().cloned().unwrap_or_default();
        let name = Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let arguments = &words[words.len().min(2)..];
        let has = |verbs: &[&str]| arguments.iter().any(|word| verbs.contains(&word.as_str()));
        let is_look = match name.as_str() {
            "ovs-ofctl" => has(&["dump-flows"]) && !has(&["--bundle"]),
            // Whose messages to the kernel are in the trace as well.
            "ip" => arguments.last().is_some_and(|word| ["link", "show"].contains(&word.as_str())),
            _ => Path::new(&program) == whose.program,
        };
        let verb = arguments.iter().rfind(|word| is_among(VERBS, word));
        let what = format!("{name} {}", verb.map_or("", String::as_str));
        self.note(Said { kind: "program", what: what.trim().to_owned(), is_write: !is_look });
    }

    fn sent(&mut self, call: &Call, whose: &Whose) {
        match call.descriptor() {
            Some(Descriptor::File(path)) => self.touched(call, Some(Descriptor::File(path)), whose),
            // Whoever is at the other end of a pipe is of the same family, and traced.
            Some(Descriptor::Nameless(name)) if name.starts_with("pipe:") || name.starts_with("anon_inode:") => {}
            Some(Descriptor::Nameless(name)) => self.note(Said::write("other", name)),
            Some(Descriptor::Socket(kind, _)) if kind == "NETLINK" => {
                speech::netlink(&call.arguments).into_iter().for_each(|said| self.note(said));
            }
            Some(Descriptor::Socket(kind, what)) => {
                // What was not taken was not sent; what never came back may have been.
                let mut data: Vec<u8> = call.texts().concat();
                if call.result.starts_with("-1") {
                    return;
                }
                data.truncate(call.number().map_or(usize::MAX, |sent| sent as usize));
                let peer = match what.rsplit_once("->").map(|(_, peer)| peer) {
                    Some(address) if kind.starts_with("TCP") || kind.starts_with("UDP") => {
                        whose.at(address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()))
                    }
                    _ => self.peers.get(number(&what)).cloned().unwrap_or(Peer::Other(format!("{kind} {what}"))),
                };
                if kind.starts_with("UDP") {
                    let said = match peer {
                        Peer::Dns => speech::dns(&data),
                        other => Said::write("other", format!("a datagram to {other:?}")),
                    };
                    return self.note(said);
                }
                let stream = self.streams.entry(format!("{kind} {}", number(&what))).or_insert((peer, Vec::new()));
                stream.1.extend(data);
            }
            None => self.note(Said::write("other", format!("{}({}", call.name, call.arguments))),
        }
    }
}

impl Whose {
    fn is_own(&self, path: &Path) -> bool {
        let leads_elsewhere = path.components().any(|part| part == Component::ParentDir);
        let is_nobodys = ["/dev/null", "/dev/tty"].iter().any(|own| path == Path::new(own));
        is_nobodys || (!leads_elsewhere && self.own.iter().any(|own| path.starts_with(own)))
    }

    fn at(&self, port: Option<u16>) -> Peer {
        match port {
            Some(port) if port == self.dns_port => Peer::Dns,
            Some(80) => Peer::Http,
            port => Peer::Other(format!("port {port:?}")),
        }
    }
}

/// What tells a socket from all others of its kind: `12` of `12->13`, and the whole of `10.0.0.1:7->10.0.0.2:80`.
fn number(what: &str) -> &str {
    let first = what.split(['-', ',']).next().unwrap_or(what);
    if first.bytes().all(|byte| byte.is_ascii_digit()) { first } else { what }
}

fn port(arguments: &str) -> Option<u16> {
    let (_, rest) = arguments.split_once("_port=htons(")?;
    rest.split_once(')')?.0.parse().ok()
}

#[cfg(test)]
fn of_lines(lines: &[&str]) -> Deeds {
    // Texts between backquotes are written as strace does.
    let hex = |text: &str| text.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let line = |line: &&str| {
        let parts = line.split('`').enumerate();
        let parts = parts.map(|(at, part)| if at % 2 == 1 { hex(part) } else { part.to_owned() });
        format!("7 {}\n", parts.collect::<String>())
    };
    let text: String = lines.iter().map(line).collect();
    let whose = Whose { own: vec!["/own".into()], program: "/bin/forebay".into(), dns_port: 5300 };
    Deeds::of(&super::trace::calls(&text), &whose)
}

#[test]
fn what_only_asks_is_no_write() {
    let deeds = of_lines(&[
        r#"execve("`/bin/forebay`", ["`forebay`", "`shadow`"], 0x7f /* 3 vars */) = 0"#,
        r#"execve("`/sbin/ovs-ofctl`", ["`ovs-ofctl`", "`dump-flows`"], 0x7f /* 3 vars */) = -1 ENOENT (No such file)"#,
        r#"openat(AT_FDCWD<`/own`>, "`ticks.jsonl`", O_WRONLY|O_CREAT|O_CLOEXEC, 0666) = 3<`/own/ticks.jsonl`>"#,
        r#"write(3<`/own/ticks.jsonl`>, "`{}`", 2) = 2"#,
        r#"connect(4<UNIX-STREAM:[11]>, {sa_family=AF_UNIX, sun_path="`/m/vm-0/qmp.sock`"}, 20) = 0"#,
        r#"sendto(4<UNIX-STREAM:[11->12]>, "`{"execute":"query-status"}`", 26, 0, NULL, 0) = 26"#,
        r#"connect(5<UNIX-STREAM:[21]>, {sa_family=AF_UNIX, sun_path="`/run/db.sock`"}, 20) = 0"#,
        r#"sendto(5<UNIX-STREAM:[21->22]>, "`{"method":"transact","params":["O",{"op":"select","table":"Port"}],"id":1}`", 80, 0, NULL, 0) = 80"#,
        r#"sendto(6<UDP:[127.0.0.1:9->127.0.0.1:5300]>, "\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12, 0, NULL, 0) = 12"#,
        r#"sendto(7<TCP:[10.0.0.1:9->10.0.0.2:80]>, "`GET /health HTTP/1.1`\x0d\x0a\x0d\x0a", 24, 0, NULL, 0) = 24"#,
        r#"sendto(8<NETLINK:[ROUTE:7]>, [{nlmsg_len=20, nlmsg_type=RTM_GETLINK, nlmsg_flags=NLM_F_REQUEST}], 20, 0, NULL, 0) = 20"#,
        r#"kill(99, 0) = 0"#,
    ]);
    assert_eq!(deeds.writes, BTreeMap::new());
    let kinds = ["program", "qmp", "ovsdb", "dns", "http", "netlink", "process"];
    assert!(kinds.iter().all(|kind| deeds.asked(kind) == 1), "{}", deeds.table());
}

#[test]
fn every_kind_of_write_is_seen_and_so_is_what_is_not_understood() {
    let deeds = of_lines(&[
        r#"execve("`/sbin/ovs-ofctl`", ["`ovs-ofctl`", "`--bundle`", "`add-flows`"], 0x7f /* 3 vars */) = 0"#,
        r#"openat(AT_FDCWD<`/own`>, "`../etc/hosts`", O_RDWR|O_CLOEXEC) = 3<`/etc/hosts`>"#,
        r#"rename("`/own/a`", "`/etc/b`") = 0"#,
        r#"flock(3<`/lab/machines/lock`>, LOCK_EX|LOCK_NB) = 0"#,
        r#"connect(4<UNIX-STREAM:[11]>, {sa_family=AF_UNIX, sun_path="`/m/vm-0/qmp.sock`"}, 20) = 0"#,
        r#"sendto(4<UNIX-STREAM:[11->12]>, "`{"execute":"cont"}`", 18, 0, NULL, 0) = 18"#,
        r#"connect(5<UNIX-STREAM:[21]>, {sa_family=AF_UNIX, sun_path="`/run/db.sock`"}, 20) = 0"#,
        r#"sendto(5<UNIX-STREAM:[21->22]>, "`{"method":"transact","params":["O",{"op":"select"},{"op":"mutate","table":"Port"}],"id":1}`", 90, 0, NULL, 0) = 90"#,
        r#"sendto(5<UNIX-STREAM:[21->22]>, "`{"method":"lock","params":["a"],"id":2}`", 40, 0, NULL, 0) = 40"#,
        r#"connect(9<UNIX-STREAM:[31]>, {sa_family=AF_UNIX, sun_path="`/run/br0.mgmt`"}, 20) = 0"#,
        r#"sendto(9<UNIX-STREAM:[31->32]>, "\x04\x0e\x00\x08\x00\x00\x00\x01", 8, 0, NULL, 0) = 8"#,
        r#"sendto(6<UDP:[127.0.0.1:9->127.0.0.1:5300]>, "\x00\x01\x28\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12, 0, NULL, 0) = 12"#,
        r#"sendto(7<TCP:[10.0.0.1:9->10.0.0.2:80]>, "`POST /x HTTP/1.1`\x0d\x0a\x0d\x0a", 20, 0, NULL, 0) = 20"#,
        r#"sendto(8<NETLINK:[ROUTE:7]>, [{nlmsg_len=20, nlmsg_type=RTM_NEWTCLASS, nlmsg_flags=NLM_F_REQUEST}], 20, 0, NULL, 0) = 20"#,
        r#"sendto(8<UDP:[127.0.0.1:9->127.0.0.1:7]>, "\x00", 1, 0, NULL, 0) = 1"#,
        r#"ioctl(3<`/dev/net/tun`>, TUNSETIFF, 0x7f) = 0"#,
        r#"kill(99, SIGTERM) = 0"#,
        r#"io_uring_setup(8, 0x7f) = 4"#,
    ]);
    let kinds = [("file", 3), ("ovsdb", 2), ("program", 1), ("qmp", 1), ("openflow", 1), ("dns", 1), ("http", 1)];
    let more = [("netlink", 1), ("other", 1), ("device", 1), ("process", 1), ("call", 1)];
    for (kind, count) in kinds.into_iter().chain(more) {
        assert_eq!(deeds.written(kind), count, "{kind}:\n{}", deeds.table());
    }
    assert_eq!(deeds.asked("ovsdb"), 1);
}
