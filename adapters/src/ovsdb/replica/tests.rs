use std::collections::BTreeMap;

use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ovsdb::Function;

fn schema() -> Schema {
    let strings = json!({"key": "string", "value": "string", "min": 0, "max": "unlimited"});
    Schema::from_json(&json!({"name": "db", "version": "1.0.0", "tables": {"T": {"columns": {
        "name": {"type": "string"},
        "n": {"type": "integer"},
        "real": {"type": "real"},
        "optional": {"type": {"key": "integer", "min": 0}},
        "set": {"type": {"key": "integer", "min": 0, "max": "unlimited"}},
        "pair": {"type": {"key": "string", "value": "integer", "min": 0}},
        "map": {"type": strings},
    }}}}))
    .unwrap()
}

fn monitored(filter: Vec<Condition>, plain: bool) -> Monitored {
    let tables = BTreeMap::from([("T".to_owned(), TableMonitor { columns: None, filter })]);
    Monitored::new(MonitorId(1), &Monitor { database: "db".into(), tables }, &schema(), plain).unwrap()
}

fn take(monitored: &mut Monitored, updates: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    monitored.take(updates, &mut changes).unwrap();
    changes
}

const ROW: &str = "36bef046-7da7-43a5-905a-c17899216fcb";

fn update(kind: &str, row: Value) -> Value {
    json!({"T": {ROW: {kind: row}}})
}

fn row() -> Uuid {
    ROW.parse().unwrap()
}

#[test]
fn a_replica_follows_update2() {
    let mut monitored = monitored(vec![], false);
    let changes = take(&mut monitored, &update("initial", json!({"name": "a", "real": 2, "set": ["set", [1, 2]]})));
    let whole = Row::new()
        .with("name", "a")
        .with("n", 0)
        .with("real", crate::ovsdb::Real::new(2.0).unwrap())
        .with("optional", Datum::empty())
        .with("set", Datum::set([1, 2]))
        .with("pair", Datum::Map(BTreeMap::new()))
        .with("map", Datum::Map(BTreeMap::new()));
    assert_eq!(changes.len(), 1);
    assert_eq!((&changes[0].before, changes[0].after.as_ref()), (&None, Some(&whole)));
    for (difference, column, datum) in [
        (json!({"set": 3}), "set", Datum::set([1, 2, 3])),
        (json!({"set": ["set", [1, 4]]}), "set", Datum::set([2, 3, 4])),
        (json!({"set": ["set", [2, 3]]}), "set", Datum::from(4)),
        (json!({"set": 4}), "set", Datum::empty()),
        (json!({"optional": 10}), "optional", Datum::from(10)),
        // Of a column of at most one the new value is told, not what differs.
        (json!({"optional": 20}), "optional", Datum::from(20)),
        (json!({"optional": ["set", []]}), "optional", Datum::empty()),
        (json!({"pair": ["map", [["a", 1]]]}), "pair", Datum::map([("a", 1)])),
        (json!({"pair": ["map", [["b", 1]]]}), "pair", Datum::map([("b", 1)])),
        (json!({"pair": ["map", []]}), "pair", Datum::Map(BTreeMap::new())),
        (json!({"map": ["map", [["a", "1"], ["b", "2"]]]}), "map", Datum::map([("a", "1"), ("b", "2")])),
        (json!({"map": ["map", [["a", "1"], ["b", "3"], ["c", "4"]]]}), "map", Datum::map([("b", "3"), ("c", "4")])),
        (json!({"real": 3}), "real", Datum::from(crate::ovsdb::Real::new(3.0).unwrap())),
        (json!({"name": ""}), "name", Datum::from("")),
    ] {
        let changes = take(&mut monitored, &update("modify", difference.clone()));
        assert_eq!(changes.len(), 1, "{difference}");
        assert_eq!(monitored.replica.row("T", row()).unwrap().get(column), Some(&datum), "{difference}");
        assert_eq!(changes[0].after.as_ref(), monitored.replica.row("T", row()));
    }
    let changes = take(&mut monitored, &update("delete", Value::Null));
    assert!(changes[0].after.is_none() && changes[0].before.is_some());
    assert!(monitored.replica.is_empty());
}

#[test]
fn what_cannot_be_true_of_the_replica_is_refused() {
    for wrong in [
        update("modify", json!({"n": 1})),
        update("delete", Value::Null),
        update("other", json!({})),
        json!({"T": {ROW: {}}}),
        json!({"T": {ROW: {"insert": {}, "initial": {}}}}),
        update("insert", json!({"unknown": 1})),
        update("insert", json!({"n": "1"})),
        update("insert", json!({"n": ["set", [1, 2]]})),
        update("insert", json!([])),
        json!({"T": {"x": {"insert": {}}}}),
        json!({"U": {}}),
        json!({"T": []}),
        json!([]),
    ] {
        assert!(monitored(vec![], false).take(&wrong, &mut Vec::new()).is_err(), "{wrong}");
    }
}

#[test]
fn a_server_without_conditions_is_heard_in_full_and_shown_in_part() {
    let filter = vec![Condition::new("n", Function::Greater, 5), Condition::equal("name", "always")];
    let tables =
        BTreeMap::from([("T".to_owned(), TableMonitor { columns: Some(vec!["name".into(), "set".into()]), filter })]);
    let request = Monitor { database: "db".into(), tables };
    let mut monitored = Monitored::new(MonitorId(1), &request, &schema(), true).unwrap();
    assert_eq!(monitored.to_json(), json!({"T": [{"columns": ["n", "name", "set"]}]}));
    let new = |n: i64| json!({"name": "a", "n": n, "set": ["set", []]});
    let told = |old: Option<Value>, new: Option<Value>| {
        let members = [("old", old), ("new", new)].into_iter().filter_map(|(name, row)| Some((name.to_owned(), row?)));
        json!({"T": {ROW: Value::Object(members.collect())}})
    };
    assert_eq!(take(&mut monitored, &told(None, Some(new(5)))), [], "it does not match");
    let shown = Row::new().with("name", "a").with("set", Datum::empty());
    let changes = take(&mut monitored, &told(Some(json!({"n": 5})), Some(new(6))));
    assert_eq!((&changes[0].before, &changes[0].after), (&None, &Some(shown.clone())), "it comes to match");
    assert_eq!(take(&mut monitored, &told(Some(json!({"n": 6})), Some(new(7)))), [], "nothing shown differs");
    let changes = take(&mut monitored, &told(Some(json!({"n": 7})), Some(new(2))));
    assert_eq!((&changes[0].before, &changes[0].after), (&Some(shown), &None), "it ceases to match");
    assert_eq!(take(&mut monitored, &told(Some(new(2)), None)), []);
    for wrong in [json!({"T": {ROW: {}}}), json!({"T": {ROW: {"new": {"n": "x"}}}}), json!({"T": {ROW: {"old": 1}}})] {
        assert!(monitored.take(&wrong, &mut Vec::new()).is_err(), "{wrong}");
    }
}

#[test]
fn a_monitor_of_what_is_not_there_is_refused() {
    let refused = |monitor: Monitor| Monitored::new(MonitorId(1), &monitor, &schema(), false).unwrap_err();
    assert_eq!(refused(Monitor::new("db").table("U", &[])), "table U");
    assert_eq!(refused(Monitor::new("db").table("T", &["x"])), "column x in table T");
    let filter = vec![Condition::equal("y", 1)];
    assert_eq!(refused(Monitor::new("db").table_where("T", &["n"], filter)), "column y in table T");
}

proptest! {
    /// The difference as ovsdb-server(7) defines it, made of both sides, applied to the one gives the other.
    #[test]
    fn a_difference_leads_from_the_old_to_the_new(
        old in btree_map("[a-c]", "[x-z]", 0..4), new in btree_map("[a-c]", "[x-z]", 0..4),
        old_set in btree_set(0_i64..6, 0..6), new_set in btree_set(0_i64..6, 0..6),
    ) {
        let schema = schema();
        let of = |column: &str| schema.tables["T"].column(column).unwrap();
        let mut told: BTreeMap<&String, &String> =
            old.iter().filter(|(key, _)| !new.contains_key(*key)).collect();
        told.extend(new.iter().filter(|(key, value)| old.get(*key) != Some(value)));
        let mut datum = Datum::map(old.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let difference = Datum::map(told.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        apply_difference(&mut datum, difference, of("map"));
        prop_assert_eq!(datum, Datum::map(new.iter().map(|(key, value)| (key.as_str(), value.as_str()))));
        let mut datum = Datum::set(old_set.iter().copied());
        apply_difference(&mut datum, Datum::set(old_set.symmetric_difference(&new_set).copied()), of("set"));
        prop_assert_eq!(datum, Datum::set(new_set.iter().copied()));
    }

    #[test]
    fn replicas_differ_by_their_changes(
        old in btree_map(0_u128..8, 0_i64..3, 0..8), new in btree_map(0_u128..8, 0_i64..3, 0..8),
    ) {
        let replica = |rows: &BTreeMap<u128, i64>| Replica {
            tables: BTreeMap::from([(
                "T".to_owned(),
                rows.iter().map(|(id, n)| (Uuid::from_u128(*id), Row::new().with("n", *n))).collect(),
            )]),
        };
        let (mut changed, new) = (replica(&old), replica(&new));
        for change in new.changes_from(&changed.clone(), MonitorId(1)) {
            let rows = changed.tables.get_mut(&change.table).unwrap();
            let before = match change.after {
                Some(after) => rows.insert(change.row, after),
                None => rows.remove(&change.row),
            };
            prop_assert_eq!(before, change.before);
        }
        prop_assert_eq!(changed, new);
    }
}
