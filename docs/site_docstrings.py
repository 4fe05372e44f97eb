"""How names in docstrings are read.

The package writes names in single backticks. Those of the function's own parameters are no links;
every other one must be of something that the reference explains, by its full name, or by a shorter
one that can be meant in only one way: ``Topology.map`` is ``mpibind.Topology.map``.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

NAME = re.compile(r"(?<![`:])`([A-Za-z_]\w*)`(?!`)")


def mark_parameters(
    _app: Sphinx, _what: str, _name: str, documented: object, _options: object, lines: list[str]
) -> None:
    """Make the names of a function's own parameters plain code."""
    own = set()
    if callable(documented):
        with contextlib.suppress(TypeError, ValueError):  # an exception class of C, say
            own = {*inspect.signature(documented).parameters}

    def plain(found: re.Match[str]) -> str:
        return f"``{found[1]}``" if found[1] in own else found[0]

    lines[:] = [NAME.sub(plain, line) for line in lines]


def find(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """Find what a short name means, if that is one thing only."""
    if node.get("refdomain") != "py" or node["reftarget"].startswith("mpibind."):
        return None
    domain = env.domains.python_domain
    end = f".{node['reftarget']}"
    meant = [name for name in domain.objects if name.endswith(end)]
    if len(meant) != 1:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", meant[0], node, content)


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx."""
    app.connect("autodoc-process-docstring", mark_parameters)
    app.connect("missing-reference", find)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
