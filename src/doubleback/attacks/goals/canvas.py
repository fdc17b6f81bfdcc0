"""What DRAW has painted after each of its steps: the goal between the code and the output.

    sum_t ||x_hat_t(x) - x_hat_t(x_t)||^2,      x_hat_t: the canvas c_t as an image

DRAW's code says at each step what the canvas still lacks, so an input can match the target's code without painting the
target. Whoever matches the canvases must paint it. docs/choices.md measures the goals that were tried.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from doubleback.attacks.goals.base import RowLoss
from doubleback.errors import InputError
from doubleback.models.base import Autoencoder
from doubleback.tensors import squared_distance


@runtime_checkable
class Painting(Protocol):
    """An autoencoder that paints step by step, as `DRAW`.

    Attributes:
        pixels: makes a likelihood of a canvas.
    """

    pixels: Any

    def trajectory(self, x: Tensor, noise: Tensor | None = None) -> Iterator[tuple[Any, Tensor]]:
        """For each step its posterior and its canvas (B, C, H, W)."""


@dataclass(frozen=True)
class Canvas:
    """The target's canvases, after every step.

    Raises:
        InputError: of `loss`: the model paints no canvas.
    """

    name: ClassVar[str] = "canvas"
    targeted: ClassVar[bool] = True
    about: ClassVar[str] = "moves all that DRAW paints on its way to what it paints for the target"

    def loss(self, model: Autoencoder, source: Tensor, target: Tensor) -> RowLoss:
        """sum_t ||x_hat_t(x) - x_hat_t(x_t)||^2."""
        del source
        if not isinstance(model, Painting):
            raise InputError("this model paints no canvas: only draw does, without smooth or hmc; attack output")

        def painted(x: Tensor, noise: Tensor | None) -> Tensor:
            return torch.stack([model.pixels(canvas).mean for _, canvas in model.trajectory(x, noise)], dim=1)

        with torch.no_grad():
            aims = painted(target, None)

        def of(x: Tensor, pair: Tensor, noise: Tensor | None) -> Tensor:
            aim = aims.index_select(0, pair) if noise is None else painted(target.index_select(0, pair), noise)
            return squared_distance(painted(x, noise), aim)

        return of
