//! Metrics for Prometheus: pages in its text format, given to whoever asks by HTTP (GET `/metrics`).
//!
//! One page at a time is held, made by whoever measures; the server reads one request after the other, of bounded size and
//! within bounded time, and closes each connection. Exposition format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The longest request that is read \[bytes\].
const REQUEST_MOST: usize = 8 * 1024;
/// A request that takes longer is not answered.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks for a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// A page of metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page(String);

/// What a metric counts (Prometheus's types).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It may rise and fall.
    Gauge,
    /// It only rises; its name ends in `_total`.
    Counter,
}

impl Page {
    /// Adds a family of samples: labels and a value each. A family without samples is left out.
    ///
    /// Names are ours: ASCII letters, digits and `_`. The text of labels may be any.
    pub fn family<'a>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>,
    ) {
        let plain = |name: &str| !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        assert!(plain(name) && (kind == Kind::Gauge || name.ends_with("_total")), "{name} is no name of a metric");
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let word = if kind == Kind::Gauge { "gauge" } else { "counter" };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {word}");
        for (labels, value) in samples {
            self.0.push_str(name);
            for (position, (label, text)) in labels.iter().enumerate() {
                assert!(plain(label), "{label} is no name of a label");
                let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                let _ = write!(self.0, "{}{label}=\"{text}\"", if position == 0 { '{' } else { ',' });
            }
            if !labels.is_empty() {
                self.0.push('}');
            }
            let value = match value {
                value if value.is_nan() => "NaN".to_owned(),
                value if value == f64::INFINITY => "+Inf".to_owned(),
                value if value == f64::NEG_INFINITY => "-Inf".to_owned(),
                value => value.to_string(),
            };
            let _ = writeln!(self.0, " {value}");
        }
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Serves the last page that was published. Stops when dropped.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    page: Arc<Mutex<Arc<Page>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MetricsServer {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be listened at.
    pub fn bind(address: SocketAddr) -> io::Result<MetricsServer> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (page, stop) = (Arc::<Mutex<Arc<Page>>>::default(), Arc::<AtomicBool>::default());
        let (shown, asked) = (Arc::clone(&page), Arc::clone(&stop));
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                match listener.accept() {
                    // Whoever goes away before the end has no use for an answer.
                    Ok((stream, _)) => drop(answer(stream, &shown)),
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        })?;
        Ok(MetricsServer { address, page, stop, thread: Some(thread) })
    }

    /// Where it listens; a port 0 is replaced by the one that was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is answered from now on.
    pub fn publish(&self, page: Page) {
        *self.page.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(page);
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream, page: &Mutex<Arc<Page>>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = match read_head(&mut stream)? {
        Some(request) => request,
        None => {
            return respond(&mut stream, "431 Request Header Fields Too Large", "", "the request is too long\n", true);
        }
    };
    let mut words = request.lines().next().unwrap_or_default().split(' ');
    let (method, target, version) = (words.next(), words.next().unwrap_or_default(), words.next());
    if !version.is_some_and(|version| version.starts_with("HTTP/1.")) {
        return respond(&mut stream, "400 Bad Request", "", "this is no request of HTTP/1\n", true);
    }
    let with_body = match method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => {
            return respond(&mut stream, "405 Method Not Allowed", "Allow: GET, HEAD\r\n", "only GET and HEAD\n", true);
        }
    };
    match target.split('?').next().unwrap_or_default() {
        "/metrics" => {
            let page = Arc::clone(&page.lock().unwrap_or_else(PoisonError::into_inner));
            respond(&mut stream, "200 OK", "", page.text(), with_body)
        }
        _ => respond(&mut stream, "404 Not Found", "", "metrics are at /metrics\n", with_body),
    }
}

/// The head of a request; `None` when it is longer than is read.
fn read_head(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let deadline = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= REQUEST_MOST {
            return Ok(None);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => head.extend_from_slice(&chunk[..read]),
        }
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

fn respond(stream: &mut TcpStream, status: &str, more: &str, body: &str, with_body: bool) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n{more}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    if with_body {
        stream.write_all(body.as_bytes())?;
    }
    stream.flush()
}

#[cfg(test)]
mod tests;
