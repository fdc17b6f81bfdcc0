"""The penalties on a whole Jacobian, by random projections, each for every example of a batch.

L2 = E_v ||v' d x_hat / d x||^2  "output": the squared Frobenius norm of the output's Jacobian
L2 = E_v ||v' d mean / d x||^2   "latent": the same of the code's mean;  v ~ N(0, I)
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from doubleback.models.base import Autoencoder, Reconstruction
from doubleback.objective.penalties.derivatives import full_precision, pulled
from doubleback.objective.penalties.gradient import Images, Noise, Penalised
from doubleback.tensors import squared_norm

Differentiated = Literal["output", "latent"]


def jacobian_penalty(
    model: Autoencoder, x: Images, noise: Noise, projections: Float[Tensor, "P n ..."], *, of: Differentiated
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

    values, pull_back, reconstruction = pulled(output, x)
    return reconstruction, torch.stack([squared_norm(pull_back(v.view_as(values))) for v in projections]).mean(0)


def jacobian_penalty_by_differences(
    model: Autoencoder,
    x: Images,
    noise: Noise,
    directions: Float[Tensor, "P n ..."],
    *,
    of: Differentiated,
    step: float = 1e-2,
) -> Penalised:
    """L2 = mean over w of ||f(x + h w) - f(x)||^2 / h^2 with f = x_hat or mean: forward passes only.

    With w ~ N(0, I) in the INPUT space its expectation is the squared Frobenius norm of the Jacobian, up to O(h).
    Arguments and results as in `jacobian_penalty`; `directions` are the draws of w, each shaped as x.
    """
    with full_precision(x):
        reconstruction = model(x, noise)
        here = _differentiated(reconstruction, of)
        moved = [_differentiated(model(x + step * w, noise), of) - here for w in directions]
        return reconstruction, torch.stack([squared_norm(change / step) for change in moved]).mean(0)


def _differentiated(reconstruction: Reconstruction, of: str) -> Tensor:
    return reconstruction.likelihood.mean if of == "output" else reconstruction.posterior.mean
