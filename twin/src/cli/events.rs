//! `forebay events`: what feeds say, after expansion, and what past events of their kinds have brought.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::anyhow;
use forebay_adapters::events::{EventOptions, FeedError, FeedSource};
use forebay_adapters::{CountSeries, ExternalEvent, read_counts};
use forebay_world::{Duration, Timestamp};
use jiff::tz::TimeZone;
use serde_json::json;

use super::arguments::EventsOptions;
use super::{Answer, Failure, print};
use crate::demand::uplift::history::{Past, Recorded};
use crate::demand::{Belief, Uplifts};
use crate::report::{Align, Table};

/// How far ahead is looked unless it is said.
const AHEAD: Duration = Duration::from_hours(28 * 24);

pub(super) fn run(options: &EventsOptions) -> Result<Answer, Failure> {
    let history = options.against.as_deref().map(read_counts).transpose()?;
    let (from, until) = window(options, history.as_ref())?;
    let mut wanted = EventOptions::of_window(from, until);
    wanted.zone = options.time_zone.as_deref().map(super::time_zone).transpose()?.unwrap_or(TimeZone::UTC);
    let mut said: Vec<(String, ExternalEvent)> = Vec::new();
    let mut failed = None;
    for feed in &options.feeds {
        match FeedSource::of(feed).and_then(|source| Ok((source.name(), source.read(&wanted)?))) {
            Ok((name, events)) => {
                eprintln!("{name}: {}", events.report);
                events.report.sentences().iter().for_each(|sentence| eprintln!("{name}: {sentence}"));
                said.extend(events.events.into_iter().map(|event| (name.clone(), event)));
            }
            Err(error) => {
                // All feeds are looked at; the last failure is returned, those before are said here.
                if let Some(before) = failed.replace(Failure::from(error)) {
                    before.print();
                }
            }
        }
    }
    if let Some(failure) = failed {
        return Err(failure);
    }
    said.sort_by(|(_, a), (_, b)| (a.start, &a.id).cmp(&(b.start, &b.id)));
    match history {
        Some(history) => print(brought(&said, &history, options).as_bytes()),
        None if options.json => print(lines(&said).as_bytes()),
        None => print(table(&said, options.feeds.len() > 1).to_string().as_bytes()),
    }
}

/// The window that is asked for: from now on unless it is said, or that of the recording.
fn window(options: &EventsOptions, history: Option<&CountSeries>) -> Result<(Timestamp, Timestamp), Failure> {
    let recorded = history.map(|history| {
        let steps = history.series.first().map_or(0, |series| series.values.len() as u64);
        (history.start, history.start.saturating_add(Duration::from_nanos(history.step.as_nanos() * steps)))
    });
    let from = options.from.or(recorded.map(|(from, _)| from)).or_else(super::now);
    let from = from.ok_or_else(|| {
        Failure::Other(anyhow!("the clock of this machine shows no time after 1970"), "give --from".to_owned())
    })?;
    let until = options.until.or(recorded.map(|(_, until)| until)).unwrap_or_else(|| from.saturating_add(AHEAD));
    if until <= from {
        return Err(Failure::Other(
            anyhow!("--until {until} is not after {from}"),
            "give a later --until, or an earlier --from".to_owned(),
        ));
    }
    Ok((from, until))
}

fn table(said: &[(String, ExternalEvent)], several: bool) -> Table {
    let columns = ["start", "end", "kind", "id", "regions", "classes"].map(|head| (head, Align::Left));
    let mut columns = columns.to_vec();
    columns.extend([("uplift", Align::Right), ("title", Align::Left)]);
    if several {
        columns.push(("feed", Align::Left));
    }
    let mut table = Table::new(&columns);
    let all = |names: &[String]| if names.is_empty() { "all".to_owned() } else { names.join(" ") };
    for (feed, event) in said {
        let mut row = vec![
            event.start.to_string(),
            event.end.to_string(),
            event.kind.clone(),
            event.id.clone(),
            all(&event.regions),
            all(&event.classes),
            event.uplift.map_or_else(|| "-".to_owned(), |uplift| uplift.to_string()),
            event.title.clone(),
        ];
        if several {
            row.push(feed.clone());
        }
        table.row(row);
    }
    table
}

fn lines(said: &[(String, ExternalEvent)]) -> String {
    let mut text = String::new();
    for (feed, event) in said {
        let line = json!({
            "feed": feed,
            "id": event.id,
            "kind": event.kind,
            "start": event.start.to_string(),
            "end": event.end.to_string(),
            "regions": event.regions,
            "classes": event.classes,
            "uplift": event.uplift,
            "title": event.title,
        });
        let _ = writeln!(text, "{line}");
    }
    text
}

/// What past events of each kind have brought, told from recorded demand.
fn brought(said: &[(String, ExternalEvent)], history: &CountSeries, options: &EventsOptions) -> String {
    let mut uplifts = Uplifts::default();
    let mut told: BTreeMap<&str, u64> = BTreeMap::new();
    for series in &history.series {
        let concerns = |names: &[String], own: &Option<String>| {
            names.is_empty() || own.as_ref().is_none_or(|own| names.contains(own))
        };
        let (here, past): (Vec<&ExternalEvent>, Vec<Past>) = said
            .iter()
            .map(|(_, event)| event)
            .filter(|event| concerns(&event.regions, &series.region) && concerns(&event.classes, &series.class))
            .map(|event| {
                let kind = event.kind.clone();
                (event, Past { kind, start: event.start, end: event.end, announced: event.uplift })
            })
            .unzip();
        let recorded = Recorded { start: history.start, step: history.step, values: &series.values };
        for (event, factor) in here.iter().zip(uplifts.teach(&recorded, &past)) {
            told.entry(&event.kind).or_default();
            match factor {
                Some(factor) => {
                    *told.entry(&event.kind).or_default() += 1;
                    eprintln!("{} {}: most during it {factor:.2} times the usual most", event.start, event.id);
                }
                None => eprintln!("{} {}: the weeks around it do not tell what is usual", event.start, event.id),
            }
        }
    }
    let prior = crate::controller::config::PredictiveConfig::default().event_uplift;
    let beliefs = told.into_iter().map(|(kind, events)| (kind, events, uplifts.believe(kind, prior)));
    if options.json {
        return beliefs.map(|(kind, events, belief)| format!("{}\n", as_json(kind, events, &belief))).collect();
    }
    let mut table = Table::new(&[
        ("kind", Align::Left),
        ("told by", Align::Right),
        ("uplift", Align::Right),
        ("next: 10 %", Align::Right),
        ("90 %", Align::Right),
    ]);
    for (kind, events, belief) in beliefs {
        let factors = [belief.factor(), belief.factor_at(-Z90), belief.factor_at(Z90)];
        let cells = [kind.to_owned(), events.to_string()].into_iter();
        table.row(cells.chain(factors.map(|factor| format!("{factor:.2}"))));
    }
    table.to_string()
}

/// The standard normal distribution's 90th percentile.
const Z90: f64 = 1.281_551_565_544_6;

fn as_json(kind: &str, events: u64, belief: &Belief) -> serde_json::Value {
    json!({
        "kind": kind,
        "events": events,
        "uplift": belief.factor(),
        "uplift_p10": belief.factor_at(-Z90),
        "uplift_p90": belief.factor_at(Z90),
        "log_mean": belief.log_mean,
        "log_spread": belief.log_spread,
    })
}

impl From<FeedError> for Failure {
    fn from(error: FeedError) -> Self {
        let hint = error.hint().to_owned();
        match error {
            FeedError::Read(error) => error.into(),
            error => Failure::Other(error.into(), hint),
        }
    }
}
