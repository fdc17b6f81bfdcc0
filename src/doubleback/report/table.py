"""The figures of all runs side by side: which rows there are, and how a number is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from doubleback.report.archives import interval, number
from doubleback.report.runs import WORST_CASE, Run, title

Better = Literal["higher", "lower", ""]


@dataclass(frozen=True)
class Cell:
    """A number as written and as stored, its 95 % interval, and how many times the baseline's it is."""

    text: str = "\u2013"
    value: float | None = None
    interval: str = ""
    ratio: str = ""


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
    audited: bool = False
    ci95: str = ""
    form: str = ""


_QUALITY = [
    _Figure("Reconstruction error", "L2 of x\u0302 \u2212 x, pixels in [0, 1]", "lower", "test.reconstruction_l2"),
    _Figure("Negative log-likelihood", "nats an image", "lower", "test.reconstruction_nll"),
    _Figure("PSNR", "dB", "higher", "test.reconstruction_psnr"),
    _Figure("KL of the code", "to N(0, I), nats an image", "", "test.kl"),
]
_SMOOTHNESS = [
    _Figure("Input gradient", "norm, target held fixed", "lower", "test.input_gradient_norm"),
    _Figure("Output Jacobian, spectral", "norm of dx\u0302/dx", "lower", "test.output_jacobian.spectral"),
    _Figure("Output Jacobian, Frobenius", "norm of dx\u0302/dx", "lower", "test.output_jacobian.frobenius"),
    _Figure("Latent Jacobian, spectral", "norm of d\u03bc/dx", "lower", "test.latent_jacobian.spectral"),
    _Figure("Latent Jacobian, Frobenius", "norm of d\u03bc/dx", "lower", "test.latent_jacobian.frobenius"),
]
_AUDIT = [
    _Figure("Ceiling", "AUDDC if only blending worked", "", "ceiling.mean", True, ci95="ceiling.ci95"),
    _Figure("Reconstruction error, sources", "L2, of the pairs attacked", "lower", "reconstruction_l2", True),
    _Figure("Pairs used", "attacked and counted", "", "pairs.used", True, form=".0f"),
    _Figure("Pairs flagged", "no meaningful v, left out", "", "pairs.flagged", True, form=".0f"),
]
_COST = [
    _Figure("Training", "seconds", "", "train.seconds", form=",.1f"),
    _Figure("Audit", "seconds", "", "seconds", True, form=",.1f"),
    _Figure("Audit, peak memory", "MB", "", "peak_memory_mb", True, form=",.0f"),
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
        "Smoothness": _SMOOTHNESS,
        "Cost": _COST,
    }
    filled = [Group(name, [_row(figure, runs, baseline) for figure in figures]) for name, figures in groups.items()]
    kept = [Group(group.title, [row for row in group.rows if _holds(row)]) for group in filled]
    return [group for group in kept if group.rows]


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


def _withstands(runs: Sequence[Run]) -> list[_Figure]:
    attacks = list(dict.fromkeys(attack for run in runs if run.audit for attack in run.audit.attacks))
    figures = []
    for attack in [WORST_CASE, *attacks]:
        at, name = f"attacks.{attack}", title(attack).capitalize()
        envelope, reference = f"{at}.auddc.envelope", f"{at}.auddc.reference"
        figures += [
            _Figure(name, "AUDDC, envelope", "higher", f"{envelope}.mean", True, ci95=f"{envelope}.ci95"),
            _Figure(
                f"{name}, reference",
                "AUDDC, published way",
                "higher",
                f"{reference}.mean",
                True,
                f"{reference}.ci95",
            ),
            _Figure(f"{name}, share", "of the ceiling", "higher", f"{at}.share_of_ceiling", True, form=".0%"),
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
    if figure.audited:
        return None if run.audit is None else number(run.audit.results, figure.path)
    return number(run.results, figure.path)


def _cell(figure: _Figure, run: Run, value: float | None, base: float | None) -> Cell:
    if value is None:
        return Cell()
    ends = interval(run.audit.results, figure.ci95) if figure.ci95 and run.audit else None
    return Cell(
        text=format(value, figure.form) if figure.form else written(value),
        value=value,
        interval=f"[{written(ends[0])}, {written(ends[1])}]" if ends else "",
        ratio=f"\u00d7\u2009{value / base:.2f}" if figure.better and base and base > 0 else "",
    )


def _holds(row: Row) -> bool:
    return any(cell.value is not None for cell in row.cells)
