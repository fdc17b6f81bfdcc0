"""Runs are read back as they were, and nothing else is taken for one."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import doubleback
from doubleback.checkpoints import save_tensors, weights_digest
from doubleback.errors import InputError
from doubleback.evaluation import reconstruction_quality
from doubleback.experiments.runs import DESCRIBED, build_model, load_run
from doubleback.folders import digest
from doubleback.models import VAE
from doubleback.settings import Training
from tests.experiments.conftest import settings


def edit(path: Path, **changes: Any) -> None:
    record = json.loads(path.read_text())
    record["train"] |= changes
    path.write_text(json.dumps(record))


def test_a_run_comes_back(plain: Path, copy: Path) -> None:
    """Wherever it lies."""
    results = json.loads((plain / "results.json").read_text())
    for folder in (plain, copy):
        run = doubleback.load_run(folder)
        assert not run.model.training
        assert run.model.image_shape == (1, 8, 8)
        assert run.settings.loop == settings(folder).training.loop.filled(learning_rate=3e-3)
        assert run.weights == results["weights"] == weights_digest(run.model)
    quality = reconstruction_quality(run.model, run.images().test.images)
    assert quality["reconstruction_l2"] == pytest.approx(results["test"]["reconstruction_l2"])


def test_edited_configurations(copy: Path) -> None:
    sizes = json.loads((copy / "config.json").read_text())["train"]["sizes"]
    for changes, says in (
        ({"sizes": sizes | {"latent": 5}}, r"does not belong to config.json"),
        ({"sizes": sizes | {"depth": 5}}, r"unknown setting 'sizes.depth'"),
        ({"sizes": sizes, "colour": "red"}, "unknown setting 'colour'"),
    ):
        edit(copy / "config.json", **changes)
        with pytest.raises(InputError, match=says):
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


def test_weights_that_were_not_measured(copy: Path) -> None:
    """They fit the model and name the run, but its results are not theirs."""
    run = load_run(copy)
    changed = {name: weight + 1 for name, weight in run.model.state_dict().items()}
    save_tensors(copy / "model.safetensors", changed, run.identity)
    with pytest.raises(InputError, match=r"holds other weights than results.json was measured on"):
        load_run(copy)


def test_no_run(tmp_path: Path, mixture: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"config.json does not exist"):
        load_run(tmp_path)
    with pytest.raises(InputError, match=r"that `classify` has made"):
        load_run(mixture)


def of_version_0_1_0(plain: Path, folder: Path, **changes: Any) -> Path:
    """A run as 0.1.0 left it: no digest of images or weights, every setting in one table."""
    train: dict[str, Any] = {
        "data": "digits", "image_size": 8, "limit": 300, "model": "vae",
        "sizes": {"hidden": [32], "latent": 4, "filters": None, "steps": None, "read_size": None, "write_size": None},
        "likelihood": "bernoulli", "variance": 0.02, "penalty": "reconstruction", "penalty_weight": 0.03,
        "kl_weight": 1.0, "through_target": None, "projections": 1, "estimator": "exact", "difference_step": 0.01,
        "penalty_start": 0.5, "every": 1, "epochs": 6, "batch_size": 100, "learning_rate": 0.003,
        "max_grad_norm": 30.0, "seed": 0, "precision": "32", "compile": False, "devices": 1, "init": None,
    }  # fmt: skip
    described = {"train": train | changes, "image_shape": [1, 8, 8]}
    folder.mkdir()
    command = ["doubleback", "train", "--data", "digits"]
    config = {"schema": 1, "version": "0.1.0", "command": command, **described}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "results.json").write_text(json.dumps({"schema": 1, "train": {}, "test": {}}))
    save_tensors(folder / "model.safetensors", load_run(plain).model.state_dict(), digest(described))
    return folder


def test_runs_of_version_0_1_0_are_read(plain: Path, tmp_path: Path) -> None:
    run = load_run(of_version_0_1_0(plain, tmp_path / "old", through_target="yes", init="../p", seed=3))
    assert (run.settings.loop.epochs, run.settings.loop.seed, run.settings.init) == (6, 3, Path("../p"))
    assert run.settings.penalty.through_target is True
    assert run.settings.architecture.sizes.hidden == (32,)
    assert run.weights == load_run(plain).weights
    assert (
        load_run(of_version_0_1_0(plain, tmp_path / "no", through_target="no")).settings.penalty.through_target is False
    )
    with pytest.raises(InputError, match="unknown setting 'colour'"):
        load_run(of_version_0_1_0(plain, tmp_path / "other", colour="red"))


def test_a_run_is_read_by_any_number_of_processes(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its batch need not divide over those that audit it."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert load_run(plain).settings.loop.batch_size == 2


def forged(copy: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A run whose configuration somebody has changed, and whose weights name it as theirs."""
    config = json.loads((copy / "config.json").read_text())
    weights = load_run(copy).model.state_dict()
    change(config)
    (copy / "config.json").write_text(json.dumps(config))
    save_tensors(
        copy / "model.safetensors", weights, digest({name: config[name] for name in DESCRIBED if name in config})
    )
    return copy


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda config: config.update(image_shape=[1, 8]), r"array` of length 3.*image_shape"),
        (lambda config: config.update(image_shape=[1, 8, "8"]), r"Expected `int`, got `str`.*image_shape"),
        (lambda config: config.update(image_shape=[1, 2**30, 2**30]), r"vae of these sizes needs \S+ GB of memory"),
        (lambda config: config.update(train=3), "Expected `object`"),
        (lambda config: config["train"].update(model=None), "does not hold the model of its run"),
        (lambda config: config["train"].update(model=["vae"]), "cannot be used .model: Expected `str"),
        (lambda config: config["train"].update(epochs=True), "cannot be used .epochs: Expected `int"),
        (lambda config: config["train"].update(seed=10**40), "seed is 1000"),
        (lambda config: config["train"].update(learning_rate=1e999), "learning rate is inf"),
        (lambda config: config["train"].pop("data"), "does not hold the data of its run"),
        (lambda config: config["train"].update(variance=None), "does not hold the variance of its run"),
        (lambda config: config["train"].update(sizes={"latent": 10**12}), "latent is 1000000000000; give at most"),
        (lambda config: config["train"]["sizes"].update(hidden=[2**31 - 1, 2**31 - 1]), "vae of these sizes needs"),
        (lambda config: config["train"]["sizes"].update(hidden=[[32]]), "cannot be used .hidden: Expected `int"),
        (lambda config: config["train"].update(init=3), "cannot be used .init"),
        (lambda config: config.update(classes=[[1]]), r"Expected `int \| str`"),
    ],
)
def test_a_forged_configuration_is_refused_in_a_line(
    change: Callable[[dict[str, Any]], object], said: str, copy: Path
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        load_run(forged(copy, change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "results.json"])
def test_a_pipe_in_a_run_is_not_waited_for(file: str, copy: Path) -> None:
    (copy / file).unlink()
    os.mkfifo(copy / file)
    with pytest.raises(InputError, match=f"{file} is a pipe, not a file"):
        load_run(copy)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_not_read(value: float, copy: Path) -> None:
    run = load_run(copy)
    tensors = run.model.state_dict()
    next(iter(tensors.values()))[0] = value
    save_tensors(copy / "model.safetensors", tensors, run.identity)
    with pytest.raises(InputError, match="holds weights that are not finite"):
        load_run(copy)


def test_counting_a_models_weights_draws_none() -> None:
    """A model is the same whether somebody has counted its weights before, and counting takes no memory."""
    training = Training().changed(model="vae", likelihood="bernoulli", variance=0.02)
    torch.manual_seed(0)
    counted = build_model(training, (1, 8, 8))
    torch.manual_seed(0)
    assert weights_digest(counted) == weights_digest(VAE((1, 8, 8)))
