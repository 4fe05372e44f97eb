"""Builds the extension module mpibind._core and the command; pyproject.toml holds the rest."""

import sys
import sysconfig
import warnings
from pathlib import Path

# Called without pip, nobody has looked at [build-system] of pyproject.toml. Environments of Python
# 3.12 and newer have no setuptools.
try:
    import setuptools
    from setuptools_rust import Binding, RustBin, RustExtension, build_rust
except ModuleNotFoundError:
    build_rust = None
if build_rust is None or int(setuptools.__version__.partition(".")[0]) < 77:
    sys.exit(
        "error: setuptools or setuptools-rust is missing, or setuptools is older than 77; type\n"
        f"  {sys.executable} -m pip install --upgrade setuptools setuptools-rust"
    )

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "tools"))
import description
import prerequisites


class BuildRust(build_rust):
    """Says what a system lacks before Cargo fails for it."""

    def run(self):
        """Build both."""
        prerequisites.require()
        # To find where scripts go, setuptools-rust asks a command that nobody calls.
        warnings.filterwarnings("ignore", "setup.py install is deprecated")
        super().run()


# One wheel for Python 3.10 and newer, as pyo3's feature abi3-py310 makes it. Python without the
# GIL does not have that stable interface: pyo3 ignores it there; the wheel is for one version.
STABLE = not sysconfig.get_config_var("Py_GIL_DISABLED")

# For each of Cargo's commands: without it, the one that only looks would write Cargo.lock anew.
LOCKED = ["--locked"]

setuptools.setup(
    version=prerequisites.workspace("version"),
    long_description=description.of((HERE / "README.md").read_text("utf-8")),
    long_description_content_type="text/markdown",
    rust_extensions=[
        RustExtension(
            "mpibind._core",
            path="rust/pyext/Cargo.toml",
            binding=Binding.PyO3,
            py_limited_api=STABLE,
            # Optimised in place too: what is tested and timed is what is installed.
            debug=False,
            cargo_manifest_args=LOCKED,
        ),
        # The command, in the folder of console scripts.
        RustBin(
            "mpibind",
            path="rust/cli/Cargo.toml",
            debug=False,
            cargo_manifest_args=LOCKED,
            args=["--profile=command"],
        ),
    ],
    cmdclass={"build_rust": BuildRust},
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if STABLE else {},
)
