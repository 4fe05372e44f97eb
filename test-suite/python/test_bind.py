"""mpibind.bind: without MPI, each test in a process of its own, with the kernel as judge."""

import json
import os
import subprocess
import sys
import textwrap
import unittest

import support

SETUP = """
import json, os, warnings
import mpibind
from mpibind import _core

def masks():
    tids = [int(tid) for tid in os.listdir("/proc/self/task")]
    return [sorted(os.sched_getaffinity(tid)) for tid in tids]

def state():
    return masks(), dict(os.environ), _core.memory_policy()

before = state()
"""


def result(code: str, **env: str) -> object:
    return support.run_json(SETUP + textwrap.dedent(code), env=env)


class Place(unittest.TestCase):
    def test_explicit(self):
        found = result(
            """
            bindings = [mpibind.bind(local_rank=rank, local_size=2) for rank in range(2)]
            alone = mpibind.Topology().map(2)
            for binding, task in zip(bindings, alone):
                assert binding.cpus.tolist() == task.cpus.tolist()
                assert binding.nthreads == task.nthreads
            assert masks() == [bindings[1].cpus.tolist()]
            places = [[b.rank, b.size, b.local_rank, b.local_size] for b in bindings]
            for binding in reversed(bindings):
                binding.restore()
            assert state() == before
            print(json.dumps(places))
            """
        )
        self.assertEqual(found, [[0, 2, 0, 2], [1, 2, 1, 2]])

    def test_from_a_launcher(self):
        torchrun = {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "RANK": "3", "WORLD_SIZE": "4"}
        found = result("print(json.dumps(str(mpibind.bind())))", **torchrun)
        self.assertIn(" task 3/4: lrank 1/2 nths ", found)

    def test_errors_change_nothing(self):
        cases = {
            "LauncherError": ["mpibind.bind()", "mpibind.bind(local_rank=0)"],
            "InvalidParameterError": [
                "mpibind.bind(2, 2)",
                "mpibind.bind(0, 1, smt=99)",
                "mpibind.bind(0, 1 << 40)",
                "mpibind.bind(0, 2, respect='affinity')",
                "mpibind.bind(0, 1, restrict_ids='4000')",
            ],
            "TopologyError": ["mpibind.bind(0, 1, topology='/nosuch.xml')"],
            "AffinityError": [
                "mpibind.bind(1, 2, topology=mpibind.Topology.from_synthetic('core:999 pu:1'))"
            ],
            "TypeError": ["mpibind.bind('0', 1)", "mpibind.bind(0, 1, topology=3)"],
        }
        for kind, calls in cases.items():
            for call in calls:
                with self.subTest(call):
                    found = result(
                        f"""
                        try:
                            {call}
                        except Exception as error:
                            print(json.dumps([type(error).__name__, state() == before]))
                        """
                    )
                    self.assertEqual(found, [kind, True])

    def test_off(self):
        found = result(
            """
            binding = mpibind.bind()
            assert state() == before
            assert not binding.applied and binding.env == {} and binding.mapping is None
            assert binding.cpus.tolist() == before[0][0]
            binding.restore()
            print(json.dumps(binding.notes))
            """,
            MPIBIND="off",
        )
        self.assertEqual(found, ["MPIBIND=off: nothing was bound or set"])

    def test_verbose(self):
        code = "import mpibind; mpibind.bind(0, 1, verbose=True)"
        self.assertRegex(support.run(code), r"^\S+ task 0/1: lrank 0/1 nths .*\n$")
        code = "import mpibind; mpibind.bind(0, 1)"
        self.assertEqual(support.run(code), "")
        self.assertNotEqual(support.run(code, env={"MPIBIND": "v"}), "")


class Keywords(unittest.TestCase):
    GPUS = "topology=mpibind.Topology.from_synthetic('numa:2 core:1 pu:1', gpus=[1, 1])"

    def test_visible(self):
        shown = result(
            f"""
            shown = []
            for visible in ("own", "own-first", "off"):
                with mpibind.bind(1, 2, apply=False, visible=visible, {self.GPUS}) as binding:
                    shown.append(os.environ.get("VISIBLE_DEVICES"))
                    assert binding.gpus == ("1",)
            assert state() == before
            print(json.dumps(shown))
            """
        )
        self.assertEqual(shown, ["1", "1,0", None])

    def test_devices_of_a_scheduler_restrict_the_mapping(self):
        found = result(
            f"""
            with mpibind.bind(0, 2, apply=False, {self.GPUS}) as binding:
                # What this process has set itself was given by nobody.
                again = mpibind.bind(1, 2, apply=False, {self.GPUS})
                found = [binding.gpus, again.gpus, os.environ["VISIBLE_DEVICES"], binding.notes]
                again.restore()
            assert state() == before
            print(json.dumps(found))
            """,
            VISIBLE_DEVICES="1",
        )
        note = 'VISIBLE_DEVICES="1" shows 1 of the 2 GPUs of this node; only these are mapped'
        self.assertEqual(found, [["1"], ["1"], "1", [note]])

    def test_devices_that_a_scheduler_keeps_away_stay_away(self):
        for value, notes in [("NoDevFiles", 1), ("", 1), ("7", 2)]:
            found = result(
                f"""
                binding = mpibind.bind(0, 2, apply=False, {self.GPUS})
                said = os.environ["VISIBLE_DEVICES"]
                print(json.dumps([binding.gpus, said, len(binding.notes), sorted(binding.env)]))
                """,
                VISIBLE_DEVICES=value,
            )
            self.assertEqual(found, [[], value, notes, ["OMP_NUM_THREADS"]])

    def test_whoever_looks_at_another_machine_sees_all_its_gpus(self):
        found = result(
            f"""
            there = mpibind.bind(0, 1, apply=False, env=False, {self.GPUS})
            print(json.dumps(there.gpus))
            """,
            VISIBLE_DEVICES="1",
        )
        self.assertEqual(found, ["0", "1"])

    def test_words_leave_variables_out(self):
        env = result(
            """
            binding = mpibind.bind(0, 1, apply=False, omp_affinity=True)
            print(json.dumps(binding.env))
            """,
            MPIBIND="omp_places",
        )
        self.assertEqual(sorted(env), ["OMP_NUM_THREADS", "OMP_PROC_BIND"])

    def test_env_and_apply(self):
        done = result(
            """
            binding = mpibind.bind(0, 1, apply=False, env=False, membind="bind")
            assert state() == before and not binding.applied and binding.membind is None
            binding = mpibind.bind(0, 2, env=False)
            assert masks() == [binding.cpus.tolist()] and dict(os.environ) == before[1]
            binding.restore()
            assert state() == before
            print("true")
            """
        )
        self.assertTrue(done)

    def test_respect_affinity(self):
        cpus = sorted(os.sched_getaffinity(0))
        mine, beyond = result(
            """
            cpus = before[0][0]
            os.sched_setaffinity(0, cpus[-1:])
            mine = mpibind.bind(0, 1, respect="affinity").cpus.tolist()
            beyond = mpibind.bind(0, 1, respect="cgroup").cpus.tolist()
            print(json.dumps([mine, beyond]))
            """
        )
        self.assertEqual(mine, cpus[-1:])
        self.assertEqual(beyond, cpus)

    def test_respect_affinity_with_a_topology_that_has_none_of_the_cpus(self):
        message = result(
            """
            node = mpibind.Topology.from_synthetic("core:2 pu:1(indexes=700,701)")
            try:
                mpibind.bind(0, 1, respect="affinity", topology=node)
            except mpibind.InvalidParameterError as error:
                assert error.parameter == "respect"
                print(json.dumps(str(error)))
            """
        )
        self.assertIn("have none of its CPUs, 700-701", message)

    def test_membind(self):
        policies = result(
            """
            policies = []
            for membind in ("bind", "preferred"):
                binding = mpibind.bind(0, 1, membind=membind)
                assert binding.membind == membind and binding.notes == ()
                policies.append(_core.memory_policy())
                binding.restore()
                assert binding.membind is None
                assert state() == before
            print(json.dumps(policies))
            """
        )
        numas = ",".join(str(numa) for numa in numa_ids())
        self.assertEqual(policies, [f"bind:{numas}", f"preferred:{numas}"])

    def test_membind_that_is_refused_leaves_the_cpus_bound(self):
        applied, membind, notes, texts = result(
            """
            node = mpibind.Topology.from_synthetic("numa:1(indexes=900) pu:1")
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                binding = mpibind.bind(0, 1, membind="bind", topology=node)
            assert masks() == [[0]]
            texts = [str(warning.message) for warning in caught]
            result = [binding.applied, binding.membind, binding.notes, texts]
            binding.restore()
            assert state() == before
            print(json.dumps(result))
            """
        )
        self.assertEqual((applied, membind), (True, None))
        self.assertEqual(notes, texts)
        self.assertIn(
            "the CPUs are bound, memory is not: cannot set the memory policy bind:900", texts[0]
        )

    def test_warnings_that_are_errors_leave_nothing_bound(self):
        found = result(
            """
            warnings.simplefilter("error")
            node = mpibind.Topology.from_synthetic("numa:1(indexes=900) pu:1")
            try:
                mpibind.bind(0, 1, membind="bind", topology=node)
            except UserWarning:
                print(json.dumps(state() == before))
            """
        )
        self.assertTrue(found)

    def test_what_fails_after_the_cpus_are_bound_leaves_nothing_bound(self):
        found = result(
            """
            from mpibind import given
            def fail(*words):
                raise RuntimeError("planted")
            given.set_variable = fail
            try:
                mpibind.bind(0, 1, nthreads=1)
            except RuntimeError:
                print(json.dumps(state() == before))
            """
        )
        self.assertTrue(found)

    def test_lines_that_cannot_be_printed_are_a_warning(self):
        texts = result(
            """
            out = os.dup(1)
            os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                binding = mpibind.bind(0, 1, verbose=True)
            os.dup2(out, 1)
            print(json.dumps([str(warning.message) for warning in caught]))
            """
        )
        self.assertEqual(len(texts), 1)
        self.assertRegex(texts[0], "verbose= asks for could not be printed: .*No space left")

    def test_a_choice_that_equals_an_earlier_one_of_ours_is_heeded(self):
        gpus = result(
            """
            node = mpibind.Topology.from_synthetic("core:2 pu:1", gpus=[4])
            mpibind.bind(0, 4, topology=node, apply=False).restore()
            assert state() == before
            os.environ["VISIBLE_DEVICES"] = "0"
            print(json.dumps(mpibind.bind(0, 1, topology=node, apply=False).gpus))
            """
        )
        self.assertEqual(gpus, ["0"])

    def test_variables_that_are_not_text(self):
        """Bytes that no runtime takes name no GPU, and nothing fails for them."""
        gpus = result(
            """
            os.environ["VISIBLE_DEVICES"] = chr(0xDCFF)
            node = mpibind.Topology.from_synthetic("core:2 pu:1", gpus=[1])
            report = mpibind.report(topology=node, as_dict=True)
            told = [report["ranks"][0]["gpus"], node.map(1, environ=os.environ)[0].gpus]
            told.append(mpibind.bind(0, 1, topology=node, apply=False).gpus)
            print(json.dumps(told))
            """
        )
        self.assertEqual(gpus, [[], [], []])


def numa_ids() -> list[int]:
    import mpibind

    return [numa.os_index for numa in mpibind.Topology().numas if numa.cpus]


class Pools(unittest.TestCase):
    """numpy's OpenBLAS is loaded before bind()."""

    def test_pools_are_resized_and_restored(self):
        sizes = result(
            """
            import numpy
            from threadpoolctl import threadpool_info
            def sizes():
                return [pool["num_threads"] for pool in threadpool_info()]
            for name in ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"):
                os.environ.pop(name, None)
            before = state()
            first = sizes()
            with mpibind.bind(0, 1, nthreads=1):
                bound = sizes()
            assert state() == before
            print(json.dumps([first, bound, sizes()]))
            """
        )
        first, bound, last = sizes
        self.assertEqual(bound, [1] * len(first))
        self.assertEqual(last, first)
        self.assertTrue(first)

    def test_without_threadpoolctl_a_warning_names_them(self):
        texts = result(
            """
            import sys
            sys.modules["threadpoolctl"] = None
            import numpy
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                mpibind.bind(0, 1, nthreads=1)
            print(json.dumps([str(warning.message) for warning in caught]))
            """
        )
        self.assertEqual(len(texts), 1)
        self.assertIn("OpenBLAS was loaded before bind() (by numpy)", texts[0])
        self.assertIn("pip install 'mpibind[threads]'", texts[0])

    def test_pools_that_have_their_size_are_left_alone(self):
        loaded = result(
            """
            import sys
            import numpy
            mpibind.bind(0, 1, nthreads=1)
            print(json.dumps("threadpoolctl" in sys.modules))
            """,
            OMP_NUM_THREADS="1",
        )
        self.assertFalse(loaded)

    def test_importing_threadpoolctl_leaves_the_environment_alone(self):
        env = result(
            """
            import numpy
            mpibind.bind(0, 1, nthreads=1).restore()
            print(json.dumps(dict(os.environ) == before[1]))
            """
        )
        self.assertTrue(env)


class Gpus(unittest.TestCase):
    def test_a_started_runtime_gets_a_warning(self):
        """Its open device is what tells, as the core's own tests show."""
        texts = result(
            """
            from unittest import mock
            from mpibind import _core
            asked = []
            def started(names):
                asked.extend(names)
                return ["CUDA_VISIBLE_DEVICES"]
            node = "test-suite/topologies/milan-a100-4gpu.xml"
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                mpibind.bind(0, 1, topology=node, apply=False).restore()
                with mock.patch.object(_core, "started_gpus", started):
                    mpibind.bind(0, 1, topology=node, apply=False).restore()
            print(json.dumps([str(warning.message) for warning in caught] + asked))
            """
        )
        self.assertIn("CUDA_VISIBLE_DEVICES was set after the GPUs were first used", texts[0])
        self.assertIn("CUDA_VISIBLE_DEVICES", texts[1:])


class Pool(unittest.TestCase):
    """Workers of the standard library bind themselves as they start."""

    def check(self, script: str) -> None:
        path = support.ROOT / "test-suite" / "mpi" / script
        done = subprocess.run(
            [sys.executable, "-W", "error", path, "3"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        found = sorted(json.loads(done.stdout))
        import mpibind

        mapping = mpibind.Topology().map(3)
        expected = [[rank, mapping[rank].cpus.tolist()] for rank in range(3)]
        self.assertEqual(found, expected)

    def test_multiprocessing(self):
        self.check("workers_multiprocessing.py")

    def test_concurrent_futures(self):
        self.check("workers_futures.py")


if __name__ == "__main__":
    support.main()
