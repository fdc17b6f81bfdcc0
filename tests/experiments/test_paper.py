"""The presets: each builds, is what `train` takes, and was measured as it says."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from doubleback.cli import _parsed
from doubleback.experiments.config import Sizes, Train
from doubleback.experiments.folders import build_model
from doubleback.experiments.paper import PRESETS, preset
from doubleback.experiments.run import _resolved


@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)])
@pytest.mark.parametrize("model", ["vae", "conv-vae", "draw", "ae", "conv-ae"])
def test_every_model_has_a_preset_that_builds(model: str, image_shape: tuple[int, int, int]) -> None:
    found = preset(model, image_shape)
    named = Train(output=Path("x"), model=model, sizes=Sizes(**found.sizes), **found.settings)  # type: ignore[arg-type]
    assert build_model(named, image_shape).image_shape == image_shape
    assert {"likelihood", "variance", "batch_size", "learning_rate", "epochs"} <= set(found.settings)


def test_presets_are_what_train_takes_where_nothing_is_said(tmp_path: Path) -> None:
    """And a weight that was measured for one penalty, likelihood and variance is not taken for another."""
    shape = (3, 32, 32)
    serving = preset("conv-vae", shape)
    said = Train(output=tmp_path, model="conv-vae", penalty="reconstruction")
    found = _resolved(said, None, shape)
    assert found.sizes == Sizes(**serving.sizes)
    assert all(getattr(found, name) == value for name, value in serving.settings.items())
    for change in ({"penalty": "output"}, {"likelihood": "bernoulli"}, {"variance": 0.1}):
        assert _resolved(replace(said, **change), None, shape).penalty_weight is None  # type: ignore[arg-type]
    assert _resolved(replace(said, epochs=3, sizes=Sizes(latent=5)), None, shape).epochs == 3


def test_what_presets_measured_was_trained_as_they_say() -> None:
    """Each command spells the preset's own model and data, and its penalty; a hardened run stands beside each plain."""
    for (model, data), found in PRESETS.items():
        for measured in found.measured:
            command = _parsed([*shlex.split(measured.command), "--output", "x"])
            assert isinstance(command, Train)
            attention = "-attention" if command.sizes.read_size else ""
            assert f"{command.model}{attention}" == model
            assert data in (command.data, {"faces": "celeba"}.get(command.data or ""))
        penalties = [_parsed([*shlex.split(m.command), "--output", "x"]).penalty for m in found.measured]  # type: ignore[union-attr]
        assert penalties == ["none", "reconstruction"] * (len(penalties) // 2)
