"""What `train`, `audit` and `demo` leave, and when they leave things alone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from doubleback.errors import DivergedError, InputError
from doubleback.experiments import run as run_module
from doubleback.experiments.config import Audit, Demo, Sizes, Train
from doubleback.experiments.folders import load_run
from doubleback.experiments.run import audit, demo, train
from tests.data.folders import hub_folder, image_folder
from tests.experiments.conftest import settings

TRAIN_KEYS = {
    "train": ["seconds"],
    "test": [
        "reconstruction_l2",
        "reconstruction_nll",
        "kl",
        "input_gradient_norm",
        "output_jacobian.spectral",
        "output_jacobian.frobenius",
        "latent_jacobian.spectral",
    ],
}
AUDIT_KEYS = [
    *(
        f"attacks.{attack}.{key}"
        for attack in ("latent", "output")
        for key in ("auddc.envelope.mean", "auddc.reference.mean", "share_of_ceiling")
    ),
    "attacks.worst_case.auddc.envelope.mean",
    "attacks.worst_case.share_of_ceiling",
    "ceiling.mean",
    "pairs.used",
    "pairs.flagged",
    "seconds",
]


def at(record: dict, path: str) -> object:  # type: ignore[type-arg]
    value: object = record
    for key in path.split("."):
        value = value[key]  # type: ignore[index]
    return value


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def quick(*runs: Path, **changes: object) -> Audit:
    return Audit(runs=runs, **{"pairs": 4, "coefficients": 6, "steps": 20, **changes})  # type: ignore[arg-type]


def test_train_leaves_its_folder(hardened: Path) -> None:
    left = {path.name for path in hardened.iterdir()}
    assert left == {"config.json", "model.safetensors", "checkpoint", "log.csv", "results.json", "images.npz"}
    results = json.loads((hardened / "results.json").read_text())
    assert results["schema"] == 1
    for section, keys in TRAIN_KEYS.items():
        assert all(isinstance(at(results[section], key), float) for key in keys)
    config = json.loads((hardened / "config.json").read_text())
    assert config["train"]["penalty_weight"] == 0.03
    assert config["train"]["penalty_start"] == 0.5
    assert config["image_shape"] == [1, 8, 8]
    with np.load(hardened / "images.npz") as images:
        assert images["test"].shape == images["test_reconstruction"].shape == (16, 1, 8, 8)
        assert images["test"].dtype == np.uint8


def test_a_finished_run_is_left_alone(plain: Path) -> None:
    before = snapshot(plain)
    with pytest.raises(InputError, match="holds this very run, finished; add --resume"):
        train(settings(plain), [])
    results = train(settings(plain, resume=True), [])
    assert results == json.loads((plain / "results.json").read_text())
    with pytest.raises(InputError, match=r"another configuration \(epochs: 4 there, 5 here\)"):
        train(settings(plain, epochs=5), [])
    assert snapshot(plain) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": -1}, "batch size is -1"),
        ({"penalty_weight": -1.0}, "penalty_weight is -1.0"),
        ({"kl_weight": -1.0}, "kl_weight is -1.0"),
        ({"sizes": Sizes(latent=0)}, "latent of the VAE is 0"),
        ({"data": "mnits"}, "did you mean mnist"),
        ({"likelihood": "gaussian", "variance": -1.0}, "variance is -1.0"),
        ({"variance": 0.1}, "--variance is of the Gaussian likelihoods"),
        ({"model": "ae"}, "--kl-weight is of the variational models; ae has no KL"),
        ({"sizes": Sizes(steps=3)}, "--model.steps is no size of vae; it has --model.hidden, --model.latent"),
        ({"model": "draw", "sizes": Sizes(hidden=(3, 4))}, r"--model.hidden is \(3, 4\); draw has one"),
        ({"model": "draw", "sizes": Sizes(read_size=9)}, "read size is 9, but the images are 8x8"),
        ({"model": "draw", "sizes": Sizes(steps=0)}, "steps of the DRAW is 0"),
        ({"model": "conv-vae", "image_size": 5, "sizes": Sizes()}, "5x5 are too small"),
        ({"image_size": 0}, "image size 0"),
        ({"penalty": "output", "estimator": "perturbed"}, "the output penalty cannot be perturbed"),
        (
            {"penalty": "reconstruction", "estimator": "perturbed", "likelihood": "gaussian-learned"},
            "take the estimator exact",
        ),
    ],
)
def test_bad_settings_write_nothing(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        train(settings(tmp_path / "new", **changes), [])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("has", "precision"), [(True, "bf16-mixed"), (False, "32")])
def test_the_fast_precision_is_the_machines(
    tmp_path: Path, has: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "has_bf16", lambda: has)
    train(settings(tmp_path / "fast", precision="fast", epochs=1), [])
    assert load_run(tmp_path / "fast").settings.precision == precision


def test_init_starts_from_the_weights_and_hardens_at_once(plain: Path, tmp_path: Path) -> None:
    run = Train(output=tmp_path / "from", init=plain, penalty="reconstruction", epochs=1, learning_rate=1e-12)
    train(run, [])
    config = json.loads((tmp_path / "from" / "config.json").read_text())["train"]
    inherited = ("data", "image_size", "limit", "model", "likelihood")
    assert [config[name] for name in inherited] == ["digits", 8, 300, "vae", "bernoulli"]
    assert (config["sizes"]["hidden"], config["sizes"]["latent"]) == ([32], 4)
    assert config["penalty_start"] == 0.0
    assert "0.03" in (tmp_path / "from" / "log.csv").read_text()
    old, new = load_run(plain).model.state_dict(), load_run(tmp_path / "from").model.state_dict()
    assert all(torch.allclose(old[name], new[name], atol=1e-6) for name in old)
    assert Train(output=tmp_path, init=plain).epochs is None


def test_init_refuses_another_model(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--model.latent is 7, but .* has 4; leave it out"):
        train(Train(output=tmp_path / "x", init=plain, sizes=Sizes(latent=7)), [])
    with pytest.raises(InputError, match=r"--model is draw, but .* has vae"):
        train(Train(output=tmp_path / "x", init=plain, model="draw"), [])


def test_init_refuses_data_of_another_shape(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="takes images of 1 channel and 8x8 pixels, these are 1 channel and 9x9"):
        train(Train(output=tmp_path / "x", init=plain, image_size=9), [])
    assert not (tmp_path / "x").exists()


def test_divergence_leaves_the_last_good_weights(tmp_path: Path) -> None:
    folder = tmp_path / "wild"
    with pytest.raises(DivergedError, match="lower the learning rate"):
        train(settings(folder, learning_rate=1e9, epochs=8), [])
    assert all(p.isfinite().all() for p in load_run(folder).model.parameters())
    assert not (folder / "results.json").exists()


MODELS = {
    "conv-vae": Sizes(filters=(4,), hidden=(8,), latent=3),
    "draw": Sizes(steps=2, hidden=(8,), latent=2),
    "draw, attention": Sizes(steps=2, hidden=(8,), latent=2, read_size=3, write_size=4),
    "ae": Sizes(hidden=(16,), latent=3),
    "conv-ae": Sizes(filters=(4,), hidden=(8,), latent=3),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_is_read_back_and_audited(tmp_path: Path, name: str) -> None:
    """The same keys as the VAE's; a plain autoencoder has no KL."""
    model = name.split(",")[0]
    run = settings(
        tmp_path / "run",
        model=model,
        sizes=MODELS[name],
        penalty="reconstruction",
        epochs=2,
        batch_size=16,
        kl_weight=None if model in ("ae", "conv-ae") else 0.1,
    )
    results = train(run, [])
    for key in TRAIN_KEYS["test"]:
        assert isinstance(at(results["test"], key), float) or (key == "kl" and model in ("ae", "conv-ae"))
    assert (results["test"]["kl"] is None) == (model in ("ae", "conv-ae"))
    read = load_run(tmp_path / "run")
    assert read.settings.sizes == MODELS[name]
    (found,) = audit(quick(tmp_path / "run", pairs=2), []).values()
    for key in AUDIT_KEYS:
        at(found, key)


def test_other_images_are_audited_apart(plain: Path, tmp_path: Path) -> None:
    """The validation images, or another data set's, at the size that the model takes; grey ones only."""
    audit(quick(plain, split="validation"), [])
    assert json.loads((plain / "audit-validation" / "config.json").read_text())["audit"]["split"] == "validation"
    with np.load(plain / "audit-validation" / "images.npz") as images:
        sources = images["source"]
    with np.load(plain / "audit-validation" / "curves.npz") as curves:
        places = torch.from_numpy(curves["source_index"])
    validation = load_run(plain).images().validation.images
    assert np.array_equal(sources, validation[places][: len(sources)].numpy())
    hub_folder(tmp_path / "grey")
    audit(quick(plain, data=str(tmp_path / "grey")), [])
    assert (plain / "audit-grey" / "results.json").exists()
    colour = image_folder(tmp_path / "colour")
    with pytest.raises(InputError, match="takes images of 1 channel and 8x8 pixels, these are 3 channels and 8x8"):
        audit(quick(plain, data=str(colour)), [])
    assert not (plain / "audit-colour").exists()


def test_pairs_from_one_class_to_another(plain: Path, tmp_path: Path) -> None:
    settings = quick(plain, from_class="1", to="0", pairs=3, output=tmp_path)
    audit(settings, [])
    labels = load_run(plain).images().test.labels
    assert labels is not None
    with np.load(tmp_path / "plain" / "curves.npz") as curves:
        assert (labels[torch.from_numpy(curves["source_index"])] == 1).all()
        assert (labels[torch.from_numpy(curves["target_index"])] == 0).all()
    for wrong in ("11", "cat"):
        with pytest.raises(InputError, match=f"--from is '{wrong}'; choose one of 0, 1, 2"):
            audit(replace(settings, from_class=wrong, output=tmp_path / "other"), [])


def test_audit_leaves_its_folders(plain: Path, hardened: Path) -> None:
    found = audit(quick(plain, hardened), ["doubleback", "audit"])
    assert list(found) == [str(plain), str(hardened)]
    for run, results in zip((plain, hardened), found.values(), strict=True):
        assert {path.name for path in (run / "audit").iterdir()} == {
            "config.json",
            "results.json",
            "curves.npz",
            "images.npz",
        }
        assert results == json.loads((run / "audit" / "results.json").read_text())
        assert all(isinstance(at(results, key), (int, float)) for key in AUDIT_KEYS)
        low, high = results["attacks"]["latent"]["auddc"]["envelope"]["ci95"]
        assert low < high
    pairs = [np.load(run / "audit" / "curves.npz") for run in (plain, hardened)]
    assert (pairs[0]["source_index"] == pairs[1]["source_index"]).all()


def test_an_audit_is_kept_unless_something_changed(plain: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(plain, tmp_path / "run"))
    shutil.rmtree(run / "audit", ignore_errors=True)
    audit(quick(run), [])
    before = snapshot(run)
    audit(quick(run), ["another", "command"])
    with pytest.raises(InputError, match=r"another configuration \(pairs: 4 there, 5 here\)"):
        audit(quick(run, pairs=5), [])
    assert snapshot(run) == before
    audit(quick(run, pairs=5, output=tmp_path / "out"), [])
    assert (tmp_path / "out" / "run" / "results.json").exists()
    assert snapshot(run) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pairs": 0}, "pairs is 0"),
        ({"pairs": 10_000}, "ask for fewer pairs"),
        ({"steps": 0}, "steps is 0"),
        ({"coefficients": -1}, "coefficients is -1"),
        ({"samples": -1}, "samples is -1"),
    ],
)
def test_bad_audits_write_nothing(plain: Path, tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        audit(quick(plain, output=tmp_path / "out", **changes), [])
    assert not (tmp_path / "out").exists()


def test_runs_that_would_share_a_folder(plain: Path, tmp_path: Path) -> None:
    twin = Path(shutil.copytree(plain, tmp_path / "plain"))
    with pytest.raises(InputError, match="same folder name"):
        audit(quick(plain, twin, output=tmp_path / "out"), [])
    with pytest.raises(InputError, match="no run to audit"):
        audit(quick(), [])


def test_demo_keeps_what_is_done(tmp_path: Path) -> None:
    settings = Demo(output=tmp_path / "demo", epochs=20, pairs=3, coefficients=5)
    results = demo(settings)
    for name in ("plain", "hardened"):
        for section, keys in TRAIN_KEYS.items():
            assert all(isinstance(at(results[name][section], key), float) for key in keys)
        assert all(isinstance(at(results[name], key), (int, float)) for key in AUDIT_KEYS)
    assert json.loads((tmp_path / "demo" / "results.json").read_text()) == results
    weights = (tmp_path / "demo" / "plain" / "model.safetensors").stat().st_mtime_ns
    again = demo(settings)
    assert again["plain"] == results["plain"]
    assert (tmp_path / "demo" / "plain" / "model.safetensors").stat().st_mtime_ns == weights
    command = json.loads((tmp_path / "demo" / "hardened" / "config.json").read_text())["command"]
    assert command[:2] == ["doubleback", "train"]
    assert command[command.index("--penalty") + 1] == "reconstruction"
