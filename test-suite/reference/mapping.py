"""The mapping once more: a second opinion, small and slow, that shares nothing with the core.

It was written from the description of the mapping without a look at the core. "§" names the
paragraph of docs/mapping.md that a step stands for. It works on the dicts of docs/json.md, as
`Topology.to_dict` gives them, with CPUs as plain sets of OS ids.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field


class Refused(Exception):
    """What is asked for is not legal; `parameter` says which, "topology" the node itself."""

    def __init__(self, parameter: str) -> None:
        super().__init__(f"{parameter} is not legal")
        self.parameter = parameter


@dataclass(eq=False)
class Place:
    """An object with CPUs: a package, a cache, a core, a hardware thread."""

    kind: str
    group: tuple[int, bool] | None = None  # hwloc's depth of a group, and whether it must stay
    parent: Place | None = None
    children: list[Place] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    gpus: list[int] = field(default_factory=list)
    hidden: set[int] = field(default_factory=set)  # CPUs that may not be used
    cpus: set[int] = field(default_factory=set)

    def below(self) -> list[Place]:
        """Itself and all below, each after what is below it."""
        return [place for child in self.children for place in child.below()] + [self]

    def above(self) -> list[Place]:
        """Itself and all above, from the inside out."""
        return [self] + (self.parent.above() if self.parent else [])

    def is_like(self, other: Place) -> bool:
        """Whether hwloc puts both into one level."""
        depths = [place.group and place.group[0] for place in (self, other)]
        return self.kind == other.kind and depths[0] == depths[1]


@dataclass(eq=False)
class Memory:
    """A NUMA node."""

    os_index: int
    subtype: str | None
    cpus: set[int]
    domain: Place  # the object that it hangs at


@dataclass
class Task:
    """What a task gets: OS ids of CPUs, threads, GPUs by their place in the node's list."""

    cpus: set[int]
    nthreads: int
    gpus: set[int]


def ids_of(text: str) -> set[int]:
    """Read a list such as ``0-3,8``."""
    ends = [part.split("-") for part in text.split(",") if part]
    return {cpu for end in ends for cpu in range(int(end[0]), int(end[-1]) + 1)}


def shares(things: int, takers: int) -> list[range]:
    """Deal things in contiguous blocks as even as possible, the first ones one larger (§ 1)."""
    each, more = divmod(things, takers)
    starts = [taker * each + min(taker, more) for taker in range(takers + 1)]
    return [range(*ends) for ends in itertools.pairwise(starts)]


def deal(things: list[int], takers: int) -> list[list[int]]:
    """Deal things to takers: blocks of things, or, with fewer, blocks of takers that share one."""
    if len(things) >= takers:
        return [[things[at] for at in block] for block in shares(len(things), takers)]
    blocks = shares(takers, len(things)) if things else []
    return [[things[at]] for at, block in enumerate(blocks) for _ in block]


class Node:
    """A node as the mapping sees it (§ The node)."""

    def __init__(self, record: dict) -> None:
        places: list[Place] = []
        for level in record["levels"]:
            groups = level.get("groups") or [None] * len(level["parents"])
            rows = zip(level["os_indexes"], level["parents"], groups, strict=True)
            for os_index, parent, group in rows:
                place = Place(level["kind"], tuple(group) if group else None)
                if places:
                    place.parent = places[parent]
                    place.parent.children.append(place)
                places.append(place)
                if place.kind == "PU":
                    for around in place.above():
                        around.cpus.add(os_index)
        self.root = places[0]
        self.levels: list[list[Place]] = []
        for level in record["levels"]:
            start = sum(len(level) for level in self.levels)
            self.levels.append(places[start : start + len(level["parents"])])
        self.numas: list[Memory] = []
        for numa in record["numas"]:
            domain = places[numa["object"]]
            memory = Memory(numa["os_index"], numa["subtype"], ids_of(numa["cpus"]), domain)
            self.numas.append(memory)
            domain.memory.append(memory)
        self.gpus: dict[int, Place] = {}
        for number, gpu in enumerate(record["gpus"]):
            self.gpus[number] = places[gpu["object"]]
            places[gpu["object"]].gpus.append(number)
        for cpu, place in record["hidden_cpus"]:
            places[place].hidden.add(cpu)

    def shape(self) -> dict:
        """All that the mapping looks at, to compare nodes by."""
        levels = [(level[0].kind, [sorted(place.cpus) for place in level]) for level in self.levels]
        numas = [(numa.os_index, sorted(numa.domain.cpus)) for numa in self.numas]
        gpus = [(place.kind, sorted(place.cpus)) for place in self.gpus.values()]
        return {"levels": levels, "numas": numas, "gpus": gpus}

    @property
    def core_depth(self) -> int:
        """Level of the cores, or of the hardware threads that they were merged into."""
        kinds = [level[0].kind for level in self.levels]
        return kinds.index("Core") if "Core" in kinds else len(kinds) - 1

    @property
    def smt(self) -> int:
        """Hardware threads of the first core."""
        return len(self.levels[self.core_depth][0].children) or 1

    def inside(self, domain: Place, depth: int) -> list[Place]:
        """Objects of a level inside a domain, in logical order."""
        return [place for place in self.levels[depth] if place.cpus <= domain.cpus]

    def take_away(self, gpus: set[int]) -> None:
        """Forget these GPUs."""
        for place in self.root.below():
            place.gpus = [gpu for gpu in place.gpus if gpu not in gpus]
        self.gpus = {gpu: place for gpu, place in self.gpus.items() if gpu not in gpus}

    # § The node: which memory counts, and what a restriction leaves.

    def keep_default_memory(self) -> None:
        """Only memory with CPUs; where memories overlap, that of one kind."""
        with_cpus = [numa for numa in self.numas if numa.cpus]
        if not with_cpus:
            raise Refused("topology")
        overlap = sum(len(numa.cpus) for numa in with_cpus) > len(
            set().union(*(numa.cpus for numa in with_cpus))
        )
        if len(with_cpus) == len(self.numas) and not overlap:
            return
        # The first by OS index, then all of its kind that do not overlap, then whatever fits.
        first, *others = sorted(with_cpus, key=lambda numa: numa.os_index)
        kept, left = [first], self.root.cpus - first.cpus
        of_kind = [numa for numa in others if numa.subtype == first.subtype]
        for numa in of_kind + [numa for numa in others if numa not in of_kind]:
            if left and numa.cpus <= left:
                kept.append(numa)
                left = left - numa.cpus
        self.rebuild(self.root.cpus, kept)

    def restrict(self, ids: set[int], restrict_type: str) -> None:
        """Keep these CPUs and the memory near them, or these NUMA nodes and the CPUs near them."""
        if restrict_type == "cpu":
            cpus = self.root.cpus & ids
            kept = [numa for numa in self.numas if numa.cpus & cpus]
            for place in self.root.below():
                place.hidden &= ids
        else:
            kept = [numa for numa in self.numas if numa.os_index in ids]
            cpus = set().union(*(numa.cpus for numa in kept))
        if not cpus or not kept:
            raise Refused("restrict_ids")
        if cpus == self.root.cpus and len(kept) == len(self.numas):
            return
        self.rebuild(cpus, kept)

    def rebuild(self, cpus: set[int], kept: list[Memory]) -> None:
        """Drop what is left without CPUs, and its GPUs; merge levels once more."""
        for place in self.root.below():
            place.cpus &= cpus
            place.memory = [numa for numa in place.memory if numa in kept]
            for numa in place.memory:
                numa.cpus &= cpus
            gone = [child for child in place.children if not child.cpus]
            for child in gone:
                place.hidden |= child.hidden
            place.children = [child for child in place.children if child.cpus]
            # As in hwloc, siblings are in the order of their first CPU, hidden ones included.
            firsts = {
                child: min(set().union(child.cpus, *(below.hidden for below in child.below())))
                for child in place.children
            }
            place.children.sort(key=firsts.__getitem__)
        self.levels = merged(levels_of(self.root))
        # hwloc numbers memory and devices so, each place after those below it.
        order = self.root.below()
        self.numas = [numa for place in order for numa in place.memory]
        self.gpus = {gpu: place for place in order for gpu in place.gpus}


def levels_of(root: Place) -> list[list[Place]]:
    """Sort a tree into levels from the outside in, as hwloc does it."""
    levels, front = [[root]], root.children
    while front:
        # Something that is not below its like; hardware threads are the last level.
        top = next((place for place in front if place.kind != "PU"), front[0])
        for place in front:
            if not place.is_like(top) and any(top.is_like(below) for below in place.below()):
                top = place
        levels.append([place for place in front if place.is_like(top)])
        front = [
            after
            for place in front
            for after in (place.children if place.is_like(top) else [place])
        ]
    return levels


# Which of two merged levels stays: hwloc's order of kinds; caches share a place, groups are last.
STAYS = {"PU": 100, "Machine": 90, "Core": 60, "Package": 40, "Die": 30, "Group": 0}


def merged(levels: list[list[Place]]) -> list[list[Place]]:
    """Merge levels that add no structure (§ The node)."""
    for depth in range(len(levels) - 1, 0, -1):
        outer, inner = levels[depth - 1], levels[depth]
        kinds = outer[0].kind, inner[0].kind
        is_same = len(outer) == len(inner) and all(
            place.parent is around and len(around.children) == 1
            for around, place in zip(outer, inner, strict=True)
        )
        # Memory does not hang at a hardware thread.
        at_threads = kinds[1] == "PU" and any(place.memory for place in outer)
        if not is_same or at_threads:
            continue
        may_go = [
            level[0].kind not in ("Machine", "PU")
            and not any(place.group and place.group[1] for place in level)
            for level in (outer, inner)
        ]
        if not any(may_go):
            continue
        if all(may_go):
            outer_stays = STAYS.get(kinds[0], 10) >= STAYS.get(kinds[1], 10)
        else:
            outer_stays = may_go[1]
        for around, place in zip(outer, inner, strict=True):
            # One place for both, under the name of the one that stays.
            stays = around if outer_stays else place
            around.kind, around.group = stays.kind, stays.group
            around.memory = place.memory + around.memory
            around.gpus = place.gpus + around.gpus
            around.hidden |= place.hidden
            around.children = place.children
            for numa in around.memory:
                numa.domain = around
            for child in around.children:
                child.parent = around
        del levels[depth]
    return levels


def mapping(
    record: dict,
    ntasks: int,
    *,
    nthreads: int = 0,
    greedy: bool = True,
    gpu_optim: bool = True,
    smt: int = 0,
    restrict_ids: set[int] | None = None,
    restrict_type: str = "cpu",
    shown: set[int] | None = None,
) -> tuple[Node, list[Task]]:
    """Map tasks to a node; return the part of it that was mapped, and the tasks.

    `shown` are the GPUs that the job has, by place in the node's list; the others are not there.
    """
    node = Node(record)
    if shown is not None:
        node.take_away(set(node.gpus) - shown)
    node.keep_default_memory()
    if not 0 <= smt <= node.smt:
        raise Refused("smt")
    if restrict_ids is not None:
        node.restrict(restrict_ids, restrict_type)
    if greedy and ntasks < len(node.numas):
        homes = shares(len(node.numas), ntasks)
        tasks = [share_domains([node.numas[at].domain for at in home], nthreads) for home in homes]
    else:
        counts = tasks_of_domains(node, ntasks, gpu_optim)
        owner = [at for at, count in enumerate(counts) for _ in range(count)]
        homes = [range(at, at + 1) for at in owner]
        tasks = []
        for numa, count in zip(node.numas, counts, strict=True):
            if count:
                tasks += share_domain(node, numa.domain, count, nthreads, smt)
    deal_gpus_above(node, homes, tasks)
    return node, tasks


def share_domains(domains: list[Place], nthreads: int) -> Task:
    """Whole domains for one task (§ Fewer tasks than memory domains)."""
    cpus = set().union(*(domain.cpus for domain in domains))
    return Task(cpus, nthreads or len(cpus), {gpu for d in domains for gpu in gpus_below(d)})


def gpus_below(domain: Place) -> list[int]:
    return [gpu for place in domain.below() for gpu in place.gpus]


def tasks_of_domains(node: Node, ntasks: int, gpu_optim: bool) -> list[int]:
    """How many tasks each domain gets (§ Tasks to domains)."""
    weights = [0] * len(node.numas)
    if gpu_optim:
        for gpu in node.gpus:
            around = surroundings(node, gpu)
            for at, numa in enumerate(node.numas):
                weights[at] += around in numa.domain.below() or around in numa.domain.above()
    if not any(weights):
        weights = [len(numa.domain.cpus) for numa in node.numas]
    parts = [divmod(ntasks * weight, sum(weights)) for weight in weights]
    counts = [whole for whole, _ in parts]
    by_remainder = sorted(range(len(parts)), key=lambda at: (-parts[at][1], at))
    for at in by_remainder[: ntasks - sum(counts)]:
        counts[at] += 1
    return counts


def surroundings(node: Node, gpu: int) -> Place:
    """Where a GPU hangs, or the closest place above that has memory (§ GPUs above every domain)."""
    domains = [numa.domain for numa in node.numas]
    for place in node.gpus[gpu].above():
        if any(domain in place.above() or place in domain.above() for domain in domains):
            return place
    raise AssertionError("a node without memory")


def share_domain(node: Node, domain: Place, count: int, nthreads: int, smt: int) -> list[Task]:
    """Share the CPUs and GPUs of a domain among its tasks."""
    cores = node.inside(domain, node.core_depth) or node.inside(domain, -1)
    # § Threads.
    if not nthreads:
        available = len(domain.cpus) if smt >= node.smt else len(cores) * max(1, smt)
        nthreads = max(1, available // count)
    workers = nthreads * count
    # § The level: from the domain inwards, the first with enough objects.
    objects = cores
    if smt == 0:
        top = next(depth for depth, level in enumerate(node.levels) if domain in level)
        for depth in range(top, node.core_depth):
            found = node.inside(domain, depth)
            if len(found) >= workers:
                objects = found
                break
    # § CPUs: how many each object stands for.
    if smt:
        width = smt
    elif objects is not cores:
        width = 1
    else:
        enough = [width for width in range(1, node.smt) if len(cores) * width >= workers]
        width = min(enough, default=node.smt)
    contributed = [sorted(place.cpus)[:width] for place in objects]
    if len(objects) >= count:
        blocks = shares(len(objects), count)
        cpus = [{cpu for at in block for cpu in contributed[at]} for block in blocks]
    else:
        sizes = [len(block) for block in shares(count, len(objects))]
        room = [len(cpus) for cpus in contributed]
        sizes = move_on(sizes, room) if sum(room) >= count else sizes
        cpus = [
            set(own)
            for cpus, size in zip(contributed, sizes, strict=True)
            for own in (deal(cpus, size) if size else [])
        ]
    # § GPUs: the domain's own, in device order.
    own = [gpu for gpu in node.gpus if gpu in gpus_below(domain)]
    gpus = deal(own, count) if own else [[]] * count
    return [Task(mine, nthreads, set(theirs)) for mine, theirs in zip(cpus, gpus, strict=True)]


def move_on(sizes: list[int], room: list[int]) -> list[int]:
    """Where cores are unlike, tasks move on from those too small to those with room (§ CPUs)."""
    kept = [min(size, space) for size, space in zip(sizes, room, strict=True)]
    while sum(kept) < sum(sizes):
        for at, space in enumerate(room):
            if kept[at] < space and sum(kept) < sum(sizes):
                kept[at] += 1
    return kept


def deal_gpus_above(node: Node, homes: list[range], tasks: list[Task]) -> None:
    """Deal the GPUs above the domains, inner places first (§ GPUs above every domain)."""
    domains = [numa.domain for numa in node.numas]
    inside = {gpu for domain in domains for gpu in gpus_below(domain)}
    at_place: dict[Place, list[int]] = {}
    for gpu in node.gpus:
        if gpu not in inside:
            at_place.setdefault(surroundings(node, gpu), []).append(gpu)
    for place in [place for level in reversed(node.levels) for place in level if place in at_place]:
        near = [
            task
            for task, home in zip(tasks, homes, strict=True)
            if any(place in domains[at].above() for at in home)
        ]
        takers = [task for task in near if not task.gpus] or near
        if takers:
            for task, gpus in zip(takers, deal(at_place[place], len(takers)), strict=True):
                task.gpus.update(gpus)
