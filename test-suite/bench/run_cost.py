"""What ``mpibind run`` adds to a program: one at a time beside hwloc-bind, and many at once.

python run_cost.py [rounds]

The program is ``true``. "first" is with an empty node cache, "next" with one that is filled,
"without" with MPIBIND_CACHE=0. Many at once are started by one process, and timed from the first
start to the last end; that takes some time by itself, which the row of ``true`` shows.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

MPIBIND = str(Path(sys.executable).parent / "mpibind")
AT_ONCE = 64
# A place for the cache that is nobody else's.
CACHE = Path(tempfile.mkdtemp(dir="/dev/shm"))
RUN = [MPIBIND, "run", "true"]
WAYS: dict[str, tuple[list[str], dict[str, str], bool]] = {
    "true": (["true"], {}, False),
    "hwloc-bind core:0 -- true": (["hwloc-bind", "core:0", "--", "true"], {}, False),
    "mpibind run true, first": (RUN, {}, True),
    "mpibind run true, next": (RUN, {}, False),
    "mpibind run true, without": (RUN, {"MPIBIND_CACHE": "0"}, False),
    "python -m mpibind run true, next": (
        [sys.executable, "-m", "mpibind", "run", "true"],
        {},
        False,
    ),
    "python -c pass": ([sys.executable, "-c", "pass"], {}, False),
}


def alone(command: list[str], env: dict[str, str]) -> None:
    subprocess.run(command, env=env, check=True)


def at_once(command: list[str], env: dict[str, str]) -> None:
    processes = [subprocess.Popen(command, env=env) for _ in range(AT_ONCE)]
    statuses = {process.wait() for process in processes}
    if statuses != {0}:
        raise SystemExit(f"{command} failed")


def cpu_seconds() -> float:
    """What all children so far have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def median(times: list[float]) -> float:
    return statistics.median(times)


def measure(
    start: Callable[[list[str], dict[str, str]], None], rounds: int
) -> dict[str, tuple[float, float]]:
    """Return the medians of milliseconds, and of CPU milliseconds, for each way."""
    wall: dict[str, list[float]] = {name: [] for name in WAYS}
    cpu: dict[str, list[float]] = {name: [] for name in WAYS}
    # In turn, so that a machine that slows down does so for all.
    for turn in range(rounds + 1):
        for name, (command, variables, is_first) in WAYS.items():
            if is_first:
                shutil.rmtree(CACHE / "mpibind", ignore_errors=True)
            env = {**os.environ, "XDG_RUNTIME_DIR": str(CACHE), **variables}
            before, begin = cpu_seconds(), time.perf_counter()
            start(command, env)
            end, after = time.perf_counter(), cpu_seconds()
            if turn > 0:
                wall[name].append(1000 * (end - begin))
                cpu[name].append(1000 * (after - before))
    return {name: (median(wall[name]), median(cpu[name])) for name in WAYS}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    try:
        for title, start in (("one", alone), (f"{AT_ONCE} at once", at_once)):
            found = measure(start, rounds)
            of_hwloc = found["hwloc-bind core:0 -- true"]
            print(f"{title:36}       ms   CPU ms   times hwloc-bind: wall, CPU")
            for name, (wall, cpu) in found.items():
                ratios = f"{wall / of_hwloc[0]:17.2f} {cpu / of_hwloc[1]:8.2f}"
                print(f"  {name:34} {wall:8.1f} {cpu:8.1f} {ratios}")
    finally:
        shutil.rmtree(CACHE, ignore_errors=True)


if __name__ == "__main__":
    main()
