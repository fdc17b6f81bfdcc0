"""What happens to an image between the attacker and the model: saved with few bits, compressed, resized.

    x -> T(x) -> model

A saved image has 8 bits, so an attack has to survive rounding (auto-attack, issue 44). Scores
go through the real channel (Pillow's JPEG). The attack sees the same values. Where the real channel has no gradient, it
gets that of the identity (Athalye, Carlini & Wagner 2018, section 4.1), or, of JPEG, one of the coefficients
(`models.rounding.followed`).
"""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from doubleback.distributions import DiagonalGaussian
from doubleback.errors import InputError
from doubleback.models.around import Around
from doubleback.models.base import Autoencoder, Reconstruction
from doubleback.models.rounding import Compressed, Levels, Rounding, followed
from doubleback.settings.threat import Step, survival


class Surviving(Around):
    """An autoencoder behind a channel: an `Autoencoder`, too.

    Args:
        model: the autoencoder.
        steps: what happens to an image, in order: "quantize:8", "jpeg:75", "resize:0.5", or `Step`s.
        straight: whether a step without a gradient passes it through.

    Raises:
        InputError: a step is none of these; or, of a call, JPEG is given something else than a grey or colour picture.
    """

    def __init__(self, model: Autoencoder, steps: Sequence[str | Step], *, straight: bool = False) -> None:
        super().__init__(model, straight=straight)
        self.steps = tuple(survival(step) if isinstance(step, str) else step for step in steps)

    def encode(self, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."] | None = None) -> DiagonalGaussian:
        """q(z|T(x))."""
        found: DiagonalGaussian = self.inner.encode(self.received(x), noise)
        return found

    def forward(self, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."] | None = None) -> Reconstruction:
        """The reconstruction of T(x)."""
        found: Reconstruction = self.inner(self.received(x), noise)
        return found

    @property
    def pixels(self) -> Any:
        """What makes a likelihood of a canvas; of DRAW, which paints step by step."""
        return self.inner.pixels

    @property
    def trajectory(self) -> Callable[..., Iterator[tuple[DiagonalGaussian, Tensor]]]:
        """As the model's own, of the received image."""
        steps = self.inner.trajectory
        return lambda x, noise=None: steps(self.received(x), noise)

    def received(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
        """T(x), in [0, 1]."""
        for step in self.steps:
            x = _STEPS[step.kind](x, step.value, self.straight)
        return x

    def about(self, model: Autoencoder, *, straight: bool) -> "Surviving":
        """The same channel before another model."""
        return Surviving(model, self.steps, straight=straight)


COARSE = 5  # bits: with more of them, small steps of an image reach the model


def rounding_of(model: Autoencoder) -> Rounding | None:
    """What is rounded before it reaches the model; None: nothing, or so finely that small steps reach it."""
    levels, qualities = [], []
    while isinstance(model, Around):
        for step in model.steps if isinstance(model, Surviving) else ():
            if step.kind == "quantize" and step.value <= COARSE:
                levels.append(2 ** int(step.value) - 1)
            elif step.kind == "jpeg":
                qualities.append(int(step.value))
        model = model.inner
    if levels:
        return Levels(min(levels))
    return Compressed(min(qualities)) if qualities else None


def behind_the_same(model: Autoencoder, other: Autoencoder) -> Autoencoder:
    """`other`, behind the channel that `model` is behind; where there is none, or it has one of its own, as it is."""
    if not isinstance(model, Surviving) or isinstance(other, Surviving):
        return other
    return Surviving(other, model.steps)


def _quantized(x: Tensor, bits: float, straight: bool) -> Tensor:
    levels = 2**bits - 1
    return _passed(x, (x.detach() * levels).round() / levels, straight)


def _resized(x: Tensor, factor: float, straight: bool) -> Tensor:
    """Smaller or larger, and back to the size that the model takes."""
    del straight  # it has a gradient of its own
    if x.dim() != 4:
        raise InputError("survive resize needs pictures, (N, C, H, W); leave it out for signals")
    sides = [max(1, round(side * factor)) for side in x.shape[-2:]]
    there = F.interpolate(x, size=sides, mode="bilinear", antialias=True)
    return F.interpolate(there, size=x.shape[-2:], mode="bilinear", antialias=True).clamp(0, 1)


def _compressed(x: Tensor, quality: float, straight: bool) -> Tensor:
    if x.dim() != 4 or x.shape[1] not in (1, 3):
        raise InputError("survive jpeg needs grey or colour pictures, (N, 1 or 3, H, W); leave it out")
    pixels = (x.detach().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    files = [_through_jpeg(picture, int(quality)) for picture in pixels]
    value = torch.from_numpy(np.stack(files)).permute(0, 3, 1, 2).to(x) / 255
    return followed(Compressed(int(quality)), x, value) if straight else value


def _through_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """(H, W, C) uint8, as it comes back from a file."""
    stream = io.BytesIO()
    Image.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream)).reshape(picture.shape)


def _passed(x: Tensor, value: Tensor, straight: bool) -> Tensor:
    """The value, with the gradient of x where it is followed."""
    return x + (value - x).detach() if straight else value


_STEPS = {"quantize": _quantized, "jpeg": _compressed, "resize": _resized}
