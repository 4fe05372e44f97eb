"""Settings from the environment: MPIBIND and its relatives, and what comes before what."""

import contextlib
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import support

from mpibind import InvalidParameterError
from mpibind.settings import resolve


@contextlib.contextmanager
def variables(**values: str):
    with mock.patch.dict(os.environ, values):
        yield


def words(**arguments: object) -> dict[str, str]:
    return resolve(**arguments).words()


class Precedence(unittest.TestCase):
    def test_argument_then_variable_then_default(self):
        self.assertEqual(words()["smt"], "0")
        with variables(MPIBIND="smt:2,greedy:0,gpu:0,visdevs,v"):
            told = words()
            self.assertEqual(
                [told[name] for name in ("smt", "greedy", "gpu_optim", "visible")],
                ["2", "False", "False", "'off'"],
            )
            self.assertEqual(resolve().core.verbose, 1)
            given = words(smt=0, greedy=True, gpu_optim=True, visible="own")
            self.assertEqual(
                [given[name] for name in ("smt", "greedy", "gpu_optim", "visible")],
                ["0", "True", "True", "'own'"],
            )
            self.assertEqual(resolve(verbose=False).core.verbose, 0)

    def test_restriction(self):
        with variables(MPIBIND_RESTRICT="0-3,8", MPIBIND_RESTRICT_TYPE="mem"):
            told = words()
            self.assertEqual((told["restrict_ids"], told["restrict_type"]), ('"0-3,8"', '"mem"'))
            # Ids in code are not of the type that a variable gives for other ids.
            told = words(restrict_ids=[1])
            self.assertEqual((told["restrict_ids"], told["restrict_type"]), ('"1"', '"cpu"'))
            self.assertEqual(words(restrict_type="cpu")["restrict_type"], '"cpu"')

    def test_restriction_in_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ids"
            path.write_text("0-3\n8, 9\n")
            with variables(MPIBIND_RESTRICT=str(path)):
                self.assertEqual(words()["restrict_ids"], '"0-3,8-9"')
            path.write_bytes(b"\xff\xfe")
            with variables(MPIBIND_RESTRICT=str(path)):
                self.assertRaisesRegex(InvalidParameterError, "MPIBIND_RESTRICT=", resolve)

    def test_a_wrong_file_is_not_printed_whole(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ids"
            path.write_text("name:secret:1:1\n" * 100)
            with variables(MPIBIND_RESTRICT=str(path)):
                with self.assertRaises(InvalidParameterError) as caught:
                    resolve()
                self.assertLess(len(str(caught.exception)), 400)
                self.assertIn(str(path), str(caught.exception))

    def test_a_huge_file_is_not_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ids"
            path.write_text("0," * 2**19)
            with variables(MPIBIND_RESTRICT=str(path)):
                self.assertEqual(words()["restrict_ids"], '"0"')
                os.truncate(path, 2**33)
                with self.assertRaises(InvalidParameterError) as caught:
                    resolve()
            self.assertIn(f"MPIBIND_RESTRICT='{path}'", str(caught.exception))
            self.assertIn("it has more than 1048576 bytes", str(caught.exception))

    def test_errors_name_the_variable(self):
        for name, value in (("MPIBIND_RESTRICT", "/nosuch"), ("MPIBIND_RESTRICT", "3-1")):
            with variables(**{name: value}):
                self.assertRaisesRegex(InvalidParameterError, f"from {name}='{value}'", resolve)
        with variables(MPIBIND_RESTRICT="0", MPIBIND_RESTRICT_TYPE="numa"):
            self.assertRaisesRegex(InvalidParameterError, "from MPIBIND_RESTRICT_TYPE=", resolve)

    def test_off_beats_everything(self):
        with variables(MPIBIND="smt:1,off"):
            settings = resolve(nthreads="not even a number", apply=True, verbose=True).core
            self.assertTrue(settings.is_off)
            self.assertFalse(settings.apply or settings.env or settings.verbose)

    def test_wrong_arguments(self):
        cases = {
            "visible": "mine",
            "respect": "mask",
            "membind": "interleave",
            "gpu_ids": "nvml",
            "verbose": -1,
            "smt": -1,
            "nthreads": -1,
            "restrict_type": "numa",
        }
        for name, value in cases.items():
            with self.subTest(name), self.assertRaises(InvalidParameterError) as caught:
                resolve(**{name: value})
            self.assertEqual(caught.exception.parameter, name)
        self.assertRaisesRegex(InvalidParameterError, "a number from 0; 2 and", resolve, verbose=-1)
        self.assertEqual(resolve(verbose=3).core.verbose, 3)
        flags = ("apply", "env", "nics", "omp_affinity", "greedy", "gpu_optim")
        for name in (*flags, "verbose", "visible"):
            with self.subTest(name), self.assertRaisesRegex(TypeError, f"{name} must be"):
                resolve(**{name: 1.5})


if __name__ == "__main__":
    support.main()
