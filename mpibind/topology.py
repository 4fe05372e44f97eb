"""Nodes to map tasks to: this machine, recorded ones and invented ones."""

from __future__ import annotations

import os
import warnings

from mpibind import _core
from mpibind.typed import TYPE_CHECKING, NamedTuple, overload

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from mpibind.mapping import Mapping as TaskMapping


class Gpu(NamedTuple):
    """A GPU, or one partition of a GPU that is cut into several."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks a GPU for
    """Number among the GPUs of its vendor, as the vendor's tools count."""
    vendor: str
    """``NVIDIA``, ``AMD``, ``Intel`` or ``unknown``."""
    name: str
    """OS device (``nvml0``), or PCI address where there is none."""
    model: str | None
    """What it is sold as, if known."""
    uuid: str | None
    """Its identity across reboots and machines, if known."""
    pci: str | None
    """PCI address such as ``0000:3b:00.0``."""
    numas: tuple[int, ...]
    """OS ids of the NUMA nodes that it is near to."""
    cpus: str
    """The CPUs (OS ids) that it is near to, as a list in text."""
    found: str
    """How it was found."""


class Uncounted(NamedTuple):
    """A display or an accelerator that is not counted as a GPU."""

    pci: str
    """PCI address."""
    vendor: str
    """Who made it, as a name or a PCI vendor number."""
    model: str | None
    """What it is sold as, if known."""
    reason: str
    """Why it is not counted."""


class Nic(NamedTuple):
    """A network card that programs open by themselves (OpenFabrics, Slingshot, BXI)."""

    name: str
    """OS device, such as ``mlx5_0``."""
    pci: str | None
    """PCI address."""
    port: int | None
    """The port in use of an OpenFabrics device; None for others."""
    numas: tuple[int, ...]
    """OS ids of the NUMA nodes that it is near to."""
    cpus: str
    """The CPUs (OS ids) that it is near to, as a list in text."""
    down: bool
    """Whether it is known that none of its ports is active; then it is given to no task."""


class Gpus(tuple[Gpu, ...]):
    """The GPUs of a node in device order; printed, a table.

    Attributes
    ----------
    uncounted : tuple of Uncounted
        What looks like a GPU and is not counted as one.
    notes : tuple of str
        What was odd when they were looked at.
    """

    uncounted: tuple[Uncounted, ...]
    notes: tuple[str, ...]

    @classmethod
    def _of(cls, core: _core.Topology) -> Gpus:
        gpus = cls(Gpu(*record[:6], tuple(record[6]), *record[7:]) for record in core.gpus)
        gpus.uncounted = tuple(Uncounted(*record) for record in core.uncounted)
        gpus.notes = tuple(core.device_notes)
        return gpus

    def __str__(self) -> str:
        from mpibind import text

        return text.gpus(self)


class Devices(NamedTuple):
    """The devices of a node; printed, tables."""

    gpus: Gpus
    """The GPUs in device order."""
    nics: tuple[Nic, ...]
    """The network cards in device order."""

    def __str__(self) -> str:
        from mpibind import text

        return text.devices(self)


def devices(topology: Topology | str | os.PathLike[str] | None = None) -> Devices:
    """Return the GPUs and network cards of a node, and what looks like a GPU but is not counted.

    GPUs are found without the libraries of their vendors: by PCI vendor and class, and by what the
    kernel and the drivers say in files. What a container or a cgroup hides is not counted.

    Parameters
    ----------
    topology : Topology or path-like, optional
        The node, or its hwloc XML; this machine without.

    Returns
    -------
    Devices
        ``gpus``, with ``gpus.uncounted`` and ``gpus.notes``, and ``nics``. Print it to see tables.

    Raises
    ------
    TopologyError
        If `topology` cannot be read.

    Examples
    --------
    >>> import mpibind
    >>> print(mpibind.devices("test-suite/topologies/decoys-0gpu.xml").gpus.uncounted[0].reason)
    integrated graphics, a part of the CPU
    >>> gpu = mpibind.devices("test-suite/topologies/cloud-vm-1numa-4gpu.xml").gpus[0]
    >>> gpu.index, gpu.vendor, gpu.pci, gpu.found
    (0, 'NVIDIA', '0000:00:1b.0', 'PCI class 0302')

    Notes
    -----
    docs/gpus.md has the rules. They follow the PCI Code and ID Assignment Specification, NVIDIA's
    driver README ("The /proc Interface") and the Linux driver amdkfd.
    """
    node = load(topology)
    return Devices(node.gpus, node.nics)


class NumaNode(NamedTuple):
    """A memory domain."""

    os_index: int
    """What ``numactl`` and ``restrict_type="mem"`` call it."""
    subtype: str | None
    """The kind of memory (``HBM``, ``MCDRAM``, ``GPUMemory``), where the system names it."""
    memory: int
    """Size in bytes; 0 if not known."""
    cpus: str
    """The CPUs (OS ids) that it is local to, as a list in text; empty for memory without."""


class Topology:
    """The hardware of one node.

    ``Topology()`` is this machine, as far as this process may use it (cpuset cgroup). Variables can
    put another in its place; the first of these that is set counts: ``MPIBIND_TOPOFILE`` and
    ``HWLOC_XMLFILE`` (XML files), ``HWLOC_SYNTHETIC`` (synthetic text), ``HWLOC_FSROOT`` (the root
    of a copied Linux file tree).

    Raises
    ------
    TopologyError
        If the machine, or what a variable names, cannot be read.

    Examples
    --------
    >>> import mpibind
    >>> node = mpibind.Topology.from_synthetic("package:2 [numa] core:4 pu:2", gpus=[2, 0])
    >>> node.npus, node.ncores, node.nnumas, node.smt, len(node.gpus)
    (16, 8, 2, 2, 2)
    """

    def __init__(self) -> None:
        self._core = _core.Topology.here([])

    @classmethod
    def _wrap(cls, core: _core.Topology) -> Topology:
        topology = cls.__new__(cls)
        topology._core = core
        return topology

    @classmethod
    def from_xml(cls, path: str | os.PathLike[str]) -> Topology:
        """Read a node from hwloc's XML, format 1 or 2, as ``lstopo node.xml`` writes it.

        Parameters
        ----------
        path : path-like
            The file.

        Raises
        ------
        TopologyError
            If the file is missing, or not a topology; it says which.
        """
        return cls._wrap(_core.Topology.from_xml(path))

    @classmethod
    def from_synthetic(cls, text: str, gpus: Sequence[int] = ()) -> Topology:
        """Make up a node from hwloc's synthetic text.

        Parameters
        ----------
        text : str
            Levels from the outside in, such as ``"package:2 [numa] core:18 pu:2"``.
        gpus : sequence of int
            GPUs to add to each NUMA node, in logical order; missing entries are 0.

        Raises
        ------
        TopologyError
            If hwloc does not understand the text.
        InvalidParameterError
            If `gpus` has more entries than there are NUMA nodes, or a negative one.

        Notes
        -----
        The text is described in hwloc's documentation under "Synthetic topologies".
        """
        return cls._wrap(_core.Topology.from_synthetic(text, gpus))

    @classmethod
    def from_json(cls, text: str | bytes | os.PathLike[str]) -> Topology:
        """Read a node that `to_json` wrote, here or elsewhere.

        Parameters
        ----------
        text : str, bytes or path-like
            The JSON; a `pathlib.Path` is the file that it is in.

        Raises
        ------
        InvalidParameterError
            If it is not the JSON of a node, or of a newer schema; it says what is wrong where.
        OSError
            If the file cannot be read.
        """
        from mpibind import files

        return cls._wrap(_core.Topology.from_json(files.content(text)))

    @overload
    def to_json(self, path: None = None) -> str: ...
    @overload
    def to_json(self, path: str | os.PathLike[str]) -> None: ...
    def to_json(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """Write the node as JSON, with all that mpibind knows of it; docs/json.md has the schema.

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

        Examples
        --------
        >>> import mpibind
        >>> node = mpibind.Topology.from_synthetic("numa:2 core:4 pu:1", gpus=[1, 1])
        >>> mpibind.Topology.from_json(node.to_json()) == node
        True
        """
        from mpibind import files

        return files.deliver(self._core.to_json(), path)

    def to_dict(self) -> dict[str, Any]:
        """Return what `to_json` writes as dicts and lists."""
        import json

        return dict(json.loads(self.to_json()))

    @overload
    def to_xml(self, path: None = None) -> str: ...
    @overload
    def to_xml(self, path: str | os.PathLike[str]) -> None: ...
    def to_xml(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """Write the node as hwloc's XML, for `from_xml`, ``lstopo`` and all that read such files.

        hwloc itself writes it, so it has more than mpibind keeps (distances between NUMA nodes,
        caches that add no structure); for a live machine hwloc looks at it again.

        Parameters
        ----------
        path : path-like, optional
            A file to write to, instead of returning the text.

        Returns
        -------
        str or None
            The XML, if there is no `path`.

        Raises
        ------
        TopologyError
            If the node did not come from hwloc, or has GPUs that were made up; `to_json` writes
            these.
        OSError
            If the file cannot be written.
        """
        from mpibind import files

        return files.deliver(self._core.to_xml(), path)

    @overload
    def to_svg(self, path: None = None) -> str: ...
    @overload
    def to_svg(self, path: str | os.PathLike[str]) -> None: ...
    def to_svg(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """Draw the node as SVG for browsers and documents.

        Packages, NUMA nodes, caches, cores and CPUs (OS ids), and GPUs and network cards where
        they hang. Big nodes are folded.

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

        return files.deliver(picture.topology(self.to_dict()), path)

    @property
    def origin(self) -> str:
        """Where it came from, in words."""
        return self._core.origin

    @property
    def npus(self) -> int:
        """Hardware threads (hwloc: PUs)."""
        return self._core.npus

    @property
    def ncores(self) -> int:
        """Cores."""
        return self._core.ncores

    @property
    def nnumas(self) -> int:
        """NUMA nodes, memory without CPUs included."""
        return self._core.nnumas

    @property
    def smt(self) -> int:
        """Hardware threads of the first core."""
        return self._core.smt

    @property
    def cpus(self) -> str:
        """All CPUs (OS ids) as a list in text."""
        return self._core.cpus

    @property
    def numas(self) -> tuple[NumaNode, ...]:
        """The NUMA nodes in logical order."""
        return tuple(NumaNode(*record) for record in self._core.numas)

    @property
    def gpus(self) -> Gpus:
        """The GPUs in device order; printed, a table.

        The order is that of `Mapping.gpu_matrix`; `Gpu.index` is the number that the vendor's tools
        give. ``uncounted`` has what looks like a GPU and is none, ``notes`` what was odd.
        """
        return Gpus._of(self._core)

    @property
    def nics(self) -> tuple[Nic, ...]:
        """The network cards in device order."""
        return tuple(Nic(*record[:3], tuple(record[3]), *record[4:]) for record in self._core.nics)

    def map(
        self,
        ntasks: int,
        *,
        nthreads: int = 0,
        greedy: bool = True,
        gpu_optim: bool = True,
        smt: int = 0,
        restrict_ids: str | Iterable[int] | None = None,
        restrict_type: str = "cpu",
        gpu_ids: str = "index",
        environ: Mapping[str, str] | Iterable[Mapping[str, str]] | None = None,
    ) -> TaskMapping:
        """Map tasks to this node. Nothing is bound.

        Parameters
        ----------
        ntasks : int
            Tasks on the node, at least 1.
        nthreads : int
            Threads per task; 0 computes it from the hardware that a task gets.
        greedy : bool
            Whether fewer tasks than NUMA domains share all of them.
        gpu_optim : bool
            Whether tasks go where the GPUs are, if there are any.
        smt : int
            Hardware threads per core to use; 0 decides by the number of threads.
        restrict_ids : str or iterable of int, optional
            The only ids to use, such as ``"0-3,8"``.
        restrict_type : {"cpu", "mem"}
            What these are: OS ids of CPUs or of NUMA nodes.
        gpu_ids : {"index", "uuid", "pci", "name"}
            How GPUs are named in the mapping.
        environ : mapping, or iterable of mappings, optional
            Variables that restrict the GPUs (``CUDA_VISIBLE_DEVICES`` and the like), such as
            ``os.environ``: of all tasks, or one mapping for each, whose GPUs each then keeps.
            Without, all GPUs of the node are mapped.

        Returns
        -------
        Mapping

        Raises
        ------
        InvalidParameterError
            If a value is not legal; it names the parameter, its value and what is legal.
        DeviceError
            If a GPU has no name of the kind asked for.
        TypeError
            If a value is of the wrong type.

        Examples
        --------
        Two packages with 18 cores of two hardware threads, and two GPUs at the first:

        >>> import mpibind
        >>> text = "package:2 [numa] core:18 pu:2(indexes=2*36:1*2)"
        >>> node = mpibind.Topology.from_synthetic(text, gpus=[2, 0])
        >>> print(node.map(4))
        mpibind: task  0 nths  4 gpus 0 cpus 0-4
        mpibind: task  1 nths  4 gpus 0 cpus 5-9
        mpibind: task  2 nths  4 gpus 1 cpus 10-13
        mpibind: task  3 nths  4 gpus 1 cpus 14-17

        A job that got the second GPU only:

        >>> node.map(2, environ={"VISIBLE_DEVICES": "1"}).gpus
        [('1',), ('1',)]

        Notes
        -----
        The algorithm is that of E. A. León, "mpibind: A Memory-Centric Affinity Algorithm for
        Hybrid Applications", MEMSYS 2017; docs/mapping.md explains it.
        """
        from mpibind import given
        from mpibind.mapping import Mapping

        request = _core.Request(
            ntasks,
            nthreads=nthreads,
            greedy=greedy,
            gpu_optim=gpu_optim,
            smt=smt,
            restrict_ids=restrict_ids,
            restrict_type=restrict_type,
        )
        views = given.of_environments(environ)
        mapping = Mapping(self._core.map(request.with_views(given.records(views))), gpu_ids)
        for text in mapping._core.warnings:
            warnings.warn(text, UserWarning, stacklevel=2)
        return mapping

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Topology):
            return NotImplemented
        return self._core == other._core

    __hash__ = None  # type: ignore[assignment]  # equal by value, like a list

    def _repr_html_(self) -> str:
        from mpibind import notebook

        return notebook.topology(self)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        # Where there is no HTML, what print() shows says more than repr().
        return {"text/plain": str(self), "text/html": self._repr_html_()}

    def __reduce__(self) -> tuple[object, ...]:
        return Topology.from_json, (self.to_json(),)

    def __str__(self) -> str:
        from mpibind import text

        return text.topology(self)

    def __repr__(self) -> str:
        return (
            f"<Topology {self.origin}: {self.npus} PUs, {self.ncores} cores, "
            f"{self.nnumas} NUMA nodes, {len(self._core.gpus)} GPUs>"
        )


def load(
    topology: Topology | str | os.PathLike[str] | None, opened: Iterable[str] = ()
) -> Topology:
    """Return what a parameter `topology` stands for: itself, a file's, or this machine.

    Device files that are `opened` count as open to this process, as they are to others of its job.
    """
    if topology is None:
        return Topology._wrap(_core.Topology.here(list(opened)))
    if isinstance(topology, Topology):
        return topology
    if isinstance(topology, str | os.PathLike):
        return Topology.from_xml(topology)
    raise TypeError(
        "topology must be a Topology, a path to hwloc XML or None, "
        f"not {topology!r} ({type(topology).__name__})"
    )
