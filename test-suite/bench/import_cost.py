"""What importing adds to a bare interpreter: time, modules, file look-ups and bytes read."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import sys
import sysconfig
import tempfile
from pathlib import Path

import tools

INSTALLED = ", as installed by pip"
MPI = "`import mpibind.mpi`, over mpi4py's `MPI`"
OVER_MPI = ("from mpi4py import MPI", "from mpi4py import MPI; import mpibind.mpi")
STATEMENTS = {
    "`import mpibind`": ("pass", "import mpibind"),
    f"`import mpibind`{INSTALLED}": ("pass", "import mpibind"),
    "`mpibind.Topology`": ("pass", "import mpibind; mpibind.Topology"),
    MPI: OVER_MPI,
    f"{MPI}{INSTALLED}": OVER_MPI,
    "`import numpy`, for comparison": ("pass", "import numpy"),
    "mpi4py's `MPI`, for comparison": ("pass", "from mpi4py import MPI"),
}

# The MPI library comes with this environment; mpi4py looks for it in its own.
ENV = {**os.environ, "MPI4PY_LIBMPI": str(Path(sys.prefix) / "lib")}


def run(python: object, code: str, *around: object) -> str:
    """Run code that finds packages only where they are installed, and not in the checkout."""
    return tools.output(*around, python, "-I", "-c", code, env=ENV)


def seconds(python: object, code: str) -> float:
    """CPU time from start to end: on an idle machine the time that it takes."""
    before = tools.cpu_seconds()
    run(python, code)
    return tools.cpu_seconds() - before


def files(python: object, code: str) -> tuple[int, int]:
    """Look-ups of files by name, and bytes that are read from files."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        trace = ("strace", "-f", "-e", "trace=%file,read,pread64", "-o", log)
        run(python, code, *trace)
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
    return int(run(python, f"{code}\nimport sys; print(len(sys.modules))"))


def installed(folder: str) -> Path:
    """A Python with the package as pip installs it: a folder of files in site-packages.

    What else is installed it takes from the environment of this program.
    """
    tools.output(sys.executable, "-m", "venv", "--without-pip", folder)
    site = next(Path(folder).glob("lib/python*/site-packages"))
    shutil.copytree(
        tools.ROOT / "mpibind", site / "mpibind", ignore=shutil.ignore_patterns("__pycache__")
    )
    site.joinpath("others.pth").write_text(f"{sysconfig.get_path('platlib')}\n")
    return Path(folder) / "bin" / "python"


def tables(quick: bool) -> list[str]:
    rounds = 1 if quick else 31
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        other = installed(folder)
        for name, (bare, statement) in [*STATEMENTS.items()][: 2 if quick else None]:
            python = other if name.endswith(INSTALLED) else tools.BIN / "python"
            seconds(python, statement)
            # In pairs, so that a machine that slows down does so for both.
            added = [seconds(python, statement) - seconds(python, bare) for _ in range(rounds)]
            count = modules(python, statement) - modules(python, bare)
            (lookups, read), (less, fewer) = files(python, statement), files(python, bare)
            took, more = tools.time_text(statistics.median(added)), f"{lookups - less:,}"
            rows.append([name, took, count, more, f"{(read - fewer) / 1e3:,.0f} kB"])
    return tools.table(["", "CPU time", "modules", "file look-ups", "read"], rows)
