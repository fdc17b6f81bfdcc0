"""A small run, and ways to break it off: what the tests of the training loop share."""

import signal
from typing import Any

import torch
from torch import Tensor, nn

from doubleback.data import ImageData
from doubleback.models import MLP, VAE
from doubleback.objective import Classification, Objective
from doubleback.training import History, fit

STEPS = 20  # of a run: 4 epochs of 5 batches of the 160 images of `tiny`


def fresh(penalty: str = "reconstruction", **settings: Any) -> Objective:
    """The same weights at every call; the penalty is on from step 10 on."""
    torch.manual_seed(0)
    return Objective(VAE((1, 8, 8), hidden=(32,), latent=4), penalty=penalty, **settings)


def classifier(seed: int = 0) -> Classification:
    torch.manual_seed(seed)
    return Classification(MLP((1, 8, 8), ("left", "right"), hidden=(16,)))


def train(objective: Any, images: ImageData, **settings: Any) -> History:
    return fit(objective, images, **{"epochs": 4, "batch_size": 32, "progress": False, **settings})


def weights(objective: nn.Module) -> dict[str, Tensor]:
    """A copy of all that is learned, the objective's own parameters among it."""
    return {name: value.clone() for name, value in objective.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Stop(Exception):
    """The end of a run, from within."""


def dying(objective: Any, after: int) -> Any:
    """The objective, whose model raises `Stop` after so many training passes; validation does not count."""
    passes = 0

    def stop(module: nn.Module, *_: object) -> None:
        nonlocal passes
        passes += module.training and torch.is_grad_enabled()
        if passes == after + 1:
            raise Stop

    objective.model.register_forward_pre_hook(stop)
    return objective


def interrupting(objective: Any, images: ImageData, **settings: Any) -> None:
    """Train until somebody presses Ctrl-C, in the middle of the eighth pass."""
    calls = 0

    def press(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 8:
            signal.raise_signal(signal.SIGINT)

    objective.model.register_forward_pre_hook(press)
    train(objective, images, **settings)
