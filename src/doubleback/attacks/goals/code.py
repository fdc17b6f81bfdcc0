"""Goals on the code: only the encoder runs.

    Latent   d(q(z|x), q(z|x_t))        the target's code (the paper, section 2.2; Gondim-Ribeiro et al. 2018)
    Drift    -d(q(z|x), q(z|x0))        away from the source's code, anywhere

d is one of `CODE_DISTANCES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from doubleback.attacks.goals.base import RowLoss
from doubleback.distributions import DiagonalGaussian
from doubleback.errors import InputError
from doubleback.models.base import Autoencoder
from doubleback.tensors import squared_distance

CodeDistance = Callable[[DiagonalGaussian, DiagonalGaussian], Tensor]


def kl_symmetric(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    """(KL(q || p) + KL(p || q)) / 2, (B,), nats."""
    return (q.kl(p) + p.kl(q)) / 2


def wasserstein(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    """The squared 2-Wasserstein distance of diagonal Gaussians, (B,): ||m_q - m_p||^2 + ||s_q - s_p||^2."""
    spreads = squared_distance((q.log_var / 2).exp(), (p.log_var / 2).exp())
    return squared_distance(q.mean, p.mean) + spreads


def cosine(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    """1 - cos of the angle of the means, (B,), in [0, 2]."""
    return 1 - F.cosine_similarity(q.mean.flatten(1), p.mean.flatten(1))


CODE_DISTANCES: dict[str, CodeDistance] = {
    "kl": DiagonalGaussian.kl,
    "kl-reverse": lambda q, aim: aim.kl(q),
    "kl-symmetric": kl_symmetric,
    "l2": lambda q, aim: squared_distance(q.mean, aim.mean),
    "wasserstein": wasserstein,
    "cosine": cosine,
}
"""By name, the distance of q(z|x) from the code that is aimed at, for each row: "kl", KL(q(z|x) || q(z|aim));
"kl-reverse", the other way round; "kl-symmetric", their mean; "l2", the squared distance of the means; "wasserstein",
the squared 2-Wasserstein distance; "cosine", 1 - cos of the angle of the means."""


@dataclass(frozen=True)
class _OnTheCode:
    """A goal that a distance of codes measures."""

    distance: str = "kl"
    word: ClassVar[str]

    def __post_init__(self) -> None:
        if self.distance not in CODE_DISTANCES:
            raise InputError(f"distance is {self.distance!r}; choose one of {', '.join(CODE_DISTANCES)}")

    @property
    def name(self) -> str:
        """What results call it: with its distance, where that is not the usual one."""
        return self.word if self.distance == "kl" else f"{self.word}-{self.distance}"

    def _from(self, model: Autoencoder, aims: Tensor) -> RowLoss:
        """The distance from the codes of these images."""
        distance = CODE_DISTANCES[self.distance]
        with torch.no_grad():
            mean_path = model.encode(aims)

        def of(x: Tensor, pair: Tensor, noise: Tensor | None) -> Tensor:
            q = model.encode(x, noise)
            aim = mean_path.at(pair) if noise is None else model.encode(aims.index_select(0, pair), noise)
            return distance(q, aim)

        return of


@dataclass(frozen=True)
class Latent(_OnTheCode):
    """The target's code. `distance` as in `CODE_DISTANCES`: of q(z|x) from q(z|x_t).

    Raises:
        InputError: the distance is unknown.
    """

    word: ClassVar[str] = "latent"
    targeted: ClassVar[bool] = True
    about: ClassVar[str] = "moves the code to the target's"

    def loss(self, model: Autoencoder, source: Tensor, target: Tensor) -> RowLoss:
        """d(q(z|x), q(z|x_t))."""
        del source
        return self._from(model, target)


@dataclass(frozen=True)
class Drift(_OnTheCode):
    """Any other code, as far away as possible. `distance` as in `CODE_DISTANCES`: of q(z|x) from q(z|x0).

    Raises:
        InputError: the distance is unknown.
    """

    word: ClassVar[str] = "drift"
    targeted: ClassVar[bool] = False
    about: ClassVar[str] = "moves the code away, anywhere"

    def loss(self, model: Autoencoder, source: Tensor, target: Tensor) -> RowLoss:
        """-d(q(z|x), q(z|x0))."""
        del target
        distance = self._from(model, source)
        return lambda x, pair, noise: -distance(x, pair, noise)
