"""Runs the fuzz targets of rust/fuzz one after another, each for some time.

    python tools/fuzz.py --seconds 600 xml json

What they learn is kept in target/fuzz and used the next time. A finding is left there, too, with
the command that shows it again; then the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "fuzz"
MACHINES = ROOT / "test-suite" / "topologies"
sys.path[:0] = [str(ROOT), str(MACHINES)]

import generate
import trees

import mpibind
from mpibind import _core

# On a disk, writing takes most of the time.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
# Files that are larger make a fuzzer slow.
LARGEST = 50_000
# What a run may take, in seconds and megabytes, before it is a finding.
LIMITS = ["-timeout=60", "-rss_limit_mb=2048"]

LISTS = ["0", "0-3", "0-3,8,10-11", "36-71", "1000000", "0,0,1-1", " 1 , 2 ", "5-2"]
TEXTS = [
    "2,0\npackage:2 [numa] core:18 pu:2(indexes=2*36:1*2)",
    "\nnuma:4(memory=1GiB) l3:2 l2:2 core:2 pu:2",
    "1\n4 2 2",
    "0,3\npackage:2 [numa] die:2 [numa] group:2 core:2 pu:1(indexes=core:numa)",
]
VARIABLES = [
    "CUDA_VISIBLE_DEVICES=0,3\nCUDA_DEVICE_ORDER=PCI_BUS_ID",
    "CUDA_VISIBLE_DEVICES=GPU-0\n\nCUDA_VISIBLE_DEVICES=1,MIG-2",
    "ROCR_VISIBLE_DEVICES=0,1,4\nHIP_VISIBLE_DEVICES=2\n\nROCR_VISIBLE_DEVICES=5",
    "ZE_AFFINITY_MASK=0.1,2\nZE_FLAT_DEVICE_HIERARCHY=COMPOSITE",
    "MPIBIND=v:1,greedy:0,smt:2,nics,visdevs\nMPIBIND_RESTRICT=0-3,8\nMPIBIND_RESTRICT_TYPE=mem",
    "SLURM_STEP_ID=0\nSLURM_NODEID=1\nSLURM_STEP_TASKS_PER_NODE=4(x2),3\nSLURM_LOCALID=2",
    "OMPI_COMM_WORLD_LOCAL_RANK=1\nOMPI_COMM_WORLD_LOCAL_SIZE=2\nPMI_RANK=1\nMPI_LOCALRANKID=1",
    "ZE_AFFINITY_MASK=3,11\nZE_FLAT_DEVICE_HIERARCHY=FLAT\nVISIBLE_DEVICES=",
]


def small_machines() -> list[mpibind.Topology]:
    """Load the machines whose files are small enough to start from."""
    files = [file for file in sorted(MACHINES.glob("*.xml")) if file.stat().st_size < LARGEST]
    return [mpibind.Topology.from_xml(file) for file in files]


def seeds(target: str, tree: Path) -> list[str]:
    """Good input, which the fuzzer changes."""
    match target:
        case "xml":
            files = [*MACHINES.glob("*.xml"), *(ROOT / "rust" / "fuzz" / "seeds").glob("*.xml")]
            return [file.read_text() for file in files if file.stat().st_size < LARGEST]
        case "json":
            nodes = small_machines()
            halves = [_core.ids_of(node.cpus)[::2] for node in nodes]
            pairs = zip(nodes, halves, strict=True)
            mappings = [node.map(3, restrict_ids=half).to_json() for node, half in pairs]
            return [node.to_json() for node in nodes] + mappings
        case "cache":
            texts = [node.to_json() for node in small_machines()]
            return [f"\0key\n{text}" for text in texts] + ["mpibind node 0 4\nkey\n"]
        case "synthetic":
            return TEXTS
        case "lists":
            return LISTS
        case "environment":
            return VARIABLES
        case "tree":
            count = sum(1 for path in tree.rglob("*") if path.is_file())
            texts = ["0\n", "1", "0-3\n", "NVRM version: 1\n", "unique_id 1\nlocation_id 768\n"]
            return [f"{number}\n{text}" for number in range(0, count, 7) for text in texts]
    raise ValueError(target)


def run(target: str, seconds: int, sanitizer: str) -> bool:
    """Run a target; return whether it found nothing."""
    corpus, findings = WORK / "corpus" / target, WORK / "findings" / target
    with tempfile.TemporaryDirectory(dir=MEMORY) as scratch:
        tree, start = Path(scratch, "tree"), Path(scratch, "seeds")
        for folder in (corpus, findings, start):
            folder.mkdir(parents=True, exist_ok=True)
        if target == "tree":
            trees.write(generate.desktop_amd_nvidia(), tree)
        for number, text in enumerate(seeds(target, tree)):
            (start / f"{number}").write_text(text)
        variables = {**os.environ, "CARGO_TARGET_DIR": str(WORK), "HWLOC_HIDE_ERRORS": "2"}
        if target == "tree":
            variables["HWLOC_FSROOT"] = str(tree)
        command = ["cargo", "fuzz", "run", "--fuzz-dir", ".", "--sanitizer", sanitizer, target]
        command += [str(corpus), str(start), "--", f"-artifact_prefix={findings}/", *LIMITS]
        command += [f"-max_total_time={seconds}", "-print_final_stats=1"]
        print("+", *command, flush=True)
        done = subprocess.run(command, cwd=ROOT / "rust" / "fuzz", env=variables, check=False)
    return done.returncode == 0


def main() -> int:
    """Run the targets that are asked for."""
    targets = sorted(path.stem for path in (ROOT / "rust" / "fuzz" / "targets").glob("*.rs"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600, help="for each (default: %(default)s)")
    parser.add_argument(
        "--sanitizer",
        default="none",
        help="address, for one, takes a nightly compiler: RUSTUP_TOOLCHAIN=nightly (default: none)",
    )
    parser.add_argument("targets", nargs="*", metavar="target", help=f"of {', '.join(targets)}")
    chosen = parser.parse_args()
    if unknown := set(chosen.targets) - set(targets):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if shutil.which("cargo-fuzz") is None:
        sys.exit("cargo-fuzz is missing; `cargo install cargo-fuzz` gets it")
    asked = chosen.targets or targets
    found = [target for target in asked if not run(target, chosen.seconds, chosen.sanitizer)]
    print(f"findings in {', '.join(found)}: see {WORK / 'findings'}" if found else "no findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
