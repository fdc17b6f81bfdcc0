"""An autoencoder around another one: a channel before it, a defence about it."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Self

from jaxtyping import Float
from torch import Tensor, nn

from doubleback.distributions import DiagonalGaussian
from doubleback.models.base import Autoencoder, Reconstruction, acquaint, attacked

_OWN = (
    "inner",
    "unclamped",
    "own",
    "surrogate",
    "lipschitz",
    "trajectory",
    "pixels",
)  # what the inner model has of these says nothing about the outer one


class Around(nn.Module, ABC):
    """An `Autoencoder` that holds another. What it does not have itself is that one's: its noise, its size.

    Attributes:
        inner: the autoencoder inside.
        straight: whether what has no gradient passes one through, for whoever attacks it.
    """

    def __init__(self, model: Autoencoder, *, straight: bool = False) -> None:
        super().__init__()
        self.straight = straight
        self.inner: Any = model
        self.training = bool(getattr(model, "training", False))

    @abstractmethod
    def encode(self, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."] | None = None) -> DiagonalGaussian:
        """q(z|x) as it is deployed."""

    @abstractmethod
    def forward(self, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."] | None = None) -> Reconstruction:
        """The reconstruction as it is deployed."""

    @abstractmethod
    def about(self, model: Autoencoder, *, straight: bool) -> Self:
        """The same about another model."""

    @cached_property
    def surrogate(self) -> Autoencoder:
        """What is attacked: the same about the model's own surrogate, with a gradient through all of it."""
        return self.about(attacked(self.inner), straight=True)

    def meet(self, images: Float[Tensor, "N ..."]) -> None:
        """As the model's own."""
        acquaint(self.inner, images)
        if not self.straight:
            acquaint(self.surrogate, images)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in _OWN:
                raise
            inner = self.__dict__.get("inner", self.__dict__.get("_modules", {}).get("inner"))
            return getattr(inner, name)
