//! A real ovsdb-server, and our client beside it: over unix sockets, TCP and TLS, with Open vSwitch's schema and with one
//! that has columns of all types. Debian: openvswitch-switch.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use forebay_adapters::ovsdb::{
    Atom, Change, Client, Condition, Datum, Endpoint, Event, Function, Monitor, MonitorId, Mutation, Mutator,
    Operation, OvsdbError, PeerName, Real, Refusal, Replica, Row, Timeouts, TlsFiles, Uuid,
};

use crate::{PATIENCE, Server, free_port, have, search_path};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const VSWITCH: &str = "Open_vSwitch";
/// Columns of all types.
const KINDS_SCHEMA: &str = r#"{"name": "kinds", "version": "1.2.3", "tables": {"T": {"isRoot": true, "indexes": [["name"]],
    "columns": {
        "name": {"type": "string"},
        "whole": {"type": "integer"},
        "part": {"type": "real"},
        "yes": {"type": "boolean"},
        "optional": {"type": {"key": {"type": "integer", "minInteger": 0, "maxInteger": 99}, "min": 0}},
        "parts": {"type": {"key": "real", "min": 0, "max": "unlimited"}},
        "texts": {"type": {"key": "string", "min": 0, "max": "unlimited"}},
        "pair": {"type": {"key": "string", "value": "real", "min": 0}},
        "map": {"type": {"key": "string", "value": "integer", "min": 0, "max": "unlimited"}},
        "peers": {"type": {"key": {"type": "uuid", "refTable": "T", "refType": "weak"}, "min": 0, "max": "unlimited"}}}}}}"#;

/// An ovsdb-server of our own in a folder of its own.
struct Ovsdb {
    folder: tempfile::TempDir,
    remotes: Vec<String>,
    server: Option<Server>,
}

impl Ovsdb {
    /// One that listens at a unix socket, and at `remotes`.
    fn start(remotes: &[&str]) -> Ovsdb {
        Ovsdb::start_with(remotes, &[])
    }

    /// The same with files of ours, by the names that they get there.
    fn start_with(remotes: &[&str], files: &[(&str, PathBuf)]) -> Ovsdb {
        let folder = tempfile::Builder::new().prefix("fbovsdb").tempdir().unwrap();
        fs::write(folder.path().join("kinds.ovsschema"), KINDS_SCHEMA).unwrap();
        for (name, from) in files {
            fs::copy(from, folder.path().join(name)).unwrap();
        }
        let remotes = remotes.iter().map(|&remote| remote.to_owned()).collect();
        let mut ovsdb = Ovsdb { folder, remotes, server: None };
        for (database, schema) in [("vswitch.db", Path::new(SCHEMA)), ("kinds.db", &ovsdb.path("kinds.ovsschema"))] {
            let made = Command::new("ovsdb-tool").arg("create").arg(ovsdb.path(database)).arg(schema).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        ovsdb.run();
        ovsdb
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the server, and waits until it answers.
    fn run(&mut self) {
        let output = File::options().create(true).append(true).open(self.path("output")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "ovsdb-server"]);
        command.args([self.path("vswitch.db"), self.path("kinds.db")]);
        command.arg(format!("--remote=punix:{}", self.path("db.sock").display()));
        command.args(self.remotes.iter().map(|remote| format!("--remote={remote}")));
        if self.remotes.iter().any(|remote| remote.starts_with("pssl:")) {
            for option in ["private-key", "certificate", "ca-cert"] {
                command.arg(format!("--{option}={}", self.path(option).display()));
            }
        }
        command.arg(format!("--unixctl={}", self.path("ctl").display())).arg("--no-chdir");
        command
            .envs(["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"].map(|name| (name, self.folder.path())));
        command.env("PATH", search_path()).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        self.server = Some(Server { child: command.spawn().unwrap() });
        let begun = Instant::now();
        while let Err(error) = Client::connect(&self.unix(), Timeouts::default()) {
            let ended = self.server.as_mut().unwrap().child.try_wait().unwrap();
            if ended.is_some() || begun.elapsed() > PATIENCE {
                panic!("{error}: {}", fs::read_to_string(self.path("output")).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: &str) {
        let id = self.server.as_ref().unwrap().child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    /// As a crash ends it.
    fn kill(&mut self) {
        self.signal("KILL");
        self.server.take().unwrap().child.wait().unwrap();
    }

    fn unix(&self) -> Endpoint {
        Endpoint::Unix(self.path("db.sock"))
    }

    fn client(&self) -> Client {
        Client::connect(&self.unix(), Timeouts::default()).unwrap()
    }
}

fn ours() -> Datum {
    Datum::map([("owner", "forebay")])
}

/// Polls until something is told for which `wanted` holds; all that was told.
fn poll_until(client: &mut Client, mut wanted: impl FnMut(&Event) -> bool) -> Vec<Event> {
    let (mut told, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    while !told.iter().any(&mut wanted) {
        assert!(Instant::now() < deadline, "only {told:?}");
        told.extend(client.poll(Instant::now() + Duration::from_secs(1)).unwrap());
    }
    told
}

fn changes(events: &[Event]) -> Vec<&Change> {
    events.iter().filter_map(|event| if let Event::Changed(change) = event { Some(change) } else { None }).collect()
}

#[test]
#[ignore = "needs openvswitch-switch"]
fn transactions_do_all_or_nothing_and_say_which_operation_failed() {
    if !have(&["ovsdb-server", "ovsdb-tool"]) {
        return;
    }
    let port = free_port();
    let ovsdb = Ovsdb::start(&[&format!("ptcp:{port}:127.0.0.1")]);
    for endpoint in [ovsdb.unix(), format!("tcp:127.0.0.1:{port}").parse().unwrap()] {
        let mut client = Client::connect(&endpoint, Timeouts::default()).unwrap();
        let databases = client.list_dbs().unwrap();
        assert!(databases.contains(&VSWITCH.to_owned()) && databases.contains(&"kinds".to_owned()), "{databases:?}");
        let schema = client.get_schema(VSWITCH).unwrap();
        println!("{endpoint}: {databases:?}, schema {:?}", schema.version);
        assert!(schema.version.is_some());
        assert_eq!(schema.tables["QoS"].columns["queues"].value_table.as_deref(), Some("Queue"));

        let limits = Datum::map([("min-rate", "6000000"), ("max-rate", "10000000")]);
        let done = client
            .transact(
                VSWITCH,
                vec![
                    Operation::insert_named(
                        "Queue",
                        "q1",
                        Row::new().with("other_config", limits).with("external_ids", ours()).with("dscp", 10),
                    ),
                    Operation::insert(
                        "QoS",
                        Row::new()
                            .with("type", "linux-htb")
                            .with("queues", Datum::map([(1, Atom::named("q1"))]))
                            .with("external_ids", ours()),
                    ),
                    Operation::Comment("a queue".into()),
                    Operation::Commit { durable: true },
                ],
            )
            .unwrap();
        let (queue, qos) = (done[0].inserted().unwrap(), done[1].inserted().unwrap());

        let find_queue = || vec![Condition::row(queue)];
        let done = client
            .transact(
                VSWITCH,
                vec![
                    Operation::update("Queue", find_queue(), Row::new().with("dscp", 20)),
                    Operation::mutate(
                        "Queue",
                        find_queue(),
                        vec![
                            Mutation::new("other_config", Mutator::Delete, "min-rate"),
                            Mutation::new("other_config", Mutator::Insert, Datum::map([("min-rate", "4000000")])),
                            Mutation::new("dscp", Mutator::Add, 2),
                        ],
                    ),
                    Operation::select("Queue", vec![Condition::new("dscp", Function::Greater, 21)]),
                    Operation::select_columns("QoS", vec![Condition::row(qos)], &["_uuid", "queues"]),
                ],
            )
            .unwrap();
        assert_eq!((done[0].count(), done[1].count()), (Some(1), Some(1)));
        let row = &done[2].rows()[0];
        assert_eq!((row.integer("dscp"), row.uuid("_uuid")), (Some(22), Some(queue)));
        assert_eq!(row.get("other_config").unwrap().text_of("min-rate"), Some("4000000"));
        assert_eq!(done[3].rows(), [Row::new().with("_uuid", qos).with("queues", Datum::map([(1, queue)]))]);

        // Guarded by what was seen: once as it is, once as it was.
        let guarded = |dscp: i64| {
            vec![
                Operation::expect("Queue", find_queue(), &["dscp"], vec![Row::new().with("dscp", dscp)]),
                Operation::update("Queue", find_queue(), Row::new().with("dscp", Datum::empty())),
            ]
        };
        client.transact(VSWITCH, guarded(22)).unwrap();
        let error = client.transact(VSWITCH, guarded(22)).unwrap_err();
        assert_eq!(error.refusal(), Some(&Refusal::TimedOut), "{error}");
        assert!(error.to_string().contains("operation 1 of 2, wait in table Queue"), "{error}");
        assert!(error.to_string().contains("\"where\" clause test failed"), "{error}");

        let refused: [(&str, Vec<Operation>, Refusal, Option<usize>); 6] = [
            (
                VSWITCH,
                vec![
                    Operation::update("Queue", find_queue(), Row::new().with("external_ids", Datum::map([("a", "b")]))),
                    Operation::update("Queue", find_queue(), Row::new().with("dscp", 64)),
                ],
                Refusal::ConstraintViolation,
                Some(2),
            ),
            (
                VSWITCH,
                vec![Operation::update(
                    "QoS",
                    vec![Condition::row(qos)],
                    Row::new().with("queues", Datum::map([(1, Uuid::from_u128(7))])),
                )],
                Refusal::ReferentialIntegrityViolation,
                None,
            ),
            (VSWITCH, vec![Operation::insert("Nothing", Row::new())], Refusal::Syntax, Some(1)),
            (VSWITCH, vec![Operation::Comment("x".into()), Operation::Abort], Refusal::Aborted, Some(2)),
            (VSWITCH, vec![Operation::Assert("nobodys".into())], Refusal::NotOwner, Some(1)),
            (
                "kinds",
                vec![
                    Operation::insert("T", Row::new().with("name", "twin")),
                    Operation::insert("T", Row::new().with("name", "twin")),
                ],
                Refusal::ConstraintViolation,
                None,
            ),
        ];
        for (database, operations, refusal, failed) in refused {
            let error = client.transact(database, operations).unwrap_err();
            println!("{error}\n  hint: {}", error.hint());
            assert_eq!(error.refusal(), Some(&refusal), "{error}");
            match (&error, failed) {
                (OvsdbError::Operation { number, .. }, Some(failed)) => assert_eq!(*number, failed),
                (OvsdbError::Commit { .. }, None) => {}
                other => panic!("{other:?}"),
            }
            assert!(!error.outcome_unknown() && !error.is_disconnected());
        }
        let error = client.transact("nothing", vec![]).unwrap_err();
        assert!(matches!(error, OvsdbError::Rejected { .. }), "{error}");
        assert_eq!(client.get_schema("nothing").unwrap_err().refusal(), Some(&Refusal::UnknownDatabase));

        let mine = || vec![Condition::includes("external_ids", ours())];
        let done = client
            .transact(VSWITCH, vec![Operation::delete("QoS", mine()), Operation::select("Queue", mine())])
            .unwrap();
        assert_eq!(done[0].count(), Some(1));
        // Nothing of the refused transactions was done, and an orphan stays: Queue is a root table.
        assert_eq!(done[1].rows().len(), 1);
        client.transact(VSWITCH, vec![Operation::delete("Queue", mine())]).unwrap();
    }
}

#[test]
#[ignore = "needs openvswitch-switch"]
fn a_lock_goes_to_the_next_when_its_owner_dies() {
    if !have(&["ovsdb-server", "ovsdb-tool"]) {
        return;
    }
    let ovsdb = Ovsdb::start(&[]);
    let (mut first, mut second) = (ovsdb.client(), ovsdb.client());
    assert!(first.lock("forebay").unwrap() && first.holds("forebay"));
    assert!(!second.lock("forebay").unwrap() && !second.holds("forebay"));
    assert!(!second.lock("forebay").unwrap(), "asking again changes nothing");
    let guarded = || vec![Operation::Assert("forebay".into()), Operation::insert("T", Row::new())];
    let error = second.transact("kinds", guarded()).unwrap_err();
    assert_eq!(error.refusal(), Some(&Refusal::NotOwner), "{error}");
    first.transact("kinds", guarded()).unwrap();
    drop(first);
    let told = poll_until(&mut second, |event| matches!(event, Event::Locked(_)));
    assert_eq!(told, [Event::Locked("forebay".into())]);
    assert!(second.holds("forebay"));
    second.transact("kinds", vec![guarded().remove(0)]).unwrap();

    let mut thief = ovsdb.client();
    assert!(!thief.lock("forebay").unwrap());
    thief.steal("forebay").unwrap();
    assert!(thief.holds("forebay"));
    poll_until(&mut second, |event| *event == Event::Stolen("forebay".into()));
    assert!(!second.holds("forebay"));
    assert_eq!(second.transact("kinds", guarded()).unwrap_err().refusal(), Some(&Refusal::NotOwner));
    thief.unlock("forebay").unwrap();
    assert!(!thief.holds("forebay"));
    poll_until(&mut second, |event| *event == Event::Locked("forebay".into()));
    assert!(second.holds("forebay"));
    let error = second.lock("no name").unwrap_err();
    assert!(matches!(error, OvsdbError::Rejected { .. }), "{error}");
    second.unlock("forebay").unwrap();
    assert!(thief.lock("forebay").unwrap());
}

/// The rows that a replica of table T has to show, as a select tells them.
fn selected(client: &mut Client, filter: Vec<Condition>) -> BTreeMap<Uuid, Row> {
    let schema = client.get_schema("kinds").unwrap();
    let table = &schema.tables["T"];
    let done = client.transact("kinds", vec![Operation::select("T", filter)]).unwrap();
    let typed = |row: &Row| {
        let columns = row.iter().filter(|(name, _)| !name.starts_with('_'));
        columns.map(|(name, datum)| (name.to_owned(), table.columns[name].datum(&datum.to_json()).unwrap())).collect()
    };
    done[0].rows().iter().map(|row| (row.uuid("_uuid").unwrap(), typed(row))).collect()
}

fn shown(replica: &Replica) -> BTreeMap<Uuid, Row> {
    replica.table("T").map(|(uuid, row)| (uuid, row.clone())).collect()
}

/// Some change of some row, by number.
fn some_change(number: u64, rows: &[Uuid]) -> Operation {
    let row = || vec![Condition::row(rows[(number / 7) as usize % rows.len()])];
    let real = |of: u64| Atom::from(Real::new(of as f64 / 2.0).unwrap());
    let text = |of: u64| format!("t{}", of % 5);
    let n = number / 3;
    match number % 14 {
        0 => Operation::update("T", row(), Row::new().with("optional", (n % 100) as i64)),
        1 => Operation::update("T", row(), Row::new().with("optional", Datum::empty())),
        2 => Operation::update("T", row(), Row::new().with("part", real(n))),
        3 => Operation::update("T", row(), Row::new().with("yes", n.is_multiple_of(2)).with("whole", n as i64)),
        4 => Operation::update("T", row(), Row::new().with("parts", Datum::set([real(n), real(n + 1), real(n * 7)]))),
        5 => Operation::mutate("T", row(), vec![Mutation::new("parts", Mutator::Add, real(1))]),
        6 => Operation::mutate("T", row(), vec![Mutation::new("texts", Mutator::Insert, text(n))]),
        7 => Operation::mutate("T", row(), vec![Mutation::new("texts", Mutator::Delete, text(n))]),
        8 => Operation::update("T", row(), Row::new().with("pair", Datum::map([(text(n), real(n))]))),
        9 => Operation::update("T", row(), Row::new().with("pair", Datum::Map(BTreeMap::new()))),
        10 => Operation::mutate(
            "T",
            row(),
            vec![Mutation::new("map", Mutator::Insert, Datum::map([(text(n), n as i64)]))],
        ),
        11 => {
            Operation::update("T", row(), Row::new().with("map", Datum::map([(text(n), n as i64), (text(n + 1), 3)])))
        }
        12 => Operation::mutate(
            "T",
            row(),
            vec![Mutation::new("map", Mutator::Delete, Datum::set([text(n), text(n + 2)]))],
        ),
        _ => {
            Operation::mutate("T", row(), vec![Mutation::new("peers", Mutator::Insert, rows[n as usize % rows.len()])])
        }
    }
}

#[test]
#[ignore = "needs openvswitch-switch"]
fn a_replica_is_what_the_server_has() {
    if !have(&["ovsdb-server", "ovsdb-tool"]) {
        return;
    }
    let ovsdb = Ovsdb::start(&[]);
    let (mut writer, mut reader) = (ovsdb.client(), ovsdb.client());
    let inserts = (0..6).map(|n| Operation::insert("T", Row::new().with("name", format!("row{n}").as_str())));
    let rows: Vec<Uuid> = writer
        .transact("kinds", inserts.collect())
        .unwrap()
        .iter()
        .map(|outcome| outcome.inserted().unwrap())
        .collect();
    let columns: Vec<String> = reader.get_schema("kinds").unwrap().tables["T"].columns.keys().cloned().collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let filter = || vec![Condition::new("whole", Function::GreaterOrEqual, 40)];
    let all = reader.monitor(&Monitor::new("kinds").table("T", &columns)).unwrap();
    let some = reader.monitor(&Monitor::new("kinds").table_where("T", &columns, filter())).unwrap();
    let own = writer.monitor(&Monitor::new("kinds").table("T", &columns)).unwrap();
    assert_eq!(shown(reader.replica(all).unwrap()).len(), 6);
    assert_eq!(shown(reader.replica(some).unwrap()).len(), 0);
    let mut followed: BTreeMap<MonitorId, BTreeMap<Uuid, Row>> =
        [all, some].map(|id| (id, shown(reader.replica(id).unwrap()))).into();
    let mut told = 0;
    // Numbers far apart, so that each kind of change meets each row.
    for number in (0..400_u64).map(|n| n * 11 % 4001) {
        writer.transact("kinds", vec![some_change(number, &rows)]).unwrap();
        let (everything, part) = (selected(&mut writer, vec![]), selected(&mut writer, filter()));
        assert_eq!(
            shown(writer.replica(own).unwrap()),
            everything,
            "what a transaction changed is there when it returns"
        );
        // What was told before the answer to a request is taken in with it.
        reader.list_dbs().unwrap();
        assert_eq!(shown(reader.replica(all).unwrap()), everything, "{number}");
        assert_eq!(shown(reader.replica(some).unwrap()), part, "{number}");
        for change in changes(&reader.poll(Instant::now()).unwrap()) {
            let rows = followed.get_mut(&change.monitor).unwrap();
            let before = match &change.after {
                Some(after) => rows.insert(change.row, after.clone()),
                None => rows.remove(&change.row),
            };
            assert_eq!(before, change.before);
            told += 1;
        }
        assert_eq!((&followed[&all], &followed[&some]), (&everything, &part), "{number}");
    }
    println!("{told} changes told");
    assert!(told > 300, "{told}");
    writer.transact("kinds", vec![Operation::delete("T", vec![Condition::row(rows[0])])]).unwrap();
    let told = poll_until(&mut reader, |event| matches!(event, Event::Changed(change) if change.after.is_none()));
    assert!(changes(&told).iter().any(|change| change.row == rows[0]));
    reader.end_monitor(some).unwrap();
    assert!(reader.replica(some).is_none());
    writer.transact("kinds", vec![Operation::delete("T", vec![])]).unwrap();
    poll_until(&mut reader, |event| matches!(event, Event::Changed(change) if change.monitor == all));
    assert!(reader.replica(all).unwrap().is_empty());
    let error = reader.monitor(&Monitor::new("kinds").table("T", &["nothing"])).unwrap_err();
    assert!(matches!(error, OvsdbError::Absent { .. }), "{error}");
    assert!(reader.is_connected());
}

#[test]
#[ignore = "needs openvswitch-switch"]
fn a_server_that_was_killed_is_found_again_with_all_that_changed() {
    if !have(&["ovsdb-server", "ovsdb-tool"]) {
        return;
    }
    let mut ovsdb = Ovsdb::start(&[]);
    let mut client = ovsdb.client();
    let monitor = client
        .monitor(&Monitor::new("kinds").table_where("T", &["name", "texts"], vec![Condition::equal("yes", true)]))
        .unwrap();
    let row = |name: &str| Row::new().with("name", name).with("yes", true);
    client
        .transact(
            "kinds",
            vec![
                Operation::insert("T", row("stays")),
                Operation::insert("T", row("goes")),
                Operation::insert("T", row("changes")),
                Operation::Commit { durable: true },
            ],
        )
        .unwrap();
    assert!(client.lock("forebay").unwrap());
    assert_eq!(client.poll(Instant::now()).unwrap().len(), 3);
    ovsdb.kill();
    let error = client.poll(Instant::now() + PATIENCE).unwrap_err();
    println!("{error}\n  hint: {}", error.hint());
    assert!(matches!(error, OvsdbError::Lost { .. }) && error.is_disconnected() && !error.outcome_unknown(), "{error}");
    assert!(!client.is_connected() && !client.holds("forebay"));
    assert!(matches!(client.list_dbs().unwrap_err(), OvsdbError::Closed { .. }));
    let error = client.reconnect().unwrap_err();
    println!("{error}\n  hint: {}", error.hint());
    assert!(matches!(error, OvsdbError::Unreachable { .. }), "{error}");
    assert_eq!(client.replica(monitor).unwrap().len(), 3, "the last that was known");

    ovsdb.run();
    let mut other = ovsdb.client();
    let named = |name: &str| vec![Condition::equal("name", name)];
    other
        .transact(
            "kinds",
            vec![
                Operation::delete("T", named("goes")),
                Operation::update("T", named("changes"), Row::new().with("texts", "new")),
                Operation::insert("T", row("comes")),
                Operation::insert("T", Row::new().with("name", "unseen")),
            ],
        )
        .unwrap();
    client.reconnect().unwrap();
    let told = client.poll(Instant::now()).unwrap();
    let mut changed: Vec<_> = changes(&told)
        .iter()
        .map(|change| {
            let name = change.after.as_ref().or(change.before.as_ref()).and_then(|row| row.text("name"));
            (name.unwrap().to_owned(), change.before.is_some(), change.after.is_some())
        })
        .collect();
    changed.sort();
    let wanted = [("changes", true, true), ("comes", false, true), ("goes", true, false)];
    assert_eq!(changed, wanted.map(|(name, before, after)| (name.to_owned(), before, after)));
    let others: Vec<_> = told.iter().filter(|event| !matches!(event, Event::Changed(_))).collect();
    let lock = || "forebay".to_owned();
    assert_eq!(others, [&Event::LockLost(lock()), &Event::Locked(lock()), &Event::Reconnected]);
    assert!(client.holds("forebay"));
    assert_eq!(client.replica(monitor).unwrap().len(), 3);
    // The monitor goes on.
    other.transact("kinds", vec![Operation::insert("T", row("later"))]).unwrap();
    poll_until(&mut client, |event| matches!(event, Event::Changed(_)));
    assert_eq!(client.replica(monitor).unwrap().len(), 4);
    assert!(!other.lock("forebay").unwrap());
}

#[test]
#[ignore = "needs openvswitch-switch"]
fn a_server_that_does_not_answer_leaves_the_outcome_unknown() {
    if !have(&["ovsdb-server", "ovsdb-tool"]) {
        return;
    }
    let ovsdb = Ovsdb::start(&[]);
    let second = Duration::from_secs(1);
    let timeouts = Timeouts { connect: second, reply: second, silence: second };
    let mut client = Client::connect(&ovsdb.unix(), timeouts).unwrap();
    let insert = || vec![Operation::insert("T", Row::new().with("name", "once"))];
    ovsdb.signal("STOP");
    let error = client.transact("kinds", insert()).unwrap_err();
    println!("{error}\n  hint: {}", error.hint());
    assert!(matches!(error, OvsdbError::Timeout { .. }) && error.outcome_unknown(), "{error}");
    let error = client.transact("kinds", insert()).unwrap_err();
    assert!(matches!(error, OvsdbError::Closed { .. }) && !error.outcome_unknown(), "{error}");
    assert!(matches!(client.reconnect().unwrap_err(), OvsdbError::Timeout { .. }));
    ovsdb.signal("CONT");
    client.reconnect().unwrap();
    // It was done: the server had it all along.
    assert_eq!(selected(&mut client, vec![Condition::equal("name", "once")]).len(), 1);

    // A wait whose time is longer than that of answers.
    let mut waiting = Client::connect(&ovsdb.unix(), timeouts).unwrap();
    let filter = vec![Condition::equal("name", "waited for")];
    let mut wait = Operation::expect("T", filter, &["name"], vec![Row::new().with("name", "waited for")]);
    if let Operation::Wait { timeout, .. } = &mut wait {
        *timeout = Some(Duration::from_secs(30));
    }
    std::thread::scope(|scope| {
        let waited = scope.spawn(move || waiting.transact("kinds", vec![wait]));
        std::thread::sleep(second * 2);
        client.transact("kinds", vec![Operation::insert("T", Row::new().with("name", "waited for"))]).unwrap();
        waited.join().unwrap().unwrap();
    });

    // One that waits at a socket that nobody accepts from: it is found silent.
    let mut quiet = Client::connect(&ovsdb.unix(), timeouts).unwrap();
    ovsdb.signal("STOP");
    let error = quiet.poll(Instant::now() + PATIENCE).unwrap_err();
    println!("{error}");
    assert!(matches!(error, OvsdbError::Lost { .. }) && !error.outcome_unknown(), "{error}");
    ovsdb.signal("CONT");
}

#[test]
#[ignore = "needs openvswitch-switch"]
fn a_client_that_is_polled_outlives_the_probes_of_its_server() {
    if !have(&["ovsdb-server", "ovsdb-tool"]) {
        return;
    }
    let port = free_port();
    let ovsdb = Ovsdb::start(&[&format!("ptcp:{port}:127.0.0.1")]);
    let endpoint = format!("tcp:127.0.0.1:{port}").parse().unwrap();
    let mut client = Client::connect(&endpoint, Timeouts::default()).unwrap();
    // The server probes after five seconds, and hangs up five seconds later.
    assert_eq!(client.poll(Instant::now() + Duration::from_secs(13)).unwrap(), []);
    client.list_dbs().unwrap();
    drop(ovsdb);
    assert!(matches!(client.poll(Instant::now() + PATIENCE).unwrap_err(), OvsdbError::Lost { .. }));
}

/// An authority, and what it certifies, as files.
struct Authority {
    certificate: rcgen::CertificateParams,
    key: rcgen::KeyPair,
}

impl Authority {
    fn new(name: &str, file: &Path) -> Authority {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut certificate = rcgen::CertificateParams::new(Vec::new()).unwrap();
        certificate.distinguished_name.push(rcgen::DnType::CommonName, name);
        certificate.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        fs::write(file, certificate.self_signed(&key).unwrap().pem()).unwrap();
        Authority { certificate, key }
    }

    fn certify(&self, name: &str, certificate: &Path, private_key: &Path) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let issuer = rcgen::Issuer::from_params(&self.certificate, &self.key);
        fs::write(certificate, params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        fs::write(private_key, key.serialize_pem()).unwrap();
    }
}

#[test]
#[ignore = "needs openvswitch-switch"]
fn tls_trusts_whom_it_should_and_nobody_else() {
    if !have(&["ovsdb-server", "ovsdb-tool"]) {
        return;
    }
    let (port, named_port, plain_port) = (free_port(), free_port(), free_port());
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str| files.path().join(name);
    let ours = Authority::new("ours", &file("ca.pem"));
    let other = Authority::new("other", &file("other-ca.pem"));
    ours.certify("127.0.0.1", &file("server.pem"), &file("server-key.pem"));
    ours.certify("db.example.net", &file("named.pem"), &file("named-key.pem"));
    ours.certify("client", &file("client.pem"), &file("client-key.pem"));
    other.certify("client", &file("stranger.pem"), &file("stranger-key.pem"));
    fs::write(file("empty.pem"), "").unwrap();
    fs::write(file("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();

    let serve = |remotes: &[&str], certificate: &str, key: &str| {
        let files = [("private-key", key), ("certificate", certificate), ("ca-cert", "ca.pem")];
        Ovsdb::start_with(remotes, &files.map(|(name, from)| (name, file(from))))
    };
    let remotes = [format!("pssl:{port}:127.0.0.1"), format!("ptcp:{plain_port}:127.0.0.1")];
    let _server = serve(&[&remotes[0], &remotes[1]], "server.pem", "server-key.pem");
    let _named = serve(&[&format!("pssl:{named_port}:127.0.0.1")], "named.pem", "named-key.pem");

    let connect = |port: u16, ca: &str, certificate: &str, key: &str, peer: PeerName| {
        let tls = TlsFiles { peer, ..TlsFiles::new(file(ca), file(certificate), file(key)) };
        let endpoint = Endpoint::parse(&format!("ssl:127.0.0.1:{port}"), Some(tls)).unwrap();
        Client::connect(&endpoint, Timeouts::default())
    };
    let named = |name: &str| PeerName::Named(name.to_owned());
    let ours = ("ca.pem", "client.pem", "client-key.pem");
    for (port, peer) in [(port, PeerName::Host), (named_port, named("db.example.net")), (named_port, PeerName::Anybody)]
    {
        let mut client = connect(port, ours.0, ours.1, ours.2, peer).unwrap();
        assert!(client.list_dbs().unwrap().contains(&VSWITCH.to_owned()));
        // Larger than any buffer between the two, in both directions at once.
        let monitor = client.monitor(&Monitor::new("kinds").table("T", &["name", "texts"])).unwrap();
        let text = "x".repeat(1000);
        let inserts = (0..4000)
            .map(|n| Operation::insert("T", Row::new().with("name", format!("{n}")).with("texts", text.as_str())));
        client.transact("kinds", inserts.collect()).unwrap();
        assert_eq!(client.replica(monitor).unwrap().len(), 4000);
        client.transact("kinds", vec![Operation::delete("T", vec![])]).unwrap();
        assert!(client.replica(monitor).unwrap().is_empty());
        client.reconnect().unwrap();
    }
    let refused = [
        (connect(port, "other-ca.pem", ours.1, ours.2, PeerName::Host), "no authority of the CA file vouches"),
        (connect(port, "other-ca.pem", ours.1, ours.2, PeerName::Anybody), "no authority of the CA file vouches"),
        (connect(named_port, ours.0, ours.1, ours.2, PeerName::Host), "names another host"),
        (connect(port, ours.0, ours.1, ours.2, named("db.example.net")), "names another host"),
        (
            connect(port, ours.0, "stranger.pem", "stranger-key.pem", PeerName::Host),
            "does not know the authority of our",
        ),
        (connect(port, ours.0, ours.1, ours.2, named("no name")), "is no name that a certificate can have"),
        (connect(plain_port, ours.0, ours.1, ours.2, PeerName::Host), "hung up before"),
        (connect(port, "nothing.pem", ours.1, ours.2, PeerName::Host), "cannot be read"),
        (connect(port, "empty.pem", ours.1, ours.2, PeerName::Host), "no certificate is in it"),
        (connect(port, "broken.pem", ours.1, ours.2, PeerName::Host), "not a certificate that can be used"),
        (connect(port, ours.2, ours.1, ours.2, PeerName::Host), "no certificate is in it"),
        (connect(port, ours.0, ours.1, ours.1, PeerName::Host), "no private key is in it"),
        (connect(port, ours.0, ours.1, "stranger-key.pem", PeerName::Host), "not the key of the certificate"),
    ];
    for (number, (connected, says)) in refused.into_iter().enumerate() {
        let error = connected.err().unwrap_or_else(|| panic!("{number} is trusted"));
        println!("{error}\n  hint: {}", error.hint());
        assert!(error.to_string().contains(says), "{number}: {error}");
    }
    // Without TLS at a port that wants it.
    let error = Client::connect(&format!("tcp:127.0.0.1:{port}").parse().unwrap(), Timeouts::default()).unwrap_err();
    println!("{error}\n  hint: {}", error.hint());
    assert!(error.is_disconnected() && error.to_string().contains("want TLS (ssl:)"), "{error}");
}

#[test]
#[ignore = "needs openvswitch-switch"]
fn what_is_not_there_cannot_be_reached() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    for (endpoint, says) in [
        (Endpoint::Unix(socket.clone()), format!("unix:{}: cannot be reached: No such file", socket.display())),
        (Endpoint::Tcp { host: "127.0.0.1".into(), port: free_port() }, "Connection refused".to_owned()),
        (Endpoint::Unix("x".repeat(200).into()), "cannot be reached".to_owned()),
    ] {
        let error = Client::connect(&endpoint, Timeouts::default()).unwrap_err();
        println!("{error}\n  hint: {}", error.hint());
        assert!(error.to_string().contains(&says), "{error}");
    }
}
