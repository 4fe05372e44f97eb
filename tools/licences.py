"""Writes LICENSES.md: the licences of what is compiled into the extension module and the command.

cargo-about reads the crates that Cargo.lock names; the licence of libhwloc stands in its source.
"""

from __future__ import annotations

import shutil
import subprocess

import libhwloc

CARGO_ABOUT = "cargo install --locked cargo-about --version 0.8.4"


def crates() -> str:
    """Return the list of crates and their licences."""
    if shutil.which("cargo-about") is None:
        raise SystemExit(f"error: cargo-about is not on PATH; type\n  {CARGO_ABOUT}")
    command = ["cargo", "about", "generate", "--locked", "--fail", "--config", "tools/about.toml"]
    command += ["--manifest-path", "rust/pyext/Cargo.toml", "tools/about.hbs"]
    done = subprocess.run(command, cwd=libhwloc.ROOT, check=True, capture_output=True, text=True)
    return done.stdout


def main() -> None:
    """Write the file."""
    copying = (libhwloc.unpacked() / "COPYING").read_text("utf-8")
    text = f"{crates().rstrip()}\n\n## libhwloc (BSD-3-Clause)\n\n```text\n{copying.strip()}\n```\n"
    lines = (line.rstrip() for line in text.splitlines())
    (libhwloc.ROOT / "LICENSES.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
