"""The answer: where the tasks of a node go."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from mpibind.typed import TYPE_CHECKING, NamedTuple, overload

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from mpibind import _core
    from mpibind.topology import Topology


class Task(NamedTuple):
    """What one task got."""

    cpus: NDArray[np.int32]
    """OS ids of its CPUs, rising; read-only."""
    nthreads: int
    """Threads that it should have."""
    gpus: tuple[str, ...]
    """Its GPUs, by the kind of identity that the mapping was asked to show."""
    nics: tuple[str, ...]
    """The network cards that are closest to it."""

    def __eq__(self, other: object) -> bool:
        # A tuple would ask an array whether it is true, which numpy refuses to say; so would a
        # plain tuple, if it were left to that.
        if not isinstance(other, Task):
            return False
        return self[1:] == other[1:] and self.cpus.tolist() == other.cpus.tolist()

    def __ne__(self, other: object) -> bool:
        return not self == other


class Mapping(Sequence[Task]):
    """Where the tasks of a node go: a sequence of `Task`, made by `Topology.map`.

    Examples
    --------
    >>> import mpibind
    >>> m = mpibind.Topology.from_synthetic("numa:2 core:4 pu:1", gpus=[1, 1]).map(4)
    >>> len(m), m[3].cpus.tolist(), m[3].nthreads, m[3].gpus
    (4, [6, 7], 2, ('1',))
    >>> m.cpu_matrix.sum(axis=0).tolist()
    [1, 1, 1, 1, 1, 1, 1, 1]
    >>> m.env(3)
    {'OMP_NUM_THREADS': '2', 'VISIBLE_DEVICES': '1'}
    """

    def __init__(self, core: _core.Mapping, gpu_ids: str = "index") -> None:
        self._core = core
        self._gpu_ids = gpu_ids
        # Each GPU has an index, but not always a UUID: that is told here, not at the first use.
        if gpu_ids != "index":
            _ = self._gpus

    @cached_property
    def _gpus(self) -> list[tuple[str, ...]]:
        named = self._core.gpus
        return [tuple(named(task, self._gpu_ids)) for task in range(self._core.ntasks)]

    @property
    def cpus(self) -> list[NDArray[np.int32]]:
        """OS ids of each task's CPUs, rising: one int32 array a task, read-only.

        The arrays are views of one buffer.
        """
        return self._cpus.copy()

    @cached_property
    def _cpus(self) -> list[NDArray[np.int32]]:
        # Kept, as `m.cpus[task]` in a loop over many tasks would cut up all of them each time.
        from mpibind import arrays

        return arrays.cpus(self._core)

    @property
    def nthreads(self) -> NDArray[np.int32]:
        """Threads of each task: int32, shape (tasks,), read-only."""
        from mpibind import arrays

        return arrays.integers(self._core.threads())

    @property
    def gpus(self) -> list[tuple[str, ...]]:
        """Names of each task's GPUs, of the kind that was asked for."""
        return list(self._gpus)

    @property
    def nics(self) -> list[tuple[str, ...]]:
        """Names of the network cards that are closest to each task, in device order."""
        return [tuple(self._core.nics(task)) for task in range(len(self))]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user may want to know: limits that were heeded, and what was odd."""
        return tuple(self._core.notes)

    @property
    def cpu_ids(self) -> NDArray[np.int32]:
        """OS ids of all CPUs of the node, rising: the columns of `cpu_matrix`."""
        from mpibind import arrays

        return arrays.integers(self._core.node_cpus())

    @property
    def cpu_matrix(self) -> NDArray[np.bool_]:
        """Which task has which CPU: bool, shape (tasks, CPUs), read-only.

        Columns are as in `cpu_ids`. Sums over tasks show CPUs that are shared (2 and more) or
        idle (0).
        """
        from mpibind import arrays

        return arrays.cpu_matrix(self._core)

    @property
    def numa_matrix(self) -> NDArray[np.bool_]:
        """Which task has CPUs of which NUMA node: bool, shape (tasks, NUMA nodes), read-only.

        Columns are in logical order.
        """
        from mpibind import arrays

        return arrays.numa_matrix(self._core)

    @property
    def gpu_matrix(self) -> NDArray[np.bool_]:
        """Which task has which GPU: bool, shape (tasks, GPUs), read-only.

        Columns are in device order.
        """
        from mpibind import arrays

        return arrays.gpu_matrix(self._core)

    @property
    def nic_matrix(self) -> NDArray[np.bool_]:
        """Which network card is closest to which task: bool, shape (tasks, cards), read-only.

        Columns are in device order.
        """
        from mpibind import arrays

        return arrays.nic_matrix(self._core)

    def env(
        self, taskid: int, *, omp_affinity: bool = False, visible: str = "own", nics: bool = False
    ) -> dict[str, str]:
        """Return the variables that make a program use what a task got; nothing is set.

        Parameters
        ----------
        taskid : int
            The task, from 0.
        omp_affinity : bool
            Also pin OpenMP's threads (``OMP_PLACES``, ``OMP_PROC_BIND``).
        visible : {"own", "own-first", "off"}
            Which GPUs to show: the task's, all of the node with the task's first, or not to say.
        nics : bool
            Also name the closest network cards to UCX and NCCL (``UCX_NET_DEVICES``,
            ``NCCL_IB_HCA``), where these are OpenFabrics devices. `bind` leaves them alone where
            they are set already.

        Raises
        ------
        InvalidParameterError
            If there is no such task, or a value is not legal.
        """
        return dict(self._core.env(taskid, omp_affinity, self._gpu_ids == "uuid", visible, nics))

    @property
    def topology(self) -> Topology:
        """The node."""
        from mpibind.topology import Topology

        return Topology._wrap(self._core.topology)

    @classmethod
    def from_json(cls, text: str | bytes | os.PathLike[str]) -> Mapping:
        """Read a mapping that `to_json` wrote, here or elsewhere.

        Parameters
        ----------
        text : str, bytes or path-like
            The JSON; a `pathlib.Path` is the file that it is in.

        Returns
        -------
        Mapping
            With its node, and all that can be asked of a mapping.

        Raises
        ------
        InvalidParameterError
            If it is not the JSON of a mapping, or of a newer schema; it says what is wrong where.
        OSError
            If the file cannot be read.

        Examples
        --------
        >>> import mpibind
        >>> m = mpibind.Topology.from_synthetic("numa:2 core:4 pu:1").map(4)
        >>> mpibind.Mapping.from_json(m.to_json()) == m
        True
        """
        from mpibind import _core, files

        return cls(*_core.Mapping.from_json(files.content(text)))

    @overload
    def to_json(self, path: None = None) -> str: ...
    @overload
    def to_json(self, path: str | os.PathLike[str]) -> None: ...
    def to_json(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """Write the mapping and its node as JSON; docs/json.md has the schema.

        Parameters
        ----------
        path : path-like, optional
            A file to write to, instead of returning the text.

        Returns
        -------
        str or None
            The JSON on one line, if there is no `path`.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        from mpibind import files

        return files.deliver(self._core.to_json(self._gpu_ids), path)

    def to_dict(self) -> dict[str, Any]:
        """Return what `to_json` writes as dicts and lists."""
        import json

        return dict(json.loads(self.to_json()))

    @overload
    def to_svg(self, path: None = None) -> str: ...
    @overload
    def to_svg(self, path: str | os.PathLike[str]) -> None: ...
    def to_svg(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """Draw the node with the tasks on it, as SVG for browsers and documents.

        Each task has a colour and its number; CPUs without tasks are pale, those of several
        tasks hatched. Big nodes are folded: a cell stands for more, or several parts that are
        alike for one.

        Parameters
        ----------
        path : path-like, optional
            A file to write to, instead of returning the text.

        Returns
        -------
        str or None
            The SVG, if there is no `path`.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        from mpibind import files, picture

        return files.deliver(picture.mapping(self.to_dict()), path)

    def apply(self, taskid: int) -> _core.SavedAffinity:
        """Bind every thread of this process to a task's CPUs.

        Parameters
        ----------
        taskid : int
            The task, from 0.

        Returns
        -------
        SavedAffinity
            The CPUs from before; its ``restore()`` goes back to them.

        Raises
        ------
        InvalidParameterError
            If there is no such task.
        AffinityError
            If this machine does not have the CPUs, or the process may not use them; nothing is
            bound then.
        """
        from mpibind import _core

        return _core.bind(self._core.cpus(taskid))

    def __len__(self) -> int:
        return self._core.ntasks

    @overload
    def __getitem__(self, task: int) -> Task: ...
    @overload
    def __getitem__(self, task: slice) -> list[Task]: ...
    def __getitem__(self, task: int | slice) -> Task | list[Task]:
        if isinstance(task, slice):
            return [self[index] for index in range(len(self))[task]]
        try:
            index = range(len(self))[task]  # negative numbers count from the end
        except IndexError:
            last = len(self) - 1
            raise IndexError(f"there is no task {task}; it must be 0 to {last}") from None
        except TypeError:
            words = f"a task is an integer, or a slice of them, not {task!r}"
            raise TypeError(f"{words} ({type(task).__name__})") from None
        nics = tuple(self._core.nics(index))
        return Task(self._cpus[index], self._core.nthreads(index), self._gpus[index], nics)

    def __iter__(self) -> Iterator[Task]:
        return (self[task] for task in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self._core == other._core and self._gpus == other._gpus

    __hash__ = None  # type: ignore[assignment]  # equal by value, like a list

    def _repr_html_(self) -> str:
        from mpibind import notebook

        return notebook.mapping(self)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        # Where there is no HTML, what print() shows says more than repr().
        return {"text/plain": str(self), "text/html": self._repr_html_()}

    def __reduce__(self) -> tuple[object, ...]:
        return Mapping.from_json, (self.to_json(),)

    def __str__(self) -> str:
        from mpibind import text

        return text.mapping(self._core, self._gpus)

    def __repr__(self) -> str:
        return f"<Mapping of {len(self)} tasks>"
