"""Every rank checks its own binding against the kernel and its place against MPI.

Arguments: the number of ranks that must be there, and the number of nodes. Prints one line of JSON
from rank 0: what went wrong, by rank.
"""

import json
import os
import sys
import threading
import warnings
from itertools import chain
from pathlib import Path

import numpy as np  # its threads are there from now on
from mpi4py import MPI

import mpibind
import mpibind.mpi

warnings.simplefilter("error")
comm = MPI.COMM_WORLD
size, nodes = (int(argument) for argument in sys.argv[1:])
TASKS = Path("/proc/self/task")
problems: list[str] = []


def check(condition: bool, what: str) -> None:
    if not condition:
        problems.append(f"rank {comm.rank}: {what}")


def masks() -> list[list[int]]:
    return [sorted(os.sched_getaffinity(int(task.name))) for task in TASKS.iterdir()]


stop = threading.Event()
thread = threading.Thread(target=stop.wait, daemon=True)  # a failure must not wait for it
thread.start()
before, variables = masks(), dict(os.environ)

binding = mpibind.mpi.bind(comm)
check(comm.size == size, f"the world has {comm.size} ranks, not {size}")
check((binding.rank, binding.size) == (comm.rank, comm.size), "rank or size")
check(binding.hostname == os.uname().nodename, "host name")
check(binding.local_size == size // nodes, f"local size {binding.local_size}")
check(binding.applied, "not applied")
check(masks() == [binding.cpus.tolist()] * len(before), f"masks {masks()}, not {binding.cpus}")
check(binding.before.tolist() == before[0], "CPUs from before")
check(binding.cpus.dtype == np.int32, "type of the CPUs")
check(os.environ["OMP_NUM_THREADS"] == str(binding.nthreads), "OMP_NUM_THREADS")
check((binding.mapping is not None) == (binding.local_rank == 0), "mapping off the leader")

# What the ranks of a node were told together is what one process maps by itself.
alone = mpibind.Topology().map(binding.local_size)[binding.local_rank]
check(alone.cpus.tolist() == binding.cpus.tolist(), "CPUs differ from the mapping")
check(alone.nthreads == binding.nthreads, "threads differ from the mapping")
places = comm.allgather((binding.local_rank, binding.cpus.tolist()))
local_ranks = sorted(local_rank for local_rank, _ in places)
check(local_ranks == sorted([*range(size // nodes)] * nodes), f"local ranks {local_ranks}")

cpus, gpus = binding.cpus.tolist(), list(binding.gpus)
place = f"lrank {binding.local_rank}/{binding.local_size}"
share = f"nths {binding.nthreads} gpus {gpus} cpus {cpus}"
line = f"{binding.hostname} task {comm.rank}/{comm.size}: {place} {share}"
check(str(binding) == line, f"prints {binding}")

binding.restore()
binding.restore()
check(masks() == before, "CPUs not restored")
check(dict(os.environ) == variables, "environment not restored")
check(not binding.applied, "still applied")

with mpibind.mpi.bind(comm, omp_affinity=True) as binding:
    check(binding.env["OMP_PLACES"] == "threads", "OMP_PLACES")
    check(masks()[0] == binding.cpus.tolist(), "context manager")
check(masks() == before, "context manager did not restore")

dgx = Path(__file__).parent.parent / "topologies" / "dgx-h100-8gpu.xml"
with mpibind.mpi.bind(comm, topology=dgx, nthreads=1, apply=False, nics=True) as binding:
    cards = ",".join(f"{name}:1" for name in binding.nics)
    expected = mpibind.Topology.from_xml(dgx).map(binding.local_size)[binding.local_rank].nics
    check(binding.nics == expected, f"cards {binding.nics}")
    check(os.environ.get("UCX_NET_DEVICES") == cards, "UCX_NET_DEVICES")
check(dict(os.environ) == variables, "environment with cards not restored")

untouched = mpibind.mpi.bind(comm, apply=False, env=False)
check(masks() == before and dict(os.environ) == variables, "apply=False, env=False did something")
check(not untouched.applied and untouched.env == {}, "apply=False is applied")

# On a sub-communicator, with its ranks in another order.
half = comm.Split(comm.rank % 2, key=-comm.rank)
sub = mpibind.mpi.bind(half)
check((sub.rank, sub.size) == (half.rank, half.size), "rank in the sub-communicator")
sub.restore()
half.Free()

alone_binding = mpibind.mpi.bind(MPI.COMM_SELF)
check((alone_binding.local_rank, alone_binding.local_size) == (0, 1), "COMM_SELF")
alone_binding.restore()

stop.set()
thread.join()
found = comm.gather(problems)
comm.barrier()  # as mpibind.mpi._gather_last
if found is not None:
    print(json.dumps([*chain.from_iterable(found)]))
