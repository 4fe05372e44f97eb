"""mpibind.mpi under real MPI: Open MPI from PyPI, in an environment of its own, on one node."""

import os

import mpi_cases
import support
from mpi_support import HOST, OPEN_MPI


class Bind(mpi_cases.Bind):
    mpi = OPEN_MPI

    def test_masks_that_the_launcher_put_on_the_ranks_are_no_limit(self):
        launcher = ("--bind-to", "core:overload-allowed")
        before, cpus = self.mpi.run_json(1, "check_details.py", "before", launcher=launcher)[0]
        self.assertEqual((len(before), cpus), (1, sorted(os.sched_getaffinity(0))))
        self.check(4, launcher=launcher)
        lines = self.mpi.run(4, "hello.py", launcher=launcher).splitlines()
        self.check_lines(lines, [(HOST, rank, 4) for rank in range(4)])


class Communicators(mpi_cases.Communicators):
    mpi = OPEN_MPI


class Errors(mpi_cases.Errors):
    mpi = OPEN_MPI


class OneRank(mpi_cases.OneRank):
    mpi = OPEN_MPI


class Mapping(mpi_cases.Mapping):
    mpi = OPEN_MPI


class Report(mpi_cases.Report):
    mpi = OPEN_MPI


if __name__ == "__main__":
    support.main()
