"""The command `doubleback`, and `python -m doubleback`: Ctrl-C ends it in a line or none, from its first moment on.

What is half imported turns an interruption into any error, or swallows it: until the command has begun it leaves at
once. So nothing is imported here before that is arranged.
"""

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path and sys.path[:1] in ([""], [os.getcwd()]):  # noqa: PTH109
    del sys.path[0]  # `-m` puts the current folder there: a tyro.py that lies in it is not ours to import

import signal

from doubleback.interrupts import INTERRUPTED, asked, interrupt, leave


def run() -> None:
    """Run the command of `sys.argv` and exit with its status; 130 after Ctrl-C, whatever became of it on its way."""
    signal.signal(signal.SIGINT, leave)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever has started this
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    from doubleback.cli.main import main

    status = INTERRUPTED
    try:
        signal.signal(signal.SIGINT, interrupt)
        status = main()
    except KeyboardInterrupt:
        pass
    except Exception:
        if not asked():
            raise
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if status == INTERRUPTED:  # Python, as it ends, would meet the interruption again
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    run()
