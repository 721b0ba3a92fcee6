//! The last value, and the value one season before: the forecasters that others must beat.

use forebay_world::{Duration, Timestamp};

use super::Forecaster;

/// What is, will be.
#[derive(Clone, Default)]
pub(super) struct Naive {
    last: Option<f64>,
}

impl Forecaster for Naive {
    fn name(&self) -> &'static str {
        "naive"
    }

    fn observe(&mut self, _at: Timestamp, value: Option<f64>) {
        self.last = value.or(self.last);
    }

    fn expect(&self, _at: Timestamp) -> Option<f64> {
        self.last
    }

    fn clone_box(&self) -> Box<dyn Forecaster> {
        Box::new(self.clone())
    }
}

/// What was one season ago, will be. Before a season has been seen, the last value.
#[derive(Clone)]
pub(super) struct SeasonalNaive {
    name: &'static str,
    season: u64,
    /// Mean of each slot of the season, the newest; undefined where nothing was seen.
    slots: Vec<f32>,
    /// Slot being filled, sum and count.
    filling: Option<(u64, f64, u32)>,
    last: Option<f64>,
}

const SLOT: Duration = Duration::from_mins(5);

impl SeasonalNaive {
    pub(super) fn new(name: &'static str, season: Duration) -> Self {
        let season = season / SLOT;
        SeasonalNaive { name, season, slots: vec![f32::NAN; season as usize], filling: None, last: None }
    }
}

impl Forecaster for SeasonalNaive {
    fn name(&self) -> &'static str {
        self.name
    }

    fn observe(&mut self, at: Timestamp, value: Option<f64>) {
        let slot = at.as_nanos() / SLOT.as_nanos();
        if let Some((filling, sum, count)) = self.filling
            && filling != slot
        {
            self.slots[(filling % self.season) as usize] = (sum / f64::from(count)) as f32;
            self.filling = None;
        }
        if let Some(value) = value {
            self.last = Some(value);
            let (_, sum, count) = self.filling.get_or_insert((slot, 0.0, 0));
            *sum += value;
            *count += 1;
        }
    }

    fn expect(&self, at: Timestamp) -> Option<f64> {
        // Linear between the middles of slots.
        let position = at.as_nanos() as f64 / SLOT.as_nanos() as f64 - 0.5;
        let (slot, share) = (position.max(0.0) as u64, position.max(0.0).fract());
        let value = |slot: u64| f64::from(self.slots[(slot % self.season) as usize]);
        let between = value(slot) * (1.0 - share) + value(slot + 1) * share;
        if between.is_nan() { self.last } else { Some(between) }
    }

    fn clone_box(&self) -> Box<dyn Forecaster> {
        Box::new(self.clone())
    }
}
