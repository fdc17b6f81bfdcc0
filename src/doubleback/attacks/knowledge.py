"""What an attacker knows of the model: its gradient, its answers alone, or another model in its place."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from doubleback.models.base import Autoencoder, attacked
from doubleback.models.channel import behind_the_same
from doubleback.settings.checks import at_least


class Knowledge(Protocol):
    """What is known.

    Attributes:
        queries: how often a row may be asked for its answer alone; 0: the gradient is known.
        follows: whether it is the model's own gradient that is followed: if not, others may well do better.
        about: in a few words, for the results; empty where nothing needs saying.
    """

    @property
    def queries(self) -> int: ...

    @property
    def follows(self) -> bool: ...

    @property
    def about(self) -> str: ...

    def followed(self, model: Autoencoder) -> Autoencoder:
        """The model whose loss is lowered; what is scored is always the attacked one."""


@dataclass(frozen=True)
class Gradient:
    """Everything: the white box. The model's own surrogate is followed, where it has one (rounding)."""

    queries: ClassVar[int] = 0
    follows: ClassVar[bool] = True
    about: ClassVar[str] = ""

    def followed(self, model: Autoencoder) -> Autoencoder:
        """The model, with a gradient where it rounds."""
        return attacked(model)


@dataclass(frozen=True)
class Scores:
    """The answers alone, for so many queries of each image and eps: Square's random search (`squares`).

    Raises:
        InputError: fewer than one query.
    """

    queries: int = 1000
    follows: ClassVar[bool] = False
    about: ClassVar[str] = "by its answers alone"

    def __post_init__(self) -> None:
        at_least(1, queries=self.queries)

    def followed(self, model: Autoencoder) -> Autoencoder:
        """The model as it is deployed."""
        return model


@dataclass(frozen=True)
class Surrogate:
    """Another model, that takes the same images: examples are made on it, and transfer or not.

    Where the attacked model is behind a channel, the other is followed behind the same one.

    Attributes:
        model: the other one.
        name: what results call it.
    """

    model: Autoencoder
    name: str = "another model"
    queries: ClassVar[int] = 0
    follows: ClassVar[bool] = False

    @property
    def about(self) -> str:
        """Where its examples come from."""
        return f"made on {self.name}"

    def followed(self, model: Autoencoder) -> Autoencoder:
        """The other model."""
        return attacked(behind_the_same(model, self.model))
