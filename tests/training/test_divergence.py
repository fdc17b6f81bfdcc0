"""A training that diverges says so at its step, and keeps the last good weights."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from doubleback.checkpoints import load_tensors
from doubleback.data import ImageData
from doubleback.errors import DivergedError
from doubleback.objective import Objective
from doubleback.training import STATE, loop
from tests.training.runs import Stop, dying, fresh, same, train, weights


@pytest.fixture
def exploding() -> Objective:
    """From the 13th training step on, the weights become NaN."""
    objective = fresh("none")
    steps = 0

    def explode(module: nn.Module, *_: object) -> None:
        nonlocal steps
        steps += module.training and torch.is_grad_enabled()
        if steps == 13:
            with torch.no_grad():
                next(module.parameters()).fill_(math.nan)

    objective.model.register_forward_pre_hook(explode)
    return objective


@pytest.mark.parametrize("on_disk", [True, False])
def test_divergence_keeps_the_last_good_weights(
    exploding: Objective, tiny: ImageData, tmp_path: Path, on_disk: bool
) -> None:
    with pytest.raises(DivergedError, match=r"the loss became nan at step 13 of 20; lower"):
        train(exploding, tiny, folder=tmp_path if on_disk else None)
    kept, two_epochs = weights(exploding), dying(fresh("none"), 10)
    with pytest.raises(Stop):
        train(two_epochs, tiny)
    assert same(kept, weights(two_epochs))
    if on_disk:
        tensors, state = load_tensors(tmp_path / STATE, "")
        assert state["history"]["step"] == 10
        assert same(kept, {name: value for name, value in tensors.items() if not name.startswith("optimizer.")})


def test_a_divergence_that_is_read_late_is_told_of_its_own_step(
    exploding: Objective, tiny: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: the 13th step is read with the 15th."""
    monkeypatch.setitem(loop.UNREAD, "cpu", 20)
    with pytest.raises(DivergedError, match=r"the loss became nan at step 13 of 20; lower"):
        train(exploding, tiny)
    assert all(value.isfinite().all() for value in weights(exploding).values())


def test_weights_that_diverge_in_the_last_step_are_not_saved(tiny: ImageData, tmp_path: Path) -> None:
    """The loss is computed before the step: only a look at the weights finds this one."""
    objective = fresh("none")
    calls = 0

    def poison(gradient: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return gradient * math.nan if calls == 20 else gradient

    next(objective.parameters()).register_hook(poison)
    with pytest.raises(DivergedError, match="a weight is no longer finite at step 20"):
        train(objective, tiny, folder=tmp_path)
    assert all(parameter.isfinite().all() for parameter in objective.parameters())
    assert load_tensors(tmp_path / STATE, "")[1]["history"]["step"] == 15
