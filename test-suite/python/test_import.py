"""What importing costs: thousands of processes do it at once, from one file system."""

import inspect
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

import support

MAX_LOOKUPS = 20


def lookups(code: str) -> int:
    """Count the system calls of a fresh interpreter that take the name of a file."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = ["strace", "-f", "-e", "trace=%file", "-o", str(log), sys.executable, "-c", code]
        # The second time, compiled files are there and directories are warm, as on a real system.
        for _ in range(2):
            subprocess.run(command, check=True, timeout=60)
        return len(log.read_text().splitlines())


class Import(unittest.TestCase):
    def test_few_modules_are_loaded(self):
        loaded = support.run_json(
            """
            import sys
            before = set(sys.modules)
            import mpibind
            new = sorted(set(sys.modules) - before)
            import json
            print(json.dumps(new))
            """
        )
        self.assertEqual(loaded, ["mpibind"])

    def test_mapping_and_binding_need_neither_numpy_nor_mpi4py(self):
        loaded = support.run_json(
            """
            import json, sys
            import mpibind
            handle = mpibind.MpibindHandle(ntasks=1)
            handle.mpibind()
            handle.apply(0)
            mapping = mpibind.Topology().map(1)
            str(mapping), mapping.env(0), mapping.gpus
            print(json.dumps([name for name in ("numpy", "mpi4py") if name in sys.modules]))
            """
        )
        self.assertEqual(loaded, [])

    def test_the_one_line_brings_nothing_that_is_slow(self):
        loaded = support.run_json(
            """
            import json, sys
            import mpi4py
            mpi4py.rc.initialize = False
            from mpi4py import MPI
            before = set(sys.modules)
            import mpibind.mpi
            print(json.dumps(sorted(set(sys.modules) - before)))
            """
        )
        self.assertIn("mpibind.mpi", loaded)
        self.assertEqual([name for name in loaded if not name.startswith("mpibind")], [])

    def test_named_tuples_are_those_of_typing(self):
        import typing

        from mpibind import typed

        body = """
            from __future__ import annotations
            class Point(NamedTuple):
                "Where it is."
                x: int
                y: int = 7
                def far(self):
                    return self.x + self.y
        """
        ours, theirs = {"NamedTuple": typed.NamedTuple}, {"NamedTuple": typing.NamedTuple}
        for names in (ours, theirs):
            names["__name__"] = __name__
            exec(textwrap.dedent(body), names)
        one, other = ours["Point"](1), theirs["Point"](1)
        self.assertEqual((repr(one), one.far()), (repr(other), other.far()))
        for name in ("__bases__", "__doc__", "__module__", "__qualname__", "_fields"):
            self.assertEqual(getattr(type(one), name), getattr(type(other), name), name)
        self.assertEqual(str(inspect.signature(type(one))), "(x: 'int', y: 'int' = 7)")
        self.assertEqual(type(one)._field_defaults, type(other)._field_defaults)
        self.assertEqual(typing.get_type_hints(type(one)), typing.get_type_hints(type(other)))

    def test_file_lookups(self):
        if shutil.which("strace") is None:
            self.skipTest("strace is not installed; it counts the look-ups")
        extra = lookups("import mpibind") - lookups("pass")
        self.assertLessEqual(extra, MAX_LOOKUPS)
        # One file has to be found at least: else nothing was counted.
        self.assertGreater(extra, 0)

    def test_every_public_name_is_there(self):
        import mpibind

        for name in mpibind.__all__:
            self.assertIsNotNone(getattr(mpibind, name), name)
        self.assertEqual(dir(mpibind), sorted(mpibind.__all__))
        with self.assertRaisesRegex(AttributeError, "no attribute 'nosuch'"):
            _ = mpibind.nosuch


if __name__ == "__main__":
    support.main()
