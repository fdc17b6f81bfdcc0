"""Tables 1 to 4: what stands in which column, and the same as Markdown and as rows of CSV."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from doubleback.paper.compared import PAIR
from doubleback.paper.results import ATTACKS, known_mean
from doubleback.report.archives import lookup, mapping, number
from doubleback.report.cells import written
from doubleback.report.runs import WORST_CASE

NAMES = {"mnist": "MNIST", "svhn": "SVHN", "celeba": "CelebA"}
ONE_SEED = "\u2020"
NOTHING = "\u2013"
Record = dict[str, str | float | None]


@dataclass(frozen=True)
class Part:
    """The rows of one data set. `heads`: groups of columns; a row: its name, then its cells."""

    title: str
    heads: list[tuple[str, list[str]]]
    rows: list[tuple[str, list[str]]]


@dataclass(frozen=True)
class Table:
    """A table of the paper: its parts to be read, and every number in them, unrounded, as `records`."""

    key: str
    title: str
    parts: list[Part]
    notes: list[str]
    records: list[Record] = field(default_factory=list)


def tables(results: Mapping[str, Any]) -> list[Table]:
    """Those of the four that there are results for."""
    made = (_table1(results), _table2(results), _table3(results), _table4(results))
    return [table for table in made if table.parts]


def markdown(table: Table) -> str:
    """As GitHub's Markdown, a table a data set."""
    lines = [f"**{table.title}**", ""]  # a second line of a cell goes beside the first
    for part in table.parts:
        columns = [f"{group} {name}".strip() for group, names in part.heads for name in names]
        lines += [f"| {part.title} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        lines += [f"| {name} | {' | '.join(cells)} |".replace("\n", " ") for name, cells in part.rows]
        lines += [""]
    return "\n".join([*lines, *(f"{note}\n" for note in table.notes)])


def data_name(results: Mapping[str, Any], data: str) -> str:
    """The data set as the tables call it; what stands in for it is named.

    >>> data_name({"stand_ins": {"celeba": "faces"}}, "celeba")
    "faces 64x64, in CelebA's place"
    """
    instead = lookup(results, ("stand_ins", data))
    return f"{instead} 64x64, in {NAMES[data]}'s place" if instead else NAMES[data]


def _table1(results: Mapping[str, Any]) -> Table:
    heads = [
        ("reconstruction error, L2:", ["plain", "DBP", "DBP / plain"]),
        ("norm of the input gradient:", ["plain", "DBP", "plain / DBP"]),
    ]

    def cells(row: Mapping[str, Any]) -> list[str]:
        l2, gradient = ([row[kind][name] for kind in PAIR] for name in _MEASURES)
        return [*map(spread, l2), _ratio(l2[1], l2[0]), *map(spread, gradient), _ratio(gradient[0], gradient[1])]

    notes = [
        "L2: mean over the test images of the 2-norm of x_hat - x, pixels in [0, 1]. Input gradient: mean 2-norm of "
        "the reconstruction loss's gradient in the image, the target held fixed, in nats for a pixel's whole range.",
        *_seed_notes(results),
    ]
    records = [
        _of_row(results, row)
        | {f"{kind}_{name}": known_mean(row[kind][name]) for kind in PAIR for name in _ALL_MEASURES}
        for row in results["autoencoders"]
    ]
    title = "Table 1. Reconstruction error and input gradient of every autoencoder, with and without DBP"
    return Table("table1", title, _by_data(results, heads, results["autoencoders"], cells), notes, records)


def _table2(results: Mapping[str, Any]) -> Table:
    rows = [row for row in results["autoencoders"] if "difference" in row]
    heads = [(f"{name}:", [_BOTH, "difference"]) for name in ("latent attack", "output attack")]
    heads += [("worst case:", [_BOTH]), ("of the ceiling:", [_BOTH]), ("L2:", [_BOTH])]

    def cells(row: Mapping[str, Any]) -> list[str]:
        found = []
        for attack in ATTACKS:
            found.append(_both(*(row[kind]["auddc"][attack]["envelope"] for kind in PAIR)))
            if attack != WORST_CASE:
                found.append(_difference(row["difference"][attack]))
        shares = [known_mean(row[kind]["share_of_ceiling"]["worst_case"]) for kind in PAIR]
        share = " \u2192 ".join(NOTHING if one is None else f"{one:.0%}" for one in shares)
        return [*found, share, _both(*(row[kind]["reconstruction_l2"] for kind in PAIR))]

    notes = [
        "AUDDC, envelope convention: higher withstands more. The difference is DBP minus plain on the same pairs, with "
        "its 95 % bootstrap interval over pairs; it is not settled where that holds 0. Worst case: pair by pair the "
        "lowest curve of both attacks and of blending the target in; the ceiling is what blending alone would reach. "
        "table2.csv has the worst case's difference and the published (reference) convention too.",
        *_attacked_notes(rows),
        *_seed_notes(results),
    ]
    records = [_of_row(results, row) | _areas_of(row) for row in rows]
    title = "Table 2. AUDDC of every autoencoder under the latent and the output attack, with and without DBP"
    return Table("table2", title, _by_data(results, heads, rows, cells), notes, records)


def _table3(results: Mapping[str, Any]) -> Table:
    parts, records = [], []
    for data, found in mapping(results, "classifiers").items():
        heads = [("untouched:", ["all images", "attacked"])]
        heads += [(f"eps {eps}:", ["FGSM", "PGD", "worst case"]) for eps in found["eps"]]
        rows = []
        for name, one in found["models"].items():
            cells = [_share(one["accuracy"]), _share(one["attacked"])]
            for eps in found["eps"]:
                cells += [_share(number(one, (attack, eps))) for attack in ("fgsm", "pgd")]
                cells.append(_share(number(one, ("worst_case", eps)), lookup(one, ("ci95", "worst_case", eps))))
                records.append(
                    _of_model(results, data, name, one)
                    | {"eps": eps}
                    | {attack: number(one, (attack, eps)) for attack in ("fgsm", "pgd", "worst_case")}
                )
            rows.append((one["label"], cells))
        parts.append(Part(_attacked_title(results, data, found), heads, rows))
    notes = [
        "Per cent classified rightly; untouched, of all test images and of those attacked. FGSM and PGD: over the "
        "losses cross-entropy, margin and DLR. Worst case: image by image over FGSM, PGD, APGD, random noise, the "
        "score-only Square attack and the examples made on the other models, with Wilson's 95 % interval."
    ]
    return Table("table3", "Table 3. Accuracy under white-box examples", parts, notes, records)


def _table4(results: Mapping[str, Any]) -> Table:
    parts, records = [], []
    for data, found in mapping(results, "classifiers").items():
        sources = {name: one["label"] for name, one in found["models"].items() if one["kind"] != "mixture"}
        heads = [("untouched:", ["attacked"])]
        heads += [(f"made on {label}, eps", list(found["eps"])) for label in sources.values()]
        rows = []
        for name, one in found["models"].items():
            cells = [_share(one["attacked"])]
            for source in sources:
                shares = [number(one, ("transfer", source, eps)) for eps in found["eps"]]
                cells += [_share(share) for share in shares]
                records += [
                    _of_model(results, data, name, one) | {"made_on": sources[source], "eps": eps, "accuracy": share}
                    for eps, share in zip(found["eps"], shares, strict=True)
                    if share is not None
                ]
            rows.append((one["label"], cells))
        parts.append(Part(_attacked_title(results, data, found), heads, rows))
    notes = [
        "Per cent still classified rightly under the white-box examples made on another model (FGSM, PGD and APGD)."
    ]
    return Table("table4", "Table 4. Accuracy under black-box examples", parts, notes, records)


_BOTH = "plain \u2192 DBP"
_MEASURES = ("reconstruction_l2", "input_gradient_norm")
_ALL_MEASURES = (*_MEASURES, "reconstruction_nll", "reconstruction_psnr", "minutes")


def spread(values: Sequence[float | None]) -> str:
    """The mean over seeds, and below it their standard deviation where there are several.

    >>> spread([2.0]), spread([1.0, 2.0, 3.0]), spread([None])
    ('2.000', '2.000\\n\xb1 1.000', '\u2013')
    """
    middle, deviation = _spread(values)
    return middle + (f"\n\u00b1 {deviation}" if deviation else "")


def _spread(values: Sequence[float | None]) -> tuple[str, str]:
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING, ""
    return written(mean(known)), f"{stdev(known):.3f}" if len(known) > 1 else ""


def _ratio(above: Sequence[float | None], below: Sequence[float | None]) -> str:
    numerator, denominator = known_mean(above), known_mean(below)
    return NOTHING if not numerator or not denominator else f"{numerator / denominator:.2f}"


def _both(*sides: Sequence[float | None]) -> str:
    """Plain and hardened in one cell."""
    (plain, before), (hardened, after) = map(_spread, sides)
    return f"{plain} \u2192 {hardened}" + (f"\n\u00b1 {before}, {after}" if before and after else "")


def _difference(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return NOTHING
    ends = "\n[{:+.3f}, {:+.3f}]".format(*found["ci95"]) if found["ci95"] else ""
    return f"{found['mean']:+.3f}{ends}{'' if found['settled'] else ' not settled'}"


def _share(value: float | None, ends: Sequence[float] | None = None) -> str:
    """In per cent."""
    if value is None:
        return NOTHING
    return f"{100 * value:.1f}" + ("\n[{:.1f}, {:.1f}]".format(*(100 * end for end in ends)) if ends else "")


def _by_data(
    results: Mapping[str, Any],
    heads: list[tuple[str, list[str]]],
    rows: Sequence[Mapping[str, Any]],
    cells: Callable[[Mapping[str, Any]], list[str]],
) -> list[Part]:
    return [
        Part(
            data_name(results, data),
            heads,
            [
                (row["label"] + ("" if row["seeds"] > 1 else f" {ONE_SEED}"), cells(row))
                for row in rows
                if row["data"] == data
            ],
        )
        for data in dict.fromkeys(row["data"] for row in rows)
    ]


def _seed_notes(results: Mapping[str, Any]) -> list[str]:
    seeds = {row["seeds"] for row in results["autoencoders"]}
    several = f"\u00b1: standard deviation over {max(seeds)} training seeds. " if seeds and max(seeds) > 1 else ""
    return [f"{several}{ONE_SEED}: one seed."] if 1 in seeds else [several.strip()] if several else []


def _attacked_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How hard which rows were attacked."""
    whose: dict[str, list[str]] = {}
    for row in rows:
        size = f"{row['audit']['pairs']} pairs x {row['audit']['coefficients'] + 1} coefficients"
        whose.setdefault(size, []).append(f"{row['label']} ({NAMES[row['data']]})")
    if len(whose) == 1:
        return [f"Attacked: {next(iter(whose))}."]
    few = [f"{size} for {', '.join(who) if len(who) <= 3 else 'the others'}" for size, who in whose.items()]
    return [f"Attacked: {'; '.join(few)}."] if few else []


def _attacked_title(results: Mapping[str, Any], data: str, found: Mapping[str, Any]) -> str:
    return f"{data_name(results, data)}, {found['images']} test images, {found['norm']}"


def _of_row(results: Mapping[str, Any], row: Mapping[str, Any]) -> Record:
    return {"data": data_name(results, row["data"]), "autoencoder": row["label"], "seeds": row["seeds"]}


def _of_model(results: Mapping[str, Any], data: str, name: str, one: Mapping[str, Any]) -> Record:
    return {"data": data_name(results, data), "classifier": one["label"], "folder": name}


def _areas_of(row: Mapping[str, Any]) -> Record:
    found: Record = {}
    for attack in ATTACKS:
        for kind in PAIR:
            for convention, values in row[kind]["auddc"][attack].items():
                found[f"{kind}_{attack}_{convention}"] = known_mean(values)
            found[f"{kind}_{attack}_share_of_ceiling"] = known_mean(row[kind]["share_of_ceiling"][attack])
        difference = row["difference"][attack] or {}
        low, high = difference.get("ci95") or (None, None)
        found |= {f"difference_{attack}": difference.get("mean")}
        found |= {f"difference_{attack}_low": low, f"difference_{attack}_high": high}
    return found | {f"{kind}_reconstruction_l2": known_mean(row[kind]["reconstruction_l2"]) for kind in PAIR}
