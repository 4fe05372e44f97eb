"""``mpibind run``: what the program finds, and that it is the program that runs, nothing else."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import support
from mpi_support import MPICH

import mpibind

SOURCE = support.ROOT / "test-suite" / "programs" / "threads.c"
BIN = Path(sys.executable).parent
HOST = os.uname().nodename

# The program, and the same through Python.
NATIVE = (support.MPIBIND,)
PYTHON = (sys.executable, "-m", "mpibind")


def command(*words: object, **how) -> subprocess.CompletedProcess[str]:
    return support.command(*words, start=NATIVE, **how)


def printed(*words: object, **how) -> str:
    return support.printed(*words, start=NATIVE, **how)


def compiled(test: unittest.TestCase, *compiler: object) -> Path:
    """Compile the program that says where its threads are."""
    folder = tempfile.TemporaryDirectory()
    test.addCleanup(folder.cleanup)
    program = Path(folder.name) / "threads"
    command = [*compiler, "-O1", "-fopenmp", "-o", program, SOURCE]
    subprocess.run([str(word) for word in command], check=True, timeout=120)
    return program


def threads_of(text: str) -> dict[int, list[list[int]]]:
    """Read what the program printed: for each rank, the CPUs of each thread."""
    found: dict[int, list[list[int]]] = {}
    for line in text.splitlines():
        rank, _, cpus = line.split()
        found.setdefault(int(rank), []).append([int(cpu) for cpu in cpus.split(",")])
    return found


class Programs(unittest.TestCase):
    """A compiled program with threads: each is on a CPU of its task, and no two on the same."""

    def check(self, text: str, ntasks: int) -> None:
        node = mpibind.Topology()
        quota = mpibind._core.cpu_quota()
        found = threads_of(text)
        self.assertEqual(sorted(found), [*range(ntasks)])
        for rank, task in enumerate(node.map(ntasks)):
            threads = found[rank]
            if quota is None:
                self.assertEqual(len(threads), task.nthreads)
            if len(threads) <= task.cpus.size:
                self.assertEqual([len(cpus) for cpus in threads], [1] * len(threads), threads)
                self.assertEqual(len({cpus[0] for cpus in threads}), len(threads), threads)
            for cpus in threads:
                self.assertLessEqual(set(cpus), {*task.cpus.tolist()})

    def test_openmp_alone(self):
        program = compiled(self, "cc")
        self.check(printed("run", "--", program), 1)

    def test_mpi_and_openmp(self):
        program = compiled(self, BIN / "mpicc", "-DWITH_MPI")
        for ntasks in (1, 2, 4):
            with self.subTest(ntasks):
                command = [BIN / "mpiexec", "-n", ntasks, BIN / "mpibind", "run", "--", program]
                done = subprocess.run(
                    [str(word) for word in command], capture_output=True, text=True, timeout=120
                )
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.check(done.stdout, ntasks)

    def test_options_reach_the_program(self):
        program = compiled(self, "cc")
        first = str(min(os.sched_getaffinity(0)))
        text = printed("run", "--nthreads", 3, "--restrict", first, "--", program)
        self.assertEqual(threads_of(text), {0: [[int(first)]] * 3})
        text = printed("run", "--no-omp-affinity", "--nthreads", 2, "--", program)
        self.assertEqual(threads_of(text), {0: [sorted(os.sched_getaffinity(0))] * 2})


class Launchers(unittest.TestCase):
    """The place comes from the launcher's variables, and each process works it out alone."""

    MACHINE = support.ROOT / "test-suite" / "topologies" / "epyc-7763-nps4-8gpu.xml"

    def cpus(self, *words: object, **env: str) -> str:
        """Return the CPUs of a task on the recorded machine. They are not here, which it says."""
        done = command("run", "--topology", self.MACHINE, *words, "--", "true", env=env)
        if done.returncode == 0 and os.cpu_count() >= 128:
            self.skipTest("this machine has them")
        said = re.fullmatch(r"mpibind run: error: cannot bind to CPUs (\S+): .*\n", done.stderr)
        self.assertIsNotNone(said, done.stderr)
        return said[1]

    def variables(self, *words: object, **env: str) -> dict[str, str]:
        """Return the variables of the first of so many tasks that its CPU is here."""
        words = ("run", "--topology", self.MACHINE, "--smt", 1, *words, "--", "env")
        text = printed(*words, env={"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "128", **env})
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def test_slurm_step(self):
        found = self.cpus(
            SLURM_PROCID="11",
            SLURM_STEP_ID="0",
            SLURM_LOCALID="3",
            SLURM_NODEID="1",
            SLURM_STEP_TASKS_PER_NODE="8(x2)",
            SLURM_STEP_NUM_TASKS="16",
        )
        self.assertEqual(found, "48-63")

    def test_torchrun(self):
        found = self.cpus("--smt", 2, LOCAL_RANK="7", LOCAL_WORLD_SIZE="8")
        self.assertEqual(found, "112-127,240-255")

    def test_rank_that_the_user_knows(self):
        self.assertEqual(self.cpus("--local-rank", 2, "-n", 8), "32-47")
        # Flux does not always tell how many tasks a node has.
        flux = {"FLUX_TASK_LOCAL_ID": "1", "FLUX_JOB_SIZE": "9", "FLUX_JOB_NNODES": "2"}
        self.assertEqual(self.cpus("-n", 8, **flux), "16-31")

    def test_variables_are_those_that_python_tells(self):
        node = mpibind.Topology.from_xml(self.MACHINE)
        for gpu_ids, visible in (("index", "own"), ("uuid", "own-first"), ("index", "off")):
            mapping = node.map(128, smt=1, gpu_ids=gpu_ids)
            expected = mapping.env(0, omp_affinity=True, visible=visible)
            found = self.variables("--gpu-ids", gpu_ids, "--visible", visible)
            self.assertEqual({name: found[name] for name in expected}, expected)
            told = [name for name in found if "VISIBLE" in name]
            self.assertEqual(told, [name for name in expected if "VISIBLE" in name])

    def test_variables_that_are_left_alone(self):
        found = self.variables("--no-omp-affinity", "--visible", "off")
        for name in ("OMP_PLACES", "OMP_PROC_BIND", "ROCR_VISIBLE_DEVICES"):
            self.assertNotIn(name, found)
        found = self.variables(MPIBIND="omp_places,visdevs")
        self.assertEqual(found["OMP_PROC_BIND"], "spread")
        for name in ("OMP_PLACES", "ROCR_VISIBLE_DEVICES"):
            self.assertNotIn(name, found)

    def test_a_network_card_that_someone_has_chosen_stays(self):
        words = ("--nics", "-vv", "--topology", self.MACHINE.with_name("mi250x-8gpu.xml"))
        name = "UCX_NET_DEVICES"
        env = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "64", name: "mlx5_9:1"}
        done = command("run", *words, "--", "printenv", name, env=env)
        self.assertEqual(done.stdout, "mlx5_9:1\n")

    def test_one_task_of_a_node_warns(self):
        # Two tasks on three domains: the first has two of them.
        cpus = len(support.two_cpus(self))
        for rank, count in (("0", 1), ("1", 0))[: cpus - 1]:
            machine = {"HWLOC_SYNTHETIC": "numa:3 pu:1"}
            env = {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": "2", **machine}
            done = command("run", "--smt", 1, "--", "true", env=env)
            self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
            told = done.stderr.splitlines()
            self.assertEqual(len(told), count, told)
            for line in told:
                self.assertTrue(line.startswith(f"mpibind run: {HOST}: warning: smt=1 "), line)

    def test_mpiexec(self):
        through_python = MPICH.command(2, "-m", "mpibind", "run", "-v", "--", "true")
        native = [BIN / "mpiexec", "-n", "2", *NATIVE, "run", "-v", "--", "true"]
        for words in (through_python, native):
            done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
            self.assertEqual(done.stdout, "")
            lines = sorted(done.stderr.splitlines())
            for rank, line in enumerate(lines):
                begin = f"{HOST} task {rank}/2: lrank {rank}/2 nths "
                self.assertTrue(line.startswith(begin), line)
            self.assertEqual(len(lines), 2)


class SameProcess(unittest.TestCase):
    """What a program can tell: nothing but the binding and the variables."""

    start = NATIVE

    def printed(self, *words: object, **how) -> str:
        return support.printed(*words, start=self.start, **how)

    def command(self, *words: object, **how) -> subprocess.CompletedProcess[str]:
        return support.command(*words, start=self.start, **how)

    def test_pid(self):
        with subprocess.Popen(
            [*self.start, "run", "--", "sh", "-c", "echo $$"], stdout=subprocess.PIPE, text=True
        ) as process:
            told = process.communicate(timeout=60)[0]
        self.assertEqual(int(told), process.pid)

    def test_exit_status(self):
        for status in (0, 1, 2, 77, 255):
            done = self.command("run", "--", "sh", "-c", f"exit {status}")
            self.assertEqual((done.returncode, done.stderr), (status, ""))

    def test_death_by_signal(self):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGPIPE):
            done = self.command("run", "--", "sh", "-c", f"kill -{int(number)} $$")
            self.assertEqual(done.returncode, -number)

    def test_signals_from_outside(self):
        script = "trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.05; done"
        with subprocess.Popen(
            [*self.start, "run", "--", "sh", "-c", script], stdout=subprocess.PIPE, text=True
        ) as process:
            self.assertEqual(process.stdout.readline(), "ready\n")
            process.send_signal(signal.SIGUSR1)
            self.assertEqual(process.communicate(timeout=60)[0], "caught\n")
        self.assertEqual(process.returncode, 5)

    def test_a_closed_pipe_is_not_ignored_even_where_it_was(self):
        """Nobody can tell any more; docs/command-line.md says so."""

        def ignore() -> None:
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)

        done = self.command("run", "grep", "SigIgn", "/proc/self/status", preexec_fn=ignore)
        ignored = int(done.stdout.split()[1], 16)
        self.assertEqual(ignored >> (signal.SIGPIPE - 1) & 1, 0)

    def test_signals_that_are_ignored(self):
        """Python ignores some for itself; the program must not inherit that."""
        grep = ["grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"]
        for before in ([], ["nohup"]):
            direct = subprocess.run(
                [*before, *grep], capture_output=True, text=True, check=True, preexec_fn=default
            )
            ours = subprocess.run(
                [*before, *self.start, "run", "--", *grep],
                capture_output=True,
                text=True,
                check=True,
                preexec_fn=default,
            )
            self.assertEqual(ours.stdout, direct.stdout)

    def test_variables(self):
        """Also in the locale C, in which Python sets one of its own."""
        base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(support.ROOT), "ODD": "a\nb"}
        for more in ({}, {"LC_CTYPE": "C.UTF-8"}, {"LANG": "C"}, {"LC_ALL": "C"}):
            env = {**base, **more}
            with self.subTest(more):
                direct = variables(["env", "-0"], env)
                ours = variables([*self.start, "run", "--", "env", "-0"], env)
                added = {name for name in ours if direct.get(name) != ours[name]}
                self.assertEqual(added, {"OMP_NUM_THREADS", "OMP_PLACES", "OMP_PROC_BIND"})
                self.assertEqual(direct.keys() - ours.keys(), set())

    def test_off(self):
        first = min(os.sched_getaffinity(0))
        code = (
            f"import os; os.sched_setaffinity(0, {{{first}}}); os.environ.update(MPIBIND='off'); "
            f"os.execvp({self.start[0]!r}, {[*self.start, 'run', '--', 'sh', '-c']} + "
            "['grep Cpus_allowed_list /proc/self/status; env | grep -c OMP_'])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        self.assertEqual(done.stdout.split(), ["Cpus_allowed_list:", str(first), "0"])
        # Not even what a launcher says wrong matters then.
        env = {"MPIBIND": "off", "LOCAL_RANK": "x", "LOCAL_WORLD_SIZE": "0"}
        self.assertEqual(self.printed("run", "echo", "a", env=env), "a\n")

    def test_standard_streams(self):
        done = self.command("run", "--", "cat", stdin=None, input="a line\n")
        self.assertEqual(done.stdout, "a line\n")

    def test_open_files(self):
        """All that are open, the locks on them and where they stand, and no others."""
        show = ["sh", "-c", "ls -l /proc/self/fd | sed 's/.* \\([0-9]* -> \\)/\\1/'; cat <&7"]
        with tempfile.TemporaryFile() as file:
            file.write(b"read and the rest\n")
            file.flush()
            os.dup2(file.fileno(), 7)
            try:
                told = []
                for command in (show, [*self.start, "run", "--", *show]):
                    os.lseek(7, 9, os.SEEK_SET)
                    done = subprocess.run(
                        command, stdin=subprocess.DEVNULL, capture_output=True, pass_fds=(7,)
                    )
                    told.append(re.sub(rb"(pipe:|/proc/).*", b"", done.stdout))
            finally:
                os.close(7)
        self.assertTrue(told[0].endswith(b"the rest\n"), told[0])
        self.assertEqual(*told)

    def test_bytes_that_are_no_text(self):
        odd = bytes(range(1, 256)).replace(b"\n", b"")
        env = {**os.environb, b"ODD": odd, b"LC_ALL": b"C.UTF-8"}
        for show in ([b"printf", b"%s", odd], [b"sh", b"-c", b'printf %s "$ODD"']):
            words = [*map(os.fsencode, self.start), b"run", b"--", *show]
            self.assertEqual(subprocess.run(words, env=env, capture_output=True).stdout, odd)

    def test_words_that_look_like_options(self):
        show = ["printf", "[%s]"]
        for words in (["-n", "4"], ["--", "-x"], ["--help"], ["--smt=9", ""]):
            expected = "".join(f"[{word}]" for word in words)
            self.assertEqual(self.printed("run", "--", *show, *words), expected)
            self.assertEqual(self.printed("run", *show, *words), expected)
            self.assertEqual(self.printed("run", "--nthreads", "1", *show, *words), expected)

    def test_memory_policy(self):
        code = "from mpibind import _core; print(_core.memory_policy())"
        done = self.command("run", "--membind", "preferred", "--", sys.executable, "-c", code)
        if "memory is not" in done.stderr:
            self.skipTest(f"no memory policy can be set here: {done.stderr}")
        self.assertNotEqual(done.stdout.strip(), "default")


class SameProcessThroughPython(SameProcess):
    start = PYTHON


class Errors(unittest.TestCase):
    start = NATIVE

    def check(self, status: int, parts: list[str], *words: object, **env: str) -> None:
        done = support.command("run", *words, env=env, start=self.start)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        for part in ["mpibind run: error: ", *parts]:
            self.assertIn(part, done.stderr)

    def test_tasks_without_launcher(self):
        right = "type: mpiexec -n 4 mpibind run --smt 1 -- ./app 'a b'"
        for number in (["-n", 4], ["-n4"], ["--ntasks=4"], ["--ntasks", "4"]):
            self.check(2, ["-n 4", right], *number, "--smt", 1, "--", "./app", "a b")
            self.check(2, [right], "--smt", 1, *number, "./app", "a b")
        self.check(2, ["type: srun -n 4 mpibind run -- a"], "-n", 4, "a", SLURM_JOB_ID="1")
        self.check(2, ["type: flux run -n 4 mpibind run -- a"], "-n", 4, "a", FLUX_URI="local:")
        self.assertEqual(printed("run", "-n", 1, "--", "echo", "a"), "a\n")
        for number in (0, -2, 2000000):
            words = ("-n", number, "--local-rank", 0, "true")
            self.check(2, [f"-n {number}: it must be 1 to 1048576"], *words)

    def test_tasks_that_the_launcher_did_not_start(self):
        env = {"MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "2"}
        self.check(2, ["-n 4", "MPICH", "started 2"], "-n", 4, "--", "true", **env)
        self.assertEqual(printed("run", "-n", 2, "echo", "a", env=env), "a\n")

    def test_launcher_that_says_wrong(self):
        self.check(1, ["LOCAL_RANK=4"], "true", LOCAL_RANK="4", LOCAL_WORLD_SIZE="4")
        many = "LOCAL_WORLD_SIZE='2000000': a node has 1048576 tasks at most"
        self.check(1, [many], "true", LOCAL_RANK="4", LOCAL_WORLD_SIZE="2000000")
        self.check(1, ["LOCAL_RANK='x'"], "true", LOCAL_RANK="x", LOCAL_WORLD_SIZE="4")
        self.check(2, ["local_rank=4"], "--local-rank", 4, "-n", 4, "true")
        self.check(2, ["--local-rank 0", "Say it with -n"], "--local-rank", 0, "true")

    def test_no_program(self):
        self.check(2, ["which program"])
        self.check(2, ["which program"], "--")
        self.check(127, ["'nosuch'", "PATH"], "nosuch")
        self.check(127, ["'./nosuch'", "no such file"], "--", "./nosuch")
        self.check(2, ["which program"], "--", "")
        self.check(127, ["Not a directory"], "README.md/a")
        self.check(126, ["chmod +x"], "./README.md")
        self.check(126, ["it is a folder"], "./docs")

    def test_what_is_wrong_with_the_one_in_path(self):
        """And not with a file of that name where one is."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "docs").touch()
            Path(folder, "README.md").mkdir()
            self.check(126, ["chmod +x"], "docs", PATH=folder)
            self.check(126, ["it is a folder"], "README.md", PATH=folder)

    def test_file_that_is_no_program(self):
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "script"
            script.write_text("echo a\n")
            script.chmod(0o755)
            self.check(126, ["Exec format error", "#!/bin/sh"], script)
            script.write_text("#!/nosuch\n")
            self.check(127, ["its interpreter is missing"], script)

    def test_values(self):
        self.check(2, ["smt=999 is not legal"], "--smt", 999, "true")
        self.check(2, ["respect", "own", "cgroup"], "--respect", "own", "true")
        self.check(2, ["membind"], "--membind", "x", "true")
        self.check(2, ["from MPIBIND='smt:999'"], "true", MPIBIND="smt:999")
        self.check(1, ["/nosuch.xml"], "--topology", "/nosuch.xml", "true")
        self.check(2, ["--smtt", "--smt?"], "--smtt", 1, "--", "true")

    def test_cpus_that_are_not_here(self):
        machine = support.ROOT / "test-suite" / "topologies" / "epyc-7763-nps4-8gpu.xml"
        if os.cpu_count() >= 256:
            self.skipTest("this machine has them")
        self.check(1, ["CPUs"], "--topology", machine, "true")


class ErrorsThroughPython(Errors):
    start = PYTHON


class Command(unittest.TestCase):
    """The program `mpibind` does `run`, and leaves all else to Python, wherever that is."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def ask(self, *words: object, **how) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in words]
        return subprocess.run(words, capture_output=True, text=True, check=False, **how)

    def test_other_commands_are_those_of_python(self):
        for words in (
            ["map", "-n", "2", "--synthetic", "numa:2 core:2 pu:1"],
            ["--version"],
            ["--help"],
            [],
            ["nosuch"],
            ["-n", "4"],
            ["map", "--nosuch"],
            ["topo", "--topology", "/nosuch"],
        ):
            native = self.ask(support.MPIBIND, *words)
            through_python = self.ask(*PYTHON, *words)
            self.assertNotEqual(native.stdout + native.stderr, "")
            for part in ("returncode", "stdout", "stderr"):
                self.assertEqual(getattr(native, part), getattr(through_python, part))

    def test_help(self):
        for start in (NATIVE, PYTHON):
            for word in ("-h", "--help"):
                done = self.ask(*start, "run", "--smt", "1", word)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertTrue(done.stdout.startswith("usage: mpibind run [options] -- PROGRAM"))
                self.assertLess(max(map(len, done.stdout.splitlines())), 80)
        # All options of the page and no others.
        told = {*re.findall(r"(?<![\w-])--[a-z-]+", done.stdout.split("examples:")[0])}
        for option in told - {"--help"}:
            said = self.ask(*NATIVE, "run", option, "1", "--help").stderr
            self.assertNotIn("there is no option", said)

    def test_found_beside_the_name_that_it_was_called_by(self):
        """As in the views of Spack: a folder of links, with scripts for a Python of its own."""
        (self.folder / "mpibind").symlink_to(support.MPIBIND)
        script = self.folder / "mpibind-python"
        script.write_text('#!/bin/sh\necho "$@"\n')
        script.chmod(0o755)
        self.assertEqual(self.ask(self.folder / "mpibind", "map", "a b").stdout, "map a b\n")
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        found = self.ask("mpibind", "map", "a", env={**os.environ, "PATH": path})
        self.assertEqual(found.stdout, "map a\n")
        found = self.ask("./mpibind", "map", cwd=self.folder)
        self.assertEqual(found.stdout, "map\n")
        # Another link, with nothing beside it.
        (self.folder / "alone").mkdir()
        link = self.folder / "alone" / "mpibind"
        link.symlink_to(support.MPIBIND)
        self.assertIn("hwloc", self.ask(link, "--version").stdout)

    def test_python_is_not_there(self):
        program = self.folder / "mpibind"
        shutil.copy(support.MPIBIND, program)
        done = self.ask(program, "map", "-n", "4")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn(f'there is no mpibind-python in "{self.folder}"', done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)
        # What needs no Python works.
        self.assertEqual(self.ask(program, "run", "echo", "a").stdout, "a\n")
        script = self.folder / "mpibind-python"
        script.write_text("#!/nosuch/python\n")
        script.chmod(0o755)
        done = self.ask(program, "map", "-n", "4")
        self.assertEqual(done.returncode, 1)
        self.assertIn("No such file", done.stderr)


def default() -> None:
    """Give the signals back that this Python ignores, before another program starts."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def variables(command: list[str], env: dict[str, str]) -> dict[str, str]:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    pairs = (entry.partition("=") for entry in done.stdout.split("\0") if entry)
    return {name: value for name, _, value in pairs}


if __name__ == "__main__":
    support.main()
