"""Which images belong to train, validation and test: by the image itself, or, in named data sets, by its row."""

import hashlib
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from doubleback.data.images import Split
from doubleback.data.remarks import images
from doubleback.errors import InputError

Keys = NDArray[np.uint64]  # (N,): the same for the same image, wherever it lies
_TEST, _VALIDATION = 0.2, 0.1  # shares of what is drawn from
_MOST = 5000  # images of a validation part that is drawn


@runtime_checkable
class Draw(Protocol):
    """A way to draw images."""

    def test(self, keys: Keys) -> NDArray[np.bool_]:
        """(N,): the images that are for testing."""
        ...

    def validation(self, keys: Keys, count: int | None, seed: int) -> NDArray[np.bool_]:
        """(N,): the images that are held out, `count` of them or about a tenth."""
        ...

    def limited(self, rows: NDArray[np.int64], keys: Keys, limit: int | None) -> NDArray[np.int64]:
        """At most `limit` of the rows, in their order; a larger limit adds rows and drops none."""
        ...


class ByImage:
    """An image's part depends on the image alone: images that come move no other, and copies stay together.

    A set of few images fills its parts all the same: then one that tests or validates may go to training when others
    come. The other way is only gone where nothing else would have been left to train or to validate on.
    """

    def test(self, keys: Keys) -> NDArray[np.bool_]:
        """A fifth, and one at least; two others are left."""
        return _under(_TEST, _chance(keys, "test"), 2)

    def validation(self, keys: Keys, count: int | None, seed: int) -> NDArray[np.bool_]:
        """Those with the smallest chance under this seed: a new image may take a place, none comes from training."""
        chance = _chance(keys, f"validation {seed}")
        few = min(int(_under(_VALIDATION, chance, 1).sum()), _MOST) if count is None else count
        next_one = np.sort(chance)[few : few + 1]  # copies of it stay with it
        drawn: NDArray[np.bool_] = chance < next_one if len(next_one) else np.ones(len(chance), dtype=bool)
        return drawn if drawn.any() else chance == chance.min()

    def limited(self, rows: NDArray[np.int64], keys: Keys, limit: int | None) -> NDArray[np.int64]:
        """Those with the smallest chance."""
        if limit is None:
            return rows
        return rows[np.sort(np.argsort(_chance(keys[rows], "limit"), kind="stable")[:limit])]


class ByRow:
    """An image's part depends on its row and on how many there are: for data sets that never change."""

    def test(self, keys: Keys) -> NDArray[np.bool_]:
        """A fifth of the rows."""
        return _of_first(len(keys), max(1, len(keys) // 5), 0)

    def validation(self, keys: Keys, count: int | None, seed: int) -> NDArray[np.bool_]:
        """A tenth of the rows, at most 5000."""
        return _of_first(len(keys), count or max(1, min(_MOST, len(keys) // 10)), seed)

    def limited(self, rows: NDArray[np.int64], keys: Keys, limit: int | None) -> NDArray[np.int64]:  # noqa: ARG002
        """The first of a permutation."""
        return rows if limit is None else rows[_of_first(len(rows), limit, 0)]


def _of_first(total: int, count: int, seed: int) -> NDArray[np.bool_]:
    """Marks the first `count` of 0..total-1 in an order drawn from `seed`."""
    drawn = np.zeros(total, dtype=bool)
    drawn[torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count].numpy()] = True
    return drawn


def _under(share: float, chance: NDArray[np.float64], rest: int) -> NDArray[np.bool_]:
    """Those under the share; of few images the smallest at least, and so few that as many as `rest` differ beside."""
    values = np.unique(chance)
    if len(values) < 2:
        return np.zeros(len(chance), dtype=bool)
    most = values[max(0, len(values) - 1 - rest)]
    drawn: NDArray[np.bool_] = ((chance < share) | (chance == values[0])) & (chance <= most)
    return drawn


def _chance(keys: Keys, purpose: str) -> NDArray[np.float64]:
    """(N,): for each image a number in 0..1 that depends on it and on the purpose alone."""
    salt = hashlib.blake2b(purpose.encode(), digest_size=16).digest()
    digests = (hashlib.blake2b(key.tobytes(), digest_size=8, key=salt).digest() for key in keys.astype("<u8"))
    return np.fromiter((int.from_bytes(digest, "little") for digest in digests), np.float64, len(keys)) / 2.0**64


def key_of(content: bytes) -> int:
    """What stands for an encoded image, below 2^64."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def rows_to_read(keys: Mapping[str, Keys], limit: int | None, draw: Draw) -> dict[str, tuple[str, NDArray[np.int64]]]:
    """Return the split that each part reads, and which rows of it, in order.

    Args:
        keys: of the images of each split. Without a split `test`, a fifth of `train` is that part.
        limit: at most this many rows a part.
        draw: decides.
    """
    rows = {split: (split, np.arange(len(held))) for split, held in keys.items()}
    if "test" not in rows:
        drawn = draw.test(keys["train"])
        rows["test"] = "train", np.flatnonzero(drawn)
        rows["train"] = "train", np.flatnonzero(~drawn)
    return {part: (split, draw.limited(chosen, keys[split], limit)) for part, (split, chosen) in rows.items()}


def hold_out(
    name: str, parts: Mapping[str, Split], keys: Mapping[str, Keys], count: int | None, seed: int, draw: Draw
) -> tuple[Split, Split]:
    """Return the training and the validation images.

    They come from the validation part if there is one, else from the training images, whose rows then change
    places in memory.

    Args:
        name: of the data set, for the error.
        parts: `train` and perhaps `validation`.
        keys: of the images of each part.
        count: of images to validate on; by default all of the source's own, else about a tenth, at most 5000.
        seed: of the draw.
        draw: decides.

    Raises:
        InputError: there are fewer images, or none would be left to train on.
    """
    own = "validation" if "validation" in parts else "train"
    pool, total = parts[own], len(parts[own])
    if own == "validation" and count in (None, total):
        return parts["train"], pool
    if total < 2 or (count is not None and count > total - (own == "train")):
        raise InputError(
            f"validation {count or 1} is too many: {images(total)} of {name} are available for it"
            f"{', and training needs at least one' if own == 'train' else ''}; give fewer, or a higher limit"
        )
    drawn = torch.from_numpy(draw.validation(keys[own], count, seed))
    if own == "train" and drawn.all():
        raise InputError(
            f"the {images(total)} of {name} to train and to validate on are all copies of one image; give others"
        )
    # Validation rows change places with the last ones, so that both parts are slices of one mapped file:
    # a large set is not copied into memory.
    keep = total - int(drawn.sum())
    front, back = drawn[:keep].nonzero().squeeze(1), keep + (~drawn[keep:]).nonzero().squeeze(1)
    for rows in (pool.images, pool.labels):
        if rows is not None:
            rows[front], rows[back] = rows[back], rows[front]
    return parts["train"] if own == "validation" else pool.at(slice(keep)), pool.at(slice(keep, None))
