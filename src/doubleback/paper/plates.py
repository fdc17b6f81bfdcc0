"""What the figures are made of: images in a grid, with what stands over, beside and below them."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from doubleback.report.runs import AuditFolder

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

    def encoded(self, form: str) -> bytes:
        """As `png` or `svg`."""
        buffer = io.BytesIO()
        with matplotlib.rc_context(_STYLE):
            figure = self.figure()
            figure.savefig(buffer, format=form, dpi=180, metadata={"Date": None} if form == "svg" else None)
        return buffer.getvalue()


def picture_grid(cells: Sequence[Sequence[Shown | None]], columns: Sequence[str], rows: Sequence[str] = ()) -> Figure:
    """Images in rows and columns, with titles over the columns and beside the rows; None leaves a place empty."""
    height, width = len(cells), max(map(len, cells))
    captions = any(cell and cell.caption for row in cells for cell in row)
    figure = blank(0.95 * width + (1.2 if rows else 0), (1.12 if captions else 0.95) * height + 0.35)
    axes = figure.subplots(height, width, squeeze=False)
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            show(axes[i][j], cell)
            if i == 0 and j < len(columns):
                axes[i][j].set_title(columns[j], fontsize=8)
        if rows:
            axes[i][0].set_ylabel(rows[i], rotation=0, ha="right", va="center", fontsize=8)
    return figure


def blank(width: float, height: float) -> Figure:
    """An empty figure of this size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def show(axes: Axes, cell: Shown | None) -> None:
    """Show an image with its caption, or nothing, without axes."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if cell is None:
        return
    pixels = cell.image.transpose(1, 2, 0) if len(cell.image) == 3 else cell.image[0]
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    if cell.caption:
        axes.set_xlabel(cell.caption, fontsize=7, labelpad=2)


def usable(audits: Sequence[AuditFolder]) -> int | None:
    """Of the shown pairs that no model flags, the one on which all attacks spend the most of the budget."""
    shown = min(len(audit.images["source"]) for audit in audits)
    spent = np.min([audit.images["output/distortion"][:shown, _budget(audit)] for audit in audits], axis=0)
    flagged = np.any([audit.curves["flagged"][:shown] for audit in audits], axis=0)
    fit = ~flagged & np.isfinite(spent) & (spent <= BUDGET)
    return int(np.where(fit, spent, -1).argmax()) if fit.any() else None


def _budget(audit: AuditFolder) -> int:
    """The place of the budget among those of the gallery."""
    return int(np.argmin(np.abs(audit.images["budgets"] - BUDGET)))


def under_attack(audit: AuditFolder, attack: str, pair: int) -> list[Shown | None]:
    """The adversarial input within the budget, and what comes out."""
    budget = _budget(audit)
    u, v = (float(audit.images[f"{attack}/{name}"][pair, budget]) for name in ("distortion", "adversarial_distance"))
    x_adv, out = (audit.images[f"{attack}/{name}"][pair, budget] for name in ("x_adv", "reconstruction"))
    return [Shown(x_adv, f"u = {u:.2f}"), Shown(out, f"v = {v:.2f}")]
