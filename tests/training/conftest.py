"""Runs that are trained once for all tests: nobody changes them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from doubleback.data import ImageData
from doubleback.evaluation import evaluate
from doubleback.training import History
from tests.training.runs import fresh, train, weights


@dataclass(frozen=True)
class Finished:
    """A run that nothing has broken off."""

    folder: Path
    weights: dict[str, Tensor]
    history: History


@dataclass(frozen=True)
class Learned:
    """Enough epochs to learn something: the log, and the figures on test images."""

    history: History
    figures: dict[str, Any]


@pytest.fixture(scope="session")
def whole(tiny: ImageData, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """`fresh()` after 4 epochs."""
    folder, objective = tmp_path_factory.mktemp("whole"), fresh()
    history = train(objective, tiny, folder=folder)
    return Finished(folder, weights(objective), history)


@pytest.fixture(scope="session")
def learned(tiny: ImageData) -> dict[str, Learned]:
    """20 epochs with each penalty, and without."""
    found = {}
    for penalty in ("none", "reconstruction", "output", "latent"):
        objective = fresh(penalty)
        history = train(objective, tiny, epochs=20)
        found[penalty] = Learned(history, evaluate(objective.model, tiny.test.images))
    return found
