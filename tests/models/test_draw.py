"""DRAW: its constant, its path along the noise, its colours, with and without attention."""

import math

import pytest
import torch
from torch import Tensor

from doubleback.distributions import Bernoulli, Gaussian
from doubleback.errors import InputError
from doubleback.models import DRAW, Autoencoder

WINDOWS = [{}, {"read_size": 3, "write_size": 3}, {"read_size": 3}, {"write_size": 5}]


def small(**settings: object) -> DRAW:
    torch.manual_seed(0)
    return DRAW((3, 6, 7), **{"steps": 4, "hidden": 9, "latent": 2, **settings})  # type: ignore[arg-type]


def inputs(model: DRAW, count: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, *model.image_shape, generator=generator)
    return x, torch.randn(count, *model.noise_shape, generator=generator)


@pytest.mark.parametrize(
    ("windows", "likelihood", "kind"),
    [
        *((windows, "bernoulli", Bernoulli) for windows in WINDOWS),
        ({}, "gaussian", Gaussian),
        ({"read_size": 3, "write_size": 3}, "gaussian-learned", Gaussian),
    ],
)
def test_follows_the_protocol(windows: dict[str, int], likelihood: str, kind: type) -> None:
    model = small(likelihood=likelihood, **windows)
    assert isinstance(model, Autoencoder)
    assert model.noise_shape == (4, 2)
    x, noise = inputs(model)
    for path in (None, noise):
        r = model(x, path)
        assert isinstance(r.likelihood, kind)
        assert r.likelihood.mean.shape == x.shape
        assert r.posterior.mean.shape == r.posterior.log_var.shape == (5, 8)
        assert torch.allclose(model.encode(x, path).mean, r.posterior.mean)


def test_the_constant_of_the_kl_is_there_for_each_step_and_dimension() -> None:
    """Every q_t = N(1, 4): 1/2 (1 + 4 - log 4 - 1) nats for each of T D = 8 dimensions."""
    model = small()
    with torch.no_grad():
        model.code.weight.zero_()
        model.code.bias.copy_(torch.tensor([1.0, 1.0, math.log(4), math.log(4)]))
    x, noise = inputs(model)
    expected = 8 * 0.5 * (1 + 4 - math.log(4) - 1)
    assert torch.allclose(model(x, noise).posterior.kl_to_standard(), torch.full((5,), expected))


def test_a_first_step_by_hand() -> None:
    """T = 1 without attention: the encoder sees [x, x - sigmoid(c_0), 0], and x_hat = sigmoid(c_0 + W h_dec)."""
    model = small(steps=1)
    with torch.no_grad():
        model.canvas.copy_(torch.randn(model.canvas.shape))
    x, noise = inputs(model)
    zero = torch.zeros(5, 9)
    error = x - model.canvas.sigmoid()
    h_enc, _ = model.encoder(torch.cat([x.flatten(1), error.flatten(1), zero], 1), (zero, zero))
    mean, log_var = model.code(h_enc).chunk(2, dim=1)
    h_dec, _ = model.decoder(mean + (0.5 * log_var).exp() * noise[:, 0], (zero, zero))
    r = model(x, noise)
    assert torch.allclose(r.posterior.mean, mean)
    assert torch.allclose(r.likelihood.mean, (model.canvas + model.write(h_dec)).sigmoid())


def test_each_step_has_a_draw_of_its_own() -> None:
    """The draw of step t moves what comes after t, and nothing before; each of them reaches the image."""
    model = small()
    x, noise = inputs(model)
    means = model.encode(x, noise).mean.view(5, 4, 2)
    images = model(x, noise).likelihood.mean
    for t in range(4):
        other = noise.clone()
        other[:, t] += 1
        moved = (model.encode(x, other).mean.view(5, 4, 2) - means).abs().amax((0, 2))
        assert (moved[: t + 1] == 0).all()
        assert (moved[t + 1 :] > 0).all()
        assert not torch.allclose(model(x, other).likelihood.mean, images)


def test_the_mean_path_is_no_noise() -> None:
    model = small(read_size=3, write_size=3)
    x, noise = inputs(model)
    assert torch.allclose(model(x).likelihood.mean, model(x, torch.zeros_like(noise)).likelihood.mean)


def test_the_canvas_is_learned() -> None:
    model = small()
    x, noise = inputs(model)
    (-model(x, noise).likelihood.log_prob(x)).sum().backward()
    assert model.canvas.grad is not None
    assert model.canvas.grad.abs().max() > 0


def test_channels_share_the_window() -> None:
    """What is read of an image does not depend on which channel holds it: permuting channels permutes the samples."""
    model = small(read_size=3)
    x, _ = inputs(model)
    h_dec = torch.randn(5, 9)
    read = model.read(x, 2 * x, h_dec).view(5, 6, 3, 3)
    turned = model.read(x[:, [1, 2, 0]], 2 * x, h_dec).view(5, 6, 3, 3)
    assert torch.allclose(turned, read[:, [1, 2, 0, 3, 4, 5]])


def test_sums_are_float32_under_autocast() -> None:
    model = small(read_size=3, write_size=3)
    x, noise = inputs(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        r = model(x, noise)
    assert r.posterior.mean.dtype == r.likelihood.mean.dtype == torch.float32


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"steps": 0}, "steps of the DRAW is 0"),
        ({"hidden": 0}, "hidden of the DRAW is 0"),
        ({"read_size": 7}, "read size is 7, but the images are 6x7; give at most 6"),
        ({"write_size": 40}, "write size is 40"),
        ({"write_size": 0}, "write_?\\s?size of the DRAW is 0"),
        ({"variance": -1.0}, "variance is -1.0"),
    ],
)
def test_bad_settings(given: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        small(**given)
