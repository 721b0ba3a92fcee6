//! The FLOW work takes the path that other flow-level simulators take.

mod flow;

use flow::{Flow, Naive, Slicing};

#[test]
fn the_flow_work_takes_as_long_as_in_other_simulators() {
    let mut flow = Flow::new(1_000, Slicing::None);
    flow.complete(1_000);
    let from = flow.now;
    flow.complete(3_000);
    assert_eq!(format!("{:.3}", flow.now.since(from).as_secs_f64()), "45.748");
}

#[test]
fn the_naive_solution_takes_the_same_path() {
    let mut naive = Naive::new(1_000);
    naive.complete(1_000);
    let from = naive.seconds;
    naive.complete(500);
    let mut flow = Flow::new(1_000, Slicing::None);
    flow.complete(1_000);
    let since = flow.now;
    flow.complete(500);
    assert_eq!(format!("{:.6}", naive.seconds - from), format!("{:.6}", flow.now.since(since).as_secs_f64()));
}
