"""Batches of images as tensors: placed, checked, cut, measured. `as_unit` is in tests/data/test_images.py."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from doubleback.errors import InputError
from doubleback.models import VAE
from doubleback.tensors import (
    BATCH_VALUES,
    as_images,
    as_labels,
    as_pixels,
    check_shape,
    column,
    norm,
    placed,
    rows_at_once,
    squared_distance,
    squared_norm,
    tiny,
)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randint(256, (40, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.usefixtures("unchecked")
def test_placed_follows_the_model(images: Tensor) -> None:
    assert placed(VAE((1, 4, 4), hidden=(8,)).double(), images).dtype == torch.float64
    for without_parameters in (lambda x: x, nn.Identity()):
        assert placed(without_parameters, images).dtype == torch.float32
    assert torch.equal(placed(None, images), images / 255)


def test_pixels_come_back_and_do_not_wrap(images: Tensor) -> None:
    assert (as_pixels(placed(None, images)) == images.numpy()).all()
    assert as_pixels(torch.tensor([-0.01, 0.5, 1.01]).view(1, 1, 1, 3)).flatten().tolist() == [0, 128, 255]


def test_a_model_refuses_images_of_another_shape_only_if_it_says_its_own(images: Tensor) -> None:
    model = VAE((3, 8, 4), hidden=(8,))
    check_shape(model, torch.zeros(2, 3, 8, 4))
    check_shape(nn.Identity(), images)
    with pytest.raises(InputError, match="takes images of 3 channels and 8x4 pixels, these are 1 channel and 4x4"):
        check_shape(model, images)
    for odd in (images[0], torch.zeros(2, 2)):
        with pytest.raises(InputError, match=r"expected \(N, C, H, W\)"):
            check_shape(model, odd)


@given(st.integers(1, 3), st.integers(1, 64), st.integers(1, 64))
def test_a_batch_holds_as_much_as_it_may(channels: int, height: int, width: int) -> None:
    values = channels * height * width
    assert values * rows_at_once(torch.zeros(1, channels, height, width)) <= BATCH_VALUES
    assert values * (rows_at_once(torch.zeros(1, channels, height, width)) + 1) > BATCH_VALUES


def test_an_image_too_large_for_a_batch_goes_alone() -> None:
    assert rows_at_once(torch.empty(1, 1, BATCH_VALUES, 2, device="meta")) == 1


def test_measures_are_of_each_row() -> None:
    x, y = torch.rand(2, 3, 5, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(norm(x), torch.stack([row.square().sum().sqrt() for row in x]))
    assert torch.allclose(norm(x, 2), x.square().sum((2, 3)).sqrt())
    assert torch.allclose(squared_norm(x), norm(x).square())
    assert torch.allclose(squared_distance(x, y), norm(x - y).square())
    assert torch.equal(column(torch.arange(3), x) * torch.ones_like(x), torch.arange(3.0).view(3, 1, 1, 1).expand_as(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tiny_can_be_divided_by_and_squared(dtype: torch.dtype) -> None:
    least = torch.tensor(tiny(torch.zeros((), dtype=dtype)), dtype=dtype)
    assert least.square() > 0
    assert (1 / least).isfinite()


def test_what_comes_through_the_gate_is_ordinary() -> None:
    with torch.inference_mode():
        given, labels = torch.rand(3, 1, 2, 2), torch.arange(3)
    assert given.is_inference()
    assert not as_images(given).is_inference()
    assert not as_labels(labels, 3).is_inference()
    with torch.inference_mode():
        assert as_images(given) is given  # where none is asked for, none is copied


def test_images_are_not_copied_without_need() -> None:
    for plain in (torch.rand(3, 1, 2, 2), torch.randint(256, (3, 1, 2, 2), dtype=torch.uint8)):
        assert as_images(plain) is plain
        assert as_images(plain.numpy()).data_ptr() == plain.data_ptr()
        assert as_images(plain.mT).is_contiguous()


@pytest.mark.parametrize("said", [(28, 28), "28", 28, None, (1, 2), [1, 4, 4]])
def test_what_a_strange_model_calls_image_shape(said: object) -> None:
    """Only three numbers are a shape."""
    model = nn.Identity()
    model.image_shape = said  # type: ignore[assignment]
    as_images(torch.rand(2, 1, 4, 4), model)
