use std::collections::BTreeMap;
use std::net::IpAddr;

use domain::base::iana::{Opcode, Rcode, Rtype};
use domain::base::opt::ClientSubnet;
use domain::base::{Message, MessageBuilder, Name, Rtype as Type};
use proptest::prelude::*;

use super::*;
use crate::dns_message::{NameBuffer, read_question};
use crate::steering::responder::{RegionOf, SubZone};
use crate::steering::{Clients, DnsName, Share, Shares, WHOLE};
use forebay_world::RegionId;

fn table() -> Table {
    let name = |text: &str| -> DnsName { text.parse().unwrap() };
    let share = |parts| Share { site: RegionId(0), parts };
    let pool = |members: &[(&str, u32)]| -> BTreeMap<IpAddr, Share> {
        members.iter().map(|(address, parts)| (address.parse().unwrap(), share(*parts))).collect()
    };
    let others = pool(&[("192.0.2.1", 7000), ("192.0.2.2", 3000), ("2001:db8::1", WHOLE)]);
    let ams = pool(&[("198.51.100.1", WHOLE)]);
    let by_region = [(Clients::Others, others), (Clients::Region("ams".to_owned()), ams)].into();
    let one = [(Clients::Others, pool(&[("192.0.2.9", WHOLE)]))].into();
    let names = [
        (name("video.edge.test"), Shares { ttl_seconds: 20, pools: by_region }),
        (name("a.b.edge.test"), Shares { ttl_seconds: 30, pools: one }),
    ];
    let zone = SubZone {
        name: name("edge.test"),
        name_servers: [(name("ns1.edge.test"), vec!["127.0.0.1".parse().unwrap()]), (name("ns.other.test"), vec![])]
            .into(),
        hostmaster: name("admin.cdn.test"),
        negative_ttl_seconds: 15,
    };
    let region_of: RegionOf = std::sync::Arc::new(|network: Prefix| {
        "203.0.113.0/24".parse::<Prefix>().unwrap().contains(network.address()).then(|| "ams".to_owned())
    });
    Table::new(zone, 7, Some(region_of), &names.into())
}

fn query(name: &str, qtype: Type, edns: Option<(u16, Option<ClientSubnet>)>) -> Vec<u8> {
    let mut question = MessageBuilder::new_vec().question();
    question.header_mut().set_id(77);
    question.header_mut().set_rd(true);
    question.push((Name::<Vec<u8>>::vec_from_str(name).unwrap(), qtype)).unwrap();
    let mut additional = question.additional();
    if let Some((payload, subnet)) = edns {
        additional
            .opt(|opt| {
                opt.set_udp_payload_size(payload);
                subnet.map_or(Ok(()), |subnet| opt.push(&subnet))
            })
            .unwrap();
    }
    additional.finish()
}

fn subnet(text: &str) -> Option<ClientSubnet> {
    let prefix: Prefix = text.parse().unwrap();
    Some(ClientSubnet::new(prefix.length(), 0, prefix.address()))
}

fn ask(message: &[u8]) -> Message<Vec<u8>> {
    let answer = respond(&table(), message, "192.0.2.77".parse().unwrap(), Transported::Udp).expect("an answer");
    Message::from_octets(answer).unwrap()
}

/// Code, answers, and the scope of the client's network.
fn said(message: &[u8]) -> (Rcode, Vec<String>, Option<u8>) {
    let answer = ask(message);
    assert!(answer.header().qr() && answer.header().rd() && answer.header().id() == 77);
    let records = answer.answer().unwrap().limit_to::<domain::rdata::AllRecordData<_, _>>();
    let records = records.map(|record| record.unwrap().data().to_string()).collect();
    let scope = answer.opt().and_then(|opt| Some(opt.opt().client_subnet()?.scope_prefix_len()));
    (answer.header().rcode(), records, scope)
}

#[test]
fn clients_are_answered_by_their_network() {
    let with = |text: &str| said(&query("Video.EDGE.test", Rtype::A, Some((1232, subnet(text)))));
    let (rcode, first, scope) = with("198.18.7.0/24");
    assert_eq!((rcode, scope), (Rcode::NOERROR, Some(24)));
    assert!(["192.0.2.1", "192.0.2.2"].contains(&first[0].as_str()));
    for _ in 0..10 {
        assert_eq!(with("198.18.7.0/24").1, first, "the same network, the same address");
    }
    // Of a longer prefix as much counts as may be kept, and the answer says so.
    assert_eq!(with("198.18.7.128/25"), (Rcode::NOERROR, first.clone(), Some(24)));
    assert_eq!(with("203.0.113.0/24"), (Rcode::NOERROR, vec!["198.51.100.1".to_owned()], Some(24)));
    assert_eq!(with("203.0.112.0/22").2, Some(22));
    // One who does not want to be located counts as his resolver, whatever family he names.
    assert_eq!(with("0.0.0.0/0"), said(&query("video.edge.test", Rtype::A, None)).clone_with(Some(0)));
    // Where there is but one address, the answer is everybody's.
    let one = said(&query("a.b.edge.test", Rtype::A, Some((1232, subnet("198.18.7.0/24")))));
    assert_eq!(one, (Rcode::NOERROR, vec!["192.0.2.9".to_owned()], Some(0)));
    let v6 = said(&query("video.edge.test", Rtype::AAAA, Some((1232, subnet("2001:db8:7::/56")))));
    assert_eq!(v6, (Rcode::NOERROR, vec!["2001:db8::1".to_owned()], Some(56)));
}

trait WithScope {
    fn clone_with(&self, scope: Option<u8>) -> Self;
}

impl WithScope for (Rcode, Vec<String>, Option<u8>) {
    fn clone_with(&self, scope: Option<u8>) -> Self {
        (self.0, self.1.clone(), scope)
    }
}

#[test]
fn what_there_is_not_is_said_with_the_zone() {
    let check = |name: &str, qtype, rcode, authorities: u16| {
        let answer = ask(&query(name, qtype, None));
        let counts = answer.header_counts();
        let got = (answer.header().rcode(), counts.ancount(), counts.nscount());
        assert_eq!(got, (rcode, 0, authorities), "{name} {qtype}");
    };
    check("none.edge.test", Rtype::A, Rcode::NXDOMAIN, 1);
    check("x.video.edge.test", Rtype::A, Rcode::NXDOMAIN, 1);
    check("video.edge.test", Rtype::TXT, Rcode::NOERROR, 1);
    check("b.edge.test", Rtype::A, Rcode::NOERROR, 1);
    check("edge.test", Rtype::A, Rcode::NOERROR, 1);
    check("ns1.edge.test", Rtype::AAAA, Rcode::NOERROR, 1);
    check("a.b.edge.test", Rtype::AAAA, Rcode::NOERROR, 1);
    check("test", Rtype::A, Rcode::REFUSED, 0);
    check("xedge.test", Rtype::A, Rcode::REFUSED, 0);
    check("edge.test", Rtype::AXFR, Rcode::REFUSED, 0);
}

#[test]
fn the_zone_itself_is_answered() {
    let soa = said(&query("edge.test", Rtype::SOA, None));
    assert!(soa.1[0].contains(" 7 "), "{soa:?}");
    let ns = ask(&query("edge.test", Rtype::NS, None));
    assert_eq!((ns.header_counts().ancount(), ns.header_counts().arcount(), ns.header().aa()), (2, 1, true));
    assert_eq!(said(&query("ns1.edge.test", Rtype::A, None)).1, ["127.0.0.1"]);
    let any = said(&query("video.edge.test", Rtype::ANY, None));
    assert!(any.1[0].contains("RFC8482"), "{any:?}");
}

#[test]
fn what_is_not_understood_is_said_so() {
    let good = query("video.edge.test", Rtype::A, Some((1232, subnet("198.18.7.0/24"))));
    let opt = good.len() - 22;
    let with = |at: usize, byte: u8| {
        let mut changed = good.clone();
        changed[at] = byte;
        changed
    };
    assert_eq!(good[opt..opt + 3], [0, 0, 41]);
    // Another version of EDNS.
    let answer = ask(&with(opt + 6, 1));
    assert_eq!(answer.opt_rcode().to_int(), 16);
    assert_eq!(answer.header_counts().ancount(), 0);
    // A client's network of a wrong length, of no family, and with a scope.
    for (at, byte) in [(good.len() - 5, 16), (good.len() - 6, 3), (good.len() - 4, 24)] {
        assert_eq!(ask(&with(at, byte)).header().rcode(), Rcode::FORMERR, "{at}");
    }
    let mut notify = good.clone();
    notify[2] = 0x20;
    assert_eq!(ask(&notify).header().rcode(), Rcode::NOTIMP);
    assert_eq!(ask(&notify).header().opcode(), Opcode::NOTIFY);
    assert_eq!(ask(&with(5, 0)).header().rcode(), Rcode::FORMERR);
    let from = "192.0.2.77".parse().unwrap();
    assert_eq!(respond(&table(), &with(2, 0x80), from, Transported::Udp), None, "a response is not answered");
    assert_eq!(respond(&table(), &good[..11], from, Transported::Udp), None);
}

#[test]
fn an_answer_that_does_not_fit_is_cut_and_comes_whole_by_tcp() {
    let mut table = table();
    for at in 0..30 {
        let server: DnsName = format!("ns{at}.a-rather-long-label-so-that-it-needs-room.edge.test").parse().unwrap();
        table.zone.name_servers.insert(server, vec![IpAddr::from([127, 0, 0, at])]);
    }
    let message = query("edge.test", Rtype::NS, None);
    let from = "192.0.2.77".parse().unwrap();
    let cut = respond(&table, &message, from, Transported::Udp).unwrap();
    let whole = respond(&table, &message, from, Transported::Tcp).unwrap();
    assert!(cut.len() <= 512 && whole.len() > 512);
    let (cut, whole) = (Message::from_octets(cut).unwrap(), Message::from_octets(whole).unwrap());
    assert!(cut.header().tc() && !whole.header().tc());
    assert_eq!((cut.header_counts().ancount(), whole.header_counts().ancount()), (0, 32));
}

proptest! {
    #[test]
    fn no_bytes_panic(message in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = respond(&table(), &message, "192.0.2.77".parse().unwrap(), Transported::Udp);
    }

    #[test]
    fn no_damage_panics_and_every_answer_is_a_message(damage in proptest::collection::vec((0usize..80, any::<u8>()), 0..6), cut in 0usize..80) {
        let mut message = query("video.edge.test", Rtype::A, Some((1232, subnet("198.18.7.0/24"))));
        for (at, byte) in damage {
            let at = at % message.len();
            message[at] = byte;
        }
        message.truncate(message.len() - cut.min(message.len()) / 8);
        if let Some(answer) = respond(&table(), &message, "192.0.2.77".parse().unwrap(), Transported::Udp) {
            prop_assert!(answer.len() <= 1232);
            let read = Message::from_octets(answer.clone()).unwrap();
            prop_assert!(read.header().qr() && answer[..2] == message[..2]);
            for record in read.answer().unwrap() {
                prop_assert!(record.is_ok());
            }
            // What our reader of logs takes for a question of the zone is answered as one.
            let mut name = NameBuffer::new();
            if read_question(&message, &mut name).is_err() {
                prop_assert_eq!(read.header_counts().ancount(), 0);
            }
        }
    }
}
