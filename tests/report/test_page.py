"""The page as a reader of its HTML finds it: complete, true to the numbers, self-contained."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from doubleback.errors import InputError
from doubleback.report import write_report
from doubleback.report.figures import curves_panels
from doubleback.report.folders import read_folders
from doubleback.report.headline import headline
from doubleback.report.pictures import galleries
from tests.report.synthetic import change, digits, make_audit, make_demo, make_run, read_json, write_json, write_table

SECTIONS = ["figures", "curves", "gallery", "reconstructions", "training", "repeat", "glossary"]


class Page(HTMLParser):
    """What the tests look at: attributes, text, and the table of figures as {row label: values}."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem != "script":
            self.text += data

    def attributes(self, name: str) -> list[str]:
        return [value for _, attrs in self.tags if (value := attrs.get(name)) is not None]

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def numbers(record: Any) -> list[float]:
    if isinstance(record, dict):
        return [number for value in record.values() for number in numbers(value)]
    return [record] if isinstance(record, (int, float)) else []


def heading(path: Path) -> str:
    found = re.search(r"<h1>(.*?)</h1>", path.read_text(encoding="utf-8"), re.S)
    assert found
    return re.sub(r"<[^>]*>", "", found[1])


def test_every_section_is_there(page: Path) -> None:
    parsed = Page(page)
    assert [value for value in parsed.attributes("id") if value in SECTIONS] == SECTIONS
    assert parsed.count("svg") == 3 + 4 + 1, "curves, training, the slider's"
    assert "No " not in re.sub(r"No model", "", parsed.text)
    assert page.stat().st_size < 2_000_000


def test_table_holds_the_numbers_of_results_json(page: Path, demo: Path) -> None:
    shown = {float(attrs["value"] or "nan") for tag, attrs in Page(page).tags if tag == "data"}
    for run in ("plain", "hardened"):
        trained = json.loads((demo / run / "results.json").read_text())
        audited = json.loads((demo / run / "audit" / "results.json").read_text())
        test = {key: value for key, value in trained["test"].items() if key != "images"}
        attacks = {
            name: {key: value for key, value in attack.items() if key not in ("seconds", "converged", "targeted")}
            for name, attack in audited["attacks"].items()
        }
        expected = [*numbers(test), *numbers(attacks), trained["train"]["seconds"], audited["seconds"]]
        assert set(expected) <= shown


def test_verdict_is_computed_from_the_numbers(page: Path, demo: Path) -> None:
    worst = {}
    for run in ("plain", "hardened"):
        audited = json.loads((demo / run / "audit" / "results.json").read_text())
        worst[run] = audited["attacks"]["worst_case"]["auddc"]["envelope"]["mean"]
    times = f"{worst['hardened'] / worst['plain']:.2f} times"
    assert heading(page) == f"hardened withstands {times} what plain does, at 1.03 times its reconstruction error."
    assert "higher on 20 of 20 pairs" in Page(page).text


def test_page_needs_nothing_but_itself(page: Path) -> None:
    parsed, text = Page(page), page.read_text(encoding="utf-8")
    for link in parsed.attributes("src") + parsed.attributes("href"):
        assert link.startswith(("data:", "#"))
    assert not {"link rel=stylesheet", "iframe", "object"} & {tag for tag, _ in parsed.tags}
    assert "http:" not in text
    assert "https" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_ids_are_unique_and_references_resolve(page: Path) -> None:
    parsed, text = Page(page), page.read_text(encoding="utf-8")
    ids = parsed.attributes("id")
    assert len(ids) == len(set(ids))
    referred = re.findall(r"url\(#([^)]*)\)", text) + [link[1:] for link in parsed.attributes("href") if link[0] == "#"]
    assert set(referred) <= set(ids)
    assert not re.search(r"#0a0b[0-9a-f]{2}", text), "a stand-in colour was left"


def test_images_have_alternative_text(page: Path) -> None:
    parsed = Page(page)
    assert all(attrs.get("alt") for tag, attrs in parsed.tags if tag == "img")
    assert all(attrs.get("aria-label") for tag, attrs in parsed.tags if tag == "svg")


def test_same_folders_same_bytes(page: Path, demo: Path, tmp_path: Path) -> None:
    again = write_report([demo], tmp_path / "again.html", command="doubleback report demo")
    assert again.read_bytes() == page.read_bytes()


def test_names_and_settings_are_escaped(tmp_path: Path) -> None:
    run = make_run(tmp_path / "<img src=x onerror=alert(1)> $x^2$ & \u5b57", model="<script>alert(2)</script>")
    make_audit(run / "audit", run)
    parsed = Page(write_report([run], tmp_path / "out.html", command="doubleback report '<b>'"))
    assert parsed.count("script") == 2, "the slider's block and its script"
    assert all("onerror" not in attrs for _, attrs in parsed.tags)
    assert "<script>alert(2)</script>" in parsed.text
    assert "doubleback report '<b>'" in parsed.text


def test_default_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = make_run(tmp_path / "one"), make_run(tmp_path / "other")
    for run in (one, other):
        (run / "log.csv").unlink()  # there is less to draw
    monkeypatch.chdir(tmp_path)
    assert write_report([one]) == one / "report.html"
    assert write_report([one, other]) == Path("report.html")
    assert Path("report.html").is_file()


def test_training_only(tmp_path: Path) -> None:
    path = write_report([make_run(tmp_path / "one")])
    assert "not known" in heading(path)
    parsed = Page(path)
    assert "No audit here" in parsed.text
    assert "No attacked images" in parsed.text
    assert parsed.count("svg") == 3, "a plain run has no penalty to draw"


def test_three_runs_of_two_channels(tmp_path: Path) -> None:
    images, folders = digits(12, 2, 16), []
    for name, penalty, strength in (("b", "latent", 0.35), ("a", "none", 0.2), ("c", "output", 0.4)):
        folders.append(make_run(tmp_path / name, penalty=penalty, images=images))
        make_audit(folders[-1] / "audit", folders[-1], strength=strength, images=images)
    path = write_report(folders, tmp_path / "out.html")
    assert heading(path).startswith("c withstands")
    assert "what a does" in heading(path)
    assert Page(path).count("img") > 100


def test_runs_on_other_images_stand_apart(tmp_path: Path) -> None:
    one, other = (
        make_run(tmp_path / "one"),
        make_run(tmp_path / "other", images=digits(12, 3, 16), data="svhn"),
    )
    make_audit(one / "audit", one)
    make_audit(other / "audit", other, images=digits(12, 3, 16))
    path = write_report([one, other], tmp_path / "out.html")
    assert "different data" in heading(path)
    assert path.read_text(encoding="utf-8").count("<h3>") == 4
    assert "\u00d7" not in Page(path).text.replace("\u00d7 as", ""), "no ratios across data sets"


def test_flagged_pairs_are_left_out_and_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run, flagged=2)
    path = write_report([run])
    text = Page(path).text
    assert "run: 2 pairs left out" in text
    assert "nan" not in text.lower()
    assert "Pair 1" not in text
    assert "Pair 3" in text


def test_all_pairs_flagged_in_the_gallery(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run, flagged=6)
    assert galleries(read_folders([run]).runs) == []


def test_one_pair_has_no_interval(tmp_path: Path) -> None:
    make_demo(tmp_path / "demo")
    for name in ("plain", "hardened"):
        make_audit(tmp_path / "demo" / name / "audit", tmp_path / "demo" / name, pairs=1)
    found = headline(read_folders([tmp_path / "demo"]))
    assert "cannot be told apart" in found.sentence
    assert any("a single pair" in note for note in found.notes)


def test_missing_arrays_are_missing_sections(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run)
    for file in ("log.csv", "images.npz", "audit/images.npz", "audit/curves.npz"):
        (run / file).unlink()
    parsed = Page(write_report([run]))
    assert parsed.count("svg") == parsed.count("img") == 0
    assert "withstands" in parsed.text


ODD = 'wide "L2" & <b> 0.5'


def test_attacks_of_any_name_and_goal(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    anywhere = {ODD: "moves the code <i>anywhere</i>"}
    make_audit(run / "audit", run, attacks={"rate_KL": 0.8}, anywhere=anywhere)
    change(run / "audit" / "results.json", attacks=_idle(run, ODD, "rate_KL"))
    path = write_report([run])
    parsed, ids = Page(path), Page(path).attributes("id")
    assert parsed.count("svg") == 3 + 1 + 3, "each attack, the worst case; the slider's; training"
    for said in ("Rate KL attack", 'Wide "L2" & <b> 0.5 attack', "moves the code <i>anywhere</i>"):
        assert said in parsed.text
    assert "the rate KL attack does no better than blending" in parsed.text
    assert f"the {ODD} attack does no better" not in parsed.text, "it does not try to"
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[\w.-]+", one) for one in ids)
    assert parsed.count("b") == path.read_text(encoding="utf-8").count("</b>")


def _idle(run: Path, *names: str) -> dict[str, Any]:
    """The audit's attacks, these as weak as blending."""
    attacks: dict[str, Any] = read_json(run / "audit" / "results.json")["attacks"]
    return attacks | {name: attacks[name] | {"share_of_ceiling": 1.0} for name in names}


def test_attacks_of_which_the_folder_says_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run)
    bare = ("auddc", "share_of_ceiling", "seconds", "converged")
    attacks = {name: {key: found[key] for key in bare if key in found} for name, found in _idle(run, "latent").items()}
    change(run / "audit" / "results.json", attacks=attacks)
    found = read_folders([run])
    worst = "pair by pair, the lowest of these and blending"
    panels = [(panel.title, panel.note) for panel in curves_panels(found.runs)]
    assert panels == [("Latent", ""), ("Output", ""), ("Worst case", worst)]
    notes = headline(found).notes
    assert any("the latent attack does no better than blending" in note for note in notes), "it has a target"


def test_training_terms_of_any_name(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    rows: list[dict[str, Any]] = [
        {"epoch": epoch, "step": epoch, "seconds": 1, "learning_rate": 0.1, "penalty_weight": 0, "loss": 9}
        | {"adversarial_KL": 2 / epoch, "validation_adversarial_KL": 3 / epoch, "reconstruction": 5 / epoch}
        | {"validation_rate": 1, "empty": "", 'odd "<name>': epoch}
        for epoch in (1, 2, 3)
    ]
    write_table(run / "log.csv", rows)
    path = write_report([run])
    html = path.read_text(encoding="utf-8")
    panels = re.findall(r"<figcaption><b>(.*?)</b> <span>(.*?)</span>", html)
    assert panels == [
        ("Reconstruction loss", "nats; dashed: validation"),
        ("Adversarial KL", "dashed: validation"),
        ("Validation rate", ""),
        ("Odd &#34;&lt;name&gt;", ""),
    ]
    drawing = html[html.index("adversarial KL over the epochs: run") :].split("</svg>")[0]
    assert drawing.count("stroke: var(--run-0)") == 2, "the training's and the validation's"
    assert drawing.count("stroke-dasharray") == 1
    ids = Page(path).attributes("id")
    assert len(ids) == len(set(ids))


def test_no_torch(demo: Path, tmp_path: Path) -> None:
    code = f"""
import sys, pathlib
from doubleback.report import write_report
write_report([pathlib.Path({str(demo)!r})], pathlib.Path({str(tmp_path / "out.html")!r}))
assert not {{"torch", "sklearn", "datasets", "matplotlib.pyplot"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbers_that_are_missing_or_odd_become_dashes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    results = json.loads((run / "results.json").read_text())
    results["test"] |= {"reconstruction_l2": None, "kl": "many", "output_jacobian": 3}
    write_json(run / "results.json", results)
    text = Page(write_report([run])).text
    assert "Output Jacobian" not in text
    assert "PSNR" in text


def test_output_must_be_html(demo: Path, tmp_path: Path) -> None:
    keep = tmp_path / "results.json"
    keep.write_text("{}")
    with pytest.raises(InputError, match="not the name of an HTML file"):
        write_report([demo], keep)
    assert keep.read_text() == "{}"
    assert list(tmp_path.iterdir()) == [keep]


def test_a_key_names_what_is_drawn_and_nothing_else(mixed_page: Path) -> None:
    """`lenet` is a classifier: no curve is its own."""
    section = mixed_page.read_text(encoding="utf-8").split('<section id="curves">')[1].split("</section>")[0]
    key = re.search(r'<p class="legend">.*?</p>', section, re.S)
    assert key
    assert "hardened" in key[0]
    assert "lenet" not in key[0]
