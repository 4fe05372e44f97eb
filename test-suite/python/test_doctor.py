"""``mpibind doctor`` finds each situation that is made here, and nothing where nothing is wrong."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

import support

sys.path.insert(0, str(support.ROOT / "test-suite" / "topologies"))
import trees

import mpibind
from mpibind import _core

MACHINES = support.ROOT / "test-suite" / "topologies"
AMD = MACHINES / "epyc-7763-nps4-8gpu.xml"
HOST = os.uname().nodename
OWN = {"quota-below-cpus", "cgroup-below-node"}
"""What may be so on the machine of the tests."""

# What would be found by itself, if the tests were started by a launcher or so.
CLEAN = """
    import os, sys
    launchers = ("LOCAL_", "RANK", "WORLD_", "OMPI_", "MPI_", "PMI_", "MV2_", "MVP_", "JSM_",
                 "PALS_", "FLUX_", "SLURM_")
    for name in [*os.environ]:
        if name.startswith((*launchers, "OMP_", "HWLOC_COMPONENTS")):
            del os.environ[name]
    os.environ.update({changes})
    {before}
    from mpibind import cli
    status = cli.main(["doctor", *{words}])
    sys.stdout.flush()
    print(status)
    """


def doctor(*words: str, before: str = "", **env: str) -> tuple[int, str]:
    """Return the exit status, and what was printed, of a doctor who finds these variables."""
    code = textwrap.dedent(CLEAN).format(changes=env, before=before, words=list(words))
    *lines, status = support.run(code).splitlines()
    return int(status), "\n".join(lines)


def findings(before: str = "", **env: str) -> dict[str, dict[str, str]]:
    """Return what was found by kind, less what may be so here."""
    _, text = doctor("--json", before=before, **env)
    found = {finding["kind"]: finding for finding in json.loads(text)["findings"]}
    return {kind: found[kind] for kind in found.keys() - OWN}


class Doctor(unittest.TestCase):
    def check(self, kind: str, level: str, *words: str, before: str = "", **env: str) -> None:
        """Make a situation; it and nothing else is found."""
        found = findings(before, **env)
        self.assertEqual(found.keys(), {kind})
        self.assertEqual(found[kind]["level"], level)
        for word in words:
            self.assertIn(word, f"{found[kind]['text']} -> {found[kind]['advice']}")
        # Whatever is wrong, there is something to do.
        self.assertGreater(len(found[kind]["advice"]), 10)


class Nothing(Doctor):
    def test_nothing_is_found(self):
        self.assertEqual(findings(), {})
        status, text = doctor()
        self.assertEqual(status, 0)
        self.assertRegex(text, r"^versions  mpibind \S+, hwloc 2\.\d+\.\d+, Python 3\.\d+\.\d+")
        self.assertRegex(text, rf"\nmachine   {HOST}: \d+ CPUs?, \d+ cores?, \d+ NUMA nodes?\n")
        self.assertIn("\nlauncher  none\n", text)

    def test_facts_of_a_recorded_machine(self):
        _, text = doctor(MPIBIND_TOPOFILE=str(AMD))
        self.assertRegex(text, rf"\nsettings  .*MPIBIND_TOPOFILE={re.escape(str(AMD))}\n")
        self.assertEqual(text.count("\nGPU  "), 8)
        self.assertIn("0000:63:00.0, found by hwloc ROCm SMI\n", text)
        _, text = doctor(MPIBIND_TOPOFILE=str(MACHINES / "cloud-vm-1numa-4gpu.xml"))
        self.assertIn(", found by PCI class 0302\n", text)
        _, text = doctor(MPIBIND_TOPOFILE=str(MACHINES / "dgx-h100-8gpu.xml"))
        self.assertIn("\nNIC       mlx5_0, 0000:", text)


class Machine(Doctor):
    def test_file_of_another_machine(self):
        words = [f"MPIBIND_TOPOFILE='{AMD}' does not match", "NUMA nodes: 8 there", "GPUs: 8 there"]
        if os.cpu_count() < 256:
            words.append("-255, which may not be used here")
        self.check("stale-topology", "problem", *words, MPIBIND_TOPOFILE=str(AMD))
        status, text = doctor(MPIBIND_TOPOFILE=str(AMD))
        self.assertEqual((status, text.splitlines()[-1]), (1, "1 problem"))
        self.check("stale-topology", "problem", "HWLOC_XMLFILE", HWLOC_XMLFILE=str(AMD))
        self.check("stale-topology", "problem", "HWLOC_SYNTHETIC", HWLOC_SYNTHETIC="pu:512")

    def test_what_to_do_about_it(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a node.xml"
            shutil.copy(AMD, path)
            for name in ("MPIBIND_TOPOFILE", "HWLOC_XMLFILE"):
                text = doctor(**{name: str(path)})[1]
                command = re.search("on this node: env -u ([A-Z_]+) mpibind (.*)\n", text)
                self.assertEqual(command[1], name)
                self.assertEqual(shlex.split(command[2]), ["topo", "--xml", str(path)])
            support.printed(*shlex.split(command[2]))
            self.assertEqual(findings(HWLOC_XMLFILE=str(path)), {})
        # This one is no file.
        advice = doctor(HWLOC_SYNTHETIC="pu:512")[1].splitlines()[-3]
        self.assertEqual(advice, "    -> unset HWLOC_SYNTHETIC")

    def test_file_of_fewer_cpus(self):
        """The file was written before CPUs were added, or in a smaller cgroup."""
        cpus = _core.ids_of(mpibind.Topology().cpus)
        if cpus[0] != 0 or len(cpus) < 2:
            self.skipTest("needs CPUs 0 and another")
        self.check(
            "stale-topology",
            "problem",
            f"it lacks CPUs {_core.id_list(cpus[1:])}",
            HWLOC_SYNTHETIC="pu:1",
        )

    def test_file_that_cannot_be_read(self):
        self.check("unreadable-topology", "problem", "/nosuch", MPIBIND_TOPOFILE="/nosuch")

    def test_copied_file_tree(self):
        with tempfile.TemporaryDirectory() as folder:
            write_tree(Path(folder))
            self.check("other-machine", "note", "HWLOC_FSROOT", HWLOC_FSROOT=folder)

    def test_hwloc_without_pci(self):
        """The kernel has a GPU, and hwloc is told not to look (0x8 is its phase for PCI)."""
        with tempfile.TemporaryDirectory() as folder:
            write_tree(Path(folder))
            env = {"HWLOC_FSROOT": folder}
            self.assertIn("NVIDIA", doctor(**env)[1])
            found = findings(**env, HWLOC_COMPONENTS="-linux:0x8,-pci")
            self.assertEqual(found.keys(), {"hwloc-without-pci", "other-machine"})
            found = found["hwloc-without-pci"]
            self.assertIn("none of the 1 PCI devices", found["text"])
            self.assertEqual(found["level"], "note")
            self.assertEqual(found["advice"], "nothing, or unset HWLOC_COMPONENTS")
            # mpibind sees it all the same.
            self.assertIn("NVIDIA", doctor(**env, HWLOC_COMPONENTS="-linux:0x8,-pci")[1])
            # A library that was built so says nothing.
            built = "from mpibind import _core; _core.count_pci_devices = lambda: 0"
            found = findings(built, **env)["hwloc-without-pci"]
            self.assertIn("install a libhwloc", found["advice"])
            # Bridges alone are nothing to miss.
            write_tree(Path(folder), pci_class="0x060400")
            self.assertEqual(findings(built, **env).keys(), {"other-machine"})

    def test_machine_that_cannot_be_discovered(self):
        found = findings(HWLOC_FSROOT="/nosuch")
        self.assertEqual(found["no-topology"]["level"], "problem")


class Grants(unittest.TestCase):
    """Real control groups, as a batch system or a container makes them."""

    def found_in(self, folder: Path) -> dict[str, dict[str, str]]:
        enter = f"from pathlib import Path; Path({str(folder / 'cgroup.procs')!r}).write_text('0')"
        text = doctor("--json", before=enter)[1]
        return {finding["kind"]: finding for finding in json.loads(text)["findings"]}

    def test_quota(self):
        support.two_cpus(self)
        files = {"v1": {"cpu.cfs_quota_us": "150000"}, "v2": {"cpu.max": "150000 100000"}}
        found = self.found_in(support.make_cgroup(self, "cpu", files))["quota-below-cpus"]
        self.assertIn("allows 1.5 CPUs of time", found["text"])
        self.assertEqual(found["level"], "warning")

    def test_cpuset(self):
        first = support.two_cpus(self)[0]
        found = self.found_in(support.cpuset_cgroup(self, first))
        self.assertEqual(found.keys() - {"quota-below-cpus"}, {"cgroup-below-node"})
        self.assertIn(f"allows CPUs {first} of the node's", found["cgroup-below-node"]["text"])


class Launchers(Doctor):
    def test_mask(self):
        first = support.two_cpus(self)[0]
        bind = f"os.sched_setaffinity(0, {{{first}}})"
        self.check("bound-already", "warning", f"to CPUs {first} of", "taskset", before=bind)
        slurm = {
            "SLURM_PROCID": "0",
            "SLURM_STEP_ID": "0",
            "SLURM_LOCALID": "0",
            "SLURM_NODEID": "0",
            "SLURM_STEP_TASKS_PER_NODE": "2",
        }
        words = ["Slurm has bound", "srun --cpu-bind=none"]
        self.check("bound-already", "warning", *words, before=bind, **slurm)
        self.assertEqual(findings(**slurm), {})
        # It may be mpibind's own.
        self.assertEqual(findings(**slurm, OMP_NUM_THREADS="4"), {})
        self.assertIn("\nlauncher  Slurm: task 0/2, on this node 0/2\n", doctor(**slurm)[1])

    def test_variables_that_do_not_fit(self):
        env = {"LOCAL_RANK": "4", "LOCAL_WORLD_SIZE": "4"}
        self.check("launcher", "problem", "LOCAL_RANK=4 is not smaller", **env)
        self.check("launcher", "problem", "not LOCAL_WORLD_SIZE", LOCAL_RANK="4")

    def test_mpi_that_binds_later(self):
        for name, switch in (("MV2", "MV2"), ("MVP", "MVP")):
            env = {
                f"{name}_COMM_WORLD_LOCAL_{what}": n for what, n in (("RANK", "0"), ("SIZE", "1"))
            }
            self.check("mpi-binds", "warning", f"{switch}_ENABLE_AFFINITY=0", **env)
            self.assertEqual(findings(**env, **{f"{switch}_ENABLE_AFFINITY": "0"}), {})

    def test_mpi4py_without_its_library(self):
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder) / "mpi4py"
            package.mkdir()
            (package / "__init__.py").write_text("class rc: pass\n")
            (package / "MPI.py").write_text("raise ImportError('libmpi.so.40: cannot open')\n")
            path = f"sys.path.insert(0, {folder!r})"
            self.check("mpi4py", "problem", "libmpi.so.40", "--no-binary=mpi4py", before=path)


class Gpus(unittest.TestCase):
    """On recorded machines, since few have GPUs; that they are not this one is found, too."""

    def found_on(self, machine: str, **env: str) -> dict[str, dict[str, str]]:
        found = findings(MPIBIND_TOPOFILE=str(MACHINES / machine), **env)
        del found["stale-topology"]
        return found

    def test_amd_variables_that_compose(self):
        machine = "epyc-7763-nps4-8gpu.xml"
        for name in ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
            found = self.found_on(machine, **{name: "2"})
            self.assertEqual(found.keys(), {"gpu-variable-set"})
            self.assertIn(f"unset {name} if", found["gpu-variable-set"]["advice"])
            self.assertIn("shows GPUs 2 only", found["gpu-variable-set"]["text"])
        # HIP counts from what ROCr shows.
        both = {"HIP_VISIBLE_DEVICES": "1", "ROCR_VISIBLE_DEVICES": "2,3"}
        text = self.found_on(machine, **both)["gpu-variable-set"]["text"]
        start = "ROCR_VISIBLE_DEVICES='2,3' and HIP_VISIBLE_DEVICES='1' show GPUs 3 only"
        self.assertEqual(text, start)
        none = self.found_on(machine, HIP_VISIBLE_DEVICES="1", ROCR_VISIBLE_DEVICES="2")
        self.assertEqual(none.keys(), {"gpu-variable-shows-none"})
        self.assertEqual(self.found_on("dgx-h100-8gpu.xml", HIP_VISIBLE_DEVICES="0"), {})
        self.assertEqual(self.found_on("one-package-16core.xml", **both), {})

    def test_variables_of_a_scheduler(self):
        found = self.found_on("dgx-h100-8gpu.xml", CUDA_VISIBLE_DEVICES="2,3")
        self.assertEqual(found.keys(), {"gpu-variable-set"})
        self.assertIn("shows GPUs 2,3 only", found["gpu-variable-set"]["text"])
        self.assertEqual(self.found_on("one-package-16core.xml", CUDA_VISIBLE_DEVICES="2"), {})
        all_of_them = ",".join(map(str, range(8)))
        self.assertEqual(self.found_on("dgx-h100-8gpu.xml", CUDA_VISIBLE_DEVICES=all_of_them), {})

    def test_a_mask_of_tiles(self):
        tiles = ",".join(map(str, range(11)))
        text = self.found_on("aurora-6gpu.xml", ZE_AFFINITY_MASK=tiles)["gpu-variable-set"]["text"]
        self.assertEqual(text, f"ZE_AFFINITY_MASK='{tiles}' shows not all tiles")
        text = self.found_on("aurora-6gpu.xml", ZE_AFFINITY_MASK="1")["gpu-variable-set"]["text"]
        self.assertEqual(text, "ZE_AFFINITY_MASK='1' shows GPUs 0 only")

    def test_variable_that_shows_none(self):
        for value in ("GPU-nosuch", "99"):
            found = self.found_on("dgx-h100-8gpu.xml", CUDA_VISIBLE_DEVICES=value)
            self.assertEqual(found.keys(), {"gpu-variable-shows-none"})
            self.assertEqual(found["gpu-variable-shows-none"]["level"], "problem")
        found = self.found_on("dgx-h100-8gpu.xml", CUDA_VISIBLE_DEVICES="")
        self.assertIn("shows GPUs none", found["gpu-variable-set"]["text"])

    def test_entries_that_are_odd(self):
        for value, word in (
            ("0,0,1", "names a GPU again"),
            ("1,zebra", "is none of the GPUs 0 to 7"),
        ):
            found = self.found_on("dgx-h100-8gpu.xml", CUDA_VISIBLE_DEVICES=value)
            self.assertEqual(found.keys(), {"gpu-variable-set", "gpu-variable-odd"})
            self.assertEqual(found["gpu-variable-odd"]["level"], "warning")
            self.assertIn(f'CUDA_VISIBLE_DEVICES="{value}"', found["gpu-variable-odd"]["text"])
            self.assertIn(word, found["gpu-variable-odd"]["text"])

    def test_files_that_are_odd(self):
        with tempfile.TemporaryDirectory() as folder:
            trees.write_machine("dgx-h100-8gpu", Path(folder))
            entries = Path(folder) / "proc/driver/nvidia/gpus"
            found = findings(HWLOC_FSROOT=folder)
            self.assertEqual(found.keys(), {"other-machine"})
            (entries / "0000:1b:00.0/information").write_text("Model: NVID")
            found = findings(HWLOC_FSROOT=folder)
            self.assertEqual(found.keys(), {"other-machine", "gpu-odd"})
            self.assertEqual(found["gpu-odd"]["level"], "note")
            text = found["gpu-odd"]["text"]
            self.assertIn("0000:1b:00.0/information ends in the middle of a line", text)
            self.assertNotIn("more", text)
            (entries / "0000:43:00.0/information").write_text("")
            text = findings(HWLOC_FSROOT=folder)["gpu-odd"]["text"]
            self.assertIn("; and 2 more (`mpibind topo --devices` shows all)", text)

    def test_what_is_not_counted(self):
        _, text = doctor(MPIBIND_TOPOFILE=str(MACHINES / "decoys-0gpu.xml"))
        self.assertIn("\nno GPU    ASPEED, 0000:04:00.0: the display chip of", text)
        self.assertIn("\nGPU       none found\n", text)

    def test_order(self):
        found = self.found_on("dgx-h100-8gpu.xml", CUDA_DEVICE_ORDER="FASTEST_FIRST")
        self.assertEqual(found.keys(), {"gpu-order"})
        self.assertEqual(self.found_on("dgx-h100-8gpu.xml", CUDA_DEVICE_ORDER="PCI_BUS_ID"), {})


class OpenMp(Doctor):
    def test_variables_that_fight(self):
        cases = {
            "GOMP_CPU_AFFINITY": ("0-3", "openmp-affinity", "problem"),
            "KMP_AFFINITY": ("verbose,compact", "openmp-affinity", "warning"),
            "OMP_THREAD_LIMIT": ("2", "openmp-limits", "warning"),
            "KMP_HW_SUBSET": ("1t", "openmp-limits", "warning"),
            "OMP_PLACES": ("cores", "openmp-places", "warning"),
            "OMP_PROC_BIND": ("close", "openmp-places", "warning"),
            "MKL_NUM_THREADS": ("4", "blas-threads", "warning"),
            "OPENBLAS_NUM_THREADS": ("4", "blas-threads", "warning"),
            "BLIS_NUM_THREADS": ("4", "blas-threads", "warning"),
            "OMP_NUM_THREADS": ("4", "openmp-threads", "note"),
        }
        for name, (value, kind, level) in cases.items():
            with self.subTest(name):
                self.check(kind, level, f"{name}={value}", **{name: value})
        # Beyond the CPUs of the task, and the same in every task:
        for value in ("explicit,proclist=[0,1]", "NORESPECT,compact"):
            self.check("openmp-affinity", "problem", "KMP_AFFINITY", KMP_AFFINITY=value)

    def test_variable_that_pins_nothing(self):
        self.assertEqual(findings(OMP_PROC_BIND="FALSE", OMP_PLACES="cores"), {})


class Settings(Doctor):
    def test_values(self):
        self.check("settings", "problem", "'smtt'", MPIBIND="smtt")
        self.check("settings", "problem", "smt=99", "from MPIBIND='smt:99'", MPIBIND="smt:99")
        self.check("settings", "problem", "restrict_ids", "9999", MPIBIND_RESTRICT="9999")
        self.check("off", "note", "MPIBIND=off", MPIBIND="off")


class Command(unittest.TestCase):
    def test_problems_come_first(self):
        with tempfile.TemporaryDirectory() as folder:
            write_tree(Path(folder))
            env = {"HWLOC_FSROOT": folder, "GOMP_CPU_AFFINITY": "0", "OMP_PLACES": "cores"}
            lines = doctor(**env)[1].splitlines()
        levels = [line.split(":")[0] for line in lines if line[:4] in ("prob", "warn", "note")]
        self.assertEqual(levels, sorted(levels, key=["problem", "warning", "note"].index))
        self.assertEqual(set(levels), {"problem", "warning", "note"})

    def test_under_a_launcher(self):
        from mpi_support import MPICH, output

        words = MPICH.command(1, "-m", "mpibind", "doctor")
        text = output(words, MPICH.environment())
        self.assertIn("\nlauncher  MPICH or Intel MPI: task 0/1, on this node 0/1\n", text)

    def test_nothing_is_changed(self):
        """Whoever looks leaves variables, CPUs and MPI as they were."""
        code = """
            import os
            from mpibind import doctor
            os.environ["MPIBIND_TOPOFILE"] = "/nosuch"
            before = dict(os.environ), os.sched_getaffinity(0)
            doctor.findings(doctor.look())
            assert (dict(os.environ), os.sched_getaffinity(0)) == before
            from mpi4py import MPI
            assert not MPI.Is_initialized()
            """
        support.run(code)


def write_tree(root: Path, pci_class: str = "0x030200") -> None:
    """Write what Linux shows of a machine with two CPUs and a GPU, or another PCI device."""
    cpus, device = "sys/devices/system/cpu", "sys/bus/pci/devices/0000:01:00.0"
    files = {
        "proc/meminfo": "MemTotal: 1048576 kB\n",
        "proc/cpuinfo": "processor : 0\n\nprocessor : 1\n\n",
        f"{cpus}/online": "0-1\n",
        f"{cpus}/possible": "0-1\n",
        f"{cpus}/present": "0-1\n",
        f"{device}/class": f"{pci_class}\n",
        f"{device}/vendor": "0x10de\n",
        f"{device}/device": "0x20b0\n",
        f"{device}/local_cpus": "3\n",
    }
    for cpu in range(2):
        for name, value in {
            "core_id": cpu,
            "physical_package_id": 0,
            "thread_siblings": 1 << cpu,
            "core_cpus": 1 << cpu,
            "core_siblings": 3,
            "package_cpus": 3,
        }.items():
            files[f"{cpus}/cpu{cpu}/topology/{name}"] = f"{value:x}\n"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


if __name__ == "__main__":
    support.main()
