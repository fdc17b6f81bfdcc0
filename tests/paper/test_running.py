"""Commands side by side: what fails takes only its own with it, what is finished is kept, nobody is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from doubleback.errors import InputError
from doubleback.paper import members
from doubleback.paper.launching import ending
from doubleback.paper.running import Progress, Reproduction
from doubleback.settings.commands import Classify

GOOD, BAD = ("--version",), ("report", "nowhere")
LONG = ("demo", "--epochs", "9999", "--output", "long")


class Member(members.Member):
    """One whose words are given: any command will do here."""

    def __init__(
        self, folder: str, words: tuple[str, ...], data: str, needs: tuple[str, ...] = (), minutes: float | None = None
    ) -> None:
        super().__init__(folder, Classify(Path("run")), data, needs, minutes)
        object.__setattr__(self, "given", words)

    @property
    def words(self) -> tuple[str, ...]:
        return self.given


def planned(folder: Path, *those: Member, jobs: int = 2) -> Reproduction:
    every = {one.folder: one for one in those}
    progress = {name: Progress() for name in every}
    return Reproduction(folder, "smoke", every, progress, {}, {"OMP_NUM_THREADS": "1"}, jobs, "")


def states(found: Reproduction) -> dict[str, str]:
    return {name: one.state for name, one in found.progress.items()}


def test_a_failure_takes_only_those_that_need_it(tmp_path: Path) -> None:
    found = planned(
        tmp_path,
        Member("a", BAD, "mnist"),
        Member("b", GOOD, "mnist", ("a",)),
        Member("c", GOOD, "mnist", ("b",)),
        Member("d", GOOD, "mnist"),
        Member("e", GOOD, "mnist", ("d",)),
    )
    told: list[tuple[str, str]] = []
    found.run(lambda member, progress: told.append((member.folder, progress.state)))
    assert states(found) == {"a": "failed", "b": "left out", "c": "left out", "d": "finished", "e": "finished"}
    assert found.progress["a"].why.startswith("nowhere is not a folder")
    assert (found.progress["b"].why, found.progress["c"].why) == ("needs a", "needs b")
    assert ("a", "running") in told
    assert ("a", "failed") in told
    assert told.index(("d", "finished")) < told.index(("e", "running"))
    record = json.loads((tmp_path / "reproduction.json").read_text())
    assert record["commands"]["a"]["why"] == found.progress["a"].why
    assert record["commands"]["d"]["command"] == ["doubleback", "--version"]
    assert record["machine"]["commands_at_once"] == 2
    assert "nowhere" in (tmp_path / "logs" / "a.log").read_text()


def test_modules_that_lie_in_the_folder_are_not_imported(tmp_path: Path) -> None:
    (tmp_path / "tyro.py").write_text("raise SystemExit('imported from the folder')")
    found = planned(tmp_path, Member("a", GOOD, "mnist"))
    found.run(lambda member, progress: None)
    assert states(found) == {"a": "finished"}


@pytest.mark.parametrize("jobs", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_no_more_run_at_once_than_there_is_room_for(tmp_path: Path, jobs: int) -> None:
    found = planned(tmp_path, *(Member(str(i), GOOD, "mnist") for i in range(4)), jobs=jobs)
    most = 0

    def told(_member: Member, _progress: Progress) -> None:
        nonlocal most
        most = max(most, list(states(found).values()).count("running"))

    found.run(told)
    assert most == jobs


def test_the_longest_way_to_the_end_begins_first(tmp_path: Path) -> None:
    found = planned(
        tmp_path,
        Member("short", GOOD, "mnist", minutes=1),
        Member("long", GOOD, "mnist", minutes=4),
        Member("first", GOOD, "mnist", minutes=2),
        Member("then", GOOD, "mnist", ("first",), minutes=3),
        jobs=1,
    )
    begun: list[str] = []
    found.run(lambda member, progress: begun.append(member.folder) if progress.state == "running" else None)
    assert begun == ["first", "long", "then", "short"]


def interrupted(tmp_path: Path, how: Sequence[int]) -> Reproduction:
    """Interrupt a run as soon as its command has begun."""
    found = planned(tmp_path, Member("long", LONG, "mnist"), Member("after", GOOD, "mnist", ("long",)))

    def told(_member: Member, _progress: Progress) -> None:
        for number in how:
            os.kill(os.getpid(), number)
            time.sleep(5)  # the signal ends it

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        found.run(told)
    assert time.monotonic() - started < 60
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_leaves_nobody_behind_and_nothing_undone(tmp_path: Path, number: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    found = interrupted(tmp_path, [number])
    assert states(found) == {"long": "due", "after": "due"}
    assert signal.getsignal(signal.SIGTERM) == before
    assert all(command.process.poll() is not None for command in found._running.values())
    record = json.loads((tmp_path / "reproduction.json").read_text())
    assert record["commands"]["long"]["state"] == "due"
    assert record["commands"]["long"]["seconds"] > 0


def test_a_signal_that_comes_as_a_process_is_forked_is_not_lost(tmp_path: Path) -> None:
    """Python drops what is raised there."""
    due = [signal.SIGTERM]
    os.register_at_fork(before=lambda: os.kill(os.getpid(), due.pop()) if due else None)
    found = planned(tmp_path, Member("a", GOOD, "mnist"), Member("b", GOOD, "mnist", ("a",)))
    with pytest.raises(KeyboardInterrupt):
        found.run(lambda member, progress: None)
    assert not due
    assert states(found)["b"] == "due"


def test_commands_can_be_stopped_where_ctrl_c_is_ignored(tmp_path: Path) -> None:
    """As in a shell's background job, which passes that on to what it starts."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        found = interrupted(tmp_path, [signal.SIGTERM])
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert states(found) == {"long": "due", "after": "due"}


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """Under nohup the terminal may go."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_relative_path_of_modules_is_not_the_reproductions_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty or relative entry of PYTHONPATH would be the folder in which the commands start."""
    (tmp_path / "out").mkdir()
    for name in ("sitecustomize.py", "tyro.py"):
        (tmp_path / "out" / name).write_text("raise SystemExit('imported from the folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", os.environ.get("PYTHONPATH", "")]))
    found = planned(tmp_path / "out", Member("a", GOOD, "mnist"))
    found.run(lambda member, progress: None)
    assert states(found) == {"a": "finished"}


def test_what_another_has_finished_meanwhile_is_not_done_twice(tmp_path: Path) -> None:
    found = planned(tmp_path, Member("a", BAD, "mnist"), Member("b", GOOD, "mnist", ("a",)))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "results.json").write_text("{}")
    (tmp_path / "a" / "config.json").write_text(json.dumps({"command": ["doubleback", *BAD]}))
    found.run(lambda member, progress: None)
    assert states(found) == {"a": "finished", "b": "finished"}


@pytest.mark.parametrize("place", ["logs", "runs/a", "runs"])
def test_nothing_is_written_behind_a_link(place: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "out" / place).symlink_to(tmp_path / "elsewhere")
    found = planned(tmp_path / "out", Member("runs/a", GOOD, "mnist"))
    with pytest.raises(InputError, match=f"{place} is a link"):
        found.run(lambda member, progress: None)
    assert list((tmp_path / "elsewhere").iterdir()) == []


HUNG_UP = """
import os, signal, sys, threading
from pathlib import Path
from tests.paper.test_running import LONG, Member, planned
def told(member, progress):
    print(next(iter(found._running.values())).process.pid, flush=True)
found = planned(Path(sys.argv[1]), Member("long", LONG, "mnist"))
found.run(told)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_a_reproduction_that_is_hung_up_or_killed_leaves_no_command(tmp_path: Path, number: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", HUNG_UP, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    command = int(process.stdout.readline())
    time.sleep(0.5)
    process.send_signal(number)
    process.wait(90)
    deadline = time.monotonic() + 30
    while psutil.pid_exists(command) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not psutil.pid_exists(command)
    process.stdout.close()
