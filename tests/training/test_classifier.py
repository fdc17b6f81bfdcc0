"""A classifier trains by the same loop: what it learns, what it logs, what it needs."""

import csv
import dataclasses
import math
from pathlib import Path

import pytest
import torch

from doubleback.data import ImageData, Split
from doubleback.errors import InputError
from doubleback.evaluation import classification_quality
from doubleback.models import CvNet
from doubleback.objective import Classification
from tests.training.runs import classifier, same, train, weights


def test_a_classifier_learns_and_logs(tiny: ImageData, tmp_path: Path) -> None:
    """The columns of docs/run-directory.md, none of the autoencoder's; the last row's figures are the model's own."""
    objective = classifier()
    before = classification_quality(objective.model, tiny.test)
    history = train(objective, tiny, epochs=10, folder=tmp_path)
    after = classification_quality(objective.model, tiny.test)
    assert before["accuracy"] < 0.9  # type: ignore[operator]
    assert after["accuracy"] > 0.95  # type: ignore[operator]
    assert after["cross_entropy"] < before["cross_entropy"] / 2  # type: ignore[operator]
    assert objective.model.training
    with (tmp_path / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    common = ["epoch", "step", "seconds", "learning_rate", "loss"]
    assert list(rows[0]) == [*common, "cross_entropy", "validation_cross_entropy", "validation_accuracy"]
    assert [int(row["step"]) for row in rows] == list(range(5, 51, 5))
    assert all(row["loss"] == row["cross_entropy"] for row in rows)
    quality = classification_quality(objective.model, tiny.validation)
    assert history.rows[-1]["validation_accuracy"] == quality["accuracy"]
    assert float(rows[-1]["validation_cross_entropy"]) == pytest.approx(quality["cross_entropy"])


def test_the_loss_of_a_classifier_by_hand(tiny: ImageData) -> None:
    """One step over all images: the logged loss is the mean cross-entropy of the weights it started from."""
    objective, bare = classifier(), classifier().model
    labels = tiny.train.labels
    assert labels is not None
    with torch.no_grad():
        log_softmax = objective.model(tiny.train.images.float() / 255).log_softmax(1)
    expected = -log_softmax[torch.arange(160), labels].mean().item()
    assert train(objective, tiny, epochs=1, batch_size=160).rows[0]["loss"] == pytest.approx(expected)
    train(bare, tiny, epochs=1, batch_size=160)
    assert same(weights(objective.model), weights(bare)), "a bare classifier is its cross-entropy"


@pytest.mark.parametrize("precision", ["64", "bf16-mixed"])
def test_precisions_of_a_classifier(tiny: ImageData, precision: str) -> None:
    torch.manual_seed(0)
    model = CvNet((1, 8, 8), (0, 1), filters=(8,), hidden=8)
    history = train(model, tiny, precision=precision, epochs=1)
    assert next(model.parameters()).dtype == (torch.float64 if precision == "64" else torch.float32)
    assert math.isfinite(history.rows[-1]["loss"] or math.nan)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_classifier_needs_labels(tiny: ImageData, part: str) -> None:
    nameless = dataclasses.replace(tiny, **{part: Split(getattr(tiny, part).images)})
    with pytest.raises(InputError, match="no labels"):
        train(classifier(), nameless, epochs=1)


@pytest.mark.parametrize("label", [2, -1])
def test_labels_that_the_classifier_does_not_know(tiny: ImageData, label: int) -> None:
    objective: Classification = classifier()
    labels = torch.full((160,), label)
    with pytest.raises(InputError, match=f"{label}"):
        train(objective, dataclasses.replace(tiny, train=Split(tiny.train.images, labels)), epochs=1)
