"""A penalty as its settings have it: what it draws, where it is taken, and its value for each image or blend."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from doubleback.models.base import Autoencoder, attacked
from doubleback.objective.penalties import gradient, jacobian, spectral, targeted
from doubleback.objective.penalties.gradient import Penalised
from doubleback.settings.penalty import Penalty
from doubleback.state import evaluating

_OWN_PASS = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)  # rows interact, or noise is in the way


class Site(NamedTuple):
    """Where a penalty is taken, and what it needs there.

    Attributes:
        x: images, or blends of two, (n, ...).
        noise: of the model, (n, *noise_shape); None: the mean path.
        directions: (P, n, ...), of the penalties on a Jacobian; else None.
        target: another image for each, (n, ...), of the targeted penalty; else None.
    """

    x: Tensor
    noise: Tensor | None
    directions: Tensor | None = None
    target: Tensor | None = None

    def to(self, like: Tensor) -> "Site":
        """Where `like` is, in its precision."""
        x, noise, directions, target = (None if part is None else part.to(like) for part in self)
        assert x is not None
        return Site(x, noise, directions, target)

    def rows(self, mine: slice) -> "Site":
        """Those of one process."""
        x, noise, directions, target = self
        return Site(
            x[mine],
            None if noise is None else noise[mine],
            None if directions is None else directions[:, mine],
            None if target is None else target[mine],
        )


@dataclass(frozen=True, eq=False)
class PenaltyTaken:
    """The penalty L2 of one model.

    Attributes:
        model: any autoencoder. What rounds is followed through its straight-through twin, as attacks do.
        settings: what is kept small, where, and how its gradient is taken.
    """

    model: Autoencoder
    settings: Penalty

    @property
    def at_blends(self) -> bool:
        """Whether it is taken at blends of two images."""
        return self.settings.penalty != "none" and self.settings.place == "blends"

    def site(self, x: Tensor, noise: Tensor | None, generator: torch.Generator, shares: int = 1) -> Site:
        """Where it is taken for a batch, and what is drawn for it.

        At blends x_i + u (x_j - x_i), u ~ U(0, 1), every image of the batch goes into one: half as many as images.

        Args:
            x: a batch, (B, ...).
            noise: (B, *noise_shape), or None.
            generator: of the draws.
            shares: processes among which the blends are divided.
        """

        def drawn(*shape: int, draw: Any = torch.randn) -> Tensor:
            values: Tensor = draw(shape, generator=generator, dtype=x.dtype, device=generator.device)
            return values

        settings, target = self.settings, None
        projections = settings.projections if settings.penalty in ("output", "latent") else 1
        if settings.penalty == "targeted" or self.at_blends:
            count = max((len(x) + 1) // 2 // shares, 1) * shares if self.at_blends else len(x)
            first, target = x[:count], x.roll(-1, 0) if count == len(x) else x[-count:]
            noise = None if noise is None else noise[:count]
            x = first.lerp(target, drawn(count, *[1] * (x.dim() - 1), draw=torch.rand)) if self.at_blends else x
        if settings.penalty not in ("output", "latent", "spectral"):
            return Site(x, noise, None, target if settings.penalty == "targeted" else None)
        in_code = settings.penalty == "latent" and settings.estimator == "exact"
        shape = (math.prod(self.model.noise_shape),) if in_code else x.shape[1:]
        return Site(x, noise, drawn(projections, len(x), *shape))

    @property
    def has_own_pass(self) -> bool:
        """Whether the pass of the loss will not do for it: at blends, or where a part acts otherwise in training."""
        return self.at_blends or attacked(self.model) is not self.model or self._acts_otherwise

    @property
    def _acts_otherwise(self) -> bool:
        """Whether a part of the model acts otherwise in training."""
        parts = self.model.modules() if isinstance(self.model, nn.Module) else ()
        return any(isinstance(part, _OWN_PASS) for part in parts)

    def __call__(self, site: Site) -> Penalised:
        """The reconstruction at the site, and the penalty there, (n,)."""
        with self._undisturbed():
            return self._taken(attacked(self.model), site)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """In evaluation mode, where that makes a difference: else rows would interact."""
        if not self._acts_otherwise:
            yield
            return
        with evaluating(self.model):
            yield

    def _taken(self, model: Autoencoder, site: Site) -> Penalised:
        settings, (x, noise, directions, target) = self.settings, site
        exact, step = settings.estimator == "exact", settings.difference_step
        of = settings.penalty
        if of == "reconstruction":
            through = settings.through_target
            if exact:
                return gradient.gradient_penalty(model, x, noise, through_target=through)
            return gradient.gradient_penalty_by_differences(model, x, noise, through_target=through, step=step)
        if of == "targeted":
            assert target is not None
            if exact:
                return targeted.targeted_penalty(model, x, noise, target, margin=settings.slope)
            return targeted.targeted_penalty_by_differences(model, x, noise, target, margin=settings.slope, step=step)
        assert directions is not None
        if of == "spectral":
            further: dict[str, Any] = {"margin": settings.slope, "power_steps": settings.power_steps}
            if exact:
                return spectral.spectral_penalty(model, x, noise, directions[0], **further)
            return spectral.spectral_penalty_by_differences(model, x, noise, directions[0], step=step, **further)
        what: Literal["output", "latent"] = "output" if of == "output" else "latent"
        if exact:
            return jacobian.jacobian_penalty(model, x, noise, directions, of=what)
        return jacobian.jacobian_penalty_by_differences(model, x, noise, directions, of=what, step=step)
