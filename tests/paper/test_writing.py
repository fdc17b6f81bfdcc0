"""The files of a reproduction: tables in three forms, figures in two, a page and a report, from what is on disk."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from doubleback.errors import InputError
from doubleback.paper.drawings import drawings
from doubleback.paper.results import read_results
from doubleback.paper.writing import page, write_reproduction
from tests.paper.synthetic import SCALE, make_reproduction
from tests.report.test_page import Page

FIGURES = [f"figure{number}" for number in range(1, 7)]
A_PERSONS = ("figures/figure7.png", "figures/figure1-talk.svg", "tables/table1.ods", "tables/table5.md")
EARLIER = ("figures/figure1.png", "tables/table2.csv")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_reproduction(tmp_path_factory.mktemp("written") / "smoke")
    assert write_reproduction(folder) == folder / "report.html"
    return folder


def test_every_table_and_figure_is_written(written: Path) -> None:
    for number in range(1, 5):
        stem = written / "tables" / f"table{number}"
        assert stem.with_suffix(".md").read_text(encoding="utf-8").startswith(f"**Table {number}.")
        with stem.with_suffix(".csv").open(newline="", encoding="utf-8") as stream:
            assert len(list(csv.DictReader(stream))) > 3
        assert Page(stem.with_suffix(".html")).count("table") >= 2
    for key in FIGURES:
        with Image.open(written / "figures" / f"{key}.png") as image:
            assert min(image.size) > 300
        assert "<svg" in (written / "figures" / f"{key}.svg").read_text(encoding="utf-8")


def test_the_report_shows_all_of_it(written: Path) -> None:
    parsed = Page(written / "report.html")
    ids = parsed.attributes("id")
    assert ids == ["claims", "table1", "table2", "table3", "table4", "figures", *FIGURES, "made"]
    assert all(attrs.get("alt") for tag, attrs in parsed.tags if tag == "img")
    text = parsed.text
    assert "nan" not in text.lower().split()
    assert "doubleback reproduce all --scale smoke" in text
    assert "at a size that proves nothing" in text


def test_no_path_of_the_machine_is_written(written: Path) -> None:
    for path in [
        *written.glob("tables/*"),
        written / "results.json",
        written / "report.html",
        written / "reproduction.md",
    ]:
        assert str(written) not in path.read_text(encoding="utf-8"), path


def test_the_page_is_a_function_of_results_json(written: Path) -> None:
    stored = json.loads((written / "results.json").read_text(encoding="utf-8"))
    assert stored["withheld"] == []
    assert page(stored, FIGURES) == (written / "reproduction.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(\.\./results/([^)]+)\)", page(stored, FIGURES))
    assert links
    assert all((written / link).is_file() for link in links)


@pytest.mark.slow
def test_it_is_the_same_however_often_it_is_written(written: Path) -> None:
    before = {path: path.read_bytes() for path in written.glob("*/*.*") if path.parent.name in ("tables", "figures")}
    write_reproduction(written)
    assert {path: path.read_bytes() for path in before} == before


def test_withheld_images_are_in_no_figure(reproduction: Path, results: dict[str, Any]) -> None:
    kept = {drawing.key: drawing for drawing in drawings(reproduction, results, ["celeba"])}
    assert list(kept) == FIGURES
    assert all("celeba" not in drawing.data for drawing in kept.values())
    every = {drawing.key: drawing for drawing in drawings(reproduction, results)}
    for key in ("figure4", "figure5"):
        assert "celeba" in every[key].data
        heights = [Image.open(io.BytesIO(found[key].encoded()["png"])).height for found in (kept, every)]
        assert heights[0] < 0.7 * heights[1]
    assert list(drawings(reproduction, results, ["mnist", "celeba"])) == []


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reproduction without DRAW, written where files of a person, of an earlier call and a link lay before."""
    home = tmp_path_factory.mktemp("lost")
    folder = make_reproduction(home / "smoke", without="runs/mnist-draw")
    for path in [home / "slides.svg", *(folder / name for name in [*A_PERSONS, *EARLIER])]:
        path.parent.mkdir(exist_ok=True)
        path.write_text("from before")
    (folder / "figures" / "figure1.svg").symlink_to(home / "slides.svg")
    write_reproduction(folder)
    return folder


@pytest.mark.slow
def test_what_is_lost_is_told_and_the_rest_is_written(lost: Path) -> None:
    found = read_results(lost)
    assert all("it is lost" in why for why in found["lost"].values())
    text = Page(lost / "report.html").text
    assert "Missing" in text
    assert "runs/mnist-draw-12-plain-0: it is lost" in text
    assert "VAE" in text
    assert {row["model"] for row in found["autoencoders"] if row["data"] == "mnist"} == {"vae"}


@pytest.mark.slow
def test_only_files_that_are_written_here_are_removed_and_nothing_behind_a_link(lost: Path) -> None:
    assert all((lost / name).read_text(encoding="utf-8") == "from before" for name in A_PERSONS)
    assert not (lost / "figures" / "figure1.png").exists(), "it is not drawn this time"
    assert (lost / "tables" / "table2.csv").read_text(encoding="utf-8") != "from before"
    assert not (lost / "figures" / "figure1.svg").is_symlink()
    assert (lost.parent / "slides.svg").read_text(encoding="utf-8") == "from before"
    behind = lost.parent / "elsewhere"
    (lost / "figures").rename(behind)
    (lost / "figures").symlink_to(behind)
    there = {path.name: path.read_bytes() for path in behind.iterdir()}
    with pytest.raises(InputError, match="figures is a link"):
        write_reproduction(lost)
    assert {path.name: path.read_bytes() for path in behind.iterdir()} == there


def test_pairs_without_a_meaningful_curve_are_not_drawn(tmp_path: Path) -> None:
    folder = make_reproduction(tmp_path / "smoke")
    path = folder / SCALE.autoencoder("mnist", "vae").run("plain") / "audit" / "curves.npz"
    with np.load(path) as archive:
        curves = {name: np.full_like(array, np.nan if "/" in name else array) for name, array in archive.items()}
    np.savez(path, **curves | {"flagged": np.ones(20, dtype=bool)})
    found = read_results(folder)
    assert "figure2" not in [drawing.key for drawing in drawings(folder, found)]
    vae = found["autoencoders"][0]
    assert (vae["key"], vae["kind"]) == ("vae", "hardened")
    assert vae["hardened"]["difference"]["latent"] is None


def test_a_folder_that_holds_no_reproduction_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"reproduction\.json does not exist"):
        write_reproduction(tmp_path)
