"""The transition section: each image over its step of the curve, the table true to results.json."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from doubleback.report import write_report
from doubleback.report.folders import read_folders
from doubleback.report.studies import Study
from doubleback.report.transition import MOVES, probability_figure, transition_view
from tests.report.synthetic import write_json
from tests.report.synthetic_studies import make_transition
from tests.report.test_page import Page

PLAIN, HARDENED = "plain/classifier", "hardened/classifier"


def study(folder: Path) -> Study:
    return read_folders([folder]).transitions[0]


def test_table(tmp_path: Path) -> None:
    folder = make_transition(tmp_path / "t")
    parsed = Page(write_report([folder]))
    assert "Judge: lenet" in parsed.text
    text = " ".join(parsed.text.split())
    assert "Final image \u2191is the target to the judge 15.0%" in text
    assert {"0.15", "0.3", "0.9", "0.98", "1.0", "52.4", "3.21", "4.21"} <= set(parsed.attributes("value"))
    assert "[10.7, 20.6]" in text


def test_without_a_judge(tmp_path: Path) -> None:
    text = Page(write_report([make_transition(tmp_path / "t", judge=None)])).text
    assert "Without a judge" in text
    assert "Final image" not in text
    assert "Reached" in text


def test_moves(tmp_path: Path) -> None:
    view = transition_view(study(make_transition(tmp_path / "t")), "t")
    assert len(view.moves) == MOVES
    move = view.moves[1]
    assert (move.source, move.target, move.shown[-1]) == ("1", "5", 80)
    assert [(track.model, track.steps) for track in move.tracks] == [(PLAIN, 80), (HARDENED, 65)]
    assert all(len(track.images) == len(track.reconstructions) == 8 for track in move.tracks)


@pytest.mark.parametrize("shown", [np.array([0, 10, 40, 80]), np.array([5]), np.arange(0, 81, 8)])
def test_a_step_lies_under_its_image(tmp_path: Path, shown: np.ndarray) -> None:
    """The target's probability jumps at a shown step: so does the curve, in the middle of that column."""
    folder = make_transition(tmp_path / "t", shown=shown)
    with np.load(folder / "images.npz") as archive:
        arrays = dict(archive)
    column = len(shown) // 2
    jump = (np.arange(shown[-1] + 1) >= shown[column]).astype(float)
    arrays[f"{PLAIN}/probabilities"][0, :, 4] = jump
    np.savez(folder / "images.npz", **arrays)
    drawn = probability_figure(study(folder), PLAIN, 0, "p")
    width, bold = (
        float(drawn.split('viewBox="')[1].split()[2]),
        re.findall(r'd="([^"]*)"[^>]*stroke-width: 2\.2', drawn),
    )
    points = [(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", bold[0])]
    high = min(y for _, y in points)
    first = min(x for x, y in points if y == high)
    assert first == pytest.approx((column + 0.5) * width / len(shown), abs=0.1)


def test_a_model_without_reconstructions(tmp_path: Path) -> None:
    folder = make_transition(tmp_path / "t")
    with np.load(folder / "images.npz") as archive:
        arrays = {name: array for name, array in archive.items() if name != f"{PLAIN}/reconstructions"}
    np.savez(folder / "images.npz", **arrays)
    assert transition_view(study(folder), "t").moves[0].tracks[0].reconstructions == []
    rows = re.findall(r"<small>(image|reconstruction)</small>", write_report([folder]).read_text(encoding="utf-8"))
    assert rows == ["image", "image", "reconstruction"] * MOVES


def test_probabilities_that_are_not_numbers(tmp_path: Path) -> None:
    folder = make_transition(tmp_path / "t", models=[HARDENED])
    with np.load(folder / "images.npz") as archive:
        arrays = dict(archive)
    arrays[f"{HARDENED}/probabilities"][:, 66:] = np.nan
    np.savez(folder / "images.npz", **arrays)
    assert "nan" not in Page(write_report([folder])).text.lower()


def test_names_without_folders_in_the_configuration(tmp_path: Path) -> None:
    folder = make_transition(tmp_path / "t")
    record = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {"schema": 1, "transition": record["transition"], "models": [PLAIN]})
    assert study(folder).places == {PLAIN: 0, HARDENED: 1}
    write_report([folder])
