//! What came and what was expected, tick by tick, for charts: near ticks one by one, far ones ever more coarsely.
//!
//! A history is bounded however long the run (level `k` holds means over 8ᵏ ticks), and cheap to clone: rows lie in
//! shared chunks, so that every checkpoint and every frame can have its own.

use std::collections::VecDeque;
use std::sync::Arc;

use forebay_world::{Timestamp, Topology};

use crate::tick::Tick;

/// Rows of a chunk.
const CHUNK: usize = 64;
/// Full chunks that a level keeps: 768 rows and more.
const CHUNKS: usize = 12;
/// Rows of one level that make one row of the next.
const FOLD: u64 = 8;
/// Enough for 768 · 8⁴ ticks, six years by the minute; what is older is forgotten.
const LEVELS: usize = 5;

/// One region × class at one tick. What was not seen or not forecast is NaN, so that it cannot be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Sessions served.
    pub sessions: f32,
    /// Sessions that the ready virtual machines have places for.
    pub capacity: f32,
    /// 10 % quantile of the forecast made at this tick.
    pub p10: f32,
    /// Its median.
    pub p50: f32,
    /// Its 90 % quantile.
    pub p90: f32,
    /// How far ahead of the tick that forecast's window ends \[s\].
    pub lead_s: f32,
}

impl Point {
    const UNSEEN: Point =
        Point { sessions: f32::NAN, capacity: f32::NAN, p10: f32::NAN, p50: f32::NAN, p90: f32::NAN, lead_s: f32::NAN };

    fn fields(&mut self) -> [&mut f32; 6] {
        [&mut self.sessions, &mut self.capacity, &mut self.p10, &mut self.p50, &mut self.p90, &mut self.lead_s]
    }

    /// Field by field, the mean of what was seen.
    fn mean(points: impl Iterator<Item = Point>) -> Point {
        let (mut sums, mut counts) = ([0.0f32; 6], [0u8; 6]);
        for mut point in points {
            for (field, (sum, count)) in point.fields().into_iter().zip(sums.iter_mut().zip(&mut counts)) {
                if field.is_finite() {
                    *sum += *field;
                    *count += 1;
                }
            }
        }
        let mut mean = Point::UNSEEN;
        for (field, (sum, count)) in mean.fields().into_iter().zip(sums.into_iter().zip(counts)) {
            if count > 0 {
                *field = sum / f32::from(count);
            }
        }
        mean
    }
}

/// Rows in order of time, all cells of a row side by side.
#[derive(Clone, Debug, Default)]
struct Chunk {
    at: Vec<Timestamp>,
    points: Vec<Point>,
}

#[derive(Clone, Debug, Default)]
struct Level {
    chunks: VecDeque<Arc<Chunk>>,
    rows: u64,
}

impl Level {
    fn push(&mut self, at: Timestamp, points: impl Iterator<Item = Point>) {
        if self.chunks.back().is_none_or(|chunk| chunk.at.len() == CHUNK) {
            if self.chunks.len() > CHUNKS {
                self.chunks.pop_front();
            }
            self.chunks.push_back(Arc::default());
        }
        let chunk = Arc::make_mut(self.chunks.back_mut().expect("just pushed"));
        chunk.at.push(at);
        chunk.points.extend(points);
        self.rows += 1;
    }

    fn first_at(&self) -> Option<Timestamp> {
        self.chunks.front().and_then(|chunk| chunk.at.first()).copied()
    }

    /// The last rows, as many as make one row of the next level.
    fn folded(&self, cells: usize) -> Option<(Timestamp, Vec<Point>)> {
        let chunk = self.chunks.back()?;
        let last = *chunk.at.last()?;
        // Chunks hold a multiple of FOLD rows, so the rows to fold lie in one chunk.
        let from = chunk.at.len() - FOLD as usize;
        let points = (0..cells)
            .map(|cell| Point::mean((from..chunk.at.len()).map(|row| chunk.points[row * cells + cell])))
            .collect();
        Some((last, points))
    }
}

/// The series of every region × class up to some tick.
#[derive(Clone, Debug)]
pub struct History {
    cells: usize,
    levels: Vec<Level>,
}

impl History {
    /// An empty history of `cells` cells.
    pub fn new(cells: usize) -> Self {
        History { cells, levels: vec![Level::default(); LEVELS] }
    }

    /// Takes in one tick.
    pub fn push(&mut self, tick: &Tick, topology: &Topology) {
        self.push_row(tick.observation.at, (0..self.cells).map(|cell| point_of(tick, topology, cell)));
    }

    fn push_row(&mut self, at: Timestamp, points: impl Iterator<Item = Point>) {
        self.levels[0].push(at, points);
        for level in 0..LEVELS - 1 {
            if !self.levels[level].rows.is_multiple_of(FOLD) {
                break;
            }
            let Some((at, points)) = self.levels[level].folded(self.cells) else { break };
            self.levels[level + 1].push(at, points.into_iter());
        }
    }

    /// The points of `cell` from `from` to `until`, in order of time: as fine as they are kept, but not many more than
    /// `rows_max`.
    pub fn points(&self, cell: usize, from: Timestamp, until: Timestamp, rows_max: usize) -> Vec<(Timestamp, Point)> {
        if cell >= self.cells {
            return Vec::new();
        }
        let fits = |level: &Level| {
            let rows = level.chunks.iter().flat_map(|chunk| &chunk.at).filter(|at| **at >= from && **at <= until);
            rows.count() <= rows_max
        };
        let reaches = |level: &Level| level.first_at().is_some_and(|at| at <= from);
        // The coarsest level that must be used: fine ones are full of rows, or begin too late.
        let begin = self
            .levels
            .iter()
            .position(|level| (reaches(level) || level.rows <= (CHUNK * CHUNKS) as u64) && fits(level))
            .unwrap_or(LEVELS - 1);
        let mut points = Vec::new();
        let mut after: Option<Timestamp> = None;
        // A coarse level lags the present by up to one of its rows: finer ones fill the gap.
        for level in self.levels[..=begin].iter().rev() {
            for chunk in &level.chunks {
                for (row, &at) in chunk.at.iter().enumerate() {
                    if at >= from && at <= until && after.is_none_or(|after| at > after) {
                        points.push((at, chunk.points[row * self.cells + cell]));
                        after = Some(at);
                    }
                }
            }
        }
        points
    }

    /// Memory that the rows take \[byte\]; chunks shared with other histories are counted here too.
    pub fn bytes(&self) -> usize {
        let rows: usize = self.levels.iter().flat_map(|level| &level.chunks).map(|chunk| chunk.at.len()).sum();
        rows * (self.cells * size_of::<Point>() + size_of::<Timestamp>())
    }
}

fn point_of(tick: &Tick, topology: &Topology, cell: usize) -> Point {
    let seen = tick.observation.demand.get(cell).and_then(Option::as_ref).map(|demand| demand.sessions);
    let Some(decided) = tick.decision.cells.get(cell) else {
        return Point { sessions: seen.map_or(f32::NAN, |sessions| sessions as f32), ..Point::UNSEEN };
    };
    let places = topology.sessions_per_vm(decided.class);
    let capacity = if places.is_finite() { places * f64::from(decided.ready) } else { f64::NAN };
    let mut point = Point {
        sessions: decided.sessions.or(seen).map_or(f32::NAN, |sessions| sessions as f32),
        capacity: capacity as f32,
        ..Point::UNSEEN
    };
    if let Some(fan) = decided.forecast {
        point.p10 = fan.p10 as f32;
        point.p50 = fan.p50 as f32;
        point.p90 = fan.p90 as f32;
        point.lead_s = fan.until.as_secs_f64() as f32;
    }
    point
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(ticks: u64) -> History {
        let mut history = History::new(2);
        for tick in 1..=ticks {
            let point = |value: u64| Point { sessions: value as f32, ..Point::UNSEEN };
            history.push_row(Timestamp::from_secs(60 * tick), [point(tick), point(2 * tick)].into_iter());
        }
        history
    }

    #[test]
    fn near_ticks_are_kept_one_by_one() {
        let history = filled(100_000);
        let points = history.points(1, Timestamp::from_secs(60 * 99_901), Timestamp::MAX, 1000);
        let want: Vec<f32> = (99_901..=100_000).map(|tick| 2.0 * tick as f32).collect();
        assert_eq!(points.iter().map(|(_, point)| point.sessions).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_year_by_the_minute_is_bounded_and_still_whole() {
        let ticks = 365 * 1440;
        let history = filled(ticks);
        assert!(history.bytes() < 400_000, "{}", history.bytes());
        let points = history.points(0, Timestamp::EPOCH, Timestamp::MAX, 400);
        assert!(points.len() < 460, "{}", points.len());
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(points[0].0 < Timestamp::from_secs(60 * 5000));
        assert_eq!(points.last().unwrap().0, Timestamp::from_secs(60 * ticks));
        // A row of 8ᵏ ticks is their mean: for a ramp, the value half a row back.
        let (at, point) = points[3];
        let tick = (at.as_secs_f64() / 60.0) as f32;
        assert!(point.sessions < tick && point.sessions > tick - 4096.0);
    }

    #[test]
    fn what_was_not_seen_does_not_enter_a_mean() {
        let half = |value| Point { sessions: value, ..Point::UNSEEN };
        let mean = Point::mean([half(4.0), Point::UNSEEN, half(8.0)].into_iter());
        assert_eq!(mean.sessions, 6.0);
        assert!(mean.p50.is_nan());
    }

    #[test]
    fn a_clone_shares_its_rows_and_goes_its_own_way() {
        let history = filled(200);
        let mut other = history.clone();
        other.push_row(Timestamp::from_secs(60 * 201), [Point::UNSEEN; 2].into_iter());
        assert!(Arc::ptr_eq(&history.levels[0].chunks[0], &other.levels[0].chunks[0]));
        assert_eq!(history.points(0, Timestamp::EPOCH, Timestamp::MAX, 1000).len(), 200);
        assert_eq!(other.points(0, Timestamp::EPOCH, Timestamp::MAX, 1000).len(), 201);
    }
}
