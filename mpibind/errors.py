"""The exceptions of this package. The core raises them; their fields say what its messages say."""

from __future__ import annotations


class MpibindError(Exception):
    """Something that mpibind was asked for cannot be done."""


class InvalidParameterError(MpibindError, ValueError):
    """A parameter has a value that is not legal.

    Attributes
    ----------
    parameter : str
        Its name.
    value : str
        The value, as one would write it.
    legal : str
        What is legal.
    """

    parameter: str
    value: str
    legal: str


class TopologyError(MpibindError):
    """A topology cannot be read or discovered.

    Attributes
    ----------
    origin : str
        What was read, and the variable that named it, if one did.
    reason : str
        What is wrong with it.
    """

    origin: str
    reason: str


class DeviceError(MpibindError):
    """A device lacks what was asked of it.

    Attributes
    ----------
    device : str
        Its name.
    identity : str
        What it lacks.
    """

    device: str
    identity: str


class AffinityError(MpibindError, OSError):
    """The kernel did not bind as asked; every thread has its old CPUs again.

    Attributes
    ----------
    wanted : str
        The CPUs that were asked for.
    refused : str
        Those that could not be had.
    errno : int or None
        The kernel's error number, if it gave one.
    reason : str
        What happened.
    """

    wanted: str
    refused: str
    reason: str


class LauncherError(MpibindError):
    """The launcher does not say, or says wrong, which task of the node this process is."""


def illegal(parameter: str, value: object, legal: str) -> InvalidParameterError:
    """Make the error for a value that Python alone knows not to be legal."""
    error = InvalidParameterError(f"{parameter}={value!r} is not legal: {legal}")
    error.parameter, error.value, error.legal = parameter, repr(value), legal
    return error
