"""A transition folder as the page shows it: the images on their way, what the model makes of each, and a table."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from doubleback.report.archives import Arrays, number
from doubleback.report.cells import Cell, Column, Group, Row, filled, number_cell, share_cell
from doubleback.report.pictures import data_uri
from doubleback.report.studies import Study
from doubleback.report.svg import INK, colour, draw_svg

MOVES = 4  # transitions shown


@dataclass(frozen=True)
class Track:
    """One model's way: an image (data URI) for each shown step, the reconstructions if any, the probabilities."""

    model: str
    steps: int
    images: list[str]
    reconstructions: list[str]
    plot: Markup


@dataclass(frozen=True)
class Move:
    """One transition by every model; `shown`: the steps of the columns."""

    number: int
    source: str
    target: str
    shown: list[int]
    tracks: list[Track]


@dataclass(frozen=True)
class TransitionView:
    """All that the page shows of one folder."""

    study: Study
    columns: list[Column]
    table: list[Group]
    moves: list[Move]


def transition_view(study: Study, key: str) -> TransitionView:
    """Collect what the page shows of a transition folder; `key` makes the ids in its drawings unique on the page."""
    count = len(study.images.get("source_class", ()))
    columns = [Column(model, study.place(model)) for model in study.models]
    return TransitionView(study, columns, _table(study), [_move(study, m, key) for m in range(min(count, MOVES))])


def _table(study: Study) -> list[Group]:
    """The table, a column for each model."""

    def row(label: str, note: str, better: str, *path: str) -> Row:
        cells = [share_cell(study.model(model), *path) for model in study.models]
        return Row(label, note, "higher" if better else "", cells)

    def means(label: str, note: str, key: str) -> Row:
        return Row(label, note, "", [_mean(study.model(model), key) for model in study.models])

    judge = [
        row("Final image", "is the target to the judge", "higher", "judge", "image"),
        row("Its reconstruction", "is the target to the judge", "higher", "judge", "reconstruction"),
        row("Untouched image", "is its own class to the judge", "", "judge", "source"),
    ]
    way = [
        row("Reached", "own probability of the target, as asked", "", "reached"),
        means("Steps", "mean number", "steps"),
        means("Distance", "mean L2 of the final image to the source", "distance"),
    ]
    return filled({"What the judge sees": judge, "The way": way})


def _mean(record: Mapping[str, object], key: str) -> Cell:
    value = number(record, key)
    return Cell(f"{value:,.1f}", value) if value is not None and key == "steps" else number_cell(record, key)


def _move(study: Study, m: int, key: str) -> Move:
    images, classes = study.images, study.classes
    source, target = (int(images[f"{end}_class"][m]) for end in ("source", "target"))
    return Move(
        number=m + 1,
        source=classes[source],
        target=classes[target],
        shown=[int(step) for step in images["shown"]],
        tracks=[_track(study, model, m, f"{key}-{m}-{i}") for i, model in enumerate(study.models)],
    )


def _track(study: Study, model: str, m: int, key: str) -> Track:
    images = study.images
    made = images.get(f"{model}/reconstructions")
    return Track(
        model=model,
        steps=int(images[f"{model}/steps"][m]),
        images=[data_uri(image) for image in images[f"{model}/images"][m]],
        reconstructions=[] if made is None else [data_uri(image) for image in made[m]],
        plot=probability_figure(study, model, m, key),
    )


def probability_figure(study: Study, model: str, m: int, key: str) -> Markup:
    """Probabilities of the source (dashed) and the target over the steps, each shown step in its image's column.

    The drawing is as wide as the S images and has no margins. Step `shown[s]` is in the middle of the s-th of S equal
    columns. The steps between two shown ones are evenly spaced.
    """
    images, place = study.images, study.place(model)
    shown, probabilities = images["shown"].astype(float), images[f"{model}/probabilities"][m]
    ends = [int(images[f"{end}_class"][m]) for end in ("source", "target")]
    final = min(float(images[f"{model}/steps"][m]), float(shown[-1]))
    steps = np.arange(int(shown[0]), int(shown[-1]) + 1)
    x = _columns(steps, shown)

    def draw(axes: Axes) -> None:
        axes.set(xlim=(-0.5, len(shown) - 0.5), ylim=(-0.12, 1.12), yticks=[0, 1], xticks=range(len(shown)))
        axes.tick_params(labelbottom=False, labelleft=False)
        axes.plot(x, probabilities[steps, ends[0]], color=INK, lw=1.4, ls=(0, (3, 2)), alpha=0.75)
        axes.plot(x, probabilities[steps, ends[1]], color=colour(place), lw=2.2)
        if final < shown[-1]:
            axes.axvline(float(_columns(np.array([final]), shown)[0]), color=colour(place), lw=1.2, ls=(0, (1, 2)))
        for height in (0, 1):
            axes.text(-0.46, height, f"{height}", va="center", fontsize=8, alpha=0.7)

    return draw_svg(draw, key, _said(study, model, images, m), (0.85 * len(shown), 0.9), bleed=True)


def _columns(steps: NDArray[np.generic], shown: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.interp(steps.astype(float), shown, np.arange(len(shown))), dtype=np.float64)


def _said(study: Study, model: str, images: Arrays, m: int) -> str:
    last = images[f"{model}/probabilities"][m, int(images["shown"][-1])]
    ends = [int(images[f"{end}_class"][m]) for end in ("source", "target")]
    figures = " and ".join(f"{study.classes[end]} {float(last[end]):.2f}" for end in ends)
    return f"Probabilities to {model} over the steps; at the last one {figures}"
