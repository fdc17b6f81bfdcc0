"""A table of figures: its rows and columns, and how a number is written."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from doubleback.report.archives import Keys, interval, number, why_missing
from doubleback.terminal import plain

Better = Literal["higher", "lower", ""]


@dataclass(frozen=True)
class Cell:
    """A number as written and as stored, its 95 % interval (or why there is none), and its multiple of the base.

    `own`: measured under the model's own examples, not another's.
    """

    text: str = "\u2013"
    value: float | None = None
    interval: str = ""
    ratio: str = ""
    own: bool = False


@dataclass(frozen=True)
class Column:
    """The head of a column.

    Attributes:
        name: the run's or the model's.
        place: its colour.
        small: a few words below the name.
    """

    name: str
    place: int
    small: str = ""


@dataclass(frozen=True)
class Row:
    """A figure of every run.

    Attributes:
        label: what it is called.
        note: what it is, in a few words.
        better: which direction is better, if either is.
        cells: one for each run.
    """

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
class MatrixRow:
    """What became of one run, a cell for each column of a matrix."""

    run: Column
    cells: list[Cell]


@dataclass(frozen=True)
class MatrixGroup:
    """The rows of a matrix at one budget."""

    title: str
    rows: list[MatrixRow]


Origins = TypeVar("Origins")


@dataclass(frozen=True)
class Matrix(Generic[Origins]):
    """For each budget a row for each attacked run; a column for each origin of the examples, in the order of these."""

    columns: list[Origins]
    groups: list[MatrixGroup]


def written(value: float) -> str:
    """A number with about three significant digits, without an exponent unless it is tiny.

    >>> [written(x) for x in (0.27412, 20.127, 131.874, 26049.0, 0.00012, 0.0)]
    ['0.274', '20.13', '131.9', '26,049', '0.00012', '0.000']
    """
    size = abs(value)
    if 0 < size < 0.001:
        return f"{value:.2g}"
    digits = 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0
    return f"{value:,.{digits}f}"


def filled(groups: Mapping[str, Sequence[Row]]) -> list[Group]:
    """Titled rows. Rows with neither a number nor a reason are left out, and titles without rows too."""
    kept = [Group(name, [row for row in rows if _holds(row)]) for name, rows in groups.items()]
    return [group for group in kept if group.rows]


def share_cell(record: Mapping[str, Any], *path: str, note: str = "") -> Cell:
    """The share at `path` of a model's results as a percentage, with its interval from `ci95` and a short note."""
    value, ends = number(record, path), interval(record, ("ci95", *path))
    if value is None:
        return Cell()
    small = "[{}, {}]".format(*(f"{100 * end:.1f}".removeprefix("-") for end in ends)) if ends else ""
    return Cell(f"{value:.1%}", value, " ".join(part for part in (small, note) if part))


def number_cell(record: Mapping[str, Any], *path: str) -> Cell:
    """A number at `path`."""
    value = number(record, path)
    return empty_cell(record, path) if value is None else Cell(written(value), value)


def empty_cell(record: Mapping[str, Any], path: Keys) -> Cell:
    """A cell without a number, with the reason if the record gives one."""
    why = why_missing(record, path)
    return Cell(interval=f"not measured: {why}" if why else "")


def _holds(row: Row) -> bool:
    return any(cell.value is not None or cell.interval for cell in row.cells)


def in_markdown(text: str) -> str:
    """Text on one line in which Markdown and HTML see nothing of their own.

    >>> print(in_markdown("a|b<i>_c_"))
    a\\|b\\<i\\>\\_c\\_
    """
    return re.sub(r"([\\`*_{}\[\]<>|~#])", r"\\\1", " ".join(plain(text).split()))
