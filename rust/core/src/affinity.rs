//! Binding: the only place that changes the state of the process.
//!
//! Linux keeps one CPU mask per thread. MPI libraries and BLAS pools have threads before a program
//! gets to bind itself, so every thread of the process is bound; threads made later inherit.

use crate::{CpuSet, Error, Result};

/// The masks of all threads at one moment, to go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The calling thread's mask.
    pub own: CpuSet,
    /// Thread ids and their masks.
    pub threads: Vec<(i32, CpuSet)>,
}

/// Binds every thread of this process to `cpus`, reads back what the kernel did, and returns the
/// masks from before.
///
/// # Errors
///
/// [`Error::Affinity`] if a thread ended up with other CPUs, naming those that could not be had.
/// Every thread then has its old mask again.
///
/// Source: sched_setaffinity(2); cpuset(7) for why a kernel may grant less than was asked.
pub fn bind(cpus: &CpuSet) -> Result<Saved> {
    let refuse = |refused: CpuSet, errno, reason: String| Error::Affinity {
        wanted: cpus.clone(),
        refused,
        errno,
        reason,
    };
    if cpus.is_empty() {
        return Err(refuse(CpuSet::new(), None, "the list is empty".into()));
    }
    let absent = cpus - &kernel::countable();
    if !absent.is_empty() {
        let reason = format!(
            "this machine does not have CPUs {absent}; was the mapping made for another machine?"
        );
        return Err(refuse(absent, None, reason));
    }
    let first = kernel::threads()?;
    let mut saved = Saved { own: kernel::own_mask()?, threads: Vec::new() };
    match bind_threads(cpus, &mut saved.threads) {
        Ok(()) => Ok(saved),
        Err(failure) => {
            roll_back(&saved, &first, cpus);
            let refused = cpus - &failure.granted;
            Err(refuse(refused.clone(), failure.errno, explain(&refused, failure.errno)))
        }
    }
}

/// Gives every thread its mask from before; threads that are newer get what the caller had.
///
/// # Errors
///
/// [`Error::Affinity`] if the kernel refuses; the other threads are restored all the same.
pub fn restore(saved: &Saved) -> Result<()> {
    let mut failed = None;
    for thread in kernel::threads()? {
        let known = saved.threads.iter().find(|(id, _)| *id == thread);
        let mask = known.map_or(&saved.own, |(_, mask)| mask);
        if let Err(errno) = kernel::set_mask(thread, mask) {
            failed = failed.or(errno.map(|errno| (mask.clone(), errno)));
        }
    }
    match failed {
        None => Ok(()),
        Some((wanted, errno)) => {
            let reason = explain(&wanted, Some(errno));
            Err(Error::Affinity { wanted, refused: CpuSet::new(), errno: Some(errno), reason })
        }
    }
}

/// The CPUs that the calling thread may run on now.
///
/// # Errors
///
/// [`Error::Affinity`] if the kernel does not say.
pub fn current() -> Result<CpuSet> {
    kernel::own_mask()
}

/// The masks of all threads now.
///
/// # Errors
///
/// [`Error::Affinity`] if the kernel does not say.
pub fn current_threads() -> Result<Saved> {
    let own = kernel::own_mask()?;
    let threads = kernel::threads()?;
    let threads = threads
        .into_iter()
        .filter_map(|thread| Some((thread, kernel::mask(thread).ok()?)))
        .collect();
    Ok(Saved { own, threads })
}

/// Undoes what was done until a failure: to threads that were bound, and to those that a bound
/// thread has started since, which have its CPUs. Threads that were not reached are left alone.
fn roll_back(saved: &Saved, first: &[i32], cpus: &CpuSet) {
    // A thread that has ended needs no mask.
    for (thread, mask) in &saved.threads {
        let _ = kernel::set_mask(*thread, mask);
    }
    for thread in kernel::threads().unwrap_or_default() {
        let known = first.contains(&thread) || saved.threads.iter().any(|(id, _)| *id == thread);
        if !known && kernel::mask(thread).is_ok_and(|mask| mask == *cpus) {
            let _ = kernel::set_mask(thread, &saved.own);
        }
    }
}

struct Failure {
    granted: CpuSet,
    errno: Option<i32>,
}

/// Binds thread after thread until none is new, and notes the masks from before in `done`.
fn bind_threads(cpus: &CpuSet, done: &mut Vec<(i32, CpuSet)>) -> std::result::Result<(), Failure> {
    // A thread that is not bound yet can start others. Each round leaves fewer that can; a process
    // that still makes unbound threads after so many is left as it was.
    const ROUNDS: usize = 100;
    for _ in 0..ROUNDS {
        let threads =
            kernel::threads().map_err(|_| Failure { granted: cpus.clone(), errno: None })?;
        let mut new = false;
        for thread in threads {
            if done.iter().any(|(known, _)| *known == thread) {
                continue;
            }
            // Where the mask cannot be read or set because the thread has ended, there is no errno.
            let before = match kernel::mask(thread) {
                Ok(before) => before,
                Err(None) => continue,
                Err(errno) => return Err(Failure { granted: CpuSet::new(), errno }),
            };
            new = true;
            done.push((thread, before));
            match kernel::set_mask(thread, cpus).and_then(|()| kernel::mask(thread)) {
                Ok(granted) if granted == *cpus => {}
                Ok(granted) => return Err(Failure { granted, errno: None }),
                Err(None) => {}
                // Nothing that was asked for can be had, or nothing may be changed.
                Err(errno) => return Err(Failure { granted: CpuSet::new(), errno }),
            }
        }
        if !new {
            return Ok(());
        }
    }
    Err(Failure { granted: cpus.clone(), errno: None })
}

/// Why CPUs could not be had, in words.
fn explain(refused: &CpuSet, errno: Option<i32>) -> String {
    let absent = refused - &kernel::listed("present");
    let offline = &(refused - &absent) - &kernel::listed("online");
    let forbidden = &(refused - &absent) - &offline;
    let mut parts = Vec::new();
    if !absent.is_empty() {
        parts.push(format!(
            "this machine does not have CPUs {absent}; was the mapping made for another machine?"
        ));
    }
    if !offline.is_empty() {
        parts.push(format!("CPUs {offline} are offline"));
    }
    if !forbidden.is_empty() {
        parts.push(match errno {
            Some(errno) if errno != kernel::EINVAL => {
                let error = std::io::Error::from_raw_os_error(errno);
                format!("the kernel forbids it ({error}); a container may block sched_setaffinity")
            }
            _ => format!(
                "CPUs {forbidden} are not allowed to this process; its cpuset cgroup (job, container) does not have them"
            ),
        });
    }
    if parts.is_empty() {
        parts.push(
            "the kernel did not say why, or threads kept appearing; nothing was changed".into(),
        );
    }
    parts.join("; ")
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::fs;

    use rustix::io::Errno;
    use rustix::thread::{self, Pid};

    use crate::{CpuSet, Error, Result};

    pub(super) const EINVAL: i32 = Errno::INVAL.raw_os_error();

    /// The CPU ids that the kernel's interface, as rustix wraps it, can express.
    pub(super) fn countable() -> CpuSet {
        let mut all = CpuSet::new();
        all.insert_range(0..=thread::CpuSet::MAX_CPU as u32 - 1);
        all
    }

    /// A list of CPUs that the kernel publishes; all CPUs where it does not.
    pub(super) fn listed(name: &str) -> CpuSet {
        fs::read_to_string(format!("/sys/devices/system/cpu/{name}"))
            .ok()
            .and_then(|text| CpuSet::parse(&text).ok())
            .unwrap_or_else(countable)
    }

    pub(super) fn threads() -> Result<Vec<i32>> {
        let unreadable = |error: std::io::Error| Error::Affinity {
            wanted: CpuSet::new(),
            refused: CpuSet::new(),
            errno: error.raw_os_error(),
            reason: format!(
                "the threads of this process cannot be listed in /proc/self/task: {error}"
            ),
        };
        let entries = fs::read_dir("/proc/self/task").map_err(unreadable)?;
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
    }

    pub(super) fn own_mask() -> Result<CpuSet> {
        let unknown = |errno: Errno| Error::Affinity {
            wanted: CpuSet::new(),
            refused: CpuSet::new(),
            errno: Some(errno.raw_os_error()),
            reason: format!("the present CPUs of this process cannot be read: {errno}"),
        };
        thread::sched_getaffinity(None).map(|mask| from_kernel(&mask)).map_err(unknown)
    }

    /// The mask of a thread, or the kernel's error number, none if the thread has ended.
    pub(super) fn mask(id: i32) -> std::result::Result<CpuSet, Option<i32>> {
        thread::sched_getaffinity(Pid::from_raw(id))
            .map(|mask| from_kernel(&mask))
            .map_err(unless_ended)
    }

    /// Sets the mask of a thread; errors as of [`mask`].
    pub(super) fn set_mask(id: i32, cpus: &CpuSet) -> std::result::Result<(), Option<i32>> {
        let mut mask = thread::CpuSet::new();
        cpus.iter().for_each(|cpu| mask.set(cpu as usize));
        thread::sched_setaffinity(Pid::from_raw(id), &mask).map_err(unless_ended)
    }

    fn unless_ended(errno: Errno) -> Option<i32> {
        (errno != Errno::SRCH).then(|| errno.raw_os_error())
    }

    fn from_kernel(mask: &thread::CpuSet) -> CpuSet {
        (0..thread::CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu)).map(|cpu| cpu as u32).collect()
    }
}

/// Elsewhere a mapping can be looked at, but there is no mask to set.
#[cfg(not(target_os = "linux"))]
mod kernel {
    use crate::{CpuSet, Error, Result};

    pub(super) const EINVAL: i32 = 22;

    fn unsupported<T>() -> Result<T> {
        let reason =
            "this operating system does not bind processes to CPUs; mpibind does it on Linux"
                .into();
        Err(Error::Affinity { wanted: CpuSet::new(), refused: CpuSet::new(), errno: None, reason })
    }

    pub(super) fn countable() -> CpuSet {
        let mut all = CpuSet::new();
        all.insert_range(0..=u32::MAX);
        all
    }

    pub(super) fn listed(_name: &str) -> CpuSet {
        countable()
    }

    pub(super) fn threads() -> Result<Vec<i32>> {
        unsupported()
    }

    pub(super) fn own_mask() -> Result<CpuSet> {
        unsupported()
    }

    pub(super) fn mask(_id: i32) -> std::result::Result<CpuSet, Option<i32>> {
        Err(None)
    }

    pub(super) fn set_mask(_id: i32, _cpus: &CpuSet) -> std::result::Result<(), Option<i32>> {
        Err(None)
    }
}
