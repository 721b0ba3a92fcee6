//! One work on one engine in one process: `peers ENGINE hold N K WARMUP`, `peers ENGINE mm1 CUSTOMERS` or
//! `peers NETWORK flow N K WARMUP`.
//!
//! Prints `engine,work,n,operations,cpu_seconds,check`. The check is the simulated time of the last event (hold), the
//! mean wait (mm1) or the simulated time that the timed completions took (flow): engines that follow the same path print
//! the same digits. `run` calls it, pinned and interleaved.

mod agenda;
mod draws;
mod flow;
mod heap;
mod nexosim_engine;
mod simcore_engine;
mod summary;

/// HOLD: `pending` events are scheduled an exponential time ahead; each, when it comes up, schedules the next one.
/// The first `warmup` events are not timed.
#[derive(Clone, Copy)]
pub struct Hold {
    pub pending: u32,
    pub events: u64,
    pub warmup: u64,
}

/// What a run measured.
pub struct Measured {
    pub cpu_seconds: f64,
    pub check: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| usage());
    match words[..] {
        [engine, "hold", pending, events, warmup] => {
            let work = Hold { pending: number(pending) as u32, events: number(events), warmup: number(warmup) };
            let measured = match engine {
                "agenda" => agenda::hold(work),
                "binary-heap" => heap::hold(work),
                "simcore" => simcore_engine::hold(work),
                "nexosim" => nexosim_engine::hold(work),
                _ => usage(),
            };
            println!("{engine},hold,{pending},{events},{:.6},{:.6}", measured.cpu_seconds, measured.check);
        }
        [engine, "mm1", customers] => {
            let count = number(customers);
            let measured = match engine {
                "agenda" => agenda::mm1(count),
                "binary-heap" => heap::mm1(count),
                "simcore" => simcore_engine::mm1(count),
                "nexosim" => nexosim_engine::mm1(count),
                _ => usage(),
            };
            println!("{engine},mm1,1,{customers},{:.6},{:.4}", measured.cpu_seconds, measured.check);
        }
        [network, "flow", flows, completions, warmup] => {
            let work =
                flow::Work { flows: number(flows) as usize, timed: number(completions), warm_up: number(warmup) };
            let Some((operations, measured)) = flow::run(network, work) else { usage() };
            println!("{network},flow,{flows},{operations},{:.6},{:.6}", measured.cpu_seconds, measured.check);
        }
        ["agenda", "fork", pending] => {
            let measured = agenda::fork(number(pending) as u32);
            println!("agenda,fork,{pending},1,{:.6},{:.6}", measured.cpu_seconds, measured.check);
        }
        ["summary", path] => {
            if let Err(error) = summary::print(path) {
                eprintln!("{error}");
                std::process::exit(2);
            }
        }
        _ => usage(),
    }
}

fn usage() -> ! {
    eprintln!("usage: peers agenda|binary-heap|simcore|nexosim (hold PENDING EVENTS WARMUP | mm1 CUSTOMERS)");
    eprintln!("       peers network|naive|slices-access|slices-backbone flow FLOWS COMPLETIONS WARMUP");
    eprintln!("       peers agenda fork PENDING");
    eprintln!("       peers summary RAW.CSV");
    std::process::exit(2);
}

/// Time this process has spent on a processor \[s\].
pub fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, to a valid one.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert!(failed == 0, "the process has a clock");
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
