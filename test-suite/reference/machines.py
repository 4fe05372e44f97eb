"""Random nodes and requests, each from a seed, in the dicts of docs/json.md.

Nodes are such as discovery could have found them: siblings are in the order of their first CPU,
devices in that of their places, and levels that add no structure are merged. Beyond that anything
goes: unlike packages and cores, missing cores and caches, holes in numbering, CPUs that may not be
used, memory at any height, overlapping or without CPUs, CPUs without memory, GPUs anywhere.
"""

from __future__ import annotations

from random import Random

from mapping import Memory, Node, Place, levels_of, merged

# From the outside in. Groups are told apart by hwloc's depth of them.
KINDS = [("Package",), ("Group", 0), ("Die",), ("L3",), ("Group", 1), ("L2",), ("L1",), ("Core",)]


def case(seed: int) -> tuple[dict, dict]:
    """Return the node of a seed, and what is asked of it: the parameters of `Topology.map`."""
    random = Random(seed)
    record = node(random)
    return record, request(random, record)


def node(random: Random) -> dict:
    root = tree(random)
    add_memory(random, root)
    add_gpus(random, root)
    return written(merged(levels_of(root)))


def tree(random: Random) -> Place:
    """Objects and CPUs."""
    root = Place("Machine")
    kinds = sorted(random.sample(KINDS, random.choice([1, 2, 2, 3, 3, 4, 5])), key=KINDS.index)
    if random.random() < 0.8 and ("Core",) not in kinds:
        kinds.append(("Core",))
    likes = random.choice([0, 0, 0.1, 0.4])  # how often an object is unlike its cousins
    widths = {kind: random.choice([1, 2, 2, 3, 4]) for kind in kinds}
    threads = random.choice([1, 1, 2, 2, 2, 4, 8])
    keep = random.random() < 0.3

    def grow(around: Place, kinds: list[tuple], budget: int) -> None:
        if kinds and random.random() < likes / 4:
            kinds = kinds[1:]  # a cache, a core, that is not there
        kind, *below = kinds or [("PU",)]
        count = widths[kind] if kinds else threads
        if random.random() < likes:
            count = random.randint(1, 5)
        for _ in range(max(1, min(count, budget))):
            place = Place(kind[0], (kind[1], keep) if kind[0] == "Group" else None, around)
            around.children.append(place)
            if kinds:
                grow(place, below, budget // count)

    grow(root, kinds, random.choice([8, 32, 128]))
    number(random, root)
    return root


def number(random: Random, root: Place) -> None:
    """Give OS ids to CPUs, hide some, and put siblings in order."""
    threads = [place for place in root.below() if place.kind == "PU"]
    ids = numbers(random, [place.parent.children.index(place) for place in threads])
    hide = random.choice([0, 0, 0, 0.1])
    for place, cpu in zip(threads, ids, strict=True):
        if random.random() < hide and place is not threads[0]:
            place.parent.children.remove(place)
            place.parent.hidden.add(cpu)
        else:
            for around in place.above():
                around.cpus.add(cpu)
    firsts = {}
    for place in root.below():
        for child in [child for child in place.children if not child.cpus]:
            place.children.remove(child)
            place.hidden |= child.hidden
        firsts[place] = min([*place.cpus, *place.hidden, *map(firsts.get, place.children)])
        place.children.sort(key=firsts.get)


def numbers(random: Random, turns: list[int]) -> list[int]:
    """OS ids: in order, turn by turn (first threads first), with holes, at random."""
    ids = list(range(len(turns)))
    match random.choice(["in order", "turns", "turns", "holes", "random"]):
        case "turns":
            order = sorted(ids, key=turns.__getitem__)
            ids.sort(key=order.__getitem__)
        case "holes":
            step = random.randint(2, 5)
            ids = [3 + at * step for at in ids]
        case "random":
            ids = random.sample(range(len(ids) * random.choice([1, 2])), len(ids))
    return ids


def add_memory(random: Random, root: Place) -> None:
    """Memory at one height, less some, and more at any."""
    places = [place for place in root.below() if place.kind != "PU"]
    heights = sorted({(place.kind, place.group) for place in places}, key=str)
    spots = []
    height = random.choice(heights)
    while not spots:
        lack = random.choice([0, 0, 0, 0.3])
        spots = [p for p in places if (p.kind, p.group) == height and random.random() >= lack]
    if random.random() < 0.15:
        spots += random.choices(places, k=random.randint(1, 2))
    kinds = random.choice([[None], [None], ["DRAM", "HBM"], ["DRAM", None]])
    nodes = [(spot, random.choice(kinds) if random.random() < 0.1 else kinds[0]) for spot in spots]
    if len(kinds) > 1 or random.random() < 0.1:
        nodes += [(spot, kinds[-1]) for spot in spots if random.random() < 0.9]
    indexes = numbers(random, [int(kind == "HBM") for _, kind in nodes])
    for (spot, kind), index in zip(nodes, indexes, strict=True):
        spot.memory.append(Memory(index, kind, spot.cpus, spot))
    for _ in range(random.choice([0, 0, 0, 1, 2])):
        index = 1 + max(numa.os_index for place in places for numa in place.memory)
        root.memory.append(Memory(index, random.choice([None, "CXL"]), set(), root))
    for place in places:
        place.memory.sort(key=lambda numa: numa.os_index)


def add_gpus(random: Random, root: Place) -> None:
    """GPUs at one height, anywhere, or nowhere."""
    places = [place for place in root.below() if place.kind != "PU"]
    kind = random.choice(places).kind
    if random.random() < 0.5:
        places = [place for place in places if place.kind == kind]
    count = random.choice([0, 0, 1, 2, 3, 4, 8, 13])
    chosen = random.choices(range(len(places)), k=count)
    for number, at in enumerate(chosen):
        places[at].gpus.append(number)


def written(levels: list[list[Place]]) -> dict:
    """Write a node as `Topology.to_dict` does."""
    places = [place for level in levels for place in level]
    at = {place: position for position, place in enumerate(places)}
    order = levels[0][0].below()
    return {
        "format": "mpibind topology",
        "version": 1,
        "origin": "a random node",
        "levels": [
            {
                "kind": level[0].kind,
                "os_indexes": [min(place.cpus) if place.kind == "PU" else None for place in level],
                "parents": [at[place.parent or place] for place in level],
                **({"groups": [place.group for place in level]} if level[0].group else {}),
            }
            for level in levels
        ],
        "numas": [
            {
                "os_index": numa.os_index,
                "subtype": numa.subtype,
                "memory": 0,
                "cpus": ",".join(map(str, sorted(numa.cpus))),
                "object": at[place],
            }
            for place in order
            for numa in place.memory
        ],
        "gpus": [
            gpu(number, at[place])
            for number, place in enumerate(place for place in order for _ in place.gpus)
        ],
        "nics": [],
        "uncounted": [],
        "notes": [],
        "hidden_cpus": [[cpu, at[place]] for place in places for cpu in sorted(place.hidden)],
    }


def gpu(number: int, place: int) -> dict:
    nothing = dict.fromkeys(["os_name", "model", "uuid", "pci", "ordinal", "device_file"])
    return {
        "index": number,
        "vendor": "NVIDIA",
        "name": f"gpu{number}",
        "tiles": 1,
        "first_tile": number,
        "found": "made up",
        "object": place,
        **nothing,
    }


def request(random: Random, record: dict) -> dict:
    """Any request, most of them legal."""
    cpus = record["levels"][-1]["os_indexes"]
    numas = [numa["os_index"] for numa in record["numas"]]
    counts = [len(level["parents"]) for level in record["levels"]]
    counts += [len(numas), 3 * len(numas), len(record["gpus"])]
    few, some, many = random.randint(1, 4), random.randint(1, 30), random.randint(100, 200)
    near = max(1, random.choice(counts) + random.randint(-2, 2))
    width = Node(record).smt
    asked = {
        "ntasks": random.choices([few, some, near, many], [3, 3, 4, 0.5])[0],
        "nthreads": random.choice([0, 0, 0, random.randint(1, 5), random.randint(1, 100)]),
        "greedy": random.random() < 0.4,
        "gpu_optim": random.random() < 0.7,
        "smt": random.choice([0, 0, random.randint(1, width)]),
    }
    if random.random() < 0.03:
        asked["smt"] = width + 1
    how = random.choice(["", "", "cpus", "runs", "mem"])
    if how == "cpus":
        share = random.random()
        asked["restrict_ids"] = [cpu for cpu in cpus if random.random() < share] or cpus[:1]
    elif how == "runs":
        starts = [random.randrange(len(cpus)) for _ in range(random.randint(1, 4))]
        runs = [cpus[start : start + random.randint(1, 12)] for start in starts]
        asked["restrict_ids"] = sorted({cpu for run in runs for cpu in run})
    elif how == "mem":
        asked["restrict_ids"] = random.choices([*numas, 99], k=random.randint(1, 3))
        asked["restrict_type"] = "mem"
    if how in ("cpus", "runs") and random.random() < 0.2:
        asked["restrict_ids"] += [cpu for cpu, _ in record["hidden_cpus"]] + [9999]
    # The job's own GPUs: those that its variables show.
    if record["gpus"] and random.random() < 0.2:
        asked["shown"] = [at for at in range(len(record["gpus"])) if random.random() < 0.6]
    return asked
