"""Two nodes with host names and shared memory of their own, under three MPI libraries."""

import cluster
import mpi_cases
import support
from mpi_support import INTEL_MPI, MPICH, OPEN_MPI, Mpi

SSH = cluster.HERE / "ssh.sh"


class OneNode(mpi_cases.Bind):
    """Intel MPI, which the ordinary tests do without."""

    mpi = INTEL_MPI


class OneNodeCommunicators(mpi_cases.Communicators):
    mpi = INTEL_MPI


class OneNodeErrors(mpi_cases.Errors):
    mpi = INTEL_MPI


class OneNodeReport(mpi_cases.Report):
    mpi = INTEL_MPI


class TwoNodes(mpi_cases.Checks):
    @classmethod
    def setUpClass(cls):
        cls.nodes = cls.enterClassContext(cluster.Cluster())

    def run_on_nodes(self, mpi: Mpi, script: str, *arguments: object, **env) -> str:
        ranks, each = 8, 4
        prrte = ("--prtemca", "plm_ssh_agent", SSH, "--host", f"n0:{each},n1:{each}")
        prrte += ("--map-by", f"ppr:{each}:node:oversubscribe")
        hydra = ("-launcher", "ssh", "-launcher-exec", SSH, "-iface", "net0", "-hosts", "n0,n1")
        hydra += ("-ppn", each)
        return mpi.run(
            ranks,
            script,
            *arguments,
            around=self.nodes.on("n0"),
            launcher=prrte if mpi is OPEN_MPI else hydra,
            env={**self.nodes.env(), **env},
        )

    def check_all(self, mpi: Mpi) -> None:
        self.check_lines(self.run_on_nodes(mpi, "hello.py").splitlines(), cluster.PLACES)
        self.assertEqual(self.run_on_nodes(mpi, "check_bind.py", 8, 2).strip(), "[]")

    def test_mpich(self):
        self.check_all(MPICH)

    def test_intel_mpi(self):
        self.check_all(INTEL_MPI)

    def test_open_mpi(self):
        self.check_all(OPEN_MPI)

    def test_a_file_that_only_one_node_has(self):
        path = self.nodes.private / "node.xml"
        path.write_text(support.WORKED_EXAMPLE.read_text())
        env = {"MPIBIND_TOPOFILE": str(path)}
        words = ("rank 4 on n1: cannot use the topology", str(path))
        for mpi in (MPICH, INTEL_MPI, OPEN_MPI):
            with self.subTest(mpi.bin.parent.name):
                found = self.run_on_nodes(mpi, "check_errors.py", "map", **env)
                self.check_outcomes(found, "TopologyError", words, ranks=8)

    def test_report(self):
        """Each node tells about itself; rank 0 prints."""
        lines = self.run_on_nodes(MPICH, "check_report.py", "lines").splitlines()
        self.check_lines(lines[:8], cluster.PLACES)
        for line in lines[8:]:
            self.assertRegex(line, "^n[01]: ranks? ")


if __name__ == "__main__":
    support.main()
