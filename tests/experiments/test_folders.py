"""Runs are read back as they were, and nothing else is taken for one."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import doubleback
from doubleback.errors import InputError
from doubleback.experiments.folders import described, digest, load_run, state_of
from tests.experiments.conftest import settings


@pytest.fixture
def copy(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "copy"))


def edit(path: Path, **changes: Any) -> None:
    record = json.loads(path.read_text())
    record["train"] |= changes
    path.write_text(json.dumps(record))


def test_a_run_comes_back(plain: Path) -> None:
    run = doubleback.load_run(plain)
    assert not run.model.training
    assert run.model.image_shape == (1, 8, 8)
    assert run.settings.epochs == 4
    assert run.settings.output == plain
    from doubleback.evaluation import reconstruction_quality

    quality = reconstruction_quality(run.model, run.images().test.images)
    assert quality["reconstruction_l2"] == pytest.approx(run.results["test"]["reconstruction_l2"])


def test_it_does_not_matter_where_it_lies(copy: Path) -> None:
    load_run(copy)


def test_edited_configurations(copy: Path) -> None:
    sizes = json.loads((copy / "config.json").read_text())["train"]["sizes"]
    edit(copy / "config.json", sizes=sizes | {"latent": 5})
    with pytest.raises(InputError, match=r"does not belong to config.json"):
        load_run(copy)
    edit(copy / "config.json", sizes=sizes, colour="red")
    with pytest.raises(InputError, match="unknown setting 'colour'"):
        load_run(copy)


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "not readable JSON"), ("{}", "not the configuration of a run"), ('{"schema": 2}', "not the configuration")],
)
def test_damaged_configurations(copy: Path, text: str, said: str) -> None:
    (copy / "config.json").write_text(text)
    with pytest.raises(InputError, match=said):
        load_run(copy)


def test_damaged_foreign_and_missing_weights(copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="is damaged"):
        load_run(copy)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="not written by doubleback"):
        load_run(copy)
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        load_run(copy)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"config.json does not exist"):
        load_run(tmp_path)


def test_where_and_how_a_run_is_written_is_not_what_it_is(tmp_path: Path) -> None:
    one = described(settings(tmp_path / "a", resume=True, tensorboard=True))
    assert one == described(settings(tmp_path / "b"))
    assert digest(one) == digest(json.loads(json.dumps(one)))
    assert digest(one) != digest(described(settings(tmp_path, seed=1)))


def test_states_of_a_folder(plain: Path, copy: Path, tmp_path: Path) -> None:
    config = json.loads((plain / "config.json").read_text())
    config = {name: config[name] for name in ("train", "image_shape")}
    assert state_of(tmp_path / "new", "train", config) == "free"
    (tmp_path / "empty").mkdir()
    assert state_of(tmp_path / "empty", "train", config) == "free"
    assert state_of(copy, "train", config) == "finished"
    (copy / "results.json").unlink()
    assert state_of(copy, "train", config) == "unfinished"
    other = {**config, "train": {**config["train"], "epochs": 9}}
    with pytest.raises(InputError, match=r"another configuration \(epochs: 4 there, 9 here\)"):
        state_of(copy, "train", other)
    with pytest.raises(InputError, match="made from other data"):
        state_of(copy, "train", {**config, "image_shape": [3, 8, 8]})
    (copy / "config.json").unlink()
    with pytest.raises(InputError, match="not empty and holds no run"):
        state_of(copy, "train", config)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        state_of(tmp_path / "file", "train", config)
