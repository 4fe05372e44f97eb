"""Which task of its node this process is, as the launcher tells in the environment.

For programs without MPI. With MPI, `mpibind.mpi` asks MPI itself.
"""

from __future__ import annotations

import os

from mpibind import _core
from mpibind.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Place(NamedTuple):
    """Where a process is among those of its node, and among all."""

    local_rank: int
    local_size: int
    rank: int
    """Among all; `local_rank` where the launcher does not tell."""
    size: int
    """Of all; `local_size` where the launcher does not tell."""


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
    return Place(*_core.place(local_rank, local_size, environ))


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
    return _core.started_by(environ)
