"""Bad input of every kind: a clear error each time, and nothing changed.

Each case runs in a process of its own, so that a crash or a hang is that case's, and so that
whatever libhwloc might write to the terminal is seen.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import support

import mpibind

NODE = 'mpibind.Topology.from_synthetic("package:2 [numa] core:4 pu:2", gpus=[1, 1])'
HANDLE = "mpibind.MpibindHandle"
ENDLESS = "__import__('itertools').count()"

# What is tried, the kinds of error that are right, and words that the message must have.
TABLE = [
    # files
    (
        "mpibind.Topology.from_xml(folder + '/missing.xml')",
        "TopologyError",
        "missing.xml",
        "No such file",
    ),
    ("mpibind.Topology.from_xml(folder + '/empty.xml')", "TopologyError", "empty.xml", "is empty"),
    ("mpibind.Topology.from_xml(folder + '/truncated.xml')", "TopologyError", "cut off"),
    ("mpibind.Topology.from_xml(folder + '/text.xml')", "TopologyError", "not well-formed XML"),
    ("mpibind.Topology.from_xml(folder + '/other.xml')", "TopologyError", "<html>", "<topology>"),
    ("mpibind.Topology.from_xml(folder + '/hollow.xml')", "TopologyError", "without objects"),
    ("mpibind.Topology.from_xml(folder + '/nocpus.xml')", "TopologyError", "nocpus.xml"),
    ("mpibind.Topology.from_xml(folder + '/noise.xml')", "TopologyError", "noise.xml"),
    ("mpibind.Topology.from_xml(folder + '/letters.xml')", "TopologyError", "letters.xml"),
    ("mpibind.Topology.from_xml(folder)", "TopologyError", "not a regular file"),
    ("mpibind.Topology.from_xml(folder + '/pipe')", "TopologyError", "not a regular file"),
    ("mpibind.Topology.from_xml('/dev/zero')", "TopologyError", "not a regular file"),
    ("mpibind.Topology.from_xml(3)", "TypeError", "path must be a path, not 3 (int)"),
    ("mpibind.Topology.from_xml('a\\0b')", "TopologyError", "cannot be opened"),
    (f"{HANDLE}(4, topology_file=folder + '/truncated.xml').mpibind()", "TopologyError", "cut off"),
    (f"{HANDLE}(4, topology_file=7)", "TypeError", "topology_file", "7 (int)"),
    ("mpibind.topology_set_xml(folder + '/missing.xml')", "TopologyError", "missing.xml"),
    (
        "set_env(MPIBIND_TOPOFILE='/nosuch'), mpibind.Topology()",
        "TopologyError",
        "from MPIBIND_TOPOFILE",
    ),
    ("set_env(HWLOC_XMLFILE=folder), mpibind.Topology()", "TopologyError", "from HWLOC_XMLFILE"),
    (
        "set_env(HWLOC_SYNTHETIC='foo:2'), mpibind.Topology()",
        "TopologyError",
        "from HWLOC_SYNTHETIC",
    ),
    ("set_env(HWLOC_FSROOT='/nosuch'), mpibind.Topology()", "TopologyError", "from HWLOC_FSROOT"),
    # a job whose cpuset has CPUs of one NUMA node and memory of another
    (
        "mpibind.Topology.from_json(open(folder + '/apart.json').read()).map(2)",
        "TopologyError",
        "none of its NUMA nodes has CPUs",
        "cpus and mems",
    ),
    # synthetic text
    ("mpibind.Topology.from_synthetic('foo:3')", "TopologyError", '"foo:3"', "does not understand"),
    ("mpibind.Topology.from_synthetic('')", "TopologyError", "does not understand"),
    ("mpibind.Topology.from_synthetic('package:-2 pu:1')", "TopologyError", "does not understand"),
    ("mpibind.Topology.from_synthetic('package:2 (((')", "TopologyError", "does not understand"),
    ("mpibind.Topology.from_synthetic('core:100000 pu:100000')", "TopologyError", "too big"),
    ("mpibind.Topology.from_synthetic('pu:99999999999999999999')", "TopologyError", "too big"),
    ("mpibind.Topology.from_synthetic(5)", "TypeError", "text must be text, not 5 (int)"),
    (
        "mpibind.Topology.from_synthetic('core:2 pu:1', gpus=[1, 1])",
        "ValueError",
        "gpus=[1, 1]",
        "1 NUMA",
    ),
    (
        "mpibind.Topology.from_synthetic('core:2 pu:1', gpus=[-1])",
        "ValueError",
        "gpus=[-1]",
        "0 to 1024",
    ),
    (
        "mpibind.Topology.from_synthetic('core:2 pu:1', gpus=[10**9])",
        "ValueError",
        "gpus",
        "0 to 1024",
    ),
    ("mpibind.Topology.from_synthetic('core:2 pu:1', gpus='ab')", "TypeError", "gpus"),
    ("mpibind.Topology.from_synthetic('pu:2', gpus=None)", "TypeError", "gpus must be", "None"),
    (f"mpibind.Topology.from_synthetic('pu:2', gpus={ENDLESS})", "ValueError", "gpus=count("),
    # names of files to write and to read
    (f"{NODE}.map(1).to_json('a\\0b')", "ValueError", r"path='a\x00b'", "no file can have"),
    (f"{NODE}.to_svg('\\ud800')", "ValueError", r"path='\ud800'", "no file can have"),
    (
        "mpibind.Mapping.from_json(__import__('pathlib').Path('a\\0b'))",
        "ValueError",
        "text=PosixPath",
        "no file can have",
    ),
    # numbers
    (f"{NODE}.map(0)", "ValueError", "ntasks=0", "1 to 1048576"),
    (f"{NODE}.map(-1)", "ValueError", "ntasks=-1", "1 to 1048576"),
    (f"{NODE}.map(10**9)", "ValueError", "ntasks=1000000000", "1 to 1048576"),
    (f"{NODE}.map(10**40)", "ValueError", "ntasks=9223372036854775807 or more", "1 to 1048576"),
    (f"{NODE}.map('4')", "TypeError", "ntasks must be an integer, not '4' (str)"),
    (f"{NODE}.map(2.5)", "TypeError", "ntasks must be an integer, not 2.5 (float)"),
    (f"{NODE}.map(None)", "TypeError", "ntasks must be an integer, not None"),
    (f"{NODE}.map(4, nthreads=-1)", "ValueError", "nthreads=-1", "0 to"),
    (f"{NODE}.map(4, nthreads='2')", "TypeError", "nthreads must be an integer"),
    (f"{NODE}.map(4, smt=99)", "ValueError", "smt=99", "0 to 2"),
    (f"{NODE}.map(4, smt=-1)", "ValueError", "smt=-1", "0 to"),
    (f"{NODE}.map(4, greedy='yes')", "TypeError", "greedy must be True or False, not 'yes'"),
    (f"{NODE}.map(4, gpu_optim=2)", "TypeError", "gpu_optim must be True or False, not 2"),
    (f"{HANDLE}(ntasks=0)", "ValueError", "ntasks=0"),
    (f"{HANDLE}(ntasks=None)", "TypeError", "ntasks"),
    (f"{HANDLE}(ntasks='4')", "TypeError", "ntasks must be an integer, not '4' (str)"),
    (f"{HANDLE}().mpibind()", "ValueError", "ntasks", "set it before"),
    # restrictions
    (f"{NODE}.map(4, restrict_ids='3-x')", "ValueError", 'restrict_ids="3-x"', '"x"', "0-3,8"),
    (f"{NODE}.map(4, restrict_ids='5-2')", "ValueError", 'restrict_ids="5-2"', "backwards"),
    (f"{NODE}.map(4, restrict_ids='')", "ValueError", 'restrict_ids=""', "empty"),
    (f"{NODE}.map(4, restrict_ids='999999')", "ValueError", 'restrict_ids="999999"', "0-15"),
    (f"{NODE}.map(4, restrict_ids=folder)", "ValueError", "restrict_ids", "0-3,8"),
    (f"{NODE}.map(4, restrict_ids=[])", "ValueError", "restrict_ids", "empty"),
    (f"{NODE}.map(4, restrict_ids=[-1])", "ValueError", "restrict_ids"),
    (f"{NODE}.map(4, restrict_ids=5)", "TypeError", "restrict_ids must be text"),
    (f"{NODE}.map(4, restrict_ids=b'0-3')", "TypeError", "restrict_ids must be text"),
    (f"{NODE}.map(4, restrict_ids='7', restrict_type='mem')", "ValueError", "NUMA nodes", "0-1"),
    (f"{NODE}.map(4, restrict_type='numa')", "ValueError", "restrict_type", '"cpu" or "mem"'),
    (f"{NODE}.map(4, restrict_type=0)", "TypeError", "restrict_type must be text"),
    (f"{HANDLE}(4, restrict_type=2)", "ValueError", "restrict_type=2", "MPIBIND_RESTRICT_MEM"),
    (f"{HANDLE}(4, restrict_type=1.0)", "TypeError", "restrict_type"),
    (f"{HANDLE}(4, restrict_ids=b'0-3')", "TypeError", "restrict_ids must be text"),
    # iterators: some never end, and what they raise is theirs
    (f"{NODE}.map(1, restrict_ids={ENDLESS})", "ValueError", "restrict_ids=count(", "1048576"),
    (f"{HANDLE}(4, restrict_ids={ENDLESS})", "ValueError", "restrict_ids=[0, 1,", "1048576"),
    (f"{NODE}.map(1, restrict_ids=(1 // 0 for _ in 'a'))", "ZeroDivisionError"),
    (f"{NODE}.map(1, restrict_ids=(len(1) for _ in 'a'))", "TypeError", "has no len()"),
    (f"{HANDLE}(4, restrict_ids=(len(1) for _ in 'a'))", "TypeError", "has no len()"),
    (f"{NODE}.map(Raising())", "ZeroDivisionError"),
    (f"{NODE}.map(1, greedy=Raising())", "ZeroDivisionError"),
    (f"{NODE}.map(1, restrict_ids=[Raising()])", "ZeroDivisionError"),
    # text that only Python can hold: bytes of a command line that are none
    (f"{NODE}.map(1, restrict_ids='\\udcff')", "ValueError", r"restrict_ids='\udcff'", "UTF-8"),
    (f"{NODE}.map(1, restrict_type='\\udcff')", "ValueError", r"restrict_type='\udcff'", "UTF-8"),
    (f"{NODE}.map(1, gpu_ids='\\udcff')", "ValueError", r"gpu_ids='\udcff'", "UTF-8"),
    (f"{NODE}.map(1).env(0, visible='\\udcff')", "ValueError", r"visible='\udcff'", "UTF-8"),
    ("mpibind.Topology.from_synthetic('\\udcff')", "ValueError", r"text='\udcff'", "UTF-8"),
    ("mpibind.Topology.from_json('\\udcff')", "ValueError", r"text='\udcff'", "UTF-8"),
    ("mpibind.Topology.from_xml('\\ud800')", "ValueError", r"path='\ud800'", "UTF-8"),
    # names of GPUs
    (f"{NODE}.map(4, gpu_ids='uid')", "ValueError", "gpu_ids", '"uuid"'),
    (f"{NODE}.map(4, gpu_ids='uuid')", "DeviceError", "gpu0", "no UUID", 'gpu_ids="index"'),
    (f"{HANDLE}(4).set_gpu_ids(1)", "ValueError", "id_type=1", "MPIBIND_ID_UNIV"),
    (f"{HANDLE}(4).set_gpu_ids(None)", "TypeError", "id_type"),
    # tasks
    (f"{NODE}.map(4).apply(4)", "ValueError", "taskid=4", "0 to 3"),
    (f"{NODE}.map(4).apply(-1)", "ValueError", "taskid=-1", "0 to 3"),
    (f"{NODE}.map(4).env('0')", "TypeError", "taskid must be an integer"),
    ("mapped.get_cpus_ptask(4)", "ValueError", "taskid=4", "0 to 3"),
    ("mapped.get_gpus_ptask(-1)", "ValueError", "taskid=-1", "0 to 3"),
    ("mapped.apply(99)", "ValueError", "taskid=99", "0 to 3"),
    ("mapped.apply('0')", "TypeError", "taskid must be an integer"),
    ("mapped.mapping_ptask_snprint(4)", "ValueError", "taskid=4"),
    ("mapped.mapping_snprint(size='9')", "TypeError", "size"),
    ("mapped.pop_cpus_ptask(0, 999)", "ValueError", "ncpus=999", "to leave task 0 a CPU"),
    ("mapped.pop_cpus_ptask(0, -1)", "ValueError", "ncpus=-1"),
    ("mapped.pop_cores_ptask(0, 999)", "ValueError", "ncores=999", "to leave task 0 a core"),
    ("mapped.set_env_vars(), mapped.get_env_var_values([])", "TypeError", "name must be text"),
    # binding elsewhere
    (
        "mpibind.Topology.from_synthetic('package:8 core:150 pu:1').map(1).apply(0)",
        "AffinityError",
        "does not have",
    ),
    ("mpibind._core.bind('')", "ValueError", "cpus", "empty"),
]
# Getters too early, and a handle used too late.
for _call in [
    "get_cpus_ptask(0)", "get_gpus_ptask(0)", "get_num_gpus()", "mapping_print()",
    "mapping_snprint()",
    "mapping_ptask_snprint(0)", "set_env_vars()", "env_vars_print()", "get_env_var_names()",
    "get_env_var_values('A')", "apply(0)", "pop_cpus_ptask(0, 1)", "pop_cores_ptask(0, 1)",
]:  # fmt: skip
    TABLE.append((f"{HANDLE}(4).{_call}", "MpibindError", "call mpibind()"))
    TABLE.append((f"mapped.finalize(), mapped.{_call}", "MpibindError", "finalized"))

PROGRAM = """
import json, os, sys
import mpibind

folder, expression = sys.argv[1:]
mapped = mpibind.MpibindHandle(4, topology_file=folder + "/good.xml")
mapped.mpibind()
set_env = lambda **variables: os.environ.update(variables)

class Raising:
    def __index__(self):
        return 1 // 0

def state():
    tids = os.listdir("/proc/self/task")
    return [sorted(os.sched_getaffinity(int(tid))) for tid in tids]

before, variables = state(), dict(os.environ)
result = dict(error=None, message="", kinds=[])
try:
    eval(expression)
except Exception as error:
    kinds = [kind.__name__ for kind in type(error).__mro__]
    result = dict(message=str(error), kinds=kinds)
now = {name: value for name, value in os.environ.items() if f"{name}=" not in expression}
then = {name: value for name, value in variables.items() if f"{name}=" not in expression}
print(json.dumps(dict(result, untouched=state() == before and now == then)))
"""


def make_files(folder: Path) -> None:
    good = support.WORKED_EXAMPLE.read_text()
    noise = random.Random(1)
    apart = mpibind.Topology.from_synthetic("numa:2 core:2 pu:2").to_dict()
    for numa in apart["numas"]:
        numa["cpus"] = ""
    files = {
        "good.xml": good.encode(),
        "empty.xml": b"",
        "truncated.xml": good[: len(good) // 2].encode(),
        "text.xml": b"0-3,8\n",
        "other.xml": b"<?xml version='1.0'?><html><body/></html>",
        "hollow.xml": b"<topology version='2.0'/>",
        "nocpus.xml": b"<topology version='2.0'><object type='Machine' os_index='0'/></topology>",
        "apart.json": json.dumps(apart).encode(),
        "noise.xml": noise.randbytes(50_000_000),
        "letters.xml": b"<topology" * 5_500_000,
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe")


class BadInput(unittest.TestCase):
    def test_every_case_of_the_table(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_files(folder)
            for expression, kind, *words in TABLE:
                with self.subTest(expression):
                    self.check(folder, expression, kind, words)

    def check(self, folder: Path, expression: str, kind: str, words: list[str]) -> None:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder), expression],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(len(done.stdout.splitlines()), 1, done.stdout)
        result = json.loads(done.stdout)
        self.assertIn(kind, result["kinds"], result)
        for word in words:
            self.assertIn(word, result["message"])
        # One line that a person can read.
        self.assertNotIn("\n", result["message"])
        self.assertLess(len(result["message"]), 400)
        self.assertTrue(result["untouched"], "affinity or environment changed")


if __name__ == "__main__":
    support.main()
