"""One demo folder for all tests that only read."""

from pathlib import Path

import pytest

from doubleback.report import write_report
from tests.report.synthetic import make_demo
from tests.report.synthetic_studies import make_classifier_run, make_classify, make_robustness, make_transition


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo(tmp_path_factory.mktemp("report") / "demo")


@pytest.fixture(scope="session")
def page(demo: Path) -> Path:
    return write_report([demo], command="doubleback report demo")


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of every kind: runs with classifiers, one of them audited, robustness and transition."""
    folder = make_demo(tmp_path_factory.mktemp("report") / "mixed")
    for name in ("plain", "hardened"):
        make_classify(folder / name / "classifier", folder / name)
    make_classifier_run(folder / "lenet")
    make_robustness(folder / "robustness", flagged=["plain/classifier"], homes=folder)
    make_transition(folder / "transition")
    return folder


@pytest.fixture(scope="session")
def mixed_page(mixed: Path) -> Path:
    return write_report([mixed], command="doubleback report mixed")
