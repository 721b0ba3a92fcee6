//! How fast dnstap comes in through a unix socket: a sender in a thread of its own writes frames as fast as it can,
//! the listener's thread takes them apart, and this one counts what it receives.
//!
//! Target: 500,000 messages a second. Time is that of the wall: three threads share it, so other programs on the
//! machine slow it down.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay_adapters::dnstap_listener::{DnstapListener, ListenAddress, ListenOptions, Received};

const MESSAGES: u64 = 400_000;

fn control(kind: u32, content: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    if !content.is_empty() {
        fields = [1, content.len() as u32].map(u32::to_be_bytes).concat();
        fields.extend(content);
    }
    let mut bytes = [0, 4 + fields.len() as u32, kind].map(u32::to_be_bytes).concat();
    bytes.extend(fields);
    bytes
}

fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend([number << 3 | 2, bytes.len() as u8]);
    out.extend(bytes);
}

/// A query with a client subnet, as a server writes it: 130 bytes.
fn frame(number: u64) -> Vec<u8> {
    let mut query = vec![0, 7, 0, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in [&format!("v{:04}", number % 5000)[..], "edge", "cdn", "test"] {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1, 0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0, 203, 0, number as u8]);
    let mut message = vec![8, 1, 16, 1, 24, 1];
    field(4, &[10, 0, (number >> 8) as u8, number as u8], &mut message);
    field(5, &[192, 0, 2, 53], &mut message);
    message.extend([48, 0xc0, 0xb8, 2, 56, 53, 64, 0xcf, 0xb1, 0x8b, 0xd8, 6, 77, 1, 2, 3, 4]);
    field(10, &query, &mut message);
    let mut outer = Vec::new();
    field(1, b"knot-edge1", &mut outer);
    field(14, &message, &mut outer);
    outer.extend([15 << 3, 1]);
    let mut bytes = (outer.len() as u32).to_be_bytes().to_vec();
    bytes.extend(outer);
    bytes
}

fn listener(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("tap.sock");
    let options = ListenOptions { queue_batches_max: 4096, ..ListenOptions::default() };
    let listener = DnstapListener::bind(&[ListenAddress::Unix(path.clone())], &options).expect("the socket is free");
    let frames: Vec<u8> = (0..MESSAGES).flat_map(frame).collect();
    let mut group = c.benchmark_group("listener");
    group.throughput(Throughput::Elements(MESSAGES)).sample_size(10);
    group.bench_function("unix", |b| {
        b.iter(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut stream = UnixStream::connect(&path).expect("it listens");
                    let content = b"protobuf:dnstap.Dnstap";
                    stream.write_all(&control(4, content)).expect("READY");
                    stream.read_exact(&mut [0; 42]).expect("ACCEPT");
                    stream.write_all(&control(2, content)).expect("START");
                    stream.write_all(&frames).expect("frames");
                    stream.write_all(&control(3, b"")).expect("STOP");
                    stream.read_to_end(&mut Vec::new()).expect("FINISH");
                });
                let mut seen = 0;
                while seen < MESSAGES {
                    match listener.receive(Duration::from_secs(10)) {
                        Received::Batch(batch) => seen += batch.len() as u64,
                        other => panic!("{other:?} after {seen} of {MESSAGES}"),
                    }
                }
            });
        });
    });
    group.finish();
    assert_eq!(listener.senders().iter().map(|sender| sender.dropped + sender.bad_frames).sum::<u64>(), 0);
}

criterion_group!(benches, listener);
criterion_main!(benches);
