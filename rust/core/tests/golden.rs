//! The mappings of every machine of the collection, as they were accepted.
//!
//! `test-suite/expected/MACHINE.txt` holds what each request gives on a machine. To accept a change
//! after reading it: `MPIBIND_ACCEPT=1 cargo test -p mpibind-core --test golden`, then look at
//! `git diff`.

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use mpibind_core::discover::{Discovered, Source, discover};
use mpibind_core::{CpuSet, Kind, Mapping, ObjectId, Parameters, Request, Result, Topology, map};
use serde_json::Value;
use support::{collection, listing, load, test_suite};

/// The most tasks of a listing: files are to be read by people.
const MOST_TASKS: i64 = 40;

fn map_with(machine: &Arc<Topology>, parameters: &Parameters<'_>) -> Result<Mapping> {
    map(machine, &Request::new(parameters)?)
}

/// The example of the documentation, to the letter.
#[test]
fn the_worked_example() {
    let expected = "\
mpibind: task  0 nths  4 gpus 0 cpus 0-4
mpibind: task  1 nths  4 gpus 0 cpus 5-9
mpibind: task  2 nths  4 gpus 1 cpus 10-13
mpibind: task  3 nths  4 gpus 1 cpus 14-17
";
    let recorded = load(&test_suite("topologies/two-package-18core-smt2-2gpu.xml"));
    let text = "package:2 [numa] core:18 pu:2(indexes=2*36:1*2)";
    let synthetic = discover(Source::Synthetic { text, gpus: &[2, 0] }).unwrap().topology;
    for machine in [recorded, synthetic] {
        assert_eq!(listing(&map_with(&machine, &Parameters::new(4)).unwrap()), expected);
    }
}

/// Three tasks on two packages of three domains, with a GPU at each package: the second task has
/// domains of both packages. The first package deals first, whichever GPU it has.
#[test]
fn on_a_level_the_first_place_deals_its_gpus_first() {
    let text = "package:2 group:3 [numa] core:2 pu:1";
    let made = discover(Source::Synthetic { text, gpus: &[1, 0, 0, 1] }).unwrap();
    let objects = made.topology.objects();
    let packages: Vec<ObjectId> =
        (0..objects.len()).filter(|object| objects[*object].kind == Kind::Package).collect();
    let with_gpus_at = |places: [ObjectId; 2]| {
        let mut written: Value = serde_json::from_str(&made.to_json()).unwrap();
        for (gpu, place) in places.into_iter().enumerate() {
            written["gpus"][gpu]["object"] = place.into();
        }
        let node = Discovered::from_json(&written.to_string()).unwrap().topology;
        let mapping = map_with(&node, &Parameters::new(3)).unwrap();
        (0..3).map(|task| mapping.gpus(task).unwrap().map(|gpu| gpu.index).collect()).collect()
    };
    let dealt: [Vec<Vec<u32>>; 2] =
        [with_gpus_at([packages[0], packages[1]]), with_gpus_at([packages[1], packages[0]])];
    assert_eq!(dealt[0], [[0], [0], [1]]);
    assert_eq!(dealt[1], [[1], [1], [0]]);
}

#[test]
fn every_machine_gives_what_was_accepted() {
    let accept = std::env::var_os("MPIBIND_ACCEPT").is_some_and(|value| value == "1");
    let folder = test_suite("expected");
    let mut complaints = String::new();
    let mut strays: BTreeSet<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    for (name, path) in collection() {
        let machine = load(&path);
        let file = folder.join(format!("{name}.txt"));
        strays.remove(&file);
        let ours = describe(&name, &machine);
        if accept {
            fs::write(&file, ours).unwrap();
            continue;
        }
        match fs::read_to_string(&file) {
            Err(_) => writeln!(complaints, "{name}: there is no expected file").unwrap(),
            Ok(expected) if in_one_order(&expected) == in_one_order(&ours) => {}
            Ok(expected) => {
                writeln!(complaints, "{name}:\n{}", difference(&expected, &ours)).unwrap();
            }
        }
    }
    for stray in strays {
        let name = stray.file_name().unwrap().to_string_lossy();
        writeln!(complaints, "{name}: there is no machine of this name in the collection").unwrap();
    }
    assert!(
        complaints.is_empty(),
        "{complaints}\nWhere the new mappings are right, accept them:\n    \
         MPIBIND_ACCEPT=1 cargo test -p mpibind-core --test golden"
    );
}

/// Everything that is kept about one machine.
fn describe(name: &str, machine: &Arc<Topology>) -> String {
    let mut text = header(name, machine);
    let default = machine.with_default_numas().unwrap().map(Arc::new);
    let node = default.as_ref().unwrap_or(machine);
    let (numas, gpus) = (node.numas().len() as i64, node.gpus().len() as i64);
    let (cores, width) = (node.ncores() as i64, node.smt_width() as i64);
    let mut counts = vec![1, 2, 3, 4, numas, gpus, cores, cores + 1];
    counts.retain(|count| (1..=MOST_TASKS).contains(count));
    counts.sort_unstable();
    counts.dedup();
    let mut ask = |parameters: &Parameters<'_>| {
        writeln!(text, "\n{}", title(parameters)).unwrap();
        match map_with(machine, parameters) {
            Ok(mapping) => {
                for warning in mapping.warnings() {
                    writeln!(text, "warning: {warning}").unwrap();
                }
                text += &listing(&mapping);
                if !machine.nics().is_empty() {
                    writeln!(text, "nics: {}", nics(&mapping)).unwrap();
                }
            }
            Err(error) => writeln!(text, "error: {error}").unwrap(),
        }
    };
    counts.iter().for_each(|count| ask(&Parameters::new(*count)));
    let four = Parameters::new(4);
    ask(&Parameters { smt: 1, ..four.clone() });
    if width > 1 {
        ask(&Parameters { smt: width, ..four.clone() });
    }
    ask(&Parameters { nthreads: 3, ..four.clone() });
    if numas > 1 {
        ask(&Parameters { greedy: false, ..Parameters::new(1) });
    }
    if numas > 2 {
        ask(&Parameters { greedy: false, ..Parameters::new(numas - 1) });
    }
    if gpus > 0 {
        ask(&Parameters { gpu_optim: false, ..four.clone() });
    }
    // The first half of the cores, and the last memory domain.
    let half = &node.objects()[node.levels()[node.core_depth()].objects.clone()];
    let half = half[..half.len().div_ceil(2)].iter().flat_map(|core| core.pus.clone());
    let half: CpuSet = half.map(|logical| node.pus()[logical]).collect();
    let half = half.to_string();
    ask(&Parameters { restrict_ids: Some(&half), ..four.clone() });
    let last = node.numas().last().unwrap().os_index.to_string();
    ask(&Parameters { restrict_ids: Some(&last), restrict_type: "mem", ..four });
    text
}

fn header(name: &str, machine: &Topology) -> String {
    let levels = machine.levels().iter();
    let levels = levels.map(|level| format!("{} {}", level.objects.len(), level.kind.name()));
    let mut text = format!("# {name}: {}\n", levels.collect::<Vec<_>>().join(", "));
    for numa in machine.numas() {
        let subtype = numa.subtype.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let cpus = if numa.cpus.is_empty() { "none".into() } else { numa.cpus.to_string() };
        writeln!(text, "# NUMA {}{subtype}: CPUs {cpus}", numa.os_index).unwrap();
    }
    let place = |object: ObjectId| {
        let kind = machine.objects()[object].kind.name();
        format!("{kind} of CPUs {}", machine.cpus_near(object))
    };
    for gpu in machine.gpus().iter() {
        let (vendor, index, at) = (gpu.vendor.name(), gpu.index, place(gpu.locality));
        writeln!(text, "# GPU {index} ({vendor} {}): {at}", gpu.name()).unwrap();
    }
    for nic in machine.nics().iter() {
        writeln!(text, "# NIC {}: {}", nic.name, place(nic.locality)).unwrap();
    }
    text
}

/// The lines of a text, those of memories at one place sorted: in which order libhwloc has these, its
/// versions differ. No task depends on it, as one memory of a place is mapped to at most.
fn in_one_order(text: &str) -> Vec<&str> {
    fn cpus(line: &str) -> Option<&str> {
        Some(line.strip_prefix("# NUMA ")?.split_once(": ")?.1)
    }
    let mut lines: Vec<&str> = text.lines().collect();
    for together in lines.chunk_by_mut(|a, b| cpus(a).is_some() && cpus(a) == cpus(b)) {
        together.sort_unstable();
    }
    lines
}

/// The network cards of each task.
fn nics(mapping: &Mapping) -> String {
    let of_task = |task: i64| {
        let names = mapping.nics(task).unwrap().map(|nic| nic.name.as_str());
        names.collect::<Vec<_>>().join(",")
    };
    (0..mapping.ntasks() as i64).map(of_task).collect::<Vec<_>>().join(" | ")
}

/// What is asked, as far as it is not the default.
fn title(parameters: &Parameters<'_>) -> String {
    let mut title = format!("== ntasks={}", parameters.ntasks);
    if parameters.nthreads > 0 {
        title += &format!(" nthreads={}", parameters.nthreads);
    }
    if !parameters.greedy {
        title += " greedy=False";
    }
    if !parameters.gpu_optim {
        title += " gpu_optim=False";
    }
    if parameters.smt > 0 {
        title += &format!(" smt={}", parameters.smt);
    }
    if let Some(ids) = parameters.restrict_ids {
        title += &format!(" restrict_{}={ids}", parameters.restrict_type);
    }
    title
}

/// The lines that are only in one of two texts, each below the request that it answers.
fn difference(expected: &str, ours: &str) -> String {
    let sections = |text: &str| -> Vec<(String, Vec<String>)> {
        let section = |part: &str| {
            let mut lines = part.lines().map(str::to_owned);
            (lines.next().unwrap_or_default(), lines.collect())
        };
        text.split("\n\n").map(section).collect()
    };
    let (expected, ours) = (sections(expected), sections(ours));
    let mut text = String::new();
    for (title, lines) in &expected {
        match ours.iter().find(|(other, _)| other == title) {
            None => writeln!(text, "  {title}\n    - no longer asked").unwrap(),
            Some((_, new)) if new == lines => {}
            Some((_, new)) => {
                writeln!(text, "  {title}").unwrap();
                let gone = lines.iter().filter(|line| !new.contains(line));
                gone.for_each(|line| writeln!(text, "    - {line}").unwrap());
                let come = new.iter().filter(|line| !lines.contains(line));
                come.for_each(|line| writeln!(text, "    + {line}").unwrap());
            }
        }
    }
    for (title, _) in ours.iter().filter(|(title, _)| !expected.iter().any(|(t, _)| t == title)) {
        writeln!(text, "  {title}\n    + newly asked").unwrap();
    }
    text
}
