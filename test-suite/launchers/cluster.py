"""Two nodes on one machine, as namespaces of Linux: for launchers, and with Slurm's daemons.

Needs root, and what ``tools/prerequisites.py --launchers`` looks for. Nothing leaves the machine:
each node has a network of its own, with a cable to the other.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))

if TYPE_CHECKING:
    from collections.abc import Callable

NODES = ("n0", "n1")

# A host for Slurm's controller and for its users, on the network of n0.
LOGIN = "login"

# Where eight ranks are, four on each node: host, local rank, local size.
PLACES = [(node, rank, 4) for node in NODES for rank in range(4)]


class Cluster:
    """Two nodes; a context manager."""

    def __enter__(self) -> Cluster:
        self.folder = Path(tempfile.mkdtemp(prefix="mpibind-nodes-"))
        self.folder.chmod(0o755)
        self.daemons: list[subprocess.Popen[str]] = []
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in reversed(self.daemons):
            if daemon.stdout is not None:
                daemon.stdout.close()
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Set up the network."""
        self.private = self.folder / "private"
        self.private.mkdir()
        addresses = {node: f"10.99.0.{number}" for number, node in enumerate(NODES, start=1)}
        lines = [f"{address} {node}" for node, address in addresses.items()]
        lines.append(f"{addresses['n0']} {LOGIN}")
        (self.folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
        # What some systems have in its place, BBR, sends by timers, and these are late where ranks
        # are more than CPUs: jobs of a second take a minute.
        plain = "echo reno >/proc/sys/net/ipv4/tcp_congestion_control || :"
        # A namespace lives as long as a process in it.
        script = f"{plain}; ip link set lo up; echo up; exec sleep 3600"
        holding = ["unshare", "--net", "--", "sh", "-ec", script]
        for node in NODES:
            holder = subprocess.Popen(holding, stdout=subprocess.PIPE, text=True)
            self.daemons.append(holder)
            if holder.stdout is None or holder.stdout.readline() != "up\n":
                raise AssertionError(f"the network of {node} could not be made")
            (self.folder / f"{node}.pid").write_text(str(holder.pid))
        (self.folder / f"{LOGIN}.pid").write_text(self.pid("n0"))
        # A cable from one to the other, and to nowhere else.
        end0, end1 = ("name", "net0", "netns", self.pid("n0")), ("net0", "netns", self.pid("n1"))
        run("ip", "link", "add", *end0, "type", "veth", "peer", "name", *end1)
        for node, address in addresses.items():
            ip = (*self.network_of(node), "ip")
            run(*ip, "address", "add", f"{address}/24", "dev", "net0")
            run(*ip, "link", "set", "net0", "up")
        # The kernel notices the other end within a second, and until then drops what is sent. Intel
        # MPI gives up where others try again.
        for node in NODES:
            wait(lambda node=node: self.is_connected(node), f"{node} is not connected")

    def is_connected(self, node: str) -> bool:
        """Return whether a node's cable is ready."""
        return " state UP " in run(*self.network_of(node), "ip", "link", "show", "dev", "net0")

    def pid(self, node: str) -> str:
        """Return a process of a node's network."""
        return (self.folder / f"{node}.pid").read_text()

    def network_of(self, node: str) -> tuple[str, ...]:
        """Return the words that come before a command to run it in a node's network."""
        return ("nsenter", "--net", "--target", self.pid(node))

    def env(self) -> dict[str, str]:
        """Return what node.sh needs."""
        return {"NODES": str(self.folder)}

    def on(self, node: str) -> tuple[str, ...]:
        """Return the words that come before a command to run it on a node."""
        return (str(HERE / "node.sh"), node)


class Slurm(Cluster):
    """The same with Slurm: nodes of 8 CPUs and, if asked for, make-believe GPUs."""

    def __init__(self, gpus: int = 0) -> None:
        self.gpus = gpus

    def start(self) -> None:
        """Set up the network, then the daemons, and wait until the nodes are idle."""
        super().start()
        self.write_configuration()
        munge, slurm = self.folder / "munge", self.folder / "slurm.conf"
        munge.mkdir(mode=0o755)
        key = munge / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = ("key-file=key", "socket=socket", "pid-file=pid", "seed-file=seed", "log-file=log")
        options = [f"--{name}={munge / file}" for name, file in (f.split("=") for f in files)]
        self.daemon("munged", "--force", "--foreground", *options)
        wait(lambda: (munge / "socket").exists(), "munged has no socket")
        self.daemon(*self.on(LOGIN), "slurmctld", "-D", "-i", "-f", slurm)
        for node in NODES:
            self.daemon(*self.on(node), "slurmd", "-D", "-N", node, "-f", slurm)
        wait(lambda: self.idle_nodes() == "2", "Slurm's nodes do not become idle")

    def write_configuration(self) -> None:
        """Write slurm.conf and gres.conf."""
        here, gres = self.folder, ""
        if self.gpus:
            (here / "dev").mkdir()
            for number in range(self.gpus):
                # Like /dev/null: Slurm counts the files, and nobody opens them.
                null = os.makedev(1, 3)
                os.mknod(here / "dev" / f"gpu{number}", 0o666 | 0o020000, null)
            last = self.gpus - 1
            (here / "gres.conf").write_text(f"Name=gpu File={here}/dev/gpu[0-{last}]\n")
            gres = f" Gres=gpu:{self.gpus}"
        for folder in ("state", "spool.n0", "spool.n1", "tmp.n0", "tmp.n1"):
            (here / folder).mkdir()
        (here / "plugstack.conf").write_text("")
        settings = {
            "ClusterName": "test",
            "SlurmctldHost": f"{LOGIN}(10.99.0.1)",
            "SlurmUser": "root",
            "SlurmdUser": "root",
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={here}/munge/socket",
            "CredType": "cred/munge",
            "StateSaveLocation": here / "state",
            "SlurmdSpoolDir": here / "spool.%n",
            "TmpFS": here / "tmp.%n",
            "SlurmctldPidFile": here / "slurmctld.pid",
            "SlurmdPidFile": here / "slurmd.%n.pid",
            "SlurmctldLogFile": here / "slurmctld.log",
            "SlurmdLogFile": here / "slurmd.%n.log",
            # Processes are found without control groups, which a container may not have.
            "ProctrackType": "proctrack/linuxproc",
            # Binds each task to CPUs of its own, as sites do.
            "TaskPlugin": "task/affinity",
            "JobAcctGatherType": "jobacct_gather/none",
            "AccountingStorageType": "accounting_storage/none",
            "MpiDefault": "none",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core",
            "PlugStackConfig": here / "plugstack.conf",
            # The machine has other CPUs than the nodes say.
            "SlurmdParameters": "config_overrides",
            "ReturnToService": 2,
            "KillWait": 5,
            "SchedulerType": "sched/builtin",
            "GresTypes": "gpu",
        }
        lines = [f"{name}={value}" for name, value in settings.items()]
        cpus = "CPUs=8 Boards=1 SocketsPerBoard=1 CoresPerSocket=8 ThreadsPerCore=1 RealMemory=1000"
        lines += [
            f"NodeName={node} NodeHostname={node} NodeAddr=10.99.0.{number} "
            f"{cpus}{gres} State=UNKNOWN"
            for number, node in enumerate(NODES, start=1)
        ]
        lines.append("PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP")
        (here / "slurm.conf").write_text("\n".join(lines) + "\n")

    def env(self) -> dict[str, str]:
        """Return what node.sh and Slurm's commands need."""
        return {**super().env(), "SLURM_CONF": str(self.folder / "slurm.conf")}

    def daemon(self, *words: object) -> None:
        """Start a daemon."""
        with (self.folder / f"daemon{len(self.daemons)}.out").open("w") as log:
            daemon = subprocess.Popen(
                [*map(str, words)],
                env={**os.environ, **self.env()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
            )
        self.daemons.append(daemon)

    def idle_nodes(self) -> str:
        """Return how many nodes can take a job."""
        done = subprocess.run(
            [*self.on(LOGIN), "sinfo", "-h", "-o", "%D", "-t", "idle"],
            env={**os.environ, **self.env()},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return done.stdout.strip()

    def __exit__(self, *_: object) -> None:
        # Jobs that a failed test left must be gone before the daemons that would end them.
        if (self.folder / "slurm.conf").exists() and len(self.daemons) > 2:
            subprocess.run(
                [*self.on(LOGIN), "scancel", "--me"],
                env={**os.environ, **self.env()},
                capture_output=True,
                timeout=20,
                check=False,
            )
        super().__exit__()


def wait(done: Callable[[], bool], problem: str, seconds: float = 30) -> None:
    """Return as soon as something is true; fail if it never becomes so."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise AssertionError(problem)
        time.sleep(0.1)


def run(*command: str) -> str:
    """Run a command of the system and return what it prints; fail with what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout
