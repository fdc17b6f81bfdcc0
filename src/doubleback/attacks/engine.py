"""One attack engine: minimise one number per row inside the box [0, 1], all rows in one batch.

    x* = argmin_{0 <= x <= 1} objective(x),  for each row by itself

Rows never interact, so pairs x coefficients x restarts go through together, a chunk at a time, and a row that has
converged leaves the batch. Each row keeps its best iterate by the objective, never its last.

Two methods. `spectral` is the nonmonotone spectral projected gradient (Birgin, Martinez & Raydan 2000, "Nonmonotone
spectral projected gradient methods on convex sets", algorithm 2.2): Barzilai-Borwein steps, so no step size to tune
for coefficients from 2^-20 to 2^20. `adam` is for objectives that draw fresh noise, where a line search would chase
the noise.
"""

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from doubleback.attacks.rows import Advance, Best, RowObjective, value_and_gradient
from doubleback.errors import InputError
from doubleback.memory import rows_within
from doubleback.tensors import column, tiny

Method = Literal["spectral", "adam"]

LOW, HIGH = 0.0, 1.0  # the box: images in [0, 1]
_MEMORY = 10  # the line search accepts what is no worse than the worst of so many last values
_SUFFICIENT = 1e-4  # ... less this share of the predicted decrease
_FIRST_CHANGE = 0.01  # largest change in the first step: across the box, what is clipped would have to be unlearned
MAX_ROWS = 2048  # in a chunk, on a processor
VALUES_A_GIB = 2**18  # in a chunk on a GPU, for each GiB that it has: it takes many rows to keep one busy


@dataclass(frozen=True)
class Optimum:
    """The best iterates.

    Attributes:
        x: (N, ...), inside the box.
        value: (N,), the objective (or the score) there.
        converged: (N,), whether the row left before the last step, from every start: more steps would change nothing.
    """

    x: Float[Tensor, "N ..."]
    value: Float[Tensor, "N"]
    converged: Bool[Tensor, "N"]

    def better(self, other: "Optimum") -> "Optimum":
        """The better of the two, row by row."""
        mine = self.value <= other.value
        return Optimum(
            torch.where(column(mine, self.x), self.x, other.x),
            torch.where(mine, self.value, other.value),
            self.converged & other.converged,
        )


def rows_together(x: Float[Tensor, "N ..."]) -> int:
    """How many rows like those of x go through in one chunk: what bounds the memory."""
    most = MAX_ROWS
    if x.device.type == "cuda":
        gib = torch.cuda.get_device_properties(x.device).total_memory / 2**30
        most = max(MAX_ROWS, int(gib * VALUES_A_GIB) // x[0].numel())
    return min(most, rows_within())


def minimize(
    objective: RowObjective,
    start: Float[Tensor, "N ..."],
    *,
    steps: int = 300,
    method: Method = "spectral",
    step_size: float = 0.05,
    tolerance: float = 1e-4,
    floor: Float[Tensor, "N"] | None = None,
    score: RowObjective | None = None,
    patience: int = 10,
    max_rows: int | None = None,
    advance: Advance | None = None,
) -> Optimum:
    """Minimise `objective` row by row inside the box.

    Args:
        objective: differentiable; may draw fresh noise only with `method="adam"`.
        start: (N, ...), projected on the box first.
        steps: evaluations of the objective after the first.
        method: "spectral" or "adam".
        step_size: of Adam, in units of x, falling to zero on a cosine.
        tolerance: a row leaves when `patience` steps have lowered its best value by less than this share of it,
        floor: ... or by less than this, in units of the objective; None: 0.
        score: what decides the best iterate where the objective is noisy: looked at every `patience` steps, and last.
        patience: steps between two looks at who has converged.
        max_rows: rows in a chunk: what bounds the memory; None: `rows_together`.
        advance: told of the progress, for a bar.

    Returns:
        The best iterates. No value is above the one at the start.

    Raises:
        InputError: a count is under 1, the method unknown, or the objective is not finite at
            the start.
    """
    max_rows = rows_together(start) if max_rows is None else max_rows
    for name, count in (("steps", steps), ("patience", patience), ("max_rows", max_rows)):
        if count < 1:
            raise InputError(f"{name} is {count}; give a whole number of at least 1")
    if method not in ("spectral", "adam"):
        raise InputError(f"method is {method!r}; choose 'spectral' or 'adam'")
    start = start.detach().clamp(LOW, HIGH)
    best = Best(start)
    task = _Task(
        objective,
        best,
        converged=torch.zeros(len(start), dtype=torch.bool, device=start.device),
        steps=steps,
        step_size=step_size,
        tolerance=tolerance,
        floor=torch.zeros_like(best.value) if floor is None else floor,
        score=score,
        patience=patience,
        advance=advance or (lambda _: None),
    )
    for rows in torch.split(torch.arange(len(start), device=start.device), max_rows):
        (_spectral if method == "spectral" else _adam)(task, rows)
    return Optimum(best.x, best.value, task.converged)


def minimize_from(
    objective: RowObjective,
    starts: Float[Tensor, "S N ..."],
    *,
    floor: Float[Tensor, "N"] | None = None,
    score: RowObjective | None = None,
    **settings: Any,
) -> Optimum:
    """The best of `minimize` over several starts, row by row, in one batch: more starts never make it worse.

    Args:
        objective: as in `minimize`, of rows numbered from 0 to S N - 1: row s N + n is row n, from start s.
        starts: S starts for each of the N rows.
        floor: as in `minimize`.
        score: as in `minimize`, of rows numbered from 0 to N - 1.
        settings: the others of `minimize`.
    """
    S, N = starts.shape[:2]
    found = minimize(
        objective,
        starts.flatten(0, 1),
        floor=None if floor is None else floor.repeat(S),
        score=None if score is None else lambda x, rows: score(x, rows % N),
        **settings,
    )
    parts = (part.view(S, N, *part.shape[1:]) for part in (found.x, found.value, found.converged))
    return reduce(Optimum.better, (Optimum(*one) for one in zip(*parts, strict=True)))


@dataclass(frozen=True)
class _Task:
    """What is minimised, what is known of it, and when a row has had enough: as in `minimize`."""

    objective: RowObjective
    best: Best
    converged: Bool[Tensor, "N"]
    steps: int
    step_size: float
    tolerance: float
    floor: Float[Tensor, "N"]
    score: RowObjective | None
    patience: int
    advance: Advance


def _spectral(task: _Task, rows: Tensor) -> None:
    """x <- x + lam d with d = P(x - a g) - x, a = s's / s'y, lam by backtracking against the last values' worst."""
    objective, best, steps, advance = task.objective, task.best, task.steps, task.advance
    x = best.x.index_select(0, rows)
    f, g = value_and_gradient(objective, x, rows)
    _check_start(f)
    best.offer(rows, x, f)
    f_before = f
    first = _direction(x, g, torch.ones_like(f))
    a = _FIRST_CHANGE / first.flatten(1).abs().amax(1).clamp_min(tiny(f))
    d = _direction(x, g, a)
    slope, lam = _dot(g, d), torch.ones_like(f)
    recent = f.expand(_MEMORY, -1).clone()
    for step in range(1, steps + 1):
        x_new = torch.addcmul(x, column(lam, x), d).clamp_(LOW, HIGH)
        f_new, g_new = value_and_gradient(objective, x_new, rows)
        f_new = f_new.nan_to_num(nan=math.inf)
        best.offer(rows, x_new, f_new)
        accepted = f_new <= recent.amax(0) + _SUFFICIENT * lam * slope
        curvature = _dot(g_new, d) - slope  # s = lam d, so s's / s'y = lam d'd / (d'g_new - d'g)
        a_new = ((lam * _dot(d, d)).clamp_min(tiny(f)) / curvature.clamp_min(0)).clamp(1e-10, 1e10)
        lam_new, recent_new = torch.ones_like(lam), f_new.clone()
        refused = torch.nonzero(~accepted).squeeze(1)
        if len(refused):  # few: these stay where they are, and try a shorter step
            lam_new.index_copy_(0, refused, _backtracked(*(v[refused] for v in (lam, f, f_new, slope))))
            before = (x, g, f, a, recent[step % _MEMORY])
            for new, old in zip((x_new, g_new, f_new, a_new, recent_new), before, strict=True):
                new.index_copy_(0, refused, old.index_select(0, refused))
        x, g, f, a, lam = x_new, g_new, f_new, a_new, lam_new
        recent[step % _MEMORY] = recent_new
        d = _direction(x, g, a)
        slope = _dot(g, d)
        advance(len(rows))
        if step % task.patience == 0:
            f_now = best.value[rows]
            done = f_before - f_now <= torch.maximum(task.tolerance * f_now.abs(), task.floor[rows])
            task.converged[rows[done]] = True
            left = torch.nonzero(~done).squeeze(1)
            advance((len(rows) - len(left)) * (steps - step))
            if not len(left):
                return
            state = (rows, x, g, f, a, d, slope, lam, f_now)
            rows, x, g, f, a, d, slope, lam, f_before = (v.index_select(0, left) for v in state)
            recent = recent.index_select(1, left)


def _check_start(f: Tensor) -> None:
    if not torch.isfinite(f).all():
        raise InputError("the objective is not finite at the start; check the model and the images for NaN")


def _direction(x: Tensor, g: Tensor, a: Tensor) -> Tensor:
    """d = P(x - a g) - x."""
    return torch.addcmul(x, column(a, x), g, value=-1).clamp_(LOW, HIGH).sub_(x)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """x'y, row by row."""
    product: Tensor = torch.linalg.vecdot(x.flatten(1), y.flatten(1))
    return product


def _backtracked(lam: Tensor, f: Tensor, f_new: Tensor, slope: Tensor) -> Tensor:
    """The minimiser of the parabola through f, slope and f_new, kept within [0.1, 0.5] of the last step."""
    parabola = -0.5 * lam.square() * slope / (f_new - f - lam * slope)
    return torch.minimum(torch.maximum(parabola.nan_to_num(nan=0.0), 0.1 * lam), 0.5 * lam)


def _adam(task: _Task, rows: Tensor) -> None:
    """Adam (Kingma & Ba 2015) projected on the box, its step falling to zero on a cosine."""
    objective, best, score, steps = task.objective, task.best, task.score, task.steps
    x = best.x.index_select(0, rows)
    first, second = torch.zeros_like(x), torch.zeros_like(x)
    for step in range(steps + 1):
        f, g = value_and_gradient(objective, x, rows)
        if step == 0:
            _check_start(f)
        if score is None:
            best.offer(rows, x, f)
        elif step % task.patience == 0 or step == steps:
            with torch.no_grad():
                best.offer(rows, x, score(x, rows))
        first.lerp_(g, 0.1)
        second.lerp_(g.square(), 0.001)
        mean, scale = first / (1 - 0.9 ** (step + 1)), (second / (1 - 0.999 ** (step + 1))).sqrt()
        rate = task.step_size * 0.5 * (1 + math.cos(math.pi * step / steps))
        x = (x - rate * mean / (scale + tiny(f))).clamp(LOW, HIGH)
        task.advance(len(rows) if step else 0)
