"""Starting a guest: a machine under QEMU with this machine's file system, to read only.

    python guest.py bare-metal lscpu     run a command in a guest by hand

What is written in a guest is in its memory, and gone with it. Its network is itself.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import image
from machines import MACHINES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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


def run(
    machine: Machine, command: Sequence[object], seconds: float, accelerator: str | None = None
) -> str:
    """Run a command as root in a guest; return what it wrote to descriptor 3.

    What it printed is in the machine's log.
    """
    image.make()
    answer, initrd = (image.FOLDER / f"{machine.name}.{end}" for end in ("answer", "initrd"))
    start = START.format(
        path=shlex.quote(os.environ["PATH"]),
        root=shlex.quote(str(image.ROOT)),
        command=shlex.join(map(str, command)),
    )
    table = image.archive(
        dict.fromkeys(("kernel", "kernel/firmware", "kernel/firmware/acpi"))
        | {"kernel/firmware/acpi/apic.aml": machine.table()}
    )
    own = image.archive({"start": start.encode()})
    initrd.write_bytes(table + image.INITRD.read_bytes() + own)
    words, env = image.qemu()
    words += ["-accel", accelerator or best_accelerator(), *hardware(machine)]
    words += ["-initrd", str(initrd)]
    words += ["-serial", f"file:{log(machine)}", "-serial", f"file:{answer}"]
    answer.unlink(missing_ok=True)
    try:
        done = subprocess.run(
            words,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise AssertionError(f"no answer in {seconds:.0f} s; see {log(machine)}") from None
    finally:
        initrd.unlink()
    assert done.returncode == 0, done.stderr
    return answer.read_text().replace("\r\n", "\n")


def log(machine: Machine) -> Path:
    """Return the file that has what a guest's kernel and its command print."""
    return image.FOLDER / f"{machine.name}.log"


def hardware(machine: Machine) -> list[str]:
    """Return QEMU's options for a machine and what all machines have."""
    cpu = "EPYC-Milan" if machine.amd else "max,vendor=GenuineIntel,model-id=QEMU,l3-cache=on"
    return [
        *("-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none", "-monitor", "none"),
        *("-machine", "q35,usb=off,sata=off,smbus=off", "-cpu", cpu),
        *machine.options(),
        *("-kernel", str(image.KERNEL), "-append", KERNEL_OPTIONS),
        *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
    ]


def best_accelerator() -> str:
    """Return KVM if it is there and works, which is not the same: not in every container.

    It works if a guest starts, and is the machine that was asked for. To find out can take a
    minute, so the answer is kept.
    """
    kept = image.FOLDER / "accelerator"
    if not kept.exists():
        kept.write_text("kvm" if works("kvm", MACHINES[0]) else "tcg,tb-size=512")
    return kept.read_text()


def works(accelerator: str, machine: Machine) -> bool:
    """Return whether a machine comes out right."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    command = [sys.executable, image.ROOT / "test-suite" / "vm" / "kernel.py"]
    try:
        answer = run(machine, command, 60, accelerator)
    except AssertionError:
        return False
    return answer != "" and json.loads(answer) == machine.shape()


def main() -> None:
    """Run a command by hand."""
    name, *words = sys.argv[1:]
    (machine,) = (machine for machine in MACHINES if machine.name == name)
    answer = run(machine, words, 600)
    print(log(machine).read_text(errors="replace"), answer, sep="\n")


if __name__ == "__main__":
    main()
