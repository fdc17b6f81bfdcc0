"""Ctrl-C at any time: status 130, a line or none."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from doubleback.interrupts import interrupt, leave, leaving_at_once

BEGUN = "import sys; from doubleback.__main__ import run; print('begun', flush=True); run()"
TRAIN = ["train", "--data", "digits", "--limit", "100", "--model.hidden", "8", "--epochs", "100000", "--output"]


@pytest.mark.parametrize(
    "delay", [0.02, 0.1, 0.3, 0.8, 1.6, *(pytest.param(late, marks=pytest.mark.slow) for late in (3.0, 6.0))]
)
def test_ctrl_c_leaves_no_traceback(tmp_path: Path, delay: float) -> None:
    """While the command line is imported, while torch is, and when a training has begun."""
    command = [sys.executable, "-c", BEGUN, *TRAIN, str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert len([line for line in said.splitlines() if "Traceback" in line or line.startswith("doubleback")]) <= 1
    assert "Traceback" not in said


ODD = """
import sys, doubleback.cli.main
from doubleback import interrupts
from doubleback.__main__ import run
def main():
    {body}
sys.modules["doubleback.cli.main"].main = main
run()
"""


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("interrupts.interrupt()", 130),
        ("try: interrupts.interrupt()\n    except KeyboardInterrupt: raise ImportError('half')", 130),
        ("raise ImportError('half')", 1),
        ("return 2", 2),
        ("return 0", 0),
        ("raise SystemExit(0)", 0),
    ],
)
def test_what_an_interruption_becomes_does_not_matter(body: str, status: int) -> None:
    done = subprocess.run([sys.executable, "-c", ODD.format(body=body)], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert ("Traceback" in done.stderr) == (status == 1)


def test_while_imports_run_nothing_is_raised_into_them() -> None:
    """What swallows an exception would swallow the interruption: the process is left at once instead."""
    code = """
import os, signal
from doubleback.interrupts import interrupt, leaving_at_once
signal.signal(signal.SIGINT, interrupt)
with leaving_at_once():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        os._exit(3)
os._exit(4)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 130


def test_a_handler_of_ones_own_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    with leaving_at_once():
        assert signal.getsignal(signal.SIGINT) is before
    signal.signal(signal.SIGINT, interrupt)
    try:
        with leaving_at_once():
            assert signal.getsignal(signal.SIGINT) is leave
        assert signal.getsignal(signal.SIGINT) is interrupt
    finally:
        signal.signal(signal.SIGINT, before)
