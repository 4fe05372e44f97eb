"""Two libraries in one process that each bring a libhwloc: MPI's, and this package's own.

Argument: which is imported first, "mpi" or "mpibind". Rank 0 prints one line of JSON: what each
rank was bound to, and which files of libhwloc are loaded.
"""

import json
import os
import sys
from pathlib import Path

if sys.argv[1] == "mpi":
    from mpi4py import MPI

    import mpibind
else:
    import mpibind

    mpibind.Topology()  # libhwloc is at work before MPI is there
    from mpi4py import MPI

import mpibind.mpi

comm = MPI.COMM_WORLD
node = str(mpibind.Topology())
binding = mpibind.mpi.bind(comm)
assert sorted(os.sched_getaffinity(0)) == list(binding.cpu_list)
assert str(mpibind.Topology()) == node
# libhwloc still works where MPI itself calls it.
comm.Split_type(MPI.COMM_TYPE_SHARED).Free()
maps = Path("/proc/self/maps").read_text().splitlines()
files = {line.split()[-1] for line in maps if "libhwloc.so" in line}
found = comm.gather([list(binding.cpu_list), sorted(files)])
if found is not None:
    print(json.dumps(found))
