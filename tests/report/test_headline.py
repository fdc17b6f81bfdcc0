"""The page's sentence, where no audit speaks: what is kept under attack, and what may be wrong with it."""

import json
from pathlib import Path

from markupsafe import Markup

from doubleback.report.folders import read_folders
from doubleback.report.headline import headline
from doubleback.report.verdict import Verdict
from tests.report.synthetic import make_run, write_json
from tests.report.synthetic_studies import make_classify, make_robustness, make_transition


def said(*folders: Path) -> Verdict:
    found = headline(read_folders(list(folders)))
    return Verdict(Markup(found.sentence.striptags()).replace("\u00a0", " "), found.notes)


def test_robustness(tmp_path: Path) -> None:
    found = said(make_robustness(tmp_path / "r"))
    assert found.sentence == (
        "At eps 0.1 (Linf) hardened/classifier keeps 55 % [50, 59] of 500 images under the worst of 5 attacks and of "
        "transferred examples, lenet 41 %, plain/classifier 0.4 %."
    )
    assert found.notes == ["Of the checks made, none fired for plain/classifier, hardened/classifier, lenet."]


def test_flags_are_in_the_sentence_and_the_notes(tmp_path: Path) -> None:
    found = said(make_robustness(tmp_path / "r", flagged=["lenet"]))
    assert found.sentence.endswith("; checks fired for lenet: see the flags.")
    assert found.notes[0] == "lenet: The gradient is zero on 31 % of the images: PGD cannot see."
    assert found.notes[1] == "Of the checks made, none fired for plain/classifier, hardened/classifier."


def test_overlapping_intervals(tmp_path: Path) -> None:
    found = said(make_robustness(tmp_path / "r", strength={"a": 0.1, "b": 0.101}))
    assert found.notes[0] == "b and a cannot be told apart there: their 95 % intervals overlap."


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
    assert found.sentence.endswith(", 2 more no higher.")


def test_transition(tmp_path: Path) -> None:
    assert said(make_transition(tmp_path / "t")).sentence == (
        "Moved to another class by hardened/classifier, 30 % [24, 37] of 200 images are of that class to the judge "
        "(lenet), by plain/classifier 15 %."
    )
    assert said(make_transition(tmp_path / "u", judge=None)).sentence == (
        "Moved to another class, plain/classifier reaches the probability asked for on 100 % of 200 images, "
        "hardened/classifier 100 %; no judge has looked at them."
    )


def test_robustness_before_transition(tmp_path: Path) -> None:
    found = said(make_transition(tmp_path / "t"), make_robustness(tmp_path / "r"))
    assert found.sentence.startswith("At eps")
    assert any("Moved to another class" in note for note in found.notes)


def test_mixtures_that_did_not_converge(tmp_path: Path) -> None:
    run = make_run(tmp_path / "vae")
    make_classify(run / "classifier", run, converged=[True, False, False])
    assert said(run).notes == ["vae: 2 of 3 mixtures stopped before EM had converged."]
