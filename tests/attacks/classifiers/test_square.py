"""Square against linear models, whose weakest point in a ball is known, and against models that give no gradient."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from doubleback.attacks.classifiers import pgd, square
from doubleback.attacks.squares import side
from doubleback.errors import InputError
from doubleback.settings.ball import Norm

NORMS: tuple[Norm, ...] = ("Linf", "L2")


class Linear(nn.Module):
    """Two classes: the margin of class 0 is w . (x - 1/2) + room, so that it falls by eps ||w||_1 or eps ||w||_2.

    Args:
        shape: (C, H, W).
        room: the margin of a grey image.
        even: w is a ramp down the rows, not noise.
    """

    classes = (0, 1)

    def __init__(self, shape: tuple[int, int, int] = (1, 6, 5), room: float = 100.0, even: bool = False) -> None:
        super().__init__()
        self.w = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        if even:
            self.w = torch.linspace(-1, 1, shape[1], dtype=torch.float64)[:, None].expand(shape).clone()
        self.room = room
        self.asked: list[Tensor] = []
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x)
        margin = ((x - 0.5) * self.w).flatten(1).sum(1) + self.room
        return torch.stack([margin, torch.zeros_like(margin)], 1)


class Rounded(Linear):
    """The same of images in eight grey levels: its gradient is zero."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x * 7).round() / 7)


class NoGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Tensor:
        raise AssertionError("a gradient was taken")


class OneWay(Linear):
    """The same, but it can only be asked forwards."""

    def forward(self, x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        return super().forward(NoGradient.apply(x))


def grey(count: int, shape: tuple[int, int, int] = (1, 6, 5)) -> tuple[Tensor, Tensor]:
    """Images so far inside the box that eps < 0.5 does not reach its sides, and their class."""
    return torch.full((count, *shape), 0.5, dtype=torch.float64), torch.zeros(count, dtype=torch.long)


def noise(count: int, shape: tuple[int, int, int], seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, *shape, generator=generator, dtype=torch.float64).round(decimals=1)
    return images, torch.zeros(count, dtype=torch.long)


def length(d: Tensor, norm: Norm) -> Tensor:
    return torch.linalg.vector_norm(d.flatten(2), ord=torch.inf if norm == "Linf" else 2, dim=2)


@given(
    C=st.sampled_from([1, 3]),
    H=st.integers(2, 12),
    W=st.integers(2, 12),
    eps=st.floats(0, 3),
    norm=st.sampled_from(NORMS),
    queries=st.integers(1, 20),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(deadline=None, max_examples=30)
def test_all_that_is_asked_lies_in_the_ball_and_the_box(
    C: int, H: int, W: int, eps: float, norm: Norm, queries: int, dtype: torch.dtype
) -> None:
    x, y = noise(3, (C, H, W))
    x, model = x.to(dtype), Linear((C, H, W), room=1e6)
    found = square(model, x, y, eps=[eps], norm=norm, queries=queries)
    asked = torch.stack([found.x_adv[0], *model.asked[2:]])  # beside the count of classes and the images
    assert len(asked) == queries + 1
    assert 0 <= asked.min() <= asked.max() <= 1
    assert length(asked - x, norm).max() <= eps * (1 + (1e-5 if dtype == torch.float32 else 1e-12)) + 1e-7
    assert torch.allclose(found.margin[0], model(found.x_adv[0])[:, 0].to(dtype))
    assert not found.fooled.any()


@pytest.mark.parametrize(
    ("norm", "order", "shape", "share"),
    [
        ("Linf", 1, (1, 6, 5), 1 - 1e-9),
        ("Linf", 1, (3, 5, 8), 0.85),  # four times the pixels, and three signs to get right at once
        ("L2", 2, (1, 6, 5), 0.5),
        ("L2", 2, (3, 5, 8), 0.5),
    ],
)
def test_a_linear_model_falls_to_near_its_least_margin_never_below(
    norm: Norm, order: int, shape: tuple[int, int, int], share: float
) -> None:
    """In L2 w is smooth: squares of three pixels and more cannot follow one that is noise."""
    model, eps = Linear(shape, even=norm == "L2"), 0.1
    least = eps * torch.linalg.vector_norm(model.w, ord=order).item()
    found = square(model, *grey(20, shape), eps=[eps], norm=norm, queries=500)
    fall = (model.room - found.margin[0]) / least
    assert fall.max() <= 1 + 1e-9
    assert fall.min() > share


@pytest.mark.parametrize(("norm", "order", "over"), [("Linf", 1, 1.02), ("L2", 2, 1.8)])
def test_fooled_if_and_only_if_the_ball_reaches_the_other_class(norm: Norm, order: int, over: float) -> None:
    """From 0.1 on a point of the ball is of the other class; the order in which epsilons are asked for is kept."""
    model = Linear(even=norm == "L2")
    model.room = 0.1 * torch.linalg.vector_norm(model.w, ord=order).item()
    found = square(model, *grey(10), eps=[0.1 * over, 0.0999, 0.3], norm=norm, queries=400)
    assert found.eps == (0.1 * over, 0.0999, 0.3)
    assert found.fooled.all(1).tolist() == [True, False, True]
    assert found.fooled.any(1).tolist() == [True, False, True]


@pytest.mark.parametrize("norm", NORMS)
def test_no_gradient_is_taken(norm: Norm) -> None:
    x, y = grey(4)
    assert not square(OneWay(), x.requires_grad_(), y, eps=[0.1], norm=norm, queries=30).x_adv.requires_grad


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.15), ("L2", 1.0)])
def test_fools_a_model_whose_gradient_is_zero(norm: Norm, eps: float) -> None:
    x, y = grey(20)
    model = Rounded(room=0.0)
    model.room = 1.0 - (((x[0] * 7).round() / 7 - 0.5) * model.w).sum().item()  # a margin of 1
    assert not pgd(model, x, y, eps=[eps], norm=norm, random_start=False).fooled.any()
    assert square(model, x, y, eps=[eps], norm=norm, queries=300).fooled.all()


@pytest.mark.parametrize("norm", NORMS)
def test_a_target_is_reached_and_no_other_class(norm: Norm) -> None:
    """Scores of three classes: the mean of a third of the columns each. Class 2 is far nearer than the target."""
    x = torch.full((8, 1, 6, 6), 0.5)
    x[..., :2], x[..., 4:] = 0.6, 0.58

    class Thirds(nn.Module):
        classes = (0, 1, 2)

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([third.flatten(1).mean(1) for third in x.split(2, dim=3)], 1)

    y, targets, eps = torch.zeros(8, dtype=torch.long), torch.ones(8, dtype=torch.long), {"Linf": 0.08, "L2": 0.6}[norm]
    found = square(Thirds().eval(), x, y, eps=[eps], norm=norm, queries=300, targets=targets)
    assert found.fooled.all()
    scores = Thirds()(found.x_adv[0])
    assert torch.allclose(found.margin[0], scores[:, ::2].amax(1) - scores[:, 1], atol=1e-6)
    anything = square(Thirds().eval(), x, y, eps=[eps], norm=norm, queries=300)
    assert (Thirds()(anything.x_adv[0]).argmax(1) == 2).any()


@pytest.mark.parametrize("norm", NORMS)
def test_an_image_gets_the_same_whatever_the_others_are(norm: Norm) -> None:
    """The others are fooled at once, later, or never; what the first and the last get is the same."""
    x, y = noise(8, (3, 7, 6))
    model = Linear((3, 7, 6))
    model.room = 3.0 - float(((x[0] - 0.5) * model.w).sum())
    x[-1] = x[0]
    found = []
    for others in (x[0] - 0.3 * model.w.sign(), x[0] - 0.05 * model.w.sign(), x[0] + 0.3 * model.w.sign()):
        batch = x.clone()
        batch[1:-1] = others.clamp(0, 1)
        eps = 0.1 if norm == "Linf" else 1.0
        found.append(square(model, batch, y, eps=[eps], norm=norm, queries=100))
    mine = [(result.x_adv[0, [0, -1]], result.margin[0, [0, -1]]) for result in found]
    assert not torch.equal(mine[0][0][0], mine[0][0][1])  # each place has squares of its own
    for x_adv, margin in mine[1:]:
        assert torch.equal(x_adv, mine[0][0])
        assert torch.equal(margin, mine[0][1])


def test_a_fooled_image_is_left_as_it_is_while_it_waits() -> None:
    """One of twenty is fooled by the start: too few to leave, yet its iterate is that of a single query."""
    model = Linear(room=0.0)
    x, y = noise(20, (1, 6, 5))
    clean = ((x - 0.5) * model.w).flatten(1).sum(1)
    x[:1], x[1:] = x[clean.argmin()], x[clean.argmax()]
    model.room = 1e-3 - clean.min().item()
    one, many = (square(model, x, y, eps=[0.01], queries=queries, seed=1) for queries in (1, 50))
    assert one.fooled[0, 0]
    assert torch.equal(one.x_adv[0, 0], many.x_adv[0, 0])
    assert len(model.asked[-1]) == 20


@given(queries=st.integers(1, 60), seed=st.integers(0, 1000), norm=st.sampled_from(NORMS))
@settings(deadline=None, max_examples=10)
def test_the_search_never_ends_above_its_start(queries: int, seed: int, norm: Norm) -> None:
    """The start is the first query of any number of them; later ones lie on another schedule, and may be worse."""
    x, y = noise(4, (1, 5, 6))
    start, end = (square(Linear((1, 5, 6)), x, y, eps=[0.3], norm=norm, queries=q, seed=seed) for q in (1, queries))
    assert (end.margin <= start.margin).all()
    assert (start.margin[0] <= Linear((1, 5, 6))(x)[:, 0]).all()


def test_the_first_linf_query_is_stripes_and_every_other_moves_the_same_square_of_all_channels() -> None:
    model = Linear((3, 9, 7))
    x, y = grey(5, (3, 9, 7))
    square(model, x, y, eps=[0.1], queries=200)
    _, _, start, *asked = model.asked
    assert torch.equal(start, start[:, :, :1].expand_as(start))
    assert torch.allclose((start - x).abs(), torch.full_like(x, 0.1))
    kept, least = start, model(start)[:, 0]
    for query, x_new in enumerate(asked[: 200 - 1], start=1):
        h = side(query, 200, 9, 7)
        moved = (x_new != kept).any(1)
        assert moved.flatten(1).any(1).all()  # no query is lost
        assert moved.any(2).sum(1).max() <= h
        assert moved.any(1).sum(1).max() <= h
        margin = model(x_new)[:, 0]
        kept = torch.where((margin < least)[:, None, None, None], x_new, kept)
        least = torch.minimum(margin, least)


def test_squares_reach_every_pixel() -> None:
    """Also the last row and column, which the authors' code leaves out."""
    model = Linear((1, 4, 6), room=100.0)
    x, y = grey(1, (1, 4, 6))
    found = square(model, x, y, eps=[0.1], queries=1000)
    assert torch.allclose(found.x_adv[0, 0], x[0] - 0.1 * model.w.sign())


def test_seeds_differ_and_repeat() -> None:
    x, y = noise(3, (1, 6, 5))
    same, again, other = (square(Linear(), x, y, eps=[0.1], queries=5, seed=seed).x_adv for seed in (1, 1, 2))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)


@pytest.mark.parametrize("norm", NORMS)
def test_every_row_query_is_told(norm: Norm) -> None:
    model = Linear()
    x, y = noise(9, (1, 6, 5))
    model.room = 0.5 - ((x - 0.5) * model.w).flatten(1).sum(1).min().item()  # margins of 0.5 and more
    told: list[int] = []
    found = square(model, x, y, eps=[0.3], norm=norm, queries=40, advance=told.append)
    assert found.fooled.any()
    assert len(model.asked[-1]) < 9  # some left early
    assert sum(told) == 9 * 40


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"norm": "L1"}, "norm is 'L1'"),
        ({"eps": [0.1, -0.1]}, "eps is -0.1"),
        ({"eps": []}, "eps is empty"),
        ({"queries": 0}, "queries is 0"),
        ({"samples": 0}, "samples is 0"),
        ({"targets": torch.tensor([0, 2])}, "the model knows 2"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_is_refused(changes: dict[str, Any], says: str) -> None:
    arguments: dict[str, Any] = {"eps": [0.1], "queries": 3} | changes
    with pytest.raises(InputError, match=says):
        square(Linear(), *grey(2), **arguments)
