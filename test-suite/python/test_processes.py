"""``mpibind report``: this process, the ranks of a launcher, and processes that run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import support
from mpi_support import MPICH, output

import mpibind
from mpibind import _core

HOST = os.uname().nodename
CPUS = sorted(os.sched_getaffinity(0))
WAIT = """
import sys, threading, time
from pathlib import Path
threading.Thread(target=time.sleep, args=[60], daemon=True).start()
print("ready", flush=True)
while not Path(sys.argv[1]).exists():
    time.sleep(0.02)
"""


class Alone(unittest.TestCase):
    def test_same_as_python(self):
        text = support.run("import mpibind; mpibind.report()")
        self.assertEqual(support.printed("report"), text)
        self.assertTrue(text.startswith(f"{HOST} task 0/1: lrank 0/1 nths {len(CPUS)} "), text)
        found = json.loads(support.printed("report", "--json"))
        self.assertEqual(found["ranks"][0]["cpus"], CPUS)

    def test_a_program_that_was_bound(self):
        first = str(CPUS[0])
        words = ("run", "--restrict", first, "--", sys.executable, "-m", "mpibind", "report")
        self.assertIn(f" cpus [{first}]\n", support.printed(*words))

    def test_launcher_that_says_wrong(self):
        done = support.command("report", env={"LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "2"})
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("LOCAL_RANK=2", done.stderr)


class Ranks(unittest.TestCase):
    def lines(self, ranks: int, *words: object) -> list[str]:
        return output(MPICH.command(ranks, *words), MPICH.environment()).splitlines()

    def test_through_mpi(self):
        lines = self.lines(4, "-m", "mpibind", "report")
        starts = [f"{HOST} task {rank}/4: lrank {rank}/4 nths " for rank in range(4)]
        self.assertTrue(all(map(str.startswith, lines, starts)), lines)
        self.assertRegex("\n".join(lines[4:]), f"{HOST}: ranks 0-3 share CPUs")

    def test_json_through_mpi(self):
        found = json.loads("\n".join(self.lines(2, "-m", "mpibind", "report", "--json")))
        self.assertEqual([rank["rank"] for rank in found["ranks"]], [0, 1])

    def test_without_mpi(self):
        absent = "sys.modules['mpi4py'] = None; "
        for words, hide in ((["--no-mpi"], ""), ([], absent)):
            code = (
                f"import sys; {hide}from mpibind.cli import main; "
                f"assert main({['report', *words]}) == 0; assert not sys.modules.get('mpi4py')"
            )
            lines = sorted(self.lines(2, "-c", code))
            starts = [f"{HOST} task {rank}/2: lrank {rank}/2 nths " for rank in range(2)]
            self.assertTrue(all(map(str.startswith, lines, starts)), lines)

    def test_lines_do_not_mix(self):
        """Each is written at once, also where Python does not buffer."""
        code = (
            "import os, sys; from mpibind import cli; "
            "writes = []; sys.stdout = open(os.devnull, 'w'); "
            "sys.stdout.write = writes.append; cli.main(['report', '--no-mpi']); "
            "print(len(writes), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        self.assertEqual(done.stderr, "1\n")

    def test_mpi4py_of_another_mpi(self):
        """Each rank finds itself alone then; the launcher's word counts."""
        code = (
            "import os, sys; from mpibind import cli; "
            "kept = {n: os.environ.pop(n) for n in [*os.environ] if n.startswith(('PMI', 'MPI'))}; "
            "from mpi4py import MPI; os.environ.update(kept); sys.exit(cli.main(['report']))"
        )
        lines = sorted(self.lines(2, "-c", code))
        starts = [f"{HOST} task {rank}/2: lrank {rank}/2 nths " for rank in range(2)]
        self.assertTrue(all(map(str.startswith, lines, starts)), lines)


class Running(unittest.TestCase):
    """Processes that run are looked at from outside."""

    def started(self, ranks: int, *command: object) -> int:
        """Start processes with two threads that wait; return the number of the first."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        end = Path(folder.name) / "end"
        words = [str(word) for word in (*command, sys.executable, "-c", WAIT, end)]
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )

        def stop() -> None:
            end.touch()
            process.communicate(timeout=60)

        self.addCleanup(stop)
        # Two ranks' lines may be mixed.
        text = process.stdout.read(ranks * len("ready\n"))
        self.assertEqual(text.count("ready"), ranks, text)
        return process.pid

    def test_process_and_its_child(self):
        first, *_ = support.two_cpus(self)
        pid = self.started(1, "sh", "-c", f'taskset -c {first} "$@"; :', "sh")
        header, shell_line, child_line = support.printed("report", "--pid", pid).splitlines()[:3]
        self.assertEqual(header.split(), ["pid", "task", "threads", "CPUs", "command"])
        self.assertEqual(shell_line.split(), [str(pid), "-", "1", _core.id_list(CPUS), "sh"])
        self.assertEqual(child_line.split()[1:4], ["-", "2", str(first)])

    def test_variables_that_are_not_text(self):
        entries = (b"OMP_NUM_THREADS=99999999999", b"CUDA_VISIBLE_DEVICES=\xff")
        pid = self.started(1, "env", *(os.fsdecode(entry) for entry in entries))
        [process] = json.loads(support.printed("report", "--pid", pid, "--json"))["processes"]
        self.assertIsNone(process["nthreads"])

    def test_names_that_would_clear_the_screen(self):
        """A process calls itself as it likes, for others to look at."""
        rename = r"printf 'a\033[2J\302\233' > /proc/$$/comm; "
        pid = self.started(1, "sh", "-c", f'{rename}"$@"; :', "sh")
        self.assertIn(r"  a\x1b[2J\x9b" + "\n", support.printed("report", "--pid", pid))
        [shell, *_] = json.loads(support.printed("report", "--pid", pid, "--json"))["processes"]
        self.assertEqual(shell["command"], "a\x1b[2J\x9b")

    def test_whoever_looks_is_not_shown(self):
        lines = support.printed("report", "--pid", os.getpid()).splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["pid", str(os.getpid())])

    def test_ranks_of_a_running_job(self):
        count = 2 * len(CPUS)
        run = MPICH.command(2, "-m", "mpibind", "run", "--", "env", f"OMP_NUM_THREADS={count}")
        pid = self.started(2, *run)
        found = json.loads(support.printed("report", "--pid", pid, "--json"))
        ranks = {each["rank"]: each for each in found["processes"] if each["rank"] is not None}
        mapping = mpibind.Topology().map(2)
        for rank in range(2):
            self.assertEqual(ranks[rank]["cpus"], mapping[rank].cpus.tolist())
            self.assertEqual(len(ranks[rank]["threads"]), 2)
            self.assertEqual(ranks[rank]["nthreads"], count)
        found = {finding["kind"]: finding for finding in found["findings"]}
        self.assertEqual(found["too-many-threads"]["ranks"], [0, 1])
        text = support.printed("report", "--pid", pid)
        self.assertRegex(text, r"\n *\d+ +1/2 +2 ")
        self.assertIn(f"{HOST}: ranks 0-1 mean to run {count} threads", text)

    def test_no_such_process(self):
        for pid in (1 << 30, 0, -1):
            done = support.command("report", "--pid", pid)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(f"pid={pid} is not legal: there is no process", done.stderr)


if __name__ == "__main__":
    support.main()
