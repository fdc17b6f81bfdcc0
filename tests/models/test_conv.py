"""The convolutional autoencoder: any size that fits, the paper's sizes among them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from doubleback.distributions import Bernoulli, Gaussian
from doubleback.errors import InputError
from doubleback.models import Autoencoder, ConvVAE


@settings(max_examples=30, deadline=None)
@given(channels=st.integers(1, 4), height=st.integers(6, 40), width=st.integers(6, 40))
def test_every_size_comes_back(channels: int, height: int, width: int) -> None:
    model = ConvVAE((channels, height, width), hidden=8, latent=2)
    assert isinstance(model, Autoencoder)
    x = torch.rand(2, channels, height, width)
    r = model(x, torch.randn(2, 2))
    assert r.likelihood.mean.shape == x.shape
    assert r.posterior.mean.shape == (2, 2)


@pytest.mark.parametrize(
    ("image_shape", "filters"),
    [((1, 28, 28), (32, 64, 128)), ((3, 32, 32), (32, 64, 128)), ((3, 64, 64), (32, 64, 128, 256))],
)
def test_the_papers_sizes(image_shape: tuple[int, int, int], filters: tuple[int, ...]) -> None:
    """4x4 convolutions of stride 2, ELU, a dense layer of 512, and the mirror of it all."""
    model = ConvVAE(image_shape)
    convolutions = [m for m in model.encoder if isinstance(m, nn.Conv2d)]
    mirrored = [m for m in model.decoder if isinstance(m, nn.ConvTranspose2d)]
    assert tuple(m.out_channels for m in convolutions) == filters
    assert tuple(m.in_channels for m in mirrored) == filters[::-1]
    assert all(m.kernel_size == (4, 4) and m.stride == (2, 2) for m in [*convolutions, *mirrored])
    assert [m.out_features for m in model.encoder if isinstance(m, nn.Linear)] == [512, 64]
    units = [m for m in model.modules() if isinstance(m, nn.ELU)]
    assert len(units) == 2 * len(filters) + 2


def test_filters_that_are_asked_for() -> None:
    model = ConvVAE((1, 12, 20), filters=(4, 6), hidden=5, latent=3)
    inner = next(m for m in model.encoder if isinstance(m, nn.Linear))
    assert inner.in_features == 6 * 3 * 5
    assert model(torch.rand(1, 1, 12, 20)).likelihood.mean.shape == (1, 1, 12, 20)


def test_a_plain_autoencoder_takes_no_noise_and_has_a_unit_posterior() -> None:
    model, x = ConvVAE((1, 8, 8), hidden=5, latent=3, variational=False), torch.rand(2, 1, 8, 8)
    assert torch.equal(model.encode(x).log_var, torch.zeros(2, 3))
    assert torch.equal(model(x, torch.randn(2, 3)).likelihood.mean, model(x).likelihood.mean)
    one, other = model.encode(x[:1]), model.encode(x[1:])
    assert torch.allclose(one.kl(other), 0.5 * (one.mean - other.mean).square().sum(1))


@pytest.mark.parametrize(("likelihood", "kind"), [("bernoulli", Bernoulli), ("gaussian-learned", Gaussian)])
def test_likelihoods(likelihood: str, kind: type) -> None:
    model = ConvVAE((1, 8, 8), hidden=5, latent=3, likelihood=likelihood)
    assert isinstance(model(torch.rand(2, 1, 8, 8)).likelihood, kind)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"image_shape": (1, 5, 28)}, "images of 5x28 are too small for 1 convolution, each .* at least 6x6"),
        ({"image_shape": (1, 7, 7), "filters": (8, 8, 8)}, "too small for 3 convolutions, each .* at least 8x8"),
        ({"hidden": 0}, "hidden of the ConvVAE is 0"),
        ({"filters": (8, 0)}, "filters of the ConvVAE is"),
        ({"latent": -1}, "latent of the ConvVAE is -1"),
        ({"likelihood": "poisson"}, "likelihood is 'poisson'"),
    ],
)
def test_bad_settings(given: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ConvVAE(**given)  # type: ignore[arg-type]
