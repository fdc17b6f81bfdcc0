"""What `train` leaves, and when it leaves things alone."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from doubleback.checkpoints import load_tensors, save_tensors
from doubleback.errors import DivergedError, InputError
from doubleback.experiments import training
from doubleback.experiments.auditing import audit
from doubleback.experiments.runs import load_run
from doubleback.experiments.training import train
from doubleback.settings import Penalty, Sizes, Training
from doubleback.settings.commands import Train
from doubleback.training import History
from tests.experiments.conftest import WORDS, quick, settings, snapshot
from tests.experiments.keys import AUDIT_KEYS, TRAIN_KEYS, at


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_run(folder).model.state_dict()  # type: ignore[no-any-return]


def test_train_leaves_its_folder(hardened: Path) -> None:
    left = {path.name for path in hardened.iterdir()}
    assert left == {
        "config.json",
        "model.safetensors",
        "checkpoint",
        "log.csv",
        "results.json",
        "images.npz",
        "training-images.npz",
    }
    results = json.loads((hardened / "results.json").read_text())
    assert results["schema"] == 1
    for section, keys in TRAIN_KEYS.items():
        assert all(isinstance(at(results[section], key), float) for key in keys)
    assert results["weights"] == load_run(hardened).weights
    config = json.loads((hardened / "config.json").read_text())
    assert config["train"]["penalty_weight"] == 0.03
    assert config["train"]["penalty_start"] == 0.5
    assert config["image_shape"] == [1, 8, 8]
    assert config["images"] == load_run(hardened).images().fingerprint
    with np.load(hardened / "images.npz") as images:
        assert images["test"].shape == images["test_reconstruction"].shape == (16, 1, 8, 8)
        assert images["test"].dtype == np.uint8


def test_a_finished_run_is_left_alone(copy: Path) -> None:
    before = snapshot(copy)
    with pytest.raises(InputError, match="holds this very run, finished; add --resume"):
        train(settings(copy), WORDS)
    results = train(settings(copy, resume=True), ("another", "line"))
    assert results == json.loads((copy / "results.json").read_text())
    with pytest.raises(InputError, match=r"another configuration \(epochs: 4 there, 5 here\)"):
        train(settings(copy, epochs=5, resume=True), WORDS)
    assert snapshot(copy) == before


@pytest.mark.parametrize("lost", ["model.safetensors", "images.npz", "training-images.npz", "results.json"])
def test_resume_writes_again_what_was_lost(copy: Path, lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The very same, without a step of training: the checkpoint holds the end."""
    before, trained = snapshot(copy), weights(copy)
    (copy / lost).unlink()
    with pytest.raises(InputError, match="holds this very run, unfinished; add --resume"):
        train(settings(copy), WORDS)
    monkeypatch.setattr("doubleback.training.loop._Run.step", lambda *_: pytest.fail("it was trained again"))
    train(settings(copy, resume=True), WORDS)
    after = snapshot(copy)
    assert after.keys() == before.keys()
    assert all(torch.equal(weight, trained[name]) for name, weight in weights(copy).items())
    with np.load(copy / "images.npz") as now, np.load(io.BytesIO(before["images.npz"])) as then:
        assert all(np.array_equal(now[name], then[name]) for name in then)
    assert json.loads(after["results.json"])["test"] == json.loads(before["results.json"])["test"]


BAD = [
    ({"hidden": (0,)}, "hidden of the VAE is"),
    ({"latent": 0}, "latent of the VAE is 0"),
    ({"data": "mnits"}, "did you mean mnist"),
    ({"variance": 0.1}, "--variance is of the Gaussian likelihoods"),
    ({"model": "draw", "hidden": None, "read_size": 9}, "read size is 9, but the images are 8x8"),
    ({"model": "draw", "hidden": None, "steps": 0}, "steps of the DRAW is 0"),
    ({"model": "conv-vae", "image_size": 5, "hidden": None, "latent": None}, "5x5 are too small"),
    (
        {"penalty": "reconstruction", "estimator": "perturbed", "likelihood": "gaussian-learned"},
        "take the estimator exact",
    ),
    ({"devices": 3}, "does not divide over 3 processes"),
]


@pytest.mark.parametrize(("changes", "said"), BAD)
def test_bad_settings_write_nothing(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    """What the settings alone cannot know: `tests/settings` has the rest."""
    with pytest.raises(InputError, match=said):
        train(settings(tmp_path / "new" / "run", **changes), WORDS)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_by_the_loop_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is claimed by then."""

    def refused(*_: object, folder: Path, **__: object) -> None:
        assert (folder / "config.json").exists()
        raise InputError("start fewer")

    monkeypatch.setattr(training, "fit", refused)
    with pytest.raises(InputError, match="start fewer"):
        train(settings(tmp_path / "new" / "run"), WORDS)
    assert list(tmp_path.iterdir()) == []


def test_init_starts_from_the_weights_and_hardens_at_once(plain: Path, tmp_path: Path) -> None:
    said = Training(init=plain, penalty=Penalty("reconstruction")).changed(epochs=1, learning_rate=1e-12)
    train(Train(tmp_path / "from", said), WORDS)
    config = json.loads((tmp_path / "from" / "config.json").read_text())
    inherited = ("data", "image_size", "limit", "model", "likelihood", "batch_size")
    assert [config["train"][name] for name in inherited] == ["digits", 8, 300, "vae", "bernoulli", 2]
    assert (config["train"]["sizes"]["hidden"], config["train"]["sizes"]["latent"]) == ([32], 4)
    assert config["train"]["penalty_start"] == 0.0
    assert config["parent"] == load_run(plain).weights
    assert "0.03" in (tmp_path / "from" / "log.csv").read_text()
    old, new = weights(plain), weights(tmp_path / "from")
    assert all(torch.allclose(old[name], new[name], atol=1e-6) for name in old)


def test_init_refuses_before_anything_is_written(plain: Path, mlp: Path, tmp_path: Path) -> None:
    for init, changes, says in (
        (plain, {"latent": 7}, r"--model.latent is 7, but .* has 4; leave it out"),
        (plain, {"image_size": 9}, "takes images of 1 channel and 8x8 pixels, these are 1 channel and 9x9"),
        (mlp, {"kl_weight": 1.0}, "--kl-weight is for autoencoders"),
        (tmp_path, {}, "config.json does not exist"),
    ):
        with pytest.raises(InputError, match=says):
            train(Train(tmp_path / "x", Training(init=init).changed(**changes)), WORDS)
    assert list(tmp_path.iterdir()) == []


def test_divergence_leaves_the_last_good_weights(tmp_path: Path) -> None:
    folder = tmp_path / "wild"
    with pytest.raises(DivergedError, match="lower the learning rate"):
        train(settings(folder, learning_rate=1e9, epochs=8), WORDS)
    assert all(weight.isfinite().all() for weight in weights(folder).values())
    assert {path.name for path in folder.iterdir()} == {"config.json", "checkpoint", "log.csv", "model.safetensors"}


MODELS: dict[str, dict[str, Any]] = {
    "conv-vae": {"filters": (4,), "hidden": (8,), "latent": 3},
    "draw": {"steps": 2, "hidden": (8,), "latent": 2, "read_size": 3, "write_size": 4},
    "ae": {"hidden": (16,), "latent": 3},
    "conv-ae": {"filters": (4,), "hidden": (8,), "latent": 3},
    "lipschitz": {"hidden": (16,), "latent": 3, "slope": 2.0},
}


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_is_read_back_and_audited(tmp_path: Path, model: str) -> None:
    """The same keys as the VAE's; a plain autoencoder has no KL."""
    plain = model in ("ae", "conv-ae", "lipschitz")
    changes = {"penalty": "reconstruction", "epochs": 1, "batch_size": 32, "kl_weight": None if plain else 0.1}
    results = train(settings(tmp_path / "run", model=model, **changes | MODELS[model]), WORDS)
    for key in TRAIN_KEYS["test"]:
        assert isinstance(at(results["test"], key), float) or (key == "kl" and plain)
    assert (results["test"]["kl"] is None) == plain
    assert load_run(tmp_path / "run").settings.architecture.sizes == Sizes(**MODELS[model])
    (found,) = audit(quick(tmp_path / "run", pairs=2, coefficients=2, steps=3), WORDS).values()
    for key in AUDIT_KEYS:
        at(found, key)


def test_classifiers_are_trained_as_runs(mlp: Path) -> None:
    results = json.loads((mlp / "results.json").read_text())
    assert results["test"]["accuracy"] > 0.6
    header = (mlp / "log.csv").read_text().splitlines()[0].split(",")
    assert header[-3:] == ["cross_entropy", "validation_cross_entropy", "validation_accuracy"]
    assert not (mlp / "images.npz").exists()
    config = json.loads((mlp / "config.json").read_text())
    assert config["classes"] == [str(digit) for digit in range(10)]


def test_the_other_processes_of_a_run_write_nothing(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They fit beside the first one, which alone describes the folder, locks it and finishes it."""
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("MASTER_PORT", "1")  # as the first process leaves it
    fitted: list[Path] = []

    def fit(*_: object, folder: Path, **__: object) -> History:
        fitted.append(folder)
        return History()

    monkeypatch.setattr(training, "fit", fit)
    fresh = copy.parent / "fresh"
    assert train(settings(fresh), WORDS) == {}
    assert not fresh.exists()
    before = snapshot(copy)
    assert train(settings(copy, resume=True), WORDS) == {}
    assert fitted == [fresh], "of a finished run there is nothing to do"
    (copy / "results.json").unlink()
    assert train(settings(copy, resume=True), WORDS) == {}
    assert fitted == [fresh, copy]
    assert snapshot(copy).keys() == before.keys() - {"results.json"}


def test_a_rate_that_is_far_too_high_ends_with_a_line(tmp_path: Path) -> None:
    """Not with a finished run whose results are null."""
    for epochs in (1, 3):
        folder = tmp_path / str(epochs)
        with pytest.raises(DivergedError, match=r"at step \d+ of \d+; lower the learning rate"):
            train(settings(folder, learning_rate=1e30, epochs=epochs), WORDS)
        assert not (folder / "results.json").exists()
        assert (folder / "checkpoint" / "state.safetensors").exists()
        load_run(folder)


def test_a_run_whose_test_figures_are_not_finite_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = training.evaluate
    monkeypatch.setattr(
        training, "evaluate", lambda *args, **kw: real(*args, **kw) | {"reconstruction_l2": float("nan")}
    )
    with pytest.raises(
        DivergedError, match=r"test images the reconstruction l2 is nan after step \d+, the last; lower"
    ):
        train(settings(tmp_path / "run", epochs=1), WORDS)
    assert not (tmp_path / "run" / "results.json").exists()


def test_a_checkpoint_behind_a_link_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "run"
    train(settings(folder, epochs=1), WORDS)
    (folder / "results.json").unlink()
    (folder / "checkpoint").rename(tmp_path / "elsewhere" / "checkpoint")
    (folder / "checkpoint").symlink_to(tmp_path / "elsewhere" / "checkpoint")
    before = snapshot(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="checkpoint is a link"):
        train(settings(folder, epochs=1, resume=True), WORDS)
    assert snapshot(tmp_path / "elsewhere") == before


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["history"].update(step=10**9),
        lambda state: state["history"].update(rows={}),
        lambda state: state["history"].pop("step"),
        lambda state: state.update(scheduler=[]),
        lambda state: state["groups"][0].update(lr="fast"),
        lambda state: state.clear(),
    ],
)
def test_a_forged_checkpoint_is_refused_in_a_line(change: Callable[[Any], object], copy: Path) -> None:
    (copy / "results.json").unlink()
    identity = load_run(copy).identity
    tensors, state = load_tensors(copy / "checkpoint" / "state.safetensors", identity)
    change(state)
    save_tensors(copy / "checkpoint" / "state.safetensors", tensors, identity, state)
    with pytest.raises(InputError, match=r"state\.safetensors is damaged") as caught:
        train(settings(copy, resume=True), WORDS)
    assert "\n" not in str(caught.value)
