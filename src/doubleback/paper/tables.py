"""Tables 1 to 4: what stands in which column, and the same as Markdown and as rows of CSV."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from doubleback.paper.compared import BEST, KINDS, SHORT, SIDES
from doubleback.paper.results import ATTACKS, DAMAGE, known_mean
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
    sides, rows = sides_of(results), results["autoencoders"]
    names, others = [SHORT[side] for side in sides], [SHORT[side] for side in sides[1:]]
    heads = [
        ("reconstruction error, L2:", [*names, *(f"{name} / plain" for name in others)]),
        ("norm of the input gradient:", [*names, *(f"plain / {name}" for name in others)]),
    ]

    def cells(row: Mapping[str, Any]) -> list[str]:
        l2, gradient = ([row[side][name] if side in row else [] for side in sides] for name in _MEASURES)
        rises, falls = [_ratio(one, l2[0]) for one in l2[1:]], [_ratio(gradient[0], one) for one in gradient[1:]]
        return [*map(spread, l2), *rises, *map(spread, gradient), *falls]

    notes = [
        "L2: mean over the test images of the 2-norm of x_hat - x, pixels in [0, 1]. Input gradient: mean 2-norm of "
        "the reconstruction loss's gradient in the image, the target held fixed, in nats for a pixel's whole range.",
        *_seed_notes(results),
    ]
    records = [
        _of_row(results, row)
        | {f"{side}_{name}": known_mean(row[side][name]) if side in row else None for side in sides for name in _ALL}
        for row in rows
    ]
    title = f"Table 1. Reconstruction error and input gradient of every autoencoder, {_ways(sides)}"
    return Table("table1", title, _by_data(results, heads, rows, cells), notes, records)


def _table2(results: Mapping[str, Any]) -> Table:
    sides, rows = sides_of(results), [row for row in results["autoencoders"] if "audit" in row]
    every = " \u2192 ".join(SHORT[side] for side in sides)
    differences = [f"{SHORT[side]} - plain" for side in sides[1:]]
    heads = [(f"{name}:", [every, *differences]) for name in ("latent attack", "output attack", "worst case")]
    broken = any(DAMAGE in row["plain"] for row in rows)  # not in results of version 0.1
    heads += [("of the ceiling:", [every])] + [("damage:", [every, *differences])] * broken + [("L2:", [every])]

    def cells(row: Mapping[str, Any]) -> list[str]:
        there = [row[side] for side in sides if side in row]

        def compared(name: str, values: list[Sequence[float | None]]) -> list[str]:
            found = [_difference(lookup(row, (side, "difference", name))) for side in sides[1:]]
            return [_together(*values), *found]

        areas = [
            cell for attack in ATTACKS for cell in compared(attack, [one["auddc"][attack]["envelope"] for one in there])
        ]
        shares = [known_mean(one["share_of_ceiling"][WORST_CASE]) for one in there]
        share = " \u2192 ".join(NOTHING if one is None else f"{one:.0%}" for one in shares)
        damage = compared(DAMAGE, [one[DAMAGE] for one in there]) if broken else []
        return [*areas, share, *damage, _together(*(one["reconstruction_l2"] for one in there))]

    notes = [
        "AUDDC, envelope convention: higher withstands more. A difference is taken on the same pairs, with "
        "its 95 % bootstrap interval over pairs; it is not settled where that holds 0. Worst case: pair by pair the "
        "lowest curve of both attacks and of blending the target in; the ceiling is what blending alone would reach. "
        "table2.csv has the published (reference) convention too.",
        *["Damage: the area under the largest change of the reconstruction; lower withstands more."] * broken,
        *_attacked_notes(rows),
        *_seed_notes(results),
    ]
    records = [_of_row(results, row) | _areas_of(row, sides) for row in rows]
    title = f"Table 2. AUDDC of every autoencoder under the latent and the output attack, {_ways(sides)}"
    return Table("table2", title, _by_data(results, heads, rows, cells), notes, records)


def _table3(results: Mapping[str, Any]) -> Table:
    parts, records = [], []
    for data, found in mapping(results, "classifiers").items():
        heads = [("untouched:", ["all images", "attacked", "L2"])]
        heads += [(f"eps {eps}:", ["FGSM", "PGD", "worst case"]) for eps in found["eps"]]
        rows = []
        for name, one in found["models"].items():
            error = one.get("reconstruction_l2")
            cells = [_share(one["accuracy"]), _share(one["attacked"]), NOTHING if error is None else written(error)]
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
        "Per cent classified rightly; untouched, of all test images and of those attacked; L2: the autoencoder's "
        "reconstruction error. FGSM and PGD: over the losses cross-entropy, margin and DLR. Worst case: image by image "
        "over FGSM, PGD, APGD, random noise, the score-only Square attack and the examples made on the other models, "
        "with Wilson's 95 % interval."
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


_MEASURES = ("reconstruction_l2", "input_gradient_norm")
_ALL = (*_MEASURES, "reconstruction_nll", "reconstruction_psnr", "minutes")


def sides_of(results: Mapping[str, Any]) -> list[str]:
    """Those that some autoencoder has."""
    return [side for side in SIDES if any(side in row for row in results["autoencoders"])]


def _ways(sides: Sequence[str]) -> str:
    further = f", and {KINDS[BEST].name}" if BEST in sides else ""
    return f"with and without DBP{further}"


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


def _together(*sides: Sequence[float | None]) -> str:
    """All sides in one cell."""
    means, deviations = zip(*map(_spread, sides), strict=True)
    return " \u2192 ".join(means) + (f"\n\u00b1 {', '.join(deviations)}" if all(deviations) else "")


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
    several = " or ".join(map(str, sorted(seeds - {1})))
    notes = [f"\u00b1: standard deviation over {several} training seeds."] if several else []
    return [" ".join([*notes, *[f"{ONE_SEED}: one seed."] * (1 in seeds)])] if seeds else []


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


def _areas_of(row: Mapping[str, Any], sides: Sequence[str]) -> Record:
    found: Record = {}
    for side in sides:
        one = mapping(row, side)
        for attack in ATTACKS:
            for convention in ("envelope", "reference"):
                found[f"{side}_{attack}_{convention}"] = known_mean(lookup(one, ("auddc", attack, convention)) or [])
            share = lookup(one, ("share_of_ceiling", attack))
            found[f"{side}_{attack}_share_of_ceiling"] = known_mean(share or [])
        found[f"{side}_{DAMAGE}"] = known_mean(one.get(DAMAGE, []))
        found[f"{side}_reconstruction_l2"] = known_mean(one.get("reconstruction_l2", []))
    for side in sides[1:]:
        for name in (*ATTACKS, DAMAGE):
            difference = mapping(row, (side, "difference", name))
            low, high = difference.get("ci95") or (None, None)
            found |= {f"{side}_difference_{name}": difference.get("mean")}
            found |= {f"{side}_difference_{name}_low": low, f"{side}_difference_{name}_high": high}
    return found
