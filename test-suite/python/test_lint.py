"""The Python code is linted, formatted and typed, and the stub says what the extension has."""

import subprocess
import sys
import unittest

import support

GENERATE = "test-suite/topologies/generate.py"


class Lint(unittest.TestCase):
    def check(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=support.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=500,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{' '.join(arguments)}\n{done.stdout}")

    def test_ruff_check(self):
        self.check("-m", "ruff", "check", ".")

    def test_ruff_format(self):
        self.check("-m", "ruff", "format", "--check", ".")

    def test_mypy(self):
        self.check("-m", "mypy", "--strict", "mpibind", "tools", GENERATE)

    def test_stub(self):
        config = ("--mypy-config-file", "pyproject.toml")
        self.check("-m", "mypy.stubtest", *config, "mpibind._core")

    def test_machines_are_as_generated(self):
        self.check(GENERATE, "--check")


if __name__ == "__main__":
    support.main()
