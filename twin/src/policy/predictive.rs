//! `predictive`: as many machines as are worth their price for the demand that will be there when they are ready.
//!
//! For each client region × class a forecaster says what to expect over [time to ready, time to ready + period], and
//! the errors it has made at just that lead say how far off it may be. Known events raise what is expected. Demand is
//! carried to the regions that will serve it by the steering in force, and the number of machines is the newsvendor's:
//! the price of one more against the minutes it saves. Never fewer than present use asks for, and what was lately
//! needed is kept for about as long as replacing it would take.

mod events;

use std::collections::VecDeque;

use forebay_world::{BitsPerSecond, Duration, Timestamp, Topology};

use super::sizing::{Stake, critical_ratio};
use super::{Ask, Policy, Situation, vms_from, workable_utilization};
use crate::controller::ControllerConfig;
use crate::controller::config::PredictiveConfig;
use crate::decision::Fan;
use crate::forecast::{self, Forecaster, Residuals};
use events::Events;

#[derive(Clone)]
pub(super) struct Predictive {
    config: PredictiveConfig,
    period: Duration,
    classes: Vec<ClassTerms>,
    clients: Vec<Client>,
    servers: Vec<Server>,
    events: Events,
    /// Expectation of each serving cell; kept to spare allocation.
    loads: Vec<Option<Expected>>,
}

/// What a class's machines hold and cost.
#[derive(Clone)]
struct ClassTerms {
    /// Sessions that a machine holds at utilization 1 …
    places: f64,
    /// … and the utilization it is planned at.
    utilization: f64,
    /// Time from asking for a machine to its being ready.
    to_ready: Duration,
    /// Time for which what was lately needed is kept.
    hold: Duration,
    /// Price of a machine \[currency unit / min\].
    vm_price: f64,
    /// Price of a violated minute.
    violation_price: f64,
    /// Mean length of a session \[s\].
    mean_seconds: f64,
    bandwidth: BitsPerSecond,
    /// Share of bad that is tolerated.
    tolerance: f64,
}

/// What is known of one client cell.
#[derive(Clone)]
struct Client {
    forecaster: Box<dyn Forecaster>,
    residuals: Residuals,
    /// Expectations that have not met what came: the end of their window, and the value.
    pending: VecDeque<(Timestamp, f64)>,
    /// Sessions of the window before, nothing where it was not seen.
    before: Option<f64>,
    /// Sessions that the last window brought on top, when they were a surprise; otherwise zero.
    surge: f64,
}

/// What is known of one serving cell.
#[derive(Clone)]
struct Server {
    /// Asks of the hold time, descending in number: the first is the most.
    recent: VecDeque<(Timestamp, u32)>,
    /// Factor on the utilization planned at, learned from missed objectives.
    tuning: f64,
}

/// What a cell expects over the window looked ahead to.
#[derive(Clone, Copy, Default)]
struct Expected {
    /// Median of the most sessions.
    median: f64,
    /// Spread of its errors.
    spread: f64,
    /// Median at the end of the hold time.
    later: f64,
    /// Sessions expected where known events are taken at their word …
    event: f64,
    /// … if there are any.
    announced: bool,
}

impl Predictive {
    pub(super) fn new(config: &ControllerConfig, topology: &Topology) -> Self {
        let predictive = config.policy.predictive.clone();
        let forecaster = forecast::build(&predictive.forecaster).expect("the configuration was checked");
        let classes = (0..topology.classes.len())
            .map(forebay_world::ClassId::at)
            .map(|class| {
                let (flavour, kind) = (topology.flavour_of(class), topology.class(class));
                let to_ready = flavour.time_to_ready(predictive.boot_z);
                // Letting a machine go too early costs another boot and another drain: keep it about that long (ski
                // rental).
                let hold = to_ready.saturating_add(to_ready).max(Duration::from_mins(10));
                ClassTerms {
                    places: topology.sessions_per_vm(class),
                    utilization: predictive.target_utilization.unwrap_or_else(|| workable_utilization(topology, class)),
                    to_ready,
                    hold: predictive.hold.unwrap_or(hold),
                    vm_price: flavour.price_per_hour / 60.0,
                    violation_price: kind.violation_price_per_minute,
                    mean_seconds: kind.work.mean_seconds().max(1e-3),
                    bandwidth: kind.work.bandwidth_per_session(),
                    tolerance: kind.slo.tolerance,
                }
            })
            .collect();
        let client =
            Client { forecaster, residuals: Residuals::default(), pending: VecDeque::new(), before: None, surge: 0.0 };
        Predictive {
            config: predictive,
            period: config.period,
            classes,
            clients: vec![client; topology.cells()],
            servers: vec![Server { recent: VecDeque::new(), tuning: 1.0 }; topology.cells()],
            events: Events::default(),
            loads: vec![None; topology.cells()],
        }
    }

    /// Follows each client cell and carries what it expects to the cells that will serve it.
    fn expect(&mut self, now: &Situation<'_>) {
        let at = now.seen.at;
        self.loads.fill(None);
        let classes = self.classes.len();
        for (cell, client) in self.clients.iter_mut().enumerate() {
            let terms = &self.classes[cell % classes];
            let demand = now.seen.demand[cell].as_ref();
            let offered = now.offered[cell];
            client.follow(at, offered.filter(|_| demand.is_some()), self.period);
            let from = at.saturating_add(terms.to_ready);
            let until = from.saturating_add(self.period);
            let (Some(early), Some(late)) = (client.forecaster.expect(from), client.forecaster.expect(until)) else {
                continue;
            };
            let mut median = early.max(late);
            if let (Some(demand), Some(offered)) = (demand, offered) {
                // More than the errors of the past explain is a crowd on its way: its growth is taken to go on.
                let periods = until.since(at).as_secs_f64() / self.period.as_secs_f64();
                median = median.max((offered + client.surge * periods).min(SURGE_MOST * offered));
                // With exponential lengths the sessions under way relax towards arrival rate × mean length (Little).
                let rate = (demand.arrivals + demand.rejected) as f64 / now.seen.window.as_secs_f64().max(1e-9);
                let heading = rate * terms.mean_seconds;
                let relaxed = 1.0 - (-terms.to_ready.as_secs_f64() / terms.mean_seconds).exp();
                median = median.max(offered + (heading - offered) * relaxed);
            }
            client.pending.push_back((until, median));
            let later = client.forecaster.expect(until.saturating_add(terms.hold)).unwrap_or(median);
            let raise =
                self.events.floor(now, &self.config, cell, &|at| client.forecaster.expect(at), offered, (from, until));
            let (announced, event) = (raise.is_some(), raise.map_or(0.0, |raise| raise.sessions).max(median));
            let expected = Expected { median, spread: Residuals::scale(median), later, event, announced };
            carry(&mut self.loads, now, cell, classes, &expected);
        }
    }

    /// Lowers the utilization planned at where the objective was missed without demand exceeding the plan, and
    /// slowly forgets.
    fn tune(&mut self, now: &Situation<'_>, cell: usize) -> f64 {
        let terms = &self.classes[cell % self.classes.len()];
        let server = &mut self.servers[cell];
        if self.config.self_tuning {
            let missed = now.seen.demand[cell].as_ref().is_some_and(|demand| demand.bad_share > terms.tolerance);
            let used = now.cells[cell].utilization().unwrap_or(0.0);
            let planned = terms.utilization * server.tuning;
            if missed && used > 0.8 * planned && used <= planned * 1.02 {
                server.tuning = (server.tuning * 0.97).max(0.75);
            } else {
                server.tuning = (server.tuning + 0.0002).min(1.0);
            }
        }
        terms.utilization * server.tuning
    }
}

impl Policy for Predictive {
    fn name(&self) -> &'static str {
        "predictive"
    }

    fn ask(&mut self, now: &Situation<'_>, asks: &mut [Ask]) {
        let at = now.seen.at;
        self.events.follow(now);
        self.expect(now);
        for (cell, ask) in asks.iter_mut().enumerate() {
            let utilization = self.tune(now, cell);
            let terms = &self.classes[cell % self.classes.len()];
            let seen = &now.cells[cell];
            let per_vm = terms.places * utilization;
            let Some(expected) = self.loads[cell] else {
                ask.vms = seen.wanted;
                ask.reason = format!("nothing seen yet: keeps {}", seen.wanted);
                continue;
            };
            let used = seen.utilization().map_or(0.0, |used| used * f64::from(seen.ready) * terms.places);
            let reactive = vms_from(used.max(seen.on_ready as f64) / per_vm);
            let stake = Stake {
                expected: expected.median,
                spread: expected.spread,
                residuals: &self.clients[cell].residuals,
                sessions_per_vm: per_vm,
                vm_price: terms.vm_price,
                violation_price: terms.violation_price,
            };
            let (sized, level) = match self.config.level {
                Some(level) => (stake.at_level(level).0, level),
                None => stake.cheapest(),
            };
            let announced = if expected.announced { vms_from(expected.event / per_vm) } else { 0 };
            let needed = sized.max(reactive).max(announced);
            // Growth just after a shrink would pay for a boot: what the end of the hold time needs is kept, too.
            let kept = self.servers[cell].keep(at, terms.hold, needed);
            let later = vms_from(f64::from(sized) * (expected.later / expected.median.max(1.0)).min(1.0));
            ask.vms = needed.max(kept.max(later).min(seen.wanted));
            let until = terms.to_ready.saturating_add(self.period);
            ask.reason = if announced >= sized.max(reactive) && announced > 0 {
                format!("known event: {} sessions", expected.event.round() as u64)
            } else if ask.vms > needed {
                format!("needs {needed}, keeps what it lately needed or soon will")
            } else if reactive > sized {
                format!("present use of {} sessions asks for more than the forecast", used.round() as u64)
            } else {
                format!(
                    "forecast of {} sessions at {} % confidence, {} a machine",
                    stake.quantile(level).round() as u64,
                    (level * 100.0).round() as u64,
                    per_vm.round() as u64
                )
            };
            let sized_for = stake.quantile(level.min(critical_ratio(terms.violation_price, terms.vm_price)));
            let sized_for = if expected.announced { sized_for.max(expected.event) } else { sized_for };
            ask.fan = Some(Fan {
                from: terms.to_ready,
                until,
                p10: stake.quantile(0.1),
                p50: stake.quantile(0.5),
                p90: stake.quantile(0.9),
                level,
                sized_for,
            });
            ask.bandwidth = Some(BitsPerSecond::from_f64(sized_for * terms.bandwidth.as_f64()));
        }
    }

    fn clone_box(&self) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}

/// Adds what a client cell expects to the cells that serve it, each its share.
///
/// Errors of several client cells are taken to fall together: quantiles add up.
fn carry(loads: &mut [Option<Expected>], now: &Situation<'_>, client: usize, classes: usize, expected: &Expected) {
    let mut add = |server: usize, share: f64| {
        let load = loads[server].get_or_insert_default();
        load.median += share * expected.median;
        load.spread += share * expected.spread;
        load.later += share * expected.later;
        load.event += share * expected.event;
        load.announced |= expected.announced;
    };
    let weights = now.steering.0.get(client).map_or(&[][..], Vec::as_slice);
    let total: u64 = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
    if total == 0 {
        return add(client, 1.0);
    }
    for (server, weight) in weights {
        add(server.index() * classes + client % classes, f64::from(*weight) / total as f64);
    }
}

/// A surprise is what a share of errors as large as this did not exceed.
const SURPRISE: f64 = 0.99;
/// A surge is not carried beyond this many times what there is.
const SURGE_MOST: f64 = 3.0;

impl Client {
    /// Takes a window in: what came meets what was expected of it.
    fn follow(&mut self, at: Timestamp, sessions: Option<f64>, period: Duration) {
        self.forecaster.observe(at, sessions);
        self.surge = 0.0;
        while let Some(&(due, expected)) = self.pending.front()
            && due <= at
        {
            self.pending.pop_front();
            if let Some(sessions) = sessions
                && at.since(due) < period
            {
                let error = (sessions - expected) / Residuals::scale(expected);
                if error > self.residuals.quantile(SURPRISE) {
                    self.surge = (sessions - self.before.unwrap_or(sessions)).max(0.0);
                }
                self.residuals.take(expected, sessions.max(self.before.unwrap_or(sessions)));
            }
        }
        self.before = sessions;
    }
}

impl Server {
    /// The most that was needed within `hold`.
    fn keep(&mut self, at: Timestamp, hold: Duration, needed: u32) -> u32 {
        while self.recent.front().is_some_and(|(since, _)| at.since(*since) >= hold) {
            self.recent.pop_front();
        }
        while self.recent.back().is_some_and(|(_, vms)| *vms <= needed) {
            self.recent.pop_back();
        }
        self.recent.push_back((at, needed));
        self.recent.front().map_or(needed, |(_, vms)| *vms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lately_needed_is_kept_for_the_hold_time() {
        let mut server = Server { recent: VecDeque::new(), tuning: 1.0 };
        let hold = Duration::from_mins(5);
        let minute = |m: u64| Timestamp::from_secs(60 * m);
        let needs = [5, 9, 4, 4, 4, 4, 4, 3, 3];
        let kept: Vec<u32> = (0..).zip(needs).map(|(m, needed)| server.keep(minute(m), hold, needed)).collect();
        assert_eq!(kept, [5, 9, 9, 9, 9, 9, 4, 4, 4]);
    }
}
