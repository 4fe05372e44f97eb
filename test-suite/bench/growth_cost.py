"""How each step grows with tasks and CPUs, counted in instructions and timed."""

from __future__ import annotations

import json

import tools

# All steps once on a small node: what Python imports for them is no part of their growth.
WARM = (
    "import mpibind, numpy, pathlib; m = mpibind.Topology.from_synthetic('core:2 pu:1').map(2); "
    "text = str(m) + str(m.topology) + m.to_svg() + str(mpibind.compare(m, m.topology.map(1))); "
    "mpibind.Mapping.from_json(m.to_json()).cpus; m.topology.map(1, restrict_ids='0')"
)
START = WARM + "; node = mpibind.Topology.from_json(pathlib.Path({path!r}))"
HALF = "half = ','.join(map(str, range(0, node.npus, 2)))"
LOWER = "lower = f'0-{{node.nnumas // 2 - 1}}'"

STEPS = {
    "`map()`": ("", "m = node.map({ntasks})"),
    "`map()` restricted to every other CPU": (HALF, "node.map({ntasks}, restrict_ids=half)"),
    "`map()` restricted to half of the NUMA nodes": (
        LOWER,
        "node.map({ntasks}, restrict_ids=lower, restrict_type='mem')",
    ),
    "`print(node)`": ("", "str(node)"),
    "`print(mapping)`": ("", "str(m)"),
    "`to_json()`": ("", "text = m.to_json()"),
    "`from_json()`": ("", "mpibind.Mapping.from_json(text)"),
    "`cpus`, `nthreads` as arrays": ("", "m.cpus, m.nthreads"),
    "`to_svg()`, folded": ("", "m.to_svg()"),
    "`compare()` with another": (
        "other = node.map({ntasks}, smt=1)",
        "str(mpibind.compare(m, other))",
    ),
}
"""What comes before a step and is not counted, and the step."""

LONGEST = 1.0
"""CPU seconds of a step that is still counted; it takes fifty times as long then."""

# hwloc's files say the CPUs of each object: much more than linear, before anybody reads them.
XML_SIZES = {
    256: "package:2 [numa] core:64 pu:2",
    1_024: "package:8 [numa] core:64 pu:2",
    4_096: "package:32 [numa] core:64 pu:2",
}


def tables(quick: bool) -> list[str]:
    return [*of_tasks([1_000] if quick else [*tools.SIZES]), *of_xml(quick)]


def of_tasks(sizes: list[int]) -> list[str]:
    """One row a step: instructions for each task and CPU, and seconds."""
    times = [timed(ntasks) for ntasks in sizes]
    counts = [
        counted(ntasks, [name for name, took in of_size.items() if took <= LONGEST])
        for ntasks, of_size in zip(sizes, times, strict=True)
    ]
    rows = [
        [
            name,
            *(f"{of_size[name]:,.0f}" if name in of_size else "-" for of_size in counts),
            *(tools.time_text(of_size[name]) for of_size in times),
        ]
        for name in STEPS
    ]
    heads = [f"{ntasks:,} tasks, {tools.CPUS[ntasks]:,} CPUs" for ntasks in sizes]
    return [
        "Instructions for each task and CPU, alike in all columns where a step is linear:",
        "",
        *tools.table(["", *heads, *(f"CPU time, {ntasks:,}" for ntasks in sizes)], rows),
    ]


def words(ntasks: int, text: str) -> str:
    return text.format(ntasks=ntasks, path=str(tools.machine(ntasks)))


def counted(ntasks: int, names: list[str]) -> dict[str, float]:
    """Instructions that steps take for each task and CPU."""
    steps = [(words(ntasks, before), words(ntasks, step)) for before, step in map(STEPS.get, names)]
    found = tools.instructions(words(ntasks, START), steps)
    per = ntasks + tools.CPUS[ntasks]
    return {name: count / per for name, (count, _) in zip(names, found, strict=True)}


def timed(ntasks: int) -> dict[str, float]:
    """CPU seconds of all steps: the least of three runs."""
    code = ["import json, time", words(ntasks, START), "took = []"]
    for before, step in STEPS.values():
        code += [words(ntasks, before), "start = time.process_time()", words(ntasks, step)]
        code += ["took.append(time.process_time() - start)"]
    code += ["print(json.dumps(took))"]
    python = (tools.BIN / "python", "-c", "\n".join(code))
    runs = [json.loads(tools.output(*python)) for _ in range(3)]
    return dict(zip(STEPS, map(min, zip(*runs, strict=True)), strict=True))


def of_xml(quick: bool) -> list[str]:
    """What reading XML takes beside hwloc's own part of it."""
    sizes = {256: XML_SIZES[256]} if quick else XML_SIZES
    paths = {count: tools.kept(f"{count}.xml", text) for count, text in sizes.items()}
    steps = [("", f"mpibind.Topology.from_xml({str(path)!r})") for path in paths.values()]
    rows = []
    found = tools.instructions(WARM, steps)
    for (count, path), (total, hwloc) in zip(paths.items(), found, strict=True):
        size = path.stat().st_size
        rows.append([f"{count:,}", f"{size / 1e3:,.0f} kB", *per(size, total - hwloc, hwloc)])
    return [
        "Instructions for each byte of a file in hwloc's XML:",
        "",
        *tools.table(["CPUs", "file", "mpibind", "libhwloc"], rows),
    ]


def per(size: int, *counts: int) -> list[str]:
    return [f"{count / size:,.0f}" for count in counts]
