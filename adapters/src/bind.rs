//! BIND's query log (category `queries`), of 9.9 and later, written by a file channel or by syslog.
//!
//! ```text
//! 2026-11-22T17:47:58.683Z queries: info: client @0x7fa5074e3098 127.0.0.1#41018 (video.cdn.test): query: video.cdn.test IN A +E(0) (127.0.0.1) [ECS 203.0.113.0/24/0]
//! 22-Nov-2026 17:47:11.511 client 2001:db8::1#5300 (a.test): view edge: query: a.test IN AAAA -E(0)D (2001:db8::53)
//! ```
//!
//! `print-time yes` is needed; its default spelling has no zone. The log does not tell whether the server is an
//! authority or a resolver: it is taken for an authority unless the options say otherwise.

use memchr::memmem;

use crate::dns_message::NameBuffer;
use crate::line_clock::{LineClock, NoTime};
use crate::line_log::{Asked, LineFormat, NotAsked, Scan, read_address, read_subnet};
use crate::query::Vantage;
use crate::query_report::Skip;
use crate::read_options::ReadOptions;
use crate::record_type::{is_internet, record_type};

/// Reads lines of BIND's query log.
pub(crate) struct Bind {
    clock: LineClock,
    client: memmem::Finder<'static>,
}

impl Bind {
    pub(crate) fn new(options: &ReadOptions) -> Bind {
        Bind { clock: LineClock::new(options), client: memmem::Finder::new("client ") }
    }
}

impl LineFormat for Bind {
    fn read(&mut self, line: &[u8], name: &mut NameBuffer) -> Result<Asked, NotAsked> {
        let (at, text) = self.clock.read(line).map_err(|why| match why {
            NoTime::None => NotAsked::malformed("no time at the begin of", line),
            NoTime::NoYear => NotAsked::no_year(),
        })?;
        let client = self.client.find(text).filter(|&at| at == 0 || text[at - 1] == b' ');
        let Some(client) = client else { return Err(NotAsked::Skip(Skip::OtherLine)) };
        let mut scan = Scan(&text[client + 7..]);
        if scan.0.starts_with(b"@") {
            scan.word();
        }
        let Some(address) = scan.until(b'#') else { return Err(NotAsked::Skip(Skip::OtherLine)) };
        let client = read_address(address).ok_or_else(|| NotAsked::malformed("no client address in", address))?;
        // The port, then maybe a TSIG key and the name, up to a colon. Colons of names are not followed by a blank.
        let message = memmem::find(scan.0, b": ").ok_or_else(|| NotAsked::malformed("cut short:", text))?;
        scan.0 = &scan.0[message + 2..];
        if scan.skip(b"view ") {
            let view = memmem::find(scan.0, b": ").ok_or_else(|| NotAsked::malformed("cut short:", text))?;
            scan.0 = &scan.0[view + 2..];
        }
        if !scan.skip(b"query: ") {
            return Err(NotAsked::Skip(Skip::OtherLine));
        }
        let (asked, class, kind, _flags) = (scan.word(), scan.word(), scan.word(), scan.word());
        let internet = is_internet(class).ok_or_else(|| NotAsked::malformed("no class in", class))?;
        let qtype = record_type(kind).ok_or_else(|| NotAsked::malformed("no type of record:", kind))?;
        let mut server = None;
        if scan.skip(b"(") {
            let address = scan.until(b')').ok_or_else(|| NotAsked::malformed("cut short:", text))?;
            server = Some(read_address(address).ok_or_else(|| NotAsked::malformed("no server address:", address))?);
        }
        let mut ecs = None;
        if scan.skip(b" [ECS ") {
            let subnet = scan.until(b']').ok_or_else(|| NotAsked::malformed("cut short:", text))?;
            ecs = read_subnet(subnet).ok_or_else(|| NotAsked::malformed("no client subnet:", subnet))?;
        } else if !scan.0.is_empty() {
            return Err(NotAsked::malformed("an end that is none:", scan.0));
        }
        name.push_presentation(asked).ok_or_else(|| NotAsked::malformed("a name that is too long:", asked))?;
        let skip = (!internet).then_some(Skip::OtherClass);
        Ok(Asked { at, client, server, ecs, qtype, vantage: Vantage::Authority, transaction: None, skip })
    }

    fn assumptions(&self) -> Vec<String> {
        self.clock.assumptions()
    }
}
