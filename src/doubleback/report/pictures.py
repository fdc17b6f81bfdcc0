"""Images as PNG data URIs, and the gallery: what goes in, what comes out, at the same distortion budget."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from doubleback.report.runs import AuditFolder, RunFolder, attacks_of

GALLERY_PAIRS = 4
SHOWN_RECONSTRUCTIONS = 10


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


def data_uri(image: NDArray[np.uint8]) -> str:
    """A uint8 image (C, H, W) as a PNG data URI: grey for C = 1, colour for C = 3, else its first channel."""
    pixels = image.transpose(1, 2, 0) if len(image) == 3 else image[0]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def galleries(runs: Sequence[RunFolder]) -> list[Gallery]:
    """The first pairs that no run flags, for each attack; runs audited on other pairs stand apart."""
    found = []
    for group in _alike(runs, [_gallery_key(run) for run in runs]):
        for attack in attacks_of([runs[i] for i in group]):
            ran = [i for i in group if attack in _audited(runs[i]).attacks]
            images = _audited(runs[ran[0]]).images
            budgets = [float(budget) for budget in images["budgets"]]
            pairs = [_pair(runs, ran, attack, m) for m in _usable(runs, ran)]
            if pairs and budgets:
                found.append(Gallery(attack, ran, budgets, (len(budgets) - 1) // 2, pairs))
    return found


def strips(runs: Sequence[RunFolder]) -> list[Strip]:
    """Test images above their reconstructions; runs on the same images share a strip."""
    keys = [_bytes(run.images["test"]) if "test" in run.images else None for run in runs]
    return [
        Strip(
            _uris(runs[group[0]].images["test"]),
            [(i, _uris(runs[i].images["test_reconstruction"])) for i in group],
        )
        for group in _alike(runs, keys)
    ]


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


def _audited(run: RunFolder) -> AuditFolder:
    assert run.audit is not None
    return run.audit


def _usable(runs: Sequence[RunFolder], group: Sequence[int]) -> list[int]:
    """The first pairs, without those that any of the runs flags."""
    flags = [_audited(runs[i]).curves.get("flagged") for i in group]
    pairs = len(_audited(runs[group[0]]).images["source"])
    flagged = {int(m) for flag in flags if flag is not None for m in np.flatnonzero(flag)}
    return [m for m in range(pairs) if m not in flagged][:GALLERY_PAIRS]


def _pair(runs: Sequence[RunFolder], group: Sequence[int], attack: str, m: int) -> Pair:
    images = _audited(runs[group[0]]).images
    shots = [[_shot(runs, i, attack, m, q) for i in group] for q in range(len(images["budgets"]))]
    return Pair(m + 1, data_uri(images["source"][m]), data_uri(images["target"][m]), shots)


def _shot(runs: Sequence[RunFolder], i: int, attack: str, m: int, q: int) -> Shot:
    images = _audited(runs[i]).images
    return Shot(
        run=i,
        x_adv=data_uri(images[f"{attack}/x_adv"][m, q]),
        reconstruction=data_uri(images[f"{attack}/reconstruction"][m, q]),
        u=float(images[f"{attack}/distortion"][m, q]),
        v=float(images[f"{attack}/adversarial_distance"][m, q]),
    )


def _uris(images: NDArray[np.uint8]) -> list[str]:
    return [data_uri(image) for image in images[:SHOWN_RECONSTRUCTIONS]]
