"""Starting a guest: a machine under QEMU with this machine's file system, to read only.

    python guest.py bare-metal lscpu     run a command in a guest by hand

What is written in a guest is in its memory, and gone with it. Its network is itself.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import image
from machines import MACHINES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from machines import Machine

KERNEL_OPTIONS = (
    "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr audit=0 nowatchdog "
    "random.trust_cpu=on lpj=5000000 no_timer_check tsc=reliable rcupdate.rcu_expedited=1"
)

# The second serial port takes the answer, so that nothing else gets into it.
START = """\
export PATH={path} HOME=/tmp LANG=C.UTF-8
cd {root}
{command} < /dev/null > /dev/ttyS0 2>&1 3> /dev/ttyS1
echo o > /proc/sysrq-trigger
while true; do sleep 1; done
"""


class Guest:
    """A machine that runs one command."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.log = image.FOLDER / f"{machine.name}.log"

    def run(self, command: Sequence[object], seconds: float) -> str:
        """Run a command as root; return what it wrote to descriptor 3.

        What it printed is in `self.log`.
        """
        image.make()
        folder = image.FOLDER
        answer, initrd = (folder / f"{self.machine.name}.{end}" for end in ("answer", "initrd"))
        start = START.format(
            path=shlex.quote(os.environ["PATH"]),
            root=shlex.quote(str(image.ROOT)),
            command=shlex.join(map(str, command)),
        )
        table = image.archive(
            dict.fromkeys(("kernel", "kernel/firmware", "kernel/firmware/acpi"))
            | {"kernel/firmware/acpi/apic.aml": self.machine.table()}
        )
        own = image.archive({"start": start.encode()})
        initrd.write_bytes(table + image.INITRD.read_bytes() + own)
        words, env = image.qemu()
        words += [*hardware(self.machine), "-initrd", str(initrd)]
        words += ["-serial", f"file:{self.log}", "-serial", f"file:{answer}"]
        answer.unlink(missing_ok=True)
        try:
            subprocess.run(words, env=env, stdin=subprocess.DEVNULL, timeout=seconds, check=True)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no answer in {seconds:.0f} s; see {self.log}") from None
        finally:
            initrd.unlink()
        return answer.read_text().replace("\r\n", "\n")


def hardware(machine: Machine) -> list[str]:
    """Return QEMU's options for a machine and what all machines have."""
    cpu = "EPYC-Milan" if machine.amd else "max,vendor=GenuineIntel,model-id=QEMU,l3-cache=on"
    return [
        *("-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none", "-monitor", "none"),
        *("-machine", "q35,usb=off,sata=off,smbus=off"),
        *("-accel", "tcg,tb-size=512", "-cpu", cpu),
        *machine.options(),
        *("-kernel", str(image.KERNEL), "-append", KERNEL_OPTIONS),
        *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
    ]


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    (machine,) = (machine for machine in MACHINES if machine.name == name)
    guest = Guest(machine)
    began = time.monotonic()
    answer = guest.run(words, 600)
    print(
        guest.log.read_text(errors="replace"), answer, f"{time.monotonic() - began:.0f} s", sep="\n"
    )
