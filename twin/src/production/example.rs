//! A production file to begin with, commented, as `forebay init` writes it.
//!
//! Prose begins with `# `, what may be switched on with `#` alone: a file in which all of that is switched on is sound too.

use std::fmt::Write as _;

use forebay_world::{BitsPerSecond, Bytes, Cpu};

use super::surroundings::{Node, Surroundings};

/// What a host without a link speed is taken to carry.
const SPEED: BitsPerSecond = BitsPerSecond(10_000_000_000);
/// A session of the class that is made up needs half of this.
const SPEED_LEAST: BitsPerSecond = BitsPerSecond(10_000_000);

/// The text of a file for what was found.
pub fn text(found: &Surroundings) -> String {
    let mut text = HEADING.to_owned();
    let (database, switch) = &found.switch;
    let uplink = found.uplink();
    let (uri, node) = &found.libvirt;
    let host = node.as_ref().unwrap_or(&found.machine);
    let speed = uplink.and_then(|uplink| uplink.speed).unwrap_or(SPEED).max(SPEED_LEAST);
    let size = Sizes::of(host, speed);

    text.push_str(
        "\n# What there is. The same sections stand in scenarios, so that what runs here can be simulated first.\n",
    );
    let _ =
        writeln!(text, "[[region]]\nname = \"ams\" # where these hosts stand: name, place and time zone are made up");
    text.push_str("lat = 52.37\nlon = 4.90\ntime_zone = \"Europe/Amsterdam\"\n");
    let _ = match uplink {
        Some(uplink) if uplink.speed.is_some() => {
            writeln!(
                text,
                "# Port {} of bridge {} says that it carries this.",
                comment(&uplink.port),
                comment(&uplink.bridge)
            )
        }
        _ => writeln!(text, "# No port said what it carries: this is made up."),
    };
    let _ = writeln!(text, "access = {{ capacity = \"{speed}\", delay = \"5 ms\" }}");
    let _ = match (&host.cpus, &host.memory) {
        (Some(cpus), Some(memory)) => writeln!(
            text,
            "# {} has {cpus} processors and {memory} of memory; what the host itself needs is left out.",
            comment(&host.name),
            memory = Bytes(memory.0 >> 20 << 20),
        ),
        _ => writeln!(text, "# What the host has was not seen: processors and memory are made up."),
    };
    let _ = writeln!(
        text,
        "hosts = [{{ count = 1, cpu = \"{}\", memory = \"{}\", nic = \"{speed}\" }}] # called ams-001, ams-002 …",
        size.host_cpu, size.host_memory
    );
    let _ = write!(text, "{}", sizes(&size));

    text.push_str("\n# What makes the machines of each host. The last section that names a host holds; * stands for any characters.\n");
    text.push_str("# Needed where something may be written; in shadow mode, to see what machines there are.\n[[hypervisor]]\nhosts = \"ams-*\"\n");
    match node {
        Ok(node) => {
            let _ = writeln!(text, "# libvirt answers at {}: {}.", comment(uri), comment(&node.name));
            let _ = writeln!(text, "kind = \"libvirt\"\nuri = {} # {{host}} stands for the host's name", quoted(uri));
        }
        Err(why) => {
            let _ = writeln!(
                text,
                "# libvirt was not seen at {} ({}), so QEMU itself is used, on this machine.",
                comment(uri),
                comment(why)
            );
            text.push_str("kind = \"qemu\"\n");
        }
    }
    text.push_str("acceleration = \"kvm\" # or \"tcg\": works everywhere, slowly\n");
    text.push_str("#folder = \"/var/lib/forebay/machines\" # where machines are written down\n");
    text.push_str(IMAGE);
    text.push_str(NETWORK);
    match (switch, uplink) {
        (Ok(_), Some(uplink)) => {
            let _ = writeln!(
                text,
                "executor = {{ kind = \"ovs\", database = {}, bridge = {}, port = {} }} # found there",
                quoted(database),
                quoted(&uplink.bridge),
                quoted(&uplink.port)
            );
        }
        (seen, _) => {
            let why = seen.as_ref().err().map_or("no bridge of it has a port that leads out", String::as_str);
            let _ = writeln!(
                text,
                "# Open vSwitch was not seen at {} ({}): bridge and port are made up.",
                comment(database),
                comment(why)
            );
            let database = if database.contains(':') { database } else { "unix:/run/openvswitch/db.sock" };
            let _ = writeln!(
                text,
                "executor = {{ kind = \"ovs\", database = {}, bridge = \"br0\", port = \"uplink\" }}",
                quoted(database)
            );
        }
    }
    text.push_str(REST);
    text
}

/// A host and a flavour that fits it.
struct Sizes {
    host_cpu: Cpu,
    host_memory: Bytes,
    cpu: Cpu,
    memory: Bytes,
    bandwidth: BitsPerSecond,
}

impl Sizes {
    fn of(host: &Node, speed: BitsPerSecond) -> Sizes {
        let mebibyte = 1 << 20;
        let (cpus, memory) = (host.cpus.unwrap_or(16).max(1), host.memory.unwrap_or(Bytes(64 << 30)).0);
        let host_cpus = if cpus > 2 { cpus - 1 } else { cpus };
        // An eighth for the host itself, 512 MiB at least, as far as there is that much.
        let host_memory = memory.saturating_sub((memory / 8).max(512 * mebibyte)).max(256 * mebibyte);
        let memory = (host_memory / 4).clamp(256 * mebibyte, 8 << 30);
        let processors = (host_cpus / 4).clamp(1, 4);
        let thousands = |cpus: u32| Cpu(u64::from(cpus) * 1000);
        Sizes {
            host_cpu: thousands(host_cpus),
            host_memory: Bytes(host_memory / mebibyte * mebibyte),
            cpu: thousands(processors),
            memory: Bytes(memory / mebibyte * mebibyte),
            bandwidth: BitsPerSecond((speed.0 / 4).max(SPEED_LEAST.0)),
        }
    }
}

fn sizes(size: &Sizes) -> String {
    let mut text = "\n# A size that a machine can have, its price and how long it takes to be ready.\n[[flavour]]\nname = \"edge\"\n".to_owned();
    let _ = writeln!(text, "cpu = \"{}\"\nmemory = \"{}\"\nbandwidth = \"{}\"", size.cpu, size.memory, size.bandwidth);
    text.push_str("price_per_hour = 0.10\nboot_median = \"45 s\"\nwarm_up = \"30 s\"\n");
    text.push_str(CLASS);
    text
}

/// A text within a comment.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

/// A text as a string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

const HEADING: &str = r#"# Production for forebay, to begin with. `forebay check FILE` says whether it is sound and whether all that it names
# answers; `forebay check --offline FILE` asks nobody. As it stands nothing is written anywhere: its mode is "shadow".
#
# Lines that begin with # and no blank may be switched on. Quantities carry their unit, in quotes.

[production]
name = "edge"
# Stands on everything that is made, and tells it from what is others'. Never change it while machines stand.
owner = "forebay"
# Folder of the lease, the ledger, the journal, the audit and the kill switch.
state = "/var/lib/forebay"
policy = "predictive"
"#;

const CLASS: &str = r#"
# A kind of work: streaming, download or interactive.
[[class]]
name = "video"
kind = "streaming"
flavour = "edge"
bit_rate = "5 Mbit/s"
duration = "20 min"
cpu = "10 mCPU" # what one session takes
violation_price_per_minute = 1.0
#ttl = "20 s" # how long answers may be kept; as [dns] says unless given
"#;

const IMAGE: &str = r#"
# What machines of a flavour boot: a disk, or a kernel with its initrd and command_line; absolute paths on the hosts.
[image.edge]
disk = "/var/lib/forebay/images/edge.qcow2"
format = "qcow2"
# For cloud-init: a file beside this one, in which {address} {prefix_length} {gateway} {class} {region} {vm} are filled in.
# user_data = "edge.yaml"
"#;

const NETWORK: &str = r#"
# The access link of a region, and the addresses of its machines.
[network.ams]
addresses = "10.20.0.0/24" # at least twice as many as there is room for machines
gateway = "10.20.0.1"
#reserved = ["10.20.0.2", "10.20.0.240/28"]
#public = "192.0.2.0/24" # as large: addresses under which clients reach the machines, where these are others (1:1 NAT)
"#;

const REST: &str = r#"
# Where queries are seen: servers send dnstap here (knot: mod-dnstap, BIND: dnstap-output, PowerDNS: dnsdist).
[dns]
dnstap = ["unix:/run/forebay/dnstap.sock"]
vantage = "authority" # or before-resolver, after-resolver
ttl = "30 s"

# Where clients are. With one region there is no question; with several, name a file or a database.
[dns.geography]
# prefixes = "networks.csv" # CSV with the columns prefix,region
# database = "dbip-country-lite.mmdb"
fallback = "ams" # or drop, spread

# Names of each class, with all below them; *.NAME for those below it alone.
[dns.names]
video = ["video.cdn.example"]

# Where answers are given. Without it, nobody is steered. kind: rfc2136 (BIND, Knot, PowerDNS), powerdns, responder.
# Secrets are never written into this file: it names files that nobody else can read, or variables of the environment.
#[steering]
#kind = "rfc2136"
#server = "127.0.0.1:53"
#zone = "cdn.example"
#key_file = "/etc/forebay/dns.key" # as tsig-keygen writes it

#[steering.rails]
#share_moved_most = 0.1 # of a name's clients, at one step
#answers_least = 1
#ttl_least = "10 s"
#drain_ttls = 2.0
#drain_tail = "1 min"

#[steering.names]
#video = "video.cdn.example"

# How it is told that a machine serves.
[health.video]
port = 80
path = "/health"
period = "5 s"
timeout = "2 s"
healthy_after = 2
unhealthy_after = 3
#sessions = { path = "/metrics", metric = "nginx_connections_active" }
#warm = ["/popular/1.ts"] # asked for before a machine gets clients

# What demand was before, to learn from: counts by time, region and class, as `forebay import` makes them of DNS logs.
#[history]
#files = ["demand.csv.gz"]
#sessions_per_count = 1.0

# Events that will move demand: calendars and tables, read again and again.
#[[feed]]
#url = "https://events.example/matches.ics"
#every = "1 h"
#kind = "football"

[controller]
period = "30 s"
demand = "dns" # or "sessions", as machines count them: see health.CLASS.sessions

[controller.guard]
floor = 1
ceiling = 20
#budget_per_hour = 10.0

# What may be done: off, shadow (look and keep score), advise (ask a person), live. The last entry that names a cell holds.
[live]
mode = "shadow"
#cells = [{ cells = "ams/video", mode = "advise" }]
disruption = { vms = 1, share = 0.1 } # of a cell's machines on their way out at once
retry = { first = "2 s", most = "2 min", attempts = 5 }
breaker = { failures = 5, rest = "1 min" }
unhealthy_grace = "1 min"
boot_deadline = "5 min"
orphans = { grace = "10 min", cap = 2 }
shutdown_deadline = "30 s"
lease = { duration = "10 s", renew_every = "3 s" }
freshness = "3 min" # what is older counts as not seen
keep = "90 d" # audits and journals of terms that are over; those of the last one stay in any case

# For Prometheus.
[metrics]
listen = "127.0.0.1:9753"

# Machines that production runs itself, told by their names, so that shadow mode can say what it would have done instead.
#[[shadow.incumbent]]
#names = "video-*"
#class = "video"
"#;

#[cfg(test)]
mod tests {

    use proptest::prelude::*;

    use super::super::surroundings::SwitchPort;
    use super::*;
    use crate::production::Production;
    use crate::scenario::ScenarioError;

    fn surroundings(cpus: Option<u32>, mebibytes: Option<u64>, speed: Option<u64>) -> Surroundings {
        let port = SwitchPort {
            bridge: "br \"0\"".to_owned(),
            port: "eth0".to_owned(),
            speed: speed.map(BitsPerSecond),
            is_hardware: true,
        };
        let memory = mebibytes.map(|count| Bytes(count << 20));
        Surroundings {
            machine: Node { name: "here\nname = 1".to_owned(), cpus, memory },
            libvirt: ("qemu:///system".to_owned(), Err("nobody\nlistens".to_owned())),
            switch: ("unix:/run/openvswitch/db.sock".to_owned(), Ok(vec![port])),
        }
    }

    fn accepted(text: &str) -> Production {
        // What an operator has when he switches it on.
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("demand.csv.gz"), "").unwrap();
        Production::from_text("forebay.toml", text, folder.path()).unwrap_or_else(|error| match error {
            ScenarioError::Refused(refused) => panic!("{}", refused.render(false)),
            other => panic!("{other}"),
        })
    }

    /// The text with all that may be switched on.
    fn switched_on(text: &str) -> String {
        let on = |line: &str| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        };
        text.lines().map(on).collect()
    }

    proptest! {
        /// Whatever is found, the file is sound, and also with all that may be switched on.
        #[test]
        fn an_example_is_sound(
            cpus in proptest::option::of(1u32..2000),
            mebibytes in proptest::option::of(64u64..8_000_000),
            speed in proptest::option::of(1u64..800_000_000_000),
        ) {
            let text = text(&surroundings(cpus, mebibytes, speed));
            prop_assert!(!accepted(&text).may_write());
            let whole = accepted(&switched_on(&text));
            prop_assert!(whole.answering.is_some() && whole.may_write() && whole.feeds.len() == 1);
        }
    }

    #[test]
    fn what_was_not_found_is_said() {
        let mut nothing = surroundings(None, None, None);
        nothing.switch.1 = Err("no such file".to_owned());
        let text = text(&nothing);
        for said in ["made up", "libvirt was not seen at qemu:///system (nobody listens)", "Open vSwitch was not seen"]
        {
            assert!(text.contains(said), "{said}: {text}");
        }
        accepted(&text);
    }

    #[test]
    fn every_section_of_a_file_is_in_it() {
        let text = text(&surroundings(Some(8), Some(32 << 10), Some(10_000_000_000)));
        for section in [
            "[production]",
            "[[region]]",
            "[[flavour]]",
            "[[class]]",
            "[[hypervisor]]",
            "[image.edge]",
            "[network.ams]",
            "[dns]",
            "[dns.geography]",
            "[dns.names]",
            "[steering]",
            "[steering.rails]",
            "[steering.names]",
            "[health.video]",
            "[history]",
            "[[feed]]",
            "[controller]",
            "[live]",
            "[metrics]",
            "[[shadow.incumbent]]",
        ] {
            assert!(text.contains(section), "{section}");
        }
    }
}
