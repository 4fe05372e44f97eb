"""Writes LICENSES.md: the licences of what is compiled into the extension module and the command.

cargo-about reads the crates that Cargo.lock names; the licence of libhwloc stands in its source.
What comes with Rust and Zig is listed here; the texts of its licences are those that Rust has.
"""

from __future__ import annotations

import shutil
import subprocess
import textwrap
from pathlib import Path

import libhwloc

CARGO_ABOUT = "cargo install --locked cargo-about --version 0.8.4"

# Written down by hand, from COPYRIGHT-library.html of Rust and LICENSE-MIT of each crate. Versions
# have none: they are those of the Rust that builds. Where there is a choice of licences, MIT is it.
MIT = {
    "Rust's standard library": [
        "Copyright The Rust Project Developers (see https://thanks.rust-lang.org)",
        "Copyright 2014 Alex Crichton (backtrace)",
        "Copyright 2019 The Crossbeam Project Developers (mpmc)",
    ],
    "addr2line": ["Copyright (c) 2016-2018 The gimli Developers"],
    "adler2": ["Copyright (C) Jonas Schievink <jonasschievink@gmail.com>"],
    "cfg-if": ["Copyright (c) 2014 Alex Crichton"],
    "compiler_builtins": ["Copyright (c) 2009-2016 by the contributors listed in CREDITS.TXT"],
    "gimli": ["Copyright (c) 2015 The Rust Project Developers"],
    "hashbrown": ["Copyright (c) 2016 Amanieu d'Antras"],
    "libc": ["Copyright (c) The Rust Project Developers"],
    "memchr": ["Copyright (c) 2015 Andrew Gallant"],
    "miniz_oxide": [
        "Copyright 2013-2014 RAD Game Tools and Valve Software",
        "Copyright 2010-2014 Rich Geldreich and Tenacious Software LLC",
        "Copyright (c) 2017 Frommi",
        "Copyright (c) 2017-2024 oyvindln",
    ],
    "object": ["Copyright (c) 2015 The Gimli Developers"],
    "rustc-demangle": ["Copyright (c) 2014 Alex Crichton"],
    "run-time routines of Zig, in wheels of `make wheel`": ["Copyright (c) Zig contributors"],
}
"""What is in the standard library of Rust, and what Zig adds, under MIT."""
APACHE = [
    "compiler_builtins, what comes from LLVM",
    "libunwind of LLVM, in wheels of `make wheel` and those for musl",
]
"""The same under Apache-2.0 WITH LLVM-exception."""


def crates() -> str:
    """Return the list of crates and their licences."""
    if shutil.which("cargo-about") is None:
        raise SystemExit(f"error: cargo-about is not on PATH; type\n  {CARGO_ABOUT}")
    command = ["cargo", "about", "generate", "--locked", "--fail", "--config", "tools/about.toml"]
    command += ["--manifest-path", "rust/pyext/Cargo.toml", "tools/about.hbs"]
    done = subprocess.run(command, cwd=libhwloc.ROOT, check=True, capture_output=True, text=True)
    return done.stdout


def standard() -> str:
    """Return what comes with Rust and Zig, and its licences."""
    command = ["rustc", "--print=sysroot"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    licenses = Path(done.stdout.strip(), "share", "doc", "rust", "licenses")

    def read(name: str) -> str:
        lines = (licenses / f"{name}.txt").read_text("utf-8").strip().splitlines()
        return "\n".join(textwrap.fill(line, 100) for line in lines)

    # From the permission on: whose copyright it is, is in the list.
    mit = read("MIT").partition("<copyright holders>")[2].strip()
    names = [f"* {name}: {'; '.join(notices)}" for name, notices in MIT.items()]
    return section("What comes with Rust and Zig (MIT)", mit, names) + section(
        "What comes with Rust and Zig (Apache-2.0 WITH LLVM-exception)",
        f"{read('Apache-2.0')}\n\n{read('LLVM-exception')}",
        [f"* {name}" for name in APACHE],
    )


def section(title: str, text: str, names: list[str] | None = None) -> str:
    """Return a section: what is under a licence, and its text."""
    listed = "".join(f"{name}\n" for name in names or [])
    return f"\n## {title}\n\n{listed}{listed and chr(10)}```text\n{text.strip()}\n```\n"


def main() -> None:
    """Write the file."""
    copying = (libhwloc.unpacked() / "COPYING").read_text("utf-8")
    text = f"{crates().rstrip()}\n{standard()}{section('libhwloc (BSD-3-Clause)', copying)}"
    lines = (line.rstrip() for line in text.splitlines())
    (libhwloc.ROOT / "LICENSES.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
