"""What this process was given of its node's devices: variables, and device files it may open."""

from __future__ import annotations

import os

from mpibind import _core
from mpibind.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_ours: dict[str, tuple[str, str | None]] = {}
"""Variables that this process has set itself: the value, and the one from before."""


Replaced = tuple[str | None, tuple[str, str | None] | None]
"""What `set_variable` has replaced: a variable's value, and what was known of it."""


class View(NamedTuple):
    """What one process was given; equal views mean the same GPUs."""

    variables: tuple[tuple[str, str], ...]
    files: tuple[str, ...]


def view() -> View:
    """Look at this process. What it has set itself was given by nobody."""
    found = []
    for name in _core.VIEW_VARIABLES:
        value = os.environ.get(name)
        ours, before = _ours.get(name, (None, None))
        if value is not None and value == ours:
            value = before
        if value is not None:
            found.append((name, readable(value)))
    return View(tuple(found), tuple(_core.open_devices()))


def readable(value: str) -> str:
    """Return a variable's value as text; bytes that are none, which no runtime takes, as ``?``."""
    return value.encode("utf-8", "replace").decode("utf-8")


def variables_of(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what an environment says of GPUs, as text."""
    return [(name, readable(environ[name])) for name in _core.VIEW_VARIABLES if name in environ]


def set_variable(name: str, value: str) -> Replaced:
    """Set a variable of this process; return what `put_back` takes."""
    old, known = os.environ.get(name), _ours.get(name)
    ours, before = known or (None, None)
    os.environ[name] = value
    _ours[name] = (value, before if old is not None and old == ours else old)
    return old, known


def put_back(name: str, replaced: Replaced) -> None:
    """Make a variable of this process what it was, and forget that it was ours."""
    old, known = replaced
    if old is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = old
    if known is None:
        _ours.pop(name, None)
    else:
        _ours[name] = known


def heed_choice(variables: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Leave out variables that someone else has set to choose devices.

    Returns what is left, and a note for each that stays as it is.
    """
    values = ((name, os.environ.get(name)) for name in variables)
    chosen = {
        name: readable(value)
        for name, value in values
        if value is not None and value != _ours.get(name, ("", None))[0]
    }
    left, notes = _core.heed_choice([*variables.items()], chosen)
    return dict(left), notes


def records(views: Sequence[View]) -> list[tuple[list[tuple[str, str]], list[str] | None]]:
    """Return the views as the core takes them: one for all tasks, or one of each."""
    # That all may open the same is known from discovery.
    alike = len({each.files for each in views}) < 2
    return [(list(each.variables), None if alike else list(each.files)) for each in views]


def opened(views: Iterable[View]) -> list[str]:
    """Return the device files that some of the tasks may open."""
    return sorted({file for each in views for file in each.files})


def of_environments(
    environ: Mapping[str, str] | Iterable[Mapping[str, str]] | None,
) -> list[View]:
    """Return the views that a parameter `environ` stands for."""
    if environ is None:
        return []
    from collections.abc import Iterable, Mapping

    def refused() -> TypeError:
        return TypeError(
            "environ must be a mapping of variables, such as os.environ, or one for each task, "
            f"not {environ!r}"
        )

    if not isinstance(environ, Iterable):
        raise refused()
    views = []
    for each in [environ] if isinstance(environ, Mapping) else environ:
        if not isinstance(each, Mapping):
            raise refused()
        for name in _core.VIEW_VARIABLES:
            if not isinstance(each.get(name, ""), str):
                raise TypeError(f"environ[{name!r}] must be text, not {each[name]!r}")
        views.append(View(tuple(variables_of(each)), ()))
    return views
