"""The examples of the README, the documentation and the docstrings are run.

In Markdown, ``python`` blocks with ``>>>`` are doctests, one session a page; other ``python``
blocks are programs that must run on this machine; ``console`` blocks are commands after ``$``, with
what they print. ``sh`` blocks must be what a shell understands, and those of their lines that are
in `ALONE` are run; the others need what is not here, or are what other tests do. This machine's
host name is written ``pascal7``.
"""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import support

import mpibind

PAGES = [support.ROOT / "README.md", *sorted((support.ROOT / "docs").glob("*.md"))]
# Pages about the project; what they say to type is looked at, and their links.
PROJECT = [
    *(support.ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")),
    *(
        support.ROOT / folder / "README.md"
        for folder in ("rust", "spack", "test-suite", "test-suite/vm")
    ),
]
MODULES = [
    "mpibind",
    *sorted(f"mpibind.{path.stem}" for path in (support.ROOT / "mpibind").glob("[a-z]*.py")),
]

# Lines of ``sh`` blocks that a test runs, in a folder with a program `app`; PID is its own.
ALONE = (
    "mpibind doctor",
    "mpiexec -n 4 mpibind report",
    "mpibind report --pid PID",
    "mpiexec -n 4 mpibind run -- ./app",
)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def environment() -> dict[str, str]:
    bin_folder = str(Path(sys.executable).parent)
    path = os.pathsep.join([bin_folder, os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path}


def run_doctest(text: str, name: str) -> str:
    """Run a doctest; return the report of what failed."""
    test = doctest.DocTestParser().get_doctest(text, {}, name, name, 0)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE, verbose=False)
    runner.run(test, out=report.append)
    return "".join(report)


class Pages(unittest.TestCase):
    def setUp(self):
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(support.ROOT)

    def test_sessions(self):
        for page in PAGES:
            session = "\n".join(block for block in blocks(page, "python") if ">>>" in block)
            with self.subTest(page.name):
                self.assertEqual(run_doctest(session, page.name), "")

    def test_programs(self):
        for page in PAGES:
            for program in blocks(page, "python"):
                if ">>>" not in program:
                    with self.subTest(page.name, program=program):
                        support.run(program, env=environment())

    def test_commands(self):
        for page in PAGES:
            for block in blocks(page, "console"):
                with self.subTest(page.name, block=block):
                    self.check_commands(block)

    def test_scripts(self):
        for page in PAGES + PROJECT:
            for script in blocks(page, "sh"):
                with self.subTest(page.name, script=script):
                    done = subprocess.run(["sh", "-n"], input=script, text=True, check=False)
                    self.assertEqual(done.returncode, 0)

    def test_commands_without_what_they_print(self):
        scripts = "\n".join(script for page in PAGES for script in blocks(page, "sh"))
        lines = [re.sub(r"\s+#.*", "", line) for line in scripts.splitlines()]
        with tempfile.TemporaryDirectory() as folder:
            app = Path(folder, "app")
            app.write_text("#!/bin/sh\necho started\n")
            app.chmod(0o755)
            for line in ALONE:
                with self.subTest(line):
                    self.assertIn(line, lines, "no page has it")
                    done = subprocess.run(
                        ["sh", "-c", line.replace("PID", str(os.getpid()))],
                        cwd=folder,
                        env=environment(),
                        capture_output=True,
                        text=True,
                        timeout=120,
                        check=False,
                    )
                    # 1 of doctor: there is something to be said of this machine.
                    self.assertIn(done.returncode, (0, 1) if "doctor" in line else (0,))
                    self.assertEqual(done.stderr, "")
                    if "app" in line:
                        self.assertEqual(done.stdout, 4 * "started\n")

    def check_commands(self, block: str) -> None:
        commands = "\n".join(line[2:] for line in block.splitlines() if line.startswith("$ "))
        expected = "\n".join(line for line in block.splitlines() if not line.startswith("$ "))
        done = subprocess.run(
            ["sh", "-c", commands],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.stderr, "")
        host = re.escape(os.uname().nodename)
        shown = re.sub(rf"(^|on ){host}\b", r"\1pascal7", done.stdout, flags=re.MULTILINE)
        self.assertEqual(shown.rstrip("\n"), expected)

    def test_links(self):
        for page in PAGES + PROJECT:
            for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
                if not link.startswith("http"):
                    with self.subTest(page.name, link=link):
                        self.assertTrue((page.parent / link).exists())

    def test_every_page_is_listed(self):
        index = (support.ROOT / "docs" / "README.md").read_text()
        for page in (support.ROOT / "docs").glob("*.md"):
            # The site's index is README.md and a list for the margin.
            if page.name not in ("README.md", "index.md"):
                self.assertIn(f"({page.name})", index)

    def test_tests_that_are_named_exist(self):
        page = (support.ROOT / "docs" / "reliability.md").read_text()
        named = re.findall(r"`(\w+\.(?:py|rs))` `(\w+)`", page)
        self.assertGreater(len(named), 10)
        for name, test in named:
            with self.subTest(test):
                (file,) = [
                    *(support.ROOT / "test-suite").glob(f"*/{name}"),
                    *(support.ROOT / "rust" / "core" / "tests").glob(name),
                ]
                self.assertRegex(file.read_text(), rf"\b(def|fn) {test}\(")


class Versions(unittest.TestCase):
    def test_the_citation_is_of_this_version(self):
        citation = (support.ROOT / "CITATION.cff").read_text()
        self.assertIn(f"\nversion: {mpibind.__version__}\n", citation)

    def test_the_changelog_has_this_version_or_what_comes(self):
        changelog = (support.ROOT / "CHANGELOG.md").read_text()
        first = re.search(r"^## (\S+)", changelog, re.MULTILINE)[1]
        self.assertIn(first, ("Unreleased", mpibind.__version__))


class Docstrings(unittest.TestCase):
    def test_examples(self):
        found = 0
        for name in MODULES:
            if name.startswith("mpibind._"):
                continue
            module = importlib.import_module(name)
            for test in doctest.DocTestFinder().find(module, name):
                found += len(test.examples)
                report: list[str] = []
                doctest.DocTestRunner(verbose=False).run(test, out=report.append)
                self.assertEqual("".join(report), "", name)
        self.assertGreater(found, 10)


class TheTestItself(unittest.TestCase):
    """A test of examples that cannot fail would be none."""

    def test_a_wrong_session_is_found(self):
        self.assertIn("Expected", run_doctest(">>> 1 + 1\n3\n", "wrong"))

    def test_wrong_output_of_a_command_is_found(self):
        with self.assertRaises(AssertionError):
            Pages().check_commands("$ echo a\nb\n")

    def test_blocks_are_found(self):
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "page.md"
            page.write_text("a\n```python\n>>> 1\n1\n```\nb\n```console\n$ true\n```\n")
            self.assertEqual(blocks(page, "python"), [">>> 1\n1\n"])
            self.assertEqual(blocks(page, "console"), ["$ true\n"])


if __name__ == "__main__":
    support.main()
