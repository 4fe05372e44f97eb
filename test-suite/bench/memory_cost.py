"""What importing and binding add to a process, and that it does not grow."""

from __future__ import annotations

import json

import tools

LOOK = """
def look():
    import gc, re
    gc.collect()
    text = open('/proc/self/smaps_rollup').read()
    found = dict(re.findall(r'^(\\w+): +(\\d+) kB', text, re.M))
    private = int(found['Private_Clean']) + int(found['Private_Dirty'])
    of_kernel = {'RSS': 'Rss', 'PSS': 'Pss', 'anonymous': 'Anonymous'}
    return {'USS': private, **{name: int(found[key]) for name, key in of_kernel.items()}}
"""
STATES = {
    "`import mpibind`, over bare Python": ("pass", "import mpibind"),
    "`import mpibind.mpi`, over mpi4py's `MPI`": (
        "from mpi4py import MPI",
        "import mpibind.mpi",
    ),
    "a bound rank that is the node's only one, over the same": (
        "from mpi4py import MPI",
        "import mpibind.mpi; kept = mpibind.mpi.bind()",
    ),
    "`import numpy`, for comparison": ("pass", "import numpy"),
}
CALLS = {
    "`map()`": "node.map(8)",
    "`map()`, restricted": "node.map(8, restrict_ids='0-63')",
    "`to_json()` and `from_json()`": "mpibind.Mapping.from_json(m.to_json())",
    "`to_svg()`": "m.to_svg()",
    "`env()`": "m.env(3)",
}
OF_CALLS = {"`map()`": 100_000, "`env()`": 100_000}


def added(before: str, after: str) -> dict[str, int]:
    """RSS, PSS, USS and anonymous memory in kB that code adds, by name."""
    # One look before, so that what looking takes is in neither.
    code = f"{LOOK}\n{before}\nlook(); a = look()\n{after}\nb = look()\n"
    tell = "import json; print(json.dumps({name: b[name] - a[name] for name in a}))"
    found: dict[str, int] = json.loads(tools.output(tools.BIN / "python", "-c", code + tell))
    return found


def growth(call: str, calls: int) -> int:
    """Anonymous memory in kB that a process grows by calls, after the first few.

    Not USS: a library's pages count there from when the last other process that uses it ends.
    """
    start = f"import mpibind; node = mpibind.Topology.from_xml({str(tools.AMD)!r}); m = node.map(8)"
    before = f"{start}\nfor _ in range({calls // 10}): {call}"
    return added(before, f"for _ in range({calls}): {call}")["anonymous"]


def tables(quick: bool) -> list[str]:
    states = [*STATES.items()][: 1 if quick else None]
    sizes = ["RSS", "PSS", "USS"]
    rows = []
    for name, state in states:
        found = added(*state)
        rows.append([name, *(f"{found[size] / 1024:.1f} MiB" for size in sizes)])
    lines = tools.table(["", *sizes], rows)
    calls = [*CALLS.items()][: 1 if quick else None]
    rows = []
    for name, call in calls:
        count = 100 if quick else OF_CALLS.get(name, 5_000)
        rows.append([name, f"{count:,}", f"{growth(call, count)} KiB"])
    heads = ["called again and again", "times", "anonymous memory grows by"]
    return [*lines, *tools.table(heads, rows)]
