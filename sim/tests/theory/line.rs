//! An open network of stations, driven by the agenda.

use forebay_sim::station::{Admission, Customer, Station};
use forebay_sim::{Agenda, Stream};
use forebay_world::{Duration, Timestamp};

use super::Law;

/// Poisson or other arrivals from outside.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) rate: f64,
    pub(crate) between: Law,
    pub(crate) station: u8,
    pub(crate) priority: u8,
}

impl Source {
    pub(crate) fn poisson(rate: f64) -> Self {
        Source { rate, between: Law::Exponential, station: 0, priority: 0 }
    }
}

/// A station, and how long it serves each priority: mean \[s\] and law.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) servers: u32,
    pub(crate) waiting_places: Option<u64>,
    pub(crate) service: Vec<(f64, Law)>,
}

impl Place {
    pub(crate) fn new(servers: u32, mean_service: f64, law: Law) -> Self {
        Place { servers, waiting_places: None, service: vec![(mean_service, law)] }
    }
}

#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) sources: Vec<Source>,
    pub(crate) places: Vec<Place>,
    /// Probability of going to each station after each; the rest leaves.
    pub(crate) routing: Vec<Vec<f64>>,
    /// Customers from outside, in all.
    pub(crate) customers: u32,
    /// Customers who are in the network from the start, at the first station, and for whose sake the run goes on until
    /// `customers` have departed from a station.
    pub(crate) circulating: u32,
}

/// What happens to customers, in the order in which it happens.
pub(crate) enum Sight<'a> {
    /// A customer is about to arrive from outside, after `tag` others, and sees the stations thus.
    Arrives { stations: &'a [Station], tag: u32 },
    /// It is turned away.
    Lost,
    /// Its service begins.
    Begins { customer: &'a Customer },
    /// Its service is over, and it is about to leave the station.
    Departs { stations: &'a [Station], customer: &'a Customer },
}

#[derive(Clone, Copy)]
enum Event {
    Arrival { source: u8 },
    Departure { station: u8, customer: Customer },
}

impl Line {
    /// One station for one source.
    pub(crate) fn single(source: Source, place: Place, customers: u32) -> Self {
        Line { sources: vec![source], places: vec![place], routing: vec![vec![0.0]], customers, circulating: 0 }
    }

    /// Runs until the last customer from outside has left, or those who circulate have made `customers` departures.
    /// Little's law is asserted at every station, under way and at the end.
    pub(crate) fn run(&self, seed: u64, on: impl FnMut(Timestamp, Sight)) -> Vec<Station> {
        let station = |p: &Place| Station::new(Timestamp::EPOCH, p.servers, p.waiting_places, p.service.len() as u8);
        let mut run = Run {
            line: self,
            agenda: Agenda::new(),
            stations: self.places.iter().map(station).collect(),
            between: streams(seed, "between", self.sources.len()),
            service: streams(seed, "service", self.places.len()),
            turns: streams(seed, "routing", self.places.len()),
            arrived: 0,
            on,
        };
        (0..self.sources.len()).for_each(|index| run.schedule_arrival(index as u8));
        (0..self.circulating).for_each(|tag| run.enter(0, 0, tag));
        let mut departures = 0;
        while let Some((now, event)) = run.agenda.pop() {
            match event {
                Event::Arrival { source } => run.arrive(source),
                Event::Departure { station, customer } => {
                    run.depart(now, station, customer);
                    departures += 1;
                }
            }
            if self.circulating > 0 && departures == self.customers {
                break;
            }
        }
        run.assert_littles_law();
        assert!(self.circulating > 0 || run.stations.iter().all(|station| station.present().count() == 0));
        run.stations
    }
}

/// A line under way.
struct Run<'a, F> {
    line: &'a Line,
    agenda: Agenda<Event>,
    stations: Vec<Station>,
    between: Vec<Stream>,
    service: Vec<Stream>,
    turns: Vec<Stream>,
    /// Customers from outside so far.
    arrived: u32,
    on: F,
}

impl<F: FnMut(Timestamp, Sight)> Run<'_, F> {
    fn schedule_arrival(&mut self, source: u8) {
        let Source { rate, between, .. } = self.line.sources[usize::from(source)];
        let gap = between.draw(&mut self.between[usize::from(source)]) / rate;
        self.agenda.schedule_in(seconds(gap), 0, Event::Arrival { source });
    }

    /// A customer arrives from outside, if any are left.
    fn arrive(&mut self, source: u8) {
        if self.arrived == self.line.customers {
            return;
        }
        self.schedule_arrival(source);
        if self.arrived.is_multiple_of(4096) {
            self.assert_littles_law();
        }
        let Source { station, priority, .. } = self.line.sources[usize::from(source)];
        let tag = self.arrived;
        self.arrived += 1;
        (self.on)(self.agenda.now(), Sight::Arrives { stations: &self.stations, tag });
        self.enter(station, priority, tag);
    }

    /// A customer comes to a station, from wherever.
    fn enter(&mut self, station: u8, priority: u8, tag: u32) {
        let (now, to) = (self.agenda.now(), usize::from(station));
        let (mean, law) = self.line.places[to].service[usize::from(priority)];
        let service = seconds(mean * law.draw(&mut self.service[to]));
        let customer = Customer { arrived: now, service, tag, priority };
        match self.stations[to].arrive(customer) {
            Admission::Served => self.begin(now, station, customer),
            Admission::Lost => (self.on)(now, Sight::Lost),
            Admission::Queued => {}
        }
    }

    fn begin(&mut self, now: Timestamp, station: u8, customer: Customer) {
        (self.on)(now, Sight::Begins { customer: &customer });
        self.agenda.schedule(now + customer.service, 0, Event::Departure { station, customer });
    }

    fn depart(&mut self, now: Timestamp, station: u8, customer: Customer) {
        let from = usize::from(station);
        (self.on)(now, Sight::Departs { stations: &self.stations, customer: &customer });
        if let Some(next) = self.stations[from].depart(now, &customer) {
            self.begin(now, station, next);
        }
        if let Some(to) = next_station(&self.line.routing[from], &mut self.turns[from]) {
            self.enter(to, customer.priority, customer.tag);
        }
    }

    fn assert_littles_law(&self) {
        let now = self.agenda.now();
        for station in &self.stations {
            let (area, spent) = station.littles_law(now);
            assert_eq!(area, spent, "Little's law at {now}");
        }
    }
}

pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64_saturating(seconds)
}

fn streams(seed: u64, purpose: &str, entities: usize) -> Vec<Stream> {
    (0..entities as u64).map(|entity| Stream::new(seed, purpose, entity)).collect()
}

/// Where to, after a station with these probabilities; `None` for out.
fn next_station(probabilities: &[f64], stream: &mut Stream) -> Option<u8> {
    if probabilities.iter().all(|&p| p == 0.0) {
        return None;
    }
    let mut left = stream.uniform();
    let chosen = probabilities.iter().position(|&p| {
        left -= p;
        left <= 0.0
    });
    chosen.map(|station| station as u8)
}
