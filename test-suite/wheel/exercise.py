"""Run with a Python that has the wheel: map a node's XML, draw it, bind to this machine's CPUs.

Argument: the file of the node. It needs no other file of the project, and prints one line of JSON.
"""

import json
import os
import sys
import threading
from pathlib import Path

import mpibind
from mpibind import _core

NODE = sys.argv[1]

node = mpibind.Topology.from_xml(NODE)
mapping = node.map(8)
assert "<svg" in mapping.to_svg()
# What hwloc writes itself, it reads.
Path("again.xml").write_text(node.to_xml())
assert mpibind.Topology.from_xml("again.xml").map(8) == mapping

# From many threads at once: nothing is shared that changes.
found = []
threads = [
    threading.Thread(target=lambda: found.append(mpibind.Topology.from_xml(NODE).map(8) == mapping))
    for _ in range(16)
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert found == [True] * 16, found

here = mpibind.Topology().map(1)
saved = here.apply(0)
assert sorted(os.sched_getaffinity(0)) == here.cpus[0].tolist()
saved.restore()
print(
    json.dumps(
        {
            "file": _core.__file__,
            "gpus": [list(gpus) for gpus in mapping.gpus],
            "python": sys.version.split()[0],
        }
    )
)
