//! How fast recordings are read, from memory: dnstap messages (half of them queries with a client subnet, half
//! responses), the same as regions, and rows of counts.
//!
//! Targets: 2 million dnstap messages a second on one core; 125,000 rows of counts in well under 0.2 s.

use std::hint::black_box;
use std::io::Cursor;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use forebay_adapters::counts::read_counts_from;
use forebay_adapters::dnstap::read_dnstap;
use forebay_adapters::recording::read_recording_from;
use forebay_adapters::{Fallback, Geography, Input, ReadOptions};
use forebay_world::{LinkId, Region, Timestamp};

const MESSAGES: u32 = 200_000;

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

/// A query for one of 5,000 names with the subnet of one of 65,536 networks.
fn dns_query(number: u32) -> Vec<u8> {
    let mut message = vec![0, 0, 0, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in [&format!("v{}", number % 5000)[..], "edge", "cdn", "test"] {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    let network = (number.wrapping_mul(2_654_435_761) >> 16) as u16;
    let [high, low] = network.to_be_bytes();
    message.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0, 203, high, low]);
    message
}

/// A stream as an authoritative server writes it: each query followed by its response.
fn stream() -> Arc<[u8]> {
    let content = b"protobuf:dnstap.Dnstap";
    let mut bytes = vec![0, 0, 0, 0, 0, 0, 0, 34, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 22];
    bytes.extend(content);
    for number in 0..MESSAGES {
        let response = number % 2 == 1;
        let mut inner = vec![8, 1 + u8::from(response), 16, 1, 24, 1];
        bytes_field(4, &[10, 0, (number >> 8) as u8, number as u8], &mut inner);
        bytes_field(5, &[192, 0, 2, 53], &mut inner);
        inner.extend([6 << 3, 53, 7 << 3, 53]);
        inner.push(8 << 3);
        varint(1_795_371_023 + u64::from(number / 50_000), &mut inner);
        inner.push(9 << 3 | 5);
        inner.extend((number % 50_000 * 20_000).to_le_bytes());
        bytes_field(if response { 14 } else { 10 }, &dns_query(number), &mut inner);
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

fn input(bytes: &Arc<[u8]>) -> Input {
    Input::from_reader("bench", Cursor::new(Arc::clone(bytes))).expect("plain content opens")
}

fn dnstap(c: &mut Criterion) {
    let bytes = stream();
    let mut group = c.benchmark_group("dnstap");
    group.throughput(Throughput::Elements(u64::from(MESSAGES))).sample_size(20);
    group.bench_function("read", |b| {
        b.iter_batched(
            || input(&bytes),
            |input| {
                let mut names = 0;
                let report = read_dnstap(input, &ReadOptions::default(), &mut |query| names += query.name.len())
                    .expect("a valid stream");
                assert_eq!(report.queries, u64::from(MESSAGES / 2));
                black_box(names)
            },
            BatchSize::LargeInput,
        );
    });
    let regions = [("ams", 52.4, 4.9), ("nyc", 40.7, -74.0)].map(|(name, lat, lon)| Region {
        name: name.into(),
        lat,
        lon,
        time_zone: "UTC".into(),
        access: LinkId(0),
    });
    let geography = Geography::new(&regions).with_fallback(Fallback::Spread);
    group.bench_function("record", |b| {
        b.iter_batched(
            || input(&bytes),
            |input| black_box(read_recording_from(input, &geography).expect("a valid stream").queries.len()),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn counts(c: &mut Criterion) {
    const ROWS: u64 = 125_000;
    let mut text = String::from("timestamp,value\n");
    for minute in 0..ROWS {
        text += &format!("{},{}\n", Timestamp::from_secs(893_971_800 + 60 * minute), minute % 977);
    }
    let bytes: Arc<[u8]> = text.into_bytes().into();
    let mut group = c.benchmark_group("counts");
    group.throughput(Throughput::Elements(ROWS)).sample_size(20);
    group.bench_function("read", |b| {
        b.iter_batched(
            || input(&bytes),
            |input| black_box(read_counts_from(input).expect("valid rows").report.rows),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, dnstap, counts);
criterion_main!(benches);
