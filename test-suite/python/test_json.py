"""Nodes and mappings come back from JSON, XML and pickles; bad JSON is refused in words."""

import json
import os
import pickle
import tempfile
import unittest
from pathlib import Path

import numpy as np
import support
from hypothesis import given, settings
from hypothesis import strategies as st

import mpibind


@st.composite
def mappings(draw) -> mpibind.Mapping:
    """Draw a mapping of a made-up node, restricted or not."""
    packages, caches, cores = (draw(st.integers(1, 3)) for _ in range(3))
    smt = draw(st.integers(1, 4))
    text = f"package:{packages} [numa] l3:{caches} core:{cores} pu:{smt}"
    gpus = draw(st.lists(st.integers(0, 3), max_size=packages))
    node = mpibind.Topology.from_synthetic(text, gpus)
    last = node.npus - 1
    ids = st.sets(st.integers(0, last), min_size=1)
    return node.map(
        draw(st.integers(1, 2 * node.npus)),
        nthreads=draw(st.integers(0, 5)),
        greedy=draw(st.booleans()),
        gpu_optim=draw(st.booleans()),
        restrict_ids=draw(st.none() | ids),
        gpu_ids=draw(st.sampled_from(["index", "name"])),
    )


class RoundTrips(unittest.TestCase):
    @settings(deadline=None)  # No test asserts a time.
    @given(mappings())
    def test_any_mapping(self, m):
        self.check(m)

    def test_every_machine(self):
        for machine in support.MACHINES:
            with self.subTest(machine=machine.stem):
                node = mpibind.Topology.from_xml(machine)
                has_uuids = all(gpu.uuid for gpu in node.gpus)
                kind = "uuid" if has_uuids else "name"
                self.check(node.map(5, greedy=False, gpu_ids=kind))

    def check(self, m: mpibind.Mapping) -> None:
        text = m.to_json()
        for again in (
            mpibind.Mapping.from_json(text),
            mpibind.Mapping.from_json(text.encode()),
            pickle.loads(pickle.dumps(m)),
        ):
            self.assertEqual(again, m)
            self.assertEqual(str(again), str(m))
            self.assertEqual(again.to_json(), text)
            self.assertEqual(again.topology, m.topology)
            np.testing.assert_array_equal(again.cpu_matrix, m.cpu_matrix)
            np.testing.assert_array_equal(again.numa_matrix, m.numa_matrix)
            np.testing.assert_array_equal(again.gpu_matrix, m.gpu_matrix)
            self.assertEqual(list(again), list(m))
            for task in range(len(m)):
                self.assertEqual(again.env(task), m.env(task))
        node = m.topology
        self.assertEqual(pickle.loads(pickle.dumps(node)), node)
        self.assertEqual(mpibind.Topology.from_json(node.to_json()).gpus, node.gpus)
        self.assertEqual(json.loads(text), m.to_dict())
        self.assertEqual(m.to_dict()["node"], node.to_dict())

    def test_mappings_of_gpus_that_were_given(self):
        cases = {
            "milan-a100-4gpu": [{"CUDA_VISIBLE_DEVICES": "0,3"}, {"CUDA_VISIBLE_DEVICES": "3"}],
            "aurora-6gpu": {"ZE_AFFINITY_MASK": "0.1,1"},
            "mi250x-8gpu": {"ROCR_VISIBLE_DEVICES": "2,3", "HIP_VISIBLE_DEVICES": "1"},
        }
        for machine, environ in cases.items():
            with self.subTest(machine=machine):
                file = support.ROOT / "test-suite" / "topologies" / f"{machine}.xml"
                m = mpibind.Topology.from_xml(file).map(2, environ=environ)
                self.check(m)
                # Without the terms its variables are others.
                document = m.to_dict()
                del document["terms"]
                bare = mpibind.Mapping.from_json(json.dumps(document))
                self.assertNotEqual(bare.env(0), m.env(0))

    def test_what_is_not_counted(self):
        node = mpibind.Topology.from_xml(
            support.ROOT / "test-suite" / "topologies" / "decoys-0gpu.xml"
        )
        self.assertTrue(node.gpus.uncounted)
        again = mpibind.Topology.from_json(node.to_json())
        self.assertEqual(again.gpus.uncounted, node.gpus.uncounted)

    def test_what_may_be_missing(self):
        """What was written before there was more to say of devices is read."""
        file = support.ROOT / "test-suite" / "topologies" / "milan-a100-4gpu.xml"
        document = mpibind.Topology.from_xml(file).to_dict()
        for name in ("uncounted", "notes"):
            del document[name]
        for gpu in document["gpus"]:
            for name in ("ordinal", "tiles", "first_tile", "device_file", "found"):
                del gpu[name]
        for nic in document["nics"]:
            del nic["port"]
        again = mpibind.Topology.from_json(json.dumps(document))
        self.assertEqual([gpu.index for gpu in again.gpus], [3, 2, 1, 0])
        self.assertEqual(again.to_dict()["gpus"][0]["first_tile"], 3)

    def test_a_node_from_json_is_mapped_like_the_one_it_was(self):
        for machine in support.MACHINES:
            node = mpibind.Topology.from_xml(machine)
            again = mpibind.Topology.from_json(node.to_json())
            with self.subTest(machine=machine.stem):
                self.assertEqual(str(again.map(3)), str(node.map(3)))
                self.assertEqual(again.origin, f"{node.origin} (from JSON)")
                self.assertEqual(again.to_json(), node.to_json())

    def test_files(self):
        node = mpibind.Topology.from_xml(support.WORKED_EXAMPLE)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "node")
            for thing, read in (
                (node, mpibind.Topology.from_json),
                (node.map(4), mpibind.Mapping.from_json),
            ):
                self.assertIsNone(thing.to_json(path))
                self.assertEqual(read(path), thing)
                self.assertEqual(path.read_text(), thing.to_json() + "\n")
            self.assertIsNone(node.to_xml(os.fspath(path)))
            self.assertEqual(mpibind.Topology.from_xml(path), node)

    def test_this_machine(self):
        node = mpibind.Topology()
        with tempfile.TemporaryDirectory() as folder:
            node.to_xml(Path(folder, "node.xml"))
            self.assertEqual(mpibind.Topology.from_xml(Path(folder, "node.xml")).npus, node.npus)
        self.assertEqual(mpibind.Topology.from_json(node.to_json()), node)

    def test_a_mapping_from_json_binds(self):
        mask, wanted = support.run_json("""
            import json, os, mpibind
            m = mpibind.Mapping.from_json(mpibind.Topology().map(2).to_json())
            with_old = m.apply(1)
            bound = sorted(os.sched_getaffinity(0))
            with_old.restore()
            print(json.dumps([bound, m[1].cpus.tolist()]))
        """)
        self.assertEqual(mask, wanted)

    def test_a_mapping_of_another_machine_is_refused_here(self):
        cpu = max(os.sched_getaffinity(0)) + 1
        text = mpibind.Topology.from_synthetic(f"core:{cpu + 1} pu:1").map(1).to_json()
        before = os.sched_getaffinity(0)
        with self.assertRaisesRegex(mpibind.AffinityError, "was the mapping made for another"):
            mpibind.Mapping.from_json(text).apply(0)
        self.assertEqual(os.sched_getaffinity(0), before)


class Refused(unittest.TestCase):
    def test_terms_that_cannot_be(self):
        file = support.ROOT / "test-suite" / "topologies" / "milan-a100-4gpu.xml"
        own = [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "3"}]
        document = mpibind.Topology.from_xml(file).map(2, environ=own).to_dict()
        for terms, words in (
            ({"kept": [{"LD_PRELOAD": "x"}, {}]}, '"LD_PRELOAD" is none of CUDA_VISIBLE_DEVICES'),
            ({"kept": [{}]}, "keep the variables of 1 tasks"),
            ({"upper": ["PATH"]}, '"PATH" is none of'),
            ({"hierarchy": "ROUND"}, 'hierarchy "ROUND" is none of FLAT, COMBINED, COMPOSITE'),
        ):
            with self.subTest(terms=terms):
                text = json.dumps({**document, "terms": {**document["terms"], **terms}})
                with self.assertRaisesRegex(mpibind.InvalidParameterError, words):
                    mpibind.Mapping.from_json(text)

    def test_what_is_wrong_is_said(self):
        node = mpibind.Topology.from_synthetic("numa:2 core:2 pu:1")
        document = node.map(2).to_dict()
        newer = {**document, "version": 7}
        worse = {**document, "tasks": [{"cpus": "0-3"}]}
        for text, words in (
            ("", "it is not JSON"),
            ("m.json", "name of a file is given as pathlib.Path"),
            ("3", "it is JSON, but of something else"),
            ('{"a": 1}', 'its "format" is "", not "mpibind mapping"'),
            (node.to_json(), "read it as what it is"),
            (json.dumps(newer), 'its "version" is 7, and mpibind .* reads version 1'),
            (json.dumps(worse), r"not whole at tasks\[0\].cpus: invalid type: string"),
        ):
            with self.subTest(text[:40]):
                with self.assertRaisesRegex(mpibind.InvalidParameterError, words) as caught:
                    mpibind.Mapping.from_json(text)
                self.assertEqual(caught.exception.parameter, "text")
                self.assertTrue(str(caught.exception).startswith("text="))
        with self.assertRaisesRegex(TypeError, "text must be text, not 3"):
            mpibind.Mapping.from_json(3)
        for read in (mpibind.Mapping.from_json, mpibind.Topology.from_json):
            with self.assertRaisesRegex(
                mpibind.InvalidParameterError, r"^text=b'{\\xff'.* not text in UTF-8 .*at byte 1"
            ):
                read(b"{\xff")

    def test_files(self):
        node = mpibind.Topology.from_synthetic("numa:2 core:2 pu:1")
        for act in (node.to_xml, node.to_json, node.map(2).to_json):
            with self.assertRaisesRegex(OSError, "/nowhere/file"):
                act("/nowhere/file")
            with self.assertRaisesRegex(OSError, "''"):
                act("")
            with self.assertRaisesRegex(TypeError, "path must be a path, not 3"):
                act(3)
        for read in (mpibind.Topology.from_json, mpibind.Mapping.from_json):
            with self.assertRaisesRegex(OSError, "/nowhere/file"):
                read(Path("/nowhere/file"))

    def test_json_where_xml_is_expected(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "node.json")
            mpibind.Topology.from_synthetic("core:2 pu:1").to_json(path)
            with self.assertRaisesRegex(mpibind.TopologyError, "looks like JSON.*from_json"):
                mpibind.Topology.from_xml(path)

    def test_xml_of_what_hwloc_has_not_seen(self):
        node = mpibind.Topology.from_synthetic("numa:2 core:2 pu:1", gpus=[1])
        with self.assertRaisesRegex(mpibind.TopologyError, "GPUs that were made up"):
            node.to_xml()
        with self.assertRaisesRegex(mpibind.TopologyError, "did not come from hwloc"):
            mpibind.Topology.from_json(node.to_json()).to_xml()

    def test_xml_of_a_machine_that_a_variable_hides_meanwhile(self):
        said = support.run("""
            import os, mpibind
            node = mpibind.Topology()
            os.environ["HWLOC_SYNTHETIC"] = "core:3 pu:1"
            try:
                node.to_xml()
            except mpibind.TopologyError as error:
                print(error)
        """)
        self.assertIn("HWLOC_SYNTHETIC has changed", said)


if __name__ == "__main__":
    support.main()
