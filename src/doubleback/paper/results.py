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
from doubleback.paper.compared import PAIR, Comparison, classifiers, comparisons, from_1_to_0
from doubleback.paper.record import Audited, Robustness, Transitions, read_reproduction
from doubleback.paper.scales import SCALES, Scale
from doubleback.report.archives import lookup, mapping, number, read_record
from doubleback.report.comparison import unlike
from doubleback.report.runs import WORST_CASE, RunFolder, read_run
from doubleback.report.studies import Study, read_study
from doubleback.settings.stored import checked

ATTACKS = ("latent", "output", WORST_CASE)
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
        "machine": asdict(record.machine),
        "commands": {name: one.command for name, one in commands.items() if is_finished(folder / name)},
        "minutes": sum(one.seconds for one in commands.values()) / 60,
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
        lacking = [attack for attack in ATTACKS if run.audit and f"{attack}/auddc" not in run.audit.curves]
        if lacking:
            raise InputError(f"the audit of {run.folder} has no curves of {lacking[0]}; remove it, and reproduce")
    return runs


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
    """A row of Tables 1 and 2: seeds whose plain and hardened run are both there."""
    there = [
        pair for pair in zip(row.plain, row.hardened, strict=True) if all(is_finished(folder / one) for one in pair)
    ]
    if not there:
        return None
    sides = {kind: runs_of(folder, [pair[i] for pair in there]) for i, kind in enumerate(PAIR)}
    found: dict[str, Any] = {**row.ids, "label": row.label, "data": row.data, "seeds": len(there)}
    for kind, runs in sides.items():
        found[kind] = {name: [number(run.results, f"test.{name}") for run in runs] for name in _TRAINED}
        found[kind]["minutes"] = [_minutes(run) for run in runs]
    settings = [_settings(run) for runs in sides.values() for run in runs if run.audit]  # checked
    if not any(unlike(plain, hardened) for plain, hardened in zip(*sides.values(), strict=True)):
        found["difference"] = {
            name: paired_difference(*(_areas(runs, name) for runs in sides.values())) for name in ATTACKS
        }
        for kind, runs in sides.items():
            found[kind] |= _audited(runs)
        found["audit"] = settings[0]
    return found


def _minutes(run: RunFolder) -> float | None:
    seconds = number(run.results, "train.seconds")
    return None if seconds is None else seconds / 60


def _audited(runs: Sequence[RunFolder]) -> dict[str, Any]:
    """Mean AUDDC a seed, both conventions; the interval of their mean over the pairs; the ceiling."""
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
    return found


def _areas(runs: Sequence[RunFolder], attack: str) -> list[NDArray[np.float64]]:
    """(P,) AUDDC of the pairs, envelope convention, a run each."""
    return [np.asarray(run.audit.curves[f"{attack}/auddc"], dtype=np.float64) for run in runs if run.audit]


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
    paired = {"difference": _differences(study, models), "black_box": _black_box(study, models)}
    return found | {name: each for name, each in paired.items() if each}


def _differences(study: Study, models: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """How much more the mixture of the hardened autoencoder keeps than each other classifier: by its name and epsilon.

    On the same images, with McNemar's exact test; nothing where the folder does not say what became of each image.
    """
    own = next((name for name, one in models.items() if one["penalty"] == "hardened"), None)
    others = [name for name, one in models.items() if one["kind"] != "mixture"] if own else []
    return {
        name: {eps: _recorded(study.difference(str(own), name, ("worst_case", eps))) for eps in study.eps}
        for name in others
        if study.outcomes
    }


def _black_box(study: Study, models: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """How much more the hardened autoencoder's mixture keeps than the plain one's, under examples made elsewhere.

    Of each image the share of sources and epsilons under which it stays right; nothing where the folder does not say.
    """
    mixtures = {one["penalty"]: name for name, one in models.items() if one["kind"] == "mixture"}
    sources = [name for name, one in models.items() if one["kind"] != "mixture"]
    kept = {
        kind: [study.outcomes.get(f"{mixtures.get(kind)}/transfer/{source}") for source in sources] for kind in PAIR
    }
    if not sources or any(each is None for found in kept.values() for each in found):
        return None
    plain, hardened = (np.stack([each for each in kept[kind] if each is not None]).mean((0, 1)) for kind in PAIR)
    return _recorded(paired_figures(hardened, plain))


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
    runs = runs_of(folder, list(from_1_to_0(scale)))
    if len(runs) < len(PAIR):
        return None
    areas = dict(zip(PAIR, _areas(runs, "output"), strict=True))
    difference = paired_difference([areas["plain"]], [areas["hardened"]])
    usable = np.isfinite(areas["plain"]) & np.isfinite(areas["hardened"])
    if difference is None:
        return None
    return {kind: {"output": float(area[usable].mean())} for kind, area in areas.items()} | {"difference": difference}


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
    shifted, plain = (names.get(penalty, "") for penalty in ("lambda-1", "plain"))
    difference = study.difference(shifted, plain, ("judge", "image"))
    return {
        "images": results["images"],
        "judge": results["judge"],
        "models": {
            one.label: one.ids | {key: value for key, value in found[one.name].items() if key not in one.ids}
            for one in there
        },
    } | ({"difference": _recorded(difference)} if difference else {})
