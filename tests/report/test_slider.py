"""The slider over the distortion: its numbers are those of the files, its pictures are theirs, and it moves."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from doubleback.errors import InputError
from doubleback.report import write_report
from doubleback.report.folders import read_folders
from doubleback.report.pictures import DETAILS, blocks, change_of, shrunk_size
from doubleback.report.slider import Slider, sliders
from tests.report.driving import Driven
from tests.report.synthetic import BUDGETS, STOPS, change, digits, make_audit, make_demo, make_run
from tests.report.synthetic_budgets import made as make_budgets
from tests.report.test_browser import browser as browser
from tests.report.test_strangers import harmless


def arrays_of(audit: Path, file: str) -> dict[str, np.ndarray]:
    with np.load(audit / file) as stored:
        return dict(stored)


def only(folder: Path) -> Slider:
    """The one slider of these folders, at the finest detail."""
    (found,) = sliders(read_folders([folder]).runs, DETAILS[0])
    return found


def pixels(uri: str) -> np.ndarray:
    """(H, W) or (H, W, C)."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


def older(folder: Path) -> Path:
    """The same as an audit of an older version: without pictures at the stops."""
    for path in folder.rglob("audit/images.npz"):
        kept = {name: array for name, array in arrays_of(path.parent, path.name).items() if "stops" not in name}
        np.savez_compressed(path, **kept)
    return folder


def test_the_block_on_the_page_holds_the_numbers_of_the_files(page: Path, demo: Path) -> None:
    block, _ = harmless(page).scripts
    data: dict[str, Any] = json.loads(block)
    assert data["names"] == {"0": "plain", "1": "hardened"}
    assert [attack["title"] for attack in data["attacks"]] == ["Latent attack", "Output attack"]
    for attack, name in zip(data["attacks"], ("latent", "output"), strict=True):
        assert attack["stops"] == [0, *STOPS]
        assert attack["stops"][attack["start"]] == 0.25
        assert [pair["number"] for pair in attack["pairs"]] == [1, 2, 3, 4]
        for m, pair in enumerate(attack["pairs"]):
            for place, shot in zip(attack["runs"], pair["shots"], strict=True):
                curves = arrays_of(demo / data["names"][str(place)] / "audit", "curves.npz")
                images = arrays_of(demo / data["names"][str(place)] / "audit", "images.npz")
                u, v = np.array(shot["curve"]).T
                assert np.allclose(u, curves["grid"], atol=1e-4)
                assert np.allclose(v, curves[f"{name}/envelope"][m], atol=1e-4)
                assert np.allclose(shot["u"], [0, *images[f"{name}/stops/distortion"][m]], atol=1e-4)
                assert np.allclose(shot["v"], [1, *images[f"{name}/stops/adversarial_distance"][m]], atol=1e-4)


def test_a_sheet_holds_what_goes_in_what_changed_and_what_comes_out(demo: Path) -> None:
    found, images = only(demo), arrays_of(demo / "hardened" / "audit", "images.npz")
    pair = found.data["attacks"][1]["pairs"][2]
    width, height = pair["size"]
    sheet = pixels(pair["shots"][1]["sheet"]).reshape(3, height, len(STOPS) + 1, width).transpose(0, 2, 1, 3)
    source, went_in = images["source"][2, 0], images["output/stops/x_adv"][2, :, 0]
    assert (sheet[0] == [source, *went_in]).all()
    assert (sheet[2] == [images["source_reconstruction"][2, 0], *images["output/stops/reconstruction"][2, :, 0]]).all()
    changes = [change_of(source, x, factor) for x, factor in zip([source, *went_in], pair["factors"], strict=True)]
    assert (sheet[1] == changes).all()
    assert (sheet[1, 0] == 128).all()
    assert pair["factors"][1] > pair["factors"][-1] >= 1, "small changes are shown larger"


def test_an_audit_of_an_older_version_stops_at_its_budgets(tmp_path: Path) -> None:
    attack = only(older(make_demo(tmp_path / "demo"))).data["attacks"][0]
    assert attack["stops"] == [0, *BUDGETS]
    assert len(attack["pairs"]) == 4


def test_beside_an_older_audit_a_new_one_stops_where_that_does(tmp_path: Path) -> None:
    folder = make_demo(tmp_path / "demo")
    older(folder / "plain")
    attack = only(folder).data["attacks"][0]
    assert attack["stops"] == [0, *BUDGETS]
    assert attack["runs"] == [0, 1]


def test_runs_on_other_pairs_have_a_slider_each(tmp_path: Path) -> None:
    make_audit(make_run(tmp_path / "one") / "audit", tmp_path / "one")
    colour = digits(12, 3, 16)
    make_audit(make_run(tmp_path / "other", images=colour) / "audit", tmp_path / "other", images=colour)
    page = write_report([tmp_path], tmp_path / "page.html")
    assert [list(json.loads(block)["names"].values()) for block in harmless(page).scripts[:-1]] == [["one"], ["other"]]


def test_a_flagged_pair_is_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run, flagged=2)
    assert [pair["number"] for pair in only(run).data["attacks"][0]["pairs"]] == [3, 4]


@pytest.mark.parametrize("what", ["images.npz", "curves.npz", "reconstructions"])
def test_without_pictures_or_curves_there_is_no_block_and_no_script(what: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run)
    assert len(harmless(write_report([run])).scripts) == 2
    if what == "reconstructions":
        change(run / "audit" / "results.json", reconstruction_l2=None)
    else:
        (run / "audit" / what).unlink()
    assert harmless(write_report([run])).scripts == []
    assert 'class="mover"' not in write_report([run]).read_text(encoding="utf-8")


def test_eps_in_units_of_a_norm_have_no_curve_to_move_on(tmp_path: Path) -> None:
    assert sliders(read_folders([make_budgets(tmp_path / "run", {"output": 20})]).runs, DETAILS[0]) == []


BAD = {
    "stops": np.linspace(0.9, 0.1, len(STOPS)),
    "latent/stops/x_adv": np.zeros((4, 2, 1, 28, 28), dtype=np.uint8),
    "latent/stops/reconstruction": np.zeros((4, len(STOPS), 1, 14, 14), dtype=np.uint8),
    "latent/stops/distortion": np.zeros((4, 2)),
}


@pytest.mark.parametrize("name", BAD)
def test_pictures_of_other_shapes_are_refused(name: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    path = make_audit(run / "audit", run) / "images.npz"
    np.savez_compressed(path, **arrays_of(path.parent, path.name) | {name: BAD[name]})
    with pytest.raises(InputError, match=rf"images.npz: array '{name}' does not have .*; write the file again"):
        read_folders([run])


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    path = make_audit(run / "audit", run) / "images.npz"
    images = arrays_of(path.parent, path.name)
    images["latent/stops/adversarial_distance"][0, 3] = np.inf
    np.savez_compressed(path, **images)
    block, _ = harmless(write_report([run])).scripts
    shot = json.loads(block)["attacks"][0]["pairs"][0]["shots"][0]
    assert shot["v"][4] is None
    assert shot["v"][3] is not None


def test_a_shrunk_picture_is_the_mean_of_its_blocks() -> None:
    image = np.arange(2 * 5 * 4, dtype=np.uint8).reshape(2, 5, 4)
    assert shrunk_size((5, 4), 2) == (1, 1)
    assert shrunk_size((5, 4), 4) == (2, 2)
    assert shrunk_size((5, 4), None) == (5, 4)
    assert blocks(image, 2, 2).tolist() == [[[2, 4], [10, 12]], [[22, 24], [30, 32]]]


def noisy(count: int, size: int) -> np.ndarray:
    """Images that no format makes small."""
    rng = np.random.default_rng(0)
    return (digits(count, 3, size) // 2 + rng.integers(0, 120, (count, 3, size, size))).astype(np.uint8)


@pytest.mark.parametrize(("runs", "size"), [(4, 64), pytest.param(2, 256, marks=pytest.mark.slow)])
def test_a_page_has_at_most_two_megabytes(runs: int, size: int, tmp_path: Path) -> None:
    images = noisy(12, size)
    for place in range(runs):
        run = make_run(tmp_path / f"run{place}", images=images, seed=place)
        make_audit(run / "audit", run, images=images, strength=0.2 + 0.05 * place)
    page = write_report([tmp_path], tmp_path / "page.html")
    block, _ = harmless(page).scripts
    assert len(json.loads(block)["attacks"][0]["pairs"][0]["shots"]) == runs
    assert page.stat().st_size < 2_000_000


@pytest.fixture
def driven(browser: str, page: Path, tmp_path: Path) -> Iterator[Driven]:
    found = Driven(browser, page, tmp_path / "profile")
    yield found
    found.close()


def test_keys_move_pictures_points_and_words(driven: Driven, demo: Path) -> None:
    images = {run: arrays_of(demo / run / "audit", "images.npz") for run in ("plain", "hardened")}

    def words(place: int) -> str:
        v = [images[run]["latent/stops/adversarial_distance"][0, place - 1] for run in ("plain", "hardened")]
        plain, hardened = (f"{100 * (1 - one):.0f}\u00a0%" for one in v)
        limit = f"Distortion at most {STOPS[place - 1]:.2f}"
        return f"{limit}. What comes out of plain is {plain} of the way to the target, of hardened {hardened}."

    steps = [driven.seen()]
    driven.value("document.querySelector('.attacks input').focus()")
    for key in ("Tab", "Tab"):  # the pair, the slider
        driven.press(key)
    assert driven.seen()["focus"] == "range"
    for key in ("ArrowRight", "ArrowLeft", "End", "Home"):
        driven.press(key)
        steps.append(driven.seen())
    assert [step["at"] for step in steps] == [5, 6, 5, len(STOPS), 0]
    for step in steps[:4]:
        assert step["words"] == step["spoken"] == words(step["at"])
    assert steps[4]["words"].startswith("No attack. What comes out of plain is 0\u00a0% of the way to the target")
    assert steps[0]["pictures"] == steps[2]["pictures"]
    shown = [step["pictures"] for step in (steps[0], steps[1], steps[3], steps[4])]
    assert all(len(pictures) == 6 and len(set(pictures)) > 1 for pictures in shown)
    assert len({tuple(pictures) for pictures in shown}) == len({tuple(step["points"]) for step in steps}) == 4
    assert driven.errors() == []


def test_a_choice_of_attack_and_pair(driven: Driven, demo: Path) -> None:
    images = arrays_of(demo / "plain" / "audit", "images.npz")
    driven.value("document.querySelector('.attacks input').focus()")
    before = driven.seen()["pictures"]
    driven.press("ArrowRight")
    assert driven.seen()["focus"].startswith("attacks")
    driven.press("Tab")
    driven.press("ArrowRight")
    driven.until("document.querySelector('.end').alt == 'source of pair 2'")
    share = 100 * (1 - images["output/stops/adversarial_distance"][1, 4])
    seen = driven.seen()
    assert seen["words"].startswith(f"Distortion at most 0.25. What comes out of plain is {share:.0f}\u00a0%")
    assert not set(before) & set(seen["pictures"])


def test_a_finger_moves_it(driven: Driven) -> None:
    driven.ask("Emulation.setTouchEmulationEnabled", enabled=True)
    driven.touch(".control input", 0.98)
    assert driven.seen()["at"] == len(STOPS)
    driven.touch(".control input", 0.02)
    assert driven.seen()["at"] == 0
    assert driven.value("document.documentElement.scrollWidth") == 390, "nothing sticks out"


@pytest.mark.parametrize("how", ["print", "no script"])
def test_the_still_pictures_are_left(how: str, driven: Driven, page: Path) -> None:
    if how == "print":
        assert driven.value("document.querySelector('.mover').offsetHeight") > 300
        driven.ask("Emulation.setEmulatedMedia", media="print")
    else:
        driven.ask("Emulation.setScriptExecutionDisabled", value=True)
        driven.ask("Page.navigate", url=page.as_uri())
        driven.until("document.readyState == 'complete'")
    assert driven.value("document.querySelector('.mover').offsetHeight") == 0
    assert driven.value("[...document.querySelectorAll('.card img')].every(one => one.offsetHeight > 50)")
    assert driven.errors() == []


def test_no_other_script_runs(browser: str, page: Path, tmp_path: Path) -> None:
    """Were one to come into the page, the page's policy would stop it."""
    forged, text = tmp_path / "forged.html", page.read_text(encoding="utf-8")
    foreign = "<script>window.stolen = 1</script><img src='x' onerror='stolen = 1'></main>"
    forged.write_text(text.replace("</main>", foreign), encoding="utf-8")
    found = Driven(browser, forged, tmp_path / "profile")
    try:
        assert found.value("typeof stolen") == "undefined"
        assert found.value("document.querySelector('.mover').hidden") is False, "its own does"
    finally:
        found.close()
