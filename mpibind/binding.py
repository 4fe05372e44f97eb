"""Putting one process where a mapping wants it, and back."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, NamedTuple

from mpibind import _core

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from mpibind.mapping import Mapping

_VISIBLE_DEVICES = frozenset(
    {"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK", "VISIBLE_DEVICES"}
)

_set_here: dict[str, str] = {}
"""Visible-devices variables that this process has set itself, with the values."""


class Part(NamedTuple):
    """What one task of a node needs to know: all that its node's leader sends to it."""

    cpus: tuple[int, ...]
    nthreads: int
    gpus: tuple[str, ...]
    env: dict[str, str]


def parts(mapping: Mapping, *, omp_affinity: bool) -> list[Part]:
    """Cut a mapping into the parts of its tasks."""
    core = mapping._core
    return [
        Part(
            tuple(core.cpus(task)),
            core.nthreads(task),
            gpus,
            mapping.env(task, omp_affinity=omp_affinity),
        )
        for task, gpus in enumerate(mapping.gpus)
    ]


class Binding:
    """Where a process was put; made by `mpibind.mpi.bind`.

    Printed, it is one line. As a context manager it restores at the end of the block.

    Attributes
    ----------
    rank, size : int
        This process among those that were bound together.
    local_rank, local_size : int
        This process among those of its node.
    hostname : str
    nthreads : int
        Threads that it should have.
    gpus : tuple of str
        Names of its GPUs.
    env : dict
        Variables that were set for it (``{}`` with ``env=False``).
    mapping : Mapping or None
        The mapping of the whole node, on the node's leader; None elsewhere.
    applied : bool
        Whether the process is bound.
    """

    def __init__(
        self,
        part: Part,
        *,
        rank: int,
        size: int,
        local_rank: int,
        local_size: int,
        mapping: Mapping | None,
    ) -> None:
        self.rank, self.size = rank, size
        self.local_rank, self.local_size = local_rank, local_size
        self.hostname = os.uname().nodename
        self.nthreads, self.gpus, self.cpu_list = part.nthreads, part.gpus, part.cpus
        self.mapping = mapping
        self.env: dict[str, str] = {}
        self.applied = False
        self._variables = part.env
        self._before = tuple(_core.current_cpus())
        self._saved: _core.SavedAffinity | None = None
        self._replaced: dict[str, str | None] = {}

    @property
    def cpus(self) -> NDArray[np.int32]:
        """OS ids of the process's CPUs, rising; read-only."""
        from mpibind import arrays

        return arrays.ids(self.cpu_list)

    @property
    def before(self) -> NDArray[np.int32]:
        """OS ids of the CPUs that the process could use before, rising; read-only."""
        from mpibind import arrays

        return arrays.ids(self._before)

    def bind_process(self) -> None:
        """Bind all threads.

        Raises
        ------
        AffinityError
            If it cannot be done; nothing is changed then.
        """
        self._saved = _core.bind(self.cpu_list)
        self.applied = True

    def set_variables(self) -> None:
        """Put the variables into the environment of this process.

        A visible-devices variable that somebody else has set stays: a scheduler that gave the job
        some of the node's GPUs says so in it.
        """
        for name, value in self._variables.items():
            old = os.environ.get(name)
            if name in _VISIBLE_DEVICES:
                if old is not None and old != _set_here.get(name):
                    warnings.warn(
                        f"{name}={old!r} was set before and stays; mpibind would set {value!r}",
                        stacklevel=3,
                    )
                    continue
                _set_here[name] = value
            os.environ[name] = value
            self._replaced[name] = old
            self.env[name] = value

    def restore(self) -> None:
        """Give all threads their CPUs from before, and the environment its variables.

        To restore twice does no harm.

        Raises
        ------
        AffinityError
            If the kernel does not allow the old CPUs any more.
        """
        for name, old in self._replaced.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old
        self._replaced = {}
        saved, self._saved = self._saved, None
        self.env, self.applied = {}, False
        if saved is not None:
            saved.restore()

    def __enter__(self) -> Binding:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.restore()

    def __str__(self) -> str:
        from mpibind import text

        return text.binding(self)

    def __repr__(self) -> str:
        return f"<Binding {self}>"
