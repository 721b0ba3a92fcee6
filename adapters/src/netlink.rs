//! The kernel's queues: disciplines, HTB classes and filters of a device with their counters, and what of the device bears
//! on them, over rtnetlink.
//!
//! A client is a socket: synchronous, bound to the network namespace of the thread that opened it, usable from any. It
//! starts no process and keeps no state; what it says is what the kernel had at that moment. It makes neither devices nor
//! addresses, and decides nothing.
//!
//! ```no_run
//! use forebay_adapters::netlink::{Filter, Handle, HtbClass, Match, Netlink, Qdisc, Request, Write};
//! use forebay_world::BitsPerSecond;
//!
//! let mut netlink = Netlink::open()?;
//! let link = netlink.link("eth0")?;
//! let [root, whole, slice] = [0, 1, 0x10].map(|minor| Handle::new(1, minor));
//! let mbit = |count: u64| BitsPerSecond(count * 1_000_000);
//! netlink.send(&Request::set_queue_packets(&link, 20))?; // Before the discipline, which takes it over.
//! netlink.send(&Request::qdisc(Write::Put, &link, &Qdisc::htb(1, 0x10))?)?;
//! let requests = [
//!     Request::class(Write::Put, &link, &HtbClass::new(root, whole, mbit(10), mbit(10)))?,
//!     Request::class(Write::Put, &link, &HtbClass::new(whole, slice, mbit(6), mbit(10)).with_priority(1))?,
//!     Request::qdisc(Write::Put, &link, &Qdisc::pfifo(slice, 0x10, 50))?,
//!     Request::add_filter(
//!         &link,
//!         &Filter { parent: root, preference: 100, matches: Match::Source("10.0.0.0/24".parse().unwrap()), class: slice },
//!     )?,
//! ];
//! for outcome in netlink.send_all(&requests)? {
//!     outcome?;
//! }
//! for seen in netlink.classes(&link)? {
//!     println!("{} {} {} bytes", seen.class.handle, seen.class.rate(), seen.statistics.bytes);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod filter;
mod handle;
mod htb;
mod link;
mod monitor;
mod qdisc;
mod request;
mod socket;
mod statistics;
mod wire;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::tc::{TcHeader, TcMessage};

pub use error::NetlinkError;
pub use filter::{Filter, Match, Protocol, SeenFilter};
pub use handle::{Handle, HandleError};
pub use htb::{Burst, Htb, HtbClass, SeenClass};
pub use link::{Link, Operation};
pub use qdisc::{Qdisc, QdiscKind, SeenQdisc};
pub use request::{Request, Write};
pub use statistics::Statistics;

use monitor::Scope;
use socket::RouteSocket;
use wire::{Malformed, attributes, behind, text_of};

/// Bytes of a header of traffic control.
const TRAFFIC_HEADER: usize = 20;

/// A client of rtnetlink.
#[derive(Debug)]
pub struct Netlink {
    socket: RouteSocket,
}

impl Netlink {
    /// Opens a socket in the network namespace of the calling thread. Reading needs no privilege, writing CAP_NET_ADMIN.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`].
    pub fn open() -> Result<Netlink, NetlinkError> {
        Ok(Netlink { socket: RouteSocket::open()? })
    }

    /// All devices, by ascending index.
    ///
    /// # Errors
    /// [`NetlinkError`], as of every reading: the socket's, or an answer that is refused, unreadable or never at rest.
    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let mut links = self.socket.list(request, None, "devices", &|payload| Link::read(payload).map(Some))?;
        links.sort_by_key(|link| link.index);
        Ok(links)
    }

    /// The device of a name.
    ///
    /// # Errors
    /// [`NetlinkError::NoSuchDevice`] when there is none, and those of [`Netlink::links`].
    pub fn link(&mut self, name: &str) -> Result<Link, NetlinkError> {
        if !Link::may_be_called(name) {
            return Err(NetlinkError::NoSuchDevice { subject: crate::error::shown(name.as_bytes()) });
        }
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.socket.get(RouteNetlinkMessage::GetLink(message), name, &Link::read)
    }

    /// The queueing disciplines of a device, in the kernel's order. Those that the kernel made by itself as the queues of
    /// classes are not among them.
    ///
    /// # Errors
    /// [`NetlinkError::NoSuchDevice`] when the device is gone, and those of [`Netlink::links`].
    pub fn qdiscs(&mut self, link: &Link) -> Result<Vec<SeenQdisc>, NetlinkError> {
        let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        let subject = format!("qdiscs of {}", link.name);
        let found = self.socket.list(request, Some(Scope::Any), &subject, &|payload| {
            let object = Object::read(payload)?;
            // The kernel lists those of all devices.
            if !object.is_of(link) {
                return Ok(None);
            }
            let (parent, handle) = object.names();
            let kind = QdiscKind::read(object.kind, object.options)?;
            Ok(Some(SeenQdisc { qdisc: Qdisc { parent, handle, kind }, statistics: object.statistics }))
        })?;
        self.unless_gone(link, found)
    }

    /// The HTB classes of a device, in the kernel's order.
    ///
    /// # Errors
    /// [`NetlinkError::NoSuchDevice`] when the device is gone, and those of [`Netlink::links`].
    pub fn classes(&mut self, link: &Link) -> Result<Vec<SeenClass>, NetlinkError> {
        let header = request::names(link.index, Handle::NONE, Handle::NONE);
        let request = RouteNetlinkMessage::GetTrafficClass(TcMessage::from_parts(header, Vec::new()));
        let subject = format!("classes of {}", link.name);
        let found = self.socket.list(request, Some(Scope::Device(link.index)), &subject, &|payload| {
            let object = Object::read(payload)?;
            if object.kind != htb::KIND || !object.is_of(link) {
                return Ok(None);
            }
            let (parent, handle) = object.names();
            let options = object.options.ok_or_else(|| Malformed("a class without options".to_owned()))?;
            let class = HtbClass::read(parent, handle, options)?;
            Ok(Some(SeenClass { class, leaf: Handle::from_bits(object.header.info), statistics: object.statistics }))
        })?;
        self.unless_gone(link, found)
    }

    /// The filters at a discipline or class of a device, whoever made them, in the order in which they are asked.
    ///
    /// # Errors
    /// [`NetlinkError::NoSuchDevice`] when the device is gone, and those of [`Netlink::links`].
    pub fn filters(&mut self, link: &Link, parent: Handle) -> Result<Vec<SeenFilter>, NetlinkError> {
        let header = request::names(link.index, parent, Handle::NONE);
        let request = RouteNetlinkMessage::GetTrafficFilter(TcMessage::from_parts(header, Vec::new()));
        let subject = format!("filters at {parent} of {}", link.name);
        let found = self.socket.list(request, Some(Scope::Device(link.index)), &subject, &|payload| {
            let object = Object::read(payload)?;
            if !object.is_of(link) {
                return Ok(None);
            }
            let (parent, handle) = object.names();
            SeenFilter::read(parent, object.header.info, handle.to_bits(), object.kind, object.options)
        })?;
        self.unless_gone(link, found)
    }

    /// Sends one request and waits until the kernel has carried it out.
    ///
    /// # Errors
    /// What the kernel has against it.
    pub fn send(&mut self, request: &Request) -> Result<(), NetlinkError> {
        let outcomes = self.send_all(std::slice::from_ref(request))?;
        outcomes.into_iter().next().expect("one request has one outcome")
    }

    /// Sends requests, of which the kernel carries out one after the other, and gives the outcome of each. One that is
    /// refused does not keep it from those behind.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`], after which any of them may have been carried out or not.
    pub fn send_all(&mut self, requests: &[Request]) -> Result<Vec<Result<(), NetlinkError>>, NetlinkError> {
        self.socket.change(requests)
    }

    /// A list, unless it is empty because its device has gone: nothing seen is not nothing there.
    fn unless_gone<T>(&mut self, link: &Link, found: Vec<T>) -> Result<Vec<T>, NetlinkError> {
        if found.is_empty() {
            let mut message = LinkMessage::default();
            message.header.index = link.index;
            self.socket.get(RouteNetlinkMessage::GetLink(message), &link.name, &Link::read)?;
        }
        Ok(found)
    }
}

/// An object of traffic control, as the kernel describes it.
struct Object<'a> {
    header: TcHeader,
    kind: String,
    options: Option<&'a [u8]>,
    statistics: Statistics,
}

impl Object<'_> {
    fn read(payload: &[u8]) -> Result<Object<'_>, Malformed> {
        const KIND: u16 = 1;
        const OPTIONS: u16 = 2;
        const STATISTICS: u16 = 7;
        let header = TcHeader::parse(payload).map_err(|error| Malformed(error.to_string()))?;
        let mut object = Object { header, kind: String::new(), options: None, statistics: Statistics::default() };
        for attribute in attributes(behind(payload, TRAFFIC_HEADER)?) {
            match attribute? {
                (KIND, value) => object.kind = text_of(value)?,
                (OPTIONS, value) => object.options = Some(value),
                (STATISTICS, value) => object.statistics = Statistics::read(value)?,
                _ => {}
            }
        }
        Ok(object)
    }

    fn is_of(&self, link: &Link) -> bool {
        u32::try_from(self.header.index) == Ok(link.index)
    }

    /// Parent and own name.
    fn names(&self) -> (Handle, Handle) {
        let handle = |bits| Handle::from_bits(u32::from(bits));
        (handle(self.header.parent), handle(self.header.handle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Object::read(&bytes);
        }
    }
}
