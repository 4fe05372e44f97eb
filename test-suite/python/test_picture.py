"""Pictures: what is in them, and that nothing lies on or outside of something else.

How they look is for eyes: ``MPIBIND_ACCEPT=1 python test_picture.py`` writes the one picture that
is compared as a whole; look at it in a browser.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import unittest
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import support
from hypothesis import given, settings
from test_json import mappings

import mpibind
from mpibind.picture import COLOURS, ON_DARK

SVG = "{http://www.w3.org/2000/svg}"
SNAPSHOT = support.EXPECTED / "worked-example.svg"


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def holds(self, other: Box) -> bool:
        return (
            self.left <= other.left
            and self.top <= other.top
            and self.right >= other.right
            and self.bottom >= other.bottom
        )

    def meets(self, other: Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


class Cell(NamedTuple):
    box: Box
    title: str
    task: str
    cpu: str
    look: str


class Picture:
    """An SVG, read back."""

    def __init__(self, text: str) -> None:
        self.text = text
        root = ElementTree.fromstring(text)
        self.page = Box(0, 0, float(root.get("width")), float(root.get("height")))
        self.cells: list[Cell] = []
        self.boxes: list[Box] = []
        self.words: list[str] = []
        self.titles: list[str] = []
        for child in root:
            if child.tag == f"{SVG}g":
                self.read(child, 0, 0)

    def read(self, group: ElementTree.Element, x: float, y: float) -> None:
        if move := group.get("transform"):
            dx, dy = re.fullmatch(r"translate\((-?\d+),(-?\d+)\)", move).groups()
            x, y = x + float(dx), y + float(dy)
        boxes, texts, title = [], {}, ""
        for child in group:
            if child.tag == f"{SVG}g":
                self.read(child, x, y)
            elif child.tag == f"{SVG}rect":
                left, top = x + float(child.get("x", 0)), y + float(child.get("y", 0))
                size = float(child.get("width")), float(child.get("height"))
                look = child.get("fill") or child.get("class")
                boxes.append((Box(left, top, left + size[0], top + size[1]), look))
            elif child.tag == f"{SVG}text":
                texts[child.get("class", "").split()[0]] = child.text
                self.words.append(child.text)
            elif child.tag == f"{SVG}title":
                title = child.text
                self.titles.append(title)
        self.boxes += [box for box, _ in boxes]
        if "i" in texts and title:
            number = texts.get("n") or texts.get("m") or ""
            self.cells.append(Cell(boxes[0][0], title, number, texts["i"], boxes[0][1]))


class Pictures(unittest.TestCase):
    maxDiff = None

    def check_layout(self, picture: Picture) -> None:
        for box in picture.boxes:
            self.assertTrue(picture.page.holds(box), box)
        cells = sorted(picture.cells)
        for number, cell in enumerate(cells):
            for other in cells[number + 1 :]:
                if other.box.left >= cell.box.right:
                    break
                self.assertFalse(cell.box.meets(other.box), (cell, other))
        # Frames are around each other or beside each other, and never cross.
        frames = sorted(set(picture.boxes) - {cell.box for cell in cells})
        for number, frame in enumerate(frames):
            for other in frames[number + 1 :]:
                crosses = frame.meets(other) and not (frame.holds(other) or other.holds(frame))
                self.assertFalse(crosses, (frame, other))
        for reference in set(re.findall(r"url\(#(\w+)\)", picture.text)):
            self.assertIn(f'<pattern id="{reference}"', picture.text)

    def check_mapping(self, m: mpibind.Mapping) -> Picture:
        """Check all of a picture in which nothing is folded."""
        picture = Picture(m.to_svg())
        self.check_layout(picture)
        self.assertEqual(sorted(int(cell.cpu) for cell in picture.cells), m.cpu_ids.tolist())
        for cell in picture.cells:
            users = [number for number, task in enumerate(m) if int(cell.cpu) in task.cpus.tolist()]
            if not users:
                self.assertEqual(cell.task, "")
                self.assertRegex(cell.title, r": (unused|left out)$")
                self.assertIn(cell.look, ("free", "out line"))
            elif len(users) == 1:
                self.assertEqual(cell.task, str(users[0]))
                self.assertEqual(cell.title, f"CPU {cell.cpu}: task {users[0]}")
                self.assertEqual(cell.look, COLOURS[users[0] % len(COLOURS)])
            else:
                self.assertRegex(cell.title, "^CPU .*: tasks ")
                self.assertRegex(cell.look, "^url")
        return picture

    def test_every_machine(self):
        for machine in support.MACHINES:
            node = mpibind.Topology.from_xml(machine)
            with self.subTest(machine=machine.stem):
                picture = Picture(node.to_svg())
                self.check_layout(picture)
                self.assertEqual(
                    sorted(int(cell.cpu) for cell in picture.cells), node.map(1).cpu_ids.tolist()
                )
                for gpu in node.gpus:
                    self.assertIn(f"GPU {gpu.index}", picture.words)
                for nic in node.nics:
                    self.assertIn(nic.name, picture.words)
                for numa in node.numas:
                    if numa.cpus:
                        named = [text for text in picture.words if f"NUMA {numa.os_index}" in text]
                        self.assertTrue(named)
                self.check_mapping(node.map(max(1, node.npus // 3)))

    @settings(deadline=None)
    @given(mappings())
    def test_any_mapping(self, m):
        self.check_mapping(m)

    def test_the_worked_example(self):
        node = mpibind.Topology.from_xml(support.WORKED_EXAMPLE)
        picture = self.check_mapping(node.map(4))
        self.assertIn("4 tasks on two-package-18core-smt2-2gpu.xml", picture.words)
        self.assertIn("2 packages · 2 NUMA nodes · 36 cores · 72 CPUs · 2 GPUs · 1 network card",
                      picture.words)  # fmt: skip
        self.assertIn("NUMA 0 · 128 GiB", picture.words)
        self.assertIn("4 threads · CPUs 10-13 · GPU 1", picture.words)
        gpu = "GPU 1: NVIDIA, Tesla P100-PCIE-16GB, nvml1, 0000:07:00.0, "
        self.assertTrue(any(title.startswith(gpu) and title.endswith("tasks 2-3")
                            for title in picture.titles))  # fmt: skip
        nic = "network card hfi1_0, 0000:81:00.0; closest to tasks 0-3"
        self.assertIn(nic, picture.titles)
        if os.environ.get("MPIBIND_ACCEPT") == "1":
            SNAPSHOT.write_text(picture.text + "\n")
        self.assertEqual(picture.text + "\n", SNAPSHOT.read_text())

    def test_left_out_and_unused(self):
        node = mpibind.Topology.from_xml(support.WORKED_EXAMPLE)
        picture = self.check_mapping(node.map(1, restrict_ids="0-2,36"))
        looks = {int(cell.cpu): cell.look for cell in picture.cells}
        self.assertEqual((looks[36], looks[3], looks[71]), ("free", "out line", "out line"))
        self.assertIn("left out of the mapping", picture.words)
        self.assertNotIn("left out of the mapping", self.check_mapping(node.map(1)).words)

    def test_folding(self):
        node = mpibind.Topology.from_xml(
            support.ROOT / "test-suite/topologies/epyc-9654-2package.xml"
        )
        picture = Picture(node.map(1, greedy=False).to_svg())
        self.check_layout(picture)
        self.assertIn("+ 11 more like it (L3)", picture.words)
        self.assertIn("CPUs 104-191,296-383", picture.words)
        self.assertIn("unused", picture.words)
        self.assertEqual(len(picture.cells), 192 + 16)

    def test_big_nodes(self):
        for text, ntasks, cells in (
            ("package:2 [numa] l3:16 core:8 pu:2", 64, 512),
            ("package:2 [numa] l3:16 core:12 pu:2", 64, 384),
            # Neighbouring cores of one task share a cell: 128 L3 caches, and 288 of the 299
            # borders between tasks lie inside one.
            ("package:8 [numa] l3:16 core:64 pu:2", 300, 128 + 288),
            ("package:8 [numa] l3:16 core:64 pu:2", 16384, 1024),
        ):
            with self.subTest(text=text, ntasks=ntasks):
                node = mpibind.Topology.from_synthetic(text)
                for drawn in (node, node.map(ntasks)):
                    picture = Picture(drawn.to_svg())
                    self.assertLess(len(picture.text), 400_000)
                    self.check_layout(picture)
                self.assertEqual(len(picture.cells), cells)
                if cells == 1024:
                    self.assertIn("+ 7 more (Package)", picture.words)
                    self.assertTrue(any(w.startswith("tasks 2048-16383") for w in picture.words))

    def test_text_is_escaped(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, '<script>&"quoted".xml')
            shutil.copy(support.WORKED_EXAMPLE, path)
            text = path.read_text().replace("Tesla P100", "Tesla &lt;b&gt;&amp;")
            path.write_text(text.replace('name="hfi1_0"', 'name="&lt;hfi&gt;"'))
            node = mpibind.Topology.from_xml(path)
        m = node.map(4)
        for shown in (node.to_svg(), m.to_svg(), node._repr_html_(), m._repr_html_()):
            self.assertNotRegex(shown, "<(script|b|hfi)>")
            self.assertIn("&lt;hfi&gt;", shown)
            self.assertIn("&lt;b&gt;&amp;", shown)

    def test_characters_that_xml_cannot_have(self):
        document = mpibind.Topology.from_xml(support.WORKED_EXAMPLE).to_dict()
        document["gpus"][0]["model"] = "Tesla\ufffe \uffff[31m"
        document["nics"][0]["name"] = "hfi\uffff"
        node = mpibind.Topology.from_json(json.dumps(document))
        for shown in (node.to_svg(), node.map(4).to_svg(), node._repr_html_()):
            ElementTree.fromstring(shown)
            self.assertIn("Tesla\N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}[31m", shown)

    def test_core_without_hardware_threads(self):
        document = mpibind.Topology.from_synthetic("core:3 pu:2").to_dict()
        threads = document["levels"][-1]
        threads["parents"] = [max(parent, 2) for parent in threads["parents"]]
        node = mpibind.Topology.from_json(json.dumps(document))
        for shown in (node.to_svg(), node.map(2).to_svg()):
            self.assertEqual(set(re.findall(r"<title>core (\d)", shown)), {"1", "2"})

    def test_the_legend_has_what_the_picture_has(self):
        node = mpibind.Topology.from_synthetic("core:4 pu:2")
        for ntasks, smt, words in ((4, 1, ["unused"]), (4, 2, []), (9, 2, ["shared by tasks"])):
            found = Picture(node.map(ntasks, smt=smt).to_svg()).words
            known = ("unused", "shared by tasks", "left out of the mapping")
            self.assertEqual([word for word in found if word in known], words)
        part = node.map(2, smt=2, restrict_ids="0-3")
        self.assertNotIn("unused", Picture(part.to_svg()).words)
        # The sample's colour is that of a task that there is.
        for ntasks in (1, 2, 8):
            shown = set(re.findall('"(#[0-9a-f]{6})" width="27"', node.map(ntasks).to_svg()))
            self.assertLessEqual(shown, {COLOURS[task] for task in range(ntasks)})

    def test_lists_are_cut_between_numbers(self):
        node = mpibind.Topology.from_synthetic("numa:2 core:64 pu:2")
        text = "\n".join(Picture(node.map(4, smt=1).to_svg()).words)
        cut = re.findall("CPUs ([0-9,-]*)…", text)
        self.assertEqual(len(cut), 4, text)
        for part in cut:
            self.assertTrue(part.endswith(","), part)

    def test_two_pictures_on_a_page_do_not_share_patterns(self):
        node = mpibind.Topology.from_synthetic("core:2 pu:1")
        names = [set(re.findall('pattern id="([^"]+)"', node.map(n).to_svg())) for n in (3, 4, 5)]
        self.assertTrue(all(names))
        self.assertFalse(names[0] & names[1] or names[1] & names[2])

    def test_light_and_dark_pages(self):
        text = mpibind.Topology.from_synthetic("core:2 pu:1").to_svg()
        self.assertIn("@media (prefers-color-scheme:dark){.mpibind-node .bg{fill:#14181d}", text)
        self.assertIn(f":is({ON_DARK}) .mpibind-node .bg{{fill:#14181d}}", text)
        # A page shares the styles of its pictures: no rule may reach beyond them.
        style = re.search("<style>(.*?)</style>", text).group(1)
        selectors = re.sub(r"@media [^{]*\{|\{[^}]*\}", "\n", style).replace("}", "\n").split("\n")
        for selector in filter(None, selectors):
            self.assertIn(".mpibind-node ", selector)

    def test_files(self):
        node = mpibind.Topology.from_synthetic("core:2 pu:1")
        with tempfile.TemporaryDirectory() as folder:
            for thing in (node, node.map(2)):
                path = Path(folder, "node.svg")
                self.assertIsNone(thing.to_svg(path))
                self.assertEqual(path.read_text(), thing.to_svg() + "\n")
        with self.assertRaisesRegex(OSError, "/nowhere/node.svg"):
            node.to_svg("/nowhere/node.svg")


if __name__ == "__main__":
    support.main()
