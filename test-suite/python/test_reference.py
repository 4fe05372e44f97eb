"""The core maps as the reference does, which was written from docs/mapping.md alone."""

import itertools
import json
import os
import random
import sys
import unittest
from pathlib import Path

import support

sys.path.insert(0, str(support.ROOT / "test-suite" / "reference"))
import compare
import mapping

import mpibind

# Random nodes in a run of the tests; `make check-long` takes more.
CASES = 20_000
# Of each machine of the collection.
REQUESTS = 80


def requests(node: mpibind.Topology, record: dict) -> list[dict]:
    """Return requests to a machine from all that can be asked of it, the same ones each time."""
    cpus = record["levels"][-1]["os_indexes"]
    numas = [numa["os_index"] for numa in record["numas"]]
    gpus = range(len(record["gpus"]))
    # How other vendors' variables are read is tested elsewhere.
    is_nvidia = all(gpu["vendor"] == "NVIDIA" for gpu in record["gpus"])
    axes = {
        "ntasks": sorted({1, 2, 3, 5, 8, node.nnumas, node.ncores + 1, node.npus, node.npus + 3}),
        "smt": range(node.smt + 1),
        "greedy": [True, False],
        "nthreads": [0, 1, 3, 40],
        "gpu_optim": [True, False],
        "restrict": [
            None,
            ("cpu", cpus[: len(cpus) // 2]),
            ("cpu", cpus[1::3]),
            ("mem", numas[-1:]),
        ],
        "shown": [None, [*gpus][1::2]] if gpus and is_nvidia else [None],
    }
    chosen = random.Random(record["origin"]).sample([*itertools.product(*axes.values())], REQUESTS)
    asked = [dict(zip(axes, values, strict=True)) for values in chosen]
    for one in asked:
        restrict = one.pop("restrict")
        if restrict and restrict[1]:
            one["restrict_type"], one["restrict_ids"] = restrict
        if one["shown"] is None:
            del one["shown"]
    return asked


class Reference(unittest.TestCase):
    def test_the_collection(self):
        for machine in support.MACHINES:
            with self.subTest(machine=machine.stem):
                node = mpibind.Topology.from_xml(machine)
                record = node.to_dict()
                for asked in requests(node, record):
                    found, _ = compare.difference(node, record, asked)
                    self.assertFalse(found, found)

    def test_random_nodes(self):
        mapped, worst = compare.compare(CASES)
        self.assertFalse(worst, worst)
        # The rest is refused, by both.
        self.assertGreater(mapped, CASES * 0.8)

    def test_the_classic_librarys_answers(self):
        """The reference gives all recorded mappings of the classic library, where they are at hand.

        The corpus is not part of this project; the tests of the core say more of it.
        """
        given = os.environ.get("MPIBIND_CONFORMANCE")
        folder = Path(given or support.ROOT.parent / "shared" / "conformance")
        if not (folder / "cases.jsonl").is_file():
            self.skipTest("there is no conformance corpus; MPIBIND_CONFORMANCE may say where it is")
        records: dict[str, dict] = {}
        for line in (folder / "cases.jsonl").read_text().splitlines():
            case = json.loads(line)
            name = case["topology"]
            if name not in records:
                node = mpibind.Topology.from_xml(folder / "topologies" / name)
                records[name] = node.to_dict()
            asked = case["params"]
            ids = asked.pop("restrict_ids")
            ids = None if ids is None else mapping.ids_of(ids)
            _, tasks = mapping.mapping(records[name], restrict_ids=ids, **asked)
            self.assertEqual([t.nthreads for t in tasks], case["nthreads"], case)
            self.assertEqual([t.cpus for t in tasks], [*map(mapping.ids_of, case["cpus"])], case)
            if "gpus" in case:
                numbers = [gpu["index"] for gpu in records[name]["gpus"]]
                gpus = [sorted(numbers[gpu] for gpu in task.gpus) for task in tasks]
                classic = [sorted(int(gpu) for gpu in gpus) for gpus in case["gpus"]]
                self.assertEqual(gpus, classic, case)


if __name__ == "__main__":
    support.main()
