//! Instants and spans as integer nanoseconds: exact, ordered, and the same in simulated and in wall time.

use std::fmt;
use std::ops::{Add, AddAssign, Div, Mul, Rem, Sub};
use std::str::FromStr;

use crate::units::{UnitError, impl_serde_as_text, nearest, parse_quantity, write_quantity};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Nanoseconds since the Unix epoch (1970-01-01T00:00:00Z, leap seconds not counted).
///
/// Reaches from 1970 to 2554. Prints and parses as RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Timestamp = Timestamp(0);
    /// Later than anything that happens.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// From nanoseconds since the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Timestamp(nanos)
    }

    /// From whole seconds since the epoch.
    pub const fn from_secs(seconds: u64) -> Self {
        Timestamp(seconds * NANOS_PER_SECOND)
    }

    /// From seconds since the epoch, rounded to the nearest nanosecond; `None` when negative, not finite or past 2554.
    pub fn from_secs_f64(seconds: f64) -> Option<Self> {
        Duration::from_secs_f64(seconds).map(|d| Timestamp(d.0))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the epoch \[s\].
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_SECOND as f64
    }

    /// The span since `earlier`, zero when `earlier` is later.
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }

    /// This instant plus `span`, at most [`Timestamp::MAX`].
    pub const fn saturating_add(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0))
    }

    /// This instant less `span`, not before the epoch.
    pub const fn saturating_sub(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(span.0))
    }

    /// This instant plus `span`, `None` past the year 2554.
    pub fn checked_add(self, span: Duration) -> Option<Timestamp> {
        self.0.checked_add(span.0).map(Timestamp)
    }

    /// The latest multiple of `step` since the epoch that is not after this instant.
    pub fn floor_to(self, step: Duration) -> Timestamp {
        Timestamp(self.0 - self.0 % step.0.max(1))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Duration) -> Timestamp {
        Timestamp(self.0 + span.0)
    }
}

impl AddAssign<Duration> for Timestamp {
    fn add_assign(&mut self, span: Duration) {
        self.0 += span.0;
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0 / NANOS_PER_SECOND, self.0 % NANOS_PER_SECOND);
        let (year, month, day) = civil_from_days((seconds / 86_400) as i64);
        let second_of_day = seconds % 86_400;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
            second_of_day / 3600,
            second_of_day / 60 % 60,
            second_of_day % 60
        )?;
        if nanos != 0 {
            let digits = format!("{nanos:09}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = UnitError;

    /// Reads RFC 3339: `2026-06-14T18:00:00Z`, with a blank for the `T`, without the zone (UTC is meant), or with
    /// an offset such as `+02:00`.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_rfc3339(text)
            .ok_or_else(|| UnitError::new(text, "a time such as 2026-06-14T18:00:00Z, from 1970 to 2554"))
    }
}

impl_serde_as_text!(Timestamp);

/// A span of time, never negative, in nanoseconds.
///
/// Prints and parses with a unit: `250 ms`, `3 min`, `1 h`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(u64);

impl Duration {
    /// No time at all.
    pub const ZERO: Duration = Duration(0);
    /// Longer than anything lasts.
    pub const MAX: Duration = Duration(u64::MAX);

    /// From nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Duration(nanos)
    }

    /// From whole milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Duration(milliseconds * 1_000_000)
    }

    /// From whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Duration(seconds * NANOS_PER_SECOND)
    }

    /// From whole minutes.
    pub const fn from_mins(minutes: u64) -> Self {
        Duration(minutes * 60 * NANOS_PER_SECOND)
    }

    /// From whole hours.
    pub const fn from_hours(hours: u64) -> Self {
        Duration(hours * 3600 * NANOS_PER_SECOND)
    }

    /// From seconds, rounded to the nearest nanosecond; `None` when negative, not finite or over 584 years.
    pub fn from_secs_f64(seconds: f64) -> Option<Self> {
        let nanos = (seconds * NANOS_PER_SECOND as f64).round();
        (nanos >= 0.0 && nanos < u64::MAX as f64).then_some(Duration(nanos as u64))
    }

    /// From a number of seconds that a model computed: rounded to the nearest nanosecond, negative and
    /// undefined values become zero, and what is too long becomes [`Duration::MAX`].
    pub fn from_secs_f64_saturating(seconds: f64) -> Self {
        Duration(nearest(seconds * NANOS_PER_SECOND as f64))
    }

    /// Nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds \[s\].
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_SECOND as f64
    }

    /// Hours \[h\].
    pub fn as_hours_f64(self) -> f64 {
        self.as_secs_f64() / 3600.0
    }

    /// True when no time is meant.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// This span plus `other`, at most [`Duration::MAX`].
    pub const fn saturating_add(self, other: Duration) -> Duration {
        Duration(self.0.saturating_add(other.0))
    }

    /// This span less `other`, not below zero.
    pub const fn saturating_sub(self, other: Duration) -> Duration {
        Duration(self.0.saturating_sub(other.0))
    }

    /// This span times a factor that is not negative, rounded.
    pub fn mul_f64(self, factor: f64) -> Duration {
        Duration((self.0 as f64 * factor).round() as u64)
    }
}

impl Add for Duration {
    type Output = Duration;
    fn add(self, other: Duration) -> Duration {
        Duration(self.0 + other.0)
    }
}

impl AddAssign for Duration {
    fn add_assign(&mut self, other: Duration) {
        self.0 += other.0;
    }
}

impl Sub for Duration {
    type Output = Duration;
    fn sub(self, other: Duration) -> Duration {
        Duration(self.0 - other.0)
    }
}

impl Mul<u64> for Duration {
    type Output = Duration;
    fn mul(self, times: u64) -> Duration {
        Duration(self.0 * times)
    }
}

impl Div<u64> for Duration {
    type Output = Duration;
    fn div(self, parts: u64) -> Duration {
        Duration(self.0 / parts)
    }
}

impl Div for Duration {
    type Output = u64;
    fn div(self, other: Duration) -> u64 {
        self.0 / other.0
    }
}

impl Rem for Duration {
    type Output = Duration;
    fn rem(self, other: Duration) -> Duration {
        Duration(self.0 % other.0)
    }
}

const SPAN_UNITS: &[(&str, u64)] = &[
    ("d", 86_400 * NANOS_PER_SECOND),
    ("h", 3600 * NANOS_PER_SECOND),
    ("min", 60 * NANOS_PER_SECOND),
    ("s", NANOS_PER_SECOND),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Zero divides by every unit; "0 s" reads better than "0 d".
        if self.0 == 0 { f.pad("0 s") } else { write_quantity(f, self.0, SPAN_UNITS) }
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Duration {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_quantity(text, SPAN_UNITS, "a span such as \"250 ms\", \"90 s\", \"3 min\", \"1 h\" or \"7 d\"")
            .map(Duration)
    }
}

impl_serde_as_text!(Duration);

/// Days since 1970-01-01 to (year, month, day) in the proleptic Gregorian calendar.
/// Algorithm: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil_from_days`].
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u64>().ok()).flatten();
    let mut parts = date.split('-');
    let (year, month, day) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    if date.len() != 10 || parts.next().is_some() || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let days = days_from_civil(year as i64, month as u32, day as u32);
    if civil_from_days(days) != (year as i64, month as u32, day as u32) {
        return None;
    }
    let clock = rest.strip_prefix(['T', 't', ' ']);
    let (clock, offset_seconds) = match clock {
        None if rest.is_empty() => ("00:00:00", 0),
        None => return None,
        Some(clock) => split_offset(clock)?,
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':');
    let (hour, minute) = (number(parts.next()?)?, number(parts.next()?)?);
    let second = parts.next().map_or(Some(0), number)?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 || fraction.len() > 9 {
        return None;
    }
    let nanos = if fraction.is_empty() { 0 } else { number(fraction)? * 10u64.pow(9 - fraction.len() as u32) };
    let seconds = days * 86_400 + (hour * 3600 + minute * 60 + second) as i64 - offset_seconds;
    u64::try_from(seconds).ok()?.checked_mul(NANOS_PER_SECOND)?.checked_add(nanos).map(Timestamp)
}

/// Splits `18:00:00+02:00` into the clock and its offset from UTC \[s\].
fn split_offset(clock: &str) -> Option<(&str, i64)> {
    if let Some(utc) = clock.strip_suffix(['Z', 'z']) {
        return Some((utc, 0));
    }
    let Some(at) = clock.rfind(['+', '-']) else { return Some((clock, 0)) };
    let (clock, offset) = clock.split_at(at);
    let (hours, minutes) = offset[1..].split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    if !(0..=23).contains(&hours) || !(0..=59).contains(&minutes) {
        return None;
    }
    let seconds = hours * 3600 + minutes * 60;
    Some((clock, if offset.starts_with('-') { -seconds } else { seconds }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_timestamp_prints_as_rfc_3339() {
        let check = |seconds: u64, nanos: u64, text: &str| {
            let stamp = Timestamp::from_nanos(seconds * NANOS_PER_SECOND + nanos);
            assert_eq!(stamp.to_string(), text);
            assert_eq!(text.parse::<Timestamp>().unwrap(), stamp);
        };
        check(0, 0, "1970-01-01T00:00:00Z");
        check(951_782_400, 0, "2000-02-29T00:00:00Z");
        check(893_971_800, 0, "1998-04-30T21:30:00Z");
        check(1_521_911_720, 865_716_000, "2018-03-24T17:15:20.865716Z");
    }

    #[test]
    fn a_time_is_read_in_every_usual_spelling() {
        let want = Timestamp::from_secs(893_971_800);
        for text in [
            "1998-04-30 21:30:00",
            "1998-04-30T21:30:00Z",
            "1998-04-30T21:30",
            "1998-04-30T23:30:00+02:00",
            "1998-04-30T19:30:00.000-02:00",
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap(), want, "{text}");
        }
        assert_eq!("1998-05-01".parse::<Timestamp>().unwrap(), Timestamp::from_secs(893_980_800));
        for text in [
            "",
            "1998-13-01",
            "1998-02-29",
            "1998-04-30T24:00:00",
            "yesterday",
            "1969-12-31T00:00:00Z",
            "1998-04-30T1:é",
            "+998-04-30",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_span_prints_in_the_largest_unit_that_divides_it() {
        let check = |nanos: u64, text: &str| {
            assert_eq!(Duration::from_nanos(nanos).to_string(), text);
            assert_eq!(text.parse::<Duration>().unwrap(), Duration::from_nanos(nanos));
        };
        check(0, "0 s");
        check(250_000_000, "250 ms");
        check(90 * NANOS_PER_SECOND, "90 s");
        check(180 * NANOS_PER_SECOND, "3 min");
        check(7 * 86_400 * NANOS_PER_SECOND, "7 d");
        assert_eq!("1.5 s".parse::<Duration>().unwrap(), Duration::from_millis(1500));
        assert_eq!("90s".parse::<Duration>().unwrap(), Duration::from_secs(90));
        assert!("-1 s".parse::<Duration>().unwrap_err().to_string().contains("\"-1 s\""));
        assert!("5".parse::<Duration>().is_err());
    }

    proptest! {
        #[test]
        fn text_round_trips(nanos: u64) {
            let (stamp, span) = (Timestamp::from_nanos(nanos), Duration::from_nanos(nanos));
            prop_assert_eq!(stamp.to_string().parse::<Timestamp>().unwrap(), stamp);
            prop_assert_eq!(span.to_string().parse::<Duration>().unwrap(), span);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Timestamp>();
            let _ = text.parse::<Duration>();
        }
    }
}
