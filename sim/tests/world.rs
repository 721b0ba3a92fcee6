//! The whole world, against what must hold of any such network.

mod common;

use std::sync::Arc;

use common::{START, plan, setup};
use forebay_sim::SimWorld;
use forebay_sim::setup::Fidelity;
use forebay_world::{Duration, Observation, Timestamp, VmState, World};

const MINUTE: Duration = Duration::from_mins(1);

fn run(world: &mut SimWorld, until: Timestamp) -> Vec<Observation> {
    let mut seen = Vec::new();
    while world.now() < until {
        let tick = world.now() + MINUTE;
        world.wait_until(tick).unwrap();
        seen.push(world.observe().unwrap());
    }
    seen
}

#[test]
fn a_steady_load_is_served_and_obeys_littles_law() {
    for fidelity in [Fidelity::Session, Fidelity::Fluid(MINUTE)] {
        let setup = Arc::new(setup(2, [2.0, 1.0, 4.0], fidelity, 1));
        let mut world = SimWorld::new(Arc::clone(&setup));
        world.submit(&plan(&setup.topology, 1, 4)).unwrap();
        let seen = run(&mut world, setup.end);
        let last = seen.last().unwrap();
        assert_eq!(last.vms.len(), 24);
        assert!(last.vms.iter().all(|vm| vm.state == VmState::Ready), "{fidelity:?}");
        for (cell, (_, class)) in setup.topology.cell_ids().enumerate() {
            let class = setup.topology.class(class);
            let settled: Vec<_> = seen[60..].iter().map(|seen| seen.demand[cell].clone().unwrap()).collect();
            let hours = settled.len() as f64 * 60.0;
            let rate = settled.iter().map(|demand| demand.arrivals as f64).sum::<f64>() / hours;
            let sessions = settled.iter().map(|demand| demand.sessions).sum::<f64>() / settled.len() as f64;
            // L = λW, where W is exponential: over n sessions its mean has a standard error of 1/√n.
            let length = class.work.mean_seconds();
            let error = 4.0 / (rate * hours).sqrt() + 0.02;
            assert!((sessions / (rate * length) - 1.0).abs() < error, "{fidelity:?} {}: {sessions} {rate}", class.name);
            let utilization: Vec<f64> = last.vms.iter().filter_map(|vm| vm.utilization).collect();
            assert!(utilization.iter().all(|use_| *use_ > 0.0 && *use_ < 1.0), "{utilization:?}");
        }
        let score = world.score();
        println!("{fidelity:?} {score:?} {}", world.events_processed());
        assert_eq!(score.slo_violation_minutes, 0.0);
        assert_eq!(score.sessions_rejected, 0);
        assert!((score.vm_hours - 24.0 * 3.0).abs() < 1e-6, "{}", score.vm_hours);
    }
}
