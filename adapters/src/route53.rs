//! Amazon Route 53's public query log, version 1.
//!
//! ```text
//! 1.0 2017-12-13T08:16:02.130Z Z123412341234 example.com A NOERROR UDP FRA6 192.168.1.1 -
//! ```
//!
//! Version, time, hosted zone, name, type, rcode, protocol, edge location, resolver, client subnet. An export of
//! CloudWatch puts a time of its own before the line. AWS writes only what its resolvers' caches missed.

use crate::dns_message::NameBuffer;
use crate::line_clock::LineClock;
use crate::line_log::{Asked, LineFormat, NotAsked, Scan, read_address, read_subnet};
use crate::query::Vantage;
use crate::read_options::ReadOptions;
use crate::record_type::record_type;

/// Reads lines of Route 53's log.
pub(crate) struct Route53 {
    clock: LineClock,
}

impl Route53 {
    pub(crate) fn new(options: &ReadOptions) -> Route53 {
        Route53 { clock: LineClock::new(options) }
    }
}

impl LineFormat for Route53 {
    fn read(&mut self, line: &[u8], name: &mut NameBuffer) -> Result<Asked, NotAsked> {
        let mut scan = Scan(line);
        let mut version = scan.word();
        if version.len() > 19 {
            version = scan.word();
        }
        if version != b"1.0" && version != b"1.1" {
            return Err(NotAsked::malformed("no version 1.0:", version));
        }
        let (at, rest) = self.clock.read(scan.0).map_err(|_| NotAsked::malformed("no time:", scan.0))?;
        scan.0 = rest;
        let (_zone, asked, kind) = (scan.word(), scan.word(), scan.word());
        let (_rcode, _protocol, _edge) = (scan.word(), scan.word(), scan.word());
        let (client, subnet) = (scan.word(), scan.0);
        let qtype = record_type(kind).ok_or_else(|| NotAsked::malformed("no type of record:", kind))?;
        let client = read_address(client).ok_or_else(|| NotAsked::malformed("no resolver address:", client))?;
        let ecs = match subnet {
            b"-" => None,
            _ => read_subnet(subnet).ok_or_else(|| NotAsked::malformed("no client subnet:", subnet))?,
        };
        name.push_presentation(asked).ok_or_else(|| NotAsked::malformed("a name that is too long:", asked))?;
        let vantage = Vantage::Authority;
        Ok(Asked { at, client, server: None, ecs, qtype, vantage, transaction: None, skip: None })
    }

    fn assumptions(&self) -> Vec<String> {
        self.clock.assumptions()
    }
}
