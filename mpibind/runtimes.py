"""What to do about runtimes that have read their variables already.

Thread pools can still be resized, by threadpoolctl; for the rest there is a warning.
"""

from __future__ import annotations

import os
import sys

from mpibind.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_USERS = ("numpy", "scipy", "torch", "sklearn")
"""Python packages that bring libraries with thread pools."""


def resize_pools(nthreads: int, pools: Iterable[str]) -> tuple[Callable[[], None] | None, str]:
    """Give thread pools that are loaded already their new size.

    Parameters
    ----------
    nthreads : int
        Threads that each pool is to have.
    pools : iterable of str
        The libraries that have them.

    Returns
    -------
    callable or None
        Gives them their old sizes again; None if nothing was resized.
    str
        A warning, or nothing.
    """
    kept = f"keeps its own number of threads instead of {nthreads}"
    limit = _threadpool_limits()
    if limit is None:
        users = [name for name in _USERS if name in sys.modules]
        by = f" (by {', '.join(users)})" if users else ""
        return None, (
            f"{', '.join(pools)} was loaded before bind(){by} and {kept}: call bind() before such "
            "imports, or pip install 'mpibind[threads]' so that pools can be resized"
        )
    try:
        return limit(limits=nthreads).restore_original_limits, ""
    except Exception as error:
        # It looks into every library that is loaded. The process is bound all the same.
        return None, (
            f"{', '.join(pools)} was loaded before bind() and {kept}: threadpoolctl failed "
            f"({type(error).__name__}: {error})"
        )


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


def gpu_warning(variables: Iterable[str]) -> str:
    """Return the warning that these variables came too late."""
    return (
        f"{', '.join(variables)} was set after the GPUs were first used in this process, and is "
        "not looked at any more: call bind() before torch, cupy or the like touch a GPU"
    )
