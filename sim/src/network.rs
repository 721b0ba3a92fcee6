//! Temporary: everybody gets what they want.
#![allow(missing_docs)]
use forebay_world::{PlannedSlice, SliceId, Timestamp};
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkIx(pub u32);
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupIx(pub u32);
#[derive(Clone, Debug, Default)]
struct Group {
    n: f64,
    cap: f64,
    at: Timestamp,
    flow: f64,
    path: Vec<u32>,
}
#[derive(Clone, Debug, Default)]
pub struct Network {
    groups: Vec<Group>,
    flows: std::collections::BTreeMap<(Timestamp, u64), (u32, u64)>,
    seq: u64,
    links: u32,
}
#[derive(Clone, Copy, Debug, Default)]
pub struct GroupUsage {
    pub flow_seconds: f64,
    pub short_flow_seconds: f64,
    pub bits: f64,
}
#[derive(Clone, Copy, Debug, Default)]
pub struct SliceIntegral {
    pub bits: f64,
    pub offered_bits: f64,
    pub starved_seconds: f64,
}
impl Network {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn add_link(&mut self, _c: f64) -> LinkIx {
        self.links += 1;
        LinkIx(self.links - 1)
    }
    pub fn remove_link(&mut self, _l: LinkIx) {}
    pub fn set_capacity(&mut self, _n: Timestamp, _l: LinkIx, _c: f64) {}
    pub fn set_slice(&mut self, _n: Timestamp, _s: SliceId, _l: LinkIx, _p: PlannedSlice) {}
    pub fn remove_slice(&mut self, _n: Timestamp, _s: SliceId) {}
    pub fn group(&mut self, now: Timestamp, path: &[LinkIx], _s: Option<SliceId>, cap: f64, _floor: f64) -> GroupIx {
        self.groups.push(Group { n: 0.0, cap, at: now, flow: 0.0, path: path.iter().map(|l| l.0).collect() });
        GroupIx(self.groups.len() as u32 - 1)
    }
    pub fn release(&mut self, _n: Timestamp, _g: GroupIx) {}
    fn adv(&mut self, now: Timestamp, g: GroupIx) -> &mut Group {
        let x = &mut self.groups[g.0 as usize];
        x.flow += x.n * now.since(x.at).as_secs_f64();
        x.at = now;
        x
    }
    pub fn join(&mut self, now: Timestamp, g: GroupIx) {
        self.adv(now, g).n += 1.0;
    }
    pub fn leave(&mut self, now: Timestamp, g: GroupIx) {
        self.adv(now, g).n -= 1.0;
    }
    pub fn set_count(&mut self, now: Timestamp, g: GroupIx, n: f64) {
        self.adv(now, g).n = n;
    }
    pub fn start(&mut self, now: Timestamp, g: GroupIx, bits: f64, tag: u64) {
        let x = self.adv(now, g);
        x.n += 1.0;
        let t = now.saturating_add(forebay_world::Duration::from_secs_f64_saturating(bits / x.cap));
        self.seq += 1;
        self.flows.insert((t, self.seq), (g.0, tag));
    }
    pub fn clear(&mut self, now: Timestamp, g: GroupIx, mut f: impl FnMut(u64)) {
        self.adv(now, g).n = 0.0;
        self.flows.retain(|_, (h, t)| {
            if *h == g.0 {
                f(*t);
            }
            *h != g.0
        });
    }
    pub fn next_completion(&mut self) -> Option<Timestamp> {
        self.flows.first_key_value().map(|((t, _), _)| *t)
    }
    pub fn complete(&mut self, now: Timestamp) -> Option<u64> {
        let (&(t, s), &(g, tag)) = self.flows.first_key_value()?;
        if t > now {
            return None;
        }
        self.flows.remove(&(t, s));
        self.adv(now, GroupIx(g)).n -= 1.0;
        Some(tag)
    }
    pub fn rate(&mut self, g: GroupIx) -> f64 {
        self.groups[g.0 as usize].cap
    }
    pub fn take_usage(&mut self, now: Timestamp, g: GroupIx) -> GroupUsage {
        let x = self.adv(now, g);
        let f = std::mem::take(&mut x.flow);
        GroupUsage { flow_seconds: f, short_flow_seconds: 0.0, bits: f * x.cap }
    }
    pub fn take_link_bits(&mut self, _n: Timestamp, _l: LinkIx) -> f64 {
        0.0
    }
    pub fn take_slice_usage(&mut self, _n: Timestamp, _s: SliceId) -> SliceIntegral {
        SliceIntegral::default()
    }
}
