"""Figures 1 to 6 in the paper's arrangement, from the images that the runs have left."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from doubleback.files import read_json
from doubleback.folders import CONFIG, IMAGES, is_finished
from doubleback.paper.compared import BEST, MOVED, PAIR, SHORT, SIDES, classifiers, from_1_to_0, shown_under_attack
from doubleback.paper.plates import BUDGET, Drawing, Shown, blank, picture_grid, show, under_attack, usable
from doubleback.paper.results import by_side
from doubleback.paper.scales import SCALES, Autoencoder, Scale
from doubleback.paper.tables import data_name
from doubleback.report.runs import AuditFolder
from doubleback.report.studies import Study, read_study

_DRAWN = {"source", "source_reconstruction", "output/x_adv", "output/reconstruction"}  # of an audit's images
_CHOSEN = "Of the first eight pairs, the one on which both attacks spend the most of it."
RECONSTRUCTED = 8  # images of each data set in Figure 4
TRANSITIONS = 4  # in Figure 6
_PLAIN, _HARDENED = "#c2510a", "#0a66b0"
_BESIDE = {"plain": "without DBP", "hardened": "with DBP, lambda1 = lambda2 = 1", BEST: "with DBP and labels"}


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
        ends = [Shown(found["plain"].images[end][pair], end) for end in ("source", "target")]
        rows = [
            [beside, *under_attack(audit, "output", pair)]
            for beside, audit in zip([*ends, None], found.values(), strict=False)
        ]
        return picture_grid(rows, ["", "adversarial input", "comes out"], _named("DRAW", found))

    caption = (
        "Left: a 1 and the 0 that it is attacked towards. Right: the adversarial input and what comes out of DRAW, "
        f"plain and hardened: the best that the output attack finds within u = {BUDGET} of the way. v: 1 "
        f"nothing gained, 0 the target reached. {_CHOSEN}"
    )
    return Drawing("figure1", "Figure 1. An attack on DRAW, from 1 to 0", caption, ("mnist",), draw)


def _figure2(folder: Path, scale: Scale) -> Drawing | None:
    vae = scale.autoencoder("mnist", "vae")
    attacked = _attacked(folder, [vae.run(side) for side in SIDES])
    if attacked is None:
        return None
    found, pair = attacked

    def draw() -> Figure:
        rows: list[list[Shown | None]] = []
        for audit in found.values():
            clean = [Shown(audit.images[name][pair]) for name in ("source", "source_reconstruction")]
            target = None if rows else Shown(audit.images["target"][pair], "the target")
            rows += [[target, *clean], [None, *under_attack(audit, "output", pair)]]
        names = [name for vae in _named("VAE", found) for name in (vae, f"{vae}, attacked")]
        return picture_grid(rows, ["", "input", "comes out"], names)

    caption = f"The same image, untouched and attacked within u = {BUDGET}, through each VAE. {_CHOSEN}"
    return Drawing("figure2", "Figure 2. An attack on the VAE with and without DBP", caption, ("mnist",), draw)


def _figure3(folder: Path, scale: Scale) -> Drawing | None:
    study = _transitions(folder / "figure3")
    names = {one.name: one.label for one in classifiers(scale, "mnist")}
    models = [name for name in study.models if name in names] if study else []
    if study is None or not models:
        return None
    images = study.images
    moves = list(product(models, range(min(2, len(images["source_class"])))))

    def draw() -> Figure:
        shown = images["shown"]
        figure = blank(0.85 * len(shown) + 0.6, 2.75 * len(moves))
        blocks = figure.subfigures(len(moves), 1, squeeze=False)
        for (model, move), block in zip(moves, blocks[:, 0], strict=True):
            block.suptitle(names[model] if move == 0 and len(models) > 1 else "", fontsize=9)
            pictures, below = block.subplots(2, 1, height_ratios=(2, 1.25))
            rows = [
                [Shown(image) for image in images[f"{model}/{name}"][move]] for name in ("images", "reconstructions")
            ]
            show(pictures, rows, [f"{step}" for step in shown], ["image", "comes out"])
            _probabilities(below, study, model, move)
        return figure

    whose = " and of the ".join(names[model] for model in models)
    caption = f"Along the gradient of the {whose}; over the images the step, below both probabilities."
    return Drawing("figure3", "Figure 3. Image transition from 9 to 7", caption, ("mnist",), draw)


def _figure4(folder: Path, scale: Scale, results: Mapping[str, Any], withheld: Sequence[str]) -> Drawing | None:
    rows = [row for row in scale.autoencoders if row.key == "draw-12" and row.data not in withheld]
    found = {row.data: by_side(folder, [row.run(side) for side in SIDES]) for row in rows}
    found = {data: runs for data, runs in found.items() if runs and all(run.images for run in runs.values())}
    if not found:
        return None

    def draw() -> Figure:
        cells: list[list[Shown]] = []
        names: list[str] = []
        for data, runs in found.items():
            names += [data_name(results, data).partition(",")[0], *_named("DRAW", runs)]
            rows = [runs["plain"].images["test"], *(run.images["test_reconstruction"] for run in runs.values())]
            cells += [[Shown(image) for image in images[:RECONSTRUCTED]] for images in rows]
        return picture_grid(cells, [], names)

    caption = "Test images and what DRAW makes of them, plain and hardened."
    return Drawing("figure4", "Figure 4. Reconstructions by DRAW with and without DBP", caption, tuple(found), draw)


def _figure5(folder: Path, scale: Scale, results: Mapping[str, Any], withheld: Sequence[str]) -> Drawing | None:
    found = {}
    for row in shown_under_attack(scale):
        attacked = _attacked(folder, [row.run(side) for side in SIDES])
        if attacked is not None and row.data not in withheld:
            found[row] = attacked
    if not found:
        return None

    def draw() -> Figure:
        cells = [_row(*one) for one in found.values()]
        sides = max((audits for audits, _ in found.values()), key=len)
        titles = [name.replace(" (", "\n(") for name in _named("input", sides) + _named("output", sides)]
        return picture_grid(cells, ["original", "target", *titles], [_whose(results, row) for row in found])

    caption = (
        "The original, the target, the adversarial input of each model, and what comes out of each: plain, with DBP, "
        f"and hardened within 2 %. Output attack within u = {BUDGET}. {_CHOSEN}"
    )
    data = tuple(dict.fromkeys(row.data for row in found))
    return Drawing("figure5", "Figure 5. Attacks on VAE and DRAW", caption, data, draw)


def _row(audits: Mapping[str, AuditFolder], pair: int) -> list[Shown | None]:
    ends = [Shown(audits["plain"].images[end][pair]) for end in ("source", "target")]
    inputs, outputs = zip(*(under_attack(audit, "output", pair) for audit in audits.values()), strict=True)
    return [*ends, *inputs, *outputs]


def _whose(results: Mapping[str, Any], row: Autoencoder) -> str:
    return f"{row.name}\n{data_name(results, row.data).partition(' ')[0]}"


def _figure6(folder: Path, scale: Scale) -> Drawing | None:
    study = _transitions(folder / "figure6")
    if study is None:
        return None
    there = {one.penalty: one.name for one in classifiers(scale, "mnist") if one.name in study.models}
    sides = {there[kind]: _BESIDE[side] for side, kind in MOVED.items() if kind in there}
    images = study.images
    moves = range(min(TRANSITIONS, len(images["source_class"])))

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


def _attacked(folder: Path, names: Sequence[str]) -> tuple[dict[str, AuditFolder], int] | None:
    """The audits of the runs, by side, and the pair to show; None where a plain or a hardened one is missing."""
    runs = by_side(folder, names)
    audits = {side: run.audit for side, run in runs.items() if run.audit and set(run.audit.images) >= _DRAWN}
    pair = usable(list(audits.values())) if set(PAIR) <= audits.keys() else None
    return None if pair is None else (audits, pair)


def _named(model: str, sides: Iterable[str]) -> list[str]:
    """A model's name on each of these sides."""
    return [model if side == "plain" else f"{model} ({SHORT[side]})" for side in sides]
