"""One change for every image: a universal perturbation (Moosavi-Dezfooli et al. 2017), of any goal.

    min_d  mean_i loss(x_i + d),    ||d|| <= eps,    x_i + d in the box [0, 1]

Found on some images by steepest descent within the ball, batch after batch; what it does to others is the figure.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from doubleback.attacks import Damage, Goal
from doubleback.attacks.rows import Advance
from doubleback.attacks.weighing import bounded
from doubleback.auditing.measures import Seen
from doubleback.auditing.measures import damage as change
from doubleback.errors import InputError
from doubleback.evaluation import answer
from doubleback.models import Autoencoder, as_victim
from doubleback.models.base import acquaint, attacked
from doubleback.randomness import Stream, generator
from doubleback.settings import Budget
from doubleback.settings.ball import Norm
from doubleback.settings.checks import at_least, seed_in_range
from doubleback.state import at_work
from doubleback.tensors import Images, placed, rows_at_once
from doubleback.tensors import norm as length_of


@dataclass(frozen=True)
class Universal:
    """One change d.

    Attributes:
        d: (C, H, W), of norm eps at most.
        distance: (M,), ||x_hat(x + d) - x_hat(x)||_2 of each image that it was scored on.
    """

    d: Float[Tensor, "C H W"]
    distance: Float[Tensor, "M"]


def universal(
    model: Autoencoder | nn.Module,
    x: Images,
    *,
    eps: str | float,
    norm: Norm = "Linf",
    scored_on: Images | None = None,
    goal: Goal | None = None,
    epochs: int = 20,
    batch_size: int = 64,
    seed: int = 0,
    advance: Advance | None = None,
) -> Universal:
    """Find one change for all of these images.

    Args:
        model: any autoencoder, wrapped or not.
        x: images (N, C, H, W) to find it on.
        eps, norm: as in `damage`.
        scored_on: other images; None: the same ones, which makes the change look better than it is elsewhere.
        goal: without a target; None: `Damage()`.
        epochs: how often every image is seen; the steps shrink to nothing on a cosine.
        batch_size: images a step.
        seed: of the start and the order.
        advance: told how many images are done, of N * epochs: for a progress bar.

    Raises:
        InputError: as `Budget` and `tensors.as_images`; or the goal has a target.
    """
    goal = goal or Damage()
    if goal.targeted:
        raise InputError(f"goal {goal.name} has a target for each image; give one without, as Damage()")
    at_least(1, epochs=epochs, batch_size=batch_size)
    seed_in_range(seed)
    radius = Budget(norm, (eps,)).radii[0]
    model = as_victim(model)
    followed = attacked(model)
    with at_work(model, followed, warn=True):
        images = placed(model, x)
        acquaint(model, images)
        with bounded(model, images[:1]):
            loss = goal.loss(followed, images, images)
            fresh = generator(seed, Stream.START)
            d = _within(torch.randn(images.shape[1:], generator=fresh).to(images), radius, norm)
            size = min(batch_size, rows_at_once(images))
            steps = epochs * math.ceil(len(images) / size)
            taken = 0
            for _ in range(epochs):
                for rows in torch.split(torch.randperm(len(images), generator=fresh).to(images.device), size):
                    moving = d.detach().requires_grad_()
                    value = loss((images[rows] + moving).clamp(0, 1), rows, None).sum()
                    (g,) = torch.autograd.grad(value, moving)
                    step = radius * 0.25 * (1 + math.cos(math.pi * taken / steps))
                    d = _within(d - step * _direction(g, norm), radius, norm)
                    taken += 1
                    (advance or (lambda _: None))(len(rows))
            others = images if scored_on is None else placed(model, scored_on)
            moved = answer(model, (others + d).clamp(0, 1))
            return Universal(d, change(Seen(others, others, answer(model, others), moved)))


def _direction(g: Tensor, name: Norm) -> Tensor:
    return g.sign() if name == "Linf" else g / length_of(g[None]).clamp_min(1e-12)


def _within(d: Tensor, radius: float, name: Norm) -> Tensor:
    return d.clamp(-radius, radius) if name == "Linf" else d * (radius / length_of(d[None]).clamp_min(radius))
