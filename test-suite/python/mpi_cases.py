"""What holds under every MPI library, on one node. A test file says which library it is.

What needs several nodes, real or pretended, is tested by whoever knows how to have them.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

import support
from mpi_support import HOST, SCRIPTS, Mpi, output

sys.path.insert(0, str(support.ROOT / "test-suite" / "topologies"))
import trees

TOPOFILE = {"MPIBIND_TOPOFILE": str(support.WORKED_EXAMPLE)}

# The shares of four ranks on the worked example, as bind() prints them.
SHARES = [
    "nths 4 gpus ['0'] cpus [0, 1, 2, 3, 4]",
    "nths 4 gpus ['0'] cpus [5, 6, 7, 8, 9]",
    "nths 4 gpus ['1'] cpus [10, 11, 12, 13]",
    "nths 4 gpus ['1'] cpus [14, 15, 16, 17]",
]


class Checks(unittest.TestCase):
    """How outcomes are compared."""

    mpi: Mpi

    def check(self, ranks: int, nodes: int = 1, **how) -> None:
        """Bind so many ranks; each checks itself."""
        self.assertEqual(self.mpi.run_json(ranks, "check_bind.py", ranks, nodes, **how), [])

    def check_error(self, fault: str, kind: str, *words: str, details: tuple = (), **how) -> None:
        """Make a fault on four ranks; all must raise one error, and be as before."""
        self.check_outcomes(self.mpi.run(4, "check_errors.py", fault, *details, **how), kind, words)

    def check_outcomes(self, printed: str, kind: str, words: tuple[str, ...], ranks: int = 4):
        """Check what check_errors.py printed."""
        outcomes = json.loads(printed)
        self.assertEqual(outcomes, [outcomes[0]] * ranks)
        found, message, untouched = outcomes[0]
        self.assertEqual((found, untouched), (kind, True), message)
        for word in words:
            self.assertIn(word, message)

    def check_lines(self, lines: list[str], places: list[tuple[str, int, int]]) -> None:
        """Compare the form of printed lines with each rank's host, local rank and size."""
        self.assertEqual(len(lines), len(places), lines)
        for rank, (line, (host, local_rank, local_size)) in enumerate(
            zip(lines, places, strict=True)
        ):
            start = f"{host} task {rank}/{len(places)}: lrank {local_rank}/{local_size} nths "
            self.assertTrue(line.startswith(start), f"{line}\n{start}")
            self.assertRegex(line, r" nths \d+ gpus \[.*\] cpus \[\d+(, \d+)*\]$")


class Bind(Checks):
    def test_1_rank(self):
        self.check(1)

    def test_2_ranks(self):
        self.check(2)

    def test_4_ranks(self):
        self.check(4)

    def test_16_ranks(self):
        self.check(16)

    def test_without_a_launcher(self):
        """A script that is started by hand is one rank, and gets the whole node."""
        words = (self.mpi.bin / "python", SCRIPTS / "hello.py")
        line = output([*map(str, words)], self.mpi.environment())
        self.check_lines(line.splitlines(), [(HOST, 0, 1)])
        self.assertTrue(line.endswith(f" cpus {sorted(os.sched_getaffinity(0))}\n"), line)

    def test_lines(self):
        lines = self.mpi.run(4, "hello.py").splitlines()
        self.check_lines(lines, [(HOST, rank, 4) for rank in range(4)])

    def test_lines_are_printed_whichever_rank_asks(self):
        lines = self.mpi.run(3, "check_details.py", "verbose").splitlines()
        self.assertEqual([line.split()[2] for line in lines], ["0/3:", "1/3:", "2/3:"])

    def test_gpus_of_the_scheduler_restrict_the_mapping(self):
        env = {"CUDA_VISIBLE_DEVICES": "1", **TOPOFILE}
        found = self.mpi.run_json(2, "check_details.py", "gpus", env=env)
        note = 'CUDA_VISIBLE_DEVICES="1" shows 1 of the 2 GPUs of this node; only these are mapped'
        self.assertEqual(found, [["1", "PCI_BUS_ID", ["1"], [note]]] * 2)

    def test_gpus_are_shown(self):
        found = self.mpi.run_json(2, "check_details.py", "gpus", env=TOPOFILE)
        self.assertEqual(found, [[str(gpu), "PCI_BUS_ID", [str(gpu)], []] for gpu in range(2)])

    def own_gpus(self, name: str, *values: str, env: dict[str, str]) -> object:
        """Bind four ranks, each of which has its own value of a variable."""
        return self.mpi.run_json(4, "check_details.py", "own-gpus", name, *values, env=env)

    def test_ranks_with_gpus_of_their_own_keep_them_and_go_near_them(self):
        # GPU 3 is on NUMA node 0, GPU 0 on node 3.
        values = ["3", "1", "0", "2"]
        file = support.ROOT / "test-suite" / "topologies" / "milan-a100-4gpu.xml"
        env = {"MPIBIND_TOPOFILE": str(file)}
        found = self.own_gpus("CUDA_VISIBLE_DEVICES", *values, env=env)
        cpus = {"3": 0, "2": 16, "1": 32, "0": 48}
        self.assertEqual(found, [[[gpu], cpus[gpu], gpu, 1] for gpu in values])

    def test_ranks_with_one_setting_that_differs(self):
        values = ["0,1", "0,1", "0,1", "1"]
        found = self.own_gpus("CUDA_VISIBLE_DEVICES", *values, env=TOPOFILE)
        self.assertEqual([gpus for gpus, *_ in found], [["0", "1"]] * 3 + [["1"]])
        self.assertEqual([shown for _, _, shown, _ in found], values)

    def test_ranks_that_may_open_different_gpus(self):
        """Each rank is in a device cgroup of its own, where its GPU is number 0."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        roots = []
        for rank in range(4):
            root = Path(folder, str(rank))
            trees.write_machine("milan-a100-4gpu", root)
            for minor in {0, 1, 2, 3} - {rank}:
                (root / f"dev/nvidia{minor}").unlink()
            roots.append(str(root))
        found = self.own_gpus("HWLOC_FSROOT", *roots, env={"CUDA_VISIBLE_DEVICES": "0"})
        # Minor numbers run against PCI addresses: rank 0 has the GPU at c1:00.0.
        self.assertEqual([gpus for gpus, *_ in found], [["3"], ["2"], ["1"], ["0"]])
        self.assertEqual([cpu for _, cpu, *_ in found], [0, 16, 32, 48])

    def test_messages(self):
        """One split, a message to each rank of the node, one reduction; more only if it must be."""
        found = self.mpi.run_json(3, "check_details.py", "messages")
        leader = ["split", "send", "send", "reduce numbers"]
        self.assertEqual(found, [leader, *[["split", "receive", "reduce numbers"]] * 2])

    def test_respect_affinity_takes_the_masks_of_all_ranks_of_the_node(self):
        found = self.mpi.run_json(4, "check_details.py", "respect")
        self.assertEqual(found, ["ok"] * 4)

    def test_off(self):
        found = self.mpi.run_json(4, "check_details.py", "off", env={"MPIBIND": "off"})
        self.assertEqual(found, [[rank, 4] for rank in range(4)])

    def test_more_ranks_than_cpus(self):
        cpu = min(os.sched_getaffinity(0))
        found = self.mpi.run_json(6, "check_details.py", "cpus", env={"MPIBIND_RESTRICT": str(cpu)})
        self.assertEqual(found, [[cpu]] * 6)

    def test_import_order(self):
        for first in ("mpi", "mpibind"):
            with self.subTest(first):
                found = self.mpi.run_json(2, "check_imports.py", first)
                self.assertEqual(len(found), 2)
                for _, libraries in found:
                    self.assertLessEqual(len(libraries), 1, "one libhwloc serves both")


class Communicators(Checks):
    def test_all_kinds(self):
        self.assertEqual(self.mpi.run_json(6, "check_communicators.py"), [])

    def test_mpi_that_is_not_running(self):
        lines = self.mpi.run(1, "check_initialised.py").splitlines()
        self.assertEqual(
            [line.partition(":")[0] for line in lines],
            ["MpibindError", "MpibindError"],
        )
        self.assertIn("MPI is not initialised: call MPI.Init()", lines[0])
        self.assertIn("MPI is finalised already", lines[1])


class Errors(Checks):
    def test_topology_file_that_is_not_there(self):
        words = [f"rank 0 on {HOST}: ", "/nosuch/node.xml", "No such file"]
        self.check_error("file", "TopologyError", *words)

    def test_file_that_a_variable_names(self):
        env = {"MPIBIND_TOPOFILE": "/nosuch.xml"}
        self.check_error("variable", "TopologyError", "/nosuch.xml", "MPIBIND_TOPOFILE", env=env)

    def test_value_out_of_range(self):
        self.check_error("value", "InvalidParameterError", "smt=99")

    def test_wrong_type(self):
        words = "nthreads must be an integer, not 'four' (str)"
        self.check_error("type", "MpibindError", words)

    def test_cpus_of_another_machine(self):
        words = ["does not have CPUs 90", "another machine?"]
        self.check_error("cpus", "AffinityError", *words)

    def test_leader_that_fails_in_its_own_way(self):
        self.check_error("leader", "MpibindError", f"rank 0 on {HOST}: MemoryError: planted")

    def test_leader_in_whose_core_a_defect_shows(self):
        words = f"rank 0 on {HOST}: PanicException: planted"
        self.check_error("leader-panic", "MpibindError", words)

    def test_value_that_is_wrong_on_one_rank(self):
        words = [f"rank 3 on {HOST}: ", 'visible="all"']
        self.check_error("one-value", "InvalidParameterError", *words)

    def test_type_that_is_wrong_on_one_rank(self):
        self.check_error("one-type", "MpibindError", "rank 3 on", "restrict_ids must be")

    def test_word_that_is_wrong_on_one_rank(self):
        self.check_error("one-word", "InvalidParameterError", "rank 3 on", "MPIBIND='vv'")

    def test_system_call_that_is_forbidden_to_one_rank(self):
        words = ("rank 3 on", "the kernel forbids it", "a container may block sched_setaffinity")
        self.check_error("one-seccomp", "AffinityError", *words)

    def test_different_parameters(self):
        words = ["nthreads=1 on rank 0", "nthreads=2 on rank", HOST, "all ranks must"]
        self.check_error("different", "InvalidParameterError", *words)

    def test_different_parameters_on_the_last_rank(self):
        words = ["greedy=True on rank", "greedy=False on rank 3"]
        self.check_error("different-greedy", "InvalidParameterError", *words)

    def test_different_topologies_on_one_node(self):
        words = ["rank 3 on", "topology='", "None on the node's first rank"]
        details = (support.WORKED_EXAMPLE,)
        self.check_error("different-topology", "InvalidParameterError", *words, details=details)

    def test_different_topologies_that_come_from_the_same_text(self):
        words = [r"rank 3 on", 'topology="core:2 pu:1" (digest', "on the node's first rank"]
        self.check_error("different-gpus", "InvalidParameterError", *words)

    def test_off_on_one_rank(self):
        words = ["MPIBIND='on' on rank", "MPIBIND='off' on rank 3"]
        self.check_error("different-off", "InvalidParameterError", *words)
        words = ["MPIBIND='off' on rank 0", "MPIBIND='on' on rank"]
        self.check_error("different-off-leader", "InvalidParameterError", *words)

    def test_another_respect_on_one_rank(self):
        # The masks are asked for on some ranks only: nobody may be left waiting.
        for fault in ("different-respect", "different-respect-leader"):
            self.check_error(fault, "InvalidParameterError", "respect='affinity' on rank")

    def test_more_ranks_than_a_node_may_have(self):
        words = [f"rank 0 on {HOST}: ", "ntasks=2097152 is not legal: it must be 1 to 1048576"]
        self.check_error("ntasks", "InvalidParameterError", *words)


class OneRank(Checks):
    """What befalls one rank is the same for all."""

    def told(self, what: str) -> list[list]:
        return self.mpi.run_json(3, "check_one_rank.py", what)

    def check_all(self, what: str, error: str) -> None:
        self.assertEqual(self.told(what), [[error, True, []]] * 3)

    def test_environment_that_cannot_be_set(self):
        error = f"MpibindError: rank 2 on {HOST}: RuntimeError: planted"
        self.check_all("environment", error)

    def test_report_that_fails(self):
        error = f"MpibindError: rank 2 on {HOST}: RuntimeError: planted"
        self.check_all("report", error)

    def test_warning_that_is_an_error(self):
        [[error, *_], *_] = found = self.told("warning")
        self.assertEqual(found, [[error, True, []]] * 3)
        self.assertRegex(error, f"^UserWarning: rank 2 on {HOST}: .*threadpoolctl failed")

    def test_pools_that_cannot_be_resized(self):
        *others, last = self.told("pools")
        self.assertEqual(others, [[None, False, []]] * 2)
        self.assertEqual(last[:2], [None, False])
        self.assertRegex(last[2][0], r"threadpoolctl failed \(RuntimeError: planted\)$")

    def test_lines_that_cannot_be_printed(self):
        first, *others = self.told("print")
        self.assertEqual(others, [[None, False, []]] * 2)
        self.assertEqual(first[:2], [None, False])
        self.assertRegex(first[2][0], "could not be printed: .*No space left")

    def test_warnings_that_cannot_be_given(self):
        """Standard output is closed, and a hook of the program fails."""
        self.assertEqual(self.told("silent"), [[None, False, []]] * 3)


class Mapping(Checks):
    def test_lines_of_another_machine(self):
        lines = self.mpi.run(4, "where.py", env=TOPOFILE).splitlines()
        expected = [
            f"{HOST} task {rank}/4: lrank {rank}/4 {share}" for rank, share in enumerate(SHARES)
        ]
        self.assertEqual(lines, expected)

    def test_get_mapping(self):
        found, *lines = self.mpi.run(
            4, "check_details.py", "get-mapping", env=TOPOFILE
        ).splitlines()
        self.assertEqual(found, "[true, true, true, true]")
        self.assertEqual(len(lines), 4)


class Report(Checks):
    def test_unbound_ranks(self):
        self.assertEqual(self.mpi.run_json(4, "check_report.py", "unbound"), [])

    def test_node_that_cannot_be_discovered(self):
        env = {"MPIBIND_TOPOFILE": "/nosuch.xml", "CUDA_VISIBLE_DEVICES": "3,4"}
        self.assertEqual(self.mpi.run_json(2, "check_report.py", "broken", env=env), [])
