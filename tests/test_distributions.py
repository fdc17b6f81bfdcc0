"""Densities and divergences against torch.distributions; the records as pytrees."""

import pytest
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Normal, kl_divergence
from torch.utils import _pytree as pytree

from doubleback.distributions import Bernoulli, DiagonalGaussian, Gaussian


def gaussian(seed: int) -> DiagonalGaussian:
    generator = torch.Generator().manual_seed(seed)
    mean, log_var = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    return DiagonalGaussian(mean, log_var)


def normal(q: DiagonalGaussian) -> Normal:
    return Normal(q.mean, torch.exp(0.5 * q.log_var))


def test_kl_is_torchs() -> None:
    q, p = gaussian(0), gaussian(1)
    assert torch.allclose(q.kl(p), kl_divergence(normal(q), normal(p)).sum(1))
    assert torch.allclose(q.kl_to_standard(), kl_divergence(normal(q), Normal(0.0, 1.0)).sum(1))
    assert torch.equal(q.kl(q), torch.zeros(5, dtype=torch.float64))


def test_sample_is_the_reparameterisation() -> None:
    q = gaussian(0)
    noise = torch.randn(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.equal(q.sample(torch.zeros_like(noise)), q.mean)
    assert torch.allclose((q.sample(noise) - q.mean).square(), q.log_var.exp() * noise.square())
    assert torch.allclose(q.sample(noise) + q.sample(-noise), 2 * q.mean)


def test_at_picks_rows() -> None:
    q, rows = gaussian(0), torch.tensor([3, 0, 3])
    assert torch.equal(q.at(rows).mean, q.mean[rows])
    assert torch.equal(q.at(rows).log_var, q.log_var[rows])


def test_bernoulli_is_torchs_and_takes_grey_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(4, 1, 3, 3, generator=generator, dtype=torch.float64)
    p = Bernoulli(logits)
    binary = (torch.rand(logits.shape, generator=generator) < 0.5).double()
    assert torch.allclose(p.log_prob(binary), TorchBernoulli(logits=logits).log_prob(binary).flatten(1).sum(1))
    grey = torch.rand(logits.shape, generator=generator, dtype=torch.float64)
    entropy = grey * p.mean.log() + (1 - grey) * (1 - p.mean).log()
    assert torch.allclose(p.log_prob(grey), entropy.flatten(1).sum(1))


def test_bernoulli_is_finite_at_extreme_logits() -> None:
    p = Bernoulli(torch.tensor([[[[1000.0, -1000.0]]]]))
    assert p.log_prob(torch.tensor([[[[1.0, 0.0]]]])).item() == 0


def test_gaussian_is_torchs() -> None:
    mean, x = torch.rand(2, 4, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = Gaussian(mean, torch.tensor(0.02, dtype=torch.float64).log())
    assert torch.allclose(p.log_prob(x), Normal(mean, 0.02**0.5).log_prob(x).flatten(1).sum(1))


def test_variance_0_02_weighs_the_squared_error_by_25() -> None:
    """-log p = 25 ||x_hat - x||^2 + a constant (method page, section 2)."""
    x, x_hat = torch.rand(2, 3, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_var = torch.tensor(0.02, dtype=torch.float64).log()
    extra = Gaussian(x, log_var).log_prob(x) - Gaussian(x_hat, log_var).log_prob(x)
    assert torch.allclose(extra, 25 * (x_hat - x).square().flatten(1).sum(1))


@pytest.mark.usefixtures("unchecked")
def test_records_are_pytrees() -> None:
    q = gaussian(0)
    doubled = pytree.tree_map(lambda tensor: 2 * tensor, q)
    assert isinstance(doubled, DiagonalGaussian)
    assert torch.equal(doubled.mean, 2 * q.mean)
    moved = torch.func.vmap(lambda one: pytree.tree_map(lambda tensor: tensor + 1, one))(q)
    assert torch.equal(moved.log_var, q.log_var + 1)
