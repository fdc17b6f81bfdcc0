"""`python -m doubleback`: the same command as `doubleback`."""

import os
import sys

if __name__ == "__main__":
    if not sys.flags.safe_path and sys.path[:1] in ([""], [os.getcwd()]):  # noqa: PTH109 (pathlib is not safe yet)
        del sys.path[0]  # `-m` puts the current folder there: a tyro.py that lies in it is not ours to import

    from doubleback.cli import main

    sys.exit(main())
