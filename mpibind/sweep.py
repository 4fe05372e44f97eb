"""What a node makes of more or fewer tasks, hardware threads and sharing: one row for each.

The core maps and counts; here it is asked, and its answers are laid out.
"""

from __future__ import annotations

from mpibind import given, text
from mpibind.binding import map_core
from mpibind.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mpibind import _core
    from mpibind.settings import Settings
    from mpibind.topology import Topology


class Row(NamedTuple):
    """One choice, and what comes of it."""

    ntasks: int
    smt: int
    greedy: bool | None
    """None where it makes no difference."""
    nthreads: tuple[int, int]
    """The fewest and the most threads of a task; so for GPUs."""
    cores: int
    """Cores that are used."""
    ncores: int
    """Cores that there are."""
    cpus: int
    """Hardware threads that are used."""
    gpus: tuple[int, int]
    across_numas: int
    """Tasks with CPUs of several NUMA domains."""
    across_l3s: int | None
    """Tasks with CPUs of several L3 caches; None on nodes without a level of its own for them."""
    sharing: int
    """Tasks that have a CPU in common with another."""


def rows(
    node: Topology,
    ask: Callable[[int, bool], Settings],
    ntasks: int | None = None,
    smt: int | None = None,
    greedy: bool | None = None,
) -> list[Row]:
    """Map with each choice; what is given is no choice.

    Parameters
    ----------
    node : Topology
    ask : callable
        Makes the settings of a choice from `smt` and `greedy`.
    ntasks : int, optional
        Else powers of two, and as many tasks as there are NUMA nodes, GPUs and cores.
    smt : int, optional
        Else 0 (decide) to the hardware threads of a core.
    greedy : bool, optional
        Else both, in one row where they give the same.
    """
    found = []
    views = [given.view()]
    for tasks in _task_counts(node) if ntasks is None else [ntasks]:
        for width in range(node.smt + 1) if smt is None else [smt]:
            choices: list[bool | None] = [True, False] if greedy is None else [greedy]
            cores = [
                map_core(node, ask(width, choice is True), tasks, None, views) for choice in choices
            ]
            if len(cores) == 2 and cores[0] == cores[1]:
                choices, cores = [None], cores[:1]
            found += [
                _row(node, tasks, width, choice, core)
                for choice, core in zip(choices, cores, strict=True)
            ]
    return found


def lines(found: Iterable[Row]) -> list[str]:
    """Lay the rows out as a table."""
    words = {True: "yes", False: "no", None: "same"}
    cells = [
        (
            row.ntasks,
            row.smt,
            words[row.greedy],
            _extent(row.nthreads),
            f"{row.cores}/{row.ncores}",
            row.cpus,
            _extent(row.gpus),
            row.across_numas,
            "-" if row.across_l3s is None else row.across_l3s,
            row.sharing,
        )
        for row in found
    ]
    return text.table(_HEADER, cells, left=["greedy"])


_HEADER = (
    *("tasks", "smt", "greedy", "threads", "cores", "CPUs", "GPUs"),
    *("over NUMA", "over L3", "sharing"),
)


def _extent(least_and_most: tuple[int, int]) -> str:
    least, most = least_and_most
    return str(least) if least == most else f"{least}-{most}"


def _task_counts(node: Topology) -> list[int]:
    cores = node.ncores
    powers = {1 << power for power in range(cores.bit_length())}
    counts = powers | {node.nnumas, len(node._core.gpus), cores}
    return sorted(count for count in counts if 0 < count <= cores)


def _row(node: Topology, ntasks: int, smt: int, greedy: bool | None, mapping: _core.Mapping) -> Row:
    cores, cpus, threads, gpus, numas, l3s, sharing = mapping.summary()
    return Row(ntasks, smt, greedy, threads, cores, node.ncores, cpus, gpus, numas, l3s, sharing)
