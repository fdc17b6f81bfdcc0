"""Robustness and transition folders: what cannot be read is refused in one line, what may lack may lack."""

import json
from pathlib import Path

import numpy as np
import pytest

from doubleback.report import write_report
from doubleback.settings.ball import radius
from tests.report.synthetic import write_json
from tests.report.synthetic_studies import make_robustness, make_transition
from tests.report.test_page import Page
from tests.report.test_runs import refused

PLAIN = "plain/classifier"
WIDE = np.zeros((6, 8, 1, 28, 28), np.uint8)


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    make_robustness(tmp_path / "studies" / "robustness")
    make_transition(tmp_path / "studies" / "transition")
    return tmp_path / "studies"


@pytest.mark.parametrize("kind", ["robustness", "transition"])
def test_damaged_files(studies: Path, kind: str) -> None:
    data = (studies / kind / "images.npz").read_bytes()
    for damage in (b"", data[: len(data) // 2]):
        (studies / kind / "images.npz").write_bytes(damage)
        refused(studies, "not a readable NPZ")
    for file in ("results.json", "config.json"):
        text = (studies / kind / file).read_text()
        (studies / kind / file).write_text(text[:50])
        refused(studies, "not readable JSON")
        write_json(studies / kind / file, json.loads(text) | {"schema": 2})
        refused(studies, "schema 2, expected 1")


@pytest.mark.parametrize(
    ("file", "name", "array"),
    [
        ("robustness", "source", np.zeros((6, 28, 28), np.uint8)),
        ("robustness", f"{PLAIN}/x_adv", np.zeros((6, 2, 1, 28, 28), np.uint8)),
        ("robustness", f"{PLAIN}/x_adv", np.zeros((6, 3, 1, 28, 28))),
        ("robustness", f"{PLAIN}/x_adv", None),
        ("transition", "shown", np.array([0, 10, 5, 30, 40, 50, 60, 80])),
        ("transition", "shown", np.array([0, 10], np.uint8)),
        ("transition", "shown", np.zeros(0, int)),
        ("transition", "source_class", np.full(6, 10)),
        ("transition", "target_class", np.full(6, 0.5)),
        ("transition", "target_class", np.arange(5)),
        ("transition", f"{PLAIN}/images", WIDE[:, :3]),
        ("transition", f"{PLAIN}/reconstructions", WIDE[..., :14]),
        ("transition", f"{PLAIN}/probabilities", np.zeros((6, 80, 10))),
        ("transition", f"{PLAIN}/probabilities", np.zeros((6, 81, 9))),
        ("transition", f"{PLAIN}/steps", np.arange(3)),
        ("transition", f"{PLAIN}/steps", np.full(6, np.inf)),
        ("transition", "shown", np.array([0, 10, 20, 30, 40, 50, 60, np.inf])),
        ("transition", f"{PLAIN}/steps", None),
    ],
)
def test_arrays_of_other_shapes(studies: Path, file: str, name: str, array: np.ndarray | None) -> None:
    with np.load(studies / file / "images.npz") as archive:
        arrays = dict(archive) | {name: array}
    np.savez(studies / file / "images.npz", **{key: value for key, value in arrays.items() if value is not None})
    refused(studies, "write the file again")


def changed(path: Path, **changes: object) -> None:
    write_json(path, json.loads(path.read_text()) | changes)


def test_an_epsilon_that_is_no_number(studies: Path) -> None:
    for eps in ("small", "1/0", ""):
        changed(studies / "robustness" / "results.json", eps=[eps, "0.1", "0.2"])
        refused(studies, "is not a number")


def test_no_classes(studies: Path) -> None:
    changed(studies / "transition" / "results.json", classes=None)
    refused(studies, "names no classes")


def test_without_images(studies: Path) -> None:
    for kind in ("robustness", "transition"):
        (studies / kind / "images.npz").unlink()
    parsed = Page(write_report([studies]))
    assert parsed.count("img") == 0
    assert parsed.count("svg") == 4
    assert "Adversarial examples" not in parsed.text


def test_epsilons_as_typed() -> None:
    assert [radius(eps) for eps in ("0.1", "1e-1", "2/255")] == [0.1, 0.1, 2 / 255]
