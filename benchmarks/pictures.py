"""The drawings behind benchmarks.front: what an attack does, and what each figure of an audit means."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SHOWN = 2  # of doubleback's distortions of the gallery (0.1, 0.2, 0.3, 0.5): 0.3
PLAIN, HARDENED, GREY = "#c2410c", "#0f766e", "#6b7280"
COLOURS = {"plain": PLAIN, "hardened": HARDENED}
mpl.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})


def draw(folder: Path, found: dict[str, Any], known: dict[str, Any]) -> None:
    """Every picture; `found` holds the audits, `known` the record."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {
        "front": front(found),
        "threats": threats(found["goals"]),
        "auddc": areas(found, known),
        "ceiling": ceiling(found["plain"], known["plain"]),
        "damage": damage(found, known),
        "checks": checks(known),
    }
    for name, figure in drawn.items():
        figure.savefig(folder / f"{name}.png", dpi=110, facecolor="white", metadata={"Software": ""})


def front(found: dict[str, Any], rows: int = 3) -> Figure:
    """Source, wanted image, and for both models what is sent and what comes out: the first pairs of the audit."""
    kept = np.flatnonzero(~found["plain"].flagged[:8] & ~found["hardened"].flagged[:8])[:rows]
    columns = [("source", found["plain"].gallery["source"]), ("attacker wants", found["plain"].gallery["target"])]
    for name in COLOURS:
        gallery = found[name].gallery
        columns.append((f"sent to {name}", gallery["output/x_adv"][:, SHOWN]))
        columns.append(("comes out", gallery["output/reconstruction"][:, SHOWN]))
    figure = Figure(figsize=(9, 0.6 + 1.45 * rows), layout="constrained")
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for place, (title, images) in enumerate(columns):
        colour = "black" if place < 2 else PLAIN if place < 4 else HARDENED
        for row, pair in enumerate(kept):
            _image(axes[row, place], images[pair], colour, framed=place in (3, 5))
        axes[0, place].set_title(title, color=colour, fontsize=11.5)
    return figure


def threats(audit: Any) -> Figure:
    """One pair, three goals, the same distance."""
    pair = int(np.flatnonzero(~audit.flagged[:8])[0])
    says = {"latent": "latent: the target's code", "output": "output: the target's picture",
            "untargeted": "untargeted: anything else"}  # fmt: skip
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots(len(says), 4)
    for row, (goal, said) in zip(axes, says.items(), strict=True):
        images, names = audit.gallery, (f"{goal}/x_adv", f"{goal}/reconstruction")
        shown = [images["source"][pair], images["target"][pair], *(images[name][pair, SHOWN] for name in names)]
        for axis, image in zip(row, shown, strict=True):
            _image(axis, image, "black")
        row[0].set_ylabel(said.replace(": ", ":\n"), rotation=0, ha="right", va="center", fontsize=9)
    for axis, title in zip(axes[0], ("source", "target", "attacked input", "comes out"), strict=True):
        axis.set_title(title, fontsize=10)
    return figure


def areas(found: dict[str, Any], known: dict[str, Any]) -> Figure:
    """The mean curve of both models; the area under it is the AUDDC."""
    figure, axis = _axes("distortion u: how far the input was moved", "distance v: how far the attacker still is")
    for name, colour in reversed(COLOURS.items()):
        arrays = found[name].arrays()
        grid, mean = arrays["grid"], np.nanmean(arrays["worst_case/envelope"], axis=0)
        axis.plot(grid, mean, color=colour, lw=2.5, label=f"{name}: AUDDC {known[name]['worst_case']['mean']:.3f}")
        axis.fill_between(grid, 0, mean, color=colour, alpha=0.18)
    axis.legend(frameon=False)
    return figure


def ceiling(audit: Any, known: dict[str, Any]) -> Figure:
    """The attack's curve below that of blending, which needs no knowledge of the model."""
    figure, axis = _axes("distortion u: how far the input was moved", "distance v: how far the attacker still is")
    arrays = audit.arrays()
    grid = arrays["grid"]
    blend, worst = (np.nanmean(arrays[f"{name}/envelope"], axis=0) for name in ("blend", "worst_case"))
    axis.plot(grid, blend, color=GREY, lw=2.5, ls="--", label=f"blending: the ceiling, {known['ceiling']['mean']:.3f}")
    axis.plot(grid, worst, color=PLAIN, lw=2.5, label=f"worst case, {known['worst_case']['mean']:.3f}")
    axis.fill_between(grid, worst, blend, color=GREY, alpha=0.2, label="what the attack gains over blending")
    axis.legend(frameon=False)
    return figure


def damage(found: dict[str, Any], known: dict[str, Any]) -> Figure:
    """How far the reconstruction moves, wherever it goes."""
    figure, axis = _axes("distortion u: how far the input was moved", "how far the reconstruction moved")
    for name, colour in COLOURS.items():
        at = found[name].results()["damage"]["relative"]
        u, moved = [0.0, *map(float, at)], [0.0, *(one["mean"] for one in at.values())]
        axis.plot(u, moved, color=colour, lw=2.5, marker="o", ms=4,
                  label=f"{name}: area {known[name]['damage_area']['mean']:.2f}")  # fmt: skip
        axis.fill_between(u, 0, moved, color=colour, alpha=0.12)
    axis.set_ylim(0)
    axis.legend(frameon=False)
    return figure


def checks(known: dict[str, Any]) -> Figure:
    """A hidden gradient looks like robustness; a check says that it is none."""
    says = {
        "plain": "the model",
        "hidden": "the same,\ngradient hidden",
        "twin": "the same, attacked\nby a twin that hides nothing",
    }
    figure = Figure(figsize=(7.2, 3), layout="constrained")
    axis = figure.subplots()
    for row, name in enumerate(says):
        one, flags = known[name], [flag for flag in known[name]["flags"] if "gradient" in flag]
        area = one["worst_case"]["mean"]
        axis.barh(row, area, 0.6, color=GREY if flags else PLAIN, alpha=0.5 if flags else 1)
        flagged = f"   flag: {flags[-1]}" if flags else ""
        axis.text(area + 0.005, row, f"{area:.3f}{flagged}", va="center", fontsize=10)
    axis.set_yticks(range(len(says)), list(says.values()))
    axis.set(xlim=(0, 0.85), xlabel="AUDDC of the worst case that was found")
    axis.invert_yaxis()
    return figure


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    axis.set(xlabel=x, ylabel=y, xlim=(0, 1))
    return figure, axis


def _image(axis: Axes, pixels: Sequence[Any], colour: str, *, framed: bool = False) -> None:
    """One image, (C, H, W) of bytes."""
    shown = np.moveaxis(np.asarray(pixels), 0, -1)
    axis.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    for side in axis.spines.values():
        side.set(visible=framed, color=colour, linewidth=2.5)
