//! A station of a queueing network: servers, room to wait, and an order of service.
//!
//! One type covers what theory has closed forms for (see [`crate::queueing`]): M/G/c first come first served, loss
//! systems, limited waiting rooms, non-preemptive priorities, and servers for everyone. The engine is validated with it.
//! A station holds no clock and draws nothing: whoever drives it has the future event list, and schedules a departure
//! for each customer whose service begins.
//! Not here: sharing a processor ([`crate::processor`]).
//!
//! ```
//! use forebay_sim::station::{Admission, Customer, Station};
//! use forebay_world::{Duration, Timestamp};
//!
//! let second = Timestamp::from_secs;
//! let customer = |at, tag| Customer { arrived: second(at), service: Duration::from_secs(3), priority: 0, tag };
//! let mut counter = Station::new(second(0), 1, Some(1), 1);
//! assert_eq!(counter.arrive(customer(0, 1)), Admission::Served); // departs at 3 s
//! assert_eq!(counter.arrive(customer(1, 2)), Admission::Queued);
//! assert_eq!(counter.arrive(customer(2, 3)), Admission::Lost);
//! let next = counter.depart(second(3), &customer(0, 1)).unwrap();
//! assert_eq!(next.tag, 2); // departs at 6 s
//! ```

use std::collections::VecDeque;

use forebay_world::{Duration, Timestamp};

use crate::statistics::Occupancy;

/// One who wants service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Customer {
    /// When it came to this station.
    pub arrived: Timestamp,
    /// How long it will be served.
    pub service: Duration,
    /// Its owner's name for it.
    pub tag: u32,
    /// 0 is served first.
    pub priority: u8,
}

/// What became of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Its service began: a departure is to be scheduled after [`Customer::service`].
    Served,
    /// It waits.
    Queued,
    /// There was no room.
    Lost,
}

/// A station, with what was counted there. See the module.
#[derive(Clone, Debug)]
pub struct Station {
    servers: u32,
    busy: u32,
    waiting_places: u64,
    /// One queue for each priority, the first served first.
    queues: Vec<VecDeque<Customer>>,
    present: Occupancy,
    waiting: Occupancy,
    arrivals: u64,
    lost: u64,
    departures: u64,
    /// Total time in the station of those who departed \[ns\].
    sojourn_nanos: u128,
    /// Sum of the instants at which those present arrived \[ns since the epoch\].
    arrived_nanos: u128,
}

impl Station {
    /// Empty at `now`, with `servers` (`u32::MAX` for servers enough), `waiting_places` (`None` for no limit) and
    /// `priorities` classes of customers. Panics when there are no priorities.
    pub fn new(now: Timestamp, servers: u32, waiting_places: Option<u64>, priorities: u8) -> Self {
        assert!(priorities > 0, "a station serves at least one class");
        Station {
            servers,
            busy: 0,
            waiting_places: waiting_places.unwrap_or(u64::MAX),
            queues: vec![VecDeque::new(); usize::from(priorities)],
            present: Occupancy::new(now, 0),
            waiting: Occupancy::new(now, 0),
            arrivals: 0,
            lost: 0,
            departures: 0,
            sojourn_nanos: 0,
            arrived_nanos: 0,
        }
    }

    /// `customer` arrives, at [`Customer::arrived`]. Panics when its priority is not one of the station's.
    pub fn arrive(&mut self, customer: Customer) -> Admission {
        let now = customer.arrived;
        self.arrivals += 1;
        let admission = if self.busy < self.servers {
            self.busy += 1;
            Admission::Served
        } else if self.waiting.count() < self.waiting_places {
            self.queues[usize::from(customer.priority)].push_back(customer);
            self.waiting.enter(now);
            Admission::Queued
        } else {
            self.lost += 1;
            return Admission::Lost;
        };
        self.present.enter(now);
        self.arrived_nanos += u128::from(now.as_nanos());
        admission
    }

    /// `customer`, who was being served, departs. Who is returned begins service at `now`: a departure is to be
    /// scheduled. Panics when nobody was being served.
    pub fn depart(&mut self, now: Timestamp, customer: &Customer) -> Option<Customer> {
        self.present.leave(now);
        self.departures += 1;
        self.sojourn_nanos += u128::from(now.since(customer.arrived).as_nanos());
        self.arrived_nanos -= u128::from(customer.arrived.as_nanos());
        let next = self.queues.iter_mut().find_map(VecDeque::pop_front);
        match next {
            Some(_) => self.waiting.leave(now),
            None => self.busy -= 1,
        }
        next
    }

    /// Customers in the station, waiting or served.
    pub fn present(&self) -> &Occupancy {
        &self.present
    }

    /// Customers waiting.
    pub fn waiting(&self) -> &Occupancy {
        &self.waiting
    }

    /// Customers who came, lost ones among them.
    pub fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// Customers who found no room.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Customers who were served.
    pub fn departures(&self) -> u64 {
        self.departures
    }

    /// Both sides of Little's law up to `now` \[customer × ns\]: the integral of the number present, and the time spent
    /// by everyone who departed or is still there. The two are counted apart and are equal (J. Little, Operations
    /// Research 1961), not within a tolerance but exactly.
    pub fn littles_law(&self, now: Timestamp) -> (u128, u128) {
        let still_there = u128::from(self.present.count()) * u128::from(now.as_nanos()) - self.arrived_nanos;
        (self.present.entity_nanos(now), self.sojourn_nanos + still_there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customer(second: u64, priority: u8, tag: u32) -> Customer {
        Customer { arrived: Timestamp::from_secs(second), service: Duration::from_secs(1), tag, priority }
    }

    #[test]
    fn priority_goes_first_and_within_it_who_came_first() {
        let mut station = Station::new(Timestamp::EPOCH, 1, None, 2);
        let first = customer(0, 1, 0);
        assert_eq!(station.arrive(first), Admission::Served);
        for waiting in [customer(1, 1, 1), customer(2, 0, 2), customer(3, 1, 3), customer(4, 0, 4)] {
            assert_eq!(station.arrive(waiting), Admission::Queued);
        }
        let mut serving = first;
        let mut order = Vec::new();
        for second in 10.. {
            let Some(next) = station.depart(Timestamp::from_secs(second), &serving) else { break };
            order.push(next.tag);
            serving = next;
        }
        assert_eq!(order, [2, 4, 1, 3]);
        assert_eq!((station.departures(), station.present().count(), station.waiting().peak()), (5, 0, 4));
    }

    #[test]
    fn a_loss_system_has_no_queue() {
        let mut station = Station::new(Timestamp::EPOCH, 2, Some(0), 1);
        let admissions = [0, 1, 2].map(|tag| station.arrive(customer(0, 0, tag)));
        assert_eq!(admissions, [Admission::Served, Admission::Served, Admission::Lost]);
        assert_eq!((station.arrivals(), station.lost()), (3, 1));
        assert_eq!(station.depart(Timestamp::from_secs(1), &customer(0, 0, 0)), None);
        assert_eq!(station.arrive(customer(1, 0, 3)), Admission::Served);
    }

    #[test]
    fn littles_law_holds_with_customers_still_there() {
        let mut station = Station::new(Timestamp::from_secs(5), 1, None, 1);
        station.arrive(customer(7, 0, 0));
        station.arrive(customer(9, 0, 1));
        station.depart(Timestamp::from_secs(11), &customer(7, 0, 0));
        let (area, spent) = station.littles_law(Timestamp::from_secs(12));
        assert_eq!((area, spent), (7_000_000_000, 7_000_000_000));
    }
}
