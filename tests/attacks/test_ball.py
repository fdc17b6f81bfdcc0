"""The balls: where points project to, which way is down, and what lies inside; by hand, then for any ball."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from doubleback.attacks.ball import L2Ball, LinfBall, ball_about
from doubleback.errors import InputError

NORMS = ("Linf", "L2")
SHAPE = (1, 2, 3)

many = settings(deadline=None, max_examples=50)
seeds = st.integers(0, 10_000)
radii = st.floats(0, 3)


def points(seed: int, count: int = 4, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Centres in the box, and points in and about it."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(count, *SHAPE, generator=generator, dtype=dtype)
    return centre, 4 * torch.rand(count, *SHAPE, generator=generator, dtype=dtype) - 1.5


def inside(seed: int, centre: Tensor, eps: float, norm: str) -> Tensor:
    """Points of the ball and the box, found without a projection: on the way from the centre to points of the box."""
    end = torch.rand(centre.shape, generator=torch.Generator().manual_seed(seed), dtype=centre.dtype)
    way = end - centre
    length = way.flatten(1).norm(dim=1, p=math.inf if norm == "Linf" else 2)
    return centre + way * (eps / length).clamp_max(1).view(-1, 1, 1, 1)


def row(*values: float) -> Tensor:
    return torch.tensor([[[values]]], dtype=torch.float64)


def test_linf_by_hand() -> None:
    ball = ball_about(row(0.5, 0.9, 0.0, 0.3), 0.2, "Linf")
    assert torch.allclose(ball.project(row(0.8, 1.4, -1, 0.2)), row(0.7, 1, 0, 0.2))
    assert torch.equal(ball.descent(row(2, -1e-30, 0, 3)), row(-1, 1, 0, -1))


def test_l2_by_hand() -> None:
    """(3, 4) is 5 long; the box cuts what is left of it."""
    assert torch.allclose(ball_about(row(0.5, 0.5), 0.25, "L2").project(row(3.5, 4.5)), row(0.65, 0.7))
    assert torch.allclose(ball_about(row(0.9, 0.5), 0.5, "L2").project(row(3.9, 4.5)), row(1, 0.9))
    assert torch.allclose(ball_about(row(0.5, 0.5), 0.25, "L2").project(row(0.6, 0.4)), row(0.6, 0.4))
    assert torch.allclose(ball_about(row(0.5, 0.5), 0.25, "L2").descent(row(3, -4)), row(-0.6, 0.8))


@given(seed=seeds, eps=radii)
@many
def test_linf_projects_to_the_nearest_point(seed: int, eps: float) -> None:
    centre, x = points(seed)
    projected = ball_about(centre, eps, "Linf").project(x)
    c = centre.numpy()
    assert np.allclose(projected.numpy(), np.clip(np.clip(x.numpy(), c - eps, c + eps), 0, 1), rtol=0, atol=1e-15)
    other = inside(seed + 1, centre, eps, "Linf")
    assert ((x - projected).flatten(1).norm(dim=1) <= (x - other).flatten(1).norm(dim=1) + 1e-12).all()


@given(seed=seeds, share=st.floats(0, 1))
@many
def test_l2_projects_to_the_nearest_point_where_the_box_is_far(seed: int, share: float) -> None:
    centre, x = points(seed)
    centre, eps = 0.4 + 0.2 * centre, 0.4 * share
    projected = ball_about(centre, eps, "L2").project(x)
    d = (x - centre).flatten(1)
    length = d.norm(dim=1, keepdim=True)
    expected = centre.flatten(1) + torch.where(length > eps, d * eps / length, d)
    assert torch.allclose(projected.flatten(1), expected, rtol=0, atol=1e-12)
    other = inside(seed + 1, centre, eps, "L2")
    assert ((x - projected).flatten(1).norm(dim=1) <= (x - other).flatten(1).norm(dim=1) + 1e-12).all()


@pytest.mark.parametrize("norm", NORMS)
@given(seed=seeds, eps=radii, single=st.booleans())
@many
def test_a_projection_is_feasible_and_stays_where_it_is(norm: str, seed: int, eps: float, single: bool) -> None:
    dtype, slack = (torch.float32, 1e-5) if single else (torch.float64, 1e-12)
    centre, x = points(seed, dtype=dtype)
    ball = ball_about(centre, eps, norm)  # type: ignore[arg-type]
    for y in (ball.project(x), ball.random(torch.Generator().manual_seed(seed))):
        assert y.dtype == dtype
        assert y.shape == x.shape
        assert y.min() >= 0
        assert y.max() <= 1
        length = (y - centre).flatten(1).norm(dim=1, p=math.inf if norm == "Linf" else 2)
        assert (length <= eps * (1 + slack) + slack).all()
        assert torch.allclose(ball.project(y), y, rtol=0, atol=slack)


@pytest.mark.parametrize("norm", NORMS)
@given(seed=seeds, eps=radii)
@many
def test_what_is_inside_stays(norm: str, seed: int, eps: float) -> None:
    centre, _ = points(seed)
    y = inside(seed + 1, centre, eps, norm)
    assert torch.allclose(ball_about(centre, eps, norm).project(y), y, rtol=0, atol=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", NORMS)
@given(seed=seeds, scale=st.floats(-15, 15).map(lambda power: 10**power))
@many
def test_the_direction_of_steepest_descent(norm: str, seed: int, scale: float) -> None:
    """Of norm 1; <g, d> is minus the dual norm of g (Hoelder), which no other direction of norm 1 beats."""
    generator = torch.Generator().manual_seed(seed)
    g, other = torch.randn(2, 4, *SHAPE, generator=generator, dtype=torch.float64)
    g = g * scale
    ball = ball_about(torch.full_like(g, 0.5), 0.1, norm)  # type: ignore[arg-type]
    p, dual = (math.inf, 1) if norm == "Linf" else (2, 2)
    d = ball.descent(g)
    assert torch.allclose(d.flatten(1).norm(dim=1, p=p), torch.ones(4, dtype=torch.float64))
    fall = (g * d).flatten(1).sum(1)
    assert torch.allclose(fall, -g.flatten(1).norm(dim=1, p=dual), rtol=1e-12)
    other = other / other.flatten(1).norm(dim=1, p=p).view(-1, 1, 1, 1)
    assert (fall <= (g * other).flatten(1).sum(1)).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-12, 1e-25, 1e-36])
def test_a_faint_gradient_has_a_direction(norm: str, scale: float) -> None:
    """In float32 the squares of 1e-25 are 0: a confident model's gradient must not pass for none."""
    g = scale * torch.tensor([[[[3.0, -4.0]]]])
    d = ball_about(torch.full_like(g, 0.5), 0.1, norm).descent(g)  # type: ignore[arg-type]
    expected = [-1.0, 1.0] if norm == "Linf" else [-0.6, 0.8]
    assert d.flatten().tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_no_gradient_no_direction(norm: str) -> None:
    g = torch.zeros(2, *SHAPE)
    assert torch.equal(ball_about(g, 0.1, norm).descent(g).abs(), g)  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", NORMS)
def test_no_radius_leaves_the_centre(norm: str) -> None:
    centre, x = points(0)
    ball = ball_about(centre, 0.0, norm)  # type: ignore[arg-type]
    assert torch.equal(ball.project(x), centre)
    assert torch.equal(ball.random(torch.Generator().manual_seed(0)), centre)


@pytest.mark.parametrize(("norm", "power"), [("Linf", 1), ("L2", 2)])
def test_random_points_are_uniform(norm: str, power: int) -> None:
    """Of two pixels: |d_1| / eps is uniform in a square, (||d|| / eps)^2 in a disc; no direction is preferred."""
    centre, eps = torch.full((20_000, 1, 1, 2), 0.5, dtype=torch.float64), 0.4
    ball = ball_about(centre, eps, norm)  # type: ignore[arg-type]
    d = (ball.random(torch.Generator().manual_seed(0)) - centre).flatten(1) / eps
    size = d[:, 0].abs() if norm == "Linf" else d.norm(dim=1)
    u = (size**power).sort().values
    expected = torch.linspace(0, 1, len(u), dtype=torch.float64)
    assert (u - expected).abs().max() < 1.63 / len(u) ** 0.5  # Kolmogorov and Smirnov, 1 %
    assert d.mean(0).abs().max() < 0.02
    assert torch.equal(ball.random(torch.Generator().manual_seed(0)), ball.random(torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("kind", [LinfBall.about, L2Ball])
def test_every_row_has_its_own_radius(kind: type[L2Ball]) -> None:
    centre, x = points(3)
    eps = torch.tensor([0.0, 0.1, 0.3, 2.0], dtype=torch.float64)
    ball = kind(centre, eps)
    alone = [kind(centre[i : i + 1], eps[i : i + 1]).project(x[i : i + 1]) for i in range(4)]
    assert torch.equal(ball.project(x), torch.cat(alone))
    rows = torch.tensor([3, 1])
    assert torch.equal(ball.at(rows).project(x[rows]), ball.project(x)[rows])
    assert torch.equal(ball.at(rows).eps, eps[rows])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("eps", "norm", "said"),
    [
        (-0.1, "Linf", "eps is -0.1"),
        (math.nan, "L2", "eps is nan"),
        (math.inf, "Linf", "eps is inf"),
        (0.1, "L1", "norm is 'L1'"),
    ],
)
def test_bad_balls(eps: float, norm: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        ball_about(torch.zeros(1, *SHAPE), eps, norm)  # type: ignore[arg-type]
