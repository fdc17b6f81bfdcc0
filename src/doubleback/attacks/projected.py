"""Two ways to minimise inside a ball, row by row: projected gradient descent, with a fixed step or one that halves.

    pgd    x <- P(x + a d(g)),  a = step_size * eps                   (Madry et al. 2018; one step of length eps: FGSM)
    apgd   z <- P(x + a d(g)),  x <- P(x + 0.75 (z - x) + 0.25 (x - x_before)), a = 2 eps to begin with; at each
           checkpoint a is halved, and the search goes back to the best iterate, at rest, where too few of the steps
           since the last one were downhill, or where neither the step nor the best value has changed since then
           (Croce & Hein 2020, "Reliable evaluation of adversarial robustness ...", algorithm 1)

What is minimised and what counts may differ (cross-entropy is minimised, the margin counts): an objective gives both.
A row leaves once what counts is no longer positive; each row keeps the iterate at which that was lowest.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from doubleback.attacks.ball import Ball
from doubleback.attacks.rows import Advance, Best, gradient_of
from doubleback.settings.ball import BallSearch
from doubleback.tensors import column, rows_at_once

ScoredObjective = Callable[[Float[Tensor, "n ..."], Int[Tensor, "n"]], tuple[Float[Tensor, "n"], Float[Tensor, "n"]]]
"""Maps iterates (n, ...) and their row numbers (n,) to what is minimised and to what counts, (n,) each."""

Descent = Literal["pgd", "apgd"]

MOMENTUM = 0.75  # alpha of APGD
DOWNHILL = 0.75  # rho: share of the steps between two checkpoints that must have been downhill
_LEAVING = 16  # rows leave a sixteenth of the batch at a time: convolutions are set up again for each batch size


def minimize_in_ball(
    objective: ScoredObjective,
    ball: Ball,
    start: Float[Tensor, "N ..."],
    search: BallSearch | None = None,
    *,
    method: Descent = "pgd",
    max_rows: int | None = None,
    advance: Advance | None = None,
    **changes: Any,
) -> Best:
    """Minimise in each row's ball.

    Args:
        objective: what is minimised, and what counts.
        ball: of N rows.
        start: (N, ...), inside the ball.
        search: its `steps`, of each row (so many gradients and one evaluation more), the `step_size` of "pgd", and
            whether to `keep` rows that have reached what counts.
        method: "pgd" or "apgd".
        max_rows: rows in a chunk, what bounds the memory; None: by the size of the images.
        advance: told of the progress, for a bar.
        changes: fields of the search to change.

    Returns:
        The iterates at which what counts was lowest, and its value there.
    """
    search, best = (search or BallSearch()).changed(**changes), Best(start)
    tell = advance or (lambda _: None)
    descend = _pgd if method == "pgd" else _apgd
    for rows in torch.split(torch.arange(len(start), device=start.device), max_rows or rows_at_once(start)):
        descend(objective, rows, best, ball.at(rows), search, tell)
    return best


def _pgd(
    objective: ScoredObjective, rows: Tensor, best: Best, ball: Ball, search: BallSearch, advance: Advance
) -> None:
    x, keep = best.x[rows], search.keep
    for step in range(search.steps):
        _, counts, g = _evaluated(objective, x, rows)
        _offer(best, rows, x, counts, keep)
        advance(len(rows))
        if not keep and (left := leaving(best, rows)) is not None:
            advance(int((~left).sum()) * (search.steps - step - 1))
            rows, x, g, ball = rows[left], x[left], g[left], ball.at(left)
            if not len(rows):
                return
        x = ball.project(torch.addcmul(x, column(ball.eps, x), ball.descent(g), value=search.step))
    with torch.no_grad():
        _offer(best, rows, x, objective(x, rows)[1], keep)


def _apgd(
    objective: ScoredObjective, rows: Tensor, best: Best, ball: Ball, search: BallSearch, advance: Advance
) -> None:
    steps, keep = search.steps, search.keep
    x = best.x[rows]
    f, counts, g = _evaluated(objective, x, rows)
    _offer(best, rows, x, counts, keep)
    a = 2 * ball.eps
    x_before, x_least, f_least, g_least = x, x, f, g
    a_then, f_then, downhill = a, f, torch.zeros_like(f)
    checks = checkpoints(steps)
    last_check = 0
    for step in range(1, steps + 1):
        z = ball.project(torch.addcmul(x, column(a, x), ball.descent(g)))
        share = MOMENTUM if step > 1 else 1.0
        x, x_before = ball.project(x + share * (z - x) + (1 - share) * (x - x_before)), x
        advance(len(rows))
        if step == steps:
            break
        f_new, counts, g = _evaluated(objective, x, rows)
        _offer(best, rows, x, counts, keep)
        downhill = downhill + (f_new < f)
        f = f_new
        lower = f < f_least
        f_least = torch.where(lower, f, f_least)
        x_least, g_least = (torch.where(column(lower, x), new, old) for new, old in ((x, x_least), (g, g_least)))
        if step in checks:
            stuck = (a == a_then) & (f_least == f_then)
            halve = (downhill < DOWNHILL * (step - last_check)) | stuck
            a_then, f_then, downhill, last_check = a, f_least, torch.zeros_like(f), step
            a = torch.where(halve, a / 2, a)
            f = torch.where(halve, f_least, f)
            back = column(halve, x)
            x, g = torch.where(back, x_least, x), torch.where(back, g_least, g)
            x_before = torch.where(back, x_least, x_before)
        if not keep and (left := leaving(best, rows)) is not None:
            advance(int((~left).sum()) * (steps - step))
            state = (rows, x, x_before, x_least, g, g_least, f, f_least, f_then, a, a_then, downhill)
            rows, x, x_before, x_least, g, g_least, f, f_least, f_then, a, a_then, downhill = (v[left] for v in state)
            ball = ball.at(left)
            if not len(rows):
                return
    with torch.no_grad():
        _offer(best, rows, x, objective(x, rows)[1], keep)


def checkpoints(steps: int) -> set[int]:
    """Steps after which APGD looks at its step size: p = 0, 0.22, then further by 0.03 less each time, at least 0.06.

    >>> sorted(checkpoints(100))
    [22, 41, 57, 70, 80, 87, 93, 99]
    """
    p = [0.0, 0.22]
    while p[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    return {math.ceil(round(share * steps, 9)) for share in p[1:] if share < 1}


def _evaluated(objective: ScoredObjective, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What is minimised, what counts, and the gradient of the first; zero where that is not finite."""
    x = x.detach().requires_grad_()
    value, counts = objective(x, rows)
    return value.detach(), counts.detach(), gradient_of(value, x).nan_to_num(0.0, 0.0, 0.0)


def leaving(best: Best, rows: Tensor) -> Tensor | None:
    """Which rows stay, if enough may leave to be worth it."""
    left = best.value[rows] > 0
    done = len(rows) - int(left.sum())
    return left if done and (_LEAVING * done >= len(rows)) else None


def _offer(best: Best, rows: Tensor, x: Tensor, counts: Tensor, keep: bool) -> None:
    """A row that may leave is done at once, even if it leaves later: its end does not depend on the others."""
    done = best.value[rows] <= 0
    best.offer(rows, x, counts if keep else counts.masked_fill(done, math.inf))
