"""bind() on all kinds of communicators. Six ranks; rank 0 prints JSON: what went wrong."""

import json
import os
from itertools import chain

from mpi4py import MPI

import mpibind
import mpibind.mpi

comm = MPI.COMM_WORLD
problems: list[str] = []
before = sorted(os.sched_getaffinity(0))


def check(condition: bool, what: str) -> None:
    if not condition:
        problems.append(f"rank {comm.rank}: {what}")


def raised(call, *arguments) -> Exception:
    try:
        call(*arguments)
    except Exception as error:
        return error
    return AssertionError("no error")


def place(binding: mpibind.Binding) -> tuple[int, int, int, int]:
    return binding.rank, binding.size, binding.local_rank, binding.local_size


def check_group(group: MPI.Intracomm, what: str) -> None:
    """The ranks of a node that are in the group are mapped in its order."""
    node = group.Split_type(MPI.COMM_TYPE_SHARED, key=group.rank)
    expected = group.rank, group.size, node.rank, node.size
    binding = mpibind.mpi.bind(group)
    check(place(binding) == expected, f"{what}: {place(binding)}, not {expected}")
    alone = mpibind.Topology().map(node.size)[node.rank].cpus.tolist()
    check(binding.cpus.tolist() == alone, f"{what}: CPUs {binding.cpus}, not {alone}")
    binding.restore()
    node.Free()


check(comm.size == 6, f"{comm.size} ranks")
check_group(comm, "all")
check_group(MPI.COMM_SELF, "self")
reversed_order = comm.Split(0, key=-comm.rank)
check_group(reversed_order, "in reversed order")
# The ranks of a node are scattered over the communicator, and some are not in it.
scattered = comm.Split(comm.rank in (0, 3, 4), key=(comm.rank * 5) % 6)
check_group(scattered, "scattered")
cartesian = comm.Create_cart([2, 3], reorder=False)
check_group(cartesian, "cartesian")

# A second call comes on top, and restores to the first.
first = mpibind.mpi.bind(comm)
second = mpibind.mpi.bind(scattered)
check(second.before.tolist() == first.cpus.tolist(), "the second call did not see the first")
second.restore()
check(sorted(os.sched_getaffinity(0)) == first.cpus.tolist(), "not back at the first call")
# On overlapping groups each call maps its own group: the last one counts.
if comm.rank < 4:
    low = comm.Create_group(comm.group.Incl([0, 1, 2, 3]), tag=1)
    mpibind.mpi.bind(low)
if comm.rank > 1:
    high = comm.Create_group(comm.group.Incl([2, 3, 4, 5]), tag=2)
    last = mpibind.mpi.bind(high)
    check(last.size == 4, "the last call does not count")
    check(sorted(os.sched_getaffinity(0)) == last.cpus.tolist(), "the last CPUs do not count")
os.sched_setaffinity(0, before)
comm.barrier()

# What is no group of ranks that have an order together.
inter = comm.Split(comm.rank % 2).Create_intercomm(0, comm, 1 - comm.rank % 2)
freed = comm.Dup()
freed.Free()
cases = {
    "it is an intercommunicator": inter,
    "it is MPI.COMM_NULL, or was freed": freed,
    "it is MPI.COMM_NULL": MPI.COMM_NULL,
}
for words, wrong in cases.items():
    for call in (mpibind.mpi.bind, mpibind.mpi.map, mpibind.mpi.get_mapping, mpibind.mpi.report):
        error = raised(call, wrong)
        check(isinstance(error, mpibind.InvalidParameterError), f"{call.__name__}: {error!r}")
        check(words in str(error) and "comm=" in str(error), f"{call.__name__}: {error}")
for wrong in ("world", 3, comm.group):
    check(isinstance(raised(mpibind.mpi.bind, wrong), TypeError), f"{wrong!r} is accepted")
check(sorted(os.sched_getaffinity(0)) == before, "an error changed the CPUs")

found = comm.gather(problems)
comm.barrier()  # as mpibind.mpi._gather_last
if found is not None:
    print(json.dumps([*chain.from_iterable(found)]))
