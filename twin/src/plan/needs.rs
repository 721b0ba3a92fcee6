//! From sessions to what they need: processors, memory and bandwidth, by the profile of their class.

use forebay_world::{BitsPerSecond, Bytes, Cpu, Duration, ResourceClass, Timestamp};
use serde::{Deserialize, Serialize};

/// What a number of sessions uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Needs {
    /// Sessions in progress.
    pub sessions: f64,
    /// Processors \[1/1000 vCPU\].
    pub cpu: Cpu,
    /// Memory \[byte\].
    pub memory: Bytes,
    /// Bandwidth \[bit/s\].
    pub bandwidth: BitsPerSecond,
}

impl Needs {
    /// What `sessions` of `class` use.
    pub fn of(class: &ResourceClass, sessions: f64) -> Self {
        let sessions = sessions.max(0.0);
        let cpu_per_session = match class.work {
            // Finer than a whole thousandth of a processor, of which a light session uses little.
            forebay_world::Work::Interactive { requests_per_second, service, .. } => {
                requests_per_second * service.as_secs_f64() * 1000.0
            }
            _ => class.cpu.as_f64(),
        };
        Needs {
            sessions,
            cpu: Cpu::from_f64(sessions * cpu_per_session),
            memory: Bytes::from_f64(sessions * class.memory.as_f64()),
            bandwidth: BitsPerSecond::from_f64(sessions * class.work.bandwidth_per_session().as_f64()),
        }
    }
}

/// The most sessions in progress within each step, from the sessions that begin in it, `begins_per_second`, and last
/// `mean_seconds` on average; `None` where it is not known how many begin.
///
/// Sessions under way relax towards arrival rate × mean length (J. Little, 1961) as exponential lengths do; the series is
/// taken to have gone on before as it begins.
pub fn sessions_in_progress(begins_per_second: &[Option<f64>], step: Duration, mean_seconds: f64) -> Vec<Option<f64>> {
    let kept = (-step.as_secs_f64() / mean_seconds.max(1e-9)).exp();
    let mut standing: Option<f64> = None;
    begins_per_second
        .iter()
        .map(|rate| {
            let heading = (*rate)? * mean_seconds;
            let before = standing.unwrap_or(heading);
            let after = heading + (before - heading) * kept;
            standing = Some(after);
            // Between the two it goes one way.
            Some(before.max(after))
        })
        .collect()
}

/// The most of `values`, one every `step` from `start` on, within each of `count` steps of length `into` from `from` on. A
/// value falls into the step in which its own begins. `None`: nothing fell there.
pub fn most_in_steps(
    (start, step, values): (Timestamp, Duration, &[Option<f64>]),
    (from, into, count): (Timestamp, Duration, usize),
) -> Vec<Option<f64>> {
    let mut most: Vec<Option<f64>> = vec![None; count];
    for (nth, value) in values.iter().enumerate() {
        let at = start.saturating_add(step * nth as u64);
        let (Some(value), true) = (*value, at >= from) else { continue };
        let place = (at.since(from).as_nanos() / into.as_nanos()) as usize;
        if let Some(most) = most.get_mut(place) {
            *most = Some(most.map_or(value, |before| before.max(value)));
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_world;

    #[test]
    fn needs_are_those_of_the_class() {
        let topology = small_world::topology(1);
        let video = Needs::of(&topology.classes[0], 250.0);
        assert_eq!(
            (video.cpu, video.memory, video.bandwidth),
            (Cpu(5000), Bytes(2000 << 20), BitsPerSecond(2_500_000_000))
        );
        // 1 request/s of 20 ms and 50 kB.
        let web = Needs::of(&topology.classes[1], 10.0);
        assert_eq!((web.cpu, web.bandwidth), (Cpu(200), BitsPerSecond(4_000_000)));
    }

    #[test]
    fn the_most_of_short_steps_is_that_of_the_long_one() {
        let minute = Duration::from_mins(1);
        let values = [Some(1.0), Some(5.0), None, Some(2.0), None, None, Some(7.0)];
        let start = Timestamp::from_secs(60);
        let most = most_in_steps((start, minute, &values), (Timestamp::from_secs(120), minute * 2, 3));
        assert_eq!(most, [Some(5.0), Some(2.0), Some(7.0)]);
        assert_eq!(most_in_steps((start, minute, &values[..3]), (start, minute * 2, 3)), [Some(5.0), None, None]);
    }

    #[test]
    fn sessions_follow_their_arrivals_as_their_length_lets_them() {
        let minute = Duration::from_mins(1);
        // Short ones at once: rate × length.
        let short = sessions_in_progress(&[Some(2.0), Some(4.0), None, Some(1.0)], minute, 5.0);
        assert!((short[0].unwrap() - 10.0).abs() < 1e-9);
        assert!(
            (short[1].unwrap() - 20.0).abs() < 1e-3 && short[2].is_none() && (short[3].unwrap() - 20.0).abs() < 1e-3
        );
        // Long ones slowly: after one mean length, 1 − 1/e of the way.
        let mut rates = vec![Some(1.0)];
        rates.extend(std::iter::repeat_n(Some(2.0), 20));
        let long = sessions_in_progress(&rates, minute, 1200.0);
        assert!((long[0].unwrap() - 1200.0).abs() < 1e-9);
        assert!((long[20].unwrap() - (1200.0 + 1200.0 * (1.0 - (-1.0f64).exp()))).abs() < 1e-6);
    }
}
