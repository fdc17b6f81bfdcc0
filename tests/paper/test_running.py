"""Commands side by side: what fails takes only its own with it, what is finished is kept, nobody is left behind."""

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from doubleback.paper import members
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


@pytest.mark.parametrize("jobs", [1, 3])
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nobody_behind_and_nothing_undone(tmp_path: Path, number: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    found = interrupted(tmp_path, [number])
    assert states(found) == {"long": "due", "after": "due"}
    assert signal.getsignal(signal.SIGTERM) == before
    assert all(command.process.poll() is not None for command in found._running.values())
    record = json.loads((tmp_path / "reproduction.json").read_text())
    assert record["commands"]["long"]["state"] == "due"
    assert record["commands"]["long"]["seconds"] > 0


def test_commands_can_be_stopped_where_ctrl_c_is_ignored(tmp_path: Path) -> None:
    """As in a shell's background job, which passes that on to what it starts."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        found = interrupted(tmp_path, [signal.SIGTERM])
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert states(found) == {"long": "due", "after": "due"}
