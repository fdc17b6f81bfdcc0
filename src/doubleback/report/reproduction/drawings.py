"""Figures 1 to 6 in the paper's arrangement, from the images that the runs have left."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from doubleback.experiments.reproduction.members import PAIR, shown_under_attack
from doubleback.experiments.reproduction.scales import SCALES, Autoencoder, Scale
from doubleback.files import read_json
from doubleback.report.archives import is_finished
from doubleback.report.reproduction.results import classifier_label, runs_of
from doubleback.report.reproduction.tables import data_name
from doubleback.report.runs import Audit
from doubleback.report.studies import Study, read_study

BUDGET = 0.3  # the distortion that attacks are shown at, the same for the plain and the hardened model
_CHOSEN = "Of the first eight pairs, the one on which both attacks spend the most of it."
RECONSTRUCTED = 8  # images of each data set in Figure 4
MOVED = 4  # transitions in Figure 6
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "doubleback",
    "text.parse_math": False,
    "font.size": 9,
    "font.family": "DejaVu Sans",
}
_PLAIN, _HARDENED = "#c2510a", "#0a66b0"
Image = NDArray[np.uint8]  # (C, H, W)


@dataclass(frozen=True)
class Shown:
    """An image and what stands below it."""

    image: Image
    caption: str = ""


@dataclass(frozen=True)
class Drawing:
    """A figure of the paper: its caption, the data sets whose images it shows, and how it is drawn."""

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


def drawings(folder: Path, results: Mapping[str, Any], withheld: Sequence[str] = ()) -> list[Drawing]:
    """The figures whose images are there.

    Args:
        folder: of the reproduction.
        results: what `results.json` holds.
        withheld: data sets whose images are left out.
    """
    scale = SCALES[results["scale"]]
    found = (
        _figure1(folder, scale),
        _figure2(folder, scale),
        _figure3(folder),
        _figure4(folder, scale, results, withheld),
        _figure5(folder, scale, results, withheld),
        _figure6(folder),
    )
    return [drawing for drawing in found if drawing is not None and not set(drawing.data) & set(withheld)]


def picture_grid(cells: Sequence[Sequence[Shown | None]], columns: Sequence[str], rows: Sequence[str] = ()) -> Figure:
    """Images in rows and columns, with titles over the columns and beside the rows; None leaves a place empty."""
    height, width = len(cells), max(map(len, cells))
    captions = any(cell and cell.caption for row in cells for cell in row)
    figure = _figure(0.95 * width + (1.2 if rows else 0), (1.12 if captions else 0.95) * height + 0.35)
    axes = figure.subplots(height, width, squeeze=False)
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            _show(axes[i][j], cell)
            if i == 0 and j < len(columns):
                axes[i][j].set_title(columns[j], fontsize=8)
        if rows:
            axes[i][0].set_ylabel(rows[i], rotation=0, ha="right", va="center", fontsize=8)
    return figure


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _show(axes: Axes, cell: Shown | None) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if cell is None:
        return
    pixels = cell.image.transpose(1, 2, 0) if len(cell.image) == 3 else cell.image[0]
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    if cell.caption:
        axes.set_xlabel(cell.caption, fontsize=7, labelpad=2)


def _figure1(folder: Path, scale: Scale) -> Drawing | None:
    names = [f"figure1/{Path(scale.autoencoder('mnist', 'draw-12').run(kind)).name}" for kind in PAIR]
    found = _audits(folder, names)
    pair = _usable(found)
    if len(found) < 2 or pair is None:
        return None

    def draw() -> Figure:
        source, target = (Shown(found[0].images[end][pair], end) for end in ("source", "target"))
        rows = [
            [begin, *_attacked(audit, "output", pair)] for begin, audit in zip((source, target), found, strict=True)
        ]
        return picture_grid(rows, ["", "adversarial input", "comes out"], ["DRAW", "DRAW (DBP)"])

    caption = (
        "Left: a 1 and the 0 that it is attacked towards. Right: the adversarial input and what comes out of DRAW, "
        f"plain above and with DBP below: the best that the output attack finds within u = {BUDGET} of the way. v: 1 "
        f"nothing gained, 0 the target reached. {_CHOSEN}"
    )
    return Drawing("figure1", "Figure 1. An attack on DRAW, from 1 to 0", caption, ("mnist",), draw)


def _figure2(folder: Path, scale: Scale) -> Drawing | None:
    vae = scale.autoencoder("mnist", "vae")
    found = _audits(folder, [vae.run(kind) for kind in PAIR])
    pair = _usable(found)
    if len(found) < 2 or pair is None:
        return None
    plain, hardened = found

    def draw() -> Figure:
        def clean(audit: Audit, beside: Shown | None = None) -> list[Shown | None]:
            return [beside, *(Shown(audit.images[name][pair]) for name in ("source", "source_reconstruction"))]

        target = Shown(plain.images["target"][pair], "the target")
        attacked = [[None, *_attacked(audit, "output", pair)] for audit in found]
        rows = [attacked[0], clean(plain, target), clean(hardened), attacked[1]]
        return picture_grid(
            rows, ["", "input", "comes out"], ["VAE, attacked", "VAE", "VAE (DBP)", "VAE (DBP), attacked"]
        )

    caption = f"The same image, untouched and attacked within u = {BUDGET}, through both VAEs. {_CHOSEN}"
    return Drawing("figure2", "Figure 2. An attack on the VAE with and without DBP", caption, ("mnist",), draw)


def _figure3(folder: Path) -> Drawing | None:
    study = _transitions(folder / "figure3")
    if study is None:
        return None
    model = study.models[0]
    images = study.images
    moves = range(min(2, len(images["source_class"])))

    def draw() -> Figure:
        shown = images["shown"]
        figure = _figure(0.85 * len(shown) + 0.6, 2.75 * len(moves))
        blocks = figure.subfigures(len(moves), 1, squeeze=False)
        for move, block in zip(moves, blocks[:, 0], strict=True):
            grid = block.add_gridspec(3, len(shown), height_ratios=(1, 1, 1.25))
            for column, step in enumerate(shown):
                above, below = (block.add_subplot(grid[row, column]) for row in (0, 1))
                _show(above, Shown(images[f"{model}/images"][move, column]))
                _show(below, Shown(images[f"{model}/reconstructions"][move, column]))
                above.set_title(f"{step}", fontsize=8)
                if column == 0:
                    above.set_ylabel("image", fontsize=8)
                    below.set_ylabel("comes out", fontsize=8)
            _probabilities(block.add_subplot(grid[2, :]), study, model, move)
        return figure

    caption = (
        f"Along the gradient of the {classifier_label(model)}; over the images the step, below both probabilities."
    )
    return Drawing("figure3", "Figure 3. Image transition from 9 to 7", caption, ("mnist",), draw)


def _figure4(folder: Path, scale: Scale, results: Mapping[str, Any], withheld: Sequence[str]) -> Drawing | None:
    rows = [row for row in scale.autoencoders if row.key == "draw-12" and row.data not in withheld]
    found = {row.data: runs_of(folder, [row.run(kind) for kind in PAIR]) for row in rows}
    found = {data: runs for data, runs in found.items() if len(runs) == 2}
    if not found:
        return None

    def draw() -> Figure:
        cells: list[list[Shown]] = []
        names: list[str] = []
        for data, runs in found.items():
            plain, hardened = (run.images for run in runs)
            names += [data_name(results, data).partition(",")[0], "DRAW", "DRAW (DBP)"]
            rows = (plain["test"], plain["test_reconstruction"], hardened["test_reconstruction"])
            cells += [[Shown(image) for image in images[:RECONSTRUCTED]] for images in rows]
        return picture_grid(cells, [], names)

    caption = "Test images and what DRAW makes of them, plain and with DBP."
    return Drawing("figure4", "Figure 4. Reconstructions by DRAW with and without DBP", caption, tuple(found), draw)


def _figure5(folder: Path, scale: Scale, results: Mapping[str, Any], withheld: Sequence[str]) -> Drawing | None:
    found = {}
    for row in shown_under_attack(scale):
        audits = _audits(folder, [row.run(kind) for kind in PAIR])
        pair = _usable(audits)
        if len(audits) == 2 and row.data not in withheld and pair is not None:
            found[row] = audits, pair
    if not found:
        return None

    def draw() -> Figure:
        cells = [_six(*one) for one in found.values()]
        return picture_grid(cells, _SIX, [_whose(results, row) for row in found])

    caption = (
        "a original, b target, c adversarial input of the plain model, d of the hardened one, e what comes out of the "
        f"plain model, f of the hardened one. Output attack within u = {BUDGET}. {_CHOSEN}"
    )
    data = tuple(dict.fromkeys(row.data for row in found))
    return Drawing("figure5", "Figure 5. Attacks on VAE and DRAW", caption, data, draw)


_SIX = ["a original", "b target", "c plain", "d DBP", "e plain", "f DBP"]


def _six(audits: Sequence[Audit], pair: int) -> list[Shown | None]:
    ends: list[Shown | None] = [Shown(audits[0].images[end][pair]) for end in ("source", "target")]
    (plain_x, plain_out), (hard_x, hard_out) = (_attacked(audit, "output", pair) for audit in audits)
    return [*ends, plain_x, hard_x, plain_out, hard_out]


def _whose(results: Mapping[str, Any], row: Autoencoder) -> str:
    return f"{row.label.partition(',')[0]}\n{data_name(results, row.data).partition(' ')[0]}"


def _figure6(folder: Path) -> Drawing | None:
    study = _transitions(folder / "figure6")
    if study is None:
        return None
    sides = {name: study_label for name in study.models if (study_label := _SIDES.get(classifier_label(name)))}
    images = study.images
    moves = range(min(MOVED, len(images["source_class"])))

    def draw() -> Figure:
        shown = images["shown"]
        cells, names = [], []
        for move in moves:
            ends = [study.classes[int(images[f"{end}_class"][move])] for end in ("source", "target")]
            for array in ("reconstructions", "images"):
                row: list[Shown | None] = []
                for side, name in enumerate(sides):
                    row += ([None] if side else []) + [Shown(image) for image in images[f"{name}/{array}"][move]]
                cells.append(row)
                names.append(f"{ends[0]} to {ends[1]}" if array == "reconstructions" else "")
        figure = picture_grid(cells, [], names)
        for side, name in enumerate(sides):
            middle = figure.axes[side * (len(shown) + 1) + len(shown) // 2]
            middle.set_title(sides[name], fontsize=9)
        width, height = figure.get_size_inches()
        figure.set_size_inches(0.6 * width, 0.6 * height)
        return figure

    caption = "Four images on their way along each classifier's gradient: above what comes out, below the input."
    return Drawing("figure6", "Figure 6. Image transition with and without DBP", caption, ("mnist",), draw)


_SIDES = {
    "encoder (no DBP) + GMM": "without DBP",
    "encoder (DBP, lambda1 = lambda2 = 1) + GMM": "with DBP, lambda1 = lambda2 = 1",
}


def _transitions(home: Path) -> Study | None:
    if not (is_finished(home) and (home / "images.npz").is_file()):
        return None
    return read_study(home, "transition", read_json(home / "config.json"))


def _probabilities(axes: Axes, study: Study, model: str, move: int) -> None:
    """Of the source's and of the target's class over the steps."""
    probabilities = study.images[f"{model}/probabilities"][move]
    last = int(study.images["shown"][-1])
    for end, hue in (("source", _PLAIN), ("target", _HARDENED)):
        place = int(study.images[f"{end}_class"][move])
        axes.plot(probabilities[: last + 1, place], color=hue, lw=2, label=f'"{study.classes[place]}"')
    axes.set(ylim=(-0.05, 1.05), yticks=[0, 0.5, 1], xlim=(0, last), xlabel="step", ylabel="probability")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center right", fontsize=8)


def _audits(folder: Path, names: Sequence[str]) -> list[Audit]:
    return [run.audit for run in runs_of(folder, names) if run.audit]


def _usable(audits: Sequence[Audit]) -> int | None:
    """Of the shown pairs that no model flags, the one on which all attacks spend the most of the budget."""
    if not audits:
        return None
    shown = min(len(audit.images["source"]) for audit in audits)
    spent = np.min([audit.images["output/distortion"][:shown, _budget(audit)] for audit in audits], axis=0)
    flagged = np.any([audit.curves["flagged"][:shown] for audit in audits], axis=0)
    usable = ~flagged & np.isfinite(spent) & (spent <= BUDGET)
    return int(np.where(usable, spent, -1).argmax()) if usable.any() else None


def _budget(audit: Audit) -> int:
    """The place of the budget among those of the gallery."""
    return int(np.argmin(np.abs(audit.images["budgets"] - BUDGET)))


def _attacked(audit: Audit, attack: str, pair: int) -> list[Shown | None]:
    """The adversarial input within the budget, and what comes out."""
    budget = _budget(audit)
    u, v = (float(audit.images[f"{attack}/{name}"][pair, budget]) for name in ("distortion", "adversarial_distance"))
    x_adv, out = (audit.images[f"{attack}/{name}"][pair, budget] for name in ("x_adv", "reconstruction"))
    return [Shown(x_adv, f"u = {u:.2f}"), Shown(out, f"v = {v:.2f}")]
