"""Faults of processes, containers and kernels; what is expected is in docs/reliability.md."""

import subprocess
import sys
import unittest

import support
from mpi_support import MPICH, SCRIPTS

import mpibind

SECCOMP = f"import errno, sys; sys.path.append({str(SCRIPTS)!r}); from seccomp import forbid\n"


class Ranks(unittest.TestCase):
    """Something befalls one rank in the middle of bind()."""

    def check_bound(self, fault: str, rank: int, around: tuple[object, ...] = ()) -> None:
        found = MPICH.run_json(4, "check_faults.py", fault, rank, around=around)
        mapping = mpibind.Topology().map(4)
        self.assertEqual(found, [[task.cpus.tolist()] * 2 for task in mapping])

    def test_stopped(self):
        """The others wait for as long as it takes: the leader, or a rank that is waited for."""
        for rank in (0, 3):
            with self.subTest(rank):
                self.check_bound("stopped", rank)

    def test_killed(self):
        """The launcher ends the others: none waits for ever."""
        for rank in (0, 3):
            with self.subTest(rank):
                command = MPICH.command(4, SCRIPTS / "check_faults.py", "killed", rank)
                done = subprocess.run(
                    command,
                    env=MPICH.environment(),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
                self.assertNotEqual(done.returncode, 0)
                self.assertNotIn("Traceback", done.stderr)
                # The pipes are closed, so nobody is left who holds them.

    def test_full_shared_memory(self):
        """MPI has its part of it by then; mpibind needs none."""
        script = 'mount -t tmpfs -o size=256m tmpfs /dev/shm && exec "$@"'
        self.check_bound("full", 0, private(self, script))


class Containers(unittest.TestCase):
    def test_no_sysfs(self):
        """The CPUs are what the processor says; doctor tells why there is no more."""
        around = private(self, 'mount -t tmpfs tmpfs /sys && exec "$@"')
        code = """
            import os, mpibind
            from mpibind import doctor
            binding = mpibind.bind(0, 1)
            assert binding.applied
            assert binding.cpus.tolist() == sorted(os.sched_getaffinity(0))
            seen = doctor.look()
            kinds = [finding.kind for finding in doctor.findings(seen)]
            assert "no-sysfs" in kinds, kinds
            assert "None" not in doctor.lines(seen, [])[2], doctor.lines(seen, [])
            """
        support.run(code, around=around)

    def test_no_proc(self):
        """All threads cannot be bound where they cannot be listed, and nothing is bound."""
        around = private(self, 'mount -t tmpfs tmpfs /proc && exec "$@"')
        code = """
            import os, mpibind
            before = os.sched_getaffinity(0)
            print(mpibind.Topology().map(1))
            try:
                mpibind.bind(0, 1)
            except mpibind.AffinityError as error:
                assert "/proc/self/task: No such file" in str(error), error
                assert "CPUs :" not in str(error), error
            else:
                raise AssertionError("bound")
            assert os.sched_getaffinity(0) == before
            """
        self.assertIn("task  0", support.run(code, around=around))

    def test_nothing_can_be_written(self):
        """Nothing needs to be."""
        script = """
            for place in / /tmp /dev/shm /run /var /home; do
                mount --bind $place $place && mount -o remount,bind,ro $place
            done 2>/dev/null
            if touch /tmp/mpibind-test 2>/dev/null; then exit 99; fi
            exec "$@"
            """
        around = private(self, script)
        command = [*around, sys.executable, "-m", "mpibind", "run", "-v", "--", "echo", "ran"]
        done = subprocess.run(
            command, cwd="/", capture_output=True, text=True, timeout=60, check=False
        )
        self.assertEqual((done.returncode, done.stdout), (0, "ran\n"), done.stderr)

    def test_forbidden_calls(self):
        """A filter of system calls: nothing is bound, and the error says what may be blocked."""
        code = SECCOMP + (
            "import os, mpibind\n"
            "before = os.sched_getaffinity(0), dict(os.environ)\n"
            "forbid('sched_setaffinity', error=errno.EPERM)\n"
            "try:\n"
            "    mpibind.bind(0, 1)\n"
            "except mpibind.AffinityError as error:\n"
            "    assert error.errno == errno.EPERM, error.errno\n"
            "    assert 'may block sched_setaffinity' in str(error), error\n"
            "else:\n"
            "    raise AssertionError('bound')\n"
            "assert (os.sched_getaffinity(0), dict(os.environ)) == before\n"
        )
        support.run(code)

    def test_forbidden_memory_policy(self):
        """Memory is the lesser part: the CPUs are bound, with a warning."""
        code = SECCOMP + (
            "import warnings, mpibind\n"
            "forbid('set_mempolicy', error=errno.EPERM)\n"
            "with warnings.catch_warnings(record=True) as caught:\n"
            "    warnings.simplefilter('always')\n"
            "    binding = mpibind.bind(0, 1, membind='bind')\n"
            "assert binding.applied and binding.membind is None\n"
            "assert 'the CPUs are bound, memory is not' in str(caught[0].message), caught\n"
        )
        support.run(code)

    def test_job_that_is_moved_before_it_binds(self):
        """The mapping was made for CPUs that a cgroup has taken since."""
        first, last = (lambda cpus: (cpus[0], cpus[-1]))(support.two_cpus(self))
        folder = support.cpuset_cgroup(self, first)
        code = f"""
            import os, mpibind
            mapping = mpibind.Topology().map(1)
            with open({str(folder / "cgroup.procs")!r}, "w") as procs:
                procs.write("0")
            before = os.sched_getaffinity(0)
            try:
                mapping.apply(0)
            except mpibind.AffinityError as error:
                assert "{last} are not allowed" in str(error), error
                assert "cgroup" in str(error), error
            else:
                raise AssertionError("bound")
            assert os.sched_getaffinity(0) == before
            """
        support.run(code)


class Again(unittest.TestCase):
    def test_thousand_times(self):
        """Nothing is kept: files, threads, memory (which may grow by pieces of the allocator)."""
        code = """
            import os, resource, mpibind
            def held():
                return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
            def peak():
                return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            before = os.sched_getaffinity(0), dict(os.environ)
            for number in range(1000):
                mpibind.bind(0, 1, membind="preferred").restore()
                if number == 100:
                    files, memory = held(), peak()
            assert held() == files, (held(), files)
            assert peak() - memory < 2048, f"{peak() - memory} KiB more after 900 times"
            assert (os.sched_getaffinity(0), dict(os.environ)) == before
            """
        support.run(code, timeout=120)


def private(test: unittest.TestCase, script: str) -> tuple[str, ...]:
    """Return a command that runs another with mounts of its own; skip where that cannot be."""
    around = ("unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh")
    if subprocess.run([*around, "true"], capture_output=True, check=False).returncode != 0:
        test.skipTest("mounts of its own take root, or may not be made here")
    return around


if __name__ == "__main__":
    support.main()
