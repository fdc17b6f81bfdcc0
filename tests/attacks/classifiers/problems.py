"""Classifiers whose least margin in a ball is known, a rough one, images, and every attack under one name."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from doubleback.attacks.classifiers import Adversarial, apgd, fgsm, pgd, random_noise

NORMS = ("Linf", "L2")
DUAL = {"Linf": 1, "L2": 2}
SHAPE = (1, 3, 4)


class Parallel:
    """Scores b + w.x, -w.x, -w.x - 1, -w.x - 2, ...: class 1 is the rival of class 0 wherever x is.

    So the margin of class 0 is b + 2 w.x, cross-entropy and DLR rise with it, and their gradients are along w: the
    least margin in a ball that the box does not cut is margin - eps ||2 w||, in the norm dual to the ball's.
    """

    def __init__(self, classes: int = 5, bias: float = 20.0, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.w = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
        self.classes, self.bias = tuple(range(classes)), bias
        self.seen: list[int] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        s = (x * self.w).flatten(1).sum(1)
        return torch.stack([self.bias + s, *(-s - j for j in range(len(self.classes) - 1))], 1)

    def margin(self, x: Tensor) -> Tensor:
        return self.bias + 2 * (x * self.w).flatten(1).sum(1)


class Bends(nn.Module):
    """A random network in float64, rough enough that local minima differ; classes at its own word on the images."""

    def __init__(self, classes: int = 5, seed: int = 0) -> None:
        super().__init__()
        self.classes = tuple(range(classes))
        generator = torch.Generator().manual_seed(seed)
        self.A = torch.randn(12, 16, generator=generator, dtype=torch.float64)
        self.B = torch.randn(16, classes, generator=generator, dtype=torch.float64)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(3 * (x.flatten(1) - 0.5) @ self.A) @ self.B


def images(count: int, seed: int = 0, low: float = 0.0, high: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(count, *SHAPE, generator=generator, dtype=torch.float64)


def zeros(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.int64)


Run = Callable[..., Adversarial]
RUNS: dict[str, Run] = {
    "fgsm": fgsm,
    "pgd": lambda *a, **k: pgd(*a, **{"steps": 6, **k}),
    "apgd": lambda *a, **k: apgd(*a, **{"steps": 6, **k}),
    "noise": lambda *a, **k: random_noise(*a, **{"steps": 6, **k}),
}
every_attack = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
GRADIENT = {name: run for name, run in RUNS.items() if name != "noise"}
every_gradient_attack = pytest.mark.parametrize("run", GRADIENT.values(), ids=GRADIENT.keys())
