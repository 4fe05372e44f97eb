"""The wheel in clean systems made for it: Debian with neither hwloc, nor Rust, nor a compiler.

That for the other architecture runs in Qemu's user mode. Root makes them below build/systems with
mmdebstrap, which `apt-get install mmdebstrap` brings; they are kept for the next time.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

import installed
import support

SYSTEMS = support.ROOT / "build" / "systems"
# A release may be looked at long after it was made.
APT = ('APT::Install-Recommends "false"', 'Acquire::Check-Valid-Until "false"')
# numpy's own wheels need the last.
PACKAGES = ("python3", "python3-venv", "libstdc++6")


def system(test: unittest.TestCase, release: str, *packages: str, name: str | None = None) -> Path:
    """Return the root folder of a release of Debian, made if it is not there; skip if it cannot."""
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        test.skipTest("needs root and mmdebstrap")
    root = SYSTEMS / (name or release)
    if not (root / "complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        command = ["mmdebstrap", "--quiet", "--variant=essential"]
        command += [f"--aptopt={option}" for option in APT]
        command += [f"--include={','.join((*PACKAGES, *packages))}"]
        try:
            installed.run(*command, release, root)
        except AssertionError as error:
            test.skipTest(f"{release} cannot be made here: {error}")
        (root / "complete").touch()
    return root


def inside(root: Path, script: str) -> str:
    """Run a script of the shell in a system; return what it printed, fail if it fails."""
    # What is mounted is gone when the last process of it ends.
    setup = f'mount -t proc proc "{root}/proc" && mount --rbind /sys "{root}/sys" && '
    setup += f'mount --rbind /dev "{root}/dev" && exec chroot "{root}" /bin/sh -ec "$1"'
    how = ("unshare", "--mount", "--pid", "--fork", "--propagation", "private")
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
    return installed.run(*how, "sh", "-ec", setup, "sh", script, env=env)


def built_python(test: unittest.TestCase, release: str, source: tuple[str, int]) -> Path:
    """Return the folder of a Python that is built in a release of Debian, to lie at /opt/python.

    `source` is the release that has it as a package, and the minor version.
    """
    newer, minor = source
    compiler = ("gcc", "libc6-dev", "libffi-dev", "make", "zlib1g-dev")
    root = system(test, release, *compiler, name=f"{release}-compiler")
    place = root / "opt" / "python"
    if not (place / "complete").exists():
        with tempfile.TemporaryDirectory() as work:
            Path(work, "lists", "partial").mkdir(parents=True)
            mirror = (root / "etc" / "apt" / "sources.list").read_text().split()[1]
            Path(work, "sources").write_text(f"deb-src {mirror} {newer} main\n")
            apt = ["apt-get", "--quiet", f"-oDir::Etc::sourcelist={work}/sources"]
            apt += ["-oDir::Etc::sourceparts=/dev/null", f"-oDir::State::lists={work}/lists"]
            apt += ["-oAPT::Sandbox::User=root"]
            name = f"python3.{minor}"
            try:
                installed.run(*apt, "update", cwd=work)
                words = ("source", "--download-only", "--only-source", name)
                installed.run(*apt, *words, cwd=work)
            except AssertionError as error:
                test.skipTest(f"the source of {name} cannot be had here: {error}")
            [archive] = Path(work).glob(f"{name}_*.orig.tar.xz")
            shutil.rmtree(root / "python", ignore_errors=True)
            (root / "python").mkdir()
            with tarfile.open(archive) as content:
                content.extractall(root / "python", filter="fully_trusted")
        inside(
            root,
            f"""
            cd /python/*
            ./configure --quiet --prefix=/opt/python --disable-test-modules CFLAGS=-O1
            make --quiet --jobs={os.cpu_count()} install
            touch /opt/python/complete
            """,
        )
    return place


class Systems(unittest.TestCase):
    def check(self, release: str, minor: int, *packages: str, python: str | None = None) -> None:
        root = system(self, release, *packages)
        place = root / "wheel"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(installed.downloaded(minor), place)
        scripts = (installed.EXERCISE, installed.SUB_INTERPRETERS, installed.HELLO)
        for file in (installed.built(), installed.NODE, *scripts):
            shutil.copy(file, place)
        python = python or f"python3.{minor}"
        told = inside(
            root,
            f"""
            cd /tmp
            ! command -v cargo && ! command -v cc && ! ls /usr/lib/*/libhwloc* 2>/dev/null
            rm -rf /env && {python} -m venv /env
            /env/bin/pip install --quiet --no-index --find-links=/wheel 'mpibind[mpi]' mpich 1>&2
            /env/bin/python -W error /wheel/exercise.py /wheel/{installed.NODE.name}
            /env/bin/mpibind map -n 8 --topology /wheel/{installed.NODE.name} | tail -n 1
            /env/bin/mpiexec -n 2 /env/bin/python /wheel/hello.py
            """,
        ).splitlines()
        self.assertEqual(json.loads(told[0])["gpus"], [[str(gpu)] for gpu in range(8)])
        self.assertIn("task  7", told[1])
        self.assertEqual(len(told[2:]), 2, told)
        if minor >= 12:
            told = inside(root, f"/env/bin/python /wheel/{installed.SUB_INTERPRETERS.name}")
            self.assertRegex(told, installed.ONLY_MAIN)

    def test_debian_12(self):
        self.check("bookworm", 11)

    def test_debian_13(self):
        self.check("trixie", 13)

    def test_newest(self):
        packages = ("python3.15", "python3.15-venv")
        for minor in (14, 15):
            with self.subTest(python=f"3.{minor}"):
                self.check("sid", minor, *packages)

    def test_debian_11(self):
        """The oldest that can be had, with a Python that it does not have itself."""
        python = built_python(self, "bullseye", ("trixie", 13))
        root = system(self, "bullseye", "libffi7")
        shutil.rmtree(root / "opt" / "python", ignore_errors=True)
        shutil.copytree(python, root / "opt" / "python", symlinks=True)
        self.check("bullseye", 13, python="/opt/python/bin/python3.13")

    def test_debian_11_has_an_older_python(self):
        """Its C library would do; pip says that its Python 3.9 does not."""
        root = system(self, "bullseye", "libffi7")
        shutil.copy(installed.built(), root / "tmp")
        shutil.copy(installed.unpacked() / "mpibind" / "_core.abi3.so", root / "tmp")
        told = inside(
            root,
            f"""
            ldd -r /tmp/_core.abi3.so 2>&1 | grep -v 'undefined symbol: _\\?Py'
            rm -rf /env && python3 -m venv /env
            /env/bin/pip install --no-index /tmp/{installed.built().name} 2>&1 || true
            """,
        )
        self.assertIn("libc.so.6 =>", told)
        self.assertNotRegex(told, "not found|undefined symbol")
        self.assertRegex(told, r"mpibind-.*\.whl is not a supported wheel on this platform")


class Emulated(unittest.TestCase):
    """The wheel for aarch64 on Debian for that, each program of which Qemu runs."""

    MACHINE = "aarch64"
    RELEASE = "bookworm"
    MINOR = 11
    FORMAT = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
    QEMU = Path("/usr/bin/qemu-aarch64-static")

    def setUp(self):
        if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
            self.skipTest("needs root and mmdebstrap")
        if platform.machine() == self.MACHINE or not (self.FORMAT.exists() and self.QEMU.exists()):
            self.skipTest("needs the package qemu-user-static, and another architecture")
        try:
            self.wheel = installed.built(self.MACHINE)
        except SystemExit:
            self.skipTest("there is no wheel; `make wheel ARCH=aarch64` builds it")
        self.root = SYSTEMS / f"{self.RELEASE}-{self.MACHINE}"
        if not (self.root / "complete").exists():
            shutil.rmtree(self.root, ignore_errors=True)
            self.root.parent.mkdir(parents=True, exist_ok=True)
            # Nothing of it is run while it is made.
            command = ["mmdebstrap", "--quiet", "--variant=extract", "--architectures=arm64"]
            command += [f"--aptopt={option}" for option in APT]
            command += ["--include=base-files,dash,coreutils,python3,libstdc++6"]
            try:
                installed.run(*command, self.RELEASE, self.root)
            except AssertionError as error:
                self.skipTest(f"{self.RELEASE} cannot be made here: {error}")
            (self.root / "complete").touch()

    def inside(self, *words: str) -> str:
        """Run a program of the system; return what it printed, fail if it fails."""
        # A namespace of users has formats of programs of its own: the machine's stay as they are.
        # With F, Qemu is opened now: the system does not have it.
        script = f"""
            mount -t binfmt_misc none "{self.root}/home"
            sed 's|[^:]*:[A-Z]*$|{self.QEMU}:F|' {self.FORMAT} > "{self.root}/home/register"
            mount -t proc proc "{self.root}/proc"
            mount --rbind /sys "{self.root}/sys"
            mount --rbind /dev "{self.root}/dev"
            exec chroot "{self.root}" "$@"
        """
        how = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork")
        env = {"PATH": "/site/bin:/usr/bin:/bin:/usr/sbin", "HOME": "/root", "PYTHONPATH": "/site"}
        return installed.run(*how, "sh", "-ec", script, "sh", *words, env=env)

    def test_it_runs(self):
        site = self.root / "site"
        shutil.rmtree(site, ignore_errors=True)
        links = f"--find-links={installed.downloaded(self.MINOR, self.MACHINE)}"
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index", f"--target={site}")
        tags = installed.tags(self.MINOR, self.MACHINE)
        installed.run(*pip, links, "--only-binary=:all:", *tags, self.wheel)
        for file in (installed.NODE, installed.EXERCISE):
            shutil.copy(file, site)
        python = f"/usr/bin/python3.{self.MINOR}"
        node = f"/site/{installed.NODE.name}"
        self.assertEqual(
            self.inside(python, "-c", "import platform; print(platform.machine())"),
            f"{self.MACHINE}\n",
        )
        told = json.loads(self.inside(python, "-W", "error", "/site/exercise.py", node))
        self.assertEqual(told["gpus"], [[str(gpu)] for gpu in range(8)])
        plan = self.inside(python, "-m", "mpibind", "map", "-n", "8", "--topology", node)
        self.assertIn("task  7", plan)
        self.assertEqual(self.inside("/site/bin/mpibind", "run", "echo", "a b"), "a b\n")


if __name__ == "__main__":
    support.main()
