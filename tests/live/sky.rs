//! A cloud on loopback: moto, behind whom somebody stands who may refuse, and guests that answer at the addresses that
//! instances were given.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::knot::records;
use super::moto::{Moto, between};

/// Clients that were sent to a guest may come for so long: two times to live, and a tail, as cloud.toml has it; less what
/// looking takes.
const LINGER: Duration = Duration::from_secs(13 - 2);

/// What stands between forebay and the cloud.
pub(crate) struct Gatekeeper {
    pub(crate) endpoint: String,
    state: Arc<Mutex<Kept>>,
    is_over: Arc<AtomicBool>,
}

#[derive(Default)]
struct Kept {
    /// Code and message with which launches are refused.
    refusal: Option<(&'static str, &'static str)>,
    /// Launches that were asked for, and when.
    launches: Vec<Instant>,
    /// What was asked at all, and how often.
    asked: BTreeMap<String, u32>,
}

impl Gatekeeper {
    /// Stands before a server.
    pub(crate) fn start(server: &str) -> Gatekeeper {
        let server = server.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (state, is_over) = (Arc::<Mutex<Kept>>::default(), Arc::<AtomicBool>::default());
        let (kept, over) = (Arc::clone(&state), Arc::clone(&is_over));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (kept, server) = (Arc::clone(&kept), server.clone());
                std::thread::spawn(move || pass(&stream.unwrap(), &server, &kept));
            }
        });
        Gatekeeper { endpoint, state, is_over }
    }

    /// Refuses launches from now on, or lets them through.
    pub(crate) fn refuse(&self, refusal: Option<(&'static str, &'static str)>) {
        self.state.lock().unwrap().refusal = refusal;
    }

    /// Launches that were asked for, and when.
    pub(crate) fn launches(&self) -> Vec<Instant> {
        self.state.lock().unwrap().launches.clone()
    }

    /// What was asked, and how often.
    pub(crate) fn asked(&self) -> BTreeMap<String, u32> {
        self.state.lock().unwrap().asked.clone()
    }
}

impl Drop for Gatekeeper {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.endpoint.strip_prefix("http://").unwrap());
    }
}

/// Passes one request on, to the letter but for how long the connection is kept, and its answer back.
fn pass(stream: &TcpStream, server: &str, kept: &Mutex<Kept>) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim().is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        length = lower.strip_prefix("content-length:").map_or(length, |text| text.trim().parse().unwrap());
        if !lower.starts_with("connection:") {
            head += &line;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let text = String::from_utf8(body).unwrap();
    let action = text.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or_default().to_owned();
    let is_launch = action == "RunInstances";
    let refusal = {
        let mut kept = kept.lock().unwrap();
        if is_launch {
            kept.launches.push(Instant::now());
        }
        *kept.asked.entry(action).or_default() += 1;
        kept.refusal.filter(|_| is_launch)
    };
    if let Some((code, message)) = refusal {
        let errors = format!("<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>");
        let answer = format!("<?xml version=\"1.0\"?><Response>{errors}<RequestID>r</RequestID></Response>");
        let head = format!("HTTP/1.1 400 X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
        let _ = (&*stream).write_all((head + &answer).as_bytes());
        return;
    }
    let mut server = TcpStream::connect(server).unwrap();
    server.write_all(format!("{head}Connection: close\r\n\r\n{text}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).unwrap();
    let _ = (&*stream).write_all(&answer);
}

/// An instance, as the cloud itself tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) is_alive: bool,
}

/// All instances of an owner.
pub(crate) fn instances(moto: &Moto, owner: &str) -> Vec<Instance> {
    let filter = [("Filter.1.Name", "tag:forebay:owner"), ("Filter.1.Value.1", owner)];
    let answer = moto.ask("ec2", &[&[("Action", "DescribeInstances")], &filter[..]].concat());
    let parts = answer.split("<instanceId>").skip(1);
    parts
        .map(|part| {
            let state = between(between(part, "<instanceState>", "</instanceState>"), "<name>", "</name>");
            let is_alive = matches!(state, "pending" | "running");
            // One that has ended has none any more.
            let address = if is_alive { between(part, "<privateIpAddress>", "<") } else { "" };
            Instance { id: part[..part.find('<').unwrap()].to_owned(), address: address.to_owned(), is_alive }
        })
        .collect()
}

/// What runs on instances: a server at the address of each, for as long as it lives. It also sees that none is ended while
/// clients may be on their way.
pub(crate) struct Guests {
    seen: Arc<Mutex<Seen>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// Instances that live, by address.
    pub(crate) alive: BTreeSet<String>,
    /// What the zone answers.
    pub(crate) answered: BTreeSet<String>,
    /// What must never be, and was.
    pub(crate) wrongs: Vec<String>,
    /// Addresses, as their instances came and went.
    pub(crate) launched: Vec<(Instant, String)>,
    pub(crate) ended: Vec<(Instant, String)>,
    last_answered: BTreeMap<String, Instant>,
}

impl Guests {
    /// Follows the instances of an owner, and the zone of a name server in a folder.
    pub(crate) fn start(moto: Arc<Moto>, owner: String, port: u16, folder: &Path) -> Guests {
        let (seen, is_over) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let thread = {
            let (seen, over, folder) = (Arc::clone(&seen), Arc::clone(&is_over), folder.to_owned());
            std::thread::spawn(move || {
                let mut servers: BTreeMap<String, Server> = BTreeMap::new();
                while !over.load(Ordering::SeqCst) {
                    let alive = instances(&moto, &owner).into_iter().filter(|instance| instance.is_alive);
                    let alive: BTreeSet<String> = alive.map(|instance| instance.address).collect();
                    servers.retain(|address, _| alive.contains(address));
                    for address in &alive {
                        servers.entry(address.clone()).or_insert_with(|| Server::start(address, port));
                    }
                    seen.lock().unwrap().note(alive, records(&folder));
                    std::thread::sleep(Duration::from_millis(100));
                }
            })
        };
        Guests { seen, is_over, thread: Some(thread) }
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

impl Guests {
    /// Follows nobody any more.
    pub(crate) fn stop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Seen {
    fn note(&mut self, alive: BTreeSet<String>, answered: Option<BTreeSet<String>>) {
        let now = Instant::now();
        self.launched.extend(alive.difference(&self.alive).map(|address| (now, address.clone())));
        for address in self.alive.difference(&alive) {
            self.ended.push((now, address.clone()));
            if let Some(last) = self.last_answered.get(address).filter(|last| last.elapsed() < LINGER) {
                self.wrongs.push(format!("{address} was ended {:?} after it was answered", last.elapsed()));
            }
        }
        self.alive = alive;
        let Some(answered) = answered else { return };
        for address in answered.difference(&self.alive) {
            self.wrongs.push(format!("{address} is answered, and no instance has it"));
        }
        self.last_answered.extend(answered.iter().map(|address| (address.clone(), now)));
        self.answered = answered;
    }
}

/// A guest's server of HTTP.
struct Server(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Server {
    fn start(address: &str, port: u16) -> Server {
        let listener = TcpListener::bind(format!("{address}:{port}")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let is_over = Arc::<AtomicBool>::default();
        let over = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                let Ok((mut stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                };
                let _ = stream.set_nonblocking(false);
                let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                let mut request = [0; 2048];
                let read = stream.read(&mut request).unwrap_or(0);
                let is_known =
                    [&b"GET /health "[..], b"GET /sessions "].iter().any(|of| request[..read].starts_with(of));
                let status = if is_known { "200 OK" } else { "404 Not Found" };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 1\r\nConnection: close\r\n\r\n0");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Server(is_over, Some(thread))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        let _ = self.1.take().map(JoinHandle::join);
    }
}
