"""What Ctrl-C does to the command line. Imports next to nothing: it is in force while everything else is imported."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130  # the status of a command that Ctrl-C has ended
_asked: list[bool] = []


def leave(*_: object) -> None:
    """End this process: nothing is begun yet. A terminal gets its cursor back."""
    if os.isatty(2):
        os.write(2, b"\r\x1b[K\x1b[?25h")
    os._exit(INTERRUPTED)


def interrupt(*_: object) -> None:
    """Raise KeyboardInterrupt, and remember it: what is being imported may turn it into another error."""
    _asked.append(True)
    raise KeyboardInterrupt


def asked() -> bool:
    """Whether there has been a Ctrl-C."""
    return bool(_asked)


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """While imports run that an interruption would break, Ctrl-C ends the command; only where `run` has started it."""
    if signal.getsignal(signal.SIGINT) is not interrupt:
        yield
        return
    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, interrupt)
