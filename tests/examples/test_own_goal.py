"""The example of a goal of one's own runs as it is written, and its page shows the goal."""

from pathlib import Path

import pytest

from doubleback.files import read_json
from doubleback.imports import named_object

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_goal.py"


@pytest.mark.slow
def test_a_goal_of_ones_own_is_audited_and_reported(tmp_path: Path) -> None:
    page = named_object(f"{EXAMPLE}:main")(["--output", str(tmp_path), "--epochs", "12", "--pairs", "2"])
    attack = read_json(tmp_path / "audit" / "run" / "results.json")["attacks"]["darken"]
    assert attack["targeted"] is False
    assert attack["about"] == "takes the ink out of the reconstruction"
    assert "darken" in page.read_text(encoding="utf-8").lower()
