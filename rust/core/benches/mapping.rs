//! How long one step of the core takes: `cargo bench --bench mapping -- STEP MACHINE TASKS RUNS`.
//!
//! Prints the median in seconds and nothing else, for test-suite/bench, which knows the cases. The
//! same loop, in C, is around hwloc_distrib() in test-suite/bench/distrib.c. MACHINE is a file (`.xml`
//! or `.json`) or synthetic text.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use mpibind_core::discover::{Discovered, Source, discover};
use mpibind_core::{CpuSet, Parameters, Request, map};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    // Without words it is a test run of all targets, which has nothing to do here.
    let [step, machine, ntasks, runs] = words.as_slice() else { return };
    let (ntasks, runs): (i64, usize) = (ntasks.parse().unwrap(), runs.parse().unwrap());
    let node = read(machine).topology;
    let request = Request::new(&Parameters::new(ntasks)).unwrap();
    // The list with the most ranges.
    let half: CpuSet = node.pus().iter().copied().filter(|cpu| cpu % 2 == 0).collect();
    let numas: CpuSet = node.numas().iter().take(1).map(|numa| numa.os_index).collect();
    let seconds = match step.as_str() {
        "map" => median(runs, || map(black_box(&node), &request).unwrap()),
        "read" => median(runs, || read(black_box(machine))),
        "restrict-cpus" => median(runs, || node.restricted_to_cpus(black_box(&half)).unwrap()),
        "restrict-numas" => median(runs, || node.restricted_to_numas(black_box(&numas)).unwrap()),
        other => panic!("there is no step {other}"),
    };
    println!("{seconds:e}");
}

fn read(machine: &str) -> Discovered {
    let path = Path::new(machine);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xml") => discover(Source::Xml(path)).unwrap(),
        Some("json") => Discovered::from_json(&std::fs::read_to_string(path).unwrap()).unwrap(),
        _ => discover(Source::Synthetic { text: machine, gpus: &[] }).unwrap(),
    }
}

/// The median over runs; short steps are repeated in each, so that reading the clock does not count.
fn median<Made>(runs: usize, step: impl Fn() -> Made) -> f64 {
    let seconds = |repeats: u32| {
        let start = Instant::now();
        (0..repeats).for_each(|_| drop(black_box(step())));
        start.elapsed().as_secs_f64() / f64::from(repeats)
    };
    let repeats = if seconds(1) < 1e-4 { 100 } else { 1 };
    let mut times: Vec<f64> = (0..runs).map(|_| seconds(repeats)).collect();
    times.sort_by(f64::total_cmp);
    times[runs / 2]
}
