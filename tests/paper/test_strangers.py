"""A stranger's reproduction: what stands in its files is text in every page, table and drawing that is made of it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from doubleback.errors import InputError
from doubleback.paper.record import read_reproduction
from doubleback.paper.results import read_results
from doubleback.paper.writing import page, write_reproduction, write_tables
from tests.paper.synthetic import make_reproduction
from tests.report.synthetic import change, read_json
from tests.report.test_strangers import MARK, SCRIPT, harmless

WORDS = {
    "command",
    "data",
    "state",
    "scale",
    "norm",
    "eps",
    "kind",
    "penalty",
    "model",
    "key",
    "label",
}  # our own words


def marked(value: Any, key: str = "") -> Any:
    """The mark in every text that a stranger may choose."""
    if isinstance(value, dict):
        return {name: marked(part, name) for name, part in value.items()}
    if isinstance(value, list):
        return [marked(part, key) for part in value]
    return value + MARK if isinstance(value, str) and key not in WORDS else value


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every string of every JSON file is marked; one command is lost, for a reason with the mark."""
    folder = make_reproduction(tmp_path_factory.mktemp("strangers") / "smoke", without="runs/mnist-draw")
    for path in folder.rglob("*.json"):
        path.write_text(json.dumps(marked(read_json(path))))
    return folder


@pytest.mark.slow
def test_nothing_of_a_strangers_reproduction_runs(stranger: Path, tmp_path: Path) -> None:
    found = harmless(write_reproduction(stranger))
    assert found.text.count(SCRIPT) > 3
    for path in (stranger / "tables").glob("*.html"):
        harmless(path)
    for path in (stranger / "figures").glob("*.svg"):
        assert "<script" not in path.read_text(encoding="utf-8")
    for path in [stranger / "reproduction.md", *(stranger / "tables").glob("*.md")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<script|<img|\x1b", text), path
        assert "steal" in text or path.parent.name == "tables"


def test_a_table_of_results_that_were_forged(results: dict[str, Any], tmp_path: Path) -> None:
    """The page is a function of results.json, which may be anybody's."""
    forged = marked(json.loads(json.dumps(results | {"withheld": []})))
    text = page(forged, ["figure1"])
    assert "<script" not in text
    lines = [line for line in text.splitlines() if "steal" in line]
    assert lines
    assert not any(re.search(r"(?<!&)#\d+\b(?!;)", line) or "](" in line.replace("](../", "") for line in lines)
    write_tables(tmp_path, forged)
    for path in tmp_path.glob("*.html"):
        harmless(path)
    assert not any("<script" in path.read_text(encoding="utf-8") for path in tmp_path.glob("*.md"))


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"scale": "huge"},
        {"scale": ["smoke"]},
        {"stand_ins": {"imagenet": "faces"}},
        {"stand_ins": 3},
        {"machine": {"processor": "abacus"}},
        {"version": None},
        {"commands": ["train"]},
        {"commands": {"runs/a": {"command": "train"}}},
        {"commands": {"runs/a": {"command": [], "data": "", "state": "lost", "seconds": 1, "why": ""}}},
    ],
)
def test_a_record_that_is_not_as_it_is_written(changes: dict[str, Any], reproduction: Path, tmp_path: Path) -> None:
    (tmp_path / "reproduction.json").write_bytes((reproduction / "reproduction.json").read_bytes())
    change(tmp_path / "reproduction.json", **changes)
    with pytest.raises(InputError, match=r"reproduction\.json is not as doubleback writes it") as caught:
        read_reproduction(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("robustness/mnist/results.json", {"images": "many"}),
        ("robustness/mnist/results.json", {"eps": [0.1]}),
        ("robustness/mnist/results.json", {"models": {"mnist-mlp": {"clean_accuracy": 2}}}),
        ("figure3/results.json", {"judge": {"x": 1}}),
        ("figure6/results.json", {"models": {"mnist-vae-plain-0": {"ci95": {"judge": {"image": [1]}}}}}),
        ("runs/mnist-vae-plain-0/audit/config.json", {"audit": {"pairs": "20"}}),
    ],
)
def test_results_that_are_not_as_they_are_written(file: str, changes: dict[str, Any], tmp_path: Path) -> None:
    folder = make_reproduction(tmp_path / "smoke")
    change(folder / file, **changes)
    with pytest.raises(InputError, match=r"is not as doubleback writes it|write the file again"):
        read_results(folder)
