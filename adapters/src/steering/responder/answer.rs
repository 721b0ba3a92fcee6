//! One message in, one message out.

use std::net::IpAddr;

use domain::base::iana::{Class, Opcode, OptRcode, Rcode, Rtype};
use domain::base::message_builder::{AdditionalBuilder, AuthorityBuilder, StaticCompressor};
use domain::base::opt::{ClientSubnet, Opt, OptRecord};
use domain::base::wire::Composer;
use domain::base::{Message, MessageBuilder, Name, Serial, ToName, Ttl};
use domain::rdata::{A, Aaaa, Hinfo, Ns, Soa};

use super::super::ask::{DATAGRAM_BYTES, wire_name};
use super::counters::{Counting, count};
use super::table::{Found, Table};
use crate::prefix::Prefix;

/// By what a message came, which bounds its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transported {
    /// As a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// Room for an answer without EDNS (RFC 1035 section 4.2.1) \[bytes\].
const PLAIN_BYTES: usize = 512;
/// How long it may be kept that a type is not answered (RFC 8482) \[s\].
const ANY_TTL_SECONDS: u32 = 3_600;

/// What EDNS says of a query.
#[derive(Clone, Copy, Debug, Default)]
struct Edns {
    there: bool,
    version: u8,
    payload: usize,
    subnet: Option<ClientSubnet>,
    malformed: bool,
}

/// Answers a message that came from an address; `None` for what deserves no answer.
pub fn respond(table: &Table, message: &[u8], from: IpAddr, transported: Transported) -> Option<Vec<u8>> {
    respond_counted(table, message, from, transported, &Counting::default())
}

pub(super) fn respond_counted(
    table: &Table,
    message: &[u8],
    from: IpAddr,
    transported: Transported,
    counting: &Counting,
) -> Option<Vec<u8>> {
    let Some(query) = Message::from_octets(message).ok().filter(|query| !query.header().qr()) else {
        count(&counting.ignored);
        return None;
    };
    let edns = edns(&query);
    if edns.subnet.is_some() {
        count(&counting.with_subnet);
    }
    let room = match transported {
        Transported::Tcp => usize::from(u16::MAX),
        Transported::Udp if edns.there => edns.payload.clamp(PLAIN_BYTES, DATAGRAM_BYTES),
        Transported::Udp => PLAIN_BYTES,
    };
    let mut answer = Answer { table, query: &query, edns, from, scope: 0, counting };
    let built = answer.build(room);
    if built.is_none() {
        count(&counting.ignored);
    }
    built
}

/// An answer that says nothing but that it was cut.
pub(super) fn cut(message: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_octets(message).ok()?;
    let mut answer = MessageBuilder::new_vec().try_start_answer(&query, Rcode::NOERROR).ok()?;
    answer.header_mut().set_tc(true);
    answer.header_mut().set_aa(true);
    Some(answer.finish())
}

fn edns(query: &Message<&[u8]>) -> Edns {
    let mut edns = Edns::default();
    let Ok(additional) = query.additional() else { return Edns { malformed: true, ..edns } };
    let mut found = 0;
    for record in additional.limit_to::<Opt<_>>() {
        let Ok(record) = record else { return Edns { malformed: true, ..edns } };
        found += 1;
        let record = OptRecord::from_record(record);
        edns = Edns { there: true, version: record.version(), payload: record.udp_payload_size().into(), ..edns };
        for option in record.opt().iter::<ClientSubnet>() {
            match option {
                // In a query the scope is nothing (RFC 7871 section 6).
                Ok(subnet) if subnet.scope_prefix_len() == 0 => edns.subnet = Some(subnet),
                _ => edns.malformed = true,
            }
        }
    }
    edns.malformed |= found > 1;
    edns
}

struct Answer<'a> {
    table: &'a Table,
    query: &'a Message<&'a [u8]>,
    edns: Edns,
    from: IpAddr,
    /// Bits of the client's network that the answer depends on.
    scope: u8,
    counting: &'a Counting,
}

type Target = StaticCompressor<Vec<u8>>;

impl Answer<'_> {
    fn build(&mut self, room: usize) -> Option<Vec<u8>> {
        let header = self.query.header();
        if header.opcode() != Opcode::QUERY {
            return self.error(Rcode::NOTIMP);
        }
        let counts = self.query.header_counts();
        let question = match self.query.sole_question() {
            Ok(question) if !self.edns.malformed && counts.ancount() == 0 => question,
            _ => return self.error(Rcode::FORMERR),
        };
        if self.edns.there && self.edns.version != 0 {
            count(&self.counting.errors);
            return self.with_opt(self.start(Rcode::NOERROR)?.additional(), OptRcode::BADVERS);
        }
        let zone = wire_name(&self.table.zone.name);
        let mut name = Name::<Vec<u8>>::from_octets(question.qname().to_vec().into_octets()).ok()?;
        name.make_canonical();
        let class = question.qclass();
        let transfer = question.qtype() == Rtype::AXFR || question.qtype() == Rtype::IXFR;
        if !name.ends_with(&zone) || (class != Class::IN && class != Class::ANY) || transfer {
            count(&self.counting.refused);
            return self.with_opt(self.start(Rcode::REFUSED)?.additional(), OptRcode::REFUSED);
        }
        let answered = self.answered(&name, &zone, question.qtype())?;
        let finished = self.with_opt(answered, OptRcode::NOERROR)?;
        if finished.len() <= room {
            return Some(finished);
        }
        count(&self.counting.truncated);
        let mut cut = self.start(Rcode::NOERROR)?;
        cut.header_mut().set_tc(true);
        cut.header_mut().set_aa(true);
        self.with_opt(cut.additional(), OptRcode::NOERROR)
    }

    /// The sections of an answer to a name of the zone.
    fn answered(
        &mut self,
        name: &Name<Vec<u8>>,
        zone: &Name<Vec<u8>>,
        qtype: Rtype,
    ) -> Option<AdditionalBuilder<Target>> {
        let subzone = &self.table.zone;
        let ttl = Ttl::from_secs(subzone.negative_ttl_seconds);
        let mut answer = self.start(Rcode::NOERROR)?;
        answer.header_mut().set_aa(true);
        // The zone itself.
        if name == zone && [Rtype::SOA, Rtype::NS].contains(&qtype) {
            count(&self.counting.answered);
            if qtype == Rtype::SOA {
                answer.push((zone, ttl, self.soa())).ok()?;
            } else {
                for server in subzone.name_servers.keys() {
                    answer.push((zone, ttl, Ns::new(wire_name(server)))).ok()?;
                }
            }
            let mut additional = answer.additional();
            for (server, addresses) in subzone.name_servers.iter().filter(|_| qtype == Rtype::NS) {
                for address in addresses.iter().filter(|_| server.is_within(&subzone.name)) {
                    push_address(&mut additional, &wire_name(server), ttl, *address)?;
                }
            }
            return Some(additional);
        }
        // Its name servers.
        let server = subzone.name_servers.iter().find(|(server, _)| server.to_wire() == name.as_slice());
        let network = self.network();
        let found = match server {
            Some((server, addresses)) if server.is_within(&subzone.name) => {
                let v6 = qtype == Rtype::AAAA;
                let of_type =
                    addresses.iter().filter(|a| a.is_ipv6() == v6 && [Rtype::A, Rtype::AAAA].contains(&qtype));
                let of_type: Vec<IpAddr> = of_type.copied().collect();
                if !of_type.is_empty() {
                    count(&self.counting.answered);
                    for address in of_type {
                        match address {
                            IpAddr::V4(v4) => answer.push((name, ttl, A::new(v4))).ok()?,
                            IpAddr::V6(v6) => answer.push((name, ttl, Aaaa::new(v6))).ok()?,
                        }
                    }
                    return Some(answer.additional());
                }
                Found::NoData
            }
            _ => {
                let v6 = match qtype {
                    Rtype::A => Some(false),
                    Rtype::AAAA => Some(true),
                    _ => None,
                };
                self.table.find(name.as_slice(), v6, network)
            }
        };
        match found {
            Found::Address { address, ttl_seconds, by_client } => {
                count(&self.counting.answered);
                if by_client {
                    self.scope = network.length();
                }
                let ttl = Ttl::from_secs(ttl_seconds);
                match address {
                    IpAddr::V4(v4) => answer.push((name, ttl, A::new(v4))).ok()?,
                    IpAddr::V6(v6) => answer.push((name, ttl, Aaaa::new(v6))).ok()?,
                }
                Some(answer.additional())
            }
            Found::NoName if name != zone && !self.is_above_server(name) => {
                count(&self.counting.no_name);
                answer.header_mut().set_rcode(Rcode::NXDOMAIN);
                self.negative(answer.authority(), zone)
            }
            _ if qtype == Rtype::ANY => {
                count(&self.counting.answered);
                // RFC 8482 section 4.2: a record that says nothing.
                let nothing = Hinfo::new(charstr(b"RFC8482")?, charstr(b"")?);
                answer.push((name, Ttl::from_secs(ANY_TTL_SECONDS), nothing)).ok()?;
                Some(answer.additional())
            }
            _ => {
                count(&self.counting.no_data);
                self.negative(answer.authority(), zone)
            }
        }
    }

    /// Whether a name is above, or that of, a name server, and so exists.
    fn is_above_server(&self, name: &Name<Vec<u8>>) -> bool {
        self.table.zone.name_servers.keys().any(|server| wire_name(server).ends_with(name))
    }

    fn negative(
        &self,
        mut authority: AuthorityBuilder<Target>,
        zone: &Name<Vec<u8>>,
    ) -> Option<AdditionalBuilder<Target>> {
        let ttl = Ttl::from_secs(self.table.zone.negative_ttl_seconds);
        authority.push((zone, ttl, self.soa())).ok()?;
        Some(authority.additional())
    }

    fn soa(&self) -> Soa<Name<Vec<u8>>> {
        let zone = &self.table.zone;
        let first = zone.name_servers.keys().next().unwrap_or(&zone.name);
        let seconds = Ttl::from_secs;
        Soa::new(
            wire_name(first),
            wire_name(&zone.hostmaster),
            Serial(self.table.serial),
            seconds(3_600),
            seconds(600),
            seconds(86_400),
            seconds(zone.negative_ttl_seconds),
        )
    }

    /// The network that is answered: what the resolver says of its client, else where it is itself. No longer than what may
    /// be kept of a client.
    fn network(&self) -> Prefix {
        let told = self.edns.subnet.filter(|subnet| subnet.source_prefix_len() > 0);
        let told = told.and_then(|subnet| Prefix::new(subnet.addr(), subnet.source_prefix_len()));
        told.map_or_else(|| Prefix::of_client(self.from), Prefix::truncated)
    }

    fn start(&self, rcode: Rcode) -> Option<domain::base::message_builder::AnswerBuilder<Target>> {
        let builder = MessageBuilder::from_target(StaticCompressor::new(Vec::with_capacity(DATAGRAM_BYTES))).ok()?;
        builder.try_start_answer(self.query, rcode).ok()
    }

    /// An answer to what cannot be read: no more of the question than its number.
    fn error(&self, rcode: Rcode) -> Option<Vec<u8>> {
        count(&self.counting.errors);
        let mut builder = MessageBuilder::from_target(StaticCompressor::new(Vec::with_capacity(PLAIN_BYTES))).ok()?;
        let theirs = self.query.header();
        let header = builder.header_mut();
        header.set_id(theirs.id());
        header.set_qr(true);
        header.set_opcode(theirs.opcode());
        header.set_rd(theirs.rd());
        header.set_rcode(rcode);
        self.with_opt(builder.additional(), OptRcode::from_rcode(rcode))
    }

    /// Ends an answer, with options where the query had some.
    fn with_opt(&self, mut additional: AdditionalBuilder<Target>, rcode: OptRcode) -> Option<Vec<u8>> {
        let negative = additional.header().rcode();
        if self.edns.there {
            let subnet = self.edns.subnet;
            let scope = self.scope;
            let opt = additional.opt(|opt| {
                opt.set_udp_payload_size(DATAGRAM_BYTES as u16);
                if let Some(subnet) = subnet {
                    // One who does not want to be located is answered by where his resolver is (section 7.1.2).
                    let scope = if subnet.source_prefix_len() == 0 { 0 } else { scope };
                    opt.push(&ClientSubnet::new(subnet.source_prefix_len(), scope, subnet.addr()))?;
                }
                if rcode.is_ext() {
                    opt.set_rcode(rcode);
                }
                Ok(())
            });
            opt.ok()?;
            if !rcode.is_ext() {
                additional.header_mut().set_rcode(negative);
            }
        }
        Some(additional.finish().into_target())
    }
}

fn charstr(bytes: &'static [u8]) -> Option<domain::base::CharStr<&'static [u8]>> {
    domain::base::CharStr::from_octets(bytes).ok()
}

fn push_address<T: Composer>(
    section: &mut AdditionalBuilder<T>,
    name: &Name<Vec<u8>>,
    ttl: Ttl,
    address: IpAddr,
) -> Option<()> {
    match address {
        IpAddr::V4(v4) => section.push((name, ttl, A::new(v4))).ok(),
        IpAddr::V6(v6) => section.push((name, ttl, Aaaa::new(v6))).ok(),
    }
}

#[cfg(test)]
mod tests;
