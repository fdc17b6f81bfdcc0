"""What the figures are made of: images in a grid, with what stands over, beside and below them."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from doubleback.report.runs import AuditFolder
from doubleback.report.svg import drawing_as, spell_out

_GAP = 0.08  # between two images, each 1 wide
BUDGET = 0.3  # the distortion that attacks are shown at, the same for the plain and the hardened model
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "doubleback",
    "text.parse_math": False,
    "font.size": 9,
    "font.family": "DejaVu Sans",
}
Image = NDArray[np.uint8]  # (C, H, W)


@dataclass(frozen=True)
class Shown:
    """A place in the grid.

    Attributes:
        image: (C, H, W), uint8.
        caption: what stands below it.
    """

    image: Image
    caption: str = ""


@dataclass(frozen=True)
class Drawing:
    """A figure of the paper.

    Attributes:
        key: the name of its file.
        title, caption: what stands below it in the report.
        data: the data sets whose images it shows.
        figure: draws it.
    """

    key: str
    title: str
    caption: str
    data: tuple[str, ...]
    figure: Callable[[], Figure]

    def encoded(self) -> dict[str, bytes]:
        """As `png` and as `svg`, drawn once for both."""
        found = {}
        with drawing_as(_STYLE):
            figure = self.figure()
            spell_out(figure)
            for form, metadata in (("png", None), ("svg", {"Date": None})):
                buffer = io.BytesIO()
                figure.savefig(buffer, format=form, dpi=180, bbox_inches="tight", metadata=metadata)
                found[form] = buffer.getvalue()
        return found


def picture_grid(cells: Sequence[Sequence[Shown | None]], columns: Sequence[str], rows: Sequence[str] = ()) -> Figure:
    """Images in rows and columns, with titles over the columns and beside the rows; None leaves a place empty."""
    height, width = len(cells), max(map(len, cells))
    figure = blank(0.95 * width + (1.2 if rows else 0), (0.95 + _below(cells)) * height + 0.35)
    show(figure.add_subplot(), cells, columns, rows)
    return figure


def blank(width: float, height: float) -> Figure:
    """An empty figure of this size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def show(axes: Axes, cells: Sequence[Sequence[Shown | None]], columns: Sequence[str], rows: Sequence[str] = ()) -> None:
    """Fill axes with images in rows and columns; arguments as of `picture_grid`. A place is 1 wide and 1 high."""
    pitch = 1 + _GAP + _below(cells)
    axes.set_axis_off()
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            if cell is not None:
                _show(axes, cell, j * (1 + _GAP), i * pitch)
    for j, title in enumerate(columns):
        axes.text(j * (1 + _GAP) + 0.5, -_GAP, title, fontsize=8, ha="center", va="bottom")
    for i, title in enumerate(rows):
        axes.text(-_GAP, i * pitch + 0.5, title, fontsize=8, ha="right", va="center")
    axes.set(xlim=(0, max(map(len, cells)) * (1 + _GAP) - _GAP), ylim=(len(cells) * pitch - _GAP, 0), aspect="equal")


def _show(axes: Axes, cell: Shown, left: float, top: float) -> None:
    pixels = cell.image.transpose(1, 2, 0) if len(cell.image) == 3 else cell.image[0]
    place = (left, left + 1, top + 1, top)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=place)
    axes.text(left + 0.5, top + 1 + _GAP / 2, cell.caption, fontsize=7, ha="center", va="top")


def _below(cells: Sequence[Sequence[Shown | None]]) -> float:
    """The height that captions take."""
    return 0.17 if any(cell and cell.caption for row in cells for cell in row) else 0


def usable(audits: Sequence[AuditFolder]) -> int | None:
    """Of the shown pairs that no model flags, the one on which all attacks spend the most of the budget."""
    fine = usable_pairs(audits)
    spent = np.min([audit.images["output/distortion"][: len(fine), budget_of(audit)] for audit in audits], axis=0)
    fit = fine & np.isfinite(spent) & (spent <= BUDGET)
    return int(np.where(fit, spent, -1).argmax()) if fit.any() else None


def usable_pairs(audits: Sequence[AuditFolder]) -> NDArray[np.bool_]:
    """Of the shown pairs, which no model flags."""
    shown = min(min(len(audit.images["source"]), len(audit.curves["flagged"])) for audit in audits)
    flagged: NDArray[np.bool_] = np.any([audit.curves["flagged"][:shown] for audit in audits], axis=0)
    return ~flagged


def budget_of(audit: AuditFolder) -> int:
    """The place of the budget among those of the gallery."""
    return int(np.argmin(np.abs(audit.images["budgets"] - BUDGET)))


def under_attack(audit: AuditFolder, attack: str, pair: int) -> list[Shown | None]:
    """The adversarial input within the budget, and what comes out."""
    budget = budget_of(audit)
    u, v = (float(audit.images[f"{attack}/{name}"][pair, budget]) for name in ("distortion", "adversarial_distance"))
    x_adv, out = (audit.images[f"{attack}/{name}"][pair, budget] for name in ("x_adv", "reconstruction"))
    return [Shown(x_adv, f"u = {u:.2f}"), Shown(out, f"v = {v:.2f}")]
