"""A mapping beside hwloc's own distribution, and what reading and restricting take."""

from __future__ import annotations

import os
import shlex

import tools

CASES = [
    ("4 tasks, the worked example", tools.WORKED_EXAMPLE, 4),
    ("8 tasks, AMD node with 8 NUMA domains and 8 GPUs", tools.AMD, 8),
    ("64 tasks, 64 cores", "package:2 [numa] core:32 pu:2", 64),
    ("1,000 tasks, 1,024 CPUs", tools.SIZES[1_000], 1_000),
    ("10,000 tasks, 10,240 CPUs", tools.SIZES[10_000], 10_000),
    ("32,767 tasks, 131,072 CPUs", tools.SIZES[100_000], 32_767),
    ("100,000 tasks, 131,072 CPUs", tools.SIZES[100_000], 100_000),
]


def step(name: str, machine: object, ntasks: int, runs: int) -> float:
    """Seconds of a step of the core."""
    bench = ("bench", "--quiet", "--locked", "--package", "mpibind-core", "--bench", "mapping")
    return float(tools.output("cargo", *bench, "--", name, machine, ntasks, runs))


def distrib(machine: object, ntasks: int, runs: int) -> float:
    """Seconds of hwloc_distrib()."""
    program = tools.BUILT / "distrib"
    if not program.exists():
        tools.BUILT.mkdir(parents=True, exist_ok=True)
        flags = tools.output("pkg-config", "--cflags", "--libs", "hwloc").split()
        compiler = shlex.split(os.environ.get("CC", "cc"))
        source = tools.ROOT / "test-suite" / "bench" / "distrib.c"
        tools.output(*compiler, "-O2", source, "-o", program, *flags)
    return float(tools.output(program, machine, ntasks, runs))


def tables(quick: bool) -> list[str]:
    rows = []
    for name, machine, ntasks in CASES[:1] if quick else CASES:
        is_large = machine == tools.SIZES[100_000]
        runs = 3 if quick or is_large else 101
        ours = step("map", tools.machine(100_000) if is_large else machine, ntasks, runs)
        # It multiplies CPUs by items in 32 bits.
        if is_large and ntasks * tools.CPUS[100_000] >= 2**32:
            rows.append([name, tools.time_text(ours), "fails", ""])
            continue
        theirs = distrib(machine, ntasks, runs)
        shown = f"{ours / theirs:.1g}" if ours < 0.1 * theirs else tools.digits(ours / theirs)
        rows.append([name, tools.time_text(ours), tools.time_text(theirs), shown])
    lines = tools.table(["", "`map()`", "`hwloc_distrib`", "ratio"], rows)
    steps = [
        ("XML of the worked example (72 CPUs)", "read", tools.WORKED_EXAMPLE),
        ("XML of the AMD node (256 CPUs)", "read", tools.AMD),
        (
            "the worked example to every other CPU",
            "restrict-cpus",
            tools.WORKED_EXAMPLE,
        ),
        ("the AMD node to one of its NUMA domains", "restrict-numas", tools.AMD),
    ]
    timed = [
        [name, tools.time_text(step(what, machine, 1, 3 if quick else 101))]
        for name, what, machine in (steps[:1] if quick else steps)
    ]
    return [*lines, *tools.table(["reading and restricting", "time"], timed)]
