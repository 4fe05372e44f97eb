"""report() against the kernel. Argument: which state to report.

Rank 0 prints JSON: what is wrong with the report; or with "lines" what it prints.
"""

import json
import os
import sys
import threading
from pathlib import Path

from mpi4py import MPI

import mpibind
import mpibind.mpi

comm = MPI.COMM_WORLD
(state,) = sys.argv[1:]
problems: list[str] = []


def check(condition: bool, what: str) -> None:
    if not condition:
        problems.append(f"{what}: {found}")


def masks() -> dict[int, list[int]]:
    threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
    return {thread: sorted(os.sched_getaffinity(thread)) for thread in threads}


stop = threading.Event()
waiting = threading.Thread(target=stop.wait, daemon=True)  # a failure must not wait for it
waiting.start()
if state in ("bound", "lines"):
    mpibind.mpi.bind(comm)
elif state == "unbound":
    # Some launchers bind ranks, and this undoes it: the mask is cut to what there is.
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
if state == "lines":
    mpibind.mpi.report(comm)
else:
    os.environ["OMP_NUM_THREADS"] = "1" if state == "bound" else "1000,2"
    found = mpibind.mpi.report(comm, as_dict=True)
    real = comm.gather(masks())
    comm.barrier()  # as mpibind.mpi._gather_last
    if comm.rank != 0:
        assert found is None
    else:
        ranks, kinds = found["ranks"], {finding["kind"] for finding in found["findings"]}
        check([rank["rank"] for rank in ranks] == [*range(comm.size)], "order of ranks")
        check([rank["threads"] for rank in ranks] == real, f"threads, really {real}")
        for rank, threads in zip(ranks, real, strict=True):
            cpus = sorted({cpu for mask in threads.values() for cpu in mask})
            check(rank["cpus"] == cpus, f"CPUs, really {cpus}")
            check(rank["hostname"] == os.uname().nodename and rank["size"] == comm.size, "place")
        if state == "bound":
            check([rank["local_rank"] for rank in ranks] == [0, 0, 1, 1], "local ranks")
            # Nobody looks across pretended nodes.
            check("too-many-threads" not in kinds, "findings")
        elif state == "unbound":
            check(kinds >= {"shared-cpus", "too-many-threads"}, "findings")
            check([rank["nthreads"] for rank in ranks] == [1000] * comm.size, "threads")
            shared = [f for f in found["findings"] if f["kind"] == "shared-cpus"]
            check(shared[0]["ranks"] == [*range(comm.size)], "sharing ranks")
        elif state == "broken":
            check(kinds == {"no-topology"}, "findings")
            check("/nosuch.xml" in found["findings"][0]["text"], "text")
            check([rank["gpus"] for rank in ranks] == [["3", "4"]] * 2, "GPUs")
    if comm.rank == 0:
        print(json.dumps(problems))
stop.set()
waiting.join()
