"""One rank of a job that does what the judge tells it, and says what came of it.

Orders and answers are files of a folder, so that the judge can look at the rank in between, and
one start of the job serves many questions: in an emulator it takes the most time.

    mpiexec -n 8 python ranks.py FOLDER
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import sys
import threading
import time
from pathlib import Path

from mpi4py import MPI

import mpibind.mpi

PAGES = 512


class Rank:
    """What orders there are: each method is one, and returns its answer."""

    def __init__(self) -> None:
        self.binding: mpibind.Binding | None = None
        self.topology: mpibind.Topology | None = None
        self.memory: list[mmap.mmap] = []

    def start(self) -> dict[str, object]:
        return {"pid": os.getpid()}

    def discover(self) -> dict[str, object]:
        """See the machine now, to bind to it later."""
        self.topology = mpibind.Topology()
        return {}

    def bind(self, seen_before: bool = False, **how: object) -> dict[str, object]:
        if seen_before:
            how["topology"] = self.topology
        try:
            self.binding = mpibind.mpi.bind(MPI.COMM_WORLD, **how)
        except mpibind.MpibindError as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return {"line": str(self.binding)}

    def restore(self) -> dict[str, object]:
        assert self.binding is not None
        self.binding.restore()
        return {}

    def touch(self, cpu: int) -> dict[str, object]:
        """Use new memory for the first time from this CPU: by itself, it would come from there."""
        mine = os.sched_getaffinity(0)
        os.sched_setaffinity(0, [cpu])
        self.memory.append(mmap.mmap(-1, PAGES * mmap.PAGESIZE))
        for page in range(PAGES):
            self.memory[-1][page * mmap.PAGESIZE] = 1
        os.sched_setaffinity(0, mine)
        return {"address": ctypes.addressof(ctypes.c_char.from_buffer(self.memory[-1]))}


def main() -> None:
    folder, number, rank = Path(sys.argv[1]), 0, Rank()
    # Binding is for all threads.
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    while True:
        file = folder / f"order-{number}"
        while not file.exists():
            time.sleep(0.05)
        order, how = json.loads(file.read_text())
        if order == "end":
            return
        answer = folder / f"answer-{number}-{MPI.COMM_WORLD.rank}"
        part = answer.with_suffix(".part")
        part.write_text(json.dumps(getattr(rank, order)(**how)))
        part.rename(answer)
        number += 1


if __name__ == "__main__":
    main()
