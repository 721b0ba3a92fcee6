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
}

/// What happens to customers, in the order in which it happens.
pub(crate) enum Sight<'a> {
    /// A customer is about to arrive from outside, and sees the stations thus.
    Arrives { stations: &'a [Station], customer: &'a Customer },
    /// It is turned away.
    Lost,
    /// Its service begins.
    Begins { station: usize, customer: &'a Customer },
    /// Its service is over.
    Departs { station: usize, customer: &'a Customer },
}

#[derive(Clone, Copy)]
enum Event {
    Arrival { source: u8 },
    Departure { station: u8, customer: Customer },
}

impl Line {
    /// One station for one source.
    pub(crate) fn single(source: Source, place: Place, customers: u32) -> Self {
        Line { sources: vec![source], places: vec![place], routing: vec![vec![0.0]], customers }
    }

    /// Runs until the last customer has left. Little's law is asserted at every station, under way and at the end.
    pub(crate) fn run(&self, seed: u64, mut on: impl FnMut(Timestamp, Sight)) -> Vec<Station> {
        let mut agenda = Agenda::new();
        let mut between: Vec<Stream> = streams(seed, "between", self.sources.len());
        let mut service: Vec<Stream> = streams(seed, "service", self.places.len());
        let mut turns: Vec<Stream> = streams(seed, "routing", self.places.len());
        let mut stations: Vec<Station> = (self.places.iter())
            .map(|p| Station::new(Timestamp::EPOCH, p.servers, p.waiting_places, p.service.len() as u8))
            .collect();
        for (index, source) in self.sources.iter().enumerate() {
            let at = Timestamp::EPOCH + seconds(source.between.draw(&mut between[index]) / source.rate);
            agenda.schedule(at, 0, Event::Arrival { source: index as u8 });
        }
        let mut arrived = 0;
        while let Some((now, event)) = agenda.pop() {
            let mut goes = None;
            match event {
                Event::Arrival { source: index } if arrived < self.customers => {
                    let source = &self.sources[usize::from(index)];
                    let gap = seconds(source.between.draw(&mut between[usize::from(index)]) / source.rate);
                    agenda.schedule(now + gap, 0, event);
                    if arrived % 4096 == 0 {
                        assert_littles_law(&stations, now);
                    }
                    goes = Some((source.station, source.priority, arrived, true));
                    arrived += 1;
                }
                Event::Arrival { .. } => {}
                Event::Departure { station, customer } => {
                    let from = usize::from(station);
                    on(now, Sight::Departs { station: from, customer: &customer });
                    if let Some(next) = stations[from].depart(now, &customer) {
                        on(now, Sight::Begins { station: from, customer: &next });
                        agenda.schedule(now + next.service, 0, Event::Departure { station, customer: next });
                    }
                    if let Some(to) = next_station(&self.routing[from], &mut turns[from]) {
                        goes = Some((to, customer.priority, customer.tag, false));
                    }
                }
            }
            if let Some((station, priority, tag, from_outside)) = goes {
                let to = usize::from(station);
                let (mean, law) = self.places[to].service[usize::from(priority)];
                let service = seconds(mean * law.draw(&mut service[to]));
                let customer = Customer { arrived: now, service, tag, priority };
                if from_outside {
                    on(now, Sight::Arrives { stations: &stations, customer: &customer });
                }
                match stations[to].arrive(customer) {
                    Admission::Served => {
                        on(now, Sight::Begins { station: to, customer: &customer });
                        agenda.schedule(now + service, 0, Event::Departure { station, customer });
                    }
                    Admission::Lost => on(now, Sight::Lost),
                    Admission::Queued => {}
                }
            }
        }
        assert_littles_law(&stations, agenda.now());
        assert!(stations.iter().all(|station| station.present().count() == 0));
        stations
    }
}

pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64_saturating(seconds)
}

fn streams(seed: u64, purpose: &str, entities: usize) -> Vec<Stream> {
    (0..entities as u64).map(|entity| Stream::new(seed, purpose, entity)).collect()
}

fn next_station(probabilities: &[f64], stream: &mut Stream) -> Option<u8> {
    if probabilities.iter().all(|&p| p == 0.0) {
        return None;
    }
    let mut left = stream.uniform();
    let mut chosen = probabilities.iter().position(|&p| {
        left -= p;
        left <= 0.0
    });
    chosen.take().map(|station| station as u8)
}

fn assert_littles_law(stations: &[Station], now: Timestamp) {
    for station in stations {
        let (area, spent) = station.littles_law(now);
        assert_eq!(area, spent, "Little's law at {now}");
    }
}
