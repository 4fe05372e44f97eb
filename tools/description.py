"""What an index shows of the package: README.md without what leads into the checkout.

`setup.py` calls `of`. There is no public address yet that links could lead to, and the picture is a
file of the checkout.
"""

from __future__ import annotations

import re


def of(readme: str) -> str:
    """Return the README without its picture, its table of folders and its relative links.

    >>> of("a [b](c.md) [d](https://e) picture like the one above")
    'a b [d](https://e) picture'
    """
    text = re.sub(r"^!\[.*\n\n", "", readme, flags=re.MULTILINE)
    text = text.replace(" like the one above", "")
    table = r"^## Where things are\n.*?(?=^[^|#\n])"
    text = re.sub(table, "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"\[([^]]*)\]\((?!https?://)[^)]*\)", r"\1", text)
