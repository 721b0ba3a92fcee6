//! Who works when: a thread for each hand, or all of them in turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};

use forebay_world::Duration;

use super::hands::{Did, Hand};
use crate::deployment::rollout::{Failure, Lane, Order, Outcome};
use crate::production::Production;

/// An order that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// The order.
    pub order: Order,
    /// What became of it.
    pub did: Did,
}

/// Carries orders out.
pub trait Crew {
    /// Takes an order. What becomes of it is heard later.
    fn send(&mut self, order: Order);

    /// Orders that are over.
    fn ended(&mut self) -> Vec<Ended>;

    /// Lets time pass that nobody else does: hands that have no thread look.
    fn look(&mut self);
}

/// The hands of a production, in a fixed order: hypervisors, links by region, the name server, those that warm.
pub struct Hands {
    /// One for each hypervisor.
    pub hypervisors: Vec<Box<dyn Hand>>,
    /// One for each region; none where nobody makes slices.
    pub links: Vec<Option<Box<dyn Hand>>>,
    /// The name server's.
    pub answers: Option<Box<dyn Hand>>,
    /// Those that warm machines up.
    pub warmth: Vec<Box<dyn Hand>>,
}

/// Which hand carries out the orders of a lane.
#[derive(Clone, Debug)]
struct Roster {
    hypervisor_of: Vec<Option<usize>>,
    /// Where each region's link is among all hands.
    links: Vec<Option<usize>>,
    answers: Option<usize>,
    warmth: std::ops::Range<usize>,
}

impl Roster {
    fn new(production: &Production, hands: Hands) -> (Roster, Vec<Box<dyn Hand>>) {
        let mut all = hands.hypervisors;
        let mut links = Vec::new();
        for link in hands.links {
            links.push(link.is_some().then_some(all.len()));
            all.extend(link);
        }
        let answers = hands.answers.is_some().then_some(all.len());
        all.extend(hands.answers);
        let warmth = all.len()..all.len() + hands.warmth.len();
        all.extend(hands.warmth);
        (Roster { hypervisor_of: production.hypervisor_of.clone(), links, answers, warmth }, all)
    }

    fn hand(&self, lane: Lane) -> Option<usize> {
        match lane {
            Lane::Host(host) => self.hypervisor_of.get(host.index()).copied().flatten(),
            Lane::Link(region) => self.links.get(region.index()).copied().flatten(),
            Lane::Answers => self.answers,
            Lane::Warmth(vm) => {
                let hands = self.warmth.len() as u64;
                (hands > 0).then(|| self.warmth.start + (vm.0 % hands.max(1)) as usize)
            }
        }
    }
}

fn nobody(order: Order, why: &str) -> Ended {
    let outcome = Outcome::Failed { failure: Failure::Transient, why: why.to_owned() };
    Ended { order, did: Did { outcome, writes: 0, remarks: Vec::new() } }
}

/// Hands that work one after the other, at once. For worlds whose time is not the wall's.
pub struct Inline {
    roster: Roster,
    hands: Vec<Box<dyn Hand>>,
    ended: Vec<Ended>,
}

impl Inline {
    /// A crew of these hands.
    pub fn new(production: &Production, hands: Hands) -> Inline {
        let (roster, hands) = Roster::new(production, hands);
        Inline { roster, hands, ended: Vec::new() }
    }
}

impl Crew for Inline {
    fn send(&mut self, order: Order) {
        let Some(hand) = self.roster.hand(order.lane) else {
            self.ended.push(nobody(order, "nobody works there"));
            return;
        };
        let did = self.hands[hand].carry_out(&order.task);
        self.ended.push(Ended { order, did });
    }

    fn ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    fn look(&mut self) {
        self.hands.iter_mut().for_each(|hand| hand.look());
    }
}

/// Hands with a thread each, which look every so often and after each order. They end when this is dropped.
pub struct Threads {
    roster: Roster,
    orders: Vec<Sender<Order>>,
    ended: Receiver<Ended>,
    /// Orders for which nobody was found.
    refused: Vec<Ended>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    /// A crew of these hands, each looking every `period`.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn start(production: &Production, hands: Hands, period: Duration) -> std::io::Result<Threads> {
        let (roster, hands) = Roster::new(production, hands);
        let (sender, ended) = channel();
        let mut crew = Threads { roster, orders: Vec::new(), ended, refused: Vec::new(), threads: Vec::new() };
        for (index, hand) in hands.into_iter().enumerate() {
            let (orders, receiver) = channel();
            let sender = sender.clone();
            let thread = thread::Builder::new().name(format!("hand-{index}"));
            crew.threads.push(thread.spawn(move || work(hand, &receiver, &sender, period))?);
            crew.orders.push(orders);
        }
        Ok(crew)
    }
}

/// A hand that panics has failed at this one thing; its lane must not wait for ever.
fn carry_out(hand: &mut dyn Hand, order: &Order) -> Did {
    catch_unwind(AssertUnwindSafe(|| hand.carry_out(&order.task))).unwrap_or_else(|_| {
        let why = "its worker panicked; this is a mistake of ours, and is on stderr".to_owned();
        Did { outcome: Outcome::Failed { failure: Failure::Transient, why }, writes: 0, remarks: Vec::new() }
    })
}

/// What a look that panics would have shown grows old, and is told as such.
fn look(hand: &mut dyn Hand) {
    let _ = catch_unwind(AssertUnwindSafe(|| hand.look()));
}

fn work(mut hand: Box<dyn Hand>, orders: &Receiver<Order>, ended: &Sender<Ended>, period: Duration) {
    let period = std::time::Duration::from_nanos(period.as_nanos());
    look(&mut *hand);
    loop {
        match orders.recv_timeout(period) {
            Ok(order) => {
                let did = carry_out(&mut *hand, &order);
                // What is seen before the end of an order is heard of says nothing of it.
                let is_heard = ended.send(Ended { order, did }).is_ok();
                look(&mut *hand);
                if !is_heard {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => look(&mut *hand),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Crew for Threads {
    fn send(&mut self, order: Order) {
        let Some(hand) = self.roster.hand(order.lane) else {
            self.refused.push(nobody(order, "nobody works there"));
            return;
        };
        if let Err(error) = self.orders[hand].send(order) {
            self.refused.push(nobody(error.0, "its worker has ended"));
        }
    }

    fn ended(&mut self) -> Vec<Ended> {
        let mut ended = std::mem::take(&mut self.refused);
        ended.extend(self.ended.try_iter());
        ended
    }

    fn look(&mut self) {}
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.orders.clear();
        for thread in self.threads.drain(..) {
            // A hand that panicked has said so on its own.
            let _ = thread.join();
        }
    }
}
