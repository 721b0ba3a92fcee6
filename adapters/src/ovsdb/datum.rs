//! Data: what stands in one column of one row (RFC 7047 section 5.1, `<value>`), to and from JSON without loss.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};
use uuid::Uuid;

use super::atom::Atom;
use super::notation::{NotationError, array};

/// What stands in a column. A single value and the set of it alone are the same, as they are for every server; the
/// notation of it is the value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Datum {
    /// Values without order, none twice; one of them in most columns.
    Set(BTreeSet<Atom>),
    /// Values by key.
    Map(BTreeMap<Atom, Atom>),
}

impl Datum {
    /// A set of nothing: an optional column that is not set.
    pub fn empty() -> Datum {
        Datum::Set(BTreeSet::new())
    }

    /// A set of values.
    pub fn set<A: Into<Atom>>(values: impl IntoIterator<Item = A>) -> Datum {
        Datum::Set(values.into_iter().map(Into::into).collect())
    }

    /// A map of values by key; the last of those with the same key.
    pub fn map<K: Into<Atom>, V: Into<Atom>>(pairs: impl IntoIterator<Item = (K, V)>) -> Datum {
        Datum::Map(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// The only value, if there is exactly one.
    pub fn only(&self) -> Option<&Atom> {
        match self {
            Datum::Set(values) if values.len() == 1 => values.first(),
            _ => None,
        }
    }

    /// The only value, if it is a whole number.
    pub fn as_integer(&self) -> Option<i64> {
        self.only()?.as_integer()
    }

    /// The only value, if it is a number.
    pub fn as_real(&self) -> Option<f64> {
        self.only()?.as_real()
    }

    /// The only value, if it is a boolean.
    pub fn as_boolean(&self) -> Option<bool> {
        self.only()?.as_boolean()
    }

    /// The only value, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        self.only()?.as_str()
    }

    /// The only value, if it names a row.
    pub fn as_uuid(&self) -> Option<Uuid> {
        self.only()?.as_uuid()
    }

    /// The values of a set.
    pub fn as_set(&self) -> Option<&BTreeSet<Atom>> {
        match self {
            Datum::Set(values) => Some(values),
            Datum::Map(_) => None,
        }
    }

    /// The values of a map.
    pub fn as_map(&self) -> Option<&BTreeMap<Atom, Atom>> {
        match self {
            Datum::Map(pairs) => Some(pairs),
            Datum::Set(_) => None,
        }
    }

    /// The text that a map of texts has for a key, as `external_ids` and `other_config` are.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.as_map()?.get(&Atom::from(key))?.as_str()
    }

    /// Values, or pairs.
    pub fn len(&self) -> usize {
        match self {
            Datum::Set(values) => values.len(),
            Datum::Map(pairs) => pairs.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the notation of RFC 7047.
    ///
    /// # Errors
    /// [`NotationError`] for anything but a value, and for a value or a key that comes twice.
    pub fn from_json(value: &Value) -> Result<Datum, NotationError> {
        match value.as_array().map(Vec::as_slice) {
            Some([Value::String(tag), values]) if tag == "set" => {
                let mut set = BTreeSet::new();
                for value in array(values, "the values of a set")? {
                    if !set.insert(Atom::from_json(value)?) {
                        return Err(NotationError::new(value, "a value that the set does not have already"));
                    }
                }
                Ok(Datum::Set(set))
            }
            Some([Value::String(tag), pairs]) if tag == "map" => {
                let mut map = BTreeMap::new();
                for pair in array(pairs, "the pairs of a map")? {
                    let [key, value] = array(pair, "a pair")? else {
                        return Err(NotationError::new(pair, "a pair of key and value"));
                    };
                    if map.insert(Atom::from_json(key)?, Atom::from_json(value)?).is_some() {
                        return Err(NotationError::new(key, "a key that the map does not have already"));
                    }
                }
                Ok(Datum::Map(map))
            }
            _ => Atom::from_json(value).map(Datum::from),
        }
    }

    /// The notation of RFC 7047.
    pub fn to_json(&self) -> Value {
        match self {
            Datum::Set(values) if values.len() == 1 => {
                values.first().map(Atom::to_json).unwrap_or_else(|| unreachable!("it has one value"))
            }
            Datum::Set(values) => json!(["set", values.iter().map(Atom::to_json).collect::<Vec<_>>()]),
            Datum::Map(pairs) => {
                let pairs: Vec<Value> =
                    pairs.iter().map(|(key, value)| json!([key.to_json(), value.to_json()])).collect();
                json!(["map", pairs])
            }
        }
    }
}

impl<A: Into<Atom>> From<A> for Datum {
    fn from(value: A) -> Datum {
        Datum::Set(BTreeSet::from([value.into()]))
    }
}

impl fmt::Display for Datum {
    /// As `ovs-vsctl` writes it: `[1, 2]`, `{key="value"}`, and a single value by itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parts: Vec<String>, open: &str, close: &str| {
            write!(f, "{open}{}{close}", parts.join(", "))
        };
        match self {
            Datum::Set(values) if values.len() == 1 => values.iter().try_for_each(|value| write!(f, "{value}")),
            Datum::Set(values) => list(f, values.iter().map(Atom::to_string).collect(), "[", "]"),
            Datum::Map(pairs) => list(f, pairs.iter().map(|(key, value)| format!("{key}={value}")).collect(), "{", "}"),
        }
    }
}

#[cfg(test)]
pub(super) mod strategies {
    //! Any data, for properties.

    use proptest::collection::{btree_map, btree_set};
    use proptest::prelude::*;

    use super::*;
    use crate::ovsdb::Real;

    pub(in crate::ovsdb) fn atom() -> impl Strategy<Value = Atom> {
        prop_oneof![
            any::<i64>().prop_map(Atom::Integer),
            any::<f64>().prop_filter_map("finite", Real::new).prop_map(Atom::Real),
            any::<bool>().prop_map(Atom::Boolean),
            any::<String>().prop_map(Atom::String),
            any::<u128>().prop_map(|bits| Atom::Uuid(Uuid::from_u128(bits))),
            any::<String>().prop_map(Atom::Named),
        ]
    }

    pub(in crate::ovsdb) fn datum() -> impl Strategy<Value = Datum> {
        prop_oneof![btree_set(atom(), 0..5).prop_map(Datum::Set), btree_map(atom(), atom(), 0..5).prop_map(Datum::Map),]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ovsdb::Real;

    #[test]
    fn the_notation_of_the_rfc() {
        let real = |value| Atom::Real(Real::new(value).unwrap());
        let uuid = "36bef046-7da7-43a5-905a-c17899216fcb";
        let row = Uuid::try_parse(uuid).unwrap();
        for (notation, datum) in [
            (json!(7), Datum::from(7)),
            (json!(-9_223_372_036_854_775_808_i64), Datum::from(i64::MIN)),
            (json!(7.5), Datum::from(real(7.5))),
            (json!(18_446_744_073_709_551_615_u64), Datum::from(real(18_446_744_073_709_551_615.0))),
            (json!(true), Datum::from(true)),
            (json!("set"), Datum::from("set")),
            (json!(["uuid", uuid]), Datum::from(row)),
            (json!(["named-uuid", "q1"]), Datum::from(Atom::named("q1"))),
            (json!(["set", []]), Datum::empty()),
            (json!(["set", [1, 2]]), Datum::set([2, 1])),
            (json!(["set", [["uuid", uuid], ["named-uuid", "a"]]]), Datum::set([Atom::from(row), Atom::named("a")])),
            (json!(["map", []]), Datum::Map(BTreeMap::new())),
            (json!(["map", [["a", "1"], ["b", "2"]]]), Datum::map([("b", "2"), ("a", "1")])),
            (json!(["map", [[1, ["uuid", uuid]]]]), Datum::map([(1, row)])),
        ] {
            assert_eq!(Datum::from_json(&notation), Ok(datum.clone()), "{notation}");
            assert_eq!(Datum::from_json(&datum.to_json()), Ok(datum), "{notation}");
        }
        // A set of one value is the value.
        assert_eq!(Datum::from_json(&json!(["set", ["a"]])), Ok(Datum::from("a")));
        assert_eq!(Datum::from("a").to_json(), json!("a"));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for wrong in [
            json!(null),
            json!({}),
            json!([]),
            json!(["set"]),
            json!(["set", 1]),
            json!(["set", [1], 2]),
            json!(["set", [1, 1]]),
            json!(["set", [["set", []]]]),
            json!(["map", [1]]),
            json!(["map", [[1]]]),
            json!(["map", [[1, 2], [1, 3]]]),
            json!(["uuid", 1]),
            json!(["uuid", "36bef046"]),
            json!(["uuid", "36bef0467da743a5905ac17899216fcb"]),
            json!(["uuid", "{36bef046-7da7-43a5-905a-c17899216f}"]),
            json!(["other", "x"]),
        ] {
            assert!(Datum::from_json(&wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_datum_comes_back_from_its_notation(datum in strategies::datum()) {
            let text = datum.to_json().to_string();
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(Datum::from_json(&value), Ok(datum));
        }
    }
}
