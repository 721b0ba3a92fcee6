//! Asks one name server: over UDP and TCP, with a signature where there is a key, and for a client's network.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use domain::base::iana::{Class, Rcode, Rtype, TsigRcode};
use domain::base::message_builder::AdditionalBuilder;
use domain::base::opt::ClientSubnet;
use domain::base::{Message, MessageBuilder, Name, UnknownRecordData};
use domain::rdata::Tsig;
use domain::rdata::tsig::Time48;
use domain::tsig::{ClientTransaction, Key, ValidationError};

use super::SteeringError;
use super::dns_name::DnsName;
use super::secret::TsigKey;
use crate::prefix::Prefix;

/// Largest datagram that we take and send (DNS flag day 2020).
pub(super) const DATAGRAM_BYTES: usize = 1232;

/// By what a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams, and TCP for what does not fit.
    Udp,
    /// One connection, kept.
    Tcp,
}

/// What a server is asked with.
pub(super) struct Asker {
    pub(super) server: SocketAddr,
    pub(super) transport: Transport,
    pub(super) key: Option<TsigKey>,
    pub(super) timeout: Duration,
    /// Tells the time \[s since the Unix epoch\].
    pub(super) clock: fn() -> u64,
    connection: Option<TcpStream>,
}

/// Records of an answer that have the name and type asked for.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) rcode: Rcode,
    pub(super) ttl_seconds: u32,
    /// As on the wire, sorted.
    pub(super) records: Vec<Vec<u8>>,
    /// Types that came besides: a CNAME in place of what was asked for.
    pub(super) others: Vec<Rtype>,
}

impl Asker {
    pub(super) fn new(server: SocketAddr, transport: Transport, key: Option<TsigKey>, timeout: Duration) -> Self {
        Asker { server, transport, key, timeout, clock: super::zone::unix_time, connection: None }
    }

    /// Asks for the records of a name, as a client in this network would, or as [nobody's client](own_network).
    pub(super) fn ask(
        &mut self,
        name: &DnsName,
        rtype: Rtype,
        client: Option<Prefix>,
    ) -> Result<Answered, SteeringError> {
        let qname = wire_name(name);
        let mut question = MessageBuilder::new_vec().question();
        question.push((&qname, rtype, Class::IN)).expect("a question fits");
        let mut additional = question.additional();
        let opt = additional.opt(|opt| {
            opt.set_udp_payload_size(DATAGRAM_BYTES as u16);
            let client = client.unwrap_or_else(own_network);
            opt.push(&ClientSubnet::new(client.length(), 0, client.address()))
        });
        opt.expect("options fit");
        let answer = self.exchange(additional)?;
        let malformed = |_| self.rejected("a question", "its answer cannot be understood");
        let mut found =
            Answered { rcode: answer.header().rcode(), ttl_seconds: 0, records: Vec::new(), others: Vec::new() };
        for record in answer.answer().map_err(malformed)? {
            let record = record.map_err(malformed)?;
            if record.rtype() != rtype {
                found.others.push(record.rtype());
            } else if record.owner() == qname
                && let Some(record) = record.to_record::<UnknownRecordData<_>>().map_err(malformed)?
            {
                found.ttl_seconds = record.ttl().as_secs();
                found.records.push(record.data().data().to_vec());
            }
        }
        found.records.sort();
        Ok(found)
    }

    /// Addresses that a client in this network is answered, and for how long \[s\].
    pub(super) fn addresses(
        &mut self,
        name: &DnsName,
        v6: bool,
        client: Option<Prefix>,
    ) -> Result<(Vec<IpAddr>, u32), SteeringError> {
        let answered = self.ask(name, if v6 { Rtype::AAAA } else { Rtype::A }, client)?;
        let addresses = answered.records.iter().filter_map(|bytes| address(bytes)).collect();
        Ok((addresses, answered.ttl_seconds))
    }

    /// Sends a message, signed where there is a key, and returns the answer to it, whatever it says.
    pub(super) fn exchange(
        &mut self,
        mut message: AdditionalBuilder<Vec<u8>>,
    ) -> Result<Message<Vec<u8>>, SteeringError> {
        message.header_mut().set_random_id();
        let ours = (self.clock)();
        let signed = self.key.clone().map(|key| {
            ClientTransaction::<Key>::request(key.key().clone(), &mut message, Time48::from_u64(ours))
                .map_err(|_| self.rejected("a message", "it is too long to be signed"))
        });
        let signed = signed.transpose()?;
        let sent = message.finish();
        let datagram = self.transport == Transport::Udp && sent.len() <= DATAGRAM_BYTES;
        let mut answer = if datagram { self.by_datagram(&sent)? } else { self.by_stream(&sent)? };
        if datagram && answer.header().tc() {
            answer = self.by_stream(&sent)?;
        }
        if let Some(signed) = signed {
            self.validate(&signed, &mut answer, ours)?;
        }
        Ok(answer)
    }

    fn by_datagram(&self, sent: &[u8]) -> Result<Message<Vec<u8>>, SteeringError> {
        let any = if self.server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).map_err(|error| self.unreachable(&error))?;
        socket.connect(self.server).map_err(|error| self.unreachable(&error))?;
        socket.send(sent).map_err(|error| self.unreachable(&error))?;
        let begun = Instant::now();
        let mut buffer = vec![0; 65_535];
        loop {
            let left = self.timeout.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(self.unreachable(&std::io::ErrorKind::TimedOut.into()));
            }
            socket.set_read_timeout(Some(left)).map_err(|error| self.unreachable(&error))?;
            let length = socket.recv(&mut buffer).map_err(|error| self.unreachable(&error))?;
            // What answers another question is not for us.
            if let Some(answer) = answer_to(sent, &buffer[..length]) {
                return Ok(answer);
            }
        }
    }

    fn by_stream(&mut self, sent: &[u8]) -> Result<Message<Vec<u8>>, SteeringError> {
        let kept = self.connection.is_some();
        match self.over_connection(sent) {
            // A server closes what has been idle, before it has read anything.
            Err(error) if kept && is_closed(&error) => self.over_connection(sent),
            other => other,
        }
        .map_err(|error| self.unreachable(&error))
    }

    fn over_connection(&mut self, sent: &[u8]) -> std::io::Result<Message<Vec<u8>>> {
        // Only what ended well is kept.
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => TcpStream::connect_timeout(&self.server, self.timeout)?,
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        let length = u16::try_from(sent.len()).map_err(|_| std::io::Error::other("a message above 65,535 bytes"))?;
        stream.write_all(&[&length.to_be_bytes(), sent].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer)?;
        let answer = answer_to(sent, &answer).ok_or_else(|| std::io::Error::other("it answers another question"))?;
        self.connection = Some(stream);
        Ok(answer)
    }

    fn validate(
        &self,
        signed: &ClientTransaction<Key>,
        answer: &mut Message<Vec<u8>>,
        ours: u64,
    ) -> Result<(), SteeringError> {
        let endpoint = self.endpoint();
        let name = signed.key().name();
        let credentials = |why: String, hint| Err(SteeringError::Credentials { endpoint: endpoint.clone(), why, hint });
        let tsig = answer
            .get_last_additional::<Tsig<_, _>>()
            .map(|record| (record.data().error(), record.data().time_signed(), record.data().other_time()));
        // Before the signature: that of a message about the time may itself be out of time.
        if let Some((TsigRcode::BADTIME, _, Some(theirs))) = tsig {
            return Err(SteeringError::Clock { endpoint, ours, theirs: theirs.into() });
        }
        match signed.answer(answer, Time48::from_u64((self.clock)())) {
            Ok(()) => Ok(()),
            Err(ValidationError::ServerBadKey) => {
                credentials(format!("BADKEY: it does not know key {name}"), "does the server have a key of that name?")
            }
            Err(ValidationError::ServerBadSig) => {
                let why = format!("BADSIG: it has another secret for key {name}");
                credentials(why, "copy the secret from the server's configuration anew")
            }
            Err(ValidationError::ServerBadTime { server, .. }) => {
                Err(SteeringError::Clock { endpoint, ours, theirs: server.into() })
            }
            Err(ValidationError::BadTime) => {
                let theirs = tsig.map_or(0, |(_, signed, _)| signed.into());
                Err(SteeringError::Clock { endpoint, ours, theirs })
            }
            Err(ValidationError::ServerUnsigned) => {
                let rcode = answer.header().rcode();
                if rcode == Rcode::REFUSED || rcode == Rcode::NOTAUTH {
                    let why = format!("{rcode}, without a signature: it does not accept key {name}");
                    return credentials(why, "check the key, the clocks, and what the server lets it do");
                }
                Err(self.rejected("a signed message", &format!("an answer without a signature ({rcode})")))
            }
            Err(other) => credentials(
                format!("its answer does not prove that it knows key {name}: {other}"),
                "is it the right server, and the right secret?",
            ),
        }
    }

    pub(super) fn endpoint(&self) -> String {
        let transport = if self.transport == Transport::Udp { "udp" } else { "tcp" };
        format!("{transport}:{}", self.server)
    }

    pub(super) fn rejected(&self, what: &str, why: &str) -> SteeringError {
        SteeringError::Rejected { endpoint: self.endpoint(), what: what.to_owned(), why: why.to_owned() }
    }

    fn unreachable(&self, error: &std::io::Error) -> SteeringError {
        let why = match error.kind() {
            std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => {
                format!("no answer within {:.1} s", self.timeout.as_secs_f64())
            }
            _ => error.to_string(),
        };
        SteeringError::Unreachable { endpoint: self.endpoint(), why }
    }
}

fn is_closed(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// The message when it is the answer to another: same number, same kind, same question where it has one.
fn answer_to(sent: &[u8], received: &[u8]) -> Option<Message<Vec<u8>>> {
    let (sent, answer) = (Message::from_octets(sent).ok()?, Message::from_octets(received.to_vec()).ok()?);
    let (ours, theirs) = (sent.header(), answer.header());
    let matches = theirs.qr() && ours.id() == theirs.id() && ours.opcode() == theirs.opcode();
    let same = answer.header_counts().qdcount() == 0 || answer.question() == sent.question();
    (matches && same).then_some(answer)
}

/// The network on whose behalf we ask when it is on nobody's (RFC 7871): one that no client is in (RFC 5737: TEST-NET-1), so
/// that whoever counts queries can tell ours, which are no demand.
pub fn own_network() -> Prefix {
    Prefix::new(Ipv4Addr::new(192, 0, 2, 0).into(), 24).expect("24 bits of 32")
}

pub(super) fn wire_name(name: &DnsName) -> Name<Vec<u8>> {
    Name::from_octets(name.to_wire()).expect("a name of the right length")
}

/// The address in the data of an A or AAAA record.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
