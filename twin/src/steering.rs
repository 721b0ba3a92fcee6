//! Where clients go: home, unless their region cannot serve them.
//!
//! A client region × class without a single machine at home, ready or on its way, is sent to the nearest regions that have some, in
//! proportion to how many. When machines are ready at home again, clients come back by as many as those can serve, and
//! then all of them. An unchanged situation leaves every weight as it is.

use forebay_world::{RegionId, Steering, Topology};

use crate::controller::config::SteeringConfig;
use crate::controller::served::CellSeen;

/// Decides where clients go.
#[derive(Clone, Debug)]
pub struct Steersman {
    config: SteeringConfig,
    /// For each region, the others, the nearest first.
    nearest: Vec<Vec<RegionId>>,
}

/// Weights are moved when a region's share would change by more than this.
const SHARE_STEP: f64 = 0.1;

impl Steersman {
    /// A steersman for a topology.
    pub fn new(config: &SteeringConfig, topology: &Topology) -> Self {
        let regions = 0..topology.regions.len();
        let nearest = regions
            .clone()
            .map(|home| {
                let mut others: Vec<usize> = regions.clone().filter(|other| *other != home).collect();
                others.sort_by(|a, b| {
                    let far = |other: &usize| distance(topology, home, *other);
                    far(a).total_cmp(&far(b)).then(a.cmp(b))
                });
                others.into_iter().map(RegionId::at).collect()
            })
            .collect();
        Steersman { config: config.clone(), nearest }
    }

    /// The steering for what is seen, if it differs from `current`. `needed` are the machines that each client cell's
    /// own demand needs, dense.
    pub fn steer(
        &self,
        current: &Steering,
        cells: &[CellSeen],
        needed: &[u32],
        topology: &Topology,
    ) -> Option<Steering> {
        let mut changed: Option<Steering> = None;
        for (cell, seen) in cells.iter().enumerate() {
            let now = current.0.get(cell).map_or(&[][..], Vec::as_slice);
            // At home, one stays with the first machine that is ready or on its way.
            if now.is_empty() && (seen.ready > 0 || seen.coming > 0 || needed[cell] == 0) {
                continue;
            }
            let wanted = self.weights(cell, seen.ready, now, cells, needed[cell], topology);
            if !alike(now, &wanted) {
                let steering = changed.get_or_insert_with(|| {
                    let mut steering = current.clone();
                    steering.0.resize(cells.len(), Vec::new());
                    steering
                });
                steering.0[cell] = wanted;
            }
        }
        changed
    }

    fn weights(
        &self,
        cell: usize,
        ready: u32,
        now: &[(RegionId, u32)],
        cells: &[CellSeen],
        needed: u32,
        topology: &Topology,
    ) -> Vec<(RegionId, u32)> {
        if f64::from(ready) >= (self.config.return_at * f64::from(needed)).max(1.0) {
            return Vec::new();
        }
        let (home, class) = topology.cell_at(cell);
        let helpers: Vec<(RegionId, u32)> = self.nearest[home.index()]
            .iter()
            .map(|region| (*region, cells[topology.cell(*region, class)].ready))
            .filter(|(_, ready)| *ready > 0)
            .take(self.config.helpers as usize)
            .collect();
        if helpers.is_empty() {
            // Nobody can help: those who are away stay with those who served them last, and others stay at home.
            return if ready > 0 { Vec::new() } else { now.to_vec() };
        }
        let sum: u64 = helpers.iter().map(|(_, ready)| u64::from(*ready)).sum();
        let away = f64::from(needed.saturating_sub(ready).max(1)) / f64::from(needed.max(1));
        // In thousandths: the share that stays away, by the helpers' ready machines; the rest comes home.
        let part = |ready: u32| ((away * f64::from(ready) / sum as f64 * 1000.0).round() as u32).max(1);
        let mut weights: Vec<(RegionId, u32)> =
            helpers.iter().map(|(region, ready_there)| (*region, part(*ready_there))).collect();
        if ready > 0 {
            weights.push((home, (((1.0 - away) * 1000.0).round() as u32).max(1)));
        }
        weights.sort_by_key(|(region, _)| *region);
        weights
    }
}

/// Whether two lists send clients to the same regions in nearly the same shares.
fn alike(now: &[(RegionId, u32)], wanted: &[(RegionId, u32)]) -> bool {
    let sum = |weights: &[(RegionId, u32)]| weights.iter().map(|(_, weight)| f64::from(*weight)).sum::<f64>().max(1.0);
    let (now_sum, wanted_sum) = (sum(now), sum(wanted));
    now.len() == wanted.len()
        && now.iter().zip(wanted).all(|((region, weight), (other, other_weight))| {
            let apart = (f64::from(*weight) / now_sum - f64::from(*other_weight) / wanted_sum).abs();
            region == other && apart <= SHARE_STEP
        })
}

/// Great-circle distance of two regions by the haversine formula, in Earth radii.
pub(crate) fn distance(topology: &Topology, a: usize, b: usize) -> f64 {
    let (a, b) = (&topology.regions[a], &topology.regions[b]);
    let (lat_a, lat_b) = (a.lat.to_radians(), b.lat.to_radians());
    let (dlat, dlon) = (lat_b - lat_a, (b.lon - a.lon).to_radians());
    let h = (dlat / 2.0).sin().powi(2) + lat_a.cos() * lat_b.cos() * (dlon / 2.0).sin().powi(2);
    2.0 * h.clamp(0.0, 1.0).sqrt().asin()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_world;

    fn cells(ready: &[u32]) -> Vec<CellSeen> {
        // The class `video` of each region as given, `web` always ready.
        let cell = |ready| CellSeen { ready, ..CellSeen::default() };
        ready.iter().flat_map(|ready| [cell(*ready), cell(5)]).collect()
    }

    #[test]
    fn a_lost_region_s_clients_go_to_the_nearest_and_come_back() {
        // ams, iad, nrt, fra: from ams, fra is nearest, then iad, then nrt.
        let topology = small_world::topology(4);
        let config = SteeringConfig { helpers: 2, ..SteeringConfig::default() };
        let steersman = Steersman::new(&config, &topology);
        let home = Steering::home(topology.cells());
        let needed = [10; 8];
        assert_eq!(steersman.steer(&home, &cells(&[4, 5, 5, 5]), &needed, &topology), None);

        let away = steersman.steer(&home, &cells(&[0, 2, 5, 6]), &needed, &topology).unwrap();
        assert_eq!(away.0[0], [(RegionId(1), 250), (RegionId(3), 750)]);
        assert!(away.0[1..].iter().all(Vec::is_empty));
        assert_eq!(steersman.steer(&away, &cells(&[0, 2, 5, 7]), &needed, &topology), None, "a small change is none");

        let half = steersman.steer(&away, &cells(&[5, 2, 5, 6]), &needed, &topology).unwrap();
        assert_eq!(half.0[0], [(RegionId(0), 500), (RegionId(1), 125), (RegionId(3), 375)]);
        assert_eq!(steersman.steer(&half, &cells(&[9, 2, 5, 6]), &needed, &topology), Some(home));
    }

    #[test]
    fn when_nobody_can_help_nothing_moves() {
        let topology = small_world::topology(3);
        let steersman = Steersman::new(&SteeringConfig::default(), &topology);
        let home = Steering::home(topology.cells());
        assert_eq!(steersman.steer(&home, &cells(&[0, 0, 0]), &[3; 6], &topology), None);
    }
}
