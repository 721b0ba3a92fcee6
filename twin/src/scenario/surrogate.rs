//! Made-up recordings, for replay scenarios that are run without one: always the same, and said to be made up.

use std::fmt::Write as _;

use forebay_adapters::CountSeries;
use forebay_adapters::counts::{ReadReport, Series};
use forebay_sim::Stream;
use forebay_world::{Duration, Timestamp};

use super::finding::Findings;
use super::shape;
use super::spec::{Shape, unplaced};

/// What an operator is told.
pub(super) const REMARK: &str = "no recording given: a made-up one is replayed; give a real one with --replay FILE";

/// Monday, 2026-06-08T00:00:00Z.
const MONDAY: Timestamp = Timestamp::from_secs(1_780_876_800);
const DAYS: u64 = 7;
const REQUESTS_PER_MINUTE: f64 = 30_000.0;

/// A week of requests by the minute: residential days, noise that wanders, and a match on Saturday evening.
pub(super) fn counts(start: Option<Timestamp>) -> CountSeries {
    let start = start.unwrap_or(MONDAY);
    let preset = Shape::Named(unplaced("residential".to_owned()));
    let mut none = Findings::default();
    let (daily, weekly) = (shape::daily(&preset, &mut none), shape::weekly(&preset, &mut none));
    let mut noise = Stream::new(0, "surrogate/counts", 0);
    let mut wandering = 0.0;
    let values = (0..DAYS * 24 * 60)
        .map(|minute| {
            let hours = minute as f64 / 60.0;
            // Hours stand for their middle; straight lines between.
            let position = (hours - 0.5).rem_euclid(24.0);
            let (hour, part) = (position.floor() as usize % 24, position.fract());
            let usual = daily[hour] * (1.0 - part) + daily[(hour + 1) % 24] * part;
            wandering = 0.98 * wandering + 0.01 * normal(&mut noise);
            let since_match = hours - (5.0 * 24.0 + 19.0);
            let crowd = match since_match {
                h if h < 0.0 => 1.0,
                h if h < 0.25 => 1.0 + 3.0 * h / 0.25,
                h if h < 2.0 => 4.0,
                h => 1.0 + 3.0 * (-(h - 2.0) / 0.4).exp(),
            };
            let day = weekly[(minute / (24 * 60)) as usize % 7];
            Some((REQUESTS_PER_MINUTE * usual * day * crowd * f64::exp(wandering)).round())
        })
        .collect::<Vec<_>>();
    let rows = values.len() as u64;
    CountSeries {
        step: Duration::from_mins(1),
        start,
        series: vec![Series { region: None, class: None, values }],
        report: ReadReport {
            rows,
            gaps: 0,
            absent: 0,
            duplicates: 0,
            out_of_order: 0,
            off_grid: 0,
            first: start,
            last: start + Duration::from_mins(rows - 1),
            ignored_columns: Vec::new(),
        },
    }
}

/// Standard normal (G. Box, M. Muller, 1958).
fn normal(noise: &mut Stream) -> f64 {
    (-2.0 * noise.uniform().ln()).sqrt() * (std::f64::consts::TAU * noise.uniform()).cos()
}

/// Clients of a made-up log; each asks one of a few resolvers.
const CLIENTS: u64 = 120;
const QUERIES_PER_SECOND: f64 = 30.0;
const LOG_SECONDS: f64 = 1200.0;

/// Twenty minutes of queries between clients and their resolvers, as Zeek would log them: Poisson arrivals at a rate
/// that swells by half and ebbs again, names by Zipf's law.
pub(super) fn queries(start: Option<Timestamp>) -> String {
    let start = start.unwrap_or(MONDAY + Duration::from_hours(18)).as_secs_f64();
    let mut log = String::from(
        "#separator \\x09\n#path\tdns\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\ttrans_id\tquery\tqclass\tqtype\n",
    );
    let mut chance = Stream::new(0, "surrogate/queries", 0);
    let most = 1.5 * QUERIES_PER_SECOND;
    let (mut seconds, mut row) = (0.0, 0);
    loop {
        // Thinning (P. Lewis, G. Shedler, 1979).
        seconds += chance.exponential() / most;
        if seconds >= LOG_SECONDS {
            return log;
        }
        let swell = 1.0 + 0.5 * (std::f64::consts::PI * seconds / LOG_SECONDS).sin().powi(2);
        let kept = chance.uniform() * most <= swell * QUERIES_PER_SECOND;
        let client = chance.below(CLIENTS);
        // Zipf by inversion of its continuous cousin, 1/x on [1, 400].
        let rank = 400f64.powf(chance.uniform()) as u64;
        if !kept {
            continue;
        }
        row += 1;
        let name = match rank % 4 {
            0 => format!("v{rank}.video.example"),
            _ => format!("www{}.site{rank}.example", rank % 3),
        };
        let _ = writeln!(
            log,
            "{:.6}\tC{row}\t10.20.{}.{client}\t{}\t10.20.255.{}\t53\tudp\t{}\t{name}\t1\t1",
            start + seconds,
            client / 4,
            1024 + row % 60_000,
            client % 8,
            row % 65_536,
        );
    }
}
