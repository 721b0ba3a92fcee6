//! `[steering]`, checked: the name server by which clients are sent to machines, and how fast that may change.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use forebay_adapters::Prefix;
use forebay_adapters::steering::powerdns::{PowerDnsExecutor, PowerDnsOptions, PowerDnsView};
use forebay_adapters::steering::responder::{RateLimit, SubZone};
use forebay_adapters::steering::rfc2136::{Rfc2136Executor, Rfc2136View, Transport, WriterTerm, ZoneOptions};
use forebay_adapters::steering::{DnsName, Drain, Rails, SteeringError, SteeringExecutor, SteeringView};
use forebay_world::Duration;
use toml::Spanned;

use super::network::prefix_of;
use super::secret::{self, SecretError, SecretSource};
use super::spec::{ProductionSpec, SteeringKind, SteeringSpec, TransportSpec};
use super::unused_keys;
use crate::scenario::finding::Findings;
use crate::scenario::site::{Site, require_range};

/// Where clients are answered, and by which names they come.
#[derive(Clone, Debug)]
pub struct Answering {
    /// Who answers.
    pub server: NameServer,
    /// The zone that is written to.
    pub zone: DnsName,
    /// What may change at once.
    pub rails: Rails,
    /// The name of each class (dense); `None` for classes whose clients are not steered.
    pub names: Vec<Option<DnsName>>,
    /// How long a writer that is heard of no more stays the only one \[s\]; as the executor has it where `None`.
    pub writer_lease_seconds: Option<u32>,
}

/// Who answers.
#[derive(Clone, Debug)]
pub enum NameServer {
    /// A server that takes dynamic updates.
    Rfc2136 {
        /// The zone's primary server.
        server: SocketAddr,
        /// By what it is asked.
        transport: Transport,
        /// The TSIG key; to look, none may be needed.
        key: Option<SecretSource>,
    },
    /// PowerDNS.
    PowerDns {
        /// Its API.
        url: String,
        /// The API's key.
        key: SecretSource,
        /// Its port for DNS.
        server: SocketAddr,
        /// Networks of the regions whose clients are told apart.
        networks: BTreeMap<String, Vec<Prefix>>,
        /// A port that it tries on every address.
        probed_port: Option<u16>,
    },
    /// Our own, for a delegated zone.
    Responder {
        /// Addresses that it answers at.
        listen: Vec<SocketAddr>,
        /// The zone itself.
        zone: Box<SubZone>,
        /// How many datagrams one network may get.
        rate_limit: Option<RateLimit>,
    },
}

/// Why a name server cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AnsweringError {
    /// Updates are signed, and there is no key.
    #[error("updates are signed, and [steering] names no key")]
    NoKey,
    /// Its key cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// It says so.
    #[error(transparent)]
    Steering(#[from] SteeringError),
}

impl AnsweringError {
    /// What may help; empty where nothing is known to, or the error says it itself.
    pub fn hint(&self) -> &'static str {
        match self {
            AnsweringError::NoKey => "add `key_file`: a file that only its user can read",
            AnsweringError::Secret(error) => error.hint(),
            AnsweringError::Steering(SteeringError::Unreachable { .. }) => {
                "is the server running, and is the address that of its primary?"
            }
            AnsweringError::Steering(_) => "",
        }
    }
}

impl Answering {
    /// Who writes to the zone, and how.
    pub fn zone_options(&self, owner: &str) -> ZoneOptions {
        let mut options = ZoneOptions::new(self.zone.clone(), owner);
        options.lease_seconds = self.writer_lease_seconds.unwrap_or(options.lease_seconds);
        options
    }

    /// Opens a server for writing, in this term where there is a lease; `None` for our own, which has to be started first.
    ///
    /// # Errors
    /// [`AnsweringError`].
    pub fn open(
        &self,
        owner: &str,
        term: Option<WriterTerm>,
    ) -> Result<Option<Box<dyn SteeringExecutor>>, AnsweringError> {
        let zone = ZoneOptions { term, ..self.zone_options(owner) };
        Ok(match &self.server {
            NameServer::Rfc2136 { server, transport, key } => {
                let key = key.as_ref().ok_or(AnsweringError::NoKey)?.tsig()?;
                Some(Box::new(Rfc2136Executor::new(*server, *transport, key, zone)?))
            }
            NameServer::PowerDns { .. } => Some(Box::new(PowerDnsExecutor::connect(self.powerdns()?, zone)?)),
            NameServer::Responder { .. } => None,
        })
    }

    /// Opens a server to look, as [`Answering::open`] does to write: nothing is written, neither now nor by what is given.
    ///
    /// # Errors
    /// [`AnsweringError`].
    pub fn view(&self, owner: &str) -> Result<Option<Box<dyn SteeringView>>, AnsweringError> {
        let zone = self.zone_options(owner);
        Ok(match &self.server {
            NameServer::Rfc2136 { server, transport, key } => {
                let key = key.as_ref().map(SecretSource::tsig).transpose()?;
                Some(Box::new(Rfc2136View::new(*server, *transport, key, zone)?))
            }
            NameServer::PowerDns { .. } => Some(Box::new(PowerDnsView::connect(self.powerdns()?, zone)?)),
            NameServer::Responder { .. } => None,
        })
    }

    fn powerdns(&self) -> Result<PowerDnsOptions, SecretError> {
        let NameServer::PowerDns { url, key, server, networks, probed_port } = &self.server else {
            unreachable!("only PowerDNS is asked for it");
        };
        let (url, dns, regions) = (url.clone(), *server, networks.clone());
        Ok(PowerDnsOptions { url, key: key.secret()?, dns, regions, probed_port: *probed_port })
    }

    /// Whether it is our own, which answers only while it is run.
    pub fn is_our_own(&self) -> bool {
        matches!(self.server, NameServer::Responder { .. })
    }

    /// As operators know it.
    pub fn name(&self) -> String {
        match &self.server {
            NameServer::Rfc2136 { server, .. } => format!("zone {} at {server}", self.zone),
            NameServer::PowerDns { url, .. } => format!("zone {} at {url}", self.zone),
            NameServer::Responder { listen, .. } => {
                let listen: Vec<String> = listen.iter().map(SocketAddr::to_string).collect();
                format!("zone {}, answered at {}", self.zone, listen.join(", "))
            }
        }
    }
}

/// Longest time to live (RFC 2181, section 8, as resolvers have it: a week).
const TTL_MOST: Duration = Duration::from_hours(7 * 24);

/// The time to live of each class's answers.
pub(super) fn check_ttl(spec: &ProductionSpec, findings: &mut Findings) -> Vec<Duration> {
    let every = spec.dns.as_ref().map(|dns| &dns.get_ref().ttl);
    let default = Spanned::new(0..0, Duration::from_secs(30));
    let mut ttl = Vec::new();
    for class in &spec.class {
        let given = class.get_ref().ttl.as_ref().or(every).unwrap_or(&default);
        check_ttl_of(given, "ttl", findings);
        ttl.push(*given.get_ref());
    }
    ttl
}

fn check_ttl_of(given: &Spanned<Duration>, key: &str, findings: &mut Findings) {
    let value = *given.get_ref();
    findings.require(
        (Duration::from_secs(1)..=TTL_MOST).contains(&value) && value.as_nanos().is_multiple_of(1_000_000_000),
        given.span(),
        || format!("`{key}` is {value}"),
        "whole seconds, 1 s to 7 d",
        "20 s to 60 s let clients be moved soon",
    );
}

/// Where answers are given, if anywhere.
pub(super) fn check(spec: &ProductionSpec, site: &Site, folder: &Path, findings: &mut Findings) -> Option<Answering> {
    let section = spec.steering.as_ref()?;
    let given = section.get_ref();
    check_keys(section, findings);
    let zone = name_of(&given.zone, findings);
    let mut names = vec![None; site.topology.classes.len()];
    for (class, text) in &given.names {
        let found = site.classes.find(class, findings);
        let Some(name) = name_of(text, findings) else { continue };
        if let Some(zone) = &zone {
            findings.require(
                name.is_within(zone),
                text.span(),
                || format!("{name} is not within {zone}"),
                "a name in `zone`",
                "name another, or another `zone`",
            );
        }
        if names.iter().flatten().any(|known| *known == name) {
            findings.add(
                text.span(),
                format!("{name} is there twice"),
                "each class has a name of its own",
                "give each class a name of its own",
            );
        }
        if let Some(place) = found.and_then(|class| names.get_mut(class)) {
            *place = Some(name);
        }
    }
    if given.names.is_empty() {
        findings.add(
            section.span(),
            "[steering] names nothing that clients come by",
            "[steering.names] is needed",
            "add `[steering.names]` with `video = \"video.cdn.example\"`, for a class named video",
        );
    }
    let writer_lease_seconds = given.writer_lease.as_ref().and_then(|lease| {
        let seconds = lease.get_ref().as_nanos() / 1_000_000_000;
        findings.require(
            (5..=86_400).contains(&seconds),
            lease.span(),
            || format!("`writer_lease` is {}", lease.get_ref()),
            "5 s to 1 d",
            "2 min unless given",
        );
        u32::try_from(seconds).ok()
    });
    let rails = check_rails(spec, given, findings);
    if let (Err(what), true) = (rails.check(), findings.0.is_empty()) {
        findings.add(
            given.kind.span(),
            format!("[steering.rails]: {what}"),
            "rails that mean something",
            "see its keys",
        );
    }
    let server = match given.kind.get_ref() {
        SteeringKind::Rfc2136 => check_rfc2136(section, folder, findings),
        SteeringKind::Powerdns => check_powerdns(section, site, folder, findings),
        SteeringKind::Responder => zone.clone().and_then(|zone| check_responder(section, zone, findings)),
    };
    Some(Answering { server: server?, zone: zone?, rails, names, writer_lease_seconds })
}

fn check_keys(section: &Spanned<SteeringSpec>, findings: &mut Findings) {
    use SteeringKind::{Powerdns, Responder, Rfc2136};
    let spec = section.get_ref();
    let kind = *spec.kind.get_ref();
    unused_keys(
        kind,
        &[
            ("server", spec.server.as_ref().map(Spanned::span), &[Rfc2136, Powerdns]),
            ("transport", spec.transport.as_ref().map(Spanned::span), &[Rfc2136]),
            ("key_file", spec.key_file.as_ref().map(Spanned::span), &[Rfc2136, Powerdns]),
            ("key_env", spec.key_env.as_ref().map(Spanned::span), &[Rfc2136, Powerdns]),
            ("writer_lease", spec.writer_lease.as_ref().map(Spanned::span), &[Rfc2136, Powerdns]),
            ("url", spec.url.as_ref().map(Spanned::span), &[Powerdns]),
            ("networks", spec.networks.keys().next().map(Spanned::span), &[Powerdns]),
            ("probed_port", spec.probed_port.as_ref().map(Spanned::span), &[Powerdns]),
            ("listen", spec.listen.first().map(Spanned::span), &[Responder]),
            ("name_servers", spec.name_servers.keys().next().map(Spanned::span), &[Responder]),
            ("hostmaster", spec.hostmaster.as_ref().map(Spanned::span), &[Responder]),
            ("negative_ttl", spec.negative_ttl.as_ref().map(Spanned::span), &[Responder]),
            ("answers_per_second", spec.answers_per_second.as_ref().map(Spanned::span), &[Responder]),
        ],
        word,
        findings,
    );
    let mut needed = |missing: bool, key: &str, example: &str| {
        if missing {
            findings.add(
                section.span(),
                format!("steering of kind {} has no `{key}`", word(kind)),
                format!("`{key}` is needed here"),
                format!("add `{key} = {example}`"),
            );
        }
    };
    needed(kind != Responder && spec.server.is_none(), "server", "\"192.0.2.53:53\"");
    needed(kind == Powerdns && spec.url.is_none(), "url", "\"http://127.0.0.1:8081\"");
    needed(kind == Responder && spec.listen.is_empty(), "listen", "[\"192.0.2.53:53\"]");
    let servers = "{ \"ns1.edge.cdn.example\" = [\"192.0.2.53\"] }";
    needed(kind == Responder && spec.name_servers.is_empty(), "name_servers", servers);
}

fn check_rails(spec: &ProductionSpec, given: &SteeringSpec, findings: &mut Findings) -> Rails {
    let rails = &given.rails;
    require_range(&rails.share_moved_most, "share_moved_most", 0.0001, 1.0, findings);
    require_range(&rails.drain_ttls, "drain_ttls", 0.0, 1000.0, findings);
    findings.require(
        (1..=1000).contains(rails.answers_least.get_ref()),
        rails.answers_least.span(),
        || format!("`answers_least` is {}", rails.answers_least.get_ref()),
        "allowed: 1 to 1000",
        "a name without an answer turns its clients away",
    );
    check_ttl_of(&rails.ttl_least, "ttl_least", findings);
    findings.require(
        *rails.drain_tail.get_ref() <= Duration::from_hours(24),
        rails.drain_tail.span(),
        || format!("`drain_tail` is {}", rails.drain_tail.get_ref()),
        "at most 1 d",
        "it is how long machines are kept for resolvers that keep answers too long",
    );
    let every = spec.dns.as_ref().map(|dns| &dns.get_ref().ttl);
    for class in &spec.class {
        if let Some(ttl) = class.get_ref().ttl.as_ref().or(every) {
            // A default stands nowhere.
            let place = if ttl.span().is_empty() { rails.ttl_least.span() } else { ttl.span() };
            findings.require(
                ttl.get_ref() >= rails.ttl_least.get_ref(),
                place,
                || format!("`ttl` of class \"{}\" is {}", class.get_ref().name.get_ref(), ttl.get_ref()),
                &format!("at least `ttl_least` of [steering.rails], {}", rails.ttl_least.get_ref()),
                "raise it, or lower that",
            );
        }
    }
    Rails {
        share_moved_most: *rails.share_moved_most.get_ref(),
        answers_least: *rails.answers_least.get_ref() as usize,
        ttl_least_seconds: seconds(*rails.ttl_least.get_ref()),
        drain: Drain { ttls: *rails.drain_ttls.get_ref(), tail_seconds: rails.drain_tail.get_ref().as_secs_f64() },
    }
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_nanos() / 1_000_000_000).unwrap_or(u32::MAX)
}

fn check_rfc2136(section: &Spanned<SteeringSpec>, folder: &Path, findings: &mut Findings) -> Option<NameServer> {
    let given = section.get_ref();
    let key = if given.key_file.is_some() || given.key_env.is_some() {
        let (file, variable) = (given.key_file.as_ref(), given.key_env.as_ref());
        secret::check_source("steering", given.kind.span(), file, variable, folder, findings)
    } else {
        None
    };
    let server = given.server.as_ref().and_then(|server| socket_of(server, "server", findings));
    let transport = match given.transport.as_ref().map(|transport| *transport.get_ref()) {
        Some(TransportSpec::Tcp) => Transport::Tcp,
        Some(TransportSpec::Udp) | None => Transport::Udp,
    };
    Some(NameServer::Rfc2136 { server: server?, transport, key })
}

fn check_powerdns(
    section: &Spanned<SteeringSpec>,
    site: &Site,
    folder: &Path,
    findings: &mut Findings,
) -> Option<NameServer> {
    let given = section.get_ref();
    let place = given.kind.span();
    let key =
        secret::check_source("steering", place, given.key_file.as_ref(), given.key_env.as_ref(), folder, findings);
    let server = given.server.as_ref().and_then(|server| socket_of(server, "server", findings));
    let mut networks: BTreeMap<String, Vec<Prefix>> = BTreeMap::new();
    for (region, texts) in &given.networks {
        site.regions.find(region, findings);
        let prefixes = texts.iter().filter_map(|text| prefix_of(text, findings)).collect();
        networks.insert(region.get_ref().clone(), prefixes);
    }
    let url = given.url.as_ref().map(|url| {
        check_url(url, "url", &["http", "https"], findings);
        url.get_ref().clone()
    });
    let probed_port = given.probed_port.as_ref().map(|port| {
        findings.require(
            *port.get_ref() > 0,
            port.span(),
            || "`probed_port` is 0".to_owned(),
            "1 to 65535",
            "the port at which machines take connections",
        );
        *port.get_ref()
    });
    Some(NameServer::PowerDns { url: url?, key: key?, server: server?, networks, probed_port })
}

fn check_responder(section: &Spanned<SteeringSpec>, zone: DnsName, findings: &mut Findings) -> Option<NameServer> {
    let given = section.get_ref();
    let listen: Vec<SocketAddr> = given.listen.iter().filter_map(|text| socket_of(text, "listen", findings)).collect();
    let mut name_servers: BTreeMap<DnsName, Vec<IpAddr>> = BTreeMap::new();
    for (name, addresses) in &given.name_servers {
        let Some(name) = name_of(name, findings) else { continue };
        let addresses = addresses.iter().filter_map(|text| {
            let address = text.get_ref().parse::<IpAddr>().ok();
            if address.is_none() {
                let what = format!("`{}` is no IP address", text.get_ref());
                findings.add(text.span(), what, "192.0.2.53, 2001:db8::53", "as the delegation has it");
            }
            address
        });
        name_servers.insert(name, addresses.collect());
    }
    let hostmaster = match &given.hostmaster {
        Some(text) => name_of(text, findings),
        None => zone.child("hostmaster"),
    };
    if let Some(ttl) = &given.negative_ttl {
        check_ttl_of(ttl, "negative_ttl", findings);
    }
    let negative_ttl_seconds = given.negative_ttl.as_ref().map_or(30, |ttl| seconds(*ttl.get_ref()));
    let rate_limit = given.answers_per_second.as_ref().map(|rate| {
        findings.require(
            *rate.get_ref() > 0,
            rate.span(),
            || "`answers_per_second` is 0".to_owned(),
            "1 and more",
            "leave it out for no limit",
        );
        RateLimit { answers_per_second: *rate.get_ref(), burst_seconds: 5 }
    });
    let zone = SubZone { name: zone, name_servers, hostmaster: hostmaster?, negative_ttl_seconds };
    if !given.name_servers.is_empty()
        && let Err(error) = zone.check()
    {
        findings.add(given.zone.span(), error.to_string(), "a zone that can be served", "see `name_servers`");
    }
    Some(NameServer::Responder { listen, zone: Box::new(zone), rate_limit })
}

fn name_of(text: &Spanned<String>, findings: &mut Findings) -> Option<DnsName> {
    text.get_ref()
        .parse::<DnsName>()
        .map_err(|error| findings.add(text.span(), error.to_string(), "video.cdn.example", "a host name, in full"))
        .ok()
}

/// An address with a port.
pub(super) fn socket_of(text: &Spanned<String>, key: &str, findings: &mut Findings) -> Option<SocketAddr> {
    let found = text.get_ref().parse::<SocketAddr>().ok();
    if found.is_none() {
        findings.add(
            text.span(),
            format!("`{key}` is no address with a port: \"{}\"", text.get_ref()),
            "192.0.2.53:53, [2001:db8::53]:53",
            "an address, not a name, so that it can be reached when names cannot be told",
        );
    }
    found
}

/// Refuses what is no address of a page, and passwords in it.
pub(super) fn check_url(url: &Spanned<String>, key: &str, schemes: &[&str], findings: &mut Findings) {
    let text = url.get_ref();
    let parts = text.split_once("://");
    let host = parts.map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let plain = !text.contains(|c: char| c.is_whitespace() || c.is_control());
    findings.require(
        parts.is_some_and(|(scheme, _)| schemes.contains(&scheme)) && !host.is_empty() && plain,
        url.span(),
        || format!("`{key}` is no address that can be asked"),
        &schemes.iter().map(|scheme| format!("{scheme}://…")).collect::<Vec<_>>().join(", "),
        "write it in full",
    );
    findings.require(
        !host.contains('@'),
        url.span(),
        || format!("`{key}` holds a user, or a password"),
        "secrets stand in files of their own or in the environment",
        "write it without, and change the password",
    );
}

fn word(kind: SteeringKind) -> &'static str {
    match kind {
        SteeringKind::Rfc2136 => "rfc2136",
        SteeringKind::Powerdns => "powerdns",
        SteeringKind::Responder => "responder",
    }
}
