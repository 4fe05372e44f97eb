"""What the tests share. Run a test file by itself to see its TAP: ``python test_text.py``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest
import warnings
from pathlib import Path

from pycotap import LogMode, TAPTestResult

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MACHINES = sorted((ROOT / "test-suite" / "topologies").glob("*.xml"))
EXPECTED = ROOT / "test-suite" / "expected"
WORKED_EXAMPLE = ROOT / "test-suite" / "topologies" / "two-package-18core-smt2-2gpu.xml"

# What a user tells the tests.
_OURS = ("MPIBIND_ACCEPT", "MPIBIND_CONFORMANCE")

# Variables that would make the tests see another machine than they expect.
for _name in [*os.environ]:
    if _name.startswith(("MPIBIND", "HWLOC_")) and _name not in _OURS:
        del os.environ[_name]


class Result(TAPTestResult):  # type: ignore[misc]  # pycotap has no annotations
    """Counts a test as failed if one of its subtests is, which pycotap does not know of."""

    _subtest_failed = False

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._subtest_failed = True
            self.message.write(f"{subtest.id()}\n{self._exc_info_to_string(err, test)}\n")

    def stopTest(self, test):
        if self._subtest_failed:
            self._subtest_failed = False
            self.not_ok(test)
        super().stopTest(test)


class Runner:
    """Runs tests and prints TAP."""

    def run(self, test: unittest.TestSuite) -> unittest.TestResult:
        result = Result(sys.stdout, sys.stderr, LogMode.LogToDiagnostics, LogMode.LogToYAML)
        test(result)
        # A plan of no tests would read as a file that was skipped, not as one that tests nothing.
        if result.testsRun:
            result.printErrors()
        return result


def tree_folder(test: unittest.TestCase) -> Path:
    """Make a folder that ends with the test, in memory where there is room.

    A tree has thousands of small files, for which a disk takes many times as long.
    """
    memory = Path("/dev/shm")
    has_room = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**28
    root = Path(tempfile.mkdtemp(dir=memory if has_room else None))
    test.addCleanup(shutil.rmtree, root)
    return root


def main() -> None:
    """Run the tests of the calling file and print TAP."""
    warnings.simplefilter("error")
    unittest.main(testRunner=Runner())


def make_cgroup(test: unittest.TestCase, controller: str, files: dict[str, dict[str, str]]) -> Path:
    """Make a control group for a test, which ends with the test; skip where that cannot be.

    `files` has what to write into it, by version: ``v1`` or ``v2``.
    """
    top = Path("/sys/fs/cgroup")
    version1 = (top / controller / "cgroup.procs").exists()
    folder = (top / controller if version1 else top) / f"mpibind-test-{os.getpid()}"
    try:
        folder.mkdir()
        test.addCleanup(folder.rmdir)
        for name, value in files["v1" if version1 else "v2"].items():
            (folder / name).write_text(value or (folder.parent / name).read_text())
    except OSError as error:
        test.skipTest(f"no cgroup can be made here: {error}")
    return folder


def cpuset_cgroup(test: unittest.TestCase, cpu: int) -> Path:
    """Make a cpuset cgroup with one CPU, as a batch system does."""
    files = {"v1": {"cpuset.mems": "", "cpuset.cpus": str(cpu)}, "v2": {"cpuset.cpus": str(cpu)}}
    return make_cgroup(test, "cpuset", files)


def two_cpus(test: unittest.TestCase) -> list[int]:
    """Return the CPUs of this process; skip if there is but one."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        test.skipTest("needs two CPUs")
    return cpus


def run(
    code: str,
    *,
    env: dict[str, str] | None = None,
    timeout: float = 60,
    around: tuple[str, ...] = (),
) -> str:
    """Run Python code in a process of its own; return what it printed, fail if it fails.

    `around` is a command that runs the words behind it.
    """
    done = subprocess.run(
        [*around, sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


MPIBIND = str(Path(sys.executable).parent / "mpibind")
"""The command, which is a program without Python."""


def command(*words: object, start: tuple[str, ...] = (), **how) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own; return what came of it.

    Through ``python -m mpibind`` unless `start` is another way. `how` is for subprocess.run;
    ``env`` adds to this process's variables.
    """
    env = {**os.environ, **how.pop("env", {})}
    return subprocess.run(
        [*(start or (sys.executable, "-W", "error", "-m", "mpibind")), *map(str, words)],
        env=env,
        **{
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "timeout": 120,
            "check": False,
            "cwd": ROOT,
            **how,
        },
    )


def printed(*words: object, **how) -> str:
    """Run the command ``mpibind``; return what it printed, fail if it fails or complains."""
    done = command(*words, **how)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def run_json(code: str, *, env: dict[str, str] | None = None) -> object:
    """Run Python code that prints JSON in a process of its own; return what the JSON says."""
    return json.loads(run(code, env=env))
