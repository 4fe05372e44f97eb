"""The site of docs/ is made without a warning, and holds together."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import unittest
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import support
from sphinx.util.inventory import InventoryFile

import mpibind

DOCS = support.ROOT / "docs"


def make(folder: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Make a site as the Makefile does."""
    options = ["--quiet", "--fail-on-warning", "--keep-going"]
    # The doctrees would end up in the checkout otherwise, or be left from another time.
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "-d", target / "trees", folder, target],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


class Page(HTMLParser):
    """What a page points to, and what can be pointed to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name == "id" and value:
                self.ids.add(value)


def broken(site: Path) -> list[str]:
    """Links of a site that lead nowhere in it."""
    pages = {path: Page(path) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            is_there = target.exists() and (
                not parts.fragment
                or target.suffix != ".html"
                or unquote(parts.fragment) in pages[target].ids
            )
            if not is_there:
                found.append(f"{path.name}: {link}")
    return found


class Site(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.site = Path(folder.name).resolve()
        cls.made = make(DOCS, cls.site)

    def test_there_are_no_warnings(self):
        self.assertEqual((self.made.returncode, self.made.stdout), (0, ""))

    def test_links(self):
        self.assertGreater(len([*self.site.rglob("*.html")]), 15)
        self.assertEqual(broken(self.site), [])

    def test_every_public_name_is_in_the_reference(self):
        inventory = InventoryFile.loads((self.site / "objects.inv").read_bytes(), uri="")
        known = {
            name for kind, names in inventory.data.items() if kind[:2] == "py" for name in names
        }
        names = {f"mpibind.{name}" for name in mpibind.__all__ if not name.startswith("_")}
        names |= {f"mpibind.mpi.{name}" for name in ("bind", "map", "report", "get_mapping")}
        self.assertEqual(names - known, set())
        self.assertIn("mpibind.Topology.map", known)

    def test_every_field_of_a_named_tuple_is_described(self):
        pages = {page.name: page.read_text() for page in self.site.glob("reference/*.html")}
        self.assertIn("mpibind.Task.nthreads", pages["mapping.html"])
        self.assertEqual([name for name in pages if "Alias for field" in pages[name]], [])

    def test_pictures_are_drawn_on_their_pages(self):
        marks = re.compile(r"^```\{picture\}|\]\(pictures/", re.MULTILINE)
        count = 0
        for page in DOCS.glob("*.md"):
            expected = len(marks.findall(page.read_text()))
            name = "index" if page.stem == "README" else page.stem
            shown = (self.site / f"{name}.html").read_text() if page.stem != "index" else ""
            with self.subTest(page.name):
                self.assertEqual(shown.count('class="mpibind-node"'), expected)
                self.assertNotIn(".png", shown)
            count += expected
        self.assertGreater(count, 8)

    def test_words_to_search_for_are_those_of_the_text(self):
        """Without its tags a picture would make a word "12unused01" of what is in its boxes."""
        text = (self.site / "searchindex.js").read_text()
        found = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\)", text)[1])
        self.assertIn("unus", found["terms"])  # the stem of "unused"
        self.assertEqual([term for term in found["terms"] if re.search(r"unused\d", term)], [])


class TheTestItself(unittest.TestCase):
    """What the tests above look for is found where it is."""

    def test_a_name_and_a_page_that_are_not_there(self):
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "docs"), Path(folder, "site").resolve()
            source.mkdir()
            (source / "conf.py").write_text(
                "extensions = ['myst_parser', 'sphinx.ext.autodoc']\nnitpicky = True\n"
            )
            (source / "index.md").write_text(
                "# A\n\n[a](b.md)\n\n```{eval-rst}\n:py:obj:`c`\n```\n"
            )
            made = make(source, target)
        self.assertEqual(made.returncode, 1)
        self.assertIn("b.md", made.stdout)
        self.assertIn("target not found: c", made.stdout)

    def test_links_that_lead_nowhere(self):
        with tempfile.TemporaryDirectory() as folder:
            site = Path(folder).resolve()
            (site / "a.html").write_text(
                '<a id="x" href="#x"></a><a href="#y"></a><a href="b"></a>'
            )
            self.assertEqual(broken(site), ["a.html: #y", "a.html: b"])

    def test_commands_that_draw_nothing(self):
        spec = importlib.util.spec_from_file_location("site_pictures", DOCS / "site_pictures.py")
        pictures = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(pictures)
        for command in ("true", "mpibind map -n 0 --svg -", "mpibind map -n 1"):
            with self.subTest(command), self.assertRaises(ValueError):
                pictures.draw(command)


if __name__ == "__main__":
    support.main()
