"""Descent inside a ball: iterates by hand, APGD against its algorithm written out, and what holds for any objective."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from doubleback.attacks.ball import L2Ball, LinfBall, ball_about
from doubleback.attacks.projected import checkpoints, minimize_in_ball

METHODS = ("pgd", "apgd")
NORMS = ("Linf", "L2")


class Waves:
    """Row i: sum_k a_ik sin(w_ik x_k + p_ik) + lift_i, far from convex; what counts is what is minimised."""

    def __init__(self, rows: int, size: int, seed: int = 0, lift: float = 100.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        a, w, p = torch.rand(3, rows, 1, 1, size, generator=generator, dtype=torch.float64)
        self.a, self.w, self.p = a + 0.2, 3 + 9 * w, 6 * p
        self.lift = torch.full((rows,), lift, dtype=torch.float64)
        self.x0 = torch.rand(rows, 1, 1, size, generator=generator, dtype=torch.float64)
        self.seen: list[Tensor] = []

    def value(self, x: Tensor, rows: Tensor) -> Tensor:
        waves = self.a[rows] * torch.sin(self.w[rows] * x + self.p[rows])
        return waves.flatten(1).sum(1) + self.lift[rows]

    def __call__(self, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        self.seen.append(x.detach().clone())
        value = self.value(x, rows)
        return value, value


def pixel(value: float) -> Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def identity(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    value = x.flatten(1).sum(1)
    return value, value


def watched(objective: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> tuple[Callable, list[float]]:
    seen: list[float] = []

    def watching(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        seen.extend(x.flatten().tolist())
        return objective(x, rows)

    return watching, seen


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_by_hand(norm: str) -> None:
    """Steps of 0.3 eps down a slope of 1, then the edge of the ball: steps gradients and one look at the end."""
    objective, seen = watched(identity)
    ball = ball_about(pixel(0.5), 0.2, norm)  # type: ignore[arg-type]
    found = minimize_in_ball(objective, ball, pixel(0.5), steps=5, step_size=0.3)
    assert seen == pytest.approx([0.5, 0.44, 0.38, 0.32, 0.3, 0.3])
    assert found.value.item() == pytest.approx(0.3)
    assert torch.allclose(found.x, pixel(0.3))


def test_apgd_by_hand() -> None:
    """|x - 0.45| about 0.5 with eps 0.2, ten steps: checkpoints 3, 5, 6, 7, 8, 9, 10.

    The first step, of 2 eps, ends at the edge, 0.3 (values 0.05, then 0.15). From there z = 0.7, the other edge, and
    x = 0.3 + 0.75 * 0.4 + 0.25 * (0.3 - 0.5) = 0.55 (0.1); then z = 0.3 and x = 0.55 - 0.1875 + 0.0625 = 0.425 (0.025).
    Two of three steps were downhill, fewer than 2.25: a = 0.2, from the best, 0.425, without momentum: z = 0.625.
    """

    def off(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        value = (x - 0.45).abs().flatten(1).sum(1)
        return value, value

    objective, seen = watched(off)
    minimize_in_ball(objective, ball_about(pixel(0.5), 0.2, "Linf"), pixel(0.5), method="apgd", steps=10)
    assert seen[:5] == pytest.approx([0.5, 0.3, 0.55, 0.425, 0.425 + 0.75 * 0.2])
    assert len(seen) == 11


def apgd_as_published(problem: Waves, row: int, ball: LinfBall | L2Ball, steps: int) -> list[Tensor]:
    """Algorithm 1 of Croce & Hein for one row, upside down: its iterates. Going back, it forgets its momentum."""
    number = torch.tensor([row])

    def f_and_g(x: Tensor) -> tuple[float, Tensor]:
        x = x.clone().requires_grad_()
        value = problem.value(x, number)
        value.backward()
        assert x.grad is not None
        return value.item(), x.grad

    p = [0.0, 0.22]
    while p[-1] <= 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    W = [math.ceil(share * steps - 1e-9) for share in p if share <= 1]
    eta = 2 * float(ball.eps)
    trail = [problem.x0[number]]
    values = [f_and_g(trail[0])[0]]
    best, f_best = trail[0], values[0]
    at_checkpoint = {0: (eta, f_best)}
    x, before = trail[0], trail[0]
    came_from = [math.inf]  # the value that each step set out from
    for k in range(steps):
        f, g = f_and_g(x)
        z = ball.project(x + eta * ball.descent(g))
        alpha = 1.0 if k == 0 else 0.75
        x, before = ball.project(x + alpha * (z - x) + (1 - alpha) * (x - before)), x
        trail.append(x)
        came_from.append(f)
        values.append(f_and_g(x)[0])
        if values[-1] < f_best:
            best, f_best = x, values[-1]
        if k + 1 in W:
            last = max(w for w in W if w < k + 1)
            downhill = sum(values[i] < came_from[i] for i in range(last + 1, k + 2))
            at_checkpoint[k + 1] = (eta, f_best)
            if downhill < 0.75 * (k + 1 - last) or at_checkpoint[last] == at_checkpoint[k + 1]:
                eta, x, before = eta / 2, best, best
    return trail


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_apgd_takes_the_published_steps(norm: str, steps: int) -> None:
    problem = Waves(6, 3, seed=1)
    ball = ball_about(problem.x0, 0.4, norm)  # type: ignore[arg-type]
    found = minimize_in_ball(problem, ball, problem.x0, method="apgd", steps=steps)
    trail = torch.stack(problem.seen, 1)
    assert trail.shape[1] == steps + 1
    for row in range(6):
        expected = torch.cat(apgd_as_published(problem, row, ball.at(torch.tensor([row])), steps))  # type: ignore[arg-type]
        assert torch.allclose(trail[row], expected, rtol=0, atol=1e-9)
        best = problem.value(expected, torch.full((steps + 1,), row)).min()
        assert found.value[row].item() == pytest.approx(best.item(), abs=1e-9)


def test_checkpoints_by_hand() -> None:
    """p: 0.22, then 0.19, 0.16, 0.13, 0.10, 0.07 and from there 0.06 further."""
    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert sorted(checkpoints(10)) == [3, 5, 6, 7, 8, 9, 10]
    assert sorted(checkpoints(1000)) == [220, 410, 570, 700, 800, 870, 930, 990]


@given(steps=st.integers(1, 2000))
@settings(deadline=None, max_examples=50)
def test_checkpoints_come_ever_closer(steps: int) -> None:
    found = sorted(checkpoints(steps))
    assert found[0] >= 1
    assert found[-1] <= steps
    gaps = [after - before for before, after in pairwise([0, *found])]
    assert all(after <= before + 1 for before, after in pairwise(gaps))  # rounded up


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", NORMS)
@given(seed=st.integers(0, 10_000), eps=st.floats(0, 2), steps=st.integers(1, 30))
@settings(deadline=None, max_examples=20)
def test_the_best_iterate_is_kept(method: str, norm: str, seed: int, eps: float, steps: int) -> None:
    """Of all that were seen, the start among them, the lowest: its value, and a point of the ball."""
    problem = Waves(3, 4, seed)
    ball = ball_about(problem.x0, eps, norm)  # type: ignore[arg-type]
    found = minimize_in_ball(problem, ball, problem.x0, method=method, steps=steps, step_size=0.7)  # type: ignore[arg-type]
    rows = torch.arange(3)
    assert torch.equal(found.value, problem.value(found.x, rows))
    assert torch.equal(found.value, torch.stack([problem.value(x, rows) for x in problem.seen]).amin(0))
    assert torch.allclose(ball.project(found.x), found.x, rtol=0, atol=1e-12)
    assert len(problem.seen) == steps + 1


def test_more_steps_never_hurt_pgd() -> None:
    problem = Waves(5, 4)
    ball = ball_about(problem.x0, 0.5, "Linf")
    values = [minimize_in_ball(problem, ball, problem.x0, steps=steps, step_size=0.3).value for steps in (1, 4, 20)]
    assert all((after <= before).all() for before, after in pairwise(values))
    assert (values[-1] < values[0]).any()


@pytest.mark.parametrize("method", METHODS)
def test_what_counts_may_differ_from_what_is_minimised(method: str) -> None:
    """x falls from 0.5 to 0.3; what counts is lowest half way there, and that iterate is kept."""

    def objective(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1).sum(1), 1 + (x - 0.4).abs().flatten(1).sum(1)

    ball = ball_about(pixel(0.5), 0.2, "Linf")
    seen = [0.5, 0.4, 0.3] if method == "pgd" else [0.5, 0.3]
    found = minimize_in_ball(objective, ball, pixel(0.5), method=method, steps=3, step_size=0.5)  # type: ignore[arg-type]
    best = min(abs(x - 0.4) for x in seen)
    assert found.value.item() == pytest.approx(1 + best)


@pytest.mark.parametrize("method", METHODS)
def test_rows_leave_once_they_need_no_more(method: str) -> None:
    """Row i starts i above zero and falls by 1 at most: who ends at or below it does not hang on who left."""
    sizes: list[int] = []

    def objective(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(len(x))
        value = x.flatten(1).sum(1) - 0.5 + 0.1 * rows
        return value, value

    x0 = torch.full((10, 1, 1, 1), 0.5, dtype=torch.float64)
    ball = ball_about(x0, 0.35, "Linf")
    ends = {}
    for keep in (False, True):
        sizes.clear()
        ends[keep] = minimize_in_ball(objective, ball, x0, method=method, steps=20, step_size=0.1, keep=keep)  # type: ignore[arg-type]
        assert sizes[-1] == (10 if keep else 6)
    assert torch.equal(ends[True].value <= 0, ends[False].value <= 0)
    assert (ends[True].value <= 0).tolist() == [True] * 4 + [False] * 6
    assert torch.allclose(ends[True].value, -0.35 + 0.1 * torch.arange(10, dtype=torch.float64))
    assert torch.allclose(ends[True].value[4:], ends[False].value[4:])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", NORMS)
def test_leaving_and_chunks_change_no_other_row(method: str, norm: str) -> None:
    problem = Waves(23, 3, lift=1.0)
    ball = ball_about(problem.x0, 0.3, norm)  # type: ignore[arg-type]

    def run(**given: object) -> tuple[Tensor, Tensor]:
        found = minimize_in_ball(problem, ball, problem.x0, method=method, steps=15, step_size=0.2, **given)  # type: ignore[arg-type]
        return found.value, found.x

    (whole, at), (left, at_left), (parts, at_parts) = run(keep=True), run(), run(max_rows=4)
    stayed = whole > 0
    assert 0 < stayed.sum() < 23
    for value, x in ((left, at_left), (parts, at_parts)):
        assert torch.equal(value > 0, stayed)
        assert torch.allclose(value[stayed], whole[stayed], rtol=0, atol=1e-9)
        assert torch.allclose(x[stayed], at[stayed], rtol=0, atol=1e-9)
    assert max(len(x) for x in problem.seen[-16:]) <= 4


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("lift", [-100.0, 1.0, 100.0])
def test_progress_adds_up(method: str, keep: bool, lift: float) -> None:
    problem = Waves(23, 3, lift=lift)
    told: list[int] = []
    minimize_in_ball(
        problem,
        ball_about(problem.x0, 0.3, "Linf"),
        problem.x0,
        method=method,  # type: ignore[arg-type]
        steps=11,
        keep=keep,
        max_rows=10,
        advance=told.append,
    )
    assert sum(told) == 23 * 11


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", NORMS)
def test_where_there_is_no_gradient_nothing_moves(method: str, norm: str) -> None:
    """Rounded away, a constant, NaN: no crash, and the start is what is left."""
    x0 = torch.full((2, 1, 1, 2), 0.3)
    for flat in (
        lambda x: x.detach().flatten(1).sum(1),
        lambda x: 0 * x.flatten(1).sum(1) + 1,
        lambda x: x.round().flatten(1).sum(1) + 1,
        lambda x: (x - x.detach()).sqrt().flatten(1).sum(1) + 1,
    ):

        def objective(x: Tensor, rows: Tensor, flat: Callable[[Tensor], Tensor] = flat) -> tuple[Tensor, Tensor]:
            return flat(x), flat(x)

        found = minimize_in_ball(objective, ball_about(x0, 0.1, norm), x0, method=method, steps=5)  # type: ignore[arg-type]
        assert torch.equal(found.x, x0)
        assert found.value.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_a_nan_is_never_best(method: str) -> None:
    """Below 0.35 the objective is NaN: the last iterate above it is kept."""

    def objective(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        value = torch.where(x < 0.35, math.nan, x).flatten(1).sum(1)
        return value, value

    found = minimize_in_ball(
        objective,
        ball_about(pixel(0.5), 0.2, "Linf"),
        pixel(0.5),
        method=method,  # type: ignore[arg-type]
        steps=8,
        step_size=0.25,
    )
    assert 0.35 <= found.value.item() <= 0.5
    assert found.x.item() == found.value.item()
