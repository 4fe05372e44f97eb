"""mpibind.mpi under real MPI: MPICH from PyPI, on one node and on several pretended ones."""

import unittest

import mpi_cases
import mpi_support
import support
from mpi_support import HOST, MPICH

# Ways to pretend several nodes: MPICH splits the ranks itself, or its launcher starts two groups.
CLIQUES = {"MPIR_CVAR_NUM_CLIQUES": "2"}
BLOCKS = {**CLIQUES, "MPIR_CVAR_CLIQUES_BY_BLOCK": "1"}


class Bind(mpi_cases.Bind):
    mpi = MPICH

    def test_two_nodes_with_their_ranks_in_turn(self):
        self.check(8, nodes=2, env=CLIQUES)

    def test_two_nodes_with_their_ranks_in_blocks(self):
        self.check(8, nodes=2, env=BLOCKS)

    def test_two_nodes_of_the_launcher(self):
        launcher = ("-launcher", "fork", "-iface", "lo", "-hosts", "n0:4,n1:4")
        self.check(8, nodes=2, launcher=launcher)

    def test_lines_of_two_nodes(self):
        lines = self.mpi.run(8, "hello.py", env=CLIQUES).splitlines()
        self.check_lines(lines, [(HOST, rank // 2, 4) for rank in range(8)])

    def test_many_calls(self):
        """Communicators are given back: MPICH has two thousand of them, others many more."""
        self.assertEqual(self.mpi.run_json(2, "check_details.py", "many"), ["ok", "ok"])


class Nodes(mpi_cases.Checks):
    """Where Split_type is too fine, ranks are grouped by host; else its word stands."""

    mpi = MPICH

    def test_ranks_that_mpi_left_alone_are_grouped(self):
        env = {"MPIR_CVAR_NUM_CLIQUES": "4"}
        found = self.mpi.run_json(4, "check_details.py", "regroup", env=env)
        self.assertEqual(found[0], [0, 4, 1])  # local rank, local size, warnings
        self.assertEqual(found[1:], [[rank, 4, 0] for rank in range(1, 4)])

    def test_other_hosts_are_not_grouped(self):
        # One rank with another host key is alone for good; the others are of one host.
        env = {"MPIR_CVAR_NUM_CLIQUES": "4"}
        found = self.mpi.run_json(4, "check_details.py", "regroup", "2", env=env)
        self.assertEqual(found, [[0, 3, 1], [1, 3, 0], [0, 1, 0], [2, 3, 0]])

    def test_pretended_nodes_stay(self):
        # Three ranks on two nodes: one is alone, but not all of this host.
        found = self.mpi.run_json(3, "check_details.py", "regroup", env=CLIQUES)
        self.assertEqual(found, [[0, 2, 0], [0, 1, 0], [1, 2, 0]])

    def test_hosts_that_share_a_colour_are_told_apart(self):
        env = {"MPIR_CVAR_NUM_CLIQUES": "4"}
        found = self.mpi.run_json(4, "check_details.py", "regroup-collision", env=env)
        self.assertEqual(found, [[0, 2, 1], [0, 2, 0], [1, 2, 0], [1, 2, 0]])


class Communicators(mpi_cases.Communicators):
    mpi = MPICH

    def test_all_kinds_on_two_nodes(self):
        self.assertEqual(self.mpi.run_json(6, "check_communicators.py", env=CLIQUES), [])


class Errors(mpi_cases.Errors):
    mpi = MPICH

    def test_file_that_is_missing_on_one_node(self):
        words = [f"rank 1 on {HOST}: ", "/nosuch/node.xml", "MPIBIND_TOPOFILE"]
        self.check_error("one-file", "TopologyError", *words, env=CLIQUES)

    def test_cpus_of_another_machine_on_two_nodes(self):
        self.check_error("cpus", "AffinityError", "does not have CPUs", env=CLIQUES)

    def test_leader_that_fails_on_one_of_two_nodes(self):
        self.check_error("leader", "MpibindError", "MemoryError: planted", env=CLIQUES)

    def test_different_parameters_on_two_nodes(self):
        words = ["nthreads=1 on rank 0", "nthreads=2 on rank", "all ranks must"]
        self.check_error("different", "InvalidParameterError", *words, env=CLIQUES)


class Cgroup(mpi_cases.Checks):
    """Real control groups, as a batch system makes them."""

    mpi = MPICH

    def test_rank_that_may_not_use_its_cpus(self):
        folder = support.cpuset_cgroup(self, support.two_cpus(self)[0])
        words = [f"rank 3 on {HOST}: ", "are not allowed to this process"]
        self.check_error("one-cpuset", "AffinityError", *words, details=(folder,))

    def test_quota_limits_threads(self):
        support.two_cpus(self)
        files = {"v1": {"cpu.cfs_quota_us": "150000"}, "v2": {"cpu.max": "150000 100000"}}
        folder = support.make_cgroup(self, "cpu", files)
        how = {"env": {"MPIBIND": "v:2"}}
        line, note = self.mpi.run(1, "check_details.py", "quota", folder, **how).splitlines()
        self.assertIn(" nths 1 gpus ", line)
        told = "the cgroup allows 1.5 CPUs of time for 1 tasks: threads per task are limited to 1"
        self.assertEqual(note, f"{HOST}: {told}")


class OneRank(mpi_cases.OneRank):
    mpi = MPICH


class Mapping(mpi_cases.Mapping):
    mpi = MPICH

    def test_lines_of_another_machine_on_two_nodes(self):
        """Eight ranks on two nodes of 36 cores with two GPUs."""
        lines = self.mpi.run(8, "where.py", env={**BLOCKS, **mpi_cases.TOPOFILE}).splitlines()
        expected = [
            f"{HOST} task {rank}/8: lrank {rank % 4}/4 {mpi_cases.SHARES[rank % 4]}"
            for rank in range(8)
        ]
        self.assertEqual(lines, expected)


class Report(mpi_cases.Report):
    mpi = MPICH

    def test_bound_ranks(self):
        found = self.mpi.run_json(4, "check_report.py", "bound", env=CLIQUES)
        self.assertEqual(found, [])

    def test_lines(self):
        lines = self.mpi.run(4, "check_report.py", "lines", env=BLOCKS).splitlines()
        self.check_lines(lines[:4], [(HOST, rank % 2, 2) for rank in range(4)])
        for line in lines[4:]:
            self.assertTrue(line.startswith(f"{HOST}: "), line)

    def test_letters_that_the_terminal_is_not_set_to(self):
        words = ("-m", "mpibind", "report", "--topology", "/nosuch/n\u00f8de.xml")
        env = self.mpi.environment({"PYTHONIOENCODING": "ascii"})
        found = mpi_support.output(self.mpi.command(2, *words), env)
        self.assertIn('cannot use the topology "/nosuch/n\\xf8de.xml"', found)


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
