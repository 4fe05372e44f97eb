"""Two libhwlocs in one process: the wheel's own, and the one that an MPI library brings."""

import unittest

import installed
import mpi_support
import support
from mpi_support import MPICH, OPEN_MPI


class TwoLibraries(unittest.TestCase):
    def check(self, mpi: mpi_support.Mpi, loaded: bool) -> None:
        env = {"PYTHONPATH": str(installed.unpacked())}
        for first in ("mpi", "mpibind"):
            with self.subTest(first=first):
                ranks = mpi.run_json(2, "check_imports.py", first, env=env)
                for cpus, files in ranks:
                    self.assertTrue(cpus)
                    self.assertEqual(bool(files), loaded, files)

    def test_open_mpi(self):
        # It brings a shared libhwloc.
        self.check(OPEN_MPI, True)

    def test_mpich(self):
        # Its own is inside its library, as ours is.
        self.check(MPICH, False)


if __name__ == "__main__":
    support.main()
