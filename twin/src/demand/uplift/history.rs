//! What past events brought, told from a recorded series: the most during an event over the most at the same hours of the
//! same weekday in the weeks around it.
//!
//! The same statistic on both sides: the most of many noisy values is more than the most of their means.

use forebay_world::{Duration, Timestamp};

use super::Uplifts;

/// Weeks to each side that tell what is usual.
const WEEKS: u64 = 4;
/// The fewest weeks from which it can be told.
const WEEKS_FEWEST: usize = 3;
const WEEK: Duration = Duration::from_hours(7 * 24);

/// A recorded series: one value a step, nothing where none was recorded.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// Begin of the first step.
    pub start: Timestamp,
    /// Length of a step, above zero.
    pub step: Duration,
    /// Demand of each step.
    pub values: &'a [Option<f64>],
}

/// An event that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// Its kind.
    pub kind: String,
    /// Its start.
    pub start: Timestamp,
    /// Its end.
    pub end: Timestamp,
    /// Factor that its announcer had said.
    pub announced: Option<f64>,
}

impl Recorded<'_> {
    /// The most within a span; nothing when any step that the span touches was not recorded.
    fn most(&self, from: Timestamp, to: Timestamp) -> Option<f64> {
        assert!(!self.step.is_zero(), "a series has steps");
        if from < self.start || to <= from {
            return None;
        }
        let first = from.since(self.start) / self.step;
        let last = to.saturating_sub(Duration::from_nanos(1)).since(self.start) / self.step;
        let values = self.values.get(usize::try_from(first).ok()?..=usize::try_from(last).ok()?)?;
        values.iter().try_fold(f64::NEG_INFINITY, |most, value| Some(most.max((*value)?)))
    }

    /// What an event brought: the most during it ÷ the median of the most in as long a span at the same hour and weekday of
    /// up to four weeks before and after. Weeks in which another of `events` took place do not count. Nothing where that is
    /// not known, or was nothing.
    pub fn factor(&self, event: &Past, events: &[Past]) -> Option<f64> {
        let during = self.most(event.start, event.end)?;
        let mut usual = Vec::new();
        for week in 1..=WEEKS {
            let away = Duration::from_nanos(WEEK.as_nanos() * week);
            let before = (event.start.as_nanos() >= away.as_nanos())
                .then(|| (event.start.saturating_sub(away), event.end.saturating_sub(away)));
            let after = (event.start.saturating_add(away), event.end.saturating_add(away));
            for (from, to) in before.into_iter().chain([after]) {
                let free = events.iter().all(|other| other.start >= to || other.end <= from);
                usual.extend(self.most(from, to).filter(|_| free));
            }
        }
        if usual.len() < WEEKS_FEWEST {
            return None;
        }
        usual.sort_by(f64::total_cmp);
        let middle = usual.len() / 2;
        let median = if usual.len() % 2 == 1 { usual[middle] } else { (usual[middle - 1] + usual[middle]) / 2.0 };
        let factor = during / median;
        (median > 0.0 && factor.is_finite() && factor > 0.0).then_some(factor)
    }
}

impl Uplifts {
    /// Learns from past events and the demand that was recorded; what each has taught, in order.
    pub fn teach(&mut self, recorded: &Recorded<'_>, events: &[Past]) -> Vec<Option<f64>> {
        let mut taught = Vec::new();
        for event in events {
            let factor = recorded.factor(event, events);
            if let Some(factor) = factor {
                self.learn(&event.kind, factor, event.announced);
            }
            taught.push(factor);
        }
        taught
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn past(kind: &str, start_hour: u64, hours: u64) -> Past {
        let at = |hour| Timestamp::from_secs(hour * HOUR);
        Past { kind: kind.into(), start: at(start_hour), end: at(start_hour + hours), announced: None }
    }

    /// Ten weeks by the hour, with a day and a week in them.
    fn weeks() -> Vec<Option<f64>> {
        let usual =
            |hour: u64| 100.0 + 50.0 * f64::from((hour % 24) as u32) + 500.0 * f64::from((hour / 24 % 7) as u32);
        (0..10 * 168).map(|hour| Some(usual(hour))).collect()
    }

    #[test]
    fn an_event_is_told_from_its_weekday_and_hour() {
        let mut values = weeks();
        let event = past("match", 5 * 168 + 3 * 24 + 20, 2);
        for hour in 0..2 {
            let value = values[5 * 168 + 3 * 24 + 20 + hour].as_mut().unwrap();
            *value *= 2.5;
        }
        let recorded = Recorded { start: Timestamp::EPOCH, step: Duration::from_hours(1), values: &values };
        let mut uplifts = Uplifts::default();
        let taught = uplifts.teach(&recorded, std::slice::from_ref(&event));
        assert!((taught[0].unwrap() - 2.5).abs() < 1e-12 && uplifts.events("match") == 1);
        // A whole day is held against whole days, not against midnight.
        let day = past("holiday", 6 * 168, 24);
        assert!((recorded.factor(&day, &[]).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn other_events_and_gaps_are_not_what_is_usual() {
        let mut values = weeks();
        let matches: Vec<Past> = (3..6).map(|week| past("match", week * 168 + 20, 2)).collect();
        for event in &matches {
            let hour = (event.start.as_secs_f64() / 3600.0) as usize;
            values[hour..hour + 2].iter_mut().for_each(|value| *value = value.map(|value| 3.0 * value));
        }
        let recorded = Recorded { start: Timestamp::EPOCH, step: Duration::from_hours(1), values: &values };
        for event in &matches {
            let factor = recorded.factor(event, &matches).unwrap();
            assert!((factor - 3.0).abs() < 1e-12, "{factor}");
        }
        // With none of the weeks left, nothing is told.
        let every: Vec<Past> = (0..10).map(|week| past("match", week * 168 + 20, 2)).collect();
        assert_eq!(recorded.factor(&every[4], &every), None);
        let mut gapped = values.clone();
        gapped[4 * 168 + 21] = None;
        let gapped = Recorded { values: &gapped, ..recorded };
        assert_eq!(gapped.factor(&matches[1], &matches), None);
        assert_eq!(recorded.factor(&past("match", 30 * 168, 2), &[]), None);
        assert_eq!(recorded.factor(&past("match", 5, 0), &[]), None);
    }

    /// New York's taxis, with five dated days that are known to be out of the ordinary. The recording is where
    /// `FOREBAY_DATA` says.
    #[test]
    fn the_marathon_and_the_snow_storm_of_new_york_teach_what_they_were() {
        let folder = std::env::var_os("FOREBAY_DATA").unwrap_or_else(|| "../shared/data".into());
        let file = std::path::Path::new(&folder).join("nab_nyc_taxi_30min.csv");
        let Ok(series) = forebay_adapters::read_counts(&file) else {
            eprintln!("{} is not there: nothing learned", file.display());
            return;
        };
        let values: Vec<Option<f64>> = series.series[0].values.clone();
        let recorded = Recorded { start: series.start, step: series.step, values: &values };
        let day = |kind: &str, from: &str, hours: u64| {
            let start: Timestamp = from.parse().unwrap();
            Past { kind: kind.into(), start, end: start + Duration::from_hours(hours), announced: None }
        };
        let events = [
            day("marathon", "2014-11-02T00:00", 24),
            day("holiday", "2014-11-27T00:00", 24),
            day("holiday", "2014-12-25T00:00", 24),
            day("new year", "2015-01-01T00:00", 6),
            day("storm", "2015-01-27T00:00", 24),
        ];
        let mut uplifts = Uplifts::default();
        let taught: Vec<f64> = uplifts.teach(&recorded, &events).into_iter().map(Option::unwrap).collect();
        let kinds = ["marathon", "holiday", "new year", "storm"].map(|kind| uplifts.believe(kind, 1.5));
        eprintln!("{taught:?} {:?}", kinds.map(|belief| (belief.factor(), belief.log_spread)));
        let [marathon, thanksgiving, christmas, new_year, storm] = taught[..] else { panic!("{taught:?}") };
        assert!(marathon > 1.2 && new_year > 1.1, "{taught:?}");
        assert!(thanksgiving < 0.9 && christmas < 0.9 && storm < 0.7, "{taught:?}");
        // What happened once is half believed, what happened twice more.
        assert!(kinds[0].factor() < marathon && kinds[2].factor() < new_year && kinds[0].factor() > 1.1);
        assert!(kinds[1].factor() < 0.8 && kinds[1].log_spread < kinds[3].log_spread);
    }
}
