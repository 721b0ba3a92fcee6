//! One region in one interval: its claims, the mix of machines for them, and their hosts.

use std::collections::BTreeMap;

use forebay_world::{ClassId, Room};

use super::capacity::Offer;
use super::market::{Kind, Market};
use super::mix::{self, Ask, Claim, Machines, Mix};
use super::packing::{self, Packing};

/// What a region has and what is offered there; it remembers how it packed what.
#[derive(Clone, Debug)]
pub struct Region<'a> {
    /// What each class can be served by.
    pub offers: &'a [Vec<Offer>],
    /// Prices.
    pub market: &'a Market,
    /// What a machine of each flavour takes.
    pub sizes: &'a [Room],
    /// What each host has.
    pub rooms: Vec<Room>,
    /// Bandwidth of a session of each class \[bit/s\].
    pub bandwidths: &'a [f64],
    /// Bandwidth that the access link has for sessions \[bit/s\].
    pub access: f64,
    /// The most machines of each class.
    pub ceilings: Vec<u32>,
    /// Packings by the number of machines of each flavour.
    pub packed: BTreeMap<Vec<u32>, Packing>,
}

/// What a region has for its claims.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The claims.
    pub claims: Vec<Claim>,
    /// The machines, and what they leave unserved of each claim.
    pub mix: Mix,
    /// Their hosts.
    pub packing: Packing,
}

impl Answer {
    /// Sessions of `class` that are not served, of all claims.
    pub fn unserved(&self, class: ClassId) -> f64 {
        let of = self.claims.iter().zip(&self.mix.unserved).filter(|(claim, _)| claim.class == class);
        of.map(|(_, left)| left).sum()
    }
}

impl Region<'_> {
    /// Machines and hosts for `claims`, after those of `before` where any stood, for about so many `hours`.
    pub fn answer(&mut self, claims: Vec<Claim>, before: Option<&Answer>, hours: f64) -> Answer {
        if let Some(before) = before
            && alike(&before.claims, &claims)
            && mix::left_by(self.offers, &claims, &before.mix.machines).iter().all(|left| *left <= 0.0)
            && self.load(&claims) <= self.access
        {
            let mix = Mix { unserved: vec![0.0; claims.len()], ..before.mix.clone() };
            return Answer { claims, mix, packing: before.packing.clone() };
        }
        let ask = Ask {
            offers: self.offers,
            market: self.market,
            sizes: self.sizes,
            rooms: &self.rooms,
            bandwidths: self.bandwidths,
            access: self.access,
            ceilings: &self.ceilings,
            claims: &claims,
            standing: before.map(|before| &before.mix.machines),
            hours,
        };
        let mix = mix::solve(&ask);
        let counts = mix::by_flavour(self.sizes.len(), &mix.machines);
        let packing = self
            .packed
            .entry(counts)
            .or_insert_with_key(|counts| packing::pack(&self.rooms, self.sizes, counts))
            .clone();
        if packing.is_whole() {
            return Answer { claims, mix, packing };
        }
        // Together they had room, one by one they have not.
        let without = self.without(&claims, mix, packing);
        let whole = mix::solve_on_hosts(&ask).and_then(|mut mix| {
            let hosts = mix.hosts.take()?;
            let counts = mix::by_flavour(self.sizes.len(), &mix.machines);
            let method = match mix.method {
                mix::Method::Exact => packing::Method::Exact,
                _ => packing::Method::BranchAndBound,
            };
            let packing = packing::given(&self.rooms, self.sizes, &counts, hosts, method)?;
            Some(Answer { claims: claims.clone(), mix, packing })
        });
        let left = |answer: &Answer| -> f64 {
            answer.claims.iter().zip(&answer.mix.unserved).map(|(claim, left)| claim.weight * left).sum()
        };
        match whole {
            Some(whole) if left(&whole) <= left(&without) => whole,
            _ => without,
        }
    }

    /// Takes sessions of another region in, as many as there is room for beside all that is served already: what machines
    /// have to spare first, then more machines, the cheapest for each session first. The sessions taken; nothing changes
    /// for those who were there.
    pub fn take_in(&self, answer: &mut Answer, guest: Claim) -> f64 {
        let class = guest.class;
        let bandwidth = self.bandwidths[class.index()];
        let spare = (self.access - self.load(&answer.claims)).max(0.0);
        let sent = if bandwidth > 0.0 { guest.sessions.min(spare / bandwidth) } else { guest.sessions };
        let claimed: f64 = answer.claims.iter().filter(|claim| claim.class == class).map(|claim| claim.sessions).sum();
        let served = claimed - answer.unserved(class);
        let mut machines = answer.mix.machines.clone();
        let mut hosts = answer.packing.hosts.clone();
        let mut left: Vec<Room> = hosts.iter().zip(&self.rooms).map(|(counts, room)| self.left(room, counts)).collect();
        let mut missing = sent - (mix::capacity(self.offers, &machines, class) - served).max(0.0);
        let mut added = false;
        while missing > 1e-6 * sent {
            let of_class = machines.range(mix::of_class(class)).map(|(_, count)| *count).sum::<u32>();
            if of_class >= self.ceilings[class.index()] {
                break;
            }
            let candidate = |offer: &Offer| {
                let size = &self.sizes[offer.flavour.index()];
                let host = left.iter().position(|room| room.fits(size))?;
                let kind = if self.reserved_left(&machines, offer.flavour) { Kind::Reserved } else { Kind::OnDemand };
                let price = mix::unit_price(self.market, offer.flavour, kind) / offer.sessions_per_vm.min(missing);
                Some((price, host, kind, *offer))
            };
            let best = self.offers[class.index()].iter().filter_map(candidate).min_by(|a, b| a.0.total_cmp(&b.0));
            let Some((_, host, kind, offer)) = best else { break };
            *machines.entry((class, offer.flavour, kind)).or_insert(0) += 1;
            hosts[host][offer.flavour.index()] += 1;
            left[host] = self.left(&self.rooms[host], &hosts[host]);
            missing -= offer.sessions_per_vm;
            added = true;
        }
        let taken = sent - missing.max(0.0);
        if taken <= 0.0 {
            return 0.0;
        }
        if added {
            let counts = mix::by_flavour(self.sizes.len(), &machines);
            let packed = packing::given(&self.rooms, self.sizes, &counts, hosts, packing::Method::FirstFit);
            answer.packing = packed.expect("machines were put where they fit");
            answer.mix.machines = machines;
            answer.mix.method = mix::Method::Greedy;
        }
        answer.claims.push(Claim { sessions: taken, present: taken, ..guest });
        answer.mix.unserved.push(0.0);
        taken
    }

    /// What a host has left beside so many machines of each flavour.
    fn left(&self, room: &Room, counts: &[u32]) -> Room {
        counts.iter().zip(self.sizes).fold(*room, |left, (count, size)| Room {
            cpu: left.cpu.saturating_sub(size.cpu * u64::from(*count)),
            memory: left.memory.saturating_sub(size.memory * u64::from(*count)),
            bandwidth: left.bandwidth.saturating_sub(size.bandwidth * u64::from(*count)),
        })
    }

    /// Whether a machine of `flavour` that is paid for anyway is free.
    fn reserved_left(&self, machines: &Machines, flavour: forebay_world::FlavourId) -> bool {
        let count = self.market.tariff(flavour).reserved.map_or(0, |reserved| reserved.count);
        let of = machines.iter().filter(|((_, of, kind), _)| *of == flavour && *kind == Kind::Reserved);
        of.map(|(_, count)| *count).sum::<u32>() < count
    }

    /// Cost of an answer beyond its lower bound, as a share of it: see [`mix::gap`].
    pub fn gap(&self, answer: &Answer, before: Option<&Answer>, hours: f64) -> Option<f64> {
        let ask = Ask {
            offers: self.offers,
            market: self.market,
            sizes: self.sizes,
            rooms: &self.rooms,
            bandwidths: self.bandwidths,
            access: self.access,
            ceilings: &self.ceilings,
            claims: &answer.claims,
            standing: before.map(|before| &before.mix.machines),
            hours,
        };
        mix::gap(&ask, &answer.mix)
    }

    /// Bandwidth that all claims take on the access link \[bit/s\].
    fn load(&self, claims: &[Claim]) -> f64 {
        claims.iter().map(|claim| claim.present * self.bandwidths[claim.class.index()]).sum()
    }

    /// Gives up the machines that found no host: of the classes that go last, and the dearest first.
    fn without(&self, claims: &[Claim], mut mix: Mix, mut packing: Packing) -> Answer {
        let weight = |class: ClassId| {
            claims.iter().filter(|claim| claim.class == class).map(|claim| claim.weight).fold(0.0, f64::max)
        };
        let served: Vec<f64> = claims.iter().zip(&mix.unserved).map(|(claim, left)| claim.sessions - left).collect();
        for flavour in 0..self.sizes.len() {
            let mut keys: Vec<_> = mix.machines.keys().filter(|(_, of, _)| of.index() == flavour).copied().collect();
            let kind = |kind: Kind| [Kind::OnDemand, Kind::Spot, Kind::Reserved].iter().position(|of| *of == kind);
            keys.sort_by(|a, b| weight(a.0).total_cmp(&weight(b.0)).then(kind(a.2).cmp(&kind(b.2))));
            let mut left = std::mem::take(&mut packing.left_out[flavour]);
            for key in keys {
                let count = mix.machines.get_mut(&key).expect("just listed");
                let gone = left.min(*count);
                *count -= gone;
                left -= gone;
            }
        }
        self.keep_spot_shares(&mut mix.machines);
        mix.machines.retain(|_, count| *count > 0);
        // What was out of reach before is so still, and what machines no longer serve comes on top.
        let reached: Vec<Claim> =
            claims.iter().zip(&served).map(|(claim, served)| Claim { sessions: *served, ..*claim }).collect();
        let lost = mix::left_by(self.offers, &reached, &mix.machines);
        mix.unserved.iter_mut().zip(lost).for_each(|(left, lost)| *left += lost);
        mix.gap = None;
        let counts = mix::by_flavour(self.sizes.len(), &mix.machines);
        let mut hosts = packing.hosts;
        trim(&mut hosts, &counts);
        let packing = packing::given(&self.rooms, self.sizes, &counts, hosts, packing.method)
            .expect("fewer machines fit where more did");
        Answer { claims: claims.to_vec(), mix, packing }
    }

    /// Gives up spot machines beyond their share of what is left.
    fn keep_spot_shares(&self, machines: &mut Machines) {
        let spots: Vec<_> = machines.keys().filter(|(_, _, kind)| *kind == Kind::Spot).copied().collect();
        for key in spots {
            let share = self.market.tariff(key.1).spot.map_or(0.0, |spot| spot.share_most);
            while machines[&key] > 0 {
                let alone = Machines::from([(key, machines[&key])]);
                let (own, whole) =
                    (mix::capacity(self.offers, &alone, key.0), mix::capacity(self.offers, machines, key.0));
                if own <= share * whole * (1.0 + 1e-9) {
                    break;
                }
                *machines.get_mut(&key).expect("just looked at") -= 1;
            }
        }
    }
}

/// Takes machines off their hosts, the last first, until there are so many of each flavour.
fn trim(hosts: &mut [Vec<u32>], counts: &[u32]) {
    for (flavour, most) in counts.iter().enumerate() {
        let placed: u32 = hosts.iter().map(|host| host[flavour]).sum();
        let mut spare = placed.saturating_sub(*most);
        for host in hosts.iter_mut().rev() {
            let gone = spare.min(host[flavour]);
            host[flavour] -= gone;
            spare -= gone;
        }
    }
}

/// Whether two lists of claims ask for the same capacity.
fn alike(before: &[Claim], now: &[Claim]) -> bool {
    before.len() == now.len()
        && before
            .iter()
            .zip(now)
            .all(|(a, b)| a.class == b.class && (a.sessions - b.sessions).abs() <= 1e-9 * b.sessions)
}
