//! `[live]`, `[metrics]` and `[shadow]`.

use forebay_world::Duration;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::production::Mandate;
use crate::scenario::spec::unplaced;

/// `[live]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LiveSpec {
    /// What may be done in every cell: `off`, `shadow`, `advise` or `live`.
    pub mode: Spanned<Mandate>,
    /// Other modes for some cells; the last entry that names a cell holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Spanned<CellModeSpec>>,
    /// Most machines of a cell that may be on their way out at once.
    pub disruption: DisruptionSpec,
    /// How often and when what failed is tried again.
    pub retry: RetrySpec,
    /// When nothing more is tried for a while.
    pub breaker: BreakerSpec,
    /// Time that a machine may be unhealthy before it is replaced.
    pub unhealthy_grace: Spanned<Duration>,
    /// Time in which a new machine must get healthy.
    pub boot_deadline: Spanned<Duration>,
    /// Machines of ours that nobody knows of.
    pub orphans: OrphansSpec,
    /// Time that a machine has to end by itself.
    pub shutdown_deadline: Spanned<Duration>,
    /// Who of several instances may write.
    pub lease: LeaseSpec,
    /// What is older counts as not seen.
    pub freshness: Spanned<Duration>,
    /// How long audits and journals of terms that are over are kept; those of the last one always are.
    pub keep: Spanned<Duration>,
}

/// An entry of `live.cells`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellModeSpec {
    /// Which cells, as the guard's limits name them: `ams/video`, `ams/*`, `*/video`, `*`.
    pub cells: Spanned<String>,
    /// What may be done there.
    pub mode: Mandate,
}

/// `live.disruption`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DisruptionSpec {
    /// Machines …
    pub vms: Spanned<u32>,
    /// … or this share of the cell's, whichever is more.
    pub share: Spanned<f64>,
}

/// `live.retry`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySpec {
    /// Time before the second attempt; it doubles from one to the next.
    pub first: Spanned<Duration>,
    /// The longest such time.
    pub most: Spanned<Duration>,
    /// Attempts in all.
    pub attempts: Spanned<u32>,
}

/// `live.breaker`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerSpec {
    /// Failures in a row of one endpoint that open it.
    pub failures: Spanned<u32>,
    /// Time that it stays open.
    pub rest: Spanned<Duration>,
}

/// `live.orphans`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrphansSpec {
    /// Age from which they are removed.
    pub grace: Spanned<Duration>,
    /// Most that are removed at once.
    pub cap: Spanned<u32>,
}

/// `live.lease`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeaseSpec {
    /// Time after its last renewal at which another instance may take over.
    pub duration: Spanned<Duration>,
    /// Time from one renewal to the next.
    pub renew_every: Spanned<Duration>,
}

/// `[metrics]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSpec {
    /// Address at which Prometheus may ask: `127.0.0.1:9753`.
    pub listen: Spanned<String>,
}

/// `[shadow]`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShadowSpec {
    /// `[[shadow.incumbent]]`: machines that production runs itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incumbent: Vec<Spanned<IncumbentSpec>>,
}

/// `[[shadow.incumbent]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncumbentSpec {
    /// Their names on the hypervisor, `*` standing for any characters.
    pub names: Spanned<String>,
    /// What they serve.
    pub class: Spanned<String>,
    /// How large they are; the class's flavour unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flavour: Option<Spanned<String>>,
}

impl Default for LiveSpec {
    fn default() -> Self {
        LiveSpec {
            mode: unplaced(Mandate::Shadow),
            cells: Vec::new(),
            disruption: DisruptionSpec::default(),
            retry: RetrySpec::default(),
            breaker: BreakerSpec::default(),
            unhealthy_grace: unplaced(Duration::from_mins(1)),
            boot_deadline: unplaced(Duration::from_mins(5)),
            orphans: OrphansSpec::default(),
            shutdown_deadline: unplaced(Duration::from_secs(30)),
            lease: LeaseSpec::default(),
            freshness: unplaced(Duration::from_mins(3)),
            keep: unplaced(Duration::from_hours(90 * 24)),
        }
    }
}

impl Default for DisruptionSpec {
    fn default() -> Self {
        DisruptionSpec { vms: unplaced(1), share: unplaced(0.1) }
    }
}

impl Default for RetrySpec {
    fn default() -> Self {
        RetrySpec {
            first: unplaced(Duration::from_secs(2)),
            most: unplaced(Duration::from_mins(2)),
            attempts: unplaced(5),
        }
    }
}

impl Default for BreakerSpec {
    fn default() -> Self {
        BreakerSpec { failures: unplaced(5), rest: unplaced(Duration::from_mins(1)) }
    }
}

impl Default for OrphansSpec {
    fn default() -> Self {
        OrphansSpec { grace: unplaced(Duration::from_mins(10)), cap: unplaced(2) }
    }
}

impl Default for LeaseSpec {
    fn default() -> Self {
        LeaseSpec { duration: unplaced(Duration::from_secs(10)), renew_every: unplaced(Duration::from_secs(3)) }
    }
}
