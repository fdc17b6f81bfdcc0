"""The sentence never says more than the numbers."""

import json
from pathlib import Path

import pytest

from doubleback.report.comparison import baseline
from doubleback.report.folders import read_folders
from doubleback.report.runs import RunFolder
from doubleback.report.verdict import Verdict, verdict
from tests.report.synthetic import change, make_audit, make_run, write_json


def read_runs(folders: list[Path]) -> list[RunFolder]:
    return read_folders(folders).runs


def judged(folder: Path, plain: float, hardened: float, **options: float) -> Verdict:
    runs = []
    for name, penalty, strength in (("plain", "none", plain), ("hardened", "output", hardened)):
        runs.append(make_run(folder / name, penalty=penalty))
        make_audit(runs[-1] / "audit", runs[-1], strength=strength, **options)  # type: ignore[arg-type]
    return verdict(read_runs(runs))


def test_better(tmp_path: Path) -> None:
    assert ">hardened</b> withstands 1." in judged(tmp_path, 0.2, 0.4).sentence


def test_worse(tmp_path: Path) -> None:
    assert "withstands less than" in judged(tmp_path, 0.4, 0.2).sentence


def test_overlapping_intervals_are_told_apart_pair_by_pair(tmp_path: Path) -> None:
    """Whatever the spread over pairs: each is compared with itself, and every one is higher."""
    found = judged(tmp_path, 0.3, 0.305, spread=0.5)
    assert "withstands 1.02 times" in found.sentence


def test_other_pairs_are_not_ranked(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name) for name in "ab"]
    for run, pairs in zip(runs, (20, 10), strict=True):
        make_audit(run / "audit", run, pairs=pairs)
    assert "different pairs" in verdict(read_runs(runs)).sentence


def test_baseline_is_the_first_without_a_penalty(tmp_path: Path) -> None:
    penalties = ("latent", "none", "none")
    runs = read_runs([make_run(tmp_path / str(i), penalty=penalty) for i, penalty in enumerate(penalties)])
    assert baseline(runs) == 1
    assert baseline(runs[:1]) is None


def test_doubts_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run)
    found = read_runs([run])[0]
    assert found.audit is not None
    results = dict(found.audit.results)
    results["attacks"]["latent"] |= {"converged": 0.5, "share_of_ceiling": 0.99}
    write_json(run / "audit" / "results.json", results)
    notes = verdict(read_runs([run])).notes
    assert any("50% of the latent attack's rows converged" in note for note in notes)
    assert any("latent attack does no better than blending" in note for note in notes)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"converged": 0.89}, "rows converged"),
        ({"converged": 0.9}, None),
        ({"share_of_ceiling": 0.98}, "no better than blending"),
        ({"share_of_ceiling": 0.97}, None),
    ],
)
def test_doubts_begin_at_their_limits(tmp_path: Path, found: dict[str, float], says: str | None) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run)
    results = json.loads((run / "audit" / "results.json").read_text())
    results["attacks"]["latent"] |= found
    write_json(run / "audit" / "results.json", results)
    notes = verdict(read_runs([run])).notes
    assert [says in note for note in notes] == [True] if says else notes == []


@pytest.mark.parametrize(("pairs", "flagged"), [(20, 0), (20, 1), (20, 3), (1, 0)])
def test_pairs_left_out_and_a_single_one_are_said(tmp_path: Path, pairs: int, flagged: int) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run, pairs=pairs, flagged=flagged)
    notes = " ".join(verdict(read_runs([run])).notes)
    said = {1: "run: 1 pair left out, because", 3: "run: 3 pairs left out, because"}
    assert said[flagged] in notes if flagged else "left out" not in notes
    assert ("a single pair, so there is no interval" in notes) == (pairs == 1)


def test_an_audit_without_its_settings_is_not_doubted_for_them(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run)
    change(run / "audit" / "config.json", audit=None)
    assert verdict(read_runs([run])).notes == []


def test_the_worst_case_names_the_attacks_that_it_is_over(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name) for name in "ab"]
    for run, strength in zip(runs, (0.2, 0.4), strict=True):
        make_audit(run / "audit", run, strength=strength, anywhere={"drift": "moves the code, anywhere"})
    assert verdict(read_runs(runs)).notes[0].startswith("Worst-case AUDDC (latent, output, blending): ")


def test_a_dear_gain_is_called_so(tmp_path: Path) -> None:
    judged(tmp_path, 0.2, 0.4)
    runs = read_runs([tmp_path / "plain", tmp_path / "hardened"])
    results = {**runs[1].results, "test": {**runs[1].results["test"], "reconstruction_l2": 4.0}}
    write_json(tmp_path / "hardened" / "results.json", results)
    found = verdict(read_runs([tmp_path / "plain", tmp_path / "hardened"]))
    assert "at 1.39 times its reconstruction error" in found.sentence
    assert any("reconstructs clearly worse" in note for note in found.notes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split": "validation"}, "attacked on its validation images"),
        ({"data": "mnist"}, "attacked on images of mnist"),
        ({"split": "test", "data": None}, None),
    ],
)
def test_an_audit_of_other_images_says_so(tmp_path: Path, changes: dict[str, object], said: str | None) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run)
    path = run / "audit" / "config.json"
    config = json.loads(path.read_text())
    write_json(path, config | {"audit": config["audit"] | changes})
    notes = " ".join(verdict(read_runs([run])).notes)
    assert said in notes if said else "attacked on" not in notes


def test_nobody_knows_what_somebody_elses_model_was_trained_on(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run)
    path = run / "audit" / "config.json"
    config = json.loads(path.read_text())
    write_json(path, config | {"audit": config["audit"] | {"data": "mnist"}, "train": {}})
    assert "attacked on" not in " ".join(verdict(read_runs([run])).notes)


def test_checks_that_fired_on_an_audit(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run)
    results = json.loads((run / "audit" / "results.json").read_text())
    says = "31.0% of the inputs give no gradient to follow"
    write_json(run / "audit" / "results.json", results | {"flags": {"vanishing_gradients": says}})
    assert f"run: a check fired: {says}." in verdict(read_runs([run])).notes
