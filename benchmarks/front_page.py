"""The blocks of README.md and docs/index.md: from benchmarks.front's record, and from results/results.json."""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from doubleback.paper.compared import BEST, HARDENED, SIDES

HOME = Path(__file__).parent
DATA = {"mnist": "MNIST", "svhn": "SVHN", "celeba": "faces"}
FIVE = (("vae", "mnist"), ("draw", "mnist"), ("draw-12", "mnist"), ("conv-vae", "svhn"), ("conv-vae", "celeba"))
ENDS = ("plain", BEST)
NAMES = {"vae": "dense VAE", "draw": "DRAW", "draw-12": "DRAW, attention", "conv-vae": "convolutional VAE"}


def front() -> dict[str, Any]:
    """The record of benchmarks.front, on whichever machine it was made."""
    (path,) = (one for one in (HOME / "results").glob("fron*.json") if "quick" not in one.name)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def blocks() -> dict[str, str]:
    """Each block in Markdown, by the name that the pages call it."""
    record = front()
    results = json.loads((HOME.parent / "results" / "results.json").read_text(encoding="utf-8"))
    return {
        "caption": _caption(record),
        "example": f"```text\n{record['readme']}\n```",
        "five": _five(results["autoencoders"]),
        "table2": _table2(results["autoencoders"]),
        "pictured": _pictured(record),
    }


def _caption(record: dict[str, Any]) -> str:
    plain, hardened = (record[name]["worst_case"]["mean"] for name in ("plain", "hardened"))
    before, after = record["validation_l2"]
    said = (
        "An attacker may change each image by at most 30 % of its distance to the image that the attacker wants. The "
        "plain model's output moves far towards that image; the hardened model's output stays nearer to the source. "
        f"AUDDC measures how hard it is to steer the output: {plain:.3f} before hardening, {hardened:.3f} after "
        f"(higher is better). The validation error grew from {before:.2f} to {after:.2f}. A small "
        f"VAE, {record['images']:,} MNIST images, seed 0, first three pairs: "
        "`python -m benchmarks.front --data-dir DIR`."
    )
    return textwrap.fill(said, 118, break_on_hyphens=False)


def _pictured(record: dict[str, Any]) -> str:
    rows = []
    for name in ("plain", "hardened"):
        one = record[name]
        worst, area = one["worst_case"], one["damage_area"]
        rows.append(
            f"| {name} | {one['reconstruction_l2']:.2f} | {_with_interval(worst)} | {one['ceiling']['mean']:.3f} | "
            f"{one['share_of_ceiling']:.0%} | {_with_interval(area)} |"
        )
    head = "| | reconstruction L2 of the sources | worst-case AUDDC | ceiling | of the ceiling | damage, area |"
    return "\n".join([head, "|---" * 6 + "|", *rows])


def _with_interval(figure: dict[str, Any]) -> str:
    low, high = figure["ci95"]
    return f"{figure['mean']:.3f} [{low:.3f}, {high:.3f}]"


def _five(every: list[dict[str, Any]]) -> str:
    first = {(row["key"], row["data"]): row for row in reversed(every)}
    rows = []
    for key in FIVE:
        row = first[key]
        rows.append(
            f"| {NAMES[key[0]]}, {DATA[key[1]]} | {_each(row, ENDS, '.2f', 'reconstruction_l2')} | "
            f"{_each(row, ENDS, '.3f', 'auddc', 'worst_case', 'envelope')} | "
            f"{_gain(row, BEST)} | "
            f"{_each(row, ENDS, '.0%', 'share_of_ceiling', 'worst_case')} | {row['seeds']} |"
        )
    head = "| model, images | error (L2) | AUDDC | gain | of the ceiling | seeds |"
    return "\n".join([head, "|---" * 6 + "|", *rows])


def _table2(every: list[dict[str, Any]]) -> str:
    """The paper's Table 2 in short: the rows that have all three sides."""
    rows = []
    for row in (row for row in every if BEST in row):
        cells = [
            f"{row['label']}, {DATA[row['data']]}",
            _each(row, SIDES, ".2f", "reconstruction_l2"),
            _each(row, SIDES, ".3f", "auddc", "worst_case", "envelope"),
            *(_gain(row, side) for side in HARDENED),
            _each(row, SIDES, ".0%", "share_of_ceiling", "worst_case"),
            _each(row, SIDES, ".2f", "damage"),
            str(row["seeds"]),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    heads = ["model, images", "error (L2)", "worst case", "gain by DBP", "gain by `harden`", "of the ceiling", "damage"]
    return "\n".join([f"| {' | '.join(heads)} | seeds |", "|---" * 8 + "|", *rows])


def _gain(row: dict[str, Any], side: str) -> str:
    """How much more than the plain model this side withstands in the worst case, with its interval."""
    found = row[side]["difference"]["worst_case"]
    return f"{found['mean']:+.3f} [{found['ci95'][0]:+.3f}, {found['ci95'][1]:+.3f}]"


def _each(row: dict[str, Any], sides: Sequence[str], form: str, *names: str) -> str:
    """The means over the seeds, of each side."""
    means = []
    for kind in sides:
        found: Any = row[kind]
        for name in names:
            found = found[name]
        means.append(format(float(np.mean(found)), form))
    return " → ".join(means)
