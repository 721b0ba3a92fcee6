//! `[[feed]]`.

use forebay_world::Duration;
use serde::{Deserialize, Serialize};
use toml::Spanned;

/// `[[feed]]`: a file of events; those within the run become known events of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedSpec {
    /// A calendar (iCalendar) or a table (CSV, or one JSON object a line), beside the scenario unless absolute.
    pub file: Spanned<String>,
    /// Client regions of events that name none; all unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regions: Option<Vec<Spanned<String>>>,
    /// Classes of events that name none; all unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<Spanned<String>>>,
    /// Kind of events that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Spanned<String>>,
    /// How long before its start each event is known; from the start of the run unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_from: Option<Spanned<Duration>>,
    /// IANA time zone of times and days that carry none; UTC unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Spanned<String>>,
}
