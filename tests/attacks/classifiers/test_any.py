"""What holds for any attack on any classifier."""

import math
import pickle
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from doubleback.attacks.classifiers import Adversarial, apgd, fgsm, margin, pgd, random_noise, square
from doubleback.models import MLP
from doubleback.settings.ball import LOSSES, BallSearch
from tests.attacks.classifiers.problems import (
    NORMS,
    RUNS,
    Bends,
    Parallel,
    Run,
    every_attack,
    every_gradient_attack,
    images,
    zeros,
)


@every_attack
@pytest.mark.parametrize("norm", NORMS)
@given(seed=st.integers(0, 10_000), eps=st.floats(0, 2))
@settings(deadline=None, max_examples=5)
def test_images_stay_in_the_ball_and_margins_belong_to_them(run: Run, norm: str, seed: int, eps: float) -> None:
    model, x = Bends(seed=seed), images(7, seed)
    y = model(x).argmax(1)
    found = run(model, x, y, eps=(eps, eps / 3), norm=norm, seed=seed)
    assert found.x_adv.shape == (2, *x.shape)
    assert found.x_adv.min() >= 0
    assert found.x_adv.max() <= 1
    for e, radius in enumerate((eps, eps / 3)):
        length = (found.x_adv[e] - x).flatten(1).norm(dim=1, p=math.inf if norm == "Linf" else 2)
        assert length.max() <= radius * (1 + 1e-9) + 1e-12
        assert torch.allclose(found.margin[e], margin(model(found.x_adv[e]), y), rtol=0, atol=1e-9)
    assert (found.margin[0] <= found.margin[1]).all()
    assert (found.margin[1] <= margin(model(x), y)).all()


@every_attack
def test_no_radius_changes_nothing(run: Run, bends: tuple[Bends, Tensor, Tensor]) -> None:
    model, x, y = bends
    for norm in NORMS:
        found = run(*bends, eps=(0.0,), norm=norm)
        assert torch.equal(found.x_adv[0], x)
        assert torch.equal(found.fooled[0], model(x).argmax(1) != y)


@every_attack
def test_a_misclassified_image_is_left_alone(run: Run, bends: tuple[Bends, Tensor, Tensor]) -> None:
    model, x, y = bends
    found = run(*bends, eps=(0.05, 0.2))
    wrong = model(x).argmax(1) != y
    assert wrong.sum() == 4
    assert found.fooled[:, wrong].all()
    assert torch.equal(found.x_adv[:, wrong], x[wrong].expand(2, -1, -1, -1, -1))


@every_attack
def test_a_larger_epsilon_never_protects(run: Run, bends: tuple[Bends, Tensor, Tensor]) -> None:
    found = run(*bends, eps=(0.003, 0.01, 0.03, 0.1))
    assert all((after <= before).all() for before, after in pairwise(found.margin))
    assert all((after >= before).all() for before, after in pairwise(found.fooled))
    assert found.fooled[0].sum() < found.fooled[-1].sum()


@every_attack
def test_the_order_of_epsilons_does_not_matter_nor_one_that_is_there_twice(
    run: Run, bends: tuple[Bends, Tensor, Tensor]
) -> None:
    found, mixed = run(*bends, eps=(0.02, 0.05, 0.1)), run(*bends, eps=(0.1, 0.02, 0.05, 0.02))
    assert mixed.eps == (0.1, 0.02, 0.05, 0.02)
    for at in ([1, 2, 0], [3, 2, 0]):
        assert torch.equal(mixed.margin[at], found.margin)
        assert torch.equal(mixed.x_adv[at], found.x_adv)


@every_gradient_attack
@pytest.mark.parametrize("norm", NORMS)
def test_epsilons_together_are_epsilons_one_at_a_time(run: Run, norm: str, bends: tuple[Bends, Tensor, Tensor]) -> None:
    """But for what a smaller ball has already given: the start is the image itself, so nothing else differs."""
    given = {"norm": norm} if run is fgsm else {"norm": norm, "random_start": False}
    eps = (0.02, 0.05, 0.1)
    together = run(*bends, eps=eps, **given)
    apart = [run(*bends, eps=(e,), **given).margin[0] for e in eps]
    carried = torch.full((40,), math.inf, dtype=torch.float64)
    for e in range(3):
        attacked = carried > 0
        assert (attacked & (apart[e] < carried)).any()
        expected = torch.where(attacked, torch.minimum(carried, apart[e]), carried)
        assert torch.allclose(together.margin[e], expected, rtol=0, atol=1e-9)
        carried = together.margin[e]


def assert_same_answers(one: Adversarial, other: Adversarial, rows: Tensor) -> None:
    fooled = other.fooled[:, rows]
    assert 0 < fooled.sum() < fooled.numel()
    assert torch.equal(one.fooled, fooled)
    assert torch.allclose(one.margin, other.margin[:, rows], rtol=0, atol=1e-9)
    assert torch.allclose(one.x_adv, other.x_adv[:, rows], rtol=0, atol=1e-9)


@every_gradient_attack
@pytest.mark.parametrize("norm", NORMS)
def test_images_do_not_interact(run: Run, norm: str, bends: tuple[Bends, Tensor, Tensor]) -> None:
    model, x, y = bends
    given = {"norm": norm} if run is fgsm else {"norm": norm, "random_start": False}
    whole = run(*bends, eps=(0.005, 0.02), **given)
    rows = torch.tensor([31, 0, 7, 8, 15])
    part = run(model, x[rows], y[rows], eps=(0.005, 0.02), **given)
    assert_same_answers(part, whole, rows)


@every_attack
@pytest.mark.parametrize("norm", NORMS)
def test_an_image_does_not_care_who_else_is_fooled(run: Run, norm: str, bends: tuple[Bends, Tensor, Tensor]) -> None:
    """Its random starts, too, are the same whether the others stay or leave at once."""
    model, x, y = bends
    whole = run(*bends, eps=(0.005, 0.02), norm=norm)
    others = y.clone()
    others[1::2] = (model(x).argmax(1)[1::2] + 1) % 5
    changed = run(model, x, others, eps=(0.005, 0.02), norm=norm)
    assert changed.fooled[:, 1::2].all()
    rows = torch.arange(0, 40, 2)
    same = Adversarial(changed.eps, changed.x_adv[:, rows], changed.margin[:, rows])
    assert_same_answers(same, whole, rows)


@pytest.mark.parametrize("attack", [pgd, apgd])
@pytest.mark.parametrize("norm", NORMS)
def test_more_restarts_never_hurt(attack: Run, norm: str, bends: tuple[Bends, Tensor, Tensor]) -> None:
    given = {"eps": (0.02,), "norm": norm, "steps": 3}
    margins = [attack(*bends, restarts=restarts, **given).margin for restarts in (1, 2, 4)]
    assert all((after <= before + 1e-9).all() for before, after in pairwise(margins))
    assert (margins[-1] < margins[0]).any()


@every_gradient_attack
def test_more_losses_never_hurt(run: Run, bends: tuple[Bends, Tensor, Tensor]) -> None:
    margins = [run(*bends, eps=(0.02,), losses=LOSSES[:count]).margin for count in (1, 2, 3)]
    assert all((after <= before + 1e-9).all() for before, after in pairwise(margins))
    assert (margins[-1] < margins[0]).any()
    assert torch.equal(run(*bends, eps=(0.02,)).margin, margins[-1])


def test_a_restart_starts_elsewhere(bends: tuple[Bends, Tensor, Tensor]) -> None:
    """Without a random start the first try begins at the image; a second must not repeat it."""
    given = {"eps": (0.1,), "norm": "L2", "steps": 2, "random_start": False}
    one, two = (pgd(*bends, restarts=restarts, **given).margin for restarts in (1, 2))
    assert (two < one).any()


@pytest.mark.parametrize("norm", NORMS)
def test_keeping_the_fooled_changes_no_answer(norm: str, bends: tuple[Bends, Tensor, Tensor]) -> None:
    given = {"eps": (0.03, 0.08), "norm": norm, "losses": ("margin",), "steps": 10, "random_start": False}
    left, kept = (pgd(*bends, keep=keep, **given) for keep in (False, True))
    assert torch.equal(left.fooled, kept.fooled)
    assert 0 < left.fooled.sum() < left.fooled.numel()
    assert torch.allclose(left.margin[~left.fooled], kept.margin[~left.fooled], rtol=0, atol=1e-9)
    assert (kept.margin <= left.margin + 1e-9).all()


@every_attack
def test_the_seed_decides(run: Run, bends: tuple[Bends, Tensor, Tensor]) -> None:
    one, same, other = (run(*bends, eps=(0.08,), seed=seed).x_adv for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert torch.equal(one, other) == (run is fgsm)


def test_the_dtype_and_the_images_are_left_as_they_were(digits: tuple[MLP, Tensor, Tensor]) -> None:
    model, x, y = digits
    before = x.clone()
    for run in RUNS.values():
        found = run(model, x[:5], y[:5], eps=(0.05,))
        assert found.x_adv.dtype == found.margin.dtype == torch.float32
        assert not found.x_adv.requires_grad
    assert torch.equal(x, before)


@every_attack
@pytest.mark.parametrize("bias", [20.0, 1.0, -20.0])
def test_progress_adds_up(run: Run, bias: float) -> None:
    """N * E * len(losses) * restarts * steps; less where images are fooled before the last search begins."""
    told: list[int] = []
    given = {} if run in (fgsm, RUNS["noise"]) else {"restarts": 2}
    steps = 1 if run is fgsm else 6
    run(Parallel(bias=bias), images(10), zeros(10), eps=(0.1, 0.4), advance=told.append, **given)
    losses = 1 if run is RUNS["noise"] else 3
    total = 10 * 2 * losses * given.get("restarts", 1) * steps
    assert sum(told) == total if bias == 20 else sum(told) < total


@pytest.mark.usefixtures("unchecked")
def test_images_of_bytes(digits: tuple[MLP, Tensor, Tensor]) -> None:
    """They stand for images in [0, 1]."""
    model, x, y = digits
    pixels = (255 * x).round().byte()
    found, expected = fgsm(model, pixels, y, eps=(0.05,)), fgsm(model, x, y, eps=(0.05,))
    assert torch.allclose(found.margin, expected.margin, atol=1e-4)
    assert torch.allclose(found.x_adv, expected.x_adv, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.int8])
def test_labels_of_any_integer_type(dtype: torch.dtype) -> None:
    expected = fgsm(Parallel(), images(3), zeros(3), eps=(0.1,), targets=zeros(3) + 1)
    found = fgsm(Parallel(), images(3), zeros(3).to(dtype), eps=(0.1,), targets=(zeros(3) + 1).to(dtype))
    assert torch.equal(found.margin, expected.margin)


def test_one_search_serves_every_attack(bends: tuple[Bends, Tensor, Tensor]) -> None:
    """Each takes what it knows of it: FGSM stays one step, random noise knows no loss; changes come on top."""
    given = {"eps": (0.02, 0.05), "norm": "L2"}
    search = BallSearch(steps=5, step_size=0.3, losses=["margin"], queries=30, seed=3)
    for attack, own in (
        (fgsm, {"losses": ("margin",), "seed": 3}),
        (pgd, {"steps": 5, "step_size": 0.3, "losses": ("margin",), "seed": 3}),
        (apgd, {"steps": 5, "losses": ("margin",), "seed": 3}),
        (random_noise, {"steps": 5, "seed": 3}),
        (square, {"queries": 30, "seed": 3}),
    ):
        assert torch.equal(attack(*bends, search, **given).x_adv, attack(*bends, **own, **given).x_adv)
    changed = pgd(*bends, search, steps=9, **given)
    assert torch.equal(changed.x_adv, pgd(*bends, replace(search, steps=9), **given).x_adv)


def test_an_attack_has_the_name_and_the_words_of_its_function() -> None:
    """So that help shows them, and so that it is pickled by name, as a function is."""
    assert pgd.__name__ == "pgd"
    assert "Madry" in str(pgd.__doc__)
    assert pickle.loads(pickle.dumps([pgd, square])) == [pgd, square]
