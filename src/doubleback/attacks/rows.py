"""What every method of the engine shares: rows that never interact, the best iterate of each, a gradient for each.

Rows are taken by `index_select` throughout: on a processor x[rows] takes five to ten times as long.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

RowObjective = Callable[[Float[Tensor, "n ..."], Int[Tensor, "n"]], Float[Tensor, "n"]]
"""Maps iterates (n, ...) and the row numbers they belong to, (n,), to one number each, (n,)."""

Advance = Callable[[int], None]
"""Told how many steps of how many rows are done since the last call: N * steps in all, as rows leave early or not."""


class Best:
    """The best iterate of every row so far."""

    def __init__(self, start: Tensor) -> None:
        self.x = start.clone()
        self.value = start.new_full((len(start),), math.inf)

    def offer(self, rows: Tensor, x: Tensor, value: Tensor) -> None:
        """Keep x (n, ...) where its value (n,) is lower than the best of its row; a NaN never is."""
        better = torch.nonzero(value < self.value.index_select(0, rows)).squeeze(1)
        places = rows.index_select(0, better)
        self.x.index_copy_(0, places, x.index_select(0, better))
        self.value.index_copy_(0, places, value.index_select(0, better).to(self.value))


def value_and_gradient(objective: RowObjective, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The objective at x, (n,), and each row's own gradient, shaped as x."""
    x = x.detach().requires_grad_()
    value = objective(x, rows)
    return value.detach(), gradient_of(value, x)


def gradient_of(value: Tensor, x: Tensor) -> Tensor:
    """d sum value / d x; zero where nothing leads from one to the other, as in a rounded model."""
    if not value.requires_grad:
        return torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(value.sum(), x, allow_unused=True, materialize_grads=True)
    return gradient.contiguous()  # autograd may expand a constant
