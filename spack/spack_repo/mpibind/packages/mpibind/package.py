"""The name that sites know: spack install mpibind+python, spack load mpibind."""

from spack.package import conflicts, depends_on, license, variant, version, when
from spack_repo.builtin.build_systems.bundle import BundlePackage


class Mpibind(BundlePackage):
    """Maps the tasks of an MPI program, their threads and GPUs to a node, memory first.

    All of it, the command included, is in py-mpibind, which this brings.
    """

    license("MIT")

    version("main")

    variant("python", default=True, description="The Python package, and the command mpibind")
    variant("mpi", default=True, description="With mpi4py, for mpibind.mpi.bind()")
    variant("jupyter", default=False, description="With what runs the cells of a notebook")

    conflicts("~python", msg="the Python package is all that mpibind has: ask for mpibind+python")

    with when("+python"):
        depends_on("py-mpibind", type="run")
        for name in ("mpi", "jupyter"):
            for value in (f"+{name}", f"~{name}"):
                depends_on(f"py-mpibind{value}", type="run", when=value)
