"""What differs is named, and then nothing is ranked or divided; what is compared is compared on the same pairs."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doubleback.report.archives import Arrays
from doubleback.report.comparison import (
    area_ratio,
    baseline,
    caveats,
    difference,
    obstacles,
    quotient,
    reconstruction_ratio,
    same_test_images,
)
from doubleback.report.folders import read_folders
from doubleback.report.runs import RunFolder
from doubleback.report.table import comparison
from doubleback.report.verdict import verdict
from tests.report.synthetic import change, digits, make_audit, make_run, read_json, with_areas, write_json

BASE = np.linspace(0.2, 0.4, 20)


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """A plain and a hardened run, audited alike: all that the tests change is what differs."""
    runs = []
    for name, penalty, strength in (("plain", "none", 0.3), ("hardened", "output", 0.4)):
        runs.append(make_run(tmp_path / name, penalty=penalty))
        make_audit(runs[-1] / "audit", runs[-1], strength=strength)
        change(runs[-1] / "audit" / "config.json", images="a" * 32)
    return runs


def read(runs: list[Path]) -> tuple[RunFolder, ...]:
    return tuple(read_folders(runs).runs)


def set_audit(run: Path, **settings: Any) -> None:
    path = run / "audit" / "config.json"
    change(path, audit=read_json(path)["audit"] | settings)


def set_train(run: Path, **settings: Any) -> None:
    """Of the run and of its audit: it is the same run."""
    for path in (run / "config.json", run / "audit" / "config.json"):
        change(path, train=read_json(path)["train"] | settings)


def set_arrays(path: Path, alter: Callable[[Arrays], Mapping[str, Any]]) -> None:
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez_compressed(path, **alter(arrays))


def rename_attack(run: Path) -> None:
    path = run / "audit" / "results.json"
    attacks = read_json(path)["attacks"]
    change(path, attacks={"other" if name == "output" else name: found for name, found in attacks.items()})
    (run / "audit" / "images.npz").unlink()


def shrink(run: Path) -> None:
    shutil.rmtree(run)
    make_run(run, penalty="output", images=digits(12, 1, 16))
    make_audit(run / "audit", run, strength=0.4, images=digits(12, 1, 16))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "one step": (lambda run: set_audit(run, steps=1), r"different settings: steps \(300 and 1\)"),
    "restarts": (lambda run: set_audit(run, restarts=4), r"restarts \(0 and 4\)"),
    "several": (lambda run: set_audit(run, steps=9, samples=2), r"steps \(300 and 9\), samples \(0 and 2\)"),
    "coefficients": (lambda run: set_audit(run, coefficients=[0.5, 2.0]), r"coefficients \(4 and \[0.5, 2.0\]\)"),
    "a setting of a later version": (lambda run: set_audit(run, patience=3), r"patience \(null and 3\)"),
    "split": (lambda run: set_audit(run, split="validation"), r"different splits \(test and validation\)"),
    "images": (lambda run: change(run / "audit" / "config.json", images="b" * 32), "on different images$"),
    "size": (shrink, r"different image sizes \(1x28x28 and 1x16x16\)"),
    "attacks": (rename_attack, r"different ways \(latent, output and latent, other\)"),
    "code of a goal": (lambda run: change(run / "audit" / "config.json", code={"a.py:A": "1"}), "different code"),
    "training": (lambda run: set_train(run, data="mnist"), r"trained on different data \(digits and mnist\)"),
    "pairs": (
        lambda run: set_arrays(run / "audit" / "curves.npz", lambda a: a | {"source_index": a["source_index"][::-1]}),
        "different pairs",
    ),
    "pairs unknown": (
        lambda run: set_arrays(
            run / "audit" / "curves.npz", lambda a: {name: a[name] for name in a if not name.endswith("_index")}
        ),
        "pairs that are not known",
    ),
    "no arrays": (lambda run: (run / "audit" / "curves.npz").unlink(), "without figures pair by pair"),
    "pictures of an older version": (
        lambda run: (
            change(run / "audit" / "config.json", images=None),
            set_arrays(run / "audit" / "images.npz", lambda a: a | {"source": 255 - a["source"]}),
        ),
        "on different images$",
    ),
    "an older version without pictures": (
        lambda run: (change(run / "audit" / "config.json", images=None), (run / "audit" / "images.npz").unlink()),
        "not known to be attacked on the same images",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_differs_is_named_and_nothing_is_ranked(what: str, two: list[Path]) -> None:
    alter, says = CHANGES[what]
    alter(two[1])
    plain, hardened = read(two)
    (reason,) = obstacles(plain, hardened)
    assert re.search(says, reason)
    assert difference(hardened, plain) is None
    assert area_ratio(hardened, plain, "worst_case") is None
    found = verdict([plain, hardened])
    assert found.sentence.striptags() == f"plain, hardened: {reason}, so they are not ranked."
    ratios = [cell.ratio for group in comparison([plain, hardened], 0) for row in group.rows for cell in row.cells]
    withstands = comparison([plain, hardened], 0)[1]
    assert withstands.title.startswith("What it withstands")
    assert not any(cell.ratio for row in withstands.rows for cell in row.cells), ratios


def test_nothing_differs(two: list[Path]) -> None:
    plain, hardened = read(two)
    assert obstacles(plain, hardened) == caveats(plain, hardened) == []
    found = difference(hardened, plain)
    assert found is not None
    assert found.settled


@pytest.mark.parametrize(
    "alter",
    [
        lambda run: set_audit(run, restarts=0, samples=0, source_label=None),  # as an older version did without a word
        lambda run: set_audit(run, data="elsewhere/digits"),  # the digest says that the images are the same
        lambda run: set_audit(run, attack=["output", "latent"]),
        lambda run: change(run / "audit" / "config.json", version="9.0", command=["x"]),
        lambda run: change(run / "audit" / "results.json", seconds=1e6),
    ],
)
def test_what_changes_nothing_is_no_obstacle(alter: Callable[[Path], object], two: list[Path]) -> None:
    alter(two[1])
    assert obstacles(*read(two)) == []


def test_the_same_data_under_two_names(two: list[Path]) -> None:
    set_train(two[1], data="./digits")
    assert "different data" in obstacles(*read(two))[0]
    for run in two:
        change(run / "config.json", images="c" * 32)
    assert obstacles(*read(two)) == []


def test_older_folders_are_compared_by_their_pictures_and_it_is_said(two: list[Path]) -> None:
    change(two[1] / "audit" / "config.json", images=None)
    plain, hardened = read(two)
    assert obstacles(plain, hardened) == []
    assert "do not say which images" in caveats(plain, hardened)[0]
    assert any("do not say which images" in note for note in verdict([plain, hardened]).notes)


def test_training_on_more_images_is_said(two: list[Path]) -> None:
    for run, images in zip(two, "cd", strict=True):
        change(run / "config.json", images=images * 32)
    assert any("not trained on the same images" in note for note in verdict(read(two)).notes)


def test_the_odd_one_of_three_is_named_and_the_others_are_ranked(two: list[Path], tmp_path: Path) -> None:
    third = make_run(tmp_path / "third", penalty="latent")
    make_audit(third / "audit", third, strength=0.9)
    change(third / "audit" / "config.json", images="a" * 32)
    set_audit(third, steps=1)
    found = verdict(read([*two, third]))
    assert found.sentence.striptags().startswith("hardened withstands")
    assert any(note.startswith("third is not ranked with plain: attacked with different") for note in found.notes)
    set_audit(two[0], steps=1)
    runs = read([*two, third])
    assert baseline(runs) == 0
    assert verdict(runs).sentence.striptags().startswith("third withstands")
    set_audit(two[0], steps=2)
    assert verdict(read([*two, third])).sentence.striptags().endswith("so they are not ranked.")


def test_the_baseline_is_one_that_can_be_compared(two: list[Path], tmp_path: Path) -> None:
    """The only plain run was audited in another way: the ranking goes by the others."""
    third = make_run(tmp_path / "third", penalty="latent")
    make_audit(third / "audit", third, strength=0.9)
    change(third / "audit" / "config.json", images="a" * 32)
    set_audit(two[0], steps=1)
    runs = read([*two, third])
    assert baseline(runs) == 1
    assert "third</b> withstands" in verdict(runs).sentence


def test_the_best_of_three_is_compared_with_the_next(two: list[Path], tmp_path: Path) -> None:
    third = make_run(tmp_path / "third", penalty="latent")
    make_audit(third / "audit", third, strength=0.41)
    change(third / "audit" / "config.json", images="a" * 32)
    notes = verdict(read([*two, third])).notes
    assert "third was picked by these figures from 2 runs compared with plain" in notes[1]
    assert "third 0." in notes[2]
    assert "hardened 0." in notes[2]


def test_the_best_and_the_next_need_not_have_a_pair_in_common(two: list[Path], tmp_path: Path) -> None:
    third = make_run(tmp_path / "third", penalty="latent")
    make_audit(third / "audit", third)
    change(third / "audit" / "config.json", images="a" * 32)
    places = np.arange(20)
    with_areas(two[0] / "audit", {"worst_case": BASE})
    with_areas(two[1] / "audit", {"worst_case": np.where(places < 10, 2 * BASE, np.nan)})
    with_areas(third / "audit", {"worst_case": np.where(places < 10, np.nan, 3 * BASE)})
    found = verdict(read([*two, third]))
    assert "third</b> withstands 3.00 times what" in found.sentence
    assert not [note for note in found.notes if "hardened 0." in note]


def test_ratios_are_over_the_pairs_that_both_use(two: list[Path]) -> None:
    """The means alone would say 1.17: hardened has lost the pairs on which everyone does badly."""
    areas = {"plain": BASE, "hardened": np.where(np.arange(20) < 7, np.nan, 1.02 * BASE)}
    for run in two:
        with_areas(run / "audit", {"worst_case": areas[run.name]})
    plain, hardened = read(two)
    assert area_ratio(hardened, plain, "worst_case") == pytest.approx(1.02)
    found = verdict([plain, hardened])
    assert "withstands 1.02 times what" in found.sentence
    assert any("7 pairs that one of the two flags" in note for note in found.notes)
    rows = {row.label: row.cells[1].ratio for group in comparison([plain, hardened], 0) for row in group.rows}
    assert rows["Worst case"].endswith("1.02")
    assert rows["Latent, share"] == rows["Reconstruction error, sources"] == "", "means over different pairs"
    assert rows["Reconstruction error"].endswith("1.03"), "over all test images"


def test_quotient() -> None:
    assert quotient([0.2, np.nan, 0.4], [0.1, 0.1, 0.2]) == pytest.approx(2)
    assert quotient([0.2, np.nan], [np.nan, 0.1]) is None
    assert quotient([0.2], [0.0]) is None


def test_an_audit_whose_run_is_gone_is_not_divided_by_a_test_set(two: list[Path]) -> None:
    shutil.copytree(two[1] / "audit", two[1].parent / "audits" / "hardened")
    shutil.rmtree(two[1])
    for run, error in ((two[0] / "audit", 3.0), (two[1].parent / "audits" / "hardened", 3.3)):
        change(run / "results.json", reconstruction_l2=error)
    plain, hardened = read([two[0], two[1].parent / "audits" / "hardened"])
    assert not same_test_images(plain, hardened)
    assert reconstruction_ratio(hardened, plain) == (pytest.approx(1.1), " on the images attacked")
    assert "at 1.10 times its reconstruction error on the images attacked" in verdict([plain, hardened]).sentence
    alone = verdict([hardened]).sentence
    assert "at a reconstruction error of 3.300 on the images attacked" in alone


def test_nor_where_the_pairs_used_differ(two: list[Path]) -> None:
    change(two[1] / "config.json", images="d" * 32)
    change(two[0] / "config.json", images="c" * 32)
    with_areas(two[1] / "audit", {"worst_case": np.where(np.arange(20) < 7, np.nan, 2 * BASE)})
    plain, hardened = read(two)
    assert reconstruction_ratio(hardened, plain) is None
    assert "reconstruction errors are not known on the same images" in verdict([plain, hardened]).sentence


def test_test_figures_are_divided_on_the_same_test_images_only(two: list[Path]) -> None:
    plain, hardened = read(two)
    assert same_test_images(plain, hardened)
    set_train(two[1], image_size=32)
    plain, hardened = read(two)
    assert not same_test_images(plain, hardened)
    quality = comparison([plain, hardened], 0)[0]
    assert quality.title == "Reconstruction"
    assert not any(cell.ratio for row in quality.rows for cell in row.cells)


def test_weights_that_the_run_no_longer_has(two: list[Path]) -> None:
    """The audit is of other weights than the run's figures: they stand apart, and are not mixed."""
    path = two[1] / "results.json"
    write_json(path, read_json(path) | {"weights": "0" * 64})
    runs = read(two)
    assert [run.name for run in runs] == ["plain", "hardened", "hardened/audit"]
    found = verdict(runs)
    assert found.sentence.striptags().startswith("hardened/audit withstands")
    assert "on the images attacked" in found.sentence
    assert "hardened has no audit." in found.notes


def test_without_a_target_the_worst_case_is_not_blending(tmp_path: Path) -> None:
    runs = []
    for name, area in (("plain", BASE), ("hardened", BASE + 0.1)):
        runs.append(make_run(tmp_path / name, penalty="none" if name == "plain" else "output"))
        make_audit(runs[-1] / "audit", runs[-1], attacks={}, anywhere={"untargeted": "", "drift": ""})
        with_areas(runs[-1] / "audit", {"untargeted": area, "drift": area + 0.2})
    plain, hardened = read(runs)
    assert plain.audit is not None
    assert plain.audit.withstands == pytest.approx(0.3)
    found = verdict([plain, hardened])
    assert "withstands 1.33 times what" in found.sentence
    assert found.notes[0].startswith("AUDDC (untargeted, drift): hardened 0.400, plain 0.300 on the same 20 pairs")
    assert "plain: no attack with a target was run, so it is not known how it withstands them." in found.notes
    assert "(AUDDC, attacks: untargeted, drift, the worst for each pair)" in verdict([plain]).sentence
    make_audit(runs[0] / "audit", runs[0], attacks={}, anywhere={"drift": ""})
    with_areas(runs[0] / "audit", {"drift": BASE})
    assert "withstands 0.300 (AUDDC, attack: drift)" in verdict(read(runs[:1])).sentence
    labels = [row.label for group in comparison([plain, hardened], 0) for row in group.rows]
    assert "Worst case" not in labels
    assert "Untargeted" in labels


def test_an_older_version_did_not_say_what_has_a_target(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run, anywhere={"untargeted": ""})
    with_areas(run / "audit", {"untargeted": np.full(20, 0.01)})
    path = run / "audit" / "results.json"
    attacks = read_json(path)["attacks"]
    change(path, attacks={name: {k: v for k, v in found.items() if k != "targeted"} for name, found in attacks.items()})
    (found,) = read([run])
    assert found.audit is not None
    assert found.audit.targeted == ["latent", "output"]


def test_all_pairs_flagged_in_every_run(two: list[Path]) -> None:
    for run in two:
        with_areas(run / "audit", {"worst_case": np.full(20, np.nan)})
    said = verdict(read(two)).sentence.striptags()
    assert said == (
        "What plain withstands is not known: all 20 pairs are flagged, because an adversarial distance means nothing "
        "there. What hardened withstands is not known: all 20 pairs are flagged, because an adversarial distance means "
        "nothing there."
    )
