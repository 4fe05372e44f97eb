"""A mapping beside hwloc's own distribution, and what reading and restricting take."""

from __future__ import annotations

import os
import shlex
import sys

import tools

HEADER = [
    "",
    "the core, in Rust",
    "`Topology.map(n)`, in Python",
    "`hwloc_distrib`, in C",
    "core / hwloc",
    "Python / hwloc",
]

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


PYTHON = """
import statistics, sys, time
import mpibind

machine, ntasks, runs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if machine.endswith(".xml"):
    node = mpibind.Topology.from_xml(machine)
elif machine.endswith(".json"):
    with open(machine) as file:
        node = mpibind.Topology.from_json(file.read())
else:
    node = mpibind.Topology.from_synthetic(machine)

def seconds(repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        node.map(ntasks)
    return (time.perf_counter() - start) / repeats

seconds(1)  # the first imports
repeats = 100 if seconds(1) < 1e-4 else 1
print(statistics.median(seconds(repeats) for _ in range(runs)))
"""


def in_python(machine: object, ntasks: int, runs: int) -> float:
    """Seconds of `Topology.map`; the same loop is around the other two."""
    return float(tools.output(sys.executable, "-c", PYTHON, machine, ntasks, runs))


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


def row(ours: object, theirs: object, ntasks: int, runs: int, rounds: int) -> list[str]:
    """Times of all on one machine, as each of the two sides reads it, and ratios."""
    ways = {
        "core": lambda: (step("map", ours, ntasks, runs),),
        "python": lambda: (in_python(ours, ntasks, runs),),
        "hwloc": lambda: (distrib(theirs, ntasks, runs),),
    }
    # It multiplies CPUs by items in 32 bits.
    if theirs == tools.SIZES[100_000] and ntasks * tools.CPUS[100_000] >= 2**32:
        del ways["hwloc"]
    took = {name: median for name, (median,) in tools.medians(ways, rounds).items()}
    times = [tools.time_text(took[name]) for name in ("core", "python")]
    if "hwloc" not in took:
        return [*times, "fails", "", ""]
    ratios = (took[name] / took["hwloc"] for name in ("core", "python"))
    shown = [f"{ratio:.1g}" if ratio < 0.1 else tools.digits(ratio) for ratio in ratios]
    return [*times, tools.time_text(took["hwloc"]), *shown]


def tables(quick: bool) -> list[str]:
    rows = []
    for name, machine, ntasks in CASES[:1] if quick else CASES:
        is_large = machine == tools.SIZES[100_000]
        runs = 3 if quick or is_large else 101
        ours = tools.machine(100_000) if is_large else machine
        rows.append([name, *row(ours, machine, ntasks, runs, 1 if quick else 3)])
    lines = tools.table(HEADER, rows)
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
