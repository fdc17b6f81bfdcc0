"""What the page says of a hardened run: its budget, what it has cost, and that it is not the plain one."""

from pathlib import Path

import pytest

from doubleback.report import write_report
from doubleback.report.comparison import baseline
from doubleback.report.folders import read_folders
from tests.report.synthetic import change, make_run
from tests.report.test_page import Page

FOUND = {
    "within": 0.02,
    "start": {"reconstruction_l2": 2.078, "rate": 0.31},
    "end": {"reconstruction_l2": 2.111, "rate": 0.3125},
    "twin": {"reconstruction_l2": 1.946},
    "latents_moved": 0.226,
}


@pytest.fixture
def hardened(tmp_path: Path) -> Path:
    run = make_run(tmp_path / "hardened")
    change(run / "config.json", harden={"within": "2%", "penalty": "spectral"})
    change(run / "results.json", harden=FOUND)
    return run


def test_the_budget_and_what_it_cost_are_on_the_page(hardened: Path, tmp_path: Path) -> None:
    text = Page(write_report([make_run(tmp_path / "plain"), hardened], tmp_path / "page.html")).text
    for said in ("Hardening", "2.0%", "2.078", "2.111", "1.946", "0.310", "0.312", "22.6%"):
        assert said in text, said


def test_without_hardening_there_is_no_such_group(tmp_path: Path) -> None:
    page = write_report([make_run(tmp_path / "a"), make_run(tmp_path / "b", seed=1)], tmp_path / "page.html")
    assert "L2 of its twin" not in Page(page).text


def test_the_plain_run_is_what_it_is_compared_with(hardened: Path, tmp_path: Path) -> None:
    """Its settings are those of the plain one, whose weights it started from."""
    runs = read_folders([hardened, make_run(tmp_path / "plain")]).runs
    assert [run.is_plain for run in runs] == [False, True]
    assert baseline(runs) == 1
    change(hardened / "config.json", harden={"within": "2%", "penalty": "none"})
    assert read_folders([hardened]).runs[0].is_plain, "its twin is trained on without a penalty"
