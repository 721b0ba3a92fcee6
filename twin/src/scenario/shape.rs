//! Daily and weekly shapes of load, by name.
//!
//! The curves are drawn by hand after what operators publish: residential traffic peaks at 20–22 h and is lowest
//! towards 4–5 h; office traffic stands on a plateau from 9 to 17 h, Monday to Friday.

use super::finding::Findings;
use super::names::nearest;
use super::spec::Shape;

const DAILY: &[(&str, [f64; 24])] = &[
    ("flat", [1.0; 24]),
    (
        "residential",
        [
            0.72, 0.48, 0.33, 0.26, 0.24, 0.26, 0.36, 0.54, 0.70, 0.80, 0.86, 0.92, 0.98, 1.00, 1.02, 1.08, 1.18, 1.32,
            1.50, 1.70, 1.86, 1.88, 1.62, 1.15,
        ],
    ),
    (
        "office",
        [
            0.18, 0.14, 0.12, 0.12, 0.14, 0.22, 0.42, 0.90, 1.60, 1.98, 2.06, 2.02, 1.72, 1.86, 2.02, 1.96, 1.76, 1.30,
            0.88, 0.66, 0.54, 0.44, 0.34, 0.24,
        ],
    ),
    (
        "overnight",
        [
            1.80, 1.95, 2.05, 2.05, 1.90, 1.60, 1.10, 0.70, 0.52, 0.46, 0.44, 0.46, 0.50, 0.52, 0.54, 0.56, 0.60, 0.66,
            0.74, 0.84, 0.98, 1.16, 1.38, 1.60,
        ],
    ),
];

const WEEKLY: &[(&str, [f64; 7])] = &[
    ("flat", [1.0; 7]),
    ("residential", [0.94, 0.94, 0.95, 0.97, 1.02, 1.10, 1.08]),
    ("office", [1.28, 1.32, 1.32, 1.28, 1.14, 0.36, 0.30]),
    ("overnight", [1.0; 7]),
];

/// The factors of a daily shape, mean 1.
pub(super) fn daily(shape: &Shape, findings: &mut Findings) -> [f64; 24] {
    factors(shape, DAILY, "hours of the day", findings)
}

/// The factors of a weekly shape, Monday first, mean 1.
pub(super) fn weekly(shape: &Shape, findings: &mut Findings) -> [f64; 7] {
    factors(shape, WEEKLY, "days of the week", findings)
}

fn factors<const N: usize>(shape: &Shape, presets: &[(&str, [f64; N])], of: &str, findings: &mut Findings) -> [f64; N] {
    let numbers = match shape {
        Shape::Named(name) => {
            let Some((_, numbers)) = presets.iter().find(|(known, _)| known == name.get_ref()) else {
                let known: Vec<&str> = presets.iter().map(|(known, _)| *known).collect();
                findings.add(
                    name.span(),
                    format!("unknown shape \"{}\"", name.get_ref()),
                    format!("known: {}", known.join(", ")),
                    match nearest(name.get_ref(), known.iter().copied()) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => format!("or give {N} numbers, one for each of the {of}"),
                    },
                );
                return [1.0; N];
            };
            *numbers
        }
        Shape::Numbers(numbers) => {
            let sound = numbers.get_ref().iter().all(|number| number.is_finite() && *number >= 0.0)
                && numbers.get_ref().iter().any(|number| *number > 0.0);
            match <[f64; N]>::try_from(numbers.get_ref().as_slice()) {
                Ok(numbers) if sound => numbers,
                _ => {
                    findings.add(
                        numbers.span(),
                        format!("a shape of {} numbers, or of some that cannot be", numbers.get_ref().len()),
                        format!("{N} numbers are needed, none negative, not all 0"),
                        format!("one for each of the {of}"),
                    );
                    return [1.0; N];
                }
            }
        }
    };
    let mean = numbers.iter().sum::<f64>() / N as f64;
    numbers.map(|number| number / mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::spec::unplaced;

    #[test]
    fn every_preset_has_mean_one_and_a_daily_and_a_weekly_curve() {
        for (name, _) in DAILY {
            let shape = Shape::Named(unplaced((*name).to_owned()));
            let mut findings = Findings::default();
            let (day, week) = (daily(&shape, &mut findings), weekly(&shape, &mut findings));
            assert!(findings.0.is_empty(), "{name}");
            assert!((day.iter().sum::<f64>() - 24.0).abs() < 1e-9 && (week.iter().sum::<f64>() - 7.0).abs() < 1e-9);
        }
    }

    #[test]
    fn impossible_numbers_are_found() {
        for numbers in [vec![1.0; 23], vec![0.0; 24], vec![-1.0; 24], vec![f64::NAN; 24], vec![]] {
            let mut findings = Findings::default();
            daily(&Shape::Numbers(unplaced(numbers)), &mut findings);
            assert_eq!(findings.0.len(), 1);
        }
    }
}
