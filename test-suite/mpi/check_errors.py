"""Errors are everybody's: each rank raises the same one, and is as it was before.

Arguments: which fault to make, and what that fault needs. Prints one line of JSON from rank 0: for
each rank the kind and text of the error, and whether all is as it was before.
"""

import errno
import json
import os
import sys
from pathlib import Path

from mpi4py import MPI
from seccomp import forbid

import mpibind
import mpibind.mpi
from mpibind import _core

comm = MPI.COMM_WORLD
last = comm.rank == comm.size - 1
parameters: dict[str, object] = {}
fault, *details = sys.argv[1:]

# Faults that all ranks have in common.
if fault == "file":
    parameters["topology"] = "/nosuch/node.xml"
elif fault == "value":
    parameters["smt"] = 99
elif fault == "type":
    parameters["nthreads"] = "four"
elif fault == "cpus":
    # The first two tasks' CPUs may exist, the others' exist nowhere.
    text = "numa:1 core:4 pu:1(indexes=0,1,900,901)"
    parameters["topology"] = mpibind.Topology.from_synthetic(text)

# Faults of one rank, which finds out alone.
elif fault == "one-file" and comm.rank % 2 == 1:
    # The ranks of the second pretended node.
    os.environ["MPIBIND_TOPOFILE"] = "/nosuch/node.xml"
elif fault == "one-value" and last:
    parameters["visible"] = "all"
elif fault == "one-type" and last:
    parameters["restrict_ids"] = 1.5
elif fault == "one-word" and last:
    os.environ["MPIBIND"] = "vv"
elif fault == "one-cpuset" and last:
    (cgroup,) = details
    Path(cgroup, "cgroup.procs").write_text(str(os.getpid()))
elif fault == "one-seccomp" and last:
    forbid("sched_setaffinity", error=errno.EPERM)
elif fault == "leader" and comm.rank == 0:

    def fail(*arguments: object) -> None:
        raise MemoryError("planted")

    mpibind.mpi.map_node = fail
elif fault == "leader-panic" and comm.rank == 0:

    def panic(*arguments: object) -> None:
        raise mpibind._core.PanicException("planted")

    mpibind.mpi.map_node = panic
elif fault == "ntasks" and comm.rank == 0:
    # More ranks than can be started here: the leader is told another number.
    map_node = mpibind.mpi.map_node
    mpibind.mpi.map_node = lambda settings, _, *more: map_node(settings, 1 << 21, *more)

# Ranks that are asked for different things.
elif fault == "different":
    parameters["nthreads"] = 1 + comm.rank // 2
elif fault == "different-greedy" and last:
    parameters["greedy"] = False
elif fault == "different-topology" and last:
    (parameters["topology"],) = details
elif fault == "different-gpus":
    parameters["topology"] = mpibind.Topology.from_synthetic("core:2 pu:1", gpus=[int(last)])
elif (fault == "different-off" and last) or (fault == "different-off-leader" and comm.rank == 0):
    os.environ["MPIBIND"] = "off"
elif (fault == "different-respect" and last) or (
    fault == "different-respect-leader" and comm.rank == 0
):
    parameters["respect"] = "affinity"


def state() -> object:
    threads = Path("/proc/self/task").iterdir()
    masks = [sorted(os.sched_getaffinity(int(task.name))) for task in threads]
    return masks, dict(os.environ), _core.memory_policy()


before = state()
try:
    if fault == "map":
        mpibind.mpi.map(comm)
    else:
        mpibind.mpi.bind(comm, membind="bind", **parameters)
    outcome = ["none", "", state() == before]
except mpibind.MpibindError as error:
    outcome = [type(error).__name__, str(error), state() == before]
outcomes = comm.gather(outcome)
comm.barrier()  # as mpibind.mpi._gather_last
if outcomes is not None:
    print(json.dumps(outcomes))
