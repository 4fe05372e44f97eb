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
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mpibind.mpi.bind(comm, apply=False)
        # The second call finds the value of the first, which is no scheduler's.
        mpibind.mpi.bind(comm, apply=False)
    shown = os.environ["CUDA_VISIBLE_DEVICES"]
    texts = [str(warning.message) for warning in caught]
    if given is None:
        assert not texts, texts
        line = f"{shown} {os.environ['CUDA_DEVICE_ORDER']}"
    else:
        assert len(texts) == 2 and all(given in text for text in texts), texts
        assert all(warning.filename == __file__ for warning in caught)
        line = "stays" if shown == given else shown
    say(line)
