//! Unbound's `log-queries` and `log-replies`, with or without `log-tag-queryreply`.
//!
//! ```text
//! [1795371023] unbound[19243:0] info: 127.0.0.1 www.cdn.test. A IN
//! [1795371023] unbound[19243:0] info: 127.0.0.1 www.cdn.test. A IN NOERROR 0.000490 0 62
//! ```
//!
//! A reply (with an rcode) stands for its query in a log that has only replies; in a log that has both, queries are
//! counted. From the first line of a query on, replies are responses.

use memchr::memmem;

use crate::dns_message::NameBuffer;
use crate::line_clock::{LineClock, NoTime};
use crate::line_log::{Asked, LineFormat, NotAsked, Scan, read_address};
use crate::query::Vantage;
use crate::query_report::Skip;
use crate::read_options::ReadOptions;
use crate::record_type::{is_internet, record_type};

/// Reads lines of Unbound's log.
pub(crate) struct Unbound {
    clock: LineClock,
    logs_queries: bool,
    server: memmem::Finder<'static>,
}

impl Unbound {
    /// `logs_queries`: whether the log is known to have lines of queries beside those of replies.
    pub(crate) fn new(options: &ReadOptions, logs_queries: bool) -> Unbound {
        Unbound { clock: LineClock::new(options), logs_queries, server: memmem::Finder::new("unbound[") }
    }

    /// Whether a line of a query was seen.
    pub(crate) fn logs_queries(&self) -> bool {
        self.logs_queries
    }
}

impl LineFormat for Unbound {
    fn read(&mut self, line: &[u8], name: &mut NameBuffer) -> Result<Asked, NotAsked> {
        let (at, text) = self.clock.read(line).map_err(|why| match why {
            NoTime::None => NotAsked::malformed("no time at the begin of", line),
            NoTime::NoYear => NotAsked::no_year(),
        })?;
        let server = self.server.find(text).ok_or_else(|| NotAsked::malformed("no line of Unbound:", text))?;
        let mut scan = Scan(&text[server..]);
        let other = NotAsked::Skip(Skip::OtherLine);
        scan.word(); // unbound[process:thread], with a colon when syslog wrote it
        let level = scan.word();
        if !matches!(level, b"info:" | b"query:" | b"reply:") {
            return Err(if level.ends_with(b":") { other } else { NotAsked::malformed("cut short:", text) });
        }
        let Some(client) = read_address(scan.word()) else { return Err(other) };
        let (asked, kind, class) = (scan.word(), scan.word(), scan.word());
        if !asked.ends_with(b".") {
            return Err(NotAsked::malformed("no name:", asked));
        }
        let qtype = record_type(kind).ok_or_else(|| NotAsked::malformed("no type of record:", kind))?;
        let internet = is_internet(class).ok_or_else(|| NotAsked::malformed("no class:", class))?;
        let is_reply = !scan.0.is_empty();
        self.logs_queries |= !is_reply;
        if is_reply && self.logs_queries {
            return Err(NotAsked::Skip(Skip::Response));
        }
        name.push_presentation(asked).ok_or_else(|| NotAsked::malformed("a name that is too long:", asked))?;
        let skip = (!internet).then_some(Skip::OtherClass);
        let vantage = Vantage::BeforeResolver;
        Ok(Asked { at, client, server: None, ecs: None, qtype, vantage, transaction: None, skip })
    }

    fn assumptions(&self) -> Vec<String> {
        let mut said = self.clock.assumptions();
        if !self.logs_queries {
            said.push("the log has replies only; each stands for its query, at the time of the reply".to_owned());
        }
        said
    }
}
