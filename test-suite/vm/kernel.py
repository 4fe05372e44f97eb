"""The machine as its kernel tells of it in /sys and /proc, and where ranks should be on it.

Nothing here comes from hwloc or mpibind: it is a second opinion on both. The rule for ranks is that
of docs/mapping.md for machines without GPUs, in the words of the kernel.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from itertools import chain, cycle, pairwise
from pathlib import Path
from typing import NamedTuple

CPUS = Path("/sys/devices/system/cpu")
NODES = Path("/sys/devices/system/node")


def ids(text: str) -> list[int]:
    """Return the numbers of a list such as ``0-3,8``."""
    found = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def ranges(numbers: list[int]) -> str:
    """Return numbers as such a list."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def online() -> list[int]:
    return ids((CPUS / "online").read_text())


def set_online(cpu: int, to: bool) -> None:
    (CPUS / f"cpu{cpu}/online").write_text(str(int(to)))


def shape() -> dict[str, object]:
    """Return how many there are of what."""
    packages = {read(cpu, "topology/physical_package_id") for cpu in online()}
    return {
        "cpus": len(online()),
        "packages": len(packages),
        "cores": len(cores()),
        "L3 caches": len({read(cpu, "cache/index3/shared_cpu_list") for cpu in online()}),
        "nodes": len(nodes()),
        "nodes without CPUs": len(ids((NODES / "has_memory").read_text())) - len(nodes()),
        "packages of CPUs": [int(read(cpu, "topology/physical_package_id")) for cpu in online()],
        "first threads": [core[0] for core in cores()],
    }


def read(cpu: int, name: str) -> str:
    return (CPUS / f"cpu{cpu}" / name).read_text().strip()


def cores() -> list[list[int]]:
    """Return the CPUs of each core that are online, by their first CPU."""
    return [
        ids(text)
        for text in sorted(
            {read(cpu, "topology/core_cpus_list") for cpu in online()},
            key=lambda text: ids(text)[0],
        )
    ]


def nodes() -> dict[int, list[int]]:
    """Return the CPUs of each NUMA node that has some online."""
    found = {}
    for node in ids((NODES / "online").read_text()):
        if cpus := ids((NODES / f"node{node}/cpulist").read_text()):
            found[node] = cpus
    return found


def masks(pid: int) -> dict[int, list[int]]:
    """Return the CPUs that each thread of a process may run on."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        status = (task / "status").read_text()
        (text,) = re.findall(r"^Cpus_allowed_list:\s*(\S*)$", status, re.MULTILINE)
        found[int(task.name)] = ids(text)
    return found


def memory(pid: int, address: int) -> tuple[str, dict[int, int]]:
    """Return the policy of the memory at an address, and its pages on each NUMA node."""
    maps = Path(f"/proc/{pid}/numa_maps").read_text()
    line = re.search(rf"^{address:08x} (prefer \(many\)\S*|\S+) (.*)$", maps, re.MULTILINE)
    assert line is not None, f"process {pid} has no memory that starts at {address:#x}: {maps}"
    pages = re.findall(r"\bN(\d+)=(\d+)\b", line[2])
    return line[1], {int(node): int(count) for node, count in pages}


class Task(NamedTuple):
    """Where a rank should be."""

    cpus: list[int]
    nthreads: int
    nodes: list[int]


def expected(tasks: int, allowed: list[int]) -> list[Task]:
    """Return where so many ranks should be that may use these CPUs."""
    domains = {
        node: mine for node, cpus in nodes().items() if (mine := [c for c in cpus if c in allowed])
    }
    counts = share({node: len(cpus) for node, cpus in domains.items()}, tasks)
    mine = [[cpu for cpu in core if cpu in allowed] for core in cores()]
    width = len(next(core for core in mine if core))
    found = []
    for node, cpus in domains.items():
        count = counts[node]
        if count == 0:
            continue
        objects = [core for core in mine if core and core[0] in cpus]
        nthreads = max(1, len(objects) // count)
        workers = nthreads * count
        enough = [k for k in range(1, width + 1) if len(objects) * k >= workers]
        used = [core[: min([*enough, width])] for core in objects]
        found += [Task(sorted(part), nthreads, [node]) for part in deal(used, count)]
    return found


def share(weights: dict[int, int], tasks: int) -> Counter[int]:
    """Deal tasks to NUMA nodes: by their CPUs, and what is left to the largest remainders."""
    total = sum(weights.values())
    counts = Counter({node: tasks * weight // total for node, weight in weights.items()})
    left = tasks - counts.total()
    rest = sorted(weights, key=lambda node: (-(tasks * weights[node] % total), node))
    counts.update(rest[:left])
    return counts


def deal(cores: list[list[int]], count: int) -> list[list[int]]:
    """Deal the CPUs of cores to ranks: whole cores, or parts of one, or one CPU to several."""
    if len(cores) >= count:
        return [[*chain(*block)] for block in blocks(cores, count)]
    ranks = [len(block) for block in blocks([*range(count)], len(cores))]
    if sum(map(len, cores)) >= count:
        # Nobody need share a CPU: who has none moves on to cores that have one left, in turn.
        standing = sum(max(0, some - len(core)) for some, core in zip(ranks, cores, strict=True))
        ranks = [min(some, len(core)) for some, core in zip(ranks, cores, strict=True)]
        for place in cycle(range(len(cores))):
            if standing > 0 and ranks[place] < len(cores[place]):
                ranks[place], standing = ranks[place] + 1, standing - 1
            if standing == 0:
                break
    parts = []
    for core, some in zip(cores, ranks, strict=True):
        if len(core) >= some:
            parts += blocks(core, some)
        else:
            sharing = blocks([*range(some)], len(core))
            parts += [[cpu] for cpu, block in zip(core, sharing, strict=True) for _ in block]
    return parts


def blocks(things: list, count: int) -> list[list]:
    """Cut a list into so many blocks, the first ones longer by one if it must be."""
    each, longer = divmod(len(things), count)
    ends = [each * block + min(block, longer) for block in range(count + 1)]
    return [things[first:last] for first, last in pairwise(ends)]


if __name__ == "__main__":
    os.write(3, json.dumps(shape()).encode())
