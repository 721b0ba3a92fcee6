//! What can be asked of the kernel: one object of one device made, changed or removed.

use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcHeader, TcMessage};

use super::error::NetlinkError;
use super::filter::{self, Filter, Protocol, SeenFilter};
use super::handle::Handle;
use super::htb::{self, HtbClass};
use super::link::Link;
use super::qdisc::Qdisc;

const OPTIONS: u16 = 2;

/// What to do with an object that is written down in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// Make it; refused when it is there.
    Add,
    /// Make it, or bring the one that is there to what is said.
    Put,
    /// Bring the one that is there to what is said; refused when there is none.
    Change,
}

impl Write {
    fn flags(self) -> u16 {
        match self {
            Write::Add => NLM_F_CREATE | NLM_F_EXCL,
            Write::Put => NLM_F_CREATE | NLM_F_REPLACE,
            Write::Change => 0,
        }
    }
}

/// One request. It is carried out wholly or not at all.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) message: RouteNetlinkMessage,
    pub(super) flags: u16,
    pub(super) subject: String,
}

impl Request {
    /// A queueing discipline. [`Write::Put`] takes the place of another kind or handle with all that was in it; an HTB
    /// discipline of the same handle the kernel does not change: delete it first, and with it its classes.
    ///
    /// # Errors
    /// [`NetlinkError::Invalid`] for kinds that are not made here.
    pub fn qdisc(write: Write, link: &Link, qdisc: &Qdisc) -> Result<Request, NetlinkError> {
        let subject = format!("qdisc {} {} of {}", qdisc.name(), qdisc.handle, link.name);
        let what = || format!("a qdisc of kind {} is not made here; allowed: htb, pfifo", qdisc.name());
        let options = qdisc.write().ok_or_else(|| NetlinkError::Invalid { subject: subject.clone(), what: what() })?;
        let message = traffic(link, qdisc.parent, qdisc.handle, 0, Some((qdisc.name(), options)));
        Ok(Request::new(RouteNetlinkMessage::NewQueueDiscipline(message), write.flags(), subject))
    }

    /// Removes a queueing discipline with its classes and filters; packets that wait in it are lost.
    pub fn delete_qdisc(link: &Link, parent: Handle, handle: Handle) -> Request {
        let subject = format!("qdisc {handle} at {parent} of {}", link.name);
        let message = traffic(link, parent, handle, 0, None);
        Request::new(RouteNetlinkMessage::DelQueueDiscipline(message), 0, subject)
    }

    /// An HTB class. A change keeps its counters and the packets that wait in it.
    ///
    /// # Errors
    /// [`NetlinkError::Invalid`] for a rate or quantum of 0, a ceiling below the rate, a priority beyond 7, or a parent in
    /// another discipline.
    pub fn class(write: Write, link: &Link, class: &HtbClass) -> Result<Request, NetlinkError> {
        let subject = format!("class {} of {}", class.handle, link.name);
        if let Some(what) = class.fault() {
            return Err(NetlinkError::Invalid { subject, what });
        }
        let message = traffic(link, class.parent, class.handle, 0, Some((htb::KIND, class.write())));
        Ok(Request::new(RouteNetlinkMessage::NewTrafficClass(message), write.flags(), subject))
    }

    /// Removes a class; refused while classes or filters stand on it.
    pub fn delete_class(link: &Link, handle: Handle) -> Request {
        let subject = format!("class {handle} of {}", link.name);
        let message = traffic(link, Handle::NONE, handle, 0, None);
        Request::new(RouteNetlinkMessage::DelTrafficClass(message), 0, subject)
    }

    /// Adds a filter. The same filter again would be a second one behind it.
    ///
    /// # Errors
    /// [`NetlinkError::Invalid`] for preference 0 or a DSCP beyond 63.
    pub fn add_filter(link: &Link, filter: &Filter) -> Result<Request, NetlinkError> {
        let subject = format!("filter of preference {} into {} of {}", filter.preference, filter.class, link.name);
        if let Some(what) = filter.fault() {
            return Err(NetlinkError::Invalid { subject, what });
        }
        let info = information(filter.preference, filter.matches.protocol().ether_type());
        let message = traffic(link, filter.parent, Handle::NONE, info, Some((filter::KIND, filter.write())));
        Ok(Request::new(RouteNetlinkMessage::NewTrafficFilter(message), Write::Add.flags(), subject))
    }

    /// Removes one filter, as it was seen.
    pub fn delete_filter(link: &Link, seen: &SeenFilter) -> Request {
        let subject = format!("filter {:x} of preference {} of {}", seen.handle, seen.preference, link.name);
        let info = information(seen.preference, seen.ether_type);
        let options = (seen.kind.as_str(), Vec::new());
        let message = traffic(link, seen.parent, Handle::from_bits(seen.handle), info, Some(options));
        Request::new(RouteNetlinkMessage::DelTrafficFilter(message), 0, subject)
    }

    /// Removes all filters of a preference.
    pub fn delete_filters(link: &Link, parent: Handle, preference: u16, protocol: Protocol) -> Request {
        let subject = format!("filters of preference {preference} of {}", link.name);
        let message = traffic(link, parent, Handle::NONE, information(preference, protocol.ether_type()), None);
        Request::new(RouteNetlinkMessage::DelTrafficFilter(message), 0, subject)
    }

    /// Switches a device on or off.
    pub fn set_up(link: &Link, up: bool) -> Request {
        let mut message = device(link);
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        Request::new(RouteNetlinkMessage::SetLink(message), 0, link.name.clone())
    }

    /// Sets how many packets may wait in queues that will be made without a limit of their own (txqueuelen). Queues that
    /// are there keep theirs.
    pub fn set_queue_packets(link: &Link, packets: u32) -> Request {
        let mut message = device(link);
        message.attributes.push(LinkAttribute::TxQueueLen(packets));
        Request::new(RouteNetlinkMessage::SetLink(message), 0, format!("queue length of {}", link.name))
    }

    /// What it is about: the object and its device.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    fn new(message: RouteNetlinkMessage, flags: u16, subject: String) -> Request {
        Request { message, flags: flags | NLM_F_REQUEST | NLM_F_ACK, subject }
    }
}

fn device(link: &Link) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = link.index;
    message
}

/// Preference and protocol as a filter's header has them.
fn information(preference: u16, ether_type: u16) -> u32 {
    u32::from(preference) << 16 | u32::from(ether_type.to_be())
}

/// The message about an object of traffic control: kind and options where it is described.
fn traffic(link: &Link, parent: Handle, handle: Handle, info: u32, what: Option<(&str, Vec<u8>)>) -> TcMessage {
    let header = TcHeader { info, ..names(link.index, parent, handle) };
    let mut attributes = Vec::new();
    if let Some((kind, options)) = what {
        attributes.push(TcAttribute::Kind(kind.to_owned()));
        if !options.is_empty() {
            attributes.push(TcAttribute::Other(DefaultNla::new(OPTIONS, options)));
        }
    }
    TcMessage::from_parts(header, attributes)
}

/// The header that names an object.
pub(super) fn names(index: u32, parent: Handle, handle: Handle) -> TcHeader {
    let handle_of = |handle: Handle| TcHandle { major: handle.major, minor: handle.minor };
    TcHeader {
        index: i32::try_from(index).unwrap_or(0),
        handle: handle_of(handle),
        parent: handle_of(parent),
        ..TcHeader::default()
    }
}
