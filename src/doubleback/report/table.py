"""The figures of all runs side by side: which rows there are, and how a number is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from doubleback.report.archives import Keys, interval, mapping, number
from doubleback.report.cells import Better, Cell, Group, Row, empty_cell, filled, written
from doubleback.report.comparison import area_ratio, same_attacks, same_pairs, same_test_images
from doubleback.report.damage_figures import by_size, norms_of
from doubleback.report.runs import WORST_CASE, Part, RunFolder, attacks_of, heading


@dataclass(frozen=True)
class _Figure:
    label: str
    note: str
    better: Better
    path: Keys
    of: Literal["run"] | Part = "run"
    ci95: Keys = ""
    form: str = ""
    attack: str = ""  # whose area it is, where the areas of the pairs are stored


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
    *(
        _Figure(f"{heading(end)} Jacobian, {norm}", f"norm of {of}", "lower", f"test.{end}_jacobian.{norm.lower()}")
        for end, of in (("output", "dx\u0302/dx"), ("latent", "d\u03bc/dx"))
        for norm in ("spectral", "Frobenius")
    ),
]
_AUDIT = [
    _Figure("Ceiling", "AUDDC if only blending worked", "", "ceiling.mean", "audit", ci95="ceiling.ci95"),
    _Figure("Reconstruction error, sources", "L2, of the pairs attacked", "lower", "reconstruction_l2", "audit"),
    _Figure("Pairs used", "attacked and counted", "", "pairs.used", "audit", form=".0f"),
    _Figure("Pairs flagged", "no meaningful v, left out", "", "pairs.flagged", "audit", form=".0f"),
]
_HARDENING = [
    _Figure("Budget", "the L2, and the rate, may grow by so much", "", "harden.within", form=".1%"),
    _Figure("L2 before", "validation images, which decide", "", "harden.start.reconstruction_l2"),
    _Figure("L2 after", "the same", "", "harden.end.reconstruction_l2"),
    _Figure("L2 of its twin", "trained on without the penalty", "", "harden.twin.reconstruction_l2"),
    _Figure("Rate before", "bits per pixel", "", "harden.start.rate"),
    _Figure("Rate after", "bits per pixel", "", "harden.end.rate"),
    _Figure("Codes moved", "mean share of their length", "", "harden.latents_moved", form=".1%"),
]
_COST = [
    _Figure("Training", "seconds", "", "train.seconds", form=",.1f"),
    _Figure("Mixtures", "seconds to fit", "", "mixtures.seconds", "classifier", form=",.1f"),
    _Figure("Audit", "seconds", "", "seconds", "audit", form=",.1f"),
    _Figure("Audit, peak memory", "MB", "", "peak_memory_mb", "audit", form=",.0f"),
]


def comparison(runs: Sequence[RunFolder], baseline: int | None) -> list[Group]:
    """The table, without the rows that hold no number.

    Args:
        runs: a column each.
        baseline: place of the run whose numbers the others are divided by, if they are of the same images and pairs;
            None: no ratios.
    """
    groups = {
        "Reconstruction": _QUALITY,
        "What it withstands: AUDDC": _withstands(runs),
        "What attacks do: damage": _damage(runs),
        "Classification": _CLASSES,
        "Smoothness": _SMOOTHNESS,
        "Hardening": _HARDENING,
        "Cost": _COST,
    }
    return filled({name: [_row(figure, runs, baseline) for figure in figures] for name, figures in groups.items()})


def _withstands(runs: Sequence[RunFolder]) -> list[_Figure]:
    """Three figures for each attack: its two areas, and the share of the ceiling."""
    figures = []
    for attack in [WORST_CASE, *attacks_of(runs)]:
        name, at = heading(attack), ("attacks", attack)
        for ending, note, convention in (("", "envelope", "envelope"), (", reference", "published way", "reference")):
            mean, ci95 = ((*at, "auddc", convention, key) for key in ("mean", "ci95"))
            stored = "" if ending else attack
            figures.append(_Figure(name + ending, f"AUDDC, {note}", "higher", mean, "audit", ci95, attack=stored))
        share = (*at, "share_of_ceiling")
        figures.append(_Figure(f"{name}, share", "of the ceiling", "higher", share, "audit", form=".0%"))
    return figures + _AUDIT


def _damage(runs: Sequence[RunFolder]) -> list[_Figure]:
    """The area, and the worst of all attacks at each eps of each norm."""
    audits = [run.audit for run in runs if run.audit]
    norms = dict.fromkeys(norm for audit in audits for norm in norms_of(audit))
    figures = [_figure_of("area", "relative, over distortions u from 0 to 1", ("damage", "area"))]
    for norm in norms:
        typed = by_size({eps: None for audit in audits for eps in mapping(audit.results, ("damage", norm))})
        figures += [_figure_of(f"{norm} {eps}", "L2, worst of all attacks", ("damage", norm, eps)) for eps in typed]
    return figures


def _figure_of(label: str, note: str, at: tuple[str, ...]) -> _Figure:
    return _Figure(f"Damage, {label}", note, "lower", (*at, "mean"), "audit", (*at, "ci95"))


def _row(figure: _Figure, runs: Sequence[RunFolder], baseline: int | None) -> Row:
    base = None if baseline is None else runs[baseline]
    cells = [_cell(figure, run, None if run is base else base) for run in runs]
    return Row(figure.label, figure.note, figure.better, cells)


def _value(figure: _Figure, run: RunFolder) -> float | None:
    if run.audit and WORST_CASE in figure.path and not run.audit.targeted:
        return None  # it is of blending alone, and of no attack that was run
    return number(_record(figure, run), figure.path)


def _ratio(figure: _Figure, run: RunFolder, base: RunFolder) -> float | None:
    """The run's figure over the base's; None if the two are not of the same images or pairs."""
    if figure.of == "audit" and figure.attack:
        return area_ratio(run, base, figure.attack)
    same = same_attacks if figure.path[0] == "damage" else same_pairs if figure.of == "audit" else same_test_images
    values = _value(figure, run), _value(figure, base)
    return values[0] / values[1] if values[0] is not None and values[1] and same(run, base) else None


def _record(figure: _Figure, run: RunFolder) -> Mapping[str, Any]:
    if figure.of == "audit":
        return run.audit.results if run.audit else {}
    return run.classification if figure.of == "classifier" else run.results


def _cell(figure: _Figure, run: RunFolder, base: RunFolder | None) -> Cell:
    value = _value(figure, run)
    if value is None:
        return empty_cell(_record(figure, run), figure.path)
    ends = interval(_record(figure, run), figure.ci95) if figure.ci95 else None
    ratio = _ratio(figure, run, base) if base and figure.better else None
    return Cell(
        text=format(value, figure.form) if figure.form else written(value),
        value=value,
        interval=f"[{written(ends[0])}, {written(ends[1])}]" if ends else "",
        ratio="" if ratio is None else f"\u00d7\u2009{ratio:.2f}",
    )
