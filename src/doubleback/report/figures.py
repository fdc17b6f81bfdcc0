"""The figures of runs: distortion-distortion curves and training curves."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from doubleback.report.archives import number
from doubleback.report.runs import Run, title
from doubleback.report.svg import INK, colour, draw_svg, shorten

MAX_POINTS = 101  # drawn of a curve


def curves_figure(runs: Sequence[Run], attack: str, key: str) -> Markup:
    """Distortion-distortion curves of one attack: a thin line a pair, a bold mean, the blend's mean dashed.

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


def training_figure(runs: Sequence[Run], column: str, dashed: str | None, key: str, *, log: bool = False) -> Markup:
    """One column of every run's log.csv over the epochs, another dashed, and where the penalty switches on.

    Args:
        runs: each in the colour of its place; runs without the column are left out.
        column: of log.csv.
        dashed: another one to draw beside it.
        key: makes the ids in the SVG unique on the page.
        log: a logarithmic axis.
    """

    def draw(axes: Axes) -> None:
        for i, run in enumerate(runs):
            for name, style in ((column, "-"), (dashed, (0, (3, 2)))):
                epochs, values = series(run, name) if name else ([], [])
                if epochs:
                    alone = len(epochs) == 1
                    axes.plot(epochs, values, ls=style, c=colour(i), lw=1.8, marker="o" if alone else None, ms=4)
            if (start := penalty_start(run)) is not None:
                axes.axvline(start, color=colour(i), lw=1.2, ls=(0, (1, 2)))
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")

    names = ", ".join(run.name for run in runs if series(run, column)[0])
    return draw_svg(draw, key, f"{column.replace('_', ' ')} over the epochs: {names}", size=(3.2, 2.3))


def has_curves(run: Run, attack: str) -> bool:
    """Whether the run's audit left curves of this attack."""
    return run.audit is not None and f"{attack}/envelope" in run.audit.curves


def series(run: Run, column: str) -> tuple[list[float], list[float]]:
    """Epochs and values of one column of log.csv, where there are both."""
    points = [(row.get("epoch"), row.get(column)) for row in run.log]
    kept = [(epoch, value) for epoch, value in points if epoch is not None and value is not None]
    return [epoch for epoch, _ in kept], [value for _, value in kept]


def penalty_start(run: Run) -> float | None:
    """The first epoch with a penalty, None if it has one from the start or never."""
    weights = list(zip(*series(run, "penalty_weight"), strict=True))
    first = next((epoch for epoch, weight in weights if weight > 0), None)
    return None if first is None or first == weights[0][0] else first


def _draw_pairs(axes: Axes, run: Run, attack: str, hue: str, faint: float) -> None:
    grid, envelopes = _curves(run, f"{attack}/envelope")
    gap = np.full((len(envelopes), 1), np.nan)  # one path for all pairs: a NaN lifts the pen
    x = np.hstack([np.broadcast_to(grid, envelopes.shape), gap]).ravel()
    axes.plot(x, np.hstack([envelopes, gap]).ravel(), color=hue, alpha=faint, lw=0.7)


def _draw_means(axes: Axes, run: Run, attack: str, hue: str) -> None:
    grid, envelopes = _curves(run, f"{attack}/envelope")
    if len(envelopes):
        axes.plot(grid, envelopes.mean(0), color=hue, lw=2.6)
    if has_curves(run, "blend") and len(blend := _curves(run, "blend/envelope")[1]):
        axes.plot(grid, blend.mean(0), color=hue, lw=1.2, ls=(0, (4, 3)))


def _label_means(axes: Axes, drawn: Sequence[tuple[int, Run]], attack: str) -> None:
    """Names and mean AUDDC in the corner that no curve enters: none lies above the blend for long."""
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


def _mean_text(run: Run, attack: str) -> str:
    mean = run.audit and number(run.audit.results, f"attacks.{attack}.auddc.envelope.mean")
    return "" if mean is None else f"{mean:.3f}"


def _curves(run: Run, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The grid and the pairs that are not flagged, thinned to what the eye can use."""
    assert run.audit is not None
    grid, envelopes = run.audit.curves["grid"], run.audit.curves[name]
    kept = np.unique(np.linspace(0, len(grid) - 1, min(len(grid), MAX_POINTS)).round().astype(int))
    return grid[kept], envelopes[np.isfinite(envelopes).all(axis=1)][:, kept]
