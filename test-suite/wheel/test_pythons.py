"""The wheel is installed and used with every Python that this machine has."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import unittest
from pathlib import Path

import installed
import support

# Where version managers put interpreters: they need not be on PATH.
MANAGERS = (".pyenv/versions/*/bin/python3", ".local/share/uv/python/*/bin/python3")
SHOW = "import sys; print(sys.version_info.major, sys.version_info.minor, sys._base_executable)"

BROKEN_NUMPY = 'raise ImportError("libopenblas.so.0: cannot open shared object file")\n'


@functools.cache
def interpreters() -> dict[int, str]:
    """Return one interpreter of each 3.x that is here, by x."""
    names = [f"python3.{minor}" for minor in range(installed.NEWEST + 1)]
    names += [str(path) for place in MANAGERS for path in sorted(Path.home().glob(place))]
    found: dict[int, str] = {}
    for name in filter(shutil.which, names):
        done = subprocess.run([name, "-c", SHOW], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            major, minor, path = done.stdout.strip().split(" ", 2)
            if major == "3":
                found.setdefault(int(minor), path)
    return found


def environment(minor: int) -> Path:
    """Return the folder of commands of a new environment with the wheel and what is beside it."""
    folder = support.ROOT / "build" / "wheel" / f"with-3.{minor}"
    shutil.rmtree(folder, ignore_errors=True)
    installed.run(interpreters()[minor], "-m", "venv", folder)
    pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-index")
    links = f"--find-links={installed.downloaded(minor)}"
    installed.run(*pip, links, f"{installed.built()}[mpi]", "mpich")
    return folder / "bin"


class EveryPython(unittest.TestCase):
    def test_it_runs(self):
        minors = [minor for minor in interpreters() if minor >= 10]
        self.assertTrue(minors)
        for minor in minors:
            with self.subTest(python=f"3.{minor}"):
                self.check(minor, environment(minor))

    def check(self, minor: int, commands: Path) -> None:
        told = json.loads(
            installed.run(commands / "python", "-W", "error", installed.EXERCISE, installed.NODE)
        )
        self.assertEqual(told["gpus"], [[str(gpu)] for gpu in range(8)])
        self.assertTrue(Path(told["file"]).is_relative_to(commands.parent))
        self.assertRegex(told["python"], rf"^3\.{minor}\.")
        plan = installed.run(commands / "mpibind", "map", "-n", "8", "--topology", installed.NODE)
        self.assertIn("task  7", plan)
        self.assertNotIn("PCI", installed.run(commands / "mpibind", "doctor"))
        lines = installed.run(
            commands / "mpiexec", "-n", "2", commands / "python", installed.HELLO
        ).splitlines()
        self.assertEqual(len(lines), 2, lines)
        if minor >= 12:
            told = installed.run(commands / "python", installed.SUB_INTERPRETERS)
            self.assertRegex(told, installed.ONLY_MAIN)


class Refused(unittest.TestCase):
    """pip says why it does not install the wheel: in its ordinary words, at once."""

    def pip(self, python: str, *words: object, env: dict[str, str]) -> str:
        command = [python, "-m", "pip", "install", "--no-index", "--no-deps", "--target=x"]
        with self.assertRaises(AssertionError) as failed:
            installed.run(*command, *words, installed.built(), env={**installed.CLEAN, **env})
        return str(failed.exception)

    def test_older_c_library(self):
        folder = support.ROOT / "build" / "wheel" / "older"
        folder.mkdir(parents=True, exist_ok=True)
        # What a system's own Python may say about itself (PEP 600), here: glibc 2.16.
        (folder / "_manylinux.py").write_text(
            "def manylinux_compatible(major, minor, arch):\n    return (major, minor) < (2, 17)\n"
        )
        newest = interpreters()[max(interpreters())]
        told = self.pip(newest, env={"PYTHONPATH": str(folder)})
        self.assertRegex(told, r"mpibind-.*\.whl is not a supported wheel on this platform")

    def test_older_python(self):
        old = [minor for minor in interpreters() if 6 < minor < 10]
        if not old:
            self.skipTest("there is no Python older than 3.10 here")
        for minor in old:
            with self.subTest(python=f"3.{minor}"):
                told = self.pip(interpreters()[minor], env={})
                self.assertRegex(told, r"mpibind-.*\.whl is not a supported wheel on this platform")


class OddMachines(unittest.TestCase):
    """An environment in which something is broken: what works without it works."""

    def setUp(self):
        self.python = interpreters()[max(interpreters())]
        self.env = {**installed.CLEAN, "PYTHONPATH": str(installed.unpacked())}

    def test_without_numpy_and_mpi4py(self):
        env = self.env
        flags = (self.python, "-S", "-c")  # no site-packages
        code = "import mpibind; print(mpibind.Topology.from_synthetic('core:2 pu:1').map(2))"
        self.assertIn("task  1", installed.run(*flags, code, env=env))
        for code, words in (
            ("mpibind.Topology.from_synthetic('core:2 pu:1').map(2).cpus", "numpy"),
            ("import mpibind.mpi", "pip install 'mpibind\\[mpi\\]'"),
        ):
            with self.assertRaisesRegex(AssertionError, words):
                installed.run(*flags, f"import mpibind; {code}", env=env)

    def test_broken_numpy(self):
        folder = support.ROOT / "build" / "wheel" / "broken"
        (folder / "numpy").mkdir(parents=True, exist_ok=True)
        (folder / "numpy" / "__init__.py").write_text(BROKEN_NUMPY)
        env = {**self.env, "PYTHONPATH": f"{folder}:{installed.unpacked()}"}
        code = """
import mpibind
mapping = mpibind.Topology.from_synthetic("core:2 pu:1").map(2)
print(mapping, mapping.gpus)
mpibind.Topology().map(1).apply(0)
try:
    mapping.cpus
except ImportError as error:
    print(error)
"""
        told = installed.run(self.python, "-c", code, env=env)
        self.assertIn("task  1", told)
        self.assertTrue(told.endswith("libopenblas.so.0: cannot open shared object file\n"), told)

    def test_container_without_sys(self):
        if os.geteuid() != 0:
            self.skipTest("only root may take /sys away")
        code = "import mpibind as m; t = m.Topology(); print(t); t.map(1).apply(0); print(t.map(2))"
        script = f'mount -t tmpfs none /sys && "{self.python}" -c "{code}"'
        how = ("unshare", "--mount", "--propagation", "private", "sh", "-c")
        told = installed.run(*how, script, env=self.env)
        self.assertIn(f"this machine: {len(os.sched_getaffinity(0))} CPUs", told)
        self.assertIn("task  1", told)


if __name__ == "__main__":
    support.main()
