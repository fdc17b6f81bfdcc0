"""Is an AUDDC to be trusted? The checks of `doubleback.trust`, as an autoencoder's attacks are put to them.

For a classifier an input is fooled or not; here an attack beats another on a pair where it gets the reconstruction
nearer to the target, by more than `GAP`, at the same distortion or a smaller one.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from doubleback.attacks import Attack, Capability
from doubleback.attacks.goals import RowLoss
from doubleback.attacks.rows import RowObjective
from doubleback.attacks.sweep import coefficients_of, thinned
from doubleback.auditing.budget_trust import budget_checks, worst_of
from doubleback.auditing.pairs import Pairs
from doubleback.auditing.record import BLEND, Points
from doubleback.evaluation import reconstruct
from doubleback.metrics.curve import DistortionCurve
from doubleback.progress import progress_bar
from doubleback.randomness import Stream, generator
from doubleback.settings import Budget, Price
from doubleback.tensors import column, norm, rows_at_once
from doubleback.trust import MORE, Check, Judged, beaten, single_noise, vanishing_gradients

GAP = 0.02  # of an adversarial distance or an AUDDC, that counts
NOISE_DRAWS = 8  # for each distortion
NOISE_DISTORTIONS = (0.1, 0.2, 0.3, 0.5)
LONGER = 2  # pairs that are attacked again, for longer
EVERY = 5  # coefficient of theirs


def audit_checks(pairs: Pairs, points: dict[str, Points], attacks: Sequence[Attack], *, progress: bool) -> Judged:
    """Every check.

    Args:
        pairs: a few of those that were attacked and are not flagged, the first ones.
        points: what was reached on these, by attack, and by blending.
        attacks: those that were run.
        progress: show a bar with the time left.
    """
    single = partial(reconstruct, pairs.model, noise=pairs.draws[0])
    each = {
        attack.name: [
            vanishing_gradients([_loss(pairs, attack)], pairs.source.lerp(pairs.target, 0.01))
            if attack.knowledge.follows
            else Check.named("vanishing_gradients", 0.0),
            single_noise(single, pairs.source, samples=attack.search.samples),
        ]
        for attack in attacks
    }
    priced = [attack for attack in attacks if not isinstance(attack.capability, Budget)]
    within = {
        a.name: budget_checks(pairs, a) for a in attacks if isinstance(a.capability, Budget) and a.knowledge.follows
    }
    # where every row has converged, more steps change nothing
    unfinished = [attack for attack in priced if not (points[attack.name].converged == 1).all()]
    gained = _gained_by_more_steps(pairs, unfinished, progress)
    for name, checks in each.items():
        checks += within.get(name, [Check.named("more_steps_help", gained.get(name, 0.0))])
    return Judged(each, worst_of([*each.values(), _of_curves(pairs, points, priced)]))


def _of_curves(pairs: Pairs, points: dict[str, Points], attacks: Sequence[Attack]) -> list[Check]:
    """The checks of what all attacks with a price have reached together."""
    if not attacks:
        return []
    targeted = [attack.name for attack in attacks if attack.goal.targeted]
    curves = {name: points[name].curves() for name in (*targeted, BLEND)}
    return [
        _blending_beats(curves) if targeted else Check.named("black_box_beats_white_box", 0.0),
        _unbounded(points, [attack for attack in attacks if attack.goal.targeted or not targeted]),
        _noise_beats(pairs, [curves[name] for name in targeted], attacks[0].search.seed),
    ]


def _loss(pairs: Pairs, attack: Attack) -> RowObjective:
    """What its goal minimises on the mean path, the cost left out."""
    return partial(
        _on_the_mean_path, attack.goal.loss(attack.knowledge.followed(pairs.model), pairs.source, pairs.target)
    )


def _on_the_mean_path(loss: RowLoss, x: Tensor, rows: Tensor) -> Tensor:
    return loss(x, rows, None)


def _blending_beats(curves: dict[str, list[DistortionCurve]]) -> Check:
    """Pairs on which blending the target in, which needs no gradient, leaves a smaller area than every attack does."""
    areas = {name: np.array([curve.area() for curve in each]) for name, each in curves.items()}
    best = np.min([area for name, area in areas.items() if name != BLEND], axis=0)
    blend = torch.from_numpy(areas[BLEND] < best - GAP)
    return beaten("black_box_beats_white_box", blend, torch.zeros_like(blend))


def _unbounded(points: dict[str, Points], attacks: Sequence[Attack]) -> Check:
    """Pairs that no attack brings to the target where distortion is cheapest: at C = 0 it is free."""
    reached = np.min([_freest(points[attack.name], attack.capability) for attack in attacks], axis=0)
    left = torch.from_numpy(reached > GAP)
    return beaten("unbounded_attack_fails", left, torch.zeros_like(left))


def _freest(points: Points, capability: Capability) -> NDArray[np.float64]:
    """(P,), v at the smallest C of a price; of another capability the least that it reached."""
    v = points.adversarial_distance
    return v[:, int(coefficients_of(capability).argmin())] if isinstance(capability, Price) else v.min(1)


def _gained_by_more_steps(pairs: Pairs, attacks: Sequence[Attack], progress: bool) -> dict[str, float]:
    """By attack, the fall of its mean AUDDC, on a few pairs and coefficients, with four times the steps."""
    if not attacks:
        return {}
    few = Pairs(pairs.model, pairs.source[:LONGER], pairs.target[:LONGER], pairs.draws)
    tried = [_thinned(attack) for attack in attacks]
    rows = [len(few.source) * one.row_steps for one in tried]

    def area(attack: Attack, times: int) -> float:
        longer = replace(attack, search=replace(attack.search, steps=times * attack.search.steps))
        x_adv = longer(few.model, few.source, few.target, advance=advance).x_adv
        v = few.adversarial_distance(x_adv, targeted=attack.goal.targeted)
        points = zip(*(each.cpu().double().numpy() for each in (few.distortion(x_adv), v)), strict=True)
        return float(np.mean([DistortionCurve.envelope(*pair).area() for pair in points]))

    with progress_bar("checking", (1 + MORE) * sum(rows), progress) as advance:
        return {attack.name: max(0.0, area(attack, 1) - area(attack, MORE)) for attack in tried}


def _thinned(attack: Attack) -> Attack:
    """The attack with fewer coefficients, where it has some."""
    capability = attack.capability
    return replace(attack, capability=thinned(capability, EVERY)) if isinstance(capability, Price) else attack


def _noise_beats(pairs: Pairs, curves: Sequence[list[DistortionCurve]], seed: int) -> Check:
    """Pairs on which a random direction gets nearer to the target than every targeted attack at that distortion."""
    if not curves:
        return Check.named("noise_beats_gradient", 0.0)
    noise, way = generator(seed, Stream.ATTEMPT), norm(pairs.target - pairs.source)
    lengths = torch.tensor(NOISE_DISTORTIONS).repeat_interleave(NOISE_DRAWS).to(way) * way[:, None]
    found = []
    for length in torch.split(lengths, max(1, rows_at_once(pairs.source) // len(way)), dim=1):  # as many as fit
        direction = torch.randn((*length.shape, *pairs.source.shape[1:]), generator=noise).to(pairs.source)
        scale = column(length / norm(direction, 2), direction)
        x = (pairs.source[:, None] + scale * direction).clamp(0, 1)
        found.append((pairs.distortion(x), pairs.adversarial_distance(x)))
    u, v = (torch.cat(each, dim=1).cpu().double().numpy() for each in zip(*found, strict=True))
    reached = np.min([[curve.at(u[p]) for p, curve in enumerate(each)] for each in curves], axis=0)
    beats = torch.from_numpy((v < reached - GAP).any(1))
    return beaten("noise_beats_gradient", beats, torch.zeros_like(beats))
