"""mpibind.mpi under real MPI: MPICH from PyPI, on one node and on several pretended ones."""

import os
import unittest

import support
from mpi_support import MPICH, Checks

# Ways to pretend several nodes: MPICH splits the ranks itself, or its launcher starts two groups.
CLIQUES = {"MPIR_CVAR_NUM_CLIQUES": "2"}
BLOCKS = {**CLIQUES, "MPIR_CVAR_CLIQUES_BY_BLOCK": "1"}
HOST = os.uname().nodename


class Bind(Checks, unittest.TestCase):
    mpi = MPICH

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
        launcher = ("-launcher", "fork", "-iface", "lo", "-hosts", "n0:4,n1:4")
        self.check(8, nodes=2, launcher=launcher)

    def test_lines(self):
        lines = self.mpi.run(8, "hello.py", env=CLIQUES).splitlines()
        self.check_lines(lines, [(HOST, rank // 2, 4) for rank in range(8)])

    def test_lines_are_printed_whichever_rank_asks(self):
        lines = self.mpi.run(3, "check_details.py", "verbose").splitlines()
        self.assertEqual([line.split()[2] for line in lines], ["0/3:", "1/3:", "2/3:"])

    def test_gpus_of_the_scheduler_stay(self):
        mine = {"CUDA_VISIBLE_DEVICES": "1", "MPIBIND_TOPOFILE": str(support.WORKED_EXAMPLE)}
        output = self.mpi.run(2, "check_details.py", "gpus", env=mine)
        self.assertEqual(output.splitlines(), ["stays", "stays"])

    def test_gpus_are_shown(self):
        env = {"MPIBIND_TOPOFILE": str(support.WORKED_EXAMPLE)}
        output = self.mpi.run(2, "check_details.py", "gpus", env=env)
        self.assertEqual(sorted(output.splitlines()), ["0 PCI_BUS_ID", "1 PCI_BUS_ID"])

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


class Nodes(Checks, unittest.TestCase):
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


class Communicators(Checks, unittest.TestCase):
    mpi = MPICH

    def test_all_kinds(self):
        self.assertEqual(self.mpi.run_json(6, "check_communicators.py"), [])

    def test_all_kinds_on_two_nodes(self):
        self.assertEqual(self.mpi.run_json(6, "check_communicators.py", env=CLIQUES), [])

    def test_mpi_that_is_not_running(self):
        lines = self.mpi.run(1, "check_initialised.py").splitlines()
        self.assertEqual(
            [line.partition(":")[0] for line in lines],
            ["MpibindError", "MpibindError"],
        )
        self.assertIn("MPI is not initialised: call MPI.Init()", lines[0])
        self.assertIn("MPI is finalised already", lines[1])


class Errors(Checks, unittest.TestCase):
    mpi = MPICH

    def test_topology_file_that_is_not_there(self):
        words = [f"rank 0 on {HOST}: ", "/nosuch/node.xml", "No such file"]
        self.check_error("file", "TopologyError", *words)

    def test_file_that_a_variable_names(self):
        env = {"MPIBIND_TOPOFILE": "/nosuch.xml"}
        self.check_error("variable", "TopologyError", "/nosuch.xml", "MPIBIND_TOPOFILE", env=env)

    def test_file_that_is_missing_on_one_node(self):
        words = [f"rank 1 on {HOST}: ", "/nosuch/node.xml", "MPIBIND_TOPOFILE"]
        self.check_error("one-file", "TopologyError", *words, env=CLIQUES)

    def test_value_out_of_range(self):
        self.check_error("value", "InvalidParameterError", "smt=99")

    def test_wrong_type(self):
        words = "nthreads must be an integer, not 'four' (str)"
        self.check_error("type", "MpibindError", words)

    def test_cpus_of_another_machine(self):
        words = ["does not have CPUs 90", "another machine?"]
        self.check_error("cpus", "AffinityError", *words)

    def test_cpus_of_another_machine_on_two_nodes(self):
        text = {"env": CLIQUES}
        self.check_error("cpus", "AffinityError", "does not have CPUs", **text)

    def test_leader_that_fails_in_its_own_way(self):
        self.check_error("leader", "MpibindError", f"rank 0 on {HOST}: MemoryError: planted")

    def test_leader_that_fails_on_one_of_two_nodes(self):
        self.check_error("leader", "MpibindError", "MemoryError: planted", env=CLIQUES)

    def test_value_that_is_wrong_on_one_rank(self):
        words = [f"rank 3 on {HOST}: ", 'visible="all"']
        self.check_error("one-value", "InvalidParameterError", *words)

    def test_type_that_is_wrong_on_one_rank(self):
        self.check_error("one-type", "MpibindError", "rank 3 on", "restrict_ids must be")

    def test_word_that_is_wrong_on_one_rank(self):
        self.check_error("one-word", "InvalidParameterError", "rank 3 on", "MPIBIND='vv'")

    def test_different_parameters(self):
        words = ["nthreads=1 on rank 0", "nthreads=2 on rank", HOST, "all ranks must"]
        self.check_error("different", "InvalidParameterError", *words)
        self.check_error("different", "InvalidParameterError", *words, env=CLIQUES)

    def test_different_parameters_on_the_last_rank(self):
        words = ["greedy=True on rank", "greedy=False on rank 3"]
        self.check_error("different-greedy", "InvalidParameterError", *words)

    def test_different_topologies_on_one_node(self):
        words = ["rank 3 on", "topology='", "None on the node's first rank"]
        details = (support.WORKED_EXAMPLE,)
        self.check_error("different-topology", "InvalidParameterError", *words, details=details)

    def test_off_on_one_rank(self):
        words = ["MPIBIND='on' on rank", "MPIBIND='off' on rank 3"]
        self.check_error("different-off", "InvalidParameterError", *words)
        words = ["MPIBIND='off' on rank 0", "MPIBIND='on' on rank"]
        self.check_error("different-off-leader", "InvalidParameterError", *words)

    def test_another_respect_on_one_rank(self):
        # The masks are asked for on some ranks only: nobody may be left waiting.
        for fault in ("different-respect", "different-respect-leader"):
            self.check_error(fault, "InvalidParameterError", "respect='affinity' on rank")


class Cgroup(Checks, unittest.TestCase):
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


class Mapping(Checks, unittest.TestCase):
    mpi = MPICH

    def test_lines_of_another_machine(self):
        """Eight ranks on two nodes of 36 cores with two GPUs."""
        shares = [
            "nths 4 gpus ['0'] cpus [0, 1, 2, 3, 4]",
            "nths 4 gpus ['0'] cpus [5, 6, 7, 8, 9]",
            "nths 4 gpus ['1'] cpus [10, 11, 12, 13]",
            "nths 4 gpus ['1'] cpus [14, 15, 16, 17]",
        ]
        env = {**BLOCKS, "MPIBIND_TOPOFILE": str(support.WORKED_EXAMPLE)}
        lines = self.mpi.run(8, "where.py", env=env).splitlines()
        expected = [
            f"{HOST} task {rank}/8: lrank {rank % 4}/4 {shares[rank % 4]}" for rank in range(8)
        ]
        self.assertEqual(lines, expected)

    def test_get_mapping(self):
        env = {"MPIBIND_TOPOFILE": str(support.WORKED_EXAMPLE)}
        found, *lines = self.mpi.run(4, "check_details.py", "get-mapping", env=env).splitlines()
        self.assertEqual(found, "[true, true, true, true]")
        self.assertEqual(len(lines), 4)


class Report(Checks, unittest.TestCase):
    mpi = MPICH

    def test_bound_ranks(self):
        found = self.mpi.run_json(4, "check_report.py", "bound", env=CLIQUES)
        self.assertEqual(found, [])

    def test_unbound_ranks(self):
        self.assertEqual(self.mpi.run_json(4, "check_report.py", "unbound"), [])

    def test_node_that_cannot_be_discovered(self):
        env = {"MPIBIND_TOPOFILE": "/nosuch.xml", "CUDA_VISIBLE_DEVICES": "3,4"}
        self.assertEqual(self.mpi.run_json(2, "check_report.py", "broken", env=env), [])

    def test_lines(self):
        lines = self.mpi.run(4, "check_report.py", "lines", env=BLOCKS).splitlines()
        self.check_lines(lines[:4], [(HOST, rank % 2, 2) for rank in range(4)])
        for line in lines[4:]:
            self.assertTrue(line.startswith(f"{HOST}: "), line)


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
