//! A file that says which slices shall stand on one real link, and who makes them: for operators who want slices without a
//! controller, and to try an executor before a controller has it.
//!
//! ```toml
//! capacity = "10 Gbit/s"
//! generation = 7
//!
//! [executor]
//! kind = "ovs"
//! database = "unix:/run/openvswitch/db.sock"
//! bridge = "br0"
//! port = "uplink"
//!
//! [[slice]]
//! name = "video"
//! guarantee = "6 Gbit/s"
//! priority = 1
//! dscp = 34
//!
//! [[port]]
//! name = "vnet3"
//! slice = "video"
//! mac = "52:54:00:00:00:07"
//! addresses = ["10.0.1.7"]
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use forebay_adapters::Prefix;
use forebay_adapters::ovsdb::{Endpoint, TlsFiles};
use forebay_adapters::slices::ovn::{OvnExecutor, OvnView};
use forebay_adapters::slices::ovs::{OvsExecutor, OvsPort, OvsView};
use forebay_adapters::slices::tc::{TcExecutor, TcView};
use forebay_adapters::slices::{LinkSlices, MacAddress, Port, Slice, SliceError, SliceExecutor, SliceView};
use forebay_world::{BitsPerSecond, Duration, Generation, PlannedSlice, SliceId};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::scenario::ScenarioError;
use crate::scenario::finding::{self, Findings};

/// One link, checked.
#[derive(Debug)]
pub struct LinkFile {
    /// Who makes the slices.
    pub executor: Executor,
    /// What shall stand. Its generation is 0 where the file names none.
    pub slices: LinkSlices,
    /// Whether the file names a generation; without one, a change is the one after what stands.
    pub is_numbered: bool,
    /// What slices are called.
    pub names: BTreeMap<SliceId, String>,
}

/// Who makes the slices of a link.
#[derive(Clone, Debug)]
pub enum Executor {
    /// A device of this machine.
    Tc {
        /// The device.
        device: String,
    },
    /// A port of an Open vSwitch of this machine.
    Ovs(Box<OvsPort>),
    /// A logical switch of an OVN.
    Ovn {
        /// The northbound database.
        database: Endpoint,
        /// The logical switch.
        switch: String,
        /// Whose marks its rows bear.
        owner: String,
    },
}

impl Executor {
    /// Whether it can keep the ports of machines to their addresses and slices.
    pub fn guards_ports(&self) -> bool {
        !matches!(self, Executor::Tc { .. })
    }

    /// Opens it; devices are looked for in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`SliceError`] when it cannot be reached, or has no such link.
    pub fn open(&self) -> Result<Box<dyn SliceExecutor>, SliceError> {
        Ok(match self {
            Executor::Tc { device } => Box::new(TcExecutor::open(device)?),
            Executor::Ovs(port) => Box::new(OvsExecutor::connect(port)?),
            Executor::Ovn { database, switch, owner } => Box::new(OvnExecutor::connect(database, switch, owner)?),
        })
    }

    /// Opens it to look: nothing is written, neither now nor by what is given.
    ///
    /// # Errors
    /// As [`Executor::open`].
    pub fn view(&self) -> Result<Box<dyn SliceView>, SliceError> {
        Ok(match self {
            Executor::Tc { device } => Box::new(TcView::open(device)?),
            Executor::Ovs(port) => Box::new(OvsView::connect(port)?),
            Executor::Ovn { database, switch, owner } => Box::new(OvnView::connect(database, switch, owner)?),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkSpec {
    capacity: Spanned<BitsPerSecond>,
    #[serde(default)]
    generation: Option<u64>,
    executor: Spanned<ExecutorSpec>,
    #[serde(default)]
    slice: Vec<Spanned<SliceSpec>>,
    #[serde(default)]
    port: Vec<Spanned<PortSpec>>,
}

/// `executor`: who makes the slices of a link.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ExecutorSpec {
    /// A device of this machine.
    Tc {
        /// The device.
        device: String,
    },
    /// A port of an Open vSwitch of this machine.
    Ovs {
        /// Its database: `unix:/run/openvswitch/db.sock`.
        database: String,
        /// The bridge.
        bridge: String,
        /// The port at which slices share the link.
        port: String,
        /// The bridge's OpenFlow side; the one beside the database's socket unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        openflow: Option<String>,
        /// Whose marks rows bear.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        /// Files of a connection over TLS.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tls: Option<TlsSpec>,
    },
    /// A logical switch of an OVN.
    Ovn {
        /// The northbound database.
        database: String,
        /// The logical switch.
        switch: String,
        /// Whose marks rows bear.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        /// Files of a connection over TLS.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tls: Option<TlsSpec>,
    },
}

impl ExecutorSpec {
    /// Whose marks rows bear, where that is said.
    pub(crate) fn owner(&self) -> Option<&str> {
        match self {
            ExecutorSpec::Tc { .. } => None,
            ExecutorSpec::Ovs { owner, .. } | ExecutorSpec::Ovn { owner, .. } => owner.as_deref(),
        }
    }
}

/// Whose marks the rows of a link file bear that does not say it.
const OWNER: &str = "forebay";

/// `tls`: files, beside the one that names them unless absolute.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSpec {
    /// Certificates of the authorities that may vouch for the server.
    pub ca: PathBuf,
    /// Our certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SliceSpec {
    name: Spanned<String>,
    /// Its number among those of the link, by which its class and its queue are named; its place in the file when absent.
    #[serde(default)]
    id: Option<Spanned<u32>>,
    #[serde(default)]
    guarantee: Option<Spanned<BitsPerSecond>>,
    #[serde(default)]
    ceiling: Option<Spanned<BitsPerSecond>>,
    #[serde(default = "one")]
    weight: Spanned<u32>,
    #[serde(default)]
    priority: u8,
    #[serde(default)]
    dscp: Option<Spanned<u8>>,
    #[serde(default)]
    latency: Option<Duration>,
    #[serde(default)]
    sources: Vec<Spanned<String>>,
}

fn one() -> Spanned<u32> {
    Spanned::new(0..0, 1)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PortSpec {
    name: Spanned<String>,
    slice: Spanned<String>,
    mac: Spanned<String>,
    addresses: Spanned<Vec<Spanned<String>>>,
}

impl LinkFile {
    /// Reads and checks a file; files that it names are looked for beside it.
    ///
    /// # Errors
    /// [`ScenarioError`] with all that is wrong, as far as it can be known at once.
    pub fn load(path: &Path) -> Result<LinkFile, ScenarioError> {
        let text = crate::scenario::read_text(path)?;
        let file = path.display().to_string();
        let spec: LinkSpec = toml::from_str(&text).map_err(|error| finding::refused_toml(&file, &text, &error))?;
        let mut findings = Findings::default();
        let folder = path.parent().unwrap_or(Path::new(""));
        let executor = check_executor(&spec.executor, OWNER, folder, &mut findings);
        let (slices, names) = check_slices(&spec, &mut findings);
        findings.refuse(&file, &text)?;
        Ok(LinkFile {
            executor: executor.expect("nothing was found"),
            slices,
            is_numbered: spec.generation.is_some(),
            names,
        })
    }
}

/// Reads who makes the slices of a link; `whose` marks they bear where that is not said.
pub(crate) fn check_executor(
    spec: &Spanned<ExecutorSpec>,
    whose: &str,
    folder: &Path,
    findings: &mut Findings,
) -> Option<Executor> {
    let owner_of = |owner: &Option<String>| owner.clone().unwrap_or_else(|| whose.to_owned());
    let mut endpoint = |database: &str, tls: &Option<TlsSpec>| {
        let beside = |path: &PathBuf| folder.join(path);
        let files =
            tls.as_ref().map(|tls| TlsFiles::new(beside(&tls.ca), beside(&tls.certificate), beside(&tls.private_key)));
        match Endpoint::parse(database, files) {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                findings.add(spec.span(), format!("executor.database: {error}"), "", error.hint());
                None
            }
        }
    };
    Some(match spec.get_ref() {
        ExecutorSpec::Tc { device } => Executor::Tc { device: device.clone() },
        ExecutorSpec::Ovs { database, bridge, port, openflow, owner, tls } => {
            let (endpoint, bridge, port) = (endpoint(database, tls)?, bridge.clone(), port.clone());
            let (owner, openflow) = (owner_of(owner), openflow.clone());
            Executor::Ovs(Box::new(OvsPort { endpoint, bridge, port, owner, openflow }))
        }
        ExecutorSpec::Ovn { database, switch, owner, tls } => {
            Executor::Ovn { database: endpoint(database, tls)?, switch: switch.clone(), owner: owner_of(owner) }
        }
    })
}

fn check_slices(spec: &LinkSpec, findings: &mut Findings) -> (LinkSlices, BTreeMap<SliceId, String>) {
    let capacity = *spec.capacity.get_ref();
    findings.require(
        capacity > BitsPerSecond::ZERO,
        spec.capacity.span(),
        || "a link of no capacity".to_owned(),
        "a rate above 0",
        "give what the link carries, or less where the bottleneck is further on",
    );
    let mut link =
        LinkSlices { generation: Generation(spec.generation.unwrap_or(0)), capacity, ..LinkSlices::default() };
    let mut id_of: BTreeMap<&str, SliceId> = BTreeMap::new();
    let mut left = capacity;
    for (at, slice) in spec.slice.iter().enumerate() {
        let slice = slice.get_ref();
        let id = slice.id.as_ref().map_or_else(|| SliceId::at(at), |id| SliceId(*id.get_ref()));
        if link.slices.contains_key(&id) {
            let place = slice.id.as_ref().map_or(slice.name.span(), Spanned::span);
            findings.add(place, format!("two slices have the id {id}"), "", "give each an id of its own, or none any");
        }
        if id_of.insert(slice.name.get_ref(), id).is_some() {
            let what = format!("two slices are called `{}`", slice.name.get_ref());
            findings.add(slice.name.span(), what, "", "give each a name of its own");
        }
        let guarantee = slice.guarantee.as_ref().map_or(BitsPerSecond::ZERO, |rate| *rate.get_ref());
        let ceiling = slice.ceiling.as_ref().map_or(capacity, |rate| *rate.get_ref());
        let place = slice.guarantee.as_ref().map_or(slice.name.span(), Spanned::span);
        findings.require(
            guarantee <= left,
            place.clone(),
            || format!("a guarantee of {guarantee}, where {left} of {capacity} are left"),
            "guarantees that fit the link together",
            "lower it, or another's",
        );
        findings.require(
            guarantee <= ceiling,
            place,
            || format!("a guarantee of {guarantee} under a ceiling of {ceiling}"),
            "at most the ceiling",
            "",
        );
        left = left.saturating_sub(guarantee);
        findings.require(
            *slice.weight.get_ref() > 0,
            slice.weight.span(),
            || "a weight of 0".to_owned(),
            "1 and more",
            "",
        );
        let dscp = slice.dscp.as_ref().map_or(0, |dscp| *dscp.get_ref());
        let place = slice.dscp.as_ref().map_or(0..0, Spanned::span);
        findings.require(dscp < 64, place, || format!("DSCP {dscp}"), "0 to 63", "46 is EF, 34 is AF41");
        let sources = slice.sources.iter().filter_map(|text| prefix(text, findings)).collect();
        let terms = PlannedSlice {
            guarantee,
            ceiling,
            weight: *slice.weight.get_ref(),
            priority: slice.priority,
            dscp,
            latency: slice.latency,
        };
        link.slices.insert(id, Slice { terms, sources });
    }
    for port in &spec.port {
        add_port(port.get_ref(), &id_of, &mut link, findings);
    }
    let names = id_of.iter().map(|(name, id)| (*id, (*name).to_owned())).collect();
    (link, names)
}

fn prefix(text: &Spanned<String>, findings: &mut Findings) -> Option<Prefix> {
    let word = text.get_ref();
    // An address alone is a network of one.
    let one = word.parse::<IpAddr>().ok().and_then(|ip| Prefix::new(ip, if ip.is_ipv4() { 32 } else { 128 }));
    let found = one.or_else(|| word.parse().ok());
    if found.is_none() {
        findings.add(text.span(), format!("`{word}` is no network"), "10.0.1.0/24, fd00:1::/64, or an address", "");
    }
    found
}

fn add_port(port: &PortSpec, id_of: &BTreeMap<&str, SliceId>, link: &mut LinkSlices, findings: &mut Findings) {
    let slice = id_of.get(port.slice.get_ref().as_str()).copied();
    if slice.is_none() {
        let known: Vec<&str> = id_of.keys().copied().collect();
        let hint = crate::scenario::nearest(port.slice.get_ref(), known.iter().copied());
        let hint = hint.map_or_else(String::new, |near| format!("did you mean `{near}`?"));
        let what = format!("there is no slice `{}`", port.slice.get_ref());
        findings.add(port.slice.span(), what, format!("one of: {}", known.join(", ")), hint);
    }
    let mac: Option<MacAddress> = match port.mac.get_ref().parse() {
        Ok(mac) => Some(mac),
        Err(error) => {
            findings.add(port.mac.span(), error, "", "");
            None
        }
    };
    let mut addresses = BTreeSet::new();
    for text in port.addresses.get_ref() {
        match text.get_ref().parse::<IpAddr>() {
            Ok(address) => drop(addresses.insert(address)),
            Err(_) => {
                findings.add(text.span(), format!("`{}` is no IP address", text.get_ref()), "10.0.1.7, fd00::7", "")
            }
        }
    }
    findings.require(
        !port.addresses.get_ref().is_empty(),
        port.addresses.span(),
        || "a port without addresses".to_owned(),
        "one or more",
        "a port sends under its own addresses only",
    );
    if let (Some(slice), Some(mac)) = (slice, mac) {
        let port_of = Port { slice, mac, addresses };
        if link.ports.insert(port.name.get_ref().clone(), port_of).is_some() {
            findings.add(port.name.span(), format!("two ports are called `{}`", port.name.get_ref()), "", "");
        }
    }
}
