//! A server with EC2's interface, as far as the adapter uses it, on loopback: tokens as Amazon's has them, pages of two
//! instances, and refusals to set.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

/// Instances on a page.
const PAGE: usize = 2;

/// The server; it ends when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) instances: Vec<Instance>,
    /// What was answered to each token, and what had been asked with it.
    tokens: BTreeMap<String, (BTreeMap<String, String>, usize)>,
    /// Code and message of the next refusal.
    pub(crate) refuse: Option<(u16, &'static str, &'static str)>,
    /// The next reply is lost after what was asked is done.
    pub(crate) lose_reply: bool,
    /// Terminated instances are no more shown.
    pub(crate) forget_dead: bool,
    /// Gives instances whatever addresses it likes, or does not tell which.
    pub(crate) ignore_addresses: bool,
    pub(crate) hide_addresses: bool,
    /// Answers so many creations before what was created shows.
    pub(crate) hide: bool,
    pub(crate) requests: Vec<BTreeMap<String, String>>,
    ended: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) state: &'static str,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) user_data: String,
    /// Of IPv4, and of IPv6 where one was asked for.
    pub(crate) addresses: (Ipv4Addr, Option<Ipv6Addr>),
}

impl Server {
    pub(crate) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let ended = shared.lock().unwrap().ended;
                if ended {
                    return;
                }
                serve(&stream.unwrap(), &shared);
            }
        });
        Server { address, state, thread: Some(thread) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).ended = true;
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    let (mut length, mut signed) = (0, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        length = line.strip_prefix("content-length:").map_or(length, |text| text.trim().parse().unwrap());
        signed |= line.starts_with("authorization: aws4-hmac-sha256 credential=akid/");
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    let form = body.split('&').filter_map(|pair| pair.split_once('='));
    let form: BTreeMap<String, String> = form.map(|(key, value)| (decoded(key), decoded(value))).collect();
    let mut state = state.lock().unwrap();
    state.requests.push(form.clone());
    let answer = if signed { state.answer(&form) } else { Err((401, "AuthFailure", "not signed".to_owned())) };
    if std::mem::take(&mut state.lose_reply) {
        return;
    }
    let (status, text) = match answer {
        Ok(text) => (200, text),
        Err((status, code, message)) => {
            let error = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
            (status, format!("<Response><Errors>{error}</Errors><RequestID>r</RequestID></Response>"))
        }
    };
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
    let _ = (&*stream).write_all((head + &text).as_bytes());
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&others[..2]).unwrap(), 16).unwrap());
            rest = &others[2..];
        } else {
            bytes.push(*first);
            rest = others;
        }
    }
    String::from_utf8(bytes).unwrap()
}

impl State {
    /// Those that a new instance gets.
    fn addresses(
        &self,
        form: &BTreeMap<String, String>,
    ) -> Result<(Ipv4Addr, Option<Ipv6Addr>), (u16, &'static str, String)> {
        let there = || self.instances.iter().filter(|instance| instance.state != "terminated");
        let is_free = |address: &Ipv4Addr| there().all(|instance| instance.addresses.0 != *address);
        let any = || (250..).map(|last| Ipv4Addr::new(10, 0, 0, last)).find(is_free).expect("one is free");
        if self.ignore_addresses {
            return Ok((any(), None));
        }
        let v6 = form.get("Ipv6Address.1.Ipv6Address").map(|text| text.parse().unwrap());
        let v4: Ipv4Addr = form.get("PrivateIpAddress").map_or_else(any, |text| text.parse().unwrap());
        if is_free(&v4) {
            Ok((v4, v6))
        } else {
            Err((400, "InvalidIPAddress.InUse", format!("Address {v4} is in use.")))
        }
    }

    fn answer(&mut self, form: &BTreeMap<String, String>) -> Result<String, (u16, &'static str, String)> {
        if let Some((status, code, message)) = self.refuse.take() {
            return Err((status, code, message.to_owned()));
        }
        let empty = String::new();
        let get = |key: &str| form.get(key).unwrap_or(&empty);
        match get("Action").as_str() {
            "RunInstances" => {
                if get("DryRun") == "true" {
                    return Err((412, "DryRunOperation", "Request would have succeeded".to_owned()));
                }
                if get("ImageId") == "ami-none" {
                    return Err((400, "InvalidAMIID.NotFound", "The image id '[ami-none]' does not exist".to_owned()));
                }
                let token = get("ClientToken").clone();
                let at = match self.tokens.get(&token) {
                    Some((asked, _)) if asked != form => {
                        return Err((400, "IdempotentParameterMismatch", "other parameters".to_owned()));
                    }
                    Some((_, at)) => *at,
                    None => {
                        let tag = |at: usize, part: &str| form.get(&format!("TagSpecification.1.Tag.{at}.{part}"));
                        let tags = (1..).map_while(|at| Some((tag(at, "Key")?.clone(), tag(at, "Value")?.clone())));
                        let id = format!("i-{:08x}", self.instances.len());
                        let (tags, user_data) = (tags.collect(), get("UserData").clone());
                        let addresses = self.addresses(form)?;
                        self.instances.push(Instance { id, state: "pending", tags, user_data, addresses });
                        self.tokens.insert(token, (form.clone(), self.instances.len() - 1));
                        self.instances.len() - 1
                    }
                };
                Ok(format!("<R><instancesSet>{}</instancesSet></R>", self.shown(at)))
            }
            "DescribeInstances" => {
                let filters: Vec<(&str, &str)> = (1..)
                    .map_while(|at| {
                        let name = form.get(&format!("Filter.{at}.Name"))?.strip_prefix("tag:")?;
                        Some((name, form.get(&format!("Filter.{at}.Value.1"))?.as_str()))
                    })
                    .collect();
                let lets = |instance: &Instance| {
                    let has = |(name, value): &(&str, &str)| instance.tags.get(*name).is_some_and(|tag| tag == value);
                    filters.iter().all(has)
                        && !(self.forget_dead && instance.state == "terminated")
                        && !(self.hide && instance.state == "pending")
                };
                let from: usize = get("NextToken").parse().unwrap_or(0);
                let found: Vec<usize> = (0..self.instances.len()).filter(|at| lets(&self.instances[*at])).collect();
                let page = found.iter().skip(from).take(PAGE);
                let items: String =
                    page.map(|at| format!("<item><instancesSet>{}</instancesSet></item>", self.shown(*at))).collect();
                let next = from + PAGE;
                let more = if next < found.len() { format!("<nextToken>{next}</nextToken>") } else { String::new() };
                // What was starting runs when it is looked at again.
                for at in found {
                    if self.instances[at].state == "pending" {
                        self.instances[at].state = "running";
                    }
                }
                Ok(format!("<R><reservationSet>{items}</reservationSet>{more}</R>"))
            }
            "TerminateInstances" => {
                let id = get("InstanceId.1");
                let found = self.instances.iter_mut().find(|instance| instance.id == *id);
                let found = found.ok_or((400, "InvalidInstanceID.NotFound", id.clone()))?;
                found.state = "terminated";
                Ok("<R/>".to_owned())
            }
            "CreateTags" => {
                let id = get("ResourceId.1");
                let tag = |at: usize, part: &str| form.get(&format!("Tag.{at}.{part}"));
                let tags = (1..).map_while(|at| Some((tag(at, "Key")?.clone(), tag(at, "Value")?.clone())));
                let tags: Vec<(String, String)> = tags.collect();
                let found = self.instances.iter_mut().find(|instance| instance.id == *id);
                found.ok_or((400, "InvalidInstanceID.NotFound", id.clone()))?.tags.extend(tags);
                Ok("<R><return>true</return></R>".to_owned())
            }
            other => Err((400, "InvalidAction", other.to_owned())),
        }
    }
}

impl State {
    fn shown(&self, at: usize) -> String {
        let instance = &self.instances[at];
        let (v4, v6) = &instance.addresses;
        let addresses = if self.hide_addresses {
            String::new()
        } else {
            let v6 = v6.iter().map(|v6| format!("<item><ipv6Address>{v6}</ipv6Address></item>")).collect::<String>();
            format!(
                "<privateIpAddress>{v4}</privateIpAddress><networkInterfaceSet><item><privateIpAddressesSet><item>\
                 <privateIpAddress>{v4}</privateIpAddress></item></privateIpAddressesSet>\
                 <ipv6AddressesSet>{v6}</ipv6AddressesSet></item></networkInterfaceSet>"
            )
        };
        let tags =
            instance.tags.iter().map(|(key, value)| format!("<item><key>{key}</key><value>{value}</value></item>"));
        let tags: String = tags.collect();
        let (id, state) = (&instance.id, instance.state);
        format!(
            "<item><instanceId>{id}</instanceId><instanceState><name>{state}</name></instanceState>\
             <instanceType>t3.micro</instanceType>\
             <cpuOptions><coreCount>2</coreCount><threadsPerCore>2</threadsPerCore></cpuOptions>\
             <placement><availabilityZone>zone-a</availabilityZone></placement>{addresses}\
             <launchTime>2026-01-01T00:{:02}:{:02}.000Z</launchTime><tagSet>{tags}</tagSet></item>",
            at / 60 % 60,
            at % 60
        )
    }
}
