"""Images as PNG data URIs, and the gallery: what goes in, what comes out, at the same distortion budget."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from doubleback.report.runs import AuditFolder, RunFolder, attacks_of

SHOWN_RECONSTRUCTIONS = 10
AMPLIFIED = 10  # the most that a difference is enlarged; it is less if pixels would be cut off
_GREY = 128


@dataclass(frozen=True)
class Detail:
    """How finely a part of the page shows its pictures: how many pairs, how large, and as PNG (lossless) or WebP."""

    pairs: int
    side: int | None = None
    lossless: bool = True


DETAILS = (Detail(4), Detail(4, 128, False), Detail(2, 96, False), Detail(1, 64, False))  # the finest first
Shown = TypeVar("Shown")


def fitting(most: int, draw: Callable[[Detail], Shown]) -> Shown:
    """What `draw` makes at the finest detail that takes at most `most` characters, or at the coarsest one."""
    for detail in DETAILS:
        drawn = draw(detail)
        if len(repr(drawn)) <= most:
            break
    return drawn


@dataclass(frozen=True)
class Shot:
    """One run's adversarial input and its reconstruction (data URIs), at distortion u and distance v."""

    run: int
    x_adv: str
    reconstruction: str
    u: float
    v: float


@dataclass(frozen=True)
class Pair:
    """Source and target (data URIs) and, for each budget, a `Shot` of each run; `number` counts from 1."""

    number: int
    source: str
    target: str
    shots: list[list[Shot]]


@dataclass(frozen=True)
class Gallery:
    """One attack on the same pairs by several runs (`runs`: places); `middle` is the budget shown first."""

    attack: str
    runs: list[int]
    budgets: list[float]
    middle: int
    pairs: list[Pair]


@dataclass(frozen=True)
class Strip:
    """The same test images reconstructed by several runs: a row each, as (place, data URIs)."""

    images: list[str]
    rows: list[tuple[int, list[str]]]


def data_uri(image: NDArray[np.uint8], detail: Detail = DETAILS[0]) -> str:
    """A uint8 image (C, H, W) as a data URI: grey for C = 1, colour for C = 3, else its first channel."""
    return encoded(blocks(image, *shrunk_size(image.shape[1:], detail.side)), detail.lossless)


def encoded(image: NDArray[np.uint8], lossless: bool) -> str:
    """An image at its own size as a data URI, PNG or WebP."""
    pixels = image.transpose(1, 2, 0) if len(image) == 3 else image[0]
    kind: dict[str, Any] = {"format": "PNG", "optimize": True} if lossless else {"format": "WEBP", "quality": 85}
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, **kind)
    return f"data:image/{kind['format'].lower()};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def shrunk_size(size: Sequence[int], side: int | None) -> tuple[int, int]:
    """The height and width of a picture whose sides have at most `side` pixels; None: as it is."""
    block = -(-max(size) // (side or max(size)))
    return max(1, size[0] // block), max(1, size[1] // block)


def blocks(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """A picture (C, H, W) of fewer pixels, (C, height, width): the mean of each block."""
    if image.shape[1:] == (height, width):
        return image
    tall, wide = image.shape[1] // height, image.shape[2] // width
    whole = image[:, : height * tall, : width * wide].reshape(len(image), height, tall, width, wide)
    return np.asarray(whole.mean((2, 4)).round(), dtype=np.uint8)


def change_of(source: NDArray[np.uint8], attacked: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The difference, amplified and centred on grey."""
    moved = np.asarray(attacked, dtype=np.int32) - source
    return np.asarray(np.clip(_GREY + factor * moved, 0, 255), dtype=np.uint8)


def factor_of(sources: NDArray[np.uint8], attacked: NDArray[np.uint8]) -> int:
    """How much the changes from sources (M, ...) to inputs (M, E, ...) can be enlarged without cutting off a pixel."""
    largest = int(np.abs(attacked.astype(np.int32) - sources[:, None]).max(initial=1))
    return max(1, min(AMPLIFIED, (_GREY - 1) // max(largest, 1)))


def galleries(runs: Sequence[RunFolder], detail: Detail = DETAILS[0]) -> list[Gallery]:
    """The first pairs that no run flags, for each attack. Runs audited on other pairs get their own gallery."""
    found = []
    for group in on_the_same_pairs(runs):
        for attack, ran in ran_by(runs, group).items():
            images = audited(runs[ran[0]]).images
            budgets = [float(budget) for budget in images["budgets"]]
            pairs = [_pair(runs, ran, attack, m, detail) for m in usable(runs, ran)[: detail.pairs]]
            if pairs and budgets:
                found.append(Gallery(attack, ran, budgets, (len(budgets) - 1) // 2, pairs))
    return found


def strips(runs: Sequence[RunFolder], detail: Detail = DETAILS[0]) -> list[Strip]:
    """Test images above their reconstructions; runs on the same images share a strip."""
    keys = [_bytes(run.images["test"]) if "test" in run.images else None for run in runs]
    return [
        Strip(
            _uris(runs[group[0]].images["test"], detail),
            [(i, _uris(runs[i].images["test_reconstruction"], detail)) for i in group],
        )
        for group in _alike(runs, keys)
    ]


def on_the_same_pairs(runs: Sequence[RunFolder]) -> list[list[int]]:
    """Places of the runs that have pictures of the same pairs."""
    return _alike(runs, [_gallery_key(run) for run in runs])


def ran_by(runs: Sequence[RunFolder], group: Sequence[int]) -> dict[str, list[int]]:
    """For each attack, the runs of the group that have it."""
    every = attacks_of([runs[i] for i in group])
    return {attack: [i for i in group if attack in audited(runs[i]).attacks] for attack in every}


def _alike(runs: Sequence[RunFolder], keys: Sequence[bytes | None]) -> list[list[int]]:
    """Places of the runs grouped by key, in order; None belongs to no group."""
    groups: dict[bytes, list[int]] = {}
    for i, _ in enumerate(runs):
        if (key := keys[i]) is not None:
            groups.setdefault(key, []).append(i)
    return list(groups.values())


def _gallery_key(run: RunFolder) -> bytes | None:
    if run.audit is None or not run.audit.images:
        return None
    return b"".join(_bytes(run.audit.images[name]) for name in ("source", "target", "budgets"))


def _bytes(array: NDArray[np.generic]) -> bytes:
    return str((array.shape, array.dtype)).encode() + array.tobytes()


def audited(run: RunFolder) -> AuditFolder:
    """The run's audit, which must be there."""
    assert run.audit is not None
    return run.audit


def usable(runs: Sequence[RunFolder], group: Sequence[int]) -> list[int]:
    """The pairs that none of the runs flags."""
    flags = [audited(runs[i]).curves.get("flagged") for i in group]
    pairs = len(audited(runs[group[0]]).images["source"])
    flagged = {int(m) for flag in flags if flag is not None for m in np.flatnonzero(flag)}
    return [m for m in range(pairs) if m not in flagged]


def _pair(runs: Sequence[RunFolder], group: Sequence[int], attack: str, m: int, detail: Detail) -> Pair:
    images = audited(runs[group[0]]).images
    shots = [[_shot(runs, i, attack, (m, q), detail) for i in group] for q in range(len(images["budgets"]))]
    return Pair(m + 1, data_uri(images["source"][m], detail), data_uri(images["target"][m], detail), shots)


def _shot(runs: Sequence[RunFolder], i: int, attack: str, at: tuple[int, int], detail: Detail) -> Shot:
    images = audited(runs[i]).images
    return Shot(
        run=i,
        x_adv=data_uri(images[f"{attack}/x_adv"][at], detail),
        reconstruction=data_uri(images[f"{attack}/reconstruction"][at], detail),
        u=float(images[f"{attack}/distortion"][at]),
        v=float(images[f"{attack}/adversarial_distance"][at]),
    )


def _uris(images: NDArray[np.uint8], detail: Detail) -> list[str]:
    return [data_uri(image, detail) for image in images[:SHOWN_RECONSTRUCTIONS]]
