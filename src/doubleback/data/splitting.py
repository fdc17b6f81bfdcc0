"""Which images belong to train, validation and test: every draw is a permutation made from a seed."""

from collections.abc import Mapping

import torch
from torch import Tensor

from doubleback.data.images import Split
from doubleback.errors import InputError


def shuffled(count: int, seed: int) -> Tensor:
    """Return 0..count-1 (count,) in an order drawn from `seed`."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def limited(rows: Tensor, limit: int | None) -> Tensor:
    """Draw at most `limit` of the rows (N,), in their order; a larger limit adds rows and drops none."""
    return rows[shuffled(len(rows), 0)[:limit].sort().values]


def rows_to_read(counts: Mapping[str, int], limit: int | None) -> dict[str, tuple[str, list[int]]]:
    """Return the split that each part reads, and which rows of it.

    Args:
        counts: the number of images of each split. Without a split `test`, a fifth of `train` is that part.
        limit: at most this many rows a part.
    """
    rows = {split: (split, torch.arange(count)) for split, count in counts.items()}
    if "test" not in rows:
        order, fifth = shuffled(counts["train"], 0), max(1, counts["train"] // 5)
        rows["test"] = "train", order[:fifth].sort().values
        rows["train"] = "train", order[fifth:].sort().values
    return {part: (split, limited(chosen, limit).tolist()) for part, (split, chosen) in rows.items()}


def hold_out(name: str, parts: Mapping[str, Split], count: int | None, seed: int) -> tuple[Split, Split]:
    """Return the training and the validation images, these drawn from `seed`.

    They come from the validation part if there is one, else from the training images, whose rows then change
    places in memory.

    Args:
        name: of the data set, for the error.
        parts: `train` and perhaps `validation`.
        count: of images to validate on; by default all of the source's own, else a tenth, at most 5000.

    Raises:
        InputError: there are fewer images, or none would be left to train on.
    """
    own = parts.get("validation")
    pool = parts["train"] if own is None else own
    total = len(pool)
    count = count or (total if own is not None else max(1, min(5000, total // 10)))
    keep = total - count
    if keep < (own is None):
        raise InputError(
            f"validation {count} is too many: {total} images of {name} are there to draw it from"
            f"{', and one must be left to train on' if own is None else ''}; give fewer, or a higher limit"
        )
    # Validation rows change places with the last ones, so that both parts are slices of one mapped file:
    # a large set is not copied into memory.
    drawn = torch.zeros(total, dtype=torch.bool)
    drawn[shuffled(total, seed)[:count]] = True
    front, back = drawn[:keep].nonzero().squeeze(1), keep + (~drawn[keep:]).nonzero().squeeze(1)
    for rows in (pool.images, pool.labels):
        if rows is not None:
            rows[front], rows[back] = rows[back], rows[front]
    return parts["train"] if own is not None else pool.at(slice(keep)), pool.at(slice(keep, None))
