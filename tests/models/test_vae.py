"""The VAE: its shapes, its mean path, its protocol, and its precision under autocast."""

import pytest
import torch

from doubleback.distributions import Bernoulli, Gaussian
from doubleback.errors import InputError
from doubleback.models import VAE, Autoencoder


@pytest.mark.parametrize(("likelihood", "kind"), [("bernoulli", Bernoulli), ("gaussian", Gaussian)])
def test_follows_the_protocol(likelihood: str, kind: type) -> None:
    model = VAE((3, 5, 4), hidden=(7, 6), latent=2, likelihood=likelihood)
    assert isinstance(model, Autoencoder)
    r = model(torch.rand(6, 3, 5, 4), torch.randn(6, *model.noise_shape))
    assert isinstance(r.likelihood, kind)
    assert r.likelihood.mean.shape == (6, 3, 5, 4)
    assert r.likelihood.mean.min() >= 0
    assert r.likelihood.mean.max() <= 1
    assert r.posterior.mean.shape == r.posterior.log_var.shape == (6, 2)


def test_the_papers_sizes() -> None:
    """784-512-512-2x32 and back, softplus between."""
    model = VAE()
    shapes = [tuple(p.shape) for p in model.parameters() if p.ndim == 2]
    assert shapes == [(512, 784), (512, 512), (64, 512), (512, 32), (512, 512), (784, 512)]
    assert sum(isinstance(m, torch.nn.Softplus) for m in model.modules()) == 4


def test_the_mean_path_is_no_noise() -> None:
    model, x = VAE((1, 4, 4), hidden=(5,), latent=3), torch.rand(2, 1, 4, 4)
    assert torch.equal(model(x).likelihood.mean, model(x, torch.zeros(2, 3)).likelihood.mean)
    assert not torch.equal(model(x).likelihood.mean, model(x, torch.ones(2, 3)).likelihood.mean)
    assert torch.equal(model.encode(x).mean, model(x).posterior.mean)


def test_a_learned_variance_is_one_parameter_and_starts_where_it_is_told() -> None:
    model = VAE((1, 4, 4), hidden=(5,), latent=3, likelihood="gaussian-learned", variance=0.5)
    fixed = VAE((1, 4, 4), hidden=(5,), latent=3, likelihood="gaussian", variance=0.5)
    assert set(model.state_dict()) - set(fixed.state_dict()) == {"pixels.log_var"}
    r = model(torch.rand(2, 1, 4, 4))
    assert r.likelihood.log_var.exp().item() == pytest.approx(0.5)
    (-r.likelihood.log_prob(torch.rand(2, 1, 4, 4))).sum().backward()
    assert model.pixels.log_var.grad is not None


def test_a_plain_autoencoder_takes_no_noise_and_has_a_unit_posterior() -> None:
    model, x = VAE((1, 4, 4), hidden=(5,), latent=3, variational=False), torch.rand(2, 1, 4, 4)
    assert model.encoder[-1].out_features == 3
    assert torch.equal(model.encode(x).log_var, torch.zeros(2, 3))
    assert torch.equal(model(x, torch.randn(2, 3)).likelihood.mean, model(x).likelihood.mean)
    one, other = model.encode(x[:1]), model.encode(x[1:])
    assert torch.allclose(one.kl(other), 0.5 * (one.mean - other.mean).square().sum(1))


def test_sums_are_float32_under_autocast() -> None:
    model = VAE((1, 4, 4), hidden=(5,), latent=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        r = model(torch.rand(2, 1, 4, 4))
        assert r.posterior.mean.dtype == torch.float32
        assert r.likelihood.log_prob(torch.rand(2, 1, 4, 4)).dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"image_shape": (1, 0, 4)}, r"image shape of the VAE is \(1, 0, 4\)"),
        ({"hidden": (0,)}, "hidden of the VAE is"),
        ({"latent": 0}, "latent of the VAE is 0"),
        ({"likelihood": "poisson"}, "likelihood is 'poisson'"),
        ({"variance": 0.0}, "variance is 0.0"),
        ({"variance": float("nan")}, "variance is nan"),
    ],
)
def test_bad_settings(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        VAE(**settings)  # type: ignore[arg-type]
