"""What ``mpibind.mpi.bind`` adds to an MPI program, beside every rank discovering its node itself.

Each figure is of a program of its own, as programs bind once: the time of the slowest rank from a
barrier to the end of the call, and the CPU time of all ranks in it. What Python imports in the call
is in both; ``import mpibind.mpi`` itself is not, which the table of imports has.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable

import tools

RANKS = (2, 4, 8, 16, 32, 64)
WAYS = {
    "split": "the split alone",
    "bind": "`bind(comm)`",
    "itself": "each rank for itself",
    "message": "the same and a message",
}
PIECES = ("split", "discovery", "sending", "receiving", "reduction")
NODES = (1, 1_000, 10_000)


def measure(way: str) -> None:
    """Run on each rank; rank 0 prints the seconds of the slowest, and CPU seconds of all."""
    import time

    from mpi4py import MPI

    import mpibind.mpi

    comm = MPI.COMM_WORLD
    node = None
    if way in PIECES[1:]:
        node = comm.Split_type(MPI.COMM_TYPE_SHARED, key=comm.rank)
    comm.barrier()
    start, cpu = time.perf_counter(), time.process_time()
    if way == "bind":
        mpibind.mpi.bind(comm)
    elif way == "discovery":
        if comm.rank == 0:
            mpibind.Topology().map(comm.size)
    elif way in ("sending", "receiving"):
        share = ("cpus", 1, (), (), {"OMP_NUM_THREADS": "1"}, (0,), ())
        if node.rank == 0:
            mpibind.mpi._scatter(node, [share] * node.size)
        elif way == "receiving":
            mpibind.mpi._receive(node)
    elif way == "reduction":
        mpibind.mpi._largest(comm, [0] * 6)
    else:
        node = comm.Split_type(MPI.COMM_TYPE_SHARED, key=comm.rank)
        if way != "split":
            mpibind.bind(node.rank, node.size)
        if way == "message":
            node.scatter(["a message"] * node.size if node.rank == 0 else None)
    told = time.perf_counter() - start, time.process_time() - cpu
    if way == "sending" and node.rank != 0:
        mpibind.mpi._receive(node)
    # Who is done waits asleep: MPI waits in loops, which would take the CPUs from the others.
    mpibind.mpi._sleep_until(comm.Ibarrier().Test, 1e-3)
    slowest, used = comm.allreduce(told[0], op=MPI.MAX), comm.allreduce(told[1])
    if comm.rank == 0:
        print(json.dumps([slowest, used]))


def program(ranks: int, way: str) -> Callable[[], list[float]]:
    """Start a program; return the times that it printed."""
    command = (tools.BIN / "mpiexec", "-n", ranks, sys.executable, __file__, "--measure", way)
    return lambda: json.loads(tools.output(*command))


def tables(quick: bool) -> list[str]:
    rows, cpu_rows = [], []
    for ranks in RANKS[:1] if quick else RANKS:
        rounds = 1 if quick else 3
        found = tools.medians({way: program(ranks, way) for way in WAYS}, rounds)
        for place, table in enumerate((rows, cpu_rows)):
            times = {way: told[place] for way, told in found.items()}
            beyond = {way: times[way] - times["split"] for way in WAYS}
            table.append(
                [
                    ranks,
                    *(tools.time_text(times[way]) for way in WAYS),
                    *(f"{times['bind'] / times[way]:.2f}" for way in ("itself", "message")),
                    f"{max(0.0, beyond['bind']) / max(1e-9, beyond['itself']):.2f}",
                ]
            )
    heads = [
        *("ranks", *WAYS.values(), "`bind` / itself", "`bind` / message"),
        "`bind` / itself, both without the split",
    ]
    return [
        "The slowest rank:",
        "",
        *tools.table(heads, rows),
        "CPU time of all ranks together:",
        "",
        *tools.table(heads, cpu_rows),
        *model(quick),
    ]


def model(quick: bool) -> list[str]:
    """What larger jobs would take, from pieces measured with as many ranks as CPUs."""
    ranks, rounds = 2, 1 if quick else 9
    found = tools.medians({piece: program(ranks, piece) for piece in PIECES}, rounds)
    split, discovery, sending, receiving, reduction = (found[piece][0] for piece in PIECES)
    per_node = 64
    rows = []
    for nodes in NODES:
        steps = math.log2(nodes * per_node) / math.log2(ranks)
        # A split puts pairs of numbers from all ranks into order on each.
        sorting = 1e-7 * nodes * per_node
        parts = (
            split * steps + sorting,
            discovery,
            sending * (per_node - 1),
            receiving,
            reduction * steps,
        )
        rows.append([f"{nodes:,}", f"{nodes * per_node:,}", *map(tools.time_text, parts)])
        rows[-1].append(tools.time_text(sum(parts)))
    measured = tools.table(
        ["measured with 2 ranks", *PIECES],
        [["slowest rank", *(tools.time_text(found[piece][0]) for piece in PIECES)]],
    )
    heads = ["nodes", f"ranks, {per_node} a node", *PIECES, "in all"]
    return [*measured, *tools.table(heads, rows)]


if __name__ == "__main__":
    measure(sys.argv[2])
