"""One command of a reproduction in a process of its own, with its log; and signals, so that none outlives us."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from doubleback.folders import within
from doubleback.paper.members import Member

LOGS = "logs"
_PR_SET_PDEATHSIG = 1


class Launched:
    """One command, running.

    Args:
        home: the reproduction's folder.
        member: the command.
        environment: its environment, beside our own.
    """

    def __init__(self, home: Path, member: Member, environment: Mapping[str, str]) -> None:
        self.started = time.monotonic()
        self.log = within(home, f"{LOGS}/{member.folder.replace('/', '-')}.log")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as stream, _interruptible():
            self.process = subprocess.Popen(
                # -P: a module that lies in the reproduction's folder, such as tyro.py, is not imported.
                [sys.executable, "-P", "-m", "doubleback", *member.words],
                cwd=home,
                env={**_from_here(os.environ), **environment},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C reaches us alone: we pass it on, once
                preexec_fn=_end_with_parent,
            )

    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self.started

    def complaint(self) -> str:
        """The line that says why it failed."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        own = [line.removeprefix("doubleback: ") for line in lines if line.startswith("doubleback: ")]
        says = (own or lines or ["it said nothing"])[-1]
        return says if own else f"status {self.process.returncode}: {says}; its output is in {self.log}"


def _end_with_parent() -> None:
    """A command ends when the reproduction is killed: it would write into folders that the next one fills (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _from_here(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment, its PYTHONPATH as this process reads it: an empty or relative entry would be the new folder."""
    entries = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    absolute = os.pathsep.join(str(Path(entry).absolute()) for entry in entries)
    return {**environment, "PYTHONPATH": absolute}


@contextmanager
def _interruptible() -> Iterator[None]:
    """What is started here can be interrupted, even if we cannot: a shell's background job ignores Ctrl-C."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:  # any handler of ours is left behind by the new program
        signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def ending() -> Iterator[Callable[[], None]]:
    """A function that raises KeyboardInterrupt once a signal has asked for the end; what is ignored stays so.

    The signals are Ctrl-C, and those of a job whose time is up or whose terminal is gone. The handler only notes them:
    Python drops what a handler raises while a process is being forked.
    """
    asked = threading.Event()

    def check() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda *_: asked.set())
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
