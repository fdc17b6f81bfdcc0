"""How strongly outputs answer to inputs: gradient and Jacobian norms for each example of a batch.

    ||d loss / dx||_2,    ||J||_F = sqrt(E_v ||J'v||^2), v ~ N(0, I),    ||J||_2 = max_u ||J u|| / ||u||

J = d f / dx of one example. Nothing here knows a model: `loss` and `f` are deterministic functions of a batch
whose rows do not interact. Derivatives are reverse mode only (J u is the derivative of v -> J'v), so that all
of it works where double backpropagation does; under `no_grad`, so that no graph is kept for the parameters.

`torch.func` refuses some functions (an `autograd.Function` of the old form, say). `torch.autograd.grad` then takes its
place, and u'(J'v) = v'(J u) is looked at: a backward pass that is not differentiable in v would give another J u.

Sources: Drucker & LeCun 1991 (the input gradient); Hutchinson 1990 (the trace estimator behind ||J||_F).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from doubleback.errors import InputError
from doubleback.tensors import column, norm

Function = Callable[[Tensor], Tensor]
SAME = 1e-3  # two numbers that differ by at most this share count as the same


def input_gradient_norm(loss: Function, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B"]:
    """||d loss_b / d x_b||_2.

    Args:
        loss: (B, ...) -> (B,), one number for each row.
        x: the batch.

    Returns:
        (B,), at least 0, in units of the loss per unit of x.
    """
    with torch.no_grad():
        value, pull_back = _vjp(lambda moving: loss(moving).sum(), x)
        return norm(pull_back(torch.ones_like(value)))


def jacobian_frobenius(
    f: Function, x: Float[Tensor, "B ..."], *, projections: int = 64, generator: torch.Generator
) -> Float[Tensor, "B"]:
    """||J||_F = sqrt(E_v ||J'v||^2), estimated with `projections` draws v ~ N(0, I): one backward pass each.

    The square is unbiased; its relative standard deviation is at most sqrt(2 / projections) for each example
    (attained by a Jacobian of rank 1).

    Args:
        f: (B, ...) -> (B, ...), row by row.
        x: the batch.
        projections: how many draws, each of its own for every row.
        generator: draws v, on the generator's device.

    Returns:
        (B,), at least 0, in units of f per unit of x.

    Raises:
        InputError: `projections` is under 1.
    """
    _at_least_one("projections", projections)
    with torch.no_grad():
        y, pull_back = _vjp(f, x)
        squares = [norm(pull_back(_normal_like(y, generator))).square() for _ in range(projections)]
        return torch.stack(squares).mean(0).sqrt()


def jacobian_spectral(
    f: Function,
    x: Float[Tensor, "B ..."],
    *,
    generator: torch.Generator,
    tolerance: float = 1e-4,
    max_iterations: int = 200,
) -> Float[Tensor, "B"]:
    """||J||_2, the largest singular value, by power iteration: v <- J u / ||J u||, u <- J'v / ||J'v||.

    ||J'v|| rises to ||J||_2 from below, the faster the further the two largest singular values lie apart.
    All rows go on until the largest relative change of any is at most `tolerance`, or for `max_iterations`.

    Args:
        f: (B, ...) -> (B, ...), row by row.
        x: the batch.
        generator: draws the first u, on the generator's device.
        tolerance: the relative change to stop at.
        max_iterations: one backward and one double backward pass each.

    Returns:
        (B,), at least 0 (0 for a zero Jacobian), in units of f per unit of x. Raises as `jacobian_frobenius` does, of
        `max_iterations`.
    """
    _at_least_one("max_iterations", max_iterations)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        y, pull_back = _vjp(f, x)
        push_forward = _jvp(f, x, y)
        u = _normal_like(x, generator)
        largest = x.new_zeros(len(x))
        for _ in range(max_iterations):
            v = _unit(push_forward(u))
            u = pull_back(v)
            largest, previous = norm(u), largest
            u = _unit(u)
            if ((largest - previous).abs() <= tolerance * largest).all():
                break
        return largest


def _at_least_one(name: str, count: int) -> None:
    if count < 1:
        raise InputError(f"{name} is {count}; give 1 or more")


def _vjp(f: Function, x: Tensor) -> tuple[Tensor, Function]:
    """f(x) and v -> J'v."""
    try:
        y, pull_back, *_ = torch.func.vjp(f, x)
    except RuntimeError:  # refused by torch.func; the other way raises it again if it fails too
        moving, y = _with_graph(f, x)
        return y.detach(), lambda v: torch.autograd.grad(y, moving, v, retain_graph=True)[0]
    return y, lambda v: pull_back(v)[0]


def _jvp(f: Function, x: Tensor, y: Tensor) -> Function:
    """u -> J u, the derivative of v -> J'v; y = f(x)."""
    try:
        _, push_forward, *_ = torch.func.vjp(lambda v: torch.func.vjp(f, x)[1](v)[0], torch.zeros_like(y))
    except RuntimeError:
        return _jvp_by_autograd(f, x)
    return lambda u: push_forward(u)[0]


def _jvp_by_autograd(f: Function, x: Tensor) -> Function:
    """u -> J u.

    Raises:
        RuntimeError: the backward pass cannot be differentiated, or gives something else than J u if it is.
    """
    moving, y = _with_graph(f, x)
    with torch.enable_grad():
        v = torch.zeros_like(y).requires_grad_()
        (pulled,) = torch.autograd.grad(y, moving, v, create_graph=True)

    def push_forward(u: Tensor) -> Tensor:
        return torch.autograd.grad(pulled, v, u, retain_graph=True)[0]

    generator = torch.Generator().manual_seed(0)
    u, w = _normal_like(x, generator), _normal_like(y, generator)
    forward, back = push_forward(u), torch.autograd.grad(y, moving, w, retain_graph=True)[0]
    differ = ((w * forward).flatten(1).sum(1) - (u * back).flatten(1).sum(1)).abs()
    if not bool((differ <= SAME * norm(w) * norm(forward).maximum(norm(back))).all()):
        raise RuntimeError("the backward pass cannot be differentiated, so there is no J u")
    return push_forward


def _with_graph(f: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    """The input and f of it, with the graph between them."""
    with torch.enable_grad():
        moving = x.detach().requires_grad_()
        return moving, f(moving)


def _unit(x: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
    """Each row over its norm; a zero row stays zero."""
    length = norm(x).clamp_min(torch.finfo(x.dtype).tiny)
    return x / column(length, x)


def _normal_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """N(0, I) in the shape of x, drawn on the generator's device: the same for any dtype and device of x."""
    return torch.randn(x.shape, generator=generator, device=generator.device).to(x)
