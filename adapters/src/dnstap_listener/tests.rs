use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::dns_message::tests::query;
use crate::dnstap::tests::frame;
use crate::frame_streams::tests::{STOP_FRAME, start, stream};
use crate::frame_streams::{DNSTAP_CONTENT, control, control_frame};
use crate::query::Vantage;
use crate::query_report::Skip;
use forebay_world::Timestamp;

const LONG: Duration = Duration::from_secs(20);

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tap.sock")
    }

    fn address(&self) -> ListenAddress {
        ListenAddress::Unix(self.path())
    }

    fn listen(&self) -> DnstapListener {
        DnstapListener::bind(&[self.address()], &ListenOptions::default()).unwrap()
    }
}

/// A frame of a query for `name`, of identity `edge1`.
fn asked(kind: u64, name: &[u8]) -> Vec<u8> {
    let client: IpAddr = "203.0.113.9".parse().unwrap();
    frame(kind, Timestamp::from_secs(7), client, &query(&[name], 1, Some("198.51.100.77/32".parse().unwrap())))
}

fn data(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_be_bytes()[..], frame].concat()
}

/// Receives until `count` queries are there; their names.
fn names(listener: &DnstapListener, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < count {
        match listener.receive(LONG) {
            Received::Batch(batch) => found.extend(batch.iter().map(|query| query.name.to_owned())),
            other => panic!("{other:?} after {found:?}"),
        }
    }
    found
}

/// Waits for the end of all connections.
fn settled(listener: &DnstapListener, connections: u64) -> Vec<SenderReport> {
    loop {
        let senders = listener.senders();
        let begun: u64 = senders.iter().map(|sender| sender.connections).sum();
        if begun >= connections && senders.iter().all(|sender| sender.open == 0) {
            return senders;
        }
        thread::yield_now();
    }
}

fn shake_hands(stream: &mut (impl Read + Write)) {
    stream.write_all(&control_frame(control::READY, Some(DNSTAP_CONTENT))).unwrap();
    let want = control_frame(control::ACCEPT, Some(DNSTAP_CONTENT));
    let mut answer = vec![0; want.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, want);
    stream.write_all(&start(DNSTAP_CONTENT)).unwrap();
}

fn say_goodbye(stream: &mut (impl Read + Write)) {
    stream.write_all(&STOP_FRAME).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, control_frame(control::FINISH, None));
}

#[test]
fn a_sender_shakes_hands_sends_and_comes_again() {
    let place = Place::new();
    let listener = place.listen();
    for name in ["a", "b"] {
        let mut stream = UnixStream::connect(place.path()).unwrap();
        shake_hands(&mut stream);
        for kind in [1, 2, 5] {
            stream.write_all(&data(&asked(kind, name.as_bytes()))).unwrap();
        }
        assert_eq!(names(&listener, 2), [name, name]);
        say_goodbye(&mut stream);
    }
    let senders = settled(&listener, 2);
    let sender = &senders[0];
    assert_eq!((senders.len(), sender.name.as_str()), (1, "edge1"));
    assert_eq!((sender.connections, sender.disconnects, sender.frames, sender.queries), (2, 0, 6, 4));
    assert_eq!((sender.skipped.get(Skip::Response), sender.bad_frames, sender.dropped), (2, 0, 0));
    assert_eq!(sender.ending, Some(Ending::Finished));
    assert!(sender.bytes > 600);
}

#[test]
fn addresses_are_cut_before_they_are_queued() {
    let place = Place::new();
    let listener = place.listen();
    let mut sender = UnixStream::connect(place.path()).unwrap();
    sender.write_all(&stream([asked(5, b"a").as_slice()])).unwrap();
    let Received::Batch(batch) = listener.receive(LONG) else { panic!("nothing came") };
    let query = batch.iter().next().unwrap();
    assert_eq!((query.client, query.ecs), ("203.0.113.0".parse().unwrap(), Some("198.51.100.0/24".parse().unwrap())));
    assert_eq!((query.at, query.qtype, query.vantage), (Timestamp::from_secs(7), 1, Vantage::BeforeResolver));
    assert_eq!((batch.len(), batch.is_empty()), (1, false));
}

#[test]
fn many_senders_of_both_kinds_are_counted_each() {
    let place = Place::new();
    let tcp: ListenAddress = "tcp:127.0.0.1:0".parse().unwrap();
    let listener = DnstapListener::bind(&[place.address(), tcp], &ListenOptions::default()).unwrap();
    let ListenAddress::Tcp(port) = listener.addresses()[1] else { panic!("the second is TCP") };
    let senders: Vec<_> = (0..8u8)
        .map(|number| {
            let path = place.path();
            thread::spawn(move || {
                let frames = vec![asked(1, &[b'a' + number]); 500];
                let bytes: Vec<u8> = frames.iter().flat_map(|frame| data(frame)).collect();
                if number % 2 == 0 {
                    let mut stream = UnixStream::connect(path).unwrap();
                    shake_hands(&mut stream);
                    // In pieces that cut frames.
                    bytes.chunks(997).for_each(|piece| stream.write_all(piece).unwrap());
                    say_goodbye(&mut stream);
                } else {
                    let mut stream = TcpStream::connect(port).unwrap();
                    shake_hands(&mut stream);
                    stream.write_all(&bytes).unwrap();
                    say_goodbye(&mut stream);
                }
            })
        })
        .collect();
    let mut found = names(&listener, 4000);
    found.sort();
    assert!(
        found.chunks(500).enumerate().all(|(n, names)| names.iter().all(|name| name.as_bytes() == [b'a' + n as u8]))
    );
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let report = settled(&listener, 8);
    assert_eq!((report[0].frames, report[0].connections, report[0].disconnects), (4000, 8, 0));
}

#[test]
fn a_sender_that_errs_is_ended_with_a_reason_and_others_go_on() {
    let place = Place::new();
    let listener = place.listen();
    let mut good = UnixStream::connect(place.path()).unwrap();
    shake_hands(&mut good);
    let begun = start(DNSTAP_CONTENT);
    let cases: [(Vec<u8>, &str); 6] = [
        (control_frame(control::READY, Some(b"protobuf:other")), "a content other than"),
        (start(b"protobuf:other"), "a content other than"),
        (data(b"x"), "a frame before START"),
        ([&begun[..], &begun].concat(), "a control frame of type 2 out of place"),
        ([&begun[..], &[0x7f, 0, 0, 0]].concat(), "a frame of 2130706432 bytes"),
        (vec![0, 0, 0, 0, 0, 0, 9, 9], "a control frame of 2313 bytes"),
    ];
    for (number, (bytes, want)) in cases.iter().enumerate() {
        let mut stream = UnixStream::connect(place.path()).unwrap();
        stream.write_all(bytes).unwrap();
        let mut rest = Vec::new();
        // Closing with unread bytes may reset the connection.
        let _ = stream.read_to_end(&mut rest);
        let sender = loop {
            let sender = listener.senders().into_iter().find(|s| s.disconnects == number as u64 + 1);
            if let Some(sender) = sender {
                break sender;
            }
            thread::yield_now();
        };
        assert!(matches!(&sender.ending, Some(Ending::Refused(why)) if why.starts_with(want)), "{sender:?}");
    }
    good.write_all(&[data(b"\xff\xff"), data(&asked(1, b"a"))].concat()).unwrap();
    assert_eq!(names(&listener, 1), ["a"]);
    drop(good);
    let senders = settled(&listener, 7);
    assert_eq!(senders.iter().map(|s| s.bad_frames).sum::<u64>(), 1);
    assert!(senders.iter().any(|s| s.ending == Some(Ending::Closed)));
}

#[test]
fn what_the_consumer_does_not_take_is_dropped_and_counted() {
    let place = Place::new();
    let options = ListenOptions { queue_batches_max: 1, ..ListenOptions::default() };
    let listener = DnstapListener::bind(&[place.address()], &options).unwrap();
    let mut stream = UnixStream::connect(place.path()).unwrap();
    shake_hands(&mut stream);
    let frames: Vec<u8> = std::iter::repeat_n(data(&asked(1, b"a")), 10_000).flatten().collect();
    stream.write_all(&frames).unwrap();
    say_goodbye(&mut stream);
    listener.stop();
    let mut received = 0;
    while let Received::Batch(batch) = listener.receive(LONG) {
        received += batch.len() as u64;
    }
    let sender = &listener.senders()[0];
    assert_eq!((sender.queries, sender.dropped + received), (10_000, 10_000));
    assert!(sender.dropped > 0, "{sender:?}");
}

#[test]
fn stopping_gives_what_has_arrived_and_takes_the_socket_away() {
    let place = Place::new();
    let listener = place.listen();
    let mut stream = UnixStream::connect(place.path()).unwrap();
    shake_hands(&mut stream);
    stream.write_all(&data(&asked(1, b"a"))).unwrap();
    listener.stop();
    assert_eq!(names(&listener, 1), ["a"]);
    assert!(matches!(listener.receive(LONG), Received::Ended));
    assert_eq!(listener.senders()[0].ending, Some(Ending::Stopped));
    assert!(!place.path().exists());
}

#[test]
fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
    let place = Place::new();
    drop(UnixListener::bind(place.path()).unwrap());
    assert!(place.path().exists());
    let listener = place.listen();
    assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o660);
    let again = DnstapListener::bind(&[place.address()], &ListenOptions::default());
    assert!(matches!(again.err().unwrap(), ListenError::InUse { .. }));
    drop(listener);
    fs::write(place.path(), "kept").unwrap();
    let file = DnstapListener::bind(&[place.address()], &ListenOptions::default()).err().unwrap();
    assert!(matches!(file, ListenError::NotASocket { .. }) && !file.hint().is_empty());
    assert_eq!(fs::read(place.path()).unwrap(), b"kept");
    let nowhere = ListenAddress::Unix(place.folder.path().join("no/such.sock"));
    let error = DnstapListener::bind(&[nowhere], &ListenOptions::default()).err().unwrap();
    assert!(error.hint().contains("folder"), "{error}");
}

#[test]
fn too_many_connections_are_refused_and_counted() {
    let place = Place::new();
    let options = ListenOptions { connections_max: 1, ..ListenOptions::default() };
    let listener = DnstapListener::bind(&[place.address()], &options).unwrap();
    let mut first = UnixStream::connect(place.path()).unwrap();
    shake_hands(&mut first);
    let mut second = UnixStream::connect(place.path()).unwrap();
    assert_eq!(second.read_to_end(&mut Vec::new()).unwrap(), 0);
    assert_eq!(listener.refused(), 1);
    first.write_all(&data(&asked(1, b"a"))).unwrap();
    assert_eq!(names(&listener, 1), ["a"]);
}

#[test]
fn addresses_are_read_and_printed() {
    for text in ["unix:/run/forebay.sock", "tcp:127.0.0.1:6000", "tcp:[::1]:6000"] {
        assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
    }
    for text in ["", "unix:", "tcp:localhost", "udp:127.0.0.1:53", "/run/forebay.sock"] {
        assert!(text.parse::<ListenAddress>().unwrap_err().to_string().contains("unix:/path/of/socket"), "{text}");
    }
}

#[test]
fn completeness_is_a_share_of_the_servers_own_count() {
    assert_eq!(completeness(970, 1000), "970 of 1000 queries seen (97.00 %), 30 lost on the way");
    assert_eq!(completeness(3, 0), "3 queries seen; the server has counted none");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_end_the_listener(bytes in proptest::collection::vec(any::<u8>(), 0..200), headed: bool) {
        let place = Place::new();
        let listener = place.listen();
        let mut sender = UnixStream::connect(place.path()).unwrap();
        let head = if headed { start(DNSTAP_CONTENT) } else { Vec::new() };
        let _ = sender.write_all(&[head, bytes].concat());
        drop(sender);
        let mut sender = UnixStream::connect(place.path()).unwrap();
        sender.write_all(&stream([asked(1, b"a").as_slice()])).unwrap();
        prop_assert!(names(&listener, 1).contains(&"a".to_owned()));
    }
}
