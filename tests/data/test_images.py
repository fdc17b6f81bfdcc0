"""Images from a caller: `as_unit`."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from doubleback.errors import InputError
from doubleback.tensors import as_unit


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=6), st.sampled_from([torch.float32, torch.float64]))
def test_whole_numbers_become_shares_of_255_and_these_stay(pixels: list[int], dtype: torch.dtype) -> None:
    images = torch.tensor(pixels, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    unit = as_unit(images)
    assert unit.dtype == torch.float32
    assert torch.equal((unit * 255).round().to(torch.uint8), images)
    given_floats = unit.to(dtype)
    assert as_unit(given_floats) is given_floats


@settings(deadline=None, max_examples=40)
@given(st.floats(allow_nan=True, allow_infinity=True, width=32), st.integers(0, 11))
def test_any_float_outside_the_box_is_refused(value: float, where: int) -> None:
    images = torch.full((2, 1, 2, 3), 0.5)
    images.view(-1)[where] = value
    if 0 <= value <= 1:
        assert as_unit(images) is images
    else:
        with pytest.raises(InputError):
            as_unit(images)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.full((1, 1, 2, 2), 255.0), "max 255.0: divide by 255"),
        (torch.full((1, 1, 2, 2), 1.5), "max 1.5: rescale or clamp"),
        (torch.full((1, 1, 2, 2), torch.inf), "max inf: rescale or clamp"),
        (torch.full((1, 1, 2, 2), -1.0), "min -1.0: use (x + 1) / 2"),
        (torch.full((1, 1, 2, 2), -9.0), "min -9.0: rescale or clamp"),
        (torch.tensor([0.5, torch.nan]).reshape(1, 1, 1, 2), "NaN"),
        (torch.zeros(2, 2), "(2, 2); expected (N, C, H, W)"),
        (torch.zeros(0, 1, 2, 2), "(0, 1, 2, 2)"),
        (torch.zeros(1, 1, 2, 2, dtype=torch.int64), "torch.int64; give uint8"),
    ],
)
def test_what_is_wrong_with_a_callers_images_is_named(images: Tensor, words: str) -> None:
    with pytest.raises(InputError) as caught:
        as_unit(images)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
