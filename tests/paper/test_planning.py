"""The plan against what is there: finished folders, other reproductions, data sets, how much runs side by side."""

import json
from pathlib import Path

import pytest

from doubleback.errors import InputError
from doubleback.paper import planning
from doubleback.paper.planning import plan
from doubleback.paper.running import Reproduction, identity
from doubleback.settings.commands import Reproduce
from tests.paper.synthetic import MACHINE


def states(found: Reproduction) -> dict[str, str]:
    return {name: one.state for name, one in found.progress.items()}


@pytest.fixture
def everything_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOUBLEBACK_DATA", "")  # and back, whatever `plan` sets
    monkeypatch.setattr(planning, "load_images", lambda *_, **__: None)


@pytest.mark.usefixtures("everything_there")
def test_what_is_finished_is_used_again_if_it_is_of_this_command(tmp_path: Path) -> None:
    settings = Reproduce(("figure2",), "smoke", output=tmp_path)
    folder = "runs/mnist-vae-plain-0"
    words = plan(settings).members[folder].words
    done = {"command": ["doubleback"], "data": "mnist", "expected_minutes": None}
    done |= {"state": "due", "seconds": 12.5, "why": ""}
    (tmp_path / "reproduction.json").write_text(
        json.dumps(identity("smoke", {}) | {"machine": MACHINE, "commands": {folder: done}})
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
    record.write_text(json.dumps(identity("cpu", {}) | {"commands": {}}))
    with pytest.raises(InputError, match=r"another scale \(cpu there, smoke here\)"):
        plan(Reproduce(("all",), "smoke", output=tmp_path))
    record.write_text(json.dumps(identity("smoke", {}) | {"version": "0.0.1", "commands": {}}))
    with pytest.raises(InputError, match=r"another version \(0\.0\.1 there"):
        plan(Reproduce(("all",), "smoke", output=tmp_path))
    record.write_text(json.dumps(identity("smoke", {"celeba": "faces"}) | {"commands": {}}))
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
    monkeypatch.setattr(planning, "load_images", only_mnist)
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
    assert found.members["runs/celeba-conv-vae-plain-0"].command.training.images.data == "faces"
    (tmp_path / "data" / "celeba").mkdir()
    assert plan(settings).data == {}


@pytest.mark.usefixtures("everything_there")
@pytest.mark.parametrize(("gigabytes", "cores", "jobs"), [(64, 2, 2), (9, 8, 2), (1, 8, 1)])
def test_no_more_run_side_by_side_than_cores_and_memory_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gigabytes: int, cores: int, jobs: int
) -> None:
    monkeypatch.setattr(planning.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(planning, "free_memory", lambda: gigabytes * 2**30)
    monkeypatch.setattr(planning, "cores", lambda: cores)
    found = plan(Reproduce(("figure2",), "smoke", output=tmp_path / "out"))
    assert (found.jobs, found.why_jobs) == (jobs, f"{cores} cores, {gigabytes} GB free, 4 for each")
    assert found.environment == {"OMP_NUM_THREADS": str(cores // jobs)}
    assert plan(Reproduce(("figure2",), "smoke", output=tmp_path / "out", jobs=3)).why_jobs == "as asked for"


def test_data_are_opened_with_the_limits_that_they_are_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: set[tuple[str, int | None]] = set()
    monkeypatch.setenv("DOUBLEBACK_DATA", "")
    monkeypatch.setattr(planning, "load_images", lambda source, limit: opened.add((source, limit)))
    plan(Reproduce(("all",), "cpu", output=tmp_path / "out"))
    assert opened == {("mnist", None), ("celeba", 9000), ("svhn", 6800)}
