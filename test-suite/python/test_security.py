"""What SECURITY.md says of files, network, programs and rights, as the kernel sees it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import support

WATCHED = "trace=%file,%network,%process,memfd_create"
# Calls that leave something behind, whatever their arguments are.
CHANGES = r"mkdir|rename|unlink|link|symlink|mknod|chmod|chown|truncate|utime|mount|setxattr"
CALL = re.compile(r"^\d+ +(\w+)\((.*)$")

BIND = (
    "import mpibind; mpibind.bind(0, 1); "
    "print(mpibind.Topology.from_xml({machine!r}).map(4), file=open(os.devnull, 'w'))"
)
MACHINE = str(support.MACHINES[0])


@unittest.skipIf(shutil.which("strace") is None, "strace is not installed; it watches the calls")
class Calls(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.addCleanup(folder.cleanup)
        self.place = Path(folder.name)

    def calls(self, *command: str) -> list[tuple[str, str]]:
        """Run a program; return its calls, with their arguments, and those of its children."""
        log = self.place / "log"
        env = {**os.environ, "XDG_RUNTIME_DIR": str(self.place), "PYTHONDONTWRITEBYTECODE": "1"}
        # libhwloc would look for a screen.
        env["DISPLAY"] = "localhost:10.0"
        strace = ["strace", "-f", "-s", "200", "-e", WATCHED, "-o", str(log)]
        subprocess.run([*strace, *command], env=env, check=True, capture_output=True)
        return [found.groups() for found in map(CALL.match, log.read_text().splitlines()) if found]

    def written(self, calls: list[tuple[str, str]]) -> list[str]:
        """Return the calls that open a file to write it, or change a folder."""
        writes = [
            f"{name}({words}"
            for name, words in calls
            if re.match(CHANGES, name)
            or (name in ("open", "openat", "creat") and re.search("O_WRONLY|O_RDWR|O_CREAT", words))
        ]
        return [write for write in writes if '"/dev/null"' not in write]

    def test_nothing_is_written_but_the_node_cache(self):
        bind = "import os; " + BIND.format(machine=MACHINE)
        for command in (
            [sys.executable, "-c", bind],
            [support.MPIBIND, "map", "-n", "2"],
            [support.MPIBIND, "doctor"],
        ):
            with self.subTest(command[1:]):
                calls = self.calls(*command)
                self.assertIn("execve", dict(calls))
                self.assertEqual(self.written(calls), [])

    def test_the_node_cache_is_written_in_its_folder(self):
        calls = self.calls(support.MPIBIND, "run", "--", "true")
        # Names in the folder are beside its descriptor, and have no slash.
        [folder, *inside] = self.written(calls)
        self.assertRegex(folder, r'^mkdirat\(\d+, "mpibind", 0700\)')
        self.assertGreater(len(inside), 2)
        for write in inside:
            self.assertRegex(write, r'^\w+\(\d+, "[0-9a-f]{16}(\.lock|\.new)?"')
        again = self.written(self.calls(support.MPIBIND, "run", "--", "true"))
        self.assertEqual([write for write in again if not write.startswith("mkdirat")], [])

    def test_no_network_no_shell_no_other_program(self):
        for command in (
            [sys.executable, "-c", "import os; " + BIND.format(machine=MACHINE)],
            [support.MPIBIND, "run", "--", "/bin/true", "; touch x"],
        ):
            with self.subTest(command[1:]):
                calls = self.calls(*command)
                self.assertEqual([call for call in calls if call[0] in ("socket", "connect")], [])
                started = [words for name, words in calls if re.match("execve|fork|vfork", name)]
                programs = [re.match(r'"([^"]*)"', words)[1] for words in started]
                wanted = [shutil.which(command[0]), *(["/bin/true"] if "run" in command else [])]
                self.assertEqual(programs, wanted)

    def test_the_program_has_the_rights_that_it_would_have(self):
        show = ["grep", "-E", "^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Umask)", "/proc/self/status"]
        direct = subprocess.run(show, check=True, capture_output=True, text=True).stdout
        ours = [support.MPIBIND, "run", "--", *show]
        self.assertGreater(len(direct.splitlines()), 8)
        self.assertEqual(subprocess.run(ours, capture_output=True, text=True).stdout, direct)


if __name__ == "__main__":
    support.main()
