"""The page's sentence, where no audit speaks: what is kept under attack, and what may be wrong with it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import Markup

from doubleback.errors import InputError
from doubleback.report.folders import read_folders
from doubleback.report.headline import headline
from doubleback.report.verdict import Verdict
from tests.report.synthetic import make_audit, make_run, with_areas, write_json
from tests.report.synthetic_studies import keep, make_classify, make_robustness, make_transition


def said(*folders: Path) -> Verdict:
    found = headline(read_folders(list(folders)))
    return Verdict(Markup(found.sentence.striptags()).replace("\u00a0", " "), found.notes)


def test_robustness(tmp_path: Path) -> None:
    found = said(make_robustness(tmp_path / "r"))
    assert found.sentence == (
        "At eps 0.1 (Linf) hardened/classifier keeps 55 % [50, 59] of 500 images under the worst of 5 attacks and of "
        "transferred examples, lenet 41 %, plain/classifier 0.4 %."
    )
    checked, untested = found.notes
    assert checked == "Of the checks made, none fired for plain/classifier, hardened/classifier, lenet."
    assert untested.startswith("Whether hardened/classifier and lenet differ is not tested: r does not hold")


def test_flags_are_in_the_sentence_and_the_notes(tmp_path: Path) -> None:
    found = said(make_robustness(tmp_path / "r", flagged=["lenet"]))
    assert found.sentence.endswith("; checks fired for lenet: see the flags.")
    assert found.notes[0] == "lenet: The gradient is zero on 31 % of the images: PGD cannot see."
    assert found.notes[1] == "Of the checks made, none fired for plain/classifier, hardened/classifier."


def rights(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """(3, N) of two models: images that both, only the first, only the second, or neither gets right at each eps."""
    counts = [both, first, second, neither]
    one, other = np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)
    return np.tile(one, (3, 1)), np.tile(other, (3, 1))


def attacked(folder: Path, *counts: int) -> Path:
    one, other = rights(*counts)
    return keep(make_robustness(folder, strength={"a": 0.1, "b": 0.1}), {"a": one, "b": other})


def test_classifiers_are_told_apart_on_the_same_images(tmp_path: Path) -> None:
    """59 % against 46 % of 140 images, whose Wilson intervals overlap."""
    found = said(attacked(tmp_path / "r", 60, 22, 5, 53))
    assert ", b 46 % (fewer, p = 0.002)." in found.sentence
    assert found.notes[-1] == (
        "Of the same 140 images, 22 count for a alone, 5 for b alone; difference 12.1 [4.6, 16.9] points (McNemar's "
        "exact test, p = 0.002)."
    )


def test_classifiers_that_differ_by_chance(tmp_path: Path) -> None:
    """59 % against 50 % of 140 images, on many of which they differ."""
    found = said(attacked(tmp_path / "r", 43, 40, 27, 30))
    assert ", b 50 % (cannot be told apart, p = 0.14)." in found.sentence


def test_a_single_image_has_no_interval(tmp_path: Path) -> None:
    notes = said(attacked(tmp_path / "r", 0, 1, 0, 0)).notes
    assert notes[-1].endswith("1 count for a alone, 0 for b (McNemar's exact test, p = 1.00).")


def test_the_third_of_three_models_is_not_said_to_be_tested(tmp_path: Path) -> None:
    folder = make_robustness(tmp_path / "r", strength={"a": 0.1, "b": 0.1, "c": 0.1})
    one, other = rights(20, 22, 5, 53)
    found = said(keep(folder, {"c": np.zeros_like(one), "b": other, "a": one}))
    assert "a keeps 42 % of 100 images" in found.sentence
    assert found.sentence.endswith(", b 25 % (fewer, p = 0.002), c 0 %.")
    assert found.notes[-1] == "Compared: the two best of 3 models, and no others."


def test_transitions_are_told_apart_on_the_same_images(tmp_path: Path) -> None:
    (one, other), path = (right[0] for right in rights(20, 22, 5, 53)), ("judge", "image")
    folder = make_transition(tmp_path / "t", models=("a", "b"))
    assert "not tested" in said(folder).notes[0]
    assert "by b 25 % (fewer, p = 0.002)." in said(keep(folder, {"a": one, "b": other}, path)).sentence


def test_reached_is_told_apart_too(tmp_path: Path) -> None:
    one, other = (right[0] for right in rights(20, 9, 8, 3))
    folder = keep(make_transition(tmp_path / "t", models=("a", "b"), judge=None), {"a": one, "b": other}, ("reached",))
    assert "b 70 % (cannot be told apart, p = 1.00); no judge" in said(folder).sentence


@pytest.mark.parametrize(
    "array", [np.ones((3, 9), bool), np.ones((2, 140), bool), np.ones((3, 140)), np.zeros((3, 140), bool)]
)
def test_outcomes_that_are_not_those_of_the_results(tmp_path: Path, array: np.ndarray) -> None:
    folder = attacked(tmp_path / "r", 60, 22, 5, 53)
    with np.load(folder / "outcomes.npz") as archive:
        arrays = dict(archive)
    np.savez(folder / "outcomes.npz", **arrays | {"a/worst_case": array})
    with pytest.raises(InputError, match=r"the shares of results.json"):
        said(folder)


def test_no_checks_no_claim_about_them(tmp_path: Path) -> None:
    folder = make_robustness(tmp_path / "r", strength={"a": 0.1})
    record = json.loads((folder / "results.json").read_text())
    record["models"]["a"] |= {"checks": {}, "flags": {}, "ci95": {}, "transfer": {}}
    record["models"]["a"]["robust_accuracy"] = {"pgd": {"0.1": 0.48}}
    write_json(folder / "results.json", record)
    found = said(folder)
    assert found.sentence == "At eps 0.1 (Linf) a keeps 48 % of 500 images under attack."
    assert found.notes == []


def test_many_models_are_counted(tmp_path: Path) -> None:
    found = said(make_robustness(tmp_path / "r", strength={f"m{i}": 0.1 + 0.05 * i for i in range(8)}))
    assert found.sentence.count("%") == 6
    assert found.sentence.endswith(", and 2 more, none of them higher.")


def test_transition(tmp_path: Path) -> None:
    assert said(make_transition(tmp_path / "t")).sentence == (
        "The judge (lenet) sees the new class in 30 % [24, 37] of 200 images moved by hardened/classifier, "
        "by plain/classifier 15 %."
    )
    assert said(make_transition(tmp_path / "u", judge=None)).sentence == (
        "plain/classifier reaches the required probability of another class on 100 % of 200 images, "
        "hardened/classifier 100 %; no judge has looked at them."
    )


def test_robustness_before_transition(tmp_path: Path) -> None:
    found = said(make_transition(tmp_path / "t"), make_robustness(tmp_path / "r"))
    assert found.sentence.startswith("At eps")
    assert any("sees the new class" in note for note in found.notes)


def test_mixtures_that_did_not_converge(tmp_path: Path) -> None:
    run = make_run(tmp_path / "vae")
    make_classify(run / "classifier", run, converged=[True, False, False])
    assert said(run).notes == ["vae: 2 of 3 mixtures stopped before EM had converged."]


BASE = np.linspace(0.2, 0.4, 20)  # AUDDC of twenty pairs
WAVE = np.sin(np.arange(20))  # of mean 0.004
NAN = np.nan
PairFigures = tuple[Any, Any]


def _flagged(values: np.ndarray, *places: int) -> np.ndarray:
    return np.where(np.isin(np.arange(len(values)), places), NAN, values)


# What two models withstand on the same pairs, and what the headline may say of the second.
SITUATIONS: dict[str, tuple[PairFigures, str]] = {
    "every pair a little higher": ((BASE, BASE + 0.001), "more"),
    "every pair a little lower": ((BASE, BASE - 0.001), "less"),
    "the demo's difference": ((BASE, BASE + 0.028 + 0.025 * WAVE), "more"),
    "much higher, intervals apart": ((BASE, BASE + 0.4), "more"),
    "much lower, intervals apart": ((BASE + 0.4, BASE), "less"),
    "higher on average, by chance": ((BASE, BASE + 0.01 + 0.1 * WAVE), "alike"),
    "lower on average, by chance": ((BASE, BASE - 0.01 + 0.1 * WAVE), "alike"),
    "higher by little on most, lower by much on few": ((BASE, np.r_[BASE[:17] + 0.001, BASE[17:] - 0.1]), "alike"),
    "the same on every pair": ((BASE, BASE), "alike"),
    "the same but for the last bits": ((BASE, BASE + 1e-13), "alike"),
    "all of one value": ((np.full(20, 0.3), np.full(20, 0.3)), "alike"),
    "all of one difference": ((BASE, BASE + 0.05), "more"),
    "two pairs of two signs": ((BASE[:2], BASE[:2] + np.array([0.1, -0.1])), "alike"),
    "a single pair": ((BASE[:1], BASE[:1] + 0.3), "alike"),
    "a single pair that both use": ((_flagged(BASE[:2], 0), BASE[:2] + 0.3), "alike"),
    "easy pairs flagged in one": ((BASE, _flagged(BASE, *range(8))), "alike"),
    "hard pairs flagged in one, lower on the rest": ((BASE, _flagged(BASE - 0.002, *range(12, 20))), "less"),
    "flagged in both, elsewhere": ((_flagged(BASE, 0, 1), _flagged(BASE + 0.02, 18, 19)), "more"),
    "no pair that both use": ((_flagged(BASE, *range(10)), _flagged(BASE + 0.2, *range(10, 20))), "not ranked"),
    "all flagged in one": ((BASE, np.full(20, NAN)), "unknown"),
    "nothing left of the baseline": ((np.zeros(20), BASE), "more"),
    "a few very different pairs": ((BASE, np.r_[BASE[:18], BASE[18:] + 0.5]), "alike"),
}
SAYS = {
    "more": r"^hardened withstands (more|\d.* times what plain)",
    "less": r"^hardened withstands less than plain",
    "alike": r"^hardened and plain cannot be told apart",
    "not ranked": r"^plain, hardened: .* so they are not ranked",
    "unknown": r"^plain withstands [\d.]+ \(.*What hardened withstands is not known: all 20 pairs are flagged",
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_headline_agrees_with_the_paired_interval(situation: str, tmp_path: Path) -> None:
    (plain, hardened), expected = SITUATIONS[situation]
    runs = []
    for name, areas in (("plain", plain), ("hardened", hardened)):
        runs.append(make_run(tmp_path / name, penalty="none" if name == "plain" else "output"))
        with_areas(make_audit(runs[-1] / "audit", runs[-1], pairs=len(areas)), {"worst_case": areas})
    found = said(*runs)
    assert re.match(SAYS[expected], found.sentence)
    assert "overlap" not in found.sentence + "".join(found.notes)
    each = np.round(np.asarray(hardened) - plain, 12)
    each = each[np.isfinite(each)]
    if len(each) > 1:  # by resampling that owes nothing to the code under test
        means = np.random.default_rng(7).choice(each, (20_000, len(each))).mean(1)
        low, high = np.percentile(means, [2.5, 97.5])
        assert expected == ("more" if low > 0 else "less" if high < 0 else "alike")
