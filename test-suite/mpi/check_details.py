"""Details of bind() under several ranks. Arguments: which, and what it needs. Rank 0 prints."""

import json
import os
import sys
import warnings
from pathlib import Path

from mpi4py import MPI

import mpibind
import mpibind.mpi

comm = MPI.COMM_WORLD
detail, *details = sys.argv[1:]


def say(told: object) -> None:
    """Print what each rank told, as JSON."""
    found = comm.gather(told)
    comm.barrier()  # as mpibind.mpi._gather_last
    if found is not None:
        print(json.dumps(found))


def regroup() -> list[int]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        binding = mpibind.mpi.bind(comm)
    assert all("groups of one" in str(warning.message) for warning in caught), caught
    alone = mpibind.Topology().map(binding.local_size)[binding.local_rank]
    assert binding.cpus.tolist() == alone.cpus.tolist()
    assert sorted(os.sched_getaffinity(0)) == alone.cpus.tolist()
    return [binding.local_rank, binding.local_size, len(caught)]


if detail == "verbose":
    mpibind.mpi.bind(comm, verbose=comm.rank == 2)
elif detail == "regroup":
    if details and comm.rank == int(details[0]):
        mpibind.mpi._host_key = lambda: "another host"
    say(regroup())
elif detail == "regroup-collision":
    mpibind.mpi._host_key = lambda: f"host {comm.rank % 2}"
    mpibind.mpi.zlib.crc32 = lambda _: 7
    say(regroup())
elif detail == "respect":
    cpus = mpibind.Topology().map(1)[0].cpus.tolist()
    # Each rank has one CPU, as launchers give it; together they have these.
    own = cpus[-1:] if comm.rank % 2 else cpus[:1]
    os.sched_setaffinity(0, own)
    together = sorted({cpus[0], cpus[-1]})
    wide = mpibind.mpi.bind(comm, respect="affinity")
    expected = mpibind.Topology().map(comm.size, restrict_ids=together)[comm.rank]
    ok = wide.cpus.tolist() == expected.cpus.tolist() and wide.before.tolist() == own
    os.sched_setaffinity(0, cpus[:1])
    narrow = mpibind.mpi.map(comm, respect="affinity")
    say("ok" if ok and narrow.cpus.tolist() == cpus[:1] else [wide.cpus.tolist(), str(narrow)])
elif detail == "off":
    before = sorted(os.sched_getaffinity(0)), dict(os.environ)
    binding = mpibind.mpi.bind(comm, nthreads=2, verbose=True)
    assert (sorted(os.sched_getaffinity(0)), dict(os.environ)) == before
    assert not binding.applied and binding.mapping is None and binding.env == {}
    say([binding.local_rank, binding.local_size])
elif detail == "cpus":
    say(mpibind.mpi.bind(comm).cpus.tolist())
elif detail == "before":
    binding = mpibind.mpi.bind(comm)
    say([binding.before.tolist(), mpibind.Topology().map(1)[0].cpus.tolist()])
elif detail == "many":
    # More often than MPICH has communicators (2048).
    node = mpibind.Topology.from_synthetic("core:2 pu:1")
    for _ in range(2500):
        mpibind.mpi.map(comm, topology=node)
    say("ok")
elif detail == "quota":
    Path(*details, "cgroup.procs").write_text(str(os.getpid()))
    mpibind.mpi.bind(comm)
elif detail == "get-mapping":
    found = mpibind.mpi.get_mapping(comm)
    task = mpibind.Topology().map(comm.size)[comm.rank]
    expected = {
        "nthreads": task.nthreads,
        "cpus": task.cpus.tolist(),
        "gpus": list(task.gpus),
    }
    say(found == expected)
    mpibind.mpi.get_mapping(comm, verbose=True)
elif detail == "gpus":
    mpibind.mpi.bind(comm, apply=False)
    # The second call finds the value of the first, which is no scheduler's.
    binding = mpibind.mpi.bind(comm, apply=False)
    shown = [os.environ["CUDA_VISIBLE_DEVICES"], os.environ["CUDA_DEVICE_ORDER"]]
    say([*shown, list(binding.gpus), list(binding.notes)])
elif detail == "own-gpus":
    # Each rank was given GPUs of its own, by a variable or by its device files.
    name, *values = details
    os.environ[name] = values[comm.rank]
    binding = mpibind.mpi.bind(comm, apply=False, visible="own-first")
    say([list(binding.gpus), binding.cpu_list[0], os.environ[name], len(binding.notes)])
    binding.restore()
    assert os.environ[name] == values[comm.rank]
    mpibind.mpi.map(comm, respect="affinity")  # asks for masks and GPUs at once
elif detail == "messages":
    calls: list[str] = []

    class Counting(MPI.Intracomm):
        def Split_type(self, *arguments, **more):
            calls.append("split")
            return Counting(super().Split_type(*arguments, **more))

        def isend(self, *arguments):
            calls.append("send")
            return super().isend(*arguments)

        def improbe(self, *arguments):
            message = super().improbe(*arguments)
            if message is not None:
                calls.append("receive")
            return message

        def scatter(self, *arguments):
            calls.append("scatter")
            return super().scatter(*arguments)

        def gather(self, *arguments):
            calls.append("gather")
            return super().gather(*arguments)

        def Iallreduce(self, *arguments, **more):
            calls.append("reduce numbers")
            return super().Iallreduce(*arguments, **more)

        def allreduce(self, *arguments, **more):
            calls.append("reduce words")
            return super().allreduce(*arguments, **more)

    mpibind.mpi.bind(Counting(comm), apply=False)
    say(calls)
