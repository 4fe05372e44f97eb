"""Texts that users keep: returned to them, or written to a file and read back."""

from __future__ import annotations

import os
from pathlib import Path

from mpibind.errors import illegal

MOST_SHOWN = 40
"""Bytes of a wrong file that its error shows."""


def deliver(text: str, path: str | os.PathLike[str] | None) -> str | None:
    """Return a text, or write it to a file if one is named."""
    if path is None:
        return text
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a path, not {path!r} ({type(path).__name__})")
    try:
        # A Path would make the folder "." of an empty name.
        file = open(path, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # closed below
    except ValueError as error:
        # A zero, or half of a character.
        raise illegal("path", path, f"no file can have that name ({error})") from None
    with file:
        file.write(text if text.endswith("\n") else text + "\n")
    return None


def content(source: str | bytes | os.PathLike[str]) -> str:
    """Return the text that is meant: the argument itself, or what is in the file of a path."""
    if isinstance(source, os.PathLike):
        try:
            source = Path(source).read_bytes()
        except ValueError as error:
            raise illegal("text", source, f"no file can have that name ({error})") from None
    if not isinstance(source, bytes):
        return source
    try:
        return source.decode("utf-8")
    except UnicodeDecodeError as error:
        value = source if len(source) <= MOST_SHOWN else source[:MOST_SHOWN] + b"..."
        legal = f"it is not text in UTF-8 ({error.reason} at byte {error.start})"
        raise illegal("text", value, legal) from None
