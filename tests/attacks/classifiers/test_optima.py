"""Attacks on linear classifiers, whose least margin in a ball is known."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from doubleback.attacks.classifiers import Adversarial, apgd, fgsm, margin, pgd, random_noise
from doubleback.settings.ball import LOSSES
from tests.attacks.classifiers.problems import DUAL, NORMS, Parallel, images, zeros


def attacks(steps: int = 8, **given: Any) -> dict[str, Callable[..., Adversarial]]:
    """Every gradient attack, from the image itself."""
    return {
        "fgsm": lambda *a, **k: fgsm(*a, **k, **given),
        "pgd": lambda *a, **k: pgd(*a, random_start=False, steps=steps, **k, **given),
        "apgd": lambda *a, **k: apgd(*a, random_start=False, steps=steps, **k, **given),
    }


@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", [None, *LOSSES])
@pytest.mark.parametrize("targeted", [False, True])
def test_the_optimum_of_a_linear_classifier(name: str, norm: str, loss: str | None, targeted: bool) -> None:
    model, x = Parallel(), images(6, low=0.4, high=0.6)
    given = {"losses": loss and (loss,), "targets": zeros(6) + 1 if targeted else None}
    found = attacks(**given)[name](model, x, zeros(6), eps=(0.1, 0.3), norm=norm)
    for e, eps in enumerate((0.1, 0.3)):
        optimum = model.margin(x) - eps * (2 * model.w).flatten().norm(p=DUAL[norm])
        assert optimum.min() > 0
        assert torch.allclose(found.margin[e], optimum, rtol=0, atol=1e-9)
        assert torch.allclose(model.margin(found.x_adv[e]), optimum, rtol=0, atol=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_the_optimum_from_a_random_start(norm: str) -> None:
    model, x = Parallel(), images(6, low=0.4, high=0.6)
    gain = 0.3 * (2 * model.w).flatten().norm(p=DUAL[norm])
    for attack, missing in ((pgd, 0.03 if norm == "L2" else 1e-9), (apgd, 1e-3)):
        found = attack(model, x, zeros(6), eps=(0.3,), norm=norm)  # type: ignore[operator]
        assert torch.allclose(found.margin[0], model.margin(x) - gain, rtol=0, atol=missing * float(gain))


@given(seed=st.integers(0, 10_000), eps=st.floats(0.01, 1.5))
@settings(deadline=None, max_examples=6)
def test_the_optimum_in_a_box_that_cuts(seed: int, eps: float) -> None:
    """Linf: each pixel goes to its own bound. One signed step is there."""
    model, x = Parallel(seed=seed), images(5, seed)
    corner = (x - eps * model.w.sign()).clamp(0, 1)
    for run in (fgsm, pgd, apgd):
        given = {} if run is fgsm else {"steps": 5, "random_start": False}
        found = run(model, x, zeros(5), eps=(eps,), **given)  # type: ignore[operator]
        assert torch.allclose(found.x_adv[0], corner, rtol=0, atol=1e-12)
        assert torch.allclose(found.margin[0], model.margin(corner), rtol=0, atol=1e-9)


def l2_optimum_in_the_box(w: Tensor, x: Tensor, eps: float) -> Tensor:
    """argmin w.d, ||d|| <= eps, x + d in [0, 1]: d = clip(-k w) with the k that makes it eps long (its KKT point)."""
    low, high = torch.zeros(len(x), 1, 1, 1).to(x), torch.full((len(x), 1, 1, 1), 1e9).to(x)
    for _ in range(200):
        k = (low + high) / 2
        d = (x - k * w).clamp(0, 1) - x
        short = (d.flatten(1).norm(dim=1) <= eps).view(-1, 1, 1, 1)
        low, high = torch.where(short, k, low), torch.where(short, high, k)
    return (x - low * w).clamp(0, 1)


@pytest.mark.parametrize("name", ["pgd", "apgd"])
@pytest.mark.parametrize("eps", [0.2, 0.7, 1.2])
def test_l2_in_a_box_that_cuts_comes_near_the_optimum(name: str, eps: float) -> None:
    model, x = Parallel(), images(20)
    best = model.margin(l2_optimum_in_the_box(model.w, x, eps))
    found = attacks(steps=40)[name](model, x, zeros(20), eps=(eps,), norm="L2").margin[0]
    assert (found >= best - 1e-9).all()
    assert ((model.margin(x) - found) / (model.margin(x) - best)).min() > (0.94 if eps > 1 else 0.98)


@pytest.mark.parametrize("norm", NORMS)
def test_nothing_beats_the_nearest_of_many_rivals(norm: str) -> None:
    """min_j [(w_y - w_j).x + b_y - b_j - eps ||w_y - w_j||] bounds every attack; the targeted ones reach it."""
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(4, 12, generator=generator, dtype=torch.float64)
    b = torch.tensor([30.0, 1.0, -1.0, 0.0], dtype=torch.float64)

    class Linear:
        classes = (0, 1, 2, 3)

        def __call__(self, x: Tensor) -> Tensor:
            return x.flatten(1) @ W.mT + b

    x, y = images(30, low=0.4, high=0.6), zeros(30)
    V = W[:1] - W[1:]
    bound = (x.flatten(1) @ V.mT + b[0] - b[1:] - 0.3 * V.norm(dim=1, p=DUAL[norm])).amin(1)
    reached = []
    for attack in (pgd, apgd):
        found = attack(Linear(), x, y, eps=(0.3,), norm=norm, steps=20, losses=("margin",)).margin[0]  # type: ignore[operator]
        assert (found >= bound - 1e-9).all()
        reached.append(found)
    assert (random_noise(Linear(), x, y, eps=(0.3,), norm=norm).margin[0] > bound).all()
    for target in (1, 2, 3):
        found = apgd(Linear(), x, y, eps=(0.3,), norm=norm, targets=zeros(30) + target, losses=("margin",))
        reached.append(margin(Linear()(found.x_adv[0]), y))
    assert torch.allclose(torch.stack(reached).amin(0), bound, rtol=0, atol=1e-3)


def test_targets_that_cannot_be_reached() -> None:
    """Class 2 is always one below class 1: away from 0 succeeds, to 1 too, to 2 never."""
    model, x = Parallel(bias=1.0), images(6)
    ends = {t: apgd(model, x, zeros(6), eps=(1.0,), steps=10, targets=zeros(6) + t) for t in (1, 2)}
    assert apgd(model, x, zeros(6), eps=(1.0,)).fooled.all()
    assert ends[1].fooled.all()
    assert (model(ends[1].x_adv[0]).argmax(1) == 1).all()
    assert not ends[2].fooled.any()
    assert (ends[2].margin >= 1 - 1e-9).all()


def test_two_classes_have_no_dlr() -> None:
    model, x = Parallel(classes=2), images(3, low=0.4, high=0.6)
    optimum = model.margin(x) - 0.1 * (2 * model.w).flatten().norm(p=1)
    assert torch.allclose(fgsm(model, x, zeros(3), eps=(0.1,)).margin[0], optimum)
    assert len(model.seen) == 2 + 2 * 2  # a look at the classes, at the margins, and two losses
    three = Parallel(classes=3)
    assert not fgsm(three, x, zeros(3), eps=(0.1,), targets=zeros(3) + 1).fooled.any()
