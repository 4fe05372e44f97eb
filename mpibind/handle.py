"""The interface of the classic library's Python module: programs written for it run unchanged.

>>> import mpibind
>>> handle = mpibind.MpibindHandle(ntasks=2, topology_file=None)
>>> handle.ntasks
2
"""

from __future__ import annotations

import os

from mpibind import _core, given, text
from mpibind.errors import MpibindError, illegal
from mpibind.topology import load
from mpibind.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

MPIBIND_RESTRICT_CPU = 0
"""`restrict_ids` are CPUs."""
MPIBIND_RESTRICT_MEM = 1
"""`restrict_ids` are NUMA nodes."""
MPIBIND_ID_UNIV = 2
"""GPUs by UUID."""
MPIBIND_ID_SMI = 3
"""GPUs by the index that their management tool shows."""
MPIBIND_ID_VISDEVS = 3
"""GPUs by the index that goes into a visible-devices variable: the same."""
MPIBIND_ID_PCIBUS = 4
"""GPUs by PCI address."""
MPIBIND_ID_NAME = 5
"""GPUs by OS device."""

_RESTRICT_TYPES = {MPIBIND_RESTRICT_CPU: "cpu", MPIBIND_RESTRICT_MEM: "mem"}
_GPU_IDS = {
    MPIBIND_ID_UNIV: "uuid",
    MPIBIND_ID_SMI: "index",
    MPIBIND_ID_PCIBUS: "pci",
    MPIBIND_ID_NAME: "name",
}


class _Parameters(NamedTuple):
    """Parameters as they were given."""

    ntasks: int | None
    nthreads: int
    greedy: bool | int
    gpu_optim: bool | int
    smt: int
    restrict_ids: str | list[int] | None
    restrict_type: int | str

    def check(self) -> _core.Request:
        """Check all of them; where the number of tasks is still to come, any will do."""
        return _core.Request(
            1 if self.ntasks is None else self.ntasks,
            nthreads=self.nthreads,
            greedy=self.greedy,
            gpu_optim=self.gpu_optim,
            smt=self.smt,
            restrict_ids=self.restrict_ids,
            restrict_type=_RESTRICT_TYPES[_restrict_type(self.restrict_type)],
        )


_NOT_GIVEN: int = object()  # type: ignore[assignment]  # None would hide a mistake of the caller


def topology_set_xml(path: str | os.PathLike[str]) -> None:
    """Make the machine that a file describes the one that mappings are made for.

    Sets the variable ``HWLOC_XMLFILE`` of this process, which discovery honours.

    Parameters
    ----------
    path : path-like
        A file in hwloc's XML.

    Raises
    ------
    TopologyError
        If the file is missing or not a topology; the variable stays as it was.
    """
    _core.Topology.from_xml(path)
    os.environ["HWLOC_XMLFILE"] = os.fspath(path)


class MpibindHandle:
    """A mapping and the parameters it is made from.

    Parameters
    ----------
    ntasks : int
        Tasks on this node. May be set later, before `mpibind()`.
    nthreads : int
        Threads per task; 0 computes it. Reads as the list of each task's threads once mapped.
    greedy, gpu_optim, smt, restrict_ids
        As in `Topology.map`.
    restrict_type : int or str
        `MPIBIND_RESTRICT_CPU` (``"cpu"``) or `MPIBIND_RESTRICT_MEM` (``"mem"``); reads as the
        number.
    topology_file : path-like, optional
        hwloc XML of the machine to map to; this machine without.

    Raises
    ------
    InvalidParameterError
        If a value is not legal, here or when a parameter is set. The old value stays.
    TypeError
        If a value is of the wrong type.

    Notes
    -----
    Setting a parameter drops the mapping: call `mpibind()` again. After `finalize()` every use is
    an error.
    """

    def __init__(
        self,
        ntasks: int = _NOT_GIVEN,
        nthreads: int = 0,
        greedy: bool | int = True,
        gpu_optim: bool | int = True,
        smt: int = 0,
        restrict_ids: str | Iterable[int] | None = None,
        restrict_type: int | str = MPIBIND_RESTRICT_CPU,
        topology_file: str | os.PathLike[str] | None = None,
    ) -> None:
        self._finalized = False
        self._gpu_ids = "index"
        self._topology_file: str | os.PathLike[str] | None = None
        parameters = _Parameters(
            None, nthreads, greedy, gpu_optim, smt, _as_list(restrict_ids), restrict_type
        )
        self._take(parameters)
        if ntasks is not _NOT_GIVEN:
            self.ntasks = ntasks
        self.topology_file = topology_file

    # --- parameters

    def _take(self, parameters: _Parameters) -> None:
        """Take new parameters if all are legal; the old ones stay otherwise."""
        self._request = parameters.check()
        self._parameters = parameters
        self._forget()

    def _forget(self) -> None:
        self._mapping: _core.Mapping | None = None
        self._env: dict[str, list[str]] | None = None

    def _open(self) -> _Parameters:
        if self._finalized:
            raise MpibindError("this handle was finalized; make a new MpibindHandle")
        return self._parameters

    @property
    def ntasks(self) -> int | None:
        """Tasks on this node; None as long as it was not given."""
        return self._open().ntasks

    @ntasks.setter
    def ntasks(self, value: int) -> None:
        if value is None:
            raise TypeError("ntasks must be an integer, not None")
        self._take(self._open()._replace(ntasks=value))

    @property
    def nthreads(self) -> int | list[int]:
        """Threads per task as set; once mapped, the list of what each task got."""
        given = self._open().nthreads
        if self._mapping is None:
            return given
        return [self._mapping.nthreads(task) for task in range(self._mapping.ntasks)]

    @nthreads.setter
    def nthreads(self, value: int) -> None:
        self._take(self._open()._replace(nthreads=value))

    @property
    def greedy(self) -> bool:
        """Whether fewer tasks than NUMA domains share all of them."""
        return bool(self._open().greedy)

    @greedy.setter
    def greedy(self, value: bool | int) -> None:
        self._take(self._open()._replace(greedy=value))

    @property
    def gpu_optim(self) -> bool:
        """Whether tasks go where the GPUs are."""
        return bool(self._open().gpu_optim)

    @gpu_optim.setter
    def gpu_optim(self, value: bool | int) -> None:
        self._take(self._open()._replace(gpu_optim=value))

    @property
    def smt(self) -> int:
        """Hardware threads per core to use, 0 to let mpibind decide."""
        return self._open().smt

    @smt.setter
    def smt(self, value: int) -> None:
        self._take(self._open()._replace(smt=value))

    @property
    def restrict_ids(self) -> str | list[int] | None:
        """The only ids to use."""
        return self._open().restrict_ids

    @restrict_ids.setter
    def restrict_ids(self, value: str | Iterable[int] | None) -> None:
        self._take(self._open()._replace(restrict_ids=_as_list(value)))

    @property
    def restrict_type(self) -> int:
        """What these are: `MPIBIND_RESTRICT_CPU` or `MPIBIND_RESTRICT_MEM`."""
        return _restrict_type(self._open().restrict_type)

    @restrict_type.setter
    def restrict_type(self, value: int | str) -> None:
        self._take(self._open()._replace(restrict_type=value))

    @property
    def topology_file(self) -> str | os.PathLike[str] | None:
        """The machine to map to as hwloc XML, or None for this machine."""
        self._open()
        return self._topology_file

    @topology_file.setter
    def topology_file(self, value: str | os.PathLike[str] | None) -> None:
        self._open()
        if value is not None and not isinstance(value, str | os.PathLike):
            kind = type(value).__name__
            raise TypeError(f"topology_file must be a path or None, not {value!r} ({kind})")
        self._topology_file = value
        self._forget()

    # --- mapping

    def mpibind(self) -> None:
        """Map the tasks to the machine.

        Raises
        ------
        MpibindError
            If the machine cannot be read, or a parameter does not fit it. A mapping from before
            stays.
        """
        if self._open().ntasks is None:
            advice = "set it before calling mpibind(), such as MpibindHandle(ntasks=4)"
            raise illegal("ntasks", None, advice)
        node = load(self._topology_file)._core
        # On this machine a job may have but some of the GPUs.
        views = [given.view()] if node.is_live else []
        mapping = node.map(self._request.with_views(given.records(views)))
        _check_gpu_ids(mapping, self._gpu_ids)
        self._forget()
        self._mapping = mapping
        import warnings

        for warning in mapping.warnings:
            warnings.warn(warning, UserWarning, stacklevel=2)

    def mapping_print(self) -> None:
        """Print the mapping, one line a task."""
        print(self.mapping_snprint())

    def mapping_snprint(self, size: int | None = None) -> str:
        """Return the mapping as text, one line a task.

        Parameters
        ----------
        size : int, optional
            For old callers: the room for the text and a final NUL.

        Raises
        ------
        InvalidParameterError
            If `size` is given and too small.
        """
        mapping = self._mapped()
        gpus = [mapping.gpus(task, self._gpu_ids) for task in range(mapping.ntasks)]
        return _fitting(text.mapping(mapping, gpus), size)

    def mapping_ptask_snprint(self, taskid: int, size: int | None = None) -> str:
        """Return the line of one task; parameters and errors as of `mapping_snprint`."""
        mapping = self._mapped()
        return _fitting(text.task(mapping, taskid, mapping.gpus(taskid, self._gpu_ids)), size)

    def get_cpus_ptask(self, taskid: int) -> list[int]:
        """Return the OS ids of a task's CPUs, rising."""
        return self._mapped().cpus(taskid)

    def get_gpus_ptask(self, taskid: int) -> list[str]:
        """Return the names of a task's GPUs, of the kind that `set_gpu_ids` chose."""
        return self._mapped().gpus(taskid, self._gpu_ids)

    def get_num_gpus(self) -> int:
        """Return the number of GPUs of the machine."""
        return self._mapped().ngpus

    def set_gpu_ids(self, id_type: int | str) -> None:
        """Choose how GPUs are named.

        Parameters
        ----------
        id_type : int or str
            `MPIBIND_ID_UNIV` (``"uuid"``), `MPIBIND_ID_SMI` or `MPIBIND_ID_VISDEVS` (``"index"``),
            `MPIBIND_ID_PCIBUS` (``"pci"``) or `MPIBIND_ID_NAME` (``"name"``).

        Raises
        ------
        InvalidParameterError
            If it is none of these.
        DeviceError
            If a GPU of the mapping has no name of this kind; the old kind stays.
        """
        self._open()
        if not isinstance(id_type, int | str):
            raise TypeError(
                f"id_type must be one of MPIBIND_ID_*, not {id_type!r} ({type(id_type).__name__})"
            )
        kind = _GPU_IDS.get(id_type, id_type) if isinstance(id_type, int) else id_type
        if kind not in _GPU_IDS.values():
            legal = "MPIBIND_ID_UNIV, _SMI, _VISDEVS, _PCIBUS or _NAME"
            raise illegal("id_type", id_type, f"it must be {legal}")
        if self._mapping is not None:
            _check_gpu_ids(self._mapping, str(kind))
        self._gpu_ids = str(kind)
        self._env = None

    def pop_cpus_ptask(self, taskid: int, ncpus: int) -> None:
        """Take the lowest CPUs from a task; its threads become the number of CPUs left.

        Raises
        ------
        InvalidParameterError
            If that would leave the task without CPUs; nothing is changed then.
        """
        self._mapping = self._mapped().without_cpus(taskid, ncpus)
        self._env = None

    def pop_cores_ptask(self, taskid: int, ncores: int) -> None:
        """Take the whole cores of the lowest CPUs from a task; else as `pop_cpus_ptask`."""
        self._mapping = self._mapped().without_cores(taskid, ncores)
        self._env = None

    # --- acting on it

    def apply(self, taskid: int) -> None:
        """Bind every thread of this process to a task's CPUs.

        Raises
        ------
        AffinityError
            If the CPUs cannot be had; nothing is bound then.
        """
        _core.bind(self._mapped().cpus(taskid))

    def set_env_vars(self) -> None:
        """Compute the variables of each task, for the functions below; nothing is set."""
        mapping = self._mapped()
        values: dict[str, list[str]] = {}
        for task in range(mapping.ntasks):
            for name, value in mapping.env(task, True, self._gpu_ids == "uuid", "own", False):
                values.setdefault(name, []).append(value)
        self._env = values

    def env_vars_print(self) -> None:
        """Print the variables with the value for each task."""
        print(text.variables(self._variables()))

    def get_env_var_names(self) -> list[str]:
        """Return the names of the variables."""
        return list(self._variables())

    def get_env_var_values(self, name: str) -> list[str]:
        """Return a variable's value for each task.

        Raises
        ------
        InvalidParameterError
            If there is no such variable; it lists those that there are.
        """
        values = self._variables()
        if not isinstance(name, str):
            raise TypeError(f"name must be text, not {name!r} ({type(name).__name__})")
        if name not in values:
            raise illegal("name", name, f"it must be one of {', '.join(values)}")
        return list(values[name])

    def finalize(self) -> None:
        """End the use of this handle. To end it twice does no harm."""
        self._forget()
        self._finalized = True

    # --- what the methods above share

    def _mapped(self) -> _core.Mapping:
        self._open()
        if self._mapping is None:
            raise MpibindError(
                "there is no mapping; call mpibind() on this handle first, "
                "and again after a parameter changed"
            )
        return self._mapping

    def _variables(self) -> dict[str, list[str]]:
        self._mapped()
        if self._env is None:
            raise MpibindError("there are no variables; call set_env_vars() on this handle first")
        return self._env


def _as_list(ids: str | Iterable[int] | None) -> str | list[int] | None:
    """Keep what an iterator would give only once."""
    if ids is None or isinstance(ids, str | bytes):
        return ids  # type: ignore[return-value]  # bytes are for the core to refuse
    try:
        items = iter(ids)
    except TypeError:
        return ids  # type: ignore[return-value]  # for the core to refuse
    from itertools import islice

    # One more than the core takes: it refuses what has no end.
    return list(islice(items, _core.MAX_IDS + 1))


def _restrict_type(value: object) -> int:
    legal = 'MPIBIND_RESTRICT_CPU ("cpu") or MPIBIND_RESTRICT_MEM ("mem")'
    if not isinstance(value, int | str):
        raise TypeError(f"restrict_type must be {legal}, not {value!r} ({type(value).__name__})")
    for number, name in _RESTRICT_TYPES.items():
        if value in (number, name):
            return number
    raise illegal("restrict_type", value, f"it must be {legal}")


def _check_gpu_ids(mapping: _core.Mapping, kind: str) -> None:
    """Raise if a GPU of the mapping cannot be named in this way."""
    for task in range(mapping.ntasks):
        mapping.gpus(task, kind)


def _fitting(result: str, size: int | None) -> str:
    if size is None:
        return result
    if not isinstance(size, int):
        raise TypeError(f"size must be an integer or None, not {size!r} ({type(size).__name__})")
    length = len(result.encode())
    if length > size - 1:
        raise illegal(
            "size",
            size,
            f"the text has {length} bytes; give at least {length + 1}, or leave it out",
        )
    return result
