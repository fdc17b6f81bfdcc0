"""DRAW's windows, against values worked by hand from Gregor et al. 2015, equations 22 to 29."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from doubleback.models.attention import Window, filterbank


def one(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def window(gx: float, gy: float, size: int, height: int, width: int, *, delta: float = 1, gamma: float = 1) -> Window:
    """A sharp window centred at (gx, gy) in pixels, counted from 1, `delta` pixels between its samples."""
    spread = (max(width, height) - 1) / (size - 1)
    parameters = [
        2 * gx / (width + 1) - 1,
        2 * gy / (height + 1) - 1,
        math.log(1e-3),
        math.log(delta / spread),
        math.log(gamma),
    ]
    return Window.of(torch.tensor([parameters], dtype=torch.float64), size, height, width)


def test_filterbank_by_hand() -> None:
    """N = 2 filters, delta 2, about 2.5: at 1.5 and 3.5. sigma^2 = 1/2, so F = exp(-(a - mu)^2), over its sum."""
    found = filterbank(one(2.5), one(2.0), one(0.5), size=2, length=4)[0]
    first = [math.exp(-((a - 1.5) ** 2)) for a in (1, 2, 3, 4)]
    second = [math.exp(-((a - 3.5) ** 2)) for a in (1, 2, 3, 4)]
    expected = torch.tensor([[v / sum(row) for v in row] for row in (first, second)], dtype=torch.float64)
    assert torch.allclose(found, expected)


def test_zero_parameters_spread_over_the_image() -> None:
    """gx~ = gy~ = 0 and delta~ = 1: the first filter sits on the first pixel, the last on the last."""
    parameters = torch.tensor([[0.0, 0.0, math.log(1e-3), 0.0, 0.0]])
    found = Window.of(parameters, 3, 5, 5)
    assert torch.equal(found.across[0].argmax(1), torch.tensor([0, 2, 4]))
    wide = Window.of(parameters, 3, 5, 9)
    assert torch.equal(wide.across[0].argmax(1), torch.tensor([0, 4, 8]))
    assert wide.down[0].argmax(1).tolist() == [0, 2, 4]  # the larger side sets the stride


def test_a_sharp_window_reads_a_crop() -> None:
    image = torch.rand(1, 2, 6, 8, dtype=torch.float64)
    found = window(gx=5, gy=3, size=3, height=6, width=8).read(image)
    assert torch.allclose(found, image[:, :, 1:4, 3:6])


def test_gamma_scales_what_is_read_and_unscales_what_is_written() -> None:
    image = torch.rand(1, 1, 6, 6, dtype=torch.float64)
    plain, strong = (window(3, 3, 3, 6, 6, gamma=gamma) for gamma in (1, 4))
    assert torch.allclose(strong.read(image), 4 * plain.read(image))
    patch = torch.rand(1, 1, 3, 3, dtype=torch.float64)
    assert torch.allclose(4 * strong.write(patch), plain.write(patch))


def test_read_after_write_restores_a_patch() -> None:
    patch = torch.rand(1, 3, 4, 4, dtype=torch.float64)
    there = window(gx=4.5, gy=3.5, size=4, height=7, width=9, delta=1, gamma=2.5)
    canvas = there.write(patch)
    assert torch.allclose(there.read(canvas), patch)
    assert canvas[:, :, 5:].abs().max() < 1e-12  # outside the window nothing is written


@given(gx=st.floats(-20, 20), log_delta=st.floats(-4, 4), log_variance=st.floats(-12, 6), size=st.integers(1, 7))
def test_rows_sum_to_one_wherever_the_window_is(gx: float, log_delta: float, log_variance: float, size: int) -> None:
    """Far outside the image too, where the plain ratio is 0/0; and a window of a single sample has no stride."""
    found = Window.of(torch.tensor([[gx, -gx, log_variance, log_delta, 0.0]]), size, 9, 7)
    for rows in (found.across, found.down):
        assert torch.allclose(rows.sum(2), torch.ones(1, size))
