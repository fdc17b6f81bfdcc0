"""One demo folder for all tests that only read."""

from pathlib import Path

import pytest

from doubleback.report import write_report
from tests.report.synthetic import make_demo


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo(tmp_path_factory.mktemp("report") / "demo")


@pytest.fixture(scope="session")
def page(demo: Path) -> Path:
    return write_report([demo], command="doubleback report demo")
