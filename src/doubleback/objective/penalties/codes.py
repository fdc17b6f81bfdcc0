"""How far the code moves under the worst small change of the image.

    L2 = max_{|d| <= radius} W2^2(q(z|x + d), q(z|x))             "smooth-code"
    L2 = max_{|d| <= radius} ||e(x + d) - e_0(x)||^2              "kept-code"

W2 is the 2-Wasserstein distance of the codes, as in the smooth encoder of Cemgil et al. 2020, "Adversarially robust
representations with smooth encoders"; e is the mean of the code, and e_0 that of the model before the training:
unsupervised adversarial fine-tuning (Schlarmann et al. 2024, "Robust CLIP", which calls it FARE). d is found by
projected gradient ascent (Madry et al. 2018) and held fixed, so there is no second derivative.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from doubleback.attacks.ball import LinfBall
from doubleback.attacks.goals.code import wasserstein
from doubleback.attacks.projected import minimize_in_ball
from doubleback.models.base import Autoencoder
from doubleback.objective.penalties.gradient import Images, Noise, Penalised
from doubleback.settings.ball import BallSearch
from doubleback.tensors import squared_distance


def code_of(model: Autoencoder, x: Images) -> Tensor:
    """e(x), the mean of the code, without a graph."""
    with torch.no_grad():
        return model.encode(x).mean


def smooth_code_penalty(
    model: Autoencoder, x: Images, noise: Noise, direction: Tensor, *, radius: float = 0.1, steps: int = 5
) -> Penalised:
    """L2 = max_{|d| <= radius} W2^2(q(z|x + d), q(z|x)).

    Args:
        model: an autoencoder with a code, whose rows do not interact.
        x: images in [0, 1].
        noise: (n, *noise_shape), or None for the mean path.
        direction: draws from N(0, I), shaped as x: where the search for d starts.
        radius: of the L-infinity ball, in units of a pixel.
        steps: of the search.

    Returns:
        No reconstruction, for none is needed, and the penalty of each example.
    """
    with torch.no_grad():
        here = model.encode(x, noise)
    worst = _worst(lambda moved, rows: wasserstein(model.encode(moved, _at(noise, rows)), here.at(rows)), x, direction,
                   radius, steps)  # fmt: skip
    return None, wasserstein(model.encode(worst, noise), model.encode(x, noise))


def kept_code_penalty(
    model: Autoencoder, x: Images, noise: Noise, direction: Tensor, old: Tensor, *, radius: float = 0.1, steps: int = 5
) -> Penalised:
    """L2 = max_{|d| <= radius} ||e(x + d) - e_0(x)||^2.

    Arguments and results as in `smooth_code_penalty`; `old` is e_0(x), shaped as the mean of the code.
    """
    worst = _worst(
        lambda moved, rows: squared_distance(model.encode(moved, _at(noise, rows)).mean, old[rows]),
        x, direction, radius, steps,
    )  # fmt: skip
    return None, squared_distance(model.encode(worst, noise).mean, old)


def _worst(far: Callable[[Tensor, Tensor], Tensor], x: Tensor, direction: Tensor, radius: float, steps: int) -> Tensor:
    """The image in each ball where `far` is largest, of all that the ascent has seen."""
    ball = LinfBall.about(x, x.new_full((len(x),), radius))
    start = ball.project(x + radius * torch.erf(direction / math.sqrt(2)))  # uniform in the ball

    def objective(moved: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        value = -far(moved, rows)
        return value, value

    return minimize_in_ball(objective, ball, start, BallSearch(steps=steps, keep=True)).x


def _at(noise: Noise, rows: Tensor) -> Noise:
    return None if noise is None else noise[rows]
