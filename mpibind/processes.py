"""What other processes of this machine are bound to: one and all that it has started."""

from __future__ import annotations

import os
from pathlib import Path

from mpibind import _core, text
from mpibind.errors import LauncherError, illegal
from mpibind.launcher import Place, place, started_by
from mpibind.reporting import Process, as_dictionary, described, examine
from mpibind.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from mpibind.reporting import Finding
    from mpibind.topology import Topology

ROOT = Path("/proc")


class Found(NamedTuple):
    """A process, as the kernel tells of it."""

    pid: int
    command: str
    is_task: bool
    """Whether a launcher has told it its place."""
    process: Process


def tree(pid: int) -> list[Found]:
    """Look at a process and all that come from it, parents before children.

    Raises
    ------
    InvalidParameterError
        If there is no such process.
    """
    # Number 0 is no process, although the first ones name it as their parent.
    family = _family(pid) if pid > 0 else []
    found = [told for each in family if (told := _look_at(each)) is not None]
    if not found:
        raise illegal("pid", pid, "there is no process of that number on this machine")
    return found


def examined(found: Sequence[Found], node: Topology) -> list[Finding]:
    """Find what is wrong with the tasks among these processes.

    A task may be several processes, such as a shell and the program that it has started; without a
    launcher all together are one.
    """
    tasks: dict[int, Process] = {}
    has_tasks = any(told.is_task for told in found)
    for told in found:
        if told.is_task or not has_tasks:
            rank = told.process.place.rank
            before = tasks.get(rank)
            threads = told.process.threads + (before.threads if before else ())
            tasks[rank] = told.process._replace(threads=threads)
    return examine([*tasks.values()], node)[1]


def lines(found: Iterable[Found], findings: Iterable[Finding]) -> list[str]:
    """Lay processes out as a table, with a line for each finding below it."""
    rows = [
        (
            told.pid,
            f"{told.process.place.rank}/{told.process.place.size}" if told.is_task else "-",
            len(told.process.threads),
            _core.id_list(told.process.cpus),
            text.printable(told.command),
        )
        for told in found
    ]
    header = ("pid", "task", "threads", "CPUs", "command")
    return [
        *text.table(header, rows, left=("CPUs", "command")),
        *(f"{finding.hostname}: {finding.text}" for finding in findings),
    ]


def as_json(found: Sequence[Found], findings: Iterable[Finding]) -> dict[str, Any]:
    """Make what `reporting.as_dictionary` makes, with processes in place of ranks."""
    told = as_dictionary((), findings)
    return {
        "processes": [
            {
                "pid": each.pid,
                "command": each.command,
                "rank": each.process.place.rank if each.is_task else None,
                "cpus": each.process.cpus,
                "nthreads": each.process.nthreads,
                "threads": {thread: list(cpus) for thread, cpus in each.process.threads},
            }
            for each in found
        ],
        "findings": told["findings"],
    }


def _family(pid: int) -> list[int]:
    """Return a process and its descendants, without this one, which only looks."""
    children: dict[int, list[int]] = {}
    for folder in ROOT.iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text(errors="replace")
            except OSError:
                continue  # it has ended
            # The name in parentheses may hold blanks and parentheses itself.
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    family = [pid]
    for member in family:
        family += sorted(child for child in children.get(member, ()) if child != os.getpid())
    return family


def _look_at(pid: int) -> Found | None:
    """Return what can be seen of a process, or None if it has ended."""
    folder = ROOT / str(pid)
    threads = []
    try:
        command = (folder / "comm").read_text(errors="replace").strip()
        for task in (folder / "task").iterdir():
            threads.append((int(task.name), tuple(sorted(os.sched_getaffinity(int(task.name))))))
    except OSError:
        if not threads:
            return None
    environ = _environment(folder)
    try:
        is_task = started_by(environ) is not None
        here = place(environ=environ) if is_task else Place(0, 1, 0, 1)
    except LauncherError:
        is_task, here = False, Place(0, 1, 0, 1)
    return Found(pid, command, is_task, described(here, tuple(sorted(threads)), environ))


def _environment(folder: Path) -> dict[str, str]:
    """Return the variables that a process was started with; none of those of another user."""
    try:
        entries = (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    pairs = (entry.decode("utf-8", "replace").partition("=") for entry in entries)
    return {name: value for name, sign, value in pairs if sign}
