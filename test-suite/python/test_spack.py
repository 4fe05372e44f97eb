"""The recipes for Spack: loaded with a stand-in for its package API, and compared with the project.

The stand-in has the few names of `spack.package` that the recipes use, and keeps what they say. It
cannot tell whether Spack finds versions of everything; it tells whether the recipes are right about
this project, and whether their test methods pass.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import types
import unittest
import unittest.mock
from importlib import util
from pathlib import Path

import support

REPOSITORY = support.ROOT / "spack" / "spack_repo" / "mpibind"
PYPROJECT = (support.ROOT / "pyproject.toml").read_text()
CARGO = (support.ROOT / "Cargo.toml").read_text()

# Name, versions and variants of a spec, as far as the recipes use them.
SPEC = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*)?(?P<at>@[\w.]+:?[\w.]*)?(?P<variants>([+~]\w+)*)")


class Said(dict):
    """What a recipe says: by directive, a list of its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.conditions: list[str] = []

    def directive(self, name: str):
        def say(*words, when=None, **more):
            conditions = [*self.conditions, *([when] if when else [])]
            for text in [*(words[:1] if name == "depends_on" else ()), *conditions]:
                if not SPEC.fullmatch(text):
                    raise ValueError(f"{name}: {text!r} is no spec")
            self.setdefault(name, []).append((words, "".join(conditions), more))

        return say

    @contextlib.contextmanager
    def when(self, condition: str):
        self.conditions.append(condition)
        yield
        self.conditions.pop()

    def needs(self, variants: str) -> dict[str, str]:
        """What is depended on with these variants, and with which versions and variants."""
        chosen = set(re.findall(r"[+~]\w+", variants))
        needs: dict[str, str] = {}
        for (spec,), condition, _ in self["depends_on"]:
            if set(re.findall(r"[+~]\w+", condition)) <= chosen:
                parts = SPEC.fullmatch(spec)
                more = (parts["at"] or "") + (parts["variants"] or "")
                needs[parts["name"]] = needs.get(parts["name"], "") + more
        return needs


class SkipTest(Exception):  # Spack's name
    """Spack's way to say that a test cannot be run."""


class Executable:
    """Spack's way to start a program."""

    def __init__(self, *command: str) -> None:
        self.command = command

    def __call__(self, *words: str, output=None, error=None) -> str:
        assert output is str.split and error is str.split, "both are to be returned"
        done = subprocess.run(
            [*self.command, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout


def load(folder: Path) -> tuple[type, Said]:
    """Load a recipe as Spack would; return its class and what it says."""
    said = Said()
    api = types.ModuleType("spack.package")
    for name in ("conflicts", "depends_on", "license", "variant", "version"):
        setattr(api, name, said.directive(name))
    api.when, api.join_path = said.when, os.path.join
    api.Executable, api.SkipTest, api.EnvironmentModifications = Executable, SkipTest, object
    python, bundle = (
        types.ModuleType(f"spack_repo.builtin.build_systems.{name}")
        for name in ("python", "bundle")
    )
    python.PythonPackage = type("PythonPackage", (), {})
    bundle.BundlePackage = type("BundlePackage", (), {})
    modules = {module.__name__: module for module in (api, python, bundle)}
    # The packages that they are in.
    for name in [*modules]:
        while name := name.rpartition(".")[0]:
            modules.setdefault(name, types.ModuleType(name))
    with unittest.mock.patch.dict(sys.modules, modules):
        spec = util.spec_from_file_location(folder.name, folder / "package.py")
        module = util.module_from_spec(spec)
        spec.loader.exec_module(module)
    # Spack's rule: each word of the folder's name with a capital, and no underscores.
    return getattr(module, "".join(map(str.capitalize, folder.name.split("_")))), said


def asked(text: str, name: str) -> str:
    """The lowest version that the project asks for, from a requirement such as "numpy>=1.22"."""
    return re.search(rf'"{name}>=([\d.]+)"', text)[1]


class Recipes(unittest.TestCase):
    def setUp(self):
        packages = REPOSITORY / "packages"
        self.package, self.said = load(packages / "py_mpibind")
        self.bundle, self.bundle_said = load(packages / "mpibind")

    def test_the_repository_is_named_as_its_folder(self):
        text = (REPOSITORY / "repo.yaml").read_text()
        self.assertRegex(text, rf"(?m)^  namespace: {REPOSITORY.name}$")
        self.assertRegex(text, r"(?m)^  api: v2\.\d+$")
        self.assertEqual(REPOSITORY.parent.name, "spack_repo")

    def test_versions_are_those_that_the_project_asks_for(self):
        sys.path.insert(0, str(support.ROOT / "tools"))
        import prerequisites

        oldest, too_new = prerequisites.HWLOC
        python = re.search(r'requires-python = ">=([\d.]+)"', PYPROJECT)[1]
        rust = re.search(r'rust-version = "([\d.]+)"', CARGO)[1]
        self.assertEqual(
            self.said.needs("+mpi+jupyter"),
            {
                "c": "",
                "pkgconfig": "",
                "py-setuptools": f"@{asked(PYPROJECT, 'setuptools')}:",
                "py-setuptools-rust": f"@{asked(PYPROJECT, 'setuptools-rust')}:",
                "rust": f"@{rust}:",
                "hwloc": f"@{oldest}:{int(float(too_new)) - 1}",
                "python": f"@{python}:",
                "py-numpy": f"@{asked(PYPROJECT, 'numpy')}:",
                "py-mpi4py": f"@{asked(PYPROJECT, 'mpi4py')}:",
                "py-ipykernel": f"@{asked(PYPROJECT, 'ipykernel')}:",
                "py-ipyparallel": f"@{asked(PYPROJECT, 'ipyparallel')}:",
            },
        )

    def test_variants_bring_what_they_say(self):
        without = self.said.needs("~mpi~jupyter")
        self.assertNotIn("py-mpi4py", without)
        self.assertNotIn("py-ipykernel", without)
        for variants in ("~mpi~jupyter", "+mpi~jupyter", "~mpi+jupyter", "+mpi+jupyter"):
            with self.subTest(variants):
                needs = self.bundle_said.needs(f"+python{variants}")
                self.assertEqual(needs, {"py-mpibind": variants})
        self.assertEqual(self.bundle_said.needs("~python+mpi~jupyter"), {})
        self.assertEqual(self.bundle_said["conflicts"][0][0], ("~python",))

    def test_variants_of_the_two_are_the_same(self):
        ours = {words[0]: more for words, _, more in self.said["variant"]}
        bundles = {words[0]: more for words, _, more in self.bundle_said["variant"]}
        self.assertEqual({**ours, "python": bundles["python"]}, bundles)
        self.assertTrue(bundles["python"]["default"])

    def test_the_source_is_this_checkout(self):
        self.assertEqual(Path(self.package.git), support.ROOT)

    def test_its_test_methods_pass(self):
        package = self.package()
        package.spec = types.SimpleNamespace(satisfies=lambda variant: variant == "+mpi")
        package.prefix = types.SimpleNamespace(bin=str(Path(sys.executable).parent))
        package.module = types.SimpleNamespace(python=Executable(sys.executable))
        tests = [name for name in dir(package) if name.startswith("test_")]
        self.assertEqual(tests, ["test_bind", "test_bind_mpi", "test_map", "test_run"])
        for name in tests:
            with self.subTest(name):
                getattr(package, name)()
        for name in package.import_modules:
            support.run(f"import {name}")
        package.spec.satisfies = lambda _: False
        self.assertEqual(package.import_modules, ["mpibind", "mpibind._core"])
        with self.assertRaises(SkipTest):
            package.test_bind_mpi()

    def test_cargo_stays_in_the_build_folder(self):
        package, seen = self.package(), {}
        package.stage = types.SimpleNamespace(path="/stage")
        package.setup_build_environment(types.SimpleNamespace(set=seen.__setitem__))
        self.assertEqual(seen, {"CARGO_HOME": "/stage/cargo"})


class TheTestItself(unittest.TestCase):
    def test_what_is_no_spec_is_found(self):
        with self.assertRaises(ValueError):
            Said().directive("depends_on")("py-numpy >= 1.22")


if __name__ == "__main__":
    support.main()
