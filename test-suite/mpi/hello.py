"""The main job: bind the ranks of an MPI program and say where they are.

mpiexec -n 4 python hello.py
"""

from mpi4py import MPI

import mpibind.mpi

mpibind.mpi.bind(MPI.COMM_WORLD, verbose=True)
