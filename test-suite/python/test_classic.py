"""The classic interface: the documented program, and every name of the old module."""

import unittest

import support

import mpibind

WORKED_EXAMPLE = [
    "mpibind: task  0 nths  4 gpus 0 cpus 0-4",
    "mpibind: task  1 nths  4 gpus 0 cpus 5-9",
    "mpibind: task  2 nths  4 gpus 1 cpus 10-13",
    "mpibind: task  3 nths  4 gpus 1 cpus 14-17",
]


def mapped(**parameters: object) -> mpibind.MpibindHandle:
    handle = mpibind.MpibindHandle(
        **{"ntasks": 4, "topology_file": support.WORKED_EXAMPLE, **parameters}
    )
    handle.mpibind()
    return handle


class DocumentedProgram(unittest.TestCase):
    def test_it_prints_the_mapping_and_binds_the_process(self):
        # On this machine, whatever it is; task 2 of 4 can only be told from the mapping itself.
        output = support.run(
            """
            import mpibind
            import os

            handle = mpibind.MpibindHandle(ntasks=4)
            handle.mpibind()
            handle.mapping_print()
            handle.apply(2)

            print(sorted(os.sched_getaffinity(0)) == handle.get_cpus_ptask(2))
            """
        )
        lines = output.splitlines()
        self.assertEqual(len(lines), 5)
        for task, line in enumerate(lines[:4]):
            self.assertRegex(line, rf"^mpibind: task  {task} nths +\d+ gpus \S* cpus [0-9,-]+$")
        self.assertEqual(lines[4], "True")

    def test_the_worked_example(self):
        program = """
            import mpibind
            handle = mpibind.MpibindHandle(ntasks=4)
            handle.mpibind()
            handle.mapping_print()
        """
        output = support.run(program, env={"HWLOC_XMLFILE": str(support.WORKED_EXAMPLE)})
        self.assertEqual(output.splitlines(), WORKED_EXAMPLE)

    def test_topology_set_xml_changes_the_machine(self):
        output = support.run(
            f"""
            import mpibind
            mpibind.topology_set_xml({str(support.WORKED_EXAMPLE)!r})
            handle = mpibind.MpibindHandle(ntasks=4)
            handle.mpibind()
            handle.mapping_print()
            """
        )
        self.assertEqual(output.splitlines(), WORKED_EXAMPLE)


class Getters(unittest.TestCase):
    def test_texts(self):
        handle = mapped()
        self.assertEqual(handle.mapping_snprint().splitlines(), WORKED_EXAMPLE)
        self.assertEqual(handle.mapping_ptask_snprint(2), WORKED_EXAMPLE[2])

    def test_size_is_room_for_the_text_and_a_nul(self):
        handle = mapped()
        line = WORKED_EXAMPLE[1]
        self.assertEqual(handle.mapping_ptask_snprint(1, len(line) + 1), line)
        with self.assertRaisesRegex(ValueError, f"size={len(line)} .*at least {len(line) + 1}"):
            handle.mapping_ptask_snprint(1, len(line))
        with self.assertRaises(ValueError):
            handle.mapping_snprint(size=10)

    def test_tasks(self):
        handle = mapped()
        self.assertEqual(handle.get_cpus_ptask(3), [14, 15, 16, 17])
        self.assertEqual(handle.get_gpus_ptask(3), ["1"])
        self.assertEqual(handle.get_num_gpus(), 2)
        self.assertEqual(handle.nthreads, [4, 4, 4, 4])

    def test_parameters_read_as_they_were_given(self):
        handle = mpibind.MpibindHandle(
            2, 3, False, 0, 1, "0-7", mpibind.MPIBIND_RESTRICT_CPU, support.WORKED_EXAMPLE
        )
        seen = [
            handle.ntasks, handle.nthreads, handle.greedy, handle.gpu_optim, handle.smt,
            handle.restrict_ids, handle.restrict_type, handle.topology_file,
        ]  # fmt: skip
        self.assertEqual(seen, [2, 3, False, False, 1, "0-7", 0, support.WORKED_EXAMPLE])

    def test_constants(self):
        names = [
            "RESTRICT_CPU",
            "RESTRICT_MEM",
            "ID_UNIV",
            "ID_SMI",
            "ID_VISDEVS",
            "ID_PCIBUS",
            "ID_NAME",
        ]
        values = [getattr(mpibind, f"MPIBIND_{name}") for name in names]
        self.assertEqual(values, [0, 1, 2, 3, 3, 4, 5])

    def test_restriction_to_memory(self):
        handle = mapped(ntasks=2, restrict_ids="1", restrict_type=mpibind.MPIBIND_RESTRICT_MEM)
        self.assertEqual([handle.get_cpus_ptask(task)[0] for task in (0, 1)], [18, 27])


class Changes(unittest.TestCase):
    def test_a_handle_can_be_mapped_again(self):
        handle = mapped()
        handle.ntasks, handle.gpu_optim = 2, False
        self.assertEqual(handle.nthreads, 0)
        with self.assertRaisesRegex(mpibind.MpibindError, "call mpibind"):
            handle.get_cpus_ptask(0)
        handle.mpibind()
        self.assertEqual([handle.get_cpus_ptask(task)[0] for task in (0, 1)], [0, 18])
        self.assertEqual(handle.nthreads, [18, 18])

    def test_a_refused_parameter_leaves_everything(self):
        handle = mapped()
        for name, value in [
            ("ntasks", 0),
            ("smt", -1),
            ("restrict_ids", "3-x"),
            ("restrict_type", 7),
        ]:
            with self.assertRaises(ValueError):
                setattr(handle, name, value)
        self.assertEqual((handle.ntasks, handle.smt, handle.restrict_ids), (4, 0, None))
        self.assertEqual(handle.mapping_snprint().splitlines(), WORKED_EXAMPLE)

    def test_a_failed_mapping_keeps_the_one_before(self):
        handle = mapped()
        handle.smt = 2
        handle.mpibind()
        before = handle.mapping_snprint()
        with self.assertRaises(ValueError):
            handle.set_gpu_ids(99)
        self.assertEqual(handle.mapping_snprint(), before)

    def test_popped_cpus(self):
        handle = mapped(smt=2)
        self.assertEqual(handle.mapping_ptask_snprint(0).split("cpus ")[1], "0-4,36-40")
        handle.pop_cpus_ptask(0, 2)
        self.assertEqual(handle.get_cpus_ptask(0), [2, 3, 4, 36, 37, 38, 39, 40])
        self.assertEqual(handle.nthreads[0], 8)
        handle.pop_cores_ptask(0, 1)
        self.assertEqual(handle.get_cpus_ptask(0), [3, 4, 36, 37, 39, 40])
        self.assertEqual(handle.nthreads, [6, 9, 9, 9])
        for pop, most in [(handle.pop_cpus_ptask, 5), (handle.pop_cores_ptask, 3)]:
            with self.assertRaisesRegex(ValueError, f"0 to {most}"):
                pop(0, most + 1)
        self.assertEqual(handle.get_cpus_ptask(1), [5, 6, 7, 8, 9, 41, 42, 43, 44, 45])

    def test_gpu_names(self):
        handle = mapped(ntasks=2)
        names = {}
        for kind in ("UNIV", "SMI", "VISDEVS", "PCIBUS", "NAME"):
            handle.set_gpu_ids(getattr(mpibind, f"MPIBIND_ID_{kind}"))
            names[kind] = handle.get_gpus_ptask(1)
        self.assertEqual(names["SMI"], ["1"])
        self.assertEqual(names["VISDEVS"], ["1"])
        self.assertEqual(names["NAME"], ["nvml1"])
        self.assertRegex(names["PCIBUS"][0], r"^[0-9a-f]{4}:[0-9a-f]{2}:00\.0$")
        self.assertRegex(names["UNIV"][0], r"^GPU-")

    def test_gpu_without_a_name_of_the_kind(self):
        machine = support.ROOT / "test-suite" / "topologies" / "cloud-vm-1numa-4gpu.xml"
        handle = mapped(topology_file=machine)
        with self.assertRaisesRegex(mpibind.DeviceError, r"GPU 0000:\S+ has no UUID"):
            handle.set_gpu_ids(mpibind.MPIBIND_ID_UNIV)
        self.assertEqual(handle.get_gpus_ptask(0), ["0"])


class Variables(unittest.TestCase):
    def test_values_for_each_task(self):
        handle = mapped()
        handle.set_env_vars()
        self.assertEqual(
            handle.get_env_var_names(),
            [
                "CUDA_DEVICE_ORDER",
                "CUDA_VISIBLE_DEVICES",
                "OMP_NUM_THREADS",
                "OMP_PLACES",
                "OMP_PROC_BIND",
            ],
        )
        self.assertEqual(handle.get_env_var_values("CUDA_VISIBLE_DEVICES"), ["0", "0", "1", "1"])
        self.assertEqual(handle.get_env_var_values("OMP_NUM_THREADS"), ["4"] * 4)
        with self.assertRaisesRegex(ValueError, "NOSUCH.*OMP_NUM_THREADS"):
            handle.get_env_var_values("NOSUCH")

    def test_they_must_be_computed_first_and_anew_after_a_change(self):
        handle = mapped()
        with self.assertRaisesRegex(mpibind.MpibindError, "set_env_vars"):
            handle.get_env_var_names()
        handle.set_env_vars()
        handle.pop_cpus_ptask(0, 1)
        with self.assertRaisesRegex(mpibind.MpibindError, "set_env_vars"):
            handle.get_env_var_names()

    def test_printing(self):
        program = f"""
            import mpibind
            handle = mpibind.MpibindHandle(ntasks=2, topology_file={str(support.WORKED_EXAMPLE)!r})
            handle.mpibind()
            handle.set_env_vars()
            handle.env_vars_print()
        """
        lines = support.run(program).splitlines()
        self.assertEqual(lines[3:6], ["CUDA_VISIBLE_DEVICES:", "  [0]: 0", "  [1]: 1"])


class End(unittest.TestCase):
    def test_after_finalize_everything_is_refused(self):
        handle = mapped()
        handle.finalize()
        handle.finalize()
        calls = [
            handle.mpibind, handle.mapping_print, handle.mapping_snprint, handle.set_env_vars,
            handle.env_vars_print, handle.get_env_var_names, handle.get_num_gpus,
            lambda: handle.mapping_ptask_snprint(0), lambda: handle.get_cpus_ptask(0),
            lambda: handle.get_gpus_ptask(0), lambda: handle.set_gpu_ids(3),
            lambda: handle.apply(0),
            lambda: handle.get_env_var_values("A"), lambda: handle.pop_cpus_ptask(0, 1),
            lambda: handle.pop_cores_ptask(0, 1), lambda: handle.ntasks, lambda: handle.nthreads,
            lambda: setattr(handle, "smt", 1),
        ]  # fmt: skip
        for call in calls:
            with self.assertRaisesRegex(mpibind.MpibindError, "finalized"):
                call()


if __name__ == "__main__":
    support.main()
