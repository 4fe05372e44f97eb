//! Binding, each case in a process of its own: masks belong to threads, and test harnesses have some.
//!
//! Masks are read back from `/proc`, which the code under test does not look at. The cases hold on
//! any machine, also on one with a single CPU.
#![cfg(target_os = "linux")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use mpibind_core::affinity::{bind, current, current_threads, restore};
use mpibind_core::{CpuSet, Error};
use support::process::{run, say, what_to_do};

/// The mask of every thread of this process, as `/proc` tells it.
fn masks() -> BTreeMap<i32, CpuSet> {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let mask = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        // A thread that was joined is listed a moment longer, and then has no status any more.
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let mut lines = status.lines();
        let list = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        Some((entry.file_name().to_str().unwrap().parse().unwrap(), CpuSet::parse(list).unwrap()))
    };
    threads.filter_map(mask).collect()
}

/// Threads that wait until this is dropped. They run when this returns.
struct Idle {
    _stop: Vec<Sender<()>>,
}

fn idle(count: usize) -> Idle {
    let (tell, told) = channel();
    let start = |_| {
        let (stop, stopped) = channel::<()>();
        let tell = tell.clone();
        thread::spawn(move || {
            tell.send(()).unwrap();
            // Ends with an error when the sender is dropped.
            let _ = stopped.recv();
        });
        stop
    };
    let stop = (0..count).map(start).collect();
    (0..count).for_each(|_| told.recv().unwrap());
    Idle { _stop: stop }
}

fn one_cpu(set: &CpuSet) -> CpuSet {
    set.first().into_iter().collect()
}

fn absent_cpu() -> u32 {
    let present = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    CpuSet::parse(&present).unwrap().last().unwrap() + 7
}

/// Runs one of the cases below in a process of its own.
fn in_a_process(case: &str) {
    let report = run("child", case, &[]).unwrap();
    assert!(report.noise.is_empty(), "{case}: printed {:?}", report.noise);
    assert_eq!(report.said, ["done"], "{case}");
}

#[test]
fn child() {
    match what_to_do().as_deref() {
        None => return,
        Some("all") => every_thread_is_bound_and_restored(),
        Some("unlike") => threads_get_back_the_masks_that_each_had(),
        Some("new") => threads_made_later_inherit_and_are_restored(),
        Some("absent") => absent_cpus_are_named_and_nothing_is_bound(),
        Some("nothing") => an_empty_set_is_refused(),
        Some("race") => threads_that_come_and_go_do_no_harm(),
        Some(other) => panic!("no case {other}"),
    }
    say("done");
}

#[test]
fn all_threads() {
    in_a_process("all");
}

fn every_thread_is_bound_and_restored() {
    let before = masks();
    let _idle = idle(5);
    let wanted = one_cpu(&current().unwrap());
    let with_idle = masks();
    assert_eq!(with_idle.len(), before.len() + 5);
    let saved = bind(&wanted).unwrap();
    assert!(masks().values().all(|mask| *mask == wanted), "{:?}", masks());
    assert_eq!(current().unwrap(), wanted);
    assert_eq!(saved.threads.iter().cloned().collect::<BTreeMap<_, _>>(), with_idle);
    assert_eq!(current_threads().unwrap().threads.len(), with_idle.len());
    restore(&saved).unwrap();
    assert_eq!(masks(), with_idle);
}

#[test]
fn unlike_masks() {
    in_a_process("unlike");
}

/// Some thread was bound before, elsewhere than the others.
fn threads_get_back_the_masks_that_each_had() {
    let all = current().unwrap();
    let first = bind(&one_cpu(&all)).unwrap();
    let _narrow = idle(2);
    // Undone for the threads of before only: those two keep one CPU, by a list that names them.
    let mut narrow = current_threads().unwrap().threads;
    narrow.retain(|(id, _)| first.threads.iter().all(|(known, _)| known != id));
    let mut mixed = first.clone();
    mixed.threads.extend(narrow);
    restore(&mixed).unwrap();
    let before = masks();
    let last: CpuSet = all.last().into_iter().collect();
    let saved = bind(&last).unwrap();
    assert!(masks().values().all(|mask| *mask == last));
    restore(&saved).unwrap();
    assert_eq!(masks(), before);
    assert!(before.values().filter(|mask| **mask == one_cpu(&all)).count() >= 2);
}

#[test]
fn new_threads() {
    in_a_process("new");
}

fn threads_made_later_inherit_and_are_restored() {
    let all = current().unwrap();
    let saved = bind(&one_cpu(&all)).unwrap();
    let _later = idle(3);
    assert!(masks().values().all(|mask| *mask == one_cpu(&all)));
    restore(&saved).unwrap();
    assert!(masks().values().all(|mask| *mask == all), "{:?}", masks());
}

#[test]
fn absent_cpus() {
    in_a_process("absent");
}

fn absent_cpus_are_named_and_nothing_is_bound() {
    let _idle = idle(3);
    let before = masks();
    let here = current().unwrap();
    // Beyond what the kernel's interface can count, too.
    for absent in [absent_cpu(), 1023, 1024, 100_000, u32::MAX] {
        let mut refused = CpuSet::new();
        refused.insert_range(absent..=absent);
        for wanted in [refused.clone(), &refused | &one_cpu(&here), &refused | &here] {
            let error = bind(&wanted).unwrap_err();
            assert_eq!(masks(), before, "half bound after {error}");
            let text = error.to_string();
            assert!(text.contains(&absent.to_string()), "{text}");
            assert!(text.contains("does not have"), "{text}");
            let Error::Affinity { wanted: told, refused: named, .. } = error else {
                panic!("{error:?}")
            };
            assert_eq!(told, wanted);
            assert!(refused.is_subset(&named), "{named}");
            assert!(named.is_subset(&wanted), "{named}");
            assert!(!here.is_subset(&wanted) || named == refused, "{named}");
        }
    }
}

#[test]
fn nothing() {
    in_a_process("nothing");
}

fn an_empty_set_is_refused() {
    let before = masks();
    assert!(matches!(bind(&CpuSet::new()), Err(Error::Affinity { .. })));
    assert_eq!(masks(), before);
}

#[test]
fn busy_process() {
    in_a_process("race");
}

/// Threads that start and end threads all the time, as a runtime that adapts its pool does.
fn threads_that_come_and_go_do_no_harm() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..3)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    thread::spawn(|| ()).join().unwrap();
                }
            })
        })
        .collect();
    let all = current().unwrap();
    let wanted = one_cpu(&all);
    let mut bound = 0;
    for _ in 0..50 {
        match bind(&wanted) {
            Ok(saved) => {
                bound += 1;
                restore(&saved).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    busy.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(bound, 50);
    assert!(masks().values().all(|mask| *mask == all), "{:?}", masks());
}
