"""From the folders of a reproduction to one record of numbers, `results.json`, that tables and claims are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from doubleback.errors import InputError
from doubleback.files import read_json
from doubleback.folders import CONFIG, RESULTS, SCHEMA, is_finished
from doubleback.metrics.differences import Difference, paired_figures
from doubleback.metrics.intervals import bootstrap_interval
from doubleback.paper.compared import (
    HARDENED,
    JUDGE,
    MOVED,
    PAIR,
    SIDES,
    TOLD_APART,
    Comparison,
    classifiers,
    comparisons,
    from_1_to_0,
)
from doubleback.paper.record import Audited, Robustness, Transitions, read_reproduction
from doubleback.paper.scales import SCALES, Scale
from doubleback.report.archives import lookup, mapping, number, read_record
from doubleback.report.comparison import unlike
from doubleback.report.runs import WORST_CASE, RunFolder, read_run
from doubleback.report.studies import Study, read_study
from doubleback.settings.stored import checked

ATTACKS = ("latent", "output", WORST_CASE)
DAMAGE = "damage"
_TRAINED = ("reconstruction_l2", "reconstruction_nll", "reconstruction_psnr", "input_gradient_norm", "kl")


def read_results(folder: Path) -> dict[str, Any]:
    """Read all that a reproduction has measured so far.

    Returns:
        What becomes `results.json` (docs/reproducing.md); parts that are not there are missing.

    Raises:
        InputError: the folder holds no reproduction, or a file in it is damaged.
    """
    record = read_reproduction(folder)
    scale, commands = SCALES[record.scale], record.commands
    lost = {name: one.why for name, one in commands.items() if one.state in ("failed", "left out")}
    return {
        "schema": SCHEMA,
        "version": record.version,
        "scale": record.scale,
        "about": scale.about,
        "stand_ins": record.stand_ins,
        "made": [{"machine": asdict(record.machine), "minutes": sum(one.seconds for one in commands.values()) / 60}],
        "commands": {name: one.command for name, one in commands.items() if is_finished(folder / name)},
        "lost": lost,
        "autoencoders": [found for row in comparisons(scale) if (found := _compared(folder, row))],
        "classifiers": {data: found for data in scale.robustness if (found := _withstood(folder, scale, data))},
        "one_to_zero": _one_to_zero(folder, scale),
        "transitions": {name: found for name in ("figure3", "figure6") if (found := _transition(folder / name, scale))},
    }


def runs_of(folder: Path, names: Sequence[str]) -> list[RunFolder]:
    """Those of these runs that are finished, each with its audit where that is.

    Raises:
        InputError: a file is damaged, or an audit has not the curves that the tables are made of.
    """
    homes = [folder / name for name in names]
    runs = [read_run(home, read_json(home / CONFIG)) for home in homes if is_finished(home)]
    for run in runs:
        lacking = [name for name in (*ATTACKS, DAMAGE) if run.audit and _area(name) not in run.audit.curves]
        if lacking:
            raise InputError(f"the audit of {run.folder} has no curves of {lacking[0]}; remove it, and reproduce")
    return runs


def by_side(folder: Path, names: Sequence[str]) -> dict[str, RunFolder]:
    """Of runs, one for each of `SIDES`, those that are finished; none without the paper's two.

    Raises:
        InputError: as `runs_of`.
    """
    runs = {side: run for side, name in zip(SIDES, names, strict=True) for run in runs_of(folder, [name])}
    return runs if set(PAIR) <= runs.keys() else {}


def known_mean(values: Sequence[float | None]) -> float | None:
    """The mean of those that are known, None without any."""
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def paired_difference(
    plain: Sequence[NDArray[np.float64]], hardened: Sequence[NDArray[np.float64]]
) -> dict[str, Any] | None:
    """Hardened minus plain: the mean over seeds pair by pair, with a bootstrap interval over the pairs.

    Args:
        plain, hardened: for each seed (P,) AUDDC, of the same pairs; NaN where a pair is flagged.

    Returns:
        `mean`, `ci95` (95 %, percentile bootstrap; None with fewer than two pairs), `settled` (0 lies outside it) and
        `pairs`, those that no run flags; None without any.

    Raises:
        InputError: the runs have not the same number of pairs.
    """
    if len({len(areas) for areas in (*plain, *hardened)}) > 1:
        raise InputError("the audits are of different pairs; remove them, and reproduce")
    return _recorded(paired_figures(np.mean(hardened, axis=0), np.mean(plain, axis=0)))


def _recorded(found: Difference | None) -> dict[str, Any] | None:
    """A difference as `results.json` has it."""
    if found is None:
        return None
    ends = list(found.interval) if found.interval else None
    return {"mean": found.mean, "ci95": ends, "settled": found.settled, "pairs": found.pairs}


def _compared(folder: Path, row: Comparison) -> dict[str, Any] | None:
    """A row of Tables 1 and 2: seeds of which every run is there; without the hardened ones, the paper's two sides."""
    for sides in dict.fromkeys((tuple(row.runs), PAIR)):
        by_seed = zip(*(row.runs[side] for side in sides), strict=True)
        if there := [runs for runs in by_seed if all(is_finished(folder / run) for run in runs)]:
            found = {side: runs_of(folder, names) for side, *names in zip(sides, *there, strict=True)}
            return {**row.ids, "label": row.label, "data": row.data, "seeds": len(there)} | _measured(found)
    return None


def _measured(sides: Mapping[str, Sequence[RunFolder]]) -> dict[str, Any]:
    """What the runs of each side reach, the same seeds on every side; and `audit`, its settings, if they compare."""
    found: dict[str, Any] = {}
    for side, runs in sides.items():
        found[side] = {name: [number(run.results, f"test.{name}") for run in runs] for name in _TRAINED}
        found[side]["minutes"] = [_minutes(run) for run in runs]
    settings = [_settings(run) for runs in sides.values() for run in runs if run.audit]  # checked
    plain, *others = sides.values()
    if any(unlike(one, other) for runs in others for one, other in zip(plain, runs, strict=True)):
        return found
    for side, runs in sides.items():
        found[side] |= _audited(runs)
        if side != "plain":
            found[side]["difference"] = {
                name: paired_difference(_areas(plain, name), _areas(runs, name)) for name in (*ATTACKS, DAMAGE)
            }
    return found | {"audit": settings[0]}


def _minutes(run: RunFolder) -> float | None:
    seconds = number(run.results, "train.seconds")
    return None if seconds is None else seconds / 60


def _audited(runs: Sequence[RunFolder]) -> dict[str, Any]:
    """Mean AUDDC a seed, both conventions; the interval of their mean over the pairs; the ceiling; the damage."""
    found: dict[str, Any] = {"auddc": {}, "share_of_ceiling": {}, "ci95": {}}
    results = [run.audit.results for run in runs if run.audit]
    for name in ATTACKS:
        at = f"attacks.{name}"
        found["auddc"][name] = {
            convention: [number(one, f"{at}.auddc.{convention}.mean") for one in results]
            for convention in ("envelope", *(("reference",) if name != WORST_CASE else ()))
        }
        found["share_of_ceiling"][name] = [number(one, f"{at}.share_of_ceiling") for one in results]
        areas = np.mean(_areas(runs, name), axis=0)
        found["ci95"][name] = bootstrap_interval(areas[np.isfinite(areas)])
    found["ceiling"] = [number(one, "ceiling.mean") for one in results]
    found[DAMAGE] = [number(one, "damage.area.mean") for one in results]
    return found


def _areas(runs: Sequence[RunFolder], name: str) -> list[NDArray[np.float64]]:
    """(P,), a run each: the AUDDC of the pairs under this attack, envelope convention, or the area of their damage."""
    return [np.asarray(run.audit.curves[_area(name)], dtype=np.float64) for run in runs if run.audit]


def _area(name: str) -> str:
    """Where an audit keeps the areas of an attack, or of the damage."""
    return f"{name}/area" if name == DAMAGE else f"{name}/auddc"


def _settings(run: RunFolder) -> dict[str, Any]:
    return dict(checked(Audited, mapping(run.audit.config, "audit") if run.audit else {}, run.folder))


def _withstood(folder: Path, scale: Scale, data: str) -> dict[str, Any] | None:
    """Tables 3 and 4 of one data set."""
    home = folder / "robustness" / data
    if not is_finished(home):
        return None
    study = read_study(home, "robustness", read_record(home / CONFIG))
    results, models = study.results, {}
    checked(Robustness, results, home / RESULTS)
    attacked = mapping(results, "models")
    for classifier in classifiers(scale, data):
        name = classifier.name
        if (one := attacked.get(name)) is None:
            continue
        models[name] = {
            **classifier.ids,
            "label": classifier.label,
            "accuracy": _accuracy(folder, name),
            "reconstruction_l2": _reconstruction(folder, name),
            "attacked": one["clean_accuracy"],
            **{attack: one["robust_accuracy"].get(attack) for attack in ("fgsm", "pgd")},
            "worst_case": one["worst_case"],
            "ci95": {"worst_case": lookup(one, "ci95.worst_case"), "transfer": lookup(one, "ci95.transfer")},
            "transfer": one["transfer"],
            "flags": sorted(mapping(one, "flags")),
        }
    found = {"images": results["images"], "eps": results["eps"], "norm": results["norm"], "models": models}
    mixtures = {one["penalty"]: name for name, one in models.items() if one["kind"] == "mixture"}
    sources = [name for name, one in models.items() if one["kind"] != "mixture"]
    if study.outcomes and sources:
        own = {kind: mixtures[kind] for kind in TOLD_APART if kind in mixtures}
        found["difference"] = {kind: _differences(study, name, sources) for kind, name in own.items()}
        found["black_box"] = {
            kind: _black_box(study, name, mixtures.get("plain"), sources) for kind, name in own.items()
        }
    return found


def _differences(study: Study, own: str, others: Sequence[str]) -> dict[str, Any]:
    """How much more one classifier keeps than each of the others, by its name and epsilon.

    On the same images, with McNemar's exact test.
    """
    return {
        name: {eps: _recorded(study.difference(own, name, ("worst_case", eps))) for eps in study.eps} for name in others
    }


def _black_box(study: Study, own: str, plain: str | None, sources: Sequence[str]) -> dict[str, Any] | None:
    """How much more one mixture keeps than the plain autoencoder's, under examples made elsewhere.

    Of each image the share of sources and epsilons under which it stays right; None where the folder does not say.
    """
    kept = [[study.outcomes.get(f"{name}/transfer/{source}") for source in sources] for name in (own, plain)]
    known = [[each for each in found if each is not None] for found in kept]
    if any(len(found) < len(sources) for found in known):
        return None
    return _recorded(paired_figures(*(np.stack(found).mean((0, 1)) for found in known)))


def _accuracy(folder: Path, name: str) -> float | None:
    """On all test images."""
    for home in (folder / "classifiers" / name, folder / "runs" / name):
        if is_finished(home):
            return number(read_record(home / RESULTS), "test.accuracy")
    return None


def _reconstruction(folder: Path, name: str) -> float | None:
    home = folder / "runs" / name
    return number(read_record(home / RESULTS), "test.reconstruction_l2") if is_finished(home) else None


def _one_to_zero(folder: Path, scale: Scale) -> dict[str, Any] | None:
    """Figure 1: the attacks of DRAW from 1s to 0s."""
    runs = by_side(folder, list(from_1_to_0(scale)))
    areas = {side: _areas([run], "output") for side, run in runs.items()}
    if not areas:
        return None
    found = {side: paired_difference(areas["plain"], area) for side, area in areas.items() if side != "plain"}
    if found["hardened"] is None:
        return None
    usable = np.isfinite([area[0] for area in areas.values()]).all(axis=0)
    audits = {side: run.audit for side, run in runs.items() if run.audit}
    from doubleback.paper.judging import shown_digits  # it asks a model: only here torch is needed

    seen = shown_digits(folder / JUDGE, audits) if is_finished(folder / JUDGE) else {}
    return {
        side: {"output": float(area[usable].mean()), "difference": found.get(side)} | seen.get(side, {})
        for side, (area,) in areas.items()
    }


def _transition(home: Path, scale: Scale) -> dict[str, Any] | None:
    """Figures 3 and 6: what became of the images, by each classifier."""
    if not is_finished(home):
        return None
    study = read_study(home, "transition", read_record(home / CONFIG))
    results = study.results
    checked(Transitions, results, home / RESULTS)
    found = mapping(results, "models")
    there = [one for one in classifiers(scale, "mnist") if one.name in found]
    names = {one.penalty: one.name for one in there}
    moved = {side: names.get(MOVED[side], "") for side in SIDES}
    differences = {side: study.difference(moved[side], moved["plain"], ("judge", "image")) for side in HARDENED}
    return {
        "images": results["images"],
        "judge": results["judge"],
        "models": {
            one.label: one.ids | {key: value for key, value in found[one.name].items() if key not in one.ids}
            for one in there
        },
    } | {"difference": {side: _recorded(one) for side, one in differences.items() if one}}
