//! The classic library's answers: every recorded mapping must come out the same.
//!
//! The corpus is not part of this project. It is looked for in `MPIBIND_CONFORMANCE`, then beside
//! the checkout; where it is in neither place this test says so and has nothing to compare.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use mpibind_core::discover::{Source, discover};
use mpibind_core::{GpuId, Parameters, Request, Topology, map};
use serde_json::Value;

fn corpus() -> Option<PathBuf> {
    let beside =
        || Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance")));
    let folder = std::env::var_os("MPIBIND_CONFORMANCE").map(PathBuf::from).or_else(beside)?;
    folder.join("cases.jsonl").is_file().then_some(folder)
}

#[test]
fn every_recorded_mapping_comes_out() {
    let Some(folder) = corpus() else {
        eprintln!("skipped: there is no conformance corpus; set MPIBIND_CONFORMANCE to its folder");
        return;
    };
    let mut machines: HashMap<String, Arc<Topology>> = HashMap::new();
    let mut failures = Vec::new();
    let mut cases = 0;
    for line in fs::read_to_string(folder.join("cases.jsonl")).unwrap().lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let file = case["topology"].as_str().unwrap();
        let machine = machines.entry(file.to_owned()).or_insert_with(|| {
            let path = folder.join("topologies").join(file);
            discover(Source::Xml(&path)).unwrap().topology
        });
        cases += 1;
        if let Err(difference) = compare(machine, &case) {
            failures
                .push(format!("case {} on {file} {}: {difference}", case["id"], case["params"]));
        }
    }
    assert!(cases > 0, "the corpus is empty");
    let shown = failures.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {cases} cases differ:\n{shown}", failures.len());
    eprintln!("{cases} recorded mappings on {} machines came out the same", machines.len());
}

fn compare(machine: &Arc<Topology>, case: &Value) -> Result<(), String> {
    let params = &case["params"];
    let number = |key: &str| params[key].as_i64().unwrap();
    let request = Request::new(&Parameters {
        ntasks: number("ntasks"),
        nthreads: number("nthreads"),
        greedy: number("greedy") != 0,
        gpu_optim: number("gpu_optim") != 0,
        smt: number("smt"),
        restrict_ids: params["restrict_ids"].as_str(),
        restrict_type: params["restrict_type"].as_str().unwrap(),
    });
    let mapping =
        request.and_then(|request| map(machine, &request)).map_err(|error| error.to_string())?;
    let tasks = 0..mapping.ntasks() as i64;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let list = |value: &Value| value.as_array().unwrap().iter().map(text).collect::<Vec<_>>();
    let texts = |key: &str| list(&case[key]);
    let same = |what: &str, ours: Vec<String>, classic: Vec<String>| match ours == classic {
        true => Ok(()),
        false => Err(format!("{what}\n   ours    {ours:?}\n   classic {classic:?}")),
    };
    let cpus = tasks.clone().map(|task| mapping.cpuset(task).unwrap().to_string()).collect();
    same("CPUs", cpus, texts("cpus"))?;
    let threads = mapping.threads().iter().map(ToString::to_string).collect();
    same("threads", threads, texts("nthreads"))?;
    if case.get("gpus").is_some() {
        let gpus =
            tasks.map(|task| mapping.gpu_ids(task, GpuId::Index).unwrap().join(",")).collect();
        same(
            "GPUs",
            gpus,
            case["gpus"].as_array().unwrap().iter().map(|gpus| list(gpus).join(",")).collect(),
        )?;
    }
    Ok(())
}
