"""What bind() is asked for: arguments first, then ``MPIBIND*`` variables, then defaults."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from mpibind import _core
from mpibind.errors import InvalidParameterError, illegal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpibind.topology import Topology


class Settings(NamedTuple):
    """All that counts for one call, checked as far as can be done without the machine."""

    request: _core.Request | None
    """The mapping's parameters; None with ``MPIBIND=off``, when nothing is to be bound or set."""
    topology: Topology | str | os.PathLike[str] | None = None
    gpu_ids: str = "index"
    apply: bool = False
    env: bool = False
    omp_affinity: bool = False
    visible: str = "off"
    respect: str = "cgroup"
    membind: str | None = None
    verbose: int = 0
    """0, 1 for a line for each rank, 2 for notes too."""
    nics: bool = False
    left_out: frozenset[str] = frozenset()
    """Variables that are not to be set."""
    sources: tuple[tuple[str, str], ...] = ()
    """Parameters that were taken from a variable, each with its name."""

    def words(self) -> dict[str, str]:
        """What all ranks must agree on, as text."""
        if self.request is None:
            return {"MPIBIND": "'off'"}
        return {
            "MPIBIND": "'on'",
            **dict(self.request.words),
            "gpu_ids": repr(self.gpu_ids),
            "omp_affinity": repr(self.omp_affinity),
            "visible": repr(self.visible),
            "respect": repr(self.respect),
            "membind": repr(self.membind),
            "nics": repr(self.nics),
        }

    def topology_word(self) -> str:
        """What the ranks of one node must agree on besides; nodes may differ."""
        if self.topology is None:
            return "None"
        if isinstance(self.topology, str | os.PathLike):
            return repr(os.fspath(self.topology))
        return str(getattr(self.topology, "origin", self.topology))


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
    told = read_words(os.environ.get("MPIBIND", ""))
    if told.off:
        return Settings(None)
    given = {"greedy": greedy, "gpu_optim": gpu_optim, "smt": smt, "visible": visible}
    sources = {name: "MPIBIND" for name, value in given.items() if value is None}
    # Ids and their type belong together: those of a variable say nothing about an argument.
    if restrict_ids is None and (text := os.environ.get("MPIBIND_RESTRICT")):
        restrict_ids = _list_or_file(text)
        sources["restrict_ids"] = "MPIBIND_RESTRICT"
        if restrict_type is None and (text := os.environ.get("MPIBIND_RESTRICT_TYPE")):
            restrict_type = text
            sources["restrict_type"] = "MPIBIND_RESTRICT_TYPE"
    visible = _first(visible, told.visible, "own")
    _core.check_words(gpu_ids=gpu_ids, visible=visible, respect=respect, membind=membind)
    try:
        request = _core.Request(
            1,
            nthreads=nthreads,
            greedy=_first(greedy, told.greedy, True),
            gpu_optim=_first(gpu_optim, told.gpu_optim, True),
            smt=_first(smt, told.smt, 0),
            restrict_ids=restrict_ids,
            restrict_type=_first(restrict_type, None, "cpu"),
        )
    except InvalidParameterError as error:
        raise naming_source(error, sources.items()) from None
    return Settings(
        request,
        topology,
        gpu_ids,
        _core.check_flag("apply", apply),
        _core.check_flag("env", env),
        _core.check_flag("omp_affinity", omp_affinity),
        visible,
        respect,
        membind,
        _verbosity(_first(verbose, told.verbose, 0)),
        _core.check_flag("nics", _first(nics, told.nics, False)),
        told.left_out,
        tuple(sources.items()),
    )


def naming_source(
    error: InvalidParameterError, sources: Iterable[tuple[str, str]]
) -> InvalidParameterError:
    """Return the error, with the variable that the value came from if it was one."""
    variable = dict(sources).get(getattr(error, "parameter", ""))
    value = os.environ.get(variable or "")
    if variable is None or value is None:
        return error
    named = InvalidParameterError(f"{error} (from {variable}={value!r})")
    named.parameter, named.value, named.legal = error.parameter, error.value, error.legal
    return named


class Words(NamedTuple):
    """What the variable MPIBIND says. None where it says nothing."""

    off: bool = False
    verbose: int | None = None
    gpu_optim: bool | None = None
    greedy: bool | None = None
    smt: int | None = None
    visible: str | None = None
    nics: bool | None = None
    left_out: frozenset[str] = frozenset()


_LEGAL = (
    "it must be words with commas between them, of: on, off, v[:N], verbose[:N], gpu[:0|1], "
    "greedy[:0|1], smt:K, nics[:0|1], omp_places, omp_proc_bind, visdevs"
)

_LEFT_OUT = {"omp_places": "OMP_PLACES", "omp_proc_bind": "OMP_PROC_BIND"}


def read_words(text: str) -> Words:
    """Read the value of MPIBIND.

    Raises
    ------
    InvalidParameterError
        For a word that is none; it lists those that are.

    Examples
    --------
    >>> read_words("smt:2,gpu:0").smt
    2
    """
    said: dict[str, object] = {}
    left_out = set()
    for word in text.split(","):
        name, colon, number = word.strip().lower().partition(":")
        value = int(number) if number.isascii() and number.isdigit() else None
        if colon and (value is None or value > 0xFFFF):
            legal = f"{word!r} has no number from 0 to 65535 after the colon; {_LEGAL}"
            raise illegal("MPIBIND", text, legal)
        if name in ("v", "verbose"):
            said["verbose"] = 1 if value is None else value
        elif name in ("gpu", "greedy", "nics") and value in (None, 0, 1):
            said["gpu_optim" if name == "gpu" else name] = value != 0
        elif name == "smt" and colon:
            said["smt"] = value
        elif name in ("on", "off") and not colon:
            said["off"] = name == "off"
        elif name == "visdevs" and not colon:
            said["visible"] = "off"
        elif name in _LEFT_OUT and not colon:
            left_out.add(_LEFT_OUT[name])
        elif name:
            raise illegal("MPIBIND", text, f"{word!r} is none of its words; {_LEGAL}")
    return Words(**said, left_out=frozenset(left_out))  # type: ignore[arg-type]


_T = TypeVar("_T")


def _first(given: _T | None, told: _T | None, default: _T) -> _T:
    if given is not None:
        return given
    return default if told is None else told


def _list_or_file(text: str) -> str:
    """Return a list of ids: the text itself, or that of the file that it names."""
    path = Path(text)
    try:
        if not path.is_file():
            return text
        content = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise illegal(
            "MPIBIND_RESTRICT", text, f"it must be ids such as 0-3,8, or a file of them ({error})"
        ) from None
    return ",".join(content.replace(",", " ").split())


def _verbosity(value: object) -> int:
    level = _core.check_int("verbose", value)
    if level < 0:
        raise illegal("verbose", level, "it must be False, True or a number from 0 to 2")
    return level
