//! Local time of regions: the offsets of an IANA time zone over a run.

use forebay_sim::setup::LocalTime;
use forebay_world::Timestamp;
use jiff::tz::TimeZone;
use toml::Spanned;

use super::finding::Findings;

/// The time zone of this name; when there is none, a hint.
pub(crate) fn named(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        let known: Vec<String> = jiff::tz::db().available().map(|zone| zone.as_str().to_owned()).collect();
        match super::names::nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "the names are those of the IANA time zone database, such as \"Europe/Amsterdam\"".to_owned(),
        }
    })
}

/// The time zone of this name; that there is none is a finding.
pub(crate) fn find(name: &Spanned<String>, findings: &mut Findings) -> Option<TimeZone> {
    named(name.get_ref())
        .map_err(|hint| {
            findings.add(
                name.span(),
                format!("unknown time zone \"{}\"", name.get_ref()),
                "not in the IANA time zone database",
                hint,
            );
        })
        .ok()
}

/// Offsets from `start` to `end`.
pub(super) fn local_time(zone: &TimeZone, start: Timestamp, end: Timestamp) -> LocalTime {
    LocalTime(offsets(zone, start, end))
}

/// The zone's offsets from UTC \[s\] from `start` to `end`, each from its moment on.
pub(crate) fn offsets(zone: &TimeZone, start: Timestamp, end: Timestamp) -> Vec<(Timestamp, i32)> {
    let Some(first) = instant(start) else { return vec![(start, 0)] };
    let mut offsets = vec![(start, zone.to_offset(first).seconds())];
    for transition in zone.following(first) {
        let at = u64::try_from(transition.timestamp().as_nanosecond()).map_or(Timestamp::MAX, Timestamp::from_nanos);
        if at > end {
            break;
        }
        offsets.push((at, transition.offset().seconds()));
    }
    offsets
}

/// The zone's offset from UTC at `at` \[s\].
pub(super) fn offset_seconds(zone: &TimeZone, at: Timestamp) -> i32 {
    instant(at).map_or(0, |at| zone.to_offset(at).seconds())
}

fn instant(at: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos())).ok()
}

#[cfg(test)]
mod tests {
    use forebay_world::Duration;

    use super::*;

    #[test]
    fn summer_time_begins_and_ends_within_a_year() {
        let zone = TimeZone::get("Europe/Amsterdam").unwrap();
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let LocalTime(offsets) = local_time(&zone, start, start + Duration::from_hours(24 * 365));
        let expected: Vec<(Timestamp, i32)> = vec![
            (start, 3600),
            ("2026-03-29T01:00:00Z".parse().unwrap(), 7200),
            ("2026-10-25T01:00:00Z".parse().unwrap(), 3600),
        ];
        assert_eq!(offsets, expected);
    }

    #[test]
    fn a_zone_without_summer_time_has_one_offset() {
        let zone = TimeZone::get("Asia/Singapore").unwrap();
        let start = Timestamp::from_secs(1_780_000_000);
        assert_eq!(
            local_time(&zone, start, start + Duration::from_hours(24 * 366)),
            LocalTime(vec![(start, 8 * 3600)])
        );
    }
}
