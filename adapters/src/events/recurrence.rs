//! Recurrence rules (RFC 5545 section 3.3.10), expanded on the clock on the wall.
//!
//! Whatever the time zone, a rule is about local time, so it is expanded without one; which instants the local times are
//! is the zone's to say. The work is bounded before it is done: each rule draws on a [`Budget`].

use chrono::TimeZone as _;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rrule::{Frequency, RRule, RRuleSet, Tz, Unvalidated, Validated};

use super::budget::{Budget, Spent};
use super::value;
use crate::error::shown;

/// A rule that was understood.
#[derive(Debug)]
pub(super) struct Rule {
    rule: RRule<Validated>,
    first: DateTime,
    until: Option<DateTime>,
    /// Times that COUNT allows.
    count: Option<u32>,
    /// Hours from one period to the next, at least.
    hours: i64,
    /// What a period costs \[days looked at\].
    weight: u64,
}

/// Times of day that a rule may name: one for each minute.
const TIMES_MOST: usize = 1440;

impl Rule {
    /// Reads a rule whose first instance is at `first`. `local` is the time on the wall at an instant.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn parse(
        text: &str,
        first: DateTime,
        local: &dyn Fn(Timestamp) -> Option<DateTime>,
    ) -> Result<Rule, String> {
        let wrong = |what: &str| Err(format!("RRULE {}: {what}", shown(text.as_bytes())));
        let (mut rest, mut until, mut count) = (Vec::new(), None, None);
        let mut interval: u16 = 1;
        let (mut times, mut positions) = (1usize, 1usize);
        for part in text.trim().split(';').filter(|part| !part.trim().is_empty()) {
            let Some((key, value)) = part.split_once('=') else { return wrong("a part without =") };
            let (key, value) = (key.trim().to_ascii_uppercase(), value.trim());
            let entries = value.split(',').count();
            match key.as_str() {
                "UNTIL" => {
                    until = match value::moment(value) {
                        // A date stands for its whole day.
                        Some(moment) if moment.date => moment.local.checked_add(SignedDuration::from_secs(86_399)).ok(),
                        Some(moment) if moment.utc => TimeZone::UTC.to_timestamp(moment.local).ok().and_then(local),
                        Some(moment) => Some(moment.local),
                        None => None,
                    };
                    if until.is_none() {
                        return wrong("UNTIL is no date or time");
                    }
                    continue;
                }
                "INTERVAL" => match value.parse() {
                    Ok(given) if given > 0 => interval = given,
                    _ => return wrong("INTERVAL is not from 1 to 65535"),
                },
                "COUNT" => match value.parse::<u32>() {
                    Ok(given) if given > 0 => count = Some(given),
                    _ => return wrong("COUNT is not a number above 0"),
                },
                "BYHOUR" | "BYMINUTE" | "BYSECOND" => times = times.saturating_mul(entries),
                "BYSETPOS" => positions = entries,
                _ => {}
            }
            rest.push(format!("{key}={value}"));
        }
        if rest.iter().any(|part| part.contains(':')) {
            return wrong("a colon in it");
        }
        if times > TIMES_MOST || positions > 366 {
            return wrong("it names more times than a day has minutes");
        }
        let rule: RRule<Unvalidated> = match rest.join(";").parse() {
            Ok(rule) => rule,
            Err(error) => return wrong(&error.to_string()),
        };
        let (hours, days) = match rule.get_freq() {
            Frequency::Yearly => (365 * 24, 366),
            Frequency::Monthly => (28 * 24, 31),
            Frequency::Weekly => (7 * 24, 7),
            Frequency::Daily => (24, 1),
            Frequency::Hourly => (1, 1),
            Frequency::Minutely | Frequency::Secondly => {
                return wrong("what recurs by the minute or second is no event");
            }
        };
        let Some(start) = to_chrono(first) else { return wrong("it begins in no year that can be counted") };
        let rule = match rule.validate(start) {
            Ok(rule) => rule,
            Err(error) => return wrong(&error.to_string()),
        };
        let weight = (days * times * positions) as u64;
        Ok(Rule { rule, first, until, count, hours: hours * i64::from(interval), weight })
    }

    /// Gives the local times of its instances from `from` to `to`, in order, at most so many. Whether there are more is
    /// what comes back.
    ///
    /// # Errors
    /// [`Spent`] when it would take more work than it may: it recurs too often, too long ago.
    pub(super) fn expand(
        &self,
        from: DateTime,
        to: DateTime,
        most: usize,
        budget: &mut Budget,
        each: &mut dyn FnMut(DateTime),
    ) -> Result<bool, Spent> {
        let Some(start) = to_chrono(self.first) else { return Ok(false) };
        let to = self.until.map_or(to, |until| until.min(to));
        if self.first > to {
            return Ok(false);
        }
        let allowed = budget.for_a_rule();
        // A search in vain cannot be stopped half way: it is not begun on the last of a budget.
        if allowed == 0 {
            return Err(Spent);
        }
        let mut spent = 0u64;
        let (mut last, mut seen, mut given) = (self.first, 0u32, 0);
        let mut more = false;
        let mut dates = RRuleSet::new(start).rrule(self.rule.clone()).limit().into_iter();
        let outcome = loop {
            let Some(local) = dates.next().and_then(from_chrono) else {
                // A search in vain goes on for long before it is given up.
                if self.count != Some(seen) {
                    spent = spent.saturating_add(VAIN);
                }
                break Ok(more);
            };
            seen += 1;
            let passed = local.duration_since(last).as_hours() / self.hours;
            spent = spent.saturating_add((1 + passed.unsigned_abs()).saturating_mul(self.weight));
            last = local;
            if local > to {
                break Ok(more);
            }
            if local >= from {
                if given == most {
                    more = true;
                    break Ok(more);
                }
                given += 1;
                each(local);
            }
            if spent > allowed {
                break Err(Spent);
            }
        };
        budget.take(spent);
        outcome
    }
}

/// What a search costs that ends without a find.
const VAIN: u64 = 1_000_000;

/// The time on the wall as if the wall showed UTC.
fn to_chrono(local: DateTime) -> Option<chrono::DateTime<Tz>> {
    let seconds = TimeZone::UTC.to_timestamp(local).ok()?.as_second();
    Tz::UTC.timestamp_opt(seconds, 0).single()
}

fn from_chrono(local: chrono::DateTime<Tz>) -> Option<DateTime> {
    Timestamp::from_second(local.timestamp()).ok().map(|at| TimeZone::UTC.to_datetime(at))
}

#[cfg(test)]
mod tests {
    use jiff::civil::Weekday;
    use proptest::prelude::*;

    use super::*;

    fn local(text: &str) -> DateTime {
        text.parse().unwrap()
    }

    fn parse(rule: &str, first: &str) -> Result<Rule, String> {
        Rule::parse(rule, local(first), &|at| Some(TimeZone::UTC.to_datetime(at)))
    }

    fn expand(rule: &str, first: &str, from: &str, to: &str) -> Vec<String> {
        let mut found = Vec::new();
        let rule = parse(rule, first).unwrap();
        let mut each = |at: DateTime| found.push(at.to_string());
        rule.expand(local(from), local(to), 1000, &mut Budget::default(), &mut each).unwrap();
        found
    }

    /// Cases of RFC 5545 section 3.8.5.3 and others worked out on a calendar by hand.
    #[test]
    fn rules_mean_what_the_standard_says() {
        let check = |rule: &str, first: &str, want: &[&str]| {
            let found = expand(rule, first, "1900-01-01T00:00", "2100-01-01T00:00");
            let found: Vec<&str> = found.iter().map(|at| at.strip_suffix(":00").unwrap()).collect();
            assert_eq!(&found[..want.len().min(found.len())], want, "{rule}");
            assert!(found.len() == want.len() || !rule.contains("COUNT"), "{rule}: {found:?}");
        };
        check(
            "FREQ=WEEKLY;COUNT=3;BYDAY=SU,WE",
            "2026-10-21T20:00",
            &["2026-10-21T20:00", "2026-10-25T20:00", "2026-10-28T20:00"],
        );
        check(
            "FREQ=WEEKLY;INTERVAL=2;COUNT=4;WKST=SU;BYDAY=TU,SU",
            "1997-08-05T09:00",
            &["1997-08-05T09:00", "1997-08-17T09:00", "1997-08-19T09:00", "1997-08-31T09:00"],
        );
        check(
            "FREQ=MONTHLY;BYDAY=-2MO;COUNT=3",
            "1997-09-22T09:00",
            &["1997-09-22T09:00", "1997-10-20T09:00", "1997-11-17T09:00"],
        );
        check(
            "FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=3",
            "2027-12-31T22:00",
            &["2027-12-31T22:00", "2028-01-31T22:00", "2028-02-29T22:00"],
        );
        check(
            "FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;COUNT=3",
            "2024-11-28T12:00",
            &["2024-11-28T12:00", "2025-11-27T12:00", "2026-11-26T12:00"],
        );
        check("FREQ=YEARLY;COUNT=3", "2024-02-29T00:00", &["2024-02-29T00:00", "2028-02-29T00:00", "2032-02-29T00:00"]);
        check(
            "FREQ=MONTHLY;COUNT=4;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
            "2026-01-30T18:00",
            &["2026-01-30T18:00", "2026-02-27T18:00", "2026-03-31T18:00", "2026-04-30T18:00"],
        );
        check("FREQ=DAILY;UNTIL=20260103T110000", "2026-01-01T12:00", &["2026-01-01T12:00", "2026-01-02T12:00"]);
        check("FREQ=DAILY;UNTIL=20260102", "2026-01-01T12:00", &["2026-01-01T12:00", "2026-01-02T12:00"]);
        check(
            "freq=hourly;interval=8;until=20260102T000000Z;",
            "2026-01-01T00:00",
            &["2026-01-01T00:00", "2026-01-01T08:00", "2026-01-01T16:00", "2026-01-02T00:00"],
        );
        check("FREQ=DAILY;UNTIL=20200101", "2026-01-01T12:00", &[]);
    }

    #[test]
    fn a_window_is_cut_out() {
        let found = expand("FREQ=WEEKLY", "1999-01-04T20:00", "2026-10-20T00:00", "2026-11-03T00:00");
        assert_eq!(found, ["2026-10-26T20:00:00", "2026-11-02T20:00:00"]);
        let rule = parse("FREQ=DAILY", "2026-01-01T00:00").unwrap();
        let mut count = 0;
        let more = rule.expand(DateTime::MIN, DateTime::MAX, 7, &mut Budget::default(), &mut |_| count += 1);
        assert_eq!((more, count), (Ok(true), 7));
    }

    #[test]
    fn what_is_no_rule_says_why() {
        for (rule, why) in [
            ("", "FREQ"),
            ("FREQ=SOMETIMES", "SOMETIMES"),
            ("WEEKLY", "a part without ="),
            ("FREQ=DAILY;INTERVAL=0", "INTERVAL is not from 1"),
            ("FREQ=DAILY;COUNT=0", "COUNT is not"),
            ("FREQ=DAILY;COUNT=-1", "COUNT is not"),
            ("FREQ=DAILY;UNTIL=never", "UNTIL is no date"),
            ("FREQ=DAILY;BYHOUR=24", "BYHOUR"),
            ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY"),
            ("FREQ=DAILY;BYDAY=XX", "XX"),
            ("FREQ=DAILY;FREQ=DAILY", "FREQ"),
            ("FREQ=YEARLY;RSCALE=CHINESE", "RSCALE"),
            ("RRULE:FREQ=DAILY", "a colon"),
            ("FREQ=SECONDLY", "no event"),
            ("FREQ=MINUTELY;BYHOUR=3;BYMONTH=2;BYMONTHDAY=30", "no event"),
        ] {
            let error = parse(rule, "2026-01-01T12:00").unwrap_err();
            assert!(error.starts_with("RRULE ") && error.contains(why), "{rule}: {error}");
        }
    }

    /// Rules that ask for more than can be done end, and soon, whether they find much or nothing.
    #[test]
    fn no_rule_runs_away() {
        let list = |most: u32| (0..most).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let every_minute = format!("FREQ=YEARLY;BYHOUR={};BYMINUTE={}", list(24), list(60));
        let every_second = format!("FREQ=DAILY;BYHOUR={};BYMINUTE={};BYSECOND={}", list(24), list(60), list(60));
        assert!(parse(&every_second, "2026-01-01T00:00").unwrap_err().contains("more times"));
        let mut budget = Budget::default();
        for rule in [
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
            "FREQ=MONTHLY;BYMONTH=4;BYMONTHDAY=31",
            "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=31",
            "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30",
            "FREQ=HOURLY;INTERVAL=2;BYHOUR=1",
            "FREQ=HOURLY",
            "FREQ=YEARLY;INTERVAL=65535",
            "FREQ=WEEKLY;INTERVAL=65535;BYDAY=MO,TU,WE,TH,FR,SA,SU",
            &every_minute,
        ] {
            let rule = parse(rule, "0001-01-01T00:00").unwrap();
            let mut count = 0;
            let from = local("2026-01-01T00:00");
            let _ = rule.expand(from, local("2027-01-01T00:00"), 1000, &mut budget, &mut |_| count += 1);
            assert!(count <= 1000);
        }
        let hourly = parse("FREQ=HOURLY", "0001-01-01T00:00").unwrap();
        let from = local("2026-01-01T00:00");
        assert_eq!(hourly.expand(from, DateTime::MAX, 9, &mut Budget::default(), &mut |_| {}), Err(Spent));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Simple weekly rules, held against a walk from day to day.
        #[test]
        fn a_weekly_rule_is_what_a_walk_from_day_to_day_finds(
            day in 0i64..3000,
            hour in 0i8..24,
            interval in 1i64..5,
            days in proptest::sample::subsequence(vec![0usize, 1, 2, 3, 4, 5, 6], 1..=7),
            count in proptest::option::of(1usize..60),
        ) {
            let names = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];
            let weekdays =
                [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday,
                 Weekday::Saturday, Weekday::Sunday];
            let first = local("2020-01-01T00:00").checked_add(SignedDuration::from_hours(24 * day)).unwrap();
            let first = first.with().hour(hour).build().unwrap();
            let by_day = days.iter().map(|&day| names[day]).collect::<Vec<_>>().join(",");
            let mut text = format!("FREQ=WEEKLY;INTERVAL={interval};BYDAY={by_day}");
            if let Some(count) = count {
                text += &format!(";COUNT={count}");
            }
            let rule = Rule::parse(&text, first, &|_| None).unwrap();
            let to = first.checked_add(SignedDuration::from_hours(24 * 400)).unwrap();
            let mut found = Vec::new();
            rule.expand(first, to, 10_000, &mut Budget::default(), &mut |at| found.push(at)).unwrap();

            let mut walked = Vec::new();
            let monday = i64::from(first.weekday().to_monday_zero_offset());
            for step in 0..=400i64 {
                let at = first.checked_add(SignedDuration::from_hours(24 * step)).unwrap();
                let wanted = days.iter().any(|&day| weekdays[day] == at.weekday());
                if wanted && (step + monday) / 7 % interval == 0 && count.is_none_or(|count| walked.len() < count) {
                    walked.push(at);
                }
            }
            prop_assert_eq!(found, walked);
        }

        #[test]
        fn no_text_panics(text in "(FREQ=(YEARLY|MONTHLY|WEEKLY|DAILY|HOURLY))(;(BYDAY|BYMONTH|BYMONTHDAY|BYYEARDAY|BYWEEKNO|BYSETPOS|BYHOUR|BYMINUTE|INTERVAL|COUNT|WKST)=-?[0-9]{0,3}(MO|SU|,1,2)?){0,4}") {
            if let Ok(rule) = Rule::parse(&text, local("2024-02-29T23:59:59"), &|_| None) {
                let to = local("2032-01-01T00:00");
                let _ = rule.expand(local("2024-01-01T00:00"), to, 500, &mut Budget::default(), &mut |_| {});
            }
        }
    }
}
