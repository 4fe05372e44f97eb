"""What this package takes of `typing` at run time, without importing it.

`typing` and its first NamedTuple take as long as all the rest of `import mpibind.mpi`, which
thousands of processes import at once. Type checkers read typed.pyi, where these are typing's own.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False


class _FromFields(type):
    """Makes a named tuple of a class whose body has fields, as typing does."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, object]) -> type:
        if not bases:
            return super().__new__(cls, name, bases, body)
        fields = body["__annotations__"]
        made = namedtuple(name, fields, defaults=[body[field] for field in fields if field in body])
        made.__new__.__annotations__ = fields
        for key, value in body.items():
            if key not in fields:
                setattr(made, key, value)
        return made


class NamedTuple(metaclass=_FromFields):
    """The base of a class that is written as one of `typing.NamedTuple`.

    Its module has to import `annotations` from `__future__`: without, Python 3.14 keeps no types.
    """


def overload(function: object) -> object:
    """Leave a function as it is: what is overloaded is for type checkers."""
    return function
