"""`demo` is two runs and their audits, each as its own command line leaves it; what is done is kept."""

import json
from pathlib import Path

import pytest

from doubleback.errors import InputError
from doubleback.experiments.demo import demo
from doubleback.settings.commands import Demo
from tests.experiments.conftest import snapshot
from tests.experiments.keys import AUDIT_KEYS, TRAIN_KEYS, at


@pytest.mark.slow
def test_demo_keeps_what_is_done(tmp_path: Path) -> None:
    asked = Demo(tmp_path / "demo", epochs=20, pairs=2, coefficients=2)
    results = demo(asked)
    for name in ("plain", "hardened"):
        for section, keys in TRAIN_KEYS.items():
            assert all(isinstance(at(results[name][section], key), float) for key in keys)
        assert all(isinstance(at(results[name], key), (int, float)) for key in AUDIT_KEYS)
    assert json.loads((tmp_path / "demo" / "results.json").read_text()) == results
    before = snapshot(tmp_path)
    again = demo(asked)
    assert again["plain"] == results["plain"]
    assert again["hardened"] == results["hardened"]
    after = snapshot(tmp_path)
    changed = {name for name in after if before.get(name) != after[name]}
    assert changed == {"demo/results.json"}
    command = json.loads((tmp_path / "demo" / "hardened" / "config.json").read_text())["command"]
    assert command[:3] == ["doubleback", "harden", str(tmp_path / "demo" / "plain")]
    start, end = (results["hardened"]["harden"][when]["reconstruction_l2"] for when in ("start", "end"))
    assert end <= 1.02 * start


def test_a_budget_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--within is 'much'"):
        Demo(tmp_path / "x", within="much")


def test_what_demo_refuses(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(tmp_path)
    for command, says in (
        (Demo(tmp_path / "x", pairs=0), "pairs is 0"),
        (Demo(tmp_path / "x", coefficients=0), "coefficients is 0"),
        (Demo(tmp_path / "x", epochs=0), "epochs is 0"),
        (Demo(tmp_path / "x", seed=-1), "seed is -1"),
        (Demo(tmp_path / "x", pairs=10_000), "ask for fewer pairs"),
        (Demo(tmp_path / "x", data="mnits"), "did you mean mnist"),
        (Demo(copy), "holds a run"),
        (Demo(copy / "log.csv"), "log.csv"),
    ):
        with pytest.raises(InputError, match=says):
            demo(command)
        assert snapshot(tmp_path) == before, says
        assert not (tmp_path / "x").exists(), says
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="demo is for one process"):
        demo(Demo(tmp_path / "x"))


@pytest.mark.parametrize(
    "files",
    [
        {"results.json": '{"accuracy": 0.9}'},
        {"results.json": "mine", "plain/notes.txt": ""},
        {"plain/config.json": "{}", "results.json": '{"schema": 1, "test": {}}'},
        {"config.json": "{}"},
        {"thesis.tex": ""},
    ],
)
def test_somebody_elses_folder_is_left_alone(files: dict[str, str], tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / "theirs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "theirs" / name).write_text(text)
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match=r"holds no demo|holds a run or a study|is not readable JSON"):
        demo(Demo(tmp_path / "theirs", epochs=1, pairs=2, coefficients=2))
    assert snapshot(tmp_path) == before
