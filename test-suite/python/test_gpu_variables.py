"""The variables that show a task its GPUs: for each vendor, mode and kind of name."""

import unittest

import support

import mpibind


def recorded(name: str) -> mpibind.Topology:
    return mpibind.Topology.from_xml(support.ROOT / "test-suite" / "topologies" / f"{name}.xml")


class Variables(unittest.TestCase):
    def check(
        self, node: mpibind.Topology, expected: dict[str, object], gpu_ids="index", **how
    ) -> None:
        """Compare what the second of two tasks gets in each mode."""
        mapping = node.map(2, gpu_ids=gpu_ids, **how)
        for visible, variables in expected.items():
            with self.subTest(visible):
                env = mapping.env(1, visible=visible)
                del env["OMP_NUM_THREADS"]
                self.assertEqual(env, variables)

    def test_nvidia(self):
        order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        expected = {
            "own": {"CUDA_VISIBLE_DEVICES": "1,0", **order},
            "own-first": {"CUDA_VISIBLE_DEVICES": "1,0,3,2", **order},
            "off": {},
        }
        self.check(recorded("milan-a100-4gpu"), expected)
        # The order that the user has set is not the one that these numbers have.
        given = {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
        self.check(recorded("milan-a100-4gpu"), expected, environ=given)

    def test_nvidia_by_uuid(self):
        node = recorded("grace-hopper-4gpu")
        uuids = [gpu.uuid for gpu in node.gpus]
        expected = {
            "own": {"CUDA_VISIBLE_DEVICES": ",".join(uuids[2:])},
            "own-first": {"CUDA_VISIBLE_DEVICES": ",".join(uuids[2:] + uuids[:2])},
            "off": {},
        }
        self.check(node, expected, "uuid")

    def test_other_names_leave_the_variables_alone(self):
        node = recorded("grace-hopper-4gpu")
        env = node.map(2).env(1)
        for gpu_ids in ("pci", "name"):
            self.assertEqual(node.map(2, gpu_ids=gpu_ids).env(1), env)

    def test_amd(self):
        node = recorded("mi300a-spx")
        self.check(
            node,
            {
                "own": {"ROCR_VISIBLE_DEVICES": "2,3"},
                "own-first": {"ROCR_VISIBLE_DEVICES": "2,3,0,1"},
                "off": {},
            },
        )
        uuids = [gpu.uuid for gpu in node.gpus]
        self.check(node, {"own": {"ROCR_VISIBLE_DEVICES": ",".join(uuids[2:])}}, "uuid")

    def test_layers_above_rocr_count_from_what_it_shows(self):
        for name in ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
            expected = {
                "own": {"ROCR_VISIBLE_DEVICES": "3", name: "0"},
                "own-first": {"ROCR_VISIBLE_DEVICES": "3,1", name: "0,1"},
                "off": {},
            }
            self.check(recorded("mi300a-spx"), expected, environ={name: "1,3"})

    def test_intel(self):
        order = {"ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1"}
        flat = {"ZE_FLAT_DEVICE_HIERARCHY": "FLAT", **order}
        node = recorded("aurora-6gpu")
        self.check(
            node,
            {
                "own": {"ZE_AFFINITY_MASK": "6,7,8,9,10,11", **flat},
                "own-first": {"ZE_AFFINITY_MASK": "6,7,8,9,10,11,0,1,2,3,4,5", **flat},
                "off": {},
            },
        )
        composite = {"ZE_FLAT_DEVICE_HIERARCHY": "COMPOSITE"}
        expected = {"own": {"ZE_AFFINITY_MASK": "3,4,5", **composite, **order}}
        self.check(node, expected, environ=composite)
        # Level Zero knows no UUIDs.
        self.check(node, {"own": {"ZE_AFFINITY_MASK": "6,7,8,9,10,11", **flat}}, "uuid")

    def test_tiles_that_the_job_has(self):
        order = {"ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1"}
        flat = {"ZE_FLAT_DEVICE_HIERARCHY": "FLAT", **order}
        given = {"ZE_AFFINITY_MASK": "0,7"}
        expected = {
            "own": {"ZE_AFFINITY_MASK": "7", **flat},
            "own-first": {"ZE_AFFINITY_MASK": "7,0", **flat},
        }
        self.check(recorded("aurora-6gpu"), expected, environ=given)

    def test_two_vendors(self):
        """CUDA's variable is not left to HIP, which would take it for its own."""
        order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        amd = {"ROCR_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "0"}
        expected = {
            "own": {"CUDA_VISIBLE_DEVICES": "", **order, **amd},
            "own-first": {"CUDA_VISIBLE_DEVICES": "0", **order, **amd},
            "off": {},
        }
        self.check(recorded("desktop-amd-nvidia"), expected)

    def test_unknown_vendor(self):
        node = mpibind.Topology.from_synthetic("numa:2 core:4 pu:1", gpus=[1, 1])
        expected = {
            "own": {"VISIBLE_DEVICES": "1"},
            "own-first": {"VISIBLE_DEVICES": "1,0"},
            "off": {},
        }
        self.check(node, expected)

    def test_a_task_without_gpus_on_a_node_with_some(self):
        node = recorded("two-package-18core-smt2-2gpu")
        hidden = {"CUDA_VISIBLE_DEVICES": "", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        self.check(node, {"own": hidden}, gpu_optim=False)
        self.check(recorded("one-package-16core"), {"own": {}, "own-first": {}, "off": {}})

    def test_gpus_that_tasks_come_with_stay_as_they_are(self):
        cases = (
            ("milan-a100-4gpu", "CUDA_VISIBLE_DEVICES", {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
            ("mi300a-spx", "ROCR_VISIBLE_DEVICES", {}),
            ("aurora-6gpu", "ZE_AFFINITY_MASK", {"ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1"}),
        )
        for machine, name, order in cases:
            given = [{name: "3"}, {name: "1"}]
            expected = {
                "own": {name: "1", **order},
                "own-first": {name: "1", **order},
                "off": {},
            }
            self.check(recorded(machine), expected, environ=given)

    def test_bind_sets_these_and_no_others(self):
        """`Mapping.env` is all that there is to say, whatever variables a process came with."""
        given = {
            "milan-a100-4gpu": {
                "CUDA_VISIBLE_DEVICES": "3,0",
                "CUDA_DEVICE_ORDER": "FASTEST_FIRST",
            },
            "mi300a-spx": {"HIP_VISIBLE_DEVICES": "1,3"},
            "aurora-6gpu": {"ZE_AFFINITY_MASK": "0,7"},
            "desktop-amd-nvidia": {},
        }
        for machine, variables in given.items():
            file = support.ROOT / "test-suite" / "topologies" / f"{machine}.xml"
            for visible in ("own", "own-first", "off"):
                with self.subTest(machine, visible=visible):
                    changed, told = support.run_json(
                        f"""
                        import json, os
                        import mpibind
                        before = dict(os.environ)
                        how = {{"topology": {str(file)!r}, "visible": {visible!r}}}
                        binding = mpibind.bind(1, 2, apply=False, **how)
                        changed = {{name: value for name, value in os.environ.items()
                                   if value != before.get(name)}}
                        assert before.keys() <= os.environ.keys()
                        print(json.dumps([changed, binding.env]))
                        """,
                        env=variables,
                    )
                    env = recorded(machine).map(2, environ=variables).env(1, visible=visible)
                    self.assertEqual(told, env)
                    new = {name: env[name] for name in env if env[name] != variables.get(name)}
                    self.assertEqual(changed, new)


if __name__ == "__main__":
    support.main()
