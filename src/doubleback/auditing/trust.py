"""Is an AUDDC to be trusted? The checks of `doubleback.checks`, as an autoencoder's attacks are put to them.

For a classifier an input is fooled or not; here an attack beats another on a pair where it gets the reconstruction
nearer to the target, by more than `GAP`, at a distortion that is no larger.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from doubleback.attacks import Attack
from doubleback.auditing.pairs import Pairs
from doubleback.auditing.record import BLEND, Points
from doubleback.checks import MORE, Check, beaten, check, single_noise, vanishing_gradients
from doubleback.evaluation import reconstruct
from doubleback.metrics.curve import DistortionCurve
from doubleback.models import Autoencoder
from doubleback.progress import progress_bar
from doubleback.randomness import Stream, generator

GAP = 0.02  # of an adversarial distance or an AUDDC, that counts
NOISE_DRAWS = 8  # for each distortion
NOISE_DISTORTIONS = (0.1, 0.2, 0.3, 0.5)
LONGER = 2  # pairs that are attacked again, for longer
EVERY = 5  # coefficient of theirs


def audit_checks(
    pairs: Pairs,
    points: dict[str, Points],
    attacks: dict[str, Callable[..., Attack]],
    C: Tensor,
    *,
    steps: int,
    restarts: int,
    samples: int,
    seed: int,
    progress: bool,
) -> list[Check]:
    """Every check.

    Args:
        pairs: a few of those that were attacked and are not flagged, the first ones.
        points: what was reached on these, by attack, and by blending.
        attacks: those that were run, by name.
        C: the coefficients.
        steps, restarts, samples, seed: of the attacks.
        progress: show a bar with the time left.
    """
    settings = {"restarts": restarts, "samples": samples, "seed": seed}
    targeted = {name: attack for name, attack in attacks.items() if name != "untargeted"}
    curves = {name: _curves(points[name]) for name in (*targeted, BLEND)}
    # where every row has converged, more steps take the very same ones
    unfinished = {name: attack for name, attack in attacks.items() if not (points[name].converged == 1).all()}
    return [
        vanishing_gradients(_losses(pairs, attacks), pairs.source.lerp(pairs.target, 0.01)),
        _blending_beats(curves) if targeted else check("black_box_beats_white_box", 0.0),
        _unbounded(points, targeted),
        check("more_steps_help", _gained_by_more_steps(pairs, unfinished, C, steps, settings, progress)),
        _noise_beats(pairs, [curves[name] for name in targeted], seed),
        single_noise(lambda x: reconstruct(pairs.model, x, pairs.draws[0]), pairs.source, samples),
    ]


def _curves(points: Points) -> list[DistortionCurve]:
    every = zip(points.distortion, points.adversarial_distance, strict=True)
    return [DistortionCurve.envelope(u, v) for u, v in every]


def _losses(pairs: Pairs, attacks: dict[str, Any]) -> list[Callable[[Tensor, Tensor], Tensor]]:
    """What the attacks minimise on the mean path, their cost left out."""
    model: Autoencoder = pairs.model
    with torch.no_grad():
        aim = model.encode(pairs.target).mean

    def latent(x: Tensor, rows: Tensor) -> Tensor:
        return (model.encode(x).mean - aim[rows]).flatten(1).square().sum(1)

    def output(x: Tensor, rows: Tensor) -> Tensor:
        return (model(x).likelihood.mean - pairs.target[rows]).flatten(1).square().sum(1)

    return [latent if name == "latent" else output for name in attacks]


def _blending_beats(curves: dict[str, list[DistortionCurve]]) -> Check:
    """Pairs on which blending the target in, which needs no gradient, leaves a smaller area than every attack does."""
    areas = {name: np.array([curve.area() for curve in each]) for name, each in curves.items()}
    best = np.min([area for name, area in areas.items() if name != BLEND], axis=0)
    blend = torch.from_numpy(areas[BLEND] < best - GAP)
    return beaten("black_box_beats_white_box", blend, torch.zeros_like(blend))


def _unbounded(points: dict[str, Points], targeted: dict[str, Any]) -> Check:
    """Pairs that no attack brings to the target at C = 0, where any distortion is free."""
    reached = [points[name].adversarial_distance[:, 0] for name in targeted or points]
    left = torch.from_numpy(np.min(reached, axis=0) > GAP)
    return beaten("unbounded_attack_fails", left, torch.zeros_like(left))


def _gained_by_more_steps(
    pairs: Pairs,
    attacks: dict[str, Callable[..., Attack]],
    C: Tensor,
    steps: int,
    settings: dict[str, Any],
    progress: bool,
) -> float:
    """The largest fall of an attack's mean AUDDC, on a few pairs and coefficients, with four times the steps."""
    if not attacks:
        return 0.0
    source, target = pairs.source[:LONGER], pairs.target[:LONGER]
    few = Pairs(pairs.model, source, target, pairs.draws)
    rows = len(source) * len(C[::EVERY]) * (2 + settings["restarts"])

    def area(name: str, count: int) -> float:
        tried = {"coefficients": C[::EVERY], "steps": count, "advance": advance, **settings}
        x_adv = attacks[name](pairs.model, source, target, **tried).x_adv
        u, v = few.distortion(x_adv), few.adversarial_distance(x_adv, name)
        numbers = zip(u.cpu().double().numpy(), v.cpu().double().numpy(), strict=True)
        return float(np.mean([DistortionCurve.envelope(*pair).area() for pair in numbers]))

    with progress_bar("checking", len(attacks) * rows * (1 + MORE) * steps, progress) as advance:
        return max(max(0.0, area(name, steps) - area(name, MORE * steps)) for name in attacks)


def _noise_beats(pairs: Pairs, curves: Sequence[list[DistortionCurve]], seed: int) -> Check:
    """Pairs on which a random direction gets nearer to the target than every targeted attack at that distortion."""
    if not curves:
        return check("noise_beats_gradient", 0.0)
    shape = (len(pairs.source), len(NOISE_DISTORTIONS) * NOISE_DRAWS, *pairs.source.shape[1:])
    direction = torch.randn(shape, generator=generator(seed, Stream.ATTEMPT)).to(pairs.source)
    way = (pairs.target - pairs.source).flatten(1).norm(dim=1)
    length = torch.tensor(NOISE_DISTORTIONS).repeat_interleave(NOISE_DRAWS).to(way) * way[:, None]
    scale = length / direction.flatten(2).norm(dim=2)
    x = (pairs.source[:, None] + scale[..., None, None, None] * direction).clamp(0, 1)
    u, v = pairs.distortion(x).cpu().double().numpy(), pairs.adversarial_distance(x, "output").cpu().double().numpy()
    reached = np.min([[curve.at(u[p]) for p, curve in enumerate(each)] for each in curves], axis=0)
    beats = torch.from_numpy((v < reached - GAP).any(1))
    return beaten("noise_beats_gradient", beats, torch.zeros_like(beats))
