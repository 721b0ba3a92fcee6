//! The time at the begin of a log line, in the spellings that servers use.
//!
//! | spelling | written by |
//! |---|---|
//! | `2026-11-22T17:47:58.683Z`, also with a blank, an offset or neither | BIND's iso8601, syslog, Route 53 |
//! | `22-Nov-2026 17:47:11.511` | BIND by default |
//! | `Nov 22 18:08:59` | syslog, PowerDNS, dnsmasq, Unbound's log-time-ascii |
//! | `[1795371023]`, `1795371023.25` | Unbound, tcpdump and the like |
//!
//! A time without a zone is read in the zone of the options (UTC when there is none, and said so); of the two times
//! that a clock shows twice in autumn, the one that goes on from the line before. A time without a year is in the year
//! of the options, counted on over New Year, or the latest one that is not in the future of the given present. Lines
//! of one minute share the work: about 20 ns a line.

use forebay_world::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::read_options::ReadOptions;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// How far ahead of the present a time without a year may be: clocks and zones differ.
const AHEAD_SECONDS: i64 = 86_400;

/// Why a line has no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTime {
    /// It does not begin with a time.
    None,
    /// It begins with a time without a year, and neither year nor present is known.
    NoYear,
}

/// Reads times at the begin of lines.
pub(crate) struct LineClock {
    zone: Option<TimeZone>,
    year: Option<i16>,
    now_seconds: Option<i64>,
    /// Month of the latest time without a year.
    month: Option<i8>,
    /// The latest minute, as it is written, and its begin [s since 1970] as if in UTC and in the zone.
    minute: [u8; 17],
    minute_length: usize,
    naive: i64,
    local: Option<i64>,
    /// Begin of the latest minute that was read in the zone.
    latest_local: i64,
    used_zone: bool,
    used_year: bool,
}

impl LineClock {
    pub(crate) fn new(options: &ReadOptions) -> LineClock {
        LineClock {
            zone: options.zone.clone(),
            year: options.year,
            now_seconds: options.now.map(|now| (now.as_nanos() / 1_000_000_000) as i64),
            month: None,
            minute: [0; 17],
            minute_length: 0,
            naive: 0,
            local: None,
            latest_local: i64::MIN,
            used_zone: false,
            used_year: false,
        }
    }

    /// The time and what follows it, without the blank between.
    pub(crate) fn read<'a>(&mut self, line: &'a [u8]) -> Result<(Timestamp, &'a [u8]), NoTime> {
        let (at, rest) = match line {
            [b'0'..=b'9', _, _, _, b'-', ..] => self.read_iso(line)?,
            [b'0'..=b'9', _, b'-', ..] => self.read_day_first(line)?,
            [b'0'..=b'9', ..] => read_epoch(line)?,
            [b'[', rest @ ..] => {
                let (at, rest) = read_epoch(rest)?;
                (at, rest.strip_prefix(b"]").ok_or(NoTime::None)?)
            }
            [b'A'..=b'Z', ..] => self.read_month_first(line)?,
            _ => return Err(NoTime::None),
        };
        match rest {
            [] => Ok((at, rest)),
            [b' ' | b'\t', rest @ ..] => Ok((at, rest)),
            _ => Err(NoTime::None),
        }
    }

    /// What had to be assumed, for the operator.
    pub(crate) fn assumptions(&self) -> Vec<String> {
        let mut said = Vec::new();
        if self.used_zone && self.zone.is_none() {
            said.push("times carry no zone and were taken as UTC".to_owned());
        }
        if self.used_year {
            said.push(match self.year {
                Some(_) => "times carry no year and were taken to begin in the one given".to_owned(),
                None => "times carry no year and were taken as the latest before the present".to_owned(),
            });
        }
        said
    }

    fn read_iso<'a>(&mut self, line: &'a [u8]) -> Result<(Timestamp, &'a [u8]), NoTime> {
        let (minute, rest) = line.split_at_checked(16).ok_or(NoTime::None)?;
        if !self.is_minute(minute) {
            let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T' | b't' | b' ', h0, h1, b':', i0, i1] = *minute else {
                return Err(NoTime::None);
            };
            let year = two(y0, y1).zip(two(y2, y3)).map(|(high, low)| i16::from(high) * 100 + i16::from(low));
            let month = two(m0, m1);
            self.set_minute(minute, year, month, two(d0, d1), two(h0, h1), two(i0, i1))?;
        }
        let (nanos, rest) = read_seconds(rest)?;
        match rest {
            [b'Z' | b'z', rest @ ..] => Ok((stamp(self.naive, nanos)?, rest)),
            [sign @ (b'+' | b'-'), h0, h1, rest @ ..] => {
                let rest = rest.strip_prefix(b":").unwrap_or(rest);
                let ([m0, m1], rest) = rest.split_first_chunk::<2>().ok_or(NoTime::None)?;
                let (hours, minutes) = two(*h0, *h1).zip(two(*m0, *m1)).ok_or(NoTime::None)?;
                if hours > 23 || minutes > 59 {
                    return Err(NoTime::None);
                }
                let offset = i64::from(hours) * 3600 + i64::from(minutes) * 60;
                let offset = if *sign == b'-' { -offset } else { offset };
                Ok((stamp(self.naive - offset, nanos)?, rest))
            }
            rest => Ok((stamp(self.local()?, nanos)?, rest)),
        }
    }

    fn read_day_first<'a>(&mut self, line: &'a [u8]) -> Result<(Timestamp, &'a [u8]), NoTime> {
        let (minute, rest) = line.split_at_checked(17).ok_or(NoTime::None)?;
        if !self.is_minute(minute) {
            let [d0, d1, b'-', m0, m1, m2, b'-', y0, y1, y2, y3, b' ', h0, h1, b':', i0, i1] = *minute else {
                return Err(NoTime::None);
            };
            let year = two(y0, y1).zip(two(y2, y3)).map(|(high, low)| i16::from(high) * 100 + i16::from(low));
            self.set_minute(minute, year, month([m0, m1, m2]), two(d0, d1), two(h0, h1), two(i0, i1))?;
        }
        let (nanos, rest) = read_seconds(rest)?;
        Ok((stamp(self.local()?, nanos)?, rest))
    }

    fn read_month_first<'a>(&mut self, line: &'a [u8]) -> Result<(Timestamp, &'a [u8]), NoTime> {
        let (minute, rest) = line.split_at_checked(12).ok_or(NoTime::None)?;
        if !self.is_minute(minute) {
            let [m0, m1, m2, b' ', d0, d1, b' ', h0, h1, b':', i0, i1] = *minute else { return Err(NoTime::None) };
            let day = if d0 == b' ' { two(b'0', d1) } else { two(d0, d1) };
            let month = month([m0, m1, m2]).ok_or(NoTime::None)?;
            let (day, hour, minutes) = (day.ok_or(NoTime::None)?, two(h0, h1), two(i0, i1));
            let year = self.year_of(month, day)?;
            self.set_minute(minute, Some(year), Some(month), Some(day), hour, minutes)?;
            self.used_year = true;
        }
        let (nanos, rest) = read_seconds(rest)?;
        Ok((stamp(self.local()?, nanos)?, rest))
    }

    fn is_minute(&self, written: &[u8]) -> bool {
        written == &self.minute[..self.minute_length]
    }

    fn set_minute(
        &mut self,
        written: &[u8],
        year: Option<i16>,
        month: Option<i8>,
        day: Option<i8>,
        hour: Option<i8>,
        minute: Option<i8>,
    ) -> Result<(), NoTime> {
        self.minute_length = 0;
        let (Some(year), Some(month), Some(day), Some(hour), Some(minute)) = (year, month, day, hour, minute) else {
            return Err(NoTime::None);
        };
        self.naive = naive_seconds(year, month, day, hour, minute).ok_or(NoTime::None)?;
        self.local = None;
        self.minute[..written.len()].copy_from_slice(written);
        self.minute_length = written.len();
        Ok(())
    }

    /// Begin of the minute in the zone.
    fn local(&mut self) -> Result<i64, NoTime> {
        if let Some(local) = self.local {
            return Ok(local);
        }
        self.used_zone = true;
        let local = match &self.zone {
            None => self.naive,
            Some(zone) => {
                let shown = jiff::Timestamp::from_second(self.naive)
                    .map(|naive| TimeZone::UTC.to_datetime(naive))
                    .map_err(|_| NoTime::None)?;
                let seconds = |offset: jiff::tz::Offset| self.naive - i64::from(offset.seconds());
                match zone.to_ambiguous_timestamp(shown).offset() {
                    AmbiguousOffset::Unambiguous { offset } => seconds(offset),
                    AmbiguousOffset::Gap { before, .. } => seconds(before),
                    AmbiguousOffset::Fold { before, after } => {
                        let first = seconds(before);
                        if first + 60 >= self.latest_local { first } else { seconds(after) }
                    }
                }
            }
        };
        self.latest_local = local;
        self.local = Some(local);
        Ok(local)
    }

    fn year_of(&mut self, month: i8, day: i8) -> Result<i16, NoTime> {
        if let Some(year) = self.year {
            let passed = self.month.map_or(0, |latest| month - latest);
            let year = match passed {
                ..-6 => year.saturating_add(1),
                7.. => year.saturating_sub(1),
                _ => year,
            };
            (self.year, self.month) = (Some(year), Some(month));
            return Ok(year);
        }
        let now = self.now_seconds.ok_or(NoTime::NoYear)?;
        let present = jiff::Timestamp::from_second(now).map_err(|_| NoTime::NoYear)?;
        let this_year = TimeZone::UTC.to_datetime(present).year();
        // Nine years hold a 29 February.
        (0..=9)
            .map(|back| this_year + 1 - back)
            .find(|&year| naive_seconds(year, month, day, 0, 0).is_some_and(|seconds| seconds <= now + AHEAD_SECONDS))
            .ok_or(NoTime::None)
    }
}

fn naive_seconds(year: i16, month: i8, day: i8, hour: i8, minute: i8) -> Option<i64> {
    let shown = DateTime::new(year, month, day, hour, minute, 0, 0).ok()?;
    Some(TimeZone::UTC.to_timestamp(shown).ok()?.as_second())
}

/// Nanoseconds since 1970; the seconds of the minute may be a leap second's.
fn stamp(seconds: i64, nanos: u64) -> Result<Timestamp, NoTime> {
    let seconds = u64::try_from(seconds).map_err(|_| NoTime::None)?;
    let at = seconds.checked_mul(1_000_000_000).and_then(|whole| whole.checked_add(nanos));
    at.map(Timestamp::from_nanos).ok_or(NoTime::None)
}

/// Reads `:58`, `:58.683` or `:58,683` [ns].
fn read_seconds(text: &[u8]) -> Result<(u64, &[u8]), NoTime> {
    let [b':', s0, s1, rest @ ..] = text else { return Err(NoTime::None) };
    let seconds = two(*s0, *s1).filter(|&seconds| seconds <= 60).ok_or(NoTime::None)?;
    let (nanos, rest) = match rest {
        [b'.' | b',', rest @ ..] => read_fraction(rest),
        rest => (0, rest),
    };
    Ok((seconds as u64 * 1_000_000_000 + nanos, rest))
}

/// Reads decimals of a second [ns]; what is finer is dropped.
fn read_fraction(text: &[u8]) -> (u64, &[u8]) {
    let (mut nanos, mut unit, mut read) = (0, 100_000_000, 0);
    for &byte in text {
        if !byte.is_ascii_digit() {
            break;
        }
        nanos += u64::from(byte - b'0') * unit;
        unit /= 10;
        read += 1;
    }
    (nanos, &text[read..])
}

fn read_epoch(text: &[u8]) -> Result<(Timestamp, &[u8]), NoTime> {
    let mut seconds: i64 = 0;
    let mut rest = text;
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        seconds = seconds.checked_mul(10).and_then(|s| s.checked_add(i64::from(digit - b'0'))).ok_or(NoTime::None)?;
        rest = after;
    }
    let (nanos, rest) = match rest {
        [b'.', rest @ ..] => read_fraction(rest),
        rest => (0, rest),
    };
    Ok((stamp(seconds, nanos)?, rest))
}

fn two(high: u8, low: u8) -> Option<i8> {
    (high.is_ascii_digit() && low.is_ascii_digit()).then(|| ((high - b'0') * 10 + (low - b'0')) as i8)
}

fn month(name: [u8; 3]) -> Option<i8> {
    MONTHS.iter().position(|&&month| month == name).map(|index| index as i8 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clock(zone: Option<&str>, year: Option<i16>, now: Option<&str>) -> LineClock {
        LineClock::new(&ReadOptions {
            zone: zone.map(|name| TimeZone::get(name).unwrap()),
            year,
            now: now.map(|now| now.parse().unwrap()),
            ..ReadOptions::default()
        })
    }

    fn check(clock: &mut LineClock, line: &str, want: &str) {
        let (at, rest) = clock.read(line.as_bytes()).unwrap_or_else(|why| panic!("{line}: {why:?}"));
        assert_eq!((at.to_string().as_str(), rest), (want, &b"x y"[..]), "{line}");
    }

    #[test]
    fn a_time_is_read_in_every_spelling() {
        let mut clock = clock(None, Some(2026), None);
        for (line, want) in [
            ("2026-11-22T17:47:58.683Z x y", "2026-11-22T17:47:58.683Z"),
            ("2026-11-22T17:47:58.683 x y", "2026-11-22T17:47:58.683Z"),
            ("2026-11-22 17:47:58 x y", "2026-11-22T17:47:58Z"),
            ("2026-11-22T17:47:58.5+01:30 x y", "2026-11-22T16:17:58.5Z"),
            ("2026-11-22T17:47:58-0800 x y", "2026-11-23T01:47:58Z"),
            ("22-Nov-2026 17:47:11.511 x y", "2026-11-22T17:47:11.511Z"),
            ("Nov 22 18:08:59 x y", "2026-11-22T18:08:59Z"),
            ("Nov  2 18:08:59 x y", "2026-11-02T18:08:59Z"),
            ("[1795371023] x y", "2026-11-22T18:10:23Z"),
            ("1730422800.029338 x y", "2024-11-01T01:00:00.029338Z"),
        ] {
            check(&mut clock, line, want);
            check(&mut clock, line, want);
        }
        assert!(clock.assumptions()[0].contains("UTC"));
        for line in [
            "",
            "x",
            "2026-11-22",
            "2026-13-22T17:47:58Z x",
            "2026-11-31T17:47:58Z x",
            "2026-11-22T24:47:58Z x",
            "2026-11-22T17:47:61Z x",
            "2026-11-22T17:47:58Zx",
            "32-Nov-2026 17:47:11.511 x",
            "Nov 22 18:08 x",
            "Nox 22 18:08:59 x",
            "Feb 29 10:00:00 x",
            "[1795371023 x",
            "1795371023x",
            "99999999999999999999 x",
            "9999999999999 x",
            "1969-12-31T23:59:59Z x",
            "2026-11-22T17:47:58+24:00 x",
            "\u{e9} x",
        ] {
            assert_eq!(clock.read(line.as_bytes()), Err(NoTime::None), "{line}");
        }
    }

    #[test]
    fn a_zone_is_applied_and_an_hour_that_comes_twice_goes_on() {
        let mut berlin = clock(Some("Europe/Berlin"), None, None);
        for (line, want) in [
            ("2026-07-01 12:00:00 x y", "2026-07-01T10:00:00Z"),
            ("25-Oct-2026 01:59:59.000 x y", "2026-10-24T23:59:59Z"),
            ("25-Oct-2026 02:30:00.000 x y", "2026-10-25T00:30:00Z"),
            ("25-Oct-2026 02:59:00.000 x y", "2026-10-25T00:59:00Z"),
            ("25-Oct-2026 02:00:00.000 x y", "2026-10-25T01:00:00Z"),
            ("25-Oct-2026 02:30:00.000 x y", "2026-10-25T01:30:00Z"),
            ("25-Oct-2026 03:00:00.000 x y", "2026-10-25T02:00:00Z"),
            ("2026-11-22T17:47:58Z x y", "2026-11-22T17:47:58Z"),
        ] {
            check(&mut berlin, line, want);
        }
        assert!(berlin.assumptions().is_empty());
    }

    #[test]
    fn a_year_is_counted_on_or_taken_from_the_present() {
        let mut counted = clock(None, Some(2024), None);
        check(&mut counted, "Dec 31 23:59:59 x y", "2024-12-31T23:59:59Z");
        check(&mut counted, "Jan  1 00:00:00 x y", "2025-01-01T00:00:00Z");
        check(&mut counted, "Dec 31 23:59:58 x y", "2024-12-31T23:59:58Z");
        let mut present = clock(None, None, Some("2026-03-01T12:00:00Z"));
        check(&mut present, "Mar  1 11:00:00 x y", "2026-03-01T11:00:00Z");
        check(&mut present, "Mar  2 11:00:00 x y", "2026-03-02T11:00:00Z");
        check(&mut present, "Mar  3 00:00:00 x y", "2025-03-03T00:00:00Z");
        check(&mut present, "Feb 29 00:00:00 x y", "2024-02-29T00:00:00Z");
        assert!(present.assumptions().iter().any(|said| said.contains("year")));
        assert_eq!(clock(None, None, None).read(b"Mar  1 11:00:00 x"), Err(NoTime::NoYear));
    }

    proptest! {
        #[test]
        fn a_written_time_is_read_back(nanos in 0u64..7_000_000_000_000_000_000) {
            let at = Timestamp::from_nanos(nanos);
            let line = format!("{at} x y");
            let mut clock = clock(None, None, None);
            prop_assert_eq!(clock.read(line.as_bytes()), Ok((at, &b"x y"[..])));
        }

        #[test]
        fn no_line_panics(lines in proptest::collection::vec("[-0-9TZ: .+NovJan]{0,30}", 1..5), zoned: bool) {
            let mut clock = clock(zoned.then_some("Europe/Berlin"), Some(2026), None);
            for line in lines {
                let _ = clock.read(line.as_bytes());
            }
        }
    }
}
