"""mpibind.mpi under real MPI: MPICH from PyPI, on one node and on two pretended ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path
from typing import TYPE_CHECKING

import support

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRIPTS = support.ROOT / "test-suite" / "mpi"
MPIEXEC = Path(sys.executable).parent / "mpiexec"

# Ways to pretend several nodes: MPICH splits the ranks itself, or its launcher starts two groups.
CLIQUES = {"MPIR_CVAR_NUM_CLIQUES": "2"}
BLOCKS = {**CLIQUES, "MPIR_CVAR_CLIQUES_BY_BLOCK": "1"}


def mpiexec(
    ranks: int,
    script: str,
    *arguments: object,
    env: dict[str, str] | None = None,
    launcher: Sequence[str] = (),
) -> str:
    command = [MPIEXEC, *launcher, "-n", ranks, sys.executable, SCRIPTS / script, *arguments]
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Bind(unittest.TestCase):
    def check(self, ranks: int, nodes: int = 1, env: dict[str, str] | None = None) -> None:
        output = mpiexec(ranks, "check_bind.py", ranks, nodes, env=env)
        self.assertEqual(json.loads(output), [])

    def test_1_rank(self):
        self.check(1)

    def test_2_ranks(self):
        self.check(2)

    def test_4_ranks(self):
        self.check(4)

    def test_16_ranks(self):
        self.check(16)

    def test_two_nodes_with_their_ranks_in_turn(self):
        self.check(8, nodes=2, env=CLIQUES)

    def test_two_nodes_with_their_ranks_in_blocks(self):
        self.check(8, nodes=2, env=BLOCKS)

    def test_two_nodes_of_the_launcher(self):
        launcher = ["-launcher", "fork", "-iface", "lo", "-hosts", "n0:4,n1:4"]
        output = mpiexec(8, "check_bind.py", 8, 2, launcher=launcher)
        self.assertEqual(json.loads(output), [])

    def test_lines(self):
        lines = mpiexec(8, "hello.py", env=CLIQUES).splitlines()
        host = os.uname().nodename
        self.assertEqual(len(lines), 8)
        for rank, line in enumerate(lines):
            start = f"{host} task {rank}/8: lrank {rank // 2}/4 nths "
            self.assertTrue(line.startswith(start), line)
            self.assertRegex(line, r" nths \d+ gpus \[.*\] cpus \[\d+(, \d+)*\]$")

    def test_lines_are_printed_whichever_rank_asks(self):
        lines = mpiexec(3, "check_details.py", "verbose").splitlines()
        self.assertEqual([line.split()[2] for line in lines], ["0/3:", "1/3:", "2/3:"])

    def test_gpus_of_the_scheduler_stay(self):
        mine = {"CUDA_VISIBLE_DEVICES": "1", "MPIBIND_TOPOFILE": str(support.WORKED_EXAMPLE)}
        output = mpiexec(2, "check_details.py", "gpus", env=mine)
        self.assertEqual(output.splitlines(), ["stays", "stays"])

    def test_gpus_are_shown(self):
        env = {"MPIBIND_TOPOFILE": str(support.WORKED_EXAMPLE)}
        output = mpiexec(2, "check_details.py", "gpus", env=env)
        self.assertEqual(sorted(output.splitlines()), ["0 PCI_BUS_ID", "1 PCI_BUS_ID"])


class Errors(unittest.TestCase):
    def check(self, fault: str, kind: str, *words: str, env: dict[str, str] | None = None) -> None:
        outcomes = json.loads(mpiexec(4, "check_errors.py", fault, env=env))
        self.assertEqual(len(outcomes), 4)
        # One error for all, nothing changed on any.
        self.assertEqual(outcomes, [outcomes[0]] * 4)
        found, message, untouched = outcomes[0]
        self.assertEqual((found, untouched), (kind, True), message)
        for word in [f"on {os.uname().nodename}", *words]:
            self.assertIn(word, message)

    def test_topology_file_that_is_not_there(self):
        self.check("file", "TopologyError", "rank 0", "/nosuch/node.xml", "No such file")

    def test_file_that_a_variable_names(self):
        env = {"MPIBIND_TOPOFILE": "/nosuch.xml"}
        self.check("variable", "TopologyError", "/nosuch.xml", "MPIBIND_TOPOFILE", env=env)

    def test_value_out_of_range(self):
        self.check("value", "InvalidParameterError", "smt=99")

    def test_wrong_type(self):
        self.check("type", "MpibindError", "nthreads must be an integer, not 'four' (str)")

    def test_cpus_of_another_machine(self):
        self.check("cpus", "AffinityError", "does not have CPUs")

    def test_cpus_of_another_machine_on_two_nodes(self):
        self.check("cpus", "AffinityError", "does not have CPUs", env=CLIQUES)

    def test_rank_that_cannot_be_bound(self):
        self.check("one-rank", "AffinityError", "rank 3", "planted")


class Module(unittest.TestCase):
    def test_without_mpi4py_the_error_says_how_to_get_it(self):
        support.run(
            """
            import sys
            sys.modules["mpi4py"] = None
            try:
                import mpibind.mpi
            except ImportError as error:
                assert "pip install 'mpibind[mpi]'" in str(error), error
            else:
                raise AssertionError("imported")
            """
        )


if __name__ == "__main__":
    support.main()
