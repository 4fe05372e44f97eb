"""What the tests share. Run a test file by itself to see its TAP: ``python test_text.py``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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

# Variables that would make the tests see another machine than they expect.
for _name in [*os.environ]:
    if _name.startswith(("MPIBIND", "HWLOC_")) and _name != "MPIBIND_ACCEPT":
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


def main() -> None:
    """Run the tests of the calling file and print TAP."""
    warnings.simplefilter("error")
    unittest.main(testRunner=Runner())


def run(code: str, *, env: dict[str, str] | None = None, timeout: float = 60) -> str:
    """Run Python code in a process of its own; return what it printed, fail if it fails."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def run_json(code: str, *, env: dict[str, str] | None = None) -> object:
    """Run Python code that prints JSON in a process of its own; return what the JSON says."""
    return json.loads(run(code, env=env))
