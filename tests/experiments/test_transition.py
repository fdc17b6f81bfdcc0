"""What `transition` leaves, refuses and keeps."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from doubleback.errors import InputError
from doubleback.experiments.transition import transition
from doubleback.settings import Walk
from doubleback.settings.commands import Transition
from tests.experiments.conftest import WORDS, snapshot


def test_transition_leaves_what_is_documented(mixture: Path, mlp: Path, tmp_path: Path) -> None:
    asked = Transition((mixture,), "9", "7", 3, Walk(eta=0.5, steps=12), mlp, output=tmp_path / "t")
    results = transition(asked, WORDS)
    assert json.loads((tmp_path / "t" / "results.json").read_text()) == results
    assert results["judge"] == "mlp"
    assert results["images"] == 3
    model = results["models"]["mixture"]
    assert set(model["judge"]) == {"image", "reconstruction", "source"}
    assert 0 <= model["ci95"]["judge"]["image"][0] <= model["judge"]["image"]
    with np.load(tmp_path / "t" / "images.npz") as arrays:
        steps = len(arrays["mixture/probabilities"][0]) - 1
        assert arrays["mixture/images"].shape == (3, len(arrays["shown"]), 1, 8, 8)
        assert arrays["mixture/reconstructions"].shape == arrays["mixture/images"].shape
        assert int(arrays["shown"][-1]) == steps == int(arrays["mixture/steps"].max())
        assert set(arrays["source_class"]) == {9}
        assert set(arrays["target_class"]) == {7}
        assert np.allclose(arrays["mixture/probabilities"].sum(2), 1, atol=1e-5)
    with np.load(tmp_path / "t" / "outcomes.npz") as arrays:
        assert set(arrays) == {f"mixture/{name}" for name in ("reached", *(f"judge/{of}" for of in model["judge"]))}
        assert arrays["mixture/reached"].mean() == pytest.approx(model["reached"])
        assert arrays["mixture/judge/image"].mean() == pytest.approx(model["judge"]["image"])


def test_transition_is_kept_and_not_overwritten(mixture: Path, mlp: Path, tmp_path: Path) -> None:
    asked = Transition((mixture,), count=4, walk=Walk(steps=2), output=tmp_path / "t")
    results = transition(asked, WORDS)
    assert results["judge"] is None
    assert "judge" not in results["models"]["mixture"]
    before = snapshot(tmp_path)
    assert transition(asked, ("another", "line")) == results
    for other, says in (
        (replace(asked, walk=Walk(steps=3)), "steps: 2 there, 3 here"),
        (replace(asked, judge=mlp), "made from other data or weights"),
    ):
        with pytest.raises(InputError, match=says):
            transition(other, WORDS)
    assert snapshot(tmp_path) == before


def test_what_is_refused(mixture: Path, mlp: Path, tmp_path: Path) -> None:
    asked = Transition((mixture,), output=tmp_path / "out")
    for changes, says in (
        ({"classifiers": ()}, "no classifier"),
        ({"classifiers": (mlp,)}, "no autoencoder"),
        ({"classifiers": (tmp_path,)}, "does not exist"),
        ({"judge": mixture}, "has no part"),
        ({"to": "X"}, "--to is 'X'"),
        ({"from_class": "X"}, "--from is 'X'"),
        ({"from_class": "7", "to": "7"}, "both 7"),
        ({"count": 10**6}, "count is 1000000"),
        ({"count": 0}, "count is 0"),
        ({"seed": -1}, "seed is -1"),
    ):
        with pytest.raises(InputError, match=says):
            transition(replace(asked, **changes), WORDS)  # type: ignore[arg-type]
        assert not (tmp_path / "out").exists(), says
