"""The command ``mpibind``: map with its what-ifs, topo, help, errors, and where it prints to."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import unittest
from fcntl import ioctl
from pathlib import Path

import support

import mpibind

MPIBIND = [sys.executable, "-m", "mpibind"]
AMD = support.ROOT / "test-suite" / "topologies" / "epyc-7763-nps4-8gpu.xml"
DGX = support.ROOT / "test-suite" / "topologies" / "dgx-h100-8gpu.xml"
POWER = support.ROOT / "test-suite" / "topologies" / "power9-ac922-4gpu.xml"
SYNTHETIC = "package:2 [numa] core:18 pu:2(indexes=2*36:1*2)"
COMMANDS = ("map", "run", "report", "topo", "doctor")


def on_terminal(*words: object, columns: int = 80) -> str:
    """Return what the command writes to a terminal of this width."""
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [*MPIBIND, *map(str, words)]
    with subprocess.Popen(command, stdout=follower, cwd=support.ROOT) as process:
        os.close(follower)
        parts = []
        try:
            while part := os.read(leader, 1 << 16):
                parts.append(part)
        except OSError:
            pass  # so a terminal ends
        process.wait(60)
    os.close(leader)
    assert process.returncode == 0, words
    return b"".join(parts).decode().replace("\r\n", "\n")


class Map(unittest.TestCase):
    def test_same_as_python(self):
        node = mpibind.Topology.from_xml(AMD)
        cases = {
            (): {},
            ("--smt", 1, "--no-greedy"): {"smt": 1, "greedy": False},
            ("--smt=2", "--nthreads=3", "--no-greedy"): {
                "smt": 2,
                "nthreads": 3,
                "greedy": False,
            },
            ("--no-greedy",): {"greedy": False},
            ("--greedy",): {},
            ("--no-gpu",): {"gpu_optim": False},
            ("--no-gpu-optim",): {"gpu_optim": False},
            ("--gpu-optim",): {},
            ("--restrict", "0-63"): {"restrict_ids": "0-63"},
            ("--restrict-ids", "0-1", "--restrict-type", "mem"): {
                "restrict_ids": "0-1",
                "restrict_type": "mem",
            },
            ("--gpu-ids", "pci"): {"gpu_ids": "pci"},
        }
        for words, parameters in cases.items():
            with self.subTest(words):
                shown = support.printed("map", "-n", 4, "--topology", AMD, *words)
                self.assertEqual(shown, f"{node.map(4, **parameters)}\n")

    def test_synthetic(self):
        node = mpibind.Topology.from_synthetic(SYNTHETIC, gpus=[2, 0])
        words = ("map", "-n", 4, "--synthetic", SYNTHETIC, "--gpus", "2,0")
        self.assertEqual(support.printed(*words), f"{node.map(4)}\n")
        self.assertEqual(support.printed(*words), WORKED_EXAMPLE)

    def test_this_machine(self):
        self.assertEqual(
            support.printed("map", "-n", 1).split(" nths")[0],
            str(mpibind.Topology().map(1)).split(" nths")[0],
        )

    def test_both_ways_to_start(self):
        script = Path(sys.executable).parent / "mpibind"
        words = ["map", "-n", "4", "--topology", str(support.WORKED_EXAMPLE)]
        done = subprocess.run([script, *words], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout, WORKED_EXAMPLE)

    def test_settings_from_the_environment(self):
        env = {"MPIBIND_TOPOFILE": str(support.WORKED_EXAMPLE), "MPIBIND": "smt:2,gpu:0"}
        node = mpibind.Topology.from_xml(support.WORKED_EXAMPLE)
        shown = support.printed("map", "-n", 4, env=env)
        self.assertEqual(shown, f"{node.map(4, smt=2, gpu_optim=False)}\n")
        shown = support.printed("map", "-n", 4, "--smt", 1, "--gpu-optim", env=env)
        self.assertEqual(shown, f"{node.map(4, smt=1)}\n")

    def test_variables(self):
        words = ("map", "-n", 4, "--topology", AMD, "--env")
        mapping = mpibind.Topology.from_xml(AMD).map(4)
        expected = [mapping.env(task, omp_affinity=True) for task in range(4)]
        self.assertEqual(json.loads(support.printed(*words, "--json")), expected)
        text = support.printed(*words)
        self.assertTrue(text.startswith("OMP_NUM_THREADS:\n  [0]: 64\n  [1]: 64\n"), text)
        self.assertIn("ROCR_VISIBLE_DEVICES:\n  [0]: 3,2\n", text)
        # Variables that are left out are not shown either.
        text = support.printed(*words, env={"MPIBIND": "omp_places,visdevs"})
        self.assertEqual(re.findall(r"^\w+:", text, re.M), ["OMP_NUM_THREADS:", "OMP_PROC_BIND:"])

    def test_variables_for_network_cards(self):
        words = ("map", "-n", 8, "--topology", DGX, "--env")
        self.assertNotIn("mlx5", support.printed(*words))
        text = support.printed(*words, "--nics")
        self.assertIn("NCCL_IB_HCA:\n  [0]: =mlx5_0:1\n", text)
        self.assertEqual(support.printed(*words, env={"MPIBIND": "nics"}), text)
        self.assertNotIn("mlx5", support.printed(*words, "--no-nics", env={"MPIBIND": "nics"}))
        # On another machine it does not count what is set here.
        env = {"UCX_NET_DEVICES": "mlx5_7:1"}
        self.assertEqual(support.printed(*words, "--nics", env=env), text)

    def test_json(self):
        text = support.printed("map", "-n", 4, "--topology", AMD, "--json")
        node = mpibind.Topology.from_xml(AMD)
        self.assertEqual(mpibind.Mapping.from_json(text), node.map(4))
        self.assertEqual(text.count("\n"), 1)

    def test_picture(self):
        words = ("map", "-n", 4, "--topology", AMD, "--svg")
        svg = mpibind.Topology.from_xml(AMD).map(4).to_svg()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture.svg"
            self.assertEqual(support.printed(*words, path), "")
            self.assertEqual(path.read_text().rstrip(), svg.rstrip())
            self.assertEqual(support.printed("topo", "--topology", AMD, "--svg", path), "")
            picture = mpibind.Topology.from_xml(AMD).to_svg()
            self.assertEqual(path.read_text().rstrip(), picture.rstrip())
        self.assertEqual(support.printed(*words, "-").rstrip(), svg.rstrip())

    def test_warnings_are_told_apart(self):
        done = support.command("map", "-n", 1, "--smt", 1, "--topology", AMD)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertRegex(done.stderr, r"^mpibind map: warning: .*smt.*\n$")

    def test_no_numpy(self):
        code = """
            import sys
            from mpibind.cli import main
            for words in (["map", "-n", "4"], ["map", "--sweep"], ["topo"], ["report"]):
                assert main(words) == 0
            print([name for name in ("numpy", "mpi4py", "inspect") if name in sys.modules])
            """
        self.assertEqual(support.run(code).splitlines()[-1], "[]")


class Sweep(unittest.TestCase):
    def rows(self, *words: object) -> list[dict]:
        return json.loads(support.printed("map", "--sweep", "--json", *words))

    def test_same_as_the_mappings(self):
        """Everything in the table can be counted in the arrays of each mapping."""
        for path in (AMD, support.WORKED_EXAMPLE):
            node = mpibind.Topology.from_xml(path)
            rows = self.rows("--topology", path)
            self.assertGreater(len(rows), 10)
            for row in rows:
                smt, ntasks, greedy = row["smt"], row["ntasks"], row["greedy"]
                with self.subTest(path.name, row=row):
                    self.check(node, row, ntasks, smt, greedy is not False)
                    if greedy is None:
                        self.check(node, row, ntasks, smt, False)

    def check(self, node: mpibind.Topology, row: dict, ntasks: int, smt: int, greedy: bool) -> None:
        with support.warnings.catch_warnings():
            support.warnings.simplefilter("ignore")
            mapping = node.map(ntasks, smt=smt, greedy=greedy)
        matrix = mapping.cpu_matrix
        self.assertEqual(row["cpus"], matrix.any(axis=0).sum())
        self.assertEqual(row["nthreads"], [mapping.nthreads.min(), mapping.nthreads.max()])
        gpus = mapping.gpu_matrix.sum(axis=1)
        self.assertEqual(row["gpus"], [gpus.min(), gpus.max()])
        self.assertEqual(row["across_numas"], (mapping.numa_matrix.sum(axis=1) > 1).sum())
        shared = matrix.sum(axis=0) > 1
        self.assertEqual(row["sharing"], (matrix & shared).any(axis=1).sum())
        self.assertEqual(row["ncores"], node.ncores)

    def test_choices(self):
        rows = self.rows("--topology", AMD)
        self.assertEqual(sorted({row["ntasks"] for row in rows}), [1, 2, 4, 8, 16, 32, 64, 128])
        self.assertEqual({row["smt"] for row in rows}, {0, 1, 2})
        for row in rows:
            # With fewer tasks than NUMA domains it matters, with as many it does not.
            self.assertEqual(row["greedy"] is None, row["ntasks"] >= 8, row)
        self.assertEqual([row["across_l3s"] for row in rows if row["ntasks"] == 16], [0, 0, 0])
        self.assertEqual([row["across_l3s"] for row in rows if row["ntasks"] == 8], [8, 8, 8])

    def test_what_is_given_is_no_choice(self):
        rows = self.rows("--topology", AMD, "-n", 3, "--smt", 1, "--no-greedy")
        self.assertEqual(
            [(row["ntasks"], row["smt"], row["greedy"]) for row in rows], [(3, 1, False)]
        )
        rows = self.rows("--topology", AMD, "-n", 2, "--greedy", "--nthreads", 5)
        self.assertEqual(
            [(row["smt"], row["nthreads"]) for row in rows], [(k, [5, 5]) for k in (0, 1, 2)]
        )
        rows = self.rows("--synthetic", "numa:3 core:4 pu:1", "--gpus", "2,2,1")
        self.assertEqual(sorted({row["ntasks"] for row in rows}), [1, 2, 3, 4, 5, 8, 12])

    def test_table(self):
        text = support.printed("map", "--sweep", "--topology", AMD, "-n", 8)
        self.assertEqual(text, SWEEP)
        for path in support.MACHINES:
            text = support.printed("map", "--sweep", "--topology", path)
            for line in text.splitlines():
                self.assertLessEqual(len(line), 80, line)


class Topo(unittest.TestCase):
    def test_text(self):
        node = mpibind.Topology.from_xml(POWER)
        self.assertEqual(support.printed("topo", "--topology", POWER), f"{node}\n")
        tables = mpibind.devices(POWER)
        self.assertEqual(support.printed("topo", "--topology", POWER, "--devices"), f"{tables}\n")
        self.assertEqual(support.printed("topo").split()[0], "this")
        shown = support.printed("topo", "--synthetic", SYNTHETIC, "--gpus", "2")
        self.assertEqual(shown.count("\n  GPU "), 2)

    def test_json(self):
        text = support.printed("topo", "--topology", POWER, "--json")
        self.assertEqual(mpibind.Topology.from_json(text), mpibind.Topology.from_xml(POWER))

    def test_xml(self):
        """What is written can be mapped to elsewhere."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "node.xml"
            self.assertEqual(support.printed("topo", "--topology", AMD, "--xml", path), "")
            words = ("map", "-n", 8, "--topology")
            self.assertEqual(support.printed(*words, path), support.printed(*words, AMD))
            text = support.printed("topo", "--topology", AMD, "--xml", "-")
            self.assertEqual(text, path.read_text())


class Terminal(unittest.TestCase):
    def test_lines_fit(self):
        for columns in (80, 60):
            for words in (["map", "-n", 4], ["topo"], ["map", "--sweep", "-n", 4]):
                # Relative: a path is shown as it was given, and never broken.
                name = Path(POWER).relative_to(support.ROOT)
                text = on_terminal(*words, "--topology", name, columns=columns)
                for line in text.splitlines():
                    self.assertLessEqual(len(line), columns, line)

    def test_nothing_is_lost(self):
        words = ["map", "-n", 4, "--topology", POWER]
        whole = support.printed(*words)
        self.assertGreater(
            max(map(len, support.printed("map", "-n", 2, *words[3:]).split("\n"))), 80
        )
        wrapped = on_terminal(*words, columns=60)
        self.assertNotEqual(wrapped, whole)
        self.assertEqual("".join(wrapped.split()), "".join(whole.split()))

    def test_help_without_a_terminal(self):
        for command in COMMANDS:
            text = support.printed(command, "--help")
            for line in text.splitlines():
                self.assertLessEqual(len(line), 80, line)


class Help(unittest.TestCase):
    def test_every_command(self):
        text = support.printed("--help")
        for command in COMMANDS:
            self.assertRegex(text, rf"(?m)^  {command} ")
            shown = support.printed(command, "--help")
            self.assertIn(f"usage: mpibind {command} ", shown)
            self.assertIn("examples:\n  ", shown)

    def test_examples_are_commands(self):
        """Every example that starts with mpibind and only shows is tried."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "node.xml").write_bytes(AMD.read_bytes())
            tried = 0
            for command in ("map", "topo"):
                text = support.printed(command, "--help")
                for line in text[text.index("examples:") :].splitlines()[1:]:
                    words = re.split(r" {3,}", line.strip())[0]
                    if words.startswith("mpibind"):
                        shell = words.replace("mpibind", f"{sys.executable} -m mpibind", 1)
                        done = subprocess.run(shell, shell=True, cwd=folder, capture_output=True)
                        self.assertEqual(done.returncode, 0, f"{words}\n{done.stderr}")
                        tried += 1
            self.assertGreater(tried, 5)

    def test_version(self):
        text = support.printed("--version")
        self.assertRegex(text, rf"^mpibind {re.escape(mpibind.__version__)}, hwloc 2\.\d+\.\d+\n$")

    def test_options_are_named_as_in_python(self):
        import inspect

        shown = support.printed("map", "--help")
        for name in inspect.signature(mpibind.Topology.map).parameters:
            # A command has its own environment.
            if name not in ("self", "environ"):
                self.assertIn(f"--{name.replace('_', '-')}", shown)
        shown = support.printed("run", "--help")
        for name in inspect.signature(mpibind.bind).parameters:
            # To apply and to set the environment is what the command is for.
            if name not in ("local_size", "apply", "env"):
                self.assertIn(f"--{name.replace('_', '-')}", shown)


class Errors(unittest.TestCase):
    def check(self, status: int, words: list[str], *command: object, **env: str) -> None:
        done = support.command(*command, env=env)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr, r"^mpibind( \w+)?: error: ")
        for word in words:
            self.assertIn(word, done.stderr)

    def test_commands(self):
        self.check(2, ["map, run, report, topo, doctor"])
        self.check(2, ["'mapp'", "did you mean map?"], "mapp")
        self.check(2, ["'zzz'", "map, run, report, topo, doctor"], "zzz")
        self.check(2, ["--versio", "--version?"], "--versio")

    def test_unknown_options(self):
        nearest = {
            "--smtt": "--smt",
            "--ntask": "--ntasks",
            "--threads": "--nthreads",
            "--restrict_ids": "--restrict-ids",
            "--no_greedy": "--no-greedy",
            "--topofile=a": "--topology",
            "--jsn": "--json",
            "--no-gpus": "--no-gpu",
        }
        for word, near in nearest.items():
            option = word.partition("=")[0]
            self.check(2, [f"no option {option};", f"did you mean {near}?"], "map", "-n", 4, word)
        self.check(2, ["no option --qqqq; see"], "map", "-n", 4, "--qqqq")
        self.check(2, ["'4'", "`-n 4`"], "map", "4")
        self.check(2, ["'four' is not expected here; see"], "map", "-n", 4, "four")
        for command in COMMANDS:
            self.check(2, [f"see `mpibind {command} --help`", "--help?"], command, "--hepl")

    def test_values(self):
        self.check(2, ["-n/--ntasks", "'x' is not a whole number"], "map", "-n", "x")
        self.check(2, ["-n/--ntasks", "expected one argument"], "map", "-n")
        self.check(2, ["how many tasks"], "map")
        self.check(2, ["ntasks=0 is not legal", "1 to"], "map", "-n", 0)
        self.check(2, ["ntasks=-3 is not legal"], "map", "-n", -3)
        self.check(2, ["ntasks=", "is not legal"], "map", "-n", "9" * 30)
        self.check(
            2, ["smt=9 is not legal", "0 to 4"], "map", "-n", 1, "--smt", 9, "--topology", POWER
        )
        self.check(2, ["gpu_ids", "fast", "index"], "map", "-n", 1, "--gpu-ids", "fast")
        self.check(2, ["restrict_ids", "0-x"], "map", "-n", 1, "--restrict", "0-x")
        self.check(2, ["restrict_type", "disk"], "map", "-n", 1, "--restrict-type", "disk")
        self.check(
            2,
            ["--gpus", "'a'", "such as 2,0"],
            "map",
            "-n",
            1,
            "--synthetic",
            "pu:2",
            "--gpus",
            "a",
        )
        self.check(2, ["gpus=[1, 1]"], "map", "-n", 1, "--synthetic", "pu:2", "--gpus", "1,1")
        self.check(2, ["MPIBIND='smt:'"], "map", "-n", 1, MPIBIND="smt:")

    def test_words_that_are_no_text(self):
        for option in ("restrict-ids", "restrict-type", "gpu-ids", "visible"):
            said = [option.replace("-", "_"), r"'\udce9'", "not text that can be written in UTF-8"]
            self.check(2, said, "map", "-n", 1, f"--{option}", "\udce9")
        self.check(2, [r"text='\udce9'", "UTF-8"], "topo", "--synthetic", "\udce9")

    def test_options_that_exclude_each_other(self):
        self.check(
            2,
            ["--topology", "--synthetic"],
            "map",
            "-n",
            1,
            "--topology",
            POWER,
            "--synthetic",
            "pu:2",
        )
        self.check(2, ["--gpus", "--synthetic"], "map", "-n", 1, "--gpus", "1")
        self.check(2, ["--env", "--sweep", "not allowed with"], "map", "-n", 1, "--env", "--sweep")
        # Two documents on one stream can be told apart by nobody.
        words = ["would print one after the other; name a file"]
        self.check(2, ["--svg - and --json", *words], "map", "-n", 1, "--svg", "-", "--json")
        self.check(2, ["--xml - and --json", *words], "topo", "--xml", "-", "--json")
        self.check(2, ["--xml - and --svg -", *words], "topo", "--xml", "-", "--svg", "-")
        words = ["--json and --devices would print one after the other; give one"]
        self.check(2, words, "topo", "--devices", "--json")

    def test_nodes(self):
        self.check(1, ["/nosuch.xml", "No such file"], "map", "-n", 1, "--topology", "/nosuch.xml")
        self.check(1, ["README.md", "XML"], "topo", "--topology", "README.md")
        self.check(1, ["package:x"], "topo", "--synthetic", "package:x")
        self.check(
            1, ["/nosuch.xml", "MPIBIND_TOPOFILE"], "map", "-n", 1, MPIBIND_TOPOFILE="/nosuch.xml"
        )
        self.check(1, ["/nosuch/a", "No such file"], "topo", "--xml", "/nosuch/a")
        self.check(1, ["/nosuch/a", "No such file"], "map", "-n", 1, "--svg", "/nosuch/a")
        self.check(1, ["docs", "Is a directory"], "topo", "--svg", "docs")
        advice = ["cannot write ''", "name a file in a folder that you may write to"]
        self.check(1, advice, "map", "-n", 1, "--svg", "")
        made = ("--synthetic", "numa:1 pu:2", "--gpus", 1)
        self.check(1, ["made up", "JSON"], "topo", *made, "--xml", "-")
        self.check(1, ["MPIBIND=off"], "map", "-n", 1, MPIBIND="off")

    def test_uuids_that_are_not_there(self):
        self.check(
            1,
            ["UUID", "gpu_ids"],
            "map",
            "-n",
            1,
            "--synthetic",
            "numa:1 pu:2",
            "--gpus",
            1,
            "--gpu-ids",
            "uuid",
        )


class Output(unittest.TestCase):
    def test_defect_of_the_core(self):
        """What Rust calls a panic is said in one line."""
        found = support.run_json(
            """
            import contextlib, io, json
            from mpibind import _core, cli
            def panic(words):
                raise _core.PanicException("planted")
            cli._COMMANDS["map"] = panic
            with contextlib.redirect_stderr(io.StringIO()) as said:
                status = cli.main(["map"])
            print(json.dumps([status, said.getvalue()]))
            """
        )
        line = "mpibind map: error: this is a defect of mpibind, please report it: planted\n"
        self.assertEqual(found, [1, line])

    def test_letters_that_the_terminal_is_not_set_to(self):
        env = {"PYTHONIOENCODING": "ascii"}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "n\u00f8de.xml"
            shutil.copy(AMD, path)
            text = support.printed("topo", "--topology", path, env=env)
            self.assertIn("n\\xf8de.xml", text)
            # SVG, JSON and XML are UTF-8 everywhere.
            for words in (
                ("map", "-n", 4, "--svg", "-"),
                ("topo", "--svg", "-"),
                ("topo", "--json"),
            ):
                text = support.printed(*words, "--topology", path, env=env, encoding="utf-8")
                self.assertIn("n\u00f8de.xml", text)

    def test_reader_that_leaves(self):
        """No traceback, and death as of other tools."""
        words = ["map", "-n", "20000", "--topology", str(AMD)]
        with subprocess.Popen(
            [*MPIBIND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            process.stdout.read(10)
            process.stdout.close()
            errors = process.stderr.read()
            process.wait(60)
        self.assertEqual((process.returncode, errors), (-signal.SIGPIPE, b""))

    def test_disk_that_is_full(self):
        with Path("/dev/full").open("w") as full:
            # With a buffer, Python would try again at its end.
            done = support.command("topo", stdout=full, env={"PYTHONUNBUFFERED": ""})
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "mpibind topo: error: No space left on device\n")

    def test_help_that_cannot_be_printed(self):
        for words in (["--help"], *([command, "--help"] for command in COMMANDS)):
            for start in ([support.MPIBIND], MPIBIND):
                with self.subTest(words, start=start), Path("/dev/full").open("w") as full:
                    done = support.command(*words, start=start, stdout=full)
                    self.assertEqual(done.returncode, 1)
                    self.assertRegex(done.stderr, "^mpibind.*: error: .*No space left.*\n$")

    def test_errors_that_cannot_be_printed(self):
        for words, status in ((["map", "-n", 0], 2), (["topo", "--topology", "/nosuch"], 1)):
            for unbuffered in ("", "1"):
                with self.subTest(words), Path("/dev/full").open("w") as full:
                    env = {"PYTHONUNBUFFERED": unbuffered}
                    done = support.command(*words, stderr=full, env=env)
                    self.assertEqual((done.returncode, done.stdout), (status, ""))

    def test_closed_output(self):
        command = ["sh", "-c", '"$@" >&-', "sh", *MPIBIND]
        done = subprocess.run([*command, "topo"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "^mpibind topo: error: standard output is closed.*\n$")
        # Whether its program needs one is not for mpibind to say.
        subprocess.run([*command, "run", "true"], check=True)

    def test_interrupt(self):
        code = """
            import signal
            from mpibind import cli
            # What runs in the background of a shell may have it ignored, and so do its children.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            def wait(words):
                print("ready", flush=True)
                signal.pause()
            cli._COMMANDS["topo"] = wait
            cli.main(["topo"])
            """
        with subprocess.Popen(
            [sys.executable, "-c", support.textwrap.dedent(code)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            errors = process.stderr.read()
        self.assertEqual((process.returncode, errors), (-signal.SIGINT, b""))


WORKED_EXAMPLE = """\
mpibind: task  0 nths  4 gpus 0 cpus 0-4
mpibind: task  1 nths  4 gpus 0 cpus 5-9
mpibind: task  2 nths  4 gpus 1 cpus 10-13
mpibind: task  3 nths  4 gpus 1 cpus 14-17
"""

SWEEP = """\
tasks  smt  greedy  threads    cores  CPUs  GPUs  over NUMA  over L3  sharing
    8    0  same         16  128/128   128     1          0        8        0
    8    1  same         16  128/128   128     1          0        8        0
    8    2  same         32  128/128   256     1          0        8        0
"""

if __name__ == "__main__":
    support.main()
