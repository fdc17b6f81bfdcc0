"""Somebody's own objective trains like the house's: the loop knows its terms by name and its kind not at all."""

import ast
import csv
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from doubleback.data import ImageData
from doubleback.errors import DivergedError
from doubleback.training import loop
from tests.training.own import RateDistortion
from tests.training.runs import STEPS, Stop, dying, same, train, weights

TRAINING = Path(loop.__file__).parent


@pytest.fixture(scope="module")
def trained(tiny: ImageData, tmp_path_factory: pytest.TempPathFactory) -> tuple[RateDistortion, Path]:
    """And the folder of its log."""
    objective, folder = RateDistortion(), tmp_path_factory.mktemp("own")
    train(objective, tiny, folder=folder)
    return objective, folder


def test_its_terms_are_the_columns_of_the_log(trained: tuple[RateDistortion, Path]) -> None:
    """In their order, empty where a term was not taken, a mean over the steps that took it otherwise."""
    with (trained[1] / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    common = ["epoch", "step", "seconds", "learning_rate"]
    assert list(rows[0]) == [
        *common,
        "weight_of_spread",
        "loss",
        "rate",
        "distortion",
        "spread_of_codes",
        "validation_mse",
    ]
    assert [row["spread_of_codes"] != "" for row in rows] == [False, False, True, True]
    assert [float(row["weight_of_spread"]) for row in rows] == pytest.approx([0, 0, 0.2, 0.45])
    for row in rows[:2]:
        assert float(row["loss"]) == pytest.approx(float(row["rate"]) + float(row["distortion"]), rel=1e-5)
    assert float(rows[-1]["validation_mse"]) < float(rows[0]["validation_mse"])


def test_its_own_parameter_learns(trained: tuple[RateDistortion, Path]) -> None:
    """Towards the error of a pixel, from the variance 1."""
    assert trained[0].log_variance.item() < -0.01


def test_every_step_has_the_weight_of_its_step(trained: tuple[RateDistortion, Path]) -> None:
    objective = trained[0]
    assert objective.weights_seen == [objective.penalty_weight(step, STEPS) for step in range(STEPS)]


def test_its_terms_are_the_text_of_the_bar(tiny: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []

    @contextmanager
    def bar(name: str, total: float, shown: bool, completed: int) -> Iterator[Any]:
        assert (name, total, completed) == ("training", STEPS, 0)
        yield lambda _, text: texts.append(text)

    monkeypatch.setattr(loop, "progress_bar", bar)
    train(RateDistortion(), tiny)
    named = [[words.rpartition(" ")[0] for words in text.split("  ")] for text in texts]
    assert named[0] == ["rate", "distortion"]
    assert named[11] == ["rate", "distortion", "spread of codes"]
    assert all(math.isfinite(float(words.rpartition(" ")[2])) for words in texts[11].split("  "))
    assert len(texts) == STEPS


@pytest.mark.parametrize("stop", [7, 12])
def test_a_run_of_it_that_died_goes_on_bit_for_bit(
    trained: tuple[RateDistortion, Path], tiny: ImageData, tmp_path: Path, stop: int
) -> None:
    """Its own parameter and that one's moments among it."""
    broken, resumed = dying(RateDistortion(), stop), RateDistortion(seed=5)
    with pytest.raises(Stop):
        train(broken, tiny, folder=tmp_path)
    train(resumed, tiny, folder=tmp_path, resume=True)
    assert same(weights(resumed), weights(trained[0]))
    logs = [(folder / "log.csv").read_text().splitlines()[-1].split(",") for folder in (trained[1], tmp_path)]
    assert logs[0][3:] == logs[1][3:]


def test_its_own_parameter_is_taken_back_where_it_diverges(tiny: ImageData) -> None:
    objective, calls = RateDistortion(), 0

    def poison(gradient: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return gradient * math.nan if calls == 8 else gradient

    objective.log_variance.register_hook(poison)
    with pytest.raises(DivergedError, match="nan at step 9 of 20"):
        train(objective, tiny)
    five = RateDistortion()
    with pytest.raises(Stop):
        train(dying(five, 5), tiny)
    assert same(weights(objective), weights(five))


def test_the_loop_knows_no_objective_by_its_class() -> None:
    """Of the room of objectives it has the interface, and the function that a bare model goes through."""
    imported, asked = set(), []
    for path in TRAINING.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("doubleback.objective"):
                imported |= {name.name for name in node.names}
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("isinstance", "type")
            ):
                asked += [ast.unparse(node.args[0])]
    assert imported == {"TrainingObjective", "objective_of"}
    assert not [what for what in asked if "objective" in what or "model" in what]


def test_what_is_logged_is_the_mean_over_images(tiny: ImageData) -> None:
    """One step over all images: the rate is that of the weights that it started from."""
    rows = train(RateDistortion(), tiny, epochs=1, batch_size=160).rows
    with torch.no_grad():
        rate = RateDistortion().model(tiny.train.images.float() / 255).posterior.kl_to_standard()
    assert rows[0]["rate"] == pytest.approx(rate.mean().item(), rel=1e-5)
