"""Everything that is printed, as it stands in test-suite/expected/text.

Accept a change with ``MPIBIND_ACCEPT=1 python test_text.py``, and read the difference in git.
"""

import itertools
import os
import unittest

import support

import mpibind

FOLDER = support.EXPECTED / "text"
ACCEPT = os.environ.get("MPIBIND_ACCEPT") == "1"


def printed(machine: mpibind.Topology) -> str:
    """Print a machine, a mapping and its variables."""
    mapping = machine.map(2)
    handle_text = [f"{name}={value}" for name, value in mapping.env(1, omp_affinity=True).items()]
    # The path of the checkout is no part of what is compared.
    first, *rest = str(machine).splitlines()
    lines = [first.split("/")[-1].replace('":', ":"), *rest, "", str(mapping), "", *handle_text, ""]
    return "\n".join(lines)


def in_one_order(text: str) -> str:
    """Sort the lines of memories at one place: libhwloc's versions differ in their order."""

    def place(line: str) -> str:
        return line.rpartition(" cpus ")[2] if line.startswith("  NUMA node") else ""

    groups = itertools.groupby(text.splitlines(), place)
    return "\n".join(line for cpus, lines in groups for line in (sorted(lines) if cpus else lines))


class Printed(unittest.TestCase):
    maxDiff = None

    def test_every_machine(self):
        FOLDER.mkdir(exist_ok=True)
        for path in support.MACHINES:
            with self.subTest(path.stem):
                text = printed(mpibind.Topology.from_xml(path))
                expected = FOLDER / f"{path.stem}.txt"
                if ACCEPT:
                    expected.write_text(text)
                self.assertEqual(in_one_order(text), in_one_order(expected.read_text()))

    def test_nothing_is_left_over(self):
        stems = {path.stem for path in support.MACHINES}
        self.assertEqual({path.stem for path in FOLDER.glob("*.txt")}, stems)

    def test_short_forms(self):
        node = mpibind.Topology.from_synthetic("numa:2 core:4 pu:2", gpus=[1])
        self.assertEqual(
            repr(node),
            '<Topology "numa:2 core:4 pu:2": 16 PUs, 8 cores, 2 NUMA nodes, 1 GPUs>',
        )
        self.assertEqual(repr(node.map(3)), "<Mapping of 3 tasks>")

    def test_many_tasks_are_printed_in_columns(self):
        lines = str(mpibind.Topology.from_synthetic("core:16 pu:1").map(16)).splitlines()
        self.assertEqual(lines[9], "mpibind: task  9 nths  1 gpus  cpus 9")
        self.assertEqual(lines[10], "mpibind: task 10 nths  1 gpus  cpus 10")

    def test_what_a_user_should_know_is_a_warning(self):
        node = mpibind.Topology.from_synthetic("numa:4 core:4 pu:2")
        with self.assertWarnsRegex(UserWarning, "smt=1 is not applied.*greedy=False") as caught:
            node.map(2, smt=1)
        self.assertEqual(caught.filename, __file__)
        handle = mpibind.MpibindHandle(2, smt=1)
        handle.topology_file = support.ROOT / "test-suite/topologies/epyc-7763-nps4-8gpu.xml"
        with self.assertWarnsRegex(UserWarning, "smt=1 is not applied") as caught:
            handle.mpibind()
        self.assertEqual(caught.filename, __file__)


if __name__ == "__main__":
    support.main()
