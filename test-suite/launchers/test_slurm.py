"""Slurm on two nodes: srun, salloc and sbatch, with three MPI libraries and without MPI."""

import json
import os
import subprocess

import cluster
import mpi_cases
import support
from mpi_support import INTEL_MPI, MPICH, OPEN_MPI, SCRIPTS, Mpi

import mpibind

EACH = ("-N2", "--ntasks-per-node=4")
# Several processes write to one terminal: a line must be one write.
SAY = "import os, mpibind; say = lambda text: os.write(1, f'{text}\\n'.encode()); "
MPIS = {"pmi2": (MPICH, INTEL_MPI), "pmix": (OPEN_MPI,)}


class Slurm(mpi_cases.Checks):
    @classmethod
    def setUpClass(cls):
        cls.slurm = cls.enterClassContext(cluster.Slurm(gpus=4))

    def command(self, *words: object, mpi: Mpi = MPICH, env: dict | None = None) -> str:
        """Run a command of Slurm; return what was printed on standard output."""
        done = subprocess.run(
            [*self.slurm.on(cluster.LOGIN), *map(str, words)],
            env=mpi.environment({**self.slurm.env(), **(env or {})}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,  # on a busy machine
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{done.stdout}\n{done.stderr}")
        return done.stdout

    def srun(self, mpi: Mpi, plugin: str, script: str, *arguments: object, **how) -> str:
        words = (mpi.bin / "python", SCRIPTS / script, *arguments)
        return self.command("srun", f"--mpi={plugin}", *EACH, *words, mpi=mpi, **how)

    def test_srun(self):
        for plugin, mpis in MPIS.items():
            for mpi in mpis:
                with self.subTest(mpi.bin.parent.name):
                    lines = self.srun(mpi, plugin, "hello.py").splitlines()
                    self.check_lines(lines, cluster.PLACES)
                    checked = self.srun(mpi, plugin, "check_bind.py", 8, 2)
                    self.assertEqual(json.loads(checked), [])

    def test_srun_shows_another_machine_to_the_letter(self):
        expected = [
            f"{node} task {rank}/8: lrank {lrank}/4 {mpi_cases.SHARES[lrank]}"
            for rank, (node, lrank, _) in enumerate(cluster.PLACES)
        ]
        env = mpi_cases.TOPOFILE
        for plugin, mpis in MPIS.items():
            for mpi in mpis:
                with self.subTest(mpi.bin.parent.name):
                    found = self.srun(mpi, plugin, "where.py", env=env)
                    self.assertEqual(found.splitlines(), expected)

    def test_masks_that_slurm_put_on_the_ranks_are_no_limit(self):
        cpus = len(os.sched_getaffinity(0))
        code = "b = mpibind.bind(); say(f'{len(b.before)} {b.mapping.cpu_ids.size}')"
        words = ("--cpu-bind=map_cpu:0,0,0,0", MPICH.bin / "python", "-c", SAY + code)
        found = self.command("srun", *EACH, *words)
        self.assertEqual(found.splitlines(), [f"1 {cpus}"] * 8)

    def test_mpiexec_inside_salloc(self):
        for mpi in (MPICH, INTEL_MPI):
            with self.subTest(mpi.bin.parent.name):
                words = (mpi.bin / "mpiexec", "-n", 8, mpi.bin / "python", SCRIPTS / "hello.py")
                lines = self.command("salloc", *EACH, *words, mpi=mpi).splitlines()
                self.check_lines(lines, cluster.PLACES)

    def test_without_mpi_inside_salloc(self):
        """Slurm says local rank 0 to every process there; the launcher knows better."""
        code = "b = mpibind.bind(); say(f'{b.local_rank} {b.local_size}')"
        words = (MPICH.bin / "mpiexec", "-n", 8, MPICH.bin / "python", "-c", SAY + code)
        lines = self.command("salloc", *EACH, *words).splitlines()
        self.assertEqual(sorted(lines), [f"{rank} 4" for rank in (0, 0, 1, 1, 2, 2, 3, 3)])

    def test_the_shell_of_salloc_is_no_task(self):
        code = "import mpibind\ntry: mpibind.bind()\nexcept mpibind.LauncherError: print('no task')"
        found = self.command("salloc", *EACH, MPICH.bin / "python", "-c", code)
        self.assertEqual(found, "no task\n")

    def test_sbatch(self):
        script, output = self.slurm.folder / "job.sh", self.slurm.folder / "job.out"
        code = "import mpibind\ntry: mpibind.bind()\nexcept mpibind.LauncherError: print('no task')"
        python = MPICH.bin / "python"
        script.write_text(
            f'#!/bin/sh\n{python} -c "{code}"\n'
            f"srun --mpi=pmi2 {python} {SCRIPTS / 'hello.py'}\necho done\n"
        )
        self.command("sbatch", *EACH, f"--output={output}", script)
        cluster.wait(lambda: output.exists() and "done" in output.read_text(), "no output", 60)
        first, *lines, last = output.read_text().splitlines()
        self.assertEqual((first, last), ("no task", "done"))
        self.check_lines(lines, cluster.PLACES)

    def test_srun_without_mpi(self):
        """Five tasks on two nodes: the number per node comes from the step."""
        code = "say(str(mpibind.bind()))"
        words = ("-N2", "-n5", "--distribution=block", MPICH.bin / "python", "-c", SAY + code)
        lines = self.command("srun", *words).splitlines()
        places = sorted((line.split()[0], *map(int, line.split()[4].split("/"))) for line in lines)
        sizes = {node: sum(place[0] == node for place in places) for node in cluster.NODES}
        expected = [(node, rank, size) for node, size in sizes.items() for rank in range(size)]
        self.assertEqual(places, expected)
        ranks = sorted(int(line.split()[2].split("/")[0]) for line in lines)
        self.assertEqual(ranks, [*range(5)])

    def test_the_command_run(self):
        """Programs that know nothing of mpibind are bound as `mpibind map` says."""
        python = MPICH.bin / "python"
        code = (
            "import json, os; told = [os.environ[name] for name in "
            "('SLURM_NODEID', 'SLURM_LOCALID', 'OMP_NUM_THREADS', 'OMP_PROC_BIND')]; told += "
            "[sorted(os.sched_getaffinity(0))]; os.write(1, json.dumps(told).encode() + b'\\n')"
        )
        run = (python, "-m", "mpibind", "run", "--")
        lines = self.command("srun", *EACH, *run, python, "-c", code).splitlines()
        mapping = mpibind.Topology().map(4)
        expected = [
            [str(node), str(lrank), str(mapping[lrank].nthreads), "spread", cpus.tolist()]
            for node in (0, 1)
            for lrank, cpus in enumerate(mapping.cpus)
        ]
        self.assertEqual(sorted(map(json.loads, lines)), expected)
        # The program's exit status is the task's, and so the step's.
        status = ("sh", "-c", "exit $((SLURM_PROCID == 5 ? 7 : 0))")
        found = self.command("salloc", *EACH, "sh", "-c", 'srun "$@"; echo $?', "sh", *run, *status)
        self.assertEqual(found.splitlines()[-1], "7")
        words = (python, "-m", "mpibind", "run", "-n", 4, "./app")
        found = self.command("salloc", *EACH, "sh", "-c", '"$@" 2>&1; echo $?', "sh", *words)
        self.assertIn("type: srun -n 4 mpibind run -- ./app; see", found)
        self.assertEqual(found.splitlines()[-1], "2")

    def test_gpus_that_slurm_gave_to_each_task_stay(self):
        code = (
            "import os, mpibind, warnings; warnings.simplefilter('ignore'); "
            "given = os.environ['CUDA_VISIBLE_DEVICES']; mpibind.bind(apply=False); "
            "print(os.environ['SLURM_NODEID'], given, os.environ['CUDA_VISIBLE_DEVICES'])"
        )
        words = (
            "-N2",
            "--ntasks-per-node=2",
            "--gpus-per-task=1",
            MPICH.bin / "python",
            "-c",
            code,
        )
        lines = sorted(self.command("srun", *words, env=mpi_cases.TOPOFILE).splitlines())
        self.assertEqual(len(lines), 4)
        for line in lines:
            _, given, kept = line.split()
            self.assertEqual(given, kept)
        given = {tuple(line.split()[:2]) for line in lines}
        self.assertEqual(len(given), 4, "each task of a node has a GPU of its own")

    def test_one_fault_is_everybodys(self):
        path = self.slurm.private / "node.xml"
        path.write_text(support.WORKED_EXAMPLE.read_text())
        env = {"MPIBIND_TOPOFILE": str(path)}
        words = ("rank 4 on n1: cannot use the topology", str(path))
        for plugin, mpis in MPIS.items():
            for mpi in mpis:
                with self.subTest(mpi.bin.parent.name):
                    found = self.srun(mpi, plugin, "check_errors.py", "map", env=env)
                    self.check_outcomes(found, "TopologyError", words, ranks=8)


if __name__ == "__main__":
    support.main()
