"""Errors are everybody's: each rank raises the same one, and is bound as before.

Arguments: which fault to make. Prints one line of JSON from rank 0: for each rank the kind and text
of the error, and whether all is as it was before.
"""

import json
import os
import sys
from pathlib import Path

from mpi4py import MPI

import mpibind.mpi

comm = MPI.COMM_WORLD
last = comm.rank == comm.size - 1
parameters: dict[str, object] = {}
(fault,) = sys.argv[1:]
if fault == "file":
    parameters["topology"] = "/nosuch/node.xml"
elif fault == "value":
    parameters["smt"] = 99
elif fault == "type":
    parameters["nthreads"] = "four"
elif fault == "cpus":
    # The first tasks' CPUs exist everywhere, the last one's nowhere.
    parameters["topology"] = mpibind.Topology.from_synthetic("numa:2 core:600 pu:1")
elif fault == "one-rank" and last:
    # A rank that cannot bind: it finds out alone, all others hear of it.
    from mpibind import _core

    def refuse(cpus: object) -> None:
        raise mpibind.AffinityError("cannot bind: planted")

    _core.bind = refuse


def state() -> object:
    threads = Path("/proc/self/task").iterdir()
    return [sorted(os.sched_getaffinity(int(task.name))) for task in threads], dict(os.environ)


before = state()
try:
    mpibind.mpi.bind(comm, **parameters)
    outcome = ["none", "", state() == before]
except mpibind.MpibindError as error:
    outcome = [type(error).__name__, str(error), state() == before]
outcomes = comm.gather(outcome)
if outcomes is not None:
    print(json.dumps(outcomes))
