"""The build: what it says when something is missing, and what it makes."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

import support

sys.path.insert(0, str(support.ROOT / "tools"))
import prerequisites

SYSTEMS = ["Debian, Ubuntu", "Fedora, RHEL", "Arch", "openSUSE", "macOS", "conda", "Spack"]
IN_PLACE = ["setup.py", "--quiet", "build_rust", "--inplace", "--qbuild"]


def build(folder: Path, *arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


class Missing(unittest.TestCase):
    """setup.py is run on a system that lacks something, in an environment made for it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.bin = Path(folder.name) / "bin"
        self.bin.mkdir()
        self.env = {
            "PATH": str(self.bin),
            # Neither a rustup nor a .pc file of this machine is found.
            "HOME": folder.name,
            "PKG_CONFIG_LIBDIR": folder.name,
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def have(self, tool: str, prints: str) -> None:
        """Put a tool on PATH that prints this, whatever it is asked."""
        path = self.bin / tool
        path.write_text(f"#!/bin/sh\necho '{prints}'\n")
        path.chmod(0o755)

    def have_rust(self) -> None:
        self.have("cargo", "cargo 1.99.0 (0123456 2026-01-01)")
        self.have("rustc", "rustc 1.99.0 (0123456 2026-01-01)")

    def have_compiler(self) -> None:
        self.have("cc", "")

    def have_pkg_config(self) -> None:
        found = shutil.which("pkg-config") or shutil.which("pkgconf")
        assert found is not None
        (self.bin / "pkg-config").symlink_to(found)

    def have_hwloc(self, version: str) -> None:
        text = f"Name: hwloc\nDescription: hwloc\nVersion: {version}\nLibs: -lhwloc\n"
        Path(self.env["PKG_CONFIG_LIBDIR"], "hwloc.pc").write_text(text)

    def missing(self) -> tuple[list[str], str]:
        """Return the lines that name what is missing, and the whole text."""
        done = build(support.ROOT, *IN_PLACE, env=self.env)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        start = done.stderr.index("error: mpibind cannot be built here yet")
        text = done.stderr[start:]
        return re.findall(r"^  \* (.*)$", text, re.MULTILINE), text

    def test_everything(self):
        reasons, text = self.missing()
        self.assertRegex(reasons[0], r"^Rust 1\.\d+ or newer: there is no cargo on PATH$")
        self.assertEqual(reasons[1], "a C compiler, with which Rust links: there is no cc on PATH")
        self.assertRegex(reasons[2], "^pkg-config, which says where hwloc is: there is none")
        self.assertRegex(reasons[3], r"^hwloc 2\.3 or newer .*cannot be looked for without")
        self.assertEqual(len(reasons), 4)
        for system in SYSTEMS:
            self.assertRegex(text, rf"(?m)^  {system} .* (install|-S) .*\b(lib)?hwloc\b")

    def test_rust(self):
        self.have_compiler()
        self.have_pkg_config()
        self.have_hwloc("2.9.0")
        reasons, text = self.missing()
        self.assertRegex(reasons[0], "^Rust")
        self.assertEqual(len(reasons), 1)
        self.assertIn("https://rustup.rs", text)
        # Only what is missing has to be installed.
        self.assertNotIn("libhwloc-dev", text)

    def test_old_rust(self):
        self.have_rust()
        self.have("rustc", "rustc 1.63.0 (4b91a6ea7 2022-08-08)")
        self.have_compiler()
        self.have_pkg_config()
        self.have_hwloc("2.9.0")
        reasons, _ = self.missing()
        found = re.escape(str(self.bin / "rustc"))
        self.assertRegex(reasons[0], rf"^Rust 1\.\d+ or newer: {found} is rustc 1\.63\.0")
        self.assertEqual(len(reasons), 1)

    def test_rustup_of_a_shell_opened_before(self):
        self.have_rust()
        self.bin.rename(self.bin.with_name("tools"))
        (self.bin.parent / ".cargo").mkdir()
        self.bin.with_name("tools").rename(self.bin.parent / ".cargo" / "bin")
        reasons, _ = self.missing()
        self.assertNotRegex(reasons[0], "^Rust")

    def test_compiler(self):
        self.have_rust()
        self.have_pkg_config()
        self.have_hwloc("2.9.0")
        reasons, text = self.missing()
        self.assertRegex(reasons[0], "^a C compiler")
        self.assertEqual(len(reasons), 1)
        self.assertRegex(text, "(?m)^  Debian, Ubuntu +apt-get install gcc libc6-dev$")
        self.assertRegex(text, "(?m)^  macOS +xcode-select --install$")

    def test_compiler_of_another_name(self):
        """That of conda is x86_64-conda-linux-gnu-cc, and its Rust names it as the linker."""
        self.env["CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER"] = "conda-cc"
        reasons, _ = self.missing()
        self.assertNotIn("C compiler", "".join(reasons))

    def test_pkg_config(self):
        self.have_rust()
        self.have_compiler()
        self.have_hwloc("2.9.0")
        reasons, text = self.missing()
        self.assertRegex(reasons[0], "^pkg-config")
        self.assertIn("apt-get install pkg-config libhwloc-dev", text)
        self.assertNotIn("rustup", text)

    def test_hwloc(self):
        self.have_rust()
        self.have_compiler()
        self.have_pkg_config()
        for version in (None, "1.11.13", "2.2.0", "3.0.0"):
            with self.subTest(version=version):
                if version:
                    self.have_hwloc(version)
                reasons, text = self.missing()
                wanted = f"found {version}" if version else "knows none"
                self.assertRegex(reasons[0], rf"^hwloc 2\.3 or newer .*{wanted}")
                self.assertEqual(len(reasons), 1)
                self.assertRegex(text, "(?m)apt-get install libhwloc-dev$")

    def test_setuptools(self):
        """Python 3.12 and newer make environments that have neither of the two."""
        # -S: without the environment's packages.
        done = build(support.ROOT, "-S", *IN_PLACE, env=self.env)
        self.assertEqual(done.returncode, 1)
        self.assertNotIn("Traceback", done.stderr)
        self.assertIn("error: setuptools or setuptools-rust is missing", done.stderr)
        self.assertIn("-m pip install --upgrade setuptools setuptools-rust\n", done.stderr)

    def test_pip_shows_it_too(self):
        self.env["PYTHONPATH"] = str(Path(importlib.metadata.__file__).parent)
        arguments = ["-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index"]
        with tempfile.TemporaryDirectory() as wheels:
            done = build(support.ROOT, *arguments, "--wheel-dir", wheels, ".", env=self.env)
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is no cargo on PATH", done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stdout + done.stderr)


class Documentation(unittest.TestCase):
    def test_packages_are_those_that_the_error_names(self):
        page = (support.ROOT / "docs" / "install.md").read_text()
        rows = [line.strip("| ").split(" | ") for line in page.splitlines() if " | " in line]
        head = next(row for row in rows if "Debian, Ubuntu" in row)
        self.assertEqual(head, [system.name for system in prerequisites.SYSTEMS])
        words = {
            "rust": "Rust",
            "compiler": "a C compiler",
            "pkg_config": "pkg-config",
            "hwloc": "libhwloc",
        }
        self.assertEqual([*words], [look.__name__ for look in prerequisites.TO_BUILD])
        for look, word in words.items():
            row = next(row for row in rows if row[0].startswith(word))
            packages = [{**s.packages, **s.apart}[look] for s in prerequisites.SYSTEMS]
            self.assertEqual(row[1:], [f"`{name}`" for name in packages])


class Licences(unittest.TestCase):
    def test_every_crate_in_the_extension_is_listed(self):
        """LICENSES.md goes into every wheel; `make licences` writes it anew."""
        command = ["cargo", "tree", "--locked", "--package=mpibind-pyext", "--prefix=none"]
        command += ["--edges=normal,no-proc-macro", "--target=x86_64-unknown-linux-gnu"]
        command += ["--format={p}"]
        cargo = f"{Path.home() / '.cargo' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command,
            cwd=support.ROOT,
            env={**os.environ, "PATH": cargo},
            capture_output=True,
            text=True,
            check=True,
        )
        used = {tuple(line.split()[:2]) for line in done.stdout.splitlines() if line}
        used = {(name, version) for name, version in used if not name.startswith("mpibind-")}
        self.assertIn("pyo3", dict(used))
        text = (support.ROOT / "LICENSES.md").read_text("utf-8")
        listed = set(re.findall(r"^\* (\S+) (\S+)$", text, re.MULTILINE))
        missing = {
            name for name, version in used if (name, version.removeprefix("v")) not in listed
        }
        self.assertEqual(missing, set(), "type `make licences`")
        self.assertIn("## libhwloc (BSD-3-Clause)", text)

    def test_crates_of_the_standard_library_are_listed(self):
        """Cargo.lock does not name them, but messages of panics name their files."""
        import mpibind._core

        text = (support.ROOT / "LICENSES.md").read_text("utf-8")
        listed = {*re.findall(r"^\* ([\w-]+): Copyright", text, re.MULTILINE)}
        self.assertIn("addr2line", listed)
        for file in (mpibind._core.__file__, support.MPIBIND):
            found = re.findall(rb"/rust/deps/([\w-]+?)-\d", Path(file).read_bytes())
            self.assertEqual({name.decode() for name in found} - listed, set(), "tools/licences.py")


class Built(unittest.TestCase):
    def test_version_stands_once(self):
        import mpibind

        version = prerequisites.workspace("version")
        self.assertEqual(mpibind.__version__, version)
        self.assertEqual(importlib.metadata.version("mpibind"), version)

    def test_extension_is_for_every_python(self):
        import mpibind._core

        path = Path(mpibind._core.__file__)
        self.assertEqual(path.name, "_core.abi3.so")
        audit = ["-m", "abi3audit", "--strict", "--assume-minimum-abi3", "3.10", str(path)]
        done = build(support.ROOT, *audit, env={**os.environ})
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_in_place_from_a_source_distribution(self):
        """All that is needed is in the archive; built in place, it is used with PYTHONPATH."""
        # Always in the same folder, and with the crates that are compiled already: only what
        # changed since the last time is built.
        work = support.ROOT / "build" / "in-place"
        env = {**os.environ, "CARGO_TARGET_DIR": str(support.ROOT / "target")}
        shutil.rmtree(work, ignore_errors=True)
        left_by_builds = (".*", "target", "build", "dist", "*.egg-info", "*.so", "__pycache__")
        checkout = work / "checkout"
        shutil.copytree(support.ROOT, checkout, ignore=shutil.ignore_patterns(*left_by_builds))
        done = build(checkout, "setup.py", "--quiet", "sdist", "--dist-dir", str(work), env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        [archive] = work.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            # Python 3.12 warns without a filter; the first releases of 3.10 and 3.11 have none.
            packed.extractall(
                work, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {})
            )
        unpacked = work / archive.name.removesuffix(".tar.gz")
        # An index shows this, where what is relative leads nowhere.
        shown = (unpacked / "PKG-INFO").read_text("utf-8")
        self.assertIn("\nDescription-Content-Type: text/markdown\n", shown)
        self.assertIn("\n## How it works\n", shown)
        self.assertTrue(shown.endswith("\nmpibind is free software under the MIT licence.\n"))
        self.assertEqual(
            re.findall(r"(?m)\]\((?!https://).*|^## Where things.*|.*above,.*", shown), []
        )
        done = build(unpacked, *IN_PLACE, env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        code = "import mpibind._core as core; print(core.__file__, core.__version__)"
        done = build(work, "-c", code, env={**env, "PYTHONPATH": str(unpacked)})
        version = prerequisites.workspace("version")
        self.assertEqual(done.stdout, f"{unpacked / 'mpibind' / '_core.abi3.so'} {version}\n")


if __name__ == "__main__":
    support.main()
