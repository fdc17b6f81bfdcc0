"""The figures of all runs side by side: which rows there are, and how a number is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from doubleback.report.archives import interval, number
from doubleback.report.runs import WORST_CASE, Run, title

Better = Literal["higher", "lower", ""]
Source = Literal["run", "audit", "classifier"]


@dataclass(frozen=True)
class Cell:
    """A number as written and as stored, its 95 % interval, and how many times the baseline's it is."""

    text: str = "\u2013"
    value: float | None = None
    interval: str = ""
    ratio: str = ""


@dataclass(frozen=True)
class Column:
    """The head of a column: a run's or a model's name, its colour, and a few words."""

    name: str
    place: int
    small: str = ""


@dataclass(frozen=True)
class Row:
    """A figure of every run. `note` explains it in a few words; `better` says in which direction."""

    label: str
    note: str
    better: Better
    cells: list[Cell]


@dataclass(frozen=True)
class Group:
    """Rows under one heading."""

    title: str
    rows: list[Row]


@dataclass(frozen=True)
class _Figure:
    label: str
    note: str
    better: Better
    path: str
    source: Source = "run"
    ci95: str = ""
    form: str = ""


_QUALITY = [
    _Figure("Reconstruction error", "L2 of x\u0302 \u2212 x, pixels in [0, 1]", "lower", "test.reconstruction_l2"),
    _Figure("Negative log-likelihood", "nats an image", "lower", "test.reconstruction_nll"),
    _Figure("PSNR", "dB", "higher", "test.reconstruction_psnr"),
    _Figure("KL of the code", "to N(0, I), nats an image", "", "test.kl"),
]
_CLASSES = [
    _Figure("Accuracy", "of the test images", "higher", "test.accuracy", "classifier", form=".2%"),
    _Figure("Cross-entropy", "nats an image", "lower", "test.cross_entropy", "classifier"),
]
_SMOOTHNESS = [
    _Figure("Input gradient", "norm, target held fixed", "lower", "test.input_gradient_norm"),
    _Figure("Output Jacobian, spectral", "norm of dx\u0302/dx", "lower", "test.output_jacobian.spectral"),
    _Figure("Output Jacobian, Frobenius", "norm of dx\u0302/dx", "lower", "test.output_jacobian.frobenius"),
    _Figure("Latent Jacobian, spectral", "norm of d\u03bc/dx", "lower", "test.latent_jacobian.spectral"),
    _Figure("Latent Jacobian, Frobenius", "norm of d\u03bc/dx", "lower", "test.latent_jacobian.frobenius"),
]
_AUDIT = [
    _Figure("Ceiling", "AUDDC if only blending worked", "", "ceiling.mean", "audit", ci95="ceiling.ci95"),
    _Figure("Reconstruction error, sources", "L2, of the pairs attacked", "lower", "reconstruction_l2", "audit"),
    _Figure("Pairs used", "attacked and counted", "", "pairs.used", "audit", form=".0f"),
    _Figure("Pairs flagged", "no meaningful v, left out", "", "pairs.flagged", "audit", form=".0f"),
]
_COST = [
    _Figure("Training", "seconds", "", "train.seconds", form=",.1f"),
    _Figure("Mixtures", "seconds to fit", "", "mixtures.seconds", "classifier", form=",.1f"),
    _Figure("Audit", "seconds", "", "seconds", "audit", form=",.1f"),
    _Figure("Audit, peak memory", "MB", "", "peak_memory_mb", "audit", form=",.0f"),
]


def comparison(runs: Sequence[Run], baseline: int | None) -> list[Group]:
    """The table, rows without a single number left out.

    Args:
        runs: a column each.
        baseline: place of the run whose numbers the others are divided by; None: no ratios.
    """
    groups = {
        "Reconstruction": _QUALITY,
        "What it withstands: AUDDC": _withstands(runs),
        "Classification": _CLASSES,
        "Smoothness": _SMOOTHNESS,
        "Cost": _COST,
    }
    return filled({name: [_row(figure, runs, baseline) for figure in figures] for name, figures in groups.items()})


def written(value: float) -> str:
    """A number with about three significant digits, never in exponents where it need not be.

    >>> [written(x) for x in (0.27412, 20.127, 131.874, 26049.0, 0.00012, 0.0)]
    ['0.274', '20.13', '131.9', '26,049', '0.00012', '0.000']
    """
    size = abs(value)
    if 0 < size < 0.001:
        return f"{value:.2g}"
    digits = 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0
    return f"{value:,.{digits}f}"


def filled(groups: Mapping[str, Sequence[Row]]) -> list[Group]:
    """Titled rows, those without a single number left out, and the titles that then have none."""
    kept = [Group(name, [row for row in rows if _holds(row)]) for name, rows in groups.items()]
    return [group for group in kept if group.rows]


def share_cell(record: Mapping[str, Any], *path: str, note: str = "") -> Cell:
    """A share at `path` of a model's results as a percentage, the interval that `ci95` holds for it, a short note."""
    value, ends = number(record, path), interval(record, ("ci95", *path))
    if value is None:
        return Cell()
    small = "[{}, {}]".format(*(f"{100 * end:.1f}".removeprefix("-") for end in ends)) if ends else ""
    return Cell(f"{value:.1%}", value, " ".join(part for part in (small, note) if part))


def number_cell(record: Mapping[str, Any], *path: str) -> Cell:
    """A number at `path`."""
    value = number(record, path)
    return Cell() if value is None else Cell(written(value), value)


def _withstands(runs: Sequence[Run]) -> list[_Figure]:
    attacks = list(dict.fromkeys(attack for run in runs if run.audit for attack in run.audit.attacks))
    figures = []
    for attack in [WORST_CASE, *attacks]:
        at, name = f"attacks.{attack}", title(attack).capitalize()
        envelope, reference = f"{at}.auddc.envelope", f"{at}.auddc.reference"
        figures += [
            _Figure(name, "AUDDC, envelope", "higher", f"{envelope}.mean", "audit", ci95=f"{envelope}.ci95"),
            _Figure(
                f"{name}, reference",
                "AUDDC, published way",
                "higher",
                f"{reference}.mean",
                "audit",
                f"{reference}.ci95",
            ),
            _Figure(f"{name}, share", "of the ceiling", "higher", f"{at}.share_of_ceiling", "audit", form=".0%"),
        ]
    return figures + _AUDIT


def _row(figure: _Figure, runs: Sequence[Run], baseline: int | None) -> Row:
    values = [_value(figure, run) for run in runs]
    base = None if baseline is None else values[baseline]
    cells = [
        _cell(figure, run, value, None if i == baseline else base)
        for i, (run, value) in enumerate(zip(runs, values, strict=True))
    ]
    return Row(figure.label, figure.note, figure.better, cells)


def _value(figure: _Figure, run: Run) -> float | None:
    return number(_record(figure, run), figure.path)


def _record(figure: _Figure, run: Run) -> Mapping[str, Any]:
    if figure.source == "audit":
        return run.audit.results if run.audit else {}
    return run.classification if figure.source == "classifier" else run.results


def _cell(figure: _Figure, run: Run, value: float | None, base: float | None) -> Cell:
    if value is None:
        return Cell()
    ends = interval(_record(figure, run), figure.ci95) if figure.ci95 else None
    return Cell(
        text=format(value, figure.form) if figure.form else written(value),
        value=value,
        interval=f"[{written(ends[0])}, {written(ends[1])}]" if ends else "",
        ratio=f"\u00d7\u2009{value / base:.2f}" if figure.better and base and base > 0 else "",
    )


def _holds(row: Row) -> bool:
    return any(cell.value is not None for cell in row.cells)
