//! Values of iCalendar properties (RFC 5545 section 3.3) that are times, spans and offsets.

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, Span};

/// A DATE or DATE-TIME as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// On the wall; midnight for a date.
    pub(super) local: DateTime,
    /// Whether it ends in `Z`.
    pub(super) utc: bool,
    /// Whether it is a date without a time.
    pub(super) date: bool,
}

/// A DATE (`20261025`) or DATE-TIME (`20261025T200000`, `20261025T180000Z`).
pub(super) fn moment(text: &str) -> Option<Moment> {
    let text = text.trim();
    let (date, time) = match text.split_once(['T', 't']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let date = eight_digits(date)?;
    let Some(time) = time else {
        return Some(Moment { local: date.to_datetime(Time::midnight()), utc: false, date: true });
    };
    let (time, utc) = match time.strip_suffix(['Z', 'z']) {
        Some(time) => (time, true),
        None => (time, false),
    };
    let [hour, minute, second] = pairs(time)?;
    // A leap second is the second before it.
    let time = Time::new(hour, minute, second.min(59), 0).ok().filter(|_| second <= 60)?;
    Some(Moment { local: date.to_datetime(time), utc, date: false })
}

fn eight_digits(text: &str) -> Option<Date> {
    if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Date::new(text[..4].parse().ok()?, text[4..6].parse().ok()?, text[6..].parse().ok()?).ok()
}

fn pairs<const N: usize>(text: &str) -> Option<[i8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut pairs = [0; N];
    for (pair, digits) in pairs.iter_mut().zip(text.as_bytes().chunks(2)) {
        *pair = std::str::from_utf8(digits).ok()?.parse().ok()?;
    }
    Some(pairs)
}

/// How long something lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length {
    /// Days on the wall, however many hours they have.
    pub(super) days: i64,
    /// And this much.
    pub(super) exact: SignedDuration,
}

impl Length {
    /// So much time.
    pub(super) const fn exact(exact: SignedDuration) -> Length {
        Length { days: 0, exact }
    }

    /// So many days.
    pub(super) const fn days(days: i64) -> Length {
        Length { days, exact: SignedDuration::ZERO }
    }

    /// The most it may last.
    pub(super) fn most(self) -> SignedDuration {
        SignedDuration::from_hours(25 * self.days).saturating_add(self.exact)
    }
}

/// Nothing that is announced lasts longer: about a hundred years.
const DAYS_MOST: i64 = 36_525;

/// A DURATION: `PT1H30M`, `P2D`, `P1W`. It may not be negative.
pub(super) fn length(text: &str) -> Option<Length> {
    let text = text.trim();
    let text = text.strip_prefix('+').unwrap_or(text);
    if !text.starts_with(['P', 'p']) {
        return None;
    }
    let span: Span = text.parse().ok()?;
    if span.is_negative() || span.get_years() != 0 || span.get_months() != 0 {
        return None;
    }
    let days = i64::from(span.get_days()) + 7 * i64::from(span.get_weeks());
    let exact = SignedDuration::from_hours(span.get_hours().into())
        .checked_add(SignedDuration::from_mins(span.get_minutes()))?
        .checked_add(SignedDuration::from_secs(span.get_seconds()))?;
    (days <= DAYS_MOST && exact.as_hours() <= 24 * DAYS_MOST).then_some(Length { days, exact })
}

/// A UTC-OFFSET: `+0100`, `-053000` \[s\].
pub(super) fn utc_offset(text: &str) -> Option<i32> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let [hours, minutes, seconds] =
        if digits.len() == 4 { pairs::<2>(digits).map(|[h, m]| [h, m, 0])? } else { pairs::<3>(digits)? };
    let seconds = i32::from(hours) * 3600 + i32::from(minutes) * 60 + i32::from(seconds);
    (hours < 24 && minutes < 60).then_some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_spans_and_offsets_are_read_and_nothing_else() {
        let moment = |text| moment(text).map(|m| (m.local.to_string(), m.utc, m.date));
        assert_eq!(moment("20261025"), Some(("2026-10-25T00:00:00".into(), false, true)));
        assert_eq!(moment("20261025T200000"), Some(("2026-10-25T20:00:00".into(), false, false)));
        assert_eq!(moment(" 20261025T180060Z"), Some(("2026-10-25T18:00:59".into(), true, false)));
        for text in ["", "2026", "20261301", "20260229", "20261025T", "20261025T2000", "20261025T250000", "2026-10-25"]
        {
            assert_eq!(moment(text), None, "{text}");
        }
        let length = |text| length(text).map(|length| (length.days, length.exact.as_secs()));
        assert_eq!(length("PT1H30M"), Some((0, 5400)));
        assert_eq!(length("+P2DT3S"), Some((2, 3)));
        assert_eq!(length("P1W"), Some((7, 0)));
        for text in ["", "-PT1H", "P1Y", "P1M", "1h", "P99999999D", "PT99999999999999H"] {
            assert_eq!(length(text), None, "{text}");
        }
        assert_eq!(utc_offset("+0100"), Some(3600));
        assert_eq!(utc_offset("-053015"), Some(-19_815));
        assert_eq!(utc_offset("0000"), Some(0));
        for text in ["", "+1", "+9900", "+01:00", "CET"] {
            assert_eq!(utc_offset(text), None, "{text}");
        }
    }
}
