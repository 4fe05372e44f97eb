"""What this package prints, as plain text."""

from __future__ import annotations

from mpibind import _core
from mpibind.launcher import Place
from mpibind.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mpibind.binding import Binding
    from mpibind.topology import Devices, Gpu, Gpus, Topology, Uncounted


def task(core: _core.Mapping, number: int, gpus: Iterable[str]) -> str:
    """One task of a mapping, in the classic library's form."""
    nthreads, cpus = core.nthreads(number), core.cpus_text(number)
    return f"mpibind: task {number:2d} nths {nthreads:2d} gpus {','.join(gpus)} cpus {cpus}"


def mapping(core: _core.Mapping, gpus: Sequence[Iterable[str]]) -> str:
    """All tasks of a mapping, one a line."""
    return "\n".join(task(core, number, names) for number, names in enumerate(gpus))


def binding(bound: Binding) -> str:
    """One rank and what it is bound to."""
    here = Place(bound.local_rank, bound.local_size, bound.rank, bound.size)
    return rank(bound.hostname, here, bound.nthreads, bound.gpus, bound.cpu_list)


def rank(
    hostname: str, here: Place, nthreads: int, gpus: Iterable[str], cpus: Iterable[int]
) -> str:
    """One rank, its threads, GPUs and CPUs."""
    return _core.rank_line(hostname, here, nthreads, [*gpus], [*cpus])


def variables(values: Mapping[str, Sequence[str]]) -> str:
    """Variables with the value for each task."""
    lines = []
    for name, by_task in values.items():
        lines.append(f"{name}:")
        lines += [f"  [{number}]: {value}" for number, value in enumerate(by_task)]
    return "\n".join(lines)


def table(
    header: Sequence[str], rows: Iterable[Sequence[object]], left: Collection[str] = ()
) -> list[str]:
    r"""Columns below their names, to the right but for those that are named in `left`.

    >>> print("\n".join(table(["task", "GPUs"], [[0, "0,1"], [10, ""]], left=["GPUs"])))
    task  GPUs
       0  0,1
      10
    """
    columns = [*zip(header, *([str(cell) for cell in row] for row in rows), strict=True)]
    aligned = []
    for column in columns:
        width = max(map(len, column))
        align = str.ljust if column[0] in left else str.rjust
        aligned.append([align(cell, width) for cell in column])
    return ["  ".join(cells).rstrip() for cells in zip(*aligned, strict=True)]


def wrapped(line: str, width: int) -> list[str]:
    """A line cut to a width, at blanks and commas; what follows is indented below.

    >>> wrapped("mpibind: task  0 nths  3 gpus 0 cpus 8,12,16", 40)
    ['mpibind: task  0 nths  3 gpus 0 cpus 8,', '    12,16']
    """
    lines = []
    while len(line) > width:
        start = len(line) - len(line.lstrip()) + 1
        blank, comma = line.rfind(" ", start, width + 1), line.rfind(",", start, width)
        end = max(blank, comma + 1)
        if end <= start:
            break  # a word that is longer than the line
        lines.append(line[:end].rstrip())
        line = "    " + line[end:].lstrip()
    return [*lines, line]


def printable(words: str) -> str:
    r"""A text that others chose, without what would do something to a terminal.

    >>> print(printable("top\x1b[2J"))
    top\x1b[2J
    """
    letters = (letter if letter.isprintable() else ascii(letter)[1:-1] for letter in words)
    return "".join(letters)


def count(number: int, word: str) -> str:
    """A number of things.

    >>> count(1, "task"), count(2, "task")
    ('1 task', '2 tasks')
    """
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def memory(size: float) -> str:
    """A size in bytes with a unit that people read."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def topology(node: Topology) -> str:
    """A node: its levels, then a line for each NUMA node, GPU and network card."""
    levels = " > ".join(f"{count} {kind}" for kind, count in node._core.levels)
    lines = [f"{node.origin}: {node.npus} CPUs {node.cpus}", f"  levels: {levels}"]
    for numa in node.numas:
        kind = f" {numa.subtype}" if numa.subtype else ""
        size = f" {memory(numa.memory)}" if numa.memory else ""
        lines.append(f"  NUMA node {numa.os_index}:{kind}{size} cpus {numa.cpus or 'none'}")
    for gpu in node.gpus:
        known = [gpu.vendor, gpu.model, gpu.pci if gpu.pci != gpu.name else None, gpu.uuid]
        lines.append(f"  GPU {gpu.index}: {gpu.name} ({', '.join(part for part in known if part)})")
    for nic in node.nics:
        known = [nic.pci, "down" if nic.down else None]
        told = ", ".join(part for part in known if part)
        lines.append(f"  NIC {nic.name}" + (f" ({told})" if told else ""))
    return "\n".join(lines)


def model(device: Gpu | Uncounted) -> str:
    """What a device is, the vendor in front."""
    known = device.model or device.vendor
    return known if known.startswith(device.vendor) else f"{device.vendor} {known}"


def gpus(found: Gpus) -> str:
    """GPUs as a table, what is not counted as one, and what was odd."""
    head = ("GPU", "vendor", "model", "PCI", "UUID", "NUMA", "CPUs nearby", "found by")
    rows = [
        (
            str(gpu.index),
            gpu.vendor,
            gpu.model or "-",
            gpu.pci or "-",
            gpu.uuid or "-",
            ",".join(map(str, gpu.numas)) or "-",
            gpu.cpus,
            gpu.found,
        )
        for gpu in found
    ]
    lines = table(head, rows, left=head) if rows else ["no GPUs"]
    for device in found.uncounted:
        lines.append(f"not counted: {device.pci} ({model(device)}): {device.reason}")
    lines += [f"note: {note}" for note in found.notes]
    return "\n".join(lines)


def devices(found: Devices) -> str:
    """GPUs and network cards as tables."""
    head = ("NIC", "PCI", "NUMA", "CPUs nearby")
    rows = [
        (nic.name, nic.pci or "-", ",".join(map(str, nic.numas)) or "-", nic.cpus)
        for nic in found.nics
    ]
    lines = table(head, rows, left=head) if rows else ["no NICs"]
    down = [nic.name for nic in found.nics if nic.down]
    lines += [f"not used: {name}: none of its ports is active" for name in down]
    return "\n".join([gpus(found.gpus), "", *lines])
