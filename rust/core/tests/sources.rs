//! Where topologies come from: files, synthetic text, the environment, and everything that can be
//! wrong with them.
//!
//! Bad input goes to a process of its own, because libhwloc may print, hang or crash, and none of
//! this may happen.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use mpibind_core::discover::{Source, discover};
use mpibind_core::{Error, Topology};
use support::process::{Report, run, say, scratch, what_to_do};
use support::random::scramble;
use support::test_suite;

/// Two cores of two threads and a NUMA node, as hwloc 1 wrote it.
const VERSION_1: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE topology SYSTEM "hwloc.dtd">
<topology>
  <object type="Machine" os_index="0" cpuset="0x0000000f" complete_cpuset="0x0000000f" online_cpuset="0x0000000f" allowed_cpuset="0x0000000f" nodeset="0x00000001" complete_nodeset="0x00000001" allowed_nodeset="0x00000001">
    <object type="NUMANode" os_index="0" cpuset="0x0000000f" complete_cpuset="0x0000000f" online_cpuset="0x0000000f" allowed_cpuset="0x0000000f" nodeset="0x00000001" complete_nodeset="0x00000001" allowed_nodeset="0x00000001" local_memory="1073741824">
      <object type="Core" os_index="0" cpuset="0x00000005" complete_cpuset="0x00000005" online_cpuset="0x00000005" allowed_cpuset="0x00000005" nodeset="0x00000001" complete_nodeset="0x00000001" allowed_nodeset="0x00000001">
        <object type="PU" os_index="0" cpuset="0x00000001" complete_cpuset="0x00000001" online_cpuset="0x00000001" allowed_cpuset="0x00000001" nodeset="0x00000001" complete_nodeset="0x00000001" allowed_nodeset="0x00000001"/>
        <object type="PU" os_index="2" cpuset="0x00000004" complete_cpuset="0x00000004" online_cpuset="0x00000004" allowed_cpuset="0x00000004" nodeset="0x00000001" complete_nodeset="0x00000001" allowed_nodeset="0x00000001"/>
      </object>
      <object type="Core" os_index="1" cpuset="0x0000000a" complete_cpuset="0x0000000a" online_cpuset="0x0000000a" allowed_cpuset="0x0000000a" nodeset="0x00000001" complete_nodeset="0x00000001" allowed_nodeset="0x00000001">
        <object type="PU" os_index="1" cpuset="0x00000002" complete_cpuset="0x00000002" online_cpuset="0x00000002" allowed_cpuset="0x00000002" nodeset="0x00000001" complete_nodeset="0x00000001" allowed_nodeset="0x00000001"/>
        <object type="PU" os_index="3" cpuset="0x00000008" complete_cpuset="0x00000008" online_cpuset="0x00000008" allowed_cpuset="0x00000008" nodeset="0x00000001" complete_nodeset="0x00000001" allowed_nodeset="0x00000001"/>
      </object>
    </object>
  </object>
</topology>
"#;

/// Two CPUs and a NUMA node in format 2, with more attributes of the machine and more objects.
fn version_2(machine: &str, more: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE topology SYSTEM "hwloc2.dtd">
<topology version="2.0">
  <object type="Machine" os_index="0" cpuset="0x00000003" complete_cpuset="0x00000003" allowed_cpuset="0x00000003" nodeset="0x00000001" complete_nodeset="0x00000001" allowed_nodeset="0x00000001" gp_index="1" {machine}>
    <object type="NUMANode" os_index="0" cpuset="0x00000003" complete_cpuset="0x00000003" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="2" local_memory="1073741824"/>
    <object type="PU" os_index="0" cpuset="0x00000001" complete_cpuset="0x00000001" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="3"/>
    <object type="PU" os_index="1" cpuset="0x00000002" complete_cpuset="0x00000002" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="4"/>
    {more}
  </object>
</topology>
"#
    )
}

/// A file of hwloc 1 whose root is memory, with one hardware thread.
fn memory_around(pu: &str, all: &str) -> String {
    let sets = |cpus: &str| {
        format!(
            "cpuset=\"{cpus}\" complete_cpuset=\"{cpus}\" online_cpuset=\"{cpus}\" \
             allowed_cpuset=\"{cpus}\" nodeset=\"0x00000001\" complete_nodeset=\"0x00000001\" \
             allowed_nodeset=\"0x00000001\" os_index=\"0\""
        )
    };
    format!(
        "<topology><object type=\"NUMANode\" {} local_memory=\"1073741824\">\
         <object type=\"PU\" {}/></object></topology>",
        sets(all),
        sets(pu)
    )
}

fn levels(machine: &Topology) -> String {
    let level =
        |level: &mpibind_core::Level| format!("{} {}", level.objects.len(), level.kind.name());
    machine.levels().iter().map(level).collect::<Vec<_>>().join(", ")
}

#[test]
fn xml_of_both_formats_is_read() {
    let folder = scratch("formats");
    for (name, text, expected) in [
        ("one.xml", VERSION_1.to_owned(), "1 Machine, 2 Core, 4 PU"),
        ("two.xml", version_2("", ""), "1 Machine, 2 PU"),
        ("memory.xml", memory_around("0x00000001", "0x00000001"), "1 Machine, 1 PU"),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        let found = discover(Source::Xml(&path)).unwrap();
        assert_eq!(levels(&found.topology), expected);
        assert_eq!(found.topology.numas().len(), 1);
        assert!(found.origin.contains(name), "{}", found.origin);
    }
    let version_1 = discover(Source::Xml(&folder.join("one.xml"))).unwrap().topology;
    assert_eq!(version_1.pus(), [0, 2, 1, 3]);
}

#[test]
fn synthetic_text_is_read_with_gpus_for_each_node() {
    let text = "package:2 [numa] core:18 pu:2(indexes=2*36:1*2)";
    let machine = discover(Source::Synthetic { text, gpus: &[2, 0] }).unwrap().topology;
    assert_eq!(levels(&machine), "1 Machine, 2 Package, 36 Core, 72 PU");
    assert_eq!(&machine.pus()[..4], [0, 36, 1, 37]);
    let around = |gpu: &mpibind_core::Gpu| machine.objects()[gpu.locality].pus.clone();
    let places: Vec<_> = machine.gpus().iter().map(|gpu| (gpu.index, around(gpu))).collect();
    assert_eq!(places, [(0, 0..36), (1, 0..36)]);
    // A shorter list leaves the other nodes without GPUs.
    let machine = discover(Source::Synthetic { text, gpus: &[1] }).unwrap().topology;
    assert_eq!(machine.gpus().len(), 1);
}

#[test]
fn bad_numbers_of_gpus_are_refused_with_the_legal_ones() {
    let text = "package:2 [numa] core:2 pu:1";
    for (gpus, words) in [
        (&[1, 2, 3][..], "the machine has 2 NUMA nodes"),
        (&[-1][..], "0 to 1024"),
        (&[0, 1 << 40][..], "0 to 1024"),
    ] {
        let error = discover(Source::Synthetic { text, gpus }).unwrap_err();
        assert!(matches!(error, Error::InvalidParameter { parameter: "gpus", .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// What the child does: says what is found at the path, text or place that it is told.
#[test]
fn child() {
    let Some(what) = what_to_do() else { return };
    let found = match what.split_once(' ') {
        Some(("xml", path)) => discover(Source::Xml(Path::new(path))),
        Some(("synthetic", text)) => discover(Source::Synthetic { text, gpus: &[] }),
        Some(("bad-name", _)) => {
            use std::os::unix::ffi::OsStrExt;
            discover(Source::Xml(Path::new(OsStr::from_bytes(b"/nowhere/\xff\xfe.xml"))))
        }
        _ => discover(Source::Here { open: &[] }),
    };
    match found {
        Ok(found) => say(format!("{}: {}", found.origin, levels(&found.topology))),
        Err(error @ Error::Topology { .. }) => say(format!("TopologyError {error}")),
        Err(other) => say(format!("other error {other}")),
    }
}

/// What a child says, if it says one thing, prints nothing else and ends well.
fn try_to_ask(what: &str, variables: &[(&str, &OsStr)]) -> Result<String, String> {
    let Report { said, noise } = run("child", what, variables)?;
    match &said[..] {
        _ if !noise.is_empty() => Err(format!("{what}: printed {noise:?}")),
        [said] => Ok(said.clone()),
        said => Err(format!("{what}: said {said:?}")),
    }
}

fn ask(what: &str, variables: &[(&str, &OsStr)]) -> String {
    try_to_ask(what, variables).unwrap()
}

/// Complains unless a source is refused with these words, or, where there are no words, at least
/// does no harm: strange input need not be wrong.
fn expect_refusal(what: &str, variables: &[(&str, &OsStr)], words: &[&str]) -> Option<String> {
    let said = match try_to_ask(what, variables) {
        Err(complaint) => return Some(complaint),
        Ok(said) => said,
    };
    let is_refusal = said.starts_with("TopologyError cannot use the topology");
    let is_good = match words {
        [] => is_refusal || !said.contains("error"),
        words => is_refusal && words.iter().all(|words| said.contains(words)),
    };
    (!is_good || said.len() > 1000)
        .then(|| format!("{what} {variables:?}: expected {words:?}, got {said:.1000}"))
}

fn no_complaints(complaints: &[String]) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_environment_puts_another_machine_in_this_ones_place() {
    let folder = scratch("environment");
    let (two, one) = (folder.join("two.xml"), folder.join("one.xml"));
    fs::write(&two, version_2("", "")).unwrap();
    fs::write(&one, VERSION_1).unwrap();
    let synthetic = OsStr::new("numa:3 pu:5");
    let nothing = OsStr::new("");
    let here = ask("here", &[]);
    assert!(here.starts_with("this machine: "), "{here}");
    for (variables, name, expected) in [
        (vec![("MPIBIND_TOPOFILE", two.as_os_str())], "MPIBIND_TOPOFILE", "1 Machine, 2 PU"),
        (vec![("HWLOC_XMLFILE", one.as_os_str())], "HWLOC_XMLFILE", "2 Core, 4 PU"),
        (vec![("HWLOC_SYNTHETIC", synthetic)], "HWLOC_SYNTHETIC", "15 PU"),
        // The first that is set and not empty counts.
        (
            vec![("MPIBIND_TOPOFILE", two.as_os_str()), ("HWLOC_XMLFILE", one.as_os_str())],
            "MPIBIND_TOPOFILE",
            "1 Machine, 2 PU",
        ),
        (
            vec![("HWLOC_XMLFILE", one.as_os_str()), ("HWLOC_SYNTHETIC", synthetic)],
            "HWLOC_XMLFILE",
            "2 Core, 4 PU",
        ),
        (
            vec![("MPIBIND_TOPOFILE", nothing), ("HWLOC_SYNTHETIC", synthetic)],
            "HWLOC_SYNTHETIC",
            "15 PU",
        ),
    ] {
        let said = ask("here", &variables);
        assert!(said.contains(&format!("(from {name})")), "{said}");
        assert!(said.ends_with(expected), "{said}");
    }
    // What was asked for by name is not what the environment says.
    let said = ask(&format!("xml {}", two.display()), &[("HWLOC_XMLFILE", one.as_os_str())]);
    assert!(said.ends_with("1 Machine, 2 PU"), "{said}");
    let said = ask("synthetic numa:2 pu:2", &[("HWLOC_XMLFILE", one.as_os_str())]);
    assert!(said.ends_with("4 PU"), "{said}");
}

/// Writes the few files of `/sys` that make a machine of four CPUs in two cores.
fn file_tree(root: &Path) {
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for list in ["online", "possible", "present"] {
        write(&format!("sys/devices/system/cpu/{list}"), "0-3\n");
    }
    for cpu in 0..4 {
        let core = cpu % 2;
        let siblings = if core == 0 { "5" } else { "a" };
        let folder = format!("sys/devices/system/cpu/cpu{cpu}/topology");
        write(&format!("{folder}/core_id"), &format!("{core}\n"));
        write(&format!("{folder}/physical_package_id"), "0\n");
        write(&format!("{folder}/thread_siblings"), &format!("{siblings}\n"));
        write(&format!("{folder}/core_cpus"), &format!("{siblings}\n"));
        write(&format!("{folder}/core_siblings"), "f\n");
        write(&format!("{folder}/package_cpus"), "f\n");
    }
    write("sys/devices/system/node/online", "0\n");
    write("sys/devices/system/node/node0/cpumap", "f\n");
    write("sys/devices/system/node/node0/meminfo", "Node 0 MemTotal: 1024 kB\n");
    write("proc/meminfo", "MemTotal: 1024 kB\n");
    write("proc/cpuinfo", "processor : 0\n\nprocessor : 1\n\nprocessor : 2\n\nprocessor : 3\n\n");
}

#[cfg(target_os = "linux")]
#[test]
fn hwloc_fsroot_puts_another_file_tree_in_this_ones_place() {
    let root = scratch("fsroot");
    let said = ask("here", &[("HWLOC_FSROOT", root.as_os_str())]);
    assert!(said.starts_with("TopologyError"), "{said}");
    assert!(said.contains("HWLOC_FSROOT") && said.contains("not a folder"), "{said}");
    file_tree(&root);
    let said = ask("here", &[("HWLOC_FSROOT", root.as_os_str())]);
    assert!(said.contains("(from HWLOC_FSROOT)"), "{said}");
    assert!(said.ends_with("1 Machine, 2 Core, 4 PU"), "{said}");
    // Old kernels ended lists with a zero byte.
    let list = root.join("sys/devices/system/node/online");
    fs::write(&list, "0\n\0").unwrap();
    let said = ask("here", &[("HWLOC_FSROOT", root.as_os_str())]);
    assert!(said.ends_with("1 Machine, 2 Core, 4 PU"), "{said}");
    // libhwloc would end the process.
    for damaged in ["8-0\n1", "", "99999999", "\0", "18535,2", "353\n,00"] {
        fs::write(&list, damaged).unwrap();
        let said = ask("here", &[("HWLOC_FSROOT", root.as_os_str())]);
        assert!(said.starts_with("TopologyError") && said.contains("is no rising list"), "{said}");
    }
}

/// Files that are no topology, and words of the reason that each must get.
fn bad_files(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let good = fs::read_to_string(test_suite("topologies/decoys-0gpu.xml")).unwrap();
    let noise: Vec<u8> = (0..50 << 17).flat_map(|word| scramble(7, word).to_le_bytes()).collect();
    let letters = noise.iter().map(|byte| b'a' + byte % 26).collect();
    let nested =
        |tag: &str, end: &str, depth| (tag.repeat(depth) + &end.repeat(depth)).into_bytes();
    let objects = "<object type=\"Group\" cpuset=\"0x1\" complete_cpuset=\"0x1\" gp_index=\"9\">";
    let deep = objects.repeat(200_000) + &"</object>".repeat(200_000);
    let laughs: String = (1..30)
        .map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10)))
        .collect();
    let laughs =
        format!("<!DOCTYPE topology [<!ENTITY l0 \"ha\">{laughs}]><topology>&l29;</topology>");
    let changed = |from, to: &str| version_2("", "").replace(from, to).into_bytes();
    let group = "<object type=\"Group\" cpuset=\"0x3\" complete_cpuset=\"0x3\" nodeset=\"0x1\" \
                 complete_nodeset=\"0x1\" gp_index=\"8\"/>";
    let pu = "<object type=\"PU\" os_index=\"1\" cpuset=\"0x2\" complete_cpuset=\"0x2\" \
              nodeset=\"0x1\" complete_nodeset=\"0x1\" gp_index=\"8\"/>";
    let no_cpus = "<topology version=\"2.0\"><object type=\"Machine\" os_index=\"0\"/></topology>";
    let files: Vec<(&str, Vec<u8>, &'static str)> = vec![
        ("empty", Vec::new(), "it is empty"),
        ("blank", b" \n\t\n".to_vec(), "it is empty"),
        ("half", good.as_bytes()[..good.len() / 2].to_vec(), "cut off"),
        ("without-end", good.trim_end().trim_end_matches("</topology>").into(), "cut off"),
        ("trailing", (good.clone() + "<topology/>").into(), "not well-formed"),
        ("text", b"Machine (16GB total)\n  Package L#0\n".to_vec(), "not be XML at all"),
        ("json", br#"{"type": "Machine"}"#.to_vec(), "looks like JSON"),
        ("svg", b"<svg xmlns=\"http://www.w3.org/2000/svg\"><rect/></svg>".to_vec(), "<svg>"),
        ("hollow", b"<topology version=\"2.0\"/>".to_vec(), "without objects"),
        ("version-9", good.replacen("version=\"2.0\"", "version=\"9.0\"", 1).into(), "refuses"),
        ("no-cpus", no_cpus.into(), ""),
        (
            "unknown",
            version_2("", "<object type=\"Spaceship\" gp_index=\"8\"/>").into(),
            "does not know",
        ),
        ("zeros", vec![0; 1 << 20], "not be XML at all"),
        ("latin-1", b"<topology><object name=\"caf\xe9\"/></topology>".to_vec(), "UTF-8"),
        (
            "utf-16",
            "\u{feff}<topology/>".encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "UTF-8",
        ),
        ("noise", noise, "UTF-8"),
        ("letters", letters, "not be XML at all"),
        ("nested", nested("<a>", "</a>", 1_000_000), ""),
        ("deep", version_2("", &deep).into(), ""),
        ("laughs", laughs.into(), ""),
        ("infinite", version_2("", "").replace("0x00000003", "0xf...f").into(), ""),
        ("far", changed("os_index=\"1\"", "os_index=\"4294967294\""), "os_index=\"4294967294\""),
        ("negative", changed("os_index=\"1\"", "os_index=\"-7\""), "os_index=\"-7\""),
        ("words", changed("0x00000002", "two"), "cpuset=\"two\", which is no set"),
        ("long", changed("0x00000002", &"0xffffffff,".repeat(1_000_000)), "which is no set"),
        // libhwloc believes these, and some versions crash in later steps.
        ("twice", changed("0x00000002", "0x00000001"), "a set of other things than itself"),
        ("other-cpu", changed("os_index=\"1\"", "os_index=\"0\""), "a set of other things"),
        (
            "outside",
            changed("cpuset=\"0x00000003\"", "cpuset=\"0x00000001\""),
            "what is around it lacks",
        ),
        (
            "too-many",
            changed("cpuset=\"0x00000003\"", "cpuset=\"0x00000007\""),
            "no object below it has",
        ),
        (
            "unequal",
            changed(" cpuset=\"0x00000002\"", " cpuset=\"0x00000003\""),
            "inside its complete set",
        ),
        (
            "old-too-many",
            memory_around("0x00000001", "0x00000003").into(),
            "no object below it has",
        ),
        ("half-set", changed("complete_cpuset=\"0x00000002\"", ""), "no complete_cpuset"),
        ("no-nodeset", changed(" nodeset=\"0x00000001\"", ""), "no nodeset"),
        ("no-memory", changed("NUMANode", "MemCache"), "has no NUMA nodes"),
        ("same-number", changed("gp_index=\"4\"", "gp_index=\"3\""), "no gp_index of its own"),
        ("no-number", changed("gp_index=\"4\"", ""), "no gp_index of its own"),
        ("no-type", changed("type=\"NUMANode\"", ""), "has no type"),
        ("shared-cpus", version_2("", pu).into(), "share CPUs"),
        (
            "lost-memory",
            changed(
                "nodeset=\"0x00000001\" complete_nodeset=\"0x00000001\" allowed",
                "nodeset=\"0x00000003\" complete_nodeset=\"0x00000003\" allowed",
            ),
            "its nodeset says",
        ),
        ("no-root", changed("Machine", "Group"), "where none can be"),
        ("version", changed("2.0", "99999999999999999999"), "is not two numbers"),
        ("version-1", changed("2.0", "1.0"), "hwloc 1 knew nothing of"),
        ("device", version_2("", &group.replace("Group", "OSDev")).into(), "must have none"),
        (
            "set-device",
            version_2("", "<object type=\"PCIDev\" gp_index=\"8\"><object type=\"PU\"/></object>")
                .into(),
            "where none can be",
        ),
        (
            "two-machines",
            version_2("", "").replace("</topology>", &format!("{group}</topology>")).into(),
            "a second machine",
        ),
        (
            "prefix",
            version_2("", "").replace("type=\"PU\"", "type=\"PU\" xml:type=\"Core\"").into(),
            "a name in a namespace, in line 6",
        ),
        (
            "namespace",
            version_2("", "").replace("<topology", "<topology xmlns=\"y\"").into(),
            "a name in a namespace, in line 3",
        ),
        ("namespaces", version_2("", &"<a xmlns=\"b\">".repeat(150)).into(), "more than 100 name"),
        ("attributes", version_2(&"a=\"\" ".repeat(6_000), "").into(), "more than 5000 attributes"),
        ("no-machine", version_2("", "").replace("Machine", "PU").into(), "where none can be"),
    ];
    let mut bad = Vec::new();
    for (name, bytes, words) in files {
        let path = folder.join(name).with_extension("xml");
        fs::File::create(&path).unwrap().write_all(&bytes).unwrap();
        bad.push((path, words));
    }
    bad.push((folder.join("missing.xml"), "No such file"));
    bad.push((folder.to_owned(), "not a regular file"));
    bad.push(("/dev/zero".into(), "not a regular file"));
    bad.push(("/dev/null".into(), "not a regular file"));
    bad.push((folder.join("empty.xml/below"), "cannot be opened"));
    let pipe = folder.join("pipe.xml");
    if std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|done| done.success()) {
        bad.push((pipe, "not a regular file"));
    }
    bad
}

#[test]
fn bad_files_are_refused_quietly_and_with_a_reason() {
    let folder = scratch("bad");
    let mut complaints = Vec::new();
    for (path, words) in bad_files(&folder) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let words: Vec<&str> = if words.is_empty() { vec![] } else { vec![words, name] };
        let what = format!("xml {}", path.display());
        complaints.extend(expect_refusal(&what, &[], &words));
        // The environment's files get the same reasons, and the name of the variable.
        for (variable, from) in [
            ("MPIBIND_TOPOFILE", "(from MPIBIND_TOPOFILE)"),
            ("HWLOC_XMLFILE", "(from HWLOC_XMLFILE)"),
        ] {
            let mut words = words.clone();
            words.extend((!words.is_empty()).then_some(from));
            complaints.extend(expect_refusal("here", &[(variable, path.as_os_str())], &words));
        }
    }
    complaints.extend(expect_refusal("bad-name .", &[], &["No such file"]));
    no_complaints(&complaints);
}

#[test]
fn bad_synthetic_texts_are_refused_quietly_and_with_a_reason() {
    let mut complaints = Vec::new();
    for (text, words) in [
        ("", "does not understand"),
        ("  ", "does not understand"),
        ("nonsense", "does not understand"),
        ("package:2 core:x", "does not understand"),
        ("package:0 pu:1", "does not understand"),
        ("package:-3 pu:1", "does not understand"),
        ("pu:2 package:2", "does not understand"),
        ("package:2 [numa core:2 pu:1", "does not understand"),
        ("package:2] core:2", "does not understand"),
        ("package:2 pu:2(indexes=9,9,9,9)", ""),
        ("package:2 pu:2(indexes=", ""),
        ("\u{fffd}\u{1f600}:2", "does not understand"),
        ("package:1000000 core:1000000", "too big"),
        ("1000000000000", "too big"),
        ("pu:99999999999999999999999999", "too big"),
        ("10 10 10 10 10 10 10 10 10 10 10 10", "too big"),
        ("package:4294967296 pu:4294967296", "too big"),
        // Attributes do not count, but what stands after them does.
        ("package:1000(memory=1) core:1000(indexes=1) pu:1000", "too big"),
        ("[numa(memory=1)] package:100000 [numa] pu:100000", "too big"),
    ] {
        let words: Vec<&str> = if words.is_empty() { vec![] } else { vec![words] };
        complaints.extend(expect_refusal(&format!("synthetic {text}"), &[], &words));
        if !text.trim().is_empty() {
            let mut words = words.clone();
            words.extend((!words.is_empty()).then_some("(from HWLOC_SYNTHETIC)"));
            let variable = ("HWLOC_SYNTHETIC", OsStr::new(text));
            complaints.extend(expect_refusal("here", &[variable], &words));
        }
    }
    no_complaints(&complaints);
}

/// Good input is quiet, too: libhwloc has much to say about old or unusual files.
#[test]
fn every_machine_of_the_collection_loads_quietly() {
    for (_, path) in support::collection() {
        let said = ask(&format!("xml {}", path.display()), &[]);
        assert!(said.contains("1 Machine, "), "{said}");
    }
}
