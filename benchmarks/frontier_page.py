"""The frontiers of results/frontier: blocks of docs/defences.md, and a picture: python -m benchmarks.frontier_page

Each folder below it holds the rows of one victim, as `doubleback frontier` has left them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from doubleback.frontier.page import markdown, sentences
from doubleback.frontier.row import PLAIN, Row, read_row

ROOT = Path(__file__).parents[1]
FRONTIERS = {"mnist": "MNIST, dense", "svhn": "SVHN, convolutional"}
SHOWN = 10  # per cent of the reconstruction: rows that cost more are left out of the picture


def rows(name: str) -> list[Row]:
    """The rows of one victim: the plain model's first, then by budget and name."""
    found = [read_row(folder) for folder in (ROOT / "results" / "frontier" / name).iterdir()]
    return sorted(
        (row for row in found if row is not None),
        key=lambda row: (row.defence != PLAIN, row.within is not None, row.within or 0, row.defence),
    )


def blocks() -> dict[str, str]:
    """Each frontier as sentences and a table, by the name that the page calls it."""
    found = {name: rows(name) for name in FRONTIERS}
    return {
        f"frontier_{name}": "\n".join(f"- {one}" for one in sentences(every)) + "\n\n" + markdown(every)
        for name, every in found.items()
    }


def picture() -> Figure:
    """Worst case and damage over the cost in reconstruction, a point for each defence and budget."""
    mpl.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure = Figure(figsize=(9.5, 7), layout="constrained")
    axes = figure.subplots(2, len(FRONTIERS), sharex="col", squeeze=False)
    near = {name: _near(rows(name)) for name in FRONTIERS}
    kinds = sorted({row.defence for shown in near.values() for row in shown})
    inks = {kind: mpl.colormaps["tab20"](place % 20) for place, kind in enumerate(kinds)}
    for column, (name, title) in enumerate(FRONTIERS.items()):
        plain = near[name][0]
        for axis, measure in zip(axes[:, column], ("worst_case", "damage"), strict=True):
            for row in near[name]:
                at = (100 * row.cost(plain), row.mean(measure))
                low, high = row.interval(measure) or (at[1], at[1])
                axis.errorbar(*at, yerr=[[at[1] - low], [high - at[1]]], lw=0.6, **_mark(row.defence, inks))
        axes[0, column].set_title(title)
        axes[1, column].set_xlabel("reconstruction L2, % above the plain model's")
    axes[0, 0].set_ylabel("worst-case AUDDC\n(higher: harder to steer)")
    axes[1, 0].set_ylabel("damage\n(lower: harder to break)")
    marks = [mpl.lines.Line2D([], [], ls="", label=kind, **_mark(kind, inks)) for kind in kinds]
    figure.legend(handles=marks, loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    return figure


def _near(every: Sequence[Row]) -> list[Row]:
    """The rows that the picture shows; the plain model's is first."""
    return [row for row in every if row.measured and 100 * row.cost(every[0]) < SHOWN]


def _mark(kind: str, inks: Mapping[str, Any]) -> dict[str, Any]:
    """A star for the plain model, a dot in its colour for a defence."""
    return {"marker": "*", "ms": 11, "color": "black"} if kind == PLAIN else {"marker": "o", "color": inks[kind]}


if __name__ == "__main__":
    picture().savefig(
        ROOT / "docs" / "pictures" / "frontier.png", dpi=100, facecolor="white", metadata={"Software": ""}
    )
