"""What Square is made of: the sides of its squares, and, for L2, its start and its step."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from doubleback.attacks.ball import L2Ball
from doubleback.attacks.squares import _eta, _pyramid, _tiles, _two_squares, side


def test_side_falls_from_nine_tenths_of_the_image_to_one_pixel() -> None:
    sides = [side(query, 10_000, 32, 32) for query in range(1, 10_000)]
    assert sides == sorted(sides, reverse=True)
    assert (sides[0], sides[9], sides[10], sides[-1]) == (29, 29, 20, 1)
    assert side(1, 10, 2, 50) == 2  # no higher than the image
    assert side(9, 10, 28, 28, least=3) == 3
    assert side(9, 10, 2, 2, least=3) == 2


def test_eta_is_two_pyramids_of_norm_one() -> None:
    """By hand: the pyramid of 2 x 4 is 1/9 + 1/4 + 1 in its middle, less a term for each step away from it."""
    low, middle, high = 1 / 9, 1 / 9 + 1 / 4, 1 / 9 + 1 / 4 + 1
    assert torch.allclose(
        _pyramid(2, 4), torch.tensor([[low, middle, middle, middle], [low, middle, high, middle]]), atol=1e-6
    )
    ball = L2Ball(torch.zeros(1, 1, 4, 4), torch.ones(1))
    below, beside = _eta(torch.tensor([[[0.0]], [[1.0]]]), 4, ball)
    assert torch.equal(below, beside.T)
    assert torch.equal(below[:2], -below[2:])
    assert below.norm().item() == pytest.approx(1)


@pytest.mark.parametrize(("H", "W"), [(28, 28), (10, 17), (9, 4)])
def test_the_l2_start_is_a_grid_of_tiles(H: int, W: int) -> None:
    ball = L2Ball(torch.full((2, 3, H, W), 0.5, dtype=torch.float64), torch.full((2,), 0.1, dtype=torch.float64))
    delta = _tiles(ball, _draw(2)) - 0.5
    h = max(min(H, W) // 5, 1)
    top, left = H % h // 2, W % h // 2
    tiles = delta[..., top : top + H // h * h, left : left + W // h * h].unfold(2, h, h).unfold(3, h, h)
    norms = tiles.flatten(4).norm(dim=4)
    assert torch.allclose(norms, norms.mean())
    assert torch.allclose(delta.flatten(1).norm(dim=1), ball.eps)


def _draw(count: int, seed: int = 0) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.rand(count, *shape, generator=generator)


@pytest.mark.parametrize("used", [0.0, 0.6, 1.0])
def test_an_l2_step_spends_the_whole_norm_and_changes_two_squares(used: float) -> None:
    """Where the box does not clip: ||nu|| = eps after it, a channel keeps what lies outside of W1 and W2."""
    x, h = torch.full((50, 3, 9, 8), 0.5, dtype=torch.float64), 3
    ball = L2Ball(x, torch.full((50,), 0.2, dtype=torch.float64))
    d = torch.randn(x.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x_hat = x + used * 0.2 * d / d.flatten(1).norm(dim=1)[:, None, None, None]
    before = x_hat.clone()
    x_new = _two_squares(x_hat, ball, h, _draw(50))
    assert torch.equal(x_hat, before)
    assert torch.allclose((x_new - x).flatten(1).norm(dim=1), ball.eps)
    changed = (x_new - x_hat).abs() > 1e-9
    counts = changed.any(1).flatten(1).sum(1)
    assert counts.max() <= 2 * h * h
    assert counts.min() >= h * h - 1
    kept = (x_new - x)[~changed].square().sum()
    assert torch.allclose(kept, (x_hat - x)[~changed].square().sum())
