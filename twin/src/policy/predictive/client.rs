//! One client region × class: how its sessions will begin, and how many will be under way.
//!
//! What is forecast is the rate at which sessions begin: that is what DNS tells, what history holds, and what leads.
//! How many are under way follows from those that are and from the rate (M/G/∞ with exponential lengths, dN/dt = λ − N/D),
//! future by future; their own chance comes on top.

use forebay_world::{Demand, Duration, Timestamp};

use crate::forecast::chance::Chance;
use crate::forecast::futures::Sampler;
use crate::forecast::grid::Grid;
use crate::forecast::normal_quantile;
use crate::forecast::online::{Recurrence, recurrence};
use crate::forecast::paths::Paths;

/// A surprise is what a share of futures as large as this did not exceed.
const SURPRISE: f64 = 0.99;
/// A surge is not carried beyond this many times what there is, …
const SURGE_MOST: f64 = 3.0;
/// … and widens what is forecast at most so many times: what was next to nothing has no spread to scale.
const SURGE_WIDENS_MOST: f64 = 10.0;
/// Standard errors of a count (Poisson) by which it must exceed that.
const SURPRISE_ERRORS: f64 = 2.0;

/// What is known of one client cell.
#[derive(Clone)]
pub(super) struct Client {
    grid: Grid,
    sampler: Sampler,
    /// Steps that are looked ahead: those that are forecast, and beyond them those that follow what is usual.
    reach: usize,
    /// What is usual at any moment: for what is announced hours ahead.
    usual: Box<dyn Recurrence>,
    /// Step being gathered: sessions that began, and seconds seen.
    gathered: (f64, f64),
    /// Its place in the grid.
    step: usize,
    /// Rate of the step before \[1/s\].
    before: Option<f64>,
    /// What is expected from the step under way on; none before anything was seen.
    outlook: Option<Outlook>,
    /// Standard normal deviate of each future.
    deviates: Vec<f64>,
    length: Length,
}

/// How long sessions last in the mean, as what is under way and what begins say (Little 1961), slowly forgetting; what
/// is configured stands for a hundred sessions.
#[derive(Clone, Copy)]
struct Length {
    configured: f64,
    /// Sessions that began, and their integral over time [session · s].
    began: f64,
    area: f64,
}

/// What is expected of the rate.
#[derive(Clone)]
struct Outlook {
    rates: Paths,
    medians: Vec<f64>,
    /// Factors from the rate of the last step that is forecast to those beyond.
    beyond: Vec<f64>,
    /// What the rate of the step under way only exceeds by surprise.
    bound: f64,
    by: &'static str,
    instead: Option<String>,
}

impl Client {
    /// Follows a series on `grid` by `sampler`, and looks ahead for `reach` steps.
    pub(super) fn new(grid: Grid, sampler: Sampler, reach: usize, configured_seconds: f64, cell: usize) -> Self {
        Client {
            grid,
            sampler,
            reach,
            usual: recurrence("profile").expect("there is a profile"),
            gathered: (0.0, 0.0),
            step: 0,
            before: None,
            outlook: None,
            deviates: deviates(cell),
            length: Length { configured: configured_seconds, began: 0.0, area: 0.0 },
        }
    }

    /// Takes in the whole steps of a past, oldest first.
    pub(super) fn recall(&mut self, rates: &[f64]) {
        for rate in rates {
            self.close(Some(*rate));
        }
        self.look();
    }

    /// Takes in the window that ended at `at`.
    pub(super) fn take(&mut self, at: Timestamp, window: Duration, demand: Option<&Demand>) {
        let middle = at.saturating_sub(Duration::from_nanos(window.as_nanos() / 2));
        let index = self.grid.index(middle);
        if index < self.step {
            return;
        }
        // What was never seen cannot be asked for for ever: after a week of nothing the rest is skipped.
        let skipped = (index - self.step).saturating_sub(self.grid.week());
        let closed = self.step < index;
        while self.step < index - skipped {
            self.close_gathered();
        }
        self.step = index;
        if let Some(demand) = demand {
            self.gathered.0 += (demand.arrivals + demand.rejected) as f64;
            self.gathered.1 += window.as_secs_f64();
            self.length.take(demand, window);
        }
        let whole = at >= self.grid.at(index + 1);
        if whole {
            self.close_gathered();
        }
        if closed || whole {
            self.look();
        }
    }

    fn close_gathered(&mut self) {
        let (began, seconds) = std::mem::take(&mut self.gathered);
        self.close((seconds > 0.0).then(|| began / seconds));
    }

    /// Ends the step under way.
    fn close(&mut self, rate: Option<f64>) {
        // Counts, for their chance is known: that of Poisson.
        self.sampler.observe(rate.map(|rate| rate * self.grid.step().as_secs_f64()));
        self.usual.observe(self.grid.at(self.step + 1), rate);
        self.before = rate.or(self.before);
        self.step += 1;
    }

    /// Looks ahead from the step under way.
    fn look(&mut self) {
        let horizon = self.sampler.horizon();
        let Ok((outlook, rates)) = self.sampler.forecast(horizon) else { return };
        let step = self.grid.step().as_secs_f64();
        let rates = rates.map(|_, count| count / step);
        let medians = (0..horizon).map(|ahead| outlook.quantiles.median(ahead) / step).collect();
        let usual = |ahead: usize| self.usual.expect(self.grid.at(self.step + ahead + 1)).unwrap_or(0.0);
        let last = usual(horizon - 1);
        let beyond = (horizon..self.reach).map(|ahead| if last > 0.0 { usual(ahead) / last } else { 1.0 }).collect();
        let bound = rates.at(0).quantile(SURPRISE);
        self.outlook = Some(Outlook { rates, medians, beyond, bound, by: outlook.by, instead: outlook.instead });
    }

    /// The step under way: the first of [`Client::sessions`].
    pub(super) fn first(&self) -> usize {
        self.step
    }

    /// Who says what comes, and instead of whom.
    pub(super) fn by(&self) -> Option<(&'static str, Option<&str>)> {
        self.outlook.as_ref().map(|outlook| (outlook.by, outlook.instead.as_deref()))
    }

    /// What is usually under way at a moment to come.
    pub(super) fn usual(&self, at: Timestamp) -> Option<f64> {
        self.usual.expect(at).map(|rate| rate * self.length.mean_seconds())
    }

    /// The most sessions under way in each step from the one under way on: in each future as far as they are forecast, and
    /// as they usually go on, beyond that, too. `under_way` is what there is at `at`, and when that is unknown, what the
    /// rate would bring. `None` before anything was seen.
    pub(super) fn sessions(&self, at: Timestamp, under_way: Option<f64>) -> Option<(Paths, Vec<f64>)> {
        let outlook = self.outlook.as_ref()?;
        let surge = self.surge(outlook);
        let (mean, step) = (self.length.mean_seconds(), self.grid.step().as_secs_f64());
        let left = self.grid.at(self.step + 1).since(at).as_secs_f64();
        let gone = |seconds: f64| -(-seconds / mean).exp_m1();
        let (first_gone, whole_gone) = (gone(left), gone(step));
        let under_way = under_way.unwrap_or(outlook.medians[0] * mean).max(0.0);
        let steps = outlook.rates.steps();
        let lifted = outlook.medians.iter().zip(&surge).map(|(median, lift)| lift.carry(*median, *median));
        let last = surge[steps - 1].carry(outlook.medians[steps - 1], outlook.medians[steps - 1]);
        let mut sessions = under_way;
        let usual = lifted.chain(outlook.beyond.iter().map(|factor| factor * last)).enumerate();
        let course = usual.map(|(ahead, rate)| {
            let begin = sessions;
            sessions += (rate * mean - sessions) * if ahead == 0 { first_gone } else { whole_gone };
            sessions.max(begin)
        });
        let course = course.collect();
        let mut values = Vec::with_capacity(outlook.rates.count() * steps);
        for (rates, deviate) in outlook.rates.iter().zip(&self.deviates) {
            let (mut sessions, mut variance) = (under_way, 0.0);
            let lifted = rates.iter().zip(&outlook.medians).zip(&surge);
            let lifted = lifted.map(|((rate, median), lift)| lift.carry(*rate, *median));
            for (ahead, rate) in lifted.enumerate() {
                let gone = if ahead == 0 { first_gone } else { whole_gone };
                let (begin, come) = (sessions, rate * mean * gone);
                // Who comes is drawn with the rate already; who stays is binomial, among those that were there and among
                // those that came within the step.
                let stays = mean * gone / if ahead == 0 { left.max(1e-9) } else { step };
                variance =
                    (1.0 - gone).powi(2) * variance + (1.0 - gone) * gone * begin + come * (1.0 - stays).max(0.0);
                sessions = begin - begin * gone + come;
                values.push((sessions.max(begin) + deviate * variance.sqrt()).max(0.0));
            }
        }
        Some((Paths::new(steps, values), course))
    }

    /// What is done to the rates of coming steps: where more has begun in the step under way, or in the last, than any error
    /// of the past explains, a crowd is on its way, and its growth is taken to go on.
    fn surge(&self, outlook: &Outlook) -> Vec<Lift> {
        let none = vec![Lift::NONE; outlook.medians.len()];
        let (began, seconds) = self.gathered;
        let (Some(before), true) = (self.before, seconds > 0.0) else { return none };
        let (rate, error) = (began / seconds, began.sqrt() / seconds);
        if rate - SURPRISE_ERRORS * error <= outlook.bound.max(before) {
            return none;
        }
        let growth = rate - before;
        let floor = |ahead: usize| (rate + growth * ahead as f64).min(SURGE_MOST * rate);
        outlook.medians.iter().enumerate().map(|(ahead, median)| Lift::to(floor(ahead), *median)).collect()
    }
}

/// What a surge does to the rate of a step, in each future.
#[derive(Clone, Copy)]
struct Lift {
    /// What the median gains \[1/s\] …
    gain: f64,
    /// … and the factor on what is about it.
    widens: f64,
}

impl Lift {
    const NONE: Lift = Lift { gain: 0.0, widens: 1.0 };

    /// That a median reaches a floor, and the rest in proportion.
    fn to(floor: f64, median: f64) -> Lift {
        if floor <= median {
            return Lift::NONE;
        }
        Lift { gain: floor - median, widens: (floor / median.max(f64::MIN_POSITIVE)).min(SURGE_WIDENS_MOST) }
    }

    fn carry(self, rate: f64, median: f64) -> f64 {
        (median + self.gain + (rate - median) * self.widens).max(0.0)
    }
}

/// Time in which what was seen of lengths counts half.
const LENGTH_HALF_LIFE: Duration = Duration::from_hours(6);
/// Sessions that the configured length stands for.
const LENGTH_PRIOR: f64 = 100.0;
/// A mean length is believed to be at most so many times the configured one, or one so manieth of it.
const LENGTH_MOST: f64 = 4.0;

impl Length {
    fn take(&mut self, demand: &Demand, window: Duration) {
        let keep = 0.5f64.powf(window.as_secs_f64() / LENGTH_HALF_LIFE.as_secs_f64());
        self.began = self.began * keep + demand.arrivals as f64;
        self.area = self.area * keep + demand.sessions.max(0.0) * window.as_secs_f64();
    }

    fn mean_seconds(&self) -> f64 {
        let mean = (self.area + LENGTH_PRIOR * self.configured) / (self.began + LENGTH_PRIOR);
        mean.clamp(self.configured / LENGTH_MOST, self.configured * LENGTH_MOST)
    }
}

/// Evenly spread standard normal deviates in an order of the cell's own.
fn deviates(cell: usize) -> Vec<f64> {
    let n = crate::forecast::futures::PATHS;
    let mut deviates: Vec<f64> = (0..n).map(|nth| normal_quantile((nth as f64 + 0.5) / n as f64)).collect();
    let mut chance = Chance::new(cell as u64, "sessions of a client cell");
    for nth in (1..n).rev() {
        deviates.swap(nth, chance.below(nth + 1));
    }
    deviates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::trained;

    const MINUTE: Duration = Duration::from_mins(1);
    const MEAN: f64 = 300.0;

    fn client(model: &str) -> Client {
        let grid = Grid::utc(Timestamp::EPOCH, MINUTE);
        let follower = trained::train(model, &[], 12, 1).unwrap().unwrap().follow(&grid, 2880, 0);
        Client::new(grid, Sampler::new(follower, 12, 1), 30, MEAN, 0)
    }

    fn demand(arrivals: u64, sessions: f64) -> Demand {
        Demand { arrivals, sessions, ..Demand::default() }
    }

    /// Takes in minutes of a rate \[1/min\], and the sessions that it brings.
    fn follow(client: &mut Client, minutes: std::ops::Range<u64>, under_way: &mut f64, rate: &dyn Fn(u64) -> f64) {
        for minute in minutes {
            let arrivals = rate(minute).round();
            *under_way += (arrivals / 60.0 * MEAN - *under_way) * -(-60.0 / MEAN).exp_m1();
            client.take(Timestamp::EPOCH + MINUTE * (minute + 1), MINUTE, Some(&demand(arrivals as u64, *under_way)));
        }
    }

    #[test]
    fn sessions_fill_up_towards_rate_times_length() {
        for model in ["profile", "naive"] {
            let (mut client, mut under_way) = (client(model), 0.0);
            assert!(client.sessions(Timestamp::EPOCH, None).is_none());
            follow(&mut client, 0..240, &mut under_way, &|_| 1200.0);
            let at = Timestamp::EPOCH + MINUTE * 240;
            // From nothing, 20 a second for ten minutes: 6000 (1 − e⁻²).
            let (futures, course) = client.sessions(at, Some(0.0)).unwrap();
            assert!((course[9] / futures.at(9).quantile(0.5) - 1.0).abs() < 0.05);
            let (median, exact) = (futures.at(9).quantile(0.5), 6000.0 * (1.0 - (-2.0f64).exp()));
            assert!((median / exact - 1.0).abs() < 0.05, "{model}: {median} not {exact}");
            let (futures, course) = client.sessions(at, Some(6000.0)).unwrap();
            assert_eq!((futures.steps(), course.len()), (12, 30));
            assert!((course[29] / 6000.0 - 1.0).abs() < 0.05, "{model}: {}", course[29]);
            // Their own chance is part of it: who stays is binomial, about √(6000 / 2).
            let spread = futures.at(11);
            assert!(spread.quantile(0.84) - spread.quantile(0.5) > 45.0);
        }
    }

    #[test]
    fn short_windows_gather_into_steps_and_gaps_are_gaps() {
        let mut client = client("profile");
        let quarter = Duration::from_secs(15);
        for n in 1..=240u64 {
            let seen = (!(80..120).contains(&n)).then(|| demand(300, 6000.0));
            client.take(Timestamp::EPOCH + quarter * n, quarter, seen.as_ref());
        }
        assert_eq!(client.first(), 60);
        let median = client.sessions(Timestamp::EPOCH + MINUTE * 60, None).unwrap().0.at(0).quantile(0.5);
        assert!((median / 6000.0 - 1.0).abs() < 0.05, "{median}");
        // What is old is not taken twice, and a long silence ends.
        client.take(Timestamp::EPOCH + MINUTE * 3, MINUTE, Some(&demand(99_999, 1.0)));
        assert_eq!(client.first(), 60);
        client.take(Timestamp::EPOCH + Duration::from_hours(24 * 400), MINUTE, None);
        assert_eq!(client.first(), 24 * 60 * 400);
    }

    #[test]
    fn a_crowd_on_its_way_is_taken_to_go_on() {
        let (mut client, mut under_way) = (client("naive"), 6000.0);
        follow(&mut client, 0..240, &mut under_way, &|minute| 1200.0 + (minute % 7) as f64);
        let at = Timestamp::EPOCH + MINUTE * 240 + Duration::from_secs(15);
        let before = client.sessions(at, Some(under_way)).unwrap().0.at(5).quantile(0.5);
        // A quarter minute with three times as many.
        client.take(at, Duration::from_secs(15), Some(&demand(900, under_way)));
        let after = client.sessions(at, Some(under_way)).unwrap().0.at(5).quantile(0.5);
        assert!(after > 2.0 * before, "{before} {after}");
        // A few more than usual are no crowd.
        let mut calm = self::client("naive");
        follow(&mut calm, 0..240, &mut under_way.clone(), &|minute| 1200.0 + (minute % 7) as f64);
        calm.take(at, Duration::from_secs(15), Some(&demand(310, under_way)));
        let calm = calm.sessions(at, Some(under_way)).unwrap().0.at(5).quantile(0.5);
        assert!((calm / before - 1.0).abs() < 0.05, "{calm} {before}");
    }

    #[test]
    fn a_crowd_where_nothing_was_is_as_large_as_it_looks_and_no_larger() {
        for model in ["profile", "naive"] {
            for quiet in [1, 3, 240] {
                let (mut client, mut under_way) = (client(model), 0.0);
                follow(&mut client, 0..quiet, &mut under_way, &|_| 0.0);
                for quarter in 1..=40u64 {
                    let at = Timestamp::EPOCH + MINUTE * quiet + Duration::from_secs(15 * quarter);
                    under_way += 300.0 - under_way * 15.0 / MEAN;
                    client.take(at, Duration::from_secs(15), Some(&demand(300, under_way)));
                    let Some((futures, course)) = client.sessions(at, Some(under_way)) else { continue };
                    let most = futures.most(0..futures.steps());
                    // Twenty a second for five minutes each are 6000; a surge is carried to three times as many.
                    let (highest, usual) = (most.quantile(0.99), course.iter().copied().fold(0.0, f64::max));
                    assert!(highest < 40_000.0, "{model}, {quiet} quiet, at {quarter}: {highest}");
                    assert!((under_way..20_000.0).contains(&usual), "{model}, {quiet} quiet, at {quarter}: {usual}");
                }
            }
        }
    }

    #[test]
    fn lengths_are_learned_from_what_is_under_way() {
        let mut client = client("naive");
        for minute in 0..600 {
            client.take(Timestamp::EPOCH + MINUTE * (minute + 1), MINUTE, Some(&demand(600, 6000.0)));
        }
        assert!((client.length.mean_seconds() / 600.0 - 1.0).abs() < 0.05, "{}", client.length.mean_seconds());
    }
}
