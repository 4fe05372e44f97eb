"""Maps the ranks of an MPI program, their threads and GPUs to the hardware, memory first.

The one line for MPI programs::

    import mpibind.mpi
    mpibind.mpi.bind(comm)

What a mapping would be, for this machine or any other:

>>> import mpibind
>>> node = mpibind.Topology.from_synthetic("package:2 [numa] core:4 pu:2")
>>> print(node.map(2))
mpibind: task  0 nths  4 gpus  cpus 0,2,4,6
mpibind: task  1 nths  4 gpus  cpus 8,10,12,14

`MpibindHandle` is the interface of the classic library.

Importing this package reads one small file. Each name below brings its own module when it is first
used, because on a big machine thousands of processes import at once from one file system.
"""

TYPE_CHECKING = False  # typing's own would be an import; checkers know the name.
if TYPE_CHECKING:
    from mpibind._core import __version__
    from mpibind.binding import Binding, bind
    from mpibind.comparison import Comparison, compare
    from mpibind.errors import (
        AffinityError,
        DeviceError,
        InvalidParameterError,
        LauncherError,
        MpibindError,
        TopologyError,
    )
    from mpibind.handle import (
        MPIBIND_ID_NAME,
        MPIBIND_ID_PCIBUS,
        MPIBIND_ID_SMI,
        MPIBIND_ID_UNIV,
        MPIBIND_ID_VISDEVS,
        MPIBIND_RESTRICT_CPU,
        MPIBIND_RESTRICT_MEM,
        MpibindHandle,
        topology_set_xml,
    )
    from mpibind.mapping import Mapping, Task
    from mpibind.reporting import report
    from mpibind.topology import (
        Devices,
        Gpu,
        Gpus,
        Nic,
        NumaNode,
        Topology,
        Uncounted,
        devices,
    )

__all__ = [
    "MPIBIND_ID_NAME",
    "MPIBIND_ID_PCIBUS",
    "MPIBIND_ID_SMI",
    "MPIBIND_ID_UNIV",
    "MPIBIND_ID_VISDEVS",
    "MPIBIND_RESTRICT_CPU",
    "MPIBIND_RESTRICT_MEM",
    "AffinityError",
    "Binding",
    "Comparison",
    "DeviceError",
    "Devices",
    "Gpu",
    "Gpus",
    "InvalidParameterError",
    "LauncherError",
    "Mapping",
    "MpibindError",
    "MpibindHandle",
    "Nic",
    "NumaNode",
    "Task",
    "Topology",
    "TopologyError",
    "Uncounted",
    "__version__",
    "bind",
    "compare",
    "devices",
    "report",
    "topology_set_xml",
]

_MODULES = {
    "_core": ("__version__",),
    "binding": ("Binding", "bind"),
    "comparison": ("Comparison", "compare"),
    "mapping": ("Mapping", "Task"),
    "topology": (
        "Devices",
        "Gpu",
        "Gpus",
        "Nic",
        "NumaNode",
        "Topology",
        "Uncounted",
        "devices",
    ),
    "reporting": ("report",),
    "handle": ("MpibindHandle", "topology_set_xml"),
}


def _module_of(name: str) -> str | None:
    for module, names in _MODULES.items():
        if name in names:
            return module
    if name.startswith("MPIBIND_"):
        return "handle"
    return "errors" if name.endswith("Error") else None


def __getattr__(name: str) -> object:
    module = _module_of(name)
    if module is None or name not in __all__:
        raise AttributeError(f"module 'mpibind' has no attribute {name!r}")
    # The function behind the import statement; importlib would be another file to find.
    value: object = getattr(__import__(f"mpibind.{module}", fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
