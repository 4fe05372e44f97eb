"""What `make sdist` and `make sdist-vendored` give: pip installs it in clean environments."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import unittest
from pathlib import Path

import installed
import support

FOLDER = support.ROOT / "build" / "wheel" / "sdist"
# What [build-system] asks for, and what mpibind needs.
NEEDED = ("setuptools>=77.0.1", "setuptools-rust>=1.10", "numpy")
# That it is built is what is asked, not how well.
QUICKLY = {
    f"CARGO_PROFILE_{profile}_{setting}": value
    for profile in ("RELEASE", "COMMAND")
    for setting, value in (("OPT_LEVEL", "0"), ("LTO", "off"), ("CODEGEN_UNITS", "16"))
}


@functools.cache
def archives() -> tuple[Path, Path]:
    """Make both: the one that pip builds from, and the one with the crates inside."""
    told = installed.run(sys.executable, support.ROOT / "tools" / "sdist.py", "--vendored")
    vendored = support.ROOT / told.splitlines()[-1].split()[0]
    return vendored.with_name(vendored.name.replace("-vendored", "")), vendored


class Sdist(unittest.TestCase):
    def setUp(self):
        self.plain, self.vendored = archives()
        self.home = FOLDER / self._testMethodName
        shutil.rmtree(self.home, ignore_errors=True)
        installed.run(sys.executable, "-m", "venv", self.home)
        # The crates of an earlier build would hide that some cannot be had.
        self.env = {**installed.CLEAN, **QUICKLY, "CARGO_HOME": str(self.home / "cargo")}
        self.pip = (self.home / "bin" / "python", "-m", "pip", "install", "--quiet")

    def links(self) -> str:
        """Return the option by which pip finds what is needed in a folder."""
        folder = FOLDER / "needed"
        if not (folder / "complete").exists():
            installed.run(sys.executable, "-m", "pip", "wheel", f"--wheel-dir={folder}", *NEEDED)
            (folder / "complete").touch()
        return f"--find-links={folder}"

    def check(self) -> None:
        told = installed.run(
            self.home / "bin" / "mpibind", "map", "-n", "8", "--topology", installed.NODE
        )
        self.assertIn("task  7", told)
        self.assertEqual(installed.run(self.home / "bin" / "mpibind", "run", "echo", "a"), "a\n")
        python = self.home / "bin" / "python"
        installed.run(python, "-W", "error", installed.EXERCISE, installed.NODE)

    def test_with_a_network(self):
        installed.run(*self.pip, self.plain, env=self.env, timeout=1200)
        self.check()

    def test_vendored_without_a_network(self):
        if os.geteuid() != 0:
            self.skipTest("only root may take the network away")
        offline = ("unshare", "--net", *self.pip, "--no-index", self.links())
        installed.run(*offline, self.vendored, env=self.env, timeout=1200)
        self.check()

    def test_the_lock_is_obeyed(self):
        """With crates that Cargo.lock does not know, nothing is built."""
        shutil.unpack_archive(self.vendored, self.home)
        [source] = self.home.glob("mpibind-*")
        lock = source / "Cargo.lock"
        self.assertEqual(lock.read_text(), (support.ROOT / "Cargo.lock").read_text())
        packages = lock.read_text().split("[[package]]\n")
        kept = [text for text in packages if not text.startswith('name = "pyo3"\n')]
        self.assertEqual(len(kept), len(packages) - 1)
        lock.write_text("[[package]]\n".join(kept))
        with self.assertRaisesRegex(AssertionError, "--locked was passed|because --locked"):
            installed.run(*self.pip, "--no-index", self.links(), source, env=self.env)


if __name__ == "__main__":
    support.main()
