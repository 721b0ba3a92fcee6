use std::net::Shutdown;

use super::*;

fn server() -> MetricsServer {
    MetricsServer::bind("127.0.0.1:0".parse().unwrap()).unwrap()
}

fn ask(server: &MetricsServer, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    // It may be answered, and closed, before all of it is sent.
    let _ = stream.write_all(request);
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn a_page_is_as_prometheus_reads_it() {
    let mut page = Page::default();
    page.family("forebay_up", Kind::Gauge, "Whether.\nTwo lines \\.", [(vec![], 1.0)]);
    page.family(
        "forebay_launches_total",
        Kind::Counter,
        "Launches.",
        [(vec![("region", "a\"m\\s\n"), ("class", "video")], 3.5), (vec![("region", "x")], f64::NAN)],
    );
    page.family("forebay_nothing", Kind::Gauge, "None.", []);
    let text = "# HELP forebay_up Whether.\\nTwo lines \\\\.\n# TYPE forebay_up gauge\nforebay_up 1\n\
                # HELP forebay_launches_total Launches.\n# TYPE forebay_launches_total counter\n\
                forebay_launches_total{region=\"a\\\"m\\\\s\\n\",class=\"video\"} 3.5\n\
                forebay_launches_total{region=\"x\"} NaN\n";
    assert_eq!(page.text(), text);
}

#[test]
fn what_was_published_last_is_answered() {
    let server = server();
    assert!(
        ask(&server, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            .ends_with("Content-Length: 0\r\nConnection: close\r\n\r\n")
    );
    let mut page = Page::default();
    page.family("a", Kind::Gauge, "A.", [(vec![], 2.0)]);
    server.publish(page.clone());
    let said = ask(&server, b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.contains("version=0.0.4"), "{said}");
    assert!(said.ends_with(page.text()), "{said}");
    let head = ask(&server, b"HEAD /metrics HTTP/1.0\r\n\r\n");
    assert!(head.contains(&format!("Content-Length: {}\r\n", page.text().len())) && head.ends_with("\r\n\r\n"));
}

#[test]
fn whoever_asks_badly_is_told_and_keeps_nobody_waiting() {
    let server = server();
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
        (b"hello\r\n\r\n", "400"),
        (b"\xff\xfe \x00\r\n\r\n", "400"),
    ] {
        let said = ask(&server, request);
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
    }
    // One that says nothing, and one that goes away.
    let silent = TcpStream::connect(server.address()).unwrap();
    TcpStream::connect(server.address()).unwrap().shutdown(Shutdown::Both).unwrap();
    let mut long = b"GET /metrics HTTP/1.1\r\nX: ".to_vec();
    long.resize(REQUEST_MOST + 10, b'x');
    let said = ask(&server, &long);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    drop(silent);
    assert!(ask(&server, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
}
