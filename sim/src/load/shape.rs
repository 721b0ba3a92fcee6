//! What a cell's load would be without noise and crowds: a week of hours in local time, or a recorded series.

use std::sync::Arc;

use forebay_world::{Duration, Timestamp};

use super::segment::Segment;
use crate::setup::{LocalTime, QueryLog, RateSeries, Synthetic};

const HOUR: i64 = 3600;
const HOURS_A_WEEK: usize = 168;
/// A recorded log seen as rates: sessions per step of this length.
const LOG_STEP: Duration = Duration::from_mins(1);

/// The usual rate of one cell \[1/s\].
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// Nobody comes.
    Nothing,
    /// Rates at the middles of the hours of a local week, linear between, Monday first. The mean over a week is the
    /// mean of the 168 values, thus base × mean daily × mean weekly factor, and there is no jump at midnight.
    Week { rates: Box<[f64; HOURS_A_WEEK]>, local: LocalTime },
    /// Recorded rates, zero outside the recording.
    Series(Arc<RateSeries>),
}

impl Shape {
    pub(super) fn week(load: &Synthetic, local: &LocalTime) -> Self {
        let base = load.sessions_per_second;
        let rates = std::array::from_fn(|hour| base * load.daily[hour % 24] * load.weekly[hour / 24]);
        assert!(rates.iter().all(|rate| rate.is_finite() && *rate >= 0.0), "a rate is a number, not negative");
        Shape::Week { rates: Box::new(rates), local: local.clone() }
    }

    /// A log of queries as the rate of the sessions that they stand for.
    pub(super) fn log(log: &QueryLog) -> Self {
        let (Some(first), Some(last)) = (log.at.first(), log.at.last()) else { return Shape::Nothing };
        let start = first.floor_to(LOG_STEP);
        let steps = (last.since(start) / LOG_STEP + 1) as usize;
        let mut rates = vec![0.0; steps];
        for at in &log.at {
            rates[(at.since(start) / LOG_STEP) as usize] += f64::from(log.sessions_per_query) / LOG_STEP.as_secs_f64();
        }
        Shape::Series(Arc::new(RateSeries { start, step: LOG_STEP, sessions_per_second: rates }))
    }

    /// The straight piece around `t`. Which piece that is does not depend on where in it `t` lies.
    pub(super) fn segment(&self, t: Timestamp) -> Segment {
        match self {
            Shape::Nothing => Segment::flat(Timestamp::EPOCH, Timestamp::MAX, 0.0),
            Shape::Week { rates, local } => week_segment(rates, local, t),
            Shape::Series(series) => series_segment(series, t),
        }
    }
}

fn week_segment(rates: &[f64; HOURS_A_WEEK], local: &LocalTime, t: Timestamp) -> Segment {
    let entry = local.0.partition_point(|(from, _)| *from <= t).saturating_sub(1);
    let offset = local.0.get(entry).map_or(0, |(_, offset)| i64::from(*offset));
    let since = if entry == 0 { Timestamp::EPOCH } else { local.0[entry].0 };
    let until = local.0.get(entry + 1).map_or(Timestamp::MAX, |(from, _)| *from);

    let seconds = (t.as_nanos() / 1_000_000_000) as i64;
    // Hours since the local epoch, a Thursday, whose middle is the last not after `t`.
    let hour = (seconds + offset - HOUR / 2).div_euclid(HOUR);
    let rate_at = |hour: i64| rates[(hour + 72).rem_euclid(HOURS_A_WEEK as i64) as usize];
    let (from, to) = (rate_at(hour), rate_at(hour + 1));
    let begin = hour * HOUR + HOUR / 2 - offset;
    let end = Timestamp::from_secs((begin + HOUR) as u64);
    let piece = match u64::try_from(begin) {
        Ok(begin) => Segment { since: Timestamp::from_secs(begin), until: end, from, to },
        Err(_) => {
            // The hour began before 1970.
            let part = (-begin) as f64 / HOUR as f64;
            Segment { since: Timestamp::EPOCH, until: end, from: from + (to - from) * part, to }
        }
    };
    piece.clip(since, until)
}

fn series_segment(series: &RateSeries, t: Timestamp) -> Segment {
    if t < series.start {
        return Segment::flat(Timestamp::EPOCH, series.start, 0.0);
    }
    let step = (t.since(series.start) / series.step) as usize;
    let at = |step: usize| series.start.saturating_add(series.step * step as u64);
    match series.sessions_per_second.get(step) {
        Some(&rate) => Segment::flat(at(step), at(step + 1), rate),
        None => Segment::flat(at(series.sessions_per_second.len()), Timestamp::MAX, 0.0),
    }
}
