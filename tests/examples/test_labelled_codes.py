"""The example of labels in the encoder: from a run to a classifier that is attacked, and again from its checkpoint."""

import importlib.util
from pathlib import Path

import pytest

from doubleback.cli.main import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "labelled_codes.py"


def test_it_learns_chooses_and_attacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("labelled_codes", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    small = ["--data", "digits", "--epochs", "4", "--batch-size", "64"]
    for model, name in (("vae", "plain"), ("mlp", "other")):
        sizes = ["--model.latent", "8"] if model == "vae" else []
        assert main(["train", *small, "--model", model, *sizes, "--output", str(tmp_path / name)]) == 0
    few = ["--epochs", "4", "--weight", "300", "--shift", "1", "--eps", "0.02", "--images", "6", "--queries", "5"]
    words = [str(tmp_path / "plain"), "--against", str(tmp_path / "other"), *few, "--output", str(tmp_path / "out")]
    found = example.main(words)
    assert found["accuracy"] > 0.6
    assert 0 <= found["worst_case 0.02"] <= 1
    said = capsys.readouterr().out
    assert said.count("components: validation") == len(example.MIXTURES)
    assert "other worst case" in said
    assert example.main(words) == found  # the training is finished, and taken from the checkpoint
