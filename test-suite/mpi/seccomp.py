"""A filter of the kernel that refuses system calls, as containers have it: seccomp(2)."""

import ctypes
import os
import platform
import struct

_NUMBERS = {
    "x86_64": {"sched_setaffinity": 203, "set_mempolicy": 238},
    "aarch64": {"sched_setaffinity": 122, "set_mempolicy": 237},
}
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF_0000, 0x0005_0000


def forbid(*names: str, error: int) -> None:
    """Let these system calls of this process fail with this error, from now on."""
    known = _NUMBERS.get(platform.machine())
    if known is None:
        raise NotImplementedError(f"the system calls of {platform.machine()} are not listed here")
    # Load the number of the call, compare it with each, skip the refusal where it differs.
    steps = [(_LOAD, 0, 0, 0)]
    for name in names:
        steps += [(_EQUAL, 0, 1, known[name]), (_RETURN, 0, 0, _ERRNO | error)]
    steps.append((_RETURN, 0, 0, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    for words in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _MODE_FILTER, ctypes.create_string_buffer(program), 0, 0),
    ):
        if libc.prctl(*words) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
