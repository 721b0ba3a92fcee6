//! The query log of the PowerDNS authoritative server (`log-dns-queries`, `loglevel` 5 or more), on standard output
//! or through syslog.
//!
//! ```text
//! Nov 22 18:08:59 Remote 127.0.0.1<-81.2.69.0/24 wants 'cc.cdn.test|TXT', do = 0, bufsize = 1232 (4096)
//! Nov 22 18:08:59 ns1 pdns_server[7]: Remote 127.0.0.1 wants 'a.test|A', do = 0, bufsize = 512: packetcache MISS
//! ```
//!
//! What follows `<-` is the client subnet. Times have neither year nor zone. Other lines (answers, transfers, start)
//! are counted as that.

use memchr::memmem;

use crate::dns_message::NameBuffer;
use crate::line_clock::{LineClock, NoTime};
use crate::line_log::{Asked, LineFormat, NotAsked, Scan, read_address, read_subnet};
use crate::query::Vantage;
use crate::query_report::Skip;
use crate::read_options::ReadOptions;
use crate::record_type::record_type;

/// Reads lines of PowerDNS's log.
pub(crate) struct PowerDns {
    clock: LineClock,
    remote: memmem::Finder<'static>,
    wants: memmem::Finder<'static>,
}

impl PowerDns {
    pub(crate) fn new(options: &ReadOptions) -> PowerDns {
        PowerDns {
            clock: LineClock::new(options),
            remote: memmem::Finder::new("Remote "),
            wants: memmem::Finder::new("', do = "),
        }
    }
}

impl LineFormat for PowerDns {
    fn read(&mut self, line: &[u8], name: &mut NameBuffer) -> Result<Asked, NotAsked> {
        let (at, text) = self.clock.read(line).map_err(|why| match why {
            NoTime::None => NotAsked::malformed("no time at the begin of", line),
            NoTime::NoYear => NotAsked::no_year(),
        })?;
        let remote = self.remote.find(text).filter(|&at| at == 0 || text[at - 1] == b' ');
        let Some(remote) = remote else { return Err(NotAsked::Skip(Skip::OtherLine)) };
        let mut scan = Scan(&text[remote + 7..]);
        let parties = scan.word();
        if !scan.skip(b"wants '") {
            return Err(NotAsked::Skip(Skip::OtherLine));
        }
        let (client, subnet) = match memmem::find(parties, b"<-") {
            Some(at) => (&parties[..at], Some(&parties[at + 2..])),
            None => (parties, None),
        };
        let client = read_address(client).ok_or_else(|| NotAsked::malformed("no client address:", client))?;
        let ecs = match subnet {
            Some(subnet) => read_subnet(subnet).ok_or_else(|| NotAsked::malformed("no client subnet:", subnet))?,
            None => None,
        };
        let end = self.wants.find(scan.0).ok_or_else(|| NotAsked::malformed("cut short:", text))?;
        let wanted = &scan.0[..end];
        let bar = memchr::memrchr(b'|', wanted).ok_or_else(|| NotAsked::malformed("no type of record in", wanted))?;
        let (asked, kind) = (&wanted[..bar], &wanted[bar + 1..]);
        // Blanks of a name are \032; one here is another line behind a line that was cut.
        if memchr::memchr(b' ', asked).is_some() {
            return Err(NotAsked::malformed("no name:", asked));
        }
        let qtype = record_type(kind).ok_or_else(|| NotAsked::malformed("no type of record:", kind))?;
        name.push_presentation(asked).ok_or_else(|| NotAsked::malformed("a name that is too long:", asked))?;
        let vantage = Vantage::Authority;
        Ok(Asked { at, client, server: None, ecs, qtype, vantage, transaction: None, skip: None })
    }

    fn assumptions(&self) -> Vec<String> {
        self.clock.assumptions()
    }
}
