"""The node cache of ``mpibind run``: the first discovers, and nothing is believed that is odd."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import support

# Some part of hwloc speaks up when a machine is loaded, and when none is, none does.
TELLTALE = {"HWLOC_COMPONENTS_VERBOSE": "1"}
SHOW = "grep Cpus_allowed_list /proc/self/status; env | grep OMP_ | sort"
COMMAND = [support.MPIBIND, "run", "--", "sh", "-c", SHOW]


class Cache(unittest.TestCase):
    def setUp(self):
        # In memory: elsewhere there is no cache.
        folder = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.addCleanup(folder.cleanup)
        self.place = Path(folder.name)
        self.env = {**os.environ, **TELLTALE, "XDG_RUNTIME_DIR": folder.name}
        self.folder = self.place / "mpibind"
        self.right = subprocess.run(
            COMMAND, env={**self.env, "MPIBIND_CACHE": "0"}, capture_output=True, text=True
        ).stdout
        self.assertIn("OMP_NUM_THREADS", self.right)
        self.assertFalse(self.folder.exists())

    def discovers(self, **how) -> bool:
        """Run a program; whatever there is of a cache, it is bound right."""
        env = {**self.env, **how.pop("env", {})}
        done = subprocess.run(
            COMMAND, env=env, capture_output=True, text=True, timeout=60, check=False, **how
        )
        self.assertEqual((done.returncode, done.stdout), (0, self.right), done.stderr)
        return "hwloc" in done.stderr.lower()

    def files(self) -> list[Path]:
        """Return the files that hold a node."""
        return [path for path in self.folder.glob("*") if not path.suffix]

    def filled(self) -> Path:
        """Make the cache anew; return its file."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.assertTrue(self.discovers())
        [path] = self.files()
        return path

    def test_the_second_reads_what_the_first_has_written(self):
        for mask in (0o022, 0, 0o077, 0o777):
            with self.subTest(mask):
                shutil.rmtree(self.folder, ignore_errors=True)
                self.assertTrue(self.discovers(umask=mask))
                if mask == 0o777:
                    continue  # no folder can be made that its owner may use
                [path] = self.files()
                self.assertEqual(path.stat().st_mode & 0o7777, 0o600)
                self.assertEqual(self.folder.stat().st_mode & 0o7777, 0o700)
                self.assertFalse(self.discovers())
        done = subprocess.run(
            [sys.executable, "-m", "mpibind", *COMMAND[1:]],
            env={**self.env, "PYTHONPATH": str(support.ROOT)},
            capture_output=True,
            text=True,
        )
        self.assertEqual((done.stdout, done.stderr), (self.right, ""))

    def test_a_file_that_is_not_as_it_was_written(self):
        def replace(path: Path, content: bytes) -> None:
            path.write_bytes(content)

        def link(path: Path) -> None:
            path.rename(self.place / "elsewhere")
            path.symlink_to(self.place / "elsewhere")

        def fifo(path: Path) -> None:
            path.unlink()
            os.mkfifo(path, 0o600)

        def age(path: Path, seconds: int) -> None:
            times = path.stat()
            os.utime(path, (times.st_atime + seconds, times.st_mtime + seconds))

        def change(path: Path, old: bytes, new: bytes) -> None:
            content = path.read_bytes()
            self.assertIn(old, content)
            path.write_bytes(content.replace(old, new))

        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
        harms = {
            "group may read": lambda path: path.chmod(0o640),
            "all may read": lambda path: path.chmod(0o604),
            "group may write": lambda path: path.chmod(0o620),
            "empty": lambda path: replace(path, b""),
            "garbage": lambda path: replace(path, bytes(range(256)) * 40),
            "a line of zeros": lambda path: replace(path, b"\0\n\0\n"),
            "cut off": lambda path: replace(path, path.read_bytes()[:-1]),
            "cut in half": lambda path: replace(path, path.read_bytes()[:200]),
            "longer": lambda path: replace(path, path.read_bytes() + b"\n"),
            "another boot": lambda path: change(path, boot, boot[::-1]),
            "another CPU": lambda path: change(path, b'"os_indexes":[0', b'"os_indexes":[7'),
            "a link": link,
            "a pipe": fifo,
            "old": lambda path: age(path, -61),
            "from the future": lambda path: age(path, 3600),
        }
        if os.geteuid() == 0:
            harms["of another user"] = lambda path: os.chown(path, 65534, -1)
        for name, harm in harms.items():
            with self.subTest(name):
                path = self.filled()
                harm(path)
                self.assertTrue(self.discovers())
                # A new one was put in its place.
                self.assertTrue(path.is_file() and not path.is_symlink())
                self.assertFalse(self.discovers())

    def test_a_folder_in_place_of_the_file(self):
        path = self.filled()
        path.unlink()
        path.mkdir()
        self.assertTrue(self.discovers())
        self.assertEqual([each.name for each in self.folder.glob("*.new")], [])

    def test_a_folder_that_is_not_ours_alone(self):
        def link() -> None:
            (self.place / "other").mkdir(mode=0o700)
            self.folder.symlink_to(self.place / "other")

        harms = {"others may enter": lambda: self.folder.mkdir(mode=0o755), "a link": link}
        if os.geteuid() == 0:
            harms["of another user"] = lambda: [
                self.folder.mkdir(mode=0o700),
                os.chown(self.folder, 65534, -1),
            ]
        for name, harm in harms.items():
            with self.subTest(name):
                shutil.rmtree(self.folder, ignore_errors=True)
                harm()
                self.discovers()
                self.assertEqual(self.files(), [])
                if self.folder.is_symlink():
                    self.folder.unlink()

    def test_a_runtime_folder_that_will_not_do(self):
        with tempfile.TemporaryDirectory(dir=support.ROOT) as disk:
            places = {
                "on a disk": disk,
                "missing": "/nosuch",
                "relative": "test-suite",
                "empty": "",
            }
            for name, place in places.items():
                with self.subTest(name):
                    self.discovers(env={"XDG_RUNTIME_DIR": place}, cwd=support.ROOT)
            self.assertEqual([*Path(disk).iterdir()], [])
        self.assertFalse((support.ROOT / "test-suite" / "mpibind").exists())
        self.place.chmod(0o755)
        self.discovers()
        self.assertFalse(self.folder.exists())

    def test_other_variables_are_another_machine(self):
        first = self.filled()
        for more in ({"HWLOC_COMPONENTS": "-opencl"}, {"CUDA_VISIBLE_DEVICES": ""}):
            with self.subTest(more):
                self.assertTrue(self.discovers(env=more))
                self.assertFalse(self.discovers(env=more))
        self.assertEqual(len(self.files()), 3)
        self.assertIn(first, self.files())
        self.assertFalse(self.discovers())

    def test_other_cpus_are_another_machine(self):
        first, *_ = support.two_cpus(self)
        self.filled()
        folder = support.cpuset_cgroup(self, first)
        code = f'echo $$ > {folder}/cgroup.procs; exec "$@"'
        done = subprocess.run(
            ["sh", "-c", code, "sh", *COMMAND], env=self.env, capture_output=True, text=True
        )
        self.assertIn("hwloc", done.stderr.lower())
        self.assertEqual(len(self.files()), 2)

    def test_no_cache(self):
        node = support.WORKED_EXAMPLE.with_name("one-package-16core.xml")
        machines = ({"HWLOC_SYNTHETIC": "pu:1"}, {"HWLOC_XMLFILE": str(node)})
        for more in ({"MPIBIND_CACHE": "0"}, {"MPIBIND": "off"}, *machines):
            done = subprocess.run(
                [support.MPIBIND, "run", "--restrict", "0", "true"],
                env={**os.environ, "XDG_RUNTIME_DIR": str(self.place), **more},
                check=True,
            )
            self.assertEqual(done.returncode, 0)
        self.assertFalse(self.folder.exists())

    def test_old_files_go(self):
        path = self.filled()
        left = [self.folder / name for name in ("0123456789abcdef", "0123456789abcdef.lock")]
        for old in (path, *left):
            old.touch()
            os.utime(old, (1, 1))
        self.assertTrue(self.discovers())
        self.assertEqual([old for old in left if old.exists()], [])
        self.assertTrue(path.exists())

    def test_many_at_once(self):
        env = {**self.env, "LOCAL_WORLD_SIZE": "64"}
        started = [
            subprocess.Popen(
                [support.MPIBIND, "run", "printenv", "LOCAL_RANK"],
                env={**env, "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(64)
        ]
        told = [process.communicate(timeout=120) for process in started]
        self.assertEqual([out for out, _ in told], [f"{rank}\n" for rank in range(64)])
        self.assertEqual({process.returncode for process in started}, {0})
        discoverers = sum("hwloc" in err.lower() for _, err in told)
        # One, unless a machine is so busy that it takes longer than the others wait.
        self.assertGreaterEqual(discoverers, 1)
        self.assertLess(discoverers, 32)
        self.assertEqual(len(self.files()), 1)

    def test_whoever_holds_the_lock_may_have_been_stopped(self):
        path = self.filled()
        path.unlink()
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assertTrue(self.discovers())
            self.assertEqual(self.files(), [])
        self.assertTrue(self.discovers())
        self.assertFalse(self.discovers())

    def test_a_pipe_in_place_of_the_lock(self):
        """Nobody waits for its other end, and what has one is no lock either."""
        path = self.filled()
        lock = path.with_suffix(".lock")
        path.unlink()
        lock.unlink()
        os.mkfifo(lock, 0o600)
        self.assertTrue(self.discovers())
        reader = os.open(lock, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        self.assertTrue(self.discovers())
        self.assertEqual(self.files(), [])

    def test_whoever_wrote_may_have_been_killed(self):
        path = self.filled()
        path.unlink()
        path.with_suffix(".new").write_text("mpibind no")
        self.assertTrue(self.discovers())
        self.assertFalse(self.discovers())

    def test_no_room(self):
        """The limit for files, at which a process that writes is killed."""
        for limit in (0, 100):
            shutil.rmtree(self.folder, ignore_errors=True)

            def lower(limit: int = limit) -> None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

            env = {"XDG_RUNTIME_DIR": str(self.place)}
            done = subprocess.run(
                [support.MPIBIND, "run", "true"],
                env={**os.environ, **env},
                preexec_fn=lower,
                capture_output=True,
                text=True,
            )
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(self.files(), [])

    def test_a_full_or_read_only_place(self):
        if os.geteuid() != 0:
            self.skipTest("root may mount")
        show = " ".join(f"'{word}'" for word in COMMAND)
        for options, before in (("size=4k,nr_inodes=2", ""), ("size=4k", "cat /dev/zero >"),
                                ("ro", "")):  # fmt: skip
            fill = f"{before} {self.place}/zeros 2>/dev/null;" if before else ""
            script = (
                f"mount -t tmpfs -o mode=700,{options} none {self.place} || exit 99;"
                f"{fill} {show}; {show}"
            )
            done = subprocess.run(
                ["unshare", "--mount", "sh", "-c", script],
                env=self.env,
                capture_output=True,
                text=True,
            )
            if done.returncode == 99 or "unshare" in done.stderr:
                self.skipTest("nothing can be mounted here")
            self.assertEqual((done.returncode, done.stdout), (0, 2 * self.right), done.stderr)


if __name__ == "__main__":
    support.main()
