"""The penalty on the largest singular value of the output's Jacobian: how far the worst small change is carried.

    L2 = relu(||J||_2 - margin)^2,    J = d x_hat / d x           "spectral"

||J||_2 = max ||J'v|| over unit vectors v. The best v is found by power iteration, v <- J J'v / ||J J'v||, and held
fixed while ||J'v|| is differentiated (as spectral normalisation does it with weights: Miyato et al. 2018). In the
iteration a secant, f(x + w / 2) - f(x) with w = J'v / ||J'v||, stands for J w / 2: it costs one forward pass. The other
estimator moves the image along J'v and looks how far the reconstruction goes, as virtual adversarial training does
(Miyato et al. 2017).
"""

from functools import partial

import torch
from torch import Tensor

from doubleback.models.base import Autoencoder, Reconstruction
from doubleback.objective.penalties.derivatives import Measured, PullBack, full_precision, hinge, length, pulled, unit
from doubleback.objective.penalties.gradient import Images, Noise, Penalised

SECANT = 0.5  # how far apart, in units of x, are the two images whose difference stands for J w: the way of v alone


def spectral_penalty(
    model: Autoencoder, x: Images, noise: Noise, direction: Images, *, margin: float = 1.0, power_steps: int = 1
) -> Penalised:
    """L2 = relu(||J'v|| - margin)^2, v after some steps of power iteration.

    Args:
        model: an autoencoder whose rows do not interact.
        x: images in [0, 1].
        noise: (n, *noise_shape), or None for the mean path.
        direction: the first v, as x; any length but 0.
        margin: the stretch that is free: 1 of an isometry.
        power_steps: of the iteration.

    Returns:
        The reconstruction of x and the penalty of each example.
    """
    output = partial(_output, model, noise)
    here, pull_back, reconstruction = pulled(output, x)
    _, v = _power_iteration(output, here, pull_back, x, direction, power_steps)
    return reconstruction, hinge(length(pull_back(v)), margin)


def spectral_penalty_by_differences(
    model: Autoencoder,
    x: Images,
    noise: Noise,
    direction: Images,
    *,
    margin: float = 1.0,
    power_steps: int = 1,
    step: float = 1e-2,
) -> Penalised:
    """L2 = relu(||x_hat(x + h w) - x_hat(x)|| / h - margin)^2 with w = J'v / ||J'v|| held fixed: no double backward."""
    output = partial(_output, model, noise)
    with full_precision(x):
        with torch.no_grad():
            here, pull_back, _ = pulled(output, x)
            w, _ = _power_iteration(output, here, pull_back, x, direction, power_steps)
        there, _ = output(x + step * w)
        here, reconstruction = output(x)
        return reconstruction, hinge(length(there - here) / step, margin)


@torch.no_grad()
def _power_iteration(
    f: Measured[Reconstruction], here: Tensor, pull_back: PullBack, x: Images, v: Images, steps: int
) -> tuple[Tensor, Tensor]:
    """Unit vectors: w, the change of x that moves f(x) the farthest, and v, the way that it goes."""
    w = unit(pull_back(v))
    for step in range(steps):
        v = unit(f(x + SECANT * w)[0] - here)
        if step < steps - 1:
            w = unit(pull_back(v))
    return w, v


def _output(model: Autoencoder, noise: Noise, moving: Tensor) -> tuple[Tensor, Reconstruction]:
    reconstruction = model(moving, noise)
    return reconstruction.likelihood.mean, reconstruction
