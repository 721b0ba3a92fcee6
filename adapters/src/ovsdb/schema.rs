//! Schemas: what tables and columns a database has, and of what type (RFC 7047 section 3.2). What a client needs of
//! them to read data rightly; constraints other than type and number stay the server's business.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use super::atom::{Atom, Real};
use super::datum::Datum;
use super::notation::{NotationError, array, object, string};

/// A database's schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The database.
    pub name: String,
    /// The schema's version, three numbers; not every server says it.
    pub version: Option<String>,
    /// The tables by name.
    pub tables: BTreeMap<String, TableSchema>,
}

/// A table's schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// The columns by name, without `_uuid` and `_version`, which every table has.
    pub columns: BTreeMap<String, ColumnType>,
    /// Rows stay without being referred to.
    pub is_root: bool,
    /// Rows at most.
    pub rows_max: Option<u64>,
    /// Sets of columns whose values no two rows share.
    pub indexes: Vec<Vec<String>>,
}

/// What may stand in a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnType {
    /// The type of values, of keys in a map.
    pub key: AtomType,
    /// The type of values in a map.
    pub value: Option<AtomType>,
    /// Values or pairs at least: 0 or 1.
    pub min: u64,
    /// Values or pairs at most; `None` where any number is allowed.
    pub max: Option<u64>,
    /// Whether it may change after the row was inserted.
    pub mutable: bool,
    /// The table that keys refer to.
    pub key_table: Option<String>,
    /// The table that values of a map refer to.
    pub value_table: Option<String>,
}

/// The type of a single value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AtomType {
    /// Whole numbers of 64 bits.
    Integer,
    /// Numbers.
    Real,
    /// True or false.
    Boolean,
    /// Text.
    String,
    /// Rows.
    Uuid,
}

impl Schema {
    /// Reads the notation of RFC 7047.
    ///
    /// # Errors
    /// [`NotationError`] for anything but a schema.
    pub fn from_json(value: &Value) -> Result<Schema, NotationError> {
        let schema = object(value, "a database schema")?;
        let name = schema.get("name").ok_or_else(|| NotationError::new(value, "a schema with \"name\""))?;
        let version = schema.get("version").map(|version| string(version, "a version")).transpose()?;
        let tables = schema.get("tables").ok_or_else(|| NotationError::new(value, "a schema with \"tables\""))?;
        let mut read = BTreeMap::new();
        for (table, value) in object(tables, "tables by name")? {
            read.insert(table.clone(), TableSchema::from_json(value).map_err(|error| error.within(table))?);
        }
        Ok(Schema { name: string(name, "a name")?.to_owned(), version: version.map(str::to_owned), tables: read })
    }
}

impl TableSchema {
    fn from_json(value: &Value) -> Result<TableSchema, NotationError> {
        let table = object(value, "a table schema")?;
        let mut columns = BTreeMap::new();
        let listed = table.get("columns").ok_or_else(|| NotationError::new(value, "a table with \"columns\""))?;
        for (column, value) in object(listed, "columns by name")? {
            columns.insert(column.clone(), ColumnType::from_json(value).map_err(|error| error.within(column))?);
        }
        let mut indexes = Vec::new();
        for index in table.get("indexes").map_or(Ok(&[][..]), |value| array(value, "indexes"))? {
            let names = array(index, "the columns of an index")?.iter();
            indexes.push(names.map(|name| string(name, "a column").map(str::to_owned)).collect::<Result<_, _>>()?);
        }
        let is_root = table.get("isRoot").and_then(Value::as_bool).unwrap_or(false);
        Ok(TableSchema { columns, is_root, rows_max: table.get("maxRows").and_then(Value::as_u64), indexes })
    }

    /// The type of a column, of `_uuid` and `_version`, too.
    pub fn column(&self, name: &str) -> Option<&ColumnType> {
        static IDENTITY: ColumnType = ColumnType {
            key: AtomType::Uuid,
            value: None,
            min: 1,
            max: Some(1),
            mutable: false,
            key_table: None,
            value_table: None,
        };
        match name {
            "_uuid" | "_version" => Some(&IDENTITY),
            _ => self.columns.get(name),
        }
    }
}

impl ColumnType {
    fn from_json(value: &Value) -> Result<ColumnType, NotationError> {
        let column = object(value, "a column schema")?;
        let mutable = column.get("mutable").and_then(Value::as_bool).unwrap_or(true);
        let given = column.get("type").ok_or_else(|| NotationError::new(value, "a column with \"type\""))?;
        let Value::Object(parts) = given else {
            let (key, key_table) = base_type(given)?;
            return Ok(ColumnType { key, value: None, min: 1, max: Some(1), mutable, key_table, value_table: None });
        };
        let (key, key_table) =
            base_type(parts.get("key").ok_or_else(|| NotationError::new(given, "a type with \"key\""))?)?;
        let (value, value_table) = match parts.get("value").map(base_type).transpose()? {
            Some((value, table)) => (Some(value), table),
            None => (None, None),
        };
        let number = |value: &Value| value.as_u64().ok_or_else(|| NotationError::new(value, "a number from 0 up"));
        let min = parts.get("min").map_or(Ok(1), number)?;
        let max = match parts.get("max") {
            None => Some(1),
            Some(Value::String(text)) if text == "unlimited" => None,
            Some(value) => Some(number(value)?),
        };
        if min > 1 || max.is_some_and(|max| max < min || max == 0) {
            return Err(NotationError::new(given, "a type with \"min\" 0 or 1 and \"max\" from 1 and from it up"));
        }
        Ok(ColumnType { key, value, min, max, mutable, key_table, value_table })
    }

    /// Whether it may hold several values or pairs. Of such a column a server tells what differs, of others the whole
    /// (ovsdb-server(7), section 4.1.14).
    pub fn is_composite(&self) -> bool {
        self.max != Some(1)
    }

    /// What stands there when nothing was put there (RFC 7047 section 5.2.1).
    pub fn default_datum(&self) -> Datum {
        match (self.min, self.value) {
            (0, None) => Datum::empty(),
            (0, Some(_)) => Datum::Map(BTreeMap::new()),
            (_, None) => Datum::Set(BTreeSet::from([self.key.default_atom()])),
            (_, Some(value)) => Datum::Map(BTreeMap::from([(self.key.default_atom(), value.default_atom())])),
        }
    }

    /// Reads what a server says of such a column: numbers become real where the column's are, and what is of another
    /// type, or too many, is refused. A number of values below the least is not: monitors tell differences.
    ///
    /// # Errors
    /// [`NotationError`]
    pub fn datum(&self, json: &Value) -> Result<Datum, NotationError> {
        let refuse = || NotationError::new(json, self.described());
        let datum = match (Datum::from_json(json)?, self.value) {
            (Datum::Set(values), None) => Datum::Set(
                values.into_iter().map(|atom| self.key.typed(atom)).collect::<Option<_>>().ok_or_else(refuse)?,
            ),
            (Datum::Map(pairs), Some(value)) => {
                let pairs = pairs.into_iter().map(|(key, of)| Some((self.key.typed(key)?, value.typed(of)?)));
                Datum::Map(pairs.collect::<Option<_>>().ok_or_else(refuse)?)
            }
            _ => return Err(refuse()),
        };
        match self.max {
            Some(1) if datum.len() > 1 => Err(refuse()),
            _ => Ok(datum),
        }
    }

    fn described(&self) -> String {
        let name = |atom: AtomType| format!("{atom:?}").to_lowercase();
        match (self.value, self.max) {
            (Some(value), _) => format!("a map of {} to {}", name(self.key), name(value)),
            (None, Some(1)) if self.min == 1 => format!("one {}", name(self.key)),
            (None, Some(1)) => format!("at most one {}", name(self.key)),
            (None, _) => format!("a set of {}", name(self.key)),
        }
    }
}

impl AtomType {
    fn default_atom(self) -> Atom {
        match self {
            AtomType::Integer => Atom::Integer(0),
            AtomType::Real => Atom::Real(Real::ZERO),
            AtomType::Boolean => Atom::Boolean(false),
            AtomType::String => Atom::String(String::new()),
            AtomType::Uuid => Atom::Uuid(Uuid::nil()),
        }
    }

    /// The same value as one of this type.
    fn typed(self, atom: Atom) -> Option<Atom> {
        match (self, atom) {
            (AtomType::Real, Atom::Integer(value)) => Real::new(value as f64).map(Atom::Real),
            (AtomType::Integer, atom @ Atom::Integer(_))
            | (AtomType::Real, atom @ Atom::Real(_))
            | (AtomType::Boolean, atom @ Atom::Boolean(_))
            | (AtomType::String, atom @ Atom::String(_))
            | (AtomType::Uuid, atom @ Atom::Uuid(_)) => Some(atom),
            _ => None,
        }
    }
}

/// A base type, and the table that its values refer to.
fn base_type(value: &Value) -> Result<(AtomType, Option<String>), NotationError> {
    let (name, table) = match value {
        Value::Object(parts) => (parts.get("type").unwrap_or(&Value::Null), parts.get("refTable")),
        name => (name, None),
    };
    let atom = match name.as_str() {
        Some("integer") => AtomType::Integer,
        Some("real") => AtomType::Real,
        Some("boolean") => AtomType::Boolean,
        Some("string") => AtomType::String,
        Some("uuid") => AtomType::Uuid,
        _ => return Err(NotationError::new(value, "integer, real, boolean, string or uuid")),
    };
    Ok((atom, table.map(|table| string(table, "a table")).transpose()?.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn column(of: Value) -> ColumnType {
        ColumnType::from_json(&json!({ "type": of })).unwrap()
    }

    #[test]
    fn types_of_columns() {
        let optional = column(json!({"key": {"type": "integer", "minInteger": 0}, "min": 0}));
        assert!(!optional.is_composite());
        assert_eq!(optional.default_datum(), Datum::empty());
        assert_eq!(optional.datum(&json!(["set", []])), Ok(Datum::empty()));
        assert_eq!(optional.datum(&json!(3)), Ok(Datum::from(3)));
        assert!(optional.datum(&json!(["set", [1, 2]])).is_err());
        assert!(optional.datum(&json!("3")).is_err());
        let map = column(
            json!({"key": "string", "value": {"type": "uuid", "refTable": "Queue"}, "min": 0, "max": "unlimited"}),
        );
        assert!(map.is_composite());
        assert_eq!((map.value_table.as_deref(), map.key_table), (Some("Queue"), None));
        assert_eq!(column(json!("string")).default_datum(), Datum::from(""));
        // Servers write real numbers without a fraction as integers.
        let real = column(json!("real"));
        assert_eq!(real.datum(&json!(2)), Ok(Datum::from(Real::new(2.0).unwrap())));
        assert_eq!(real.datum(&json!(2)), real.datum(&json!(2.0)));
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for wrong in [
            json!(1),
            json!({"name": "x"}),
            json!({"name": 1, "tables": {}}),
            json!({"name": "x", "tables": {"T": {}}}),
            json!({"name": "x", "tables": {"T": {"columns": {"c": {"type": "text"}}}}}),
            json!({"name": "x", "tables": {"T": {"columns": {"c": {"type": {"key": "string", "min": 2}}}}}}),
            json!({"name": "x", "tables": {"T": {"columns": {"c": {"type": {"key": "string", "max": 0, "min": 0}}}}}}),
        ] {
            assert!(Schema::from_json(&wrong).is_err(), "{wrong}");
        }
        let error = Schema::from_json(&json!({"name": "x", "tables": {"T": {"columns": {"c": {"type": "text"}}}}}));
        assert_eq!(
            error.unwrap_err().to_string(),
            "T: c: \"text\" stands where integer, real, boolean, string or uuid should"
        );
    }
}
