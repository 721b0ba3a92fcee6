use std::path::Path;

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn options(from: &str, until: &str) -> EventOptions {
    EventOptions::of_window(at(from), at(until))
}

fn year() -> EventOptions {
    options("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")
}

fn read(text: &str, options: &EventOptions) -> Events {
    parse_events(Path::new("feed"), text.as_bytes().to_vec(), options).unwrap()
}

fn refused(text: &str) -> ReadError {
    parse_events(Path::new("feed"), text.as_bytes().to_vec(), &year()).unwrap_err()
}

/// A calendar with one VEVENT of these lines.
fn vevent(lines: &str) -> String {
    format!("BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:a\n{lines}\nEND:VEVENT\nEND:VCALENDAR\n")
}

/// Starts and ends as `MM-DDTHH:MM/MM-DDTHH:MM` in UTC.
fn times(events: &Events) -> Vec<String> {
    let short = |at: Timestamp| at.to_string()[5..16].to_owned();
    events.events.iter().map(|event| format!("{}/{}", short(event.start), short(event.end))).collect()
}

#[test]
fn a_weekly_event_keeps_its_hour_when_clocks_change() {
    // Europe: clocks go back on 25 October 2026 at 01:00 UTC, in New York on 1 November at 06:00 UTC.
    let amsterdam = vevent(
        "DTSTART;TZID=Europe/Amsterdam:20261018T200000\nDTEND;TZID=Europe/Amsterdam:20261018T220000\nRRULE:FREQ=WEEKLY;COUNT=3",
    );
    assert_eq!(
        times(&read(&amsterdam, &year())),
        ["10-18T18:00/10-18T20:00", "10-25T19:00/10-25T21:00", "11-01T19:00/11-01T21:00"]
    );
    let new_york =
        vevent("DTSTART;TZID=America/New_York:20261025T200000\nDURATION:PT2H\nRRULE:FREQ=WEEKLY;COUNT=3;BYDAY=SU");
    assert_eq!(
        times(&read(&new_york, &year())),
        ["10-26T00:00/10-26T02:00", "11-02T01:00/11-02T03:00", "11-09T01:00/11-09T03:00"]
    );
    // And forward again: 28 March 2027 in Europe, 8 March 2026 in New York.
    let spring = vevent("DTSTART;TZID=America/New_York:20260301T120000\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;COUNT=2");
    assert_eq!(times(&read(&spring, &year())), ["03-01T17:00/03-01T18:00", "03-08T16:00/03-08T17:00"]);
}

#[test]
fn what_the_clock_leaves_out_or_shows_twice_is_as_the_standard_says() {
    // 02:30 is left out on 29 March 2026: it is read with the offset before, 01:30 UTC. On 25 October it comes twice:
    // the first is meant.
    let daily = |from: &str| {
        vevent(&format!("DTSTART;TZID=Europe/Amsterdam:{from}T023000\nDURATION:PT30M\nRRULE:FREQ=DAILY;COUNT=3"))
    };
    assert_eq!(
        times(&read(&daily("20260328"), &year())),
        ["03-28T01:30/03-28T02:00", "03-29T01:30/03-29T02:00", "03-30T00:30/03-30T01:00"]
    );
    assert_eq!(
        times(&read(&daily("20261024"), &year())),
        ["10-24T00:30/10-24T01:00", "10-25T00:30/10-25T01:00", "10-26T01:30/10-26T02:00"]
    );
    // A span given by its end is exact, one given in days is as long as the days are.
    let night = |rest: &str| vevent(&format!("DTSTART;TZID=Europe/Amsterdam:20261024T220000\n{rest}"));
    assert_eq!(times(&read(&night("DURATION:P1D"), &year())), ["10-24T20:00/10-25T21:00"]);
    assert_eq!(times(&read(&night("DURATION:PT24H"), &year())), ["10-24T20:00/10-25T20:00"]);
    assert_eq!(
        times(&read(&night("DTEND;TZID=Europe/Amsterdam:20261025T220000\nRRULE:FREQ=DAILY;COUNT=2"), &year())),
        ["10-24T20:00/10-25T21:00", "10-25T21:00/10-26T22:00"]
    );
}

#[test]
fn a_day_is_a_day_of_the_calendar_s_zone() {
    let day = "DTSTART;VALUE=DATE:20261025";
    assert_eq!(times(&read(&vevent(day), &year())), ["10-25T00:00/10-26T00:00"]);
    let mut options = year();
    options.zone = TimeZone::get("Europe/Amsterdam").unwrap();
    let events = read(&vevent(&format!("{day}\nDTEND;VALUE=DATE:20261027")), &options);
    assert_eq!(times(&events), ["10-24T22:00/10-26T23:00"]);
    assert_eq!((events.report.floating, events.report.zone.as_str()), (1, "Europe/Amsterdam"));
    let zoned = vevent(day).replacen("VERSION:2.0", "X-WR-TIMEZONE:America/New_York", 1);
    assert_eq!(times(&read(&zoned, &options)), ["10-25T04:00/10-26T04:00"]);
    let yearly = vevent("DTSTART;VALUE=DATE:20201127\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH");
    assert_eq!(times(&read(&yearly, &year())), ["11-26T00:00/11-27T00:00"]);
}

#[test]
fn exceptions_additions_and_changed_instances_count() {
    let series = "DTSTART;TZID=Europe/Amsterdam:20261018T200000\nDURATION:PT2H\nRRULE:FREQ=WEEKLY;COUNT=4\n\
        EXDATE;TZID=Europe/Amsterdam:20261025T200000\nRDATE;TZID=Europe/Amsterdam:20261020T090000\n\
        RDATE;VALUE=PERIOD:20261021T090000Z/PT30M,20261022T090000Z/20261022T100000Z";
    let all = [
        "10-18T18:00/10-18T20:00",
        "10-20T07:00/10-20T09:00",
        "10-21T09:00/10-21T09:30",
        "10-22T09:00/10-22T10:00",
        "11-01T19:00/11-01T21:00",
        "11-08T19:00/11-08T21:00",
    ];
    let events = read(&vevent(series), &year());
    assert_eq!(times(&events), all);
    assert_eq!(events.events[4].id, "a@2026-11-01T19:00:00Z");

    // One moved by a day, one called off; the moved one keeps the name of what it takes the place of.
    let changes = format!(
        "{}BEGIN:VEVENT\nUID:a\nRECURRENCE-ID;TZID=Europe/Amsterdam:20261101T200000\n\
         DTSTART;TZID=Europe/Amsterdam:20261102T213000\nDURATION:PT3H\nSUMMARY:later\nEND:VEVENT\n\
         BEGIN:VEVENT\nUID:a\nRECURRENCE-ID:20261108T190000Z\nDTSTART:20261108T190000Z\nSTATUS:CANCELLED\nEND:VEVENT\nEND:VCALENDAR\n",
        vevent(series).strip_suffix("END:VCALENDAR\n").unwrap()
    );
    let events = read(&changes, &year());
    assert_eq!(times(&events)[3..], ["10-22T09:00/10-22T10:00", "11-02T20:30/11-02T23:30"]);
    let moved = events.events.last().unwrap();
    assert_eq!((moved.id.as_str(), moved.title.as_str()), ("a@2026-11-01T19:00:00Z", "later"));
    assert_eq!(events.report.cancelled, 1);

    // A changed instance counts although its series lies elsewhere, and whether or not the window holds its first time.
    let window = options("2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z");
    assert_eq!(times(&read(&changes, &window)), ["11-02T20:30/11-02T23:30"]);
    assert_eq!(read(&changes, &options("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z")).events, []);
    // A day as exception is the whole day.
    let day = vevent("DTSTART:20261018T200000Z\nRRULE:FREQ=DAILY;COUNT=3\nDURATION:PT1H\nEXDATE;VALUE=DATE:20261019");
    assert_eq!(times(&read(&day, &year())), ["10-18T20:00/10-18T21:00", "10-20T20:00/10-20T21:00"]);
}

#[test]
fn a_change_from_then_on_moves_all_that_follow() {
    let text = format!(
        "{}BEGIN:VEVENT\nUID:a\nRECURRENCE-ID;RANGE=THISANDFUTURE:20261012T180000Z\nDTSTART:20261012T193000Z\n\
         DURATION:PT30M\nEND:VEVENT\nEND:VCALENDAR\n",
        vevent("DTSTART:20261005T180000Z\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;COUNT=4\nEXDATE:20261019T180000Z")
            .strip_suffix("END:VCALENDAR\n")
            .unwrap()
    );
    assert_eq!(
        times(&read(&text, &year())),
        ["10-05T18:00/10-05T19:00", "10-12T19:30/10-12T20:00", "10-26T19:30/10-26T20:00"]
    );
}

#[test]
fn the_highest_edition_counts_wherever_it_stands() {
    let edition = |sequence: u32, hour: u32, more: &str| {
        format!(
            "BEGIN:VEVENT\nUID:a\nSEQUENCE:{sequence}\nDTSTART:20261018T{hour}0000Z\nDURATION:PT1H\n{more}END:VEVENT\n"
        )
    };
    let calendar = |events: &[String]| format!("BEGIN:VCALENDAR\n{}END:VCALENDAR\n", events.concat());
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let editions = order.map(|n| edition(n, 10 + n, ""));
        let events = read(&calendar(&editions), &year());
        assert_eq!(times(&events), ["10-18T12:00/10-18T13:00"], "{order:?}");
        assert_eq!(events.report.superseded, 2);
    }
    let called_off = calendar(&[edition(1, 10, "STATUS:CANCELLED\n"), edition(0, 10, "")]);
    let events = read(&called_off, &year());
    assert_eq!((events.events.len(), events.report.cancelled), (0, 1));
    let taken_back =
        calendar(&[edition(0, 10, "")]).replacen("BEGIN:VCALENDAR\n", "BEGIN:VCALENDAR\nMETHOD:CANCEL\n", 1);
    assert_eq!(read(&taken_back, &year()).events, []);
    // Of equal sequence, the later stamp.
    let stamped = |stamp: &str, hour| edition(3, hour, &format!("DTSTAMP:{stamp}\n"));
    let events = read(&calendar(&[stamped("20260102T000000Z", 15), stamped("20260101T000000Z", 14)]), &year());
    assert_eq!(times(&events), ["10-18T15:00/10-18T16:00"]);
}

#[test]
fn what_an_announcer_says_of_demand_is_taken() {
    let events = read(
        &vevent(
            "DTSTART:20261018T180000Z\nDURATION:PT2H\nSUMMARY:Ajax\\, PSV\nCATEGORIES:football,sport\n\
             X-FOREBAY-REGIONS:ams fra\\;lhr\nX-FOREBAY-CLASSES;X=1:video\nX-FOREBAY-UPLIFT:3.5",
        ),
        &year(),
    );
    let event = &events.events[0];
    assert_eq!((event.id.as_str(), event.kind.as_str(), event.title.as_str()), ("a", "football", "Ajax, PSV"));
    assert_eq!((event.uplift, &event.classes[..]), (Some(3.5), &["video".to_owned()][..]));
    assert_eq!(event.regions, ["ams", "fra", "lhr"]);
    let mut defaults = year();
    (defaults.kind, defaults.regions, defaults.classes) = ("match".into(), vec!["nyc".into()], vec!["web".into()]);
    let plain = "DTSTART:20261018T180000Z\nDTEND:20261018T180000Z";
    let events = read(&vevent(plain), &defaults);
    let event = &events.events[0];
    assert_eq!((event.kind.as_str(), event.regions[0].as_str(), event.classes[0].as_str()), ("match", "nyc", "web"));
    // Without an end it lasts as long as it is said to, and that is told.
    assert_eq!((times(&events)[0].as_str(), events.report.endless), ("10-18T18:00/10-18T19:00", 1));
    let own = vevent(&format!("{plain}\nX-FOREBAY-KIND:derby\nCATEGORIES:football\nX-FOREBAY-UPLIFT:50"));
    let events = read(&own, &year());
    assert_eq!((events.events[0].kind.as_str(), events.events[0].uplift), ("derby", Some(20.0)));
    assert_eq!(events.report.sentences()[0], "line 9: uplift 50 is not within 0.5 to 20: 20 is taken");
    let events = read(&vevent(&format!("{plain}\nX-FOREBAY-UPLIFT:huge")), &year());
    assert_eq!((events.events[0].uplift, events.report.remarks[0].line), (None, 7));
}

#[test]
fn an_event_that_cannot_be_read_is_left_out_with_its_line() {
    let check = |lines: &str, line: u64, why: &str| {
        let text = format!(
            "{}BEGIN:VEVENT\nUID:good\nDTSTART:20261018T180000Z\nDURATION:PT1H\nEND:VEVENT\nEND:VCALENDAR\n",
            vevent(lines).strip_suffix("END:VCALENDAR\n").unwrap()
        );
        let events = read(&text, &year());
        assert_eq!((events.events.len(), events.report.skipped), (1, 1), "{lines}");
        let skip = &events.report.skips[0];
        assert!(skip.line == line && skip.what.contains(why), "{lines}: {skip:?}");
        // And alone it is an error of the whole.
        if !lines.contains("RRULE") {
            let error = refused(&vevent(lines));
            assert!(error.to_string().starts_with(&format!("feed:{line}: ")), "{error}");
            assert!(error.to_string().contains(why) && error.to_string().contains("allowed: "), "{error}");
        }
    };
    check("SUMMARY:when?", 3, "without DTSTART");
    check("DTSTART:tomorrow", 5, "DTSTART \"tomorrow\" is no date or time");
    check("DTSTART;TZID=Mars/Olympus:20261018T180000", 5, "TZID \"Mars/Olympus\" is no IANA time zone");
    check("DTSTART:20261018T180000Z\nDTEND:20261018T170000Z", 6, "ends before it starts");
    check("DTSTART:20261018T180000Z\nDURATION:long", 6, "DURATION \"long\" is no span");
    check("DTSTART:20261018T180000Z\nRECURRENCE-ID:x", 6, "RECURRENCE-ID");
    check("DTSTART:20261018T180000Z\nRDATE:20261018T180000Z,x", 6, "RDATE");
    check("DTSTART:20261018T180000Z\nEXDATE:x", 6, "EXDATE");
    check("DTSTART:20261018T180000Z\nRRULE:FREQ=FORTNIGHTLY", 3, "RRULE FREQ=FORTNIGHTLY");
    check("DTSTART:20261018T180000Z\nRRULE:FREQ=SECONDLY", 3, "no event");
    let nameless = vevent("DTSTART:20261018T180000Z").replace("UID:a\n", "");
    assert!(refused(&nameless).to_string().starts_with("feed:3: a VEVENT without UID"));
    let empty = read("BEGIN:VCALENDAR\nEND:VCALENDAR\n", &year());
    assert_eq!((empty.events.len(), empty.report.records), (0, 0));
}

#[test]
fn windows_and_numbers_are_bounded_and_that_is_said() {
    let hourly = vevent("DTSTART:20200101T000000Z\nDURATION:PT30M\nRRULE:FREQ=HOURLY");
    let events = read(&hourly, &options("2026-01-01T00:00:00Z", "2030-01-01T00:00:00Z"));
    assert_eq!(events.events.len(), 9600, "400 days");
    assert!(events.report.window_cut && !events.report.cut);
    assert_eq!(events.report.window.1, at("2027-02-05T00:00:00Z"));
    let twice = vevent("DTSTART:20200101T000000Z\nDURATION:PT5M\nRRULE:FREQ=HOURLY;BYMINUTE=0,30");
    let events = read(&twice, &year());
    assert_eq!((events.events.len(), events.report.cut), (INSTANCES_MOST, true));
    assert!(events.report.sentences().iter().any(|said| said.contains("at most 10000 events")));
    // The earliest are kept, whichever order they stand in.
    let late = (0..3).map(|n| {
        let event =
            format!("UID:{n}\nDTSTART:2026010{}T000000Z\nDURATION:PT5M\nRRULE:FREQ=HOURLY;BYMINUTE=0,20,40", 3 - n);
        format!("BEGIN:VEVENT\n{event}\nEND:VEVENT\n")
    });
    let events = read(&format!("BEGIN:VCALENDAR\n{}END:VCALENDAR\n", late.collect::<String>()), &year());
    assert!(events.events.is_sorted_by_key(|event| event.start) && events.events.len() == INSTANCES_MOST);
    assert_eq!(events.events[0].start, at("2026-01-01T00:00:00Z"));
    // A rule that cannot be followed keeps its first instance, and that is said.
    let ancient = vevent("DTSTART:00010101T000000Z\nDURATION:PT1H\nRRULE:FREQ=HOURLY");
    let events = read(&ancient, &year());
    assert!(events.report.cut && events.report.remarks[0].what.contains("recurs too often"), "{:?}", events.report);
    // What lies half inside counts, what touches the window does not.
    let window = options("2026-10-18T10:00:00Z", "2026-10-18T11:00:00Z");
    for (start, inside) in [("T090000Z", false), ("T091000Z", true), ("T105959Z", true), ("T110000Z", false)] {
        let events = read(&vevent(&format!("DTSTART:20261018{start}\nDURATION:PT1H")), &window);
        assert_eq!((events.events.len() == 1, events.report.outside), (inside, u64::from(!inside)), "{start}");
    }
}

#[test]
fn many_hopeless_rules_end_soon() {
    let rules = ["FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=HOURLY"];
    let mut text = "BEGIN:VCALENDAR\n".to_owned();
    for n in 0..3000 {
        let rule = rules[n % 3];
        text += &format!("BEGIN:VEVENT\nUID:{n}\nDTSTART:01000101T000000Z\nDURATION:PT1H\nRRULE:{rule}\nEND:VEVENT\n");
    }
    text += "END:VCALENDAR\n";
    let events = read(&text, &year());
    assert_eq!(events.report.records, 3000);
    assert!(events.report.remarked > 900, "{}", events.report.remarked);
}

const TABLE: &str = "id,start,end,regions,classes,kind,uplift,title\n\
    final,2026-06-14T18:00:00Z,2026-06-14T20:00:00Z,ams;fra,video,football,3.5,\"Cup, final\"\n\
    # a comment\n\
    release,2026-06-15 09:00,2026-06-15 12:00,ams fra,,game release,,\n\
    fair,2026-06-20,2026-06-22,,,,,\n\
    eve,2026-12-24T18:00:00+01:00,,,,,,\n";

#[test]
fn tables_say_the_same_in_csv_and_in_json() {
    let csv = read(TABLE, &year());
    assert_eq!(
        times(&csv),
        ["06-14T18:00/06-14T20:00", "06-15T09:00/06-15T12:00", "06-20T00:00/06-22T00:00", "12-24T17:00/12-24T18:00"]
    );
    let first = &csv.events[0];
    assert_eq!((first.kind.as_str(), first.title.as_str(), first.uplift), ("football", "Cup, final", Some(3.5)));
    assert_eq!((first.regions.len(), csv.events[1].regions.len(), csv.events[2].regions.len()), (2, 2, 0));
    assert_eq!((csv.report.floating, csv.report.endless, csv.report.records), (2, 1, 4));
    let json = read(
        r#"{"id":"final","start":"2026-06-14T18:00:00Z","end":"2026-06-14T20:00:00Z","regions":["ams","fra"],"services":["video"],"kind":"football","expected_uplift":3.5,"title":"Cup, final","confidence":0.9}

{"id":"release","start":"2026-06-15T09:00","end":"2026-06-15T12:00","regions":"ams fra","kind":"game release","uplift":null}
{"id":"fair","start":"2026-06-20","end":"2026-06-22","regions":[]}
{"id":"eve","start":"2026-12-24T18:00:00+01:00[Europe/Amsterdam]"}
"#,
        &year(),
    );
    assert_eq!(json.events, csv.events);
    assert_eq!((json.report.format, json.report.remarked), (EventFormat::Ndjson, 0));
    let synonyms =
        read("uid,start,end,services,expected_uplift,regoins\nx,2026-06-14,2026-06-14,web,99,ams\n", &year());
    assert_eq!((synonyms.events[0].classes[0].as_str(), synonyms.events[0].uplift), ("web", Some(20.0)));
    assert_eq!(times(&synonyms), ["06-14T00:00/06-15T00:00"]);
    let said = synonyms.report.sentences();
    assert!(said[0].contains("line 1: \"regoins\" is none") && said[1].contains("line 2: uplift 99"), "{said:?}");
}

#[test]
fn a_wrong_table_is_an_error_with_its_line() {
    let check = |text: &str, want: &str| {
        let error = refused(text);
        assert!(error.to_string().starts_with(want), "{error}");
        assert!(!error.hint().is_empty() && !error.allowed().is_empty());
    };
    check("", "feed: an empty file");
    check("<!DOCTYPE html>\n", "feed: a web page");
    check("[{}]\n", "feed: a JSON array");
    check("hello\n", "feed: a file that begins \"hello\"");
    check("id,start\n", "feed:1: no column \"end\"");
    check("name,begin,end\n", "feed:1: no column \"id\"");
    check("id,start,end\nx,2026-06-14T18:00:00Z\n", "feed:2: 2 fields; allowed: 3 fields");
    check("id,start,end\nx,soon,\n", "feed:2: \"soon\" is no time; allowed: a time such as 2026-06-14T18:00:00Z");
    check("id,start,end\n,2026-06-14,\n", "feed:2: no id");
    check("id,start,end\nx,,\n", "feed:2: no start");
    check("id,start,end\nx,2026-06-14T18:00:00Z,2026-06-14T17:00:00Z\n", "feed:2: an event that ends before it starts");
    check("id,start,end\nx,2026-06-14,\n\nx,2026-06-15,\n", "feed:4: id \"x\" is that of line 2");
    check("id,start,end,uplift\nx,2026-06-14,,lots\n", "feed:2: uplift \"lots\" is no number");
    check("id,start,end\n\"x,2026-06-14,\n", "feed:2: a quote");
    check("{\"id\":\"x\"\n", "feed:1: no JSON object");
    check("{\"id\":\"x\",\"start\":true}\n", "feed:1: \"start\" is true");
    check("{\"id\":\"x\",\"start\":\"2026-06-14\",\"regions\":[1]}\n", "feed:1: \"regions\" is [1]");
    check("{\"id\":\"x\",\"start\":\"1960-06-14\"}\n", "feed:1: \"1960-06-14\" is no time");
}

#[test]
fn a_feed_has_a_size_and_may_be_packed() {
    let packed = crate::input::tests::gzip(TABLE.as_bytes());
    let input = Input::from_reader("feed.csv.gz", Cursor::new(packed)).unwrap();
    assert_eq!(content_of(input).unwrap(), TABLE.as_bytes());
    let bomb = crate::input::tests::gzip(&vec![b'\n'; CONTENT_MOST + 1]);
    let error = content_of(Input::from_reader("bomb", Cursor::new(bomb.clone())).unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("bomb: more than 5 MB"), "{error}");
    let twice = parse_events(Path::new("feed"), bomb, &year()).unwrap_err();
    assert!(twice.to_string().contains("gzip within gzip"), "{twice}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Damaged calendars and tables are read, or refused with a reason; what is given lies in the window, in order.
    #[test]
    fn no_damage_panics(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), table: bool) {
        let whole = if table { TABLE.to_owned() } else {
            vevent("DTSTART;TZID=Europe/Amsterdam:20261018T200000\nDTEND;TZID=Europe/Amsterdam:20261018T220000\n\
                RRULE:FREQ=WEEKLY;COUNT=9;BYDAY=SU\nEXDATE;TZID=Europe/Amsterdam:20261025T200000\nX-FOREBAY-UPLIFT:3\n\
                RDATE;VALUE=PERIOD:20261021T090000Z/PT30M\nSEQUENCE:2\nSUMMARY:x")
        };
        let mut bytes = whole.into_bytes();
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let options = year();
        match parse_events(Path::new("feed"), bytes, &options) {
            Ok(events) => {
                prop_assert!(events.events.is_sorted_by_key(|event| event.start));
                for event in &events.events {
                    prop_assert!(event.start < event.end && event.start < options.until && event.end > options.from);
                    prop_assert!(event.uplift.is_none_or(|uplift| UPLIFTS.contains(&uplift)));
                }
            }
            Err(error) => prop_assert!(!error.hint().is_empty() && !error.allowed().is_empty()),
        }
    }
}
