"""`load_images`: from the name of a source to its three parts; and scikit-learn's digits, which need no file."""

import os

import numpy as np
import torch
import torch.nn.functional as F

from doubleback.data.cache import cached
from doubleback.data.decoding import Reading
from doubleback.data.images import Decoded, ImageData, Split
from doubleback.data.records import Choice
from doubleback.data.remarks import Remark
from doubleback.data.sources import locate
from doubleback.data.splitting import ByImage, ByRow, Draw, hold_out
from doubleback.errors import InputError
from doubleback.settings.images import LARGEST_SIDE, Background, Parts


def load_images(
    source: str | os.PathLike[str],
    *,
    image_size: int | None = None,
    limit: int | None = None,
    validation: int | None = None,
    seed: int = 0,
    image_column: str | None = None,
    label_column: str | None = None,
    parts: Parts = "own",
    background: Background = "white",
) -> ImageData:
    """Load a data set of images in three parts: train, validation and test.

    A source without a test split gives about a fifth of its training images to it. Which ones depends on each image's
    content alone, so images that are added later move no other. The named data sets never change, and keep the
    rows that they have always had in each part.

    Args:
        source: `digits`, `mnist`, `svhn` or `celeba`; a folder of parquet (`train-00000-of-00001.parquet`,
            also under `data/`) or of images (class folders, train and test folders: all optional); or a hub
            id `owner/name`. A folder called like a set is given as `./mnist` or as a `Path`.
        image_size: crop each image to its centred square and resize it to this height and width, at most 8192; by
            default 64 for celeba, 28 for digits, and for others the size that all their images have.
        limit: read at most this many images of each split, the same whatever the seed.
        validation: number of images to hold out of the training images (or to take of the source's own
            validation split); by default a tenth, at most 5000 (all of that split).
        seed: draws the validation images.
        image_column, label_column: of a table; by default `image` or `img`, and `label` or `labels`.
        parts: `own`, the validation and test images that the source has; `drawn`, both from its training images.
        background: what is seen through transparent pixels.

    Returns:
        The images; its `remarks` say what the source holds beside them, and what was assumed.

    Raises:
        InputError: the source is missing, unknown, empty, unreachable or damaged, its images differ in size
            and no `image_size` is given, or an option is out of range.
    """
    for option, value in (("image size", image_size), ("limit", limit), ("validation", validation)):
        if value is not None and value < 1:
            raise InputError(f"{option} {value} is out of range; give a whole number of at least 1")
    if image_size is not None and image_size > LARGEST_SIDE:
        raise InputError(f"image size {image_size} is out of range; give at most {LARGEST_SIDE}")
    draw: Draw
    if source == "digits":
        name, draw = "digits", ByRow()
        decoded = _digits(image_size or 28, limit, draw)
    else:
        found = locate(source)
        choice = Choice(image_column, label_column, own_parts=parts == "own")
        name, draw = found.name, ByRow() if found.settled else ByImage()
        decoded = cached(found, Reading(image_size or found.image_size, limit, background, draw), choice)
    train, held_out = hold_out(name, decoded.parts, decoded.keys, validation, seed, draw)
    spare = len(decoded.parts.get("validation", held_out)) - len(held_out)
    said = (Remark("the source's own validation images beyond those that were asked for", spare),) if spare else ()
    return ImageData(name, train, held_out, decoded.parts["test"], decoded.label_names, decoded.remarks + said)


def _digits(image_size: int, limit: int | None, draw: Draw) -> Decoded:
    """scikit-learn's 1797 digits, 8x8 in 0..16, scaled to 0..255 and enlarged bilinearly."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    small = torch.from_numpy(bunch.images).unsqueeze(1) * (255 / 16)
    large = F.interpolate(small, size=(image_size, image_size), mode="bilinear", antialias=True)
    every = Split(large.round().to(torch.uint8), torch.from_numpy(bunch.target).long())
    keys = np.arange(len(every), dtype=np.uint64)
    train, test = train_test_split(np.arange(len(every)), test_size=0.2, stratify=bunch.target, random_state=0)
    rows = {part: draw.limited(held, keys, limit) for part, held in (("train", train), ("test", test))}
    parts = {part: every.at(torch.from_numpy(held)) for part, held in rows.items()}
    held_keys = {part: keys[held] for part, held in rows.items()}
    return Decoded(parts, held_keys, tuple(str(digit) for digit in bunch.target_names))
