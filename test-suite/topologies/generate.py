"""Write the machines of this folder as hwloc XML (format 2).

The files are written from published descriptions of the hardware, so anyone can see
why a machine looks as it does and change it. Each machine is one function below, with
its sources in the docstring; the name of the function is the name of its file.

    python generate.py            rewrite every file
    python generate.py --check    exit 1 and name the files that would change
"""

from __future__ import annotations

import argparse
import itertools
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import quoteattr

KIB = 1024
GIB = 1024**3

# --------------------------------------------------------------------------------------
# Machines
# --------------------------------------------------------------------------------------


def one_package_16core() -> Topology:
    """One Xeon Gold 6226R: 16 cores, hyper-threading off, one NUMA node.

    Source: Intel ARK, "Intel Xeon Gold 6226R" (16 cores, 22 MB L3, 1 MB L2 per core),
    https://www.intel.com/content/www/us/en/products/sku/199347/specifications.html
    """
    cores = CoreKind(adjacent(smt=1), per_package=16, l1=32, l2=1024)
    l3 = cache(3, 22528, *cores.block(0, 16))
    intel = cpu_model("GenuineIntel", "Intel(R) Xeon(R) Gold 6226R CPU @ 2.90GHz")
    return machine(package(0, numa(0, 96), l3, infos=intel))


def two_package_18core_smt2_2gpu() -> Topology:
    """Two Xeon E5-2695 v4 and two Tesla P100, both of them on the first package.

    This is the worked example of the mapping algorithm. Cores, GPUs and the Omni-Path
    network are those of LLNL's Pascal; having both GPUs on package 0, and the network
    adapter on package 1, is our choice: the second package must earn its tasks.

    Source: LLNL, "Pascal", https://hpc.llnl.gov/hardware/compute-platforms/pascal;
    Intel ARK, "Intel Xeon E5-2695 v4" (18 cores, 45 MB L3).
    """
    cores = CoreKind(siblings_last(36, smt=2), per_package=18, l1=32, l2=256)
    intel = cpu_model("GenuineIntel", "Intel(R) Xeon(R) CPU E5-2695 v4 @ 2.10GHz")
    p100 = Gpu("10de:15f8", 0x0302, "NVIDIA Corporation", "Tesla P100-PCIE-16GB")
    gpus = root_complex("0000:00", p100.nvml(0, "0000:04:00.0"), p100.nvml(1, "0000:07:00.0"))
    omni_path = pci("0000:81:00.0", "8086:24f0", 0x0208, openfabrics("hfi1_0"))
    devices = [gpus, root_complex("0000:80", omni_path)]
    return machine(
        *(
            package(
                p,
                numa(p, 128),
                cache(3, 46080, *cores.block(18 * p, 18)),
                devices[p],
                infos=intel,
            )
            for p in range(2)
        )
    )


def epyc_7763_nps4_8gpu() -> Topology:
    """Two EPYC 7763 with four NUMA nodes each, and one MI210 on every NUMA node.

    The quadrants of such a package own the PCI buses in falling order, so the GPUs,
    numbered by PCI address, run against the NUMA nodes: rsmi0 is on node 3, rsmi3 on
    node 0, rsmi4 on node 7 and rsmi7 on node 4.

    Source: AMD, "EPYC 7003 processors: architecture guide for HPC" (NPS4, 32 MB L3 per
    8 cores), https://docs.amd.com; LuxProvide, "Detailed architecture" (CPU numbers of
    two 64-core packages in NPS4), https://docs.lxp.lu/system/detailed_arch/
    """
    cores = CoreKind(siblings_last(128, smt=2), per_package=64, l1=32, l2=512)
    amd = cpu_model("AuthenticAMD", "AMD EPYC 7763 64-Core Processor")
    mi210 = Gpu("1002:740f", 0x0380, "AMD", "AMD Instinct MI210")
    first_bus = [0x60, 0x40, 0x20, 0x00, 0xE0, 0xC0, 0xA0, 0x80]
    rank = {bus: index for index, bus in enumerate(sorted(first_bus))}

    def quadrant(node: int) -> Object:
        bus = first_bus[node]
        gpu = mi210.rsmi([rank[bus]], f"0000:{bus + 3:02x}:00.0")
        return group(
            numa(node, 64),
            *(cache(3, 32768, *cores.block(16 * node + 8 * i, 8)) for i in range(2)),
            root_complex(f"0000:{bus:02x}", gpu),
        )

    return machine(
        *(package(p, *(quadrant(4 * p + q) for q in range(4)), infos=amd) for p in range(2))
    )


def power9_ac922_4gpu() -> Topology:
    """A Lassen node: two 22-core POWER9 with SMT 4 and four V100 on NVLink.

    Two cores of each package are set aside for the system, so a job sees the CPUs 8-87
    and 96-175. The NUMA nodes are 0 and 8. The memory of GPU 0 to 3 is NUMA node 255 to
    252: nodes without CPUs that are equally far from everything, which leaves them at
    the machine unless hwloc can ask the NVIDIA driver where they belong.

    Source: LLNL, "Using LC's Sierra Systems" (node layout, cores left to the system),
    https://hpc.llnl.gov/documentation/tutorials/using-lc-s-sierra-systems; IBM, "Power
    System AC922 Technical Overview", REDP-5494; ORNL, "Summit User Guide" (L2 and L3
    shared by core pairs), https://docs.olcf.ornl.gov/systems/summit_user_guide.html
    """
    smt = 4
    power = {"CPUModel": "POWER9, altivec supported", "CPURevision": "2.1"}
    v100 = Gpu("10de:1db1", 0x0302, "NVIDIA Corporation", "Tesla V100-SXM2-16GB")
    bus_ids = ["0004:04:00.0", "0004:05:00.0", "0035:03:00.0", "0035:04:00.0"]

    def pair(first: int) -> Object:
        # The chip has 24 core slots and a core is named after its slot: the two that
        # are fused off leave a gap in the names, not in the CPU numbers.
        slots = [(n % 22 if n % 22 < 12 else n % 22 + 2) for n in (first, first + 1)]
        cores = [
            core(4 * slot + 2048 * (n // 22), range(smt * n, smt * n + smt))
            for n, slot in zip((first, first + 1), slots, strict=True)
        ]
        l1 = [cache(1, 32, c, line=128) for c in cores]
        return cache(3, 10240, cache(2, 512, *l1, line=128), line=128)

    def socket(index: int) -> Object:
        bus = bus_ids[2 * index][:7]
        gpus = [v100.nvml(i, bus_ids[i]) for i in (2 * index, 2 * index + 1)]
        pairs = [pair(22 * index + 2 * i) for i in range(11)]
        root = root_complex(f"{bus[:4]}:00", *gpus)
        return package(8 * index, numa(8 * index, 128), *pairs, root, infos=power)

    gpu_memory = [numa(node, 16) for node in range(252, 256)]
    system = [*range(0, 8), *range(88, 96)]
    return machine(*gpu_memory, socket(0), socket(1), hidden=system, architecture="ppc64le")


def xeon_max_9480_snc4_flat() -> Topology:
    """Two Xeon Max 9480 in SNC4 and flat mode: HBM nodes beside the DDR nodes.

    Nodes 0 to 7 are DDR5 and own the CPUs; nodes 8 to 15 are the HBM of the same
    quarters, so the CPU sets of NUMA nodes intersect.

    Source: Intel, "Xeon CPU Max Series Configuration and Tuning Guide", no. 354227
    (modes, node numbers); Lenovo Press LP1810, https://lenovopress.lenovo.com/lp1810
    (HBM nodes in flat mode); hwloc manual, "Heterogeneous Memory" (subtypes and tiers),
    https://www.open-mpi.org/projects/hwloc/doc/v2.13.0/heteromem.html
    """
    cores = CoreKind(siblings_last(112, smt=2), per_package=56, l1=48, l2=2048)
    intel = cpu_model("GenuineIntel", "Intel(R) Xeon(R) CPU Max 9480")

    def quarter(node: int) -> Object:
        return group(
            numa(node, 32, subtype="DRAM", infos={"MemoryTier": "1"}),
            numa(node + 8, 16, subtype="HBM", infos={"MemoryTier": "0"}),
            *cores.block(14 * node, 14),
        )

    # The last-level cache stays one per package, above the quarters.
    return machine(
        *(
            package(
                p,
                cache(3, 115200, *(quarter(4 * p + q) for q in range(4))),
                infos=intel,
            )
            for p in range(2)
        )
    )


def knl_7250_snc4_flat() -> Topology:
    """A Xeon Phi 7250 in SNC-4 and flat mode, with clusters of unequal size.

    34 tiles of two cores do not divide by four: two clusters have 18 cores and two have
    16. Nodes 0 to 3 are DDR4, nodes 4 to 7 the 4 GiB of MCDRAM beside each of them.

    Source: NERSC, "KNL Processor Modes" (tiles, clusters),
    http://www.nersc.gov/users/computational-systems/cori/configuration/knl-processor-modes/;
    hwloc manual, FAQ on the local MCDRAM node of Knights Landing (MCDRAM nodes, Cluster
    groups), https://www.open-mpi.org/projects/hwloc/doc/
    """
    cores = CoreKind(siblings_last(68, smt=4), per_package=68, l1=32)
    phi = cpu_model("GenuineIntel", "Intel(R) Xeon Phi(TM) CPU 7250 @ 1.40GHz")

    def cluster(node: int, first: int, count: int) -> Object:
        tiles = (cache(2, 1024, *cores.block(c, 2)) for c in range(first, first + count, 2))
        return group(
            numa(node, 24),
            numa(node + 4, 4, subtype="MCDRAM"),
            *tiles,
            kind=GROUP_KNL_CLUSTER,
            subtype="Cluster",
        )

    clusters = (
        cluster(0, 0, 18),
        cluster(1, 18, 18),
        cluster(2, 36, 16),
        cluster(3, 52, 16),
    )
    return machine(package(0, *clusters, infos=phi))


def grace_hopper_1gpu() -> Topology:
    """One GH200: 72 cores without SMT, and the memory of the GPU as a NUMA node.

    Linux gives node 1 no CPUs. Here it hangs off the machine, as a node without a known
    place does; grace_hopper_4gpu has such nodes in the packages. (The nodes 2 to 8,
    kept for GPU partitions, have neither CPUs nor memory and hwloc leaves them out.)

    Source: NVIDIA, "Grace Performance Tuning Guide" (NUMA nodes),
    https://docs.nvidia.com/grace-perf-tuning-guide/; JSC, "JUPITER configuration",
    https://apps.fz-juelich.de/jsc/hps/jupiter/configuration.html
    """
    gpu_memory = numa(1, 96, subtype="GPUMemory")
    return machine(gpu_memory, _grace(0, numa(0, 480)), architecture="aarch64")


def grace_hopper_4gpu() -> Topology:
    """Four GH200 in one node, as in Alps and JUPITER, each with its GPU memory.

    Nodes 0 to 3 have the CPUs; the memory of GPU 0 to 3 is node 4, 12, 20 and 28. hwloc
    from 2.11 on keeps these nodes and gives each the CPUs of its GPU's package, so CPU
    sets of NUMA nodes intersect and no node is without CPUs.

    Source: CSCS, "Alps hardware", https://docs.cscs.ch/alps/hardware; Fusco et al.,
    "Understanding Data Movement in Tightly Coupled Heterogeneous Systems",
    https://arxiv.org/abs/2408.11556 (quad node and its NUMA nodes); hwloc 2.11 NEWS.
    """

    def superchip(p: int) -> Object:
        gpu = numa(
            4 + 8 * p,
            96,
            subtype="GPUMemory",
            infos={"PCIBusID": _GRACE_GPUS[p]},
        )
        return _grace(p, numa(p, 120), gpu)

    return machine(*(superchip(p) for p in range(4)), architecture="aarch64")


_GRACE_GPUS = ["0009:01:00.0", "0019:01:00.0", "0029:01:00.0", "0039:01:00.0"]


def _grace(p: int, *memory: Object) -> Object:
    cores = CoreKind(adjacent(smt=1), per_package=72, l1=64, l2=1024)
    hopper = Gpu("10de:2342", 0x0302, "NVIDIA Corporation", "NVIDIA GH200 120GB")
    gpu = hopper.nvml(p, _GRACE_GPUS[p])
    l3 = cache(3, 116736, *cores.block(72 * p, 72))
    root = root_complex(f"{_GRACE_GPUS[p][:4]}:00", gpu)
    return package(p, *memory, l3, root, infos={"CPUModel": "Neoverse-V2"})


def mi300a_spx() -> Topology:
    """Four MI300A, each showing its six compute dies as one GPU (SPX, NPS1).

    The PCI bus of the network adapters is made up.

    Source: AMD, "MI300A APU Overview" (24 cores, 3 CPU dies, 6 compute dies, modes),
    https://instinct.docs.amd.com/projects/amdgpu-docs/en/latest/gpu-partitioning/mi300a/overview.html;
    LLNL, "Using El Capitan Systems: Hardware Overview" (four APUs and four Slingshot
    adapters per node), https://hpc.llnl.gov/documentation/user-guides/using-el-capitan-systems
    """
    return _mi300a(partitions=1)


def mi300a_tpx() -> Topology:
    """Four MI300A, each showing three GPUs of two compute dies (TPX, NPS1).

    Source: as mi300a_cpx.
    """
    return _mi300a(partitions=3)


def mi300a_cpx() -> Topology:
    """Four MI300A, each showing six GPUs (CPX, NPS1) on one PCI function.

    The partitions are told apart only by their OS devices: there is one PCI function
    per package, and RSMI gives all six the same unique id.

    Source: as mi300a_spx; hwloc pull request 701 (partitions have no PCI function of
    their own), https://github.com/open-mpi/hwloc/pull/701
    """
    return _mi300a(partitions=6)


def _mi300a(partitions: int) -> Topology:
    cores = CoreKind(siblings_last(96, smt=2), per_package=24, l1=32, l2=1024)
    amd = cpu_model("AuthenticAMD", "AMD Instinct MI300A Accelerator")
    mi300a = Gpu("1002:74a0", 0x1200, "AMD", "AMD Instinct MI300A")

    def apu(p: int) -> Object:
        indexes = range(partitions * p, partitions * p + partitions)
        gpu = mi300a.rsmi(indexes, f"{p:04x}:02:00.0")
        network = os_device(f"hsi{p}", NETWORK, "Slingshot")
        nic = pci(f"{p:04x}:c1:00.0", "17db:0501", 0x0200, network)
        return package(
            p,
            numa(p, 128),
            *(cache(3, 32768, *cores.block(24 * p + 8 * i, 8)) for i in range(3)),
            root_complex(f"{p:04x}:00", gpu),
            root_complex(f"{p:04x}:c0", nic),
            infos=amd,
        )

    return machine(*(apu(p) for p in range(4)))


def aurora_6gpu() -> Topology:
    """An Aurora node: two Xeon Max 9470C, HBM in flat mode, six Data Center GPU Max.

    Level Zero lists six devices with two tiles each; tiles are OS devices below their
    GPU. Nodes 0 and 1 are DDR5, nodes 2 and 3 HBM. Adapters are hsn0 to hsn7.

    Source: ALCF, "Aurora machine overview" (CPUs, GPUs, network) and "Running jobs on
    Aurora" (CPU numbers), https://docs.alcf.anl.gov/aurora/; hwloc manual, "I/O
    Devices" (names of Level Zero devices and tiles).
    """
    cores = CoreKind(siblings_last(104, smt=2), per_package=52, l1=48, l2=2048)
    intel = cpu_model("GenuineIntel", "Intel(R) Xeon(R) CPU Max 9470C")
    ponte_vecchio = Gpu(
        "8086:0bd5", 0x0380, "Intel(R) Corporation", "Intel(R) Data Center GPU Max 1550"
    )

    def socket(p: int) -> Object:
        gpus = [
            root_complex(
                f"{p:04x}:{bus - 3:02x}",
                ponte_vecchio.level_zero(3 * p + i, f"{p:04x}:{bus:02x}:00.0", tiles=2),
            )
            for i, bus in enumerate((0x18, 0x42, 0x6C))
        ]
        nics = [
            root_complex(
                f"{p:04x}:{bus:02x}",
                pci(
                    f"{p:04x}:{bus + 2:02x}:00.0",
                    "17db:0501",
                    0x0200,
                    os_device(f"hsn{4 * p + i}", NETWORK, "Slingshot"),
                ),
            )
            for i, bus in enumerate((0x90, 0xA0, 0xB0, 0xC0))
        ]
        return package(
            p,
            numa(p, 512, subtype="DRAM", infos={"MemoryTier": "1"}),
            numa(p + 2, 64, subtype="HBM", infos={"MemoryTier": "0"}),
            cache(3, 107520, *cores.block(52 * p, 52)),
            *gpus,
            *nics,
            infos=intel,
        )

    return machine(socket(0), socket(1))


def core_i9_14900k_1gpu() -> Topology:
    """A hybrid desktop: 8 P-cores with SMT, 16 E-cores in clusters of four, one GPU.

    Cores differ in their number of threads. The graphics card is of PCI class 0300, as
    boards with display outputs are; the integrated graphics next to it are no GPU for
    us. PCI hangs off the machine, as on every board with one package.

    Source: Intel ARK, "Intel Core i9-14900K" (cores, 36 MB L3),
    https://www.intel.com/content/www/us/en/products/sku/236773/specifications.html
    """
    performance = CoreKind(adjacent(smt=2), per_package=8, l1=48, l2=2048, id_step=4)
    intel = cpu_model("GenuineIntel", "Intel(R) Core(TM) i9-14900K")

    def e_cluster(first: int) -> Object:
        cores = [cache(1, 32, core(32 + n, [16 + n])) for n in range(first, first + 4)]
        return cache(2, 4096, *cores)

    e_clusters = (e_cluster(n) for n in range(0, 16, 4))
    rtx = Gpu("10de:2684", 0x0300, "NVIDIA Corporation", "NVIDIA GeForce RTX 4090")
    return machine(
        package(
            0,
            numa(0, 64),
            cache(3, 36864, *performance.block(0, 8), *e_clusters),
            infos=intel,
        ),
        root_complex("0000:00", pci("0000:00:02.0", "8086:a780", 0x0300), rtx.pci("0000:01:00.0")),
        cpu_kinds=(
            CpuKind(range(16, 32), {"CoreType": "IntelAtom", "FrequencyBaseMHz": "2400"}),
            CpuKind(range(0, 16), {"CoreType": "IntelCore", "FrequencyBaseMHz": "3200"}),
        ),
    )


def cloud_vm_1numa_4gpu() -> Topology:
    """A virtual machine like AWS g4dn.12xlarge: four T4 on PCI bus 0 of the machine.

    Source: AWS, "CPU options for EC2 instances" (24 cores, 2 threads) and "EC2 G4
    instances", https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/cpu-options-supported-instances-values.html
    """
    cores = CoreKind(siblings_last(24, smt=2), per_package=24, l1=32, l2=1024)
    intel = cpu_model("GenuineIntel", "Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz")
    t4 = Gpu("10de:1eb8", 0x0302, "NVIDIA Corporation", "Tesla T4")
    gpus = (t4.pci(f"0000:00:{slot:02x}.0") for slot in range(0x1B, 0x1F))
    l3 = cache(3, 36608, *cores.block(0, 24))
    return machine(
        package(0, numa(0, 192), l3, infos=intel),
        root_complex("0000:00", _elastic_network("0000:00:05.0", "ens5"), *gpus),
    )


def cloud_vm_2numa_8gpu() -> Topology:
    """A virtual machine like AWS p3.16xlarge: two packages, eight V100 on neither.

    The hypervisor shows two NUMA nodes but puts every device on PCI bus 0, which no
    package owns: locality gives no hint how to split the GPUs.

    Source: AWS, "CPU options for EC2 instances" (32 cores, 2 threads) and "EC2 P3
    instances", https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/cpu-options-supported-instances-values.html
    """
    cores = CoreKind(siblings_last(32, smt=2), per_package=16, l1=32, l2=256)
    intel = cpu_model("GenuineIntel", "Intel(R) Xeon(R) CPU E5-2686 v4 @ 2.30GHz")
    v100 = Gpu("10de:1db1", 0x0302, "NVIDIA Corporation", "Tesla V100-SXM2-16GB")
    gpus = (v100.pci(f"0000:00:{slot:02x}.0") for slot in range(0x17, 0x1F))
    packages = (
        package(p, numa(p, 244), cache(3, 46080, *cores.block(16 * p, 16)), infos=intel)
        for p in range(2)
    )
    return machine(
        *packages,
        root_complex("0000:00", _elastic_network("0000:00:03.0", "ens3"), *gpus),
    )


def _elastic_network(bus_id: str, name: str) -> Object:
    return pci(bus_id, "1d0f:ec20", 0x0200, os_device(name, NETWORK))


def offline_cpus() -> Topology:
    """Two Xeon Gold 6244 with CPUs switched off through sysfs.

    Offline are core 3 with both threads (3, 19), one thread of core 5 (21), and the
    last two CPUs (30, 31). CPU numbers have gaps, cores differ in their threads, and
    the complete CPU sets are larger than the CPU sets.

    Source: Linux kernel, "CPU hotplug in the Kernel",
    https://docs.kernel.org/core-api/cpu_hotplug.html; Intel ARK, "Intel Xeon Gold 6244"
    (8 cores, 24.75 MB L3).
    """
    cores = CoreKind(siblings_last(16, smt=2), per_package=8, l1=32, l2=1024)
    intel = cpu_model("GenuineIntel", "Intel(R) Xeon(R) Gold 6244 CPU @ 3.60GHz")
    return machine(
        *(
            package(p, numa(p, 96), cache(3, 25344, *cores.block(8 * p, 8)), infos=intel)
            for p in range(2)
        ),
        hidden=[3, 19, 21, 30, 31],
    )


def cxl_memory() -> Topology:
    """Two Xeon Gold 6430 and a CXL memory card that Linux made into NUMA node 2.

    In Linux the node has no CPUs, and it is as far from one package as from the other.
    So it hangs off the machine, and is in the node set of every object.

    Source: Linux kernel, "Compute Express Link Memory Devices",
    https://docs.kernel.org/driver-api/cxl/; hwloc manual, "Normal attributes" (subtype
    CXL-DRAM), https://www.open-mpi.org/projects/hwloc/doc/v2.13.0/attributes.html;
    Intel ARK, "Intel Xeon Gold 6430" (32 cores, 60 MB L3).
    """
    cores = CoreKind(siblings_last(64, smt=2), per_package=32, l1=48, l2=2048)
    intel = cpu_model("GenuineIntel", "Intel(R) Xeon(R) Gold 6430")
    memory = os_device("mem0", BLOCK, "CXLMem", infos={"CXLRAMSize": str(256 * 1024**2)})
    card = root_complex("0000:37", pci("0000:38:00.0", "1e98:c001", 0x0502, memory))
    devices: list[list[Object]] = [[card], []]
    return machine(
        numa(2, 256, subtype="CXL-DRAM", infos={"MemoryTier": "1"}),
        *(
            package(
                p,
                numa(p, 256, subtype="DRAM", infos={"MemoryTier": "0"}),
                cache(3, 61440, *cores.block(32 * p, 32)),
                *devices[p],
                infos=intel,
            )
            for p in range(2)
        ),
    )


def cgroup_half_node_2gpu() -> Topology:
    """Two Xeon Gold 6338 and two A100; a job has the CPUs of one package only.

    The scheduler's cgroup restricts the CPUs and leaves the memory alone, so package 1
    stays with NUMA node 1 and a GPU but without CPUs. This is how a NUMA node comes to
    have an empty CPU set in hwloc.

    Source: Slurm, "cgroup.conf" (ConstrainCores), https://slurm.schedmd.com/cgroup.conf.html;
    Linux kernel, "Control Group v2" (cpuset.cpus and cpuset.mems),
    https://docs.kernel.org/admin-guide/cgroup-v2.html; Intel ARK, "Intel Xeon Gold
    6338" (32 cores, 48 MB L3).
    """
    cores = CoreKind(siblings_last(64, smt=2), per_package=32, l1=48, l2=1280)
    intel = cpu_model("GenuineIntel", "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz")
    a100 = Gpu("10de:20b5", 0x0302, "NVIDIA Corporation", "NVIDIA A100 80GB PCIe")
    gpus = [
        root_complex("0000:16", a100.nvml(0, "0000:17:00.0")),
        root_complex("0000:c9", a100.nvml(1, "0000:ca:00.0")),
    ]
    return machine(
        *(
            package(
                p,
                numa(p, 256),
                cache(3, 49152, *cores.block(32 * p, 32)),
                gpus[p],
                infos=intel,
            )
            for p in range(2)
        ),
        hidden=[*range(32, 64), *range(96, 128)],
    )


def epyc_9654_2package() -> Topology:
    """Two EPYC 9654, 192 cores and 384 CPUs: the large machine of the collection.

    Source: AMD, "EPYC 9654" (96 cores, 384 MB L3),
    https://www.amd.com/en/products/processors/server/epyc/4th-generation-9004-and-8004-series/amd-epyc-9654.html;
    AMD, "EPYC 9004 series architecture overview" (8 cores per L3)
    """
    cores = CoreKind(siblings_last(192, smt=2), per_package=96, l1=32, l2=1024)
    amd = cpu_model("AuthenticAMD", "AMD EPYC 9654 96-Core Processor")
    return machine(
        *(
            package(
                p,
                numa(p, 384),
                *(cache(3, 32768, *cores.block(c, 8)) for c in range(96 * p, 96 * p + 96, 8)),
                infos=amd,
            )
            for p in range(2)
        )
    )


def dgx_h100_8gpu() -> Topology:
    """A DGX H100 seen by a hwloc without NVML: eight GPUs, eight adapters, one decoy.

    The GPUs are PCI devices only. Each shares its root with one ConnectX-7, and is put
    three buses behind it, which gives the addresses seen on such systems. The gaps in
    the names of the adapters are those of the storage and Ethernet ports, which are
    left out. The display of the management controller (ASPEED) is no GPU.

    Source: NVIDIA, "DGX H100 User Guide" (CPUs, memory, and the table of network
    modules: PCI bus and mlx5 name per GPU), https://docs.nvidia.com/dgx/dgxh100-user-guide/
    """
    cores = CoreKind(siblings_last(112, smt=2), per_package=56, l1=48, l2=2048)
    intel = cpu_model("GenuineIntel", "Intel(R) Xeon(R) Platinum 8480C")
    h100 = Gpu("10de:2330", 0x0302, "NVIDIA Corporation", "NVIDIA H100 80GB HBM3")
    adapters = [
        [(0x18, 0), (0x40, 3), (0x4F, 4), (0x5E, 5)],
        [(0x9A, 6), (0xC0, 9), (0xCE, 10), (0xDC, 11)],
    ]

    def rail(bus: int, index: int) -> Object:
        adapter = pci(
            f"0000:{bus:02x}:00.0",
            "15b3:1021",
            0x0207,
            os_device(f"ibp{bus}s0", NETWORK),
            openfabrics(f"mlx5_{index}"),
        )
        gpu = h100.pci(f"0000:{bus + 3:02x}:00.0")
        return root_complex(f"0000:{bus - 3:02x}", adapter, gpu)

    display = root_complex("0000:00", pci("0000:03:00.0", "1a03:2000", 0x0300))
    return machine(
        *(
            package(
                p,
                numa(p, 1024),
                cache(3, 107520, *cores.block(56 * p, 56)),
                *([display] if p == 0 else []),
                *(rail(bus, index) for bus, index in adapters[p]),
                infos=intel,
            )
            for p in range(2)
        )
    )


def decoys_0gpu() -> Topology:
    """A small Xeon E-2288G server in which nothing that looks like a GPU is one.

    Integrated graphics with their DRM nodes (OS devices of type GPU), an FPGA card of
    class 1200, and the displays of three management controllers, where a real server
    has one: Matrox, ASPEED, and ATI's ES1000.

    Source: Intel ARK, "Intel Xeon E-2288G" (8 cores, UHD P630 graphics); the PCI ID
    repository, https://pci-ids.ucw.cz (8086:3e9a, 102b:0536, 8086:09c4, 1a03:2000,
    1002:515e)
    """
    cores = CoreKind(siblings_last(8, smt=2), per_package=8, l1=32, l2=256)
    intel = cpu_model("GenuineIntel", "Intel(R) Xeon(R) E-2288G CPU @ 3.70GHz")
    drm_nodes = (os_device(name, GPU) for name in ("card1", "renderD128"))
    return machine(
        package(0, numa(0, 64), cache(3, 16384, *cores.block(0, 8)), infos=intel),
        root_complex(
            "0000:00",
            pci("0000:00:02.0", "8086:3e9a", 0x0300, *drm_nodes),
            pci("0000:01:00.0", "8086:09c4", 0x1200),
            pci("0000:03:00.0", "102b:0536", 0x0300, os_device("card0", GPU)),
            pci("0000:04:00.0", "1a03:2000", 0x0300),
            pci("0000:05:00.0", "1002:515e", 0x0300),
        ),
    )


def milan_a100_4gpu() -> Topology:
    """A Perlmutter GPU node: one EPYC 7763 in NPS4, four A100 and four Slingshot adapters.

    Every quarter has one of each; GPUs and NUMA nodes are numbered against each other.
    There is no NVML in this hwloc. The PCI buses of the adapters are made up.

    Source: NERSC, "Perlmutter architecture" (cores, GPUs, NICs),
    https://docs.nersc.gov/systems/perlmutter/architecture/; NERSC, "Process and thread
    affinity" (which GPU is near which NUMA node).
    """
    cores = CoreKind(siblings_last(64, smt=2), per_package=64, l1=32, l2=512)
    amd = cpu_model("AuthenticAMD", "AMD EPYC 7763 64-Core Processor")
    a100 = Gpu("10de:20b0", 0x0302, "NVIDIA Corporation", "NVIDIA A100-SXM4-40GB")
    gpu_bus = [0xC1, 0x82, 0x41, 0x03]

    def quarter(node: int) -> Object:
        bus = gpu_bus[node]
        adapter = pci(
            f"0000:{bus + 0x1E:02x}:00.0",
            "17db:0501",
            0x0200,
            os_device(f"hsn{3 - node}", NETWORK, "Slingshot"),
        )
        return group(
            numa(node, 64),
            *(cache(3, 32768, *cores.block(16 * node + 8 * i, 8)) for i in range(2)),
            root_complex(f"0000:{bus - 1:02x}", a100.pci(f"0000:{bus:02x}:00.0"), adapter),
        )

    return machine(package(0, *(quarter(node) for node in range(4)), infos=amd))


def mi250x_8gpu() -> Topology:
    """A Frontier node: one EPYC 7A53 in NPS4 and four MI250X, which are eight GPUs.

    Two L3 caches make a NUMA node. GPUs are numbered by PCI address, which has nothing
    to do with NUMA: node 0 has GPUs 4 and 5, node 1 has 2 and 3, node 2 has 6 and 7, and
    node 3 has 0 and 1. There is no ROCm SMI in this hwloc. The PCI buses of the
    adapters are made up.

    Source: OLCF, "Frontier User Guide" (node diagram: cores, GCDs, NICs),
    https://docs.olcf.ornl.gov/systems/frontier_user_guide.html
    """
    cores = CoreKind(siblings_last(64, smt=2), per_package=64, l1=32, l2=512)
    amd = cpu_model("AuthenticAMD", "AMD EPYC 7A53 64-Core Processor")
    mi250x = Gpu("1002:7408", 0x0380, "AMD", "AMD Instinct MI250X")
    buses = [(0xD1, 0xD6), (0xC9, 0xCE), (0xD9, 0xDE), (0xC1, 0xC6)]

    def quarter(node: int) -> Object:
        first, second = buses[node]
        adapter = pci(
            f"0000:{second + 2:02x}:00.0",
            "17db:0501",
            0x0200,
            os_device(f"hsn{(second - 0xC6) // 8}", NETWORK, "Slingshot"),
        )
        gpus = (mi250x.pci(f"0000:{bus:02x}:00.0") for bus in (first, second))
        return group(
            numa(node, 128),
            *(cache(3, 32768, *cores.block(16 * node + 8 * i, 8)) for i in range(2)),
            root_complex(f"0000:{first - 1:02x}", *gpus, adapter),
        )

    return machine(package(0, *(quarter(node) for node in range(4)), infos=amd))


def desktop_amd_nvidia() -> Topology:
    """A desktop with a GeForce and a Radeon: two vendors, both cards of PCI class 0300.

    The Radeon is told from a mere display by its render node. The graphics inside the
    CPU are switched off.

    Source: AMD, "Ryzen 9 7950X" (16 cores, 64 MB L3 in two halves); the PCI ID
    repository, https://pci-ids.ucw.cz (10de:2684, 1002:744c)
    """
    cores = CoreKind(siblings_last(16, smt=2), per_package=16, l1=32, l2=1024)
    amd = cpu_model("AuthenticAMD", "AMD Ryzen 9 7950X 16-Core Processor")
    rtx = Gpu("10de:2684", 0x0300, "NVIDIA Corporation", "NVIDIA GeForce RTX 4090")
    radeon = Gpu("1002:744c", 0x0300, "AMD", "Radeon RX 7900 XTX")
    nodes = (os_device(name, GPU) for name in ("card1", "renderD128"))
    return machine(
        package(
            0,
            numa(0, 64),
            *(cache(3, 32768, *cores.block(8 * i, 8)) for i in range(2)),
            infos=amd,
        ),
        root_complex("0000:00", rtx.pci("0000:01:00.0"), radeon.pci("0000:05:00.0", *nodes)),
    )


def laptop_integrated() -> Topology:
    """A laptop whose only graphics are those in the CPU, which count as no GPU.

    Source: Intel ARK, "Intel Core i7-1260P" (4 P-cores, 8 E-cores, 18 MB L3); the PCI ID
    repository, https://pci-ids.ucw.cz (8086:46a6)
    """
    performance = CoreKind(adjacent(smt=2), per_package=4, l1=48, l2=1280, id_step=4)
    intel = cpu_model("GenuineIntel", "12th Gen Intel(R) Core(TM) i7-1260P")

    def e_cluster(first: int) -> Object:
        cores = [cache(1, 32, core(16 + n, [8 + n])) for n in range(first, first + 4)]
        return cache(2, 2048, *cores)

    graphics = pci(
        "0000:00:02.0",
        "8086:46a6",
        0x0300,
        *(os_device(name, GPU) for name in ("card0", "renderD128")),
    )
    return machine(
        package(
            0,
            numa(0, 16),
            cache(3, 18432, *performance.block(0, 4), e_cluster(0), e_cluster(4)),
            infos=intel,
        ),
        root_complex("0000:00", graphics),
    )


MACHINES: tuple[Callable[[], Topology], ...] = (
    one_package_16core,
    two_package_18core_smt2_2gpu,
    epyc_7763_nps4_8gpu,
    power9_ac922_4gpu,
    xeon_max_9480_snc4_flat,
    knl_7250_snc4_flat,
    grace_hopper_1gpu,
    grace_hopper_4gpu,
    mi300a_spx,
    mi300a_tpx,
    mi300a_cpx,
    aurora_6gpu,
    core_i9_14900k_1gpu,
    cloud_vm_1numa_4gpu,
    cloud_vm_2numa_8gpu,
    offline_cpus,
    cgroup_half_node_2gpu,
    cxl_memory,
    epyc_9654_2package,
    dgx_h100_8gpu,
    decoys_0gpu,
    milan_a100_4gpu,
    mi250x_8gpu,
    desktop_amd_nvidia,
    laptop_integrated,
)

# --------------------------------------------------------------------------------------
# Building blocks: processors and memory
# --------------------------------------------------------------------------------------

# Kinds of Group in hwloc's private/misc.h; hwloc writes them and reads them back.
GROUP_KNL_CLUSTER = 100
GROUP_MEMORY = 1001

# Types of OS device, enum hwloc_obj_osdev_type_e.
BLOCK, GPU, NETWORK, OPENFABRICS, COPROCESSOR = 0, 1, 2, 3, 5

IO_TYPES = ("Bridge", "PCIDev", "OSDev")


@dataclass
class Object:
    """A node of the hwloc tree; sets are bit masks and are filled in by `machine`."""

    type: str
    os_index: int | None = None
    children: Sequence[Object] = ()
    infos: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    subtype: str | None = None
    name: str | None = None
    bus_id: str | None = None
    gpu: Gpu | None = None
    cpus: int = 0
    complete_cpus: int = 0
    nodes: int = 0

    @property
    def memory(self) -> list[Object]:
        nodes = [c for c in self.children if c.type == "NUMANode"]
        return sorted(nodes, key=lambda node: node.os_index or 0)

    @property
    def normal(self) -> list[Object]:
        return [c for c in self.children if c.type not in ("NUMANode", *IO_TYPES)]

    @property
    def io(self) -> list[Object]:
        return [c for c in self.children if c.type in IO_TYPES]


@dataclass(frozen=True)
class CpuKind:
    cpus: Iterable[int]
    infos: dict[str, str]


@dataclass(frozen=True)
class Topology:
    root: Object
    cpu_kinds: Sequence[CpuKind] = ()


# From the number of a core in the machine and of a thread in the core to an OS index.
Numbering = tuple[int, Callable[[int, int], int]]


def siblings_last(cores: int, smt: int) -> Numbering:
    """Number the first threads of all cores, then all second threads: x86 servers."""
    return smt, lambda core, thread: core + cores * thread


def adjacent(smt: int) -> Numbering:
    """Number the threads of a core one after the other."""
    return smt, lambda core, thread: smt * core + thread


@dataclass(frozen=True)
class CoreKind:
    """How cores of one kind are numbered, and their private caches in KiB."""

    numbering: Numbering
    per_package: int
    l1: int
    l2: int | None = None
    id_step: int = 1

    def block(self, first: int, count: int) -> list[Object]:
        """Return `count` cores from number `first` on, inside their caches."""
        return [self._one(number) for number in range(first, first + count)]

    def _one(self, number: int) -> Object:
        smt, cpu = self.numbering
        # The kernel starts core ids afresh in each package.
        core_id = number % self.per_package * self.id_step
        inner = core(core_id, [cpu(number, thread) for thread in range(smt)])
        l1 = cache(1, self.l1, inner)
        return l1 if self.l2 is None else cache(2, self.l2, l1)


def core(os_index: int, cpus: Iterable[int]) -> Object:
    return Object("Core", os_index, [Object("PU", cpu) for cpu in cpus])


def cache(level: int, kib: int, *children: Object, line: int = 64) -> Object:
    unified, data = 0, 1
    attributes = {
        "cache_size": str(kib * KIB),
        "depth": str(level),
        "cache_linesize": str(line),
        "cache_associativity": "0",
        "cache_type": str(data if level == 1 else unified),
    }
    return Object(f"L{level}Cache", None, children, attributes=attributes)


def numa(
    os_index: int,
    gib: int,
    subtype: str | None = None,
    infos: dict[str, str] | None = None,
) -> Object:
    """Return memory to put beside the CPUs of an object.

    To hwloc a node has the CPUs of the object that it is attached to. So a node that
    has no CPUs in Linux, attached to the machine, has all of them.
    """
    return Object(
        "NUMANode",
        os_index,
        infos=infos or {},
        attributes={"local_memory": str(gib * GIB)},
        subtype=subtype,
    )


def group(*children: Object, kind: int = GROUP_MEMORY, subtype: str | None = None) -> Object:
    attributes = {"kind": str(kind), "subkind": "0"}
    return Object("Group", None, children, attributes=attributes, subtype=subtype)


def package(os_index: int, *children: Object, infos: dict[str, str]) -> Object:
    return Object("Package", os_index, children, infos)


def cpu_model(vendor: str, model: str) -> dict[str, str]:
    return {"CPUVendor": vendor, "CPUModel": model}


def machine(
    *children: Object,
    hidden: Iterable[int] = (),
    cpu_kinds: Sequence[CpuKind] = (),
    architecture: str = "x86_64",
) -> Topology:
    """Return a whole machine; `hidden` CPUs exist but are offline or not allowed."""
    infos = {"Backend": "Linux", "OSName": "Linux", "Architecture": architecture}
    root = Object("Machine", 0, children, infos)
    _fill_cpus(root, ~_mask(hidden))
    _fill_nodes(root, 0)
    return Topology(root, cpu_kinds)


def _mask(indexes: Iterable[int]) -> int:
    return sum(1 << index for index in set(indexes))


def _fill_cpus(obj: Object, visible: int) -> None:
    if obj.type == "PU":
        assert obj.os_index is not None
        obj.complete_cpus = 1 << obj.os_index
        obj.cpus = obj.complete_cpus & visible
    for child in obj.normal:
        _fill_cpus(child, visible)
        obj.cpus |= child.cpus
        obj.complete_cpus |= child.complete_cpus
    for node in obj.memory:
        node.cpus = obj.cpus
        node.complete_cpus = obj.complete_cpus
    # hwloc drops what has no CPU left, unless there is memory or a device in it.
    emptied = {id(c) for c in obj.normal if not c.cpus and not c.children}
    obj.children = [c for c in obj.children if id(c) not in emptied]


def _fill_nodes(obj: Object, inherited: int) -> None:
    """Give an object the nodes of its ancestors, its own, and its descendants'."""
    for node in obj.memory:
        assert node.os_index is not None
        node.nodes = 1 << node.os_index
        inherited |= node.nodes
    obj.nodes = inherited
    for child in obj.normal:
        _fill_nodes(child, inherited)
        obj.nodes |= child.nodes


# --------------------------------------------------------------------------------------
# Building blocks: devices
# --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gpu:
    """A model of GPU, and its forms in a topology."""

    ids: str
    pci_class: int
    vendor: str
    model: str

    def pci(self, bus_id: str, *os_devices: Object) -> Object:
        """Return the GPU as any hwloc sees it."""
        device = pci(bus_id, self.ids, self.pci_class, *os_devices)
        device.gpu = self
        return device

    def nvml(self, index: int, bus_id: str) -> Object:
        """Return the GPU as a hwloc with NVML sees it."""
        infos = self._infos("NVML") | {"NVIDIAUUID": f"GPU-{self.uuid(bus_id)}"}
        return self.pci(bus_id, os_device(f"nvml{index}", GPU, "NVML", infos=infos))

    def rsmi(self, indexes: Iterable[int], bus_id: str) -> Object:
        """Return the GPU as a hwloc with ROCm SMI sees it, a device per partition."""
        infos = self._infos("RSMI") | {"AMDUUID": self.uuid(bus_id).hex[:16]}
        return self.pci(bus_id, *(os_device(f"rsmi{i}", GPU, "RSMI", infos=infos) for i in indexes))

    def level_zero(self, index: int, bus_id: str, tiles: int) -> Object:
        """Return the GPU as a hwloc with Level Zero sees it, tiles below the device."""
        name, subtype = f"ze{index}", "LevelZero"
        infos = self._infos("LevelZero") | {
            "LevelZeroDriverIndex": "0",
            "LevelZeroDriverDeviceIndex": str(index),
            "LevelZeroUUID": self.uuid(bus_id).hex,
        }
        parts = [
            os_device(
                f"{name}.{t}",
                COPROCESSOR,
                subtype,
                infos={"LevelZeroSubdeviceID": str(t)},
            )
            for t in range(tiles)
        ]
        device = os_device(name, COPROCESSOR, subtype, *parts, infos=infos)
        return self.pci(bus_id, device)

    def _infos(self, backend: str) -> dict[str, str]:
        return {"Backend": backend, "GPUVendor": self.vendor, "GPUModel": self.model}

    def uuid(self, bus_id: str) -> uuid.UUID:
        # Made up, but the same on every run and different for each device of a machine.
        return uuid.uuid5(uuid.NAMESPACE_OID, f"{self.model} {bus_id}")


def os_device(
    name: str,
    kind: int,
    subtype: str | None = None,
    *children: Object,
    infos: dict[str, str] | None = None,
) -> Object:
    return Object(
        "OSDev",
        children=children,
        infos=infos or {},
        attributes={"osdev_type": str(kind)},
        subtype=subtype,
        name=name,
    )


def openfabrics(name: str) -> Object:
    return os_device(name, OPENFABRICS)


def pci(bus_id: str, ids: str, pci_class: int, *os_devices: Object) -> Object:
    """Return a PCI function with its OS devices; `ids` is vendor and device in hex."""
    attributes = {
        "pci_busid": bus_id,
        "pci_type": f"{pci_class:04x} [{ids}] [0000:0000] 00",
        "pci_link_speed": "0.000000",
    }
    return Object("PCIDev", children=os_devices, attributes=attributes, bus_id=bus_id)


def root_complex(root_bus: str, *devices: Object) -> Object:
    """Return a host bridge ("domain:bus") with devices on its bus or behind ports.

    A device on the root bus is a direct child; each other one gets a root port.
    """
    domain, first = root_bus.split(":")
    children = []
    ports = 0
    for device in devices:
        assert device.bus_id is not None and device.bus_id.startswith(domain + ":")
        if device.bus_id.startswith(root_bus):
            children.append(device)
        else:
            ports += 1
            children.append(_root_port(f"{root_bus}:1c.{ports}", device))
    last = max(device.bus_id[5:7] for device in devices if device.bus_id)
    attributes = {
        "bridge_type": "0-1",
        "depth": "0",
        "bridge_pci": f"{domain}:[{first}-{last}]",
    }
    return Object("Bridge", children=children, attributes=attributes)


def _root_port(bus_id: str, device: Object) -> Object:
    assert device.bus_id is not None
    domain, bus, _ = device.bus_id.split(":")
    attributes = {
        "bridge_type": "1-1",
        "depth": "1",
        "bridge_pci": f"{domain}:[{bus}-{bus}]",
        "pci_busid": bus_id,
        "pci_type": "0604 [1b36:000c] [0000:0000] 00",
        "pci_link_speed": "0.000000",
    }
    return Object("Bridge", children=[device], attributes=attributes)


# --------------------------------------------------------------------------------------
# Writing
# --------------------------------------------------------------------------------------


def render(topology: Topology) -> str:
    """Return the topology as hwloc XML, format 2."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<!DOCTYPE topology SYSTEM "hwloc2.dtd">',
        '<topology version="2.0">',
    ]
    _write_object(lines, topology.root, depth=1, serial=itertools.count(1))
    for kind in topology.cpu_kinds:
        lines.append(f'  <cpukind cpuset="{bitmap(_mask(kind.cpus))}">')
        lines += _info_lines(kind.infos, depth=2)
        lines.append("  </cpukind>")
    lines.append("</topology>")
    return "\n".join(lines) + "\n"


def _write_object(lines: list[str], obj: Object, depth: int, serial: Iterator[int]) -> None:
    indent = "  " * depth
    attributes: dict[str, str] = {"type": obj.type}
    if obj.os_index is not None:
        attributes["os_index"] = str(obj.os_index)
    if obj.type not in IO_TYPES:
        attributes |= _sets(obj)
    attributes["gp_index"] = str(next(serial))
    if obj.name is not None:
        attributes["name"] = obj.name
    if obj.subtype is not None:
        attributes["subtype"] = obj.subtype
    attributes |= obj.attributes
    text = " ".join(f"{key}={quoteattr(value)}" for key, value in attributes.items())
    # The order that hwloc itself writes: memory, then processors, then devices.
    children = [*obj.memory, *obj.normal, *obj.io]
    if not obj.infos and not children:
        lines.append(f"{indent}<object {text}/>")
        return
    lines.append(f"{indent}<object {text}>")
    lines += _info_lines(obj.infos, depth + 1)
    for child in children:
        _write_object(lines, child, depth + 1, serial)
    lines.append(f"{indent}</object>")


def _sets(obj: Object) -> dict[str, str]:
    cpus, nodes = bitmap(obj.cpus), bitmap(obj.nodes)
    sets = {"cpuset": cpus, "complete_cpuset": bitmap(obj.complete_cpus)}
    if obj.type == "Machine":
        sets["allowed_cpuset"] = cpus
    sets |= {"nodeset": nodes, "complete_nodeset": nodes}
    if obj.type == "Machine":
        sets["allowed_nodeset"] = nodes
    return sets


def _info_lines(infos: dict[str, str], depth: int) -> list[str]:
    indent = "  " * depth
    return [
        f"{indent}<info name={quoteattr(name)} value={quoteattr(value)}/>"
        for name, value in infos.items()
    ]


def bitmap(mask: int) -> str:
    """Return a set as hwloc writes it: 32-bit words, highest first, zeros left out.

    >>> bitmap(0), bitmap(5), bitmap(1 << 64), bitmap(1 << 64 | 1)
    ('0x0', '0x00000005', '0x00000001,,0x0', '0x00000001,,0x00000001')
    """
    words = []
    while mask:
        words.append(mask & 0xFFFFFFFF)
        mask >>= 32
    if not words:
        return "0x0"
    lowest = f"0x{words[0]:08x}" if words[0] else "0x0"
    higher = [f"0x{word:08x}" if word else "" for word in reversed(words[1:])]
    return ",".join([*higher, lowest])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the machines of this folder.")
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; name the files that differ and exit 1 if there are any",
    )
    check: bool = parser.parse_args(arguments).check
    folder = Path(__file__).resolve().parent
    wanted = {f"{m.__name__.replace('_', '-')}.xml": render(m()) for m in MACHINES}
    found = {path.name: path.read_text("utf-8") for path in folder.glob("*.xml")}
    # A file that no function makes would silently be tested without a description.
    different = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
    if check:
        for name in different:
            print(f"{name}: differs from what generate.py writes", file=sys.stderr)
        return 1 if different else 0
    for name in different:
        if name in wanted:
            (folder / name).write_text(wanted[name], "utf-8", newline="\n")
        else:
            print(f"{name}: no machine of this name, left alone", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
