//! Speed of the whole model: events per second at session fidelity, and a simulated year at fluid fidelity.
//!
//! `cargo bench -p forebay-sim --bench world`

#[path = "../tests/common/mod.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod common;

use std::sync::Arc;

use common::{plan, setup};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use forebay_sim::SimWorld;
use forebay_sim::setup::Fidelity;
use forebay_world::{Duration, World};

/// Two regions, three classes, a simulated minute at a time after half an hour: all kinds of events, in one mix.
fn session(c: &mut Criterion) {
    let setup = Arc::new(setup(2, [60.0, 20.0, 40.0], Fidelity::Session, 1));
    let mut world = SimWorld::new(Arc::clone(&setup));
    world.submit(&plan(&setup.topology, 1, 60)).unwrap();
    let warm = setup.start + Duration::from_mins(30);
    world.wait_until(warm).unwrap();
    let mut end = world.clone();
    let before = end.events_processed();
    end.wait_until(warm + Duration::from_mins(1)).unwrap();
    let mut group = c.benchmark_group("world/session");
    group.sample_size(10);
    group.throughput(Throughput::Elements(end.events_processed() - before));
    group.bench_function(format!("{} live sessions", world.live_sessions()), |b| {
        b.iter_batched(
            || world.clone(),
            |mut world| {
                world.wait_until(warm + Duration::from_mins(1)).unwrap();
                world
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// Thirty regions × three classes by the minute, observed every five minutes, for ten days: a year is 36.5 times that.
/// Three machines in each cell are what the load needs at three quarters of their places; five take more time.
fn fluid(c: &mut Criterion) {
    let mut setup = setup(30, [3.0, 1.0, 14.0], Fidelity::Fluid(Duration::from_mins(1)), 1);
    setup.end = setup.start + Duration::from_hours(240);
    let setup = Arc::new(setup);
    let mut group = c.benchmark_group("world/fluid");
    group.sample_size(10);
    for machines in [3, 5] {
        group.bench_function(
            format!("10 days of 30 regions × 3 classes by the minute, {machines} machines each"),
            |b| {
                b.iter(|| {
                    let mut world = SimWorld::new(Arc::clone(&setup));
                    world.submit(&plan(&setup.topology, 1, machines)).unwrap();
                    while world.now() < setup.end {
                        let tick = world.now() + Duration::from_mins(5);
                        world.wait_until(tick).unwrap();
                        world.observe().unwrap();
                    }
                    world.score()
                });
            },
        );
    }
    group.finish();
}

criterion_group!(benches, session, fluid);
criterion_main!(benches);
