"""Damage: how far an attack moves the reconstruction, over eps for each norm, and over the distortion u."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from doubleback.report.accuracy_figures import name_epsilons
from doubleback.report.archives import Keys, interval, mapping, number
from doubleback.report.cells import written
from doubleback.report.runs import AuditFolder, RunFolder
from doubleback.report.svg import Panel, colour, draw_svg, shorten
from doubleback.settings.ball import FARTHEST, radius

AREA, RELATIVE = "area", "relative"  # keys of `damage` that are not norms
_LINE = 0.085  # of the drawing's height, for a name in its corner


@dataclass(frozen=True)
class Damaged:
    """A few sentences on runs that were attacked within budgets (HTML, names escaped), and the names in them."""

    sentence: Markup
    names: list[Markup]


@dataclass(frozen=True)
class _Line:
    """Damage of one run: (K + 1,) each, from the origin on."""

    name: str
    place: int
    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def by_size(record: Mapping[str, Any]) -> list[str]:
    """The keys that are an eps, the smallest first; other keys are left out."""
    known = {typed: size for typed in record if (size := _size(typed)) is not None}
    return sorted(known, key=lambda typed: known[typed])


def norms_of(audit: AuditFolder) -> list[str]:
    """The norms that the audit's damage is known for, in the file's order."""
    damage = mapping(audit.results, "damage")
    return [norm for norm in damage if norm not in (AREA, RELATIVE) and by_size(mapping(damage, (norm,)))]


def damaged(audits: Sequence[tuple[Markup, AuditFolder]]) -> Damaged:
    """A sentence for each norm, at its largest eps: how far the reconstruction moves, the least first."""
    most: dict[tuple[str, str], list[tuple[float, Markup, str]]] = {}
    for name, audit in audits:
        for norm in norms_of(audit):
            at = mapping(audit.results, ("damage", norm))
            eps = by_size(at)[-1]
            if found := spread(at, (eps,)):
                mean, *ends = found
                said = written(mean) + ("" if ends == [mean, mean] else f" [{', '.join(map(written, ends))}]")
                most.setdefault((norm, eps), []).append((mean, name, said))
    sentences = []
    for (norm, eps), moved in most.items():
        moved.sort(key=lambda one: one[0])
        each = Markup(", ").join(Markup("of {} by {}").format(name, said) for _, name, said in moved)
        lower = "L2, lower is more robust" if len(moved) > 1 else "L2"
        sentences.append(
            Markup(" Attacks within {} {} move the reconstruction {} ({}).").format(norm, eps, each, lower)
        )
    names = [name for moved in most.values() for _, name, _ in moved]
    return Damaged(Markup("").join(sentences), names)


def damage_panels(runs: Sequence[RunFolder]) -> list[Panel]:
    """A panel for each norm, then one of the relative damage; those without a line are left out."""
    norms = dict.fromkeys(norm for run in runs if run.audit for norm in norms_of(run.audit))
    panels = []
    for place, norm in enumerate(norms):
        if svg := _norm_figure(runs, norm, f"damage{place}"):
            panels.append(Panel(f"Damage, {norm}", "L2 change of the reconstruction, worst of all attacks", svg))
    if svg := _relative_figure(runs, "damage-relative"):
        note = "change over \u2016x\u0302\u2080 \u2212 x\u0302\u209c\u2016; beside each name the area"
        panels.append(Panel("Relative damage", note, svg))
    return panels


def _norm_figure(runs: Sequence[RunFolder], norm: str, key: str) -> Markup | None:
    """Damage over eps under one norm, a line for each run; None if no run has any."""
    lines = [line for i, run in enumerate(runs) if (line := _line(run, i, norm))]
    records = [mapping(run.audit.results, ("damage", norm)) for run in runs if run.audit]
    typed = by_size({eps: None for record in records for eps in record})

    def scale(axes: Axes) -> None:
        name_epsilons(axes, typed, room=0.15)
        axes.set(xlabel=f"eps, {norm}", ylabel="damage, L2")

    return _figure(lines, scale, {}, key, f"Damage over eps, {norm}")


def _relative_figure(runs: Sequence[RunFolder], key: str) -> Markup | None:
    """Relative damage over the distortion, a line for each run, its area beside the name; None if no run has any."""
    known = [(i, run) for i, run in enumerate(runs) if run.audit]
    lines = [line for i, run in known if (line := _line(run, i, RELATIVE))]
    areas = {i: number(run.audit.results if run.audit else {}, "damage.area.mean") for i, run in known}

    def scale(axes: Axes) -> None:
        axes.set(xlim=(0, 1), xticks=[0, 0.25, 0.5, 0.75, 1], xlabel="distortion u", ylabel="relative damage")
        axes.set_xticklabels(["0", ".25", ".5", ".75", "1"])

    said = {i: written(area) for i, area in areas.items() if area is not None}
    return _figure(lines, scale, said, key, "Relative damage over the distortion, with its area")


def _figure(
    lines: Sequence[_Line], scale: Callable[[Axes], None], said: Mapping[int, str], key: str, label: str
) -> Markup | None:
    """Lines with bands, and names in the corner that rising lines leave free; `said`: the figures beside the names."""
    if not lines:
        return None
    names = [f"{shorten(line.name)} {said.get(line.place, '')}".strip() for line in lines]
    top = max(float(np.max([line.mean, line.high])) for line in lines) or 1.0

    def draw(axes: Axes) -> None:
        scale(axes)
        axes.set_ylim(0, top / (0.97 - _LINE * min(len(lines), 6)))
        for row, (line, name) in enumerate(zip(lines, names, strict=True)):
            hue = colour(line.place)
            axes.fill_between(line.x, line.low, line.high, color=hue, alpha=0.16, lw=0)
            axes.plot(line.x, line.mean, color=hue, lw=2.4, marker="o", ms=4)
            at: dict[str, Any] = {"transform": axes.transAxes, "va": "top", "weight": "bold"}
            axes.text(0.02, 0.98 - _LINE * row, name, color=hue, **at)

    heard = (f"{name}: {', '.join(map(written, line.mean[1:]))}" for name, line in zip(names, lines, strict=True))
    return draw_svg(draw, key, f"{label}; {'; '.join(heard)}", (3.9, 3.2))


def _line(run: RunFolder, place: int, norm: str) -> _Line | None:
    """What is known of `damage.<norm>`, from (0, 0); None if nothing is."""
    record = mapping(run.audit.results if run.audit else {}, ("damage", norm))
    found = [(radius(eps), *known) for eps in by_size(record) if (known := spread(record, (eps,)))]
    return _Line(run.name, place, *np.array([(0.0, 0.0, 0.0, 0.0), *found]).T) if found else None


def spread(record: Mapping[str, Any], path: tuple[str, ...]) -> tuple[float, float, float] | None:
    """The mean at `path` and the ends of its interval, or the mean itself as both ends; None without a mean."""
    mean: float | None = number(record, (*path, "mean"))
    at: Keys = (*path, "ci95")
    return None if mean is None else (mean, *(interval(record, at) or (mean, mean)))


def _size(typed: str) -> float | None:
    try:
        size = radius(typed)
    except (ValueError, ZeroDivisionError):
        return None
    return size if 0 < size <= FARTHEST else None
