//! Level and damped trend by exponential smoothing (Holt 1957; damping: Gardner & McKenzie 1985), in continuous time,
//! so that windows may be missing or of any length.

use forebay_world::Timestamp;

use super::Recurrence;

/// Time constants \[s\]: of the level, of the trend, and of the trend's decay ahead.
const LEVEL_SECONDS: f64 = 60.0;
const TREND_SECONDS: f64 = 300.0;
const DAMPING_SECONDS: f64 = 1800.0;

#[derive(Clone, Default)]
pub(super) struct Holt {
    /// Time of the last value, level, and trend \[1/s\].
    state: Option<(Timestamp, f64, f64)>,
}

/// What one unit of trend adds over `seconds`, damped.
fn reach(seconds: f64) -> f64 {
    DAMPING_SECONDS * (1.0 - (-seconds / DAMPING_SECONDS).exp())
}

impl Recurrence for Holt {
    fn observe(&mut self, at: Timestamp, value: Option<f64>) {
        let Some(value) = value else { return };
        let Some((before, level, trend)) = self.state else {
            self.state = Some((at, value, 0.0));
            return;
        };
        let seconds = at.since(before).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let predicted = level + trend * reach(seconds);
        let next = predicted + (value - predicted) * (1.0 - (-seconds / LEVEL_SECONDS).exp());
        let trend = trend + ((next - level) / seconds - trend) * (1.0 - (-seconds / TREND_SECONDS).exp());
        self.state = Some((at, next, trend));
    }

    fn expect(&self, at: Timestamp) -> Option<f64> {
        self.state.map(|(since, level, trend)| (level + trend * reach(at.since(since).as_secs_f64())).max(0.0))
    }

    fn clone_box(&self) -> Box<dyn Recurrence> {
        Box::new(self.clone())
    }
}
