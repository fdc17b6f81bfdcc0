"""Records of images, held as uint8, in their splits."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from doubleback.errors import InputError


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


def fingerprint(*splits: Split) -> str:
    """A digest of the images and labels of these splits, in their order."""
    found = hashlib.blake2b(digest_size=16)
    for split in splits:
        found.update(repr((tuple(split.images.shape), split.labels is None)).encode())
        for batch in torch.split(split.images, 4096):
            found.update(batch.contiguous().numpy().data)
        if split.labels is not None:
            found.update(split.labels.contiguous().numpy().data)
    return found.hexdigest()


@dataclass(frozen=True)
class Decoded:
    """What a source holds: its parts train, test and (not always) validation."""

    parts: dict[str, Split]
    label_names: tuple[str, ...] | None


@dataclass(frozen=True)
class ImageData:
    """A data set in three parts."""

    name: str
    train: Split
    validation: Split
    test: Split
    label_names: tuple[str, ...] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """A digest of every image and label: the same content has the same, wherever it lies."""
        return fingerprint(self.train, self.validation, self.test)

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
