"""Which task of its node this process is, as the launcher tells in the environment.

For programs without MPI. With MPI, `mpibind.mpi` asks MPI itself.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from mpibind.errors import LauncherError, illegal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Place(NamedTuple):
    """Where a process is among those of its node, and among all."""

    local_rank: int
    local_size: int
    rank: int
    """Among all; `local_rank` where the launcher does not tell."""
    size: int
    """Of all; `local_size` where the launcher does not tell."""


class _Launcher(NamedTuple):
    name: str
    local_rank: str
    local_size: str
    rank: str
    size: str


# In this order: a launcher that is started inside another's job comes before it. PMIX_RANK is left
# out: it is a global rank.
_LAUNCHERS = (
    _Launcher("torchrun", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "RANK", "WORLD_SIZE"),
    _Launcher(
        "Open MPI",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
    ),
    _Launcher("MPICH or Intel MPI", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "PMI_RANK", "PMI_SIZE"),
    _Launcher(
        "MVAPICH2",
        "MV2_COMM_WORLD_LOCAL_RANK",
        "MV2_COMM_WORLD_LOCAL_SIZE",
        "MV2_COMM_WORLD_RANK",
        "MV2_COMM_WORLD_SIZE",
    ),
    _Launcher(
        "MVAPICH",
        "MVP_COMM_WORLD_LOCAL_RANK",
        "MVP_COMM_WORLD_LOCAL_SIZE",
        "MVP_COMM_WORLD_RANK",
        "MVP_COMM_WORLD_SIZE",
    ),
    _Launcher(
        "jsrun",
        "JSM_NAMESPACE_LOCAL_RANK",
        "JSM_NAMESPACE_LOCAL_SIZE",
        "JSM_NAMESPACE_RANK",
        "JSM_NAMESPACE_SIZE",
    ),
    _Launcher("PALS", "PALS_LOCAL_RANKID", "PALS_LOCAL_SIZE", "PMI_RANK", "PMI_SIZE"),
    _Launcher("Cray PMI", "PMI_LOCAL_RANK", "PMI_LOCAL_SIZE", "PMI_RANK", "PMI_SIZE"),
    _Launcher("Flux", "FLUX_TASK_LOCAL_ID", "FLUX_JOB_NNODES", "FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
    _Launcher(
        "Slurm",
        "SLURM_LOCALID",
        "SLURM_STEP_TASKS_PER_NODE",
        "SLURM_PROCID",
        "SLURM_STEP_NUM_TASKS",
    ),
)

# Slurm's numbers for what is no step of tasks: batch scripts, interactive shells and the like.
_FIRST_PSEUDO_STEP = 0xFFFF_FFF0


def place(
    local_rank: int | None = None,
    local_size: int | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Place:
    """Find out which task of its node this process is.

    Parameters
    ----------
    local_rank, local_size : int, optional
        What the caller knows; the rest is what the first launcher says that says all of it, or
        where the caller knows the size, the first that says a rank.
    environ : mapping of str to str
        The environment.

    Raises
    ------
    LauncherError
        If no launcher says it, or one says something that cannot be; it names the variable.
    InvalidParameterError
        If the caller says something that cannot be.

    Examples
    --------
    >>> place(environ={"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"})
    Place(local_rank=1, local_size=4, rank=1, size=4)
    """
    if local_rank is not None and local_size is not None:
        return _checked(local_rank, local_size)
    incomplete = []
    known_rank = local_rank
    for launcher in _LAUNCHERS:
        told = _ask(launcher, environ)
        if told is None:
            continue
        if told.missing is None:
            if local_rank is None and local_size is None:
                return told.place
            return _checked(
                told.place.local_rank if local_rank is None else local_rank,
                told.place.local_size if local_size is None else local_size,
            )
        incomplete.append(f"{launcher.name} says {launcher.local_rank}, but not {told.missing}")
        known_rank = told.place.local_rank if known_rank is None else known_rank
    if known_rank is not None and local_size is not None:
        return _checked(known_rank, local_size)
    found = "; ".join(incomplete) or "there are no variables of a launcher"
    known = ", ".join(known.local_rank for known in _LAUNCHERS)
    raise LauncherError(
        f"which task of its node this process is cannot be told: {found}. Say local_rank= and "
        "local_size= (0 and 1 for a single process), or use mpibind.mpi.bind() in an MPI program; "
        f"known are {known}"
    )


def started_by(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the name of the launcher that has set its variables, be they complete or not.

    Raises
    ------
    LauncherError
        If Slurm's step is not a number.

    Examples
    --------
    >>> started_by({"MPI_LOCALRANKID": "1"})
    'MPICH or Intel MPI'
    >>> started_by({}) is None
    True
    """
    names = (launcher.name for launcher in _LAUNCHERS if _has_started(launcher, environ))
    return next(names, None)


def _has_started(launcher: _Launcher, environ: Mapping[str, str]) -> bool:
    if launcher.local_rank not in environ:
        return False
    return launcher.name != "Slurm" or _is_slurm_step(environ)


class _Told(NamedTuple):
    place: Place
    missing: str | None
    """The variable without which the place is not complete."""


def _ask(launcher: _Launcher, environ: Mapping[str, str]) -> _Told | None:
    if not _has_started(launcher, environ):
        return None
    local_rank = _number(environ, launcher.local_rank)
    size_of = _LOCAL_SIZES.get(launcher.name, _plain_size)
    told = size_of(launcher, environ)
    if isinstance(told, str):
        return _Told(Place(local_rank, 0, local_rank, 0), told)
    if local_rank >= told:
        raise LauncherError(
            f"{launcher.local_rank}={local_rank} is not smaller than the number of tasks of the "
            f"node, {told} by {launcher.local_size}={environ[launcher.local_size]!r}; "
            "is one of them left over from another launcher?"
        )
    rank, size = environ.get(launcher.rank, ""), environ.get(launcher.size, "")
    if _is_number(rank) and _is_number(size) and int(rank) < int(size):
        return _Told(Place(local_rank, told, int(rank), int(size)), None)
    return _Told(Place(local_rank, told, local_rank, told), None)


def _is_slurm_step(environ: Mapping[str, str]) -> bool:
    """Tell a task of a step from the shell of salloc or sbatch, where SLURM_LOCALID is 0 too."""
    if "SLURM_PROCID" not in environ or "SLURM_STEP_ID" not in environ:
        return False
    return _number(environ, "SLURM_STEP_ID") < _FIRST_PSEUDO_STEP


def _plain_size(launcher: _Launcher, environ: Mapping[str, str]) -> int | str:
    """Return the local size, or the name of the variable that is missing."""
    if launcher.local_size not in environ:
        return launcher.local_size
    return _number(environ, launcher.local_size)


def _flux_size(_: _Launcher, environ: Mapping[str, str]) -> int | str:
    """Flux tells the tasks and nodes of the job; only where they divide, that is an answer."""
    for name in ("FLUX_JOB_SIZE", "FLUX_JOB_NNODES"):
        if name not in environ:
            return name
    size, nodes = _number(environ, "FLUX_JOB_SIZE"), _number(environ, "FLUX_JOB_NNODES")
    if nodes == 0 or size % nodes != 0:
        return f"how {size} tasks are spread over {nodes} nodes"
    return size // nodes


def _slurm_size(_: _Launcher, environ: Mapping[str, str]) -> int | str:
    """Slurm tells the tasks of all nodes of the step, such as ``2(x3),1``, and the node's place."""
    for name in ("SLURM_STEP_TASKS_PER_NODE", "SLURM_NODEID"):
        if name not in environ:
            return name
    node, text = _number(environ, "SLURM_NODEID"), environ["SLURM_STEP_TASKS_PER_NODE"]
    passed = 0
    for entry in text.split(","):
        found = re.fullmatch(r"([0-9]{1,10})(?:\(x([0-9]{1,10})\))?", entry.strip())
        if found is None:
            raise LauncherError(
                f"SLURM_STEP_TASKS_PER_NODE={text!r} is not a list of tasks per node "
                'such as "2(x3),1"'
            )
        passed += int(found[2] or 1)
        if node < passed:
            return int(found[1])
    raise LauncherError(
        f"SLURM_NODEID={node} is not in SLURM_STEP_TASKS_PER_NODE={text!r}, which has {passed} "
        "nodes"
    )


_LOCAL_SIZES: dict[str, Callable[[_Launcher, Mapping[str, str]], int | str]] = {
    "Flux": _flux_size,
    "Slurm": _slurm_size,
}


def _is_number(text: str) -> bool:
    # Few digits: neither a slip nor an attack makes a number that nothing can hold.
    return text.isascii() and text.isdigit() and len(text) <= 10


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ[name]
    if not _is_number(text):
        raise LauncherError(
            f"{name}={text!r} is not a number; a launcher sets it to a whole number from 0"
        )
    return int(text)


def _checked(local_rank: int, local_size: int) -> Place:
    from mpibind import _core

    rank = _core.check_int("local_rank", local_rank)
    size = _core.check_int("local_size", local_size)
    if size < 1:
        raise illegal("local_size", size, "it must be 1 or more (tasks of this node)")
    if not 0 <= rank < size:
        legal = f"it must be 0 to {size - 1}, as local_size={size}"
        raise illegal("local_rank", rank, legal)
    return Place(rank, size, rank, size)
