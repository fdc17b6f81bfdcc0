"""A budget: the lowest loss within a ball about each source, for every pair and every eps.

    min_d  E_noise loss(x0 + d, pair, noise),    ||d|| <= eps,    x0 + d in the box [0, 1]

The search is APGD (`projected`), or Square (`squares`) if only scores are known. It goes from the smallest
eps to the largest. At each it starts from the source, from the best point known within the ball (blends with the
target, the end at the eps before, stretched), and from random points. A pair keeps its best over all starts and smaller
eps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from doubleback.attacks.ball import Ball, L2Ball, LinfBall, balls_about
from doubleback.attacks.examples import Examples
from doubleback.attacks.expected import Attempt, Expected, Problem
from doubleback.attacks.flips import flipped
from doubleback.attacks.projected import minimize_in_ball
from doubleback.attacks.rows import Advance, Best
from doubleback.attacks.squares import random_search, refuse_signals
from doubleback.settings.ball import BallSearch, Norm
from doubleback.settings.search import Search
from doubleback.settings.threat import Budget
from doubleback.tensors import column, norm, tiny

BLENDS = 11  # along the segment from the source to where it leaves the ball


@dataclass(frozen=True, eq=False)
class Within:
    """A capability: ||d|| <= radius, where each pair has radii of its own.

    Attributes:
        norm: "Linf" or "L2".
        radii: of each pair, rising along K.
        informed: whether it starts from the blends with the target, too.
        known: further points to start from, of each radius, each brought into its ball; None: none.
    """

    norm: Norm
    radii: Float[Tensor, "P K"]
    known: Float[Tensor, "P K M ..."] | None = None
    informed: bool = True
    STEPS: ClassVar[int] = Budget.STEPS

    @property
    def count(self) -> int:
        """How many radii each pair has."""
        return self.radii.shape[1]

    def pursue(self, problem: Problem, search: Search, advance: Advance) -> Examples:
        """The best examples within each radius."""
        if not self.informed:
            problem = replace(problem, target=problem.source)
        task = _Task(problem, search)
        radii, found, known_to = self.radii.to(problem.source), [], self.known
        if problem.rounding and self.norm == "L2" and not problem.queries:  # a gradient is blind to what lies beyond
            path = flipped(problem.loss, problem.source, problem.target, problem.rounding, radii)[:, :, None]
            known_to = path if known_to is None else torch.cat([known_to, path], dim=2)
        for place, radius in enumerate(radii.unbind(1)):
            ball = balls_about(problem.source, radius, self.norm)
            known = () if known_to is None else known_to[:, place].unbind(1)
            if problem.queries:
                found.append(task.by_scores(ball, problem.queries, advance))
            else:
                found.append(task.by_gradient(ball, known, advance))
        x, value = (torch.stack([getattr(best, part) for best in found], dim=1) for part in ("x", "value"))
        return Examples(x, self.radii.mean(0), value, torch.zeros_like(value, dtype=torch.bool))


def within_budget(budget: Budget, problem: Problem, search: Search, advance: Advance) -> Examples:
    """The best examples of every eps of a budget, in the order in which they were given."""
    eps = torch.tensor(budget.radii, dtype=torch.float64).to(problem.source)
    unit = norm(problem.source - problem.target) if budget.relative else torch.ones(len(problem.source)).to(eps)
    order = eps.argsort()
    found = Within(budget.norm, unit[:, None] * eps[order]).pursue(problem, search, advance)
    places = order.argsort()
    return Examples(found.x_adv[:, places], eps, found.objective[:, places], found.converged[:, places])


class _Task(Expected):
    """The pairs under attack, and the best of each so far: every ball lies in the next."""

    def __init__(self, problem: Problem, search: Search) -> None:
        super().__init__(problem, search)
        self.search = search
        self.best = Best(self.source)
        self.best.offer(self.pair, self.source, self.worth_in_chunks(self.source, self.pair))

    def by_gradient(self, ball: Ball, known: Sequence[Tensor], advance: Advance) -> Best:
        """APGD from every start."""
        starts = [ball.project(self.source_start()), self._best_known(ball, known)]
        starts += [ball.random(self.random) for _ in range(self.search.restarts)]
        rows, every = self.pair.repeat(len(starts)), torch.cat(starts)
        search = BallSearch(steps=self.search.steps, keep=True)
        loss = partial(self._steps, self.attempts(), rows)
        found = minimize_in_ball(loss, ball.at(rows), every, search, method="apgd", advance=advance)
        for x, value in zip(found.x.chunk(len(starts)), found.value.chunk(len(starts)), strict=True):
            self.best.offer(self.pair, x, value)
        return self._kept()

    def by_scores(self, ball: Ball, queries: int, advance: Advance) -> Best:
        """Square's search, which takes no gradient."""
        refuse_signals(self.source)
        assert isinstance(ball, LinfBall | L2Ball)

        def draw(live: Tensor, *shape: int) -> Tensor:
            return torch.rand(len(self.pair), *shape, generator=self.random).to(live.device)[live]

        found = random_search(self.worth_in_chunks, ball, queries, draw, advance, keep=True)
        self.best.offer(self.pair, found.x, found.value)
        return self._kept()

    def _steps(self, attempted: Attempt, pair: Tensor, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """What a step lowers, and what counts: with noise they are of different draws."""
        value = attempted(x, pair[rows], rows)
        if not self.samples:
            return value, value
        with torch.no_grad():
            return value, self.worth(x, pair[rows])

    def _best_known(self, ball: Ball, known: Sequence[Tensor]) -> Float[Tensor, "P ..."]:
        """The best point of each ball that is known without a gradient, the best so far among them."""
        best = self._kept()
        for x in self._known_in(ball, known):
            best.offer(self.pair, x, self.worth_in_chunks(x, self.pair))
        self.best.offer(self.pair, best.x, best.value)
        return best.x

    def _known_in(self, ball: Ball, known: Sequence[Tensor]) -> Iterator[Float[Tensor, "P ..."]]:
        way = self.target - self.source
        if bool(way.any()):  # where nobody has named a target, there is no way to one
            yield ball.project(self.target)  # Linf: not on the segment
            for share in torch.linspace(0, 1, BLENDS)[1:].tolist():
                yield ball.project(self.source + share * way * column(_reach(ball, way), way))
        d = self.best.x - self.source
        if bool(d.any()):  # the end at the eps before, which lies in this ball, too: it is known already
            yield ball.project(self.source + d * column(_reach(ball, d, beyond=True), d))
        yield from map(ball.project, known)

    def _kept(self) -> Best:
        best = Best(self.best.x)
        best.value = self.best.value.clone()
        return best


def _reach(ball: Ball, d: Float[Tensor, "P ..."], *, beyond: bool = False) -> Float[Tensor, "P"]:
    """The share of d at which it leaves the ball; at most 1, or, `beyond`, as much as it takes."""
    length = norm(d) if isinstance(ball, L2Ball) else d.flatten(1).abs().amax(1)
    share = ball.eps / length.clamp_min(tiny(length))
    return share.clamp_max(1e6 if beyond else 1)
