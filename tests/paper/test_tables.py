"""Each table says what the folders hold: ratios, spreads and differences by hand."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doubleback.metrics.intervals import bootstrap_interval
from doubleback.paper.compared import SIDES, classifiers, comparisons
from doubleback.paper.results import paired_difference, read_results
from doubleback.paper.scales import SCALES
from doubleback.paper.tables import NOTHING, ONE_SEED, Part, Table, markdown, spread, tables
from doubleback.report.cells import written
from tests.paper.synthetic import make_reproduction
from tests.report.synthetic import change, read_json
from tests.report.synthetic_studies import keep


def table(results: dict[str, Any], key: str) -> Table:
    return next(one for one in tables(results) if one.key == key)


def part(results: dict[str, Any], key: str, title: str) -> Part:
    return next(one for one in table(results, key).parts if one.title.startswith(title))


def row(results: dict[str, Any], key: str, title: str, label: str) -> list[str]:
    return next(cells for name, cells in part(results, key, title).rows if name.removesuffix(f" {ONE_SEED}") == label)


def test_the_difference_is_a_mean_over_seeds_pair_by_pair() -> None:
    plain = [np.array([0.1, 0.2, np.nan, 0.4]), np.array([0.2, 0.2, 0.3, 0.4])]
    hardened = [np.array([0.3, 0.5, 0.9, 0.5]), np.array([0.4, 0.3, 0.9, 0.5])]
    found = paired_difference(plain, hardened)
    assert found is not None
    assert found["mean"] == pytest.approx((0.2 + 0.2 + 0.1) / 3)
    assert found["pairs"] == 3
    assert found["settled"]
    low, high = found["ci95"]
    assert 0.0999 <= low < found["mean"] < high <= 0.2001


def test_a_difference_whose_interval_holds_0_is_not_settled() -> None:
    values = np.array([0.3, -0.2, 0.1, -0.3, 0.2, 0.0])
    found = paired_difference([np.zeros(6)], [values])
    assert found is not None
    assert not found["settled"]
    assert paired_difference([np.array([np.nan])], [np.array([0.3])]) is None
    alone = paired_difference([np.zeros(1)], [np.ones(1)])
    assert alone == {"mean": 1.0, "ci95": None, "settled": False, "pairs": 1}


def test_the_interval_covers_a_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(rng.normal(0.3, 0.1, 40)) for _ in range(60)]
    held = np.mean([ends is not None and ends[0] <= 0.3 <= ends[1] for ends in intervals])
    assert 0.85 <= held <= 1.0
    widths = [ends[1] - ends[0] for ends in intervals if ends]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(40), rel=0.1)


def test_table_1(results: dict[str, Any]) -> None:
    cells = row(results, "table1", "MNIST", "VAE")
    assert cells[:5] == ["2.885\n± 0.000", "2.986\n± 0.000", "2.986\n± 0.000", "1.03", "1.03"]
    assert cells[5:] == ["20.13\n± 0.000", "6.312\n± 0.000", "6.312\n± 0.000", "3.19", "3.19"]
    further = row(results, "table1", "MNIST", "VAE, lambda1 = lambda2 = 1")
    assert (further[2], further[4]) == (NOTHING, NOTHING), "nothing was hardened within 2 % there"
    assert row(results, "table1", "MNIST", "DRAW, window 12, T = 2")[0] == "2.885"
    assert [one.title for one in table(results, "table1").parts] == ["MNIST", "faces 64x64, in CelebA's place", "SVHN"]
    names = [name for name, _ in part(results, "table1", "MNIST").rows]
    assert [name for name in names if not name.endswith(ONE_SEED)] == ["VAE"]
    assert len(names) == 9
    record = table(results, "table1").records[0]
    assert record["plain_input_gradient_norm"] == pytest.approx(20.127)
    assert record["seeds"] == 2


def test_table_2(results: dict[str, Any]) -> None:
    cells = row(results, "table2", "MNIST", "VAE")
    vae = results["autoencoders"][0]
    areas = [np.mean(vae[kind]["auddc"]["latent"]["envelope"]) for kind in SIDES]
    assert cells[0].startswith(f"{areas[0]:.3f} → {areas[1]:.3f} → {areas[2]:.3f}\n±")
    assert cells[1].startswith(f"{areas[1] - areas[0]:+.3f}\n[+")
    assert cells[2].startswith(f"{areas[2] - areas[0]:+.3f}\n[+")
    assert "not settled" not in cells[1]
    assert cells[-1].startswith("2.885 → 2.986 → 2.986")
    assert cells[-2].startswith("-0.2"), "less damage than plain"
    heads = [f"{group} {name}" for group, names in part(results, "table2", "MNIST").heads for name in names]
    assert len(heads) == len(cells)
    assert heads[-2] == "damage: within 2 % - plain"
    assert any("3 pairs" in note or "20 pairs" in note for note in table(results, "table2").notes)
    record = table(results, "table2").records[0]
    assert record["plain_latent_reference"] == pytest.approx(areas[0] + 0.011)
    low, middle, high = (record[f"best_difference_damage{end}"] for end in ("_low", "", "_high"))
    assert low < middle < high < 0


def test_what_is_not_settled_is_marked(results: dict[str, Any]) -> None:
    other = copy.deepcopy(results)
    other["autoencoders"][0]["hardened"]["difference"]["output"] |= {"ci95": [-0.01, 0.2], "settled": False}
    assert row(other, "table2", "MNIST", "VAE")[4].endswith("[-0.010, +0.200] not settled")


def test_table_3(results: dict[str, Any]) -> None:
    heads = part(results, "table3", "MNIST").heads
    assert [group for group, _ in heads] == ["untouched:", "eps 0.05:", "eps 0.1:", "eps 0.2:"]
    cells = row(results, "table3", "MNIST", "encoder (DBP) + GMM")
    model = results["classifiers"]["mnist"]["models"]["mnist-vae-hardened-0"]
    assert cells[:2] == ["95.1", "97.0"]
    assert cells[2] == written(model["reconstruction_l2"])
    assert cells[3] == f"{100 * model['fgsm']['0.05']:.1f}"
    assert cells[4] == f"{100 * model['pgd']['0.05']:.1f}"
    assert cells[5].startswith(f"{100 * model['worst_case']['0.05']:.1f}\n[")
    assert row(results, "table3", "MNIST", "MLP")[::2][:2] == ["98.4", NOTHING], "it reconstructs nothing"
    assert row(results, "table3", "SVHN", "CvNet")


def test_table_4(results: dict[str, Any]) -> None:
    assert [group for group, _ in part(results, "table4", "MNIST").heads] == [
        "untouched:",
        "made on MLP, eps",
        "made on LeNet, eps",
    ]
    model = results["classifiers"]["mnist"]["models"]["mnist-vae-hardened-0"]
    shares = [model["transfer"]["mnist-lenet"][eps] for eps in ("0.05", "0.1", "0.2")]
    assert row(results, "table4", "MNIST", "encoder (DBP) + GMM")[4:] == [f"{100 * share:.1f}" for share in shares]
    assert row(results, "table4", "MNIST", "LeNet")[4:] == [NOTHING] * 3, "its own examples are white box"


def test_markdown_has_as_many_cells_in_every_row(results: dict[str, Any]) -> None:
    for one in tables(results):
        blocks = markdown(one).split("\n\n")
        for block in (block for block in blocks if block.startswith("|")):
            assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_a_table_without_results_is_left_out(results: dict[str, Any]) -> None:
    assert [one.key for one in tables(results | {"classifiers": {}})] == ["table1", "table2"]
    assert tables(results | {"classifiers": {}, "autoencoders": []}) == []


def test_spread_and_labels() -> None:
    assert spread([None, None]) == NOTHING
    labels = {one.name: one.label for data in ("mnist", "svhn") for one in classifiers(SCALES["smoke"], data)}
    assert labels["mnist-vae-lambda-1-0"] == "encoder (DBP, lambda1 = lambda2 = 1) + GMM"
    assert labels["svhn-conv-vae-plain-0"] == "encoder (no DBP) + GMM"
    assert labels["svhn-cvnet"] == "CvNet"
    assert [row.label for row in comparisons(SCALES["cpu"])][:3] == [
        "VAE",
        "VAE, lambda1 = lambda2 = 1",
        "VAE, output penalty, weight 10",
    ]


def test_rows_and_models_have_ids(results: dict[str, Any]) -> None:
    rows = [(row["data"], row["key"], row["model"], row["kind"]) for row in results["autoencoders"]]
    assert len(set(rows)) == len(rows)
    assert rows[1] == ("mnist", "vae", "vae", "lambda-1")
    assert ("mnist", "draw-12", "draw", "hardened") in rows
    for data, found in results["classifiers"].items():
        ids = {name: (one["kind"], one["penalty"]) for name, one in found["models"].items()}
        assert set(ids) == {one.name for one in classifiers(SCALES["smoke"], data)}
        assert {kind for kind, penalty in ids.values() if penalty is None} <= {"mlp", "lenet", "cvnet"}
    sixth = results["transitions"]["figure6"]["models"].values()
    assert [one["penalty"] for one in sixth] == ["plain", "hardened", "best", "lambda-1", "output-10", "labelled"]


def test_classifiers_are_compared_on_the_same_images_where_these_are_known(tmp_path: Path) -> None:
    folder = make_reproduction(tmp_path / "smoke")
    home = folder / "robustness" / "mnist"
    record = read_json(home / "results.json")
    first = np.arange(100) < np.array([[90], [80], [70]])[: len(record["eps"])]
    keep(home, {name: first if "hardened" in name else first & (np.arange(100) > 19) for name in record["models"]})
    found = read_results(folder)["classifiers"]
    differences = found["mnist"]["difference"]["hardened"]
    assert set(differences) == {name for name, one in found["mnist"]["models"].items() if one["kind"] != "mixture"}
    one = differences["mnist-lenet"][record["eps"][0]]
    assert (one["mean"], one["settled"], one["pairs"]) == (pytest.approx(0.2), True, 100)
    assert "difference" not in found["svhn"], "an older version's folder"


def test_audits_that_differ_in_more_than_the_model_are_no_row_of_table_2(tmp_path: Path) -> None:
    folder = make_reproduction(tmp_path / "smoke")
    path = folder / SCALES["smoke"].autoencoder("mnist", "vae").run("plain") / "audit" / "config.json"
    change(path, audit=read_json(path)["audit"] | {"steps": 1})
    found = read_results(folder)["autoencoders"][0]
    assert "audit" not in found
    assert not any("difference" in found[side] for side in SIDES)
