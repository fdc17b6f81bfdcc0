"""A stranger's folder on a page: whatever stands in its files is shown as text, and nothing of it runs."""

import csv
import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import doubleback.report
from doubleback.errors import InputError
from doubleback.report import write_report
from doubleback.report.folders import read_folders
from tests.report.synthetic import change, make_audit, make_demo, make_run
from tests.report.synthetic_budgets import made as make_budgets
from tests.report.synthetic_studies import make_classifier_run, make_classify, make_robustness, make_transition

SCRIPT = '"\'><script>steal()</script><img src=x onerror=steal()>]]>--></style></title> {{7*777}} id="#0a0b10 &lt; $x$'
MARK = SCRIPT + "\x1b[31m\x00\n\u202e\udcff"  # of text in JSON, which may be anything
FOLDER = os.fsdecode(b"\"'><img src=x onerror=steal()> [red]\x1b[31m\n\xff")
SLIDER = (Path(doubleback.report.__file__).parent / "slider.js").read_text(encoding="utf-8").rstrip("\n")
NAMED = {"latent", "output", "plain/classifier", "hardened/classifier", "lenet", "mlp", "fgsm", "square", "noise"}
NAMED |= {"vanishing_gradient", "score"}  # keys that are names of somebody's attacks, models and checks
AS_IT_IS = {"eps", "norm", "state"}  # what stands under these keys is a number, or one of a few words


class Tags(HTMLParser):
    """Every tag, its attributes, and the text between."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts.append(data)
        else:
            self.text += data


def harmless(path: Path) -> Tags:
    """The page, in which no tag, handler or id is a stranger's."""
    page = path.read_text(encoding="utf-8")
    found = Tags(page)
    assert not {"iframe", "object", "embed", "base", "form"} & {tag for tag, _ in found.tags}
    *blocks, script = found.scripts or [SLIDER]
    assert script == SLIDER, "the page's own script, which the page's policy names by its digest"
    assert sum(tag == "script" for tag, _ in found.tags) == len(found.scripts)
    for block in blocks:
        json.loads(block, parse_constant=pytest.fail)  # no NaN, which a browser does not read
        assert not set("<>&\u2028\u2029") & set(block)
    if found.scripts:
        assert "unsafe-inline'; script-src 'sha256-" in page.replace("&#39;", "'").split("</title>")[0]
    for tag, attrs in found.tags:
        assert not [name for name in attrs if name.startswith("on") or not re.fullmatch(r"[a-zA-Z:-]+", name)], tag
        assert re.fullmatch(r"[\w.-]*", attrs.get("id") or ""), attrs
        for link in ("src", "href", "xlink:href"):
            assert (attrs.get(link) or "#").startswith(("#", "data:image/png", "data:image/webp", "data:,"))
        assert "steal" not in (attrs.get("style") or "")
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert page.count("<style>") == page.count("</style>") == 1
    return found


def forged(value: Any, mark: str = MARK, key: str = "") -> Any:
    """The same with the mark in every text, in every name, and as one more key of every object."""
    if isinstance(value, dict):
        more = {} if key in ("attacks", "models") else {mark: mark}  # what is named there has arrays, too
        return {named(name): forged(part, mark, name) for name, part in value.items()} | more
    if isinstance(value, list):
        return [forged(part, mark, key) for part in value]
    return value + mark if isinstance(value, str) and key not in AS_IT_IS else value


def named(name: str) -> str:
    return name + SCRIPT if name in NAMED else name


def forge(folder: Path) -> Path:
    """Put the mark into every string of every file below."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.suffix == ".json":
            path.write_text(json.dumps(forged(json.loads(path.read_text()))))
        elif path.suffix == ".npz":
            with np.load(path) as stored:
                arrays = {renamed(name): array for name, array in stored.items()}
            np.savez_compressed(
                path,
                **arrays,
                **{SCRIPT: np.zeros(2), f"{SCRIPT}/auddc": arrays["flagged"]} if "flagged" in arrays else {},
            )
        elif path.suffix == ".csv":
            with path.open(newline="") as stream:
                rows = [row | {SCRIPT: row["epoch"]} for row in csv.DictReader(stream)]
            with path.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
    return folder


def renamed(member: str) -> str:
    """A member's name, whose beginning may be somebody's name."""
    head, slash, tail = member.partition("/") if "/stops/" in member else member.rpartition("/")
    return f"{named(head)}{slash}{tail}"


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_demo(tmp_path_factory.mktemp("strangers") / FOLDER)
    for name in ("plain", "hardened"):
        make_classify(folder / name / "classifier", folder / name)
        (folder / name).rename(folder / (name + FOLDER))
    make_classifier_run(folder / f"lenet{FOLDER}")
    make_robustness(folder / f"robustness{FOLDER}", flagged=["plain/classifier"], homes=folder)
    make_transition(folder / "transition")
    make_transition(folder / f"transition{FOLDER}")
    return forge(folder)


@pytest.mark.slow
def test_nothing_of_a_strangers_files_runs_or_is_lost(stranger: Path, tmp_path: Path) -> None:
    """The mark is in every string, key and name; all of it is text on the page."""
    page = write_report([stranger], tmp_path / "page.html", command=f"doubleback report {MARK}")
    found = harmless(page)
    assert found.text.count(SCRIPT) > 100
    assert "5439" not in found.text, "no template of a stranger is filled in"
    names = [attrs.get("aria-label") or "" for _, attrs in found.tags]
    assert any(SCRIPT in name for name in names), "in attributes, too"
    (block,) = (json.loads(one) for one in found.scripts[:-1])
    assert all(SCRIPT in attack["title"] for attack in block["attacks"]), "and in what the slider reads"
    assert any("steal()" in name for name in block["names"].values())


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    run = make_run(tmp_path / os.fsdecode(b"caf\xe9"))
    make_audit(run / "audit", run)
    found = harmless(write_report([run], command=f"doubleback report {run}"))
    assert r"caf\udce9" in found.text


@pytest.mark.parametrize(
    "guess", ["no digest", "another digest", "a run without a digest", "neither", "damaged", "a pipe"]
)
def test_a_folder_that_an_audit_only_names_is_not_shown(guess: str, tmp_path: Path) -> None:
    """A stranger may write any folder into an audit's config.json, and guess how the run there was trained."""
    private = make_run(tmp_path / "private")
    make_audit(tmp_path / "sent", private)
    assert [bool(run.images) for run in read_folders([tmp_path / "sent"]).runs] == [True], "the very run is shown"
    if guess == "a pipe":
        (private / "results.json").unlink()
        os.mkfifo(private / "results.json")
    elif guess == "damaged":
        (private / "results.json").write_text("{")
    else:
        if guess != "a run without a digest":
            change(tmp_path / "sent" / "config.json", weights="0" * 64 if guess == "another digest" else None)
        if guess in ("a run without a digest", "neither"):
            change(private / "results.json", weights=None)
    (run,) = read_folders([tmp_path / "sent"]).runs
    assert not run.results
    assert not run.images
    assert not run.log
    assert "2.885" not in write_report([tmp_path / "sent"], tmp_path / "page.html").read_text()


def test_a_page_of_somebody_else_is_not_written_over(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    theirs = tmp_path / "notes.html"
    theirs.write_text("<title>My notes</title>")
    with pytest.raises(InputError, match=r"notes\.html is not a page that doubleback has written"):
        write_report([run], theirs)
    (run / "report.html").symlink_to(theirs)
    with pytest.raises(InputError, match=r"report\.html is not a page that doubleback has written"):
        write_report([run])
    assert theirs.read_text() == "<title>My notes</title>"
    (run / "report.html").unlink()
    assert write_report([run]) == write_report([run])


@pytest.mark.parametrize(
    "file", ["config.json", "results.json", "log.csv", "images.npz", "audit/curves.npz", "report.html"]
)
def test_a_pipe_is_not_waited_for(file: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    make_audit(run / "audit", run)
    (run / file).unlink(missing_ok=True)
    os.mkfifo(run / file)
    with pytest.raises(InputError, match=r"is a pipe, not a file|holds nothing to report"):
        write_report([run])


FILES = (
    "run/images.npz",
    "run/audit/curves.npz",
    "run/audit/images.npz",
    "budgets/audit/images.npz",  # with `<attack>/eps/...`
    "robustness/images.npz",
    "transition/images.npz",
)
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "infinite": lambda array: np.full(array.shape, np.inf),
    "text": lambda array: array.astype("U4"),
    "complex": lambda array: array.astype(complex),
    "deeper": lambda array: array[..., None],
    "empty": lambda array: array[:0],
    "negative": lambda array: np.full(array.shape, -5),
    "records": lambda _: np.array([(1, 2.0)], dtype=[("x", int), ("y", float)]),
}


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    make_audit(make_run(folder / "run") / "audit", folder / "run")
    make_budgets(folder / "budgets", {"output": 20})
    make_robustness(folder / "robustness")
    make_transition(folder / "transition")
    with np.load(folder / "budgets/audit/images.npz") as stored:
        assert {"output/eps/x_adv", "output/eps/reconstruction"} <= set(stored)
    return folder


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("file", FILES)
def test_forged_arrays_are_shown_or_refused_in_a_line(file: str, change: str, every_kind: Path, tmp_path: Path) -> None:
    """One array after the other; nothing is drawn of most of them, as they are refused as they are read."""
    folder = Path(shutil.copytree(every_kind, tmp_path / "kinds"))
    with np.load(folder / file) as stored:
        arrays = dict(stored)
    for name in arrays:
        np.savez(folder / file, **arrays | {name: CHANGES[change](arrays[name])})
        with suppress(InputError):
            read_folders([folder])
