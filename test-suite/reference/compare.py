"""Compares the reference with the core on random nodes.

``--cases 1000000`` takes so many, on all CPUs; ``--first SEED`` looks at one case again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import warnings

import machines
import mapping

import mpibind
from mpibind import errors

CHUNK = 500


Answer = str | tuple[list[tuple[list[int], int, list[int]]], dict]
"""CPUs, threads and GPUs of each task and the shape of what was mapped, or what is not legal."""


def by_core(node: mpibind.Topology, record: dict, asked: dict) -> Answer:
    asked = {**asked}
    if "shown" in asked:
        shown = [str(record["gpus"][at]["index"]) for at in asked.pop("shown")]
        asked["environ"] = {"CUDA_VISIBLE_DEVICES": ",".join(shown)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            document = node.map(**asked).to_dict()
    except errors.InvalidParameterError as error:
        return str(error).partition("=")[0]
    except errors.TopologyError:
        return "topology"
    tasks = [(task["cpus"], task["nthreads"], task["gpu_places"]) for task in document["tasks"]]
    return tasks, mapping.Node(document["mapped"] or document["node"]).shape()


def by_reference(record: dict, asked: dict) -> Answer:
    sets = {"restrict_ids", "shown"}
    asked = {name: set(value) if name in sets else value for name, value in asked.items()}
    try:
        node, tasks = mapping.mapping(record, **asked)
    except mapping.Refused as refusal:
        return refusal.parameter
    listed = [
        (sorted(task.cpus), task.nthreads, [gpu for gpu in node.gpus if gpu in task.gpus])
        for task in tasks
    ]
    return listed, node.shape()


def difference(node: mpibind.Topology, record: dict, asked: dict) -> tuple[str, bool]:
    """Return what the two say differently, in words, and whether tasks were mapped."""
    answers = by_core(node, record, asked), by_reference(record, asked)
    is_mapped = not isinstance(answers[0], str)
    if answers[0] == answers[1]:
        return "", is_mapped
    lines = [f"asked {asked}"]
    if any(isinstance(answer, str) for answer in answers):
        lines += [str(answer) for answer in answers]
    else:
        (tasks, shape), (other_tasks, other_shape) = answers
        pairs = {f"task {at}": pair for at, pair in enumerate(zip(tasks, other_tasks, strict=True))}
        pairs |= {part: (shape[part], other_shape[part]) for part in shape}
        for name, (core, reference) in pairs.items():
            if core != reference:
                lines += [f"{name}: core {core}", f"{name}: reference {reference}"]
    return "\n".join(lines), is_mapped


def compare_seeds(seeds: range) -> tuple[int, str]:
    """Return how many cases of these seeds were mapped, and the smallest that differs, in words."""
    mapped, worst = 0, ""
    for seed in seeds:
        record, asked = machines.case(seed)
        text = json.dumps(record)
        node = mpibind.Topology.from_json(text)
        found, is_mapped = difference(node, record, asked)
        mapped += is_mapped
        if found and (not worst or len(found) < len(worst)):
            again = f"python test-suite/reference/compare.py --first {seed}"
            worst = f"{again}\n{text}\n{found}"
    return mapped, worst


def compare(cases: int, first: int | None = None) -> tuple[int, str]:
    """Compare random cases on all CPUs, until there is one that differs.

    Without a `first` seed, cases are others each time. Return as `compare_seeds` does.
    """
    first = random.randrange(1 << 40) if first is None else first
    starts = range(first, first + cases, CHUNK)
    chunks = [range(start, min(start + CHUNK, first + cases)) for start in starts]
    mapped = 0
    # Not by fork: a library may have threads.
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        for count, worst in pool.imap_unordered(compare_seeds, chunks):
            mapped += count
            if worst:
                return mapped, worst
    return mapped, ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, help="seed of the first case (default: at random)")
    parser.add_argument("--cases", type=int, default=1, help="how many (default: %(default)s)")
    chosen = parser.parse_args()
    mapped, worst = compare(chosen.cases, chosen.first)
    print(worst or f"core and reference agree on {chosen.cases} cases, {mapped} of them mapped")
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())
