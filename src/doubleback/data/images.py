"""Records of images, held as uint8, and the one way from them to floats: x / 255, in [0, 1]."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from doubleback.errors import InputError

BATCH_VALUES = 1 << 20  # pixels' values in a batch of images


@dataclass(frozen=True)
class Split:
    """Images, and their labels where there are any.

    Attributes:
        images: (N, C, H, W), values 0..255.
        labels: (N,) int64, or None.
    """

    images: UInt8[Tensor, "N C H W"]
    labels: Int[Tensor, "N"] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def at(self, rows: Tensor | slice) -> "Split":
        """These rows of it: a copy for a tensor of indices, a view for a slice."""
        return Split(self.images[rows], None if self.labels is None else self.labels[rows])


@dataclass(frozen=True)
class Decoded:
    """What a source holds: its parts train, test and (not always) validation."""

    parts: dict[str, Split]
    label_names: tuple[str, ...] | None


@dataclass(frozen=True)
class ImageData:
    """A data set in three parts; `box` is the range of its pixels once `as_unit` has scaled them."""

    name: str
    train: Split
    validation: Split
    test: Split
    box: tuple[float, float] = (0.0, 1.0)
    label_names: tuple[str, ...] | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width


def as_classes(images: ImageData) -> tuple[ImageData, tuple[str | int, ...]]:
    """Number the classes of a labelled data set.

    Returns:
        The data with labels from 0 to K - 1 in place of its own, which may be any integers, and the K classes that
        these stand for, in order: names where the data has them, else the integers.

    Raises:
        InputError: a split has no labels, or a label that no training image has.
    """
    splits = {"train": images.train, "validation": images.validation, "test": images.test}
    if images.train.labels is None:
        raise InputError(f"the images of {images.name} have no labels; give a data set that has them")
    known = torch.unique(images.train.labels)
    numbered = []
    for part, split in splits.items():
        if split.labels is None:
            raise InputError(f"the {part} images of {images.name} have no labels; give a data set that has them")
        if not bool(torch.isin(split.labels, known).all()):
            raise InputError(
                f"the {part} images of {images.name} have labels that no training image has; "
                "give more images (a higher limit), or mend the data"
            )
        numbered.append(Split(split.images, torch.searchsorted(known, split.labels)))
    train, validation, test = numbered
    names = images.label_names
    placed = replace(images, train=train, validation=validation, test=test)
    return placed, tuple(names[label] if names else label for label in known.tolist())


def rows_at_once(images: Tensor) -> int:
    """How many images (N, C, H, W) go through a model together: what bounds the memory, whatever their size."""
    return max(1, BATCH_VALUES // images[0].numel())


def as_unit(images: Tensor) -> Float[Tensor, "N C H W"]:
    """Return images as floats in [0, 1]: uint8 is divided by 255, floats are checked and returned as is.

    Raises:
        InputError: not (N, C, H, W) with N >= 1, neither uint8 nor float, not finite, or outside [0, 1].

    >>> as_unit(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)).item()
    1.0
    """
    if images.ndim != 4 or not images.numel():
        raise InputError(f"images have shape {tuple(images.shape)}; expected (N, C, H, W), none of them 0")
    if images.dtype == torch.uint8:
        return images.float() / 255
    if not images.is_floating_point():
        raise InputError(f"images are {images.dtype}; give uint8 in 0..255 or floats in [0, 1]")
    low, high = (bound.item() for bound in torch.aminmax(images.detach()))
    if low != low:
        raise InputError("images hold NaN; expected finite values in [0, 1]: mend or drop those images")
    if high > 1:
        fix = "divide by 255" if 2 < high <= 255 else "rescale or clamp them"
        raise InputError(f"images reach max {high}: {fix}; expected values in [0, 1]")
    if low < 0:
        fix = "use (x + 1) / 2 for pixels in [-1, 1]" if low >= -1 else "rescale or clamp them"
        raise InputError(f"images reach min {low}: {fix}; expected values in [0, 1]")
    return images
