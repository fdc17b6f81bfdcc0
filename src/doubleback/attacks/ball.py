"""What an attack on a classifier may not leave: the ball ||x - x0||_p <= eps about each image, cut with the box.

The step that lowers an objective of gradient g soonest, and the way back into the ball:

    Linf   d = -sign(g)        P(x) = min(max(x, x0 - eps, low), x0 + eps, high)
    L2     d = -g / ||g||      P(x) = clip(x0 + (x - x0) min(1, eps / ||x - x0||)): clipping to a box that holds x0
                               only brings x nearer to it
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from doubleback.errors import InputError
from doubleback.settings.ball import Norm
from doubleback.tensors import column, norm, tiny

LOW, HIGH = 0.0, 1.0  # the box: images in [0, 1]


@runtime_checkable
class Ball(Protocol):
    """The ball of each row of a batch."""

    @property
    def eps(self) -> Float[Tensor, "N"]:
        """(N,), the radius of each, in units of a pixel (Linf) or of the images' 2-norm (L2)."""

    def at(self, rows: Tensor) -> "Ball":
        """The balls of these rows."""

    def project(self, x: Float[Tensor, "N ..."]) -> Float[Tensor, "N ..."]:
        """The point of each ball that takes the place of x."""

    def descent(self, g: Float[Tensor, "N ..."]) -> Float[Tensor, "N ..."]:
        """The direction of norm 1 in which a function with gradient g falls soonest."""

    def random(self, generator: torch.Generator) -> Float[Tensor, "N ..."]:
        """A point of each ball, uniform before the box cuts it."""


@dataclass(frozen=True)
class LinfBall:
    """{x: |x - centre| <= eps in every element}, in the box."""

    centre: Float[Tensor, "N ..."]
    eps: Float[Tensor, "N"]
    lower: Float[Tensor, "N ..."]
    upper: Float[Tensor, "N ..."]

    @staticmethod
    def about(centre: Tensor, eps: Tensor) -> "LinfBall":
        """The ball of radius eps (N,) about each centre."""
        radius = column(eps, centre)
        return LinfBall(centre, eps, (centre - radius).clamp_min(LOW), (centre + radius).clamp_max(HIGH))

    def at(self, rows: Tensor) -> "LinfBall":
        return LinfBall(self.centre[rows], self.eps[rows], self.lower[rows], self.upper[rows])

    def project(self, x: Tensor) -> Tensor:
        return x.clamp(self.lower, self.upper)

    def descent(self, g: Tensor) -> Tensor:
        return g.sign().neg_()

    def random(self, generator: torch.Generator) -> Tensor:
        uniform = torch.rand(self.centre.shape, generator=generator).to(self.centre)
        return self.project(self.centre + column(self.eps, uniform) * (2 * uniform - 1))


@dataclass(frozen=True)
class L2Ball:
    """{x: ||x - centre||_2 <= eps}, in the box."""

    centre: Float[Tensor, "N ..."]
    eps: Float[Tensor, "N"]

    def at(self, rows: Tensor) -> "L2Ball":
        return L2Ball(self.centre[rows], self.eps[rows])

    def project(self, x: Tensor) -> Tensor:
        d = x - self.centre
        shrunk = (self.eps / norm(d).clamp_min(tiny(d))).clamp_max(1)
        return torch.addcmul(self.centre, d, column(shrunk, d)).clamp_(LOW, HIGH)

    def descent(self, g: Tensor) -> Tensor:
        g = g / column(g.abs().flatten(1).amax(1).clamp_min(torch.finfo(g.dtype).tiny), g)
        return -g / column(norm(g).clamp_min(tiny(g)), g)

    def random(self, generator: torch.Generator) -> Tensor:
        normal = torch.randn(self.centre.shape, generator=generator)
        radius = torch.rand(len(normal), generator=generator) ** (1 / math.prod(normal.shape[1:]))
        direction = (normal / column(norm(normal), normal)).to(self.centre)
        return self.project(self.centre + column(self.eps * radius.to(self.eps), direction) * direction)


def ball_about(centre: Float[Tensor, "N ..."], eps: float, norm: Norm) -> Ball:
    """The ball of radius eps about each centre.

    Raises:
        InputError: the norm is unknown, or eps negative or not finite.
    """
    if not (math.isfinite(eps) and eps >= 0):
        raise InputError(f"eps is {eps}; give a finite number of at least 0")
    return balls_about(centre, centre.new_full((len(centre),), eps), norm)


def balls_about(centre: Float[Tensor, "N ..."], eps: Float[Tensor, "N"], norm: Norm) -> Ball:
    """The ball about each centre, each of its own radius.

    Raises:
        InputError: the norm is unknown.
    """
    if norm == "Linf":
        return LinfBall.about(centre, eps)
    if norm == "L2":
        return L2Ball(centre, eps)
    raise InputError(f"norm is {norm!r}; choose 'Linf' or 'L2'")
