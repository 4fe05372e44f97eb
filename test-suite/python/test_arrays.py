"""Mappings as numpy arrays, on every machine of the collection."""

import inspect
import pickle
import unittest
from collections.abc import Sequence

import numpy as np
import support

import mpibind


class Arrays(unittest.TestCase):
    def test_they_agree_with_the_text_on_every_machine(self):
        for machine in support.MACHINES:
            node = mpibind.Topology.from_xml(machine)
            for ntasks in (1, 3, node.nnumas, node.npus + 1):
                with self.subTest(machine=machine.stem, ntasks=ntasks):
                    self.check(node, node.map(ntasks))

    def check(self, node: mpibind.Topology, m: mpibind.Mapping) -> None:
        lines = str(m).splitlines()
        self.assertEqual(len(lines), len(m))
        self.assertEqual(m.cpu_matrix.shape, (len(m), node.npus))
        self.assertEqual(m.numa_matrix.shape, (len(m), node.nnumas))
        self.assertEqual(m.gpu_matrix.shape, (len(m), len(node.gpus)))
        self.assertEqual(m.nic_matrix.shape, (len(m), len(node.nics)))
        for number, task in enumerate(m):
            self.assertEqual(lines[number].split()[-1], as_text(task.cpus.tolist()))
            np.testing.assert_array_equal(m.cpus[number], task.cpus)
            np.testing.assert_array_equal(m.cpu_ids[m.cpu_matrix[number]], task.cpus)
            self.assertEqual(m.nthreads[number], task.nthreads)
            self.assertEqual(m.gpus[number], task.gpus)
            gpus = [str(gpu.index) for gpu, has in zip(node.gpus, m.gpu_matrix[number]) if has]  # noqa: B905
            self.assertEqual(sorted(task.gpus), sorted(gpus))
            self.assertEqual(m.nics[number], task.nics)
            nics = [nic.name for nic, has in zip(node.nics, m.nic_matrix[number]) if has]  # noqa: B905
            self.assertEqual([*task.nics], nics)
            self.assertEqual(bool(nics), bool(node.nics))
            near = [bool(set(ids_of(numa.cpus)) & set(task.cpus.tolist())) for numa in node.numas]
            self.assertEqual(m.numa_matrix[number].tolist(), near)

    def test_types_and_rights(self):
        m = mpibind.Topology.from_synthetic("numa:2 core:4 pu:2").map(3)
        for array in [*m.cpus, m.nthreads, m.cpu_ids, m[0].cpus]:
            self.assertEqual((array.dtype, array.ndim), (np.dtype(np.int32), 1))
            with self.assertRaises(ValueError):
                array[0] = 1
        for matrix in [m.cpu_matrix, m.numa_matrix, m.gpu_matrix, m.nic_matrix]:
            self.assertEqual((matrix.dtype, matrix.ndim), (np.dtype(np.bool_), 2))
            with self.assertRaises(ValueError):
                matrix[0, 0] = True

    def test_sequence(self):
        m = mpibind.Topology.from_synthetic("numa:2 core:4 pu:1").map(4)
        self.assertEqual((len(m), m[-1].cpus.tolist()), (4, [6, 7]))
        self.assertEqual([task.cpus.tolist() for task in m[1:3]], [[2, 3], [4, 5]])
        self.assertEqual(m[::-1], [*reversed(m)])
        self.assertIn(m[2], m)
        self.assertNotIn(m[2]._replace(nthreads=7), m)
        for bad in (4, -5):
            with self.assertRaisesRegex(IndexError, f"no task {bad}; it must be 0 to 3"):
                m[bad]
        for bad in ("0", 1.0, None):
            with self.assertRaisesRegex(TypeError, f"an integer, or a slice of them, not {bad!r}"):
                m[bad]
        self.assertIsInstance(m, Sequence)
        self.assertEqual((m.index(m[2]), m.count(m[2])), (2, 1))
        with self.assertRaises(ValueError):
            m.index(m[2]._replace(nthreads=7))

    def test_a_loop_over_the_lists_of_cpus_does_not_cut_them_up_each_time(self):
        m = mpibind.Topology.from_synthetic("numa:2 core:4 pu:1").map(4)
        self.assertIs(m.cpus[3], m.cpus[3])
        self.assertIs(m.cpus[3], m[3].cpus)
        self.assertIs(m.cpus[0].base, m.cpus[3].base)  # views of one
        m.cpus.clear()
        self.assertEqual(len(m.cpus), 4)
        self.assertEqual(pickle.loads(pickle.dumps(m)), m)

    def test_errors_name_the_parameter(self):
        m = mpibind.Topology.from_synthetic("numa:2 core:4 pu:1").map(4)
        for name in ("env", "apply"):
            self.assertIn("taskid", inspect.signature(getattr(m, name)).parameters)
            for bad in (4, -1):
                with self.assertRaisesRegex(mpibind.InvalidParameterError, f"^taskid={bad} "):
                    getattr(m, name)(bad)

    def test_flags_may_be_those_of_numpy(self):
        node = mpibind.Topology.from_xml(support.WORKED_EXAMPLE)
        for value in (True, False):
            m = node.map(1, greedy=np.bool_(value), gpu_optim=np.array([value])[0])
            self.assertEqual(m, node.map(1, greedy=value, gpu_optim=value))
        self.assertNotEqual(node.map(1, greedy=np.False_), node.map(1, greedy=np.True_))

    def test_equality(self):
        def node(gpus=()):
            return mpibind.Topology.from_synthetic("numa:2 core:4 pu:1", gpus=gpus)

        self.assertEqual(node().map(4), node().map(4))
        self.assertNotEqual(node().map(4), node().map(3))
        self.assertNotEqual(node().map(4), node([1, 0]).map(4))
        self.assertNotEqual(node().map(4), "text")
        first, second = node().map(4), node().map(4)
        self.assertEqual(first[1], second[1])
        self.assertFalse(first[1] != second[1])
        self.assertNotEqual(first[1], second[2])
        self.assertNotEqual(first[1], tuple(second[2]))
        self.assertEqual(node(), node())
        self.assertNotEqual(node(), node([1, 0]))
        self.assertNotEqual(node(), "text")

    def test_shared_cpus_show_in_the_sum_over_tasks(self):
        m = mpibind.Topology.from_synthetic("core:2 pu:1").map(3)
        self.assertEqual(m.cpu_matrix.sum(axis=0).tolist(), [2, 1])


def ids_of(text: str) -> list[int]:
    ids: list[int] = []
    for item in filter(None, text.split(",")):
        first, _, last = item.partition("-")
        ids += range(int(first), int(last or first) + 1)
    return ids


def as_text(ids: list[int]) -> str:
    """Write a list as ranges, in another way than the core."""
    starts = [i for i in ids if i - 1 not in ids]
    ends = [i for i in ids if i + 1 not in ids]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


if __name__ == "__main__":
    support.main()
