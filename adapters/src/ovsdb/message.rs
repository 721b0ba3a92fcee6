//! Messages: JSON-RPC 1.0 over a stream without frames (RFC 7047 section 4). A message ends where its outermost bracket
//! closes, however the bytes come in pieces. Its size and depth are bounded, so that no peer can use up memory or stack.

use serde_json::{Map, Value};

use crate::error::shown;

/// Bytes of a message at most, unless told otherwise.
pub const MESSAGE_BYTES_MOST: usize = 64 << 20;
/// Brackets within brackets at most; what OVSDB says needs about ten.
const DEPTH_MOST: usize = 64;

/// What came from a peer.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A question that wants an answer.
    Request {
        /// What the answer carries.
        id: Value,
        /// What is asked.
        method: String,
        /// Its parameters.
        params: Value,
    },
    /// Something told.
    Notification {
        /// What.
        method: String,
        /// Its parameters.
        params: Value,
    },
    /// An answer.
    Reply {
        /// What the question carried.
        id: Value,
        /// The answer, null with an error.
        result: Value,
        /// What is wrong, else null.
        error: Value,
    },
}

/// Bytes that are no message. The stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Something else than an object.
    #[error("\"{found}\" came where a JSON object should begin{}", if *.tls { ", as if it spoke TLS (ssl:)" } else { "" })]
    NoObject {
        /// What came, shortened.
        found: String,
        /// It looks like a TLS record.
        tls: bool,
    },
    /// An object that is too large.
    #[error("a message of more than {bytes_most} bytes came")]
    TooLarge {
        /// What is allowed \[bytes\].
        bytes_most: usize,
    },
    /// An object that is too deep.
    #[error("a message came with brackets more than {DEPTH_MOST} deep")]
    TooDeep,
    /// No JSON within brackets.
    #[error("a message came that is no JSON: {0}")]
    NotJson(String),
    /// JSON that is neither request, notification nor reply.
    #[error("a message came that is no JSON-RPC: {0}")]
    NotRpc(String),
}

/// Takes bytes as they come and gives messages.
#[derive(Debug)]
pub struct MessageReader {
    bytes_most: usize,
    buffer: Vec<u8>,
    /// Where in the buffer the message begins that is being read.
    start: usize,
    /// Up to where the buffer was looked through.
    seen: usize,
    depth: usize,
    within_string: bool,
    escaped: bool,
    failed: Option<MessageError>,
}

impl Default for MessageReader {
    fn default() -> MessageReader {
        MessageReader::new(MESSAGE_BYTES_MOST)
    }
}

impl MessageReader {
    /// A reader of messages of at most so many bytes.
    pub fn new(bytes_most: usize) -> MessageReader {
        MessageReader {
            bytes_most,
            buffer: Vec::new(),
            start: 0,
            seen: 0,
            depth: 0,
            within_string: false,
            escaped: false,
            failed: None,
        }
    }

    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start >= self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.seen -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that were taken in and given to nobody yet.
    pub fn waiting_bytes(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// The next whole message, if there is one.
    ///
    /// # Errors
    /// [`MessageError`], from then on always the same.
    pub fn next_message(&mut self) -> Result<Option<Message>, MessageError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let found = self.scan();
        if let Err(error) = &found {
            self.failed = Some(error.clone());
        }
        found
    }

    fn scan(&mut self) -> Result<Option<Message>, MessageError> {
        while let Some(&byte) = self.buffer.get(self.seen) {
            if self.depth == 0 {
                match byte {
                    b' ' | b'\t' | b'\r' | b'\n' => {
                        self.seen += 1;
                        self.start = self.seen;
                        continue;
                    }
                    b'{' => {}
                    _ => {
                        let rest = &self.buffer[self.seen..];
                        return Err(MessageError::NoObject { found: shown(rest), tls: matches!(byte, 0x14..=0x17) });
                    }
                }
            }
            self.seen += 1;
            if self.seen - self.start > self.bytes_most {
                return Err(MessageError::TooLarge { bytes_most: self.bytes_most });
            }
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.within_string => self.escaped = true,
                b'"' => self.within_string = !self.within_string,
                _ if self.within_string => {}
                b'{' | b'[' => {
                    self.depth += 1;
                    if self.depth > DEPTH_MOST {
                        return Err(MessageError::TooDeep);
                    }
                }
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let message = read(&self.buffer[self.start..self.seen])?;
                        self.start = self.seen;
                        return Ok(Some(message));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

fn read(bytes: &[u8]) -> Result<Message, MessageError> {
    let members: Map<String, Value> = serde_json::from_slice(bytes)
        .map_err(|error| MessageError::NotJson(format!("{error} in \"{}\"", shown(bytes))))?;
    message(members).ok_or_else(|| MessageError::NotRpc(shown(bytes)))
}

fn message(mut members: Map<String, Value>) -> Option<Message> {
    let id = members.remove("id").unwrap_or(Value::Null);
    match members.remove("method") {
        Some(Value::String(method)) => {
            let params = members.remove("params").unwrap_or(Value::Null);
            match id {
                Value::Null => Some(Message::Notification { method, params }),
                id => Some(Message::Request { id, method, params }),
            }
        }
        None if members.contains_key("result") || members.contains_key("error") => {
            let mut take = |name| members.remove(name).unwrap_or(Value::Null);
            Some(Message::Reply { id, result: take("result"), error: take("error") })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn all(reader: &mut MessageReader) -> (Vec<Message>, Option<MessageError>) {
        let mut found = Vec::new();
        loop {
            match reader.next_message() {
                Ok(Some(message)) => found.push(message),
                Ok(None) => return (found, None),
                Err(error) => return (found, Some(error)),
            }
        }
    }

    fn read_in_pieces(bytes: &[u8], piece: usize) -> (Vec<Message>, Option<MessageError>) {
        let (mut reader, mut found) = (MessageReader::new(1000), Vec::new());
        for piece in bytes.chunks(piece) {
            reader.push(piece);
            let (more, error) = all(&mut reader);
            found.extend(more);
            if error.is_some() {
                return (found, error);
            }
        }
        (found, None)
    }

    #[test]
    fn messages_come_whole_wherever_the_bytes_are_split() {
        let text = concat!(
            "{\"id\":1,\"result\":{\"a\":[\"}{][\\\"\\\\\"]},\"error\":null}",
            " \n{\"method\":\"update2\",\"params\":[\"m\u{fc}\u{2026}\",{}],\"id\":null}",
            "{\"id\":\"echo\",\"method\":\"echo\",\"params\":[]}"
        );
        let whole = read_in_pieces(text.as_bytes(), text.len());
        assert_eq!(whole.1, None);
        assert_eq!(
            whole.0,
            [
                Message::Reply { id: json!(1), result: json!({"a": ["}{][\"\\"]}), error: Value::Null },
                Message::Notification { method: "update2".into(), params: json!(["m\u{fc}\u{2026}", {}]) },
                Message::Request { id: json!("echo"), method: "echo".into(), params: json!([]) },
            ]
        );
        for piece in 1..text.len() {
            assert_eq!(read_in_pieces(text.as_bytes(), piece), whole, "{piece}");
        }
        for cut in 0..text.len() {
            let mut reader = MessageReader::default();
            reader.push(&text.as_bytes()[..cut]);
            let (mut found, error) = all(&mut reader);
            assert_eq!(error, None);
            reader.push(&text.as_bytes()[cut..]);
            found.extend(all(&mut reader).0);
            assert_eq!((found, reader.waiting_bytes()), (whole.0.clone(), 0), "{cut}");
        }
    }

    #[test]
    fn what_is_no_message_says_what_came() {
        let deep = format!("{{\"id\":{}", "[".repeat(64));
        for (bytes, says) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "\"HTTP/1.1 400 Bad Request"),
            (b"\x15\x03\x03\0\x02\x02\x16", "as if it spoke TLS"),
            (b"[1]", "\"[1]\" came where a JSON object should begin"),
            (b"{]", "no JSON"),
            (b"{\"a\":\xff\xfe}", "no JSON"),
            (b"{}", "no JSON-RPC"),
            (b"{\"method\":1,\"id\":2}", "no JSON-RPC"),
            (deep.as_bytes(), "more than 64 deep"),
            (&[&b"{\"id\":\""[..], &[b'x'; 2000]].concat(), "more than 1000 bytes"),
        ] {
            for piece in [1, 7, bytes.len()] {
                let (found, error) = read_in_pieces(bytes, piece);
                assert_eq!(found, []);
                let error = error.unwrap_or_else(|| panic!("{}", shown(bytes))).to_string();
                // What is shown of a stream that is no JSON depends on what has come of it.
                assert!(error.contains(says) || piece < bytes.len() && error.contains("should begin"), "{error}");
            }
        }
        let mut reader = MessageReader::default();
        reader.push(b"x{\"id\":1,\"result\":2}");
        let first = reader.next_message().unwrap_err();
        assert_eq!(reader.next_message().unwrap_err(), first, "a stream that went wrong stays wrong");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..50) {
            let _ = read_in_pieces(&bytes, piece);
            let _ = read_in_pieces(&[b"{", &bytes[..], b"}"].concat(), piece);
        }

        #[test]
        fn brackets_and_quotes_in_any_order_are_read_without_panic(text in "[]{}\\[\",:\\\\ 1a]{0,80}", piece in 1_usize..9) {
            let whole = read_in_pieces(text.as_bytes(), 80);
            let pieces = read_in_pieces(text.as_bytes(), piece);
            prop_assert_eq!(whole.0, pieces.0);
            prop_assert_eq!(whole.1.is_some(), pieces.1.is_some());
        }
    }
}
