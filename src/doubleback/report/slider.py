"""The slider over the distortion: source, attacked input, difference, what comes out, and the point on the curve.

`slider.html` holds what does not move, and `slider.js` moves the rest. It reads one block of JSON: pictures, and
numbers of `curves.npz` and `images.npz`. All pictures of one run and one pair are on one sheet. It has a row of
attacked inputs, a row of differences, a row of what comes out, and a column for each stop. The first column is without
an attack. Audits of an older version have pictures at fewer distortions. Then these distortions are the stops.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from doubleback.report.archives import Arrays, number
from doubleback.report.cells import Column
from doubleback.report.figures import MAX_POINTS, has_curves
from doubleback.report.pictures import (
    Detail,
    audited,
    blocks,
    change_of,
    encoded,
    factor_of,
    on_the_same_pairs,
    ran_by,
    shrunk_size,
    usable,
)
from doubleback.report.runs import RunFolder, heading

FIRST_SHOWN = 0.25  # the distortion at which a page opens, or the one below it
_DIGITS = 4  # of the numbers in the block


@dataclass(frozen=True)
class Slider:
    """Runs on the same pairs, and `data`, the JSON that `slider.js` reads. `stops`: the number of its last stop."""

    runs: list[Column]
    stops: int
    data: dict[str, Any]


def sliders(runs: Sequence[RunFolder], detail: Detail) -> list[Slider]:
    """One slider for all runs that were audited on the same pairs; none if pictures or curves are missing."""
    found = []
    for group in on_the_same_pairs(runs):
        every = [_attack(runs, ran, attack, detail) for attack, ran in ran_by(runs, group).items()]
        if moving := [one for one in every if one["pairs"]]:
            shown = sorted({place for one in moving for place in one["runs"]})
            names = {place: runs[place].name for place in shown}
            stops = max(len(one["stops"]) for one in moving) - 1
            found.append(Slider([Column(names[i], i) for i in shown], stops, {"names": names, "attacks": moving}))
    return found


def _attack(runs: Sequence[RunFolder], ran: Sequence[int], attack: str, detail: Detail) -> dict[str, Any]:
    """One attack, by those runs that have its curves and pictures."""
    ran = [i for i in ran if has_curves(runs[i], attack) and _decodes(runs[i])]
    audits = [audited(runs[i]) for i in ran]
    place, stops = _stops([audit.images for audit in audits], attack)
    kept = min((len(audit.images[f"{place}/x_adv"]) for audit in audits), default=0)
    pairs = [m for m in usable(runs, ran) if m < kept] if ran else []
    below = np.flatnonzero(np.array(stops) <= FIRST_SHOWN)
    return {
        "title": f"{heading(attack)} attack",
        "targeted": all(attack in audit.targeted for audit in audits),
        "runs": ran,
        "stops": [0.0, *map(_rounded, stops)],
        "start": int(below[-1]) + 1 if len(below) else 1,
        "pairs": [_pair([runs[i] for i in ran], attack, place, m, detail) for m in pairs[: detail.pairs]],
    }


def _decodes(run: RunFolder) -> bool:
    """Whether there is something to see: an encoder alone has no reconstructions."""
    audit = audited(run)
    return number(audit.results, "reconstruction_l2") is not None and "source_reconstruction" in audit.images


def _stops(images: Sequence[Arrays], attack: str) -> tuple[str, list[float]]:
    """Where all of these hold an attack's pictures, and the distortions that the pictures are at."""
    kept = [one["stops"] for one in images if "stops" in one and f"{attack}/stops/x_adv" in one]
    if kept and len(kept) == len(images) and all(np.array_equal(kept[0], other) for other in kept):
        return f"{attack}/stops", kept[0].tolist()
    return attack, images[0]["budgets"].tolist() if images else []


def _pair(runs: Sequence[RunFolder], attack: str, place: str, m: int, detail: Detail) -> dict[str, Any]:
    """One pair: source, target, and each run's pictures and numbers. `factors`: how much differences are enlarged."""
    images = [audited(run).images for run in runs]
    height, width = shrunk_size(images[0][f"{place}/x_adv"].shape[-2:], detail.side)
    source, target = (blocks(images[0][end][m], height, width) for end in ("source", "target"))
    went_in = [[blocks(x, height, width) for x in one[f"{place}/x_adv"][m]] for one in images]
    factors = [factor_of(source[None], np.stack(every)[None]) for every in zip(*went_in, strict=True)]
    shots = []
    for run, one, inputs in zip(runs, images, went_in, strict=True):
        came_out = [one["source_reconstruction"][m], *one[f"{place}/reconstruction"][m]]
        rows = [
            [source, *inputs],
            [change_of(source, x, factor) for x, factor in zip([source, *inputs], [1, *factors], strict=True)],
            [blocks(x, height, width) for x in came_out],
        ]
        sheet = np.concatenate([np.concatenate(row, axis=2) for row in rows], axis=1)
        shots.append({"sheet": encoded(sheet, detail.lossless), **_numbers(run, attack, place, m)})
    ends = {"source": encoded(source, detail.lossless), "target": encoded(target, detail.lossless)}
    return {"number": m + 1, "size": [width, height], "factors": [1, *factors], "shots": shots} | ends


def _numbers(run: RunFolder, attack: str, place: str, m: int) -> dict[str, Any]:
    """u and v of each stop, and the pair's curve: (u, v), thinned to `MAX_POINTS`."""
    images, curves = audited(run).images, audited(run).curves
    u, v = (images[f"{place}/{name}"][m].tolist() for name in ("distortion", "adversarial_distance"))
    grid, envelope = curves["grid"], curves[f"{attack}/envelope"]
    kept = np.unique(np.linspace(0, len(grid) - 1, min(len(grid), MAX_POINTS)).round().astype(int))
    curve = zip(grid[kept].tolist(), envelope[m, kept].tolist(), strict=True) if m < len(envelope) else ()
    return {
        "u": [0.0, *map(_rounded, u)],
        "v": [1.0, *map(_rounded, v)],
        "curve": [[_rounded(x), _rounded(y)] for x, y in curve if math.isfinite(x) and math.isfinite(y)],
    }


def _rounded(value: float) -> float | None:
    """Rounded for JSON, which has no infinity and no NaN: they become None."""
    return round(value, _DIGITS) if math.isfinite(value) else None
