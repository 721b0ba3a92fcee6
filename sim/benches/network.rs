//! FLOW: a closed loop of N elastic flows over 100 links, one completion and one start an iteration; without slices,
//! with them, and solved naively (every flow on its own, from scratch at every completion) beside it.

#[path = "../tests/flow/mod.rs"]
mod flow;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow::{Flow, Naive, Slicing};

fn completions(c: &mut Criterion) {
    let mut group = c.benchmark_group("flow");
    group.throughput(Throughput::Elements(1));
    for flows in [1_000, 10_000] {
        for (name, slicing) in [("plain", Slicing::None), ("sliced", Slicing::Access)] {
            let mut flow = Flow::new(flows, slicing);
            flow.complete(flows.min(2_000));
            group.bench_function(format!("{name}/{flows}"), |b| b.iter(|| flow.complete(1)));
        }
        let mut naive = Naive::new(flows);
        naive.complete(100);
        group.bench_function(format!("naive/{flows}"), |b| b.iter(|| naive.complete(1)));
    }
    group.finish();
}

criterion_group!(benches, completions);
criterion_main!(benches);
