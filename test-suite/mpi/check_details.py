"""Details of bind() under several ranks. Argument: which. Rank 0 prints a line for each rank."""

import os
import sys
import warnings

from mpi4py import MPI

import mpibind.mpi

comm = MPI.COMM_WORLD
(detail,) = sys.argv[1:]
if detail == "verbose":
    mpibind.mpi.bind(comm, verbose=comm.rank == 2)
elif detail == "gpus":
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mpibind.mpi.bind(comm, apply=False)
        # The second call finds the value of the first, which is no scheduler's.
        mpibind.mpi.bind(comm, apply=False)
    shown = os.environ["CUDA_VISIBLE_DEVICES"]
    texts = [str(warning.message) for warning in caught]
    if given is None:
        assert not texts, texts
        lines = comm.gather(f"{shown} {os.environ['CUDA_DEVICE_ORDER']}")
    else:
        assert len(texts) == 2 and all(given in text for text in texts), texts
        assert all(warning.filename == __file__ for warning in caught)
        lines = comm.gather("stays" if shown == given else shown)
    if lines is not None:
        print("\n".join(lines))
