use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A server whose every answer is written down: one script for each connection, in turn.
struct Fake {
    endpoint: Endpoint,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

type Script = Box<dyn FnOnce(&mut Peer) + Send>;

impl Fake {
    fn serve(scripts: Vec<Script>) -> Fake {
        let folder = tempfile::Builder::new().prefix("fb").tempdir().unwrap();
        let path = folder.path().join("db.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let thread = std::thread::spawn(move || {
            for script in scripts {
                let (stream, _) = listener.accept().unwrap();
                let mut peer = Peer { stream, reader: MessageReader::default(), piece: usize::MAX };
                script(&mut peer);
            }
        });
        Fake { endpoint: Endpoint::Unix(path), thread: Some(thread), _folder: folder }
    }

    fn one(script: impl FnOnce(&mut Peer) + Send + 'static) -> Fake {
        Fake::serve(vec![Box::new(script)])
    }

    fn connect(&self, timeouts: Timeouts) -> Client {
        Client::connect(&self.endpoint, timeouts).unwrap()
    }

    /// Waits for the end of the scripts, and fails as they did.
    fn end(mut self, client: Client) {
        drop(client);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// The server's end of a connection.
struct Peer {
    stream: UnixStream,
    reader: MessageReader,
    /// Bytes that are written at once.
    piece: usize,
}

impl Peer {
    fn receive(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.reader.next_message().unwrap() {
                return Some(message);
            }
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer).unwrap_or(0);
            if read == 0 {
                return None;
            }
            self.reader.push(&buffer[..read]);
        }
    }

    /// The next request, which has to be of this method.
    fn request(&mut self, wanted: &str) -> (Value, Value) {
        match self.receive() {
            Some(Message::Request { id, method, params }) if method == wanted => (id, params),
            other => panic!("{other:?} instead of {wanted}"),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece.min(bytes.len().max(1))) {
            self.stream.write_all(piece).unwrap();
            // So that the client reads it apart.
            std::thread::yield_now();
        }
    }

    fn send(&mut self, message: &Value) {
        self.write(message.to_string().as_bytes());
    }

    /// Answers the next request, which has to be of this method; its parameters.
    fn answer(&mut self, method: &str, result: Value) -> Value {
        let (id, params) = self.request(method);
        self.send(&json!({"id": id, "result": result, "error": null}));
        params
    }

    fn refuse(&mut self, method: &str, error: Value) {
        let (id, _) = self.request(method);
        self.send(&json!({"id": id, "result": null, "error": error}));
    }

    fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({"id": null, "method": method, "params": params}));
    }

    /// What every connection begins with.
    fn greet(&mut self) {
        self.answer("echo", json!([]));
    }

    /// Stays until the client hangs up.
    fn stay(&mut self) {
        while self.receive().is_some() {}
    }
}

fn schema() -> Value {
    json!({"name": "db", "version": "1.0.0", "tables": {"T": {"columns": {
        "n": {"type": "integer"},
        "set": {"type": {"key": "string", "min": 0, "max": "unlimited"}},
    }}}})
}

fn soon() -> Timeouts {
    let soon = Duration::from_millis(200);
    Timeouts { connect: Duration::from_secs(20), reply: soon, silence: Duration::from_secs(20) }
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

const ROW: &str = "36bef046-7da7-43a5-905a-c17899216fcb";

fn monitor() -> Monitor {
    Monitor::new("db").table_where("T", &["n", "set"], vec![Condition::new("n", Function::Greater, 0)])
}

#[test]
fn messages_may_come_byte_by_byte_and_several_at_once() {
    for piece in [1, 3, usize::MAX] {
        let fake = Fake::one(move |peer| {
            peer.piece = piece;
            peer.greet();
            peer.answer("get_schema", schema());
            let (id, params) = peer.request("monitor_cond");
            let wanted = json!(["db", "monitor1", {"T": [{"columns": ["n", "set"], "where": [["n", ">", 0]]}]}]);
            assert_eq!(params, wanted);
            let parts = [
                json!({"id": id, "result": {"T": {ROW: {"initial": {"n": 1}}}}, "error": null}),
                json!({"id": null, "method": "update2", "params": ["monitor1", {"T": {ROW: {"modify": {"set": "a"}}}}]}),
                json!({"id": "echo", "method": "echo", "params": ["\u{1f40d}", {"}": "\\\""}]}),
                json!({"id": null, "method": "update2", "params": ["monitor1", {"T": {ROW: {"modify": {"n": 2}}}}]}),
            ];
            peer.write(parts.map(|part| part.to_string()).join("\n").as_bytes());
            match peer.receive() {
                Some(Message::Reply { id, result, error }) => {
                    assert_eq!((id, result, error), (json!("echo"), json!(["\u{1f40d}", {"}": "\\\""}]), Value::Null));
                }
                other => panic!("{other:?}"),
            }
            peer.send(&json!({"id": 9, "method": "unheard of", "params": []}));
            match peer.receive() {
                Some(Message::Reply { id, error, .. }) => {
                    assert_eq!((id, error), (json!(9), json!({"error": "unknown method"})));
                }
                other => panic!("{other:?}"),
            }
            peer.notify("unheard of", json!([]));
            peer.notify("update2", json!(["monitor1", {"T": {ROW: {"delete": null}}}]));
            peer.stay();
        });
        let mut client = fake.connect(Timeouts::default());
        let id = client.monitor(&monitor()).unwrap();
        let mut changes = Vec::new();
        while changes.len() < 3 {
            for event in client.poll(later()).unwrap() {
                match event {
                    Event::Changed(Change { before, after, .. }) => changes.push((before, after)),
                    other => panic!("{other:?}"),
                }
            }
        }
        let row = |n: i64, set: Datum| Some(Row::new().with("n", n).with("set", set));
        assert_eq!(
            changes,
            [
                (row(1, Datum::empty()), row(1, "a".into())),
                (row(1, "a".into()), row(2, "a".into())),
                (row(2, "a".into()), None),
            ]
        );
        assert!(client.replica(id).unwrap().is_empty());
        fake.end(client);
    }
}

#[test]
fn a_server_without_monitor_cond_is_asked_for_monitor() {
    for refusal in [json!("unknown method"), json!({"error": "unknown method", "details": "x"})] {
        let fake = Fake::one(move |peer| {
            peer.greet();
            peer.answer("get_schema", schema());
            peer.refuse("monitor_cond", refusal);
            let other = "46bef046-7da7-43a5-905a-c17899216fcb";
            let rows = json!({"T": {ROW: {"new": {"n": 1, "set": "a"}}, other: {"new": {"n": 0, "set": ["set", []]}}}});
            let params = peer.answer("monitor", rows);
            assert_eq!(params, json!(["db", "monitor1", {"T": [{"columns": ["n", "set"]}]}]));
            let modified = json!({"old": {"set": "a"}, "new": {"n": 1, "set": ["set", ["a", "b"]]}});
            peer.notify("update", json!(["monitor1", {"T": {ROW: modified}}]));
            peer.stay();
        });
        let mut client = fake.connect(Timeouts::default());
        let id = client.monitor(&monitor()).unwrap();
        assert_eq!(client.replica(id).unwrap().len(), 1);
        let events = client.poll(later()).unwrap();
        let Event::Changed(change) = &events[0] else { panic!("{events:?}") };
        assert_eq!(change.after.as_ref().unwrap().get("set"), Some(&Datum::set(["a", "b"])));
        fake.end(client);
    }
}

fn insert() -> Vec<Operation> {
    vec![Operation::insert("T", Row::new())]
}

#[test]
fn a_connection_that_drops_under_a_transaction_leaves_its_outcome_unknown() {
    let fake = Fake::serve(vec![
        Box::new(|peer| {
            peer.greet();
            peer.answer("lock", json!({"locked": true}));
            peer.request("transact");
        }),
        Box::new(|peer| {
            peer.greet();
            peer.answer("lock", json!({"locked": false}));
            let (id, _) = peer.request("transact");
            peer.write(format!("{{\"id\": {id}, \"result\": [").as_bytes());
        }),
        Box::new(|peer| {
            peer.greet();
            peer.answer("lock", json!({"locked": false}));
            peer.notify("locked", json!(["l"]));
            peer.notify("locked", json!(["anothers"]));
            peer.answer("transact", json!([{"uuid": ["uuid", ROW]}]));
            peer.stay();
        }),
    ]);
    let mut client = fake.connect(Timeouts::default());
    assert!(client.lock("l").unwrap());
    let error = client.transact("db", insert()).unwrap_err();
    assert!(matches!(error, OvsdbError::Lost { .. }) && error.outcome_unknown(), "{error}");
    assert!(error.to_string().ends_with("the server closed it; whether transact was done is unknown"), "{error}");
    assert!(!client.holds("l"));
    let again = client.transact("db", insert()).unwrap_err();
    assert!(matches!(again, OvsdbError::Closed { .. }) && !again.outcome_unknown(), "{again}");
    assert!(again.to_string().contains(&error.to_string()), "{again}");
    client.reconnect().unwrap();
    assert_eq!(client.poll(Instant::now()).unwrap(), [Event::LockLost("l".into()), Event::Reconnected]);
    let error = client.transact("db", insert()).unwrap_err();
    assert!(error.to_string().contains("bytes into a message") && error.outcome_unknown(), "{error}");
    client.reconnect().unwrap();
    assert!(!client.holds("l"));
    let done = client.transact("db", insert()).unwrap();
    assert_eq!(done[0].inserted().unwrap().to_string(), ROW);
    assert!(client.holds("l"), "what came before the answer is taken in");
    assert_eq!(client.poll(Instant::now()).unwrap(), [Event::Reconnected, Event::Locked("l".into())]);
    fake.end(client);
}

#[test]
fn what_comes_too_late_is_nobodys_answer() {
    let fake = Fake::serve(vec![
        Box::new(|peer| {
            peer.greet();
            let (late, _) = peer.request("transact");
            // The client has hung up before it asks again.
            assert_eq!(peer.receive(), None);
            let _ = peer.stream.write_all(json!({"id": late, "result": [], "error": null}).to_string().as_bytes());
        }),
        Box::new(|peer| {
            peer.greet();
            peer.answer("list_dbs", json!(["db"]));
            peer.stay();
        }),
    ]);
    // As long as a busy machine may need for the answer that does come.
    let mut client = fake.connect(Timeouts { reply: Duration::from_secs(2), ..soon() });
    let error = client.transact("db", insert()).unwrap_err();
    assert!(matches!(error, OvsdbError::Timeout { .. }) && error.outcome_unknown(), "{error}");
    assert!(!client.is_connected());
    client.reconnect().unwrap();
    assert_eq!(client.list_dbs().unwrap(), ["db"]);
    fake.end(client);
}

#[test]
fn what_makes_no_sense_ends_the_session_and_says_why() {
    let update = |update: Value| json!({"id": null, "method": "update2", "params": ["monitor1", update]});
    let sent: Vec<(String, &str)> = vec![
        ("HTTP/1.1 400 Bad Request\r\n\r\n".into(), "came where a JSON object should begin"),
        ("{\"id\": nonsense}".into(), "no JSON"),
        ("{}".into(), "no JSON-RPC"),
        (json!({"id": 77, "result": 1, "error": null}).to_string(), "a request 77 that was never made"),
        (update(json!({"T": {ROW: {"modify": {"n": 7}}}})).to_string(), "update2 makes no sense"),
        (update(json!({"U": {}})).to_string(), "a table that is monitored"),
        (update(json!(7)).to_string(), "an object"),
        (json!({"id": null, "method": "update2", "params": ["monitor7", {}]}).to_string(), "never set up"),
        (json!({"id": null, "method": "update", "params": ["monitor1", {}]}).to_string(), "never set up"),
        (json!({"id": null, "method": "locked", "params": [7]}).to_string(), "locked came with [7]"),
    ];
    for (bytes, says) in sent {
        let bytes = bytes.clone();
        let fake = Fake::one(move |peer| {
            peer.greet();
            peer.answer("get_schema", schema());
            peer.answer("monitor_cond", json!({}));
            peer.write(bytes.as_bytes());
            peer.stay();
        });
        let mut client = fake.connect(Timeouts::default());
        client.monitor(&monitor()).unwrap();
        let error = client.poll(later()).unwrap_err();
        assert!(matches!(error, OvsdbError::Garbage { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(!error.outcome_unknown() && error.is_disconnected() && !client.is_connected());
        fake.end(client);
    }
}

#[test]
fn an_answer_that_is_none_is_told_as_such() {
    for (answer, says) in [
        (json!({}), "an array"),
        (json!([]), "an array of 1 outcomes"),
        (json!([{}]), "an outcome with \"uuid\""),
        (json!([{"uuid": 7}]), "a UUID"),
        (json!([null]), "an object"),
    ] {
        let answered = answer.clone();
        let fake = Fake::one(move |peer| {
            peer.greet();
            peer.answer("transact", answered);
            peer.stay();
        });
        let mut client = fake.connect(Timeouts::default());
        let error = client.transact("db", insert()).unwrap_err();
        assert!(matches!(error, OvsdbError::Garbage { .. }) && error.outcome_unknown(), "{answer}: {error}");
        assert!(error.to_string().contains(says), "{answer}: {error}");
        fake.end(client);
    }
}

#[test]
fn a_server_that_wants_to_be_read_first_is() {
    let row = "x".repeat(1000);
    let fake = Fake::one(move |peer| {
        peer.greet();
        peer.answer("get_schema", schema());
        peer.answer("monitor_cond", json!({"T": {ROW: {"initial": {}}}}));
        // Neither side's socket holds what the two have to say, and this one speaks before it listens.
        for n in 1..=3000 {
            peer.notify("update2", json!(["monitor1", {"T": {ROW: {"modify": {"n": n, "set": row}}}}]));
        }
        peer.answer("transact", json!([{"uuid": ["uuid", ROW]}]));
        peer.stay();
    });
    let mut client = fake.connect(Timeouts { reply: Duration::from_secs(60), ..Timeouts::default() });
    let id = client.monitor(&monitor()).unwrap();
    let large = Operation::insert("T", Row::new().with("set", "y".repeat(4_000_000).as_str()));
    client.transact("db", vec![large]).unwrap();
    let replica = client.replica(id).unwrap();
    assert_eq!(replica.table("T").next().unwrap().1.integer("n"), Some(3000));
    assert_eq!(client.poll(Instant::now()).unwrap().len(), 3000);
    fake.end(client);
}

#[test]
fn a_server_that_falls_silent_is_lost_and_one_that_answers_is_not() {
    let fake = Fake::one(|peer| {
        peer.greet();
        for _ in 0..3 {
            let (id, _) = peer.request("echo");
            assert_eq!(id, json!("probe"));
            peer.send(&json!({"id": id, "result": [], "error": null}));
        }
        peer.request("echo");
        peer.stay();
    });
    let mut client = fake.connect(Timeouts { silence: Duration::from_millis(500), ..Timeouts::default() });
    let error = client.poll(later()).unwrap_err();
    assert!(error.to_string().ends_with("the server does not answer any more"), "{error}");
    fake.end(client);
}

#[test]
fn changes_that_nobody_asks_for_do_not_pile_up() {
    let fake = Fake::one(|peer| {
        peer.greet();
        peer.answer("get_schema", schema());
        peer.answer("monitor_cond", json!({"T": {ROW: {"initial": {}}}}));
        let told: Vec<String> = (1..=70_000)
            .map(|n| json!({"id": null, "method": "update2", "params": ["monitor1", {"T": {ROW: {"modify": {"n": n}}}}]}))
            .map(|message| message.to_string())
            .collect();
        peer.write(told.concat().as_bytes());
        peer.answer("list_dbs", json!([]));
        peer.stay();
    });
    let mut client = fake.connect(Timeouts { reply: Duration::from_secs(60), ..Timeouts::default() });
    let id = client.monitor(&monitor()).unwrap();
    client.list_dbs().unwrap();
    let events = client.poll(Instant::now()).unwrap();
    assert_eq!(events.len(), 65_537);
    assert_eq!(events.last(), Some(&Event::ChangesDropped(70_000 - 65_536)));
    assert_eq!(client.replica(id).unwrap().table("T").next().unwrap().1.integer("n"), Some(70_000));
    fake.end(client);
}

/// Any JSON, not too deep, with the words of the protocol in it.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec!["set", "map", "uuid", "named-uuid", "T", "n", ROW, "monitor1", "l", "error"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let names = prop_oneof![
            prop::sample::select(vec!["T", ROW, "modify", "insert", "delete", "initial", "old", "new", "n", "set"])
                .prop_map(str::to_owned),
            any::<String>(),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_server_says_nobody_panics(
        schema_said in prop_oneof![3 => Just(schema()), 1 => any_json()],
        initial in prop_oneof![Just(json!({"T": {ROW: {"initial": {"n": 1}}}})), any_json()],
        said in prop::collection::vec(
            (prop::sample::select(vec!["update2", "update", "locked", "stolen", "monitor_canceled", "echo", "x"]),
             any_json(), any::<bool>()),
            0..6,
        ),
        outcome in any_json(),
        rest in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let fake = Fake::one(move |peer| {
            let mut speak = |message: Value| peer.stream.write_all(message.to_string().as_bytes());
            let _ = speak(json!({"id": 1, "result": [], "error": null}));
            let _ = speak(json!({"id": 2, "result": schema_said, "error": null}));
            let _ = speak(json!({"id": 3, "result": initial, "error": null}));
            for (method, params, of_monitor) in said {
                let params = if of_monitor { json!(["monitor1", params]) } else { params };
                let _ = speak(json!({"id": null, "method": method, "params": params}));
            }
            let _ = speak(json!({"id": 4, "result": outcome, "error": null}));
            let _ = peer.stream.write_all(&rest);
            let _ = peer.stream.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut peer.stream, &mut std::io::sink());
        });
        // What is said before it is asked may be refused; it never hangs or panics.
        if let Ok(mut client) = Client::connect(&fake.endpoint, soon()) {
            let _ = client.monitor(&monitor());
            let _ = client.transact("db", insert());
            let _ = client.poll(Instant::now());
            fake.end(client);
        }
    }

    #[test]
    fn any_json_is_read_as_data_schema_and_refusal_without_panic(value in any_json()) {
        let _ = Datum::from_json(&value);
        let _ = Row::from_json(&value);
        let _ = Schema::from_json(&value);
        let _ = Refused::of(&value);
        if let Ok(schema) = Schema::from_json(&schema()) {
            for column in schema.tables["T"].columns.values() {
                let _ = column.datum(&value);
            }
        }
    }
}
