"""What is in the wheel, and what it needs of a system.

The one in dist/ that was built last: by `make wheel`, or by cibuildwheel, whose wheels the workflow
`wheels` puts there.
"""

import re
import shutil
import sys
import unittest
import zipfile
from pathlib import Path

import installed
import libhwloc
import support

MAX_BYTES = 2_000_000
MAX_FILES = 60
# What the stable interface's wheel is named for, whatever it was built with.
NAME = r"mpibind-[0-9.]+-cp310-abi3-(manylinux2014_\w+\.)?(manylinux_2_\d+_\w+\.?)+\.whl"


class Contents(unittest.TestCase):
    machine = installed.MACHINES[0]

    def setUp(self):
        self.wheel = installed.built(self.machine)
        self.extension = installed.unpacked(self.machine) / "mpibind" / "_core.abi3.so"
        self.command = installed.unpacked(self.machine) / "bin" / "mpibind"
        # It promises to run with this C library, 2.x.
        self.glibc = min(map(int, re.findall(r"manylinux_2_(\d+)_", self.wheel.name)))

    def test_name(self):
        self.assertRegex(self.wheel.name, f"^{NAME}$")
        for file in (self.extension, self.command):
            header = installed.run("readelf", "--file-header", file).lower()
            self.assertIn(self.machine.replace("_", "-"), header.replace("_", "-"))

    def test_size(self):
        self.assertLessEqual(self.wheel.stat().st_size, MAX_BYTES)
        with zipfile.ZipFile(self.wheel) as packed:
            files = [name for name in packed.namelist() if not name.endswith("/")]
        self.assertLessEqual(len(files), MAX_FILES)
        self.assertIn("mpibind/py.typed", files)

    def test_no_symbol_but_the_modules_own_can_be_seen(self):
        """Else a libhwloc of an MPI library and ours would call into each other."""
        listed = installed.run("readelf", "--dyn-syms", "--wide", self.extension)
        # Those of other libraries have no section: "UND".
        names = re.findall(r"(?m)^ *\d+: .* \d+ (\S+)$", listed)
        self.assertEqual(names, ["PyInit__core"])

    def test_what_it_needs(self):
        for file in (self.extension, self.command):
            listed = installed.run("readelf", "--dynamic", file)
            needed = re.findall(r"\(NEEDED\).*\[(.*)\]", listed)
            system = r"^(lib(c|m|dl|pthread)\.so\.\d|ld-linux-.*|libgcc_s\.so\.1)$"
            for name in needed:
                self.assertRegex(name, system)
            self.assertNotRegex(listed, r"RPATH|RUNPATH")

    def test_old_c_library(self):
        for file in (self.extension, self.command):
            listed = installed.run("readelf", "--dyn-syms", "--wide", file)
            versions = re.findall(r"GLIBC_(\d+)\.(\d+)", listed)
            self.assertTrue(versions)
            needed = max(tuple(map(int, version)) for version in versions)
            self.assertLessEqual(needed, (2, self.glibc))

    def test_auditwheel(self):
        told = installed.run(sys.executable, "-m", "auditwheel", "show", self.wheel)
        self.assertIn(f'"manylinux_2_{self.glibc}_', told)

    def test_abi3audit(self):
        installed.run(sys.executable, "-m", "abi3audit", "--strict", self.wheel)

    def test_it_does_not_tell_where_it_was_built(self):
        for file in (self.extension, self.command):
            for folder in (support.ROOT, Path.home() / ".cargo"):
                # assertNotIn would print all of it.
                self.assertFalse(bytes(folder) in file.read_bytes(), f"{file} has {folder}")

    def test_licence_of_libhwloc(self):
        with zipfile.ZipFile(self.wheel) as packed:
            [name] = [name for name in packed.namelist() if name.endswith("licenses/LICENSES.md")]
            text = packed.read(name).decode()
        copying = libhwloc.unpacked() / "COPYING"
        for line in copying.read_text("utf-8").splitlines():
            self.assertIn(line, text)


class OtherContents(Contents):
    """The same of a wheel that was built for another architecture."""

    machine = installed.MACHINES[1]

    def setUp(self):
        try:
            installed.built(self.machine)
        except SystemExit:
            self.skipTest(f"there is no wheel; `make wheel ARCH={self.machine}` builds it")
        super().setUp()


class Command(unittest.TestCase):
    def test_it_needs_no_python(self):
        command = installed.unpacked() / "bin" / "mpibind"
        self.assertEqual(installed.run(command, "run", "echo", "a b"), "a b\n")


class Suite(unittest.TestCase):
    """The project's tests pass with the wheel's libhwloc, which has an XML parser of its own."""

    NAMES = ("text", "json", "bad_input", "arrays", "picture", "compare", "classic", "devices")

    def test_with_the_wheel_in_place_of_the_checkout(self):
        root = support.ROOT / "build" / "wheel" / "suite"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(support.ROOT / "test-suite", root / "test-suite")
        shutil.copytree(installed.unpacked() / "mpibind", root / "mpibind")
        env = {**installed.CLEAN, "PYTHONPATH": str(root)}
        where = "import mpibind._core as core; print(core.__file__)"
        found = installed.run(sys.executable, "-c", where, cwd=root, env=env).strip()
        self.assertEqual(Path(found), root / "mpibind" / "_core.abi3.so")
        for name in self.NAMES:
            with self.subTest(name):
                file = root / "test-suite" / "python" / f"test_{name}.py"
                told = installed.run(sys.executable, file, cwd=root, env=env)
                self.assertRegex(told, r"(?m)^ok ")
                self.assertNotRegex(told, r"(?m)^not ok ")


if __name__ == "__main__":
    support.main()
