"""Runs the benchmarks and prints their tables; writes them into docs/performance.md on request.

    python report.py [--write] [--quick] [SECTION ...]

Sections are those of the page, all without any. ``--quick`` is for a look whether all of it runs:
the smallest sizes, once, which says nothing of time.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import shutil
from pathlib import Path

import tools

PAGE = tools.ROOT / "docs" / "performance.md"
SECTIONS = ("machine", "map", "growth", "import", "bind", "run", "command", "memory")
NEEDED = {
    "growth": ("callgrind_control", "valgrind"),
    "import": ("strace", "strace"),
    "run": ("hwloc-bind", "hwloc"),
}
"""What a section takes besides what the tests do: a program, and Debian's package of it."""
END = "<!-- up to here -->\n"


def mark(section: str) -> str:
    return f"<!-- {section}: from here on written by make bench-report -->\n"


def main() -> None:
    """Print or write what is asked for, section by section: a long run may be cut short."""
    parser = argparse.ArgumentParser(description="Run the benchmarks.")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes, once")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    asked = parser.parse_args()
    unknown = {*asked.sections} - {*SECTIONS}
    if unknown:
        parser.error(f"there is no section {min(unknown)}; it must be one of {SECTIONS}")
    sections = asked.sections or SECTIONS
    # Before anything is measured, as that takes long.
    for program, package in (NEEDED[section] for section in sections if section in NEEDED):
        if shutil.which(program) is None:
            raise SystemExit(f"error: there is no {program} on PATH: apt install {package}")
    for section in sections:
        lines = ["", *tables(section, asked.quick)]
        if asked.write:
            PAGE.write_text(put(PAGE.read_text("utf-8"), section, "\n".join(lines)), "utf-8")
        print(section, *lines, sep="\n", flush=True)


def tables(section: str, quick: bool) -> list[str]:
    """The lines of a section."""
    if section == "machine":
        return machine()
    found: list[str] = importlib.import_module(f"{section}_cost").tables(quick)
    return found


def put(page: str, section: str, text: str) -> str:
    """Put a section between its marks."""
    before, start, rest = page.partition(mark(section))
    _, end, after = rest.partition(END)
    if not start or not end:
        raise SystemExit(f"error: {PAGE.name} has no marks of the section {section}")
    return before + start + text + end + after


def machine() -> list[str]:
    """What the figures were measured on, without its name."""
    from mpibind import _core

    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    mpich = tools.output(tools.BIN / "mpichversion")
    version = re.search(r"^MPICH Version: *(\S+)", mpich, re.M)
    rows = [
        ("CPUs", f"{len(os.sched_getaffinity(0))}, {model[1].strip() if model else 'unknown'}"),
        ("other work, as load average of 5 minutes", f"{os.getloadavg()[1]:.1f}"),
        ("kernel", platform.release()),
        ("libhwloc", _core.hwloc_version()),
        ("MPI", f"MPICH {version[1] if version else 'unknown'}"),
        ("Python", platform.python_version()),
        ("mpibind", _core.__version__),
    ]
    return tools.table(["", "measured on"], rows)


if __name__ == "__main__":
    main()
