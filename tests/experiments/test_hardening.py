"""`harden`: what it leaves of a run and of somebody's model, what it goes on with, what it refuses."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from doubleback.data import load_images
from doubleback.errors import InputError
from doubleback.experiments.auditing import audit
from doubleback.experiments.hardening import TWIN, audit_of, harden
from doubleback.experiments.runs import load_run
from doubleback.experiments.victims import load_victim
from doubleback.hardening.budget import WithinBudget
from doubleback.models import VAE
from doubleback.settings import Hardening, Wrapping
from doubleback.settings.commands import Harden
from doubleback.settings.words import words
from tests.experiments.conftest import WORDS, quick, snapshot

THEIRS = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    class Theirs(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 8))
            self.decoder = nn.Sequential(nn.Linear(8, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))
        def forward(self, x):
            return self.decoder(self.encoder(x))
    return Theirs()

def loss(net, x):
    return (net(x) - x).square().flatten(1).sum(1)
"""


def asked(victim: Path | str, output: Path, **changes: Any) -> Harden:
    own = {name: changes.pop(name) for name in ("data", "image_size", "wrapping") if name in changes}
    settings = Hardening("10%").changed(**{"epochs": 3, "batch_size": 20, **changes})
    return Harden(Path(victim), output, settings, **own)


@pytest.fixture(scope="module")
def done(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("harden") / "within"
    harden(asked(plain, output), ("doubleback", "harden"))
    return output


def test_it_leaves_a_run(done: Path, plain: Path) -> None:
    results = json.loads((done / "results.json").read_text())
    found = results["harden"]
    assert found["within"] == 0.1
    assert found["end"]["reconstruction_l2"] <= 1.1 * found["start"]["reconstruction_l2"]
    assert {"weight", "steps", "twin", "seconds", "penalty_start", "penalty_end", "latents_moved"} <= found.keys()
    run, twin, parent = (load_run(folder) for folder in (done, done / TWIN, plain))
    assert results["weights"] == run.weights
    assert len({run.weights, twin.weights, parent.weights}) == 3
    seconds = [json.loads((folder / "results.json").read_text())["train"]["seconds"] for folder in (done, done / TWIN)]
    logged = [(folder / "log.csv").read_text().splitlines()[-1].split(",")[2] for folder in (done, done / TWIN)]
    assert seconds == pytest.approx([float(one) for one in logged], abs=0.1)
    assert seconds[1] < 0.8 * seconds[0]
    assert json.loads((done / "config.json").read_text())["parent"] == parent.weights
    assert results["test"]["reconstruction_l2"] > 0


def test_it_says_how_to_measure_what_it_withstands(done: Path, plain: Path, theirs: str, tmp_path: Path) -> None:
    assert words(audit_of(asked(plain, done))) == ("audit", str(plain), str(done))
    left = tmp_path / "out" / "weights"
    left.mkdir(parents=True)
    before = Wrapping(weights=tmp_path / "before.safetensors")
    of_theirs = asked(theirs, tmp_path / "out", data="digits", image_size=8, wrapping=before)
    line = ("--data", "digits", "--image-size", "8")
    line = (*line, "--output", str(tmp_path / "out" / "audits"))
    own = ("--weights", str(left / "model.safetensors"))
    assert sorted(words(audit_of(of_theirs))) == sorted(("audit", theirs, *line, *own))
    (left / "config.json").write_text("{}")  # a library's layout needs no code
    assert sorted(words(audit_of(of_theirs))) == sorted(("audit", str(tmp_path / "out"), *line))


def test_it_can_be_audited_beside_the_victim(done: Path, plain: Path, tmp_path: Path) -> None:
    found = audit(quick(plain, done, done / TWIN, output=tmp_path, pairs=2, steps=2), WORDS)
    assert len(found) == 3
    config = json.loads((tmp_path / "within" / "config.json").read_text())
    assert config["weights"] == load_run(done).weights
    assert config["harden"]["within"] == "10%", "or the report would take it for the plain run"


def test_what_is_finished_is_kept(done: Path, plain: Path) -> None:
    before = snapshot(done)
    harden(asked(plain, done), WORDS)
    assert snapshot(done) == before
    with pytest.raises(InputError, match=r"another configuration \(within: 10% there, 5% here\)"):
        harden(asked(plain, done, within="5%"), WORDS)


def test_killed_in_the_middle_it_goes_on(
    plain: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, look = 0, WithinBudget._look

    def killed(self: WithinBudget, step: int, steps: int) -> None:
        nonlocal looks
        looks += 1
        if looks == 20:
            raise SystemError("killed")
        look(self, step, steps)

    monkeypatch.setattr(WithinBudget, "_look", killed)
    with pytest.raises(SystemError):
        harden(asked(plain, tmp_path / "parts"), WORDS)
    monkeypatch.undo()
    harden(asked(plain, tmp_path / "parts"), WORDS)
    assert load_run(tmp_path / "parts").weights == load_run(done).weights
    assert load_run(tmp_path / "parts" / TWIN).weights == load_run(done / TWIN).weights


@pytest.fixture
def theirs(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(THEIRS)
    return f"{tmp_path / 'mine.py'}:make"


def test_somebodys_model_is_hardened(theirs: str, tmp_path: Path) -> None:
    """By its own loss; its weights come back as its library has them, and nothing is run that a folder names."""
    output, loss = tmp_path / "hardened", theirs.replace(":make", ":loss")
    results = harden(asked(theirs, output, loss=loss, data="digits", image_size=8, alone=True), WORDS)
    assert results["harden"]["weight"] >= 0
    weights = output / "weights" / "model.safetensors"
    again = load_victim(theirs, Wrapping(weights=weights))
    assert again.weights == results["weights"]
    line = shlex.join((theirs, "--data", "digits", "--weights", str(weights)))
    with pytest.raises(InputError, match=rf"weights without the code .* name that: {re.escape(line)}"):
        load_victim(output)
    config = json.loads((output / "config.json").read_text())
    assert "train" not in config
    assert config["harden"]["code"]


def test_what_check_finds_is_said_and_kept(theirs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = asked(theirs, tmp_path / "out", data="digits", image_size=8, alone=True, epochs=1,
                  wrapping=Wrapping(input_range=(0, 1), output_range=(0, 9)))  # fmt: skip
    results = harden(wrong, WORDS)
    assert set(results["flags"]) >= {"ranges"}
    assert results["flags"]["ranges"] in " ".join(capsys.readouterr().err.split())


def test_another_loss_is_another_hardening(theirs: str, tmp_path: Path) -> None:
    output, loss = tmp_path / "hardened", theirs.replace(":make", ":loss")
    command = asked(theirs, output, loss=loss, data="digits", image_size=8, alone=True, epochs=1)
    harden(command, WORDS)
    path = tmp_path / "mine.py"
    path.write_text(path.read_text().replace("square()", "abs()"))
    with pytest.raises(InputError, match="another configuration"):
        harden(command, WORDS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image_size": 8}, "--image-size has no effect"),
        ({"loss": "nowhere.py:loss"}, "nowhere.py does not exist"),
        ({"wrapping": Wrapping(input_range=(-1.0, 1.0))}, "--range has no effect"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    changes: dict[str, Any], says: str, plain: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=says):
        harden(asked(plain, tmp_path / "no", **changes), WORDS)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("within", ["-1%", "101%", "much", "nan", "", "2 %%"])
def test_a_budget_is_a_share(within: str) -> None:
    with pytest.raises(InputError, match="give a share from 0% to 100%"):
        Hardening(within)


def test_a_classifier_is_refused(mlp: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a classifier"):
        harden(asked(mlp, tmp_path / "no"), WORDS)
    assert not (tmp_path / "no").exists()


def test_a_hardened_model_of_a_library_knows_its_images(tmp_path: Path) -> None:
    VAE((1, 8, 8), hidden=(8,), latent=2).save_pretrained(tmp_path / "pulled")
    command = asked(tmp_path / "pulled", tmp_path / "out", data="digits", alone=True, epochs=1)
    harden(command, WORDS)
    left = load_victim(tmp_path / "out")
    assert left.images().fingerprint == load_images("digits", image_size=8).fingerprint
    assert words(audit_of(command))[:2] == ("audit", str(tmp_path / "out"))


def test_a_hardened_run_can_be_hardened_again(done: Path, tmp_path: Path) -> None:
    results = harden(asked(done, tmp_path / "twice", alone=True, epochs=1), WORDS)
    assert results["harden"]["start"] == pytest.approx(json.loads((done / "results.json").read_text())["harden"]["end"])
    shutil.rmtree(tmp_path / "twice")
    assert isinstance(load_run(done).model, torch.nn.Module)
