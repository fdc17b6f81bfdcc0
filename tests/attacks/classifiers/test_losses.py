"""The losses by hand, and what holds for any scores."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from doubleback.attacks.classifiers import apgd, fgsm, pgd, random_noise
from doubleback.attacks.classifiers.losses import Misclassification, dlr, margin, targeted_dlr
from doubleback.settings.ball import LOSSES
from tests.attacks.classifiers.problems import SHAPE, images


def test_losses_by_hand() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0, 0.0], [1.0, 3.0, 2.0, 0.0], [2.0, 2.0, 0.0, 2.0]])
    y, t = torch.tensor([1, 0, 3]), torch.tensor([2, 2, 2])
    assert margin(scores, y).tolist() == [1, -2, 0]
    assert dlr(scores, y)[:2].tolist() == pytest.approx([1 / 2, -2 / 2])
    assert targeted_dlr(scores, y, t).tolist() == pytest.approx([1 / 2.5, -1 / 2.5, 2 / 1])


class Fixed:
    """These scores, whatever the images."""

    def __init__(self, scores: Tensor) -> None:
        self.scores, self.classes = scores, tuple(range(scores.shape[1]))

    def __call__(self, x: Tensor) -> Tensor:
        return self.scores


def test_a_goal_by_hand() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0, 0.0]])
    x, row, y, t = torch.zeros(1, *SHAPE), torch.tensor([0]), torch.tensor([1]), torch.tensor([2])
    log_sum = math.log(sum(math.exp(s) for s in (1, 3, 2, 0)))
    away = {"cross-entropy": 3 - log_sum, "margin": 1.0, "dlr": 0.5}
    towards = {"cross-entropy": log_sum - 2, "margin": 1.0, "dlr": 0.4}
    for targets, expected in ((None, away), (t, towards)):
        goal = Misclassification(Fixed(scores), y, targets)
        for name in LOSSES:
            value, counts = goal.loss(name)(x, row)
            assert value.item() == pytest.approx(expected[name])
            assert counts.item() == 1
    assert Misclassification(Fixed(scores), y, torch.tensor([3])).at(x).item() == 3
    assert Misclassification(Fixed(scores), y, torch.tensor([1])).at(x).item() == -1


@given(seed=st.integers(0, 10_000), shift=st.floats(-100, 100), scale=st.floats(0.01, 100))
@settings(deadline=None, max_examples=50)
def test_dlr_is_blind_to_shift_and_scale(seed: int, shift: float, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    y = torch.randint(5, (6,), generator=generator)
    t = (y + torch.randint(1, 5, (6,), generator=generator)) % 5
    moved = scale * scores + shift
    assert torch.allclose(dlr(moved, y), dlr(scores, y), atol=1e-8)
    assert torch.allclose(targeted_dlr(moved, y, t), targeted_dlr(scores, y, t), atol=1e-8)
    assert torch.allclose(margin(moved, y), scale * margin(scores, y), atol=1e-8)
    assert torch.equal(margin(scores, y) > 0, scores.argmax(1) == y)
    assert torch.equal(dlr(scores, y) > 0, scores.argmax(1) == y)
    assert dlr(scores, y).max() <= 1


def test_a_tie_is_no_answer() -> None:
    class Undecided:
        classes = (0, 1, 2)

        def __call__(self, x: Tensor) -> Tensor:
            return torch.ones(len(x), 3).to(x) + 0 * x.sum()

    for attack in (fgsm, pgd, apgd, random_noise):
        found = attack(Undecided(), images(4), torch.tensor([0, 1, 2, 0]), eps=(0.1,))
        assert found.fooled.all()
        assert torch.equal(found.x_adv[0], images(4))
