"""What ``import mpibind`` adds to a bare interpreter: time, modules and file look-ups.

python import_cost.py [pairs]
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STATEMENTS = ["import mpibind", "import mpibind; mpibind.MpibindHandle", "import numpy"]


def seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def lookups(code: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        trace = ["strace", "-f", "-e", "trace=%file", "-o", str(log)]
        subprocess.run([*trace, sys.executable, "-c", code], check=True)
        return len(log.read_text().splitlines())


def modules(code: str) -> int:
    count = "import sys; print(len(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{count}"], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    has_strace = shutil.which("strace") is not None
    print("over a bare interpreter (median of pairs)       added ms   modules   look-ups")
    for statement in STATEMENTS:
        seconds(statement)
        # In pairs, so that a machine that slows down does so for both.
        added = [seconds(statement) - seconds("pass") for _ in range(pairs)]
        found = str(lookups(statement) - lookups("pass")) if has_strace else "no strace"
        loaded = modules(statement) - modules("pass")
        median = 1000 * statistics.median(added)
        print(f"{statement:45} {median:10.2f} {loaded:9} {found:>10}")


if __name__ == "__main__":
    main()
