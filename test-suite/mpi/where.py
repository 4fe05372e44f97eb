"""Say where the ranks of an MPI program would go; bind nothing.

mpiexec -n 4 python where.py
"""

import mpibind.mpi

mpibind.mpi.map(verbose=True)
