"""What the benchmarks share: machines, medians, instructions, and tables in Markdown."""

from __future__ import annotations

import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
TOPOLOGIES = ROOT / "test-suite" / "topologies"
WORKED_EXAMPLE = TOPOLOGIES / "two-package-18core-smt2-2gpu.xml"
AMD = TOPOLOGIES / "epyc-7763-nps4-8gpu.xml"
BUILT = ROOT / "target" / "bench"
"""Machines that hwloc takes long to make up, and what is compiled."""

SIZES = {
    1_000: "package:2 [numa] l3:4 core:64 pu:2",
    10_000: "group:2 package:10 [numa] l3:4 core:64 pu:2",
    100_000: "group:16 package:16 [numa] l3:4 core:64 pu:2",
}
"""Tasks, and a machine for them."""
CPUS = {1_000: 1_024, 10_000: 10_240, 100_000: 131_072}
"""How many CPUs each of these machines has."""

# Variables that would show the benchmarks another machine.
for _name in [*os.environ]:
    if _name.startswith(("MPIBIND", "HWLOC_")):
        del os.environ[_name]


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a table in Markdown, with a blank line behind."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *lines, ""]


def time_text(seconds: float) -> str:
    """A time with three digits at most.

    >>> time_text(3.456e-7), time_text(0.0123), time_text(12.3)
    ('0.35 µs', '12 ms', '12 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            return f"{digits(seconds / size)} {unit}"
    raise AssertionError


def digits(number: float) -> str:
    """A number with two digits at least, and none that noise decides."""
    return (
        f"{number:.0f}" if number >= 9.95 else f"{number:.1f}" if number >= 1 else f"{number:.2f}"
    )


def medians(
    ways: dict[str, Callable[[], Sequence[float]]], rounds: int
) -> dict[str, tuple[float, ...]]:
    """Medians of what each way tells; they take turns, as the machine may slow down meanwhile."""
    told: dict[str, list[Sequence[float]]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            told[name].append(way())
    return {
        name: tuple(statistics.median(column) for column in zip(*rows, strict=True))
        for name, rows in told.items()
    }


def cpu_seconds() -> float:
    """What all children so far have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def output(*command: object, **how) -> str:
    """Run a command from the top of the checkout; return what it prints."""
    words = [*map(str, command)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT, **how)
    return done.stdout


def machine(ntasks: int) -> Path:
    """A machine for so many tasks as JSON; hwloc needs half a minute to make up the largest."""
    return kept(f"{ntasks}.json", SIZES[ntasks])


def kept(name: str, text: str) -> Path:
    """A file of JSON or XML with a machine that is made up at its first use."""
    import mpibind

    path = BUILT / name
    if not path.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        node = mpibind.Topology.from_synthetic(text)
        (node.to_xml if path.suffix == ".xml" else node.to_json)(path)
    return path


DUMP = """
import os, subprocess
def dump():
    command = ["callgrind_control", "--dump", str(os.getpid())]
    subprocess.run(command, check=True, capture_output=True)
"""


def instructions(setup: str, steps: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    """Instructions of steps in one Python, and how many of them libhwloc takes.

    A step is what comes before it, which does not count, and itself.
    """
    code = [DUMP, setup, "dump()", "dump()"]
    for before, step in steps:
        code += [before, "dump()", step, "dump()"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        output(
            *("valgrind", "--tool=callgrind", f"--callgrind-out-file={log}"),
            *(sys.executable, "-c", "\n".join(code)),
            # Else the loader stands between a call and what is called.
            env={**os.environ, "LD_BIND_NOW": "1", "PYTHONHASHSEED": "0"},
        )
        # The second has what it takes to ask for a dump.
        nothing, *counts = (
            _counts(log.with_name(f"log.{number}").read_text())
            for number in range(2, 2 * len(steps) + 3, 2)
        )
    return [(max(0, total - nothing[0]), hwloc) for total, hwloc in counts]


def _counts(log: str) -> tuple[int, int]:
    """Read callgrind's file: all instructions, and those of calls into libhwloc from elsewhere.

    Source: Valgrind's manual, "Callgrind Format Specification".
    """
    names: dict[str, str] = {}
    own, called, inside, is_call, total = "", "", 0, False, 0
    for line in log.splitlines():
        if match := re.match(r"(c?)ob=(\(\d+\))(?: (.*))?", line):
            names[match[2]] = match[3] or names.get(match[2], "")
            own, called = (own, names[match[2]]) if match[1] else (names[match[2]],) * 2
        elif line.startswith("fn="):
            called = own
        elif line.startswith("calls="):
            is_call = True
        elif line.startswith(("summary:", "totals:")):
            total = int(line.split()[1])
        elif is_call:
            # The line after a call has its cost, all that it calls included.
            if "libhwloc" in called and "libhwloc" not in own:
                inside += int(line.split()[1])
            is_call, called = False, own
    return total, inside
