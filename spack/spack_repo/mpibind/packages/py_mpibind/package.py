"""The Python package mpibind, built from the checkout that this recipe is in."""

from pathlib import Path

from spack.package import (
    EnvironmentModifications,
    Executable,
    SkipTest,
    depends_on,
    join_path,
    license,
    variant,
    version,
)
from spack_repo.builtin.build_systems.python import PythonPackage


class PyMpibind(PythonPackage):
    """Maps the tasks of an MPI program, their threads and GPUs to a node, memory first."""

    # The checkout: five folders above that of this file.
    git = str(Path(__file__).resolve().parents[5])

    license("MIT")

    version("main", branch="main")

    variant("mpi", default=True, description="With mpi4py, for mpibind.mpi.bind()")
    variant("jupyter", default=False, description="With what runs the cells of a notebook")

    # What pyproject.toml and Cargo.toml ask for; test-suite/python/test_spack.py compares.
    depends_on("c", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("py-setuptools@77.0.1:", type="build")
    depends_on("py-setuptools-rust@1.10:", type="build")
    depends_on("rust@1.85:", type="build")

    depends_on("hwloc@2.3:2")
    depends_on("python@3.10:", type=("build", "run"))
    depends_on("py-numpy@1.22:", type="run")
    depends_on("py-mpi4py@3.1.4:", type="run", when="+mpi")
    depends_on("py-ipykernel@6.20:", type="run", when="+jupyter")
    depends_on("py-ipyparallel@8.6:", type="run", when="+jupyter")

    def setup_build_environment(self, env: EnvironmentModifications) -> None:
        """Keep what Cargo downloads out of the home directory."""
        env.set("CARGO_HOME", join_path(self.stage.path, "cargo"))

    @property
    def import_modules(self) -> list[str]:
        """The first is one small file; the second is the extension, which needs libhwloc."""
        with_mpi = ["mpibind.mpi"] if self.spec.satisfies("+mpi") else []
        return ["mpibind", "mpibind._core", *with_mpi]

    def test_map(self) -> None:
        """Map two tasks to a machine that is made up."""
        mpibind = Executable(join_path(self.prefix.bin, "mpibind"))
        machine = ("--synthetic", "numa:2 core:2 pu:1")
        out = mpibind("map", "-n", "2", *machine, output=str.split, error=str.split)
        assert "task  1 nths  2 gpus  cpus 2-3" in out, out

    def test_run(self) -> None:
        """Start a program bound."""
        mpibind = Executable(join_path(self.prefix.bin, "mpibind"))
        out = mpibind("run", "--", "echo", "started", output=str.split, error=str.split)
        assert "started" in out, out

    def test_bind(self) -> None:
        """Bind a process to this machine, and go back."""
        program = "import mpibind\nwith mpibind.bind(0, 1) as b: print('bound', b.applied)"
        out = self.module.python("-c", program, output=str.split, error=str.split)
        assert "bound True" in out, out

    def test_bind_mpi(self) -> None:
        """Bind the one rank of an MPI program."""
        if not self.spec.satisfies("+mpi"):
            raise SkipTest("it was installed without MPI")
        program = "import mpibind.mpi\nprint('bound', mpibind.mpi.bind().applied)"
        out = self.module.python("-c", program, output=str.split, error=str.split)
        assert "bound True" in out, out
