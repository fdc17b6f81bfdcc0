"""Attacks on the linear autoencoder, whose optimum is known, and what must hold on any model."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from doubleback.attacks import coefficient_sweep, latent_attack, output_attack, untargeted_attack
from doubleback.errors import InputError
from doubleback.models import VAE
from tests.problems import LinearAutoencoder

ATTACKS = {"latent": latent_attack, "output": output_attack, "untargeted": untargeted_attack}


def near_grey(pairs: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sources and targets so close to 1/2 that no optimum meets the box."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(0.5 + 0.05 * torch.randn(2, pairs, 1, 4, 4, generator=generator, dtype=torch.float64))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def vae() -> VAE:
    torch.manual_seed(0)
    return VAE((1, 6, 6), hidden=(16,), latent=3)


@pytest.fixture
def pairs() -> tuple[Tensor, Tensor]:
    source, target = torch.rand(2, 3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    return source, target


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


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_objective_is_that_of_the_images_in_the_box(attack, vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    """`objective` recomputed from `x_adv` and the definition."""
    source, target = pairs
    C = torch.tensor([0.0, 0.1, 10.0])
    found = attack(vae, source, target, coefficients=C, steps=30)
    assert found.x_adv.shape == (3, 3, 1, 6, 6)
    assert found.x_adv.min() >= 0
    assert found.x_adv.max() <= 1
    with torch.no_grad():
        for k, coefficient in enumerate(C):
            x = found.x_adv[:, k]
            aims = {
                "latent_attack": vae.encode(x).kl(vae.encode(target)),
                "output_attack": (vae(x).likelihood.mean - target).flatten(1).square().sum(1),
                "untargeted_attack": -(vae(x).likelihood.mean - vae(source).likelihood.mean).flatten(1).square().sum(1),
            }
            expected = aims[attack.__name__] + coefficient * (x - source).flatten(1).square().sum(1)
            assert torch.allclose(found.objective[:, k], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_no_worse_than_doing_nothing_or_blending(attack, vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    source, target = pairs
    C = coefficient_sweep(5)
    found = attack(vae, source, target, coefficients=C, steps=1)
    for u in (0.0, 0.25, 0.5, 1.0):
        blend = source.lerp(target, u)
        with torch.no_grad():
            aims = {
                "latent_attack": vae.encode(blend).kl(vae.encode(target)),
                "output_attack": (vae(blend).likelihood.mean - target).flatten(1).square().sum(1),
                "untargeted_attack": -(vae(blend).likelihood.mean - vae(source).likelihood.mean)
                .flatten(1)
                .square()
                .sum(1),
            }
        cost = (blend - source).flatten(1).square().sum(1)
        value = aims[attack.__name__][:, None] + C * cost[:, None]
        assert (found.objective <= value + 1e-4 * value.abs() + 1e-5).all()


def test_more_restarts_never_hurt(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    values = [output_attack(vae, *pairs, steps=15, restarts=count, seed=3).objective for count in range(4)]
    assert all((after <= before).all() for before, after in pairwise(values))
    assert (values[-1] < values[0]).any()


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_progress_adds_up(attack, vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    told: list[int] = []
    attack(vae, *pairs, coefficients=torch.tensor([0.0, 1.0]), steps=23, restarts=1, advance=told.append)
    assert sum(told) == 3 * 2 * 23 * (2 + 1)


def test_same_seed_same_attack(vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    one, other = (latent_attack(vae, *pairs, steps=10, restarts=1, samples=2, seed=5) for _ in range(2))
    assert torch.equal(one.x_adv, other.x_adv)


class Jumpy(nn.Module):
    """mean = x + noise: what one draw of the noise says of it is no guide to the next."""

    noise_shape = (4,)

    def encode(self, x: Tensor, noise: Tensor | None = None):  # type: ignore[no-untyped-def]
        from doubleback.distributions import DiagonalGaussian

        self.draws = [] if not hasattr(self, "draws") else self.draws
        self.draws.append(None if noise is None else noise.detach().clone())
        mean = x.flatten(1) + (0 if noise is None else noise)
        return DiagonalGaussian(mean, torch.zeros_like(mean))


def test_samples_are_fresh_at_every_step_and_selection_uses_others() -> None:
    """samples = 2 on a stochastic encoder: no draw is used for two steps, and none of them selects."""
    model = Jumpy()
    source, target = torch.rand(2, 2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    latent_attack(model, source, target, coefficients=torch.tensor([1.0]), steps=20, samples=2)
    noises = [draw for draw in model.draws if draw is not None]
    fresh = {tuple(draw.flatten().tolist()) for draw in noises if len({tuple(row) for row in draw.tolist()}) > 1}
    held = {tuple(draw[0].tolist()) for draw in noises if len({tuple(row) for row in draw.tolist()}) == 1}
    assert len(held) == 2
    assert len(fresh) == 2 * 21  # samples, evaluations: every one of them new
    assert not any(part in {draw[:4] for draw in fresh} for part in held)


def test_linear_latent_attack_is_blind_to_output_noise() -> None:
    """A code without noise: attacking with samples reaches the mean path's optimum, by Adam."""
    model = LinearAutoencoder()
    source, target = near_grey(2)
    C = torch.tensor([0.1, 1.0], dtype=torch.float64)
    exact = latent_attack(model, source, target, coefficients=C, distance="l2")
    noisy = latent_attack(model, source, target, coefficients=C, distance="l2", samples=1, steps=500)
    assert torch.allclose(noisy.objective, exact.objective, rtol=0.02)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"coefficients": torch.tensor([-1.0])}, "coefficients must be"),
        ({"coefficients": torch.tensor([])}, "coefficients must be"),
        ({"restarts": -1}, "restarts is -1"),
        ({"samples": -1}, "samples is -1"),
        ({"steps": 0}, "steps is 0"),
        ({"distance": "cosine"}, "distance is 'cosine'"),
    ],
)
def test_bad_settings(change: dict[str, object], said: str, vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(InputError, match=said):
        latent_attack(vae, *pairs, **change)  # type: ignore[arg-type]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_bad_images(attack, vae: VAE, pairs: tuple[Tensor, Tensor]) -> None:
    source, target = pairs
    with pytest.raises(InputError, match="one target a source"):
        attack(vae, source, target[:2])
    with pytest.raises(InputError, match="NaN"):
        attack(vae, source, target * float("nan"))
    with pytest.raises(InputError, match="divide by 255"):
        attack(vae, 255 * source, target)


def test_sweep_is_zero_and_powers_of_two() -> None:
    C = coefficient_sweep(50)
    assert C.shape == (51,)
    assert C[0] == 0
    assert C[1] == pytest.approx(2**-20)
    assert C[-1] == pytest.approx(2**20)
    assert torch.allclose(C[2:] / C[1:-1], C[2] / C[1])
    with pytest.raises(InputError, match="coefficients is 0"):
        coefficient_sweep(0)
