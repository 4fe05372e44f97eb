"""What ``mpibind.mpi.bind`` costs an MPI program, beside every rank discovering its node itself.

python bind_cost.py [repetitions]       starts MPICH's mpiexec with 2 to 64 ranks

Each figure is the time of the slowest rank from a barrier to the end of the call, in a program of
its own, as programs bind once: what Python imports for it is in the time. The naive way is one
split, and then `mpibind.bind` on each rank. With "discovery" alone, one rank of an idle node calls
`mpibind.Topology()`.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

RANKS = (1, 2, 4, 8, 16, 32, 64)
WAYS = ("bind", "naive")


def measure(way: str) -> None:
    """Run on each rank; rank 0 prints the time of the slowest in milliseconds."""
    import time

    from mpi4py import MPI

    import mpibind.mpi

    comm = MPI.COMM_WORLD
    comm.barrier()
    start = time.perf_counter()
    if way == "bind":
        mpibind.mpi.bind(comm)
    else:
        node = comm.Split_type(MPI.COMM_TYPE_SHARED, key=comm.rank)
        mpibind.bind(node.rank, node.size)
    slowest = comm.allreduce(time.perf_counter() - start, op=MPI.MAX)
    if comm.rank == 0:
        print(json.dumps(1000 * slowest))


def once(ranks: int, way: str) -> float:
    """Start a program; return the time that it printed."""
    mpiexec = Path(sys.executable).parent / "mpiexec"
    command = [mpiexec, "-n", ranks, sys.executable, __file__, "--measure", way]
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Print a line for each number of ranks."""
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2])
        return
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    print("the slowest rank, median in ms     bind()   every rank for itself   ratio")
    for ranks in RANKS:
        # In turn, so that a machine that slows down does so for both.
        times = [[once(ranks, way) for way in WAYS] for _ in range(repetitions)]
        ours, naive = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{ranks:3} ranks {ours:30.1f} {naive:23.1f} {ours / naive:7.2f}")


if __name__ == "__main__":
    main()
