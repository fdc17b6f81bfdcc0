"""A channel before a model: the real thing is scored, its straight-through twin is followed."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from doubleback.errors import InputError
from doubleback.models import VAE, Surviving
from doubleback.models.base import attacked
from doubleback.settings.threat import Threat, survival

X = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def vae() -> VAE:
    torch.manual_seed(0)
    return VAE((3, 16, 16), hidden=(16,), latent=4).eval()


def test_quantize_leaves_so_many_levels(vae: VAE) -> None:
    received = Surviving(vae, ["quantize:2"]).received(X)
    assert torch.allclose(received, (X * 3).round() / 3)
    eight = (X * 255).round() / 255
    assert torch.allclose(Surviving(vae, ["quantize:8"]).received(eight), eight, atol=1e-7)


def test_jpeg_is_pillows(vae: VAE) -> None:
    received = Surviving(vae, ["jpeg:40"]).received(X)
    for own, image in zip(received, X, strict=True):
        stream = io.BytesIO()
        pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(stream, "JPEG", quality=40)
        assert np.array_equal((own * 255).round().byte().permute(1, 2, 0).numpy(), np.asarray(Image.open(stream)))
    grey = Surviving(vae, ["jpeg:90"]).received(X[:, :1])
    assert grey.shape == (3, 1, 16, 16)


def test_resize_keeps_the_size(vae: VAE) -> None:
    received = Surviving(vae, ["resize:0.5"]).received(X)
    assert received.shape == X.shape
    assert received.var() < X.var()
    flat = torch.full_like(X, 0.3)
    assert torch.allclose(Surviving(vae, ["resize:0.5"]).received(flat), flat, atol=1e-6)


def test_what_is_followed_has_the_same_values_and_a_gradient(vae: VAE) -> None:
    model = Surviving(vae, ["quantize:4", "jpeg:60", "resize:0.5"])
    x = X.clone().requires_grad_()
    followed = attacked(model)
    assert torch.allclose(followed(x).likelihood.mean, model(X).likelihood.mean, atol=1e-6)
    (g,) = torch.autograd.grad(followed(x).likelihood.mean.sum(), x)
    assert (g != 0).any()
    assert not Surviving(vae, ["quantize:4"]).received(X).requires_grad
    assert model.noise_shape == vae.noise_shape
    assert model.image_shape == vae.image_shape


@pytest.mark.parametrize(
    "step", ["jpg:75", "jpeg", "jpeg:0", "jpeg:75.5", "quantize:0", "resize:-1", "resize:nan", ":8"]
)
def test_nonsense_is_refused_in_one_line(step: str) -> None:
    with pytest.raises(InputError, match="survive is") as caught:
        survival(step)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        Threat(survive=(step,))


def test_jpeg_needs_a_picture() -> None:
    torch.manual_seed(0)
    with pytest.raises(InputError, match="needs grey or colour pictures"):
        Surviving(VAE((2, 8, 8)), ["jpeg:75"]).received(torch.rand(1, 2, 8, 8))
