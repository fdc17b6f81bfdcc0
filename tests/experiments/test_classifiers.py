"""Classifiers on disk: what `classify` leaves, refuses and keeps; several go by their names."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from doubleback.checkpoints import save_tensors
from doubleback.errors import InputError
from doubleback.evaluation import classification_quality
from doubleback.experiments.classifiers import classify, labelled_images, load_classifier, named
from doubleback.experiments.robustness import robustness
from doubleback.experiments.runs import load_run
from doubleback.experiments.training import train
from doubleback.experiments.transition import transition
from doubleback.folders import digest
from doubleback.mixture import LatentMixtureClassifier
from doubleback.settings import Mixture, Threats, Walk, Wrapping
from doubleback.settings.commands import Classify, Robustness, Transition
from doubleback.tensors import as_unit
from tests.experiments.conftest import WORDS, settings, snapshot


def test_classify_leaves_a_classifier_that_can_be_read_back(mixture: Path, hardened: Path) -> None:
    results = json.loads((mixture / "results.json").read_text())
    assert results["test"]["images"] > 0
    assert 0.3 < results["test"]["accuracy"] <= 1
    assert len(results["mixtures"]["converged"]) == 10
    run = load_run(hardened)
    images = run.images()
    assert results["mixtures"]["codes"] == len(images.train)
    assert {path.name for path in mixture.iterdir()} == {
        "config.json",
        "model.safetensors",
        "results.json",
        "training-images.npz",
    }
    config = json.loads((mixture / "config.json").read_text())
    assert (config["run"], config["weights"]) == (str(hardened), run.weights)
    read = load_classifier(mixture)
    assert isinstance(read.model, LatentMixtureClassifier)
    assert read.model.classes == tuple(str(digit) for digit in range(10))
    assert images.train.labels is not None
    again = LatentMixtureClassifier.fit(run.autoencoder, images.train.images, images.train.labels, Mixture(2))
    x = as_unit(images.test.images[:20])
    assert torch.allclose(read.model(x), again(x))
    assert not any(parameter.requires_grad for parameter in read.model.parameters())


def test_a_run_that_was_classified_is_a_model_itself(copy: Path) -> None:
    with pytest.raises(InputError, match="doubleback classify"):
        load_classifier(copy)
    classify(Classify(copy, Mixture(1)), WORDS)
    found = load_classifier(copy)
    assert isinstance(found.model, LatentMixtureClassifier)
    before = snapshot(copy)
    classify(Classify(copy, Mixture(1)), WORDS)  # the same again: nothing is done
    with pytest.raises(InputError, match="components: 1 there, 2 here"):
        classify(Classify(copy, Mixture(2)), WORDS)
    assert snapshot(copy) == before


def test_the_classifier_of_other_weights_is_not_the_runs(copy: Path, hardened: Path) -> None:
    """As where a run is put in the place of another, whose classifier stays behind."""
    classify(Classify(copy, Mixture(1)), WORDS)
    for name in ("config.json", "model.safetensors", "results.json", "training-images.npz"):
        shutil.copy(hardened / name, copy / name)
    with pytest.raises(InputError, match="was made from other weights"):
        load_classifier(copy)
    assert isinstance(load_classifier(copy / "classifier").model, LatentMixtureClassifier), "by itself it is sound"


def test_what_classify_refuses(plain: Path, mixture: Path, mlp: Path, tmp_path: Path) -> None:
    for run, settings_, says in (
        (mlp, Mixture(), "is a classifier"),
        (mixture, Mixture(), "is a classifier"),
        (plain, Mixture(500), "500 components"),
        (tmp_path, Mixture(), "config.json does not exist"),
    ):
        with pytest.raises(InputError, match=says):
            classify(Classify(run, settings_, tmp_path / "out"), WORDS)
        assert not (tmp_path / "out").exists(), says


@pytest.mark.parametrize("damage", ["config", "weights", "cut", "version"])
def test_a_damaged_classifier_is_refused(mixture: Path, hardened: Path, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(mixture, copy)
    config = json.loads((copy / "config.json").read_text())
    if damage == "config":
        config["classify"]["components"] = 3
    elif damage == "version":
        del config["run_identity"]
    elif damage == "weights":
        shutil.copy(hardened / "model.safetensors", copy / "model.safetensors")
    else:
        (copy / "model.safetensors").write_bytes((mixture / "model.safetensors").read_bytes()[:1000])
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=str(copy)):
        load_classifier(copy)


def test_models_of_one_name_go_by_their_parents(mixture: Path, mlp: Path, tmp_path: Path) -> None:
    for place in ("a", "b", "c/a"):
        shutil.copytree(mixture, tmp_path / place / "classifier")
    a, b, deep = (tmp_path / place / "classifier" for place in ("a", "b", "c/a"))
    assert set(named([a, b, mlp])) == {"a/classifier", "b/classifier", "mlp"}
    with pytest.raises(InputError, match="so do their parents"):
        named([a, deep])
    with pytest.raises(InputError, match="is given twice"):
        named([mlp, mlp.parent / "mixture" / ".." / "mlp"])


def test_models_of_one_study_know_the_same_images(mlp: Path, mixture: Path, tmp_path: Path) -> None:
    train(settings(tmp_path / "large", model="mlp", image_size=9, latent=None, kl_weight=None, epochs=1), WORDS)
    images, classes = labelled_images(named([mixture, mlp]))
    assert (images.image_shape, len(classes)) == ((1, 8, 8), 10)
    with pytest.raises(InputError, match="takes images of 1 channel and 9x9"):
        labelled_images(named([mlp, tmp_path / "large"]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda config: config.update(classes=["0", "1"]), "does not hold mixtures of 2 classes in 4 dimensions"),
        (lambda config: config.update(classes="0123456789"), "Expected `array`"),
        (
            lambda config: config["train"].update(model="mlp", sizes={}, likelihood=None, variance=None),
            "is for auto",
        ),
        (lambda config: config["train"]["sizes"].update(latent=5), "does not hold mixtures of 10 classes in 5 dim"),
        (lambda config: config.update(image_shape=None), "Expected `array`"),
    ],
)
def test_a_forged_classifier_is_refused_in_a_line(
    change: Callable[[Any], object], said: str, mixture: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(mixture, tmp_path / "mixture"))
    config, weights = json.loads((folder / "config.json").read_text()), load_classifier(folder).model.state_dict()
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    names = ("classify", "train", "image_shape", "run_identity", "classes", "weights", "images")
    save_tensors(folder / "model.safetensors", weights, digest({name: config[name] for name in names}))
    with pytest.raises(InputError, match=said) as caught:
        load_classifier(folder)
    assert "\n" not in str(caught.value)


def test_a_classifier_is_not_put_behind_a_link(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (copy / "classifier").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="copy/classifier is a link"):
        classify(Classify(copy, Mixture(components=1)), WORDS)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_more_gaussians_than_memory_holds(copy: Path) -> None:
    with pytest.raises(InputError, match="2147483647 Gaussians a class in 4 dimensions needs"):
        classify(Classify(copy, Mixture(components=2**31 - 1)), WORDS)


# -- of a model that is not a run --------------------------------------------------------------------------------------

CODE = """
import torch
from torch import nn

class Net(nn.Module):
    \"\"\"Its code is (2, 4, 4).\"\"\"

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = nn.Conv2d(1, 2, 2, 2), nn.ConvTranspose2d(2, 1, 2, 2)

    def forward(self, x):
        return self.decoder(self.encoder(x))

def make():
    return Net()

def brighter():
    net = Net()
    with torch.no_grad():
        net.encoder.bias += 1
    return net

def output_only():
    return nn.Conv2d(1, 1, 1)
"""


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with somebody's code, in which the user is."""
    (tmp_path / "net.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def of_net(name: str = "net.py:make", **given: Any) -> Classify:
    asked: dict[str, Any] = {"output": Path("of-net"), "data": "digits", "image_size": 8, **given}
    return Classify(Path(name), Mixture(), **asked)


def test_a_classifier_of_ones_own_autoencoder(own_code: Path) -> None:
    """Made, read back with its code, attacked, and followed from class to class."""
    results = classify(of_net(wrapping=Wrapping(input_range=(-1, 1))), WORDS)
    assert results["test"]["accuracy"] > 0.8, "sums of 2x2 pixels tell digits apart"
    read = load_classifier("of-net", "net.py:make")
    assert isinstance(read.model, LatentMixtureClassifier)
    assert read.model.code(torch.rand(3, 1, 8, 8)).shape == (3, 32)
    images = read.run.images()
    assert (images.name, images.image_shape) == ("digits", (1, 8, 8))
    assert classification_quality(read.model, images.test)["accuracy"] == results["test"]["accuracy"]
    assert load_classifier("of-net", "net.py:brighter").weights == read.weights, "weights are read, not made"
    out, again = own_code / "out", own_code / "again"
    attacked = Robustness((Path("of-net"),), Threats().changed(steps=2, queries=2), 5, output=out, code="net.py:make")
    (withstood,) = robustness(attacked, WORDS)["models"].values()
    assert withstood["clean_accuracy"] > 0
    assert withstood["checks"]["trained_on"]["value"] == 0
    moved = transition(
        Transition((Path("of-net"),), count=2, walk=Walk(steps=2), output=again, code="net.py:make"), WORDS
    )
    assert list(moved["models"]) == ["of-net"]


def test_a_classifier_of_a_model_in_its_librarys_layout(own_code: Path, plain: Path) -> None:
    """It needs nothing but its folder: the model may go."""
    run = load_run(plain)
    run.autoencoder.save_pretrained(own_code / "pulled")
    classify(Classify(own_code / "pulled", Mixture(), own_code / "classifier", "digits"), WORDS)
    shutil.rmtree(own_code / "pulled")
    read = load_classifier(own_code / "classifier")
    x = as_unit(read.run.images().test.images[:5])
    assert torch.equal(read.model.autoencoder.encode(x).mean, run.autoencoder.encode(x).mean)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"output": None}, "net.py:make is not a run, so its classifier needs a folder; give one: --output DIR"),
        ({"data": None}, "net.py:make has no images of its own; name some: --data"),
        ({"name": "net.py:output_only"}, "the model has no code, only an output"),
        ({"wrapping": Wrapping(weights=Path("none.pt"))}, "none.pt is not a file"),
    ],
)
def test_what_classify_refuses_of_ones_own(own_code: Path, given: dict[str, Any], said: str) -> None:
    before = snapshot(own_code)
    with pytest.raises(InputError, match=said):
        classify(of_net(**given), WORDS)
    assert snapshot(own_code) == before


def test_a_folder_that_names_code_runs_none(own_code: Path) -> None:
    classify(of_net(), WORDS)
    (own_code / "net.py").write_text("raise SystemExit('this ran')")
    with pytest.raises(InputError, match=r"of-net does not hold the code of its autoencoder, which was net\.py:make"):
        load_classifier("of-net")


def test_a_run_is_not_the_code_of_somebody_elses_model(own_code: Path, plain: Path) -> None:
    classify(of_net(wrapping=Wrapping()), WORDS)
    with pytest.raises(InputError, match="is a run, and of-net was made of another model"):
        load_classifier("of-net", str(plain))


def test_a_run_has_images_of_its_own(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--data has no effect on .*plain, a run"):
        classify(Classify(plain, Mixture(), tmp_path / "out", "digits"), WORDS)
