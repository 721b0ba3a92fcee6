//! The socket: requests out, answers in, told apart by their sequence numbers.

use std::io;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::error::NetlinkError;
use super::monitor::{Monitor, Scope};
use super::request::Request;
use super::wire::{Malformed, Message, acknowledgement, messages, u32_at};

/// Requests a datagram. The acknowledgements of all have to fit into the socket's buffer (208 KiB, of which each takes
/// about 1 KiB) before the first is read, or the kernel drops them.
const TOGETHER: usize = 64;
/// Room for a datagram: the kernel cuts lists into pieces of at most 32 KiB.
const DATAGRAM_BYTES: usize = 64 * 1024;
/// The kernel answers before it returns from being asked; that it has not after so long is an error.
const PATIENCE: Duration = Duration::from_secs(10);
/// Readings of a list that changes meanwhile.
const TRIES: u32 = 16;

/// A socket of rtnetlink.
#[derive(Debug)]
pub(super) struct RouteSocket {
    socket: Socket,
    sequence: u32,
    received: Vec<u8>,
    monitor: Monitor,
}

/// Reads one message's payload.
type Reader<'r, T> = &'r dyn Fn(&[u8]) -> Result<T, Malformed>;

impl RouteSocket {
    pub(super) fn open() -> Result<RouteSocket, NetlinkError> {
        let fail = |what| move |source| NetlinkError::Socket { what, source };
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(fail("open a socket"))?;
        socket.bind_auto().map_err(fail("bind"))?;
        // Words about refusals, without the request that they are about. Kernels before 4.12 have neither.
        let _ = (socket.set_ext_ack(true), socket.set_cap_ack(true));
        rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, Some(PATIENCE))
            .map_err(|errno| fail("set a time limit")(errno.into()))?;
        Ok(RouteSocket { socket, sequence: 0, received: Vec::with_capacity(DATAGRAM_BYTES), monitor: Monitor::open()? })
    }

    /// Asks for one object.
    pub(super) fn get<T>(
        &mut self,
        request: RouteNetlinkMessage,
        subject: &str,
        read: Reader<'_, T>,
    ) -> Result<T, NetlinkError> {
        let sequence = self.next_sequence();
        self.write(&serialised(request, NLM_F_REQUEST, sequence))?;
        loop {
            self.receive()?;
            for message in messages(&self.received) {
                let message = message.map_err(malformed(subject))?;
                if message.sequence != sequence {
                    continue;
                }
                match message.kind {
                    NLMSG_NOOP => {}
                    NLMSG_ERROR => {
                        let (errno, words) = acknowledgement(message).map_err(malformed(subject))?;
                        return Err(NetlinkError::from_errno(subject, errno, words));
                    }
                    _ => return read(message.payload).map_err(malformed(subject)),
                }
            }
        }
    }

    /// Asks for a list; entries for which `read` has `None` are left out. A list that changed while it was read is read
    /// again; changes that the kernel does not flag in the list are heard within `scope`.
    pub(super) fn list<T>(
        &mut self,
        request: RouteNetlinkMessage,
        scope: Option<Scope>,
        subject: &str,
        read: Reader<'_, Option<T>>,
    ) -> Result<Vec<T>, NetlinkError> {
        for _ in 0..TRIES {
            if scope.is_some() {
                self.monitor.begin()?;
            }
            let sequence = self.next_sequence();
            self.write(&serialised(request.clone(), NLM_F_REQUEST | NLM_F_DUMP, sequence))?;
            let list = self.read_list(sequence, subject, read)?;
            let changed = scope.map_or(Ok(false), |scope| self.monitor.end(scope))?;
            // What came in one piece was gathered under one lock.
            if !list.interrupted && (!changed || list.pieces <= 1) {
                return list.wrong.map_or(Ok(list.found), |wrong| Err(malformed(subject)(wrong)));
            }
        }
        Err(NetlinkError::Interrupted { subject: subject.to_owned(), tries: TRIES })
    }

    fn read_list<T>(
        &mut self,
        sequence: u32,
        subject: &str,
        read: Reader<'_, Option<T>>,
    ) -> Result<List<T>, NetlinkError> {
        let mut list = List { found: Vec::new(), pieces: 0, interrupted: false, wrong: None };
        loop {
            self.receive()?;
            let mut holds = false;
            for message in messages(&self.received) {
                let message = message.map_err(malformed(subject))?;
                if message.sequence != sequence {
                    continue;
                }
                // What cannot be read is told at the end: what is still to come has to be out of the way first.
                if list.take(message, subject, read)? {
                    return Ok(list);
                }
                if !std::mem::replace(&mut holds, true) {
                    list.pieces += 1;
                }
            }
        }
    }

    /// Sends requests in datagrams of some, and collects an outcome for each.
    pub(super) fn change(&mut self, requests: &[Request]) -> Result<Vec<Result<(), NetlinkError>>, NetlinkError> {
        let mut outcomes = Vec::with_capacity(requests.len());
        for together in requests.chunks(TOGETHER) {
            let first = self.sequence.wrapping_add(1);
            let mut datagram = Vec::new();
            for request in together {
                let sequence = self.next_sequence();
                datagram.extend(serialised(request.message.clone(), request.flags, sequence));
                datagram.resize(datagram.len().next_multiple_of(4), 0);
            }
            self.write(&datagram)?;
            let mut answers: Vec<Option<Result<(), NetlinkError>>> = together.iter().map(|_| None).collect();
            while answers.iter().any(Option::is_none) {
                self.receive()?;
                for message in messages(&self.received) {
                    let message = message.map_err(malformed("acknowledgement"))?;
                    let place = message.sequence.wrapping_sub(first) as usize;
                    let Some((request, answer)) = together.get(place).zip(answers.get_mut(place)) else { continue };
                    if message.kind == NLMSG_ERROR {
                        let (errno, words) = acknowledgement(message).map_err(malformed(&request.subject))?;
                        let refused = || NetlinkError::from_errno(&request.subject, errno, words);
                        *answer = Some(if errno == 0 { Ok(()) } else { Err(refused()) });
                    }
                }
            }
            outcomes.extend(answers.into_iter().flatten());
        }
        Ok(outcomes)
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn write(&self, datagram: &[u8]) -> Result<(), NetlinkError> {
        let kernel = SocketAddr::new(0, 0);
        self.socket
            .send_to(datagram, &kernel, 0)
            .map(drop)
            .map_err(|source| NetlinkError::Socket { what: "send", source })
    }

    /// The kernel's next datagram, into `received`.
    fn receive(&mut self) -> Result<(), NetlinkError> {
        loop {
            self.received.clear();
            let flags = rustix::net::RecvFlags::TRUNC.bits() as i32;
            let source = match self.socket.recv_from(&mut self.received, flags) {
                // Other processes may send to a netlink socket as well; only the kernel has port 0.
                Ok((_, sender)) if sender.port_number() != 0 => continue,
                Ok((length, _)) if length <= self.received.len() => return Ok(()),
                Ok((length, _)) => io::Error::other(format!("an answer of {length} bytes does not fit")),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    io::Error::new(io::ErrorKind::TimedOut, "the kernel has not answered")
                }
                Err(error) => error,
            };
            return Err(NetlinkError::Socket { what: "receive", source });
        }
    }
}

/// A list on its way.
struct List<T> {
    found: Vec<T>,
    /// Datagrams that held entries.
    pieces: u32,
    interrupted: bool,
    wrong: Option<Malformed>,
}

impl<T> List<T> {
    /// Takes a message; true when it was the last.
    fn take(&mut self, message: Message<'_>, subject: &str, read: Reader<'_, Option<T>>) -> Result<bool, NetlinkError> {
        self.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
        match message.kind {
            NLMSG_NOOP => {}
            NLMSG_OVERRUN => self.interrupted = true,
            NLMSG_ERROR => {
                let (errno, words) = acknowledgement(message).map_err(malformed(subject))?;
                return Err(NetlinkError::from_errno(subject, errno, words));
            }
            NLMSG_DONE => {
                let code = if message.payload.is_empty() { 0 } else { u32_at(message.payload, 0).unwrap_or(0) as i32 };
                if code < 0 {
                    return Err(NetlinkError::from_errno(subject, code.checked_neg().unwrap_or(i32::MAX), None));
                }
                return Ok(true);
            }
            _ => match read(message.payload) {
                Ok(found) => self.found.extend(found),
                Err(wrong) => self.wrong = Some(wrong),
            },
        }
        Ok(false)
    }
}

fn malformed(subject: &str) -> impl FnOnce(Malformed) -> NetlinkError {
    let subject = subject.to_owned();
    |Malformed(what)| NetlinkError::Malformed { subject, what }
}

fn serialised(message: RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    (header.flags, header.sequence_number) = (flags, sequence);
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_disturbed_says_so() {
        let read: Reader<'_, Option<u8>> =
            &|payload| payload.first().copied().map(Some).ok_or_else(|| Malformed("empty".to_owned()));
        let taken = |messages: &[(u16, u16, &[u8])]| {
            let mut list = List { found: Vec::new(), pieces: 0, interrupted: false, wrong: None };
            let last = messages.iter().try_fold(false, |_, &(kind, flags, payload)| {
                list.take(Message { kind, flags, sequence: 0, payload }, "list", read)
            });
            (last.map_err(|error| error.to_string()), list)
        };
        let (last, list) = taken(&[(40, 0, &[1]), (40, 0, &[2]), (NLMSG_DONE, 0, &[])]);
        assert_eq!((last, list.found, list.interrupted), (Ok(true), vec![1, 2], false));
        for disturbed in [(40, NLM_F_DUMP_INTR), (NLMSG_DONE, NLM_F_DUMP_INTR), (NLMSG_OVERRUN, 0)] {
            assert!(taken(&[(40, 0, &[1]), (disturbed.0, disturbed.1, &[0; 4])]).1.interrupted, "{disturbed:?}");
        }
        let (last, list) = taken(&[(40, 0, &[]), (40, 0, &[2])]);
        assert_eq!((last, list.wrong), (Ok(false), Some(Malformed("empty".to_owned()))));
        // Errors of the list as a whole.
        for kind in [NLMSG_DONE, NLMSG_ERROR] {
            let (last, _) = taken(&[(kind, 0, &(-19_i32).to_ne_bytes())]);
            assert_eq!(last, Err("list: no such device in this network namespace".to_owned()));
        }
    }
}
