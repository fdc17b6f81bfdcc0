"""Models that draw noise, have no gradient, or answer NaN."""

import math

import pytest
import torch
from torch import Tensor

from doubleback.attacks.classifiers import fgsm, pgd, random_noise
from tests.attacks.classifiers.problems import (
    GRADIENT,
    SHAPE,
    Parallel,
    Run,
    every_attack,
    every_gradient_attack,
    images,
    zeros,
)


def test_answers_of_a_stochastic_model_are_averaged() -> None:
    """Noise on the gradient's sign: one answer is often wrong about the direction, a hundred together are not."""

    class Noisy(Parallel):
        def __init__(self) -> None:
            super().__init__()
            self.generator = torch.Generator().manual_seed(0)

        def __call__(self, x: Tensor) -> Tensor:
            noise = 5 * torch.randn(x.shape, generator=self.generator, dtype=x.dtype)
            scores = super().__call__(x)
            return torch.cat([scores[:, :1] + (noise * x).flatten(1).sum(1, keepdim=True), scores[:, 1:]], 1)

    x, reached = images(20, low=0.4, high=0.6), {}
    for samples in (1, 400):
        model = Noisy()
        found = fgsm(model, x, zeros(20), eps=(0.3,), losses=("margin",), samples=samples)
        moved = (found.x_adv[0] != x).flatten(1).any(1)
        looks = 4 if samples == 1 else 5  # how many classes, the margins untouched, the step, the end (and its worth)
        assert len(model.seen) == looks * samples
        reached[samples] = ((found.x_adv[0] - x)[moved].sign() == -model.w.sign()).double().mean()
    assert reached[400] > 0.97 > reached[1] + 0.1


def test_a_model_without_a_gradient_is_still_scored() -> None:
    """Rounded to nothing, a gradient attack stays where it is; random noise does not need one."""

    class Rounded(Parallel):
        def __call__(self, x: Tensor) -> Tensor:
            return super().__call__((8 * x).round().detach() / 8)

    model, x = Rounded(bias=1.0), images(30)
    y = model(x).argmax(1)
    x, y = x[y == 0], y[y == 0]
    for run in GRADIENT.values():
        given = {} if run is fgsm else {"random_start": False}
        assert not run(model, x, y, eps=(0.2,), **given).fooled.any()
    assert random_noise(model, x, y, eps=(0.2,)).fooled.any()


@every_gradient_attack
def test_a_model_that_spreads_one_gradient_over_all_pixels(run: Run) -> None:
    """A sum over the pixels first: what autograd hands back is one number seen many times, not to be written to."""

    class Pooled:
        classes = (0, 1)

        def __call__(self, x: Tensor) -> Tensor:
            mean = x.sum((1, 2, 3)) / 12
            return torch.stack([mean, 1 - mean], 1)

    x = torch.full((3, *SHAPE), 0.6)
    found = run(Pooled(), x, zeros(3), eps=(0.05, 0.2))
    assert found.fooled.tolist() == [[False] * 3, [True] * 3]
    assert found.margin[0].tolist() == pytest.approx([0.1] * 3, abs=1e-5)


@every_attack
def test_a_model_that_answers_nan_does_not_pass_for_robust(run: Run) -> None:
    """NaN is no answer: untouched, or only where the attack ends."""

    class Broken(Parallel):
        def __init__(self, least: float) -> None:
            super().__init__()
            self.least = least

        def __call__(self, x: Tensor) -> Tensor:
            scores = super().__call__(x)
            return torch.where(scores[:, :1] < self.least, math.nan, scores)

    x = images(3, low=0.4, high=0.6)
    scores = Parallel()(x)[:, 0]
    whole = Broken(float(scores.max()) + 1)
    found = run(whole, x, zeros(3), eps=(0.1,))
    assert found.fooled.all()
    assert torch.equal(found.x_adv[0], x)
    later = run(Broken(float(scores.min()) - 1e-3), x, zeros(3), eps=(0.0, 0.2))
    assert later.fooled.tolist() == [[False] * 3, [True] * 3]


def test_a_stochastic_model_is_scored_on_answers_that_the_attack_has_not_seen() -> None:
    """A model of pure noise: the lowest of many looks is far below zero, a fresh look is not."""

    class Noise(torch.nn.Module):
        classes = (0, 1)

        def forward(self, x: Tensor) -> Tensor:
            offset = 0 * x.flatten(1).sum(1)
            return torch.stack([offset + 1 + torch.randn(len(x)), offset], 1)

    torch.manual_seed(0)
    x = torch.full((200, 1, 2, 2), 0.5)
    found = pgd(
        Noise().eval(), x, torch.zeros(200, dtype=torch.long), eps=[0.1], steps=30, samples=4, losses=["margin"]
    )
    assert abs(float(found.margin.mean()) - 1) < 0.15
