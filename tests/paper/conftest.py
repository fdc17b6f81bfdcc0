"""One reproduction for all tests that only read."""

from pathlib import Path
from typing import Any

import pytest

from doubleback.paper.results import read_results
from tests.paper.synthetic import make_reproduction


@pytest.fixture(scope="session")
def reproduction(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_reproduction(tmp_path_factory.mktemp("reproduction") / "smoke")


@pytest.fixture(scope="session")
def results(reproduction: Path) -> dict[str, Any]:
    return read_results(reproduction)
