"""What is in the way of a good binding on this node, and what to do about it.

Each check is a function that looks at a `Situation` and yields what it finds. Levels: a *problem*
is something that will fail or go wrong, a *warning* something that costs speed or may surprise, a
*note* something to know.
"""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from mpibind import _core, given, text
from mpibind.binding import map_core
from mpibind.errors import LauncherError, MpibindError
from mpibind.launcher import Place, place, started_by
from mpibind.settings import resolve
from mpibind.topology import Topology, load
from mpibind.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from mpibind.settings import Settings


class Finding(NamedTuple):
    """Something to look at."""

    level: str
    """``problem``, ``warning`` or ``note``."""
    kind: str
    """A word for programs."""
    text: str
    advice: str


class Situation(NamedTuple):
    """All that the checks look at."""

    machine: Topology | MpibindError
    """This machine, whatever variables say."""
    node: Topology | MpibindError
    """What mpibind takes for it."""
    online: str | None
    """The CPUs that the kernel runs, as a list in text; so are the next."""
    cgroup: str | None
    """The CPUs of this process's cgroup."""
    mask: str
    """The CPUs that this process may run on."""
    quota: float | None
    """How many CPUs' worth of time the cgroup allows."""
    launcher: str | None
    here: Place | None
    """What the launcher says, if it is sound."""
    launcher_error: str | None
    settings: Settings | MpibindError


def look() -> Situation:
    """Look at this machine, this process and its variables."""
    launcher, here, launcher_error = None, None, None
    try:
        launcher = started_by()
        here = place() if launcher else None
    except LauncherError as error:
        launcher_error = str(error)
    return Situation(
        machine=_attempt(_this_machine),
        node=_attempt(Topology),
        online=_read(Path("/sys/devices/system/cpu/online")),
        cgroup=_core.cpuset_cpus(),
        mask=_core.id_list(_core.current_cpus()),
        quota=_core.cpu_quota(),
        launcher=launcher,
        here=here,
        launcher_error=launcher_error,
        settings=_attempt(lambda: resolve(apply=False, env=False)),
    )


def findings(seen: Situation) -> list[Finding]:
    """Make all checks; problems come first."""
    found = [finding for check in _CHECKS for finding in check(seen)]
    levels = ("problem", "warning", "note")
    return sorted(found, key=lambda finding: levels.index(finding.level))


def lines(seen: Situation, found: list[Finding]) -> list[str]:
    """Lay out what was seen, then what was found."""
    shown = [f"{name:10}{words}" for name, words in _facts(seen)]
    for finding in found:
        shown += ["", f"{finding.level}: {finding.text}", f"    -> {finding.advice}"]
    return [*shown, "", _verdict(found)]


def as_dictionary(seen: Situation, found: list[Finding]) -> dict[str, Any]:
    """Make the same for JSON."""
    facts: dict[str, list[str]] = {}
    for name, words in _facts(seen):
        facts.setdefault(name, []).append(words)
    return {"facts": facts, "findings": [finding._asdict() for finding in found]}


def _verdict(found: list[Finding]) -> str:
    serious = [finding for finding in found if finding.level != "note"]
    if not serious:
        return "nothing is in the way"
    problems = sum(finding.level == "problem" for finding in serious)
    counts = (problems, "problem"), (len(serious) - problems, "warning")
    return ", ".join(text.count(number, word) for number, word in counts if number)


# ------------------------------------------------------------------------------
# What is seen
# ------------------------------------------------------------------------------


def _attempt(make: Callable[[], Any]) -> Any:  # noqa: ANN401  # Whatever it makes, or its error.
    try:
        return make()
    except MpibindError as error:
        return error


@contextmanager
def _machine_itself() -> Iterator[None]:
    """Have the variables that name another machine out of the way.

    The root of a copied file tree stays: someone who looks at a copy means the copy.
    """
    *others, _root = _core.SOURCE_VARIABLES
    hidden = {name: os.environ.pop(name) for name in others if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _this_machine() -> Topology:
    with _machine_itself():
        return Topology()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None


def _facts(seen: Situation) -> Iterator[tuple[str, str]]:
    yield "versions", ", ".join(_versions())
    if isinstance(seen.machine, MpibindError):
        yield "machine", str(seen.machine)
    else:
        node = seen.machine
        counts = (node.npus, "CPU"), (node.ncores, "core"), (node.nnumas, "NUMA node")
        words = ", ".join(text.count(number, word) for number, word in counts)
        yield "machine", f"{os.uname().nodename}: {words}"
    limit = "not limited" if seen.quota is None else f"{seen.quota:g} CPUs"
    usable = seen.cgroup or seen.online or "not known"
    yield "allowed", f"CPUs {usable} (cgroup), {seen.mask} (now); time {limit}"
    yield "launcher", _launcher_words(seen)
    names = sorted(name for name in os.environ if _is_setting(name))
    told = [given.readable(f"{name}={os.environ[name]}") for name in names]
    yield "settings", " ".join(told) or "defaults"
    if isinstance(seen.node, MpibindError):
        return
    for gpu in seen.node.gpus:
        known = text.model(gpu)
        yield "GPU", f"{gpu.index}: {known}, {gpu.pci or 'no PCI address'}, found by {gpu.found}"
    for device in seen.node.gpus.uncounted:
        yield "no GPU", f"{text.model(device)}, {device.pci}: {device.reason}"
    for nic in seen.node.nics:
        state = ", no port is active" if nic.down else ""
        yield "NIC", f"{nic.name}, {nic.pci or 'no PCI address'}{state}"
    if not seen.node.gpus:
        yield "GPU", "none found"


def _versions() -> Iterator[str]:
    from importlib.metadata import PackageNotFoundError, version

    yield f"mpibind {_core.__version__}"
    yield f"hwloc {_core.hwloc_version()}"
    yield f"Python {sys.version.split()[0]}"
    for package in ("numpy", "mpi4py"):
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"no {package}"


def _launcher_words(seen: Situation) -> str:
    if seen.launcher_error is not None:
        return "its variables do not fit together"
    if seen.here is None:
        return "none"
    local_rank, local_size, rank, size = seen.here
    return f"{seen.launcher}: task {rank}/{size}, on this node {local_rank}/{local_size}"


def _is_setting(name: str) -> bool:
    return name.startswith("MPIBIND") or name in _core.SOURCE_VARIABLES


# ------------------------------------------------------------------------------
# The checks
# ------------------------------------------------------------------------------


def _machine(seen: Situation) -> Iterator[Finding]:
    if isinstance(seen.machine, MpibindError):
        advice = "see that /sys and /proc are mounted, and what HWLOC_* variables say"
        yield Finding("problem", "no-topology", str(seen.machine), advice)


def _elsewhere(seen: Situation) -> Iterator[Finding]:
    """A file that was written on another machine, or before this one was changed."""
    name = next((name for name in _core.SOURCE_VARIABLES if os.environ.get(name)), None)
    if name is None:
        return
    value = os.environ[name]
    anew = f"unset {name}"
    if name in ("MPIBIND_TOPOFILE", "HWLOC_XMLFILE"):
        # Not by lstopo: with HWLOC_XMLFILE it would write what it reads.
        write = f"env -u {name} mpibind topo --xml {shlex.quote(value)}"
        anew += f", or write the file anew on this node: {write}"
    if isinstance(seen.node, MpibindError):
        yield Finding("problem", "unreadable-topology", str(seen.node), anew)
        return
    if isinstance(seen.machine, MpibindError) or name == "HWLOC_FSROOT":
        words = f"{name}={value!r} stands for this machine: binding here would go by another's CPUs"
        yield Finding("note", "other-machine", words, f"unset {name} before you bind")
        return
    differences = [*_differences(seen.node, seen.machine)]
    if differences:
        words = f"{name}={value!r} does not match this machine: {'; '.join(differences)}"
        yield Finding("problem", "stale-topology", words, anew)


def _differences(told: Topology, real: Topology) -> Iterator[str]:
    cpus, ours = set(_core.ids_of(told.cpus)), set(_core.ids_of(real.cpus))
    if cpus - ours:
        yield f"it has CPUs {_core.id_list(sorted(cpus - ours))}, which may not be used here"
    if ours - cpus:
        yield f"it lacks CPUs {_core.id_list(sorted(ours - cpus))}"
    for words, count, here in (
        ("cores", told.ncores, real.ncores),
        ("NUMA nodes", told.nnumas, real.nnumas),
        ("GPUs", len(told.gpus), len(real.gpus)),
    ):
        if count != here:
            yield f"{words}: {count} there, {here} here"
    if len(told.gpus) == len(real.gpus):
        theirs, own = ({gpu.pci for gpu in node.gpus} for node in (told, real))
        if theirs != own:
            yield "its GPUs have other PCI addresses"


def _quota(seen: Situation) -> Iterator[Finding]:
    ncpus = len(_core.ids_of(seen.cgroup or seen.online or seen.mask))
    if seen.quota is not None and seen.quota < ncpus:
        yield Finding(
            "warning",
            "quota-below-cpus",
            f"the cgroup allows {seen.quota:g} CPUs of time on {ncpus} CPUs (cpu.max); more "
            "threads than that only wait",
            "mpibind gives the tasks of this node no more threads than that together; ask the "
            "batch system or the container for more time (docker run --cpus, limits.cpu)",
        )


def _sysfs(seen: Situation) -> Iterator[Finding]:
    """A container or chroot without the kernel's files about the hardware."""
    if seen.online is None and sys.platform == "linux":
        yield Finding(
            "warning",
            "no-sysfs",
            "/sys cannot be read: NUMA nodes, GPUs and network cards are not known, and CPUs only "
            "by what the processor says of itself",
            "mount it, as containers do by themselves (chroot: mount --rbind /sys NEWROOT/sys)",
        )


def _cgroup(seen: Situation) -> Iterator[Finding]:
    if seen.cgroup is None or seen.online is None:
        return
    usable, all_cpus = set(_core.ids_of(seen.cgroup)), set(_core.ids_of(seen.online))
    if usable < all_cpus:
        yield Finding(
            "note",
            "cgroup-below-node",
            f"the cgroup allows CPUs {seen.cgroup} of the node's {seen.online}",
            "mpibind maps to these; ask the batch system for whole nodes (--exclusive) if you "
            "want all",
        )


def _mask(seen: Situation) -> Iterator[Finding]:
    allowed = seen.cgroup or seen.online
    if allowed is None:
        return
    mask, usable = set(_core.ids_of(seen.mask)), set(_core.ids_of(allowed))
    if not mask < usable:
        return
    options = {
        "Slurm": "srun --cpu-bind=none",
        "Open MPI": "mpirun --bind-to none",
        "MPICH or Intel MPI": "mpiexec -bind-to none (Intel MPI: I_MPI_PIN=0)",
        "MVAPICH2": "MV2_ENABLE_AFFINITY=0",
        "MVAPICH": "MVP_ENABLE_AFFINITY=0",
        "jsrun": "jsrun --bind none",
        "PALS": "mpiexec --cpu-bind none",
        "Flux": "flux run -o cpu-affinity=off",
    }
    by = seen.launcher or "a launcher, taskset or numactl"
    option = options.get(seen.launcher or "", "start it without")
    yield Finding(
        "warning",
        "bound-already",
        f"{by} has bound this process to CPUs {seen.mask} of {allowed}",
        "mpibind goes by the cgroup and binds anew; what runs before it sees these CPUs only: "
        f"{option}. If jobs share the node without cgroups, use --respect affinity",
    )


def _gpu_variables(seen: Situation) -> Iterator[Finding]:
    if isinstance(seen.node, MpibindError):
        return
    order = os.environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    if order != "PCI_BUS_ID":
        yield Finding(
            "warning",
            "gpu-order",
            f"CUDA_DEVICE_ORDER={order!r} numbers GPUs otherwise than nvidia-smi and mpibind",
            "unset CUDA_DEVICE_ORDER or make it PCI_BUS_ID",
        )
    sight = _core.sight(seen.node._core, given.variables_of(os.environ))
    if sight.shown != []:
        # Where none is left there is more to say, below.
        for note in sight.notes:
            advice = (
                "name each GPU of the job once, by its index or UUID (`mpibind topo --devices`)"
            )
            yield Finding("warning", "gpu-variable-odd", note, advice)
    gpus = seen.node.gpus
    shown = gpus if sight.shown is None else [gpus[place] for place in sight.shown]
    for vendor, hiding in groupby(sight.hiding, key=itemgetter(0)):
        told = [(name, value) for _, name, value in hiding]
        left = [str(gpu.index) for gpu in shown if gpu.vendor == vendor]
        are_all = len(left) == sum(gpu.vendor == vendor for gpu in gpus)
        what = "not all tiles" if are_all else f"GPUs {','.join(left) or 'none'} only"
        words = " and ".join(f"{name}={value!r}" for name, value in told)
        unset = f"unset {' '.join(name for name, _ in told)}"
        show = "shows" if len(told) == 1 else "show"
        if not left and all(value for _, value in told):
            name = "names" if len(told) == 1 else "together name"
            words = f"{words} {name} no GPU of this node, and so {show} none"
            yield Finding("problem", "gpu-variable-shows-none", words, unset)
        else:
            yield Finding(
                "note",
                "gpu-variable-set",
                f"{words} {show} {what}",
                f"mpibind maps these only; {unset} if no scheduler has set it",
            )


def _devices(seen: Situation) -> Iterator[Finding]:
    """What the kernel and the drivers say of GPUs, where it does not fit together."""
    if isinstance(seen.node, MpibindError):
        return
    notes = seen.node.gpus.notes
    if notes:
        more = f"; and {len(notes) - 3} more (`mpibind topo --devices` shows all)"
        yield Finding(
            "note",
            "gpu-odd",
            "; ".join(notes[:3]) + (more if len(notes) > 3 else ""),
            "GPUs are mapped by what is known of them; look whether the driver runs (nvidia-smi, "
            "rocm-smi, xpu-smi)",
        )


def _pci(seen: Situation) -> Iterator[Finding]:
    """A libhwloc that looks at no PCI devices although the kernel has some: discovery asks it."""
    root = Path(os.environ.get("HWLOC_FSROOT") or "/")
    devices = root / "sys/bus/pci/devices"
    if isinstance(seen.machine, MpibindError) or not devices.is_dir():
        return
    # Storage, network, display and accelerators: what hwloc keeps.
    classes = [_read(device / "class") or "" for device in sorted(devices.iterdir())]
    real = [code for code in classes if code[:4] in ("0x01", "0x02", "0x03", "0x0b", "0x12")]
    with _machine_itself():
        seen_by_hwloc = _core.count_pci_devices()
    if not real or seen_by_hwloc:
        return
    component = os.environ.get("HWLOC_COMPONENTS")
    why = f"HWLOC_COMPONENTS={component!r} may say so" if component else "it was built so"
    yield Finding(
        "note",
        "hwloc-without-pci",
        f"hwloc sees none of the {len(real)} PCI devices that the kernel has ({why}): mpibind "
        "reads GPUs and network cards from /sys itself, and hwloc's XML of the node "
        "(`mpibind topo --xml`) lacks them",
        "nothing, or unset HWLOC_COMPONENTS"
        if component
        else "nothing, or install a libhwloc that has PCI (Debian: libhwloc15 with "
        "libhwloc-plugins; from source: without --disable-io)",
    )


def _openmp(seen: Situation) -> Iterator[Finding]:
    """Variables of OpenMP and BLAS that say otherwise than mpibind."""
    unset = "unset {}"
    kmp = os.environ.get("KMP_AFFINITY", "").lower()
    # Intel's types count within the task's CPUs, but for lists, and where it is told not to.
    is_list = any(word in kmp for word in _KMP_LISTS)
    lists = ["GOMP_CPU_AFFINITY", "KMP_AFFINITY"] if is_list else ["GOMP_CPU_AFFINITY"]
    types = [] if is_list else ["KMP_AFFINITY"]
    for level, kind, names, words, advice in (
        (
            "problem",
            "openmp-affinity",
            lists,
            "OpenMP would move the threads to these CPUs, the same in every task",
            unset,
        ),
        (
            "warning",
            "openmp-affinity",
            types,
            "comes before OMP_PLACES and OMP_PROC_BIND, which `mpibind run` sets",
            unset,
        ),
        *_OPENMP,
    ):
        present = [name for name in names if os.environ.get(name)]
        if "OMP_PROC_BIND" in present and os.environ["OMP_PROC_BIND"].lower() == "false":
            continue  # then OpenMP pins nothing, whatever OMP_PLACES says
        # What `mpibind run` has set itself is not in the way of what it has started.
        if present and not (level == "note" and seen.launcher):
            told = " and ".join(given.readable(f"{name}={os.environ[name]}") for name in present)
            yield Finding(level, kind, f"{told}: {words}", advice.format(" ".join(present)))


_KMP_LISTS = ("explicit", "proclist", "norespect")
"""Words of KMP_AFFINITY with which it goes beyond the CPUs of the task."""

_OPENMP = (
    (
        "warning",
        "openmp-places",
        ("OMP_PROC_BIND", "OMP_PLACES"),
        "in a Python program that calls bind(), an OpenMP library that is loaded later pins the "
        "main thread to one CPU",
        "unset {}; `mpibind run` sets its own for the program that it starts",
    ),
    (
        "warning",
        "openmp-limits",
        ("OMP_THREAD_LIMIT", "KMP_HW_SUBSET"),
        "limits OpenMP's threads, whatever OMP_NUM_THREADS says, which mpibind sets",
        "unset {}, and give the number to mpibind (nthreads=, smt=; --nthreads, --smt)",
    ),
    (
        "warning",
        "blas-threads",
        ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "GOTO_NUM_THREADS"),
        "comes before OMP_NUM_THREADS, which mpibind sets",
        "unset {}",
    ),
    (
        "note",
        "openmp-threads",
        ("OMP_NUM_THREADS",),
        "mpibind sets it anew for each task",
        "give the number to mpibind instead (nthreads=, --nthreads)",
    ),
)


def _mpi_binding(seen: Situation) -> Iterator[Finding]:
    """MPI libraries that bind in MPI_Init, after `mpibind run` has."""
    switch = {"MVAPICH2": "MV2_ENABLE_AFFINITY", "MVAPICH": "MVP_ENABLE_AFFINITY"}
    name = switch.get(seen.launcher or "")
    if name is not None and os.environ.get(name) != "0":
        yield Finding(
            "warning",
            "mpi-binds",
            f"{seen.launcher} binds each task in MPI_Init, and so undoes what `mpibind run` did",
            f"export {name}=0",
        )


def _launcher(seen: Situation) -> Iterator[Finding]:
    if seen.launcher_error is not None:
        advice = "unset what another launcher has left, or give --local-rank and -n to mpibind run"
        yield Finding("problem", "launcher", seen.launcher_error, advice)


def _settings(seen: Situation) -> Iterator[Finding]:
    """Settings that are not legal, or not on this node."""
    if isinstance(seen.settings, MpibindError):
        advice = "correct it or unset it: every bind() fails like this"
        yield Finding("problem", "settings", str(seen.settings), advice)
    elif seen.settings.core.is_off:
        words = "MPIBIND=off: bind() and `mpibind run` do nothing"
        yield Finding("note", "off", words, "unset MPIBIND, or make it on")
    elif not isinstance(seen.node, MpibindError):
        ntasks = seen.here.local_size if seen.here else 1
        try:
            map_core(load(seen.node), seen.settings, ntasks, None, [given.view()])
        except MpibindError as error:
            words = f"mapping {text.count(ntasks, 'task')} to this node fails: {error}"
            advice = "correct it or unset it: every bind() fails like this"
            yield Finding("problem", "settings", words, advice)


def _mpi4py(_: Situation) -> Iterator[Finding]:
    """An mpi4py whose MPI library is not there."""
    from importlib.util import find_spec

    if find_spec("mpi4py") is None:
        return
    import mpi4py

    # To look at the library is enough: nothing is started that others could wait for.
    mpi4py.rc.initialize = False
    try:
        from mpi4py import MPI  # noqa: F401
    except (ImportError, RuntimeError) as error:
        yield Finding(
            "problem",
            "mpi4py",
            f"mpi4py is installed, but cannot be used: {error}",
            "load the module of the MPI library that it was built with, or build it anew for this "
            "one: pip install --no-binary=mpi4py --force-reinstall mpi4py",
        )


_CHECKS: tuple[Callable[[Situation], Iterator[Finding]], ...] = (
    _machine,
    _sysfs,
    _elsewhere,
    _settings,
    _launcher,
    _quota,
    _cgroup,
    _mask,
    _gpu_variables,
    _devices,
    _pci,
    _openmp,
    _mpi_binding,
    _mpi4py,
)
