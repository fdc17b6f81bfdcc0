"""`load_images`: from the name of a source to its three parts; and scikit-learn's digits, which need no file."""

import os

import torch
import torch.nn.functional as F

from doubleback.data.cache import cached
from doubleback.data.images import Decoded, ImageData, Split
from doubleback.data.sources import locate
from doubleback.data.splitting import hold_out, limited
from doubleback.errors import InputError


def load_images(
    source: str | os.PathLike[str],
    *,
    image_size: int | None = None,
    limit: int | None = None,
    validation: int | None = None,
    seed: int = 0,
) -> ImageData:
    """Load a data set of images in three parts: train, validation and test.

    A source without a test split gives a fifth of its training images to it, always the same ones.

    Args:
        source: `digits`, `mnist`, `svhn` or `celeba`; a folder of parquet (`train-00000-of-00001.parquet`,
            also under `data/`) or of images (class folders, train and test folders: all optional); or a hub
            id `owner/name`. A folder called like a set is given as `./mnist` or as a `Path`.
        image_size: crop each image to its centred square and resize it to this height and width; by default
            64 for celeba, 28 for digits, and for others the size that all their images have.
        limit: read at most this many images of each split, the same whatever the seed.
        validation: number of images to hold out of the training images (or to take of the source's own
            validation split); by default a tenth, at most 5000 (all of that split).
        seed: draws the validation images.

    Raises:
        InputError: the source is missing, unknown, empty, unreachable or damaged, its images differ in size
            and no `image_size` is given, or an option is out of range.
    """
    for option, value in (("image size", image_size), ("limit", limit), ("validation", validation)):
        if value is not None and value < 1:
            raise InputError(f"{option} {value} is out of range; give a whole number of at least 1")
    if source == "digits":
        name, decoded = "digits", _digits(image_size or 28, limit)
    else:
        found = locate(source, image_size, limit)
        name, decoded = found.name, cached(found)
    train, held_out = hold_out(name, decoded.parts, validation, seed)
    return ImageData(name, train, held_out, decoded.parts["test"], label_names=decoded.label_names)


def _digits(image_size: int, limit: int | None) -> Decoded:
    """scikit-learn's 1797 digits, 8x8 in 0..16, scaled to 0..255 and enlarged bilinearly."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    small = torch.from_numpy(bunch.images).unsqueeze(1) * (255 / 16)
    large = F.interpolate(small, size=(image_size, image_size), mode="bilinear", antialias=True)
    every = Split(large.round().to(torch.uint8), torch.from_numpy(bunch.target).long())
    train, test = train_test_split(torch.arange(len(every)), test_size=0.2, stratify=bunch.target, random_state=0)
    parts = {"train": every.at(limited(train, limit)), "test": every.at(limited(test, limit))}
    return Decoded(parts, tuple(str(digit) for digit in bunch.target_names))
