"""Defences at test time: against hand-worked values, and attacked as what they are."""

import pytest
import torch
from torch import Tensor, nn

import doubleback
from doubleback.attacks import Attack, Damage
from doubleback.defences import DEFENCES, Hamiltonian, Smoothed, as_deployed, defended
from doubleback.errors import InputError
from doubleback.models import VAE, Autoencoder, AutoencoderAdapter, Surviving
from doubleback.models.base import acquaint
from doubleback.settings import Budget, Search, Threat
from tests.problems import LinearAutoencoder

X = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
EVERY = ("quantize:4", "jpeg:60", "resize:0.5", "smooth:0.2", "hmc:2")


@pytest.fixture
def vae() -> VAE:
    torch.manual_seed(0)
    return VAE((1, 4, 4), hidden=(8,), latent=3, likelihood="gaussian").double().eval()


def noise_for(model: Autoencoder, count: int = 3, seed: int = 1) -> Tensor:
    shape = (count, *model.noise_shape)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_smoothing_of_a_linear_autoencoder_moves_it_by_the_mean_of_the_noise() -> None:
    model = LinearAutoencoder()
    smooth = Smoothed(model, 0.3, copies=4)
    smooth.meet(X)
    noise = noise_for(smooth)
    noise[:, 4 * 16 :] = 0  # the model's own
    e = noise[:, : 4 * 16].view(3, 4, 1, 4, 4).mean(1)
    wanted = model(X + 0.3 * e).likelihood.mean
    assert torch.allclose(smooth(X, noise).likelihood.mean, wanted)
    assert torch.allclose(smooth.encode(X, noise).mean, model.encode(X + 0.3 * e).mean)


def test_many_copies_come_near_the_mean_over_the_noise(vae: VAE) -> None:
    few, many = Smoothed(vae, 0.5, copies=2), Smoothed(vae, 0.5, copies=4000)
    for model in (few, many):
        model.meet(X)
    one, other = (noise_for(many, seed=seed) for seed in (1, 2))
    one[:, -3:] = other[:, -3:] = 0  # the model's own
    one, other = (many(X, noise).likelihood.mean for noise in (one, other))
    assert (one - other).abs().max() < 0.2 * (few(X).likelihood.mean - one).abs().max()


def test_hamiltonian_steps_keep_the_energy_and_find_the_posterior(vae: VAE) -> None:
    """With short leapfrogs all is accepted; over many steps -log p(x, z) falls to where the posterior has its mass."""
    model = Hamiltonian(vae, 300, 0.3)
    model.meet(X)
    q = vae.encode(X)
    far = type(q)(q.mean + 3.0, q.log_var)
    with torch.no_grad():
        z = model.walked(X, far)
        scale = (q.log_var / 2).exp()
        start, end, posterior = (
            model._energy(X, torch.zeros_like(scale), torch.ones_like(scale), code) for code in (far.mean, z, q.mean)
        )
    assert (end < start).all()
    assert (end - posterior < 0.3 * (start - posterior)).all()


def test_hamiltonian_monte_carlo_has_the_moments_of_a_known_posterior() -> None:
    """A linear Gaussian model: p(z|x) = N(S V'(x - c) / s2, S), S = (I + V'V / s2)^-1."""
    torch.manual_seed(0)
    V, c, s2 = torch.randn(4, 2, dtype=torch.float64) * 0.3, torch.full((4,), 0.5, dtype=torch.float64), 0.1
    decoder = nn.Linear(2, 4).double()
    with torch.no_grad():
        decoder.weight.copy_(V)
        decoder.bias.copy_(c)
    zero = nn.Linear(4, 4).double()
    nn.init.zeros_(zero.weight)
    nn.init.zeros_(zero.bias)
    halves = nn.Sequential(nn.Flatten(), zero)
    model = AutoencoderAdapter(
        lambda x: tuple(halves(x).chunk(2, 1)), lambda z: decoder(z).view(-1, 1, 2, 2), latent=2, variational=True,
        variance=s2,
    ).double()  # fmt: skip
    x = torch.tensor([0.9, 0.1, 0.4, 0.7], dtype=torch.float64).view(1, 1, 2, 2)
    walking = Hamiltonian(model, 20, 0.25)
    walking.meet(x)
    rows = x.expand(4000, -1, -1, -1)
    with torch.no_grad():
        z = walking.walked(rows, model.encode(rows), noise_for(walking, 4000))
    S = torch.linalg.inv(torch.eye(2, dtype=torch.float64) + V.T @ V / s2)
    mean = S @ V.T @ (x.flatten() - c) / s2
    assert torch.allclose(z.mean(0), mean, atol=0.05)
    assert torch.allclose(torch.cov(z.T), S, atol=0.05)


def test_the_gradient_goes_through_the_whole_chain(vae: VAE) -> None:
    model = defended(vae, ["hmc:2"])
    doubleback.models.base.acquaint(model, X)
    x = X[:1].clone().requires_grad_()
    weights = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    (found,) = torch.autograd.grad((model(x).likelihood.mean * weights).sum(), x)
    with torch.no_grad():
        step = 1e-6 * weights
        there, here = ((model(x + way).likelihood.mean * weights).sum() for way in (step, -step))
    assert (found * weights).sum() == pytest.approx(float(there - here) / 2e-6, rel=1e-4)


@pytest.mark.parametrize("step", EVERY)
@pytest.mark.parametrize("noisy", [False, True])
def test_an_answer_is_of_its_own_row(vae: VAE, step: str, noisy: bool) -> None:
    model = defended(vae, [step])
    doubleback.models.base.acquaint(model, X)
    noise = noise_for(model) if noisy else None
    with torch.no_grad():
        together = model(X, noise).likelihood.mean
        alone = model(X[1:2], None if noise is None else noise[1:2]).likelihood.mean
    assert torch.allclose(together[1:2], alone, atol=1e-9)
    assert together.min() >= 0
    assert together.max() <= 1


@pytest.mark.parametrize("step", EVERY)
def test_it_is_attacked_as_it_is_deployed(vae: VAE, step: str) -> None:
    """Damage that is found with knowledge of the defence is scored on the defended model, and lies in the ball."""
    model = defended(vae.float(), [step])
    x = X.float()
    attack = Attack(Damage(), Budget("Linf", (0.1,)), Search(steps=8))
    found = attack(model, x, x.roll(1, 0))
    assert (found.x_adv[:, 0] - x).abs().max() <= 0.1 + 1e-6
    with torch.no_grad():
        moved = (model(found.x_adv[:, 0]).likelihood.mean - model(x).likelihood.mean).flatten(1).norm(dim=1)
    assert torch.allclose(-found.objective[:, 0], moved.square(), rtol=0.05)
    assert (moved > 0).all()


def test_fresh_noise_reaches_the_defence(vae: VAE) -> None:
    x = (torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 255).byte()
    asked = {"pairs": 2, "eps": [0.1], "attacks": ["untargeted"], "steps": 4, "progress": False}
    plain, fixed, fresh = (
        doubleback.audit(vae.float(), x, **asked, **further).results()["damage"]
        for further in ({}, {"defend": ["smooth:0.2"]}, {"defend": ["smooth:0.2"], "samples": 2})
    )
    assert plain != fixed != fresh


def test_defences_meet_an_image_in_the_order_in_which_they_are_said(vae: VAE) -> None:
    model = defended(vae, ["quantize:1", "smooth:0.3"])
    assert isinstance(model, Surviving)
    assert isinstance(model.inner, Smoothed)
    deployed = as_deployed(vae, Threat(survive=("jpeg:75",), defend=("smooth:0.3",)))
    assert isinstance(deployed, Surviving)
    assert isinstance(deployed.inner, Smoothed)
    assert as_deployed(vae, Threat()) is vae
    assert set(DEFENCES) == {step.split(":")[0] for step in EVERY}


@pytest.mark.parametrize("step", ["smooth:0", "smooth", "hmc:0.5", "hmc:0", "gzip:9", "quantize:20"])
def test_a_defence_that_is_none_is_refused_in_a_line(vae: VAE, step: str) -> None:
    with pytest.raises(InputError, match="defend is") as caught:
        defended(vae, [step])
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="defend is"):
        Threat(defend=(step,))


def test_a_chain_about_smoothing_has_the_codes_own_shape(vae: VAE) -> None:
    guarded = defended(vae, ["hmc:2", "smooth:0.1"])
    x = torch.rand(3, *vae.image_shape, dtype=torch.float64)
    acquaint(guarded, x)
    for noise in (None, noise_for(guarded)):
        assert guarded(x, noise).likelihood.mean.shape == x.shape


def test_a_plain_autoencoder_has_no_posterior_to_walk_in() -> None:
    plain = VAE((1, 4, 4), hidden=(8,), latent=3, variational=False)
    with pytest.raises(InputError, match="hmc needs a variational autoencoder"):
        doubleback.audit(plain, X.float(), pairs=1, coefficients=1, steps=1, defend=["hmc:2"], progress=False)
