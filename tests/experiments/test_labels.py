"""`train --label-weight`: a run that has learned labels, and what is made of it."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from doubleback.errors import InputError
from doubleback.experiments.classifiers import classify
from doubleback.experiments.hardening import harden
from doubleback.experiments.runs import load_run
from doubleback.experiments.training import train
from doubleback.report.protocol import made_words
from doubleback.report.runs import read_run
from doubleback.settings import Mixture
from doubleback.settings.commands import Classify, Harden
from tests.data.folders import digits_folder
from tests.experiments.conftest import WORDS, settings

ONE = Mixture(components=1, covariance="diag")
OF_PARENT = dict.fromkeys(("data", "image_size", "limit", "hidden", "latent", "kl_weight"))
LEARNED = {**OF_PARENT, "epochs": 40, "batch_size": 20, "label_weight": 50.0, "label_gradient": 0.1}


@pytest.fixture(scope="module")
def labelled(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels") / "labelled"
    train(settings(folder, init=plain, **LEARNED), WORDS)
    return folder


def accuracy(run: Path, output: Path) -> float:
    share: float = classify(Classify(run, ONE, output), WORDS)["test"]["accuracy"]
    return share


def test_the_code_tells_the_classes_apart(labelled: Path, plain: Path, tmp_path: Path) -> None:
    assert accuracy(labelled, tmp_path / "labelled") > accuracy(plain, tmp_path / "plain") + 0.1
    log = (labelled / "log.csv").read_text().splitlines()
    assert {"cross_entropy", "penalty", "validation_accuracy"} <= set(log[0].split(","))


def test_its_folder_says_how_it_was_made(labelled: Path, plain: Path) -> None:
    config = json.loads((labelled / "config.json").read_text())
    assert config["train"]["label_weight"] == 50.0
    assert config["parent"] == load_run(plain).weights
    assert load_run(labelled).settings.labels.label_weight == 50.0
    assert "label_weight" not in json.loads((plain / "config.json").read_text())["train"], "earlier runs stay the same"
    run = read_run(labelled, config)
    assert not run.is_plain
    assert made_words(run) == ("hardened", "labels, weight 50.0")


def test_it_goes_on_to_the_same_weights(labelled: Path, plain: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(labelled, tmp_path / "copy"))
    for lost in ("model.safetensors", "results.json"):
        (copy / lost).unlink()
    train(settings(copy, resume=True, init=plain, **LEARNED), WORDS)
    one, other = (load_run(folder).model.state_dict() for folder in (labelled, copy))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_images_without_labels_teach_none(tmp_path: Path) -> None:
    images = digits_folder(tmp_path / "images", 8, labelled=False, count=60)
    with pytest.raises(InputError, match="no labels to learn; leave --label-weight out"):
        train(settings(tmp_path / "run", data=str(images), label_weight=1.0), WORDS)
    assert not (tmp_path / "run").exists()


def test_harden_does_not_unlearn_them(labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="harden would unlearn"):
        harden(Harden(labelled, tmp_path / "hardened"), WORDS)
