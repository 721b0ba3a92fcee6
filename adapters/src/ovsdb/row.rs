//! Rows: columns by name (RFC 7047 section 5.1, `<row>`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::datum::Datum;
use super::notation::{NotationError, object};

/// Columns of a row, by name; not necessarily all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row(BTreeMap<String, Datum>);

impl Row {
    /// A row without columns.
    pub fn new() -> Row {
        Row::default()
    }

    /// The same row with a column.
    #[must_use]
    pub fn with(mut self, column: impl Into<String>, datum: impl Into<Datum>) -> Row {
        self.insert(column, datum);
        self
    }

    /// Sets a column; what stood there.
    pub fn insert(&mut self, column: impl Into<String>, datum: impl Into<Datum>) -> Option<Datum> {
        self.0.insert(column.into(), datum.into())
    }

    /// A column.
    pub fn get(&self, column: &str) -> Option<&Datum> {
        self.0.get(column)
    }

    pub(super) fn get_mut(&mut self, column: &str) -> Option<&mut Datum> {
        self.0.get_mut(column)
    }

    /// The columns by ascending name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Datum)> {
        self.0.iter().map(|(name, datum)| (name.as_str(), datum))
    }

    /// The names of the columns, ascending.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The text in a column of one text.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.get(column)?.as_str()
    }

    /// The whole number in a column of one.
    pub fn integer(&self, column: &str) -> Option<i64> {
        self.get(column)?.as_integer()
    }

    /// The row that a column of one reference names; with `_uuid`, this row itself, where a select asked for it.
    pub fn uuid(&self, column: &str) -> Option<Uuid> {
        self.get(column)?.as_uuid()
    }

    /// Columns.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no columns.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the notation of RFC 7047.
    ///
    /// # Errors
    /// [`NotationError`] for anything but an object of values.
    pub fn from_json(value: &Value) -> Result<Row, NotationError> {
        let columns = object(value, "a row")?.iter().map(|(name, value)| {
            let datum = Datum::from_json(value).map_err(|error| error.within(name))?;
            Ok((name.clone(), datum))
        });
        columns.collect::<Result<_, _>>().map(Row)
    }

    /// The notation of RFC 7047.
    pub fn to_json(&self) -> Value {
        Value::Object(self.0.iter().map(|(name, datum)| (name.clone(), datum.to_json())).collect::<Map<_, _>>())
    }
}

impl FromIterator<(String, Datum)> for Row {
    fn from_iter<I: IntoIterator<Item = (String, Datum)>>(columns: I) -> Row {
        Row(columns.into_iter().collect())
    }
}
