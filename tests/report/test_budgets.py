"""What attacks within budgets have done, as the page shows it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import Markup

from doubleback.errors import InputError
from doubleback.report import write_report
from doubleback.report.budgets import BudgetsView, budgets_view
from doubleback.report.folders import read_folders
from doubleback.report.headline import headline
from doubleback.report.pictures import change_of
from tests.report.synthetic import digits, make_audit, make_run, read_json, write_json
from tests.report.synthetic_budgets import U, figure, made
from tests.report.test_page import Page
from tests.report.test_strangers import harmless

HOSTILE = '"><script>steal()</script>'


def two(folder: Path) -> list[Path]:
    """Two runs, each attacked with the other's examples."""
    plain = made(folder / "plain", {"output": 20, "from-hard": 12, "scores": 25})
    return [plain, made(folder / "hard", {"output": 10, "from-plain": 8, "scores": 5})]


def view(*folders: Path) -> BudgetsView:
    return budgets_view(read_folders(folders).runs)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return two(tmp_path_factory.mktemp("budgets"))


@pytest.fixture(scope="module")
def page(folders: list[Path]) -> Path:
    return write_report(folders, folders[0].parent / "page.html")


def test_every_figure_of_the_record_is_on_the_page(page: Path, folders: list[Path]) -> None:
    shown = {float(attrs["value"] or "nan") for tag, attrs in Page(page).tags if tag == "data"}
    for folder in folders:
        results = read_json(folder / "audit" / "results.json")
        damage = [results["damage"]["area"], *results["damage"]["Linf"].values()]
        budgets = [at for name in results["attacks"] if name != "worst_case"
                   for at in results["attacks"][name]["budgets"]["Linf"].values()]  # fmt: skip
        assert {one["mean"] for one in [*damage, *budgets]} <= shown


def test_nothing_says_none(page: Path) -> None:
    text = Page(page).text
    assert not re.search(r"\bNone\b|\bnan\b", text)
    assert "No audit here" not in text
    assert "leave no curve over the distortion" in text


def test_headline(folders: list[Path]) -> None:
    found = headline(read_folders(folders))
    assert Markup(found.sentence).striptags() == (
        "Attacks within Linf 16/255 move the reconstruction of hard by 0.634 [0.570, 0.697], of plain by 1.584 "
        "[1.426, 1.743] (L2, lower is more robust)."
    )
    assert not [note for note in found.notes if "not ranked" in note]


def test_damage_of_other_attacks_is_not_ranked(tmp_path: Path) -> None:
    runs = [made(tmp_path / "a", {"output": 9}), made(tmp_path / "b", {"output": 9, "latent": 3})]
    notes = headline(read_folders(runs)).notes
    assert "a and b: attacked in different ways (output and latent, output), so they are not ranked." in notes


def test_epsilons_are_as_typed_and_by_size(folders: list[Path]) -> None:
    table = view(*folders).tables[0]
    assert table.eps == ["2/255", "8/255", "16/255"]
    damage, measures = table.groups
    assert [row.label for row in damage.rows] == ["Output", "From-hard", "Scores", "Worst of all"]
    assert damage.rows[0].cells[2].text == "1.255"
    assert damage.rows[0].cells[2].interval == "[1.129, 1.380]"
    assert [cell.text for cell in measures.rows[0].cells] == ["scores"] * 3
    assert [(row.label, row.cells[0].value) for row in measures.rows[1:]] == [("PSNR", 30 / 25)]


def test_transfer(folders: list[Path]) -> None:
    """On the diagonal the worst of the run's own attacks, not that which sees scores alone."""
    found = view(*folders).transfer
    assert [(one.name, one.place) for one in found.columns] == [("plain", 0), ("hard", 1)]
    title, rows = found.groups[-1].title, found.groups[-1].rows
    assert title == "Linf 16/255"
    cells = [[(cell.own, cell.value) for cell in row.cells] for row in rows]
    expected = [[(True, 20), (False, 12)], [(False, 8), (True, 10)]]
    assert cells == [[(own, pytest.approx(16 / 255 * slope)) for own, slope in row] for row in expected]
    assert rows[0].cells[0].interval.endswith("output")


def test_transfer_from_a_run_that_is_not_here(tmp_path: Path) -> None:
    found = view(made(tmp_path / "plain", {"output": 20, "from-hard": 12})).transfer
    assert [(one.name, one.place) for one in found.columns] == [("plain", 0), ("hard", None)]
    assert not view(made(tmp_path / "alone", {"output": 20})).transfer.groups


def test_rate_before_and_after(folders: list[Path], tmp_path: Path) -> None:
    """Of the attack that raises it most at the largest eps, whatever it does to the reconstruction."""
    assert not view(*folders).rates
    run = made(tmp_path / "codec", {"output": 9, HOSTILE.replace("/", ""): 3}, pictures=False)
    results = read_json(run / "audit" / "results.json")
    for name, rate in (("output", 1.125), (HOSTILE.replace("/", ""), 2.25)):
        results["attacks"][name]["budgets"]["Linf"]["16/255"]["rate"] = figure(rate)
    write_json(run / "audit" / "results.json", results | {"rate": 0.8125})
    (rate,) = view(run).rates
    assert (rate.before.value, rate.after.value, rate.budget) == (0.8125, 2.25, "Linf 16/255")
    text = " ".join(harmless(write_report([run])).text.split())
    assert '0.812 without an attack, 2.250 [2.025, 2.475] at Linf 16/255 ("><script>steal()<script> attack)' in text
    write_json(run / "audit" / "results.json", results | {"rate": "much"})
    assert view(run).rates[0].before.value is None
    assert "codec 2.250 [2.025, 2.475] at Linf" in " ".join(Page(write_report([run])).text.split())


def test_drawings(folders: list[Path]) -> None:
    linf, relative = view(*folders).panels
    assert "plain: 0.198, 0.792, 1.584" in linf.svg
    assert [f">{eps}<" in linf.svg for eps in ("8/255", "16/255")] == [True, True]
    assert "plain 0.789" in relative.svg
    assert relative.svg.count("var(--run-1)") > 1


def test_pictures(folders: list[Path]) -> None:
    """Of the attack that did the most, by size whatever the order in which they are stored."""
    plain, hard = view(*folders).films
    assert (plain.attack, hard.attack) == ("scores", "output")
    assert plain.eps == ["2/255", "8/255", "16/255"]
    assert plain.amplified == 7, "so that 16 of 255 is not cut"
    assert len(plain.images) == 3
    assert len({*plain.images[0].attacked, plain.images[0].source}) == 4
    text = Page(write_report(folders, folders[0].parent / "pictures.html")).text
    assert "change \u00d7\u20097" in text


def test_change_is_centred_on_grey() -> None:
    source = digits(1)[0]
    assert (change_of(source, source, 10) == 128).all()
    assert (change_of(np.zeros_like(source), np.full_like(source, 3), 10) == 158).all()
    assert (change_of(np.full_like(source, 255), np.zeros_like(source), 10) == 0).all()


def test_without_pictures(tmp_path: Path) -> None:
    run = made(tmp_path / "run", {"output": 9}, pictures=False)
    assert not view(run).films
    text = Page(write_report([run])).text
    assert "Before and after" not in text
    assert "No attacked images to show" in text


def test_older_folders_have_no_such_part(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run)
    assert not view(run)
    assert 'id="damage"' not in write_report([run]).read_text()


def test_relative_damage_beside_auddc(tmp_path: Path) -> None:
    """An audit without budgets: the curves are drawn as ever, and the damage over the distortion too."""
    run = make_run(tmp_path / "run")
    audit = make_audit(run / "audit", run)
    relative = {u: figure(float(u)) for u in U}
    damage = {"area": figure(0.5), "relative": relative}
    write_json(audit / "results.json", read_json(audit / "results.json") | {"damage": damage})
    assert [panel.title for panel in view(run).panels] == ["Relative damage"]
    text = Page(write_report([run])).text
    assert "withstands" in text
    assert "Damage, area" in text


def test_budgets_in_shares(tmp_path: Path) -> None:
    """They have a key of their own, so the relative damage over the distortion is still drawn."""
    run = made(tmp_path / "run", {"output": 9}, norm="L2 relative")
    found = view(run)
    assert [panel.title for panel in found.panels] == ["Damage, L2 relative", "Relative damage"]
    assert [row.label for row in found.tables[0].groups[0].rows] == ["Output", "Worst of all"]
    assert "Damage, L2 relative 8/255" in Page(write_report([run])).text


def test_names_are_escaped(tmp_path: Path) -> None:
    run = made(tmp_path / "run", {HOSTILE.replace("/", ""): 9, f"from-{HOSTILE}": 12, "output": 3})
    results = read_json(run / "audit" / "results.json")
    for key in ("damage", *(("attacks", name, "budgets") for name in results["attacks"] if name != "worst_case")):
        place = results["damage"] if key == "damage" else results[key[0]][key[1]][key[2]]
        place[HOSTILE] = {"1/2": figure(3.0)}
    write_json(run / "audit" / "results.json", results)
    with np.load(run / "audit" / "images.npz") as archive:
        images = dict(archive)
    for name in [name for name in images if "/eps/" in name]:
        images[name] = np.concatenate([images[name], images[name][:, :1]], axis=1)
    np.savez(run / "audit" / "images.npz", **images)
    found = harmless(write_report([run]))
    assert found.text.count(HOSTILE) > 10


@pytest.mark.parametrize(
    ("depth", "broken"),
    [(0, None), (0, [1]), (1, "x"), (2, 3), (2, {"x": 1}), (3, [1]), (4, {"mean": "x"}), (4, {"mean": 1e99})],
)
def test_a_damaged_record_leaves_parts_out(depth: int, broken: Any, tmp_path: Path) -> None:
    run = made(tmp_path / "run", {"output": 9}, pictures=False)
    results = read_json(run / "audit" / "results.json")
    for path in (("damage", "Linf", "2/255"), ("attacks", "output", "budgets", "Linf", "2/255")):
        place, last = results, min(depth, len(path) - 1)
        for key in path[:last]:
            place = place[key]
        place[path[last]] = broken
    write_json(run / "audit" / "results.json", results)
    assert "nan" not in Page(write_report([run])).text


def test_what_is_no_eps_is_left_out(tmp_path: Path) -> None:
    run = made(tmp_path / "run", {"output": 9}, pictures=False)
    results = read_json(run / "audit" / "results.json")
    for place in (results["damage"]["Linf"], results["attacks"]["output"]["budgets"]["Linf"]):
        place |= dict.fromkeys(["", "0", "-1", "nan", "inf", "1/0", "1/2/3", "<b>", "1e9"], figure(1.0))
    write_json(run / "audit" / "results.json", results)
    assert view(run).tables[0].eps == ["2/255", "8/255", "16/255"]
    assert "1/2/3" not in Page(write_report([run])).text


def test_pictures_of_other_shapes_are_refused(tmp_path: Path) -> None:
    run = made(tmp_path / "run", {"output": 9})
    with np.load(run / "audit" / "images.npz") as archive:
        images = dict(archive)
    images["output/eps/x_adv"] = images["output/eps/x_adv"][:, :2]
    np.savez(run / "audit" / "images.npz", **images)
    with pytest.raises(InputError, match=r"images\.npz: array 'output/eps/x_adv' does not have shape"):
        write_report([run])
    del images["output/eps/x_adv"]
    np.savez(run / "audit" / "images.npz", **images)
    with pytest.raises(InputError, match="output/eps/x_adv"):
        write_report([run])
