"""What an index shows of the package: README.md for those who have no checkout.

`setup.py` calls `of`. There is no public address yet that links could lead to, and the picture is a
file of the checkout.
"""

from __future__ import annotations

import re


def of(readme: str) -> str:
    r"""Return the README without its picture, what it says of a checkout and its relative links.

    Where that page is shown, pip finds the package by its name.

    >>> of("a [b](c.md) [d](https://e) picture like the one above")
    'a b [d](https://e) picture'
    >>> of("pip install .  # it\npip install '.[mpi]'  # more")
    "pip install mpibind  # it\npip install 'mpibind[mpi]'  # more"
    """
    text = re.sub(r"^!\[.*\n\n", "", readme, flags=re.MULTILINE)
    text = text.replace(" like the one above", "")
    text = text.replace(" ([once it is set up](#two-commands))", "")
    text = text.replace("pip install . ", "pip install mpibind ").replace("'.[", "'mpibind[")
    for section in (r"^## Two commands\n.*?(?=^## )", r"^## Where things are\n.*?(?=^[^|#\n])"):
        text = re.sub(section, "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"\[([^]]*)\]\((?!https?://)[^)]*\)", r"\1", text)
