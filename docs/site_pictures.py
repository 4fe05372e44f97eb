"""Pictures that mpibind draws while the site is built.

A block ``picture`` holds a command that writes SVG to standard output; what it draws stands in the
page itself, so that it follows the page's light or dark theme. Where pages are shown without
Sphinx, the reader sees the command. Pictures of `DRAWN` are files for forges, and drawn anew here.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

ROOT = Path(__file__).resolve().parent.parent

DRAWN = {
    "worked-example.png": "mpibind map -n 4 --svg - --topology "
    "test-suite/topologies/two-package-18core-smt2-2gpu.xml",
    "epyc-7763-8gpu.png": "mpibind map -n 8 --svg - --topology "
    "test-suite/topologies/epyc-7763-nps4-8gpu.xml",
}
"""Files of pictures/, and the commands that draw the same."""


def draw(command: str) -> str:
    """Run a command ``mpibind ...``; return the SVG that it writes.

    Raises
    ------
    ValueError
        If it is another command, fails, or does not write SVG.
    """
    name, *words = shlex.split(command)
    if name != "mpibind":
        raise ValueError(f"{command!r} is no command of mpibind")
    done = subprocess.run(
        [sys.executable, "-m", "mpibind", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 or not done.stdout.startswith("<svg"):
        raise ValueError(f"{command!r} draws nothing: {done.stderr.strip() or done.stdout[:100]!r}")
    return done.stdout


def figure(command: str, caption: str) -> nodes.figure:
    """Make a figure of what a command draws."""
    svg = nodes.raw("", f'<div class="drawing">{draw(command)}</div>', format="html")
    return nodes.figure("", svg, nodes.caption("", caption), classes=["drawn"])


class Picture(SphinxDirective):
    """A block with a command that draws; its argument is the caption."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Draw it."""
        try:
            return [figure(" ".join(self.content), self.arguments[0])]
        except ValueError as error:
            raise self.error(str(error)) from None


class Redraw(SphinxTransform):
    """Puts what mpibind draws today in the place of the files for forges."""

    default_priority = 200  # before figures get their numbers

    def apply(self, **_: object) -> None:
        """Do so on one page."""
        for image in [*self.document.findall(nodes.image)]:
            name = Path(image["uri"]).name
            if name in DRAWN:
                try:
                    drawn = figure(DRAWN[name], image.get("alt", ""))
                except ValueError as error:
                    logging.getLogger(__name__).warning("%s", error, location=image)
                else:
                    image.replace_self(drawn)


class Drawn(nodes.General, nodes.Element):
    """HTML with a picture in it."""


def write(translator: HTML5Translator, node: Drawn) -> None:
    """Write it as it is."""
    translator.body.append(node["html"])
    raise nodes.SkipNode


class KeepOutOfSearch(SphinxPostTransform):
    """Takes pictures for no text, also those of a notebook's output.

    Sphinx would glue what is between the tags of raw HTML to words that can be searched for.
    """

    default_priority = 900  # after it is chosen in which form an output is shown

    def run(self, **_: object) -> None:
        """Do so on one page."""
        for raw in [*self.document.findall(nodes.raw)]:
            if "<svg" in raw.astext():
                raw.replace_self(Drawn(html=raw.astext()))


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx."""
    app.add_node(Drawn, html=(write, None))
    app.add_directive("picture", Picture)
    app.add_transform(Redraw)
    app.add_post_transform(KeepOutOfSearch)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
