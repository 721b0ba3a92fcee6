//! FLOW on Forebay's network: a closed loop of flows over 100 links, max-min fair; without slices, with three on every
//! host's link or on every link between regions, and solved naively, every flow from scratch at every completion.

#[path = "../../tests/flow/mod.rs"]
mod work;

use crate::{Measured, cpu_seconds};
use work::{Flow, Naive, Slicing};

#[derive(Clone, Copy)]
pub struct Work {
    pub flows: usize,
    pub timed: u64,
    pub warm_up: u64,
}

/// Completions that are timed at least: the work is done anew until there are as many.
const FEWEST: u64 = 20_000;

/// How many completions were timed, and how long they took; `None` when there is no such network.
pub fn run(network: &str, work: Work) -> Option<(u64, Measured)> {
    let slicing = match network {
        "network" => Slicing::None,
        "slices-access" => Slicing::Access,
        "slices-backbone" => Slicing::Backbone,
        "naive" => return Some(naive(work)),
        _ => return None,
    };
    let (mut operations, mut measured) = (0, Measured { cpu_seconds: 0.0, check: 0.0 });
    while operations < FEWEST {
        let mut flow = Flow::new(work.flows, slicing);
        flow.complete(work.warm_up as usize);
        let (began, then) = (cpu_seconds(), flow.now);
        flow.complete(work.timed as usize);
        measured.cpu_seconds += cpu_seconds() - began;
        measured.check = flow.now.since(then).as_secs_f64();
        operations += work.timed;
    }
    Some((operations, measured))
}

fn naive(work: Work) -> (u64, Measured) {
    let mut naive = Naive::new(work.flows);
    naive.complete(work.warm_up as usize);
    let (began, then) = (cpu_seconds(), naive.seconds);
    naive.complete(work.timed as usize);
    (work.timed, Measured { cpu_seconds: cpu_seconds() - began, check: naive.seconds - then })
}
