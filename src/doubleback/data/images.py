"""Records of images, held as uint8, in their splits."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from doubleback.data.records import UNLABELLED
from doubleback.data.remarks import Remark, listed
from doubleback.errors import InputError


@dataclass(frozen=True)
class Split:
    """Images, and their labels where there are any.

    Attributes:
        images: (N, C, H, W), values 0..255.
        labels: (N,) int64, or None; -1 is an image without a label, where others have one.
    """

    images: UInt8[Tensor, "N C H W"]
    labels: Int[Tensor, "N"] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def at(self, rows: Tensor | slice) -> "Split":
        """These rows of it: a copy for a tensor of indices, a view for a slice."""
        return Split(self.images[rows], None if self.labels is None else self.labels[rows])


def digests(split: Split) -> NDArray[np.uint64]:
    """(N,): a digest of each image's pixels: the same pixels have the same, in whatever file."""
    rows = (hashlib.blake2b(image.contiguous().numpy().data, digest_size=8).digest() for image in split.images.cpu())
    return np.frombuffer(b"".join(rows), dtype="<u8")


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
    """What a source holds.

    Attributes:
        parts: train, test and (not always) validation.
        keys: for each part (N,), uint64: what stands for each image's file.
        label_names: of the labels 0, 1, ..., where they have names.
        remarks: what was left out or assumed.
    """

    parts: dict[str, Split]
    keys: dict[str, NDArray[np.uint64]]
    label_names: tuple[str, ...] | None
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class ImageData:
    """A data set in three parts.

    Attributes:
        name: of the source.
        train, validation, test: its parts.
        label_names: of the labels 0, 1, ..., where they have names.
        remarks: images that the source holds and that are not here, and what was assumed of the others.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    label_names: tuple[str, ...] | None = None
    remarks: tuple[Remark, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """A digest of every image and label: the same content has the same, wherever it lies."""
        return fingerprint(self.train, self.validation, self.test)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def __repr__(self) -> str:
        parts = ", ".join(f"{len(getattr(self, name))} {name}" for name in ("train", "validation", "test"))
        return f"{self.name}: {parts} images of {'x'.join(map(str, self.image_shape))}"


def as_classes(images: ImageData) -> tuple[ImageData, tuple[str | int, ...]]:
    """Number the classes of a labelled data set.

    Returns:
        The data with labels from 0 to K - 1 instead of its own, which may be any integers, and the K classes that
        these stand for, in order: names where the data has them, else the integers.

    Raises:
        InputError: a split has no labels, or a label that no training image has.
    """
    if images.train.labels is None:
        raise InputError(f"the images of {images.name} have no labels; give a data set that has them")
    kept = {"train": _labelled(images.train)}
    known = torch.unique(_labels_of(kept["train"]))
    for part, split in (("validation", images.validation), ("test", images.test)):
        if split.labels is None:
            raise InputError(
                f"the {part} images of {images.name} have no labels; give a data set that has them, "
                "or draw them from the training images (--parts drawn)"
            )
        kept[part] = _labelled(split)
        strange = set(_labels_of(kept[part]).tolist()) - set(known.tolist())
        if strange:
            names = images.label_names
            which = listed(names[label] if names else label for label in sorted(strange))
            raise InputError(
                f"the {part} images of {images.name} have labels that no training image has ({which}); "
                "give more images (a higher limit), or fix the data"
            )
    train, validation, test = (
        Split(split.images, torch.searchsorted(known, _labels_of(split))) for split in kept.values()
    )
    left_out = sum(map(len, (images.train, images.validation, images.test))) - sum(map(len, (train, validation, test)))
    said = (Remark("a classifier needs a label, and they have none", left_out),) if left_out else ()
    placed = replace(images, train=train, validation=validation, test=test, remarks=images.remarks + said)
    names = images.label_names
    return placed, tuple(names[label] if names else label for label in known.tolist())


def _labels_of(split: Split) -> Tensor:
    assert split.labels is not None
    return split.labels


def _labelled(split: Split) -> Split:
    """The images that have a label."""
    has = _labels_of(split) != UNLABELLED
    return split if bool(has.all()) else split.at(has.nonzero().squeeze(1))
