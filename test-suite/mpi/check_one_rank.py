"""What befalls the last of some ranks only, and what all make of it. Argument: what.

Rank 0 prints a line of JSON: for each rank the error, whether all is as it was before, and the
warnings.
"""

import json
import os
import sys
import types
import warnings

from mpi4py import MPI

import mpibind.mpi
from mpibind import given, reporting

comm = MPI.COMM_WORLD
(what,) = sys.argv[1:]
is_last = comm.rank == comm.size - 1


def state() -> tuple[list[int], dict[str, str]]:
    return sorted(os.sched_getaffinity(0)), dict(os.environ)


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("planted")


def run() -> None:
    if what == "report":
        mpibind.mpi.report(comm)
    else:
        mpibind.mpi.bind(comm, nthreads=1, verbose=what in ("print", "silent"))


out = os.dup(1)
if is_last and what in ("pools", "warning"):
    import numpy  # noqa: F401  # loads a library with a thread pool

    broken = types.ModuleType("threadpoolctl")
    broken.threadpool_limits = fail  # type: ignore[attr-defined]
    sys.modules["threadpoolctl"] = broken
if is_last and what == "environment":
    given.set_variable = fail  # type: ignore[assignment]
if is_last and what == "report":
    reporting.look = fail  # type: ignore[assignment]
if comm.rank == 0 and what == "print":
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
warnings.simplefilter("error" if what == "warning" else "always")
before, error = state(), None
with warnings.catch_warnings(record=what not in ("warning", "silent")) as caught:
    if comm.rank == 0 and what == "silent":
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
        sys.stdout.close()
        warnings.showwarning = fail
    try:
        run()
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
told = (error, state() == before, [str(each.message) for each in caught or ()])
found = comm.gather(told)
comm.barrier()  # as mpibind.mpi._gather_last
os.dup2(out, 1)
sys.stdout = sys.__stdout__
if found is not None:
    print(json.dumps(found))
