"""The robustness section shows what results.json holds, at its place."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doubleback.report import write_report
from doubleback.report.accuracy_figures import attack_curves
from doubleback.report.folders import read_folders
from doubleback.report.robustness import robustness_view, white_box
from doubleback.report.studies import Study
from tests.report.synthetic import change, write_json
from tests.report.synthetic_studies import EPS, make_robustness
from tests.report.test_page import Page, numbers

PLAIN = "plain/classifier"


def study(folder: Path) -> Study:
    return read_folders([folder]).robustness[0]


def changed(folder: Path, model: str, **changes: Any) -> None:
    record = json.loads((folder / "results.json").read_text())
    record["models"][model] |= changes
    write_json(folder / "results.json", record)


def test_every_accuracy_is_on_the_page(mixed: Path, mixed_page: Path) -> None:
    shown = {float(value) for value in Page(mixed_page).attributes("value")}
    models = json.loads((mixed / "robustness" / "results.json").read_text())["models"].values()
    keys = ("clean_accuracy", "robust_accuracy", "worst_case", "transfer", "gradients")
    for model in models:
        assert set(numbers({key: model[key] for key in keys})) <= shown


def test_matrix(tmp_path: Path) -> None:
    found = study(make_robustness(tmp_path / "r"))
    matrix = robustness_view(found, "r").matrix
    assert [source.name for source in matrix.columns] == [*found.models, "mlp", "square", "noise"]
    assert [group.title for group in matrix.groups] == list(EPS)
    for group in matrix.groups:
        eps = group.title
        for i, row in enumerate(group.rows):
            model, cells = row.run.name, row.cells
            assert [cell.own for cell in cells] == [source.name == model for source in matrix.columns]
            record = found.model(model)
            for source, cell in zip(matrix.columns[:4], cells, strict=False):
                if source.name != model:
                    assert cell.value == record["transfer"][source.name][eps]
            attacks = record["robust_accuracy"]
            assert cells[i].value == min(attacks[name][eps] for name in ("fgsm", "pgd", "apgd"))
            assert cells[4].value == attacks["square"][eps]


def test_white_box_is_the_worst_gradient_attack_even_where_a_black_box_does_better(tmp_path: Path) -> None:
    folder = make_robustness(tmp_path / "r")
    accuracy = {"fgsm": {"0.1": 0.5}, "pgd": {"0.1": 0.4}, "square": {"0.1": 0.1}, "noise": {"0.1": 0.3}}
    changed(folder, PLAIN, robust_accuracy=accuracy)
    assert white_box(study(folder), PLAIN, "0.1") == ("pgd", 0.4)
    assert white_box(study(folder), PLAIN, "0.2") is None


def test_a_fired_check_is_shown_by_its_model(tmp_path: Path) -> None:
    path = write_report([make_robustness(tmp_path / "r", flagged=[PLAIN])])
    html = path.read_text(encoding="utf-8")
    fired = html[html.index('<li class="fired') : html.index("</li>", html.index('<li class="fired'))]
    assert "plain/<wbr>classifier" in fired
    assert "The gradient is zero on 31 % of the images: PGD cannot see." in fired
    text = Page(path).text
    assert text.count("no check fired (vanishing gradient, black box wins)") == 2
    assert "0.310" in text


def test_a_flag_without_its_check_and_a_model_without_checks(tmp_path: Path) -> None:
    folder = make_robustness(tmp_path / "r")
    changed(folder, PLAIN, checks=None, flags={"odd": "This is odd."})
    changed(folder, "lenet", checks={}, flags={})
    text = Page(write_report([folder])).text
    assert "This is odd." in text
    assert "no check was made" in text


def test_attacks_of_any_name(tmp_path: Path) -> None:
    folder = make_robustness(tmp_path / "r", strength={"a": 0.1})
    accuracy = {name: {"0.1": kept} for name, kept in (("zoo", 0.1), ("GRILL", 0.4), ("rays", 0.2), ("new_one", 0.5))}
    changed(folder, "a", robust_accuracy=accuracy, transfer={})
    said = {"zoo": {"title": "ZOO", "sees": "scores", "about": "estimates the gradient"}, "rays": {"sees": "nothing"}}
    change(folder / "results.json", attacks=said)
    assert white_box(study(folder), "a", "0.1") == ("GRILL", 0.4), "of those that follow the gradient"
    view = robustness_view(study(folder), "r")
    assert [(one.title, one.note) for one in view.matrix.columns] == [
        ("a", ""),
        ("ZOO", "estimates the gradient"),
        ("rays", "sees nothing"),
    ]
    assert [row.label for row in view.attacks[0].rows] == ["ZOO", "GRILL", "rays", "new one"]
    assert view.dashed == "scores only (ZOO), nothing (rays) or another model (transfer)"
    dashed = {curve.label: curve.dashed for curve in attack_curves(study(folder), "a")}
    assert dashed == {"ZOO": True, "GRILL": False, "rays": True, "new one": False}


def test_film_follows_the_epsilons_by_size(tmp_path: Path) -> None:
    folder = make_robustness(tmp_path / "r", strength={PLAIN: 0.05}, eps=("0.2", "0.05"))
    view = robustness_view(study(folder), "r")
    assert view.eps == ["0.05", "0.2"]
    with np.load(folder / "images.npz") as archive:
        images = dict(archive)
    images[f"{PLAIN}/x_adv"][:, 0] = 255
    np.savez(folder / "images.npz", **images)
    again = robustness_view(study(folder), "r")
    before, after = (dict(each.films[0].rows)[PLAIN] for each in (view, again))
    assert before[0] == after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize(
    "missing", ["robust_accuracy", "transfer", "worst_case", "ci95", "gradients", "clean_accuracy"]
)
def test_a_missing_piece(tmp_path: Path, missing: str) -> None:
    folder = make_robustness(tmp_path / "r", strength={PLAIN: 0.05, "b": 0.1})
    for model in study(folder).models:
        changed(folder, model, **{missing: None})
    text = Page(write_report([folder])).text
    assert "nan" not in text.lower()
    assert ("Gradient norms" in text) == (missing != "gradients")
    assert ("Clean accuracy" in text) == (missing != "clean_accuracy")
