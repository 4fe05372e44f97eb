//! Lists of ids, as restrictions have them.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use mpibind_core::discover::{Discovered, Source, discover};
use mpibind_core::{CpuSet, Parameters, Request};
use mpibind_fuzz::{machine, map_and_use};

static NODE: LazyLock<Arc<Discovered>> = LazyLock::new(|| {
    let path = machine("cgroup-half-node-2gpu.xml");
    Arc::new(discover(Source::Xml(&path)).expect("a good file"))
});

fuzz_target!(|text: &str| {
    if let Ok(set) = CpuSet::parse(text) {
        let again = CpuSet::parse(&set.to_string());
        assert_eq!(again.as_ref(), Ok(&set));
        assert!(set.ranges().all(|range| range.start() <= range.end()));
        assert_eq!(set.is_empty(), set.first().is_none());
    }
    for restrict_type in ["cpu", "mem"] {
        let parameters =
            Parameters { restrict_ids: Some(text), restrict_type, ..Parameters::new(5) };
        if let Ok(request) = Request::new(&parameters) {
            map_and_use(&NODE, &request);
        }
    }
});
