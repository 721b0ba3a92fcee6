//! Short steps into longer ones.

use forebay_world::{Duration, Timestamp};

/// How the values of short steps become that of a long one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Aggregate {
    /// Counts add up; a step that is missing counted nothing.
    #[default]
    Sum,
    /// Rates are averaged; a step that is missing is interpolated between its neighbours.
    Mean,
}

/// Puts `values`, one every `step` from `start` on, into `count` steps of length `into` from `from` on. A value falls
/// into the step in which its own begins. `None` in the result: nothing fell there.
pub fn resample(
    (start, step, values): (Timestamp, Duration, &[Option<f64>]),
    aggregate: Aggregate,
    (from, into, count): (Timestamp, Duration, usize),
) -> Vec<Option<f64>> {
    let (mut sums, mut counts) = (vec![0.0; count], vec![0u32; count]);
    let interpolated;
    let values = match aggregate {
        Aggregate::Sum => values,
        Aggregate::Mean => {
            interpolated = interpolate(values);
            &interpolated
        }
    };
    for (nth, value) in values.iter().enumerate() {
        let at = start.saturating_add(step * nth as u64);
        let (Some(value), true) = (value, at >= from) else { continue };
        let place = (at.since(from).as_nanos() / into.as_nanos()) as usize;
        if place < count {
            sums[place] += value;
            counts[place] += 1;
        }
    }
    sums.iter()
        .zip(counts)
        .map(|(sum, count)| match aggregate {
            _ if count == 0 => None,
            Aggregate::Sum => Some(*sum),
            Aggregate::Mean => Some(sum / f64::from(count)),
        })
        .collect()
}

/// Fills gaps between two values with a straight line.
fn interpolate(values: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut filled = values.to_vec();
    let mut last: Option<(usize, f64)> = None;
    for (nth, value) in values.iter().enumerate() {
        let Some(value) = *value else { continue };
        if let Some((from, before)) = last {
            let slope = (value - before) / (nth - from) as f64;
            for (ahead, gap) in filled[from + 1..nth].iter_mut().enumerate() {
                *gap = Some(before + slope * (ahead + 1) as f64);
            }
        }
        last = Some((nth, value));
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn counts_add_up_and_rates_are_averaged() {
        let start = Timestamp::from_secs(53);
        let values = [Some(1.0), None, Some(3.0), Some(4.0), None, None];
        let into = (Timestamp::EPOCH, MINUTE * 3, 3);
        let sums = resample((start, MINUTE, &values), Aggregate::Sum, into);
        assert_eq!(sums, [Some(4.0), Some(4.0), None]);
        let means = resample((start, MINUTE, &values), Aggregate::Mean, into);
        assert_eq!(means, [Some(2.0), Some(4.0), None]);
    }

    #[test]
    fn what_lies_outside_is_left_out() {
        let values = [Some(1.0); 10];
        let from = Timestamp::from_secs(4 * 60);
        let sums = resample((Timestamp::EPOCH, MINUTE, &values), Aggregate::Sum, (from, MINUTE * 2, 2));
        assert_eq!(sums, [Some(2.0), Some(2.0)]);
    }
}
