"""The example of the README runs, and shows what it says."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_model.py"


@pytest.mark.slow
def test_someone_elses_model_is_audited_and_hardened() -> None:
    spec = importlib.util.spec_from_file_location("own_model", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.main(["--pairs", "3", "--steps", "150", "--epochs", "12"])
    (_, plain), (_, hardened) = found["plain"], found["hardened"]
    assert hardened > 1.05 * plain
    assert found["hardened"][0] < 1.1 * found["plain"][0]
