"""The checks of an audit: each fires on the case planted for it, none on a plain autoencoder."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from doubleback.auditing import audit
from doubleback.data import ImageData
from doubleback.distributions import DiagonalGaussian
from doubleback.models import VAE, Reconstruction
from doubleback.training import fit


class Tampered(nn.Module):
    """An autoencoder whose input is changed before it sees it."""

    def __init__(self, model: VAE, before: Any) -> None:
        super().__init__()
        self.model, self.before = model, before
        self.noise_shape = model.noise_shape

    def encode(self, x: Tensor, noise: Tensor | None = None) -> DiagonalGaussian:
        return self.model.encode(self.before(x), noise)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Reconstruction:
        return self.model(self.before(x), noise)


@pytest.fixture(scope="module")
def vae(tiny: ImageData) -> VAE:
    torch.manual_seed(0)
    model = VAE(tiny.image_shape, hidden=(64,), latent=8)
    fit(model, tiny, epochs=60, batch_size=32, progress=False)
    return model.eval()


def flags(model: Any, images: ImageData, **settings: Any) -> set[str]:
    small = {"pairs": 4, "coefficients": 12, "steps": 60, "progress": False}
    found = audit(model, images, **{**small, **settings}).results()
    assert len(found["checks"]) == 6
    return set(found["flags"])


def test_nothing_fires_on_a_plain_vae(vae: VAE, tiny: ImageData) -> None:
    assert flags(vae, tiny) == set()


def test_a_rounded_encoder_has_no_gradient(vae: VAE, tiny: ImageData) -> None:
    assert "vanishing_gradients" in flags(Tampered(vae, lambda x: (3 * x).round() / 3), tiny)


def test_a_model_that_draws_noise_in_secret(vae: VAE, tiny: ImageData) -> None:
    noisy = Tampered(vae, lambda x: (x + 0.3 * torch.randn_like(x)).clamp(0, 1))
    assert "single_noise" in flags(noisy, tiny)


def test_a_target_that_is_never_met(vae: VAE, tiny: ImageData) -> None:
    """Of a model that answers otherwise each time, what was found for one answer is far from the next."""
    noisy = Tampered(vae, lambda x: (x + 0.8 * torch.randn_like(x)).clamp(0, 1))
    assert "unbounded_attack_fails" in flags(noisy, tiny, attacks=("output",), pairs=20)  # about half of them each time


def test_an_attack_of_too_few_steps(vae: VAE, tiny: ImageData) -> None:
    assert "more_steps_help" in flags(vae, tiny, steps=1)


def test_noise_that_beats_the_gradient(vae: VAE, tiny: ImageData) -> None:
    """A gate that only rough images pass, and no gradient knows of: behind it every image is the same."""

    class Gated(Tampered):
        def forward(self, x: Tensor, noise: Tensor | None = None) -> Reconstruction:
            rough = x.diff(dim=3).square().mean((1, 2, 3), keepdim=True) > 0.06
            return self.model(torch.where(rough, tiny.test.images.float().mean(0) / 255, x), noise)

    assert "noise_beats_gradient" in flags(Gated(vae, lambda x: x), tiny, attacks=("output",))


def test_an_attack_that_blending_beats(vae: VAE, tiny: ImageData) -> None:
    """An encoder that scrambles its code's distances: the latent attack goes astray, the blend does not."""

    class Astray(Tampered):
        def encode(self, x: Tensor, noise: Tensor | None = None) -> DiagonalGaussian:
            code = self.model.encode(x, noise)
            return DiagonalGaussian(x.flatten(1)[:, :8] * 100, torch.zeros_like(code.mean))

    assert "black_box_beats_white_box" in flags(Astray(vae, lambda x: x), tiny, attacks=("latent",))
