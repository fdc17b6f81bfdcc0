"""The curves hold the shares of results.json, 0 first, and no label covers another."""

import json
import re
from pathlib import Path

import numpy as np

from doubleback.report.accuracy_figures import attack_curves, model_figure, worst_curve, worst_figure
from doubleback.report.folders import read_folders
from doubleback.report.studies import Study
from tests.report.synthetic import write_json
from tests.report.synthetic_studies import EPS, make_robustness

PLAIN = "plain/classifier"


def study(folder: Path) -> Study:
    return read_folders([folder]).robustness[0]


def test_curves(tmp_path: Path) -> None:
    found = study(make_robustness(tmp_path / "r"))
    record = found.model(PLAIN)
    worst = worst_curve(found, PLAIN)
    assert worst.values.tolist() == [0.97, *(record["worst_case"][eps] for eps in EPS)]
    assert (worst.low <= worst.values).all()
    assert (worst.values <= worst.high).all()
    by_name = {curve.label: curve.values.tolist() for curve in attack_curves(found, PLAIN)}
    assert list(by_name) == ["FGSM", "PGD", "APGD", "square", "noise", "transfer"]
    assert by_name["square"] == [0.97, *(record["robust_accuracy"]["square"][eps] for eps in EPS)]
    assert by_name["transfer"][1:] == [min(kept[eps] for kept in record["transfer"].values()) for eps in EPS]


def test_unknown_shares_are_left_out(tmp_path: Path) -> None:
    folder = make_robustness(tmp_path / "r")
    record = json.loads((folder / "results.json").read_text())
    record["models"][PLAIN]["worst_case"] = {"0.1": 0.3}
    record["models"][PLAIN]["transfer"] = {"lenet": {"0.05": "many"}}
    record["models"]["lenet"]["worst_case"] = {}
    write_json(folder / "results.json", record)
    found = study(folder)
    assert np.isnan(worst_curve(found, PLAIN).values).tolist() == [False, True, False, True]
    assert "transfer" not in [curve.label for curve in attack_curves(found, PLAIN)]
    drawn = worst_figure(found, "w")
    assert drawn is not None
    assert ">plain</text>" in drawn
    assert ">lenet</text>" not in drawn


def test_labels_do_not_cover_each_other(tmp_path: Path) -> None:
    strength = {f"m{i}": 0.03 + 1e-4 * i for i in range(6)}
    drawn = worst_figure(study(make_robustness(tmp_path / "r", strength=strength)), "w")
    assert drawn is not None
    heights = [float(y) for y in re.findall(r'<text[^>]*?(?:y="|translate\(\S+ )([\d.]+)[^>]*>m\d<', drawn)]
    assert len(heights) == 6
    assert min(np.diff(sorted(heights))) > 9, "points: the height of the text"


def test_said_for_those_who_cannot_see(tmp_path: Path) -> None:
    drawn = model_figure(study(make_robustness(tmp_path / "r")), "lenet", "m")
    assert drawn is not None
    assert 'aria-label="Accuracy of lenet at eps 0, 0.05, 0.1, 0.2: FGSM 97.0%, ' in drawn
    assert "var(--run-2)" in drawn
