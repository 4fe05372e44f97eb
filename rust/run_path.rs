//! Gives the extension and the command a run path to a shared libhwloc outside the system's folders, where Spack,
//! environment modules, conda and private builds put it: the dynamic loader would not look there.

use std::path::{Path, PathBuf};

/// Folders that the dynamic loader searches by itself, those below them included (multiarch).
const SYSTEM: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];

fn main() {
    println!("cargo:rerun-if-changed=../run_path.rs");
    // What a static link names too: a libhwloc.a outside the system's folders needs shared
    // libraries that lie beside it, or in folders of their own.
    let probed = pkg_config::Config::new().statik(true).cargo_metadata(false).probe("hwloc");
    // Without pkg-config or hwloc the build of hwlocality-sys has already said so.
    let Ok(hwloc) = probed else { return };
    let linked_from = |folder: &&PathBuf| hwloc.libs.iter().any(|name| is_shared(folder, name));
    for folder in hwloc.link_paths.iter().filter(|folder| !is_system(folder)).filter(linked_from) {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
}

fn is_system(folder: &Path) -> bool {
    SYSTEM.iter().any(|system| folder.starts_with(system))
}

/// Whether the linker takes this library from this folder as a shared one: like hwlocality-sys,
/// it prefers an archive everywhere but below /usr.
fn is_shared(folder: &Path, name: &str) -> bool {
    let holds = |suffix: &str| folder.join(format!("lib{name}.{suffix}")).is_file();
    (holds("so") || holds("dylib")) && (folder.starts_with("/usr") || !holds("a"))
}
