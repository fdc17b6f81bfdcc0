"""Images that a program hands over: tensors, NumPy arrays and DataLoaders, where a data set could be given, too."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from doubleback.data.images import ImageData, Split, digests
from doubleback.data.splitting import ByImage, hold_out, rows_to_read
from doubleback.errors import InputError
from doubleback.tensors import let_in

_IMAGES, _LABELS = ("image", "images", "pixel_values", "img", "data", "x"), ("label", "labels", "target", "y")


def is_batches(given: object) -> bool:
    """Whether these are batches, as a DataLoader gives them, and neither images nor a data set."""
    return isinstance(given, Iterable) and not isinstance(given, Tensor | np.ndarray | str | Mapping | ImageData)


def handed(given: Any) -> tuple[Any, Any]:
    """Images and their labels, where they have some: of a split, of a DataLoader, or of the images alone.

    Raises:
        InputError: as `gathered`.
    """
    if isinstance(given, Split):
        return given.images, given.labels
    return gathered(given) if is_batches(given) else (given, None)


def gathered(batches: Iterable[Any]) -> tuple[Tensor, Tensor | None]:
    """All images of a DataLoader, and their labels where every batch has some.

    Args:
        batches: each images, a pair (images, labels), or a dictionary with these under their usual names.

    Raises:
        InputError: there is no batch, or one holds no images.
    """
    images, labels = [], []
    for batch in batches:
        x, y = _read(batch)
        images.append(x)
        labels.append(y)
    if not images:
        raise InputError("the DataLoader gives no batch; give one that does")
    known = [label for label in labels if isinstance(label, Tensor) and label.dim() == 1]
    return torch.cat(images), torch.cat(known) if len(known) == len(images) else None


def as_data(given: ImageData | Any, labels: Any = None) -> ImageData:
    """A data set of whatever images are given: a fifth to test on, a tenth of the rest to validate on.

    Which part an image is in depends on its pixels, not on how many there are.

    Raises:
        InputError: as `tensors.let_in`, or there are too few images to draw parts from.
    """
    if isinstance(given, ImageData):
        return given
    images, own = handed(given)
    x, y = let_in(images, own if labels is None else labels)
    pixels = x if x.dtype == torch.uint8 else (x.float() * 255).round().byte()
    whole = Split(pixels, y)
    keys = digests(whole)
    draw = ByImage()
    parts, own_keys = {}, {}
    for part, (_, rows) in rows_to_read({"train": keys}, None, draw).items():
        parts[part], own_keys[part] = whole.at(torch.from_numpy(rows)), keys[rows]
    train, validation = hold_out("the images", parts, own_keys, None, 0, draw)
    return ImageData("given", train, validation, parts["test"])


def _read(batch: Any) -> tuple[Tensor, Any]:
    """The images of a batch, and its labels."""
    if isinstance(batch, Tensor):
        return batch, None
    if isinstance(batch, Mapping):
        images = [batch[name] for name in _IMAGES if isinstance(batch.get(name), Tensor)]
        labels = [batch[name] for name in _LABELS if isinstance(batch.get(name), Tensor)]
        if images:
            return images[0], labels[0] if labels else None
    if isinstance(batch, tuple | list) and batch and isinstance(batch[0], Tensor):
        return batch[0], batch[1] if len(batch) > 1 else None
    raise InputError(f"the DataLoader gives a {type(batch).__name__}; give images, (images, labels) or a dictionary")
