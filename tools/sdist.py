"""Builds the source distribution into dist/.

python tools/sdist.py               what pip builds from, with the crates of the registry
python tools/sdist.py --vendored    with the crates inside: it is built without a network
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import prerequisites

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
NAME = f"mpibind-{prerequisites.workspace('version')}"


def build() -> Path:
    """Build the source distribution and return it."""
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(DIST)]
    subprocess.run(command, cwd=ROOT, check=True)
    return DIST / f"{NAME}.tar.gz"


def add_crates(archive: Path) -> Path:
    """Return a copy of a source distribution with all crates of Cargo.lock and their use set up."""
    vendored = DIST / f"{NAME}-vendored.tar.gz"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / NAME
        shutil.unpack_archive(archive, name)
        # What Cargo prints is the configuration that makes it look there; with --quiet it does not.
        command = ["cargo", "vendor", "--locked", "--versioned-dirs", "vendor"]
        told = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
        (folder / ".cargo").mkdir()
        (folder / ".cargo" / "config.toml").write_text(told.stdout)
        with tarfile.open(vendored, "w:gz") as packed:
            packed.add(folder, NAME)
    return vendored


def main() -> None:
    """Run as the head of this file says."""
    parser = argparse.ArgumentParser(description="Build the source distribution.")
    parser.add_argument("--vendored", action="store_true", help="with the crates inside")
    arguments = parser.parse_args()
    archive = build()
    if arguments.vendored:
        archive = add_crates(archive)
    print(archive.relative_to(ROOT), f"{archive.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
