"""Training curves: a panel for every column of log.csv that is a term of the training or of its validation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from doubleback.report.runs import RunFolder, heading, title
from doubleback.report.svg import Panel, colour, draw_svg

VALIDATION = "validation_"
_NO_TERMS = ("epoch", "step", "seconds", "learning_rate", "penalty_weight", "loss")


@dataclass(frozen=True)
class Term:
    """A column of log.csv as it is drawn: `dashed` is the column beside it, `log` asks for a logarithmic axis."""

    column: str
    title: str
    note: str
    dashed: str | None = None
    log: bool = False


KNOWN = (
    Term("validation_l2", "Validation error", "L2"),
    Term("reconstruction", "Reconstruction loss", "nats; dashed: validation", "validation_reconstruction"),
    Term("kl", "KL of the code", "nats; dashed: validation", "validation_kl"),
    Term("penalty", "Penalty", "before its weight, while it is on", log=True),
    Term("cross_entropy", "Cross-entropy", "nats; dashed: validation", "validation_cross_entropy"),
    Term("validation_accuracy", "Validation accuracy", "share of the images"),
)


def training_panels(runs: Sequence[RunFolder]) -> list[Panel]:
    """A panel for every term that has a number in a run: the known ones first, the others in the order of the logs."""
    return [
        Panel(term.title, term.note, training_figure(runs, term, f"training-{term.column}"))
        for term in (*KNOWN, *_others(column for run in runs for row in run.log for column in row))
        if any(series(run, column)[0] for run in runs for column in _columns(term))
    ]


def _others(columns: Iterable[str]) -> list[Term]:
    """The terms that are not in `KNOWN`: each with its validation, or a validation by itself."""
    logged = dict.fromkeys(columns)
    shown = {column for term in KNOWN for column in _columns(term)} | set(_NO_TERMS)
    new = [column for column in logged if column not in shown]
    both = [column for column in new if f"{VALIDATION}{column}" in new]
    beside = {f"{VALIDATION}{column}" for column in both}
    return [
        Term(column, heading(column), "dashed: validation", f"{VALIDATION}{column}")
        if column in both
        else Term(column, heading(column), "")
        for column in new
        if column not in beside
    ]


def _columns(term: Term) -> list[str]:
    return [term.column] if term.dashed is None else [term.column, term.dashed]


def training_figure(runs: Sequence[RunFolder], term: Term, key: str) -> Markup:
    """One term of every run's log.csv over the epochs, and where the penalty switches on.

    Args:
        runs: each in the colour of its place; runs without the term are left out.
        term: what is drawn.
        key: makes the ids in the SVG unique on the page.
    """

    def draw(axes: Axes) -> None:
        for i, run in enumerate(runs):
            for name, style in zip(_columns(term), ("-", (0, (3, 2))), strict=False):
                epochs, values = series(run, name)
                if epochs:
                    alone = len(epochs) == 1
                    axes.plot(epochs, values, ls=style, c=colour(i), lw=1.8, marker="o" if alone else None, ms=4)
            if (start := penalty_start(run)) is not None:
                axes.axvline(start, color=colour(i), lw=1.2, ls=(0, (1, 2)))
        if term.log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")

    names = ", ".join(run.name for run in runs if any(series(run, column)[0] for column in _columns(term)))
    return draw_svg(draw, key, f"{title(term.column)} over the epochs: {names}", size=(3.2, 2.3))


def series(run: RunFolder, column: str) -> tuple[list[float], list[float]]:
    """Epochs and values of one column of log.csv, where there are both."""
    points = [(row.get("epoch"), row.get(column)) for row in run.log]
    kept = [(epoch, value) for epoch, value in points if epoch is not None and value is not None]
    return [epoch for epoch, _ in kept], [value for _, value in kept]


def penalty_start(run: RunFolder) -> float | None:
    """The first epoch with a penalty; None if the run has one from the start, or never."""
    weights = list(zip(*series(run, "penalty_weight"), strict=True))
    first = next((epoch for epoch, weight in weights if weight > 0), None)
    return None if first is None or first == weights[0][0] else first
