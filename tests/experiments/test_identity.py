"""A folder is what it was made of: data and weights by content, wherever they lie and whatever they are called."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doubleback.errors import InputError
from doubleback.experiments.auditing import audit
from doubleback.experiments.classifiers import classify
from doubleback.experiments.training import train
from doubleback.report import write_report
from doubleback.report.folders import read_folders
from doubleback.settings import Mixture, Training
from doubleback.settings.commands import Classify, Train
from tests.experiments.conftest import WORDS, quick, settings, snapshot

OTHER = "made from other data or weights"
SHORT = {"limit": 100, "epochs": 1, "batch_size": 10}


def trained(p: Path, h: Path, seed: int) -> Train:
    """A run p of this seed, and h from its weights, whose own line names no seed; h's command."""
    train(settings(p, seed=seed, **SHORT), WORDS)
    harden = Train(h, Training(init=p).changed(penalty="reconstruction", epochs=1))
    train(harden, WORDS)
    return harden


def test_a_run_in_the_place_of_another_has_none_of_its_figures(tmp_path: Path) -> None:
    """Of h nothing differs but the weights that it started from: same folders, same words."""
    p, h, out = tmp_path / "p", tmp_path / "h", tmp_path / "out"
    asked = quick(h, output=out, pairs=2, coefficients=2, steps=2)
    trained(p, h, seed=0)
    audit(asked, WORDS)
    (joined,) = read_folders([out]).runs
    assert joined.audit is not None
    assert joined.results, "as long as they belong together, the report sets them side by side"
    before = snapshot(out)
    shutil.rmtree(p)
    shutil.rmtree(h)
    harden = trained(p, h, seed=1)
    with pytest.raises(InputError, match=OTHER):
        audit(asked, WORDS)
    assert snapshot(out) == before
    (apart,) = read_folders([out]).runs
    assert apart.audit is not None
    assert not apart.results
    run, old = read_folders([h, out / "h"]).runs
    assert run.results
    assert (run.audit, old.results) == (None, {})
    shown = json.loads((h / "results.json").read_text())["test"]["reconstruction_l2"]
    page = write_report([out], tmp_path / "page.html").read_text()
    assert f"{shown:.3f}" not in page
    assert f"{shown:.3f}" in write_report([h], tmp_path / "page.html").read_text()
    shutil.rmtree(p)
    train(settings(p, seed=2, **SHORT), WORDS)
    with pytest.raises(InputError, match=OTHER):
        train(Train(h, harden.training, resume=True), WORDS)


def draw_images(folder: Path, seed: int) -> Path:
    """Two classes of small pictures, the same names whatever the seed."""
    rng = np.random.default_rng(seed)
    for kind in ("a", "b"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(40):
            Image.fromarray(rng.integers(256, size=(8, 8), dtype=np.uint8)).save(folder / kind / f"{number}.png")
    return folder


def test_other_images_in_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOUBLEBACK_CACHE", str(tmp_path / "cache"))
    images, run = draw_images(tmp_path / "images", 0), tmp_path / "runs" / "run"
    asked = settings(run, data=str(images), **SHORT)
    train(asked, WORDS)
    does = {
        "train": lambda: train(Train(run, asked.training, resume=True), WORDS),
        "audit": lambda: audit(quick(run, pairs=2, coefficients=2, steps=2), WORDS),
        "audit of others": lambda: audit(quick(run, pairs=2, coefficients=2, steps=2, data=str(images)), WORDS),
        "classify": lambda: classify(Classify(run, Mixture(1)), WORDS),
    }
    for command in does.values():
        command()
    before = snapshot(tmp_path / "runs")
    moved = images.rename(tmp_path / "moved")
    shutil.copytree(moved, images)
    for command in does.values():
        command()
    assert snapshot(tmp_path / "runs") == before, "the same images are the same, whenever they were written"
    draw_images(images, 1)
    for command in does.values():
        with pytest.raises(InputError, match=OTHER):
            command()
    assert snapshot(tmp_path / "runs") == before


def test_images_that_were_trained_on_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The training images as a test set; and a folder that has changed since."""
    monkeypatch.setenv("DOUBLEBACK_CACHE", str(tmp_path / "cache"))
    images, run = draw_images(tmp_path / "images", 0), tmp_path / "run"
    trained = train(settings(run, data=str(images), **SHORT), WORDS)
    own = audit(quick(run, pairs=2, coefficients=2, steps=2), WORDS)[str(run)]
    assert own["checks"]["trained_on"]["value"] == 0
    assert "trained" not in capsys.readouterr().err
    moved = tmp_path / "others"
    shutil.copytree(images, moved / "train")
    shutil.copytree(images, moved / "test")
    asked = quick(run, pairs=2, coefficients=2, steps=2, data=str(moved), output=tmp_path / "audits")
    found = audit(asked, WORDS)[str(run)]
    share = trained["train"]["images"] / 80
    assert found["checks"]["trained_on"]["value"] == pytest.approx(share)
    assert f"trained on {share:.1%} of the images" in found["flags"]["trained_on"]
    assert "was trained on" in capsys.readouterr().err
    draw_images(images, 1)
    audit(quick(run, pairs=2, coefficients=2, steps=2, output=tmp_path / "again"), WORDS)
    assert f"the images of images have changed since {run} was trained" in capsys.readouterr().err


def test_what_is_left_out_is_said_and_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOUBLEBACK_CACHE", str(tmp_path / "cache"))
    images = draw_images(tmp_path / "images", 0)
    (images / "a" / "x.heic").write_bytes(b"")
    trained = train(settings(tmp_path / "run", data=str(images), **SHORT), WORDS)
    says = "1 image left out: .heic is not read; convert to PNG (a/x.heic)"
    assert trained["train"]["remarks"] == [says]
    assert f"doubleback: images: {says}\n" in capsys.readouterr().err
