//! QEMU's machine protocol (docs/interop/qmp-spec.rst): a JSON object a line, over the socket of one machine.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde_json::{Value, json};

/// Longest line that is read [bytes].
const LINE_BYTES_MOST: u64 = 4 << 20;

/// A session with one machine. Only one at a time is served; others wait until it ends.
#[derive(Debug)]
pub(super) struct Qmp {
    reader: BufReader<UnixStream>,
    deadline: Instant,
}

/// What became of a question.
#[derive(Debug, thiserror::Error)]
pub(super) enum QmpError {
    /// Nobody answers.
    #[error(transparent)]
    Lost(#[from] io::Error),
    /// What came is no answer.
    #[error("{0}")]
    Garbage(String),
    /// The answer is no.
    #[error("{0}")]
    Refused(String),
}

impl Qmp {
    /// Connects; all that is asked has to be answered within `patience`.
    pub(super) fn connect(path: &Path, patience: Duration) -> Result<Qmp, QmpError> {
        // Without blocking: a machine that hangs takes no more connections.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(io::Error::from)?;
        connect(&socket, &SocketAddrUnix::new(path).map_err(io::Error::from)?).map_err(io::Error::from)?;
        let stream = UnixStream::from(socket);
        stream.set_nonblocking(false)?;
        let mut session = Qmp { reader: BufReader::new(stream), deadline: Instant::now() + patience };
        let greeting = session.read()?;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Garbage(format!(
                "no greeting came, but {}",
                crate::error::shown(greeting.to_string().as_bytes())
            )));
        }
        session.ask("qmp_capabilities", json!({}))?;
        Ok(session)
    }

    /// Asks something that changes nothing.
    pub(super) fn query(&mut self, command: &'static str, arguments: Value) -> Result<Value, QmpError> {
        assert!(command.starts_with("query-") || command == "qom-get", "{command} may change something");
        self.ask(command, arguments)
    }

    /// Asks, and gives the answer.
    pub(super) fn ask(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let mut line = json!({"execute": command, "arguments": arguments}).to_string();
        line.push('\n');
        let stream = self.reader.get_mut();
        stream.set_write_timeout(Some(left(self.deadline)?))?;
        stream.write_all(line.as_bytes())?;
        loop {
            let mut message = self.read()?;
            if let Some(answer) = message.get_mut("return") {
                return Ok(answer.take());
            }
            if let Some(error) = message.get("error") {
                let said = error.get("desc").and_then(Value::as_str).unwrap_or("no reason given");
                return Err(QmpError::Refused(format!("{command}: {said}")));
            }
            // Whatever else comes is an event.
        }
    }

    fn read(&mut self) -> Result<Value, QmpError> {
        let mut line = Vec::new();
        self.reader.get_mut().set_read_timeout(Some(left(self.deadline)?))?;
        let read = self.reader.by_ref().take(LINE_BYTES_MOST).read_until(b'\n', &mut line);
        match read {
            Ok(0) => Err(QmpError::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"))),
            Ok(_) => serde_json::from_slice(&line).map_err(|error| QmpError::Garbage(format!("{error} in an answer"))),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err(QmpError::Lost(io::Error::new(io::ErrorKind::TimedOut, "it does not answer")))
            }
            Err(error) => Err(QmpError::Lost(error)),
        }
    }
}

/// What is left of the time.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer")) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Asks a server that says these lines, each when it is asked.
    fn asked(lines: &'static [&'static str], patience: Duration) -> Result<Value, QmpError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut questions = BufReader::new(stream.try_clone().unwrap()).lines();
                for line in lines {
                    if stream.write_all(line.as_bytes()).is_err() {
                        return;
                    }
                    if line.contains("return") || line.contains("QMP") {
                        questions.next();
                    }
                }
                // Until the other side has had enough.
                let _ = questions.next();
            });
            Qmp::connect(&path, patience)?.ask("query-status", json!({}))
        })
    }

    #[test]
    fn an_answer_is_found_among_events() {
        let lines = &[
            "{\"QMP\": {}}\n",
            "{\"event\": \"RESUME\"}\n{\"return\": {}}\n",
            "{\"event\": \"STOP\"}\n{\"return\": {\"status\": \"paused\"}}\n",
        ];
        assert_eq!(asked(lines, Duration::from_secs(60)).unwrap(), json!({"status": "paused"}));
    }

    #[test]
    fn whatever_is_no_answer_is_an_error() {
        let patience = Duration::from_secs(60);
        let refused = &["{\"QMP\": {}}\n", "{\"return\": {}}\n", "{\"error\": {\"desc\": \"never\"}}\n"];
        assert_eq!(asked(refused, patience).unwrap_err().to_string(), "query-status: never");
        assert!(matches!(asked(&["{}\n"], patience).unwrap_err(), QmpError::Garbage(_)));
        assert!(matches!(asked(&["\u{1}\n"], patience).unwrap_err(), QmpError::Garbage(_)));
        let silent = asked(&[], Duration::from_millis(30)).unwrap_err();
        assert!(matches!(&silent, QmpError::Lost(error) if error.kind() == io::ErrorKind::TimedOut), "{silent:?}");
    }
}
