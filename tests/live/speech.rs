//! What is said to hypervisors, switches, kernels and name servers: whether it asks, or changes something.

use serde_json::Value;

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Said {
    /// In which language.
    pub(crate) kind: &'static str,
    pub(crate) what: String,
    pub(crate) is_write: bool,
}

impl Said {
    pub(crate) fn write(kind: &'static str, what: String) -> Said {
        Said { kind, what, is_write: true }
    }

    fn new(kind: &'static str, what: impl Into<String>, is_look: bool) -> Said {
        Said { kind, what: what.into(), is_write: !is_look }
    }
}

/// JSON values that follow one another; what is none of them ends them.
fn values(kind: &'static str, stream: &[u8]) -> (Vec<Value>, Option<Said>) {
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_slice(stream).into_iter() {
        match value {
            Ok(value) => found.push(value),
            Err(error) => return (found, Some(Said::write(kind, format!("not understood: {error}")))),
        }
    }
    (found, None)
}

/// QEMU's machine protocol (docs/interop/qmp-spec.rst).
pub(crate) fn qmp(stream: &[u8]) -> Vec<Said> {
    let (values, rest) = values("qmp", stream);
    let said = values.iter().map(|value| {
        let command = value["execute"].as_str().or(value["exec-oob"].as_str()).unwrap_or("?");
        let asks = command.starts_with("query-") || ["qmp_capabilities", "qom-get", "qom-list"].contains(&command);
        Said::new("qmp", command, asks)
    });
    said.chain(rest).collect()
}

/// RFC 7047, and the extensions of ovsdb-server(7).
pub(crate) fn ovsdb(stream: &[u8]) -> Vec<Said> {
    let (values, rest) = values("ovsdb", stream);
    let mut said = Vec::new();
    for value in values {
        let Some(method) = value["method"].as_str() else {
            // An answer, which a server asks for by an echo.
            said.push(Said::new("ovsdb", "answer", value.get("result").is_some()));
            continue;
        };
        if method != "transact" {
            let asking = [
                "echo",
                "list_dbs",
                "get_schema",
                "get_server_id",
                "monitor",
                "monitor_cond",
                "monitor_cond_since",
                "monitor_cond_change",
                "monitor_cancel",
                "set_db_change_aware",
                "cancel",
            ];
            said.push(Said::new("ovsdb", method, asking.contains(&method)));
            continue;
        }
        let operations = value["params"].as_array().map_or(&[][..], Vec::as_slice);
        for operation in operations.iter().skip(1) {
            let word = operation["op"].as_str().unwrap_or("?");
            let asks = ["select", "wait", "comment"].contains(&word);
            said.push(Said::new("ovsdb", format!("{word} {}", operation["table"].as_str().unwrap_or("")), asks));
        }
    }
    said.extend(rest);
    said
}

/// OpenFlow 1.3 to 1.5 (ONF TS-025, section 7.1: types of messages).
pub(crate) fn openflow(stream: &[u8]) -> Vec<Said> {
    let mut said = Vec::new();
    let mut rest = stream;
    while let Some(header) = rest.first_chunk::<8>() {
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let Some((message, after)) = rest.split_at_checked(length).filter(|_| length >= 8) else { break };
        rest = after;
        // A table's features are set by asking for them with a body.
        let multipart = message.get(8..10).map(|kind| u16::from_be_bytes([kind[0], kind[1]]));
        let (what, asks) = match (header[0] >= 4, header[1]) {
            (_, 0) => ("hello".to_owned(), true),
            (_, 2 | 3) => ("echo".to_owned(), true),
            (_, 5) => ("features request".to_owned(), true),
            (_, 7) => ("configuration request".to_owned(), true),
            (true, 18) => {
                (format!("multipart request {}", multipart.unwrap_or(0)), multipart != Some(12) || length == 16)
            }
            (true, 20) => ("barrier".to_owned(), true),
            (true, 22) => ("queue request".to_owned(), true),
            (_, other) => (format!("message {other} of version {}", header[0]), false),
        };
        said.push(Said::new("openflow", what, asks));
    }
    if !rest.is_empty() {
        said.push(Said::write("openflow", "not understood".to_owned()));
    }
    said
}

/// RFC 1035; an update is of RFC 2136.
pub(crate) fn dns(message: &[u8]) -> Said {
    let Some(flags) = message.get(2).filter(|_| message.len() >= 12) else {
        return Said::write("dns", "not understood".to_owned());
    };
    let what = match (flags >> 3) & 15 {
        0 => "QUERY".to_owned(),
        4 => "NOTIFY".to_owned(),
        5 => "UPDATE".to_owned(),
        other => format!("opcode {other}"),
    };
    let asks = what == "QUERY" && flags & 0x80 == 0;
    Said::new("dns", what, asks)
}

pub(crate) fn dns_over_tcp(stream: &[u8]) -> Vec<Said> {
    let mut said = Vec::new();
    let mut rest = stream;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let Some((message, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))) else { break };
        said.push(dns(message));
        rest = after;
    }
    if !rest.is_empty() {
        said.push(Said::write("dns", "not understood".to_owned()));
    }
    said
}

/// Requests without a body, one after another (RFC 9112).
pub(crate) fn http(stream: &[u8]) -> Vec<Said> {
    let text = String::from_utf8_lossy(stream);
    let mut said = Vec::new();
    for request in text.split("\r\n\r\n").filter(|request| !request.is_empty()) {
        let mut words = request.split(' ');
        let (method, page) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        said.push(Said::new("http", format!("{method} {page}"), ["GET", "HEAD"].contains(&method)));
    }
    said
}

/// What is said to whoever tells of queries: control frames (Frame Streams: an escape of four zero bytes, a length, a type).
pub(crate) fn frame_streams(stream: &[u8]) -> Vec<Said> {
    let number = |at: usize| stream.get(at..at + 4).map(|bytes| u32::from_be_bytes(bytes.try_into().expect("four")));
    let mut said = Vec::new();
    let mut at = 0;
    while let (Some(0), Some(length), Some(kind)) = (number(at), number(at + 4), number(at + 8)) {
        let (what, asks) = match kind {
            1 => ("accept", true),
            5 => ("finish", true),
            _ => ("frame", false),
        };
        said.push(Said::new("dnstap", what, asks));
        at += 8 + length as usize;
    }
    if at != stream.len() {
        said.push(Said::write("dnstap", "not understood".to_owned()));
    }
    said
}

/// Messages to the kernel, as strace shows them: rtnetlink(7) and sock_diag(7).
pub(crate) fn netlink(arguments: &str) -> Vec<Said> {
    let kinds = arguments.split("nlmsg_type=").skip(1).map(|rest| rest.split([',', '}']).next().unwrap_or("?"));
    let asks =
        |kind: &str| kind.starts_with("RTM_GET") || ["SOCK_DIAG_BY_FAMILY", "NLMSG_DONE", "NLMSG_NOOP"].contains(&kind);
    let said: Vec<Said> = kinds.map(|kind| Said::new("netlink", kind, asks(kind))).collect();
    if said.is_empty() { vec![Said::write("netlink", "not understood".to_owned())] } else { said }
}
