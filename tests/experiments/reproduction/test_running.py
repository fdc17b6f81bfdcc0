"""Commands side by side: what fails takes only its own with it, what is finished is kept, nobody is left behind."""

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from doubleback.errors import InputError
from doubleback.experiments.config import Reproduce
from doubleback.experiments.reproduction import running
from doubleback.experiments.reproduction.members import Member
from doubleback.experiments.reproduction.running import Progress, Reproduction, plan

GOOD, BAD = ("--version",), ("report", "nowhere")
LONG = ("demo", "--epochs", "9999", "--output", "long")


def planned(folder: Path, *members: Member, jobs: int = 2) -> Reproduction:
    every = {one.folder: one for one in members}
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


@pytest.fixture
def everything_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOUBLEBACK_DATA", "")  # and back, whatever `plan` sets
    monkeypatch.setattr(running, "load_images", lambda *_, **__: None)


@pytest.mark.usefixtures("everything_there")
def test_what_is_finished_is_used_again_if_it_is_of_this_command(tmp_path: Path) -> None:
    settings = Reproduce(("figure2",), "smoke", output=tmp_path)
    folder = "runs/mnist-vae-plain-0"
    words = plan(settings).members[folder].words
    (tmp_path / "reproduction.json").write_text(
        json.dumps(running._identity("smoke", {}) | {"commands": {folder: {"seconds": 12.5}}})
    )
    home = tmp_path / folder
    home.mkdir(parents=True)
    (home / "results.json").write_text("{}")
    (home / "config.json").write_text(json.dumps({"command": ["doubleback", *words]}))
    found = plan(settings)
    assert states(found)[folder] == "finished"
    assert found.progress[folder].seconds == 12.5
    (home / "config.json").write_text(json.dumps({"command": ["doubleback", *words, "--seed", "7"]}))
    assert states(plan(settings))[folder] == "due", "train itself says what differs"


@pytest.mark.usefixtures("everything_there")
def test_a_folder_of_another_scale_or_version_is_refused(tmp_path: Path) -> None:
    record = tmp_path / "reproduction.json"
    record.write_text(json.dumps(running._identity("cpu", {}) | {"commands": {}}))
    with pytest.raises(InputError, match=r"another scale \(cpu there, smoke here\)"):
        plan(Reproduce(("all",), "smoke", output=tmp_path))
    record.write_text(json.dumps(running._identity("smoke", {}) | {"version": "0.0.1", "commands": {}}))
    with pytest.raises(InputError, match=r"another version \(0\.0\.1 there"):
        plan(Reproduce(("all",), "smoke", output=tmp_path))
    record.write_text(json.dumps(running._identity("smoke", {"celeba": "faces"}) | {"commands": {}}))
    with pytest.raises(InputError, match="another stand-ins"):
        plan(Reproduce(("all",), "smoke", output=tmp_path))
    record.unlink()
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds no reproduction"):
        plan(Reproduce(("all",), "smoke", output=tmp_path))


@pytest.mark.usefixtures("everything_there")
def test_settings_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="jobs is 0"):
        plan(Reproduce(("all",), "smoke", output=tmp_path / "out", jobs=0))
    with pytest.raises(InputError, match="is not a folder; give one that holds mnist/"):
        plan(Reproduce(("all",), "smoke", output=tmp_path / "out", data_dir=tmp_path / "nowhere"))


def test_data_that_are_not_there_cost_only_what_needs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def only_mnist(source: str, **_: object) -> None:
        if source != "mnist":
            raise InputError(f"cannot reach the hub for {source}; give a local folder")

    monkeypatch.setenv("DOUBLEBACK_DATA", "")  # and back, whatever `plan` sets
    monkeypatch.setattr(running, "load_images", only_mnist)
    found = plan(Reproduce(("all",), "smoke", output=tmp_path / "out"))
    for name, member in found.members.items():
        assert found.progress[name].state == ("due" if member.data == "mnist" else "left out")
    assert found.progress["robustness/svhn"].why == "needs svhn: cannot reach the hub for svhn; give a local folder"


@pytest.mark.usefixtures("everything_there")
def test_other_faces_stand_in_for_celeba_where_it_is_not(tmp_path: Path) -> None:
    for name in ("mnist", "faces"):
        (tmp_path / "data" / name).mkdir(parents=True)
    settings = Reproduce(("table1",), "smoke", output=tmp_path / "out", data_dir=tmp_path / "data")
    found = plan(settings)
    assert found.data == {"celeba": "faces"}
    assert "faces" in found.members["runs/celeba-conv-vae-plain-0"].words
    (tmp_path / "data" / "celeba").mkdir()
    assert plan(settings).data == {}
