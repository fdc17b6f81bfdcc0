"""Distortion-distortion curves: a panel for every attack, with a thin line for each pair and a bold mean."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from doubleback.report.archives import number
from doubleback.report.runs import WORST_CASE, RunFolder, attacks_of, heading, title
from doubleback.report.svg import INK, Panel, colour, draw_svg, shorten

MAX_POINTS = 101  # drawn of a curve


def curves_panels(runs: Sequence[RunFolder]) -> list[Panel]:
    """A panel for every attack and one for the worst case, with the aim that the audits state."""
    return [
        Panel(heading(attack), _about(runs, attack), curves_figure(runs, attack, f"curves-{attack}"))
        for attack in [*attacks_of(runs), WORST_CASE]
        if any(has_curves(run, attack) for run in runs)
    ]


def curves_figure(runs: Sequence[RunFolder], attack: str, key: str) -> Markup:
    """Distortion-distortion curves of one attack: a thin line for each pair, a bold mean, the blend's mean dashed.

    Args:
        runs: those whose audit ran `attack` are drawn, each in the colour of its place.
        attack: its name, or `worst_case`.
        key: makes the ids in the SVG unique on the page.
    """
    drawn = [(i, run) for i, run in enumerate(runs) if has_curves(run, attack)]

    def draw(axes: Axes) -> None:
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=[0, 0.25, 0.5, 0.75, 1], yticks=[0, 0.25, 0.5, 0.75, 1])
        axes.set_xticklabels(["0", ".25", ".5", ".75", "1"])
        axes.set_yticklabels(["0", ".25", ".5", ".75", "1"])
        axes.set_xlabel("distortion u")
        axes.set_ylabel("adversarial distance v")
        for i, run in drawn:
            _draw_pairs(axes, run, attack, colour(i), faint=0.22 if len(drawn) < 3 else 0.1)
        for i, run in drawn:
            _draw_means(axes, run, attack, colour(i))
        _label_means(axes, drawn, attack)

    said = ", ".join(f"{run.name} {_mean_text(run, attack)}" for _, run in drawn)
    return draw_svg(draw, key, f"Curves of the {title(attack)} attack; mean AUDDC: {said}", size=(3.9, 3.2))


def has_curves(run: RunFolder, attack: str) -> bool:
    """Whether the run's audit has curves of this attack. A worst case over blending alone does not count.

    A few eps in units of a norm do not make a curve over the distortion.
    """
    if run.audit is None or (attack == WORST_CASE and not run.audit.targeted):
        return False
    envelopes = run.audit.curves.get(f"{attack}/envelope")
    if envelopes is None:
        return False
    return bool(np.isfinite(envelopes).all(axis=1).any()) or not run.audit.within_budgets


def _about(runs: Sequence[RunFolder], attack: str) -> str:
    """The attack in a few words. If audits describe one name differently, all their words are there."""
    if attack == WORST_CASE:
        return "pair by pair, the lowest of these and blending"
    said = [run.audit.about(attack) for run in runs if run.audit]
    return "; ".join(dict.fromkeys(filter(None, said)))


def _draw_pairs(axes: Axes, run: RunFolder, attack: str, hue: str, faint: float) -> None:
    grid, envelopes = _curves(run, f"{attack}/envelope")
    gap = np.full((len(envelopes), 1), np.nan)  # one path for all pairs: a NaN lifts the pen
    x = np.hstack([np.broadcast_to(grid, envelopes.shape), gap]).ravel()
    axes.plot(x, np.hstack([envelopes, gap]).ravel(), color=hue, alpha=faint, lw=0.7)


def _draw_means(axes: Axes, run: RunFolder, attack: str, hue: str) -> None:
    grid, envelopes = _curves(run, f"{attack}/envelope")
    if len(envelopes):
        axes.plot(grid, envelopes.mean(0), color=hue, lw=2.6)
    if has_curves(run, "blend") and len(blend := _curves(run, "blend/envelope")[1]):
        axes.plot(grid, blend.mean(0), color=hue, lw=1.2, ls=(0, (4, 3)))


def _label_means(axes: Axes, drawn: Sequence[tuple[int, RunFolder]], attack: str) -> None:
    """Names and mean AUDDC in the corner that no curve enters: none stays above the blend for long."""
    rows = [(shorten(run.name), _mean_text(run, attack), colour(i), "bold") for i, run in drawn]
    if any(has_curves(run, "blend") for _, run in drawn):
        rows.append(("- - blending", "", INK, "normal"))
    for row, (name, value, hue, weight) in enumerate(rows):
        axes.text(
            0.99,
            0.97 - 0.075 * row,
            f"{name} {value}".strip(),
            ha="right",
            va="top",
            color=hue,
            weight=weight,
        )


def _mean_text(run: RunFolder, attack: str) -> str:
    mean = run.audit and number(run.audit.results, ("attacks", attack, "auddc", "envelope", "mean"))
    return "" if mean is None else f"{mean:.3f}"


def _curves(run: RunFolder, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The grid and the pairs that are not flagged, thinned to `MAX_POINTS`."""
    assert run.audit is not None
    grid, envelopes = run.audit.curves["grid"], run.audit.curves[name]
    kept = np.unique(np.linspace(0, len(grid) - 1, min(len(grid), MAX_POINTS)).round().astype(int))
    return grid[kept], envelopes[np.isfinite(envelopes).all(axis=1)][:, kept]
