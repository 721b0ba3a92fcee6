//! Machines on loopback that do all that a server should not.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{self, Instant};

use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server that answers each connection by `answer`, on a thread for each; gone when this is.
struct Server {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// `answer` is given the lines of the request.
    fn start(address: IpAddr, port: u16, answer: impl Fn(&[String], &mut TcpStream) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind((address, port)).unwrap();
        let (address, is_over) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let (over, answer) = (is_over.clone(), Arc::new(answer));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let (Ok(mut stream), answer) = (stream, answer.clone()) else { continue };
                thread::spawn(move || {
                    let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                    let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                    answer(&lines, &mut stream);
                });
            }
        });
        Server { address, is_over, thread: Some(thread) }
    }

    fn saying(text: &str) -> Server {
        let text = text.to_owned();
        Server::start(LOOPBACK, 0, move |_, stream| drop(stream.write_all(text.as_bytes())))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.thread.take().map(JoinHandle::join);
    }
}

const TIMEOUT: Duration = Duration::from_millis(400);

fn probe(port: u16) -> Probe {
    Probe { path: "/healthz?full=1".into(), port, timeout: TIMEOUT, ..Probe::default() }
}

fn ask(probe: Probe) -> Probed {
    let longest = probe.timeout * 10;
    Prober::new(probe, 1, longest).unwrap().round(&BTreeMap::from([(7, LOOPBACK)])).remove(&7).unwrap()
}

/// Waits until nobody is there any more, or for long.
fn linger(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(time::Duration::from_secs(20))).unwrap();
    let _ = BufReader::new(stream).lines().next();
}

#[test]
fn whatever_a_server_does_is_told_in_time() {
    let closed = TcpListener::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap();
    let failed = Answer::Failed;
    let well = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    type Servers = Vec<(&'static str, Server, Answer)>;
    let mut servers: Servers = vec![
        ("well", Server::saying(well), Answer::Well),
        ("no content", Server::saying("HTTP/1.1 204 No Content\r\n\r\n"), Answer::Well),
        ("until it closes", Server::saying("HTTP/1.0 200 OK\r\n\r\nok"), Answer::Well),
        ("503", Server::saying("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), failed(ProbeFailure::Status(503))),
        ("cut off", Server::saying("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), failed(ProbeFailure::CutOff)),
    ];
    // A redirect to a server that does well.
    let there = format!("http://{}/", servers[0].1.address);
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n");
    servers.push(("redirect", Server::saying(&redirect), failed(ProbeFailure::Redirect(302))));
    let hang = Server::start(LOOPBACK, 0, |_, stream| linger(stream));
    servers.push(("no answer", hang, failed(ProbeFailure::Timeout)));
    let half = Server::start(LOOPBACK, 0, |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok").unwrap();
        linger(stream);
    });
    servers.push(("half an answer", half, failed(ProbeFailure::Timeout)));
    // A byte now and then: no read of it takes long.
    let trickle = |head: &'static str| {
        Server::start(LOOPBACK, 0, move |_, stream| {
            let mut text = head.bytes().chain(std::iter::repeat(b'x'));
            while stream.write_all(&[text.next().unwrap()]).is_ok() {
                thread::sleep(time::Duration::from_millis(20));
            }
        })
    };
    servers.push(("a slow head", trickle("HTTP/1.1 200 OK\r\nX: "), failed(ProbeFailure::Timeout)));
    let head = "HTTP/1.1 200 OK\r\n\r\n";
    servers.push(("a slow body", trickle(head), failed(ProbeFailure::Timeout)));
    for (name, server, expected) in servers {
        let began = Instant::now();
        let probed = ask(probe(server.address.port()));
        assert_eq!((probed.answer, probed.sessions), (expected, None), "{name}");
        // Five times as long as it may take: machines that test are busy.
        assert!(began.elapsed() < time::Duration::from_secs(2), "{name}: {:?}", began.elapsed());
    }
    assert_eq!(ask(probe(closed.port())).answer, failed(ProbeFailure::Refused));
    for garbage in
        ["", "\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/9.9 x\r\n\r\n", "\0\0\0\0\0\0\0\0", "HTTP/1.1 200 OK\r\nX"]
    {
        let server = Server::saying(garbage);
        let answer = ask(probe(server.address.port())).answer;
        assert!(matches!(answer, Answer::Failed(_)), "{garbage:?}: {answer:?}");
    }
    let long = Server::start(LOOPBACK, 0, |_, stream| {
        let line = [b'x'; 1000];
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X: ").and_then(|()| stream.write_all(&line)).is_ok() {
            let _ = stream.write_all(b"\r\n");
        }
    });
    assert!(matches!(ask(probe(long.address.port())).answer, Answer::Failed(_)));
}

#[test]
fn an_endless_page_is_read_so_far_and_no_further() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let server = Server::start(LOOPBACK, 0, move |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nsessions 5\n");
        while stream.write_all(&[b'\n'; 64 * 1024]).is_ok() {
            count.fetch_add(64 * 1024, Ordering::SeqCst);
        }
    });
    let sessions = Some(Sessions { path: None, count: Count::Line("sessions".into()) });
    let probed = ask(Probe { sessions, timeout: Duration::from_secs(5), ..probe(server.address.port()) });
    // A page that is not there whole may say it twice.
    assert_eq!((probed.answer, probed.sessions), (Answer::Well, None));
    assert!(written.load(Ordering::SeqCst) < 32 * 1024 * 1024);
}

#[test]
fn it_is_asked_by_its_name_and_says_how_many_sessions_it_has() {
    let server = Server::start(LOOPBACK, 0, |lines, stream| {
        let host = lines.iter().filter(|line| line.to_ascii_lowercase().starts_with("host:")).collect::<Vec<_>>();
        let body = match lines[0].as_str() {
            "GET /healthz?full=1 HTTP/1.1" => format!("{{\"host\":{host:?},\"now\":{{\"sessions\":41}}}}"),
            "GET /status HTTP/1.1" => "Active connections: 291 \nserver accepts handled requests\n".to_owned(),
            _ => {
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
                return;
            }
        };
        assert_eq!(host.len(), 1, "{lines:?}");
        let status = if host[0].ends_with(" www.example.net") { "200 OK" } else { "421 Misdirected Request" };
        let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    });
    let port = server.address.port();
    let named = |sessions| Probe { host: Some("www.example.net".into()), sessions, ..probe(port) };
    assert_eq!(ask(probe(port)).answer, Answer::Failed(ProbeFailure::Status(421)));
    let at = |path: Option<&str>, count| Some(Sessions { path: path.map(str::to_owned), count });
    for (sessions, expected) in [
        (None, None),
        (at(None, Count::Pointer("/now/sessions".into())), Some(41)),
        (at(None, Count::Pointer("/now/streams".into())), None),
        (at(Some("/status"), Count::StubStatus), Some(291)),
        (at(Some("/missing"), Count::StubStatus), None),
    ] {
        let probed = ask(named(sessions.clone()));
        assert_eq!((probed.answer, probed.sessions), (Answer::Well, expected), "{sessions:?}");
    }
}

/// As many addresses of loopback.
fn addresses(count: u32) -> BTreeMap<u32, IpAddr> {
    (0..count).map(|n| (n, IpAddr::V4(Ipv4Addr::from(0x7f01_0000 + n)))).collect()
}

#[test]
fn a_thousand_machines_are_asked_in_one_round() {
    // One server behind all addresses of loopback.
    let most = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let seen = most.clone();
    let server = Server::start(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, move |_, stream| {
        let now = seen.0.fetch_add(1, Ordering::SeqCst) + 1;
        seen.1.fetch_max(now, Ordering::SeqCst);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nsessions 3\n");
        seen.0.fetch_sub(1, Ordering::SeqCst);
    });
    let sessions = Some(Sessions { path: None, count: Count::Line("sessions".into()) });
    let probe = Probe { sessions, timeout: Duration::from_secs(10), ..probe(server.address.port()) };
    let prober = Prober::new(probe, 64, Duration::from_secs(60)).unwrap();
    let began = Instant::now();
    let probed = prober.round(&addresses(1000));
    eprintln!("1,000 machines in {:?}, up to {} at the same time", began.elapsed(), most.1.load(Ordering::SeqCst));
    assert_eq!(probed.len(), 1000);
    assert!(probed.values().all(|one| one.answer == Answer::Well && one.sessions == Some(3)));
}

#[test]
fn a_round_ends_in_time_however_many_hang_and_those_that_had_no_turn_are_not_counted() {
    let server = Server::start(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, |_, stream| linger(stream));
    let (threads, longest) = (8, TIMEOUT * 5 / 2);
    let prober = Prober::new(probe(server.address.port()), threads, longest).unwrap();
    let began = Instant::now();
    let probed = prober.round(&addresses(1000));
    assert!(began.elapsed() < time::Duration::from_secs(5), "{:?}", began.elapsed());
    let failed = probed.values().filter(|one| one.answer == Answer::Failed(ProbeFailure::Timeout)).count();
    let not_asked = probed.values().filter(|one| one.answer == Answer::NotAsked).count();
    // Two turns of each thread end, the third is cut short by the round and says nothing of the machine.
    assert!((1..=2 * threads).contains(&failed) && failed + not_asked == 1000, "{failed}, {not_asked}");
}

#[test]
fn what_cannot_be_asked_is_said_before() {
    let wrong = [
        Probe { path: "healthz".into(), ..probe(80) },
        Probe { path: "/a b".into(), ..probe(80) },
        Probe { path: "/a\r\nX: y".into(), ..probe(80) },
        Probe { host: Some("a\r\nb".into()), ..probe(80) },
        Probe { host: Some(String::new()), ..probe(80) },
        Probe { timeout: Duration::ZERO, ..probe(80) },
        Probe { healthy_after: 0, ..probe(80) },
        Probe { unhealthy_after: 0, ..probe(80) },
        Probe { sessions: Some(Sessions { path: None, count: Count::Pointer("a".into()) }), ..probe(80) },
        Probe { sessions: Some(Sessions { path: None, count: Count::Line(" ".into()) }), ..probe(80) },
        Probe { sessions: Some(Sessions { path: Some("x".into()), count: Count::StubStatus }), ..probe(80) },
        probe(0),
    ];
    for probe in wrong {
        let error = probe.check().unwrap_err().to_string();
        assert!(error.contains("; allowed: "), "{error}");
        assert!(Prober::new(probe, 8, TIMEOUT).is_err());
    }
    assert!(Prober::new(probe(80), 0, TIMEOUT).is_err() && Prober::new(probe(80), 1, TIMEOUT / 2).is_err());
}

fn warming(port: u16, paths: Vec<String>) -> Warming {
    let (timeout, longest) = (Duration::from_secs(5), Duration::from_secs(20));
    Warming { paths, port, host: None, parallel: 8, timeout, longest, bytes_most: 5000 }
}

#[test]
fn a_machine_is_warmed_with_what_is_popular_and_says_how_much_came() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, peak) = (now.clone(), most.clone());
    let server = Server::start(LOOPBACK, 0, move |lines, stream| {
        peak.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let answer = match lines[0].split(' ').nth(1).unwrap() {
            "/gone" => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "/long" => format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(5001)),
            _ => format!("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{}", "x".repeat(5000)),
        };
        let _ = stream.write_all(answer.as_bytes());
        count.fetch_sub(1, Ordering::SeqCst);
    });
    let mut paths: Vec<String> = (0..100).map(|n| format!("/segment-{n}")).collect();
    paths.extend(["/gone".to_owned(), "/long".to_owned()]);
    let warmed = warming(server.address.port(), paths).warm(LOOPBACK).unwrap();
    assert_eq!((warmed.came, warmed.bytes, warmed.not_asked), (100, 500_000, 0));
    let failed: Vec<String> = warmed.failed.iter().map(|(path, why)| format!("{path}: {why}")).collect();
    assert_eq!(failed, ["/gone: status 404", "/long: more than 5000 bytes"]);
    assert!(most.load(Ordering::SeqCst) <= 8);
    assert_eq!(warming(1, vec![]).warm(LOOPBACK).unwrap().came, 0);
    for wrong in [
        Warming { parallel: 0, ..warming(80, vec![]) },
        Warming { longest: Duration::ZERO, ..warming(80, vec![]) },
        warming(80, vec!["x".into()]),
    ] {
        assert!(wrong.warm(LOOPBACK).is_err());
    }
}

#[test]
fn warming_ends_in_time() {
    let server = Server::start(LOOPBACK, 0, |_, stream| linger(stream));
    let paths = (0..1000).map(|n| format!("/{n}")).collect();
    let mut warming = warming(server.address.port(), paths);
    (warming.timeout, warming.longest) = (Duration::from_millis(200), Duration::from_millis(500));
    let began = Instant::now();
    let warmed = warming.warm(LOOPBACK).unwrap();
    assert!(began.elapsed() < time::Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(warmed.came == 0 && warmed.failed.len() <= 24 && warmed.failed.len() + warmed.not_asked == 1000);
    assert!(warmed.failed.iter().all(|(_, why)| *why == ProbeFailure::Timeout));
}
