//! What a comparison says: means with confidence intervals, and paired differences against a baseline.

use std::collections::BTreeMap;

use forebay_sim::statistics::Interval;
use serde::Serialize;

use crate::report::{METRICS, Summary};

/// Confidence of every interval.
const CONFIDENCE: f64 = 0.95;

/// A scenario × policy over all seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Scenario by name.
    pub scenario: String,
    /// Policy by name.
    pub policy: String,
    /// Number of seeds.
    pub seeds: u64,
    /// Mean of each figure.
    pub mean: BTreeMap<&'static str, f64>,
    /// Half width of the 95 % confidence interval of each mean (Student's t); absent for fewer than two seeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci95: Option<BTreeMap<&'static str, f64>>,
    /// Differences from the baseline; absent for the baseline itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paired: Option<Contrast>,
    /// Cost above that of `oracle`, where it was among the policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regret: Option<Figures>,
}

/// Differences of a policy from another, seed by seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contrast {
    /// The other policy.
    pub baseline: String,
    /// Mean of each difference.
    pub mean: BTreeMap<&'static str, f64>,
    /// Half width of the 95 % confidence interval of each; absent for fewer than two seeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci95: Option<BTreeMap<&'static str, f64>>,
}

/// A mean and its confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Mean.
    pub mean: f64,
    /// Half width of the 95 % confidence interval; absent for fewer than two seeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci95: Option<f64>,
}

/// Mean and confidence of some values.
pub fn figures(values: &[f64]) -> Figures {
    let interval = Interval::of_replications(values, CONFIDENCE);
    Figures {
        mean: values.iter().sum::<f64>() / values.len().max(1) as f64,
        ci95: interval.map(|interval| interval.half_width),
    }
}

/// Sums up runs that come by scenario, policy and seed, `seeds` in a row for each scenario × policy. `baseline` is a
/// policy by name.
pub fn contrasts(runs: &[Summary], seeds: usize, baseline: &str) -> Vec<Comparison> {
    let groups: Vec<&[Summary]> = runs.chunks(seeds.max(1)).collect();
    groups
        .iter()
        .map(|group| {
            let first = &group[0];
            let of = |policy: &str| {
                groups.iter().find(|other| other[0].scenario == first.scenario && other[0].policy == policy)
            };
            let each = |other: Option<&[Summary]>| {
                let (mut mean, mut ci95) = (BTreeMap::new(), BTreeMap::new());
                for (name, value) in METRICS {
                    let values: Vec<f64> = match other {
                        None => group.iter().map(value).collect(),
                        Some(other) => group.iter().zip(other).map(|(a, b)| value(a) - value(b)).collect(),
                    };
                    let figures = figures(&values);
                    mean.insert(*name, figures.mean);
                    ci95.extend(figures.ci95.map(|width| (*name, width)));
                }
                (mean, (!ci95.is_empty()).then_some(ci95))
            };
            let (mean, ci95) = each(None);
            let paired = of(baseline).filter(|_| first.policy != baseline).map(|other| {
                let (mean, ci95) = each(Some(other));
                Contrast { baseline: baseline.to_owned(), mean, ci95 }
            });
            let regret = of("oracle").map(|oracle| {
                let above: Vec<f64> =
                    group.iter().zip(oracle.iter()).map(|(ours, best)| ours.cost - best.cost).collect();
                figures(&above)
            });
            Comparison {
                scenario: first.scenario.clone(),
                policy: first.policy.clone(),
                seeds: group.len() as u64,
                mean,
                ci95,
                paired,
                regret,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use forebay_sim::Score;

    use super::*;

    fn run(policy: &str, seed: u64, cost: f64) -> Summary {
        Summary::new("s", policy, seed, 1.0, 1, &Score { cost, ..Score::default() })
    }

    #[test]
    fn differences_are_taken_seed_by_seed() {
        let runs = [run("a", 1, 10.0), run("a", 2, 20.0), run("oracle", 1, 9.0), run("oracle", 2, 19.0)];
        let said = contrasts(&runs, 2, "a");
        assert_eq!(said[0].mean["cost"], 15.0);
        assert_eq!(said[0].paired, None);
        assert_eq!(said[0].regret, Some(Figures { mean: 1.0, ci95: Some(0.0) }));
        let paired = said[1].paired.as_ref().unwrap();
        assert_eq!((paired.mean["cost"], paired.ci95.as_ref().unwrap()["cost"]), (-1.0, 0.0));
    }

    /// Two values 10 apart: s = 7.0711, t(0.975, 1) = 12.706, half width 12.706 · 7.0711 / √2 = 63.53.
    #[test]
    fn an_interval_is_students() {
        let figures = figures(&[10.0, 20.0]);
        assert!((figures.ci95.unwrap() - 63.53).abs() < 0.01, "{figures:?}");
        assert_eq!(super::figures(&[3.0]), Figures { mean: 3.0, ci95: None });
    }
}
