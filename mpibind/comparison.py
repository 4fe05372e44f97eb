"""What differs between two mappings."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mpibind import _core
from mpibind.arrays import frozen
from mpibind.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mpibind.mapping import Mapping


def compare(first: Mapping, second: Mapping) -> Comparison:
    """Say what differs between two mappings, in words and in arrays.

    Parameters
    ----------
    first, second : Mapping
        Of one node or of two, with any numbers of tasks.

    Returns
    -------
    Comparison
        At a prompt or printed, it says it in words.

    Examples
    --------
    >>> import mpibind
    >>> node = mpibind.Topology.from_synthetic("package:2 [numa] core:4 pu:2", gpus=[1, 1])
    >>> mpibind.compare(node.map(2), node.map(2, smt=2))
    task 0: nths 4 -> 8, cpus +1,3,5,7
    task 1: nths 4 -> 8, cpus +9,11,13,15
    in all: CPUs in use 8 -> 16, threads 8 -> 16
    """
    from mpibind.mapping import Mapping

    for name, value in (("first", first), ("second", second)):
        if not isinstance(value, Mapping):
            raise TypeError(f"{name} must be a Mapping, not {value!r} ({type(value).__name__})")
    return Comparison(first, second)


class Comparison:
    """What differs between two mappings; made by `compare`. Printed, it says it in words.

    Rows of the arrays are tasks, as many as the larger mapping has; a task that a mapping does not
    have has no CPUs, GPUs or threads there.

    Attributes
    ----------
    first, second : Mapping
        What was compared.
    """

    first: Mapping
    second: Mapping

    def __init__(self, first: Mapping, second: Mapping) -> None:
        self.first, self.second = first, second
        self._ntasks = max(len(first), len(second))

    @property
    def same(self) -> bool:
        """Whether nothing differs: the nodes, and all that the tasks got."""
        return not self.tasks.size and self.first.topology == self.second.topology

    @cached_property
    def cpu_ids(self) -> NDArray[np.int32]:
        """OS ids of the CPUs of both nodes, rising: int32, the columns of `gained` and `lost`."""
        return frozen(np.union1d(self.first.cpu_ids, self.second.cpu_ids))

    @cached_property
    def gained(self) -> NDArray[np.bool_]:
        """CPUs that a task has in the second mapping only: bool, shape (tasks, CPUs)."""
        before, after = self._matrices
        return frozen(after & ~before)

    @cached_property
    def lost(self) -> NDArray[np.bool_]:
        """CPUs that a task has in the first mapping only: bool, shape (tasks, CPUs)."""
        before, after = self._matrices
        return frozen(before & ~after)

    @cached_property
    def nthreads(self) -> NDArray[np.int32]:
        """Threads of each task, before and after: int32, shape (tasks, 2)."""
        threads = np.zeros((self._ntasks, 2), dtype=np.int32)
        for column, mapping in enumerate((self.first, self.second)):
            threads[: len(mapping), column] = mapping.nthreads
        return frozen(threads)

    @cached_property
    def gpus(self) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Names of each task's GPUs, before and after."""
        none: list[tuple[str, ...]] = [()]
        before, after = (
            mapping.gpus + none * (self._ntasks - len(mapping))
            for mapping in (self.first, self.second)
        )
        return list(zip(before, after, strict=True))

    @cached_property
    def tasks(self) -> NDArray[np.int32]:
        """The tasks that differ in CPUs, GPUs or threads, rising: int32."""
        differ = self.nthreads[:, 0] != self.nthreads[:, 1]
        cpus = (before.tobytes() != after.tobytes() for before, after in self._cpus)
        differ |= np.fromiter(cpus, np.bool_, self._ntasks)
        differ |= np.fromiter((before != after for before, after in self.gpus), np.bool_)
        return frozen(np.flatnonzero(differ).astype(np.int32))

    @cached_property
    def _cpus(self) -> list[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """OS ids of each task's CPUs, before and after: far less than the matrices."""
        none = [np.empty(0, np.int32)]
        before, after = (
            mapping.cpus + none * (self._ntasks - len(mapping))
            for mapping in (self.first, self.second)
        )
        return list(zip(before, after, strict=True))

    @cached_property
    def _matrices(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        return self._spread(self.first), self._spread(self.second)

    def _spread(self, mapping: Mapping) -> NDArray[np.bool_]:
        """The CPU matrix of a mapping, in the rows and columns of this comparison."""
        matrix = np.zeros((self._ntasks, self.cpu_ids.size), dtype=np.bool_)
        columns = np.searchsorted(self.cpu_ids, mapping.cpu_ids)
        matrix[: len(mapping), columns] = mapping.cpu_matrix
        return matrix

    def __str__(self) -> str:
        if self.same:
            return "the mappings are the same"
        lines = []
        nodes = [mapping.topology for mapping in (self.first, self.second)]
        if nodes[0] != nodes[1]:
            lines.append("the nodes differ:")
            lines += [f"  {word} {node!r}" for word, node in zip("-+", nodes, strict=True)]
        if len(self.first) != len(self.second):
            lines.append(f"tasks {len(self.first)} -> {len(self.second)}")
        lines += [self._line(task) for task in self.tasks.tolist()]
        totals = zip(_totals(self.first), _totals(self.second), strict=True)
        changes = [
            f"{what} {old} -> {new}"
            for (what, old), (_, new) in totals
            if old != new and None not in (old, new)
        ]
        if changes:
            lines.append(f"in all: {', '.join(changes)}")
        return "\n".join(lines)

    def _line(self, task: int) -> str:
        """One task."""
        for mapping, other, word in (
            (self.second, self.first, "new"),
            (self.first, self.second, "gone"),
        ):
            if task >= len(other):
                got = f"nths {mapping[task].nthreads} gpus {','.join(mapping.gpus[task])}"
                return f"task {task} is {word}: {got} cpus {mapping._core.cpus_text(task)}"
        parts = []
        before, after = self.nthreads[task].tolist()
        if before != after:
            parts.append(f"nths {before} -> {after}")
        had, has = self._cpus[task]
        changes = (("-", np.setdiff1d(had, has)), ("+", np.setdiff1d(has, had)))
        cpus = [f"{sign}{_core.id_list(ids.tolist())}" for sign, ids in changes if ids.size]
        if cpus:
            parts.append(f"cpus {' '.join(cpus)}")
        old, new = self.gpus[task]
        if old != new:
            parts.append(f"gpus {','.join(old) or 'none'} -> {','.join(new) or 'none'}")
        return f"task {task}: {', '.join(parts)}"

    __repr__ = __str__  # who asks for a comparison wants to see it


def _totals(mapping: Mapping) -> list[tuple[str, int | None]]:
    """What counts about a whole mapping; None for what its node does not have."""
    cores, cpus, _, _, across_numas, across_l3s, sharing = mapping._core.summary()
    return [
        ("cores in use", cores),
        ("CPUs in use", cpus),
        ("threads", int(mapping.nthreads.sum())),
        ("GPUs in use", int(mapping.gpu_matrix.any(axis=0).sum())),
        ("tasks across NUMA nodes", across_numas),
        ("tasks across L3 caches", across_l3s),
        ("tasks that share CPUs", sharing),
    ]
