#!/usr/bin/env python3
"""Compare what mpibind says of this machine's GPUs with what their makers' programs say of them.

    python gpu_check.py > gpu_check.txt

One file: carry it to any machine where mpibind is installed. It needs nothing else, changes
nothing, and computes nothing on the GPUs. Two kinds of checks, as far as there is something to
compare with:

* nvidia-smi and NVML, rocm-smi and amd-smi, or xpu-smi: number and order of the GPUs, identity,
  model, the CPUs or the NUMA node that each is near to;
* programs, one for each task, that are started with the variables of ``Mapping.env`` and say which
  GPUs they see, through the CUDA driver, HIP, Level Zero, torch and cupy.

Each line is a check: ``ok``, ``DIFFERS``, or a ``note`` of what was not compared and why. Exit
status: 0 if all agree, 1 if anything differs, 2 if there is nothing to compare.

Sources: nvidia-smi manual page; NVML API reference; CUDA driver API; ROCm SMI and AMD SMI
command-line references; HIP API reference; XPU-SMI user guide; Level Zero specification.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "ZE_AFFINITY_MASK",
    "ZE_FLAT_DEVICE_HIERARCHY",
    "ZE_ENABLE_PCI_ID_DEVICE_ORDER",
    "VISIBLE_DEVICES",
)
"""What decides which GPUs a program sees; nothing of it is left to chance here."""

VENDORS = ("NVIDIA", "AMD", "Intel")
SECONDS = 180
"""How long a program may take: the first use of a GPU wakes its driver."""


class Device(NamedTuple):
    """A GPU in the words of somebody; None is what was not said."""

    index: int | None = None
    pci: str | None = None
    uuid: str | None = None
    model: str | None = None
    cpus: frozenset[int] | None = None
    numa: int | None = None

    def __str__(self) -> str:
        return self.uuid or self.pci or "a GPU without a name"


class Report:
    """Prints the checks and counts them."""

    def __init__(self) -> None:
        self.agreed = self.differed = 0

    def ok(self, words: str) -> None:
        self.agreed += 1
        print(f"ok       {words}", flush=True)

    def differs(self, words: str) -> None:
        self.differed += 1
        print(f"DIFFERS  {words}", flush=True)

    def note(self, words: str) -> None:
        print(f"note     {words}", flush=True)

    def close(self) -> int:
        """Print the result; return the exit status."""
        if self.differed:
            print(f"result: {self.differed} of {self.agreed + self.differed} checks DIFFER")
            return 1
        if self.agreed:
            print(f"result: all {self.agreed} checks agree")
            return 0
        print("result: nothing to compare")
        return 2


# --------------------------------------------------------------------------------------
# What the makers' programs say
# --------------------------------------------------------------------------------------


class NoAnswer(Exception):
    """A program or a library that is there gave no usable answer."""


def clean() -> dict[str, str]:
    """Return the environment less what restricts GPUs."""
    return {name: value for name, value in os.environ.items() if name not in VARIABLES}


def output(*words: str) -> str:
    """Run a program and return what it printed."""
    try:
        done = subprocess.run(
            words, env=clean(), capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoAnswer(str(error)) from error
    if done.returncode:
        told = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        raise NoAnswer(f"`{' '.join(words)}` ended with status {done.returncode}: {told}")
    return done.stdout


def from_json(*words: str) -> Any:
    """Run a program that prints JSON; text before it, warnings for example, is skipped."""
    text = output(*words)
    start = min((text.find(mark) for mark in "[{" if mark in text), default=0)
    try:
        return json.loads(text[start:])
    except ValueError as error:
        raise NoAnswer(f"`{' '.join(words)}` printed no JSON: {text.strip()[:80]!r}") from error


def pci_address(text: str) -> str:
    """Write a PCI address as the kernel does: NVIDIA has eight digits for the domain, or none."""
    match = re.search(r"(?:([0-9a-f]+):)?([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])", text.lower())
    if match is None:
        raise NoAnswer(f"{text!r} is no PCI address")
    domain, bus, device, function = match.groups()
    return f"{int(domain or '0', 16):04x}:{bus}:{device}.{function}"


def number(value: object) -> int | None:
    """Read a number from 0; None if it is something else, such as N/A or -1."""
    text = str(value).strip()
    return int(text) if text.isdigit() else None


def ids(text: str) -> frozenset[int] | None:
    """Read a list such as ``0-3,8``."""
    found: set[int] = set()
    for part in filter(None, text.replace(" ", "").split(",")):
        low, _, high = part.partition("-")
        if not (low.isdigit() and (high or low).isdigit()):
            return None
        found.update(range(int(low), int(high or low) + 1))
    return frozenset(found) or None


def nvidia_smi() -> list[Device]:
    fields = "index,pci.bus_id,uuid,name"
    text = output("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader")
    rows = [[cell.strip() for cell in line.split(",", 3)] for line in text.splitlines() if line]
    if any(len(row) != 4 for row in rows):
        raise NoAnswer(f"nvidia-smi printed {text.strip()[:80]!r}")
    return [Device(number(row[0]), pci_address(row[1]), row[2], row[3]) for row in rows]


def mig_is_on() -> bool:
    """Whether a GPU is cut into parts (MIG), which CUDA shows in its place."""
    try:
        modes = output("nvidia-smi", "--query-gpu=mig.mode.current", "--format=csv,noheader")
    except NoAnswer:
        return False
    return "Enabled" in modes


class NvmlPci(ctypes.Structure):
    _fields_ = (
        ("legacy", ctypes.c_char * 16),
        ("numbers", ctypes.c_uint * 5),
        ("address", ctypes.c_char * 32),
    )


def nvml() -> list[Device]:
    library = ctypes.CDLL("libnvidia-ml.so.1")

    def call(name: str, *arguments: object) -> None:
        status = getattr(library, name)(*arguments)
        if status:
            raise NoAnswer(f"{name} of libnvidia-ml.so.1 returned {status}")

    call("nvmlInit_v2")
    count = ctypes.c_uint()
    call("nvmlDeviceGetCount_v2", ctypes.byref(count))
    words = (os.cpu_count() or 1) // 64 + 16
    found = []
    for index in range(count.value):
        handle, pci = ctypes.c_void_p(), NvmlPci()
        uuid, model = (ctypes.create_string_buffer(96) for _ in range(2))
        call("nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(handle))
        call("nvmlDeviceGetPciInfo_v3", handle, ctypes.byref(pci))
        call("nvmlDeviceGetUUID", handle, uuid, 96)
        call("nvmlDeviceGetName", handle, model, 96)
        mask = (ctypes.c_ulong * words)()
        cpus = None
        if library.nvmlDeviceGetCpuAffinity(handle, words, mask) == 0:
            bits = 8 * ctypes.sizeof(ctypes.c_ulong)
            cpus = frozenset(n for n in range(words * bits) if mask[n // bits] >> n % bits & 1)
        address = pci_address(pci.address.decode())
        found.append(Device(index, address, uuid.value.decode(), model.value.decode(), cpus))
    return found


def rocr_name(unique_id: object) -> str | None:
    """Return ROCr's name for a unique id."""
    text = str(unique_id).lower().removeprefix("gpu-").removeprefix("0x")
    is_one = re.fullmatch("[0-9a-f]{1,16}", text) and int(text, 16)
    return f"GPU-{int(text, 16):016x}" if is_one else None


def rocm_smi() -> list[Device]:
    show = ("--showbus", "--showuniqueid", "--showproductname", "--showtoponuma")
    answer = from_json("rocm-smi", *show, "--json")
    found = []
    for card, told in sorted(answer.items(), key=lambda pair: number(pair[0][4:]) or 0):
        if not re.fullmatch(r"card\d+", card):
            continue
        # Upper and lower case have changed from version to version.
        value = {key.lower(): text for key, text in told.items()}
        found.append(
            Device(
                number(card[4:]),
                pci_address(value.get("pci bus", "")),
                rocr_name(value.get("unique id")),
                value.get("card series"),
                numa=number(value.get("(topology) numa node")),
            )
        )
    return found


def amd_smi() -> list[Device]:
    answer = from_json("amd-smi", "list", "--json")
    gpus = answer.get("gpu_data", []) if isinstance(answer, dict) else answer
    return [Device(number(gpu.get("gpu")), pci_address(gpu.get("bdf", ""))) for gpu in gpus]


def xpu_smi() -> list[Device]:
    found = []
    for told in from_json("xpu-smi", "discovery", "-j").get("device_list", []):
        index = number(told.get("device_id"))
        try:
            near = from_json("xpu-smi", "topology", "-d", str(index), "-j")
        except NoAnswer:
            near = {}
        cpus = ids(str(near.get("affinity_localcpulist", "")))
        model = told.get("device_name")
        address = pci_address(told.get("pci_bdf_address", ""))
        found.append(Device(index, address, model=model, cpus=cpus))
    return found


Ask = Callable[[], list[Device]]

WITNESSES: tuple[tuple[str, str, Ask], ...] = (
    ("NVIDIA", "nvidia-smi", nvidia_smi),
    ("NVIDIA", "NVML", nvml),
    ("AMD", "rocm-smi", rocm_smi),
    ("AMD", "amd-smi", amd_smi),
    ("Intel", "xpu-smi", xpu_smi),
)


def ask(name: str, question: Ask, report: Report) -> list[Device] | None:
    """Ask a program or a library; None if it is not there or does not know."""
    if name != "NVML" and shutil.which(name) is None:
        return None
    try:
        return question()
    except NoAnswer as error:
        report.note(f"{name}: {error}")
    except OSError:
        if name != "NVML":
            raise
    except (AttributeError, KeyError, TypeError) as error:
        report.note(f"{name}: its answer is not understood: {error!r}")
    return None


# --------------------------------------------------------------------------------------
# Comparison with them
# --------------------------------------------------------------------------------------


class Node(NamedTuple):
    """The machine as mpibind sees it."""

    topology: Any
    gpus: dict[str, list[Device]]
    """By vendor, in device order."""
    cpus: frozenset[int]
    numas: dict[int, frozenset[int]]
    """The CPUs of each NUMA node."""


def look() -> Node:
    """Ask mpibind."""
    import mpibind

    topology = mpibind.Topology()
    gpus: dict[str, list[Device]] = {vendor: [] for vendor in VENDORS}
    for gpu in topology.gpus:
        device = Device(gpu.index, gpu.pci, gpu.uuid, gpu.model, ids(gpu.cpus))
        gpus.setdefault(gpu.vendor, []).append(device)
    numas = {numa.os_index: ids(numa.cpus) or frozenset() for numa in topology.numas}
    return Node(topology, gpus, ids(topology.cpus) or frozenset(), numas)


def compare(name: str, vendor: str, told: list[Device], node: Node, report: Report) -> None:
    """Compare a list of GPUs with mpibind's."""
    ours = sorted(node.gpus[vendor], key=lambda gpu: gpu.index or 0)
    theirs = sorted(told, key=lambda gpu: gpu.index or 0)
    reasons = {gone.pci: gone.reason for gone in node.topology.gpus.uncounted}
    places = [gpu.pci for gpu in ours], [gpu.pci for gpu in theirs]
    if sorted(map(str, places[0])) != sorted(map(str, places[1])):
        report.differs(f"{name}: mpibind counts {len(ours)} GPUs, {name} {len(theirs)}")
        for address in sorted({*map(str, places[0])} ^ {*map(str, places[1])}):
            whose = name if address in places[1] else "mpibind"
            why = f" (mpibind: {reasons[address]})" if address in reasons else ""
            report.differs(f"{name}: only {whose} has {address}{why}")
        return
    report.ok(f"{name}: {count(ours, 'GPU')} at {', '.join(map(str, places[0])) or 'no address'}")
    if places[0] != places[1]:
        report.differs(
            f"{name}: mpibind's numbers 0, 1 ... are {', '.join(map(str, places[0]))}, {name}'s "
            f"are {', '.join(map(str, places[1]))}"
        )
    elif any(mine.index != other.index for mine, other in zip(ours, theirs, strict=True)):
        numbers = [[gpu.index for gpu in gpus] for gpus in (ours, theirs)]
        report.differs(f"{name}: mpibind's numbers are {numbers[0]}, {name}'s {numbers[1]}")
    elif ours:
        report.ok(f"{name}: the same numbers")
    # Parts of a GPU share its address, and both lists have them in order.
    by_address = [sorted(gpus, key=lambda gpu: str(gpu.pci)) for gpus in (ours, theirs)]
    pairs = [*zip(*by_address, strict=True)]
    compare_texts(name, "UUID", [(m.pci, m.uuid, t.uuid) for m, t in pairs], True, report)
    models = [(mine.pci, mine.model, other.model) for mine, other in pairs]
    compare_texts(name, "model", models, vendor == "NVIDIA", report)
    compare_places(name, pairs, node, report)


def compare_texts(
    name: str,
    what: str,
    rows: list[tuple[str | None, str | None, str | None]],
    is_exact: bool,
    report: Report,
) -> None:
    """Compare a text of each GPU; what is not known to both is not compared."""
    equal = 0
    for address, mine, other in rows:
        if other is None:
            continue
        if mine is None:
            report.note(f"{name}: {what} of {address} is not known to mpibind; it is {other}")
        elif mine.lower() == other.lower():
            equal += 1
        else:
            tell = report.differs if is_exact else report.note
            tell(f"{name}: {what} of {address} is {mine} to mpibind, {other} to {name}")
    if equal:
        report.ok(f"{name}: the same {what} of {equal} of {len(rows)} GPUs")


def compare_places(
    name: str, pairs: list[tuple[Device, Device]], node: Node, report: Report
) -> None:
    """Compare which CPUs the GPUs are near to."""
    equal = 0
    for mine, other in pairs:
        near = other.cpus
        if near is None and other.numa is not None:
            near = node.numas.get(other.numa)
        if not near or mine.cpus is None:
            continue
        near &= node.cpus
        if near == mine.cpus:
            equal += 1
        elif near == node.cpus:
            report.note(f"{name}: does not know where {mine.pci} is; mpibind has {span(mine.cpus)}")
        elif not near:
            report.note(f"{name}: {mine.pci} is near to CPUs only that this process may not use")
        else:
            report.differs(
                f"{name}: {mine.pci} is near to CPUs {span(mine.cpus)} for mpibind, {span(near)} "
                f"for {name}"
            )
    if equal:
        report.ok(f"{name}: the same CPUs near to {equal} of {len(pairs)} GPUs")


def span(cpus: frozenset[int]) -> str:
    """Write a list such as ``0-3,8``."""
    ends = [cpu for cpu in sorted(cpus) if cpu + 1 not in cpus]
    starts = [cpu for cpu in sorted(cpus) if cpu - 1 not in cpus]
    pairs = zip(starts, ends, strict=True)
    return ",".join(f"{low}-{high}" if low < high else f"{low}" for low, high in pairs)


def count(things: list[Any], word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


# --------------------------------------------------------------------------------------
# What a program sees: this part runs in processes of its own
# --------------------------------------------------------------------------------------

NO_DEVICE = 100
"""The same in CUDA and HIP."""


def library(*names: str) -> ctypes.CDLL:
    """Load the first of several libraries that is there."""
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise ImportError(names[0])


def plain_uuid(raw: bytes | str) -> str:
    """Write an identity as hexadecimal digits. HIP has the digits themselves as its bytes."""
    digits = raw.hex() if isinstance(raw, bytes) else re.sub("^gpu|[^0-9a-f]", "", raw.lower())
    if len(digits) == 32:
        text = bytes.fromhex(digits)
        if re.fullmatch(rb"[0-9a-fA-F]{16}", text):
            return text.decode().lower()
    return digits


def driver(cdll: ctypes.CDLL, prefix: str, names: dict[str, str]) -> Iterator[dict[str, str]]:
    """List devices through the CUDA driver or HIP, whose calls are alike."""

    def call(name: str, *arguments: object) -> int:
        status = int(getattr(cdll, prefix + name)(*arguments))
        if status not in (0, NO_DEVICE):
            raise RuntimeError(f"{prefix}{name} returned {status}")
        return status

    devices = ctypes.c_int()
    if call("Init", 0) == NO_DEVICE or call(names["count"], ctypes.byref(devices)) == NO_DEVICE:
        return
    for ordinal in range(devices.value):
        device, uuid = ctypes.c_int(), (ctypes.c_ubyte * 16)()
        address = ctypes.create_string_buffer(32)
        call("DeviceGet", ctypes.byref(device), ordinal)
        call("DeviceGetUuid", ctypes.byref(uuid), device)
        call(names["address"], address, 32, device)
        yield {"uuid": plain_uuid(bytes(uuid)), "pci": pci_address(address.value.decode())}


def see_cuda() -> Iterator[dict[str, str]]:
    names = {"count": "DeviceGetCount", "address": "DeviceGetPCIBusId"}
    yield from driver(library("libcuda.so.1"), "cu", names)


def see_hip() -> Iterator[dict[str, str]]:
    versions = ("libamdhip64.so", *(f"libamdhip64.so.{major}" for major in (7, 6, 5)))
    paths = (*versions, *(f"/opt/rocm/lib/{name}" for name in versions))
    names = {"count": "GetDeviceCount", "address": "DeviceGetPCIBusId"}
    yield from driver(library(*paths), "hip", names)


class ZePci(ctypes.Structure):
    _fields_ = (
        ("stype", ctypes.c_uint32),
        ("next", ctypes.c_void_p),
        ("address", ctypes.c_uint32 * 4),
        ("generation", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("bandwidth", ctypes.c_int64),
    )


def see_level_zero() -> Iterator[dict[str, str]]:
    """List devices through Level Zero: several at one address are tiles of one GPU."""
    ze = library("libze_loader.so.1")
    uninitialised, pci_properties = 0x78000001, 0x10008

    def call(name: str, *arguments: object) -> None:
        status = int(getattr(ze, name)(*arguments)) & 0xFFFFFFFF
        if status:
            raise RuntimeError(f"{name} returned {status:#x}")

    def handles(name: str, *of: ctypes.c_void_p) -> list[ctypes.c_void_p]:
        size = ctypes.c_uint32(0)
        call(name, *of, ctypes.byref(size), None)
        array = (ctypes.c_void_p * size.value)()
        call(name, *of, ctypes.byref(size), array)
        return [ctypes.c_void_p(handle) for handle in array]

    # Without a GPU there is no driver to initialise.
    if int(ze.zeInit(1)) & 0xFFFFFFFF == uninitialised:
        return
    for of_driver in handles("zeDriverGet"):
        for device in handles("zeDeviceGet", of_driver):
            told = ZePci(stype=pci_properties)
            call("zeDevicePciGetPropertiesExt", device, ctypes.byref(told))
            domain, bus, slot, function = told.address
            yield {"pci": f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"}


def see_torch() -> Iterator[dict[str, str]]:
    torch = importlib.import_module("torch")
    for ordinal in range(torch.cuda.device_count()):
        told = torch.cuda.get_device_properties(ordinal)
        seen = {}
        if hasattr(told, "uuid"):
            seen["uuid"] = plain_uuid(str(told.uuid))
        if hasattr(told, "pci_domain_id"):
            place = f"{told.pci_domain_id:04x}:{told.pci_bus_id:02x}:{told.pci_device_id:02x}.0"
            seen["pci"] = place
        yield seen


def see_cupy() -> Iterator[dict[str, str]]:
    runtime = importlib.import_module("cupy").cuda.runtime
    try:
        devices = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if error.status != NO_DEVICE:
            raise
        devices = 0
    for ordinal in range(devices):
        seen = {"pci": pci_address(runtime.deviceGetPCIBusId(ordinal))}
        uuid = runtime.getDeviceProperties(ordinal).get("uuid")
        if uuid:
            seen["uuid"] = plain_uuid(bytes(uuid)[:16])
        yield seen


EYES: dict[str, tuple[str, tuple[str, ...], Callable[[], Iterator[dict[str, str]]]]] = {
    "cuda": ("the CUDA driver", ("NVIDIA",), see_cuda),
    "hip": ("HIP", ("AMD",), see_hip),
    "level-zero": ("Level Zero", ("Intel",), see_level_zero),
    "torch": ("torch", ("NVIDIA", "AMD"), see_torch),
    "cupy": ("cupy", ("NVIDIA", "AMD"), see_cupy),
}


def see(eye: str) -> int:
    """Print as JSON what this process sees, or what is missing to see it."""
    try:
        answer: dict[str, object] = {"devices": [*EYES[eye][2]()]}
    except ImportError as error:
        answer = {"missing": str(error)}
    except Exception as error:  # whatever it is, the process that asked prints it
        answer = {"failed": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer))
    return 0


def start(eye: str, variables: dict[str, str]) -> subprocess.Popen[str]:
    """Start a program with these variables that says which GPUs it sees."""
    words = [sys.executable, str(Path(__file__).resolve()), "--see", eye]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=clean() | variables, stdout=pipe, stderr=pipe, text=True)


def end(program: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what it saw."""
    try:
        text, errors = program.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()
        program.communicate()
        return {"failed": f"no answer in {SECONDS} seconds"}
    try:
        return dict(json.loads(text.strip().splitlines()[-1]))
    except (ValueError, IndexError):
        last = (errors.strip().splitlines() or ["no word"])[-1]
        return {"failed": f"status {program.returncode}: {last}"}


# --------------------------------------------------------------------------------------
# Comparison with what was promised
# --------------------------------------------------------------------------------------


def is_seen(gpu: Device, seen: dict[str, str]) -> bool:
    """Whether a GPU is what a program saw: by UUID, by PCI address where there is none."""
    if gpu.uuid and seen.get("uuid"):
        return plain_uuid(gpu.uuid) == seen["uuid"]
    return gpu.pci is not None and gpu.pci == seen.get("pci")


def agree(promised: list[Device], seen: list[dict[str, str]], vendor: str) -> bool:
    """Whether a program saw these GPUs, in this order."""
    if vendor == "Intel":
        # Level Zero shows tiles, in an order of its own.
        return {gpu.pci for gpu in promised} == {device.get("pci") for device in seen}
    pairs = zip(promised, seen, strict=False)
    return len(promised) == len(seen) and all(is_seen(gpu, device) for gpu, device in pairs)


def words_of(seen: list[dict[str, str]], gpus: list[Device]) -> str:
    """Name what a program saw as mpibind names it."""
    names = []
    for one in seen:
        known = next((str(gpu) for gpu in gpus if is_seen(gpu, one)), None)
        names.append(known or one.get("uuid") or one.get("pci") or "a GPU without a name")
    return ", ".join(names) or "none"


class Case(NamedTuple):
    """What is tried: so many tasks, in a job that came with these variables."""

    ntasks: int
    given: list[dict[str, str]]
    """Of all tasks, or of each; the one that says which GPUs comes first."""

    def __str__(self) -> str:
        tasks = f"{self.ntasks} task{'' if self.ntasks == 1 else 's'}"
        if len(self.given) > 1:
            return f"{tasks}, each with a {next(iter(self.given[0]))} of its own"
        told = " ".join(f"{name}={value}" for name, value in self.given[0].items())
        return f"{tasks}, {told or 'no variable'} before"


def cases(vendor: str, gpus: list[Device]) -> Iterator[Case]:
    """Yield what is tried on a node with these GPUs."""
    number_of = len(gpus)
    for ntasks in sorted({1, 2, number_of, 2 * number_of}):
        yield Case(ntasks, [{}])
    if vendor == "Intel":
        variable = "ZE_AFFINITY_MASK"
        order = {"ZE_FLAT_DEVICE_HIERARCHY": "COMPOSITE", "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1"}
    elif vendor == "AMD":
        variable, order = "ROCR_VISIBLE_DEVICES", {}
    else:
        variable, order = "CUDA_VISIBLE_DEVICES", {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    numbers = [str(place) for place in range(number_of)]
    last = numbers[number_of // 2 :][::-1]
    yield Case(2, [{variable: ",".join(last), **order}])
    uuids = [gpu.uuid for gpu in sorted(gpus, key=lambda gpu: gpu.index or 0)]
    if vendor != "Intel" and all(uuids):
        yield Case(2, [{variable: ",".join(map(str, uuids[number_of // 2 :]))}])
        yield Case(1, [{variable: ""}])
    if number_of > 1:
        yield Case(number_of, [{variable: each, **order} for each in numbers])


def check_programs(vendor: str, node: Node, report: Report) -> None:
    """Start programs and compare what they see with what mpibind promised."""
    gpus = node.gpus[vendor]
    if not gpus:
        return
    if vendor == "NVIDIA" and shutil.which("nvidia-smi") and mig_is_on():
        report.note("programs: not started, as GPUs are cut into parts (MIG)")
        return
    for eye, (name, vendors, _) in EYES.items():
        if vendor not in vendors:
            continue
        answer = end(start(eye, {}))
        if "missing" in answer:
            report.note(f"{name}: not here ({answer['missing']})")
            continue
        if "failed" in answer:
            report.note(f"{name}: cannot be asked: {answer['failed']}")
            continue
        if not any(is_seen(gpu, seen) for gpu in gpus for seen in answer["devices"]):
            # torch for another vendor, for example.
            report.note(f"{name}: shows none of these GPUs, even without variables")
            continue
        # What torch and cupy see is what is below them; they take long to start.
        slow = eye in ("torch", "cupy")
        for case in [Case(len(gpus), [{}])] if slow else cases(vendor, gpus):
            check_case(case, eye, name, vendor, node, report)


def check_case(case: Case, eye: str, name: str, vendor: str, node: Node, report: Report) -> None:
    """Start one program for each task, in each mode and with each kind of name."""
    had = []
    for answer in [end(program) for program in [start(eye, given) for given in case.given]]:
        if "devices" not in answer:
            report.note(f"{name}: {case}: cannot be asked: {answer}")
            return
        had.append(answer["devices"])
    try:
        mapping = node.topology.map(case.ntasks, environ=case.given)
    except Exception as error:
        report.differs(f"{name}: {case}: mpibind fails: {type(error).__name__}: {error}")
        return
    gpus = node.gpus[vendor]
    # Columns of GPUs of this vendor.
    columns = [gpu.vendor == vendor for gpu in node.topology.gpus]
    has_uuids = vendor != "Intel" and all(gpu.uuid for gpu in gpus)
    for ids_by in ("index", "uuid") if has_uuids else ("index",):
        for visible in ("own", "own-first"):
            # What a task comes with of its own stays as it is, whatever it is called and shown.
            if len(case.given) > 1 and (ids_by, visible) != ("index", "own"):
                continue
            named = node.topology.map(case.ntasks, environ=case.given, gpu_ids=ids_by)
            of_task = [task if len(case.given) > 1 else 0 for task in range(case.ntasks)]
            started = [
                start(eye, case.given[place] | named.env(task, visible=visible))
                for task, place in enumerate(of_task)
            ]
            wrong = []
            for task, program in enumerate(started):
                answer = end(program)
                row = mapping.gpu_matrix[task][columns]
                own = [gpu for gpu, has in zip(gpus, row, strict=True) if has]
                if "devices" in answer:
                    job = had[of_task[task]]
                    words = judge(own, answer["devices"], job, visible, vendor, gpus)
                else:
                    words = f"failed: {answer}"
                wrong += [f"task {task} {words}"] if words else []
            what = f"{name}: {case}, {visible}, by {ids_by}"
            for words in wrong:
                report.differs(f"{what}: {words}")
            if not wrong:
                report.ok(what)


def judge(
    own: list[Device],
    seen: list[dict[str, str]],
    job: list[dict[str, str]],
    visible: str,
    vendor: str,
    gpus: list[Device],
) -> str | None:
    """Say what is wrong with what a task saw, if anything.

    The GPUs of the job are those that the runtime itself showed under the job's variables.
    """
    told = ", ".join(map(str, own)) or "none"
    if visible == "own":
        if agree(own, seen, vendor) and all(one in job for one in seen):
            return None
        promise = f"was promised {told}"
    else:
        first = seen[: len(own)]
        if vendor == "Intel":
            first = [one for one in seen if any(is_seen(gpu, one) for gpu in own)]
        if agree(own, first, vendor) and sorted(map(str, seen)) == sorted(map(str, job)):
            return None
        promise = f"was promised {told} first of all of the job"
    return f"{promise}, and sees {words_of(seen, gpus)}; the job had {words_of(job, gpus)}"


def describe(node: Node) -> None:
    """Print where this was run, for whoever reads the output elsewhere."""
    import mpibind

    system = platform.uname()
    print(f"date     {time.strftime('%Y-%m-%d %H:%M:%S %z')}")
    print(f"machine  {system.node}: {system.system} {system.release} {system.machine}")
    print(f"mpibind  {mpibind.__version__}, Python {platform.python_version()}")
    counts = f"{node.topology.npus} CPUs, {node.topology.nnumas} NUMA nodes"
    print(f"node     {node.topology.origin}: {counts}")
    print(f"\n{mpibind.devices(node.topology)}\n")
    for words in node.topology.gpus.notes:
        print(f"note     mpibind: {words}")


def main() -> int:
    """Make all checks."""
    if sys.argv[1:2] == ["--see"] and sys.argv[2:] and sys.argv[2] in EYES:
        return see(sys.argv[2])
    if sys.argv[1:]:
        print(f"usage: {sys.argv[0]}\n\n{__doc__}", file=sys.stderr)
        return 2
    report = Report()
    node = look()
    describe(node)
    for vendor, name, question in WITNESSES:
        told = ask(name, question, report)
        if told is not None and (told or node.gpus[vendor]):
            compare(name, vendor, told, node, report)
    for vendor in VENDORS:
        check_programs(vendor, node, report)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
