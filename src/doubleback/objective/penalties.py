"""The double-backpropagation penalties, each for every example of a batch.

    L2 = ||d L0 / d x||^2            "reconstruction" (paper, algorithms 1 and 2; Drucker & LeCun 1991)
    L2 = E_v ||v' d x_hat / d x||^2  "output": the squared Frobenius norm of the output's Jacobian
    L2 = E_v ||v' d mean / d x||^2   "latent": the same of the code's mean;  v ~ N(0, I)

Rows never interact, so the gradient of a summed loss in x holds each example's own gradient. The gradients are taken
by `torch.func`, the only way in which `torch.compile` accepts a double backward.
"""

from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from doubleback.distributions import Bernoulli, Gaussian
from doubleback.models.base import Autoencoder, Reconstruction
from doubleback.tensors import column, squared_norm

Images = Float[Tensor, "B C H W"]
Noise = Float[Tensor, "B ..."] | None
Differentiated = Literal["output", "latent"]
Penalised = tuple[Reconstruction, Float[Tensor, "B"]]


def reconstruction_loss(reconstruction: Reconstruction, x: Images) -> Float[Tensor, "B"]:
    """L0 = -log p(x|z) in nats, summed over the pixels."""
    return -reconstruction.likelihood.log_prob(x)


def target_moves(reconstruction: Reconstruction, through_target: bool | None) -> bool:
    """Does the target of L0 move with the input? None: as the likelihood has it, see `gradient_penalty`."""
    fixed = isinstance(reconstruction.likelihood, Bernoulli)
    return not fixed if through_target is None else through_target


def gradient_penalty(
    model: Autoencoder,
    x: Images,
    noise: Noise,
    *,
    through_target: bool | None = None,
) -> Penalised:
    """L2 = ||d L0 / d x||^2, by double backpropagation (paper, algorithms 1 and 2).

    Args:
        model: an autoencoder whose rows do not interact.
        x: images in [0, 1].
        noise: (B, *noise_shape), or None for the mean path.
        through_target: does the target of L0 move with the input? None: it moves for a Gaussian likelihood, where
            the literal gradient 2 (J - I)'(x_hat - x) serves best, and is held fixed for a Bernoulli one, where
            the literal gradient would add -logit and crush the contrast.

    Returns:
        The reconstruction of x and the penalty of each example.
    """

    gradient, reconstruction = _loss_gradient(model, x, noise, through_target)
    return reconstruction, squared_norm(gradient)


def perturbed_gradient_penalty(
    model: Autoencoder,
    x: Images,
    noise: Noise,
    weight: float,
    *,
    through_target: bool | None = None,
) -> tuple[Reconstruction, Float[Tensor, "B"], Float[Tensor, "B C H W"]]:
    """L2 = ||g||^2 with g = d L0 / d x, and where its gradient is to be had: at x + 2 weight g, g held fixed.

    There d L0 / d theta is that of L0 + weight L2 at x, to the first order in the weight: no second derivative is
    taken, and the pass at x needs no gradient in theta. After Lyu, Huang & Liang 2015, "A unified gradient
    regularization family for adversarial examples". `x`, `noise` and `through_target` as in `gradient_penalty`.

    Args:
        model: an autoencoder whose rows do not interact, and whose likelihood has no learned variance.
        x: images in [0, 1].
        noise: (B, *noise_shape), or None for the mean path.
        weight: of the penalty, lambda2.
        through_target: does the target of L0 move with the input?

    Returns:
        The reconstruction of x and the penalty of each example, and the moved images; none has a graph.
    """
    with torch.no_grad():
        gradient, reconstruction = _loss_gradient(model, x, noise, through_target)
        return reconstruction, squared_norm(gradient), x + 2 * weight * gradient


def jacobian_penalty(
    model: Autoencoder, x: Images, noise: Noise, projections: Float[Tensor, "P B ..."], *, of: Differentiated
) -> Penalised:
    """L2 = mean over v of ||v' d x_hat / d x||^2 (`of="output"`) or ||v' d mean / d x||^2 (`of="latent"`).

    With v ~ N(0, I) its expectation is the squared Frobenius norm of the Jacobian. `model`, `x` and `noise` as in
    `gradient_penalty`.

    Args:
        projections: the draws of v, each shaped as what is differentiated: (B, C, H, W) or (B, D).
        of: what is differentiated.

    Returns:
        The reconstruction of x and the penalty of each example.
    """

    def output(moving: Tensor) -> tuple[Tensor, Reconstruction]:
        reconstruction = model(moving, noise)
        return _differentiated(reconstruction, of), reconstruction

    _, pull_back, reconstruction = torch.func.vjp(output, x, has_aux=True)  # type: ignore[misc]  # torch's hint has no aux
    return reconstruction, torch.stack([squared_norm(pull_back(v)[0]) for v in projections]).mean(0)


def gradient_penalty_by_differences(
    model: Autoencoder,
    x: Images,
    noise: Noise,
    *,
    through_target: bool | None = None,
    step: float = 1e-2,
) -> Penalised:
    """L2 = ((L0(x + h g/||g||) - L0(x)) / h)^2 with g = d L0 / d x held fixed: no second derivative is taken.

    For small h this is ||g||^2, and its gradient in the parameters that of ||g||^2 (Finlay & Oberman 2019, "Scaleable
    input gradient regularization"). For models without a double backward (cuDNN's LSTM, flash attention).
    Arguments and results as in `gradient_penalty`; `step` is h, in units of x.
    """

    with _full_precision(x):
        with torch.no_grad():
            gradient, _ = _loss_gradient(model, x, noise, through_target)
        norm = squared_norm(gradient).sqrt().clamp_min(torch.finfo(x.dtype).tiny)
        loss = partial(_loss, model, x, noise, through_target)
        there, _ = loss(x + step * gradient / column(norm, x))
        here, reconstruction = loss(x)
        return reconstruction, ((there - here) / step).square()


def jacobian_penalty_by_differences(
    model: Autoencoder,
    x: Images,
    noise: Noise,
    directions: Float[Tensor, "P B C H W"],
    *,
    of: Differentiated,
    step: float = 1e-2,
) -> Penalised:
    """L2 = mean over w of ||f(x + h w) - f(x)||^2 / h^2 with f = x_hat or mean: forward passes only.

    With w ~ N(0, I) in the INPUT space its expectation is the squared Frobenius norm of the Jacobian, up to O(h).
    Arguments and results as in `jacobian_penalty`; `directions` are the draws of w, each shaped as x.
    """
    with _full_precision(x):
        reconstruction = model(x, noise)
        here = _differentiated(reconstruction, of)
        moved = [_differentiated(model(x + step * w, noise), of) - here for w in directions]
        return reconstruction, torch.stack([squared_norm(change / step) for change in moved]).mean(0)


def _loss_gradient(
    model: Autoencoder, x: Tensor, noise: Tensor | None, through_target: bool | None
) -> tuple[Float[Tensor, "B C H W"], Reconstruction]:
    """g = d L0 / d x, and the reconstruction of x."""

    def loss(moving: Tensor) -> tuple[Tensor, Reconstruction]:
        values, reconstruction = _loss(model, x, noise, through_target, moving)
        return values.sum(), reconstruction

    gradient, reconstruction = torch.func.grad(loss, has_aux=True)(x)
    return gradient, reconstruction


def _loss(
    model: Autoencoder, x: Tensor, noise: Tensor | None, through_target: bool | None, moving: Tensor
) -> tuple[Float[Tensor, "B"], Reconstruction]:
    """L0 of each example, reconstructed from `moving`; its target is x, or moves, too."""
    reconstruction = model(moving, noise)
    target = moving if target_moves(reconstruction, through_target) else x
    return _loss_to_smooth(reconstruction, target), reconstruction


def _loss_to_smooth(reconstruction: Reconstruction, target: Tensor) -> Float[Tensor, "B"]:
    """L0 with a learned variance held fixed: the penalty is to smooth the model, not to blur what it is measured by."""
    p = reconstruction.likelihood
    held = Gaussian(p.mean, p.log_var.detach()) if isinstance(p, Gaussian) and p.log_var.numel() == 1 else p
    return -held.log_prob(target)


def _differentiated(reconstruction: Reconstruction, of: str) -> Tensor:
    return reconstruction.likelihood.mean if of == "output" else reconstruction.posterior.mean


def _full_precision(x: Tensor) -> torch.autocast:
    """Differences of bf16 numbers are rounding noise: leave autocast."""
    return torch.autocast(x.device.type, enabled=False)
