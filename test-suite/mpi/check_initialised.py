"""bind() before MPI is initialised, and after it is finalised. One rank; prints both errors."""

import mpi4py

mpi4py.rc.initialize = False

from mpi4py import MPI  # noqa: E402  # after the line that it reads

import mpibind  # noqa: E402
import mpibind.mpi  # noqa: E402


def show() -> None:
    try:
        mpibind.mpi.bind()
    except mpibind.MpibindError as error:
        print(f"{type(error).__name__}: {error}")


show()
MPI.Init()
mpibind.mpi.bind().restore()
MPI.Finalize()
show()
