//! What capacity can be bought: the flavours that each class may run on, and the ways to pay for them.
//!
//! The worlds serve a class on its one flavour and ask no price but that of the hour; a plan may choose.

use forebay_world::{ClassId, FlavourId, Topology};
use serde::{Deserialize, Serialize};

/// What there is to choose from.
#[derive(Clone, Debug, PartialEq)]
pub struct Market {
    /// For each class, the flavours that it may run on, its own first.
    pub allowed: Vec<Vec<FlavourId>>,
    /// For each flavour, its prices.
    pub tariffs: Vec<Tariff>,
}

/// Prices of a flavour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tariff {
    /// Price of one machine, asked for when it is needed \[currency unit / h\].
    pub on_demand_per_hour: f64,
    /// Machines that are paid for whether used or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Reserved>,
    /// Machines that may be taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot: Option<Spot>,
}

/// Machines that are paid for whether used or not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserved {
    /// How many, in each region.
    pub count: u32,
    /// Price of one \[currency unit / h\].
    pub price_per_hour: f64,
}

/// Machines that may be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spot {
    /// Price of one \[currency unit / h\].
    pub price_per_hour: f64,
    /// Share of the capacity of a region × class that they may make up, 0 to 1.
    pub share_most: f64,
}

/// How a machine is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Paid for whether used or not.
    Reserved,
    /// By the hour.
    OnDemand,
    /// By the hour, for less, and may be taken away.
    Spot,
}

impl Kind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Reserved => "reserved",
            Kind::OnDemand => "on-demand",
            Kind::Spot => "spot",
        }
    }
}

impl Market {
    /// The market of a topology alone: every class on its own flavour, by the hour.
    pub fn of(topology: &Topology) -> Self {
        Market {
            allowed: topology.classes.iter().map(|class| vec![class.flavour]).collect(),
            tariffs: topology
                .flavours
                .iter()
                .map(|flavour| Tariff { on_demand_per_hour: flavour.price_per_hour, reserved: None, spot: None })
                .collect(),
        }
    }

    /// Flavours that `class` may run on.
    pub fn allowed(&self, class: ClassId) -> &[FlavourId] {
        &self.allowed[class.index()]
    }

    /// Prices of `flavour`.
    pub fn tariff(&self, flavour: FlavourId) -> &Tariff {
        &self.tariffs[flavour.index()]
    }

    /// What the reserved machines of one region cost \[currency unit / h\].
    pub fn committed_per_hour(&self) -> f64 {
        let reserved = self.tariffs.iter().filter_map(|tariff| tariff.reserved);
        reserved.map(|reserved| f64::from(reserved.count) * reserved.price_per_hour).sum()
    }
}

impl Tariff {
    /// Price of one more machine where as many as may be are spot \[currency unit / h\].
    pub fn blended_per_hour(&self) -> f64 {
        match self.spot {
            Some(spot) if spot.price_per_hour < self.on_demand_per_hour => {
                let share = spot.share_most.clamp(0.0, 1.0);
                share * spot.price_per_hour + (1.0 - share) * self.on_demand_per_hour
            }
            _ => self.on_demand_per_hour,
        }
    }
}
