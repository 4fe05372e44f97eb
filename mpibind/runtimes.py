"""Runtimes that were started before bind() and have read their variables already.

OpenMP and BLAS libraries look at ``OMP_NUM_THREADS`` when they are loaded, GPU runtimes at the
variables for visible devices when they start. Thread pools can still be resized, by threadpoolctl;
for the rest there is a warning.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# What the files are called in which these libraries come, without version and suffix.
_POOLS = {
    "libgomp": "GNU OpenMP",
    "libomp": "LLVM OpenMP",
    "libiomp": "Intel OpenMP",
    "libopenblas": "OpenBLAS",
    "libscipy_openblas": "OpenBLAS",
    "libmkl_": "MKL",
    "libblis": "BLIS",
}
_USERS = ("numpy", "scipy", "torch", "sklearn")
"""Python packages that bring such libraries."""

# A started GPU runtime keeps its device open.
_GPU_DEVICES = {
    "CUDA_VISIBLE_DEVICES": "/dev/nvidia",
    "ROCR_VISIBLE_DEVICES": "/dev/kfd",
    "ZE_AFFINITY_MASK": "/dev/dri/renderD",
}


def pools_in(maps: str) -> list[str]:
    """Return the thread-pool libraries in the text of ``/proc/PID/maps``, sorted.

    >>> pools_in("7f00-7f01 r-xp 0 08:01 1 /usr/lib/libgomp.so.1.0.0")
    ['GNU OpenMP']
    """
    files = {line.rpartition("/")[2] for line in maps.splitlines() if "/lib" in line}
    found = {title for start, title in _POOLS.items() for file in files if file.startswith(start)}
    return sorted(found)


def resize_pools(nthreads: int, said_before: str | None) -> tuple[Callable[[], None] | None, str]:
    """Give thread pools that are loaded already their new size.

    Parameters
    ----------
    nthreads : int
        Threads that each pool is to have.
    said_before : str, optional
        ``OMP_NUM_THREADS`` as the libraries found it.

    Returns
    -------
    callable or None
        Gives them their old sizes again; None if nothing was resized.
    str
        A warning, or nothing.
    """
    if said_before == str(nthreads):
        return None, ""
    try:
        found = pools_in(Path("/proc/self/maps").read_text(errors="replace"))
    except OSError:
        return None, ""
    if not found:
        return None, ""
    limit = _threadpool_limits()
    if limit is None:
        users = [name for name in _USERS if name in sys.modules]
        by = f" (by {', '.join(users)})" if users else ""
        return None, (
            f"{', '.join(found)} was loaded before bind(){by} and keeps its own number of threads "
            f"instead of {nthreads}: call bind() before such imports, or "
            "pip install 'mpibind[threads]' so that pools can be resized"
        )
    return limit(limits=nthreads).restore_original_limits, ""


def _threadpool_limits() -> Callable[..., Any] | None:
    """Return threadpoolctl's function, or None without threadpoolctl."""
    names = {*os.environ}
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ImportError:
        return None
    # Its import lets two OpenMP runtimes live in one process (KMP_DUPLICATE_LIB_OK). Whether that
    # is an error is for the program to say.
    for name in {*os.environ} - names:
        del os.environ[name]
    limits: Callable[..., Any] = threadpool_limits
    return limits


def started_gpus(variables: Iterable[str], open_files: Iterable[str]) -> list[str]:
    """Return those of the visible-devices variables whose runtime has started.

    >>> started_gpus(["CUDA_VISIBLE_DEVICES"], ["/dev/null", "/dev/nvidia0"])
    ['CUDA_VISIBLE_DEVICES']
    """
    files = [*open_files]
    return [
        name
        for name in variables
        if any(file.startswith(_GPU_DEVICES.get(name, "?")) for file in files)
    ]


def open_files() -> list[str]:
    """Return the files that this process has open."""
    names = []
    try:
        for entry in Path("/proc/self/fd").iterdir():
            try:
                names.append(str(entry.readlink()))
            except OSError:
                continue  # closed meanwhile
    except OSError:
        pass  # not on Linux
    return names


def gpu_warning(changed: Mapping[str, str]) -> str:
    """Return a warning if variables for GPUs were changed that nobody reads any more."""
    devices = [name for name in changed if name in _GPU_DEVICES]
    late = started_gpus(devices, open_files()) if devices else []
    if not late:
        return ""
    return (
        f"{', '.join(late)} was set after the GPUs were first used in this process, and is not "
        "looked at any more: call bind() before torch, cupy or the like touch a GPU"
    )
