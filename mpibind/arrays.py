"""Mappings as numpy arrays.

Lists of ids are read-only views of the core's bytes. numpy is imported with this module and not
before.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mpibind.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    from numpy.typing import NDArray

    from mpibind import _core

    _Array = TypeVar("_Array", bound=NDArray[np.generic])


def integers(data: bytes) -> NDArray[np.int32]:
    """Look at packed 32-bit integers without a copy; the array is read-only, as bytes are."""
    return np.frombuffer(data, dtype=np.int32)


def frozen(array: _Array) -> _Array:
    """Make an array read-only, and return it."""
    array.flags.writeable = False
    return array


def ids(values: Iterable[int]) -> NDArray[np.int32]:
    """Make a read-only int32 array."""
    return frozen(np.fromiter(values, dtype=np.int32))


def cpus(core: _core.Mapping) -> list[NDArray[np.int32]]:
    """CPU ids of each task."""
    flat, offsets = integers(core.flat_cpus()), core.offsets()
    bounds = integers(offsets).tolist()
    return [flat[start:end] for start, end in pairwise(bounds)]


def _task_of_each_cpu(core: _core.Mapping) -> NDArray[np.intp]:
    counts = np.diff(integers(core.offsets()))
    return np.repeat(np.arange(core.ntasks), counts)


def cpu_matrix(core: _core.Mapping) -> NDArray[np.bool_]:
    """Which task has which CPU: (tasks, CPUs of the node)."""
    columns = integers(core.node_cpus())
    matrix = np.zeros((core.ntasks, columns.size), dtype=np.bool_)
    matrix[_task_of_each_cpu(core), np.searchsorted(columns, integers(core.flat_cpus()))] = True
    return frozen(matrix)


def numa_matrix(core: _core.Mapping) -> NDArray[np.bool_]:
    """Which task has CPUs of which NUMA node: (tasks, NUMA nodes in logical order)."""
    flat, tasks, numas = integers(core.flat_cpus()), _task_of_each_cpu(core), core.numa_cpus()
    matrix = np.zeros((core.ntasks, len(numas)), dtype=np.bool_)
    for column, data in enumerate(numas):
        matrix[tasks[np.isin(flat, integers(data))], column] = True
    return frozen(matrix)


def gpu_matrix(core: _core.Mapping) -> NDArray[np.bool_]:
    """Which task has which GPU: (tasks, GPUs of the node in device order)."""
    return _matrix_of(map(core.gpu_places, range(core.ntasks)), core.ntasks, core.ngpus)


def nic_matrix(core: _core.Mapping) -> NDArray[np.bool_]:
    """Which network card is closest to which task: (tasks, cards of the node in device order)."""
    return _matrix_of(map(core.nic_places, range(core.ntasks)), core.ntasks, core.nnics)


def _matrix_of(places: Iterable[list[int]], rows: int, columns: int) -> NDArray[np.bool_]:
    """Make a matrix of the columns that are true in each row."""
    matrix = np.zeros((rows, columns), dtype=np.bool_)
    for row, true in enumerate(places):
        matrix[row, true] = True
    return frozen(matrix)
