"""GPUs and network cards as the kernel and the drivers show them, read from fake file trees.

A tree is written by ``test-suite/topologies/trees.py`` from the description of a machine, and takes
this machine's place through ``HWLOC_FSROOT``.
"""

import os
import shutil
import sys
import unittest
from pathlib import Path
from unittest import mock

import support

import mpibind

sys.path.insert(0, str(support.ROOT / "test-suite" / "topologies"))
import generate
import trees

INFORMATION = "proc/driver/nvidia/gpus/{}/information"
BLIND = "-linux:0x8,-pci"
"""Components of hwloc without those that look at PCI (0x8 is the phase of that)."""
NODES = "sys/class/kfd/kfd/topology/nodes"


def recorded(name: str) -> mpibind.Topology:
    return mpibind.Topology.from_xml(support.ROOT / "test-suite" / "topologies" / f"{name}.xml")


class TreeCase(unittest.TestCase):
    """A test that writes trees and looks at them."""

    def tree(self, name: str) -> Path:
        """Write a machine to a folder that ends with the test."""
        root = support.tree_folder(self)
        trees.write_machine(name, root)
        return root

    def seen(self, root: Path, components: str = "") -> mpibind.Topology:
        """Return what is discovered below a root, with these components of hwloc."""
        with mock.patch.dict(os.environ, HWLOC_FSROOT=str(root), HWLOC_COMPONENTS=components):
            return mpibind.Topology()

    def seen_blindly(self, root: Path) -> mpibind.Topology:
        """Return the same where hwloc sees no PCI devices."""
        return self.seen(root, BLIND)


class Trees(TreeCase):
    def test_a_tree_is_the_machine_of_the_file(self):
        """What hwloc's XML and the kernel's files tell of a machine is the same."""
        for function in generate.MACHINES:
            name = function.__name__.replace("_", "-")
            with self.subTest(name):
                file = recorded(name)
                if not file.gpus and not file.gpus.uncounted:
                    continue
                tree = self.seen(self.tree(name))
                key = [(gpu.vendor, gpu.index, gpu.pci, gpu.cpus) for gpu in tree.gpus]
                expected = [(gpu.vendor, gpu.index, gpu.pci, gpu.cpus) for gpu in file.gpus]
                self.assertEqual(key, expected)
                self.assertEqual(tree.nics, file.nics)
                self.assertEqual(tree.gpus.uncounted, file.gpus.uncounted)
                self.assertEqual(tree.gpus.notes, ())
                for ntasks in (1, 2, 3, 4, 8, 16):
                    self.assertEqual(str(tree.map(ntasks)), str(file.map(ntasks)))

    def test_files_tell_what_libraries_tell(self):
        """Identity without NVML and ROCm SMI is that with them."""
        for name in ("grace-hopper-4gpu", "epyc-7763-nps4-8gpu", "mi300a-spx", "mi300a-cpx"):
            with self.subTest(name):
                tree = self.seen(self.tree(name))
                identity = [(gpu.model, gpu.uuid) for gpu in tree.gpus]
                expected = [(gpu.model, gpu.uuid) for gpu in recorded(name).gpus]
                self.assertEqual(identity, expected)


class WithoutPci(TreeCase):
    """A libhwloc that sees no PCI devices: what the kernel lists is read without it."""

    def test_every_machine(self):
        for function in generate.MACHINES:
            name = function.__name__.replace("_", "-")
            with self.subTest(name):
                root = self.tree(name)
                node, blind = self.seen(root), self.seen_blindly(root)
                self.assertEqual(blind.gpus, node.gpus)
                self.assertEqual(blind.gpus.notes, node.gpus.notes)
                self.assertEqual(blind.gpus.uncounted, node.gpus.uncounted)
                self.assertEqual(blind.nics, node.nics)
                for ntasks in (1, 2, 3, 4, 8, 16):
                    self.assertEqual(str(blind.map(ntasks)), str(node.map(ntasks)))
                    self.assertEqual(blind.map(ntasks).nics, node.map(ntasks).nics)

    def test_hwloc_is_blind(self):
        """Else the others would test nothing."""
        root = self.tree("dgx-h100-8gpu")
        names = {"HWLOC_FSROOT": str(root)}
        with mock.patch.dict(os.environ, names):
            self.assertGreater(mpibind._core.count_pci_devices(), 0)
        with mock.patch.dict(os.environ, names, HWLOC_COMPONENTS=BLIND):
            self.assertEqual(mpibind._core.count_pci_devices(), 0)

    def test_place_of_the_bridge_above(self):
        root = self.tree("milan-a100-4gpu")
        address = "0000:82:00.0"
        here = root / trees.folder_of(address)
        bridge = here.parent / "0000:80:01.1"
        bridge.mkdir()
        for name in ("local_cpulist", "numa_node"):
            (here / name).rename(bridge / name)
        (bridge / "vendor").write_text("0x1022\n")
        (bridge / "class").write_text("0x060400\n")
        here.rename(bridge / address)
        link = root / "sys/bus/pci/devices" / address
        link.unlink()
        link.symlink_to(f"../../../devices/{bridge.parent.name}/{bridge.name}/{address}")
        gpu = next(gpu for gpu in self.seen_blindly(root).gpus if gpu.pci == address)
        self.assertEqual((gpu.numas, gpu.cpus), ((1,), "16-31,80-95"))

    def test_entries_that_cannot_be_read(self):
        root = self.tree("dgx-h100-8gpu")
        devices = root / "sys/bus/pci/devices"
        (devices / "nonsense").mkdir()
        (devices / "0000:ff:00.0").mkdir()
        for number, text in enumerate(["", "zebra", "0x1030200", "-1"]):
            folder = devices / f"0000:fe:00.{number}"
            folder.mkdir()
            for name in ("class", "vendor", "device"):
                (folder / name).write_text(text)
        (devices / "0000:fd:00.0").symlink_to("/nosuch")
        (root / trees.folder_of("0000:1b:00.0") / "class").unlink()
        node = self.seen_blindly(root)
        self.assertEqual(node.gpus[0].pci, "0000:43:00.0")
        self.assertEqual((len(node.gpus), len(node.nics)), (7, 8))

    def test_nothing_to_read(self):
        root = self.tree("dgx-h100-8gpu")
        shutil.rmtree(root / "sys/bus")
        node = self.seen_blindly(root)
        self.assertEqual(len(node.gpus), 0)
        # hwloc still has the names of these, from /sys/class.
        self.assertEqual({nic.pci for nic in node.nics}, {None})
        self.assertEqual(len(node.nics), 8)

    def test_ports(self):
        root = self.tree("dgx-h100-8gpu")
        (state,) = root.glob("sys/devices/*/*/infiniband/mlx5_3/ports/1/state")
        state.write_text("1: DOWN\n")
        self.assertEqual(self.seen_blindly(root).nics, self.seen(root).nics)
        self.assertEqual([nic.name for nic in self.seen_blindly(root).nics if nic.down], ["mlx5_3"])


class Nvidia(TreeCase):
    NAME = "dgx-h100-8gpu"

    def test_identity(self):
        gpu = self.seen(self.tree(self.NAME)).gpus[1]
        self.assertEqual(gpu[:4], (1, "NVIDIA", "0000:43:00.0", "NVIDIA H100 80GB HBM3"))
        self.assertEqual(gpu.uuid, "GPU-4146aefa-f89c-58f5-bc17-3ba9c60ff86b")
        self.assertEqual((gpu.numas, gpu.cpus), ((0,), "0-55,112-167"))
        self.assertEqual(gpu.found, "PCI class 0302 + /proc")

    def test_entry_without_uuid(self):
        root = self.tree(self.NAME)
        for address, line in [("0000:1b:00.0", ""), ("0000:43:00.0", "GPU UUID: GPU-????????\n")]:
            file = root / INFORMATION.format(address)
            kept = [text for text in file.read_text().splitlines() if "UUID" not in text]
            file.write_text(line + "\n".join(kept) + "\n")
        node = self.seen(root)
        self.assertEqual([gpu.uuid is None for gpu in node.gpus], [True] * 2 + [False] * 6)
        self.assertEqual(len(node.gpus.notes), 2)
        self.assertIn("0000:1b:00.0/information has no GPU UUID", node.gpus.notes[0])
        with self.assertRaisesRegex(mpibind.DeviceError, "GPU 0000:1b:00.0 has no UUID") as caught:
            node.map(8, gpu_ids="uuid")
        self.assertEqual(caught.exception.device, "0000:1b:00.0")

    def test_entries_that_cannot_be_read(self):
        root = self.tree(self.NAME)
        first, second, third = (
            root / INFORMATION.format(address)
            for address in ("0000:1b:00.0", "0000:43:00.0", "0000:52:00.0")
        )
        first.write_bytes(b"\xff\xfe\x00Model")
        second.unlink()
        second.mkdir()  # a folder in the place of the file
        third.write_text("")
        node = self.seen(root)
        self.assertEqual(len(node.gpus), 8)
        self.assertEqual([gpu.model for gpu in node.gpus[:3]], [None] * 3)
        told = "\n".join(node.gpus.notes)
        self.assertIn("0000:43:00.0/information cannot be read", told)
        self.assertIn("0000:52:00.0/information has no Device Minor", told)

    def test_container_without_some_device_files(self):
        root = self.tree(self.NAME)
        # Minor numbers run against PCI addresses in these trees: 7 is the first GPU.
        for minor in (7, 3, 2, 1, 0):
            (root / f"dev/nvidia{minor}").unlink()
        node = self.seen(root)
        pci = ["0000:43:00.0", "0000:52:00.0", "0000:61:00.0"]
        self.assertEqual([gpu.pci for gpu in node.gpus], pci)
        # What is left is numbered as nvidia-smi and CUDA number it there.
        self.assertEqual([gpu.index for gpu in node.gpus], [0, 1, 2])
        reasons = [device.reason for device in node.gpus.uncounted if device.vendor == "NVIDIA"]
        self.assertEqual(len(reasons), 5)
        self.assertEqual(reasons[0], "/dev/nvidia7 is missing: a container hides it")

    def test_container_that_shows_only_its_entries(self):
        root = self.tree(self.NAME)
        shutil.rmtree((root / INFORMATION.format("0000:1b:00.0")).parent)
        node = self.seen(root)
        self.assertEqual(node.gpus[0].pci, "0000:43:00.0")
        self.assertIn("the driver does not show it", node.gpus.uncounted[-1].reason)

    def test_no_device_files_yet(self):
        root = self.tree(self.NAME)
        for file in (root / "dev").iterdir():
            file.unlink()
        node = self.seen(root)
        self.assertEqual(len(node.gpus), 8)
        self.assertIn("come with the first use of a GPU", node.gpus.notes[0])

    def test_without_the_driver(self):
        root = self.tree(self.NAME)
        shutil.rmtree(root / "proc/driver")
        node = self.seen(root)
        self.assertEqual([gpu.index for gpu in node.gpus], [*range(8)])
        self.assertEqual({(gpu.uuid, gpu.found) for gpu in node.gpus}, {(None, "PCI class 0302")})


class Amd(TreeCase):
    NAME = "mi250x-8gpu"

    def properties(self, root: Path, gpu: int) -> Path:
        return root / NODES / str(4 + gpu) / "properties"  # four nodes are CPUs

    def test_identity(self):
        gpu = self.seen(self.tree(self.NAME)).gpus[0]
        self.assertEqual(gpu[:4], (4, "AMD", "0000:d1:00.0", "AMD Instinct MI250X"))
        self.assertEqual(gpu.uuid, "GPU-fb8819a98ccc5a04")
        self.assertEqual((gpu.numas, gpu.found), ((0,), "PCI class 0380 + KFD"))

    def test_unique_ids_that_are_zero_doubled_or_hexadecimal(self):
        root = self.tree(self.NAME)
        for gpu, unique_id in enumerate(["0", "77", "77", "0x4d4e", "abcdef", "zebra", ""]):
            file = self.properties(root, gpu)
            lines = [line for line in file.read_text().splitlines() if "unique" not in line]
            file.write_text("\n".join([*lines, f"unique_id {unique_id}\n"]))
        uuids = {gpu.index: gpu.uuid for gpu in self.seen(root).gpus}
        self.assertEqual([uuids[gpu] for gpu in range(3)], [None] * 3)
        self.assertEqual(uuids[3], "GPU-0000000000004d4e")
        self.assertEqual(uuids[4], "GPU-0000000000abcdef")
        self.assertEqual([uuids[gpu] for gpu in (5, 6)], [None] * 2)
        self.assertRegex(uuids[7] or "", r"^GPU-[0-9a-f]{16}$")

    def test_order_of_kfd_is_the_order_of_the_runtime(self):
        root = self.tree(self.NAME)
        first, last = self.properties(root, 0), self.properties(root, 7)
        texts = first.read_text(), last.read_text()
        last.write_text(texts[0])
        first.write_text(texts[1])
        places = {gpu.pci: gpu.index for gpu in self.seen(root).gpus}
        self.assertEqual((places["0000:c1:00.0"], places["0000:de:00.0"]), (7, 0))

    def test_half_written_entries_hide_nothing(self):
        root = self.tree(self.NAME)
        self.properties(root, 2).write_text("simd_count 4\nlocatio")
        node = self.seen(root)
        self.assertEqual(len(node.gpus), 8)
        self.assertIn("nodes/6/properties does not say where the GPU is", node.gpus.notes[1])

    def test_container_without_some_render_nodes(self):
        root = self.tree(self.NAME)
        (root / "dev/dri/renderD128").unlink()
        node = self.seen(root)
        self.assertEqual(len(node.gpus), 7)
        # The runtime counts only what it can open: the second GPU is its first.
        self.assertEqual({gpu.pci: gpu.index for gpu in node.gpus}["0000:c6:00.0"], 0)
        (device,) = node.gpus.uncounted
        self.assertEqual(device.pci, "0000:c1:00.0")
        self.assertEqual(device.reason, "/dev/dri/renderD128 is missing: a container hides it")

    def test_container_without_kfd(self):
        root = self.tree(self.NAME)
        (root / "dev/kfd").unlink()
        node = self.seen(root)
        self.assertEqual((len(node.gpus), len(node.gpus.uncounted)), (0, 8))
        self.assertEqual(node.gpus.uncounted[0].reason, "/dev/kfd is missing: a container hides it")

    def test_nodes_that_are_nobodys(self):
        root = self.tree(self.NAME)
        self.properties(root, 2).write_text("location_id 256\ndomain 9\n")
        node = self.seen(root)
        self.assertIn("KFD lists a GPU at 0009:01:00.0, where none is seen", node.gpus.notes)
        # It may be any of them, so none is left out.
        self.assertEqual((len(node.gpus), node.gpus.uncounted), (8, ()))

    def test_a_gpu_that_the_kernel_does_not_compute_on(self):
        root = self.tree(self.NAME)
        shutil.rmtree(self.properties(root, 2).parent)
        node = self.seen(root)
        (device,) = node.gpus.uncounted
        self.assertEqual(device.reason, "the driver does not offer it for computing (no KFD node)")
        self.assertEqual((len(node.gpus), node.gpus.notes), (7, ()))


class Intel(TreeCase):
    NAME = "aurora-6gpu"

    def test_container_without_some_render_nodes(self):
        root = self.tree(self.NAME)
        (root / "dev/dri/renderD129").unlink()
        node = self.seen(root)
        self.assertEqual([gpu.index for gpu in node.gpus], [*range(5)])
        self.assertEqual(node.gpus.uncounted[0].pci, "0000:42:00.0")

    def test_integrated_graphics_are_none(self):
        node = self.seen(self.tree("laptop-integrated"))
        self.assertEqual(len(node.gpus), 0)
        self.assertEqual(node.gpus.uncounted[0].reason, "integrated graphics, a part of the CPU")


class Places(TreeCase):
    """Devices that hwloc can place no better than at the machine."""

    def forget(self, root: Path, address: str) -> Path:
        """Make a device local to all CPUs, as some firmware says of all devices."""
        folder = root / trees.folder_of(address)
        (folder / "local_cpus").write_text("ffffffff," * 6 + "ffffffff\n")
        return folder

    def test_by_the_list_of_cpus(self):
        root = self.tree("milan-a100-4gpu")
        self.forget(root, "0000:82:00.0")
        gpu = next(gpu for gpu in self.seen(root).gpus if gpu.index == 2)
        self.assertEqual((gpu.numas, gpu.cpus), ((1,), "16-31,80-95"))

    def test_by_the_numa_node(self):
        root = self.tree("milan-a100-4gpu")
        folder = self.forget(root, "0000:82:00.0")
        (folder / "local_cpulist").write_text("0-127\n")
        gpu = next(gpu for gpu in self.seen(root).gpus if gpu.index == 2)
        self.assertEqual(gpu.numas, (1,))

    def test_nowhere(self):
        root = self.tree("milan-a100-4gpu")
        for numa_node in ("-1", "77", "", "zebra"):
            folder = self.forget(root, "0000:82:00.0")
            (folder / "local_cpulist").write_text("nonsense\n")
            (folder / "numa_node").write_text(numa_node)
            gpu = next(gpu for gpu in self.seen(root).gpus if gpu.index == 2)
            self.assertEqual(gpu.numas, (0, 1, 2, 3))

    def test_nics(self):
        root = self.tree("milan-a100-4gpu")
        self.forget(root, "0000:a0:00.0")
        nic = next(nic for nic in self.seen(root).nics if nic.name == "hsn2")
        self.assertEqual(nic.numas, (1,))


class Nics(TreeCase):
    def set_state(self, root: Path, name: str, state: str) -> None:
        (port,) = root.glob(f"sys/devices/*/*/infiniband/{name}/ports/1")
        (port / "state").write_text(state)

    def test_a_card_without_an_active_port_is_given_to_nobody(self):
        root = self.tree("dgx-h100-8gpu")
        self.set_state(root, "mlx5_3", "1: DOWN\n")
        node = self.seen(root)
        self.assertEqual([nic.name for nic in node.nics if nic.down], ["mlx5_3"])
        expected = [("mlx5_0",), ("mlx5_0",), ("mlx5_4",), ("mlx5_5",)]
        self.assertEqual(node.map(8).nics[:4], expected)
        self.assertIn("\n  NIC mlx5_3 (0000:40:00.0, down)", str(node))
        told = "not used: mlx5_3: none of its ports is active"
        self.assertEqual(str(mpibind.devices(node)).splitlines()[-1], told)

    def test_a_second_port(self):
        root = self.tree("dgx-h100-8gpu")
        self.set_state(root, "mlx5_0", "1: DOWN\n")
        (card,) = root.glob("sys/devices/*/*/infiniband/mlx5_0")
        (card / "ports/2").mkdir()
        (card / "ports/2/state").write_text("4: ACTIVE\n")
        node = self.seen(root)
        self.assertEqual((node.nics[0].port, node.nics[0].down), (2, False))
        self.assertEqual(node.map(8).env(0, nics=True)["UCX_NET_DEVICES"], "mlx5_0:2")


class Table(TreeCase):
    maxDiff = None

    def test_devices(self):
        root = self.tree("milan-a100-4gpu")
        (root / "dev/nvidia1").unlink()
        self.assertEqual(
            str(mpibind.devices(self.seen(root))).splitlines(),
            [
                "GPU  vendor  model                  PCI           "
                "UUID                                      NUMA  CPUs nearby    found by",
                "2    NVIDIA  NVIDIA A100-SXM4-40GB  0000:c1:00.0  "
                "GPU-d6162f4b-9712-538c-8ea7-f2ef2b6331a7  0     0-15,64-79     "
                "PCI class 0302 + /proc",
                "1    NVIDIA  NVIDIA A100-SXM4-40GB  0000:41:00.0  "
                "GPU-3c7171b9-a2cd-586c-b60c-a256b12c6330  2     32-47,96-111   "
                "PCI class 0302 + /proc",
                "0    NVIDIA  NVIDIA A100-SXM4-40GB  0000:03:00.0  "
                "GPU-3c057239-9cb6-505e-b95d-e14e3a6bca3b  3     48-63,112-127  "
                "PCI class 0302 + /proc",
                "not counted: 0000:82:00.0 (NVIDIA A100-SXM4-40GB): "
                "/dev/nvidia1 is missing: a container hides it",
                "",
                "NIC   PCI           NUMA  CPUs nearby",
                "hsn3  0000:df:00.0  0     0-15,64-79",
                "hsn2  0000:a0:00.0  1     16-31,80-95",
                "hsn1  0000:5f:00.0  2     32-47,96-111",
                "hsn0  0000:21:00.0  3     48-63,112-127",
            ],
        )

    def test_decoys(self):
        self.assertEqual(
            str(recorded("decoys-0gpu").gpus).splitlines(),
            [
                "no GPUs",
                "not counted: 0000:00:02.0 (Intel): integrated graphics, a part of the CPU",
                "not counted: 0000:01:00.0 (Intel): an accelerator that is no GPU (FPGA, Xeon Phi)",
                "not counted: 0000:03:00.0 (Matrox): the display chip of a management controller",
                "not counted: 0000:04:00.0 (ASPEED): the display chip of a management controller",
                "not counted: 0000:05:00.0 (AMD): "
                "the display chip of a management controller (ES1000)",
            ],
        )

    def test_nothing(self):
        node = mpibind.Topology.from_synthetic("core:2 pu:1")
        self.assertEqual(str(mpibind.devices(node)), "no GPUs\n\nno NICs")


if __name__ == "__main__":
    support.main()
