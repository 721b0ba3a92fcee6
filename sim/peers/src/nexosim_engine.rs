//! NeXosim on one thread: one model that schedules its own inputs. Its time is in nanoseconds and a delay is at least
//! one, so delays are rounded down and one is added.

use std::collections::VecDeque;
use std::time::Duration;

use nexosim::model::{Context, Model, schedulable};
use nexosim::ports::{EventSinkReader, Output, SinkState, event_queue};
use nexosim::simulation::{Mailbox, SimInit};
use nexosim::time::MonotonicTime;
use serde::{Deserialize, Serialize};

use crate::draws::Draws;
use crate::{Hold, Measured, cpu_seconds};

fn delay(seconds: f64) -> Duration {
    Duration::from_nanos((seconds * 1e9) as u64 + 1)
}

#[derive(Serialize, Deserialize)]
struct Holder {
    draws: Draws,
    pending: u32,
}

#[Model]
impl Holder {
    #[nexosim(init)]
    async fn init(&mut self, context: &Context<Self>, _: &mut ()) {
        for id in 0..self.pending {
            self.schedule(context, id);
        }
    }

    #[nexosim(schedulable)]
    async fn fire(&mut self, id: u32, context: &Context<Self>) {
        self.schedule(context, id);
    }

    fn schedule(&mut self, context: &Context<Self>, id: u32) {
        let delay = delay(self.draws.exponential());
        context.schedule_event(delay, schedulable!(Self::fire), id).expect("the delay is not zero");
    }
}

pub fn hold(work: Hold) -> Measured {
    let model = Holder { draws: Draws(42), pending: work.pending };
    let bench = SimInit::with_num_threads(1).add_model(model, Mailbox::new(), "holder");
    let mut simulation = bench.init(MonotonicTime::EPOCH).expect("the bench is sound");
    let mut run = |events: u64| (0..events).for_each(|_| simulation.step().expect("an event is pending"));
    run(work.warmup);
    let begin = cpu_seconds();
    run(work.events);
    let cpu_seconds = cpu_seconds() - begin;
    Measured { cpu_seconds, check: simulation.time().duration_since(MonotonicTime::EPOCH).as_secs_f64() }
}

#[derive(Serialize, Deserialize)]
struct Server {
    draws: Draws,
    customers: u64,
    arrived: u64,
    served: u64,
    busy: bool,
    waiting: VecDeque<MonotonicTime>,
    waited: Duration,
    done: Output<Duration>,
}

#[Model]
impl Server {
    #[nexosim(init)]
    async fn init(&mut self, context: &Context<Self>, _: &mut ()) {
        self.schedule_arrival(context);
    }

    #[nexosim(schedulable)]
    async fn arrive(&mut self, _: (), context: &Context<Self>) {
        self.arrived += 1;
        if self.arrived < self.customers {
            self.schedule_arrival(context);
        }
        if self.busy {
            self.waiting.push_back(context.time());
        } else {
            self.busy = true;
            self.schedule_departure(context);
        }
    }

    #[nexosim(schedulable)]
    async fn depart(&mut self, _: (), context: &Context<Self>) {
        self.served += 1;
        if let Some(since) = self.waiting.pop_front() {
            self.waited += context.time().duration_since(since);
            self.schedule_departure(context);
        } else {
            self.busy = false;
        }
        if self.served == self.customers {
            self.done.send(self.waited).await;
        }
    }

    fn schedule_arrival(&mut self, context: &Context<Self>) {
        let delay = delay(self.draws.exponential() / 0.8);
        context.schedule_event(delay, schedulable!(Self::arrive), ()).expect("the delay is not zero");
    }

    fn schedule_departure(&mut self, context: &Context<Self>) {
        let delay = delay(self.draws.exponential());
        context.schedule_event(delay, schedulable!(Self::depart), ()).expect("the delay is not zero");
    }
}

pub fn mm1(customers: u64) -> Measured {
    let begin = cpu_seconds();
    let mut model = Server {
        draws: Draws(7),
        customers,
        arrived: 0,
        served: 0,
        busy: false,
        waiting: VecDeque::new(),
        waited: Duration::ZERO,
        done: Output::default(),
    };
    let (sink, mut done) = event_queue(SinkState::Enabled);
    model.done.connect_sink(sink);
    let bench = SimInit::with_num_threads(1).add_model(model, Mailbox::new(), "server");
    let mut simulation = bench.init(MonotonicTime::EPOCH).expect("the bench is sound");
    simulation.run().expect("the run ends when nothing is scheduled");
    let waited: Duration = done.try_read().expect("all customers were served");
    Measured { cpu_seconds: cpu_seconds() - begin, check: waited.as_secs_f64() / customers as f64 }
}
