"""What processes are really bound to, and what is wrong with that."""

from __future__ import annotations

import os

from mpibind import _core, given
from mpibind.errors import LauncherError
from mpibind.launcher import Place, place
from mpibind.topology import load
from mpibind.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from mpibind.topology import Topology


def report(
    *, topology: Topology | str | os.PathLike[str] | None = None, as_dict: bool = False
) -> dict[str, Any] | None:
    """Print what this process is bound to, and what is wrong with that.

    Parameters
    ----------
    topology : Topology or path-like, optional
        This machine, or its hwloc XML, where discovery is slow.
    as_dict : bool
        Whether to return it instead of printing.

    Returns
    -------
    dict or None
        With `as_dict`: ``ranks``, a list with one dict (``rank``, ``size``, ``local_rank``,
        ``local_size``, ``hostname``, ``cpus``, ``nthreads``, ``gpus``, and ``threads``, the CPUs of
        each thread by thread id); and ``findings``, a list of dicts (``kind``, ``hostname``,
        ``ranks``, ``text``).

    Raises
    ------
    TopologyError
        If `topology` cannot be read.

    Examples
    --------
    >>> import mpibind
    >>> found = mpibind.report(as_dict=True)
    >>> sorted(found), len(found["ranks"])
    (['findings', 'ranks'], 1)

    Notes
    -----
    `mpibind.mpi.report` does it for all ranks of an MPI program.
    """
    try:
        here = place()
    except LauncherError:
        here = Place(0, 1, 0, 1)
    ranks, findings = examine([look(here)], load(topology))
    if as_dict:
        return as_dictionary(ranks, findings)
    print("\n".join(lines(ranks, findings)), flush=True)
    return None


class Process(NamedTuple):
    """What a process knows of itself. CPUs are OS ids."""

    place: Place
    hostname: str
    threads: tuple[tuple[int, tuple[int, ...]], ...]
    """The CPUs of each thread, by thread id."""
    nthreads: int | None
    """What OMP_NUM_THREADS says, if it says a number."""
    visible: tuple[tuple[str, str], ...]
    """The variables that are set and say which GPUs are visible."""

    @property
    def cpus(self) -> list[int]:
        """All CPUs that some thread may use, rising."""
        return sorted({cpu for _, cpus in self.threads for cpu in cpus})


class Rank(NamedTuple):
    """The same with the names of its GPUs."""

    process: Process
    gpus: tuple[str, ...]

    def __str__(self) -> str:
        from mpibind import text

        process, cpus = self.process, self.process.cpus
        # Without a word from the user an OpenMP runtime starts a thread for each CPU.
        nthreads = len(cpus) if process.nthreads is None else process.nthreads
        return text.rank(process.hostname, process.place, nthreads, self.gpus, cpus)


class Finding(NamedTuple):
    """Something that is wrong on a node."""

    hostname: str
    kind: str
    ranks: tuple[int, ...]
    text: str


def look(here: Place) -> Process:
    """Look at this process."""
    threads = tuple((thread, tuple(cpus)) for thread, cpus in _core.thread_cpus())
    return described(here, threads, os.environ)


def described(
    here: Place, threads: tuple[tuple[int, tuple[int, ...]], ...], environ: Mapping[str, str]
) -> Process:
    """Put together what a process's threads and variables say."""
    first = environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    # No runtime takes more digits.
    is_number = first.isascii() and first.isdigit() and len(first) < 10
    nthreads = int(first) if is_number else None
    return Process(here, os.uname().nodename, threads, nthreads, tuple(given.variables_of(environ)))


def examine(
    processes: Sequence[Process], node: Topology | BaseException
) -> tuple[list[Rank], list[Finding]]:
    """Find what is wrong with the processes of one node.

    Without its topology there are still the processes.
    """
    hostname = processes[0].hostname
    if isinstance(node, BaseException):
        ranks = [Rank(process, tuple(_core.named_gpus(process.visible))) for process in processes]
        told = (process.place.rank for process in processes)
        return ranks, [Finding(hostname, "no-topology", tuple(told), str(node))]
    shown = [_core.sight(node._core, process.visible).shown for process in processes]
    names = [str(gpu.index) for gpu in node.gpus]
    ranks = [
        Rank(process, tuple(names if places is None else (names[place] for place in places)))
        for process, places in zip(processes, shown, strict=True)
    ]
    found = _core.findings(
        node._core,
        [
            (process.place.rank, process.cpus, process.nthreads, places)
            for process, places in zip(processes, shown, strict=True)
        ],
        _core.cpu_quota(),
    )
    return ranks, [Finding(hostname, kind, tuple(told), words) for kind, told, words in found]


def lines(ranks: Iterable[Rank], findings: Iterable[Finding]) -> list[str]:
    """Make the lines that are printed: one for each rank, then one for each finding."""
    return [
        *(str(rank) for rank in ranks),
        *(f"{finding.hostname}: {finding.text}" for finding in findings),
    ]


def as_dictionary(ranks: Iterable[Rank], findings: Iterable[Finding]) -> dict[str, Any]:
    """Make what is returned on request."""
    return {
        "ranks": [
            {
                "rank": process.place.rank,
                "size": process.place.size,
                "local_rank": process.place.local_rank,
                "local_size": process.place.local_size,
                "hostname": process.hostname,
                "cpus": process.cpus,
                "nthreads": process.nthreads,
                "gpus": list(gpus),
                "threads": {thread: list(cpus) for thread, cpus in process.threads},
            }
            for process, gpus in ranks
        ],
        "findings": [
            {
                "kind": finding.kind,
                "hostname": finding.hostname,
                "ranks": list(finding.ranks),
                "text": finding.text,
            }
            for finding in findings
        ],
    }
