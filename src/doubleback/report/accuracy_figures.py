"""Accuracy over epsilon: every model's worst case in one drawing, every attack on one model in another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from doubleback.report.archives import interval, mapping, number
from doubleback.report.runs import title
from doubleback.report.studies import Study
from doubleback.report.svg import INK, colour, draw_svg, shorten
from doubleback.settings.ball import radius

_GAP = 0.075  # between the labels at the right, in shares
_Dashes = str | tuple[int, tuple[int, int]]
_SOLID: _Dashes = "-"
_DASHED: _Dashes = (0, (3, 2))


@dataclass(frozen=True)
class Curve:
    """Accuracy at epsilon 0 and at each epsilon, with its 95 % interval: each (E + 1,), NaN where it is unknown.

    `dashed`: the attack does not follow the model's own gradient.
    """

    label: str
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    dashed: bool = False


_Label = tuple[Curve, str, str]  # a curve, its colour, the weight of its name


def ordered(study: Study) -> list[str]:
    """The epsilons as typed, the smallest first."""
    return sorted(study.eps, key=radius)


def worst_curve(study: Study, model: str) -> Curve:
    """The worst case over all attacks and transferred examples."""
    return _curve(study, model, model, ("worst_case",))


def attack_curves(study: Study, model: str) -> list[Curve]:
    """One curve for each attack, and one for the worst of the transferred examples."""
    record = study.model(model)
    curves = []
    for attack in mapping(record, "robust_accuracy"):
        said = study.attack(attack)
        curve = _curve(study, model, said.title, ("robust_accuracy", attack))
        curves.append(replace(curve, dashed=said.sees != "gradient"))
    others = [_curve(study, model, other, ("transfer", other)) for other in mapping(record, "transfer")]
    if others:
        values = np.stack([other.values for other in others])
        known = np.where(np.isnan(values).all(0), np.nan, np.min(np.nan_to_num(values, nan=np.inf), 0))
        curves.append(Curve("transfer", known, known, known, dashed=True))
    return [curve for curve in curves if _drawn(curve)]


def worst_figure(study: Study, key: str) -> Markup | None:
    """Every model's worst case, bold, with its interval as a band; None if no model has one."""
    drawn = [(study.place(model), worst_curve(study, model)) for model in study.models]
    drawn = [(place, curve) for place, curve in drawn if _drawn(curve)]
    if not drawn:
        return None

    def draw(axes: Axes) -> None:
        x = _axis(axes, study, room=0.15)
        for place, curve in drawn:
            axes.fill_between(x, curve.low, curve.high, color=colour(place), alpha=0.16, lw=0)
            axes.plot(x, curve.values, color=colour(place), lw=2.4, marker="o", ms=4)
        _label(axes, x, [(curve, colour(place), "bold") for place, curve in drawn], width=17)

    said = "; ".join(f"{curve.label} {_said(curve)}" for _, curve in drawn)
    return draw_svg(draw, key, f"Accuracy in the worst case at eps 0, {', '.join(ordered(study))}: {said}", (3.9, 3.2))


def model_figure(study: Study, model: str, key: str) -> Markup | None:
    """One model: a thin line for each attack (dashed: without its gradient), a bold one for the worst case.

    None if there are no figures.
    """
    attacks, worst = attack_curves(study, model), worst_curve(study, model)
    if not attacks and not _drawn(worst):
        return None
    hue = colour(study.place(model))

    def draw(axes: Axes) -> None:
        x = _axis(axes, study, room=0.2)
        axes.fill_between(x, worst.low, worst.high, color=hue, alpha=0.16, lw=0)
        axes.plot(x, worst.values, color=hue, lw=2.4, marker="o", ms=4)
        labels: list[_Label] = [(Curve("worst case", worst.values, worst.low, worst.high), hue, "bold")]
        for curve in attacks:
            dashes = _DASHED if curve.dashed else _SOLID
            axes.plot(x, curve.values, color=hue, lw=1.1, ls=dashes, alpha=0.85)
            labels.append((curve, INK, "normal"))
        _label(axes, x, labels, width=14)

    said = "; ".join(f"{curve.label} {_said(curve)}" for curve in attacks)
    return draw_svg(draw, key, f"Accuracy of {model} at eps 0, {', '.join(ordered(study))}: {said}", (3.2, 2.7))


def _curve(study: Study, model: str, label: str, path: tuple[str, ...]) -> Curve:
    record = study.model(model)
    paths = [("clean_accuracy",), *((*path, eps) for eps in ordered(study))]
    values = [number(record, at) for at in paths]
    ends = [interval(record, ("ci95", *at)) or (value, value) for at, value in zip(paths, values, strict=True)]
    known, low, high = (
        np.array([math.nan if x is None else x for x in row]) for row in (values, *zip(*ends, strict=True))
    )
    return Curve(label, known, low, high)


def _drawn(curve: Curve) -> bool:
    """Whether there is more to draw than the clean accuracy."""
    return bool(np.isfinite(curve.values[1:]).any())


def _said(curve: Curve) -> str:
    return ", ".join("unknown" if math.isnan(value) else f"{value:.1%}" for value in curve.values)


def _axis(axes: Axes, study: Study, room: float) -> NDArray[np.float64]:
    """Scale the axes, name the epsilons, and return all of them, 0 first."""
    axes.set(ylim=(0, 1), yticks=[0, 0.25, 0.5, 0.75, 1], xlabel=f"eps, {study.results.get('norm', '')}")
    axes.set_yticklabels(["0", "25", "50", "75", "100\u2009%"])
    return name_epsilons(axes, ordered(study), room)


def name_epsilons(axes: Axes, typed: Sequence[str], room: float) -> NDArray[np.float64]:
    """Scale the x axis from 0, name the epsilons that have room for a name, and return all of them, 0 first.

    Args:
        axes: where they are drawn.
        typed: the epsilons, the smallest first.
        room: how much of the axis a name takes, as a share.
    """
    x = np.array([0.0, *(radius(eps) for eps in typed)])
    end = float(x[-1]) or 1.0
    axes.set(xlim=(0, end))
    ticks, names = [end], [typed[-1] if typed else ""]
    for at, name in reversed(list(zip(x[:-1], ["0", *typed[:-1]], strict=True))):
        if ticks[-1] - at > room * end and (at == 0 or at > room * end):
            ticks.append(float(at))
            names.append(name)
    axes.set_xticks(ticks, names)
    return x


def _label(axes: Axes, x: NDArray[np.float64], labels: Sequence[_Label], width: int) -> None:
    """Names right of the curves, pushed apart until none covers another. A hairline joins each to its curve."""
    shown = [label for label in labels if _drawn(label[0])]
    shown.sort(key=lambda label: (-_end(label[0]), -float(np.nanmean(label[0].values))))
    heights: list[float] = []
    for curve, *_ in shown:
        heights.append(min(_end(curve), heights[-1] - _GAP if heights else 0.98))
    for row in reversed(range(len(heights))):  # those pushed under the axis go up again
        floor = 0.02 if row == len(heights) - 1 else heights[row + 1] + _GAP
        heights[row] = max(heights[row], floor)
    right = float(x[-1]) or 1.0
    for height, (curve, hue, weight) in zip(heights, shown, strict=True):
        hair = [right * 1.01, right * 1.05], [_end(curve), height]
        axes.plot(*hair, color=hue, lw=0.7, alpha=0.5, clip_on=False)
        name = shorten(title(curve.label.removesuffix("/classifier")), width)
        axes.text(right * 1.07, height, name, color=hue, weight=weight, va="center", fontsize=9)


def _end(curve: Curve) -> float:
    """The last accuracy that is known."""
    return float(curve.values[np.isfinite(curve.values)][-1])
