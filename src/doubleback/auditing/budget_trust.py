"""Are figures at budgets to be trusted? The checks of `doubleback.trust`, as attacks within a ball are put to them.

A goal's own loss says who is nearer to it. One attack beats another where it brings the loss down by `GAP` more, as a
share of the way from the source's loss to the attack's own.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from doubleback.attacks import Attack, Scores, Within
from doubleback.attacks.ball import balls_about
from doubleback.attacks.expected import Expected, Problem
from doubleback.auditing.pairs import Pairs
from doubleback.randomness import Stream, generator
from doubleback.settings import Budget
from doubleback.tensors import column, norm
from doubleback.trust import MORE, Check, beaten

GAP = 0.02  # of the way that the attack has gone, that counts
QUARTER = 0.25  # of the way from the source to the target: what no bound must allow
LOOKED_AT = 8  # pairs
NOISE_DRAWS = 8  # points of each ball's surface
QUERIES = 200  # of the search that takes no gradient


def budget_checks(pairs: Pairs, attack: Attack) -> list[Check]:
    """Those that put one attack within a budget to the test, on a few pairs, at its largest eps.

    `more_steps_help`: of the way, on average. `noise_beats_gradient`, `black_box_beats_white_box`: shares of the pairs
    on which random points of the ball, or Square, get nearer. `unbounded_attack_fails`: the share of pairs on which the
    attack, in a ball that reaches the target and from the source, goes not even a quarter of the way that that is.
    """
    assert isinstance(attack.capability, Budget)
    few = Pairs(pairs.model, pairs.source[:LOOKED_AT], pairs.target[:LOOKED_AT], pairs.draws)
    budget = attack.capability
    eps = torch.full((len(few.source), 1), max(budget.radii)).to(few.source)
    ball = Within(budget.norm, eps * norm(few.source - few.target)[:, None] if budget.relative else eps)
    losses = _Losses(few, attack)
    search = attack.search
    once = losses.after(replace(attack, capability=ball))
    way = (losses.at(few.source) - once).clamp_min(0)
    noisy = losses.spread(few.source)  # what a loss may differ by for its draws of the noise alone

    def nearer(loss: Float[Tensor, "P"]) -> Bool[Tensor, "P"]:
        return loss < once - torch.maximum(GAP * way, noisy)

    checks = []
    longer = losses.after(replace(attack, capability=ball, search=replace(search, steps=MORE * search.steps)))
    gained = (once - longer - noisy).clamp_min(0).sum() / way.sum().clamp_min(1e-12)
    checks.append(Check.named("more_steps_help", gained.item()))
    none = torch.zeros_like(nearer(once))
    checks.append(beaten("noise_beats_gradient", nearer(losses.of_noise(ball)), none))
    scores = none
    if few.source.dim() == 4 and not attack.knowledge.queries:
        scores = nearer(losses.after(replace(attack, capability=ball, knowledge=Scores(QUERIES))))
    checks.append(beaten("black_box_beats_white_box", scores, none))
    far = Within("L2", norm(few.source - few.target)[:, None], informed=False)
    free, start, end = losses.after(replace(attack, capability=far)), losses.at(few.source), losses.at(few.target)
    checks.append(beaten("unbounded_attack_fails", free > start - QUARTER * (start - end).clamp_min(0), none))
    return checks


class _Losses:
    """What the goal says of inputs: of the model as it is deployed, on noise that no attack has seen."""

    def __init__(self, pairs: Pairs, attack: Attack) -> None:
        self.pairs, self.attack = pairs, attack
        loss = attack.goal.loss(pairs.model, pairs.source, pairs.target)
        problem = Problem(loss, pairs.source, pairs.target, pairs.model.noise_shape, attack.goal.targeted)
        self.expected = Expected(problem, replace(attack.search, seed=(attack.search.seed + 1) % 2**32))

    @torch.no_grad()
    def at(self, x: Float[Tensor, "P ..."]) -> Float[Tensor, "P"]:
        """Of one input a pair."""
        return self.expected.worth_in_chunks(x, self.expected.pair)

    @torch.no_grad()
    def spread(self, x: Float[Tensor, "P ..."]) -> Float[Tensor, "P"]:
        """Twice the standard error of the loss over its draws; 0 on the mean path."""
        if not self.expected.samples:
            return torch.zeros(len(x), device=x.device)
        attempted, pair = self.expected.attempts(), self.expected.pair
        each = torch.stack([attempted(x, pair, pair) for _ in range(8)])
        return 2 * each.std(0)

    def after(self, attack: Attack) -> Float[Tensor, "P"]:
        """Of what an attack at one radius has found."""
        return self.at(attack(self.pairs.model, self.pairs.source, self.pairs.target).x_adv[:, 0])

    def of_noise(self, within: Within) -> Float[Tensor, "P"]:
        """The least over random points of each ball's surface."""
        source, fresh = self.pairs.source, generator(self.attack.search.seed, Stream.ATTEMPT)
        ball = balls_about(source, within.radii[:, 0], within.norm)
        directions = (torch.randn(source.shape, generator=fresh).to(source) for _ in range(NOISE_DRAWS))
        tried = (ball.project(source + column(ball.eps, source) * ball.descent(g)) for g in directions)
        return torch.stack([self.at(x) for x in tried]).amin(0)


def worst_of(checks: Sequence[Sequence[Check]]) -> list[Check]:
    """Of each check the largest value that any of these rows of checks has, in the order in which they come."""
    worst: dict[str, Check] = {}
    for check in (check for row in checks for check in row):
        if check.name not in worst or check.value > worst[check.name].value:
            worst[check.name] = check
    return list(worst.values())
