//! Whether all that a production file names answers: each thing is asked once, by what can only look, and for a bounded time.
//!
//! Nothing is left behind. Where something is to be listened at later, it is listened at for a moment.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration as Wait, Instant};

use forebay_adapters::dnstap_listener::{DnstapListener, ListenOptions};
use forebay_adapters::slices::SliceError;
use forebay_world::{Duration, FlavourId};

use crate::link::Executor;
use crate::production::{NameServer, Production, SecretError, SecretSource};

/// How long each thing may take.
const PATIENCE: Wait = Wait::from_secs(10);
/// Things that are asked at a time.
const AT_A_TIME: usize = 64;
/// Events are looked for so far ahead.
const AHEAD: Duration = Duration::from_hours(28 * 24);

/// What became of one thing.
#[derive(Debug)]
pub(super) struct Reached {
    /// What it is: `hypervisor`, `switch`.
    pub(super) kind: &'static str,
    /// As operators know it.
    pub(super) name: String,
    /// What it says.
    pub(super) outcome: Result<String, Unreached>,
}

/// Why something does not answer.
#[derive(Debug)]
pub(super) struct Unreached {
    pub(super) what: String,
    /// What may help; may be empty.
    pub(super) hint: String,
}

struct Target {
    kind: &'static str,
    name: String,
    ask: Box<dyn FnOnce() -> Result<String, Unreached> + Send>,
}

/// Asks everything, in the order in which it is told.
pub(super) fn all(production: &Arc<Production>) -> Vec<Reached> {
    let mut left = targets(production);
    let mut reached = Vec::new();
    while !left.is_empty() {
        let rest = left.split_off(left.len().min(AT_A_TIME));
        reached.append(&mut ask(std::mem::replace(&mut left, rest), PATIENCE));
    }
    reached
}

/// Asks some things at once. A thread that hangs is left to itself: it holds nothing that writes.
fn ask(targets: Vec<Target>, patience: Wait) -> Vec<Reached> {
    let (sender, receiver) = channel();
    let mut reached = Vec::new();
    for (at, Target { kind, name, ask }) in targets.into_iter().enumerate() {
        let sender = sender.clone();
        let thread = thread::Builder::new().name(kind.to_owned());
        let started = thread.spawn(move || drop(sender.send((at, ask()))));
        let what = match started {
            Ok(_) => format!("it has not answered within {} s", patience.as_secs_f64()),
            Err(error) => format!("it cannot be asked: {error}"),
        };
        let hint = "is it overloaded, or does something on the way swallow what is sent?".to_owned();
        reached.push(Reached { kind, name, outcome: Err(Unreached { what, hint }) });
    }
    drop(sender);
    let deadline = Instant::now() + patience;
    loop {
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((at, outcome)) => {
                // An error that says where it was says it once.
                let place = format!("{}: ", reached[at].name);
                let once = |what: String| what.strip_prefix(&place).map_or(what.clone(), str::to_owned);
                reached[at].outcome = outcome.map_err(|why| Unreached { what: once(why.what), ..why });
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return reached,
        }
    }
}

fn targets(production: &Arc<Production>) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    let mut add = |kind, name: String, ask: Box<dyn FnOnce() -> Result<String, Unreached> + Send>| {
        targets.push(Target { kind, name, ask });
    };
    let state = production.state.clone();
    add("state", state.display().to_string(), Box::new(move || look_at_state(&state)));
    if let Some(history) = &production.history {
        let name = history.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        let production = Arc::clone(production);
        let ask = move || match production.known(super::now().unwrap_or_default()) {
            Ok(known) => Ok(known.remarks.last().cloned().unwrap_or_else(|| "the policy does not go by it".to_owned())),
            Err(error) => Err(unreached(&error, error.hint())),
        };
        add("history", name, Box::new(ask));
    }
    for hosted in &production.hypervisors {
        let (hypervisor, owner) = (hosted.hypervisor.clone(), production.owner.clone());
        let ask = move || {
            let mut view = hypervisor.view(&owner).map_err(|error| unreached(&error, error.hint()))?;
            let seen = view.list().map_err(|error| Unreached { what: hypervisor.told(&error), hint: String::new() })?;
            Ok(format!("{} machines of {owner}, {} others", seen.machines.len(), seen.foreign.len()))
        };
        add("hypervisor", hosted.hypervisor.name(), Box::new(ask));
    }
    for (file, flavours) in images(production) {
        let path = PathBuf::from(&file);
        add("image", format!("{file} of {flavours}"), Box::new(move || look_at_file(&path)));
    }
    for (region, network) in production.topology.regions.iter().zip(&production.networks) {
        let Some(executor) = network.as_ref().and_then(|network| network.executor.clone()) else { continue };
        let name = format!("{} ({})", region.name, switch(&executor));
        add("switch", name, Box::new(move || look_at_switch(&executor)));
    }
    if let Some(queries) = &production.queries {
        for address in &queries.dnstap {
            let listen = address.clone();
            let ask = move || {
                // It is gone when it is dropped, and its socket with it.
                DnstapListener::bind(std::slice::from_ref(&listen), &ListenOptions::default())
                    .map(|_| "it can be listened at".to_owned())
                    .map_err(|error| unreached(&error, error.hint()))
            };
            add("dnstap", address.to_string(), Box::new(ask));
        }
        for log in &queries.logs {
            let path = log.path.clone();
            add("log", path.display().to_string(), Box::new(move || look_at_log(&path)));
        }
        let whereabouts = queries.whereabouts.clone();
        let files: Vec<String> =
            whereabouts.prefixes.iter().chain(&whereabouts.database).map(|file| file.display().to_string()).collect();
        if !files.is_empty() {
            let regions = production.topology.regions.clone();
            let ask = move || {
                whereabouts
                    .open(&regions)
                    .map(|_| "it is read".to_owned())
                    .map_err(|error| unreached(&error, error.hint()))
            };
            add("geography", files.join(", "), Box::new(ask));
        }
    }
    add_steering(production, &mut add);
    for feed in &production.feeds {
        let asked = feed.clone();
        let ask = move || {
            let now = super::now().unwrap_or_default();
            let source = asked.source().map_err(|error| unreached(&error, error.hint()))?;
            let events = source
                .read(&asked.options(now, now.saturating_add(AHEAD)))
                .map_err(|error| unreached(&error, error.hint()))?;
            Ok(format!("{} events within {AHEAD}", events.events.len()))
        };
        add("feed", feed.place.name(), Box::new(ask));
    }
    if let Some(listen) = production.metrics {
        add("metrics", listen.to_string(), Box::new(move || can_listen(&[listen], false)));
    }
    targets
}

type Add<'a> = dyn FnMut(&'static str, String, Box<dyn FnOnce() -> Result<String, Unreached> + Send>) + 'a;

fn add_steering(production: &Arc<Production>, add: &mut Add<'_>) {
    let Some(answering) = &production.answering else { return };
    if let NameServer::Responder { listen, .. } = &answering.server {
        let listen = listen.clone();
        add("steering", answering.name(), Box::new(move || can_listen(&listen, true)));
        return;
    }
    let (asked, owner) = (answering.clone(), production.owner.clone());
    let ask = move || {
        let view = asked.view(owner.as_str()).map_err(|error| unreached(&error, error.hint()))?;
        let Some(mut view) = view else { return Ok("it is our own".to_owned()) };
        let standing = view.read().map_err(|error| unreached(&error, ""))?;
        Ok(format!("{} names of {owner} are answered", standing.names.len()))
    };
    add("steering", answering.name(), Box::new(ask));
    if let NameServer::Rfc2136 { key: Some(key), .. } | NameServer::PowerDns { key, .. } = &answering.server {
        let (source, is_tsig) = (key.clone(), matches!(answering.server, NameServer::Rfc2136 { .. }));
        add("secret", key.name(), Box::new(move || look_at_secret(&source, is_tsig)));
    }
}

fn unreached(error: &dyn std::error::Error, hint: &str) -> Unreached {
    let mut what = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !what.contains(&more) {
            what = format!("{what}: {more}");
        }
        source = error.source();
    }
    // An error may say by itself what helps.
    let hint = if what.contains("hint: ") { "" } else { hint };
    Unreached { what: what.replace('\n', " "), hint: hint.to_owned() }
}

/// Images that hypervisors of this machine need, with the flavours that boot them.
fn images(production: &Production) -> Vec<(String, String)> {
    if !production.hypervisors.iter().any(|hosted| hosted.hypervisor.is_local()) {
        return Vec::new();
    }
    let mut found: Vec<(String, String)> = Vec::new();
    for (index, image) in production.images.iter().enumerate() {
        let flavour = &production.topology.flavours[FlavourId::at(index).index()].name;
        for file in image.iter().flat_map(|image| image.files()) {
            match found.iter_mut().find(|(known, _)| *known == file) {
                Some((_, flavours)) => flavours.push_str(&format!(", {flavour}")),
                None => found.push((file, flavour.clone())),
            }
        }
    }
    found
}

fn look_at_file(path: &Path) -> Result<String, Unreached> {
    match fs::File::open(path).and_then(|file| file.metadata()) {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => Ok(format!("{} bytes", metadata.len())),
        Ok(metadata) => {
            let what = if metadata.is_file() { "it is empty" } else { "it is no file" };
            Err(Unreached { what: what.to_owned(), hint: "name an image that boots".to_owned() })
        }
        Err(error) => Err(Unreached { what: error.to_string(), hint: "put it there, or name another".to_owned() }),
    }
}

fn look_at_log(path: &Path) -> Result<String, Unreached> {
    match fs::File::open(path) {
        Ok(_) => Ok("it can be read".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder_of(path).is_dir() => {
            Ok("it is not there yet".to_owned())
        }
        Err(error) => Err(Unreached {
            what: error.to_string(),
            hint: "is the path right, and may this user read it (group adm, or that of the server)?".to_owned(),
        }),
    }
}

fn look_at_secret(source: &SecretSource, is_tsig: bool) -> Result<String, Unreached> {
    let unreached = |error: SecretError| unreached(&error, error.hint());
    if is_tsig {
        return source.tsig().map(|key| format!("the key {}", key.name())).map_err(unreached);
    }
    source.secret().map(|_| "it is there".to_owned()).map_err(unreached)
}

fn switch(executor: &Executor) -> String {
    match executor {
        Executor::Tc { device } => format!("device {device}"),
        Executor::Ovs(port) => format!("port {} of bridge {} at {}", port.port, port.bridge, port.endpoint),
        Executor::Ovn { database, switch, .. } => format!("logical switch {switch} at {database}"),
    }
}

fn look_at_switch(executor: &Executor) -> Result<String, Unreached> {
    let unreached = |error: SliceError| unreached(&error, error.hint());
    let mut view = executor.view().map_err(unreached)?;
    let standing = view.read().map_err(unreached)?;
    let (ours, others) = (standing.slices.len(), standing.foreign.len());
    Ok(format!("{ours} slices of ours, {others} things of others"))
}

/// Listens for a moment, by TCP, and by UDP as well where it is for DNS.
fn can_listen(addresses: &[SocketAddr], is_dns: bool) -> Result<String, Unreached> {
    for address in addresses {
        let listened = TcpListener::bind(address).map(drop);
        let listened = listened.and_then(|()| if is_dns { UdpSocket::bind(address).map(drop) } else { Ok(()) });
        listened.map_err(|error| Unreached {
            what: format!("{address}: {error}"),
            hint: match error.kind() {
                io::ErrorKind::AddrInUse => "another program listens there: is forebay running already?",
                io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
                io::ErrorKind::AddrNotAvailable => "this machine does not have the address",
                _ => "the operating system gave this reason",
            }
            .to_owned(),
        })?;
    }
    Ok("it can be listened at".to_owned())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Sees that the state folder can be written, or made, and that no other instance holds its lease.
fn look_at_state(state: &Path) -> Result<String, Unreached> {
    let hint = "give this user the folder: `install -d -o USER -m 750 FOLDER`";
    let refuse = |what: String| Err(Unreached { what, hint: hint.to_owned() });
    // The nearest that is there: all below it will be made.
    let Some(there) = state.ancestors().find(|folder| folder.exists()) else {
        return refuse("there is nothing to make it in".to_owned());
    };
    if !there.is_dir() {
        return refuse(format!("{} is no folder", there.display()));
    }
    // A file without a name, which is gone when it is closed.
    if let Err(error) = tempfile::tempfile_in(there) {
        return refuse(format!("{} cannot be written: {error}", there.display()));
    }
    if there != state {
        return Ok("it will be made".to_owned());
    }
    if let Some(process) = holder(state) {
        return Err(Unreached {
            what: format!("process {process} holds its lease"),
            hint: "another forebay is live on it; a second one would wait".to_owned(),
        });
    }
    Ok("it can be written".to_owned())
}

/// The process that holds a lock on a file `held-…` of the folder, or of one in it, as the kernel lists it: nothing is
/// locked to find out.
fn holder(state: &Path) -> Option<u32> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let folders: Vec<PathBuf> = entries(state).filter(|path| path.is_dir()).chain([state.to_owned()]).collect();
    let held = folders
        .iter()
        .flat_map(|folder| entries(folder))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("held-")));
    let inodes: BTreeSet<u64> = held.filter_map(|path| fs::metadata(path).ok()).map(|file| file.ino()).collect();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        // `1: FLOCK  ADVISORY  WRITE 4711 fd:01:12345 0 EOF` (proc_locks(5))
        let words: Vec<&str> = line.split_whitespace().collect();
        let inode: u64 = words.get(5)?.rsplit(':').next()?.parse().ok()?;
        (inodes.contains(&inode) && words.get(3) == Some(&"WRITE")).then(|| words[4].parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, ask: impl FnOnce() -> Result<String, Unreached> + Send + 'static) -> Target {
        Target { kind: "test", name: name.to_owned(), ask: Box::new(ask) }
    }

    #[test]
    fn what_hangs_keeps_nobody_waiting() {
        let (never, hangs) = channel::<()>();
        let targets = vec![
            target("hangs", move || {
                let _ = hangs.recv();
                Ok("late".to_owned())
            }),
            target("answers", || Ok("here".to_owned())),
            target("breaks", || panic!("a mistake of ours")),
        ];
        let reached = ask(targets, Wait::from_millis(200));
        drop(never);
        assert!(reached[0].outcome.as_ref().is_err_and(|why| why.what.contains("not answered within 0.2 s")));
        assert!(reached[1].outcome.as_ref().is_ok_and(|said| said == "here"));
        assert!(reached[2].outcome.is_err());
    }

    #[test]
    fn a_state_folder_that_another_holds_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("a/b");
        assert!(look_at_state(&state).is_ok_and(|said| said == "it will be made"));
        fs::create_dir_all(state.join("lease")).unwrap();
        assert!(look_at_state(&state).is_ok_and(|said| said == "it can be written"));
        let held = fs::File::create(state.join("lease/held-7")).unwrap();
        assert!(look_at_state(&state).is_ok());
        held.try_lock().unwrap();
        let refused = look_at_state(&state).unwrap_err();
        assert_eq!(refused.what, format!("process {} holds its lease", std::process::id()));
        drop(held);
        assert!(look_at_state(&state).is_ok());
        let names: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["lease"], "nothing is left behind");
        assert!(look_at_state(&folder.path().join("a/b/lease/held-7")).is_err());
    }
}
