"""Jupyter: what is shown, the notebooks of docs/, and ranks that a notebook works with.

The notebooks are kept with their outputs. ``MPIBIND_ACCEPT=1 python test_jupyter.py`` runs them and
writes the outputs anew.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import support
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient

import mpibind
from mpibind import _core

NOTEBOOKS = sorted((support.ROOT / "docs" / "notebooks").glob("*.ipynb"))
BIN = Path(sys.executable).parent
ACCEPT = os.environ.get("MPIBIND_ACCEPT") == "1"


def rows(html: str) -> list[list[str]]:
    """Read the tables."""
    found = []
    for table in re.findall("<table.*?</table>", html):
        for row in ElementTree.fromstring(table):
            found.append([cell.text or "" for cell in row])
    return found


class Shown(unittest.TestCase):
    def show(self, thing: object) -> dict[str, str]:
        """Return what IPython makes of a thing."""
        data, _ = InteractiveShell.instance().display_formatter.format(thing)
        self.assertEqual(data["text/plain"], str(thing))
        html = data["text/html"]
        self.assertEqual(html.count("<svg"), 1)
        ElementTree.fromstring(html)  # it is well-formed
        self.assertLess(html.index("<svg"), html.index("<table"))
        return data

    def test_a_mapping(self):
        node = mpibind.Topology.from_xml(support.WORKED_EXAMPLE)
        html = self.show(node.map(4))["text/html"]
        self.assertEqual(rows(html)[0], ["task", "threads", "GPUs", "CPUs", "NUMA nodes"])
        self.assertEqual(rows(html)[3], ["2", "4", "1", "10-13", "0"])
        self.assertEqual(len(rows(html)), 5)

    def test_many_tasks(self):
        html = self.show(mpibind.Topology.from_synthetic("core:100 pu:1").map(100))["text/html"]
        self.assertEqual(len(rows(html)), 1 + 64 + 1)
        self.assertEqual(rows(html)[-1], ["…", "36 more"])

    def test_a_node(self):
        node = mpibind.Topology.from_xml(support.WORKED_EXAMPLE)
        found = rows(self.show(node)["text/html"])
        self.assertIn(["1", "128 GiB", "18-35,54-71"], found)  # memory of one kind needs no name
        uuid = "GPU-57de3437-bcf0-582c-8e3d-b2f6f4b75aa1"
        self.assertIn(["1", "NVIDIA", "Tesla P100-PCIE-16GB", "0000:07:00.0", uuid], found)
        self.assertIn(["hfi1_0", "0000:81:00.0"], found)
        # A table without rows is none.
        found = rows(self.show(mpibind.Topology.from_synthetic("core:2 pu:1"))["text/html"])
        self.assertEqual([row[0] for row in found], ["NUMA node", "0"])

    def test_a_binding(self):
        html, told = support.run_json("""
            import json, mpibind
            binding = mpibind.bind(0, 2)
            told = [binding.rank, binding.cpu_list, binding.before.tolist(), binding.nthreads]
            print(json.dumps([binding._repr_html_(), told]))
        """)
        found = dict(row for row in rows(html) if len(row) == 2)
        rank, cpus, before, nthreads = told
        self.assertEqual(found["rank"], f"{rank} of 2")
        self.assertEqual(found["CPUs"], _core.id_list(cpus))
        self.assertEqual(found["CPUs before"], _core.id_list(before))
        self.assertEqual(found["OMP_NUM_THREADS"], str(nthreads))
        self.assertEqual(found["bound"], "yes")
        # What there is nothing to say about is no row.
        self.assertNotIn("memory", found)
        self.assertNotIn("", found.values())

    def test_a_binding_of_a_rank_that_does_not_know_the_node(self):
        html = support.run("""
            import mpibind
            binding = mpibind.bind(1, 2, topology="TOPOLOGY", apply=False)
            binding.mapping = None
            print(binding._repr_html_())
        """.replace("TOPOLOGY", str(support.WORKED_EXAMPLE)))  # fmt: skip
        self.assertIn("task 1 of 2 on ", html)
        self.assertEqual(len(re.findall("<title>CPU [0-9]+: task 1</title>", html)), 9)
        ElementTree.fromstring(html)


class Notebooks(unittest.TestCase):
    maxDiff = 2000

    def test_they_give_what_they_show(self):
        self.assertTrue(NOTEBOOKS)
        for path in NOTEBOOKS:
            with self.subTest(path.name):
                kept = nbformat.read(path, as_version=4)
                run = nbformat.read(path, as_version=4)
                # Kernels shall see the package of this checkout, and no other machine.
                NotebookClient(
                    run, timeout=120, resources={"metadata": {"path": str(path.parent)}}
                ).execute()
                for cell in run.cells:
                    cell.metadata.clear()  # when it was run
                run.metadata = kept.metadata
                if ACCEPT:
                    nbformat.write(run, path)
                    kept = run
                for number, (old, new) in enumerate(zip(kept.cells, run.cells, strict=True)):
                    with self.subTest(cell=number):
                        self.assertEqual(old.get("outputs"), new.get("outputs"))


class Engines(unittest.TestCase):
    """Ranks of ipyparallel are MPI ranks like any others."""

    def test_bind_on_engines(self):
        done = subprocess.run(
            [sys.executable, support.ROOT / "test-suite/mpi/engines.py", support.WORKED_EXAMPLE],
            env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        told = json.loads(done.stdout.splitlines()[-1])
        host = os.uname().nodename
        self.assertEqual(
            told["elsewhere"],
            [
                f"{host} task 0/2: lrank 0/2 nths 9 gpus ['0'] cpus {[*range(9)]}",
                f"{host} task 1/2: lrank 1/2 nths 9 gpus ['1'] cpus {[*range(9, 18)]}",
            ],
        )
        self.assertEqual(told["pictures"], [1, 1])
        self.assertEqual(told["masks"], told["bound"])
        self.assertTrue(told["restored"])


if __name__ == "__main__":
    support.main()
