"""What a guest is made of: QEMU and a kernel, from the archives that this system's apt knows.

Nothing is installed, and nothing needs root: packages are downloaded, and unpacked in ``build/vm``.
The file system of a guest is that of this machine (see ``guest.py``), so it has the same Python and
the same MPI libraries, and no image is built.
"""

from __future__ import annotations

import lzma
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# What all tests share is there.
sys.path.insert(0, str(ROOT / "test-suite" / "python"))

FOLDER = ROOT / "build" / "vm"
UNPACKED = FOLDER / "unpacked"
INSTALLED = shutil.which("qemu-system-x86_64")
KERNEL = FOLDER / "vmlinux"
INITRD = FOLDER / "initrd"

FIRMWARE = ("qemu", "seabios")

# The first gives the guest its devices, the others its file system.
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")

# Runs before there is a file system: the one of this machine becomes that of the guest, and what
# the guest writes stays in its memory.
INIT = """\
#!/busybox sh
set -e
export PATH=/
/busybox mount -t proc proc /proc
/busybox mount -t sysfs sys /sys
/busybox mount -t devtmpfs dev /dev
for module in /modules/*; do /busybox insmod "$module"; done
/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose,ro host /lower
/busybox mount -t tmpfs upper /upper
/busybox mkdir /upper/data /upper/work
/busybox mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work root /new
for folder in proc sys dev; do /busybox mount --move /$folder /new/$folder; done
/busybox mkdir -p /new/dev/shm /new/dev/pts
/busybox mount -t tmpfs shm /new/dev/shm
/busybox mount -t devpts pts /new/dev/pts
/busybox mount -t cgroup2 cgroup /new/sys/fs/cgroup
/busybox ip link set lo up
/busybox hostname vm
echo '127.0.0.1 localhost vm' > /new/etc/hosts
/busybox cp /start /new/start
exec /busybox switch_root /new /bin/sh /start
"""


def make() -> None:
    """Get what is not there yet."""
    if platform.machine() != "x86_64":
        raise SystemExit(f"error: guests are x86-64, this machine is {platform.machine()}")
    if not (KERNEL.exists() and INITRD.exists()):
        FOLDER.mkdir(parents=True, exist_ok=True)
        for package in packages():
            run("dpkg-deb", "--extract", package, UNPACKED)
        (kernel,) = (UNPACKED / "boot").glob("vmlinuz-*")
        INITRD.write_bytes(archive(initrd(kernel.name.partition("-")[2])))
        KERNEL.write_bytes(unpacked(kernel.read_bytes()))


def packages() -> list[Path]:
    """Download the packages; return their files."""
    debs = FOLDER / "packages"
    (debs / "partial").mkdir(parents=True, exist_ok=True)
    apt = ("apt-get", "--quiet", "--quiet")
    # Only root can; others take what the system knows.
    run(*apt, "update", check=False)
    if INSTALLED is None:
        # With what it needs and this machine has not.
        cache = ("-o", f"Dir::Cache::archives={debs}", "-o", "Debug::NoLocking=true")
        words = ("--yes", "--no-install-recommends", "--download-only", "install")
        run(*apt, *cache, *words, "qemu-system-x86")
    # The name of the newest kernel is what this package depends on.
    depends = run("apt-cache", "depends", "linux-image-amd64")
    kernel = re.search(r"Depends: (linux-image-\d\S*)", depends)
    assert kernel is not None, depends
    run(*apt, "download", kernel[1], "busybox-static", cwd=debs)
    return [*debs.glob("*.deb")]


def initrd(version: str) -> dict[str, bytes | None]:
    """Return the files of the first file system; None is a folder."""
    files: dict[str, bytes | None] = dict.fromkeys(
        ("proc", "sys", "dev", "lower", "upper", "new", "modules")
    )
    files["init"] = INIT.encode()
    # Below / or /usr, by the age of the distribution.
    (busybox,) = (path for top in ("", "usr") for path in (UNPACKED / top).glob("bin/busybox"))
    files["busybox"] = busybox.read_bytes()
    found = {
        path.name.partition(".")[0].replace("-", "_"): path
        for top in ("lib", "usr/lib")
        for path in (UNPACKED / top / "modules" / version).rglob("*.ko*")
    }
    assert found, f"no modules of {version}"
    loaded: dict[str, bytes] = {}

    def load(name: str) -> None:
        """Add a module behind those that it needs."""
        if name in loaded or name not in found:  # what is no module is part of the kernel
            return
        data = found[name].read_bytes()
        if found[name].suffix == ".xz":
            data = lzma.decompress(data)
        needed = re.search(rb"\0depends=([^\0]*)", data)
        for other in needed[1].decode().split(",") if needed else ():
            load(other.replace("-", "_"))
        loaded[name] = data

    for name in MODULES:
        load(name)
    for number, (name, data) in enumerate(loaded.items()):
        files[f"modules/{number:02}-{name}"] = data
    return files


def archive(files: dict[str, bytes | None]) -> bytes:
    """Return files as the kernel unpacks them: a cpio archive of the new ASCII form.

    Its documentation is "initramfs buffer format" in the documentation of Linux.
    """
    packed = bytearray()
    for number, (name, data) in enumerate({**files, "TRAILER!!!": b""}.items(), start=1):
        mode = stat.S_IFDIR | 0o755 if data is None else stat.S_IFREG | 0o755
        size = 0 if data is None else len(data)
        fields = (number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name) + 1, 0)
        packed += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        packed += bytes(-len(packed) % 4)
        packed += data or b""
        packed += bytes(-len(packed) % 4)
    return bytes(packed)


def unpacked(kernel: bytes) -> bytes:
    """Return a kernel as it is in memory: to unpack itself takes it long in an emulator.

    One that is packed otherwise than with xz is left as it is.
    """
    start = kernel.find(b"\xfd7zXZ\0")
    while start >= 0:
        try:
            data = lzma.LZMADecompressor().decompress(kernel[start:])
        except lzma.LZMAError:
            data = b""
        if data.startswith(b"\x7fELF"):
            return data
        start = kernel.find(b"\xfd7zXZ\0", start + 1)
    return kernel


def qemu() -> tuple[list[str], dict[str, str]]:
    """Return the command for QEMU, and the environment that it needs."""
    if INSTALLED is not None:
        return [INSTALLED], {**os.environ}
    # What this machine has already was not downloaded.
    shares = [top / "usr/share" / name for top in (UNPACKED, Path("/")) for name in FIRMWARE]
    command = [str(UNPACKED / "usr/bin/qemu-system-x86_64")]
    command += [word for share in shares for word in ("-L", str(share))]
    libraries = [str(UNPACKED / top / "x86_64-linux-gnu") for top in ("usr/lib", "lib")]
    return command, {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}


def run(*words: object, check: bool = True, cwd: Path | None = None) -> str:
    """Run a command; return what it printed, fail with what it said."""
    name = str(words[0])
    if shutil.which(name) is None:
        raise SystemExit(f"error: guests are made of Debian's packages: there is no {name}")
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, cwd=cwd)
    if check and done.returncode != 0:
        raise SystemExit(f"error: {' '.join(map(str, words))}: {done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    make()
