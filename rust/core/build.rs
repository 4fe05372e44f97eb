//! Lets this crate link with a shared libhwloc where only libhwloc's own package is installed.
//!
//! hwlocality-sys asks pkg-config for what a static link needs, whatever is linked in the end. A
//! distribution's libhwloc.so carries the names of its own dependencies (libudev, libltdl ...), so
//! their development packages are often absent, and the linker stops at `-ludev`. Where libhwloc is
//! taken as a shared library these extra names are satisfied with empty archives.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Parts of the C library, and libhwloc itself: never to be replaced.
const REAL: [&str; 7] = ["hwloc", "c", "m", "dl", "rt", "pthread", "util"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let probe = |is_static: bool| {
        pkg_config::Config::new().statik(is_static).cargo_metadata(false).probe("hwloc").ok()
    };
    // Without pkg-config or hwloc the build of hwlocality-sys has already said so.
    let (Some(full), Some(shared)) = (probe(true), probe(false)) else { return };
    if full.link_paths.iter().any(|folder| is_static_here(folder)) {
        return;
    }
    let folder =
        PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("unneeded");
    fs::create_dir_all(&folder).expect("OUT_DIR can be written");
    for library in full.libs.iter().filter(|name| !shared.libs.contains(name)) {
        if !REAL.contains(&library.as_str()) {
            // The header of an archive without members.
            fs::write(folder.join(format!("lib{library}.a")), "!<arch>\n")
                .expect("OUT_DIR can be written");
        }
    }
    println!("cargo:rustc-link-search=native={}", folder.display());
}

/// Whether pkg-config's crate takes the static library from this folder: it does outside the
/// system's own folders.
fn is_static_here(folder: &Path) -> bool {
    !folder.starts_with("/usr") && folder.join("libhwloc.a").is_file()
}
