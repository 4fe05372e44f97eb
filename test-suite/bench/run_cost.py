"""What ``mpibind run`` adds to a program: one at a time beside hwloc-bind, and many at once.

The program is ``true``. "The first" is with an empty node cache. Many at once are started by one
process, and timed from the first start to the last end; that takes some time by itself, which the
row of ``true`` shows. CPU time is of all that was started.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import tools

AT_ONCE = 64
MPIBIND = str(tools.BIN / "mpibind")
RUN = [MPIBIND, "run", "true"]
CACHED = "`mpibind run true`, with a node cache"
BESIDE = "`hwloc-bind core:0 -- true`"
WAYS: dict[str, tuple[list[str], dict[str, str], bool]] = {
    "`true` alone": (["true"], {}, False),
    BESIDE: (["hwloc-bind", "core:0", "--", "true"], {}, False),
    "`mpibind run true`, the first": (RUN, {}, True),
    CACHED: (RUN, {}, False),
    "`mpibind run true`, `MPIBIND_CACHE=0`": (RUN, {"MPIBIND_CACHE": "0"}, False),
    "`python -m mpibind run true`, with a node cache": (
        [sys.executable, "-m", "mpibind", "run", "true"],
        {},
        False,
    ),
    "`python -c pass`, for comparison": ([sys.executable, "-c", "pass"], {}, False),
}


def started(way: str, count: int, cache: str) -> Callable[[], tuple[float, float]]:
    """Start so many at once; tell seconds and CPU seconds."""
    command, variables, is_first = WAYS[way]
    env = {**os.environ, "XDG_RUNTIME_DIR": cache, **variables}

    def once() -> tuple[float, float]:
        if is_first:
            shutil.rmtree(Path(cache, "mpibind"), ignore_errors=True)
        cpu, start = tools.cpu_seconds(), time.perf_counter()
        processes = [subprocess.Popen(command, env=env) for _ in range(count)]
        statuses = [process.wait() for process in processes]
        if any(statuses):
            raise SystemExit(f"error: {way} failed")
        return time.perf_counter() - start, tools.cpu_seconds() - cpu

    return once


def tables(quick: bool) -> list[str]:
    # A place for the cache that is nobody else's.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as cache:
        ways = [way for way in WAYS if not quick or way in {BESIDE, CACHED}]
        one, many = (
            tools.medians({way: started(way, count, cache) for way in ways}, rounds)
            for count, rounds in (((1, 1), (2, 1)) if quick else ((1, 21), (AT_ONCE, 7)))
        )
    rows = []
    for way in ways:
        cells = []
        for found in (one, many):
            (wall, cpu), (wall_beside, cpu_beside) = found[way], found[BESIDE]
            cells += [tools.time_text(wall), f"{wall / wall_beside:.2f}"]
            cells += [tools.time_text(cpu), f"{cpu / cpu_beside:.2f}"]
        rows.append([way, *cells])
    heads = ["times `hwloc-bind`", "CPU time", "times `hwloc-bind`"]
    return tools.table(["", "one: time", *heads, f"{AT_ONCE} at once: time", *heads], rows)
