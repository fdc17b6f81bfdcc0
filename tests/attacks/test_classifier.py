"""Attacks on classifiers: linear ones whose optimum is known, foolbox on a trained one, and what holds for any."""

import math
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from doubleback.attacks.classifier import Adversarial, apgd, fgsm, pgd, random_noise
from doubleback.attacks.goal import LOSSES, Goal, dlr, margin, targeted_dlr
from doubleback.data import load_images
from doubleback.errors import InputError
from doubleback.models import MLP
from doubleback.training import fit

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

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(3 * (x.flatten(1) - 0.5) @ self.A) @ self.B


def images(count: int, seed: int = 0, low: float = 0.0, high: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(count, *SHAPE, generator=generator, dtype=torch.float64)


def zeros(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.int64)


@pytest.fixture
def bends() -> tuple[Bends, Tensor, Tensor]:
    """A network, images, and what it takes them for; a few labels are wrong."""
    model, x = Bends(), images(40)
    y = model(x).argmax(1)
    y[::13] = (y[::13] + 1) % 5
    return model, x, y


@pytest.fixture(scope="session")
def digits() -> tuple[MLP, Tensor, Tensor]:
    """A trained MLP, and 200 test images with their labels."""
    data = load_images("digits")
    torch.manual_seed(0)
    model = MLP(data.image_shape, hidden=(32,))
    fit(model, data, epochs=8, batch_size=64, progress=False)
    assert data.test.labels is not None
    return model.eval().requires_grad_(False), data.test.images[:200].float() / 255, data.test.labels[:200]


# ---- losses


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
        goal = Goal(Fixed(scores), y, targets)
        for name in LOSSES:
            value, counts = goal.loss(name)(x, row)
            assert value.item() == pytest.approx(expected[name])
            assert counts.item() == 1
    assert Goal(Fixed(scores), y, torch.tensor([3])).at(x).item() == 3
    assert Goal(Fixed(scores), y, torch.tensor([1])).at(x).item() == -1


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


# ---- closed forms


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


# ---- foolbox


def foolbox_attack(model: nn.Module, x: Tensor, y: Tensor, attack: str, eps: Sequence[float], **given: Any) -> Any:
    """(E, N, ...) adversarial images and (E, N) whether they fool, by foolbox."""
    target = given.pop("target", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        foolbox = pytest.importorskip("foolbox")
        fmodel = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        criterion = foolbox.criteria.Misclassification(y) if target is None else None
        criterion = criterion or foolbox.criteria.TargetedMisclassification(target)
        _, clipped, fooled = getattr(foolbox.attacks, attack)(**given)(fmodel, x, criterion, epsilons=list(eps))
    return torch.stack(clipped), fooled


def foolbox_pgd(
    model: nn.Module, x: Tensor, y: Tensor, norm: str, eps: Sequence[float], steps: int, step_size: float, **given: Any
) -> Tensor:
    """(E, N), whether any iterate fools: foolbox looks at the last one only, so it is run to each of them."""
    given |= {"rel_stepsize": step_size, "random_start": False}
    ends = [foolbox_attack(model, x, y, f"{norm}PGD", eps, steps=k, **given)[1] for k in range(1, steps + 1)]
    return torch.stack(ends).any(0)


EPSILONS = {"Linf": (0.03, 0.06), "L2": (0.5, 1.0)}


@pytest.mark.parametrize("norm", NORMS)
def test_fgsm_is_foolbox_fgsm(digits: tuple[MLP, Tensor, Tensor], norm: str) -> None:
    eps = EPSILONS[norm]
    x_adv, fooled = foolbox_attack(*digits, f"{norm}FastGradientAttack", eps)
    found = fgsm(*digits, eps=eps, norm=norm, losses=("cross-entropy",))  # type: ignore[arg-type]
    assert 0.05 < fooled.float().mean() < 0.95
    assert ((found.fooled != fooled).sum(1) <= 1).all()
    apart = fgsm(*digits, eps=eps[1:], norm=norm, losses=("cross-entropy",))  # type: ignore[arg-type]
    moved = (apart.x_adv[0] != digits[1]).flatten(1).any(1)
    assert moved.sum() > 150
    assert torch.allclose(apart.x_adv[0, moved], x_adv[1, moved], rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("steps", "step_size"), [(6, 0.4), (12, 0.1)])
def test_pgd_is_foolbox_pgd(digits: tuple[MLP, Tensor, Tensor], norm: str, steps: int, step_size: float) -> None:
    fooled = foolbox_pgd(*digits, norm, EPSILONS[norm], steps, step_size)
    settings = {"steps": steps, "step_size": step_size, "random_start": False, "eps": EPSILONS[norm], "norm": norm}
    found = pgd(*digits, losses=("cross-entropy",), **settings)  # type: ignore[arg-type]
    assert 0.1 < fooled.float().mean() < 0.95
    assert ((found.fooled != fooled).sum(1) <= 1).all()


def test_targeted_pgd_is_foolbox_pgd(digits: tuple[MLP, Tensor, Tensor]) -> None:
    model, x, y = digits
    target = (y + 1) % 10
    fooled = foolbox_pgd(model, x, y, "Linf", (0.1, 0.15), 6, 0.4, target=target)
    settings = {"steps": 6, "step_size": 0.4, "random_start": False, "losses": ("cross-entropy",), "targets": target}
    found = pgd(model, x, y, eps=(0.1, 0.15), **settings)  # type: ignore[arg-type]
    assert 0.1 < fooled.float().mean() < 0.95
    assert ((found.fooled != fooled).sum(1) <= 1).all()
    place = found.fooled[1]
    assert torch.equal(model(found.x_adv[1, place]).argmax(1), target[place])


@pytest.mark.parametrize("norm", NORMS)
def test_apgd_is_no_weaker_than_foolbox_pgd(digits: tuple[MLP, Tensor, Tensor], norm: str) -> None:
    eps = EPSILONS[norm]
    fooled = foolbox_attack(*digits, f"{norm}PGD", eps, rel_stepsize=0.2, steps=12, random_start=False)[1]
    found = apgd(*digits, eps=eps, norm=norm, steps=12, random_start=False)  # type: ignore[arg-type]
    assert (found.fooled.sum(1) >= fooled.sum(1)).all()
    noise = random_noise(*digits, eps=eps, norm=norm, steps=12)  # type: ignore[arg-type]
    assert (noise.fooled.sum(1) < found.fooled.sum(1)).all()


# ---- what holds for any classifier

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
def test_the_order_of_epsilons_does_not_matter(run: Run, bends: tuple[Bends, Tensor, Tensor]) -> None:
    found, mixed = run(*bends, eps=(0.02, 0.05, 0.1)), run(*bends, eps=(0.1, 0.02, 0.05))
    assert mixed.eps == (0.1, 0.02, 0.05)
    assert torch.equal(mixed.margin[[1, 2, 0]], found.margin)
    assert torch.equal(mixed.x_adv[[1, 2, 0]], found.x_adv)


@every_attack
def test_an_epsilon_twice_is_attacked_once(run: Run, bends: tuple[Bends, Tensor, Tensor]) -> None:
    once, twice = run(*bends, eps=(0.05,)), run(*bends, eps=(0.05, 0.05))
    assert torch.equal(twice.margin, once.margin.expand(2, -1))


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


def test_two_classes_have_no_dlr() -> None:
    model, x = Parallel(classes=2), images(3, low=0.4, high=0.6)
    optimum = model.margin(x) - 0.1 * (2 * model.w).flatten().norm(p=1)
    assert torch.allclose(fgsm(model, x, zeros(3), eps=(0.1,)).margin[0], optimum)
    assert len(model.seen) == 2 + 2 * 2  # a look at the classes, at the margins, and two losses
    three = Parallel(classes=3)
    assert not fgsm(three, x, zeros(3), eps=(0.1,), targets=zeros(3) + 1).fooled.any()


# ---- errors


@pytest.mark.usefixtures("unchecked")
@every_attack
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"eps": ()}, "eps is empty"),
        ({"eps": (0.1, -0.2)}, "eps is -0.2"),
        ({"eps": (math.nan,)}, "eps is nan"),
        ({"eps": (math.inf,)}, "eps is inf"),
        ({"norm": "L0"}, "norm is 'L0'"),
        ({"samples": 0}, "samples is 0"),
        ({"targets": torch.zeros(4, dtype=torch.int64)}, r"targets is \(4,\) for 3 images"),
        ({"targets": torch.tensor([1, 2, 9])}, "classes reach from 0 to 9; the model knows 5"),
        ({"seed": -1}, "seed is -1"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
def test_bad_settings(run: Run, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run(Parallel(), images(3), zeros(3), **{"eps": (0.1,), **given})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("run", "given", "said"),
    [
        (pgd, {"steps": 0}, "steps is 0"),
        (apgd, {"steps": -1}, "steps is -1"),
        (random_noise, {"steps": 0}, "steps is 0"),
        (pgd, {"restarts": 0}, "restarts is 0"),
        (apgd, {"restarts": 0}, "restarts is 0"),
        (pgd, {"step_size": -0.1}, "step.size is -0.1"),
        (pgd, {"step_size": 0.0}, "step.size is 0.0"),
        (pgd, {"step_size": math.nan}, "step.size is nan"),
        (pgd, {"losses": ("hinge", "margin")}, "loss hinge; choose from cross-entropy, margin, dlr"),
        (fgsm, {"losses": ()}, "loss is missing"),
        (fgsm, {"y": torch.zeros(2, dtype=torch.int64)}, r"y is \(2,\) for 3 images"),
        (fgsm, {"y": torch.tensor([0, -1, 0])}, "classes reach from -1 to 0"),
        (fgsm, {"y": torch.tensor([0, 5, 0])}, "classes reach from 0 to 5; the model knows 5"),
        (fgsm, {"x": 300 * images(3)}, "images reach max"),
        (fgsm, {"x": images(3) - 0.9}, "images reach min"),
        (fgsm, {"x": images(3) * math.nan}, "images hold NaN"),
        (fgsm, {"x": images(3)[0]}, "images have shape"),
        (fgsm, {"model": Parallel(2), "losses": ("dlr",)}, "dlr needs"),
        (fgsm, {"model": Parallel(3), "losses": ("dlr",), "targets": zeros(3) + 1}, "dlr needs"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_more_bad_settings(run: Run, given: dict[str, Any], said: str) -> None:
    settings = {"model": Parallel(), "x": images(3), "y": zeros(3), "eps": (0.1,), **given}
    with pytest.raises(InputError, match=said):
        run(settings.pop("model"), settings.pop("x"), settings.pop("y"), **settings)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("given", "said"), [({"eps": (-0.2,)}, "eps is -0.2"), ({"norm": "L0"}, "norm is 'L0'")])
def test_bad_settings_are_found_where_nothing_is_left_to_attack(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        fgsm(Parallel(bias=-20), images(3), zeros(3), **{"eps": (0.1,), **given})  # type: ignore[arg-type]


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


def test_a_stochastic_model_is_scored_on_answers_that_the_attack_has_not_seen() -> None:
    """A model of pure noise: the lowest of many looks is far below zero, a fresh look is not."""

    class Noise(torch.nn.Module):
        classes = (0, 1)

        def forward(self, x: Tensor) -> Tensor:
            offset = 0 * x.flatten(1).sum(1)
            return torch.stack([offset + 1 + torch.randn(len(x)), offset], 1)

    torch.manual_seed(0)
    x = torch.full((200, 1, 2, 2), 0.5)
    found = pgd(Noise(), x, torch.zeros(200, dtype=torch.long), eps=[0.1], steps=30, samples=4, losses=["margin"])
    assert abs(float(found.margin.mean()) - 1) < 0.15
