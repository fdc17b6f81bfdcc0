"""`python -m doubleback`: the same command as `doubleback`."""

import sys

from doubleback.cli import main

if __name__ == "__main__":
    sys.exit(main())
