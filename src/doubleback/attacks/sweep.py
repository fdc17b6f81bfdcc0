"""One loss, minimised for every pair of images and every coefficient of a sweep, in one batch.

    min_d  E_noise loss(x0 + d, pair, noise) + C ||d||^2,    x0 + d in the box [0, 1],    C in the sweep

A row of the batch is one pair with one coefficient: row = pair * K + place of the coefficient.
"""

import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from doubleback.attacks.engine import minimize_from
from doubleback.attacks.examples import Examples
from doubleback.attacks.expected import Expected, Problem
from doubleback.attacks.rows import Advance, RowObjective
from doubleback.errors import InputError
from doubleback.settings.search import Price, Search
from doubleback.tensors import column, squared_distance

STRIDE = 8  # of the coefficients that are solved from scratch, by size; the others begin where these have ended
PATIENCE, PATIENCE_BETWEEN = 10, 5  # steps between two looks at who has converged: from scratch, from a neighbour's end
BLENDS = 21  # u = 0, 0.05, ..., 1 along the segment from the source to the target
RESTART_NOISE = 0.1  # standard deviation of the random starts about the source, in units of a pixel
NEGLIGIBLE = 3e-4  # of the loss at the source: a gain in ten steps that is not worth ten more


def coefficient_sweep(count: int = 50, low: float = 2.0**-20, high: float = 2.0**20) -> Float[Tensor, "K"]:
    """C = 0 and `count` values spaced evenly in the logarithm from `low` to `high`: (count + 1,).

    Raises:
        InputError: `count` is under 1.

    >>> coefficient_sweep(3, 0.25, 4.0)
    tensor([0.0000, 0.2500, 1.0000, 4.0000])
    """
    if count < 1:
        raise InputError(f"coefficients is {count}; give a whole number of at least 1")
    return torch.cat([torch.zeros(1), torch.logspace(0, 1, count, base=high / low) * low])


def coefficients_of(price: Price) -> Float[Tensor, "K"]:
    """The C of a price, (K,)."""
    given = price.coefficients
    return coefficient_sweep(given) if isinstance(given, int) else torch.tensor(given, dtype=torch.float64)


def thinned(price: Price, every: int) -> Price:
    """The price with every k-th of its coefficients."""
    return Price(tuple(coefficients_of(price)[::every].tolist()))


def sweep(price: Price, problem: Problem, search: Search, advance: Advance) -> Examples:
    """Minimise the loss for every pair and coefficient, each row from where its neighbours have ended.

    Every `STRIDE`-th coefficient is solved from the source and from the best blend with the target; those between,
    level by level, start from that end of the pair which has the lowest objective for their own coefficient (the loss
    and cost of an end tell that for each). Last, each row takes the best of all ends, and of `restarts` random starts.

    Without samples the loss is deterministic: `minimize(method="spectral")`. With them every step averages fresh
    noise, Adam minimises, every row from source and blend, and ends are compared on noise that no step has seen.

    Args:
        price: the coefficients.
        problem: the loss and the pairs.
        search: its steps, restarts, samples and seed.
        advance: told of the progress, for a bar.
    """
    if problem.queries:
        raise InputError("scores alone cannot weigh a price; give a budget: Attack(goal, Budget(...), Scores())")
    samples = search.samples
    C = coefficients_of(price).to(problem.source)
    task = _Sweep(problem, search)
    every = torch.arange(len(C), device=C.device)
    ends = _Ends(task, len(C))
    ends.offer(every, C, task.best_blends(C))
    first, *between = _levels(C, 1 if samples else STRIDE)

    def solve(places: Tensor, starts: Tensor, patience: int, advance: Advance) -> None:
        found = minimize_from(
            task.attempted_at(C[places]),
            starts,
            steps=search.steps,
            method="adam" if samples else "spectral",
            score=task.priced(task.worth, C[places]) if samples else None,
            floor=task.floor(len(places)),
            patience=patience,
            advance=advance,
        )
        ends.offer(places, C[places], found.x, found.converged)

    solve(
        first,
        torch.stack([task.source_start().repeat_interleave(len(first), 0), ends.best(C[first])[0]]),
        PATIENCE,
        advance,
    )
    for places in between:
        solve(places, ends.best(C[places])[0][None], PATIENCE_BETWEEN, lambda done: advance(2 * done))
    for start in task.restarts(len(C), search.restarts):
        solve(every, start[None], PATIENCE, advance)
    x, value = ends.best(C)
    P, K = len(problem.source), len(C)
    return Examples(x.view(P, K, *problem.source.shape[1:]), C, value.view(P, K), ends.converged)


def _levels(C: Float[Tensor, "K"], stride: int) -> list[Int[Tensor, "k"]]:
    """Places of the coefficients: every `stride`-th by size and the largest, then those halfway, then halfway again.

    >>> [places.tolist() for places in _levels(torch.arange(7.0), 4)]
    [[0, 4, 6], [2], [1, 3, 5]]
    """
    order = C.argsort(stable=True)
    levels, known = [torch.cat([order[:-1:stride], order[-1:]])], set(range(0, len(C) - 1, stride)) | {len(C) - 1}
    while stride > 1:
        stride //= 2
        new = [place for place in range(0, len(C), stride) if place not in known]
        known.update(new)
        if new:
            levels.append(order[new])
    return levels


class _Sweep(Expected):
    """The rows of all pairs and some coefficients: what they minimise and where they start."""

    def priced(self, loss: Callable[[Tensor, Tensor], Tensor], C: Float[Tensor, "k"]) -> RowObjective:
        """loss + C ||d||^2: of a loss that is attempted, or of what an end is worth."""

        def objective(x: Tensor, rows: Tensor) -> Tensor:
            pair = rows // len(C)
            return loss(x, pair) + C[rows % len(C)] * self.cost(x, pair)

        return objective

    def attempted_at(self, C: Float[Tensor, "k"]) -> RowObjective:
        """loss + C ||d||^2 of one search, whose rows are those of several starts, one after the other."""
        attempted, own = self.attempts(), len(self.pair) * len(C)

        def objective(x: Tensor, rows: Tensor) -> Tensor:
            return self.priced(lambda x, pair: attempted(x, pair, rows), C)(x, rows % own)

        return objective

    def restarts(self, coefficients: int, count: int) -> Iterator[Float[Tensor, "N ..."]]:
        """Random points about the source; nested in their number."""
        near = self.source.repeat_interleave(coefficients, 0)
        for _ in range(count):
            yield near + RESTART_NOISE * self.normal(self.random, *near.shape)

    def floor(self, coefficients: int) -> Float[Tensor, "N"]:
        """What a row need not gain any more: a small share of what the loss is at the source."""
        return NEGLIGIBLE * self.worth_in_chunks(self.source, self.pair).abs().repeat_interleave(coefficients)

    def cost(self, x: Float[Tensor, "n ..."], pair: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        """||d||^2."""
        return squared_distance(x, self.source.index_select(0, pair))

    @torch.no_grad()
    def best_blends(self, C: Float[Tensor, "k"]) -> Float[Tensor, "N ..."]:
        """x0 + u (x_t - x0), with the best u for each pair and coefficient."""
        shares = torch.linspace(0, 1, BLENDS).to(self.source)
        blends = [self.source.lerp(self.target, u) for u in shares]
        loss = torch.stack([self.worth_in_chunks(x, self.pair) for x in blends])  # (U, P)
        cost = torch.stack([self.cost(x, self.pair) for x in blends])
        u = shares[(loss[:, :, None] + C * cost[:, :, None]).argmin(0)]  # (P, k)
        return self.source[:, None].lerp(self.target[:, None], column(u, self.source[:, None])).flatten(0, 1)


class _Ends:
    """Where the rows of each pair have ended so far, and what an end is worth to any coefficient."""

    def __init__(self, problem: _Sweep, coefficients: int) -> None:
        source = problem.source
        shape = len(source), coefficients
        self.problem = problem
        self.x = source.new_zeros(*shape, *source.shape[1:])
        self.loss, self.cost = source.new_full(shape, math.inf), source.new_zeros(shape)
        self.converged = torch.ones(shape, dtype=torch.bool, device=source.device)

    def offer(
        self,
        places: Int[Tensor, "k"],
        C: Float[Tensor, "k"],
        x: Float[Tensor, "N ..."],
        converged: Bool[Tensor, "N"] | None = None,
    ) -> None:
        """Keep each row's end if it beats what the row had."""
        problem, k = self.problem, len(places)
        pair = problem.pair.repeat_interleave(k)
        loss = problem.worth_in_chunks(x, pair).view(-1, k)
        cost = problem.cost(x, pair).view(-1, k)
        better = loss + C * cost < self.loss[:, places] + C * self.cost[:, places]
        kept = column(better, self.x)
        self.x[:, places] = torch.where(kept, x.view(-1, k, *x.shape[1:]), self.x[:, places])
        self.loss[:, places] = torch.where(better, loss, self.loss[:, places])
        self.cost[:, places] = torch.where(better, cost, self.cost[:, places])
        if converged is not None:
            self.converged[:, places] &= converged.view(-1, k)

    def best(self, C: Float[Tensor, "k"]) -> tuple[Float[Tensor, "N ..."], Float[Tensor, "N"]]:
        """For each pair and each of these coefficients, the end with the lowest objective, and that objective."""
        value, place = (self.loss[:, None, :] + C[:, None] * self.cost[:, None, :]).min(2)  # (P, k)
        return self.x[self.problem.pair[:, None], place].flatten(0, 1), value.flatten()
