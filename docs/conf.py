"""How Sphinx makes the site out of these pages; `make docs` calls it.

Sphinx, because it writes the reference from the docstrings, takes each name in them that it does
not know for an error, and does the same for links. MyST, because the pages stay Markdown that any
forge shows. Everything is built without the network.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent / "tools"), str(HERE)]
import prerequisites
from numpydoc.xref import DEFAULT_LINKS

import mpibind

project = "mpibind"
author = "The mpibind developers"
project_copyright = author
version = release = prerequisites.workspace("version")

extensions = [
    # Markdown, and the notebook as it was run.
    "myst_nb",
    # The reference, from docstrings in numpy's form.
    "sphinx.ext.autodoc",
    "numpydoc",
    # Pictures that mpibind draws, how names in docstrings are read, and pages that are files
    # elsewhere; all three are in this folder.
    "site_pictures",
    "site_docstrings",
    "site_project",
]
root_doc = "index"
# The list of pages is part of the first one.
exclude_patterns = ["README.md", "_build"]
# What no page and no docstring explains may not be linked to.
nitpicky = True
nitpick_ignore = [("py:obj", "pathlib.Path"), ("py:obj", "errno")]

# `name` in a docstring.
default_role = "py:obj"
# Types stand in the docstrings, in words; those of this package are links.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
DEFAULT_LINKS.clear()  # of Python's own, whose documentation is not there without the network
numpydoc_xref_aliases = {name: f"mpibind.{name}" for name in mpibind.__all__ if name[0].isupper()}

# Links to a heading of a page: page.md#heading, as forges make them.
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline"]
# The notebook is run by the tests, which also compare what it gives with what it shows.
nb_execution_mode = "off"

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"mpibind {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
