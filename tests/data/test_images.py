"""Images from a caller, `as_unit`; and images with a class each, `as_classes`."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from doubleback.data import ImageData, Split, as_classes
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


NAMES = tuple("abcdefgh")


def labelled(*labels: int) -> Split:
    """An image for each label, of that grey."""
    return Split(torch.tensor(labels).byte().view(-1, 1, 1, 1).expand(-1, 1, 2, 2), torch.tensor(labels))


@pytest.fixture
def numbered() -> ImageData:
    return ImageData("some", labelled(7, 2, 7, 5), labelled(5), labelled(2, 7), NAMES)


def test_classes_are_numbered_in_order(numbered: ImageData) -> None:
    found, classes = as_classes(numbered)
    assert classes == ("c", "f", "h")
    parts = [part.labels for part in (found.train, found.validation, found.test)]
    assert [labels.tolist() for labels in parts if labels is not None] == [[2, 0, 2, 1], [1], [0, 2]]
    assert found.remarks == ()
    assert as_classes(replace(numbered, label_names=None))[1] == (2, 5, 7)


def test_an_image_without_a_label_is_left_out_and_said(numbered: ImageData) -> None:
    found, classes = as_classes(replace(numbered, train=labelled(-1, 7, 2, -1, 5), test=labelled(2, -1)))
    assert classes == ("c", "f", "h")
    assert found.train.images[:, 0, 0, 0].tolist() == [7, 2, 5]
    assert found.test.images[:, 0, 0, 0].tolist() == [2]
    assert list(map(str, found.remarks)) == ["3 images left out: a classifier needs a label, and they have none"]


@pytest.mark.parametrize("names", [None, NAMES])
@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_label_that_no_training_image_has_is_refused(
    numbered: ImageData, part: str, names: tuple[str, ...] | None
) -> None:
    which = "(1, 6)" if names is None else "(b, g)"
    with pytest.raises(InputError) as caught:
        as_classes(replace(numbered, label_names=names, **{part: labelled(6, 7, 1)}))
    assert f"the {part} images of some have labels that no training image has {which}" in str(caught.value)


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ("train", "the images of some have no labels; give a data set that has them"),
        ("validation", "the validation images of some have no labels"),
        ("test", "or draw them from the training images (--parts drawn)"),
    ],
)
def test_classes_need_labels(numbered: ImageData, part: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        as_classes(replace(numbered, **{part: Split(labelled(7).images)}))
    assert says in str(caught.value)
