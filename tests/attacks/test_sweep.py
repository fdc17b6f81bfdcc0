"""Sweeps on the linear autoencoder, whose optimum is known, and what must hold for any model and any goal."""

from collections import Counter
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from doubleback.attacks import Attack, Damage, Goal, Latent, Output, coefficient_sweep, latent_attack, output_attack
from doubleback.attacks.sweep import coefficients_of, thinned
from doubleback.distributions import DiagonalGaussian, Gaussian
from doubleback.errors import InputError
from doubleback.models import VAE, Reconstruction
from doubleback.settings import Budget, Price, Search
from tests.problems import LinearAutoencoder


def near_grey(pairs: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sources and targets so close to 1/2 that no optimum meets the box."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(0.5 + 0.05 * torch.randn(2, pairs, 1, 4, 4, generator=generator, dtype=torch.float64))  # type: ignore[return-value]


@torch.no_grad()
def aim(goal: str, vae: VAE, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """What each goal minimises on the mean path, from its definition."""
    if goal == "latent":
        return vae.encode(x).kl(vae.encode(target))
    x_hat = vae(x).likelihood.mean
    if goal == "output":
        return (x_hat - target).flatten(1).square().sum(1)
    return -(x_hat - vae(source).likelihood.mean).flatten(1).square().sum(1)


def test_latent_attack_reaches_the_linear_optimum() -> None:
    """delta = (C I + W'W)^-1 W'(z_t - W x): within 1 % of the objective for every C > 0, 1e-6 of its start at C = 0."""
    model = LinearAutoencoder()
    source, target = near_grey(6)
    C = coefficient_sweep(50).double()
    attack = latent_attack(model, source, target, coefficients=C, distance="l2")
    start = (model.encode(source).mean - model.encode(target).mean).square().sum(1)
    for k, coefficient in enumerate(C.tolist()):
        delta = model.optimal_perturbation(source, target, coefficient)
        assert (source + delta).min() > 0
        assert (source + delta).max() < 1
        codes = model.encode(source + delta).mean - model.encode(target).mean
        optimum = codes.square().sum(1) + coefficient * delta.square().sum((1, 2, 3))
        if coefficient == 0:
            assert (attack.objective[:, k] < 1e-6 * start).all()
        else:
            assert (attack.objective[:, k] <= 1.01 * optimum + 1e-6 * start).all()
        if 2**-6 <= coefficient <= 2**6:
            error = (attack.x_adv[:, k] - source - delta).flatten(1).norm(dim=1)
            assert (error <= 0.01 * delta.flatten(1).norm(dim=1)).all()


@pytest.mark.parametrize("goal", [Latent(), Output(), Damage()], ids=lambda goal: goal.name)
def test_the_objective_is_that_of_images_in_the_box_and_no_worse_than_blending(
    goal: Goal, vae: VAE, pairs: tuple[Tensor, Tensor]
) -> None:
    """`objective` recomputed from `x_adv` and the definition; a single step is enough for what needs no step."""
    source, target = pairs
    C = coefficient_sweep(5)
    found = Attack(goal, Price(5), Search(steps=1))(vae, source, target)
    assert torch.equal(found.levels, C)
    assert found.x_adv.shape == (3, 6, 1, 6, 6)
    assert found.x_adv.min() >= 0
    assert found.x_adv.max() <= 1
    for k, coefficient in enumerate(C):
        x = found.x_adv[:, k]
        expected = aim(goal.name, vae, x, source, target) + coefficient * (x - source).flatten(1).square().sum(1)
        assert torch.allclose(found.objective[:, k], expected, rtol=1e-4, atol=1e-5)
    for u in (0.0, 0.25, 0.5, 1.0):
        blend = source.lerp(target, u)
        cost = (blend - source).flatten(1).square().sum(1)
        value = aim(goal.name, vae, blend, source, target)[:, None] + C * cost[:, None]
        assert (found.objective <= value + 1e-4 * value.abs() + 1e-5).all()


def test_more_restarts_never_hurt(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    C = coefficient_sweep(11)
    values = [output_attack(vae, *pairs, coefficients=C, steps=15, restarts=n, seed=3).objective for n in range(4)]
    assert all((after <= before).all() for before, after in pairwise(values))
    assert (values[-1] < values[0]).any()


class Squares(nn.Module):
    """x_hat = x^2, pixel by pixel: the same to the last bit, whatever else is in the batch."""

    noise_shape = (4,)

    def encode(self, x: Tensor, noise: Tensor | None = None) -> DiagonalGaussian:
        return DiagonalGaussian(x.flatten(1), torch.zeros_like(x.flatten(1)))

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Reconstruction:
        return Reconstruction(self.encode(x), Gaussian(x.square(), x.new_zeros(())))


def test_without_a_target_an_attack_leaves_the_source_though_it_has_no_gradient() -> None:
    """Nor does a blend help, where the target is the source."""
    grey = torch.full((2, 1, 2, 2), 0.5)
    found = Attack(Damage(), Price((0.0,)), Search(steps=60))(Squares().eval(), grey, grey)
    assert torch.allclose(found.objective[:, 0], torch.full((2,), -4 * 0.75**2))  # all white


def test_progress_adds_up(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    """Also where most coefficients begin at their neighbours' ends."""
    told: list[int] = []
    Attack(Latent(), Price(11), Search(steps=23, restarts=1))(vae, *pairs, advance=told.append)
    assert sum(told) == 3 * 12 * 23 * (2 + 1)


def test_the_order_of_the_coefficients_does_not_matter(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    """Neighbours are neighbours by size: what each reaches is no worse for it."""
    C = torch.tensor([1.0, 0.0, 4.0, 0.5, 2.0])
    mixed = latent_attack(vae, *pairs, coefficients=C)
    sorted_ = latent_attack(vae, *pairs, coefficients=C.sort().values)
    assert torch.equal(mixed.levels, C)
    assert torch.allclose(mixed.objective, sorted_.objective[:, C.argsort().argsort()], rtol=1e-2, atol=1e-3)


def test_same_seed_same_attack(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    C = torch.tensor([0.0, 0.1, 10.0])
    one, same, other = (
        latent_attack(vae, *pairs, coefficients=C, steps=10, restarts=1, samples=2, seed=seed) for seed in (5, 5, 6)
    )
    assert torch.equal(one.x_adv, same.x_adv)
    assert not torch.equal(one.x_adv, other.x_adv)


class Jumpy(nn.Module):
    """mean = x + noise: what one draw of the noise says of it is no guide to the next."""

    noise_shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[Tensor | None] = []

    def encode(self, x: Tensor, noise: Tensor | None = None) -> DiagonalGaussian:
        self.draws.append(None if noise is None else noise.detach().clone())
        mean = x.flatten(1) + (0 if noise is None else noise)
        return DiagonalGaussian(mean, torch.zeros_like(mean))


class Stretchy(Jumpy):
    """mean = x * noise: where a step leads hangs on its draw."""

    def encode(self, x: Tensor, noise: Tensor | None = None) -> DiagonalGaussian:
        mean = x.flatten(1) * (1 if noise is None else noise)
        return DiagonalGaussian(mean, torch.zeros_like(mean))


def test_samples_are_fresh_at_every_step_and_selection_uses_others() -> None:
    """samples = 2 on a stochastic encoder: no draw is used for two steps, none of them selects, all rows share one."""
    model = Jumpy().eval()
    source, target = torch.rand(2, 2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    C = torch.tensor([1.0])
    latent_attack(model, source, target, coefficients=C, steps=20, samples=2, restarts=1)  # type: ignore[arg-type]
    noises = [draw for draw in model.draws if draw is not None]
    assert all((draw == draw[0]).all() for draw in noises)
    times = Counter(tuple(draw[0].tolist()) for draw in noises)
    encodings = 2  # of an attempt, and of a choice: the input's and the target's
    fresh = [count for count in times.values() if count == encodings]
    held = [count for count in times.values() if count > encodings]
    assert len(held) == 2
    assert len(fresh) == 2 * 2 * 21  # searches, samples, evaluations: every one of them new


@pytest.mark.parametrize("capability", [Price((0.5, 1.0)), Budget("Linf", [0.1, 0.3])])
def test_noise_does_not_depend_on_which_rows_go_through_together(
    capability: Price | Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of three rows, of two starts for each pair, end where all rows together do; so do two pairs of five."""
    model = Stretchy().eval()
    source, target = torch.rand(2, 5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    attack = Attack(Latent(), capability, Search(steps=10, samples=2))
    together = attack(model, source, target).x_adv  # type: ignore[arg-type]
    assert torch.allclose(attack(model, source[:2], target[:2]).x_adv, together[:2], atol=1e-6)  # type: ignore[arg-type]
    monkeypatch.setattr("doubleback.attacks.engine.rows_together", lambda _: 3)
    monkeypatch.setattr("doubleback.attacks.projected.rows_at_once", lambda _: 3)
    assert torch.allclose(attack(model, source, target).x_adv, together, atol=1e-6)  # type: ignore[arg-type]


def test_linear_latent_attack_is_blind_to_output_noise() -> None:
    """A code without noise: attacking with samples reaches the mean path's optimum, by Adam."""
    model = LinearAutoencoder()
    source, target = near_grey(2)
    C = torch.tensor([0.1, 1.0], dtype=torch.float64)
    exact = latent_attack(model, source, target, coefficients=C, distance="l2")
    noisy = latent_attack(model, source, target, coefficients=C, distance="l2", samples=1, steps=500)
    assert torch.allclose(noisy.objective, exact.objective, rtol=0.02)


def test_the_sweep_is_zero_and_powers_of_two() -> None:
    C = coefficient_sweep(50)
    assert C.shape == (51,)
    assert C[0] == 0
    assert C[1] == pytest.approx(2**-20)
    assert C[-1] == pytest.approx(2**20)
    assert torch.allclose(C[2:] / C[1:-1], C[2] / C[1])
    with pytest.raises(InputError, match="coefficients is 0"):
        coefficient_sweep(0)


def test_a_prices_coefficients_and_every_third_of_them() -> None:
    assert torch.equal(coefficients_of(Price(4)), coefficient_sweep(4))
    assert coefficients_of(Price((0.3, 0.0))).tolist() == [0.3, 0.0]
    for price in (Price(8), Price((0.0, 0.1, 0.2, 0.3, 0.4))):
        few = thinned(price, 3)
        assert torch.equal(coefficients_of(few).to(coefficients_of(price)), coefficients_of(price)[::3])
        assert few.count == len(coefficients_of(few))
