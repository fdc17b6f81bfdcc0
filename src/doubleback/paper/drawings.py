"""Figures 1 to 6 in the paper's arrangement, from the images that the runs have left."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from doubleback.files import read_json
from doubleback.folders import CONFIG, IMAGES, is_finished
from doubleback.paper.compared import PAIR, classifiers, from_1_to_0, shown_under_attack
from doubleback.paper.plates import BUDGET, Drawing, Shown, blank, picture_grid, show, under_attack, usable
from doubleback.paper.results import runs_of
from doubleback.paper.scales import SCALES, Autoencoder, Scale
from doubleback.paper.tables import data_name
from doubleback.report.runs import AuditFolder
from doubleback.report.studies import Study, read_study

_DRAWN = {"source", "source_reconstruction", "output/x_adv", "output/reconstruction"}  # of an audit's images
_CHOSEN = "Of the first eight pairs, the one on which both attacks spend the most of it."
RECONSTRUCTED = 8  # images of each data set in Figure 4
MOVED = 4  # transitions in Figure 6
_PLAIN, _HARDENED = "#c2510a", "#0a66b0"
_BESIDE = {"plain": "without DBP", "lambda-1": "with DBP, lambda1 = lambda2 = 1"}  # the two sides of Figure 6


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
        _figure3(folder, scale),
        _figure4(folder, scale, results, withheld),
        _figure5(folder, scale, results, withheld),
        _figure6(folder, scale),
    )
    return [drawing for drawing in found if drawing is not None and not set(drawing.data) & set(withheld)]


def _figure1(folder: Path, scale: Scale) -> Drawing | None:
    attacked = _attacked(folder, list(from_1_to_0(scale)))
    if attacked is None:
        return None
    found, pair = attacked

    def draw() -> Figure:
        source, target = (Shown(found[0].images[end][pair], end) for end in ("source", "target"))
        plain, hardened = (under_attack(audit, "output", pair) for audit in found)
        rows = [[source, *plain], [target, *hardened]]
        return picture_grid(rows, ["", "adversarial input", "comes out"], ["DRAW", "DRAW (DBP)"])

    caption = (
        "Left: a 1 and the 0 that it is attacked towards. Right: the adversarial input and what comes out of DRAW, "
        f"plain above and with DBP below: the best that the output attack finds within u = {BUDGET} of the way. v: 1 "
        f"nothing gained, 0 the target reached. {_CHOSEN}"
    )
    return Drawing("figure1", "Figure 1. An attack on DRAW, from 1 to 0", caption, ("mnist",), draw)


def _figure2(folder: Path, scale: Scale) -> Drawing | None:
    vae = scale.autoencoder("mnist", "vae")
    attacked = _attacked(folder, [vae.run(kind) for kind in PAIR])
    if attacked is None:
        return None
    (plain, hardened), pair = attacked

    def draw() -> Figure:
        def clean(audit: AuditFolder, beside: Shown | None = None) -> list[Shown | None]:
            return [beside, *(Shown(audit.images[name][pair]) for name in ("source", "source_reconstruction"))]

        target = Shown(plain.images["target"][pair], "the target")
        above, below = ([None, *under_attack(audit, "output", pair)] for audit in (plain, hardened))
        rows = [above, clean(plain, target), clean(hardened), below]
        return picture_grid(
            rows, ["", "input", "comes out"], ["VAE, attacked", "VAE", "VAE (DBP)", "VAE (DBP), attacked"]
        )

    caption = f"The same image, untouched and attacked within u = {BUDGET}, through both VAEs. {_CHOSEN}"
    return Drawing("figure2", "Figure 2. An attack on the VAE with and without DBP", caption, ("mnist",), draw)


def _figure3(folder: Path, scale: Scale) -> Drawing | None:
    study = _transitions(folder / "figure3")
    names = {one.name: one.label for one in classifiers(scale, "mnist")}
    model = next((name for name in study.models if name in names), None) if study else None
    if study is None or model is None:
        return None
    images = study.images
    moves = range(min(2, len(images["source_class"])))

    def draw() -> Figure:
        shown = images["shown"]
        figure = blank(0.85 * len(shown) + 0.6, 2.75 * len(moves))
        blocks = figure.subfigures(len(moves), 1, squeeze=False)
        for move, block in zip(moves, blocks[:, 0], strict=True):
            pictures, below = block.subplots(2, 1, height_ratios=(2, 1.25))
            rows = [
                [Shown(image) for image in images[f"{model}/{name}"][move]] for name in ("images", "reconstructions")
            ]
            show(pictures, rows, [f"{step}" for step in shown], ["image", "comes out"])
            _probabilities(below, study, model, move)
        return figure

    caption = f"Along the gradient of the {names[model]}; over the images the step, below both probabilities."
    return Drawing("figure3", "Figure 3. Image transition from 9 to 7", caption, ("mnist",), draw)


def _figure4(folder: Path, scale: Scale, results: Mapping[str, Any], withheld: Sequence[str]) -> Drawing | None:
    rows = [row for row in scale.autoencoders if row.key == "draw-12" and row.data not in withheld]
    found = {row.data: runs_of(folder, [row.run(kind) for kind in PAIR]) for row in rows}
    found = {data: runs for data, runs in found.items() if len(runs) == 2 and all(run.images for run in runs)}
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
        attacked = _attacked(folder, [row.run(kind) for kind in PAIR])
        if attacked is not None and row.data not in withheld:
            found[row] = attacked
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


def _six(audits: Sequence[AuditFolder], pair: int) -> list[Shown | None]:
    ends: list[Shown | None] = [Shown(audits[0].images[end][pair]) for end in ("source", "target")]
    (plain_x, plain_out), (hard_x, hard_out) = (under_attack(audit, "output", pair) for audit in audits)
    return [*ends, plain_x, hard_x, plain_out, hard_out]


def _whose(results: Mapping[str, Any], row: Autoencoder) -> str:
    return f"{row.name}\n{data_name(results, row.data).partition(' ')[0]}"


def _figure6(folder: Path, scale: Scale) -> Drawing | None:
    study = _transitions(folder / "figure6")
    if study is None:
        return None
    mixtures = [one for one in classifiers(scale, "mnist") if one.penalty in _BESIDE and one.name in study.models]
    sides = {one.name: _BESIDE[str(one.penalty)] for one in mixtures}
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
        titles = [""] * max(map(len, cells))
        for side, name in enumerate(sides):
            titles[side * (len(shown) + 1) + len(shown) // 2] = sides[name]
        figure = picture_grid(cells, titles, names)
        width, height = figure.get_size_inches()
        figure.set_size_inches(0.6 * width, 0.6 * height)
        return figure

    caption = "Four images on their way along each classifier's gradient: above what comes out, below the input."
    return Drawing("figure6", "Figure 6. Image transition with and without DBP", caption, ("mnist",), draw)


def _transitions(home: Path) -> Study | None:
    if not (is_finished(home) and (home / IMAGES).exists()):
        return None
    study = read_study(home, "transition", read_json(home / CONFIG))
    whole = all(f"{model}/reconstructions" in study.images for model in study.models)
    return study if whole else None


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


def _attacked(folder: Path, names: Sequence[str]) -> tuple[list[AuditFolder], int] | None:
    """The audits of a plain and of a hardened run, and the pair to show; None where one of these is missing."""
    audits = [run.audit for run in runs_of(folder, names) if run.audit and set(run.audit.images) >= _DRAWN]
    pair = usable(audits) if len(audits) == len(PAIR) else None
    return None if pair is None else (audits, pair)
