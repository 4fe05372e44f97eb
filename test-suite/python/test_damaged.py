"""Files of devices that are damaged in every way: less is known then, and nothing crashes.

For each file of a fake machine that tells of devices, and each damage, the machine is looked at
anew.
"""

from __future__ import annotations

import sys
import unittest

import support

sys.path.insert(0, str(support.ROOT / "test-suite" / "topologies"))
import trees

# Runs in a process of its own: a crash would take the others along, and it gives up being root, to
# whom no file is forbidden.
LOOK = """
    import json, os, random, sys
    from pathlib import Path

    root, names = Path({root!r}), {names!r}
    os.environ["HWLOC_FSROOT"], os.environ["HWLOC_HIDE_ERRORS"] = str(root), "2"
    import mpibind

    NOBODY = 65534
    random.seed(7)
    whole = mpibind.Topology()
    assert not whole.gpus.notes, whole.gpus.notes
    identity = {{(gpu.pci, gpu.model, gpu.uuid, gpu.cpus) for gpu in whole.gpus}}
    numbers = {{gpu.pci: gpu.index for gpu in whole.gpus}}

    def damages(data):
        cuts = {{0, 1, len(data) // 2, len(data) - 2, random.randrange(len(data) + 1)}}
        for cut in sorted(cut for cut in cuts if 0 <= cut < len(data)):
            yield f"cut at {{cut}}", data[:cut]
        yield "random bytes", random.randbytes(200)
        yield "zeros", bytes(100)
        yield "endless", b"9" * 70_000
        yield "negative", b"-1\\n"
        yield "huge", b"9" * 30 + b"\\n"
        yield "other text", "zebra \u00e9 0x\\nModel:\\nlocation_id\\n".encode()

    def look(path, damage):
        where = f"{{path.relative_to(root)}} ({{damage}})"
        node = mpibind.Topology()
        mapping = node.map(4)
        str(mpibind.devices(node)), str(mapping), node.to_json()
        [mapping.env(task) for task in range(4)]
        mpibind.Topology.from_json(node.to_json()) == node or sys.exit(f"{{where}}: not the same")
        told = bool(node.gpus.notes or len(node.gpus.uncounted) > len(whole.gpus.uncounted))
        left = {{gpu.pci for gpu in node.gpus}}
        # What is of no class of device is nothing that hwloc, or anybody, would look at.
        if len(node.gpus) != len(whole.gpus) and not told and path.name != "class":
            sys.exit(f"{{where}}: GPUs are missing, and nothing says so: {{numbers.keys() - left}}")
        for gpu in node.gpus:
            uuids = {{uuid for pci, _, uuid, _ in identity if pci == gpu.pci}}
            known = gpu.uuid is None or gpu.uuid in uuids
            # A name that is wrong is worse than none.
            if not known:
                sys.exit(f"{{where}}: {{gpu.pci}} is called {{gpu.uuid}}")

    count = 0
    for path in map(Path, names):
        data = path.read_bytes()
        for damage, text in damages(data):
            path.write_bytes(text)
            look(path, damage)
        path.unlink()
        look(path, "gone")
        path.mkdir()
        look(path, "a folder")
        path.rmdir()
        path.symlink_to(path.name)
        look(path, "a link to itself")
        path.unlink()
        path.write_bytes(data)
        if os.getuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        count += 1
    after = {{(gpu.pci, gpu.model, gpu.uuid, gpu.cpus) for gpu in mpibind.Topology().gpus}}
    assert after == identity

    if os.getuid() == 0:
        os.setuid(NOBODY)
    for path in map(Path, names):
        path.chmod(0)
        look(path, "forbidden")
        path.chmod(0o644)
        count += 1
    print(json.dumps(count))
    """


class Damaged(unittest.TestCase):
    def check(self, machine: str, *patterns: str) -> None:
        root = support.tree_folder(self)
        root.chmod(0o755)
        trees.write_machine(machine, root)
        files = sorted(
            path for pattern in patterns for path in root.glob(pattern) if path.is_file()
        )
        self.assertGreater(len(files), 4)
        done = support.run_json(LOOK.format(root=str(root), names=[*map(str, files)]))
        self.assertEqual(done, 2 * len(files))

    def test_nvidia(self):
        files = "proc/driver/nvidia/gpus/0000:[04]?:00.0/information"
        self.check("milan-a100-4gpu", files, "dev/nvidia*", "sys/devices/pci0000:41/0000:41*/*")

    def test_amd(self):
        nodes = "sys/class/kfd/kfd/topology/nodes/[157]/*"
        self.check("mi250x-8gpu", nodes, "dev/kfd", "dev/dri/*8", "sys/devices/*/0000:c1:00.0/*e")

    def test_partitions(self):
        self.check("mi300a-tpx", "sys/class/kfd/kfd/topology/nodes/[56]/*", "dev/kfd")

    def test_intel(self):
        self.check("aurora-6gpu", "sys/devices/*/0000:18:00.0/[clndv]*", "dev/dri/*8")

    def test_two_vendors(self):
        self.check(
            "desktop-amd-nvidia",
            "proc/driver/nvidia/gpus/*/*",
            "sys/class/kfd/**/*pert*",
            "dev/*a*",
            "sys/devices/pci*/*/[clndv]*",
        )


if __name__ == "__main__":
    support.main()
