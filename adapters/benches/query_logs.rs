//! How fast logs of queries are read on one core, from memory: lines a second of every text format, packets a second
//! of a capture, and dnstap messages a second into counts by window, region and name with geolocation.
//!
//! Time is that of the processor, spent by this thread: other programs on the machine take no part in it. Targets: 500,000 lines a second of every text format; 2 million dnstap messages a second into the aggregate.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;
use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use forebay_adapters::demand::{CensusOptions, DemandOptions, read_demand};
use forebay_adapters::query::read_queries_from;
use forebay_adapters::{Atlas, Geography, Input, LogFormat, NameClasses, Prefix, ReadOptions};
use forebay_world::{LinkId, Region, RegionId, Timestamp};

/// Processor time of the thread.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(spent.tv_sec.unsigned_abs(), spent.tv_nsec as u32)
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

const LINES: u32 = 100_000;
const MESSAGES: u32 = 400_000;

/// What a query of a number is: time [ns], client, network of the client subnet, name.
fn query(number: u32) -> (u64, Ipv4Addr, Ipv4Addr, String) {
    let nanos = 1_795_371_023_000_000_000 + u64::from(number) * 20_000;
    let client = Ipv4Addr::new(10, 0, (number >> 8) as u8, number as u8);
    let [high, low] = ((number.wrapping_mul(2_654_435_761) >> 16) as u16).to_be_bytes();
    (nanos, client, Ipv4Addr::new(203, high, low, 0), format!("v{}.edge.cdn.test", number % 5000))
}

fn text(format: LogFormat) -> Arc<[u8]> {
    let mut log = match format {
        LogFormat::Csv => "time,client,name,qtype,ecs\n".to_owned(),
        LogFormat::Zeek => "#separator \\x09\n#path\tdns\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\t\
            trans_id\trtt\tquery\tqclass\tqclass_name\tqtype\tqtype_name\trcode\trcode_name\tAA\tTC\tRD\tRA\tZ\tanswers\tTTLs\trejected\n"
            .to_owned(),
        _ => String::new(),
    };
    for number in 0..LINES {
        let (nanos, client, ecs, name) = query(number);
        let (second, micro) = (nanos / 1_000_000_000, nanos / 1000 % 1_000_000);
        let time = Timestamp::from_nanos(second * 1_000_000_000 + 123_000_000).to_string();
        let clock = &time[11..19];
        let (port, id) = (1024 + number % 60_000, number % 65_536);
        let written = match format {
            LogFormat::Bind => writeln!(
                log,
                "{time} queries: info: client @0x7fa5074e3098 {client}#{port} ({name}): query: {name} IN A -E(0) (127.0.0.1) [ECS {ecs}/24/0]"
            ),
            LogFormat::PowerDns => writeln!(
                log,
                "Nov 22 {clock} Remote {client}<-{ecs}/24 wants '{name}|A', do = 0, bufsize = 1232 (4096)"
            ),
            LogFormat::Unbound => writeln!(log, "[{second}] unbound[19243:0] info: {client} {name}. A IN"),
            LogFormat::Dnsmasq => writeln!(log, "Nov 22 {clock} dnsmasq[123]: query[A] {name} from {client}"),
            LogFormat::Route53 => writeln!(log, "1.0 {time} Z123412341234 {name} A NOERROR UDP FRA6 {client} {ecs}/24"),
            LogFormat::Cloudflare => writeln!(
                log,
                r#"{{"ColoCode":"AMS","EDNSSubnet":"{ecs}","EDNSSubnetLength":24,"QueryName":"{name}","QueryType":1,"ResponseCached":false,"ResponseCode":0,"SourceIP":"{client}","Timestamp":{nanos}}}"#
            ),
            LogFormat::AdGuard => writeln!(
                log,
                r#"{{"T":"{time}","QH":"{name}","QT":"A","QC":"IN","CP":"","IP":"{client}","Result":{{}},"Elapsed":123456}}"#
            ),
            LogFormat::ZeekJson => writeln!(
                log,
                r#"{{"ts":{second}.{micro:06},"uid":"CqKst{number}","id.orig_h":"{client}","id.orig_p":{port},"id.resp_h":"10.0.0.100","id.resp_p":53,"proto":"udp","trans_id":{id},"rtt":0.00087,"query":"{name}","qclass":1,"qclass_name":"C_INTERNET","qtype":1,"qtype_name":"A","rcode":0,"rcode_name":"NOERROR","AA":false,"TC":false,"RD":true,"RA":true,"Z":0,"rejected":false}}"#
            ),
            LogFormat::Zeek => writeln!(
                log,
                "{second}.{micro:06}\tCqKst{number}\t{client}\t{port}\t10.0.0.100\t53\tudp\t{id}\t0.000870\t{name}\t1\tC_INTERNET\t1\tA\t0\tNOERROR\tF\tF\tT\tT\t0\t-\t-\tF"
            ),
            LogFormat::Csv => writeln!(log, "{second}.{micro:06},{client},{name},A,{ecs}/24"),
            _ => {
                writeln!(log, r#"{{"time":"{time}","client":"{client}","name":"{name}","qtype":"A","ecs":"{ecs}/24"}}"#)
            }
        };
        written.expect("a text takes all");
    }
    log.into_bytes().into()
}

/// Queries of a number in Ethernet, IPv4 and UDP.
fn capture() -> Arc<[u8]> {
    let mut file = [0xa1b2_3c4d_u32, 0x0002_0004, 0, 0, 65535, 1].map(u32::to_le_bytes).concat();
    for number in 0..LINES {
        let (nanos, client, _, _) = query(number);
        let message = dns_query(number);
        let mut packet = [&[0; 12][..], &[8, 0, 0x45, 0]].concat();
        packet.extend((28 + message.len() as u16).to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        packet.extend(client.octets());
        packet.extend([192, 0, 2, 53, 16, 0, 0, 53]);
        packet.extend((8 + message.len() as u16).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(message);
        let length = packet.len() as u32;
        let head = [(nanos / 1_000_000_000) as u32, (nanos % 1_000_000_000) as u32, length, length];
        file.extend(head.map(u32::to_le_bytes).concat());
        file.extend(packet);
    }
    file.into()
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes_field(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | 2);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

fn dns_query(number: u32) -> Vec<u8> {
    let (_, _, ecs, name) = query(number);
    let mut message = vec![(number >> 8) as u8, number as u8, 0, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    let [_, high, low, _] = ecs.octets();
    message.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0, 203, high, low]);
    message
}

/// Queries as an authoritative server writes them to dnstap, without their responses.
fn tap() -> Arc<[u8]> {
    let mut bytes = vec![0, 0, 0, 0, 0, 0, 0, 34, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 22];
    bytes.extend(b"protobuf:dnstap.Dnstap");
    for number in 0..MESSAGES {
        let (nanos, client, _, _) = query(number);
        let mut inner = vec![8, 1, 16, 1, 24, 1];
        bytes_field(4, &client.octets(), &mut inner);
        bytes_field(5, &[192, 0, 2, 53], &mut inner);
        inner.push(6 << 3);
        varint(u64::from(1024 + number % 60_000), &mut inner);
        inner.extend([7 << 3, 53, 8 << 3]);
        varint(nanos / 1_000_000_000, &mut inner);
        inner.push(9 << 3 | 5);
        inner.extend(((nanos % 1_000_000_000) as u32).to_le_bytes());
        bytes_field(10, &dns_query(number), &mut inner);
        let mut outer = Vec::new();
        bytes_field(1, b"knot-edge1", &mut outer);
        bytes_field(2, b"knot-3.2.6", &mut outer);
        bytes_field(14, &inner, &mut outer);
        outer.extend([15 << 3, 1]);
        bytes.extend((outer.len() as u32).to_be_bytes());
        bytes.extend(outer);
    }
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 3]);
    bytes.into()
}

/// The hash of rustc's tables: a rotation and a multiplication a word.
#[derive(Default)]
struct QuickHasher(u64);

impl Hasher for QuickHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

fn input(bytes: &Arc<[u8]>) -> Input {
    Input::from_reader("bench", Cursor::new(Arc::clone(bytes))).expect("plain content opens")
}

fn lines(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("lines");
    group.throughput(Throughput::Elements(u64::from(LINES))).sample_size(10);
    let options = ReadOptions { year: Some(2026), ..ReadOptions::default() };
    for format in LogFormat::ALL {
        let bytes = match format {
            LogFormat::Dnstap => continue,
            LogFormat::Pcap => capture(),
            _ => text(format),
        };
        group.bench_function(format.name(), |b| {
            b.iter_batched(
                || input(&bytes),
                |input| {
                    let mut names = 0;
                    let report = read_queries_from(input, &options, &mut |query| names += query.name.len());
                    let report = report.expect("a valid log");
                    assert_eq!((report.format, report.queries), (format, u64::from(LINES)));
                    black_box(names)
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

/// A table of 65,536 networks in 16 regions, as an operator has it.
fn geography() -> Geography {
    let regions: Vec<_> = (0..16)
        .map(|number| Region {
            name: format!("r{number}"),
            lat: 0.0,
            lon: 0.0,
            time_zone: "UTC".into(),
            access: LinkId(0),
        })
        .collect();
    let prefixes = (0..=u16::MAX).map(|network| {
        let [high, low] = network.to_be_bytes();
        let address = IpAddr::from([203, high, low, 0]);
        (Prefix::new(address, 24).expect("24 bits are few enough"), RegionId(network % 16))
    });
    Geography::new(&regions).with_prefixes(prefixes)
}

fn aggregate(c: &mut Criterion<CpuTime>) {
    let (bytes, geography) = (tap(), geography());
    let mut group = c.benchmark_group("dnstap");
    group.throughput(Throughput::Elements(u64::from(MESSAGES))).sample_size(10);
    group.bench_function("aggregate", |b| {
        b.iter_batched(
            || input(&bytes),
            |input| {
                let mut counts: HashMap<u64, u32, BuildHasherDefault<QuickHasher>> = HashMap::default();
                let report = read_queries_from(input, &ReadOptions::default(), &mut |query| {
                    let region = geography.locate(query.client, query.ecs).map_or(usize::MAX, |(r, _)| r.index());
                    let mut name = QuickHasher::default();
                    name.write(query.name.as_bytes());
                    let window = query.at.as_nanos() / 10_000_000_000;
                    // Two keys of 64 bits agree by chance once in billions of such tables.
                    name.write_u64(window << 16 | region as u64);
                    *counts.entry(name.finish()).or_default() += 1;
                });
                assert_eq!(report.expect("a valid stream").queries, u64::from(MESSAGES));
                assert_eq!(counts.values().sum::<u32>(), MESSAGES);
                black_box(counts.len())
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// As `forebay import` does it: a file into counts by minute, region and class, of ten networks at least.
fn demand(c: &mut Criterion<CpuTime>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (log, table) = (folder.path().join("tap"), folder.path().join("networks.csv"));
    std::fs::write(&log, tap()).expect("writable");
    let mut networks = "prefix,region\n".to_owned();
    for network in 0..=u16::MAX {
        let [high, low] = network.to_be_bytes();
        writeln!(networks, "203.{high}.{low}.0/24,r{}", network % 16).expect("a text takes all");
    }
    std::fs::write(&table, networks).expect("writable");
    let options = DemandOptions {
        read: ReadOptions::default(),
        census: CensusOptions {
            window: forebay_world::Duration::from_mins(1),
            lateness: forebay_world::Duration::from_mins(10),
            k: 10,
        },
        vantage: None,
    };
    let mut classes = NameClasses::new();
    classes.add_zone("cdn.test").expect("a name");
    classes.add_rule("v1*.edge.cdn.test=video").expect("a rule");
    let mut group = c.benchmark_group("dnstap");
    group.throughput(Throughput::Elements(u64::from(MESSAGES))).sample_size(10);
    group.bench_function("demand", |b| {
        b.iter_batched(
            || Atlas::open(std::slice::from_ref(&table)).expect("a valid table"),
            |atlas| {
                let demand = read_demand(std::slice::from_ref(&log), &options, Some(atlas), classes.clone());
                let demand = demand.expect("a valid log");
                assert_eq!(demand.report.tally.queries, u64::from(MESSAGES));
                black_box(demand.rows().count())
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = lines, aggregate, demand
}
criterion_main!(benches);
