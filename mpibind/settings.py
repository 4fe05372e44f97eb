"""What bind() is asked for: arguments first, then ``MPIBIND*`` variables, then defaults."""

from __future__ import annotations

import os
import zlib

from mpibind import _core
from mpibind.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpibind.topology import Topology


class Settings(NamedTuple):
    """All that counts for one call, checked as far as can be done without the machine."""

    core: _core.Settings
    """All but the machine; ``is_off`` with ``MPIBIND=off``, when nothing is to be bound or set."""
    topology: Topology | str | os.PathLike[str] | None = None

    def words(self) -> dict[str, str]:
        """What all ranks must agree on, as text."""
        return dict(self.core.words)

    def topology_word(self) -> str:
        """What the ranks of one node must agree on besides; nodes may differ."""
        if self.topology is None:
            return "None"
        if isinstance(self.topology, str | os.PathLike):
            return repr(os.fspath(self.topology))
        origin = getattr(self.topology, "origin", None)
        if origin is None:
            return str(self.topology)  # no topology at all: loading it says so
        # Different ones may say that they come from the same place.
        return f"{origin} (digest {zlib.crc32(self.topology.to_json().encode()):08x})"


def resolve(
    *,
    nthreads: int = 0,
    greedy: bool | None = None,
    gpu_optim: bool | None = None,
    smt: int | None = None,
    restrict_ids: str | Iterable[int] | None = None,
    restrict_type: str | None = None,
    topology: Topology | str | os.PathLike[str] | None = None,
    gpu_ids: str = "index",
    apply: bool = True,
    env: bool = True,
    omp_affinity: bool = False,
    visible: str | None = None,
    respect: str = "cgroup",
    membind: str | None = None,
    verbose: bool | int | None = None,
    nics: bool | None = None,
) -> Settings:
    """Put together what counts. None stands for what was not given.

    Raises
    ------
    InvalidParameterError, TypeError
        For the first argument or variable that is not legal.
    """
    core = _core.Settings(
        nthreads=nthreads,
        greedy=greedy,
        gpu_optim=gpu_optim,
        smt=smt,
        restrict_ids=restrict_ids,
        restrict_type=restrict_type,
        gpu_ids=gpu_ids,
        apply=apply,
        env=env,
        omp_affinity=omp_affinity,
        visible=visible,
        respect=respect,
        membind=membind,
        verbose=verbose,
        nics=nics,
    )
    return Settings(core, topology)
