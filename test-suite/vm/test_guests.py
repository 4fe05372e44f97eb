"""Machines with many sockets, as guests: what programs get there, judged by the guest's kernel.

One start of a guest answers all questions about it; each answer is a test here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import unittest
from pathlib import Path

import guest
import image
import support
from machines import MACHINES

HERE = Path(__file__).resolve().parent

SECONDS = 1800


def setUpModule():
    """Get what guests need: this can take the time that a download takes."""
    image.make()
    program = HERE.parent / "programs" / "hold.c"
    command = ["cc", "-O2", "-fopenmp", str(program), "-o", str(image.FOLDER / "hold")]
    subprocess.run(command, check=True)


class OfMachine:
    """Starts a guest; the name of the class says which."""

    number: int

    @classmethod
    def setUpClass(cls):
        cls.machine = MACHINES[cls.number]
        began = time.monotonic()
        result = image.FOLDER / f"{cls.machine.name}.json"
        result.unlink(missing_ok=True)
        text = guest.run(cls.machine, [sys.executable, HERE / "judge.py"], SECONDS)
        if not text:
            raise AssertionError(f"the guest did not answer; see {guest.log(cls.machine)}")
        cls.answers = {**json.loads(text), "seconds": round(time.monotonic() - began)}
        result.write_text(json.dumps(cls.answers))

    def check(self, *questions: str) -> None:
        for question in questions:
            problems = self.answers.get(question, ["was not asked"])
            if problems:
                self.fail("\n".join([question, *problems]))

    def check_both(self, question: str) -> None:
        self.check(f"MPICH: {question}", f"Open MPI: {question}")

    def test_machine(self):
        """The guest is what it should be; else the rest would say nothing."""
        self.check("machine")
        self.assertEqual(self.answers["shape"], self.machine.shape())

    def test_documented_program(self):
        self.check("documented program")

    def test_8_ranks(self):
        self.check("MPICH", "Open MPI")
        self.check_both("8 ranks")

    def test_memory(self):
        self.check_both("memory")

    def test_bound_by_its_launcher(self):
        self.check_both("bound by its launcher")

    def test_cpuset(self):
        self.check_both("cpuset")

    def test_cpuset_that_changes_in_between(self):
        self.check_both("cpuset in between")

    def test_cpus_offline(self):
        self.check_both("offline")

    def test_cpus_that_go_offline_in_between(self):
        self.check_both("offline in between")

    def test_mpibind_run(self):
        self.check_both("mpibind run")


class Sequential(OfMachine, unittest.TestCase):
    number = 0


class BareMetal(OfMachine, unittest.TestCase):
    number = 1


class Alternating(OfMachine, unittest.TestCase):
    number = 2


class FourNodes(OfMachine, unittest.TestCase):
    number = 3


class SlowMemory(OfMachine, unittest.TestCase):
    number = 4


class Amd(OfMachine, unittest.TestCase):
    number = 5


class Cpus64(OfMachine, unittest.TestCase):
    number = 6


class Cpus72(OfMachine, unittest.TestCase):
    number = 7

    def test_lines_of_the_documentation(self):
        self.check("four lines", "eight lines")


if __name__ == "__main__":
    support.main()
