//! dnsmasq's `log-queries`, as Pi-hole keeps it, with or without `extra`.
//!
//! ```text
//! Nov 22 18:00:00 dnsmasq[123]: query[A] example.com from 192.168.1.5
//! Nov 22 18:00:00 dnsmasq[123]: 17 192.168.1.5/40213 query[type=65] example.com from 192.168.1.5
//! ```
//!
//! Times have neither year nor zone. Lines about forwarding, caching and replies are counted as other lines.

use memchr::memmem;

use crate::dns_message::NameBuffer;
use crate::line_clock::{LineClock, NoTime};
use crate::line_log::{Asked, LineFormat, NotAsked, Scan, read_address};
use crate::query::Vantage;
use crate::query_report::Skip;
use crate::read_options::ReadOptions;
use crate::record_type::{number, record_type};

/// Reads lines of dnsmasq's log.
pub(crate) struct Dnsmasq {
    clock: LineClock,
    server: memmem::Finder<'static>,
    query: memmem::Finder<'static>,
}

impl Dnsmasq {
    pub(crate) fn new(options: &ReadOptions) -> Dnsmasq {
        Dnsmasq {
            clock: LineClock::new(options),
            server: memmem::Finder::new("dnsmasq"),
            query: memmem::Finder::new(" query["),
        }
    }
}

impl LineFormat for Dnsmasq {
    fn read(&mut self, line: &[u8], name: &mut NameBuffer) -> Result<Asked, NotAsked> {
        let (at, text) = self.clock.read(line).map_err(|why| match why {
            NoTime::None => NotAsked::malformed("no time at the begin of", line),
            NoTime::NoYear => NotAsked::no_year(),
        })?;
        let server = self.server.find(text).ok_or_else(|| NotAsked::malformed("no line of dnsmasq:", text))?;
        let text = &text[server..];
        let Some(query) = self.query.find(text) else { return Err(NotAsked::Skip(Skip::OtherLine)) };
        let mut scan = Scan(&text[query + 7..]);
        let kind = scan.until(b']').ok_or_else(|| NotAsked::malformed("cut short:", text))?;
        let qtype = kind.strip_prefix(b"type=").map_or_else(|| record_type(kind), number);
        let qtype = qtype.ok_or_else(|| NotAsked::malformed("no type of record:", kind))?;
        scan.skip(b" ");
        let asked = scan.word();
        if !scan.skip(b"from ") {
            return Err(NotAsked::malformed("cut short:", text));
        }
        let client = read_address(scan.0).ok_or_else(|| NotAsked::malformed("no client address:", scan.0))?;
        name.push_presentation(asked).ok_or_else(|| NotAsked::malformed("a name that is too long:", asked))?;
        let vantage = Vantage::BeforeResolver;
        Ok(Asked { at, client, server: None, ecs: None, qtype, vantage, transaction: None, skip: None })
    }

    fn assumptions(&self) -> Vec<String> {
        self.clock.assumptions()
    }
}
