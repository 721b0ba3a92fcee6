//! Production: one file that says what there is, who may be asked and told, and how much may be done.
//!
//! Two phases, as with scenarios: [`spec::ProductionSpec`] mirrors the file, [`Production`] cannot be wrong. What there is
//! (`[every_region] [[region]] [mesh] [[link]] [[flavour]] [[class]]`) and `[controller]` are said and checked exactly as in
//! a scenario, so that what was tried there is what runs. Nothing is asked and nothing written here: `forebay check` does
//! the former, live mode the latter. Secrets are named, not held ([`SecretSource`]).
//!
//! ```text
//!   file ──▶ ProductionSpec ──▶ site, hypervisor, image, network, queries, answering, health, history, feed, live ──▶ Production
//! ```
//!
//! Cells in which nothing may be written need nothing to write with: a file for shadow mode is a topology and `[dns]`.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_adapters::lease::LeaseTerms;
use forebay_adapters::machines::Owner;
use forebay_world::{ClassId, Duration, FlavourId, HostId, RegionId, Topology, VmId};
use jiff::tz::TimeZone;

use crate::controller::ControllerConfig;
use crate::plan::Market;
use crate::policy::{self, Knowledge};
use crate::scenario::finding::{self, Finding, Findings};
use crate::scenario::site::{self, Site};
use crate::scenario::{ScenarioError, check_controller, nearest, read_text, zone};

mod answering;
pub mod example;
mod feed;
mod health;
mod history;
mod hypervisor;
mod image;
mod live;
mod needs;
mod network;
mod queries;
mod secret;
pub mod spec;
pub mod surroundings;
mod template;

pub use answering::{Answering, AnsweringError, NameServer};
pub use feed::{Announced, Feed, FeedPlace};
pub use health::{HealthCheck, SessionsForm, SessionsPage};
pub use history::{History, Known};
pub use hypervisor::{BUILD_WITH_LIBVIRT, HostedOn, Hypervisor, OpenError};
pub use image::MachineImage;
pub use live::{Incumbent, Mandate, RolloutSettings};
pub use network::{AddressPool, Bridge, Network};
pub use queries::{Queries, QueryLog, Whereabouts};
pub use secret::{SecretError, SecretSource};
pub use template::{Filling, Template, UnknownWord, WORDS};

use spec::ProductionSpec;

/// What an operator says of production, checked.
#[derive(Clone, Debug)]
pub struct Production {
    /// Short name.
    pub name: String,
    /// What stands on everything that is made.
    pub owner: Owner,
    /// Folder of the lease, the ledger, the journal, the audit and the kill switch. It need not be there yet.
    pub state: PathBuf,
    /// Policy that decides; it can be built without foresight.
    pub policy: String,
    /// What there is.
    pub topology: Arc<Topology>,
    /// What can be bought.
    pub market: Market,
    /// Time zone of each region.
    pub zones: Vec<TimeZone>,
    /// Settings of the controller.
    pub controller: ControllerConfig,
    /// What makes machines, and the hosts that are on each.
    pub hypervisors: Vec<HostedOn>,
    /// For each host, the position of its hypervisor; there is one wherever something may be written.
    pub hypervisor_of: Vec<Option<usize>>,
    /// For each flavour, what its machines boot; there is one for every flavour of a class that may be written.
    pub images: Vec<Option<MachineImage>>,
    /// For each region, its access link and its addresses; there is one wherever something may be written on hosts of ours.
    pub networks: Vec<Option<Network>>,
    /// For each class, how its machines are asked; there is one for every class that may be written.
    pub health: Vec<Option<HealthCheck>>,
    /// For each class, the time to live of its answers: whole seconds.
    pub ttl: Vec<Duration>,
    /// Where queries are seen.
    pub queries: Option<Queries>,
    /// Where answers are given; nobody is steered where `None`.
    pub answering: Option<Answering>,
    /// For each cell, what may be done there.
    pub mandates: Vec<Mandate>,
    /// How carefully plans are carried out.
    pub rollout: RolloutSettings,
    /// Who of several instances may write.
    pub lease: LeaseTerms,
    /// What is older counts as not seen.
    pub freshness: Duration,
    /// How long audits and journals of terms that are over are kept.
    pub keep: Duration,
    /// Demand before the first tick.
    pub history: Option<History>,
    /// Feeds of events.
    pub feeds: Vec<Feed>,
    /// Events that the file announces.
    pub events: Vec<Announced>,
    /// Address at which metrics may be asked for.
    pub metrics: Option<std::net::SocketAddr>,
    /// Machines that production runs itself. The first that fits a name holds.
    pub incumbents: Vec<Incumbent>,
    /// What the operator should know.
    pub remarks: Vec<String>,
    /// The file after defaults, as TOML, for the journal's header. Secrets are not in it, for they are not in the file.
    pub resolved: String,
}

impl Production {
    /// Whether a text is that of a production file: whether it has a `[production]` table. A text that is no TOML is told
    /// by its lines.
    pub fn is_one(text: &str) -> bool {
        match toml::de::DeTable::parse(text) {
            Ok(table) => table.get_ref().contains_key("production"),
            Err(_) => text.lines().any(|line| line.trim_start().starts_with("[production]")),
        }
    }

    /// Reads a production file and what lies beside it: user data, lists of paths. Nothing is connected to.
    ///
    /// # Errors
    /// [`ScenarioError`] with all that is wrong, as far as it can be known at once.
    pub fn load(path: &Path) -> Result<Production, ScenarioError> {
        let text = read_text(path)?;
        Production::from_text(&path.display().to_string(), &text, path.parent().unwrap_or(Path::new("")))
    }

    /// As [`Production::load`], from the text of a file that is called `file` and whose neighbours lie in `folder`.
    ///
    /// # Errors
    /// As [`Production::load`].
    pub fn from_text(file: &str, text: &str, folder: &Path) -> Result<Production, ScenarioError> {
        let spec: ProductionSpec =
            toml::from_str(text).map_err(|error| without_secrets(finding::refused_toml(file, text, &error)))?;
        let mut findings = Findings::default();
        let production = check(&spec, text, folder, &mut findings);
        findings.refuse(file, text).map_err(without_secrets)?;
        Ok(production.expect("nothing was found"))
    }

    /// What may be done in a cell.
    pub fn mandate(&self, region: RegionId, class: ClassId) -> Mandate {
        self.mandates[self.topology.cell(region, class)]
    }

    /// Whether anything may be written at all.
    pub fn may_write(&self) -> bool {
        self.mandates.iter().any(|mandate| mandate.may_write())
    }

    /// What makes the machines of a host.
    pub fn hypervisor(&self, host: HostId) -> Option<&Hypervisor> {
        let at = self.hypervisor_of.get(host.index()).copied().flatten()?;
        Some(&self.hypervisors[at].hypervisor)
    }

    /// What machines of a flavour boot.
    pub fn image(&self, flavour: FlavourId) -> Option<&MachineImage> {
        self.images.get(flavour.index())?.as_ref()
    }

    /// The access link of a region.
    pub fn network(&self, region: RegionId) -> Option<&Network> {
        self.networks.get(region.index())?.as_ref()
    }

    /// How machines of a class are asked.
    pub fn health_of(&self, class: ClassId) -> Option<&HealthCheck> {
        self.health.get(class.index())?.as_ref()
    }

    /// The facts of a machine that are filled in. `address` is its own, where it is ours to give.
    pub fn filling(
        &self,
        vm: VmId,
        region: RegionId,
        class: ClassId,
        address: Option<std::net::IpAddr>,
    ) -> Filling<'_> {
        let pool = self.network(region).and_then(|network| network.addresses.as_ref());
        Filling {
            vm,
            class: &self.topology.class(class).name,
            region: &self.topology.region(region).name,
            address: address.zip(pool).map(|(address, pool)| (address, pool.network().length(), pool.gateway())),
        }
    }
}

/// Checks a spec. `None` only where something was found.
fn check(spec: &ProductionSpec, text: &str, folder: &Path, findings: &mut Findings) -> Option<Production> {
    let heading = &spec.production;
    let owner = check_owner(spec, findings);
    findings.require(
        !heading.name.get_ref().trim().is_empty() && !heading.name.get_ref().contains(char::is_control),
        heading.name.span(),
        || "production needs a name".to_owned(),
        "empty, or with control characters",
        "give it a short name such as \"edge-eu\"",
    );
    let state = folder.join(heading.state.get_ref());
    let state = std::path::absolute(&state).unwrap_or(state);
    findings.require(
        !heading.state.get_ref().as_os_str().is_empty() && !state.is_file(),
        heading.state.span(),
        || format!("`state` is no folder: {}", state.display()),
        "a folder, which need not be there yet",
        "such as \"/var/lib/forebay\"",
    );
    let site = site::check(spec.site(), findings);
    // Dense lists stand on what there is: what is no topology has none.
    let whole = findings.0.is_empty();
    let zones: Vec<TimeZone> = spec
        .region
        .iter()
        .map(|region| zone::find(&region.get_ref().time_zone, findings).unwrap_or(TimeZone::UTC))
        .collect();
    let networks = network::check(spec, &site, folder, findings);
    let (hypervisors, hypervisor_of) = hypervisor::check(spec, &site, &networks, (folder, &state), findings);
    let images = image::check(spec, &site, folder, findings);
    let health = health::check(spec, &site, folder, findings);
    let queries = queries::check(spec, &site, folder, findings);
    let ttl = answering::check_ttl(spec, findings);
    let answering = answering::check(spec, &site, folder, findings);
    let history = history::check(spec, folder, findings);
    let feeds = feed::check_feeds(spec, &site, folder, findings);
    let events = feed::check_events(spec, &site, findings);
    let rollout = live::check_limits(&spec.live, findings);
    let lease = live::check_lease(&spec.live, findings);
    let incumbents = live::check_incumbents(spec, &site, findings);
    health::within(&spec.live.freshness, "freshness", Duration::from_secs(1), Duration::from_hours(24), findings);
    let day = Duration::from_hours(24);
    health::within(&spec.live.keep, "keep", day, day * 3650, findings);
    let mut remarks = Vec::new();
    let metrics = check_metrics(spec, &mut remarks, findings);
    if !whole {
        check_policy_name(spec, findings);
        return None;
    }
    check_controller(spec.controller.get_ref(), &site.topology, text, findings);
    check_policy(spec, &site, findings);
    let mandates = live::check_mandates(&spec.live, &site.topology, findings);
    remarks.extend(network::remarks(&site, &networks));
    let mut production = Production {
        name: heading.name.get_ref().clone(),
        owner: owner?,
        state,
        policy: heading.policy.get_ref().clone(),
        topology: Arc::new(site.topology),
        market: site.market,
        zones,
        controller: spec.controller.get_ref().clone(),
        hypervisors,
        hypervisor_of,
        images,
        networks,
        health,
        ttl,
        queries,
        answering,
        mandates,
        rollout,
        lease,
        freshness: *spec.live.freshness.get_ref(),
        keep: *spec.live.keep.get_ref(),
        history,
        feeds,
        events,
        metrics,
        incumbents,
        remarks,
        resolved: toml::to_string(spec).unwrap_or_default(),
    };
    // What is missing may be what something else was meant to be.
    if findings.0.is_empty() {
        needs::check(&production, spec, findings);
    }
    let more = needs::remarks(&production);
    production.remarks.extend(more);
    Some(production)
}

fn check_owner(spec: &ProductionSpec, findings: &mut Findings) -> Option<Owner> {
    let owner = &spec.production.owner;
    owner
        .get_ref()
        .parse::<Owner>()
        .map_err(|error| {
            let hint = "it tells what is yours from what is not: never change it while machines stand";
            findings.add(owner.span(), format!("`owner`: {error}"), "1 to 31 of a-z, 0-9 and -, not - first", hint);
        })
        .ok()
}

fn check_policy_name(spec: &ProductionSpec, findings: &mut Findings) -> bool {
    let policy = &spec.production.policy;
    let known = policy::is_known(policy.get_ref());
    if !known {
        let near = nearest(policy.get_ref(), policy::NAMES.iter().copied());
        findings.add(
            policy.span(),
            format!("unknown policy \"{}\"", policy.get_ref()),
            format!("allowed: {}, and predictive:MODEL", policy::NAMES.join(", ")),
            near.map_or_else(|| "predictive unless given".to_owned(), |near| format!("did you mean \"{near}\"?")),
        );
    }
    known
}

fn check_policy(spec: &ProductionSpec, site: &Site, findings: &mut Findings) {
    if !check_policy_name(spec, findings) || !findings.0.is_empty() {
        return;
    }
    let (policy, config) = (&spec.production.policy, spec.controller.get_ref());
    if spec.history.is_some() && policy::goes_by_hindsight(policy.get_ref()) {
        return;
    }
    // It knows no future, and no past: what cannot be built of that cannot run.
    if let Err(error) = policy::build(policy.get_ref(), config, &site.topology, &Knowledge::default()) {
        findings.add(
            policy.span(),
            format!("policy {} cannot run in production", policy.get_ref()),
            error.to_string(),
            "what it goes by is set in [controller.policy] and [history]; predictive needs nothing",
        );
    }
}

fn check_metrics(
    spec: &ProductionSpec,
    remarks: &mut Vec<String>,
    findings: &mut Findings,
) -> Option<std::net::SocketAddr> {
    let listen = answering::socket_of(&spec.metrics.as_ref()?.listen, "listen", findings)?;
    if !listen.ip().is_loopback() {
        remarks.push(format!("metrics at {listen} can be read by whoever reaches that address"));
    }
    Some(listen)
}

/// A file that holds a secret is refused in words that say where it goes, and shown without it.
fn without_secrets(error: ScenarioError) -> ScenarioError {
    let ScenarioError::Refused(mut refused) = error else { return error };
    for finding in &mut refused.findings {
        let key = finding.message.strip_prefix("unknown key `").and_then(|rest| rest.strip_suffix('`'));
        if let Some(key) = key
            && secret::is_secret_key(key)
        {
            *finding = Finding {
                span: finding.span.clone(),
                message: format!("`{key}` is no key here: secrets do not stand in this file"),
                allowed: "a secret stands in a file of its own, or in the environment".to_owned(),
                hint:
                    "name the file (`key_file = \"…\"`, `credentials_file = \"…\"`) or the variable (`key_env = \"…\"`)"
                        .to_owned(),
            };
        }
    }
    refused.text = secret::redacted(&refused.text);
    ScenarioError::Refused(refused)
}

/// Keys that mean nothing for a section of this kind are a mistake.
fn unused_keys<Kind: Copy + PartialEq>(
    kind: Kind,
    given: &[(&str, Option<Range<usize>>, &[Kind])],
    word: fn(Kind) -> &'static str,
    findings: &mut Findings,
) {
    for (key, span, kinds) in given {
        if let Some(span) = span
            && !kinds.contains(&kind)
        {
            let kinds: Vec<&str> = kinds.iter().map(|kind| word(*kind)).collect();
            findings.add(
                span.clone(),
                format!("kind {} has no use for `{key}`", word(kind)),
                format!("only for {}", kinds.join(" and ")),
                "remove it, or change `kind`",
            );
        }
    }
}

#[cfg(test)]
mod tests;
