//! What there is: regions, hosts, links, flavours of virtual machines, and classes of work.
//!
//! A topology is dense and index-addressed: a [`RegionId`] is a position in [`Topology::regions`]. Names are for
//! people; a journal carries the topology in its header, so an id in a journal can always be named.

use serde::{Deserialize, Serialize};

use crate::{BitsPerSecond, Bytes, Cpu, Duration};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// Position in the topology's list.
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            /// The id of the element at `index`.
            pub fn at(index: usize) -> Self {
                $name(<$inner>::try_from(index).expect("a topology has fewer elements than its ids can count"))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// Position of a region in [`Topology::regions`].
    RegionId(u16)
);
id!(
    /// Position of a host in [`Topology::hosts`].
    HostId(u32)
);
id!(
    /// Position of a link in [`Topology::links`].
    LinkId(u16)
);
id!(
    /// Position of a resource class in [`Topology::classes`].
    ClassId(u8)
);
id!(
    /// Position of a flavour in [`Topology::flavours`].
    FlavourId(u8)
);
id!(
    /// A slice: one region's access link as seen by one class. See [`Topology::slice`].
    SliceId(u32)
);

/// Everything that stands still while demand moves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// Where hosts stand and clients live.
    pub regions: Vec<Region>,
    /// Machines that virtual machines run on; hosts of one region need not be neighbours in the list.
    pub hosts: Vec<Host>,
    /// Access links of regions and links between them.
    pub links: Vec<Link>,
    /// Kinds of work, each with its own objective.
    pub classes: Vec<ResourceClass>,
    /// Configurations a virtual machine can have.
    pub flavours: Vec<Flavour>,
}

impl Topology {
    /// Number of region × class cells: the length of every dense list over both.
    pub fn cells(&self) -> usize {
        self.regions.len() * self.classes.len()
    }

    /// Position of a region × class cell in a dense list.
    pub fn cell(&self, region: RegionId, class: ClassId) -> usize {
        region.index() * self.classes.len() + class.index()
    }

    /// The region and class of a position in a dense list: the inverse of [`Topology::cell`].
    pub fn cell_at(&self, cell: usize) -> (RegionId, ClassId) {
        (RegionId::at(cell / self.classes.len()), ClassId::at(cell % self.classes.len()))
    }

    /// The slice of `class` on the access link of `region`.
    pub fn slice(&self, region: RegionId, class: ClassId) -> SliceId {
        SliceId::at(self.cell(region, class))
    }

    /// All region × class cells, in dense order.
    pub fn cell_ids(&self) -> impl Iterator<Item = (RegionId, ClassId)> + '_ {
        let classes = self.classes.len();
        (0..self.regions.len())
            .flat_map(move |region| (0..classes).map(move |class| (RegionId::at(region), ClassId::at(class))))
    }

    /// The region, by id.
    pub fn region(&self, id: RegionId) -> &Region {
        &self.regions[id.index()]
    }

    /// The class, by id.
    pub fn class(&self, id: ClassId) -> &ResourceClass {
        &self.classes[id.index()]
    }

    /// The flavour that virtual machines of `class` have.
    pub fn flavour_of(&self, class: ClassId) -> &Flavour {
        &self.flavours[self.class(class).flavour.index()]
    }

    /// How many sessions of `class` one of its virtual machines serves within the objective: see
    /// [`ResourceClass::sessions_on`].
    pub fn sessions_per_vm(&self, class: ClassId) -> f64 {
        self.class(class).sessions_on(self.flavour_of(class))
    }
}

/// A place with hosts and clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// Short name, unique: `ams`.
    pub name: String,
    /// Latitude \[degrees north\].
    pub lat: f64,
    /// Longitude \[degrees east\].
    pub lon: f64,
    /// IANA time zone: `Europe/Amsterdam`.
    pub time_zone: String,
    /// The link between this region's virtual machines and the clients they serve.
    pub access: LinkId,
}

/// A machine that runs virtual machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Unique name: `ams-003`.
    pub name: String,
    /// Where it stands.
    pub region: RegionId,
    /// Processors \[1/1000 vCPU\].
    pub cpu: Cpu,
    /// Memory \[byte\].
    pub memory: Bytes,
    /// Network interface \[bit/s\].
    pub bandwidth: BitsPerSecond,
    /// Virtual machines it boots at the same time; others wait their turn.
    pub concurrent_boots: u32,
}

/// A link with a capacity that its flows share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Unique name: `ams-access`, `ams-fra`.
    pub name: String,
    /// What it joins.
    pub ends: LinkEnds,
    /// Capacity, in each direction \[bit/s\].
    pub capacity: BitsPerSecond,
    /// One-way delay.
    pub delay: Duration,
}

/// What a link joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkEnds {
    /// A region's virtual machines and the world outside.
    Access(RegionId),
    /// Two regions.
    Between(RegionId, RegionId),
}

/// A configuration of virtual machine, its price and its time to ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flavour {
    /// Unique name: `edge-8`.
    pub name: String,
    /// Processors \[1/1000 vCPU\].
    pub cpu: Cpu,
    /// Memory \[byte\].
    pub memory: Bytes,
    /// Network interface \[bit/s\].
    pub bandwidth: BitsPerSecond,
    /// Price of one hour, from request to destruction \[currency unit / h\].
    pub price_per_hour: f64,
    /// Median of the time from request to booted.
    pub boot_median: Duration,
    /// Standard deviation of the logarithm of the boot time (the boot time is log-normal).
    pub boot_sigma: f64,
    /// Time from booted to ready, while caches fill and health checks pass.
    pub warm_up: Duration,
}

impl Flavour {
    /// The time to ready that `share` of launches keep within (`z` is the normal quantile of that share): what a
    /// planner must look ahead. Queueing for a boot slot on a busy host comes on top.
    pub fn time_to_ready(&self, z: f64) -> Duration {
        self.boot_median.mul_f64((self.boot_sigma * z).exp()).saturating_add(self.warm_up)
    }
}

/// A kind of work with its own needs and its own objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceClass {
    /// Unique name: `video`.
    pub name: String,
    /// How a session of this class uses a virtual machine and a link.
    pub work: Work,
    /// Processors a session uses; for interactive work it follows from the requests, and this must be zero.
    pub cpu: Cpu,
    /// Memory a session uses.
    pub memory: Bytes,
    /// The flavour its virtual machines have.
    pub flavour: FlavourId,
    /// Who goes first when slices cannot all be served: 0 is first.
    pub priority: u8,
    /// When a minute counts as violated.
    pub slo: Slo,
    /// What a violated minute of one region costs the operator \[currency unit / min\].
    pub violation_price_per_minute: f64,
}

impl ResourceClass {
    /// How many sessions one machine of `flavour` serves within the objective: the least that its processors, memory or
    /// network interface allow.
    pub fn sessions_on(&self, flavour: &Flavour) -> f64 {
        let per = |room: f64, need: f64| if need > 0.0 { room / need } else { f64::INFINITY };
        per(flavour.cpu.as_f64(), self.cpu_per_session().as_f64())
            .min(per(flavour.memory.as_f64(), self.memory.as_f64()))
            .min(per(flavour.bandwidth.as_f64(), self.work.bandwidth_per_session().as_f64()))
    }

    /// Mean processor use of one session \[1/1000 vCPU\].
    pub fn cpu_per_session(&self) -> Cpu {
        match self.work {
            Work::Interactive { requests_per_second, service, .. } => {
                Cpu::from_f64(requests_per_second * service.as_secs_f64() * 1000.0)
            }
            Work::Streaming { .. } | Work::Download { .. } => self.cpu,
        }
    }
}

/// How a session uses what it is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Video streaming: holds a bit rate for a while.
    Streaming {
        /// Rate it needs \[bit/s\].
        bit_rate: BitsPerSecond,
        /// Mean time watched.
        duration: Duration,
    },
    /// Bulk download: an elastic flow of some size.
    Download {
        /// Mean size.
        size: Bytes,
        /// The most one client can take \[bit/s\].
        rate: BitsPerSecond,
    },
    /// Interactive: short requests that share a virtual machine's processors.
    Interactive {
        /// Requests a session sends \[1/s\].
        requests_per_second: f64,
        /// Mean processor time of a request.
        service: Duration,
        /// Size of a response.
        response: Bytes,
        /// Mean time a session lasts.
        duration: Duration,
    },
}

impl Work {
    /// Mean rate of one undisturbed session \[bit/s\].
    pub fn bandwidth_per_session(&self) -> BitsPerSecond {
        match *self {
            Work::Streaming { bit_rate, .. } => bit_rate,
            Work::Download { rate, .. } => rate,
            Work::Interactive { requests_per_second, response, .. } => {
                BitsPerSecond::from_f64(requests_per_second * response.bits())
            }
        }
    }

    /// Mean length of an undisturbed session \[s\].
    pub fn mean_seconds(&self) -> f64 {
        match *self {
            Work::Streaming { duration, .. } | Work::Interactive { duration, .. } => duration.as_secs_f64(),
            Work::Download { size, rate } => size.bits() / rate.as_f64(),
        }
    }
}

/// A service level objective, judged minute by minute for each region × class.
///
/// Bad is, for streaming, the session time below the bit rate and each start-up later than `latency`; for downloads,
/// the session time below `rate_floor`; for interactive work, a request later than `latency`; for all, a session turned
/// away, against those that want to begin, and one cut off, against those under way. A minute is violated when one of
/// these shares is above `tolerance`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slo {
    /// Start-up delay (streaming) or response time (interactive) that is still good.
    pub latency: Duration,
    /// Throughput that is still good, as a share of what an undisturbed session gets, 0 to 1.
    pub rate_floor: f64,
    /// Share of bad in a minute that is still tolerated, 0 to 1.
    pub tolerance: f64,
}
