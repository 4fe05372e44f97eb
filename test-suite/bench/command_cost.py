"""CPU time of the command ``mpibind`` from start to end, beside a Python that does nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable

import tools

MAP = (tools.BIN / "mpibind", "map")
COMMANDS = {
    "`python -c pass`": (sys.executable, "-c", "pass"),
    "`mpibind map -n 4`, the worked example": (
        *MAP,
        "-n",
        4,
        "--topology",
        tools.WORKED_EXAMPLE,
    ),
    "`mpibind map -n 8`, AMD node with 8 GPUs": (*MAP, "-n", 8, "--topology", tools.AMD),
    "`mpibind map -n 8 --json`, the same": (*MAP, "-n", 8, "--json", "--topology", tools.AMD),
    "`mpibind map --sweep`, the same": (*MAP, "--sweep", "--topology", tools.AMD),
    "`python -c 'import numpy'`, for comparison": (sys.executable, "-c", "import numpy"),
}


def timed(command: tuple[object, ...]) -> Callable[[], tuple[float]]:
    def once() -> tuple[float]:
        before = tools.cpu_seconds()
        tools.output(*command)
        return (tools.cpu_seconds() - before,)

    return once


def tables(quick: bool) -> list[str]:
    commands = [*COMMANDS.items()][: 2 if quick else None]
    found = tools.medians({name: timed(words) for name, words in commands}, 1 if quick else 31)
    ((bare,), *_) = found.values()
    rows = [
        [name, tools.time_text(took), tools.digits(took / bare)] for name, (took,) in found.items()
    ]
    return tools.table(["", "CPU time", "times bare Python"], rows)
