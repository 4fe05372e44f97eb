//! What the kernel and the drivers say in files, below a root that need not be the real one.
//!
//! Nothing here fails: a file that cannot be read tells less, and a note says why.

use std::cell::RefCell;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::PciAddress;
use crate::printable;

/// A Linux file tree.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
    /// Device files that count as open, whatever this process may do.
    open: Vec<String>,
    notes: RefCell<Vec<String>>,
}

/// What became of reading a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Text(String),
    Missing,
    /// The kernel hides it from this process: how cgroups keep devices apart.
    Forbidden,
    /// There, but not readable as a file should be.
    Broken,
}

/// Whether a program of this process could open a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Open,
    Missing,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there are no cgroups"))]
    Forbidden,
}

/// No file that is read here has more than a few kilobytes.
const MAX_BYTES: u64 = 64 << 10;

impl Files {
    pub(crate) fn new(root: &Path, open: &[String]) -> Self {
        Self { root: root.to_owned(), open: open.to_owned(), notes: RefCell::default() }
    }

    /// The device files of GPUs that this process may open, sorted.
    pub(crate) fn open_devices(&self) -> Vec<String> {
        let has_number = |name: &str, prefix: &str| {
            name.strip_prefix(prefix).is_some_and(|rest| rest.parse::<u32>().is_ok())
        };
        let mut paths = Vec::new();
        // The folder /dev is long; without this file there are none of NVIDIA's.
        if self.root.join("dev/nvidiactl").exists() {
            let names = self.names("dev").into_iter();
            paths.extend(
                names.filter(|name| has_number(name, "nvidia")).map(|n| format!("dev/{n}")),
            );
        }
        let nodes = self.names("dev/dri").into_iter().filter(|name| has_number(name, "renderD"));
        paths.extend(nodes.map(|name| format!("dev/dri/{name}")));
        paths.retain(|path| self.access(path) == Access::Open);
        paths
    }

    /// What was odd so far.
    pub(crate) fn into_notes(self) -> Vec<String> {
        self.notes.into_inner()
    }

    pub(crate) fn note(&self, text: String) {
        let mut notes = self.notes.borrow_mut();
        if !notes.contains(&text) {
            notes.push(text);
        }
    }

    /// Whether there is a file, or a folder.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// Reads a file; `path` starts below the root.
    pub(crate) fn read(&self, path: &str) -> Content {
        let full = self.root.join(path);
        let read = || -> std::io::Result<Vec<u8>> {
            // Opening a pipe could wait for ever.
            if !fs::metadata(&full)?.is_file() {
                return Err(std::io::Error::other("it is not a file"));
            }
            let mut bytes = Vec::new();
            fs::File::open(&full)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) => Content::Text(lines(&bytes)),
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Content::Missing,
                ErrorKind::PermissionDenied => Content::Forbidden,
                _ => {
                    self.note(format!("/{path} cannot be read: {error}"));
                    Content::Broken
                }
            },
        }
    }

    /// The text of a file that may be missing; that it may not be read is noted.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        match self.read(path) {
            Content::Text(text) => Some(text),
            Content::Forbidden => {
                self.note(format!("/{path} may not be read by this process"));
                None
            }
            Content::Missing | Content::Broken => None,
        }
    }

    /// The part of a file's text that was written to the end: drivers end each line. What a line that
    /// was cut off says would be wrong, rather than less.
    pub(crate) fn whole_lines<'a>(&self, text: &'a str, path: &str) -> &'a str {
        let end = text.rfind('\n').map_or(0, |place| place + 1);
        if end < text.len() {
            self.note(format!("/{path} ends in the middle of a line; it may be half-written"));
        }
        &text[..end]
    }

    /// The names in a folder, sorted; none if there is no such folder.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(path)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into()).collect();
        names.sort();
        names
    }

    /// The folder that the kernel has for a PCI function.
    pub(crate) fn function(address: PciAddress) -> String {
        format!("sys/bus/pci/devices/{address}")
    }

    /// The render node of a PCI function, such as `renderD128`. hwloc, told to keep what is important,
    /// leaves these nodes out on a live machine.
    pub(crate) fn render_node(&self, address: PciAddress) -> Option<String> {
        let nodes = self.names(&format!("{}/drm", Self::function(address)));
        nodes.into_iter().find(|name| name.starts_with("renderD"))
    }

    /// Whether a device file could be opened for reading and writing. It is not opened, which would
    /// wake a sleeping GPU; the kernel's answer heeds file modes and the devices of a cgroup alike.
    #[cfg(target_os = "linux")]
    pub(crate) fn access(&self, path: &str) -> Access {
        use rustix::fs::Access as Mode;
        match rustix::fs::access(self.root.join(path), Mode::READ_OK | Mode::WRITE_OK) {
            Ok(()) => Access::Open,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Access::Missing,
            Err(_) => Access::Forbidden,
        }
    }

    /// As above, where there are no cgroups.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn access(&self, path: &str) -> Access {
        if self.root.join(path).exists() { Access::Open } else { Access::Missing }
    }

    /// Why a device file could not be opened; nothing if it could.
    pub(crate) fn obstacle(&self, path: &str) -> Option<String> {
        if self.open.iter().any(|open| open == path) {
            return None;
        }
        match self.access(path) {
            Access::Open => None,
            Access::Missing => Some(format!("/{path} is missing: a container hides it")),
            Access::Forbidden => {
                Some(format!("/{path} may not be opened: a cgroup or its file mode forbids it"))
            }
        }
    }
}

/// The text of a file, as [`printable`] within its lines.
fn lines(bytes: &[u8]) -> String {
    let lines: Vec<String> = bytes.split(|byte| *byte == b'\n').map(printable).collect();
    lines.join("\n")
}

/// A number as drivers write it: decimal, or hexadecimal with or without `0x`.
pub(crate) fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok().or_else(|| u64::from_str_radix(text, 16).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(" 12\n"), Some(12));
        assert_eq!(number("0x1F"), Some(31));
        assert_eq!(number("ab12"), Some(0xab12));
        assert_eq!(number("18446744073709551615"), Some(u64::MAX));
        assert_eq!(number(""), None);
        assert_eq!(number("-1"), None);
        assert_eq!(number("zebra"), None);
    }

    #[test]
    fn lines_have_no_control_characters() {
        assert_eq!(
            lines(b"Model:\t H\x1b[2J\r\nUUID: \0\xff\n"),
            "Model:  H\u{fffd}[2J \nUUID: \u{fffd}\u{fffd}\n"
        );
        assert_eq!((lines(b""), lines(b"\n\n")), (String::new(), "\n\n".into()));
    }

    #[test]
    fn a_line_that_is_cut_off_says_nothing() {
        let files = Files::new(Path::new("/"), &[]);
        assert_eq!(files.whole_lines("a 1\nb 2\n", "x"), "a 1\nb 2\n");
        assert_eq!(files.whole_lines("", "x"), "");
        assert!(files.notes.borrow().is_empty());
        assert_eq!(files.whole_lines("a 1\nb 2", "x"), "a 1\n");
        assert_eq!(files.whole_lines("b 2", "x"), "");
        assert_eq!(files.into_notes(), ["/x ends in the middle of a line; it may be half-written"]);
    }

    #[test]
    fn what_is_no_file_is_noted_and_never_opened() {
        let files = Files::new(Path::new("/"), &[]);
        assert_eq!(files.read("no/such/file"), Content::Missing);
        assert_eq!(files.read("proc/self/status/below"), Content::Missing);
        assert_eq!(files.read("proc"), Content::Broken);
        assert_eq!(files.access("no/such/file"), Access::Missing);
        assert_eq!(files.access("dev/null"), Access::Open);
        assert!(files.names("no/such/folder").is_empty());
        assert_eq!(files.into_notes(), ["/proc cannot be read: it is not a file"]);
    }
}
