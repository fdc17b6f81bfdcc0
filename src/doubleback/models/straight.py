"""Rounding with a gradient: what an attacker follows where a model rounds.

    forward  round(z)        backward  the identity

A model that rounds has no gradient, which hides it from an attack and does not protect it (Athalye, Carlini & Wagner
2018, section 4.1, "backward pass differentiable approximation"; Bengio, Leonard & Courville 2013, the straight-through
estimator). The values are those of the model to the last digit.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_ROUNDINGS: tuple[Callable[..., Tensor], ...] = (
    torch.round, torch.floor, torch.ceil, torch.trunc, torch.fix, torch.Tensor.round, torch.Tensor.floor,
    torch.Tensor.ceil, torch.Tensor.trunc, torch.Tensor.fix,
)  # fmt: skip
_IN_PLACE = {
    torch.Tensor.round_: torch.round,
    torch.Tensor.floor_: torch.floor,
    torch.Tensor.ceil_: torch.ceil,
    torch.Tensor.trunc_: torch.trunc,
}


class StraightThrough(TorchFunctionMode):
    """While it is on, every rounding of a tensor that has a gradient passes the gradient through."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = args[0] if args else None
        if isinstance(given, Tensor) and given.requires_grad and given.is_floating_point() and torch.is_grad_enabled():
            if func in _ROUNDINGS:
                with torch.no_grad():
                    rounded = func(*args, **(kwargs or {}))
                return given + (rounded - given).detach()
            if func in _IN_PLACE:
                with torch.no_grad():
                    change = _IN_PLACE[func](given.detach(), *args[1:], **(kwargs or {})) - given.detach()
                return given.add_(change)
        return func(*args, **(kwargs or {}))


def clamped_straight(x: Tensor) -> Tensor:
    """x in [0, 1], with the gradient of the identity: a pixel that is too bright can still be made darker."""
    return x + (x.clamp(0, 1) - x).detach()
