"""The fingerprint of images: of all that is in them, and of nothing else."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from doubleback.data import ImageData, Split, fingerprint, load_images
from tests.data.folders import hub_folder


def split(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, 1, 2, 3), generator=generator, dtype=torch.uint8)
    return Split(images, torch.randint(3, (count,), generator=generator))


@pytest.fixture
def images() -> ImageData:
    return ImageData("some", split(6, 0), split(3, 1), split(3, 2))


def with_other(rows: Tensor, place: int) -> Tensor:
    """A copy whose value at this place is one more."""
    other = rows.clone()
    other.view(-1)[place] += 1
    return other


def test_it_is_the_same_in_every_version() -> None:
    """Folders name it, and are refused where it differs."""
    images = torch.arange(12, dtype=torch.uint8).view(2, 1, 2, 3)
    assert fingerprint(Split(images, torch.tensor([3, -1]))) == "a2bfa81e9b02fd83c9ed67545a80235f"
    assert fingerprint(Split(images)) == "f81a3ebcc4bad50e516a2901b018a650"


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_one_pixel_or_one_label_changes_it(images: ImageData, part: str) -> None:
    own: Split = getattr(images, part)
    assert own.labels is not None
    changed = (
        replace(own, images=with_other(own.images, 17)),
        replace(own, labels=with_other(own.labels, 2)),
        replace(own, labels=None),
    )
    found = {images.fingerprint, *(replace(images, **{part: one}).fingerprint for one in changed)}
    assert len(found) == 4


@pytest.mark.parametrize(
    "moved",
    [
        lambda images: replace(images, validation=images.test, test=images.validation),
        lambda images: replace(images, train=images.train.at(torch.arange(6).flip(0))),
        lambda images: replace(images, train=images.train.at(slice(5)), validation=joined(images)),
    ],
    ids=["two splits change places", "rows change places", "a row goes into the next split"],
)
def test_the_place_of_an_image_changes_it(images: ImageData, moved: Callable[[ImageData], ImageData]) -> None:
    assert moved(images).fingerprint != images.fingerprint


def joined(images: ImageData) -> Split:
    """The last training image before those of the validation."""
    parts = images.train.at(slice(5, 6)), images.validation
    labels = [part.labels for part in parts if part.labels is not None]
    return Split(torch.cat([part.images for part in parts]), torch.cat(labels))


def test_the_shape_of_an_image_changes_it(images: ImageData) -> None:
    """The same bytes, 2x3 or 3x2."""
    turned = replace(images.train, images=images.train.images.view(-1, 1, 3, 2))
    assert fingerprint(turned) != fingerprint(images.train)


def test_how_it_lies_in_memory_and_what_it_is_called_do_not(images: ImageData) -> None:
    strided = images.train.images.mT.contiguous().mT
    assert not strided.is_contiguous()
    again = ImageData("another name", replace(images.train, images=strided), images.validation, images.test, ("a",) * 3)
    assert again.fingerprint == images.fingerprint


def test_more_images_than_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    many = split(5000, 3)
    other = replace(many, images=with_other(many.images, 4500 * 6))
    assert fingerprint(many) == fingerprint(many)
    assert fingerprint(other) != fingerprint(many)


def test_where_the_files_lie_does_not_change_it(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the folder of the images nor that of the cache; what is cached is what was decoded."""
    one = hub_folder(tmp_path / "set")
    expected = load_images(one).fingerprint
    assert load_images(one).fingerprint == expected, "from the cache"
    shutil.copytree(one, tmp_path / "elsewhere" / "of another name")
    monkeypatch.setenv("DOUBLEBACK_CACHE", str(tmp_path / "cache of its own"))
    assert load_images(tmp_path / "elsewhere" / "of another name").fingerprint == expected
    assert load_images(one, seed=1).fingerprint != expected, "other images are held out"
    assert load_images(one, limit=10).fingerprint != expected
