"""Where a sweep of prices leaves holes in a pair's curve, budgets fill them.

A price on a convex reward has no minimiser at small distortions (an untargeted attack jumps from d = 0 to the box), and
a steep curve passes between two coefficients. A hole is the rectangle between two neighbours on the envelope,
(u_i, v_i) and (u_i+1, v_i+1): the true curve, which never rises, may run anywhere inside. The largest are split, by the
same goal at the distortion halfway, ||d|| <= u ||x_0 - x_t||.

Behind a coarse rounding, or JPEG, a sweep finds little. There budgets search at all distances first, for they also move
values over thresholds (`attacks.flips`).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from doubleback.attacks import Attack, Within
from doubleback.attacks.rows import Advance
from doubleback.auditing.pairs import Pairs
from doubleback.metrics.curve import holes
from doubleback.models.base import Autoencoder
from doubleback.models.channel import rounding_of
from doubleback.settings.search import Price
from doubleback.tensors import norm

HOLE = 0.01  # of the unit square: a smaller one is left
ROUNDS, EACH = 2, 8  # searches, and holes that each of them splits
FILL = ROUNDS * EACH  # columns, beside those of the sweep
PATH = 16  # further columns behind a rounding: distances at which its thresholds are passed
STEPS = 50  # of each

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
Scored = Callable[[Tensor], Curve]
"""Adversarial inputs (P, K, ...) -> u and v, (P, K) each."""


def columns(attack: Attack, model: Autoencoder) -> int:
    """How many points an attack gives for each pair, those that fill holes included."""
    if not isinstance(attack.capability, Price):
        return attack.capability.count
    return attack.capability.count + _filling(model)


def fill_steps(attack: Attack, model: Autoencoder) -> int:
    """How many steps of rows filling takes for one pair, at most."""
    return _filling(model) * _search(attack).row_steps if isinstance(attack.capability, Price) else 0


def _filling(model: Autoencoder) -> int:
    return FILL + (PATH if rounding_of(model) else 0)


def filled(attack: Attack, pairs: Pairs, x_adv: Tensor, known: Curve, scored: Scored, advance: Advance) -> Tensor:
    """Further adversarial inputs, (P, FILL or PATH + FILL, ...); where a pair has no hole left, copies of what it has.

    Args:
        attack: whose goal and search are used.
        pairs: P of them.
        x_adv: what the sweep has given, (P, K, ...).
        known: where these lie on their pairs' curves, u and v, (P, K) each.
        scored: says where an input lies on its pair's curve.
        advance: told of `fill_steps` for each pair in all, for a bar.
    """
    way = norm(pairs.target - pairs.source)
    every, first, task = x_adv, x_adv.shape[1], _search(attack)
    u, v = known
    if rounding_of(pairs.model):
        shares = np.arange(1, PATH + 1) / PATH
        places = torch.from_numpy(np.stack([_beside(*curve, shares) for curve in zip(u, v, strict=True)]))
        near = every[torch.arange(len(every))[:, None, None], places.to(every.device)]  # (P, PATH, 2, ...)
        ball = Within("L2", way[:, None] * torch.from_numpy(shares).to(way), near)
        path = replace(task, capability=ball)(pairs.model, pairs.source, pairs.target, advance=advance).x_adv
        every = torch.cat([every, path], dim=1)
        u, v = (np.concatenate(both, axis=1) for both in zip((u, v), scored(path), strict=True))
    for place in range(ROUNDS):
        radii, beside = _split(u, v)
        new = every[:, :1].repeat(1, EACH, *[1] * (every.dim() - 2))
        split = [torch.from_numpy(index).to(x_adv.device) for index in np.nonzero(np.isfinite(radii))]
        if len(row := split[0]):  # every hole is a pair of its own: all of them together take as many steps as one
            radius = torch.from_numpy(radii).to(way)[*split] * way[row]
            near = every[row[:, None], torch.from_numpy(beside).to(x_adv.device)[*split]]  # (holes, 2, ...)
            task = replace(task, capability=Within("L2", radius[:, None], near[:, None]))
            new[*split] = task(pairs.model, pairs.source[row], pairs.target[row], advance=advance).x_adv[:, 0]
        advance((len(x_adv) * EACH - len(row)) * task.row_steps)
        every = torch.cat([every, new], dim=1)
        if place < ROUNDS - 1:
            u, v = (np.concatenate(both, axis=1) for both in zip((u, v), scored(new), strict=True))
    return every[:, first:]


def _search(attack: Attack) -> Attack:
    """The attack at one radius."""
    steps = min(attack.search.steps, STEPS)
    return replace(
        attack, capability=Within("L2", torch.zeros(1, 1)), search=replace(attack.search, steps=steps, restarts=0)
    )


def _split(u: NDArray[np.float64], v: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Where to look, for each pair: the middles of its largest holes, rising, NaN beyond; and the points beside each.

    A hole that has been split counts as two of a quarter of its size, as if the curve ran through its middle.

    Returns:
        Distortions (P, EACH), and the columns of the points to the left and to the right, (P, EACH, 2).
    """
    radii = np.full((len(u), EACH), np.nan)
    beside = np.zeros((len(u), EACH, 2), dtype=np.int64)
    for row, (distortion, distance) in enumerate(zip(u, v, strict=True)):
        if not (np.isfinite(distortion).all() and np.isfinite(distance).all()):
            continue
        left = [(min(width, 1 - low) * fall, low, min(width, 2 * (1 - low))) for low, width, fall in
                holes(distortion, distance)]  # fmt: skip
        middles: list[float] = []
        while len(middles) < EACH and left and max(left)[0] > HOLE:
            size, low, width = left.pop(left.index(max(left)))
            left += [(size / 4, low, width / 2), (size / 4, low + width / 2, width / 2)]
            middles.append(low + width / 2)
        radii[row, : len(middles)] = sorted(middles)
        beside[row, : len(middles)] = _beside(distortion, distance, radii[row, : len(middles)])
    return radii, beside


def _beside(u: NDArray[np.float64], v: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.int64]:
    """The best point to the left of each of these distortions, and the next to the right, (n, 2)."""
    left = np.where(u <= at[:, None], v, np.inf).argmin(1)
    return np.stack([left, np.where(u >= at[:, None], u, np.inf).argmin(1)], axis=1)
