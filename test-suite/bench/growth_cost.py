"""How each step grows with tasks and CPUs, counted in instructions and timed."""

from __future__ import annotations

from functools import cache

import tools

# All steps once on a small node: what Python imports for them is no part of their growth.
WARM = (
    "import mpibind, numpy, pathlib; m = mpibind.Topology.from_synthetic('core:2 pu:1').map(2); "
    "text = str(m) + str(m.topology) + m.to_svg() + str(mpibind.compare(m, m.topology.map(1))); "
    "mpibind.Mapping.from_json(m.to_json()).cpus; m.topology.map(1, restrict_ids='0'); "
)
START = WARM + "node = mpibind.Topology.from_json(pathlib.Path({path!r})); "
MAPPED = START + "m = node.map({ntasks}); "
HALF = "','.join(map(str, range(0, node.npus, 2)))"

STEPS = {
    "`map()`": (START, "node.map({ntasks})"),
    "`map()` restricted to every other CPU": (
        START + f"half = {HALF}; ",
        "node.map({ntasks}, restrict_ids=half)",
    ),
    "`map()` restricted to half of the NUMA nodes": (
        START,
        "node.map({ntasks}, restrict_ids=f'0-{{node.nnumas // 2}}', restrict_type='mem')",
    ),
    "`print(node)`": (START, "str(node)"),
    "`print(mapping)`": (MAPPED, "str(m)"),
    "`to_json()`": (MAPPED, "m.to_json()"),
    "`from_json()`": (MAPPED + "text = m.to_json(); ", "mpibind.Mapping.from_json(text)"),
    "`cpus`, `nthreads` as arrays": (MAPPED, "m.cpus, m.nthreads"),
    "`to_svg()`, folded": (MAPPED, "m.to_svg()"),
    "`compare()` with another": (
        MAPPED + "other = node.map({ntasks}, smt=1); ",
        "str(mpibind.compare(m, other))",
    ),
}
CLOCK = "import time; start = time.process_time(); {step}; print(time.process_time() - start)"

# hwloc's files say the CPUs of each object: much more than linear, before anybody reads them.
XML_SIZES = {
    256: "package:2 [numa] core:64 pu:2",
    1_024: "package:8 [numa] core:64 pu:2",
    4_096: "package:32 [numa] core:64 pu:2",
}


def tables(quick: bool) -> list[str]:
    if not tools.has_valgrind():
        raise SystemExit("error: growth is counted by valgrind, which is not installed")
    return [*of_tasks([1_000] if quick else [*tools.SIZES]), *of_xml(quick)]


def of_tasks(sizes: list[int]) -> list[str]:
    """One row a step: instructions per task and CPU, and seconds."""
    rows = []
    for name in STEPS:
        counts = [counted(name, ntasks) for ntasks in sizes]
        times = [min(timed(name, ntasks) for _ in range(3)) for ntasks in sizes]
        growth = [f"{counts[-1] / counts[-2]:.2f}"] if len(counts) > 1 else []
        rows.append([name, *(f"{count:,.0f}" for count in counts), *growth])
        rows[-1] += map(tools.time_text, times)
    heads = [f"{ntasks:,} tasks, {cpus(ntasks):,} CPUs" for ntasks in sizes]
    growth = ["last / last but one"] if len(sizes) > 1 else []
    return [
        "Instructions for each task and CPU, alike in all columns where a step is linear:",
        "",
        *tools.table(["", *heads, *growth, *(f"time, {ntasks:,}" for ntasks in sizes)], rows),
    ]


def code_of(name: str, ntasks: int) -> tuple[str, str]:
    """What comes before a step, and the step."""
    path = str(tools.machine(ntasks))
    setup, step = (code.format(path=path, ntasks=ntasks) for code in STEPS[name])
    return setup, step


@cache
def before(setup: str) -> int:
    return tools.instructions(setup)[0]


def counted(name: str, ntasks: int) -> float:
    """Instructions that a step takes for each task and CPU."""
    setup, step = code_of(name, ntasks)
    return (tools.instructions(setup + step)[0] - before(setup)) / (ntasks + cpus(ntasks))


def timed(name: str, ntasks: int) -> float:
    """CPU seconds of a step."""
    setup, step = code_of(name, ntasks)
    return float(tools.output(tools.BIN / "python", "-c", setup + CLOCK.format(step=step)))


def cpus(ntasks: int) -> int:
    return {1_000: 1_024, 10_000: 10_240, 100_000: 131_072}[ntasks]


def of_xml(quick: bool) -> list[str]:
    """What reading XML takes beside hwloc's own part of it."""
    rows = []
    start = "import mpibind; mpibind.Topology; "
    before = tools.instructions(start)[0]
    sizes = {256: XML_SIZES[256]} if quick else XML_SIZES
    for count, text in sizes.items():
        path = tools.BUILT / f"{count}.xml"
        if not path.exists():
            import mpibind

            mpibind.Topology.from_synthetic(text).to_xml(path)
        total, hwloc = tools.instructions(f"{start}mpibind.Topology.from_xml({str(path)!r})")
        size = path.stat().st_size
        ours = total - before - hwloc
        rows.append([f"{count:,}", f"{size / 1e3:,.0f} kB", *per(size, ours, hwloc)])
    return [
        "Instructions for each byte of a file in hwloc's XML:",
        "",
        *tools.table(["CPUs", "file", "mpibind", "libhwloc"], rows),
    ]


def per(size: int, *counts: int) -> list[str]:
    return [f"{count / size:,.0f}" for count in counts]
