"""A penalty as its settings have it: what it draws, where it is taken, and its value for each image or blend."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from doubleback.models.base import Autoencoder, attacked
from doubleback.models.pulling import Pullable
from doubleback.objective.penalties.gradient import Penalised
from doubleback.objective.penalties.kinds import KINDS, Kind, Site, Taking
from doubleback.settings.penalty import Penalty
from doubleback.state import evaluating

_OWN_PASS = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)  # rows interact, or noise is in the way


@dataclass(frozen=True, eq=False)
class PenaltyTaken:
    """The penalty L2 of one model.

    Attributes:
        model: any autoencoder. What rounds is followed through its straight-through twin, as attacks do.
        settings: what is kept small, where, and how its gradient is taken.
    """

    model: Autoencoder
    settings: Penalty

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind.remembers:
            self.before  # noqa: B018  # the weights as they are now

    @property
    def kind(self) -> Kind | None:
        """Which penalty it is; None: none."""
        return KINDS.get(self.settings.penalty)

    @cached_property
    def before(self) -> list[Tensor]:
        """The weights at the start of the training, for a penalty that remembers them."""
        return [one.detach().clone() for one in _weights(self.model)]

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
        needs = self.kind.needs if self.kind else "nothing"
        if needs.startswith("target") or self.at_blends:
            count = max((len(x) + 1) // 2 // shares, 1) * shares if self.at_blends else len(x)
            first, target = x[:count], x.roll(-1, 0) if count == len(x) else x[-count:]
            noise = None if noise is None else noise[:count]
            if self.at_blends:
                x = first.lerp(target, drawn(count, *[1] * (x.dim() - 1), draw=torch.rand).to(x.device))
        target = target if needs.startswith("target") else None
        if needs in ("nothing", "target"):
            return Site(x, noise, None, target)
        in_code = needs == "code directions" and settings.estimator == "exact"
        shape = (math.prod(self.model.noise_shape),) if in_code else x.shape[1:]
        return Site(x, noise, drawn(settings.directions, len(x), *shape), target)

    @property
    def has_own_pass(self) -> bool:
        """Whether the pass of the loss will not do for it: elsewhere, or where a part acts otherwise in training."""
        elsewhere = self.at_blends or (self.kind is not None and self.kind.elsewhere)
        return elsewhere or attacked(self.model) is not self.model or acts_otherwise(self.model)

    def __call__(self, site: Site) -> Penalised:
        """The reconstruction at the site, where the penalty has needed it, and the penalty there, (n,)."""
        assert self.kind is not None
        taken = self.kind.exact if self.settings.estimator == "exact" else self.kind.by_differences
        with self._undisturbed():
            return taken(Taking(attacked(self.model), self.settings, self._as_before), site)

    @contextmanager
    def _as_before(self) -> Iterator[None]:
        """The model with the weights that it had at the start of the training; no graph may be open."""
        weights = _weights(self.model)
        now = [one.detach().clone() for one in weights]
        _put(weights, self.before)
        try:
            yield
        finally:
            _put(weights, now)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """In evaluation mode, where that makes a difference: else rows would interact."""
        if not acts_otherwise(self.model):
            yield
            return
        with evaluating(self.model):
            yield


@torch.no_grad()
def _put(weights: list[Tensor], others: list[Tensor]) -> None:
    """Other values into the weights. Autocast drops its copies in bf16, which have the old values."""
    torch._foreach_copy_(weights, others)
    torch.clear_autocast_cache()


def acts_otherwise(model: Any) -> bool:
    """Whether a model may act otherwise in training: our own only with BatchNorm or dropout; of others nobody knows."""
    if not isinstance(model, nn.Module):
        return False
    return not isinstance(model, Pullable) or any(isinstance(part, _OWN_PASS) for part in model.modules())


def _weights(model: Any) -> list[Tensor]:
    return list(model.state_dict(keep_vars=True).values())
