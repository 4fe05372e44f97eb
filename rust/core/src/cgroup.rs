//! What control groups grant this process: CPUs, and time on them.
//!
//! Sources: Linux, Documentation/admin-guide/cgroup-v2.rst (`cpu.max`, `cpuset.cpus.effective`),
//! Documentation/scheduler/sched-bwc.rst (`cpu.cfs_quota_us`), cgroups(7) for `/proc/PID/cgroup`.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// How many CPUs' worth of time the cgroups of this process allow: the least of its own and all
/// above. None if none of them limits it.
///
/// `root` is the root of the file tree, `/` for this machine.
pub fn cpu_quota(root: &Path) -> Option<f64> {
    let own = own(root)?;
    let version2 = folders(root, &own, "").into_iter().filter_map(|folder| {
        let text = read(&folder.join("cpu.max"))?;
        let (quota, period) = text.split_once(' ')?;
        ratio(quota, period)
    });
    let version1 = folders(root, &own, "cpu").into_iter().filter_map(|folder| {
        let quota = read(&folder.join("cpu.cfs_quota_us"))?;
        ratio(&quota, &read(&folder.join("cpu.cfs_period_us"))?)
    });
    version1.chain(version2).reduce(f64::min)
}

/// The CPUs of this process's cgroup as a list in text: those of the nearest level that tells. None
/// where there are no cpusets.
pub fn cpuset_cpus(root: &Path) -> Option<String> {
    let told = |folders: Vec<PathBuf>, file: &str| {
        folders.iter().find_map(|folder| read(&folder.join(file)).filter(|list| !list.is_empty()))
    };
    let own = own(root)?;
    told(folders(root, &own, "cpuset"), "cpuset.effective_cpus")
        .or_else(|| told(folders(root, &own, "cpuset"), "cpuset.cpus"))
        .or_else(|| told(folders(root, &own, ""), "cpuset.cpus.effective"))
}

/// The cgroups of this process, one a hierarchy.
fn own(root: &Path) -> Option<String> {
    read(&root.join("proc/self/cgroup"))
}

/// The folders of this process's cgroup and all above it, from the inside out: of a controller of
/// version 1, or of version 2 for the empty name. `own` is what the kernel lists.
///
/// A container may be told a path of its host, which it does not see; the folders that are not
/// there are left out, and the mount's own is what the container has.
fn folders(root: &Path, own: &str, controller: &str) -> Vec<PathBuf> {
    let Some(mount) = mount(root, controller) else { return Vec::new() };
    let path = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        names.split(',').any(|name| name == controller).then_some(path)
    });
    let Some(path) = path else { return Vec::new() };
    // A cgroup outside of the namespace is told as "/../other": it cannot be looked at.
    let inner: PathBuf =
        Path::new(path).components().filter(|part| matches!(part, Component::Normal(_))).collect();
    let leaves = Path::new(path).components().any(|part| part == Component::ParentDir);
    let inner = if leaves { PathBuf::new() } else { inner };
    inner.ancestors().map(|inner| mount.join(inner)).filter(|folder| folder.is_dir()).collect()
}

/// Where the hierarchy of a controller is mounted, by custom.
fn mount(root: &Path, controller: &str) -> Option<PathBuf> {
    let top = root.join("sys/fs/cgroup");
    let (names, sign): (&[&str], &str) = match controller {
        "" => (&["", "unified"], "cgroup.controllers"),
        "cpu" => (&["cpu", "cpu,cpuacct", "cpuacct,cpu"], "cpu.cfs_period_us"),
        _ => (&["cpuset"], "cpuset.cpus"),
    };
    names.iter().map(|name| top.join(name)).find(|folder| folder.join(sign).exists())
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// "max" and -1 mean no limit; so does what is no number.
fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.trim().parse().ok()?);
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths and what the files there hold.
    type Files = &'static [(&'static str, &'static str)];

    fn tree(files: Files) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const OWN: &str = "proc/self/cgroup";
    const V2: &str = "sys/fs/cgroup/cgroup.controllers";
    const V1: (&str, &str) = ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");

    #[test]
    fn quotas() {
        const JOB: (&str, &str) = (OWN, "0::/job/step\n");
        const OLD: (&str, &str) = (OWN, "5:cpuset:/x\n4:cpu,cpuacct:/job\n0::/\n");
        let cases: &[(&str, Files, Option<f64>)] = &[
            ("nothing", &[], None),
            ("no-list", &[(V2, "cpu")], None),
            ("max", &[JOB, (V2, ""), ("sys/fs/cgroup/job/step/cpu.max", "max 100000\n")], None),
            (
                "own",
                &[JOB, (V2, ""), ("sys/fs/cgroup/job/step/cpu.max", "250000 100000\n")],
                Some(2.5),
            ),
            (
                "least",
                &[
                    JOB,
                    (V2, ""),
                    ("sys/fs/cgroup/job/step/cpu.max", "400000 100000\n"),
                    ("sys/fs/cgroup/job/cpu.max", "150000 50000\n"),
                    ("sys/fs/cgroup/cpu.max", "max 100000\n"),
                ],
                Some(3.0),
            ),
            // The container's own limit is that of the mount; it does not see its path.
            ("container", &[JOB, (V2, ""), ("sys/fs/cgroup/cpu.max", "50000 100000\n")], Some(0.5)),
            (
                "outside",
                &[
                    (OWN, "0::/../other\n"),
                    (V2, ""),
                    ("sys/fs/cgroup/cpu.max", "200000 100000"),
                    ("sys/fs/cgroup/other/cpu.max", "100000 100000"),
                    ("sys/fs/other/cpu.max", "100000 100000"),
                ],
                Some(2.0),
            ),
            ("empty", &[JOB, (V2, ""), ("sys/fs/cgroup/cpu.max", "")], None),
            ("odd", &[JOB, (V2, ""), ("sys/fs/cgroup/cpu.max", "many 100000")], None),
            ("one-word", &[JOB, (V2, ""), ("sys/fs/cgroup/cpu.max", "100000")], None),
            ("no-period", &[JOB, (V2, ""), ("sys/fs/cgroup/cpu.max", "100000 0")], None),
            ("negative", &[JOB, (V2, ""), ("sys/fs/cgroup/cpu.max", "-5 100000")], None),
            ("zero", &[JOB, (V2, ""), ("sys/fs/cgroup/cpu.max", "0 100000")], None),
            ("v1-none", &[OLD, V1, ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")], None),
            (
                "v1",
                &[
                    OLD,
                    V1,
                    ("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "600000\n"),
                    ("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n"),
                    ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
                ],
                Some(6.0),
            ),
            (
                "v1-long-name",
                &[
                    OLD,
                    ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000"),
                    ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "100000"),
                ],
                Some(1.0),
            ),
            (
                "hybrid",
                &[
                    OLD,
                    V1,
                    ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000\n"),
                    ("sys/fs/cgroup/unified/cgroup.controllers", ""),
                    ("sys/fs/cgroup/unified/cpu.max", "300000 100000\n"),
                ],
                Some(3.0),
            ),
        ];
        for (name, files, expected) in cases {
            assert_eq!(cpu_quota(tree(files).path()), *expected, "{name}");
        }
    }

    #[test]
    fn cpus_of_the_nearest_level_that_tells() {
        let cases: &[(&str, Files, Option<&str>)] = &[
            ("set-nothing", &[], None),
            (
                "set-v2",
                &[
                    (OWN, "0::/job/step\n"),
                    (V2, ""),
                    ("sys/fs/cgroup/job/step/cpuset.cpus.effective", "\n"),
                    ("sys/fs/cgroup/job/cpuset.cpus.effective", "0-3,8\n"),
                    ("sys/fs/cgroup/cpuset.cpus.effective", "0-15\n"),
                ],
                Some("0-3,8"),
            ),
            (
                "set-v1",
                &[
                    (OWN, "3:cpuset:/job\n"),
                    ("sys/fs/cgroup/cpuset/cpuset.cpus", "0-15\n"),
                    ("sys/fs/cgroup/cpuset/job/cpuset.effective_cpus", "4-5\n"),
                    ("sys/fs/cgroup/cpuset/job/cpuset.cpus", "4-7\n"),
                ],
                Some("4-5"),
            ),
            (
                "set-old-v1",
                &[
                    (OWN, "3:cpuset:/job\n"),
                    ("sys/fs/cgroup/cpuset/cpuset.cpus", "0-15\n"),
                    ("sys/fs/cgroup/cpuset/job/cpuset.cpus", "4-7\n"),
                ],
                Some("4-7"),
            ),
        ];
        for (name, files, expected) in cases {
            assert_eq!(cpuset_cpus(tree(files).path()).as_deref(), *expected, "{name}");
        }
    }
}
