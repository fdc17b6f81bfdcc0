"""The engine against problems whose minimiser is known, and what must hold for any objective."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from doubleback.attacks.engine import minimize, minimize_from
from doubleback.errors import InputError


class Quadratics:
    """Row i: 1/2 (x - c_i)' A_i (x - c_i) with a random positive definite A_i; its minimum over a box by bounds."""

    def __init__(self, rows: int, size: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        root = torch.randn(rows, size, size, generator=generator, dtype=torch.float64)
        self.A = root @ root.mT / size + 0.1 * torch.eye(size, dtype=torch.float64)
        self.c = torch.rand(rows, size, generator=generator, dtype=torch.float64)
        self.seen: list[int] = []

    def __call__(self, x: Tensor, rows: Tensor) -> Tensor:
        self.seen.append(len(x))
        d = x - self.c[rows]
        return 0.5 * torch.einsum("ni,nij,nj->n", d, self.A[rows], d)


def test_spectral_finds_the_interior_minimum() -> None:
    problem = Quadratics(7, 12)
    found = minimize(problem, torch.zeros(7, 12, dtype=torch.float64), steps=300)
    assert found.value.max() < 1e-6 * problem(torch.zeros(7, 12, dtype=torch.float64), torch.arange(7)).min()
    assert found.converged.all()


def test_spectral_stops_at_the_box() -> None:
    """A separable quadratic's minimiser in a box is its centre, clamped."""
    centre = torch.tensor([[-1.0, 0.3, 2.0]], dtype=torch.float64)
    weight = torch.tensor([[1.0, 100.0, 0.01]], dtype=torch.float64)
    found = minimize(lambda x, rows: (weight * (x - centre).square()).sum(1)[rows * 0], torch.full_like(centre, 0.5))
    assert torch.allclose(found.x, centre.clamp(0, 1), atol=1e-4)


def test_adam_finds_the_minimum() -> None:
    problem = Quadratics(5, 6)
    start = torch.zeros(5, 6, dtype=torch.float64)
    found = minimize(problem, start, method="adam", steps=400)
    assert (found.value < 1e-3 * problem(start, torch.arange(5))).all()
    assert not found.converged.any()


@given(seed=st.integers(0, 10_000), scale=st.floats(1e-6, 1e6), steps=st.integers(1, 40))
@settings(deadline=None, max_examples=25)
def test_the_best_value_never_rises(seed: int, scale: float, steps: int) -> None:
    """More steps never end higher, no end is above the start, and the value belongs to the iterate."""

    def objective(x: Tensor, rows: Tensor) -> Tensor:
        return scale * (torch.sin(7 * x + rows[:, None]) + (x - 0.4).square()).sum(1)

    start = torch.rand(4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows = torch.arange(4)
    for method in ("spectral", "adam"):
        short = minimize(objective, start, steps=steps, method=method)
        assert (short.value <= objective(start, rows)).all()
        assert torch.equal(short.value, objective(short.x, rows))
        assert short.x.min() >= 0
        assert short.x.max() <= 1
    longer = minimize(objective, start, steps=steps + 7)
    assert (longer.value <= minimize(objective, start, steps=steps).value).all()


def test_more_starts_never_hurt() -> None:
    def objective(x: Tensor, rows: Tensor) -> Tensor:
        return torch.sin(9 * x).sum(1) + rows % 6

    starts = torch.rand(4, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = [minimize_from(objective, starts[:count], steps=20).value for count in range(1, 5)]
    assert all((after <= before).all() for before, after in pairwise(values))
    assert (values[-1] < values[0]).any()


def test_a_group_of_starts_is_its_starts_one_by_one() -> None:
    problem = Quadratics(5, 3)
    starts = torch.rand(3, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = minimize_from(
        lambda x, rows: problem(x, rows % 5), starts, steps=3, floor=torch.zeros(5, dtype=torch.float64)
    )
    apart = [minimize(problem, start, steps=3) for start in starts]
    value, best = torch.stack([one.value for one in apart]).min(0)
    assert torch.allclose(together.value, value, rtol=1e-9)
    assert torch.allclose(together.x, torch.stack([one.x for one in apart])[best, torch.arange(5)], rtol=0, atol=1e-9)


def test_a_floor_lets_rows_leave() -> None:
    """A gain of less than the floor in ten steps is not worth ten more."""
    problem = Quadratics(2, 30)
    problem.A[:] = torch.diag(torch.logspace(-3, 3, 30, dtype=torch.float64))
    start = torch.zeros(2, 30, dtype=torch.float64)
    minimize(problem, start, steps=200, tolerance=0, floor=torch.tensor([0.0, 1e3], dtype=torch.float64))
    assert problem.seen.count(2) == 11
    assert problem.seen.count(1) == 190


def test_rows_do_not_interact_and_chunks_do_not_matter() -> None:
    problem = Quadratics(9, 4)
    start = torch.full((9, 4), 0.9, dtype=torch.float64)
    whole = minimize(problem, start, steps=50)
    chunked = minimize(problem, start, steps=50, max_rows=2)
    assert torch.allclose(whole.x, chunked.x, rtol=0, atol=1e-12)


def test_converged_rows_leave_the_batch() -> None:
    """One easy row, one that needs many steps: the batch shrinks to the hard one."""
    problem = Quadratics(2, 30)
    problem.A[0] = torch.eye(30)
    problem.A[1] = torch.diag(torch.logspace(-3, 3, 30, dtype=torch.float64))
    minimize(problem, torch.zeros(2, 30, dtype=torch.float64), steps=200)
    assert problem.seen[0] == 2
    assert problem.seen[-1] == 1


def test_chunks_bound_the_batch() -> None:
    problem = Quadratics(10, 3)
    minimize(problem, torch.zeros(10, 3, dtype=torch.float64), steps=5, max_rows=4)
    assert max(problem.seen) == 4


@pytest.mark.parametrize("method", ["spectral", "adam"])
def test_progress_adds_up(method: str) -> None:
    told: list[int] = []
    minimize(Quadratics(5, 3), torch.zeros(5, 3, dtype=torch.float64), steps=47, method=method, advance=told.append)
    assert sum(told) == 5 * 47


def test_noise_is_scored_apart() -> None:
    """With a score, the best iterate is the score's, whatever the noisy objective said."""
    generator = torch.Generator().manual_seed(0)

    def noisy(x: Tensor, rows: Tensor) -> Tensor:
        return (x - 0.5).square().sum(1) + torch.randn(len(x), generator=generator)

    def score(x: Tensor, rows: Tensor) -> Tensor:
        return (x - 0.5).square().sum(1)

    found = minimize(noisy, torch.zeros(3, 2), method="adam", score=score, steps=100)
    assert torch.equal(found.value, score(found.x, torch.arange(3)))
    assert found.value.max() < 1e-3


def test_a_constant_objective_stays_where_it_is() -> None:
    start = torch.full((2, 3), 0.25)
    found = minimize(lambda x, rows: 0 * x.sum(1) + 1, start)
    assert torch.equal(found.x, start)
    assert found.converged.all()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"max_rows": 0}, "max_rows is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"method": "newton"}, "method is 'newton'"),
    ],
)
def test_bad_settings(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        minimize(lambda x, rows: x.sum(1), torch.zeros(1, 1), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["spectral", "adam"])
def test_an_objective_that_is_nan_at_the_start(method: str) -> None:
    """It must not pass for an attack that failed."""
    with pytest.raises(InputError, match="not finite at the start"):
        minimize(lambda x, rows: (x * float("nan")).sum(1), torch.zeros(1, 1), method=method)
