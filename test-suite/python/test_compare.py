"""What differs between two mappings."""

import unittest

import numpy as np
import support
from hypothesis import given, settings
from test_json import mappings

import mpibind


def ids(comparison: mpibind.Comparison, row: np.ndarray) -> list[int]:
    return comparison.cpu_ids[row].tolist()


class Compare(unittest.TestCase):
    def setUp(self):
        self.node = mpibind.Topology.from_xml(support.WORKED_EXAMPLE)

    def test_the_same(self):
        same = mpibind.compare(self.node.map(4), self.node.map(4))
        self.assertTrue(same.same)
        self.assertEqual(same.tasks.tolist(), [])
        self.assertEqual(str(same), "the mappings are the same")
        self.assertEqual(repr(same), "the mappings are the same")

    def test_words_need_no_matrix_of_tasks_by_cpus(self):
        found = mpibind.compare(self.node.map(4), self.node.map(3, smt=2))
        str(found)
        self.assertFalse({"_matrices", "gained", "lost"} & {*vars(found)})

    def test_one_node(self):
        found = mpibind.compare(self.node.map(4), self.node.map(3, smt=2))
        self.assertFalse(found.same)
        self.assertEqual(found.tasks.tolist(), [0, 1, 2, 3])
        self.assertEqual(found.nthreads.tolist(), [[4, 12], [4, 12], [4, 12], [4, 0]])
        self.assertEqual(found.gpus[3], (("1",), ()))
        self.assertEqual(ids(found, found.lost[3]), [14, 15, 16, 17])
        self.assertEqual(
            str(found),
            "tasks 4 -> 3\n"
            "task 0: nths 4 -> 12, cpus +5,36-41\n"
            "task 1: nths 4 -> 12, cpus -5 +10-11,42-47\n"
            "task 2: nths 4 -> 12, cpus -10-11 +14-17,48-53\n"
            "task 3 is gone: nths 4 gpus 1 cpus 14-17\n"
            "in all: CPUs in use 18 -> 36, threads 16 -> 36",
        )
        back = str(mpibind.compare(self.node.map(3, smt=2), self.node.map(4)))
        self.assertIn("task 3 is new: nths 4 gpus 1 cpus 14-17", back)

    def test_gpus_and_what_is_shared(self):
        text = str(mpibind.compare(self.node.map(4), self.node.map(4, gpu_optim=False)))
        self.assertIn("task 1: nths 4 -> 9, cpus -5-8 +10-17, gpus 0 -> 1", text)
        crowded = mpibind.Topology.from_synthetic("numa:2 core:2 pu:1")
        text = str(mpibind.compare(crowded.map(1), crowded.map(6)))
        self.assertIn("tasks that share CPUs 0 -> 4", text)
        self.assertIn("tasks across NUMA nodes 1 -> 0", text)

    def test_caches_count_where_both_nodes_have_some(self):
        caches = mpibind.Topology.from_synthetic("numa:2 l3:2 core:2 pu:1").map(2)
        text = str(mpibind.compare(caches, caches.topology.map(4)))
        self.assertIn("tasks across L3 caches 2 -> 0", text)
        none = mpibind.Topology.from_synthetic("numa:2 core:2 pu:1").map(4)
        self.assertNotIn("caches", str(mpibind.compare(caches, none)))

    def test_two_nodes(self):
        small = mpibind.Topology.from_synthetic("core:2 pu:1(indexes=3,80)")
        found = mpibind.compare(small.map(1), self.node.map(1))
        self.assertEqual(found.cpu_ids.tolist(), [*range(72), 80])
        self.assertEqual(ids(found, found.lost[0]), [80])
        self.assertEqual(ids(found, found.gained[0]), [i for i in range(72) if i != 3])
        self.assertIn('the nodes differ:\n  - <Topology "core:2', str(found))

    def test_arrays_are_typed_and_read_only(self):
        found = mpibind.compare(self.node.map(4), self.node.map(5))
        for array, kind, shape in (
            (found.tasks, np.int32, (4,)),
            (found.cpu_ids, np.int32, (72,)),
            (found.nthreads, np.int32, (5, 2)),
            (found.gained, np.bool_, (5, 72)),
            (found.lost, np.bool_, (5, 72)),
        ):
            self.assertEqual((array.dtype, array.ndim), (np.dtype(kind), len(shape)))
            with self.assertRaises(ValueError):
                array[0] = 0
        self.assertEqual(found.gained.shape, (5, 72))

    def test_only_mappings_are_compared(self):
        with self.assertRaisesRegex(TypeError, "second must be a Mapping, not 3"):
            mpibind.compare(self.node.map(1), 3)

    @settings(deadline=None)
    @given(mappings(), mappings())
    def test_any_two(self, first, second):
        found = mpibind.compare(first, second)
        alike = (list(first), first.topology) == (list(second), second.topology)
        self.assertEqual(found.same, alike)
        for task in range(found.nthreads.shape[0]):
            before = set(first[task].cpus.tolist()) if task < len(first) else set()
            after = set(second[task].cpus.tolist()) if task < len(second) else set()
            self.assertEqual(set(ids(found, found.gained[task])), after - before)
            self.assertEqual(set(ids(found, found.lost[task])), before - after)
        differ = [
            task
            for task in range(max(len(first), len(second)))
            if first[task : task + 1] != second[task : task + 1]
        ]
        self.assertEqual(found.tasks.tolist(), differ)


if __name__ == "__main__":
    support.main()
