//! The client: one session at a time with one server, and what outlasts a session: monitors and locks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::error::OvsdbError;
use super::message::Message;
use super::monitor::{Change, Event, Monitor, MonitorId};
use super::notation::{NotationError, array, brief};
use super::operation::{Operation, Outcome};
use super::refusal::{Refusal, Refused};
use super::replica::{Monitored, Replica};
use super::schema::Schema;
use super::session::{Fault, Session};

/// Changes that are kept for the next [`Client::poll`], at most.
const CHANGES_KEPT_MOST: usize = 65_536;

/// How long a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, with all that TLS needs; the system's look-up of a host's name comes on top.
    pub connect: Duration,
    /// For the answer to a request; what a transaction's waits may take comes on top.
    pub reply: Duration,
    /// Without a sign of life, until [`Client::poll`] asks for one; and after as long again the connection is lost.
    pub silence: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        let seconds = Duration::from_secs;
        Timeouts { connect: seconds(5), reply: seconds(10), silence: seconds(5) }
    }
}

/// A client of an OVSDB server.
///
/// A server closes connections that do not answer its probes, Open vSwitch's after five to ten seconds: a client that is
/// kept has to be [polled](Client::poll) every few seconds.
pub struct Client {
    endpoint: Endpoint,
    timeouts: Timeouts,
    session: Option<Session>,
    /// What ended the last session.
    ended: String,
    schemas: BTreeMap<String, Arc<Schema>>,
    monitors: BTreeMap<MonitorId, Monitored>,
    monitors_made: u64,
    /// The locks that were asked for, and whether each is ours.
    locks: BTreeMap<String, bool>,
    events: VecDeque<Event>,
    changes_dropped: u64,
}

impl Client {
    /// Connects, and sees that it is a server that answers.
    ///
    /// # Errors
    /// [`OvsdbError`] of all kinds that say that there is no connection.
    pub fn connect(endpoint: &Endpoint, timeouts: Timeouts) -> Result<Client, OvsdbError> {
        let mut client = Client {
            endpoint: endpoint.clone(),
            timeouts,
            session: None,
            ended: "never connected".to_owned(),
            schemas: BTreeMap::new(),
            monitors: BTreeMap::new(),
            monitors_made: 0,
            locks: BTreeMap::new(),
            events: VecDeque::new(),
            changes_dropped: 0,
        };
        client.open()?;
        Ok(client)
    }

    /// Connects anew, whether or not there is a connection: sets up all monitors, reads all that they show, and asks for
    /// all locks. What changed in between comes with the next [`Client::poll`], before [`Event::Reconnected`].
    ///
    /// # Errors
    /// [`OvsdbError`]. There is no connection then, and this may be called again.
    pub fn reconnect(&mut self) -> Result<(), OvsdbError> {
        self.close("it was closed to connect anew");
        self.open()?;
        self.resume().inspect_err(|error| self.close(&error.to_string()))
    }

    /// Whether there is a connection, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    /// Where the server is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The names of the server's databases.
    ///
    /// # Errors
    /// [`OvsdbError`]
    pub fn list_dbs(&mut self) -> Result<Vec<String>, OvsdbError> {
        let listed = self.call("list_dbs", json!([]))?;
        let names = listed.as_array().map(|names| names.iter().map(|name| name.as_str().map(str::to_owned)));
        match names.and_then(Iterator::collect) {
            Some(names) => Ok(names),
            None => Err(self.no_sense("list_dbs", &NotationError::new(&listed, "an array of names"))),
        }
    }

    /// The schema of a database, asked for once a session.
    ///
    /// # Errors
    /// [`OvsdbError`], with [`Refusal::UnknownDatabase`] for a database that is not there.
    pub fn get_schema(&mut self, database: &str) -> Result<Arc<Schema>, OvsdbError> {
        if self.session.is_some()
            && let Some(schema) = self.schemas.get(database)
        {
            return Ok(Arc::clone(schema));
        }
        let answer = self.call("get_schema", json!([database]))?;
        let schema = Schema::from_json(&answer).map_err(|error| self.no_sense("get_schema", &error))?;
        let schema = Arc::new(schema);
        self.schemas.insert(database.to_owned(), Arc::clone(&schema));
        Ok(schema)
    }

    /// Does operations, all of them or none; what came of each, in their order. What they changed of what is monitored is
    /// in the replicas when this returns.
    ///
    /// # Errors
    /// [`OvsdbError::Operation`] names the operation that failed, [`OvsdbError::Commit`] what failed of the whole: then
    /// nothing was done. After errors whose [`outcome_unknown`](OvsdbError::outcome_unknown) all or nothing was done.
    pub fn transact(&mut self, database: &str, operations: Vec<Operation>) -> Result<Vec<Outcome>, OvsdbError> {
        let mut params = vec![json!(database)];
        params.extend(operations.iter().map(Operation::to_json));
        let waits = operations.iter().filter_map(|operation| match operation {
            Operation::Wait { timeout, .. } => *timeout,
            _ => None,
        });
        let waited = waits.fold(self.timeouts.reply, Duration::saturating_add);
        let answer = self.call_within("transact", Value::Array(params), waited)?;
        let answers = match array(&answer, "the outcomes of a transaction") {
            Ok(answers) => answers,
            Err(error) => return Err(self.no_sense("transact", &error)),
        };
        if let Some((index, error)) = answers.iter().enumerate().find(|(_, one)| one.get("error").is_some()) {
            let refused = Refused::of(error);
            let endpoint = self.endpoint.to_string();
            return Err(match operations.get(index) {
                None => OvsdbError::Commit { endpoint, refused },
                Some(operation) => {
                    let table = operation.table().map_or_else(String::new, |table| format!(" in table {table}"));
                    let (number, of) = (index + 1, operations.len());
                    let described = format!("{}{table}", operation.name());
                    OvsdbError::Operation { endpoint, number, of, described, refused }
                }
            });
        }
        if answers.len() != operations.len() {
            let error = NotationError::new(&answer, format!("an array of {} outcomes", operations.len()));
            return Err(self.no_sense("transact", &error));
        }
        let outcomes = operations.iter().zip(answers).map(|(operation, answer)| Outcome::of(operation, answer));
        outcomes.collect::<Result<_, _>>().map_err(|error| self.no_sense("transact", &error))
    }

    /// Replicates rows from now on. What is there already is in the replica when this returns, and is no event.
    ///
    /// # Errors
    /// [`OvsdbError`], with [`OvsdbError::Absent`] for a table or column that the schema does not have.
    pub fn monitor(&mut self, monitor: &Monitor) -> Result<MonitorId, OvsdbError> {
        let id = MonitorId(self.monitors_made + 1);
        // All of it is new, and no news.
        self.start_monitor(id, monitor, &mut Vec::new())?;
        self.monitors_made += 1;
        Ok(id)
    }

    /// What a monitor shows now; `None` for one that was ended.
    pub fn replica(&self, monitor: MonitorId) -> Option<&Replica> {
        self.monitors.get(&monitor).map(|monitored| &monitored.replica)
    }

    /// Ends a monitor.
    ///
    /// # Errors
    /// [`OvsdbError`]. The monitor is gone all the same.
    pub fn end_monitor(&mut self, monitor: MonitorId) -> Result<(), OvsdbError> {
        if !self.monitors.contains_key(&monitor) {
            return Ok(());
        }
        // What still comes until the answer is taken in, and forgotten.
        let ended = self.call("monitor_cancel", json!([monitor.to_json()]));
        self.monitors.remove(&monitor);
        ended.map(|_| ())
    }

    /// Asks for a lock; whether it is ours at once. Otherwise it comes when all before us have let go of it, and
    /// [`Event::Locked`] says so.
    ///
    /// # Errors
    /// [`OvsdbError`]
    pub fn lock(&mut self, name: &str) -> Result<bool, OvsdbError> {
        if let Some(&held) = self.locks.get(name)
            && self.session.is_some()
        {
            return Ok(held);
        }
        self.ask_for_lock("lock", name)
    }

    /// Takes a lock away from whoever holds it. Who is being robbed is told, and has the lock back when we let go.
    ///
    /// # Errors
    /// [`OvsdbError`]
    pub fn steal(&mut self, name: &str) -> Result<(), OvsdbError> {
        if self.locks.contains_key(name) {
            // A server takes one request for each lock.
            self.unlock(name)?;
        }
        match self.ask_for_lock("steal", name)? {
            true => Ok(()),
            false => Err(self.no_sense("steal", &NotationError::new(&json!(false), "a lock that is ours"))),
        }
    }

    /// Lets go of a lock, or does not wait for it any longer.
    ///
    /// # Errors
    /// [`OvsdbError`]. The lock is not ours, nor asked for again, all the same.
    pub fn unlock(&mut self, name: &str) -> Result<(), OvsdbError> {
        match self.locks.remove(name) {
            Some(_) => self.call("unlock", json!([name])).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Whether a lock is ours, as far as the server has told. Only [`Operation::Assert`] is sure of it.
    pub fn holds(&self, name: &str) -> bool {
        self.session.is_some() && self.locks.get(name).copied().unwrap_or(false)
    }

    /// Takes in what the server has told, answers its probes, and says what came of it; waits until there is something to
    /// say, or until the deadline. A deadline that is over takes what is there.
    ///
    /// # Errors
    /// [`OvsdbError`] when the connection is lost. What was told before comes with the first poll after
    /// [`Client::reconnect`].
    pub fn poll(&mut self, deadline: Instant) -> Result<Vec<Event>, OvsdbError> {
        loop {
            let mut now = Instant::now();
            while let Some(message) = self.receive(now, None)? {
                self.handle(message, None)?;
                now = Instant::now();
                if now > deadline && !self.events.is_empty() {
                    break;
                }
            }
            if !self.events.is_empty() || self.changes_dropped > 0 {
                let dropped = std::mem::take(&mut self.changes_dropped);
                let dropped = (dropped > 0).then_some(Event::ChangesDropped(dropped));
                return Ok(self.events.drain(..).chain(dropped).collect());
            }
            let until = self.probe(now)?;
            if now >= deadline {
                return Ok(Vec::new());
            }
            if let Some(message) = self.receive(deadline.min(until), None)? {
                self.handle(message, None)?;
            }
        }
    }

    /// Asks for a sign of life where there was none for long; when the next look is due.
    fn probe(&mut self, now: Instant) -> Result<Instant, OvsdbError> {
        let silence = self.timeouts.silence;
        let session = self.session()?;
        match session.probed {
            Some(probed) if now >= after(probed, silence) => {
                let fault = Fault::Lost(std::io::ErrorKind::TimedOut.into());
                Err(self.fail(fault, None, false))
            }
            Some(probed) => Ok(after(probed, silence)),
            None if now >= after(session.heard, silence) => {
                session.probed = Some(now);
                let probe = json!({"method": "echo", "params": [], "id": PROBE});
                self.send(&probe, None)?;
                Ok(after(now, silence))
            }
            None => Ok(after(session.heard, silence)),
        }
    }

    fn open(&mut self) -> Result<(), OvsdbError> {
        let deadline = after(Instant::now(), self.timeouts.connect);
        self.session = Some(Session::open(&self.endpoint, deadline).inspect_err(|error| {
            self.ended = error.to_string();
        })?);
        self.schemas.clear();
        // With TLS 1.3 a server that does not trust us says so only after the handshake.
        match self.call_within("echo", json!([]), self.timeouts.connect) {
            Err(OvsdbError::Lost { endpoint, what, pending }) if matches!(self.endpoint, Endpoint::Tcp { .. }) => {
                let what = format!("{what} before it had answered anything, as servers do that want TLS (ssl:)");
                Err(OvsdbError::Lost { endpoint, what, pending })
            }
            Err(error) if error.is_disconnected() => Err(error),
            _ => Ok(()),
        }
    }

    /// Sets up in a new session what the one before had.
    fn resume(&mut self) -> Result<(), OvsdbError> {
        let requests: Vec<_> =
            self.monitors.values().map(|monitored| (monitored.id, monitored.request.clone())).collect();
        for (id, request) in requests {
            let mut changes = Vec::new();
            self.start_monitor(id, &request, &mut changes)?;
            self.keep(changes);
        }
        let locks: Vec<String> = self.locks.keys().cloned().collect();
        for name in locks {
            if self.ask_for_lock("lock", &name)? {
                self.events.push_back(Event::Locked(name));
            }
        }
        self.events.push_back(Event::Reconnected);
        Ok(())
    }

    /// Sets a monitor up, by `monitor` where the server has no `monitor_cond`; what differs from what it showed before.
    fn start_monitor(&mut self, id: MonitorId, request: &Monitor, changes: &mut Vec<Change>) -> Result<(), OvsdbError> {
        let database = &request.database;
        let schema = self.get_schema(database)?;
        for plain in [false, true] {
            let mut monitored = Monitored::new(id, request, &schema, plain).map_err(|what| OvsdbError::Absent {
                endpoint: self.endpoint.to_string(),
                database: database.clone(),
                what,
            })?;
            let params = json!([database, id.to_json(), monitored.to_json()]);
            let answer = match self.call(monitored.method(), params) {
                Err(error) if !plain && error.refusal() == Some(&Refusal::UnknownMethod) => continue,
                answer => answer?,
            };
            monitored.take(&answer, &mut Vec::new()).map_err(|error| self.no_sense(monitored.method(), &error))?;
            let nothing = Replica::default();
            let before = self.monitors.get(&id).map_or(&nothing, |before| &before.replica);
            *changes = monitored.replica.changes_from(before, id);
            self.monitors.insert(id, monitored);
            return Ok(());
        }
        unreachable!("the second round does not go on")
    }

    fn ask_for_lock(&mut self, method: &'static str, name: &str) -> Result<bool, OvsdbError> {
        let answer = self.call(method, json!([name]))?;
        match answer.get("locked").and_then(Value::as_bool) {
            Some(held) => {
                self.locks.insert(name.to_owned(), held);
                Ok(held)
            }
            None => Err(self.no_sense(method, &NotationError::new(&answer, "an object with \"locked\""))),
        }
    }

    fn call(&mut self, method: &'static str, params: Value) -> Result<Value, OvsdbError> {
        self.call_within(method, params, self.timeouts.reply)
    }

    /// Asks, and takes in what comes until the answer does.
    fn call_within(&mut self, method: &'static str, params: Value, waited: Duration) -> Result<Value, OvsdbError> {
        // Of the others it does not matter: they change nothing that outlasts the session.
        let pending = (method == "transact").then_some(method);
        let id = self.session()?.next_id();
        let deadline = after(Instant::now(), waited);
        let request = json!({"method": method, "params": params, "id": id});
        let sent = self.session()?.send(&request, deadline);
        sent.map_err(|fault| self.fail(fault, pending, false))?;
        loop {
            let Some(message) = self.receive(deadline, pending)? else {
                let endpoint = self.endpoint.to_string();
                let error = OvsdbError::Timeout { endpoint, request: method, waited, pending };
                self.close(&error.to_string());
                return Err(error);
            };
            match message {
                Message::Reply { id: answered, result, error } if answered == id => {
                    if error.is_null() {
                        return Ok(result);
                    }
                    let refused = Refused::of(&error);
                    return Err(OvsdbError::Rejected { endpoint: self.endpoint.to_string(), request: method, refused });
                }
                other => self.handle(other, pending)?,
            }
        }
    }

    /// Takes a message in that is no answer to what is being asked.
    fn handle(&mut self, message: Message, pending: Option<&'static str>) -> Result<(), OvsdbError> {
        match message {
            Message::Request { id, method, params } => {
                let reply = match method.as_str() {
                    "echo" => json!({"result": params, "error": null, "id": id}),
                    _ => json!({"result": null, "error": {"error": "unknown method"}, "id": id}),
                };
                self.send(&reply, pending)
            }
            Message::Notification { method, params } => self.take_notification(&method, &params, pending),
            // That it came is all that was asked.
            Message::Reply { id, .. } if id == PROBE => Ok(()),
            Message::Reply { id, .. } => Err(self.fail(
                Fault::Garbage(format!("an answer came to a request {} that was never made", brief(&id))),
                pending,
                true,
            )),
        }
    }

    fn take_notification(
        &mut self,
        method: &str,
        params: &Value,
        pending: Option<&'static str>,
    ) -> Result<(), OvsdbError> {
        match (method, params.as_array().map(Vec::as_slice)) {
            ("update" | "update2", Some([id, updates])) => {
                let monitored = MonitorId::from_json(id).and_then(|id| self.monitors.get_mut(&id));
                let Some(monitored) = monitored.filter(|monitored| monitored.update_method() == method) else {
                    let what = format!("an {method} came of a monitor {} that was never set up", brief(id));
                    return Err(self.fail(Fault::Garbage(what), pending, true));
                };
                let mut changes = Vec::new();
                let taken = monitored.take(updates, &mut changes);
                self.keep(changes);
                taken.map_err(|error| {
                    self.fail(Fault::Garbage(format!("{method} makes no sense: {error}")), pending, true)
                })
            }
            ("locked" | "stolen", Some([Value::String(name)])) => {
                // Unless it was let go of while the word was under way.
                if let Some(held) = self.locks.get_mut(name) {
                    *held = method == "locked";
                    let name = name.clone();
                    self.events.push_back(if *held { Event::Locked(name) } else { Event::Stolen(name) });
                }
                Ok(())
            }
            ("monitor_canceled", Some([id])) => {
                if let Some(id) = MonitorId::from_json(id).filter(|id| self.monitors.remove(id).is_some()) {
                    self.events.push_back(Event::MonitorCanceled(id));
                }
                Ok(())
            }
            ("update" | "update2" | "locked" | "stolen" | "monitor_canceled", _) => {
                Err(self.fail(Fault::Garbage(format!("{method} came with {}", brief(params))), pending, true))
            }
            // What later servers may tell.
            _ => Ok(()),
        }
    }

    /// Keeps changes for the next poll, as far as there is room: nobody may ever ask.
    fn keep(&mut self, changes: Vec<Change>) {
        let room = CHANGES_KEPT_MOST.saturating_sub(self.events.len());
        self.changes_dropped += changes.len().saturating_sub(room) as u64;
        self.events.extend(changes.into_iter().take(room).map(Event::Changed));
    }

    fn session(&mut self) -> Result<&mut Session, OvsdbError> {
        let (endpoint, why) = (&self.endpoint, &self.ended);
        let closed = || OvsdbError::Closed { endpoint: endpoint.to_string(), why: why.clone() };
        self.session.as_mut().ok_or_else(closed)
    }

    fn send(&mut self, message: &Value, pending: Option<&'static str>) -> Result<(), OvsdbError> {
        let deadline = after(Instant::now(), self.timeouts.reply);
        let sent = self.session()?.send(message, deadline);
        sent.map_err(|fault| self.fail(fault, pending, true))
    }

    fn receive(&mut self, deadline: Instant, pending: Option<&'static str>) -> Result<Option<Message>, OvsdbError> {
        let received = self.session()?.receive(deadline);
        received.map_err(|fault| self.fail(fault, pending, true))
    }

    /// Ends the session by what ended it.
    fn fail(&mut self, fault: Fault, pending: Option<&'static str>, sent: bool) -> OvsdbError {
        let error = fault.told(&self.endpoint, pending, sent);
        self.close(&error.to_string());
        error
    }

    /// Ends the session over an answer to `request` that is none.
    fn no_sense(&mut self, request: &'static str, error: &NotationError) -> OvsdbError {
        // Whatever it says, it was answered.
        let pending = (request == "transact").then_some(request);
        self.fail(Fault::Garbage(format!("the answer to {request} makes no sense: {error}")), pending, true)
    }

    fn close(&mut self, why: &str) {
        if self.session.take().is_none() {
            return;
        }
        self.ended = why.to_owned();
        for (name, held) in &mut self.locks {
            if std::mem::take(held) {
                self.events.push_back(Event::LockLost(name.clone()));
            }
        }
    }
}

/// A time later; a wait of centuries is none that a clock can tell.
fn after(now: Instant, wait: Duration) -> Instant {
    now + wait.min(Duration::from_secs(86_400 * 365))
}

/// What an answer to our own probe carries.
const PROBE: &str = "probe";

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint.to_string())
            .field("connected", &self.is_connected())
            .field("monitors", &self.monitors.len())
            .field("locks", &self.locks)
            .finish_non_exhaustive()
    }
}
