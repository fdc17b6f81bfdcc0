"""Only like is ranked with like; the flagged stand last, struck through; the page needs nothing but itself."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doubleback.cli.main import main
from doubleback.errors import InputError
from doubleback.leaderboard import write_leaderboard
from doubleback.leaderboard.page import as_html, as_markdown
from doubleback.leaderboard.ranking import Table, tables
from doubleback.leaderboard.reading import read_audits
from tests.report.synthetic import change, digits, make_audit, make_run, read_json, write_json
from tests.report.synthetic_budgets import with_budgets


def victim(home: Path, name: str, strength: float, *, penalty: str = "none", **audit: Any) -> Path:
    """A run with its audit; the stronger the attack has to be, the more it withstands."""
    folder = make_run(home / name, penalty=penalty, seed=len(name))
    make_audit(folder / "audit", folder, strength=strength, **audit)
    return folder


def flag(folder: Path, says: str = "the gradient is masked") -> None:
    record = read_json(folder / "audit" / "results.json")
    write_json(folder / "audit" / "results.json", record | {"flags": {"masked": says}})


def ranked(*folders: Path) -> list[Table]:
    return tables(read_audits(folders))


@pytest.fixture
def three(tmp_path: Path) -> Path:
    victim(tmp_path, "middle", 0.3)
    victim(tmp_path, "best", 0.5, penalty="reconstruction")
    victim(tmp_path, "last", 0.2)
    return tmp_path


def test_the_hardest_to_steer_comes_first(three: Path) -> None:
    (table,) = ranked(three)
    assert [(one.place, one.name) for one in table.entries] == [(1, "best"), (2, "middle"), (3, "last")]
    assert [one.made for one in table.entries] == ["hardened", "plain", "plain"]
    areas = [one.worst.value for one in table.entries]
    assert areas == sorted(areas, key=lambda one: -(one or 0))
    assert all(one.worst.interval and one.damage.text and one.reconstruction.value for one in table.entries)
    assert "20 pairs" in table.search


def test_images_that_were_brought_to_a_size_are_said_with_it(tmp_path: Path) -> None:
    path = victim(tmp_path, "small", 0.3) / "audit" / "config.json"
    config = read_json(path)
    write_json(path, config | {"audit": config["audit"] | {"data": "faces", "image_size": 32}})
    (table,) = ranked(tmp_path)
    assert table.images == "faces at 32x32, test images"


def test_what_is_flagged_is_last_and_has_no_rank(three: Path) -> None:
    flag(three / "best")
    (table,) = ranked(three)
    assert [(one.place, one.name) for one in table.entries] == [(1, "middle"), (2, "last"), (None, "best")]
    page, text = as_html([table]), as_markdown([table])
    assert '<s class="struck">best</s>' in page
    assert "flag: the gradient is masked" in page
    assert re.search(r"^\|  \| ~~best~~ \| ~~hardened", text, flags=re.MULTILINE)
    assert '<s class="struck">middle</s>' not in page
    assert "- best: the gradient is masked" in text


def test_a_check_that_fired_is_named_once_and_with_its_attack(tmp_path: Path) -> None:
    folder = victim(tmp_path, "one", 0.3)
    results = read_json(folder / "audit" / "results.json")
    results["attacks"]["latent"]["flags"] = {"masked": "the gradient is masked"}
    results |= {"flags": {"masked": "the gradient is masked", "rows": "rows interact"}}
    write_json(folder / "audit" / "results.json", results)
    (table,) = ranked(tmp_path)
    assert table.entries[0].flags == ["rows interact", "latent: the gradient is masked"]


@pytest.mark.parametrize("change_of", ["steps", "attack", "pairs", "images", "seed", "split"])
def test_another_protocol_is_another_table(tmp_path: Path, change_of: str) -> None:
    """Everything that makes two audits differ beside the model parts them."""
    victim(tmp_path, "one", 0.3)
    more: dict[str, Any] = {}
    if change_of == "attack":
        more = {"attacks": {"latent": 1.0}}
    elif change_of == "pairs":
        more = {"pairs": 15}
    elif change_of == "images":
        more = {"images": digits(13)[1:]}
    other = victim(tmp_path, "other", 0.3, **more)
    config = read_json(other / "audit" / "config.json")
    if change_of in ("steps", "seed", "split"):
        value = {"steps": 7, "seed": 3, "split": "validation"}[change_of]
        change(other / "audit" / "config.json", audit=config["audit"] | {change_of: value})
    assert [[one.name for one in table.entries] for table in ranked(tmp_path)] == [["one"], ["other"]]


def test_fingerprints_of_the_images_decide(tmp_path: Path) -> None:
    one, other = victim(tmp_path, "one", 0.3), victim(tmp_path, "other", 0.3)
    change(one / "audit" / "config.json", images="aaa")
    change(other / "audit" / "config.json", images="bbb")
    assert len(ranked(tmp_path)) == 2
    change(other / "audit" / "config.json", images="aaa")
    assert len(ranked(tmp_path)) == 1


def test_models_of_other_training_data_and_other_feeding_stand_side_by_side(tmp_path: Path) -> None:
    """A leaderboard is of any autoencoder: what it learned from, and how it is fed, belongs to the model."""
    one, other = victim(tmp_path, "one", 0.3), victim(tmp_path, "other", 0.3)
    asked = read_json(other / "audit" / "config.json")["audit"]
    change(one / "audit" / "config.json", images="aaa")
    fed = {"image_size": 28, "data": "digits", "wrapping": {"input_range": [-1, 1]}}
    change(other / "audit" / "config.json", images="aaa", train={}, audit=asked | fed, run=None)
    (table,) = ranked(tmp_path)
    assert {entry.name: entry.learned for entry in table.entries} == {"one": "digits", "other": ""}


def test_two_that_cannot_be_told_apart_say_so(tmp_path: Path) -> None:
    victim(tmp_path, "a", 0.3)
    victim(tmp_path, "b", 0.3)
    (table,) = ranked(tmp_path)
    assert [bool(one.note) for one in table.entries] == [False, True]
    assert "cannot be told apart" in table.entries[1].note
    assert "| ≈ 2 |" in as_markdown([table])


def test_pairs_that_are_left_out_are_said(tmp_path: Path) -> None:
    victim(tmp_path, "one", 0.3, flagged=4)
    (table,) = ranked(tmp_path)
    assert table.entries[0].pairs == "16 of 20 pairs"


def test_budgets_are_ranked_by_damage(tmp_path: Path) -> None:
    for name, slope in {"weak": 6.0, "strong": 3.0}.items():
        folder = victim(tmp_path, name, 0.3)
        with_budgets(folder / "audit", {"output": slope})
        asked = read_json(folder / "audit" / "config.json")["audit"] | {"norm": "Linf", "eps": ["16/255", "2/255"]}
        change(folder / "audit" / "config.json", audit=asked)
    (table,) = ranked(tmp_path)
    assert [one.name for one in table.entries] == ["strong", "weak"]
    assert table.damage == "Linf 16/255"  # the largest, not the last
    assert "damage" in table.ranked_by


ANY = "The attacker pays for every change of the image, at every price; goals: latent, output."


@pytest.mark.parametrize(
    ("asked", "threat", "label", "search"),
    [
        ({}, ANY, "any price; latent, output", "20 pairs, 4 prices, 300 steps, seed 0"),
        (
            {"eps": ["16/255", 0.01, "2/255"]},
            "The attacker moves the image by at most 2/255, 0.01, 16/255 (Linf); goals: latent, output.",
            "Linf 2/255, 0.01, 16/255; latent, output",
            "20 pairs, 300 steps, seed 0",
        ),
        (
            {"eps": ["0.1", "1/0", "x"], "norm": "L2", "relative": True},
            "The attacker moves the image by at most 1/0, x, 0.1 (L2, as a share of the pair's distance); "
            "goals: latent, output.",
            "L2 1/0, x, 0.1; latent, output",
            "20 pairs, 300 steps, seed 0",
        ),
        (
            {"queries": 50, "coefficients": [0.5, 2.0], "restarts": 2},
            f"{ANY[:-1]}; also without gradients, by 50 questions for each image.",
            "any price; latent, output",
            "20 pairs, 2 prices, 300 steps, 2 restarts, seed 0",
        ),
        (
            {"survive": ["jpeg:75"], "defend": ["blur:1", "noise:0.1"], "source_label": "9", "target_label": 0},
            f"{ANY[:-1]}; the image survives jpeg:75; the model is defended by blur:1, noise:0.1.",
            "any price; latent, output; jpeg:75; blur:1, noise:0.1",
            "20 pairs from class 9 to class 0, 4 prices, 300 steps, seed 0",
        ),
        ({"target_label": 3}, ANY, "any price; latent, output", "20 pairs to class 3, 4 prices, 300 steps, seed 0"),
        ({"source_label": 0}, ANY, "any price; latent, output", "20 pairs from class 0, 4 prices, 300 steps, seed 0"),
    ],
)
def test_the_threat_and_the_search_in_words(
    tmp_path: Path, asked: dict[str, Any], threat: str, label: str, search: str
) -> None:
    folder = victim(tmp_path, "one", 0.3)
    config = read_json(folder / "audit" / "config.json")
    change(folder / "audit" / "config.json", audit=config["audit"] | asked)
    (table,) = ranked(tmp_path)
    assert (table.threat, table.label, table.search) == (threat, label, search)
    made = ("defended", "blur:1, noise:0.1") if "defend" in asked else ("plain", "")
    assert (table.entries[0].made, table.entries[0].how) == made


def test_folders_of_every_depth_and_each_once(three: Path) -> None:
    found = read_audits([three, three / "best", three / "best" / "audit"])
    assert sorted(run.name for run in found) == ["best", "last", "middle"]


def test_an_audit_in_a_models_folder_is_named_as_the_model(tmp_path: Path) -> None:
    folder = victim(tmp_path, "model", 0.3)
    (folder / "audit").rename(folder / "audit-svhn")
    assert [run.name for run in read_audits([tmp_path])] == ["model"]
    change(folder / "audit-svhn" / "config.json", run=None)
    assert [run.name for run in read_audits([folder / "audit-svhn"])] == ["model"]


def test_names_that_are_alike_get_the_folder_above(tmp_path: Path) -> None:
    for home in ("x", "y"):
        folder = victim(tmp_path / home, "plain", 0.3)
        (folder / "audit").rename(tmp_path / home / "audits")
        (tmp_path / home / "audits").rename(tmp_path / home / "plain" / "elsewhere")
        change(folder / "elsewhere" / "config.json", run=str(folder))
    (table,) = ranked(tmp_path)
    assert len({one.name for one in table.entries}) == 2


def test_the_page_stands_alone(three: Path) -> None:
    flag(three / "last")
    page = write_leaderboard([three], three / "page.html", three / "page.md", "doubleback leaderboard .")
    text = page.read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)|@import|url\(""", text)
    assert text.count("<script>") == 1
    for wanted in ("<label>Data <select", "<label>Threat <select", 'aria-live="polite"', 'name="viewport"'):
        assert wanted in text
    assert "prefers-color-scheme: dark" in text
    assert (three / "page.md").read_text().startswith("<!-- doubleback leaderboard -->")
    write_leaderboard([three], three / "page.html", three / "page.md")  # our own pages are replaced


class Tags(HTMLParser):
    """Every tag that the page opens."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)


def test_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    folder = victim(tmp_path, "a<img>|b_c_", 0.3)
    flag(folder, "see <video> | here")
    found = ranked(tmp_path)
    tags = Tags()
    tags.feed(as_html(found))
    assert not {"img", "video"} & tags.seen
    assert "a\\<img\\>\\|b\\_c\\_" in as_markdown(found)
    lines = [line for line in as_markdown(found).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {7}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("NOTHING", "is not a folder"),
        ("EMPTY", "no finished audit in it or below"),
        ("RUNS --output page.txt", "is not the name of such a file; end it in .html"),
        ("RUNS --output THEIRS.html", "is not a page that doubleback has written"),
        ("RUNS --markdown THEIRS.md", "is not a page that doubleback has written"),
        ("DAMAGED", "is not readable JSON"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    three: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, says: str
) -> None:
    monkeypatch.chdir(three)
    for name in ("EMPTY", "DAMAGED"):
        (three / name).mkdir()
    for name in ("config.json", "results.json"):
        (three / "DAMAGED" / name).write_text("{")
    for name in ("THEIRS.html", "THEIRS.md"):
        (three / name).write_text("mine")
    assert main(["leaderboard", *words.replace("RUNS", "best").split()]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1
    assert not (three / "leaderboard.html").exists()
    assert (three / "THEIRS.html").read_text() == (three / "THEIRS.md").read_text() == "mine"


def test_no_folder_is_no_leaderboard() -> None:
    with pytest.raises(InputError, match="no folder: no finished audit"):
        read_audits([])


def test_it_needs_no_torch(three: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from doubleback.leaderboard import write_leaderboard; "
        f"write_leaderboard([Path({str(three)!r})], Path({str(three / 'page.html')!r})); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_interval_of_one_pair(tmp_path: Path) -> None:
    victim(tmp_path, "one", 0.3, pairs=1)
    (table,) = ranked(tmp_path)
    assert np.isfinite(table.entries[0].worst.value or np.nan)
    assert "1 pair," in table.search


def test_a_model_that_reconstructs_nothing_has_no_rank(three: Path) -> None:
    """It gives one image whatever it gets: nothing can move that, and nothing can be said of it."""
    results = read_json(three / "best" / "audit" / "results.json")
    results["pairs"] = {"requested": 20, "used": 0, "flagged": 20}
    write_json(three / "best" / "audit" / "results.json", results | {"reconstruction_l2": None})
    (table,) = ranked(three)
    assert [(one.place, one.name) for one in table.entries] == [(1, "middle"), (2, "last"), (None, "best")]
    assert "every reconstruction is alike" in table.entries[-1].flags[0]


def test_models_are_ranked_over_the_pairs_that_all_can_use(tmp_path: Path) -> None:
    """One that cannot use its hard pairs is no better for it."""
    good, bad = victim(tmp_path, "good", 0.4), victim(tmp_path, "bad", 0.4)
    for folder, shift in ((good, 0.0), (bad, -0.02)):
        with np.load(folder / "audit" / "curves.npz") as stored:
            curves = dict(stored)
        areas = np.where(np.arange(20) < 10, 0.1, 0.3) + shift
        if folder == bad:
            areas[:10] = np.nan
        curves["worst_case/auddc"] = areas
        np.savez(folder / "audit" / "curves.npz", **curves)
        results = read_json(folder / "audit" / "results.json")
        results["attacks"]["worst_case"]["auddc"]["envelope"] = {"mean": float(np.nanmean(areas)), "ci95": None}
        write_json(folder / "audit" / "results.json", results)
    (table,) = ranked(tmp_path)
    assert [one.name for one in table.entries] == ["good", "bad"]
    assert [one.worst.value for one in table.entries] == [pytest.approx(0.3), pytest.approx(0.28)]
    assert "over the 10 of 20 pairs that every ranked model can use" in table.ranked_by


def test_examples_of_other_models_make_another_protocol(tmp_path: Path) -> None:
    for name, others in (("one", ["b"]), ("other", ["c"])):
        change(victim(tmp_path, name, 0.3) / "audit" / "config.json", transfer=others, weights="a")
    assert len(ranked(tmp_path)) == 2
    change(tmp_path / "other" / "audit" / "config.json", transfer=["a"], weights="b")
    assert len(ranked(tmp_path)) == 1


def test_a_config_of_somebody_else_is_passed_over(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = three / "odd"
    odd.mkdir()
    (odd / "config.json").write_text("[1, 2]")
    (odd / "results.json").write_text("{}")
    (table,) = ranked(three)
    assert len(table.entries) == 3
    assert "left out" in capsys.readouterr().err
