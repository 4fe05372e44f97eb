"""Putting one process where a mapping wants it, and back."""

from __future__ import annotations

import os
import warnings

from mpibind import _core, given
from mpibind.errors import LauncherError
from mpibind.settings import Settings, resolve
from mpibind.topology import load
from mpibind.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from mpibind.launcher import Place
    from mpibind.mapping import Mapping
    from mpibind.topology import Topology


def bind(
    local_rank: int | None = None,
    local_size: int | None = None,
    *,
    nthreads: int = 0,
    greedy: bool | None = None,
    gpu_optim: bool | None = None,
    smt: int | None = None,
    restrict_ids: str | Iterable[int] | None = None,
    restrict_type: str | None = None,
    topology: Topology | str | os.PathLike[str] | None = None,
    gpu_ids: str = "index",
    apply: bool = True,
    env: bool = True,
    omp_affinity: bool = False,
    visible: str | None = None,
    respect: str = "cgroup",
    membind: str | None = None,
    verbose: bool | int | None = None,
    nics: bool | None = None,
) -> Binding:
    """Bind this process, one of several on its node, without MPI.

    The node is mapped for all its tasks, and this process takes its own part. Each process does
    so for itself; MPI programs use `mpibind.mpi.bind`, which maps each node once.

    Parameters
    ----------
    local_rank, local_size : int, optional
        Which task of the node this process is, and of how many. What is not given comes from the
        launcher's variables (torchrun, Open MPI, MPICH, Intel MPI, MVAPICH, jsrun, PALS, Cray PMI,
        Flux, Slurm).
    nthreads, greedy, gpu_optim, smt, restrict_ids, restrict_type, topology, gpu_ids
        As in `mpibind.mpi.bind`.
    apply, env, omp_affinity, visible, respect, membind, verbose, nics
        As in `mpibind.mpi.bind`. ``respect="affinity"`` needs a process that is alone on its node,
        since one process does not know the masks of others.

    Returns
    -------
    Binding

    Raises
    ------
    LauncherError
        If no launcher says which task this is, or one says what cannot be.
    InvalidParameterError, TopologyError, DeviceError, AffinityError
        If it cannot be done; nothing is changed then.

    Examples
    --------
    >>> import mpibind
    >>> with mpibind.bind(local_rank=0, local_size=1) as binding:
    ...     binding.applied
    True
    """
    from mpibind.launcher import place

    settings = resolve(
        nthreads=nthreads,
        greedy=greedy,
        gpu_optim=gpu_optim,
        smt=smt,
        restrict_ids=restrict_ids,
        restrict_type=restrict_type,
        topology=topology,
        gpu_ids=gpu_ids,
        apply=apply,
        env=env,
        omp_affinity=omp_affinity,
        visible=visible,
        respect=respect,
        membind=membind,
        verbose=verbose,
        nics=nics,
    )
    try:
        here = place(local_rank, local_size)
    except LauncherError:
        if not settings.core.is_off:
            raise
        here = place(0, 1)  # nothing will be done, and that needs no place
    binding = bind_at(here, settings)
    if settings.core.verbose:
        binding._print(binding._lines(settings.core.verbose))
    binding._warn(stacklevel=3)
    return binding


def bind_at(here: Place, settings: Settings) -> Binding:
    """Map this node and bind this process to its part. Nothing is printed, and nobody is warned."""
    masks = settings.core.masks_of_one(here.local_size)
    mapping, parts = map_node(settings, here.local_size, masks, [given.view()])
    binding = Binding(parts[here.local_rank], here, settings, mapping)
    binding._put()
    return binding


class Part(NamedTuple):
    """What one task of a node needs to know: all that its node's leader sends to it."""

    cpus: tuple[int, ...]
    nthreads: int
    gpus: tuple[str, ...]
    nics: tuple[str, ...]
    env: dict[str, str]
    numas: tuple[int, ...]
    """OS ids of the NUMA nodes that are local to the CPUs."""
    notes: tuple[str, ...]


def map_node(
    settings: Settings, ntasks: int, masks: Iterable[int] | None, views: list[given.View]
) -> tuple[Mapping | None, list[Part | None]]:
    """Map the tasks of this node, and cut the mapping into their parts.

    With ``MPIBIND=off`` there is neither. There is one view for all tasks, or one of each.
    """
    if settings.core.is_off:
        return None, [None] * ntasks
    from mpibind.mapping import Mapping

    node = load(settings.topology, given.opened(views))
    core = map_core(node, settings, ntasks, masks, views)
    notes = tuple(core.notes)
    parts: list[Part | None] = []
    for task in range(ntasks):
        cpus, nthreads, gpus, nics, env, numas = settings.core.part(core, task)
        parts.append(
            Part(tuple(cpus), nthreads, tuple(gpus), tuple(nics), dict(env), tuple(numas), notes)
        )
    return Mapping(core, settings.core.gpu_ids), parts


def map_core(
    node: Topology,
    settings: Settings,
    ntasks: int,
    masks: Iterable[int] | None,
    views: list[given.View],
) -> _core.Mapping:
    """Map the tasks of a node within what the system grants them."""
    return settings.core.map(node._core, ntasks, masks, given.records(views))


class Binding:
    """Where a process was put; made by `mpibind.bind` and `mpibind.mpi.bind`.

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
    nics : tuple of str
        Names of the network cards that are closest to it.
    env : dict
        Variables that were set for it (``{}`` with ``env=False``).
    mapping : Mapping or None
        The mapping of the whole node, on the node's leader; None elsewhere.
    applied : bool
        Whether the process is bound.
    membind : {"bind", "preferred"} or None
        How its memory is bound; None if it is not.
    notes : tuple of str
        What a user may want to know: limits that were heeded, what was not done and why.
    """

    # Declared for type checkers: what is assigned together has no type of its own to them.
    rank: int
    size: int
    local_rank: int
    local_size: int
    nthreads: int
    gpus: tuple[str, ...]
    nics: tuple[str, ...]
    notes: tuple[str, ...]
    _is_copy = False
    """Whether it came out of a pickle."""

    def __init__(
        self, part: Part | None, here: Place, settings: Settings, mapping: Mapping | None
    ) -> None:
        self._before = tuple(_core.current_cpus())
        if part is None:
            note = "MPIBIND=off: nothing was bound or set"
            part = Part(self._before, len(self._before), (), (), {}, (), (note,))
        self.local_rank, self.local_size, self.rank, self.size = here
        self.hostname = os.uname().nodename
        self.nthreads, self.gpus, self.cpu_list = part.nthreads, part.gpus, part.cpus
        self.nics = part.nics
        self.mapping = mapping
        self.env: dict[str, str] = {}
        self.applied = False
        self.membind: str | None = None
        self.notes = part.notes
        self._part, self._settings = part, settings
        self._warnings: list[str] = [] if mapping is None else [*mapping._core.warnings]
        self._saved_cpus: _core.SavedAffinity | None = None
        self._saved_memory: _core.SavedMemory | None = None
        self._saved_pools: Callable[[], None] | None = None
        self._replaced: dict[str, given.Replaced] = {}

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

    def restore(self) -> None:
        """Go back to how things were before: CPUs, memory policy, thread pools, environment.

        To restore twice does no harm. Bindings on top of each other are restored in reverse order.
        The memory policy is that of the calling thread: restore in the thread that bound.
        A pickled copy is a record of what was done elsewhere, and has nothing to restore.

        Raises
        ------
        AffinityError
            If the kernel does not allow the old CPUs or memory any more; the rest is restored.
        """
        if self._is_copy:
            return
        for name, replaced in self._replaced.items():
            given.put_back(name, replaced)
        pools, self._saved_pools = self._saved_pools, None
        memory, self._saved_memory = self._saved_memory, None
        cpus, self._saved_cpus = self._saved_cpus, None
        self._replaced, self.env, self.applied, self.membind = {}, {}, False, None
        try:
            if pools is not None:
                pools()
        finally:
            try:
                if memory is not None:
                    memory.restore()
            finally:
                if cpus is not None:
                    cpus.restore()

    def __getstate__(self) -> dict[str, object]:
        own = {"_settings", "_saved_cpus", "_saved_memory", "_saved_pools", "_replaced"}
        record = {name: value for name, value in vars(self).items() if name not in own}
        return {**record, "_is_copy": True}

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

    def _repr_html_(self) -> str:
        from mpibind import notebook

        return notebook.binding(self)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        # Where there is no HTML, what print() shows says more than repr().
        return {"text/plain": str(self), "text/html": self._repr_html_()}

    # --- what the two bind() do, in this order

    def _put(self, pools: Sequence[str] | None = None) -> None:
        """Bind the process and set its environment, or leave all as it is.

        `pools` are the thread pools of this process, if they were looked for before.
        """
        try:
            self._bind_process()
            self._set_environment(pools)
        except BaseException:
            self.restore()
            raise

    def _bind_process(self) -> None:
        """Bind all threads, and the memory of this one, if asked to.

        Raises AffinityError if the threads cannot be bound; nothing is changed then. That memory
        cannot be bound is only told: containers often forbid it, and the CPUs are worth having.
        """
        core = self._settings.core
        if not core.apply:
            return
        self._saved_cpus, self._saved_memory, warning = core.bind(self.cpu_list, self._part.numas)
        self.applied = True
        if warning is not None:
            self._warnings.append(warning)
        elif core.membind is not None:
            self.membind = core.membind

    def _set_environment(self, pools: Sequence[str] | None = None) -> None:
        """Put the variables into the environment, and tell runtimes that read them already."""
        if not self._settings.core.env:
            return
        said_before = os.environ.get("OMP_NUM_THREADS")
        variables, notes = given.heed_choice(self._part.env)
        self.notes += tuple(notes)
        for name, value in variables.items():
            self._replaced[name] = given.set_variable(name, value)
            self.env[name] = value
        started = _core.started_gpus([*self.env])
        if self.env.get("OMP_NUM_THREADS") in (None, said_before):
            pools = ()
        elif pools is None:
            pools = _core.thread_pools()
        if not (started or pools):
            return
        from mpibind import runtimes

        if started:
            self._warnings.append(runtimes.gpu_warning(started))
        if pools:
            self._saved_pools, warning = runtimes.resize_pools(self.nthreads, pools)
            self._warnings.append(warning)

    def _lines(self, verbose: int) -> list[str]:
        """What is printed for this process."""
        notes = [f"{self.hostname}: {note}" for note in self.notes] if verbose > 1 else []
        return [str(self), *notes]

    def _print(self, lines: Iterable[str]) -> None:
        """Print lines. That they cannot be printed is no reason to be bound no more."""
        try:
            print("\n".join(lines), flush=True)
        except (OSError, ValueError) as error:
            self._warnings.append(f"what verbose= asks for could not be printed: {error}")

    def _warn(self, stacklevel: int) -> None:
        """Give the warnings, last of all: someone may have made them errors."""
        found = [text for text in self._warnings if text]
        self.notes += tuple(found)
        self._warnings = []
        try:
            for text in found:
                warnings.warn(text, UserWarning, stacklevel=stacklevel)
        except UserWarning:
            self.restore()
            raise
        except Exception:
            # Standard error is closed, or a hook of the program failed. That nobody can be told is
            # no reason to be bound no more; `notes` has it.
            return
