//! `forebay events` from outside, and feeds of events in scenarios.

mod command;

use std::fs;
use std::path::Path;

use command::{forebay, stderr, stdout};
use serde_json::Value;

const MATCHES: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n\
    BEGIN:VEVENT\r\nUID:league\r\nDTSTART;TZID=Europe/Amsterdam:20261018T200000\r\nDURATION:PT2H\r\n\
    RRULE:FREQ=WEEKLY\r\nEXDATE;TZID=Europe/Amsterdam:20261101T200000\r\nCATEGORIES:football\r\n\
    SUMMARY:League match\r\nX-FOREBAY-REGIONS:ams fra\r\nX-FOREBAY-UPLIFT:2.5\r\nEND:VEVENT\r\n\
    BEGIN:VEVENT\r\nUID:odd\r\nDTSTART:whenever\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
const RELEASES: &str = "id,start,end,classes,kind\nr1,2026-10-26T09:00:00Z,2026-10-26T12:00:00Z,web,release\n";
const WINDOW: [&str; 4] = ["--from", "2026-10-18T00:00:00Z", "--until", "2026-11-10T00:00:00Z"];

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("matches.ics"), MATCHES).expect("writable");
    fs::write(folder.path().join("releases.csv"), RELEASES).expect("writable");
    folder
}

#[test]
fn what_feeds_say_is_printed_and_what_they_do_not_is_told() {
    let folder = folder();
    let output = forebay(folder.path(), &[&["events", "matches.ics"], &WINDOW[..]].concat(), b"");
    assert!(output.status.success(), "{}", stderr(&output));
    // Clocks go back on the 25th; the match of 1 November is left out.
    let want = "start                 end                   kind      id                           regions  classes  uplift  title\n\
        2026-10-18T18:00:00Z  2026-10-18T20:00:00Z  football  league@2026-10-18T18:00:00Z  ams fra  all         2.5  League match\n\
        2026-10-25T19:00:00Z  2026-10-25T21:00:00Z  football  league@2026-10-25T19:00:00Z  ams fra  all         2.5  League match\n\
        2026-11-08T19:00:00Z  2026-11-08T21:00:00Z  football  league@2026-11-08T19:00:00Z  ams fra  all         2.5  League match\n";
    assert_eq!(stdout(&output), want);
    let talk = stderr(&output);
    assert!(talk.contains("matches.ics: iCalendar: 2 records, 3 events, 1 not usable"), "{talk}");
    assert!(talk.contains("line 16: DTSTART \"whenever\" is no date or time"), "{talk}");

    let arguments = [&["events", "matches.ics", "releases.csv", "--json"], &WINDOW[..]].concat();
    let output = forebay(folder.path(), &arguments, b"");
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let ids: Vec<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids[1..3], ["league@2026-10-25T19:00:00Z", "r1"], "by time, whichever feed they are of");
    assert_eq!(
        (&lines[2]["feed"], &lines[2]["uplift"], &lines[2]["classes"][0]),
        (&"releases.csv".into(), &Value::Null, &"web".into())
    );

    let ndjson = r#"{"id":"x","start":"2026-10-20","kind":"fair"}"#;
    let arguments = [&["events", "-", "--time-zone", "America/New_York"], &WINDOW[..]].concat();
    let output = forebay(folder.path(), &arguments, ndjson.as_bytes());
    assert!(stdout(&output).contains("2026-10-20T04:00:00Z  2026-10-21T04:00:00Z  fair  x "), "{}", stdout(&output));
    assert!(stderr(&output).contains("taken to be in America/New_York"), "{}", stderr(&output));
}

#[test]
fn what_cannot_be_read_says_why_with_status_2_and_gives_no_data() {
    let folder = folder();
    fs::write(folder.path().join("bad.csv"), "id,start,end\nx,soon,\n").unwrap();
    fs::write(folder.path().join("cut.ics"), &MATCHES[..200]).unwrap();
    fs::write(folder.path().join("page.ics"), "<!DOCTYPE html>\n").unwrap();
    for (arguments, says) in [
        (&["none.ics"][..], "none.ics: cannot be read"),
        (&["matches.ics", "bad.csv"], "bad.csv:2: \"soon\" is no time; allowed: a time such as"),
        (&["cut.ics"], "the file ends within the VEVENT of line 3"),
        (&["page.ics"], "page.ics: a web page; allowed: a calendar"),
        (&["ftp://calendar.test/x.ics"], "ftp://calendar.test/x.ics: not fetched; allowed: a path"),
        (&["http://me:secret@127.0.0.1:9/x.ics?token=secret"], "http://127.0.0.1:9/x.ics: "),
        (
            &["matches.ics", "--from", "2026-10-18", "--until", "2026-10-18"],
            "--until 2026-10-18T00:00:00Z is not after",
        ),
        (&["matches.ics", "--from", "yesterday"], "a time such as"),
        (&["matches.ics", "--time-zone", "Europe/Amsterdm"], "Europe/Amsterdam"),
        (&["matches.ics", "--against", "none.csv"], "none.csv: cannot be read"),
        (&[], "FEED"),
    ] {
        let output = forebay(folder.path(), &[&["events"], arguments].concat(), b"");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty() && !said.contains("panicked") && !said.contains("secret"), "{said}");
    }
}

#[test]
fn past_events_teach_what_their_kind_brings() {
    let folder = folder();
    let mut counts = "timestamp,value\n".to_owned();
    let mut events = "id,start,end,kind\n".to_owned();
    let start: forebay_world::Timestamp = "2026-01-05".parse().unwrap();
    for hour in 0..10 * 168u64 {
        let usual = 1000 + 10 * (hour % 24) + 100 * (hour / 24 % 7);
        let during = hour % 168 == 68 && [3, 5, 7].contains(&(hour / 168));
        let at = start + forebay_world::Duration::from_hours(hour);
        counts += &format!("{at},{}\n", if during { 3 * usual } else { usual });
        if during {
            events += &format!("e{hour},{at},{},derby\n", at + forebay_world::Duration::from_hours(1));
        }
    }
    fs::write(folder.path().join("counts.csv"), counts).unwrap();
    fs::write(folder.path().join("past.csv"), events).unwrap();
    let output = forebay(folder.path(), &["events", "past.csv", "--against", "counts.csv", "--json"], b"");
    let line: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    assert_eq!((&line["kind"], &line["events"]), (&"derby".into(), &3.into()));
    let uplift = line["uplift"].as_f64().unwrap();
    assert!((2.3..3.0).contains(&uplift), "three times threefold, and a prior of 1.5: {uplift}");
    assert!(line["uplift_p10"].as_f64() < Some(uplift) && line["uplift_p90"].as_f64() > Some(uplift));
    assert_eq!(stderr(&output).matches("3.00 times the usual most").count(), 3, "{}", stderr(&output));
}

/// The events of a feed are known events of a run, in the resolved scenario as if they stood there.
#[test]
fn a_feed_of_a_scenario_becomes_its_known_events() {
    let folder = folder();
    let scenario =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/flash-crowd.toml")).unwrap();
    let (before, after) = (scenario.find("[[event]]").unwrap(), scenario.rfind("uplift = 2.6").unwrap() + 12);
    let feed = "[[feed]]\nfile = \"cup.csv\"\nclasses = [\"video\"]\nkind = \"football\"\nknown_from = \"2 h\"\n";
    let fed = format!("{}{feed}{}", &scenario[..before], &scenario[after..]);
    fs::write(folder.path().join("fed.toml"), fed).unwrap();
    fs::write(folder.path().join("plain.toml"), &scenario).unwrap();
    let cup = "id,start,end,regions,uplift\n\
        quarter-final-play,2026-06-14T18:50:00Z,2026-06-14T20:55:00Z,fra;mad,7\n\
        quarter-final-watch,2026-06-14T18:50:00Z,2026-06-14T20:55:00Z,ams;par;lon;sto;atlantis,2.6\n\
        elsewhere,2026-06-14T18:50:00Z,2026-06-14T20:55:00Z,atlantis,9\n\
        long ago,2020-06-14T18:50:00Z,2020-06-14T20:55:00Z,,9\n";
    fs::write(folder.path().join("cup.csv"), cup).unwrap();
    let run = |name: &str, out: &str| {
        let output = forebay(folder.path(), &["run", name, "--json", "--until", "6 h", "--out", out], b"");
        assert!(output.status.success(), "{}", stderr(&output));
        let figures: Value = serde_json::from_str(&stdout(&output)).unwrap();
        (figures["cost"].clone(), figures["vm_hours"].clone(), figures["sessions"].clone(), stderr(&output))
    };
    let (fed, plain) = (run("fed.toml", "fed"), run("plain.toml", "plain"));
    assert_eq!((&fed.0, &fed.1, &fed.2), (&plain.0, &plain.1, &plain.2));
    assert!(fed.3.contains("cup.csv: CSV: 4 records, 3 events, 1 outside the window"), "{}", fed.3);
    assert!(
        fed.3.contains("the scenario has not: atlantis") && fed.3.contains("1 events concern nothing"),
        "{}",
        fed.3
    );
    let resolved = fs::read_to_string(folder.path().join("fed/config.resolved.toml")).unwrap();
    assert!(resolved.contains("id = \"quarter-final-play\"") && !resolved.contains("cup.csv"), "{resolved}");
    assert!(resolved.contains("known_from = \"2026-06-14T16:50:00Z\""), "{resolved}");
    let manifest = fs::read_to_string(folder.path().join("fed/manifest.json")).unwrap();
    assert!(manifest.contains("cup.csv") && manifest.contains("\"feed\""), "{manifest}");
    // It runs again without the feed.
    let again = run("fed/config.resolved.toml", "again");
    assert_eq!((again.0, again.1), (fed.0, fed.1));
}
