"""The machines that guests are: packages, cores, memory, and how the firmware numbers the CPUs."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A machine, with what its kernel should see of it."""

    name: str
    text: str
    """What it is, for the table of results."""
    packages: int = 2
    dies: int = 1
    """L3 caches per package."""
    cores: int = 4
    """Cores per L3 cache."""
    threads: int = 2
    nodes: int = 2
    """NUMA nodes with CPUs."""
    slow_nodes: int = 0
    """NUMA nodes without CPUs, one behind each of the first."""
    order: str = "sequential"
    amd: bool = False

    @property
    def cpus(self) -> int:
        return self.packages * self.dies * self.cores * self.threads

    def places(self) -> list[tuple[int, int, int, int]]:
        """Return package, die, core and thread of each CPU, in QEMU's order."""
        ranges = map(range, (self.packages, self.dies, self.cores, self.threads))
        return [*itertools.product(*ranges)]

    def numbered(self) -> list[int]:
        """Return the CPUs in the order in which the firmware lists them, and Linux numbers them."""
        keys = {
            "sequential": lambda package, die, core, thread: (package, die, core, thread),
            "bare-metal": lambda package, die, core, thread: (thread, package, die, core),
            "alternating": lambda package, die, core, thread: (thread, die, core, package),
        }
        places = self.places()
        return sorted(range(self.cpus), key=lambda cpu: keys[self.order](*places[cpu]))

    def shape(self) -> dict[str, object]:
        """Return what the kernel should see of it, as kernel.shape() says it."""
        places = [self.places()[cpu] for cpu in self.numbered()]
        return {
            "cpus": self.cpus,
            "packages": self.packages,
            "cores": self.cpus // self.threads,
            "L3 caches": self.packages * self.dies,
            "nodes": self.nodes,
            "nodes without CPUs": self.slow_nodes,
            "packages of CPUs": [package for package, _, _, _ in places],
            "first threads": [cpu for cpu, place in enumerate(places) if place[3] == 0],
        }

    def options(self) -> list[str]:
        """Return QEMU's options."""
        each = 3072 // (self.nodes + self.slow_nodes)
        words = ["-m", str(each * (self.nodes + self.slow_nodes))]
        shape = f"sockets={self.packages},dies={self.dies},cores={self.cores}"
        words += ["-smp", f"{self.cpus},{shape},threads={self.threads}"]
        if self.slow_nodes:
            words += ["-machine", "hmat=on"]
        for node in range(self.nodes + self.slow_nodes):
            words += ["-object", f"memory-backend-ram,id=m{node},size={each}M"]
            text = f"node,nodeid={node},memdev=m{node}"
            if node < self.nodes:
                share = self.cpus // self.nodes
                text += f",cpus={node * share}-{(node + 1) * share - 1}"
            if self.slow_nodes:
                text += f",initiator={node % self.nodes}"
            words += ["-numa", text]
        for one, other in itertools.combinations(range(self.nodes + self.slow_nodes), 2):
            words += ["-numa", f"dist,src={one},dst={other},val={self.distance(one, other)}"]
        if self.slow_nodes:
            words += self.bandwidths()
        return words

    def distance(self, one: int, other: int) -> int:
        """Return how far memory is, as firmware tells it: 10 is a node's own."""
        packages = [node % self.nodes * self.packages // self.nodes for node in (one, other)]
        near = packages[0] == packages[1]
        return (12 if near else 21) + (7 if max(one, other) >= self.nodes else 0)

    def bandwidths(self) -> list[str]:
        """Return options for a heterogeneous memory attribute table: latency in ns, GB/s."""
        words = []
        for initiator in range(self.nodes):
            for target in range(self.nodes + self.slow_nodes):
                far = 1 if target % self.nodes == initiator else 2
                latency, bandwidth = (100, 100) if target < self.nodes else (300, 40)
                head = f"hmat-lb,initiator={initiator},target={target},hierarchy=memory"
                words += ["-numa", f"{head},data-type=access-latency,latency={latency * far}"]
                speed = f"bandwidth={bandwidth // far}G"
                words += ["-numa", f"{head},data-type=access-bandwidth,{speed}"]
        return words

    def table(self) -> bytes:
        """Return the ACPI table of interrupt controllers, which lists the CPUs in this order.

        Linux takes it in place of the firmware's. The form is that of "Multiple APIC Description
        Table (MADT)" in the ACPI specification; what is beside the CPUs is as on QEMU's q35.
        """
        places, entries = self.places(), b""
        for cpu in self.numbered():
            package, die, core, thread = places[cpu]
            apic = package
            for part, count in ((die, self.dies), (core, self.cores), (thread, self.threads)):
                apic = apic << (count - 1).bit_length() | part
            entries += struct.pack("<BBBBI", 0, 8, cpu, apic, 1)
        entries += struct.pack("<BBBBII", 1, 12, 0, 0, 0xFEC00000, 0)
        for source, target, flags in (
            (0, 2, 0),
            (5, 5, 13),
            (9, 9, 13),
            (10, 10, 13),
            (11, 11, 13),
        ):
            entries += struct.pack("<BBBBIH", 2, 10, 0, source, target, flags)
        entries += struct.pack("<BBBHB", 4, 6, 255, 0, 1)
        # Of the same maker and name as the firmware's, and newer.
        head = (b"APIC", 44 + len(entries), 1, 0, b"BOCHS ", b"BXPC    ", 2, b"test", 1)
        table = struct.pack("<4sIBB6s8sI4sI", *head) + struct.pack("<II", 0xFEE00000, 1) + entries
        return table[:9] + bytes([-sum(table) % 256]) + table[10:]


MACHINES = [
    Machine("sequential", "2 packages x 4 cores x 2 threads; those of a core are neighbours"),
    Machine("bare-metal", "the same; all first threads come first", order="bare-metal"),
    Machine("alternating", "the same; the packages take turns", order="alternating"),
    Machine("four-nodes", "2 NUMA nodes in each package", nodes=4, order="bare-metal"),
    Machine("slow-memory", "a NUMA node without CPUs behind each package", slow_nodes=2),
    Machine(
        "amd",
        "1 package of 2 x 8 cores, an L3 cache and a NUMA node for each 8; no SMT",
        packages=1,
        dies=2,
        cores=8,
        threads=1,
        amd=True,
    ),
    Machine(
        "64-cpus",
        "4 packages x 8 cores x 2 threads",
        packages=4,
        cores=8,
        nodes=4,
        order="bare-metal",
    ),
    Machine(
        "72-cpus",
        "2 packages x 18 cores x 2 threads, the machine of the examples",
        cores=18,
        order="bare-metal",
    ),
]
