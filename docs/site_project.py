"""Pages of the site that are files outside of docs/, and what links to them.

The pages in project/ include these files, so that the site has them where a forge shows the files.
Links between them, and from docs/, are written for the files; other files are not in the site, so
that of a link to one its text stays.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent

PAGES = {
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "SECURITY.md": "security",
    "spack/README.md": "spack",
}
"""Files, and the pages of project/ that include them."""

LINK = re.compile(r"(?<!!)\[([^]]*)\]\(([^):#]+)(#[^)]*)?\)")


def relinked(text: str, file: Path) -> str:
    """Return the text of a file with links to pages of the site.

    >>> relinked("[how](spack/README.md), [x](rust/README.md)", ROOT / "README.md")
    '[how](/project/spack.md), x'
    """

    def link(found: re.Match[str]) -> str:
        label, path, heading = found.groups()
        target = (file.parent / path).resolve()
        if (page := PAGES.get(str(target.relative_to(ROOT)))) is not None:
            return f"[{label}](/project/{page}.md{heading or ''})"
        return found[0] if file.is_relative_to(DOCS) else label

    return LINK.sub(link, text)


def on_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Do so for a page."""
    path = Path(app.env.doc2path(name))
    if path.suffix == ".md":
        source[0] = relinked(source[0], path)


def on_include(app: Sphinx, path: Path, name: str, content: list[str]) -> None:
    """Do so for what a page includes."""
    content[0] = relinked(content[0], (DOCS / path).resolve())


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx."""
    app.connect("source-read", on_page)
    app.connect("include-read", on_include)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
