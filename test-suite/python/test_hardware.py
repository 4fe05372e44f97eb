"""test-suite/hardware/gpu_check.py, on fake machines with fake programs and libraries of GPUs.

The program's own conclusions are what is tested: that it finds agreement where there is some, and
each way in which mpibind could be wrong where somebody else says otherwise.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest
import uuid
from pathlib import Path

import support

sys.path.insert(0, str(support.ROOT / "test-suite" / "topologies"))
import trees

CHECK = support.ROOT / "test-suite" / "hardware" / "gpu_check.py"
SOURCE = support.ROOT / "test-suite" / "programs" / "fake_gpus.c"
IDS = {"NVIDIA": "10de", "AMD": "1002", "Intel": "8086"}
CUDA, NVML, HIP, ZE = "libcuda.so.1", "libnvidia-ml.so.1", "libamdhip64.so", "libze_loader.so.1"

FAKE_TORCH = """
    # As torch: by CUDA's numbers, with UUIDs.
    import ctypes

    driver = ctypes.CDLL("libcuda.so.1")

    class Properties:
        def __init__(self, ordinal):
            raw = (ctypes.c_ubyte * 16)()
            driver.cuDeviceGetUuid(raw, ordinal)
            digits = bytes(raw).hex()
            cuts = (0, 8, 12, 16, 20, 32)
            self.uuid = "-".join(digits[low:high] for low, high in zip(cuts, cuts[1:]))

    class cuda:
        get_device_properties = Properties

        def device_count():
            driver.cuInit(0)
            number = ctypes.c_int()
            driver.cuDeviceGetCount(ctypes.byref(number))
            return number.value
    """

FAKE_CUPY = """
    # As cupy: an error where there are no GPUs.
    import ctypes

    driver = ctypes.CDLL("libcuda.so.1")

    class cuda:
        class runtime:
            class CUDARuntimeError(Exception):
                status = 100

            def getDeviceCount():
                if driver.cuInit(0):
                    raise cuda.runtime.CUDARuntimeError()
                number = ctypes.c_int()
                driver.cuDeviceGetCount(ctypes.byref(number))
                return number.value

            def deviceGetPCIBusId(ordinal):
                text = ctypes.create_string_buffer(32)
                driver.cuDeviceGetPCIBusId(text, 32, ordinal)
                return text.value.decode()

            def getDeviceProperties(ordinal):
                raw = (ctypes.c_ubyte * 16)()
                driver.cuDeviceGetUuid(raw, ordinal)
                return {"uuid": bytes(raw)}
    """


class Fake:
    """A machine, and programs and libraries that know its GPUs from its description."""

    def __init__(self, test: unittest.TestCase, machine: str, vendor: str, tiles: int = 1) -> None:
        self.folder = Path(tempfile.mkdtemp())
        test.addCleanup(shutil.rmtree, self.folder)
        self.tree = self.folder / "tree"
        root = trees.write_machine(machine, self.tree).root
        near = {function.bus_id: place for function, place in trees.functions(root)}
        self.gpus = []
        for function in trees.gpus(root, IDS[vendor]):
            parts = sum((child.name or "").startswith("rsmi") for child in function.children)
            cpus, identity = near[function.bus_id].cpus, function.gpu.uuid(function.bus_id)
            numa = next((numa.os_index for numa in near[function.bus_id].memory), -1)
            gpu = {"pci": function.bus_id, "uuid": identity, "model": function.gpu.model}
            self.gpus += [gpu | {"cpus": cpus, "numa": numa, "tiles": tiles}] * max(1, parts)
        for name in ("bin", "lib", "python"):
            (self.folder / name).mkdir()
        self.changes: dict[str, str] = {}

    def program(self, name: str, answers: dict[str, object], status: int = 0) -> None:
        """Put a program on PATH that answers, by the words that its arguments must have."""
        texts = {
            words: answer if isinstance(answer, str) else json.dumps(answer)
            for words, answer in answers.items()
        }
        file = self.folder / "bin" / name
        file.write_text(
            f"#!{sys.executable}\nimport os, sys\n"
            "assert 'CUDA_VISIBLE_DEVICES' not in os.environ\n"
            "words = ' '.join(sys.argv[1:])\n"
            f"for key, text in {texts!r}.items():\n"
            "    if key in words:\n        print(text)\n        break\n"
            f"else:\n    sys.exit(f'no answer to {{words}}')\nsys.exit({status})\n"
        )
        file.chmod(0o755)

    def nvidia_smi(self, gpus: list[dict[str, object]] | None = None, mig: str = "[N/A]") -> None:
        rows = enumerate(self.gpus if gpus is None else gpus)
        lines = [f"{i}, 0000{g['pci'].upper()}, GPU-{g['uuid']}, {g['model']}" for i, g in rows]
        modes = "\n".join([mig] * len(lines))
        self.program("nvidia-smi", {"mig.mode": modes, "index,pci": "\n".join(lines)})

    def rocm_smi(self, **changes: str) -> None:
        answer: dict[str, dict[str, str]] = {"system": {"Driver version": "6.10.5"}}
        for place, gpu in enumerate(self.gpus):
            answer[f"card{place}"] = {
                "Unique ID": f"0x{gpu['uuid'].hex[:16].lstrip('0')}",
                "PCI Bus": gpu["pci"].upper(),
                "Card Series": gpu["model"],
                "(Topology) Numa Node": str(gpu["numa"]),
                "(Topology) Numa Affinity": str(gpu["numa"]),
            }
        answer["card0"].update(changes)
        self.program("rocm-smi", {"--showuniqueid": f"WARNING: low power\n{json.dumps(answer)}"})

    def xpu_smi(self, cpus: str | None = None) -> None:
        devices = [
            {"device_id": place, "pci_bdf_address": gpu["pci"], "device_name": gpu["model"]}
            for place, gpu in enumerate(self.gpus)
        ]
        answers: dict[str, object] = {"discovery": {"device_list": devices}}
        for place, gpu in enumerate(self.gpus):
            near = cpus or trees.cpu_list(gpu["cpus"])
            answers[f"topology -d {place} "] = {"affinity_localcpulist": near}
        self.program("xpu-smi", answers)

    def library(self, *names: str) -> None:
        """Put libraries of these names where programs look first."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise unittest.SkipTest("needs a C compiler")
        first = self.folder / "lib" / names[0]
        command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(first), str(SOURCE)]
        subprocess.run(command, check=True, timeout=120)
        for name in names[1:]:
            shutil.copy(first, first.parent / name)

    def module(self, name: str, code: str) -> None:
        (self.folder / "python" / f"{name}.py").write_text(textwrap.dedent(code))

    def check(self, file: Path = CHECK, *words: str) -> tuple[int, list[str]]:
        """Run the program; return its exit status and what it printed below the table."""
        listed = ";".join(
            f"{gpu['pci']}|{gpu['uuid'].hex}|{gpu['model']}|{gpu['tiles']}|{gpu['cpus']:x}"
            for gpu in self.gpus
        )
        env = {
            **os.environ,
            "HWLOC_FSROOT": str(self.tree),
            "PATH": str(self.folder / "bin"),
            "LD_LIBRARY_PATH": str(self.folder / "lib"),
            "PYTHONPATH": str(self.folder / "python"),
            "FAKE_GPUS": listed,
            # A job's own, which the checks must not be misled by.
            "CUDA_VISIBLE_DEVICES": "0",
            **self.changes,
        }
        done = subprocess.run(
            [sys.executable, str(file), *words],
            env=env,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        if done.stderr and not words:
            raise AssertionError(done.stderr)
        marks = ("ok  ", "DIFFERS", "note ", "result")
        return done.returncode, [
            line for line in done.stdout.splitlines() if line.startswith(marks)
        ]


def differing(lines: list[str]) -> list[str]:
    return [line.removeprefix("DIFFERS  ") for line in lines if line.startswith("DIFFERS")]


class Nvidia(unittest.TestCase):
    NAME = "milan-a100-4gpu"
    SMALL = "two-package-18core-smt2-2gpu"

    def fake(self, *libraries: str, machine: str = NAME) -> Fake:
        fake = Fake(self, machine, "NVIDIA")
        if libraries:
            fake.library(*libraries)
        return fake

    def test_all_agree(self):
        fake = self.fake(NVML)
        fake.nvidia_smi()
        status, lines = fake.check()
        ends = "at 0000:03:00.0, 0000:41:00.0, 0000:82:00.0, 0000:c1:00.0"
        expected = []
        for name in ("nvidia-smi", "NVML"):
            expected += [
                f"ok       {name}: 4 GPUs {ends}",
                f"ok       {name}: the same numbers",
                f"ok       {name}: the same UUID of 4 of 4 GPUs",
                f"ok       {name}: the same model of 4 of 4 GPUs",
            ]
        expected.append("ok       NVML: the same CPUs near to 4 of 4 GPUs")
        self.assertEqual(lines[:9], expected)
        self.assertEqual((status, lines[-1]), (0, "result: all 9 checks agree"))

    def test_programs_see_what_was_promised(self):
        fake = self.fake(CUDA)
        fake.module("torch", FAKE_TORCH)
        fake.module("cupy", FAKE_CUPY)
        status, lines = fake.check()
        self.assertEqual((status, differing(lines)), (0, []))
        text = "\n".join(lines)
        for ntasks in ("1 task", "2 tasks", "4 tasks", "8 tasks"):
            for how in (
                "own, by index",
                "own-first, by index",
                "own, by uuid",
                "own-first, by uuid",
            ):
                self.assertIn(f"the CUDA driver: {ntasks}, no variable before, {how}\n", text)
        given = "CUDA_VISIBLE_DEVICES=3,2 CUDA_DEVICE_ORDER=PCI_BUS_ID before, own-first, by index"
        self.assertIn(f"the CUDA driver: 2 tasks, {given}\n", text)
        self.assertIn("the CUDA driver: 1 task, CUDA_VISIBLE_DEVICES= before, own, by uuid", text)
        self.assertIn("4 tasks, each with a CUDA_VISIBLE_DEVICES of its own, own, by index", text)
        self.assertIn("ok       torch: 4 tasks, no variable before, own-first, by uuid", text)
        self.assertIn("ok       cupy: 4 tasks, no variable before, own, by index", text)

    def test_a_runtime_that_numbers_otherwise_is_found(self):
        fake = self.fake(CUDA, machine=self.SMALL)
        fake.changes["FAKE_STUBBORN"] = "1"
        gpus = [f"GPU-{gpu['uuid']}" for gpu in fake.gpus]
        status, lines = fake.check()
        self.assertEqual(status, 1)
        found = [line for line in differing(lines) if "no variable before" in line]
        # Names do not depend on an order.
        self.assertTrue(all("by index" in line for line in found), found)
        self.assertIn(
            "the CUDA driver: 2 tasks, no variable before, own, by index: task 1 was promised "
            f"{gpus[1]}, and sees {gpus[0]}; the job had {gpus[1]}, {gpus[0]}",
            found,
        )
        self.assertIn(
            "the CUDA driver: 2 tasks, no variable before, own-first, by index: task 0 was "
            f"promised {gpus[0]} first of all of the job, and sees {gpus[1]}, {gpus[0]}; the job "
            f"had {gpus[1]}, {gpus[0]}",
            found,
        )

    def test_a_library_that_sees_other_gpus_is_said_to(self):
        fake = self.fake(CUDA)
        fake.gpus = [gpu | {"pci": "0009:01:00.0", "uuid": uuid.UUID(int=3)} for gpu in fake.gpus]
        status, lines = fake.check()
        self.assertEqual(status, 2)
        words = "the CUDA driver: shows none of these GPUs, even without variables"
        self.assertIn(f"note     {words}", lines)

    def test_identities_numbers_and_models_that_differ(self):
        fake = self.fake()
        swapped = [fake.gpus[1], fake.gpus[0], *fake.gpus[2:]]
        fake.nvidia_smi(swapped)
        status, lines = fake.check()
        self.assertEqual(status, 1)
        self.assertEqual(
            differing(lines),
            [
                "nvidia-smi: mpibind's numbers 0, 1 ... are 0000:03:00.0, 0000:41:00.0, "
                "0000:82:00.0, 0000:c1:00.0, nvidia-smi's are 0000:41:00.0, 0000:03:00.0, "
                "0000:82:00.0, 0000:c1:00.0"
            ],
        )
        fake.nvidia_smi(
            [fake.gpus[0] | {"uuid": uuid.UUID(int=7), "model": "A100"}, *fake.gpus[1:]]
        )
        status, lines = fake.check()
        self.assertEqual(status, 1)
        identity, model = differing(lines)
        self.assertRegex(
            identity, "UUID of 0000:03:00.0 is GPU-3c05.* to mpibind, GPU-.* to nvidia-smi"
        )
        self.assertIn("model of 0000:03:00.0 is NVIDIA A100-SXM4-40GB to mpibind, A100 to", model)

    def test_gpus_that_only_one_side_has(self):
        fake = self.fake()
        fake.nvidia_smi(fake.gpus[1:])
        (fake.tree / "dev/nvidia1").unlink()
        _, lines = fake.check()
        (line,) = [line for line in differing(lines) if "only mpibind" in line]
        self.assertEqual(line, "nvidia-smi: only mpibind has 0000:03:00.0")
        (line,) = [line for line in differing(lines) if "only nvidia-smi" in line]
        self.assertEqual(
            line,
            "nvidia-smi: only nvidia-smi has 0000:82:00.0 (mpibind: /dev/nvidia1 is missing: a "
            "container hides it)",
        )

    def test_places_that_differ(self):
        fake = self.fake(NVML)
        all_cpus = (1 << 128) - 1
        fake.gpus[0] = fake.gpus[0] | {"cpus": 0xFF}
        fake.gpus[1] = fake.gpus[1] | {"cpus": all_cpus}
        status, lines = fake.check()
        self.assertEqual(status, 1)
        words = "0000:03:00.0 is near to CPUs 48-63,112-127 for mpibind, 0-7 for NVML"
        self.assertEqual(differing(lines), [f"NVML: {words}"])
        known = "note     NVML: does not know where 0000:41:00.0 is; mpibind has 32-47,96-111"
        self.assertIn(known, lines)
        self.assertIn("ok       NVML: the same CPUs near to 2 of 4 GPUs", lines)

    def test_unknown_uuid_is_not_called_wrong(self):
        fake = self.fake(CUDA, machine=self.SMALL)
        fake.nvidia_smi()
        file = fake.tree / "proc/driver/nvidia/gpus/0000:04:00.0/information"
        lines = file.read_text().splitlines()
        file.write_text("\n".join(line for line in lines if "UUID" not in line))
        status, lines = fake.check()
        self.assertEqual((status, differing(lines)), (0, []))
        known = f"is not known to mpibind; it is GPU-{fake.gpus[0]['uuid']}"
        self.assertIn(f"note     nvidia-smi: UUID of 0000:04:00.0 {known}", lines)
        self.assertFalse([line for line in lines if "by uuid" in line])

    def test_parts_of_gpus_are_not_asked_for(self):
        fake = self.fake(CUDA)
        fake.nvidia_smi(mig="Enabled")
        status, lines = fake.check()
        self.assertEqual(status, 0)
        self.assertIn("note     programs: not started, as GPUs are cut into parts (MIG)", lines)
        self.assertFalse([line for line in lines if "CUDA driver" in line])

    def test_programs_that_fail_are_no_disagreement(self):
        fake = self.fake()
        fake.program("nvidia-smi", {"": "couldn't communicate with the driver"}, status=9)
        status, lines = fake.check()
        self.assertEqual((status, lines[-1]), (2, "result: nothing to compare"))
        self.assertRegex(lines[0], "^note .*nvidia-smi.* status 9: couldn't communicate")
        fake.program("nvidia-smi", {"": "nonsense"})
        status, lines = fake.check()
        self.assertEqual(status, 2)
        self.assertEqual(lines[0], "note     nvidia-smi: nvidia-smi printed 'nonsense'")

    def test_the_file_can_be_carried_elsewhere(self):
        fake = self.fake()
        fake.nvidia_smi()
        carried = fake.folder / "carried.py"
        shutil.copy(CHECK, carried)
        self.assertEqual(fake.check(carried)[0], 0)
        self.assertEqual(fake.check(carried, "--help"), (2, []))


class Mixed(unittest.TestCase):
    def test_two_vendors(self):
        """HIP takes CUDA's variable for its own; each still sees only what it should."""
        for vendor, library in (("AMD", HIP), ("NVIDIA", CUDA)):
            fake = Fake(self, "desktop-amd-nvidia", vendor)
            fake.library(library)
            status, lines = fake.check()
            self.assertEqual((status, differing(lines)), (0, []), vendor)
            self.assertGreater(len(lines), 8)


class Amd(unittest.TestCase):
    NAME = "mi250x-8gpu"

    def test_all_agree(self):
        fake = Fake(self, self.NAME, "AMD")
        fake.rocm_smi()
        fake.program(
            "amd-smi",
            {"list": [{"gpu": i, "bdf": gpu["pci"]} for i, gpu in enumerate(fake.gpus)]},
        )
        status, lines = fake.check()
        self.assertEqual((status, differing(lines)), (0, []))
        told = [line.removeprefix("ok       ") for line in lines]
        self.assertIn("rocm-smi: the same UUID of 8 of 8 GPUs", told)
        self.assertIn("rocm-smi: the same model of 8 of 8 GPUs", told)
        self.assertIn("amd-smi: the same numbers", told)

    def test_what_differs(self):
        fake = Fake(self, self.NAME, "AMD")
        changes = {"Unique ID": "0xabc", "Card Series": "Instinct", "(Topology) Numa Node": "1"}
        fake.rocm_smi(**changes)
        status, lines = fake.check()
        self.assertEqual(status, 1)
        identity, place = differing(lines)
        self.assertIn("to mpibind, GPU-0000000000000abc to rocm-smi", identity)
        self.assertIn("0000:c1:00.0 is near to CPUs", place)
        # How a model is called is no matter of right and wrong with AMD.
        (note,) = [line for line in lines if line.startswith("note") and "model" in line]
        self.assertIn("is AMD Instinct MI250X to mpibind, Instinct to rocm-smi", note)

    def test_programs(self):
        fake = Fake(self, "mi300a-spx", "AMD")
        fake.library(HIP)
        status, lines = fake.check()
        self.assertEqual((status, differing(lines)), (0, []))
        self.assertIn("ok       HIP: 4 tasks, no variable before, own-first, by uuid", lines)

    def test_partitions(self):
        fake = Fake(self, "mi300a-tpx", "AMD")
        fake.rocm_smi()
        status, lines = fake.check()
        self.assertEqual((status, differing(lines)), (0, []))
        self.assertIn("ok       rocm-smi: 12 GPUs at 0000", "\n".join(lines))
        self.assertIn("is not known to mpibind", "\n".join(lines))


class Intel(unittest.TestCase):
    NAME = "aurora-6gpu"

    def test_all_agree(self):
        fake = Fake(self, self.NAME, "Intel", tiles=2)
        fake.xpu_smi()
        fake.library(ZE)
        status, lines = fake.check()
        self.assertEqual((status, differing(lines)), (0, []))
        self.assertIn("ok       xpu-smi: the same CPUs near to 6 of 6 GPUs", lines)
        self.assertIn("ok       Level Zero: 6 tasks, no variable before, own, by index", lines)
        each = "6 tasks, each with a ZE_AFFINITY_MASK of its own, own, by index"
        self.assertIn(f"ok       Level Zero: {each}", lines)

    def test_what_differs(self):
        fake = Fake(self, self.NAME, "Intel", tiles=2)
        fake.xpu_smi(cpus="0-7")
        fake.library(ZE)
        fake.changes["FAKE_STUBBORN"] = "1"
        status, lines = fake.check()
        found = "\n".join(differing(lines))
        self.assertEqual(status, 1)
        self.assertEqual(found.count("xpu-smi: "), 6)
        self.assertIn("Level Zero: 6 tasks, no variable before, own, by index: task 0 was", found)


class Nothing(unittest.TestCase):
    def test_nothing_to_compare(self):
        status, lines = Fake(self, "laptop-integrated", "NVIDIA").check()
        self.assertEqual((status, lines), (2, ["result: nothing to compare"]))

    def test_gpus_that_mpibind_does_not_see(self):
        fake = Fake(self, "laptop-integrated", "NVIDIA")
        fake.nvidia_smi([{"pci": "0000:01:00.0", "uuid": uuid.UUID(int=1), "model": "T4"}])
        status, lines = fake.check()
        self.assertEqual(status, 1)
        self.assertEqual(
            differing(lines),
            [
                "nvidia-smi: mpibind counts 0 GPUs, nvidia-smi 1",
                "nvidia-smi: only nvidia-smi has 0000:01:00.0",
            ],
        )


if __name__ == "__main__":
    support.main()
