"""What an attacker of an autoencoder is after: a loss that falls as the attack succeeds, for each pair of images.

    latent      KL(q(z|x) || q(z|x_t)), or another distance of the codes     the target's code
    output      ||x_hat(x) - x_t||^2                                         the target's reconstruction
    untargeted  -||x_hat(x) - x_hat(x0)||^2                                  the reconstruction, anywhere

Sources: the paper, section 2.2; Gondim-Ribeiro, Tabacof & Valle 2018 (arXiv 1806.04646). A goal of your own is a class
with `name`, `targeted` and `loss`; nothing else has to know of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from doubleback.distributions import DiagonalGaussian
from doubleback.errors import InputError
from doubleback.imports import is_named, named_object
from doubleback.models.base import Autoencoder, decodes, encodes
from doubleback.tensors import squared_distance

RowLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(iterates (n, C, H, W), pair of each (n,), noise (n, ...) or None) -> (n,), lower = nearer the goal."""


@runtime_checkable
class Goal(Protocol):
    """What is to be reached.

    Attributes:
        name: what results call it.
        targeted: whether it is reached at the target; if not, any change of the reconstruction counts.
    """

    @property
    def name(self) -> str: ...

    @property
    def targeted(self) -> bool: ...

    def loss(self, model: Autoencoder, source: Tensor, target: Tensor) -> RowLoss:
        """The loss for P pairs, images (P, C, H, W) in [0, 1]; what is fixed is computed here, once."""


CODE_DISTANCES: dict[str, Callable[[DiagonalGaussian, DiagonalGaussian], Tensor]] = {
    "kl": DiagonalGaussian.kl,
    "l2": lambda q, aim: squared_distance(q.mean, aim.mean),
}
"""By name, the distance of q(z|x) from q(z|x_t), for each row."""


@dataclass(frozen=True)
class Latent:
    """The target's code: only the encoder runs.

    Args:
        distance: one of `CODE_DISTANCES`: "kl", KL(q(z|x) || q(z|x_t)), or "l2", the squared distance of the means.

    Raises:
        InputError: the distance is unknown.
    """

    distance: str = "kl"
    name: ClassVar[str] = "latent"
    targeted: ClassVar[bool] = True
    about: ClassVar[str] = "moves the code to the target's"

    def __post_init__(self) -> None:
        if self.distance not in CODE_DISTANCES:
            raise InputError(f"distance is {self.distance!r}; choose one of {', '.join(CODE_DISTANCES)}")

    def loss(self, model: Autoencoder, source: Tensor, target: Tensor) -> RowLoss:
        """d(q(z|x), q(z|x_t))."""
        del source
        distance = CODE_DISTANCES[self.distance]
        with torch.no_grad():
            mean_path = model.encode(target)

        def of(x: Tensor, pair: Tensor, noise: Tensor | None) -> Tensor:
            q = model.encode(x, noise)
            aim = mean_path.at(pair) if noise is None else model.encode(target.index_select(0, pair), noise)
            return distance(q, aim)

        return of


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
    """Any other reconstruction, as far away as can be. Results call it `untargeted`."""

    targeted: ClassVar[bool] = False
    name: ClassVar[str] = "untargeted"
    about: ClassVar[str] = "moves the reconstruction away, anywhere"

    def loss(self, model: Autoencoder, source: Tensor, target: Tensor) -> RowLoss:
        """-||x_hat(x) - x_hat(x0)||^2."""
        del target
        with torch.no_grad():
            mean_path = model(source).likelihood.mean

        def of(x: Tensor, pair: Tensor, noise: Tensor | None) -> Tensor:
            with torch.no_grad():
                before = mean_path.index_select(0, pair)
                if noise is not None:
                    before = model(source.index_select(0, pair), noise).likelihood.mean
            return -squared_distance(model(x, noise).likelihood.mean, before)

        return of


GOALS: dict[str, Goal] = {goal.name: goal for goal in (Latent(), Output(), Damage())}


def goals_for(model: Autoencoder) -> list[Goal]:
    """The goals that are attacked where none are named: the code and the output, as far as the model has them."""
    return [*[Latent()] * encodes(model), *[Output()] * decodes(model)]


def goal_of(given: "str | Goal | type[Any]") -> Goal:
    """The goal that is meant.

    Args:
        given: a goal, its class, the name of one of `GOALS`, or `file.py:name` or `module:name` of one of your own.

    Raises:
        InputError: it is none of these, or a class that needs arguments.
    """
    if isinstance(given, str):
        if not is_named(given) and given not in GOALS:
            raise InputError(f"attack {given} is unknown; choose from {', '.join(GOALS)}, or give file.py:name")
        given = named_object(given) if is_named(given) else GOALS[given]
    try:
        goal = given() if isinstance(given, type) else given
    except TypeError as error:
        raise InputError(f"{given!r} cannot be made without arguments ({error}); give a goal that is made") from error
    if not isinstance(goal, Goal):
        raise InputError(f"{given!r} is no goal; it needs `name`, `targeted` and `loss(model, source, target)`")
    return goal
