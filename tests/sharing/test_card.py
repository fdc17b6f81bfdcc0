"""The card says what the figures say, in words and in the hub's metadata; nothing of it needs torch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from doubleback.report.runs import RunFolder, read_run
from doubleback.sharing.card import Card
from tests.report.synthetic import change, make_audit, make_run, read_json, write_json
from tests.report.synthetic_budgets import with_budgets


def read(folder: Path, license: str = "unknown", name: str = "owner/name") -> Card:
    run: RunFolder = read_run(folder, read_json(folder / "config.json"))
    return Card(name, run, "VAE", license)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = make_run(tmp_path / "plain", data="mnist")
    make_audit(folder / "audit", folder)
    return folder


def with_flag(run: Path) -> None:
    record = read_json(run / "audit" / "results.json")
    record["flags"] = {"masked": "the gradient is masked"}
    write_json(run / "audit" / "results.json", record)


def test_the_words(run: Path) -> None:
    text = read(run).text
    worst = read_json(run / "audit" / "results.json")["attacks"]["worst_case"]["auddc"]["envelope"]
    low, high = worst["ci95"]
    assert f"| worst-case AUDDC | {worst['mean']:.3f} [{low:.3f}, {high:.3f}] |" in text
    assert "| reconstruction error, L2, test images | 2.885 |" in text
    for said in (
        "# name",
        "This is an autoencoder of the class VAE. It learned from mnist images",
        "It was trained without a defence.",
        "The attacker pays for every change of the image, at every price; goals: latent, output.",
        "20 pairs",
        "doubleback train --data digits --penalty none --output plain",
        'doubleback.VAE.from_pretrained("owner/name")',
        "doubleback audit hub:owner/name --data mnist",
        "Flags: none; every check passed.",
        "mnist (ylecun/mnist on the hub). Licence, as its page on the hub or its authors say: MIT.",
        "Licence of the weights: unknown",
    ):
        assert said in text
    assert "not to be trusted" not in text
    assert str(run.parent) not in text


def test_flags_stand_at_the_top(run: Path) -> None:
    with_flag(run)
    lines = read(run).text.split("---\n", 2)[2].split("\n\n")
    assert lines[0].strip() == "# name"
    assert lines[1].startswith("> **The figures below are not to be trusted.**")
    assert "> - the gradient is masked" in lines[1]
    assert read(run).eval_results is None  # where a figure stands without its flags, it does not stand
    found = {one["type"] for index in read(run).metadata["model-index"][0]["results"] for one in index["metrics"]}
    assert found == {"reconstruction_l2"}


def test_the_metadata_is_read_by_the_hubs_own_client(run: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(read(run, "mit").text)
    data = ModelCard.load(tmp_path / "README.md").data
    assert data.library_name == "doubleback"
    assert data.license == "mit"
    assert data.datasets == ["ylecun/mnist"]
    assert data.tags == ["doubleback", "autoencoder", "adversarial-robustness", "plain"]
    found = {one.metric_type: one for one in data.eval_results or []}
    results = read_json(run / "audit" / "results.json")["attacks"]["worst_case"]["auddc"]["envelope"]
    assert found["worst_case_auddc"].metric_value == pytest.approx(results["mean"], abs=1e-6)
    assert found["worst_case_auddc"].metric_args["ci95"] == pytest.approx(results["ci95"], abs=1e-6)
    assert found["worst_case_auddc"].dataset_type == "ylecun/mnist"
    assert found["reconstruction_l2"].metric_name == "reconstruction error, L2, test images"


def test_eval_results(run: Path) -> None:
    entries: list[dict[str, Any]] = yaml.safe_load(read(run).eval_results or "")
    assert {one["dataset"]["id"] for one in entries} == {"ylecun/mnist"}
    assert {one["dataset"]["task_id"] for one in entries} >= {"worst_case_auddc", "reconstruction_l2"}
    assert all(isinstance(one["value"], float) and "goals: latent, output" in one["notes"] for one in entries)


def test_figures_stand_under_the_images_that_they_are_of(run: Path) -> None:
    audit = read_json(run / "audit" / "config.json")["audit"] | {"data": "svhn"}
    change(run / "audit" / "config.json", audit=audit)
    card = read(run)
    attacked, untouched = card.metadata["model-index"][0]["results"]
    assert attacked["dataset"] == {"name": "svhn, test images", "type": "ufldl-stanford/svhn"}
    assert "worst_case_auddc" in {one["type"] for one in attacked["metrics"]}
    assert untouched["dataset"] == {"name": "mnist, test images", "type": "ylecun/mnist"}
    assert [one["value"] for one in untouched["metrics"]] == [pytest.approx(2.885, abs=1e-3)]
    assert {one["dataset"]["id"] for one in yaml.safe_load(card.eval_results or "")} == {"ufldl-stanford/svhn"}


def test_text_of_a_strangers_files_is_text(run: Path) -> None:
    results = read_json(run / "audit" / "results.json")
    results["flags"] = {"x": "a\n\n# hello <script>alert(1)</script> [go](http://x)"}
    results["attacks"]["latent"]["about"] = "b\n## there"
    write_json(run / "audit" / "results.json", results)
    change(run / "config.json", command=["doubleback", "train\n```\n# Verified by the hub\n<b>x</b>"])
    lines = read(run).text.split("\n---\n", 1)[1].splitlines()
    heads = [line for line in lines if line.startswith("#")]
    assert heads == [
        "# name",
        "## What it withstands",
        "## Limits",
        "## Use it",
        "## Repeat it",
        "## Data and licences",
    ]
    fenced = lines.index("````sh"), lines.index("````")
    assert any("Verified by the hub" in line for line in lines[fenced[0] : fenced[1]])
    outside = "\n".join(lines[: fenced[0]] + lines[fenced[1] :])
    assert "<script>" not in outside.replace("\\<script", "")
    assert "](http" not in outside.replace("\\](http", "")


def test_images_that_are_not_on_the_hub(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "plain", data="/home/me/my photos")
    make_audit(folder / "audit", folder)
    card = read(folder)
    assert card.eval_results is None
    assert "datasets" not in card.metadata
    assert "/home/me" not in card.text
    assert "It learned from my photos images" in card.text
    assert "Images: my photos. Licence: unknown" in card.text


def test_without_an_audit_nobody_knows(tmp_path: Path) -> None:
    card = read(make_run(tmp_path / "plain"))
    assert "nobody has measured how well it withstands attacks" in card.text
    assert "worst-case" not in card.text
    assert card.eval_results is None


def test_budgets(run: Path) -> None:
    with_budgets(run / "audit", {"output": 4.0})
    audit = read_json(run / "audit" / "config.json")["audit"] | {"norm": "Linf", "eps": ["2/255", "8/255"]}
    change(run / "audit" / "config.json", audit=audit)
    card = read(run)
    assert "moves the image by at most 2/255, 8/255 (Linf)" in card.text
    assert "| damage at Linf 8/255 | 0.127 [0.114, 0.139] |" in card.text
    assert "damage_Linf_8_of_255" in str(card.eval_results)


@pytest.mark.parametrize(
    ("config", "says", "tag"),
    [
        ({"penalty": "reconstruction"}, "trained to withstand attacks, with double backpropagation", "hardened"),
        ({"penalty": "none"}, "It was trained without a defence.", "plain"),
    ],
)
def test_how_it_was_made(tmp_path: Path, config: dict[str, str], says: str, tag: str) -> None:
    card = read(make_run(tmp_path / "run", **config))  # type: ignore[arg-type]
    assert says in card.text
    assert tag in card.metadata["tags"]


def test_hardening_says_what_it_cost(run: Path) -> None:
    change(run / "config.json", harden={"penalty": "spectral", "within": "2%"})
    both = {"start": {"reconstruction_l2": 2.0}, "end": {"reconstruction_l2": 2.03}}
    change(run / "results.json", harden=both)
    said = read(run).text
    assert "hardened by `doubleback harden` (spectral within 2%)" in said
    assert "its reconstruction error changed by +1.5%" in said


def test_flagged_pairs_are_a_limit(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "plain")
    make_audit(folder / "audit", folder, pairs=20, flagged=3)
    limits = read(folder).text.split("## Limits")[1].split("##")[0]
    assert "3 pairs left out" in limits
    assert np.isfinite(read(folder).figures[0][2])
