"""Curves as inline SVG that takes the page's font and colours, so that it reads in light and in dark.

matplotlib knows no CSS: everything is drawn in stand-in colours, which are then replaced in the SVG's text by
`currentColor` and by the page's variables `--run-0`, `--run-1`, ...
"""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from doubleback.report.archives import number
from doubleback.report.runs import Run, title

SERIES = 6  # colours on the page; more runs start over
MAX_POINTS = 101  # drawn of a curve
INK = "#0a0b0c"
_STAND_INS = {INK: "currentColor"} | {f"#0a0b{i:02x}": f"var(--run-{i - 16})" for i in range(16, 16 + SERIES)}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "doubleback",
    "text.usetex": False,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "font.size": 10,
}


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
            _draw_pairs(axes, run, attack, _colour(i), faint=0.22 if len(drawn) < 3 else 0.1)
        for i, run in drawn:
            _draw_means(axes, run, attack, _colour(i))
        _label_means(axes, drawn, attack)

    said = ", ".join(f"{run.name} {_mean_text(run, attack)}" for _, run in drawn)
    return _svg(draw, key, f"Curves of the {title(attack)} attack; mean AUDDC: {said}", size=(3.9, 3.2))


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
                    axes.plot(epochs, values, ls=style, c=_colour(i), lw=1.8, marker="o" if alone else None, ms=4)
            if (start := penalty_start(run)) is not None:
                axes.axvline(start, color=_colour(i), lw=1.2, ls=(0, (1, 2)))
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")

    names = ", ".join(run.name for run in runs if series(run, column)[0])
    return _svg(draw, key, f"{column.replace('_', ' ')} over the epochs: {names}", size=(3.2, 2.3))


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


def _draw_pairs(axes: Axes, run: Run, attack: str, colour: str, faint: float) -> None:
    grid, envelopes = _curves(run, f"{attack}/envelope")
    gap = np.full((len(envelopes), 1), np.nan)  # one path for all pairs: a NaN lifts the pen
    x = np.hstack([np.broadcast_to(grid, envelopes.shape), gap]).ravel()
    axes.plot(x, np.hstack([envelopes, gap]).ravel(), color=colour, alpha=faint, lw=0.7)


def _draw_means(axes: Axes, run: Run, attack: str, colour: str) -> None:
    grid, envelopes = _curves(run, f"{attack}/envelope")
    if len(envelopes):
        axes.plot(grid, envelopes.mean(0), color=colour, lw=2.6)
    if has_curves(run, "blend") and len(blend := _curves(run, "blend/envelope")[1]):
        axes.plot(grid, blend.mean(0), color=colour, lw=1.2, ls=(0, (4, 3)))


def _label_means(axes: Axes, drawn: Sequence[tuple[int, Run]], attack: str) -> None:
    """Names and mean AUDDC in the corner that no curve enters: none lies above the blend for long."""
    rows = [(_shorten(run.name), _mean_text(run, attack), _colour(i), "bold") for i, run in drawn]
    if any(has_curves(run, "blend") for _, run in drawn):
        rows.append(("- - blending", "", INK, "normal"))
    for row, (name, value, colour, weight) in enumerate(rows):
        axes.text(
            0.99,
            0.97 - 0.075 * row,
            f"{name} {value}".strip(),
            ha="right",
            va="top",
            color=colour,
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


def _colour(place: int) -> str:
    return f"#0a0b{16 + place % SERIES:02x}"


def _shorten(name: str, width: int = 22) -> str:
    return name if len(name) <= width else name[: width - 1] + "\u2026"


def _svg(draw: Callable[[Axes], None], key: str, label: str, size: tuple[float, float]) -> Markup:
    """Draw, and return an `<svg>` without a size of its own, its ids prefixed by `key`."""
    text = io.StringIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a glyph that matplotlib's font lacks, the page's may have
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        axes.grid(color=INK, alpha=0.12, lw=0.6)
        axes.tick_params(which="both", left=False, bottom=False)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_alpha(0.4)
        draw(axes)
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return Markup(_inline(text.getvalue(), key, label))


def _inline(svg: str, key: str, label: str) -> str:
    box = re.search(r'viewBox="([^"]*)"', svg)
    assert box is not None
    body = svg[svg.index("<defs>", box.end()) :]
    body = re.sub(r"<style.*?</style>", "", body, flags=re.S)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r' (d|transform|x|y|width|height)="[^"]*"', _rounded, body)
    body = re.sub(r'\bid="|(?<=url\()#|\bxlink:href="#', lambda mark: _prefixed(mark[0], key), body)
    for stand_in, colour in _STAND_INS.items():
        body = body.replace(stand_in, colour)
    return f'<svg viewBox="{box[1]}" role="img" aria-label="{escape(label)}">{body}'


def _rounded(attribute: re.Match[str]) -> str:
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute[0])


def _prefixed(mark: str, key: str) -> str:
    return {'id="': f'id="{key}-', "#": f"#{key}-"}.get(mark, f'href="#{key}-')
