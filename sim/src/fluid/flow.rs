//! What the steps need to know of a class and of a cell, worked out once.

use forebay_world::{ClassId, RegionId, Topology, Work};

use crate::Setup;
use crate::content::CacheCurve;
use crate::queueing;
use crate::session::START_ROUND_TRIPS;

/// A class, as the fluid sees it.
#[derive(Clone, Debug)]
pub(super) struct ClassFlow {
    /// Sessions that a machine has places for.
    pub(super) places: f64,
    /// Sessions from which on a machine gives each too little.
    pub(super) short_from: f64,
    /// Mean length of an undisturbed session \[s\].
    pub(super) length: f64,
    /// Rate that a session wants \[bit/s\].
    pub(super) cap: f64,
    /// Processors that a session uses \[core\].
    pub(super) cores: f64,
    /// Start-up delay or response time that is still good \[s\].
    pub(super) latency: f64,
    /// Time that fetching from the origin adds \[s\].
    pub(super) origin: f64,
    /// Chance that content is found in a warm cache.
    pub(super) hit: f64,
    pub(super) cache: CacheCurve,
    pub(super) kind: Kind,
}

/// A class's work.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Streaming,
    Download,
    Interactive(Response),
}

/// Mean response time of M/M/c processor sharing, tabulated over the use of the cores.
#[derive(Clone, Debug)]
pub(super) struct Response {
    /// Requests of a session \[1/s\].
    pub(super) requests_per_second: f64,
    /// Use of the cores by one session [core].
    load_per_session: f64,
    cores: f64,
    service: f64,
    /// The chance that all cores are busy, at uses 0, 1/256, …, 1 (Erlang C: smooth, unlike the response time).
    busy: Vec<f64>,
}

impl ClassFlow {
    pub(super) fn new(setup: &Setup, class_id: ClassId, places: f64, cache: CacheCurve) -> Self {
        let topology = &setup.topology;
        let class = topology.class(class_id);
        ClassFlow {
            places,
            short_from: places / class.slo.rate_floor,
            length: class.work.mean_seconds(),
            cap: class.work.bandwidth_per_session().as_f64(),
            cores: class.cpu_per_session().cores(),
            latency: class.slo.latency.as_secs_f64(),
            origin: setup.content.origin_delay.as_secs_f64(),
            hit: cache.steady(),
            cache,
            kind: match class.work {
                Work::Streaming { .. } => Kind::Streaming,
                Work::Download { .. } => Kind::Download,
                Work::Interactive { requests_per_second, service, .. } => {
                    let cores = topology.flavour_of(class_id).cpu.cores().round().max(1.0);
                    Kind::Interactive(Response::new(requests_per_second, service.as_secs_f64(), cores))
                }
            },
        }
    }

    /// Start-up delay of content that a machine has, for clients that far away one way \[s\].
    pub(super) fn start_up(&self, delay: f64) -> f64 {
        START_ROUND_TRIPS * 2.0 * delay
    }

    /// Share of starts that are late when clients are that far away one way \[s\].
    pub(super) fn late_starts(&self, delay: f64) -> f64 {
        if !matches!(self.kind, Kind::Streaming) {
            return 0.0;
        }
        let late = |origin: f64| f64::from(u8::from(self.start_up(delay) + origin > self.latency));
        self.hit * late(0.0) + (1.0 - self.hit) * late(self.origin)
    }
}

impl Response {
    const STEPS: usize = 256;

    fn new(requests_per_second: f64, service: f64, cores: f64) -> Self {
        let busy = |step: usize| match step {
            Response::STEPS => 1.0,
            _ => queueing::erlang_c(cores as u32, cores * step as f64 / Response::STEPS as f64),
        };
        let busy = (0..=Response::STEPS).map(busy).collect();
        Response { requests_per_second, load_per_session: requests_per_second * service, cores, service, busy }
    }

    /// Mean response time with that many sessions \[s\]; infinite when they want more than there is.
    #[inline]
    pub(super) fn mean(&self, sessions: f64) -> f64 {
        let used = sessions * self.load_per_session / self.cores;
        if used >= 1.0 {
            return f64::INFINITY;
        }
        let place = used * Self::STEPS as f64;
        let low = place as usize;
        let part = place - low as f64;
        let busy = self.busy[low] + (self.busy[low + 1] - self.busy[low]) * part;
        self.service * (1.0 + busy / (self.cores * (1.0 - used)))
    }
}

/// A region × class, as the fluid sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellFlow {
    pub(super) region: RegionId,
    pub(super) class: ClassId,
    /// What the way to clients next door leaves a request of the time that is still good \[s\].
    pub(super) allowed: f64,
}

impl CellFlow {
    pub(super) fn new(topology: &Topology, region: RegionId, class: ClassId) -> Self {
        let access = &topology.links[topology.region(region).access.index()];
        let allowed = topology.class(class).slo.latency.as_secs_f64() - 2.0 * access.delay.as_secs_f64();
        CellFlow { region, class, allowed }
    }
}
