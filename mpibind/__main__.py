"""``python -m mpibind`` is the command ``mpibind``."""

import sys

from mpibind.cli import main

if __name__ == "__main__":
    sys.exit(main())
