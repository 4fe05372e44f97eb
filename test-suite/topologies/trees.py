"""Write a machine of `generate.py` as a Linux file tree, which `HWLOC_FSROOT` puts in its place.

A tree has what the kernel and the GPU drivers show of the machine: processors, memory and PCI
devices in `/sys`, GPUs in `/proc/driver/nvidia`, KFD and DRM, and their files in `/dev`. Tests
write one to a temporary folder and spoil it there: a tree has thousands of files.

    python trees.py dgx-h100-8gpu /tmp/tree
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import generate
from generate import Object, Topology


def write_machine(name: str, root: Path) -> Topology:
    """Write the machine of this name below `root`, and return its description."""
    function = getattr(generate, name.replace("-", "_"))
    topology: Topology = function()
    write(topology, root)
    return topology


def write(topology: Topology, root: Path) -> None:
    """Write a file tree for a machine."""
    tree = Tree(root)
    _write_processors(tree, topology.root)
    _write_memory(tree, topology.root)
    _write_pci(tree, topology.root)
    _write_nvidia(tree, topology.root)
    _write_amd(tree, topology.root)
    _write_intel(tree, topology.root)


class Tree:
    """A file tree on its way."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, path: str, value: object) -> None:
        """Write a file of one line, or of several."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")

    def link(self, path: str, target: str) -> None:
        """Link to another path of the tree, as the kernel does, from where the link is."""
        link = self.root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        ups = "../" * path.count("/")
        link.symlink_to(ups + target)


def walk(obj: Object, path: tuple[Object, ...] = ()) -> Iterator[tuple[Object, tuple[Object, ...]]]:
    """Yield each object below, with those above it, the machine first."""
    for child in obj.children:
        yield child, (*path, obj)
        yield from walk(child, (*path, obj))


def cpu_list(mask: int) -> str:
    """Return CPUs as the kernel lists them."""
    return ",".join(str(cpu) for cpu in range(mask.bit_length()) if mask >> cpu & 1)


def cpu_map(mask: int, bits: int) -> str:
    """Return CPUs as the kernel's bit mask, in words of 32 bits."""
    words = [f"{mask >> shift & 0xFFFFFFFF:08x}" for shift in range(0, max(bits, 1), 32)]
    return ",".join(reversed(words))


# --------------------------------------------------------------------------------------
# Processors and memory
# --------------------------------------------------------------------------------------


def _write_processors(tree: Tree, machine: Object) -> None:
    bits = machine.complete_cpus.bit_length()
    folder = "sys/devices/system/cpu"
    for name in ("possible", "present"):
        tree.put(f"{folder}/{name}", cpu_list(machine.complete_cpus))
    tree.put(f"{folder}/online", cpu_list(machine.cpus))
    threads = [(obj, path) for obj, path in walk(machine) if obj.type == "PU" and obj.cpus]
    for thread, path in threads:
        cpu = f"{folder}/cpu{thread.os_index}"
        (package,) = (obj for obj in path if obj.type == "Package")
        (core,) = (obj for obj in path if obj.type == "Core")
        tree.put(f"{cpu}/topology/physical_package_id", package.os_index)
        tree.put(f"{cpu}/topology/core_id", core.os_index)
        for name, obj in (("core_cpus", core), ("package_cpus", package)):
            tree.put(f"{cpu}/topology/{name}", cpu_map(obj.cpus, bits))
        tree.put(f"{cpu}/topology/thread_siblings", cpu_map(core.cpus, bits))
        tree.put(f"{cpu}/topology/core_siblings", cpu_map(package.cpus, bits))
        caches = [obj for obj in reversed(path) if obj.type.endswith("Cache")]
        for index, cache in enumerate(caches):
            level = cache.attributes["depth"]
            here = f"{cpu}/cache/index{index}"
            tree.put(f"{here}/level", level)
            tree.put(f"{here}/type", "Data" if level == "1" else "Unified")
            tree.put(f"{here}/size", f"{int(cache.attributes['cache_size']) // 1024}K")
            tree.put(f"{here}/coherency_line_size", cache.attributes["cache_linesize"])
            tree.put(f"{here}/shared_cpu_map", cpu_map(cache.cpus, bits))
    tree.put("proc/cpuinfo", "\n\n".join(f"processor\t: {obj.os_index}" for obj, _ in threads))


def _write_memory(tree: Tree, machine: Object) -> None:
    bits = machine.complete_cpus.bit_length()
    nodes = [obj for obj, _ in walk(machine) if obj.type == "NUMANode"]
    nodes.sort(key=lambda node: node.os_index or 0)
    folder = "sys/devices/system/node"
    tree.put(f"{folder}/online", ",".join(str(node.os_index) for node in nodes))
    with_cpus = 0
    for row, node in enumerate(nodes):
        here = f"{folder}/node{node.os_index}"
        # Memory that shares its CPUs with another node has none in Linux.
        cpus = 0 if node.cpus & with_cpus or _is_extra(node, machine) else node.cpus
        with_cpus |= cpus
        near = [other for other in nodes[:row] if other.cpus == node.cpus]
        if not cpus and near:
            tree.put(f"{here}/access0/initiators/node{near[0].os_index}/cpumap", "")
        tree.put(f"{here}/cpumap", cpu_map(cpus, bits))
        kib = int(node.attributes["local_memory"]) // 1024
        tree.put(f"{here}/meminfo", f"Node {node.os_index} MemTotal:       {kib} kB")
        distances = ("10" if row == column else "20" for column in range(len(nodes)))
        tree.put(f"{here}/distance", " ".join(distances))
    total = sum(int(node.attributes["local_memory"]) for node in nodes) // 1024
    tree.put("proc/meminfo", f"MemTotal:       {total} kB")


def _is_extra(node: Object, machine: Object) -> bool:
    """Whether memory hangs at a machine whose packages have memory."""
    inner = any(obj.type == "NUMANode" and len(path) > 1 for obj, path in walk(machine))
    return inner and node in machine.children


# --------------------------------------------------------------------------------------
# PCI
# --------------------------------------------------------------------------------------


def functions(machine: Object) -> list[tuple[Object, Object]]:
    """Return the PCI functions by address, each with the object that it is near to."""
    found = []
    for obj, path in walk(machine):
        if obj.type == "PCIDev":
            near = [above for above in path if above.type not in generate.IO_TYPES][-1]
            found.append((obj, near))
    return sorted(found, key=lambda pair: pair[0].bus_id or "")


def folder_of(address: str) -> str:
    """Return the folder of a PCI function."""
    return f"sys/devices/pci{address[:7]}/{address}"


def _write_pci(tree: Tree, machine: Object) -> None:
    bits = machine.complete_cpus.bit_length()
    for function, near in functions(machine):
        address = function.bus_id or ""
        class_id, ids = function.attributes["pci_type"].split()[:2]
        vendor, device = ids.strip("[]").split(":")
        folder = folder_of(address)
        tree.link(f"sys/bus/pci/devices/{address}", folder)
        tree.put(f"{folder}/class", f"0x{class_id}00")
        tree.put(f"{folder}/vendor", f"0x{vendor}")
        tree.put(f"{folder}/device", f"0x{device}")
        tree.put(f"{folder}/subsystem_vendor", "0x0000")
        tree.put(f"{folder}/subsystem_device", "0x0000")
        tree.put(f"{folder}/local_cpus", cpu_map(near.cpus, bits))
        tree.put(f"{folder}/local_cpulist", cpu_list(near.cpus))
        numas = [numa for numa in near.memory if numa.cpus == near.cpus]
        is_known = numas and near is not machine
        tree.put(f"{folder}/numa_node", numas[0].os_index if is_known else -1)
        for device_object in function.children:
            _write_os_device(tree, device_object, folder)


def _write_os_device(tree: Tree, device: Object, folder: str) -> None:
    kind = int(device.attributes["osdev_type"])
    if kind == generate.OPENFABRICS:
        kernel_class = "infiniband"
        tree.put(f"{folder}/infiniband/{device.name}/ports/1/state", "4: ACTIVE")
        tree.put(f"{folder}/infiniband/{device.name}/node_guid", "0000:0000:0000:0001")
    elif kind == generate.NETWORK:
        kernel_class = "net"
        tree.put(f"{folder}/net/{device.name}/address", "02:00:00:00:00:01")
    else:
        return
    tree.link(f"sys/class/{kernel_class}/{device.name}", f"{folder}/{kernel_class}/{device.name}")
    tree.link(f"{folder}/{kernel_class}/{device.name}/device", folder)


# --------------------------------------------------------------------------------------
# What the drivers of GPUs show
# --------------------------------------------------------------------------------------


def gpus(machine: Object, vendor: str) -> list[Object]:
    """Return the PCI functions that are GPUs of a vendor, by address."""
    found = (function for function, _ in functions(machine))
    return [function for function in found if function.gpu and function.gpu.ids[:4] == vendor]


def _write_nvidia(tree: Tree, machine: Object) -> None:
    found = gpus(machine, "10de")
    for place, function in enumerate(found):
        assert function.gpu is not None and function.bus_id is not None
        # The driver's minor numbers are no indexes: here they run the other way.
        minor = len(found) - 1 - place
        lines = {
            "Model": function.gpu.model,
            "IRQ": 100 + place,
            "GPU UUID": f"GPU-{function.gpu.uuid(function.bus_id)}",
            "Video BIOS": "96.00.61.00.01",
            "Bus Type": "PCIe",
            "DMA Size": "52 bits",
            "DMA Mask": "0xfffffffffffff",
            "Bus Location": function.bus_id,
            "Device Minor": minor,
        }
        text = "\n".join(f"{key}: \t {value}" for key, value in lines.items())
        tree.put(f"proc/driver/nvidia/gpus/{function.bus_id}/information", text)
        tree.put(f"dev/nvidia{minor}", "")
    if found:
        tree.put("dev/nvidiactl", "")


def _write_amd(tree: Tree, machine: Object) -> None:
    found = gpus(machine, "1002")
    if not found:
        return
    nodes = "sys/class/kfd/kfd/topology/nodes"
    number = 0
    for obj, _ in walk(machine):
        if obj.type == "NUMANode":
            tree.put(f"{nodes}/{number}/gpu_id", 0)
            tree.put(f"{nodes}/{number}/properties", "cpu_cores_count 16\nsimd_count 0")
            number += 1
    minor = 128
    for function in found:
        assert function.gpu is not None and function.bus_id is not None
        domain, bus, _ = function.bus_id.split(":")
        parts = max(1, sum((child.name or "").startswith("rsmi") for child in function.children))
        tree.put(f"{folder_of(function.bus_id)}/product_name", function.gpu.model)
        for part in range(parts):
            location = int(bus, 16) << 8 | part << 28
            properties = {
                "cpu_cores_count": 0,
                "simd_count": 440 // parts,
                "vendor_id": 0x1002,
                "device_id": int(function.gpu.ids[5:], 16),
                "location_id": location,
                "domain": int(domain, 16),
                "drm_render_minor": minor,
                "unique_id": int(function.gpu.uuid(function.bus_id).hex[:16], 16),
            }
            text = "\n".join(f"{key} {value}" for key, value in properties.items())
            tree.put(f"{nodes}/{number}/gpu_id", 40000 + number)
            tree.put(f"{nodes}/{number}/properties", text)
            tree.put(f"{folder_of(function.bus_id)}/drm/renderD{minor}/dev", f"226:{minor}")
            tree.put(f"dev/dri/renderD{minor}", "")
            number += 1
            minor += 1
    tree.put("dev/kfd", "")


def _write_intel(tree: Tree, machine: Object) -> None:
    minor = 128
    for function, _ in functions(machine):
        class_id, ids = function.attributes["pci_type"].split()[:2]
        if not ids.startswith("[8086:") or class_id not in ("0300", "0380"):
            continue
        folder = folder_of(function.bus_id or "")
        tree.put(f"{folder}/drm/card{minor - 128}/dev", f"226:{minor - 128}")
        tree.put(f"{folder}/drm/renderD{minor}/dev", f"226:{minor}")
        tree.put(f"dev/dri/renderD{minor}", "")
        devices = [child for child in function.children if (child.name or "").startswith("ze")]
        for tile, _ in enumerate(devices[0].children if devices else ()):
            tree.put(f"{folder}/tile{tile}/gt0/freq0/act_freq", 1600)
        minor += 1


def main() -> int:
    """Write the tree that the arguments name."""
    if len(sys.argv) != 3:
        print("usage: trees.py MACHINE FOLDER", file=sys.stderr)
        return 2
    write_machine(sys.argv[1], Path(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
