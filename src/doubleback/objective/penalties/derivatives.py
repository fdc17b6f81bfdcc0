"""First derivatives that a second one can be taken of.

In eager mode by `torch.autograd.grad(create_graph=True)`. It takes what real models are made of: autograd.Functions,
gradient checkpointing, BatchNorm, and attention, by its mathematical backend (the others have no second
derivative). `torch.compile` accepts a double backward by `torch.func` alone, so a compiled step takes that.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from doubleback.tensors import column, norm, tiny

Further = TypeVar("Further")
Measured = Callable[[Tensor], tuple[Tensor, Further]]
"""Maps images to what is differentiated, and to what else is to be known of them."""
PullBack = Callable[[Tensor], Tensor]
"""Maps a direction v of an output, shaped as the output, to v' d output / d x, shaped as x."""


def gradient(of: Measured[Further], x: Float[Tensor, "n ..."]) -> tuple[Float[Tensor, "n ..."], Further]:
    """d sum(of(x)) / d x, where `of` gives a number a row; with a graph, where gradients are on."""
    values, pull_back, further = pulled(of, x)
    return pull_back(torch.ones_like(values)), further


def pulled(of: Measured[Further], x: Float[Tensor, "n ..."]) -> tuple[Tensor, PullBack, Further]:
    """What `of` gives for x, and how to pull directions of it back to x; with a graph, where gradients are on."""
    if torch.compiler.is_compiling():
        values, backward, further = torch.func.vjp(of, x, has_aux=True)  # type: ignore[misc]  # torch's hint has no aux
        return values, lambda v: backward(v)[0], further
    moving = x.detach().requires_grad_()
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        values, further = of(moving)

    def pull_back(v: Tensor) -> Tensor:
        if not values.requires_grad:  # it does not look at its input
            return torch.zeros_like(x)
        (found,) = torch.autograd.grad(
            values, moving, v, create_graph=torch.is_grad_enabled(), retain_graph=True, materialize_grads=True
        )
        return found

    return values, pull_back, further


def full_precision(x: Tensor) -> torch.autocast:
    """Differences of bf16 numbers are rounding noise: leave autocast."""
    return torch.autocast(x.device.type, enabled=False)


def hinge(values: Tensor, margin: float) -> Tensor:
    """relu(values - margin)^2."""
    return (values - margin).relu().square()


def length(x: Tensor) -> Tensor:
    """The 2-norm of each row, whose gradient is 0 where it is 0."""
    squared = x.flatten(1).square().sum(1)
    return torch.where(squared > 0, squared, 1).sqrt() * (squared > 0)


def unit(x: Tensor) -> Tensor:
    """Each row, of length 1; zero where it is zero."""
    return x / column(norm(x).clamp_min(tiny(x)), x)
