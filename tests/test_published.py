"""What the repository says of the paper is what was measured: pages and tables follow from results/results.json."""

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks import frontier_page
from benchmarks import page as speed

from doubleback.paper.claims import claims
from doubleback.paper.joining import joined
from doubleback.paper.writing import page, write_tables

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((RESULTS / "results.json").read_text(encoding="utf-8"))
    return stored


def figures() -> list[str]:
    return sorted(path.stem for path in (RESULTS / "figures").glob("*.png"))


def test_the_page_says_what_was_measured(results: dict[str, Any]) -> None:
    assert (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8") == page(results, figures())
    assert len(claims(results)) >= 15


def test_the_tables_are_those_of_the_results(results: dict[str, Any], tmp_path: Path) -> None:
    write_tables(tmp_path, results)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {path.name: path.read_bytes() for path in (RESULTS / "tables").iterdir()} == written
    assert len(written) == 12


def test_every_figure_is_there_and_none_shows_what_may_not_be_passed_on(results: dict[str, Any]) -> None:
    assert figures() == [f"figure{number}" for number in range(1, 7)]
    assert all((RESULTS / "figures" / f"{figure}.svg").is_file() for figure in figures())
    assert set(results["stand_ins"]) <= set(results["withheld"])


def test_nothing_is_missing_and_no_path_of_a_machine_is_told(results: dict[str, Any]) -> None:
    assert results["lost"] == {}
    assert results["scale"] in ("cpu", "full")
    words = [word for command in results["commands"].values() for word in command]
    assert not [word for word in words if word.startswith("/")]


def test_the_results_are_those_of_the_parts(results: dict[str, Any]) -> None:
    assert json.loads(json.dumps(joined(sorted((RESULTS / "parts").iterdir())))) == results


@pytest.mark.parametrize("name", frontier_page.FRONTIERS)
def test_a_frontier_has_many_defences_of_one_model(name: str) -> None:
    """That the page shows these rows is compared with the other blocks, below."""
    rows = frontier_page.rows(name)
    assert len({row.identity for row in rows}) == 1
    assert len({row.defence.partition(":")[0] for row in rows if row.measured}) >= 9


@pytest.mark.parametrize("path", speed.PAGES, ids=lambda path: path.name)
def test_what_is_said_of_speed_was_measured(path: Path) -> None:
    """Every block follows from benchmarks/results, and those are figures of record: not quick, of code as committed."""
    text = path.read_text(encoding="utf-8")
    assert text == speed.filled(text, speed.tables())
    assert "<!-- from benchmarks: " in text
    for stored in speed.HOME.joinpath("results").glob("*[!k].json"):
        record = json.loads(stored.read_text(encoding="utf-8"))
        assert not record["quick"]
        assert not record["machine"]["changed"]
        known = {"real": "faces", "hardening-bf16": "faces", "literature": "mnist, svhn, faces", "bits": "faces"}
        known |= dict.fromkeys(("passes", "budget"), "random")
        assert record["data"] == known.get(stored.stem, "mnist")


def test_the_figures_in_the_words_of_the_readme_are_those_of_the_records(results: dict[str, Any]) -> None:
    """Its blocks are compared above; the sentences say how fast an audit is, and how many statements hold."""
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    stated = claims(results)
    verdicts = [one.verdict for one in stated]
    holds, partly, fails = (verdicts.count(verdict) for verdict in ("agrees", "in part", "does not"))
    best = sum(one.best is not None and one.best.verdict == "agrees" for one in stated)
    assert f"of {len(verdicts)} statements" in text
    assert f"{holds} hold here, {partly} hold in part and {fails} do not" in text
    assert f"with the best hardening {best} hold" in text
    speedup = json.loads((speed.HOME / "results" / "audit.json").read_text(encoding="utf-8"))["speedup"]
    assert f"an audit is {speedup:.0f} times faster" in text
