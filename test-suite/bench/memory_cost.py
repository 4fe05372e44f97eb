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
    return int(found['Rss']), int(found['Pss']), private, int(found['Anonymous'])
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


def added(before: str, after: str) -> list[int]:
    """RSS, PSS, USS and anonymous memory in kB that code adds."""
    # One look before, so that what looking takes is in neither.
    code = f"{LOOK}\n{before}\nlook(); a = look()\n{after}\nb = look()\n"
    tell = "import json; print(json.dumps([y - x for x, y in zip(a, b)]))"
    return [int(kb) for kb in json.loads(tools.output(tools.BIN / "python", "-c", code + tell))]


def growth(call: str, calls: int) -> int:
    """Anonymous memory in kB that a process grows by calls, after the first few.

    Not USS: a library's pages count there from when the last other process that uses it ends.
    """
    start = f"import mpibind; node = mpibind.Topology.from_xml({str(tools.AMD)!r}); m = node.map(8)"
    before = f"{start}\nfor _ in range({calls // 10}): {call}"
    return added(before, f"for _ in range({calls}): {call}")[3]


def tables(quick: bool) -> list[str]:
    states = [*STATES.items()][: 1 if quick else None]
    rows = [[name, *(f"{kb / 1024:.1f} MiB" for kb in added(*state)[:3])] for name, state in states]
    lines = tools.table(["", "RSS", "PSS", "USS"], rows)
    calls = [*CALLS.items()][: 1 if quick else None]
    rows = []
    for name, call in calls:
        count = 100 if quick else OF_CALLS.get(name, 5_000)
        rows.append([name, f"{count:,}", f"{growth(call, count)} KiB"])
    heads = ["called again and again", "times", "anonymous memory grows by"]
    return [*lines, *tools.table(heads, rows)]
