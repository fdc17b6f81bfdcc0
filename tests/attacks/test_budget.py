"""An attack within a budget: against closed forms, the best of all sign vectors, and plain PGD."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from doubleback.attacks import Attack, Damage, Drift, Latent, Output, Scores, Surrogate, Within
from doubleback.attacks.ball import balls_about
from doubleback.attacks.budget import _Task
from doubleback.attacks.expected import Problem
from doubleback.auditing import damage, r_margin, universal
from doubleback.errors import InputError
from doubleback.memory import weighed
from doubleback.models import VAE, Surviving
from doubleback.settings import Budget, Search
from tests.problems import LinearAutoencoder

CENTRE = torch.full((6, 1, 4, 4), 0.5, dtype=torch.float64)


class Linear(LinearAutoencoder):
    """x_hat = A (x - 1/2) + 1/2 with a matrix of one's own, by V and W."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in (self.V, self.W):
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=weight.dtype))

    @property
    def slope(self) -> Tensor:
        """d x_hat / dx."""
        x = CENTRE[:1].clone()
        return torch.autograd.functional.jacobian(lambda z: self(z).likelihood.mean.flatten(), x).view(16, 16)


def test_l2_damage_of_a_linear_model_is_eps_times_the_largest_singular_value() -> None:
    model = Linear()
    for eps in (0.01, 0.05):
        found = damage(model, CENTRE, eps=eps, norm="L2", steps=100, restarts=1)
        assert found.distance == pytest.approx(eps * torch.linalg.svdvals(model.slope)[0].item(), rel=1e-3)
        assert ((found.x_adv - CENTRE).flatten(1).norm(dim=1) <= eps * (1 + 1e-6)).all()


@pytest.mark.parametrize("seed", range(4))
def test_linf_damage_of_a_linear_model_is_nearly_that_of_the_best_signs(seed: int) -> None:
    """A convex function is largest at a corner: of all 2^16 sign vectors, the best."""
    model = Linear(seed)
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=15)), dtype=torch.float64)
    signs = torch.cat([torch.ones(len(signs), 1, dtype=torch.float64), signs], dim=1)
    best = 0.1 * (signs @ model.slope.T).norm(dim=1).max()
    found = damage(model, CENTRE[:2], eps=0.1, steps=100, restarts=8)
    assert (found.distance >= 0.98 * best).all()
    assert (found.distance <= best * (1 + 1e-9)).all()


def test_the_r_margin_of_a_linear_model_is_r_over_the_largest_singular_value() -> None:
    model, r = Linear(), 0.02
    exact = r / torch.linalg.svdvals(model.slope)[0].item()
    assert r_margin(model, CENTRE, r) == pytest.approx(exact, rel=0.01)
    assert (r_margin(model, CENTRE, 1e6) == math.inf).all()


def test_a_targeted_attack_on_a_linear_model_is_least_squares_in_a_ball() -> None:
    """min ||A d - b|| with ||d|| <= eps: by the multiplier mu, (A'A + mu) d = A'b, found by bisection."""
    model, target = Linear(), CENTRE + 0.05 * torch.randn(CENTRE.shape, generator=torch.Generator().manual_seed(1))
    A = model.slope
    with torch.no_grad():
        b = (target - model(CENTRE).likelihood.mean).flatten(1)
    eps = 0.02
    found = Attack(Output(), Budget("L2", [eps]), Search(steps=300))(model, CENTRE, target)
    for row in range(len(b)):
        low, high = 0.0, 1e6
        for _ in range(200):
            mu = (low + high) / 2
            d = torch.linalg.solve(A.T @ A + mu * torch.eye(16, dtype=torch.float64), A.T @ b[row])
            low, high = (mu, high) if d.norm() > eps else (low, mu)
        assert found.objective[row, 0].sqrt() == pytest.approx((A @ d - b[row]).norm().item(), rel=0.01)


@pytest.fixture(scope="module")
def pairs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return tuple(torch.rand(4, 1, 6, 6, generator=generator) for _ in range(2))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def vae() -> VAE:
    torch.manual_seed(0)
    return VAE((1, 6, 6), hidden=(24,), latent=4).eval()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("goal", [Damage(), Output(), Latent("l2"), Drift("cosine")], ids=lambda goal: goal.name)
def test_every_example_lies_in_its_ball_and_a_larger_one_is_no_worse(vae: VAE, pairs, goal, norm) -> None:  # type: ignore[no-untyped-def]
    source, target = pairs
    eps = (0.2, 0.05, "8/255")
    found = Attack(goal, Budget(norm, eps), Search(steps=15, restarts=1))(vae, source, target)
    d = (found.x_adv - source[:, None]).flatten(2)
    length = d.abs().amax(2) if norm == "Linf" else d.norm(dim=2)
    assert (length <= torch.tensor([0.2, 0.05, 8 / 255]) + 1e-6).all()
    assert ((found.x_adv >= 0) & (found.x_adv <= 1)).all()
    order = torch.tensor([2, 1, 0])
    assert (found.objective[:, order].diff(dim=1) <= 1e-7).all()
    loss = goal.loss(vae, source, target)
    with torch.no_grad():
        for column in range(3):
            assert torch.allclose(loss(found.x_adv[:, column], torch.arange(4), None), found.objective[:, column])


def test_it_does_no_less_than_plain_pgd(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    source, _ = pairs
    with torch.no_grad():
        before = vae(source).likelihood.mean
    best = torch.zeros(4)
    for start in range(3):
        x = source + (torch.rand(source.shape, generator=torch.Generator().manual_seed(start)) - 0.5) * 0.1
        for _ in range(100):
            x = x.detach().clamp(0, 1).requires_grad_()
            moved = (vae(x).likelihood.mean - before).flatten(1).norm(dim=1)
            (g,) = torch.autograd.grad(moved.sum(), x)
            best = torch.maximum(best, moved.detach())
            x = torch.minimum(torch.maximum(x + 0.0025 * g.sign(), source - 0.05), source + 0.05)
    assert damage(vae, source, eps=0.05, steps=100).distance.mean() >= best.mean()  # one image may have its luck


def test_relative_eps_are_shares_of_the_way(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    source, target = pairs
    found = Attack(Damage(), Budget("L2", ("0.1", "0.5"), relative=True), Search(steps=5))(vae, source, target)
    way = (source - target).flatten(1).norm(dim=1)
    length = (found.x_adv - source[:, None]).flatten(2).norm(dim=2)
    assert (length <= way[:, None] * torch.tensor([0.1, 0.5]) + 1e-6).all()
    assert (length[:, 1] > 0.25 * way).all()


def test_scores_take_no_gradient_and_stay_in_the_ball(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    class Closed(VAE):
        def forward(self, x, noise=None):  # type: ignore[no-untyped-def]
            assert not x.requires_grad
            return super().forward(x, noise)

    torch.manual_seed(0)
    model = Closed((1, 6, 6), hidden=(24,), latent=4).eval()
    source, target = pairs
    for norm in ("Linf", "L2"):
        attack = Attack(Damage(), Budget(norm, [0.1]), knowledge=Scores(60))
        told: list[int] = []
        found = attack(model, source, target, advance=told.append)
        assert sum(told) == 4 * attack.row_steps == 4 * 60
        white = Attack(Damage(), Budget(norm, [0.1]))(vae, source, target)
        assert (found.objective < 0).all()
        assert (found.objective >= white.objective - 1e-4).all()


def test_a_surrogate_is_followed_and_the_model_is_not(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(5)
    other = VAE((1, 6, 6), hidden=(24,), latent=4).eval()
    source, target = pairs
    made = Attack(Damage(), Budget("Linf", [0.1]))(other, source, target)
    found = Attack(Damage(), Budget("Linf", [0.1]), knowledge=Surrogate(other, "other"))(vae, source, target)
    assert torch.equal(found.x_adv, made.x_adv)


def test_a_surrogate_is_followed_through_the_channel_of_the_model(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(5)
    other = VAE((1, 6, 6), hidden=(24,), latent=4).eval()
    source, target = pairs
    attack = Attack(Damage(), Budget("Linf", [0.1]))
    made = attack(Surviving(other, ["resize:0.5"]), source, target)
    own = replace(attack, knowledge=Surrogate(other))
    assert torch.equal(own(Surviving(vae, ["resize:0.5"]), source, target).x_adv, made.x_adv)
    assert not torch.equal(own(vae, source, target).x_adv, made.x_adv)
    has_one = replace(attack, knowledge=Surrogate(Surviving(other, ["resize:0.5"])))
    assert torch.equal(has_one(Surviving(vae, ["resize:0.5"]), source, target).x_adv, made.x_adv)


def test_noise_is_fresh_at_each_step_and_held_for_the_choice(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    source, target = pairs
    attack = Attack(Damage(), Budget("Linf", [0.05, 0.1]), Search(steps=8, samples=3, seed=1))
    one, same = (attack(vae, source, target) for _ in range(2))
    assert torch.equal(one.x_adv, same.x_adv)
    assert not torch.equal(one.x_adv, Attack(Damage(), attack.capability, Search(steps=8))(vae, source, target).x_adv)


def test_no_point_is_asked_for_twice(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    """Two starts for each of three eps: their gradients, their last points, the sources, the stretched ends."""
    rows = {True: 0, False: 0}

    class Counting(VAE):
        def forward(self, x, noise=None):  # type: ignore[no-untyped-def]
            rows[x.requires_grad] += len(x)
            return super().forward(x, noise)

    source, _ = pairs
    N, E, steps = len(source), 3, 7
    model = Counting((1, 6, 6), hidden=(24,), latent=4).eval()
    with weighed(1, None):
        Attack(Damage(), Budget("Linf", [0.05, 0.1, 0.2]), Search(steps))(model, source, source)
    assert rows == {True: 2 * E * steps * N, False: 2 * E * N + 2 * N + (E - 1) * N}


def test_the_best_so_far_is_a_start_where_it_is_better_stretched_no_further() -> None:
    source = torch.full((2, 1, 3, 3), 0.5)

    def loss(x: Tensor, pair: Tensor, noise: Tensor | None) -> Tensor:
        del pair, noise
        return (x - 0.55).flatten(1).square().sum(1)

    task = _Task(Problem(loss, source, source, ()), Search(steps=3))
    near, far = (balls_about(source, torch.full((2,), eps), "Linf") for eps in (0.05, 0.1))
    task.best.offer(task.pair, near.project(source + 0.05), loss(source + 0.05, task.pair, None))
    assert torch.allclose(task._best_known(far, ()), source + 0.05)


def test_known_points_are_starts(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    source, target = pairs
    strong = Attack(Damage(), Budget("L2", [1.0]), Search(steps=60, restarts=3))(vae, source, target)
    known = strong.x_adv[:, :, None]  # (P, 1, 1, ...)
    told = Attack(Damage(), Within("L2", torch.ones(4, 1), known), Search(steps=1))(vae, source, target)
    assert (told.objective <= strong.objective + 1e-6).all()


def test_one_change_for_all_is_weaker_than_one_for_each(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    source, target = pairs
    found = universal(vae, source, eps="8/255", scored_on=target, epochs=10)
    assert found.d.abs().max() <= 8 / 255 + 1e-7
    assert found.distance.shape == (4,)
    on_its_own = universal(vae, source, eps="8/255", epochs=10).distance.mean()
    each = damage(vae, source, eps="8/255", steps=50, restarts=1).distance.mean()
    noise = (source + 8 / 255 * torch.randn(source.shape).sign()).clamp(0, 1)
    with torch.no_grad():
        moved = (vae(noise).likelihood.mean - vae(source).likelihood.mean).flatten(1).norm(dim=1).mean()
    assert moved < on_its_own <= each * 1.001


@pytest.mark.parametrize(
    ("norm", "eps", "relative", "said"),
    [
        ("Linf", [-0.1], False, "give a positive number"),
        ("Linf", ["nan"], False, "give a positive number"),
        ("L2", [math.inf], False, "give at most"),
        ("Linf", [1.5], False, "give at most 1"),
        ("Linf", [], False, "eps is empty"),
        ("Linf", ["8/0"], False, "is not a number"),
        ("Linf", ["0.1", 0.1], False, "is there twice"),
        ("L1", [0.1], False, "norm is 'L1'; choose one of Linf, L2"),
        ("Linf", [0.1], True, "give the norm L2"),
    ],
)
def test_bad_budgets_are_refused_in_one_line(norm: str, eps: list[object], relative: bool, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Budget(norm, eps, relative)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_scores_cannot_weigh_a_price(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(InputError, match="scores alone cannot weigh a price"):
        Attack(Damage(), knowledge=Scores(10))(vae, *pairs)
