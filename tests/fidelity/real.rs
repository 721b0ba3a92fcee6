//! What a real link does.

use std::time::{Duration, Instant};

use forebay_adapters::slices::{Gate, SliceExecutor};
use forebay_world::SliceId;

use crate::Trial;
use crate::lab::{Lab, Switch};
use crate::table::Load;
use crate::{sliced, traffic};

/// Sources of the lab: as many as any configuration has slices.
const SOURCES: usize = 3;

/// A lab whose slices are changed from trial to trial, as plans would.
pub(crate) struct Real {
    lab: Lab,
    switch: Switch,
    executor: Box<dyn SliceExecutor>,
    generation: u64,
}

/// What a slice got, in Mbit/s of frames.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    /// By what the sink's sockets received: the mean of the seconds, the worst and the best.
    pub(crate) mean: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// What was sent, or tried to.
    pub(crate) sent: f64,
    /// By what the class counted in the same time. More than was received: sent twice, or lost behind the link.
    pub(crate) class: f64,
}

impl Real {
    pub(crate) fn new(switch: Switch) -> Real {
        let lab = Lab::new(SOURCES, switch);
        let executor = sliced::executor(&lab);
        Real { lab, switch, executor, generation: 0 }
    }

    /// Makes the slices of a trial stand, verified.
    pub(crate) fn stand(&mut self, trial: Trial) {
        self.generation += 1;
        let terms = trial.configuration.terms(trial.link_mbit_per_s);
        let wanted = sliced::slices(&self.lab, self.switch, self.generation, trial.link_mbit_per_s, &terms);
        self.executor.apply(&wanted, &mut Gate::open()).unwrap_or_else(|error| panic!("{trial:?}: {error}"));
    }

    /// Loads the link for so many seconds, of which the first does not count.
    pub(crate) fn measure(&mut self, trial: Trial, seconds: u64) -> Vec<Measured> {
        let slices = &trial.configuration.slices;
        let load = |(source, slice): (usize, &crate::table::Slice)| match slice.load {
            Load::Idle => None,
            Load::Udp(_) => {
                let rate = traffic::Load::udp(source, 1.0).payload(slice.load.offered(trial.link_mbit_per_s));
                Some((source, traffic::Load::udp(source, rate)))
            }
            Load::Tcp(flows) => Some((source, traffic::Load::tcp(source, flows))),
        };
        let loads: Vec<(usize, traffic::Load)> = slices.iter().enumerate().filter_map(load).collect();
        let plain: Vec<traffic::Load> = loads.iter().map(|(_, load)| *load).collect();
        let counted = |since: Duration| {
            std::thread::sleep(since);
            (Instant::now(), sliced::class_bytes(&self.lab, self.switch))
        };
        let (received, before, after) = std::thread::scope(|scope| {
            let counts = scope.spawn(|| {
                let before = counted(Duration::from_millis(1000));
                (before, counted(Duration::from_millis(1000 * seconds - 1200)))
            });
            let received = traffic::measure(&self.lab, &plain, seconds);
            let (before, after) = counts.join().unwrap();
            (received, before, after)
        });
        let counted_s = (after.0 - before.0).as_secs_f64();
        let mut measured = vec![Measured::default(); slices.len()];
        for ((source, load), got) in loads.iter().zip(received) {
            let id = SliceId::at(*source);
            let [mean, min, max, sent] = [got.mean, got.min, got.max, got.sent].map(|rate| load.on_the_link(rate));
            let class = (after.1[&id] - before.1[&id]) as f64 * 8.0 / 1e6 / counted_s;
            measured[*source] = Measured { mean, min, max, sent, class };
        }
        measured
    }
}
