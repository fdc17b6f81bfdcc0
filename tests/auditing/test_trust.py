"""The checks of an audit: each fires on the case planted for it, none on a plain autoencoder."""

from typing import Any

import torch
from torch import Tensor, nn

from doubleback.attacks import Attack, Damage, Goal, Latent, Output
from doubleback.auditing import audit
from doubleback.data import ImageData
from doubleback.distributions import DiagonalGaussian, Gaussian
from doubleback.models import VAE, Reconstruction
from doubleback.settings import Price, Search

BRIEF = {"coefficients": (0.0,), "steps": 1}  # for checks that ask the model, not what the attacks have reached


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


def flags(model: Any, images: ImageData, **settings: Any) -> set[str]:
    small = {"pairs": 4, "coefficients": 12, "steps": 60, "progress": False}
    found = audit(model, images, **{**small, **settings}).results()
    assert len(found["checks"]) == 6
    return set(found["flags"])


def test_nothing_fires_on_a_plain_vae(vae: VAE, tiny: ImageData) -> None:
    assert flags(vae, tiny) == set()


def test_a_rounded_encoder_has_no_gradient(vae: VAE, tiny: ImageData) -> None:
    assert "vanishing_gradients" in flags(Tampered(vae, lambda x: (3 * x).round() / 3), tiny, **BRIEF)


def test_a_model_that_draws_noise_in_secret(vae: VAE, tiny: ImageData) -> None:
    noisy = Tampered(vae, lambda x: (x + 0.3 * torch.randn_like(x)).clamp(0, 1))
    assert "single_noise" in flags(noisy, tiny, **BRIEF)


def test_a_target_that_is_never_met(vae: VAE, tiny: ImageData) -> None:
    """Of a model that answers otherwise each time, what was found for one answer is far from the next."""
    noisy = Tampered(vae, lambda x: (x + 0.8 * torch.randn_like(x)).clamp(0, 1))
    assert "unbounded_attack_fails" in flags(
        noisy, tiny, attacks=("output",), pairs=20, coefficients=(0.0,)
    )  # about half of them each time


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


class Deaf(nn.Module):
    """The mean is a rounded image, without a gradient; log_var has one. x_hat is rounded with a gradient of one."""

    noise_shape = (64,)

    def encode(self, x: Tensor, noise: Tensor | None = None) -> DiagonalGaussian:
        flat = x.flatten(1)
        return DiagonalGaussian(flat.round(), flat)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Reconstruction:
        x_hat = x.round().detach() + (x - x.detach())
        return Reconstruction(self.encode(x), Gaussian(x_hat, x.new_zeros(())))


def gradients_vanish(images: ImageData, *goals: Goal) -> bool:
    attacks = [Attack(goal, Price((0.0,)), Search(steps=1), name=str(place)) for place, goal in enumerate(goals)]
    found = audit(Deaf(), images, attacks=attacks, pairs=4, progress=False).results()
    assert found["pairs"]["used"] == 4
    return "vanishing_gradients" in found["flags"]


def test_each_goal_is_checked_by_the_loss_that_it_follows(tiny: ImageData) -> None:
    """The KL moves with log_var where the distance of the means stands still; near a source so does its damage.

    The loss of the output does not: its aim is the target. Every attack is judged by itself.
    """
    assert gradients_vanish(tiny, Latent("l2"))
    assert not gradients_vanish(tiny, Latent("kl"))
    assert gradients_vanish(tiny, Damage())
    assert not gradients_vanish(tiny, Output())
    assert gradients_vanish(tiny, Damage(), Latent("l2"))
    assert gradients_vanish(tiny, Damage(), Latent("kl"))
