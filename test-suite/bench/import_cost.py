"""What importing adds to a bare interpreter: time, modules, file look-ups and bytes read."""

from __future__ import annotations

import re
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import tools

INSTALLED = "`import mpibind`, as installed by pip"
STATEMENTS = {
    "`import mpibind`": ("pass", "import mpibind"),
    INSTALLED: ("pass", "import mpibind"),
    "`mpibind.Topology`": ("pass", "import mpibind; mpibind.Topology"),
    "`import mpibind.mpi`, over mpi4py's `MPI`": (
        "from mpi4py import MPI",
        "from mpi4py import MPI; import mpibind.mpi",
    ),
    "`import numpy`, for comparison": ("pass", "import numpy"),
    "mpi4py's `MPI`, for comparison": ("pass", "from mpi4py import MPI"),
}


def seconds(python: object, code: str) -> float:
    """CPU time from start to end: on an idle machine the time that it takes."""
    before = tools.cpu_seconds()
    tools.output(python, "-c", code)
    return tools.cpu_seconds() - before


def files(python: object, code: str) -> tuple[int, int]:
    """Look-ups of files by name, and bytes that are read from files."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        trace = ("strace", "-f", "-e", "trace=%file,read,pread64", "-o", log)
        tools.output(*trace, python, "-c", code)
        lookups, read = 0, 0
        for line in log.read_text().splitlines():
            call = re.match(r"\d+ +(\w+)\(.* = (-?\d+)", line)
            # The C library's fstat() names no file: it has one that is open.
            if call is None or "AT_EMPTY_PATH" in line:
                continue
            if call[1] in {"read", "pread64"}:
                read += max(0, int(call[2]))
            else:
                lookups += 1
        return lookups, read


def modules(python: object, code: str) -> int:
    return int(tools.output(python, "-c", f"{code}\nimport sys; print(len(sys.modules))"))


def installed(folder: str) -> Path:
    """A Python with the package as pip installs it: a folder of files in site-packages."""
    tools.output(sys.executable, "-m", "venv", "--without-pip", folder)
    site = next(Path(folder).glob("lib/python*/site-packages"))
    shutil.copytree(
        tools.ROOT / "mpibind", site / "mpibind", ignore=shutil.ignore_patterns("__pycache__")
    )
    return Path(folder) / "bin" / "python"


def tables(quick: bool) -> list[str]:
    rounds = 1 if quick else 31
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        other = installed(folder)
        for name, (bare, statement) in [*STATEMENTS.items()][: 2 if quick else None]:
            python = other if name == INSTALLED else tools.BIN / "python"
            seconds(python, statement)
            # In pairs, so that a machine that slows down does so for both.
            added = [seconds(python, statement) - seconds(python, bare) for _ in range(rounds)]
            count = modules(python, statement) - modules(python, bare)
            (lookups, read), (less, fewer) = files(python, statement), files(python, bare)
            took = tools.time_text(statistics.median(added))
            rows.append([name, took, count, f"{lookups - less:,}", f"{(read - fewer) / 1e3:,.0f} kB"])
    return tools.table(["", "CPU time", "modules", "file look-ups", "read"], rows)
