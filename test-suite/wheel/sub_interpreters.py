"""Run with a Python, 3.12 or newer, that has the wheel: use mpibind inside a sub-interpreter.

Prints what a use gave in the main interpreter, in one with a GIL of its own, and in the main one
again.
"""

import importlib
import sys

USE = """
import mpibind
try:
    print(len(mpibind.Topology.from_synthetic("core:2 pu:1").map(2)), flush=True)
except ImportError as error:
    print("ImportError:", error, flush=True)
"""

exec(USE)
if sys.version_info >= (3, 14):
    from concurrent import interpreters

    inner = interpreters.create()
    inner.exec(USE)
    inner.close()
else:
    name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    interpreters = importlib.import_module(name)
    inner = interpreters.create()
    interpreters.run_string(inner, USE)
    interpreters.destroy(inner)
exec(USE)
