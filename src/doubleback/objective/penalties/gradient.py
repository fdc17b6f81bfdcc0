"""The penalty on the gradient of the reconstruction loss, each for every example of a batch.

    L2 = ||d L0 / d x||^2            "reconstruction" (paper, algorithms 1 and 2; Drucker & LeCun 1991)

Rows never interact, so the gradient of a summed loss in x holds each example's own gradient.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from doubleback.distributions import Bernoulli, Gaussian
from doubleback.models.base import Autoencoder, Reconstruction
from doubleback.objective.penalties.derivatives import full_precision, gradient
from doubleback.tensors import column, squared_norm

Images = Float[Tensor, "n ..."]
Noise = Float[Tensor, "n ..."] | None
Penalised = tuple[Reconstruction | None, Float[Tensor, "n"]]


def reconstruction_loss(reconstruction: Reconstruction, x: Images) -> Float[Tensor, "n"]:
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
            the literal gradient 2 (J - I)'(x_hat - x) works best, and is held fixed for a Bernoulli one, where
            the literal gradient would add -logit and crush the contrast.

    Returns:
        The reconstruction of x and the penalty of each example.
    """

    g, reconstruction = _loss_gradient(model, x, noise, through_target)
    return reconstruction, squared_norm(g)


def perturbed_gradient_penalty(
    model: Autoencoder,
    x: Images,
    noise: Noise,
    weight: float,
    *,
    through_target: bool | None = None,
) -> tuple[Reconstruction, Float[Tensor, "n"], Float[Tensor, "n ..."]]:
    """L2 = ||g||^2 with g = d L0 / d x, and the point where its gradient is taken: x + 2 weight g, g held fixed.

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
        g, reconstruction = _loss_gradient(model, x, noise, through_target)
        return reconstruction, squared_norm(g), x + 2 * weight * g


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

    with full_precision(x):
        with torch.no_grad():
            g, _ = _loss_gradient(model, x, noise, through_target)
        norm = squared_norm(g).sqrt().clamp_min(torch.finfo(x.dtype).tiny)
        loss = partial(_loss, model, x, noise, through_target)
        there, _ = loss(x + step * g / column(norm, x))
        here, reconstruction = loss(x)
        return reconstruction, ((there - here) / step).square()


def _loss_gradient(
    model: Autoencoder, x: Tensor, noise: Tensor | None, through_target: bool | None
) -> tuple[Float[Tensor, "n ..."], Reconstruction]:
    """g = d L0 / d x, and the reconstruction of x."""

    return gradient(partial(_loss, model, x, noise, through_target), x)


def _loss(
    model: Autoencoder, x: Tensor, noise: Tensor | None, through_target: bool | None, moving: Tensor
) -> tuple[Float[Tensor, "n"], Reconstruction]:
    """L0 of each example, reconstructed from `moving`; its target is x, or moves, too."""
    reconstruction = model(moving, noise)
    target = moving if target_moves(reconstruction, through_target) else x
    return _loss_to_smooth(reconstruction, target), reconstruction


def _loss_to_smooth(reconstruction: Reconstruction, target: Tensor) -> Float[Tensor, "n"]:
    """L0 with a learned variance held fixed: the penalty is to smooth the model, not to blur what it is measured by."""
    p = reconstruction.likelihood
    held = Gaussian(p.mean, p.log_var.detach()) if isinstance(p, Gaussian) and p.log_var.numel() == 1 else p
    return -held.log_prob(target)
