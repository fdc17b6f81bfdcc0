"""An audit from Python: in a few lines, as a folder, as a page; of one's own pairs, of whatever holds images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import doubleback
from doubleback.auditing import Audited
from doubleback.auditing.saved import damage_said, rates_said
from doubleback.cli.console import show_audited
from doubleback.data import ImageData
from doubleback.data.given import as_data
from doubleback.errors import InputError
from doubleback.models import VAE, wrap

QUICK: dict[str, Any] = {"coefficients": 4, "steps": 10, "progress": False}


@pytest.fixture(scope="module")
def found(vae: VAE, tiny: ImageData) -> Audited:
    return doubleback.audit(vae, tiny, pairs=4, **QUICK)


def test_a_summary_has_a_line_an_attack(found: Audited) -> None:
    lines = found.summary().splitlines()
    assert str(found) == found.summary()
    assert f"{4 - int(found.flagged.sum())} pairs" in lines[0]
    mean = found.results()["attacks"]["latent"]["auddc"]["envelope"]["mean"]
    assert any(line.startswith("latent") and f"AUDDC {mean:.3f}" in line for line in lines)


def test_a_folder_that_the_report_reads(found: Audited, tmp_path: Path) -> None:
    home = found.save(tmp_path / "mine")
    assert {path.name for path in home.iterdir()} == {"config.json", "results.json", "curves.npz", "images.npz"}
    assert json.loads((home / "results.json").read_text())["attacks"].keys() == found.results()["attacks"].keys()
    assert found.save(tmp_path / "mine") == home  # the very same
    assert doubleback.write_report([home]).is_file()


def test_another_audit_is_not_written_over(found: Audited, vae: VAE, tiny: ImageData, tmp_path: Path) -> None:
    found.save(tmp_path / "mine")
    other = doubleback.audit(vae, tiny, pairs=3, **QUICK)
    with pytest.raises(InputError, match="holds another configuration"):
        other.save(tmp_path / "mine")


def test_a_page(found: Audited, tmp_path: Path) -> None:
    page = found.report(tmp_path / "r.html", "my model")
    text = page.read_text(encoding="utf-8")
    assert "my model" in text
    assert "data:image/png" in text
    with pytest.raises(InputError, match=r"end it in \.html"):
        found.report(tmp_path / "r.pdf")


def test_a_page_of_what_has_no_pictures(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(12, 12), nn.Linear(12, 12))
    signals = torch.rand(16, 12)
    encoder = wrap(encode=nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    for victim, x in ((wrap(encode=net[0], decode=lambda z: z), signals), (encoder, torch.rand(9, 1, 8, 8))):
        page = doubleback.audit(victim, x, pairs=3, **QUICK).report(tmp_path / "signals.html")
        assert "AUDDC" in page.read_text(encoding="utf-8")


def test_ones_own_pairs(vae: VAE, tiny: ImageData) -> None:
    x = tiny.test.images
    by_place = doubleback.audit(vae, x, pairs=[(3, 5), (7, 2)], **QUICK)
    assert (by_place.source_index.tolist(), by_place.target_index.tolist()) == ([3, 7], [5, 2])
    by_image = doubleback.audit(vae, pairs=[(x[3], x[5]), (x[7], x[2])], **QUICK)
    as_arrays = doubleback.audit(vae, pairs=[(x[3].numpy(), x[5].numpy()), (x[7].numpy(), x[2].numpy())], **QUICK)
    for other in (by_image, as_arrays):
        np.testing.assert_allclose(other.auddc("output"), by_place.auddc("output"), atol=1e-6)


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ([], "give at least one"),
        ([(1, 2, 3)], "a row of .source, target."),
        ([(0, 99)], "places in the images"),
        ([(torch.zeros(1, 8, 8), torch.zeros(1, 9, 9))], "differ in shape"),
    ],
)
def test_pairs_that_are_none(vae: VAE, tiny: ImageData, pairs: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        doubleback.audit(vae, tiny.test.images, pairs=pairs, **QUICK)


def test_images_are_needed(vae: VAE) -> None:
    with pytest.raises(InputError, match="images are missing"):
        doubleback.audit(vae, **QUICK)


def test_whatever_holds_images(vae: VAE, tiny: ImageData) -> None:
    x, y = tiny.test.images, tiny.test.labels
    assert y is not None
    plain = doubleback.audit(vae, x, y, pairs=3, **QUICK).auddc("output")
    loaders = (
        DataLoader(TensorDataset(x, y), batch_size=16),
        DataLoader([{"image": one, "label": label} for one, label in zip(x, y, strict=True)], batch_size=7),  # type: ignore[arg-type]
    )
    for given in (*loaders, tiny.test):
        np.testing.assert_allclose(doubleback.audit(vae, given, pairs=3, **QUICK).auddc("output"), plain)
    without = doubleback.audit(vae, DataLoader(TensorDataset(x), batch_size=16), pairs=3, **QUICK).auddc("output")
    np.testing.assert_allclose(without, doubleback.audit(vae, x, pairs=3, **QUICK).auddc("output"))
    with pytest.raises(InputError, match="gives no batch"):
        doubleback.audit(vae, DataLoader([]), pairs=3, **QUICK)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the DataLoader gives a str"):
        doubleback.audit(vae, ["a", "b"], pairs=3, **QUICK)
    with pytest.raises(InputError, match="the DataLoader gives a dict"):
        doubleback.audit(vae, [{"label": y}], pairs=3, **QUICK)


def test_parts_are_drawn_by_the_pixels(tiny: ImageData) -> None:
    x, y = tiny.train.images, tiny.train.labels
    assert y is not None
    whole, fewer = as_data(x, y), as_data(x[:-1], y[:-1])
    parts = [whole.train, whole.validation, whole.test]
    assert sum(map(len, parts)) == len(x)
    assert min(map(len, parts)) > 0
    before = {image.numpy().tobytes() for image in fewer.test.images}
    assert before <= {image.numpy().tobytes() for image in whole.test.images}
    assert as_data(tiny) is tiny
    assert as_data(DataLoader(TensorDataset(x, y), batch_size=9)).fingerprint == whole.fingerprint
    assert as_data((x.float() / 255).numpy(), y).fingerprint == whole.fingerprint


def test_the_page_of_text_and_the_console_say_the_same_of_budgets(capsys: pytest.CaptureFixture[str]) -> None:
    """Damage at each eps, and of a codec the bits of the attack that raises them most."""

    def figures(mean: float | None, **more: Any) -> dict[str, Any]:
        return {"mean": mean, "ci95": None if mean is None else [mean - 0.5, mean + 0.5], **more}

    of = {"untargeted": 2.0, "rate": 3.0, "output": 2.5}
    attacks = {
        name: {
            "auddc": {"envelope": figures(None)},
            "budgets": {"Linf": {"8/255": figures(1.0, rate=figures(bits), rate_before=figures(1.25))}},
        }
        for name, bits in of.items()
    } | {"worst_case": {"auddc": {"envelope": figures(None)}}}
    damage = {"area": figures(None), "relative": {"1": figures(7.0)}, "Linf": {"8/255": figures(1.5)}}
    said = {"Linf 8/255": "1.50 [1.00, 2.00]"}
    assert damage_said(damage) == said
    assert damage_said({**damage, "area": figures(0.75)}) == {"area over the distortion": "0.750 [0.250, 1.25]"} | said
    rates = rates_said(attacks)
    assert rates == {"Linf 8/255": "1.25 before, 3.00 [2.50, 3.50] after (rate)"}
    run = {"attacks": attacks, "damage": damage, "ceiling": figures(None), "pairs": {"used": 1}}
    show_audited({"some/run": run, "some/other": run | {"damage": {}}})
    shown = " ".join(capsys.readouterr().out.split())
    assert f"damage Linf 8/255 run {said['Linf 8/255']} bits" in shown
    assert shown.count(rates["Linf 8/255"]) == 2
