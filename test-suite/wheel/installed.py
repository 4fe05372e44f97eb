"""What these tests share: the wheel that `make wheel` built, and environments that have it."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "python"), str(HERE.parent.parent / "tools")]

import support
import wheel

# The newest 3.x that is looked for.
NEWEST = 15
EXERCISE = HERE / "exercise.py"
SUB_INTERPRETERS = HERE / "sub_interpreters.py"
# What it prints.
ONLY_MAIN = r"^2\nImportError: .*_core does not support loading in subinterpreters\n2\n$"
NODE = support.ROOT / "test-suite" / "topologies" / "dgx-h100-8gpu.xml"
HELLO = support.ROOT / "test-suite" / "mpi" / "hello.py"
# What it works with besides the standard library.
BESIDE = ("numpy", "mpi4py", "mpich")
# Neither the checkout nor another build of the package is to be found.
CLEAN = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


# What a wheel can be for, this machine's first.
MACHINES = (platform.machine(), *{"x86_64", "aarch64"}.difference([platform.machine()]))


def built(machine: str = MACHINES[0]) -> Path:
    """Return the wheel for an architecture."""
    return wheel.built(machine)


def run(*words: object, **how) -> str:
    """Run a command outside of the checkout; return what it printed, fail if it fails."""
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            [str(word) for word in words],
            **{
                "env": CLEAN,
                "cwd": elsewhere,
                "stdin": subprocess.DEVNULL,
                "capture_output": True,
                "text": True,
                "timeout": 600,
                "check": False,
                **how,
            },
        )
    if done.returncode != 0:
        raise AssertionError(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


@functools.cache
def unpacked(machine: str = MACHINES[0]) -> Path:
    """Return a folder with the wheel in it, for PYTHONPATH."""
    folder = support.ROOT / "build" / "wheel" / f"installed-{machine}"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade")
    # Its name ends with a system that it is for.
    system = built(machine).stem.rpartition(".")[2].rpartition("-")[2]
    platform_tag = (f"--platform={system}", "--only-binary=:all:")
    run(*pip, f"--target={folder}", *platform_tag, built(machine))
    return folder


def downloaded(minor: int, machine: str = MACHINES[0]) -> Path:
    """Return a folder with the wheels that Python 3.`minor` needs beside this one."""
    folder = support.ROOT / "build" / "wheel" / f"for-3.{minor}-{machine}"
    if not (folder / "complete").exists():
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:")
        run(*pip, f"--dest={folder}", *tags(minor, machine), *BESIDE)
        (folder / "complete").touch()
    return folder


def tags(minor: int, machine: str) -> list[str]:
    """Return pip's options for Python 3.`minor` on a current Linux of an architecture."""
    names = [f"manylinux_2_{n}_{machine}" for n in (28, 27, 17, 5)]
    names += [f"manylinux2014_{machine}", "any"]
    options = [f"--platform={name}" for name in names]
    options += ["--implementation=cp", f"--python-version=3.{minor}"]
    return options + [f"--abi={abi}" for abi in (f"cp3{minor}", "abi3", "none")]
