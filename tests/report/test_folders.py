"""Every mix of folders becomes one page, each thing under its own name and colour."""

import json
from pathlib import Path

import pytest
from markupsafe import Markup

from doubleback.report import write_report
from doubleback.report.folders import read_folders
from doubleback.report.headline import headline
from tests.report.synthetic import make_audit, make_demo, make_run, write_json
from tests.report.synthetic_studies import (
    make_classifier_run,
    make_classify,
    make_robustness,
    make_transition,
)
from tests.report.test_page import SECTIONS, Page, heading

ALL = [*SECTIONS[:4], "robustness", "transition", *SECTIONS[4:]]


def sections(path: Path) -> list[str]:
    return [value for value in Page(path).attributes("id") if value in ALL]


def test_a_folder_of_folders_of_every_kind(mixed: Path) -> None:
    found = read_folders([mixed])
    assert [run.name for run in found.runs] == ["plain", "hardened", "lenet"]
    assert [study.name for study in found.robustness] == ["robustness"]
    assert [study.name for study in found.transitions] == ["transition"]
    assert found.names == ["plain", "hardened", "lenet", "plain/classifier", "hardened/classifier"]


def test_the_page_of_every_kind(mixed_page: Path) -> None:
    assert sections(mixed_page) == ALL
    parsed, text = Page(mixed_page), mixed_page.read_text(encoding="utf-8")
    ids = parsed.attributes("id")
    assert len(ids) == len(set(ids))
    assert "#0a0b" not in text
    assert "nan" not in parsed.text.lower()
    assert parsed.count("script") == 2, "the slider's"
    assert all(attrs.get("alt") for tag, attrs in parsed.tags if tag == "img")
    for command in ("train --model", "classify", "robustness", "transition", "report mixed"):
        assert f"doubleback {command}" in parsed.text


def test_a_models_colour_is_its_runs(mixed: Path, tmp_path: Path) -> None:
    found = read_folders([mixed])
    expected = {"plain/classifier": 0, "hardened/classifier": 1, "lenet": 2}
    assert found.robustness[0].places == expected
    assert found.transitions[0].places == {"plain/classifier": 0, "hardened/classifier": 1}, "by name, as before"
    alone = read_folders([make_robustness(tmp_path / "r", strength={"b": 0.1, "a": 0.1})])
    assert alone.robustness[0].places == {"b": 0, "a": 1}


def test_only_what_is_there(tmp_path: Path) -> None:
    robust, turned = make_robustness(tmp_path / "r", strength={"a": 0.1}), make_transition(tmp_path / "t", models=["a"])
    assert sections(write_report([robust])) == ["robustness", "repeat", "glossary"]
    assert sections(write_report([turned])) == ["transition", "repeat", "glossary"]
    run = make_classifier_run(tmp_path / "lenet")
    assert sections(write_report([run])) == ["figures", "training", "repeat"]
    classified = make_classify(tmp_path / "vae" / "classifier", make_run(tmp_path / "vae"))
    assert sections(write_report([classified])) == ["figures", "repeat"]


def test_a_classifier_run_shows_its_accuracy_and_its_curves(tmp_path: Path) -> None:
    path = write_report([make_classifier_run(tmp_path / "lenet")])
    parsed = Page(path)
    assert heading(path) == "How much lenet can withstand is not known: there is no attack here."
    assert {"0.9844", "0.0521"} <= set(parsed.attributes("value"))
    assert parsed.count("svg") == 2
    assert "AUDDC" not in parsed.text


def test_a_classify_folder_is_joined_to_its_run_or_stands_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "vae")
    folder = make_classify(run / "classifier", run)
    (joined,) = read_folders([tmp_path / "runs"]).runs
    assert joined.classifier is not None
    assert joined.reconstructs
    assert {"95.12%", "2.885"} <= set(Page(write_report([run])).text.split())
    (alone,) = read_folders([folder]).runs
    assert (alone.name, alone.reconstructs) == ("vae/classifier", False)
    (other,) = read_folders([make_classify(tmp_path / "mixtures", run)]).runs
    assert other.name == "mixtures"


def test_the_classifier_of_an_earlier_training_is_not_its_runs(tmp_path: Path) -> None:
    run = make_run(tmp_path / "vae")
    make_classify(run / "classifier", run)
    make_run(run, seed=7)
    found = read_folders([run]).runs
    assert [(one.name, bool(one.results), bool(one.classifier)) for one in found] == [
        ("vae", True, False),
        ("vae/classifier", False, True),
    ]


def test_unaudited_autoencoders_beside_classifiers(tmp_path: Path) -> None:
    folders = [make_classifier_run(tmp_path / "lenet"), make_run(tmp_path / "vae")]
    for folder in folders:
        (folder / "log.csv").unlink()  # there is less to draw
    path = write_report(folders, tmp_path / "out.html")
    assert heading(path) == "How much vae can withstand is not known: there is no audit here."
    assert "gives the multiple of vae" in " ".join(Page(path).text.split())


def test_studies_of_the_same_name(tmp_path: Path) -> None:
    folders = [make_robustness(tmp_path / data / "robust", strength={"a": 0.1}) for data in ("mnist", "svhn")]
    path = write_report(folders, tmp_path / "out.html")
    assert [study.name for study in read_folders(folders).robustness] == ["mnist/robust", "svhn/robust"]
    assert heading(path).startswith("mnist/robust: At eps 0.1")
    ids = Page(path).attributes("id")
    assert len(ids) == len(set(ids))


def test_names_are_escaped(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    robust = make_robustness(tmp_path / "<b>r", strength={bad: 0.1, "a/<i>": 0.1}, flagged=[bad])
    turned = make_transition(tmp_path / "t", models=[bad], judge="<script>")
    for folder in (robust, turned):
        path = folder / "config.json"
        write_json(path, json.loads(path.read_text()) | {"command": [bad]})
    parsed = Page(write_report([robust, turned], tmp_path / "out.html"))
    assert parsed.count("script") == 0
    assert bad in parsed.text


@pytest.mark.parametrize("kind", ["robustness", "transition"])
def test_studies_with_next_to_nothing_in_them(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "bare"
    for file, record in (
        ("config.json", {"robustness": {}} if kind == "robustness" else {"transition": {}}),
        ("results.json", {}),
    ):
        write_json(folder / file, {"schema": 1, **record})
    assert "not known" in heading(write_report([folder]))
    write_json(folder / "results.json", {"schema": 1, "eps": ["0.1"], "models": {"a": {}, "b": None}, "classes": []})
    path = write_report([folder])
    assert "not known" in heading(path)
    assert Page(path).count("svg") == 0


def test_audits_come_first(tmp_path: Path) -> None:
    def said(*folders: Path) -> tuple[str, list[str]]:
        found = headline(read_folders(folders))
        return found.sentence.striptags(), [Markup(note).striptags() for note in found.notes]

    robust = make_robustness(tmp_path / "robustness")
    sentence, notes = said(robust, make_demo(tmp_path / "demo"))
    assert sentence.startswith("hardened withstands")
    assert any(note.startswith("At eps 0.1") for note in notes)
    run = make_run(tmp_path / "run")
    assert said(run, robust)[0].startswith("At eps")
    make_audit(run / "audit", run)
    assert said(run, robust)[0].startswith("run withstands")
