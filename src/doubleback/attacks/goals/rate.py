"""A codec's rate: the attacked image takes more bits, and may or may not look the same.

    -rate(x)                                          the reconstruction is free
    -rate(x) + hold * mse(x_hat(x), x_hat(x0)) / 1e-4    ... held: a change of 40 dB costs `hold` bits per pixel

Source: Tang, Chen, Xu & Song 2021, "Denial-of-service attack against learned image compression".
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from doubleback.attacks.goals.base import RowLoss
from doubleback.attacks.goals.output import made_before
from doubleback.errors import InputError
from doubleback.models.base import Autoencoder
from doubleback.settings.checks import not_negative
from doubleback.tensors import squared_distance

FORTY_DB = 1e-4  # mean squared change


@dataclass(frozen=True)
class Rate:
    """More bits per pixel.

    Args:
        hold: bits per pixel that a change of the reconstruction by 40 dB costs; 0: the reconstruction is free.

    Raises:
        InputError: `hold` is negative; or, of `loss`, the model has no rate.
    """

    hold: float = 0.0
    name: ClassVar[str] = "rate"
    targeted: ClassVar[bool] = False
    about: ClassVar[str] = "makes the code longer"

    def __post_init__(self) -> None:
        not_negative(hold=self.hold)

    def loss(self, model: Autoencoder, source: Tensor, target: Tensor) -> RowLoss:
        """-rate, and what the change of the reconstruction costs."""
        del target
        with torch.no_grad():
            if model(source[:1]).rate is None:
                raise InputError("this model has no rate: only a codec has bits per pixel; choose another goal")
        before = made_before(model, source) if self.hold else None

        def of(x: Tensor, pair: Tensor, noise: Tensor | None) -> Tensor:
            made = model(x, noise)
            assert made.rate is not None
            if before is None:
                return -made.rate
            change = squared_distance(made.likelihood.mean, before(pair, noise)) / x[0].numel()
            return self.hold / FORTY_DB * change - made.rate

        return of
