"""The penalty on the gradient of the distance to another image: what an attacker who wants that image follows.

    L2 = relu(||d ||x_hat(x) - x_j|| / d x|| - margin)^2          "targeted"

It is the output attack's own gradient. An isometry has 1: no map that tells images apart can do with much less.
"""

from functools import partial

import torch
from torch import Tensor

from doubleback.models.base import Autoencoder, Reconstruction
from doubleback.objective.penalties.derivatives import full_precision, gradient, hinge, length, unit
from doubleback.objective.penalties.gradient import Images, Noise, Penalised


def targeted_penalty(model: Autoencoder, x: Images, noise: Noise, target: Images, *, margin: float = 0.5) -> Penalised:
    """L2 = relu(||d ||x_hat(x) - x_j|| / d x|| - margin)^2.

    Args:
        model: an autoencoder whose rows do not interact.
        x: images in [0, 1].
        noise: (n, *noise_shape), or None for the mean path.
        target: x_j, an image for each.
        margin: the slope that is free.

    Returns:
        The reconstruction of x and the penalty of each example.
    """
    slope, reconstruction = gradient(partial(_distance, model, noise, target), x)
    return reconstruction, hinge(length(slope), margin)


def targeted_penalty_by_differences(
    model: Autoencoder, x: Images, noise: Noise, target: Images, *, margin: float = 0.5, step: float = 1e-2
) -> Penalised:
    """The same by the difference of two distances, a `step` apart along that gradient, which is held fixed."""
    distance = partial(_distance, model, noise, target)
    with full_precision(x):
        with torch.no_grad():
            slope, _ = gradient(distance, x)
        there, _ = distance(x + step * unit(slope))
        here, reconstruction = distance(x)
        return reconstruction, hinge((there - here) / step, margin)


def _distance(model: Autoencoder, noise: Noise, target: Images, moving: Tensor) -> tuple[Tensor, Reconstruction]:
    reconstruction = model(moving, noise)
    return length(reconstruction.likelihood.mean - target), reconstruction
