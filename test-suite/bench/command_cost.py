"""What the command ``mpibind`` takes from start to end, beside a Python that does nothing.

python command_cost.py [rounds]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

TOPOLOGIES = Path(__file__).resolve().parent.parent / "topologies"
MPIBIND = str(Path(sys.executable).parent / "mpibind")
WORKED_EXAMPLE = str(TOPOLOGIES / "two-package-18core-smt2-2gpu.xml")
AMD = str(TOPOLOGIES / "epyc-7763-nps4-8gpu.xml")

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "mpibind map -n 4, the worked example": [
        MPIBIND,
        "map",
        "-n",
        "4",
        "--topology",
        WORKED_EXAMPLE,
    ],
    "mpibind map -n 8, AMD node with 8 GPUs": [MPIBIND, "map", "-n", "8", "--topology", AMD],
    "mpibind map -n 8 --json, the same": [MPIBIND, "map", "-n", "8", "--topology", AMD, "--json"],
    "mpibind map --sweep, the same": [MPIBIND, "map", "--sweep", "--topology", AMD],
    "python -c 'import numpy'": [sys.executable, "-c", "import numpy"],
}


def milliseconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():
        milliseconds(command)
    # In turn, so that a machine that slows down does so for all.
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            taken[name].append(milliseconds(command))
    bare = statistics.median(taken["python -c pass"])
    print("from start to end (medians)                         ms   times bare Python")
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"{name:45} {median:8.1f} {median / bare:19.1f}")


if __name__ == "__main__":
    main()
