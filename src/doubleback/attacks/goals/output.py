"""Goals on the reconstruction.

Output   ||x_hat(x) - x_t||^2              the target (the paper, section 2.2)
Damage   -||x_hat(x) - x_hat(x0)||^2       anything else: maximum damage (Kuzina, Welling & Tomczak 2022, "Alleviating
                                           adversarial attacks on variational autoencoders with MCMC", section 3)
Own      f(out, x)                         whatever a function of yours says
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from doubleback.attacks.goals.base import RowLoss
from doubleback.errors import InputError
from doubleback.models.base import Autoencoder, decodes
from doubleback.tensors import squared_distance


@dataclass(frozen=True)
class Output:
    """The target, as the reconstruction."""

    name: ClassVar[str] = "output"
    targeted: ClassVar[bool] = True
    about: ClassVar[str] = "moves the reconstruction to the target"

    def loss(self, model: Autoencoder, source: Tensor, target: Tensor) -> RowLoss:
        """||x_hat(x) - x_t||^2."""
        del source
        return lambda x, pair, noise: squared_distance(model(x, noise).likelihood.mean, target.index_select(0, pair))


@dataclass(frozen=True)
class Damage:
    """Any other reconstruction, as far away as possible; for an encoder alone, any code. Results: `untargeted`."""

    targeted: ClassVar[bool] = False
    name: ClassVar[str] = "untargeted"
    about: ClassVar[str] = "moves the reconstruction away, anywhere"

    def loss(self, model: Autoencoder, source: Tensor, target: Tensor) -> RowLoss:
        """-||x_hat(x) - x_hat(x0)||^2."""
        del target
        before = made_before(model, source)
        return lambda x, pair, noise: -squared_distance(made_of(model, x, noise), before(pair, noise))


@dataclass(frozen=True)
class Own:
    """A function of your own.

    Args:
        function: (out, x) -> (n,), of the model's `Reconstruction` of n images and these images; it falls as the attack
            succeeds.
        name: what results call it; by default the function's name.
    """

    function: Callable[[Any, Tensor], Tensor]
    name: str = ""
    targeted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or getattr(self.function, "__name__", "own"))

    @property
    def about(self) -> str:
        """The first line of the function's docstring."""
        return (getattr(self.function, "__doc__", None) or "").strip().partition("\n")[0]

    def loss(self, model: Autoencoder, source: Tensor, target: Tensor) -> RowLoss:
        """f(out, x). Raises: InputError, it does not give one number a row."""
        del source, target

        def of(x: Tensor, pair: Tensor, noise: Tensor | None) -> Tensor:
            del pair
            value: Any = self.function(model(x, noise), x)
            if not isinstance(value, Tensor) or value.shape != (len(x),):
                have = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise InputError(f"goal {self.name} gives {have} for {len(x)} images; give one number each, (N,)")
            return value

        return of


def made_of(model: Autoencoder, x: Tensor, noise: Tensor | None) -> Tensor:
    """What a model makes of images: their reconstruction, or, of an encoder alone, their code."""
    return model(x, noise).likelihood.mean if decodes(model) else model.encode(x, noise).mean


def made_before(model: Autoencoder, source: Tensor) -> Callable[[Tensor, Tensor | None], Tensor]:
    """What a model makes of the sources: of these pairs, with this noise; without any it is computed once."""
    with torch.no_grad():
        mean_path = made_of(model, source, None)

    @torch.no_grad()
    def before(pair: Tensor, noise: Tensor | None) -> Tensor:
        if noise is None:
            return mean_path.index_select(0, pair)
        return made_of(model, source.index_select(0, pair), noise)

    return before
