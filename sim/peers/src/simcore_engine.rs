//! simcore, the engine of DSLab: one component that sends events to itself.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use serde::Serialize;
use simcore::{Event, EventHandler, Simulation, SimulationContext, cast};

use crate::draws::Draws;
use crate::{Hold, Measured, cpu_seconds};

#[derive(Clone, Serialize)]
struct Pending {
    id: u32,
}

struct Holder {
    draws: Draws,
    context: SimulationContext,
}

impl EventHandler for Holder {
    fn on(&mut self, event: Event) {
        cast!(match event.data {
            Pending { id } => {
                let delay = self.draws.exponential();
                self.context.emit_self(Pending { id }, delay);
            }
        })
    }
}

pub fn hold(work: Hold) -> Measured {
    let mut simulation = Simulation::new(1);
    let context = simulation.create_context("holder");
    let mut draws = Draws(42);
    for id in 0..work.pending {
        context.emit_self(Pending { id }, draws.exponential());
    }
    simulation.add_handler("holder", Rc::new(RefCell::new(Holder { draws, context })));
    simulation.steps(work.warmup);
    let begin = cpu_seconds();
    simulation.steps(work.events);
    Measured { cpu_seconds: cpu_seconds() - begin, check: simulation.time() }
}

#[derive(Clone, Serialize)]
struct Arrival {}

#[derive(Clone, Serialize)]
struct Departure {}

struct Server {
    draws: Draws,
    context: SimulationContext,
    customers: u64,
    arrived: u64,
    served: u64,
    busy: bool,
    waiting: VecDeque<f64>,
    waited: f64,
}

impl EventHandler for Server {
    fn on(&mut self, event: Event) {
        cast!(match event.data {
            Arrival {} => {
                self.arrived += 1;
                if self.arrived < self.customers {
                    let delay = self.draws.exponential() / 0.8;
                    self.context.emit_self(Arrival {}, delay);
                }
                if self.busy {
                    self.waiting.push_back(self.context.time());
                } else {
                    self.busy = true;
                    let delay = self.draws.exponential();
                    self.context.emit_self(Departure {}, delay);
                }
            }
            Departure {} => {
                self.served += 1;
                if let Some(since) = self.waiting.pop_front() {
                    self.waited += self.context.time() - since;
                    let delay = self.draws.exponential();
                    self.context.emit_self(Departure {}, delay);
                } else {
                    self.busy = false;
                }
            }
        })
    }
}

pub fn mm1(customers: u64) -> Measured {
    let begin = cpu_seconds();
    let mut simulation = Simulation::new(1);
    let context = simulation.create_context("server");
    let mut draws = Draws(7);
    context.emit_self(Arrival {}, draws.exponential() / 0.8);
    let server = Rc::new(RefCell::new(Server {
        draws,
        context,
        customers,
        arrived: 0,
        served: 0,
        busy: false,
        waiting: VecDeque::new(),
        waited: 0.0,
    }));
    simulation.add_handler("server", server.clone());
    simulation.step_until_no_events();
    let waited = server.borrow().waited;
    Measured { cpu_seconds: cpu_seconds() - begin, check: waited / customers as f64 }
}
