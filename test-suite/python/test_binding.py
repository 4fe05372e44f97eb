"""Binding, each test in a process of its own, with the kernel as judge."""

import unittest

import support

SETUP = """
import json, os, threading
import mpibind

cpus = sorted(os.sched_getaffinity(0))

def masks():
    tids = [int(tid) for tid in os.listdir("/proc/self/task")]
    return [sorted(os.sched_getaffinity(tid)) for tid in tids]

stop = threading.Event()
threads = [threading.Thread(target=stop.wait) for _ in range(3)]
for thread in threads:
    thread.start()

def finish(result):
    stop.set()
    print(json.dumps(result))
"""


def result(code: str) -> object:
    import textwrap

    return support.run_json(SETUP + textwrap.dedent(code))


class Apply(unittest.TestCase):
    def test_every_thread_is_bound_and_restored(self):
        bound, restored, cpus, mine = result(
            """
            mapping = mpibind.Topology().map(len(cpus))
            saved = mapping.apply(len(cpus) - 1)
            bound = masks()
            mine = mapping[len(cpus) - 1].cpus.tolist()
            assert saved.cpus == cpus
            saved.restore()
            finish([bound, masks(), cpus, mine])
            """
        )
        self.assertEqual(bound, [mine] * 4)
        self.assertEqual(restored, [cpus] * 4)

    def test_a_pickled_binding_is_a_record(self):
        before, after, bound, old, told = result(
            """
            import pickle
            binding = mpibind.bind(0, 1, restrict_ids=[cpus[0]])
            copy = pickle.loads(pickle.dumps(binding))
            assert str(copy) == str(binding) and copy.before.tolist() == cpus
            before = masks()
            copy.restore()
            after, variable = masks(), os.environ["OMP_NUM_THREADS"]
            told = [copy.applied, copy.env, copy.mapping == binding.mapping, variable]
            binding.restore()
            finish([before, after, [[cpus[0]]] * 4, masks() == [cpus] * 4, told])
            """
        )
        self.assertEqual((before, after, old), (bound, bound, True))
        self.assertEqual(told, [True, {"OMP_NUM_THREADS": "1"}, True, "1"])

    def test_new_threads_inherit(self):
        seen, mine = result(
            """
            mapping = mpibind.Topology().map(1, restrict_ids=[cpus[0]])
            mapping.apply(0)
            seen = []
            late = threading.Thread(target=lambda: seen.append(sorted(os.sched_getaffinity(0))))
            late.start()
            late.join()
            finish([seen, [cpus[0]]])
            """
        )
        self.assertEqual(seen, [mine])

    def test_cpus_of_another_machine_are_named_and_nothing_is_bound(self):
        message, refused, now, cpus = result(
            """
            mapping = mpibind.Topology.from_synthetic("numa:2 core:600 pu:1").map(2)
            try:
                mapping.apply(1)
            except mpibind.AffinityError as error:
                assert isinstance(error, OSError)
                finish([str(error), error.refused, masks(), cpus])
            """
        )
        self.assertIn("does not have CPUs", message)
        self.assertIn(refused, message)
        self.assertEqual(now, [cpus] * 4)

    def test_half_of_the_cpus_missing_is_an_error_too(self):
        refused, now, cpus = result(
            """
            handle = mpibind.MpibindHandle(1, topology_file=None)
            mapping = mpibind.Topology.from_synthetic("core:1000 pu:1").map(1)
            try:
                mapping.apply(0)
            except mpibind.AffinityError as error:
                finish([error.refused, masks(), cpus])
            """
        )
        self.assertRegex(refused, r"^\d+-999$")
        self.assertEqual(now, [cpus] * 4)

    def test_a_mask_from_the_launcher_is_no_limit(self):
        # Launchers bind ranks to single cores; the job's CPUs are those of its cgroup.
        mapped, cpus = result(
            """
            os.sched_setaffinity(0, cpus[:1])
            mapping = mpibind.Topology().map(1)
            mapping.apply(0)
            finish([sorted(os.sched_getaffinity(0)), cpus])
            """
        )
        self.assertIn(cpus[-1] if len(cpus) > 1 else cpus[0], mapped)

    def test_threads_that_come_and_go_do_not_disturb(self):
        ok = result(
            """
            churn = threading.Event()
            def spawn():
                while not churn.is_set():
                    t = threading.Thread(target=lambda: None)
                    t.start()
                    t.join()
            spawners = [threading.Thread(target=spawn) for _ in range(2)]
            for spawner in spawners:
                spawner.start()
            mapping = mpibind.Topology().map(1, restrict_ids=[cpus[0]])
            for _ in range(50):
                mapping.apply(0).restore()
            mapping.apply(0)
            good = all(mask == [cpus[0]] for mask in [sorted(os.sched_getaffinity(0))])
            churn.set()
            for spawner in spawners:
                spawner.join()
            finish(good)
            """
        )
        self.assertTrue(ok)


class CgroupOfAJob(unittest.TestCase):
    """A cpuset cgroup with one CPU, as a batch system makes it."""

    def setUp(self):
        cpus = support.two_cpus(self)
        self.allowed, self.forbidden = cpus[-1], cpus[0]
        self.folder = support.cpuset_cgroup(self, self.allowed)

    def test_only_its_cpus_are_seen_and_the_others_are_named(self):
        cpus, mapped, message, refused, now = support.run_json(
            f"""
            import json, os
            with open({str(self.folder / "cgroup.procs")!r}, "w") as procs:
                procs.write(str(os.getpid()))
            import mpibind
            node = mpibind.Topology()
            mapping = node.map(2)
            mapping.apply(1)
            try:
                mpibind.Topology.from_synthetic("core:2 pu:1").map(1).apply(0)
            except mpibind.AffinityError as error:
                mapped = [task.cpus.tolist() for task in mapping]
                now = sorted(os.sched_getaffinity(0))
                print(json.dumps([node.cpus, mapped, str(error), error.refused, now]))
            """
        )
        self.assertEqual((cpus, mapped), (str(self.allowed), [[self.allowed]] * 2))
        self.assertEqual(refused, str(self.forbidden))
        self.assertIn(f"CPUs {self.forbidden} are not allowed to this process", message)
        self.assertEqual(now, [self.allowed])


if __name__ == "__main__":
    support.main()
