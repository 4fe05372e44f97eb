"""Builds the libhwloc that a wheel carries: static, and with the C library as its only need.

    python tools/libhwloc.py PREFIX                     the newest source below that can be had
    python tools/libhwloc.py PREFIX --version 2.12.2    that one or none, for a release
    python tools/libhwloc.py PREFIX --target aarch64-linux-gnu.2.17
                                                        with Zig's compiler, for that system

The source is downloaded, or taken from the source package of Debian or Ubuntu, and its checksum
has to be the one below. It is no part of this project.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "libhwloc"


@dataclass(frozen=True)
class Source:
    """One archive of hwloc's source."""

    version: str
    sha256: str
    # Where it is downloaded from; else it is Debian's source package.
    url: str | None = None


# The newest first.
SOURCES = (
    Source(
        "2.12.2",
        "563e61d70febb514138af0fac36b97621e01a4aacbca07b86e7bd95b85055ba0",
        "https://download.open-mpi.org/release/hwloc/v2.12/hwloc-2.12.2.tar.bz2",
    ),
    Source("2.9.0", "b3fb1a43a14d8fbcd8e976de5ede2ea7ce1d768ed173adb33c7ceaaf098dc970"),
)

# No library but the C library, and nothing that is loaded at run time.
OPTIONS = [
    "--enable-static",
    "--disable-shared",
    "--disable-plugin-dlopen",
    "--disable-plugin-ltdl",
    *(f"--disable-{name}" for name in ("libudev", "libxml2", "cairo", "gl", "opencl", "cuda")),
    *(f"--disable-{name}" for name in ("nvml", "rsmi", "levelzero")),
    # PCI devices are read from /sys. --disable-pci would switch that off as well: only libpciaccess
    # must not be found.
    "ac_cv_header_pciaccess_h=no",
]


def build(prefix: Path, version: str | None = None, target: str | None = None) -> bool:
    """Install libhwloc.a, its headers, its .pc file and its licence below a folder.

    Return whether it had to be built.
    """
    archive = fetch(version)
    stamp = prefix / "built-from"
    what = f"{archive.name} {target} {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}\n"
    if stamp.is_file() and stamp.read_text() == what:
        return False
    shutil.rmtree(prefix, ignore_errors=True)
    source = unpacked(version, target)
    # Compiled in: where the system puts what hwloc-dump-hwdata finds at boot.
    folders = [f"--prefix={prefix}", f"--libdir={prefix}/lib", "--runstatedir=/var/run"]
    arguments = [*folders, *OPTIONS]
    # No library of this system is looked for. A wheel has the library twice, in the extension and
    # in the command: small comes first, as discovery waits for the kernel; and sections let the
    # linker leave out what neither calls.
    env = {
        **os.environ,
        "CFLAGS": "-Os -ffunction-sections -fdata-sections -fPIC -fvisibility=hidden",
        "PKG_CONFIG_LIBDIR": "/nonexistent",
        "PKG_CONFIG_PATH": "",
    }
    if target is not None:
        env["CC"] = str(compiler(target))
        arguments.append(f"--host={target.partition('.')[0]}")
    # Of hwloc's folders only these: neither its commands nor its tests.
    make = ["make", f"-j{os.cpu_count()}", "SUBDIRS=include hwloc", "install"]
    with Path(source.parent, "log").open("w") as log:
        for command in (["./configure", "--quiet", *arguments], make):
            done = subprocess.run(command, cwd=source, env=env, stdout=log, stderr=log)
            if done.returncode != 0:
                raise SystemExit(f"error: {shlex.join(command)} failed: see {log.name}")
    shutil.copy(source / "COPYING", prefix)
    stamp.write_text(what)
    return True


def unpacked(version: str | None = None, target: str | None = None) -> Path:
    """Return a fresh folder with the source."""
    work = WORK / f"source-{target or 'native'}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    shutil.unpack_archive(fetch(version), work)
    [source] = work.iterdir()
    return source


def compiler(target: str) -> Path:
    """Return a C compiler for another system or an older C library: Zig's, as one command."""
    path = WORK / f"cc-{target}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m ziglang cc -target {target} "$@"\n')
    path.chmod(0o755)
    return path


def fetch(version: str | None) -> Path:
    """Return the archive of a version, or of the newest one that can be had."""
    wanted = [source for source in SOURCES if version in (None, source.version)]
    if not wanted:
        known = ", ".join(source.version for source in SOURCES)
        raise SystemExit(f"error: no checksum of hwloc {version} is known; there is one of {known}")
    downloads = ROOT / "build" / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    reasons = []
    for source in wanted:
        archive = downloads / f"hwloc-{source.version}.tar.bz2"
        try:
            if not archive.is_file():
                download(source, archive)
        except (OSError, subprocess.CalledProcessError) as error:
            reasons.append(f"  * {source.version}: {error}")
            continue
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != source.sha256:
            archive.unlink()
            raise SystemExit(
                f"error: hwloc {source.version}: the checksum is {found}, not {source.sha256}"
            )
        print(f"libhwloc {source.version} from {source.url or 'its Debian source package'}")
        return archive
    raise SystemExit("error: no source of hwloc can be had:\n" + "\n".join(reasons))


def download(source: Source, archive: Path) -> None:
    """Write the archive of a source."""
    if source.url is not None:
        with urllib.request.urlopen(source.url, timeout=30) as answer:
            archive.write_bytes(answer.read())
        return
    # The archives that the system has its packages from, asked for sources.
    work = WORK / "apt"
    shutil.rmtree(work, ignore_errors=True)
    (work / "lists" / "partial").mkdir(parents=True)
    (work / "archives").mkdir()
    system = Path("/etc/apt")
    parts = system / "sources.list.d"
    for file in (system / "sources.list", *parts.glob("*.list"), *parts.glob("*.sources")):
        if file.is_file():
            text = re.sub(r"(?m)^Types:.*$", "Types: deb-src", file.read_text())
            (work / "archives" / file.name).write_text(re.sub(r"(?m)^deb\b", "deb-src", text))
    apt = ["apt-get", "--quiet", "-oDir::Etc::sourcelist=/dev/null"]
    apt += [f"-oDir::Etc::sourceparts={work}/archives", f"-oDir::State::lists={work}/lists"]
    with (work / "log").open("w") as log:
        for words in ("update", "source --download-only --only-source hwloc"):
            subprocess.run([*apt, *words.split()], cwd=work, stdout=log, stderr=log, check=True)
    found = work / f"hwloc_{source.version}.orig.tar.bz2"
    if not found.is_file():
        others = ", ".join(path.name for path in work.glob("hwloc_*.orig.tar.*"))
        raise FileNotFoundError(f"the archives of this system have {others}")
    shutil.move(found, archive)


def main() -> None:
    """Run as the head of this file says."""
    parser = argparse.ArgumentParser(description="Build a static libhwloc for a wheel.")
    parser.add_argument("prefix", type=Path, help="the folder to install it in")
    parser.add_argument("--version", help="this version, not the newest that can be had")
    parser.add_argument("--target", help="what Zig compiles for, such as aarch64-linux-gnu.2.17")
    arguments = parser.parse_args()
    build(arguments.prefix.resolve(), arguments.version, arguments.target)


if __name__ == "__main__":
    main()
