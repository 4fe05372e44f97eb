"""mpibind.report, on this machine and on others."""

import os
import unittest

import support

from mpibind import reporting
from mpibind.launcher import Place


class Report(unittest.TestCase):
    def test_one_process(self):
        line, *findings = support.run("import mpibind; mpibind.report()").splitlines()
        cpus = sorted(os.sched_getaffinity(0))
        host = os.uname().nodename
        start = f"{host} task 0/1: lrank 0/1 nths {len(cpus)} gpus "
        self.assertTrue(line.startswith(start) and line.endswith(f" cpus {cpus}"), line)
        for finding in findings:
            self.assertIn("cgroup allows", finding)

    def test_place_of_a_launcher(self):
        env = {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "RANK": "3", "WORLD_SIZE": "4"}
        line = support.run("import mpibind; mpibind.report()", env=env).splitlines()[0]
        self.assertIn(" task 3/4: lrank 1/2 nths ", line)

    def test_threads_and_findings(self):
        tids, cpus, findings = support.run_json(
            """
            import json, os, threading
            import mpibind
            stop = threading.Event()
            thread = threading.Thread(target=stop.wait)
            thread.start()
            first = min(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {first})
            found = mpibind.report(as_dict=True)
            stop.set()
            (rank,) = found["ranks"]
            real = {int(tid) for tid in os.listdir("/proc/self/task")}
            told = {str(tid): cpus for tid, cpus in rank["threads"].items()}
            assert told[str(os.getpid())] == [first]
            assert told[str(thread.native_id)] == rank["cpus"]
            print(json.dumps([len(told), rank["cpus"], found["findings"]]))
            """,
            env={"OMP_NUM_THREADS": "5000"},
        )
        self.assertEqual((tids, cpus), (2, sorted(os.sched_getaffinity(0))))
        kinds = [finding["kind"] for finding in findings]
        self.assertEqual(kinds[0], "too-many-threads")
        self.assertIn("means to run 5000 threads", findings[0]["text"])

    def test_gpus_that_are_shown_and_far(self):
        cases = {
            "1": (["1"], []),
            "0,1": (["0", "1"], []),
            "1,0": (["1", "0"], []),
            "": ([], []),
            "GPU-nosuch": ([], []),
        }
        for value, (gpus, kinds) in cases.items():
            with self.subTest(value):
                found = self.dictionary(CUDA_VISIBLE_DEVICES=value)
                self.assertEqual(found["ranks"][0]["gpus"], gpus)
                self.assertEqual([f["kind"] for f in found["findings"]], kinds)
        # The GPUs are near CPUs 0-17 and 36-53.
        found = self.dictionary(CUDA_VISIBLE_DEVICES="1", CPUS="18")
        self.assertEqual([f["kind"] for f in found["findings"]], ["far-gpu"])
        self.assertIn("far from its GPU 1", found["findings"][0]["text"])
        self.assertEqual(self.dictionary()["ranks"][0]["gpus"], ["0", "1"])

    def dictionary(self, **env: str) -> dict:
        return support.run_json(
            f"""
            import json, os
            import mpibind
            from mpibind import _core
            if "CPUS" in os.environ:
                _core.thread_cpus = lambda: [(1, [int(os.environ["CPUS"])])]
            _core.cpu_quota = lambda: None
            found = mpibind.report(topology={str(support.WORKED_EXAMPLE)!r}, as_dict=True)
            print(json.dumps(found))
            """,
            env=env,
        )

    def test_threads_of_odd_variables(self):
        huge = {"99999999999": None, "9" * 5000: None}
        for value, expected in {"4": 4, "4,2": 4, " 3 ": 3, "x": None, "": None, **huge}.items():
            found = self.dictionary(OMP_NUM_THREADS=value, CPUS="0")
            self.assertEqual(found["ranks"][0]["nthreads"], expected, value)

    def test_gpus_of_a_node_that_is_not_known(self):
        """What variables name is all there is to say; how things are numbered is no name."""
        variables = {
            "CUDA_VISIBLE_DEVICES": "2, GPU-ab",
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "ZE_AFFINITY_MASK": "",
            "ZE_FLAT_DEVICE_HIERARCHY": "COMPOSITE",
        }
        for environ, gpus in ((variables, ("2", "GPU-ab")), ({}, ())):
            process = reporting.described(Place(0, 1, 0, 1), ((1, (0,)),), environ)
            ranks, findings = reporting.examine([process], OSError("no /sys"))
            self.assertEqual(ranks[0].gpus, gpus)
            self.assertEqual([found.kind for found in findings], ["no-topology"])
            self.assertIn(f"gpus {list(gpus)} cpus [0]", str(ranks[0]))

    def test_wrong_topologies(self):
        import mpibind

        with self.assertRaises(mpibind.TopologyError):
            mpibind.report(topology="/nosuch.xml")
        with self.assertRaises(TypeError):
            mpibind.report(topology=3)


if __name__ == "__main__":
    support.main()
