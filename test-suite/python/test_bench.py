"""The benchmarks run, and write what they find; memory does not grow with calls."""

import importlib
import re
import sys
import unittest

import support

sys.path.insert(0, str(support.ROOT / "test-suite" / "bench"))
report = importlib.import_module("report")
tools = importlib.import_module("tools")


class Report(unittest.TestCase):
    def test_sections_have_tables_on_the_smallest_sizes(self):
        # The others need valgrind, cargo, hwloc-bind or minutes; strace is there for the tests.
        for section in ("machine", "import", "memory"):
            with self.subTest(section):
                lines = report.tables(section, True)
                self.assertRegex(lines[0], r"^\|.*\|$")
                self.assertRegex(lines[1], r"^\|(---\|)+$")
                columns = {line.count("|") for line in lines[:3]}
                self.assertEqual(len(columns), 1)

    def test_page_has_each_section_once_and_keeps_the_rest(self):
        page = report.PAGE.read_text("utf-8")
        for section in report.SECTIONS:
            self.assertEqual(page.count(report.mark(section)), 1, section)
            changed = report.put(page, section, "new\n")
            self.assertIn(f"{report.mark(section)}new\n{report.END}", changed)
            self.assertEqual(report.put(changed, section, self.content(page, section)), page)

    def test_mappings_are_timed_in_python_on_each_kind_of_machine(self):
        costs = importlib.import_module("map_cost")
        for machine in (tools.WORKED_EXAMPLE, tools.machine(1_000), tools.SIZES[1_000]):
            with self.subTest(machine):
                self.assertGreater(costs.in_python(machine, 4, 1), 0)
        self.assertIn(f"\n| {' | '.join(costs.HEADER)} |\n", report.PAGE.read_text("utf-8"))

    def content(self, page: str, section: str) -> str:
        return page.partition(report.mark(section))[2].partition(report.END)[0]

    def test_figures_are_in_tables_only(self):
        """What is written by hand has no time that a new run would make wrong."""
        page = report.PAGE.read_text("utf-8")
        for section in report.SECTIONS:
            page = report.put(page, section, "")
        self.assertEqual(re.findall(r"\d+ (?:ms|µs|s|MiB|kB)\b", page), [])


class NoGrowth(unittest.TestCase):
    def test_memory_stays(self):
        memory = importlib.import_module("memory_cost")
        for name, call in memory.CALLS.items():
            with self.subTest(name):
                # In KiB. A mapping alone has more than ten of them.
                self.assertLess(memory.growth(call, 500), 1_000)


if __name__ == "__main__":
    support.main()
