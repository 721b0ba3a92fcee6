//! Numbers and times in few characters.

use forebay_world::{Duration, Timestamp};

/// Three digits and a prefix: `987`, `1.23k`, `45.6M`; a dash for what is not known.
pub(crate) fn short(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let (mut scaled, mut prefix) = (value.abs(), "");
    for next in ["k", "M", "G", "T", "P"] {
        if scaled < 999.5 {
            break;
        }
        scaled /= 1000.0;
        prefix = next;
    }
    let sign = if value < 0.0 { "−" } else { "" };
    let decimals = match scaled {
        _ if prefix.is_empty() && scaled.fract() == 0.0 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{sign}{scaled:.decimals$}{prefix}")
}

/// A count, exactly up to 9999 and shortly above.
pub(crate) fn count(value: f64) -> String {
    if value.is_finite() && value.abs() < 9999.5 { format!("{value:.0}").replace('-', "−") } else { short(value) }
}

/// An amount with two decimals, shortly from a hundred thousand.
pub(crate) fn amount(value: f64) -> String {
    if value.is_finite() && value.abs() < 99_999.5 { format!("{value:.2}").replace('-', "−") } else { short(value) }
}

/// A share in per cent; a dash for what is not known.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.filter(|share| share.is_finite()).map_or_else(|| "–".to_owned(), |share| format!("{:.0}%", share * 100.0))
}

/// The day of a moment: `2026-06-14`.
pub(crate) fn day(at: Timestamp) -> String {
    at.to_string()[..10].to_owned()
}

/// The time of day of a moment, to the minute: `18:42`.
pub(crate) fn minute(at: Timestamp) -> String {
    at.to_string()[11..16].to_owned()
}

/// The time of day of a moment, to the second: `18:42:07`.
pub(crate) fn second(at: Timestamp) -> String {
    at.to_string()[11..19].to_owned()
}

/// A span in its two largest units: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_nanos() / 1_000_000_000;
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        small => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_prefix() {
        for (value, text) in [
            (0.0, "0"),
            (0.254, "0.25"),
            (12.34, "12.3"),
            (987.0, "987"),
            (999.6, "1.00k"),
            (45_600_000.0, "45.6M"),
            (-1234.0, "−1.23k"),
            (f64::NAN, "–"),
            (1e30, "1000000000000000P"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(count(9999.0), "9999");
        assert_eq!(count(10_000.0), "10.0k");
    }

    #[test]
    fn spans_have_two_units() {
        for (seconds, text) in
            [(45, "45 s"), (720, "12 min"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h"), (86_400, "1 d")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
