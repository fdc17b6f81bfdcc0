"""What all tests share: a data set small enough to train on in a second, and a way to hand in what hints forbid."""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch

from doubleback.data import ImageData, Split


def blobs(count: int, seed: int, size: int = 8) -> Split:
    """Two kinds of images: a bright square on the left, or on the right, at a random height."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (count,), generator=generator)
    rows = torch.randint(size - 3, (count,), generator=generator)
    images = torch.randint(30, (count, 1, size, size), generator=generator, dtype=torch.uint8)
    for image, label, row in zip(images, labels.tolist(), rows.tolist(), strict=True):
        image[0, row : row + 3, 4 * label : 4 * label + 3] += 200
    return Split(images, labels)


@pytest.fixture(scope="session")
def tiny() -> ImageData:
    return ImageData("tiny", train=blobs(160, 0), validation=blobs(40, 1), test=blobs(40, 2))


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switch the run-time check of types and shapes off: for tests of what our own checks say."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
