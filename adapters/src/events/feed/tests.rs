use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(seconds)
}

const FROM: Timestamp = Timestamp::from_secs(1_790_000_000);
const UNTIL: Timestamp = Timestamp::from_secs(1_800_000_000);
const ONE: &str = "id,start,end\nx,2026-10-01,2026-10-02\n";
const TWO: &str = "id,start,end\nx,2026-10-01,2026-10-02\ny,2026-10-03,2026-10-04\n";

fn feed(source: &FeedSource) -> EventFeed {
    EventFeed::with_patience(source, EventOptions::of_window(FROM, UNTIL), Duration::from_millis(500))
}

fn ids(feed: &EventFeed) -> Vec<&str> {
    feed.events().iter().map(|event| event.id.as_str()).collect()
}

#[test]
fn addresses_are_told_from_files_and_shown_without_secrets() {
    assert_eq!(FeedSource::of("a/b.ics").unwrap(), FeedSource::File("a/b.ics".into()));
    assert_eq!(FeedSource::of("webcal://a.test/b.ics").unwrap(), FeedSource::Url("https://a.test/b.ics".into()));
    let secret = FeedSource::of("HTTPS://me:pw@a.test:8443/b.ics?token=1#x").unwrap();
    assert_eq!(secret.name(), "HTTPS://a.test:8443/b.ics");
    let error = FeedSource::of("ftp://u:p@a.test/x").unwrap_err();
    assert_eq!(error.to_string(), "ftp://a.test/x: not fetched; allowed: a path, http:// or https://");
    assert!(!error.hint().is_empty());
}

#[test]
fn a_file_that_is_replaced_by_a_worse_one_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.csv");
    let mut feed = feed(&FeedSource::File(path.clone()));
    assert_eq!(feed.freshness(), Freshness::Untried);
    let Freshness::Missing { why, .. } = feed.poll(at(1), FROM, UNTIL) else { panic!() };
    assert!(why.contains("feed.csv: cannot be read"), "{why}");
    std::fs::write(&path, ONE).unwrap();
    assert_eq!(feed.poll(at(2), FROM, UNTIL), Freshness::Fresh { since: at(2) });
    std::fs::write(&path, "id,start,end\nx,whenever,\n").unwrap();
    let Freshness::Stale { since, why, attempts } = feed.poll(at(3), FROM, UNTIL) else { panic!() };
    assert!((since, attempts) == (at(2), 1) && why.contains("feed.csv:2: \"whenever\" is no time"), "{why}");
    assert_eq!(ids(&feed), ["x"]);
    std::fs::write(&path, TWO).unwrap();
    assert!(feed.poll(at(4), FROM, UNTIL).is_fresh());
    assert_eq!(ids(&feed), ["x", "y"]);
    // An old edition goes with the window, too.
    std::fs::remove_file(&path).unwrap();
    let later = "2026-10-03T00:00:00Z".parse().unwrap();
    assert!(matches!(feed.poll(at(5), later, UNTIL), Freshness::Stale { attempts: 1, .. }));
    assert_eq!(ids(&feed), ["y"]);
}

/// A server on the loopback that gives its answers one after another, and tells what it was asked.
#[cfg(feature = "fetch")]
fn server(answers: Vec<Vec<u8>>) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, questions) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _ = asked.send(question(&mut stream));
            let _ = stream.write_all(&answer);
            // An answer without a length ends when the stream does; one that is too short is waited for.
            if !answer.ends_with(b"...") {
                let _ = stream.shutdown(std::net::Shutdown::Write);
            }
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    (address, questions)
}

#[cfg(feature = "fetch")]
fn question(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        text.push(byte[0]);
    }
    String::from_utf8_lossy(&text).to_lowercase()
}

#[cfg(feature = "fetch")]
fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

#[cfg(feature = "fetch")]
#[test]
fn an_edition_is_asked_for_once_and_kept_through_every_failure() {
    let refused = {
        // A port that was free a moment ago, and that nobody listens on.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let oversize = [answer("200 OK", "", "").as_slice(), b""].concat();
    let oversize = String::from_utf8(oversize).unwrap().replace("Content-Length: 0\r\n", "");
    let oversize = [oversize.as_bytes(), &vec![b'#'; CONTENT_MOST + 10]].concat();
    let (address, questions) = server(vec![
        answer("200 OK", "ETag: \"one\"\r\nLast-Modified: Wed, 21 Oct 2026 07:28:00 GMT\r\n", ONE),
        answer("304 Not Modified", "", ""),
        answer("500 Internal Server Error", "", "oh"),
        answer("404 Not Found", "", "oh"),
        oversize,
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nid,start...".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nid,start,end\n".to_vec(),
        b"nonsense\r\n\r\n".to_vec(),
        answer("200 OK", "", "<html>"),
        answer("200 OK", "", ""),
        answer("302 Found", &format!("Location: http://{refused}/\r\n"), ""),
        answer("302 Found", "Location: /elsewhere\r\n", ""),
        answer("200 OK", "ETag: \"two\"\r\n", TWO),
    ]);
    let source = FeedSource::of(&format!("http://user:word@{address}/feed.csv?secret=1")).unwrap();
    let mut feed = feed(&source);
    assert_eq!(feed.poll(at(1), FROM, UNTIL), Freshness::Fresh { since: at(1) });
    let first = questions.recv().unwrap();
    assert!(first.starts_with("get /feed.csv?secret=1 ") && !first.contains("if-none-match"), "{first}");
    assert_eq!(feed.poll(at(2), FROM, UNTIL), Freshness::Fresh { since: at(1) });
    let second = questions.recv().unwrap();
    assert!(second.contains("if-none-match: \"one\"") && second.contains("if-modified-since: wed, 21"), "{second}");
    for (second, reason) in [
        (3, "answers with status 500"),
        (4, "answers with status 404"),
        (5, "more than 5 MB"),
        (6, "no whole answer in time"),
        (7, ""),
        (8, ""),
        (9, "a web page"),
        (10, "an empty file"),
        (11, "connection refused"),
    ] {
        let Freshness::Stale { since, why, attempts } = feed.poll(at(second), FROM, UNTIL) else {
            panic!("{second}: {}", feed.freshness())
        };
        assert_eq!((since, attempts), (at(2), second - 2), "{why}");
        assert!(why.contains(reason), "{second}: {why}");
        assert!(why.starts_with(&format!("http://{address}/feed.csv")), "{why}");
        assert!(!why.contains("secret") && !why.contains("word"), "{why}");
        assert_eq!(ids(&feed), ["x"]);
        let _ = questions.recv().unwrap();
    }
    // By way of a redirect there is a newer one.
    assert_eq!(feed.poll(at(12), FROM, UNTIL), Freshness::Fresh { since: at(12) });
    assert_eq!(ids(&feed), ["x", "y"]);
}

#[cfg(feature = "fetch")]
#[test]
fn whoever_never_gave_anything_is_missing_and_circles_end() {
    let (address, _questions) = server(vec![answer("301 Moved", "Location: /again\r\n", ""); 9]);
    let source = FeedSource::of(&format!("http://{address}/again")).unwrap();
    let Freshness::Missing { why, .. } = feed(&source).poll(at(1), FROM, UNTIL) else { panic!() };
    assert!(why.contains("more than 3 redirects"), "{why}");
    let error = source.read(&EventOptions::of_window(FROM, UNTIL)).unwrap_err();
    assert!(matches!(&error, FeedError::Unreachable { .. }) && !error.hint().is_empty(), "{error}");
    // What was never asked for conditionally cannot be unchanged.
    let (address, _questions) = server(vec![answer("304 Not Modified", "", "")]);
    let source = FeedSource::Url(format!("http://{address}/"));
    let error = source.read(&EventOptions::of_window(FROM, UNTIL)).unwrap_err();
    assert!(matches!(error, FeedError::Status { status: 304, .. }), "{error}");
}

#[cfg(feature = "fetch")]
#[test]
fn a_packed_answer_is_unpacked() {
    let body = crate::input::tests::gzip(ONE.as_bytes());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let (address, _questions) = server(vec![[head.as_bytes(), &body].concat()]);
    let events = FeedSource::Url(format!("http://{address}/x.gz")).read(&EventOptions::of_window(FROM, UNTIL)).unwrap();
    assert_eq!(events.events.len(), 1);
}
