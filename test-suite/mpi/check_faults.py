"""What befalls ranks in the middle of bind(). Arguments: which fault, on which rank.

Prints one line of JSON from rank 0, where the fault lets it: the CPUs of each rank.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from mpi4py import MPI

import mpibind.mpi
from mpibind.binding import Binding

comm = MPI.COMM_WORLD
fault, rank = sys.argv[1], int(sys.argv[2])


def stop() -> None:
    """Stand still, as under a debugger, until a helper wakes us."""
    subprocess.Popen(["sh", "-c", f"sleep 1; kill -CONT {os.getpid()}"])
    os.kill(os.getpid(), signal.SIGSTOP)


def die() -> None:
    """Go without a word, as when the kernel is out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def fill() -> None:
    """Leave no room in the memory that the ranks of a node share."""
    try:
        with Path("/dev/shm/filling").open("wb", buffering=0) as file:
            while file.write(bytes(1 << 20)):
                pass
    except OSError:
        pass


happens = {"stopped": stop, "killed": die, "full": fill}[fault]
if comm.rank == rank:
    # The leader maps, everybody binds itself.
    if rank == 0:
        map_node = mpibind.mpi.map_node

        def map_after(*words: object) -> object:
            happens()
            return map_node(*words)

        mpibind.mpi.map_node = map_after
    else:
        bind_process = Binding._bind_process

        def bind_after(self: Binding) -> None:
            happens()
            bind_process(self)

        Binding._bind_process = bind_after

binding = mpibind.mpi.bind(comm)
found = comm.gather([sorted(os.sched_getaffinity(0)), binding.cpus.tolist()])
comm.barrier()  # as mpibind.mpi._gather_last
if found is not None:
    print(json.dumps(found))
