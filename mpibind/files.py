"""Texts that users keep: returned to them, or written to a file and read back."""

from __future__ import annotations

import os
from pathlib import Path


def deliver(text: str, path: str | os.PathLike[str] | None) -> str | None:
    """Return a text, or write it to a file if one is named."""
    if path is None:
        return text
    Path(path).write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
    return None


def content(source: str | bytes | os.PathLike[str]) -> str:
    """Return the text that is meant: the argument itself, or what is in the file of a path."""
    if isinstance(source, os.PathLike):
        source = Path(source).read_bytes()
    return source.decode("utf-8") if isinstance(source, bytes) else source
