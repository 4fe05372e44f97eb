//! Variables: which GPUs a task may see, what a launcher says, what users of mpibind say.

#![no_main]

use std::collections::HashMap;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mpibind_core::discover::{Discovered, Source, discover};
use mpibind_core::settings::{Given, Settings, Words};
use mpibind_core::{Parameters, Request, launcher};
use mpibind_fuzz::{machine, map_and_use, views};

/// GPUs of each vendor, with tiles, of two vendors, and none.
static NODES: LazyLock<Vec<Discovered>> = LazyLock::new(|| {
    let names =
        ["dgx-h100-8gpu", "mi250x-8gpu", "aurora-6gpu", "desktop-amd-nvidia", "decoys-0gpu"];
    let read = |name| discover(Source::Xml(&machine(&format!("{name}.xml"))));
    names.into_iter().map(|name| read(name).expect("a good file")).collect()
});

fuzz_target!(|text: &str| {
    let known: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let variables = |name: &str| known.get(name).map(|value| (*value).to_owned());
    let _ = launcher::started_by(&variables);
    if let Ok(place) = launcher::place(None, None, &variables) {
        assert!((0..place.local_size).contains(&place.local_rank));
    }
    if let Ok(words) = Words::of(&variables) {
        let _ = Settings::new(Given::default(), words, &variables).map(|settings| settings.words());
    }
    let views = views(text);
    for node in NODES.iter() {
        let gpus = node.topology.gpus();
        for view in &views {
            let sight = view.sight(gpus);
            assert!(sight.shown.iter().all(|gpu| *gpu < gpus.len()));
            let mut once = sight.shown.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), sight.shown.len(), "a GPU is shown twice");
        }
        for greedy in [true, false] {
            let parameters = Parameters { greedy, ..Parameters::new(views.len() as i64) };
            let request = Request::new(&parameters).and_then(|all| all.with_views(views.clone()));
            if let Ok(request) = request {
                map_and_use(node, &request);
            }
        }
    }
});
