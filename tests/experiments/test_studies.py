"""Classifiers on disk: what `classify`, `robustness` and `transition` leave, refuse and keep."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from doubleback.errors import InputError
from doubleback.experiments.classifiers import classify, load_classifier
from doubleback.experiments.config import Audit, Classify, Robustness, Sizes, Train, Transition
from doubleback.experiments.folders import load_run
from doubleback.experiments.run import audit, train
from doubleback.experiments.studies import robustness, transition
from doubleback.mixture import LatentMixtureClassifier
from doubleback.robustness import Withstood
from doubleback.robustness.measuring import _Attacked
from doubleback.tensors import as_unit
from tests.experiments.conftest import settings

WORDS = ["doubleback"]


@pytest.fixture(scope="module")
def mixture(hardened: Path) -> Path:
    folder = hardened.parent / "mixture"
    classify(Classify(run=hardened, components=2, output=folder), WORDS)
    return folder


@pytest.fixture(scope="module")
def mlp(hardened: Path) -> Path:
    folder = hardened.parent / "mlp"
    said = {"model": "mlp", "sizes": Sizes(hidden=(32,)), "kl_weight": None, "epochs": 15, "batch_size": 16}
    train(settings(folder, **said), WORDS)
    return folder


def quick(*models: Path, output: Path, **changes: object) -> Robustness:
    small = {"eps": ("0.02", "8/255"), "steps": 4, "queries": 10, "samples": 20}
    return Robustness(models=models, output=output, **{**small, **changes})  # type: ignore[arg-type]


def test_classify_leaves_a_classifier_that_can_be_read_back(mixture: Path, hardened: Path) -> None:
    results = json.loads((mixture / "results.json").read_text())
    assert results["test"]["images"] > 0
    assert 0.3 < results["test"]["accuracy"] <= 1
    assert len(results["mixtures"]["converged"]) == 10
    assert results["mixtures"]["codes"] == len(load_run(hardened).images().train)
    assert not list(mixture.glob("*.pkl"))
    read = load_classifier(mixture)
    assert isinstance(read.model, LatentMixtureClassifier)
    assert read.model.classes == tuple(str(digit) for digit in range(10))
    images = load_run(hardened).images()
    again = LatentMixtureClassifier.fit(
        load_run(hardened).autoencoder,
        images.train.images,
        images.train.labels,
        components=2,  # type: ignore[arg-type]
    )
    x = as_unit(images.test.images[:20])
    assert torch.allclose(read.model(x), again(x))
    assert not any(parameter.requires_grad for parameter in read.model.parameters())


def test_a_run_that_was_classified_is_a_model_itself(plain: Path) -> None:
    with pytest.raises(InputError, match="doubleback classify"):
        load_classifier(plain)
    classify(Classify(run=plain, components=1), WORDS)
    assert (plain / "classifier" / "model.safetensors").is_file()
    found = load_classifier(plain)
    assert isinstance(found.model, LatentMixtureClassifier)
    kept = (plain / "classifier" / "model.safetensors").stat().st_mtime_ns
    classify(Classify(run=plain, components=1), WORDS)  # the same again: nothing is done
    assert (plain / "classifier" / "model.safetensors").stat().st_mtime_ns == kept
    with pytest.raises(InputError, match="components: 1 there, 2 here"):
        classify(Classify(run=plain, components=2), WORDS)
    shutil.rmtree(plain / "classifier")


def test_classifiers_are_trained_as_runs(mlp: Path) -> None:
    results = json.loads((mlp / "results.json").read_text())
    assert results["test"]["accuracy"] > 0.6
    header = (mlp / "log.csv").read_text().splitlines()[0].split(",")
    assert header[-3:] == ["cross_entropy", "validation_cross_entropy", "validation_accuracy"]
    assert not (mlp / "images.npz").exists()
    assert load_classifier(mlp).model.classes == tuple(str(digit) for digit in range(10))


def test_robustness_leaves_what_is_documented(mixture: Path, mlp: Path, tmp_path: Path) -> None:
    results = robustness(quick(mixture, mlp, output=tmp_path / "r"), WORDS)
    assert json.loads((tmp_path / "r" / "results.json").read_text()) == results
    assert results["eps"] == ["0.02", "8/255"]
    assert set(results["models"]) == {"mixture", "mlp"}
    for name, other in (("mixture", "mlp"), ("mlp", "mixture")):
        model = results["models"][name]
        assert set(model["robust_accuracy"]) == {"fgsm", "pgd", "apgd", "square", "noise", "longer"}
        assert set(model["transfer"]) == {other}
        assert model["worst_case"]["8/255"] <= model["robust_accuracy"]["pgd"]["8/255"] <= model["clean_accuracy"]
        assert set(model["flags"]) <= set(model["checks"])
        assert len(model["checks"]) == 6
    assert set(results["models"]["mixture"]["gradients"]) == {"score", "latent", "mixture"}
    with np.load(tmp_path / "r" / "images.npz") as arrays:
        assert arrays["mixture/x_adv"].shape == (8, 2, 1, 8, 8)
        assert arrays["source"].dtype == np.uint8
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["models"]["mlp"]["identity"] == load_run(mlp).identity


def test_robustness_is_kept_and_not_overwritten(mlp: Path, tmp_path: Path) -> None:
    asked = quick(mlp, output=tmp_path / "r")
    robustness(asked, WORDS)
    before = (tmp_path / "r" / "results.json").stat().st_mtime_ns
    robustness(asked, WORDS)
    assert (tmp_path / "r" / "results.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="samples: 20 there, 10 here"):
        robustness(quick(mlp, output=tmp_path / "r", samples=10), WORDS)


def test_robustness_goes_on_after_an_interruption(
    mixture: Path, mlp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the second model: the first is not attacked again, and the results are those of one go."""
    asked = quick(mlp, mixture, output=tmp_path / "r")
    attacked, real = [], _Attacked.withstood

    def withstood(self: _Attacked) -> Withstood:
        attacked.append(self.model)
        if len(attacked) == 2:
            raise KeyboardInterrupt
        return real(self)

    monkeypatch.setattr(_Attacked, "withstood", withstood)
    with pytest.raises(KeyboardInterrupt):
        robustness(asked, WORDS)
    assert not (tmp_path / "r" / "results.json").exists()
    results = robustness(asked, WORDS)
    assert len(attacked) == 3  # the first, the one interrupted, the same again
    assert not (tmp_path / "r" / "unfinished").exists()
    whole = robustness(quick(mlp, mixture, output=tmp_path / "whole"), WORDS)
    assert results["models"] == whole["models"]


def test_more_images_keep_the_first(mlp: Path, tmp_path: Path) -> None:
    """The images do not hang on how many are asked for: accuracies of nested samples are of nested sets."""
    few = robustness(quick(mlp, output=tmp_path / "a", samples=10), WORDS)["models"]["mlp"]["clean_accuracy"] * 10
    more = robustness(quick(mlp, output=tmp_path / "b", samples=20), WORDS)["models"]["mlp"]["clean_accuracy"] * 20
    assert few <= round(more) <= few + 10


def test_models_of_one_name_go_by_their_parents(mixture: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(mixture, tmp_path / name / "classifier")
    found = robustness(quick(*(tmp_path / n / "classifier" for n in "ab"), output=tmp_path / "r"), WORDS)
    assert set(found["models"]) == {"a/classifier", "b/classifier"}
    one, other = (tmp_path / n / "classifier" for n in "ab")
    found = robustness(quick(one, black_box=(other,), output=tmp_path / "s"), WORDS)
    assert set(found["models"]["a/classifier"]["transfer"]) == {"b/classifier"}


def test_transition_leaves_what_is_documented(mixture: Path, mlp: Path, tmp_path: Path) -> None:
    asked = Transition(
        classifiers=(mixture,), from_class="9", to="7", count=3, eta=0.5, steps=12, judge=mlp, output=tmp_path / "t"
    )
    results = transition(asked, WORDS)
    assert json.loads((tmp_path / "t" / "results.json").read_text()) == results
    assert results["judge"] == "mlp"
    assert results["images"] == 3
    model = results["models"]["mixture"]
    assert set(model["judge"]) == {"image", "reconstruction", "source"}
    assert 0 <= model["ci95"]["judge"]["image"][0] <= model["judge"]["image"]
    with np.load(tmp_path / "t" / "images.npz") as arrays:
        steps = len(arrays["mixture/probabilities"][0]) - 1
        assert arrays["mixture/images"].shape == (3, len(arrays["shown"]), 1, 8, 8)
        assert arrays["mixture/reconstructions"].shape == arrays["mixture/images"].shape
        assert int(arrays["shown"][-1]) == steps == int(arrays["mixture/steps"].max())
        assert set(arrays["source_class"]) == {9}
        assert set(arrays["target_class"]) == {7}
        assert np.allclose(arrays["mixture/probabilities"].sum(2), 1, atol=1e-5)
    alone = transition(Transition(classifiers=(mixture,), count=4, steps=2, output=tmp_path / "u"), WORDS)
    assert alone["judge"] is None
    assert "judge" not in alone["models"]["mixture"]


def test_what_is_refused(mixture: Path, mlp: Path, plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused = [
        (lambda: robustness(quick(output=out), WORDS), "no model"),
        (lambda: robustness(quick(mlp, output=out, eps=("much",)), WORDS), "'much'"),
        (lambda: robustness(quick(mlp, output=out, eps=("1/0",)), WORDS), "'1/0'"),
        (lambda: robustness(quick(mlp, output=out, eps=("-0.1",)), WORDS), "-0.1"),
        (lambda: robustness(quick(mlp, output=out, eps=("0.1", "0.10")), WORDS), "twice"),
        (lambda: robustness(quick(mlp, output=out, samples=0), WORDS), "samples is 0"),
        (lambda: robustness(quick(mlp, mlp, output=out), WORDS), "is there twice"),
        (lambda: robustness(quick(mlp, output=out, black_box=(mlp,)), WORDS), "is there twice"),
        (lambda: robustness(quick(mlp, output=out, eps=("1e400",)), WORDS), "'1e400'"),
        (lambda: robustness(quick(mlp, output=out, eps=("1e-400",)), WORDS), "positive"),
        (lambda: transition(Transition(classifiers=(mixture,), judge=mixture, output=out), WORDS), "has no part"),
        (lambda: robustness(quick(plain, output=out), WORDS), "doubleback classify"),
        (lambda: robustness(quick(tmp_path / "nowhere", output=out), WORDS), "not a folder"),
        (lambda: transition(Transition(classifiers=(), output=out), WORDS), "no classifier"),
        (lambda: transition(Transition(classifiers=(mlp,), output=out), WORDS), "no autoencoder"),
        (lambda: transition(Transition(classifiers=(mixture,), to="X", output=out), WORDS), "--to is 'X'"),
        (lambda: transition(Transition(classifiers=(mixture,), from_class="7", to="7", output=out), WORDS), "both 7"),
        (lambda: transition(Transition(classifiers=(mixture,), count=10**6, output=out), WORDS), "count is 1000000"),
        (lambda: transition(Transition(classifiers=(mixture,), eta=0.0, output=out), WORDS), "eta is 0"),
        (lambda: classify(Classify(run=mlp, output=out), WORDS), "is a classifier"),
        (lambda: classify(Classify(run=mixture, output=out), WORDS), "is a classifier"),
        (lambda: classify(Classify(run=plain, components=500, output=out), WORDS), "500 components"),
        (lambda: audit(Audit(runs=(mlp,), output=out), WORDS), "is a classifier"),
    ]
    for does, says in refused:
        with pytest.raises(InputError, match=says):
            does()
        assert not out.exists(), says


def test_settings_of_autoencoders_are_refused_for_classifiers(tmp_path: Path) -> None:
    for changes, says in (
        ({"penalty": "output"}, "--penalty"),
        ({"likelihood": "gaussian"}, "--likelihood"),
        ({"kl_weight": 1.0}, "--kl-weight"),
        ({"sizes": Sizes(latent=4)}, "model.latent"),
    ):
        with pytest.raises(InputError, match=says):
            train(Train(output=tmp_path / "x", data="digits", model="mlp", **changes), WORDS)  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("damage", ["config", "weights", "cut"])
def test_a_damaged_classifier_is_refused(mixture: Path, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(mixture, copy)
    if damage == "config":
        config = json.loads((copy / "config.json").read_text())
        config["classify"]["components"] = 3
        (copy / "config.json").write_text(json.dumps(config))
    elif damage == "weights":
        shutil.copy(load_run_of(mixture), copy / "model.safetensors")
    else:
        (copy / "model.safetensors").write_bytes((mixture / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(InputError, match=str(copy)):
        load_classifier(copy)


def load_run_of(mixture: Path) -> Path:
    """The weights of the run that the mixtures are of."""
    return Path(json.loads((mixture / "config.json").read_text())["run"]) / "model.safetensors"
