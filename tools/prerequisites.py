"""What a system must have before mpibind can be built, and how each system installs it.

`setup.py` calls `require` before it builds. The Makefile runs this file:

    python tools/prerequisites.py              name what is missing, exit 1
    python tools/prerequisites.py --install    install it where that asks for no password

With --launchers it looks for what `make check-launchers` needs instead.

It needs nothing but Python 3.10, since nothing else is there yet.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

CARGO_TOML = Path(__file__).resolve().parent.parent / "Cargo.toml"

# What hwlocality's feature in rust/core/Cargo.toml asks for.
HWLOC = ("2.3", "3.0")


def workspace(key: str) -> str:
    """Return a value of Cargo.toml's [workspace.package], such as its version.

    A TOML parser is in the standard library from Python 3.11 on only.
    """
    table = CARGO_TOML.read_text("utf-8").partition("[workspace.package]")[2]
    found = re.search(rf'^{key} = "(.*)"$', table.partition("\n[")[0], re.MULTILINE)
    if found is None:
        raise SystemExit(f"error: no {key} in [workspace.package] of {CARGO_TOML}")
    return found[1]


# ------------------------------------------------------------------------------
# What is looked for: each function says what is wrong, or returns None.
# ------------------------------------------------------------------------------


def rust() -> str | None:
    """Cargo and rustc, as new as Cargo.toml says."""
    wanted = workspace("rust-version")
    for tool in (os.environ.get("CARGO", "cargo"), os.environ.get("RUSTC", "rustc")):
        printed = output(tool, "--version")
        version = re.search(r" (\d+)\.(\d+)", printed or "")
        if version is None:
            return f"Rust {wanted} or newer: there is no {tool} on PATH"
        if tuple(map(int, version.groups())) < tuple(map(int, wanted.split("."))):
            return f"Rust {wanted} or newer: {shutil.which(tool)} is {printed}"
    return None


def pkg_config() -> str | None:
    """pkg-config, which says where libhwloc is."""
    if pkg_config_name() is None:
        return "pkg-config, which says where hwloc is: there is none on PATH"
    return None


def hwloc() -> str | None:
    """The headers and the library of hwloc, in a version that is bound."""
    oldest, too_new = HWLOC
    wanted = f"hwloc {oldest} or newer (below {too_new}) with its headers"
    name = pkg_config_name()
    if name is None:
        return f"{wanted}: cannot be looked for without pkg-config"
    found = output(name, "--modversion", "hwloc")
    if found is None:
        return f"{wanted}: {name} knows none (PKG_CONFIG_PATH names further folders)"
    asked = (f"hwloc >= {oldest}", f"hwloc < {too_new}")
    if output(name, "--exists", *asked) is None:
        return f"{wanted}: {name} found {found}"
    return None


def compiler() -> str | None:
    """The C compiler that rustc calls to link."""
    # Whoever names another linker for Cargo, as conda's Rust does, need not have one called cc.
    named = any(re.fullmatch(r"CARGO_TARGET_\w+_LINKER", name) for name in os.environ)
    if not named and shutil.which("cc") is None:
        return "a C compiler, with which Rust links: there is no cc on PATH"
    return None


def venv() -> str | None:
    """The part of Python that makes virtual environments; Debian packs it apart."""
    if importlib.util.find_spec("ensurepip") is None:
        return f"Python's venv: {sys.executable} has no ensurepip"
    return None


def prove() -> str | None:
    """The test harness of Perl, which runs the Python tests."""
    if shutil.which("prove") is None:
        return "prove, Perl's test harness: there is none on PATH"
    return None


def strace() -> str | None:
    """The tool that counts the file look-ups of an import; there is one for Linux only."""
    if sys.platform == "linux" and shutil.which("strace") is None:
        return "strace, which counts file look-ups: there is none on PATH"
    return None


def root() -> str | None:
    """The right to make nodes: namespaces of the network, of host names and of mounts."""
    if os.geteuid() != 0:
        return "root, who may make namespaces: run it as root, in a container for example"
    if output("unshare", "--net", "--uts", "--mount", "true") is None:
        return "namespaces: unshare --net --uts --mount is not allowed here"
    return None


def network() -> str | None:
    """The tool that sets up the network of the nodes."""
    if shutil.which("ip") is None:
        return "ip, which sets up a network: there is none on PATH"
    return None


def slurm() -> str | None:
    """Slurm's commands and daemons."""
    for tool in ("srun", "sbatch", "salloc", "slurmctld", "slurmd"):
        if shutil.which(tool) is None:
            return f"Slurm with its daemons: there is no {tool} on PATH"
    return None


def munge() -> str | None:
    """The daemon by which Slurm's daemons know each other."""
    if shutil.which("munged") is None:
        return "MUNGE, which Slurm authenticates with: there is no munged on PATH"
    return None


def pmix() -> str | None:
    """The library that Slurm's plugin for Open MPI loads."""
    # Slurm looks for it under the name without a version, where the distribution has its files.
    places = ("lib*", "lib/*", "lib/*/pmix2/lib")
    if not any([*Path("/usr").glob(f"{place}/libpmix.so")] for place in places):
        return "PMIx, through which srun starts Open MPI: there is no libpmix.so below /usr"
    return None


Look = Callable[[], str | None]
TO_BUILD: tuple[Look, ...] = (rust, compiler, pkg_config, hwloc)
TO_DEVELOP: tuple[Look, ...] = (*TO_BUILD, venv, prove, strace)
TO_LAUNCH: tuple[Look, ...] = (root, network, slurm, munge, pmix)


# ------------------------------------------------------------------------------
# How each system installs it
# ------------------------------------------------------------------------------


@dataclass(frozen=True)
class System:
    """How one family of systems installs what is looked for above."""

    name: str
    install: str
    # By the name of the function above; what is not here is there in any case.
    packages: dict[str, str]
    # What lets the command run unattended; None: it does not install by itself.
    unattended: str | None = None
    # Run before an unattended installation.
    refresh: str | None = None
    note: str = ""
    # By the same names: what is no package, and the command that installs it.
    apart: dict[str, str] = field(default_factory=dict)


DEBIAN_VENV = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"

SYSTEMS = (
    System(
        "Debian, Ubuntu",
        "apt-get install",
        {
            "rust": "rustup",
            "pkg_config": "pkg-config",
            "hwloc": "libhwloc-dev",
            # The second is but recommended by the first, and is what programs are linked with.
            "compiler": "gcc libc6-dev",
            "venv": DEBIAN_VENV,
            "prove": "perl",
            "strace": "strace",
            "network": "iproute2",
            "slurm": "slurmctld slurmd slurm-client",
            "munge": "munge",
            "pmix": "libpmix-dev",
        },
        unattended="--yes --no-install-recommends",
        refresh="apt-get --quiet update",
    ),
    System(
        "Fedora, RHEL",
        "dnf install",
        {
            "rust": "cargo",
            "pkg_config": "pkgconf-pkg-config",
            "hwloc": "hwloc-devel",
            "compiler": "gcc",
            "prove": "perl-Test-Harness",
            "strace": "strace",
            "network": "iproute",
            "slurm": "slurm slurm-slurmctld slurm-slurmd",
            "munge": "munge",
            "pmix": "pmix-devel",
        },
        unattended="--assumeyes",
        note="on RHEL hwloc-devel is in the CodeReady Builder repository, Slurm in EPEL",
    ),
    System(
        "openSUSE",
        "zypper install",
        {
            "rust": "cargo",
            "pkg_config": "pkg-config",
            "hwloc": "hwloc-devel",
            "compiler": "gcc",
            "prove": "perl",
            "strace": "strace",
        },
        unattended="--no-confirm",
    ),
    System(
        "Arch",
        "pacman -S",
        {
            "rust": "rust",
            "pkg_config": "pkgconf",
            "hwloc": "hwloc",
            "compiler": "gcc",
            "prove": "perl",
            "strace": "strace",
        },
        unattended="--noconfirm",
    ),
    System(
        "macOS",
        "brew install",
        {
            "rust": "rust",
            "pkg_config": "pkgconf",
            "hwloc": "hwloc",
            "prove": "perl",
        },
        unattended="",
        # Xcode's command line tools.
        apart={"compiler": "xcode-select --install"},
    ),
    System(
        "conda",
        "conda install -c conda-forge",
        {
            "rust": "rust",
            "pkg_config": "pkg-config",
            "hwloc": "libhwloc",
            "compiler": "c-compiler",
            "prove": "perl",
        },
    ),
    System(
        "Spack",
        "spack install",
        {
            "rust": "rust",
            "pkg_config": "pkgconf",
            "hwloc": "hwloc",
            "compiler": "gcc",
            "prove": "perl",
            "strace": "strace",
        },
        note="then `spack load` the same",
    ),
)


NOT_BUILT = "error: mpibind cannot be built here yet."
NOT_LAUNCHED = "error: mpibind cannot be tested with Slurm and on several nodes here yet."


def require(looks: Iterable[Look] = TO_BUILD, problem: str = NOT_BUILT) -> None:
    """Return if everything is there; else exit with one message that names what is not."""
    missing = look_for(looks)
    if missing:
        raise SystemExit(explain(missing, problem))


def explain(missing: dict[str, str], problem: str) -> str:
    """Say what is missing and what to type on each system."""
    lines = [f"{problem} Missing:", ""]
    lines += [f"  * {reason}" for reason in missing.values()]
    if any(commands(system, missing) for system in SYSTEMS):
        lines += ["", "To install it:", ""]
    for system in SYSTEMS:
        if words := commands(system, missing):
            note = f"   ({system.note})" if system.note else ""
            lines.append(f"  {system.name:15} {' && '.join(words)}{note}")
    if "rust" in missing:
        lines += [
            "",
            "Where that Rust is too old, or packages may not be installed, rustup puts a current",
            "one into your home (https://rustup.rs); after Debian's package of that name, type",
            "`rustup default stable`.",
        ]
    return "\n".join(lines)


def commands(system: System, missing: Iterable[str]) -> list[str]:
    """Return all that is to be typed on a system to install what is missing."""
    packages = command(system, missing)
    apart = [system.apart[name] for name in missing if name in system.apart]
    return [*apart, *([packages] if packages else [])]


def command(system: System, missing: Iterable[str]) -> str | None:
    """Return the command with which a system installs what is missing of its packages."""
    packages = [system.packages[name] for name in missing if name in system.packages]
    return " ".join([system.install, *packages]) if packages else None


def install(missing: dict[str, str], problem: str) -> None:
    """Install what is missing if that asks nobody anything; else say what to type."""
    found = (s for s in SYSTEMS if s.unattended is not None)
    system = next((s for s in found if shutil.which(s.install.split()[0])), None)
    words = command(system, missing) if system else None
    # Rust is never installed unasked: there are several ways, and the choice is the user's.
    if system is None or words is None or "rust" in missing:
        raise SystemExit(explain(missing, problem))
    prefix = root_prefix(system)
    if prefix is None:
        reasons = "\n".join(f"  * {reason}" for reason in missing.values())
        raise SystemExit(
            f"{problem} Missing:\n\n{reasons}\n\n"
            f"Only root may install it. Type this, then the same command again:\n\n  sudo {words}"
        )
    for step in (system.refresh, f"{words} {system.unattended}"):
        if step:
            print("+", *prefix, step, flush=True)
            # A repository that cannot be refreshed need not be the one that is needed;
            # what matters is looked at afterwards.
            subprocess.run([*prefix, *shlex.split(step)], stdin=subprocess.DEVNULL)


def root_prefix(system: System) -> list[str] | None:
    """Return what must stand before a command to run it as root, None if it cannot be."""
    if system.install.startswith("brew"):
        return []
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive"]
    if os.geteuid() == 0:
        return quiet
    return ["sudo", "-n", *quiet] if output("sudo", "-n", "true") is not None else None


# ------------------------------------------------------------------------------
# Helpers
# ------------------------------------------------------------------------------


def look_for(looks: Iterable[Look]) -> dict[str, str]:
    """Return what is wrong with each thing that is missing."""
    # rustup's folder is on PATH only in shells opened after its installation.
    cargo_home = os.environ.get("CARGO_HOME") or Path.home() / ".cargo"
    paths = [os.environ.get("PATH", os.defpath), str(Path(cargo_home) / "bin")]
    os.environ["PATH"] = os.pathsep.join(paths)
    results = {look.__name__: look() for look in looks}
    return {name: reason for name, reason in results.items() if reason is not None}


def pkg_config_name() -> str | None:
    """Return the pkg-config that Cargo's build scripts will call."""
    names = [os.environ.get("PKG_CONFIG") or "pkg-config", "pkgconf"]
    return next(filter(shutil.which, names), None)


def output(*words: str) -> str | None:
    """Return what a command printed, None if it failed or is not there."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def main() -> None:
    """Run as the head of this file says."""
    parser = argparse.ArgumentParser(description="Look for what mpibind is built with.")
    parser.add_argument("--install", action="store_true", help="install what is missing")
    parser.add_argument(
        "--launchers", action="store_true", help="look for what tests with launchers need"
    )
    arguments = parser.parse_args()
    looks, problem = TO_DEVELOP, NOT_BUILT
    if arguments.launchers:
        looks, problem = TO_LAUNCH, NOT_LAUNCHED
    if arguments.install and (missing := look_for(looks)):
        install(missing, problem)
    require(looks, problem)


if __name__ == "__main__":
    main()
