"""Network cards of tasks, and the variables that name them to UCX and NCCL, on request."""

import re
import tempfile
import unittest
from pathlib import Path

import support
from test_bind import result

import mpibind

TOPOLOGIES = support.ROOT / "test-suite" / "topologies"
DGX = TOPOLOGIES / "dgx-h100-8gpu.xml"
SHOWN = ("UCX_NET_DEVICES", "NCCL_IB_HCA")

# A card of Mellanox at the whole machine, in hwloc's XML.
CARD = """
<object type="Bridge" gp_index="901" bridge_type="0-1" depth="0" bridge_pci="0000:[00-ff]">
 <object type="PCIDev" gp_index="902" pci_busid="0000:18:00.0" pci_link_speed="0.0"
         pci_type="0207 [15b3:1021] [15b3:0041] 00">
  <object type="OSDev" gp_index="903" name="mlx5_0" osdev_type="3"/>
 </object>
</object>
"""


class Variables(unittest.TestCase):
    def test_on_request_only(self):
        m = mpibind.Topology.from_xml(DGX).map(8)
        self.assertEqual(m[7].nics, ("mlx5_11",))
        self.assertFalse({*SHOWN} & {*m.env(7)})
        added = {"UCX_NET_DEVICES": "mlx5_11:1", "NCCL_IB_HCA": "=mlx5_11:1"}
        self.assertEqual(m.env(7, nics=True), {**m.env(7), **added})

    def test_several_cards(self):
        m = mpibind.Topology.from_xml(DGX).map(4)
        env = m.env(1, nics=True)
        self.assertEqual([env[name] for name in SHOWN], ["mlx5_4:1,mlx5_5:1", "=mlx5_4:1,mlx5_5:1"])

    def test_none_for_cards_that_neither_knows(self):
        m = mpibind.Topology.from_xml(TOPOLOGIES / "milan-a100-4gpu.xml").map(4)
        self.assertEqual(m[0].nics, ("hsn3",))
        self.assertEqual(m.env(0, nics=True), m.env(0))

    def test_wrong_type(self):
        m = mpibind.Topology.from_xml(DGX).map(1)
        with self.assertRaisesRegex(TypeError, "nics must be"):
            m.env(0, nics="mlx5_0")


SETUP = f"""
dgx = {str(DGX)!r}
shown = {SHOWN!r}
def look(): return [os.environ.get(name) for name in shown]
def put(rank, nics=True, **how):
    return mpibind.bind(rank, 8, topology=dgx, apply=False, nics=nics, **how)
"""


class Bind(unittest.TestCase):
    def check(self, code: str, expected: object, **env: str) -> None:
        self.assertEqual(result(f"{SETUP}\n{code}", **env), expected)

    def test_set_and_restored(self):
        code = """
with put(2) as binding:
    found = [look(), list(binding.nics), binding.env == binding.mapping.env(2, nics=True)]
print(json.dumps([*found, state() == before]))
"""
        self.check(code, [["mlx5_4:1", "=mlx5_4:1"], ["mlx5_4"], True, True])

    def test_off_by_default(self):
        code = "found = put(2, None); print(json.dumps([look(), list(found.nics)]))"
        self.check(code, [[None, None], ["mlx5_4"]])
        self.check(code, [["mlx5_4:1", "=mlx5_4:1"], ["mlx5_4"]], MPIBIND="nics")

    def test_what_the_user_set_stays(self):
        code = """
binding = put(2)
print(json.dumps([look(), sorted({*shown} & {*binding.env}), binding.notes[-1]]))
"""
        note = "UCX_NET_DEVICES='mlx5_9:1' was set before and stays"
        found = [["mlx5_9:1", "=mlx5_4:1"], ["NCCL_IB_HCA"], note]
        self.check(code, found, UCX_NET_DEVICES="mlx5_9:1")

    def test_what_was_set_by_mpibind_does_not_stay(self):
        code = """
first, second = put(2), put(3)
found = [look()]
second.restore()
found.append(look())
first.restore()
print(json.dumps([*found, look()]))
"""
        third, fourth = ["mlx5_4:1", "=mlx5_4:1"], ["mlx5_5:1", "=mlx5_5:1"]
        self.check(code, [fourth, third, [None, None]])


class Run(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.node = Path(folder.name, "node.xml")
        # This machine's CPUs, as the program is really bound.
        text = re.sub("(</object>)(?!.*</object>)", rf"{CARD}\1", mpibind.Topology().to_xml(),
                      count=1, flags=re.DOTALL)  # fmt: skip
        self.node.write_text(text)

    def run_with(self, *words: str, **env: str) -> set[str]:
        text = support.printed("run", "--topology", self.node, *words, "--", "env", env=env)
        return {line for line in text.splitlines() if line.startswith(SHOWN)}

    def test_the_program_finds_them(self):
        self.assertEqual(self.run_with(), set())
        both = {"UCX_NET_DEVICES=mlx5_0:1", "NCCL_IB_HCA==mlx5_0:1"}
        self.assertEqual(self.run_with("--nics"), both)
        self.assertEqual(self.run_with(MPIBIND="nics:1"), both)
        self.assertEqual(self.run_with("--no-nics", MPIBIND="nics:1"), set())
        found = self.run_with("--nics", NCCL_IB_HCA="^mlx5_0")
        self.assertEqual(found, {"UCX_NET_DEVICES=mlx5_0:1", "NCCL_IB_HCA=^mlx5_0"})


if __name__ == "__main__":
    support.main()
