"""`push`: what goes to the hub, what comes back from it, and what is refused; no network is needed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from doubleback.cli.main import main
from doubleback.errors import InputError
from doubleback.experiments.auditing import audit
from doubleback.experiments.hardening import harden
from doubleback.experiments.runs import load_run
from doubleback.experiments.victims import Stranger, load_victim
from doubleback.leaderboard.ranking import tables
from doubleback.leaderboard.reading import read_audits
from doubleback.models import VAE
from doubleback.settings import Hardening, Loop, Wrapping
from doubleback.settings.commands import Harden, Push
from doubleback.sharing import push
from doubleback.sharing.pushing import _copy
from tests.experiments.conftest import quick, snapshot
from tests.sharing.conftest import Hub


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_run_its_figures_and_its_card(audited: Path, tmp_path: Path) -> None:
    said = push(Push(audited, "owner/name", output=tmp_path / "out"))
    assert "nothing has left this machine" in said
    assert files(tmp_path / "out") == {
        "config.json", "model.safetensors", "README.md", "results.json",
        "audit/config.json", "audit/results.json", "audit/curves.npz",
    }  # fmt: skip
    model, run = VAE.from_pretrained(tmp_path / "out"), load_run(audited)
    assert all(torch.equal(one, model.state_dict()[name]) for name, one in run.model.state_dict().items())
    assert not [path for path in tmp_path.iterdir() if path.name != "out"]  # nothing is left beside it


def test_nothing_that_is_pushed_names_a_folder_of_this_machine(audited: Path, tmp_path: Path) -> None:
    push(Push(audited, "owner/name", output=tmp_path / "out"))
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert str(audited.parent).encode() not in path.read_bytes(), path.name


def test_upload(audited: Path, hub: Hub) -> None:
    assert "private; hub:owner/name is a victim now" in push(Push(audited, "owner/name"))
    assert hub.asked == [("owner/name", {"private": True, "exist_ok": True})]
    assert "README.md" in files(hub.home / "owner" / "name")
    push(Push(audited, "owner/name"))
    with pytest.raises(InputError, match="exists and is private"):
        push(Push(audited, "owner/name", public=True))
    assert "for everybody to see" in push(Push(audited, "owner/open", public=True))
    shutil.rmtree(hub.home / "owner" / "open")
    with pytest.raises(InputError, match="exists and is public; say --public"):
        push(Push(audited, "owner/open"))
    assert not (hub.home / "owner" / "open").exists()  # it was refused before anything was sent


def test_nothing_of_an_earlier_push_stays(audited: Path, hub: Hub, tmp_path: Path) -> None:
    """Figures of other weights would be taken for those of the new ones; what its owner has added stays."""
    push(Push(audited, "owner/name"))
    there = hub.home / "owner" / "name"
    (there / "mine.txt").write_text("a note")
    assert "audit/results.json" in files(there)
    bare = Path(shutil.copytree(audited, tmp_path / "bare", ignore=shutil.ignore_patterns("audit*")))
    push(Push(bare, "owner/name"))
    assert files(there) == {"config.json", "model.safetensors", "README.md", "results.json", "mine.txt"}


def test_an_audit_behind_a_defence_is_not_the_models(audited: Path, tmp_path: Path) -> None:
    audit(quick(audited, defend=("quantize:3",), steps=30, output=tmp_path / "behind"), ("doubleback", "audit"))
    behind = tmp_path / "behind" / audited.name
    with pytest.raises(InputError, match=r"is of the model behind quantize:3.*; audit it without --defend"):
        push(Push(audited, "owner/name", behind, tmp_path / "out"))
    run = Path(shutil.copytree(audited, tmp_path / "run", ignore=shutil.ignore_patterns("audit*")))
    shutil.copytree(behind, run / "audit")
    push(Push(run, "owner/name", output=tmp_path / "out"))
    assert "nobody has measured" in (tmp_path / "out" / "README.md").read_text()


def test_a_librarys_config_names_no_folder_either(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    layout.mkdir()
    (layout / "config.json").write_text('{"_class_name": "A", "_name_or_path": "secret/vae", "from": "/home/me/x"}')
    (layout / "tokens.json").write_text('["/a", "b"]')
    (tmp_path / "home").mkdir()
    _copy(layout, tmp_path / "home")
    assert json.loads((tmp_path / "home" / "config.json").read_text()) == {"_class_name": "A", "from": "x"}
    assert (tmp_path / "home" / "tokens.json").read_text() == '["/a", "b"]'


def test_a_hub_that_refuses(audited: Path, hub: Hub) -> None:
    hub.fault = RuntimeError("401: who are you?\nmore")
    with pytest.raises(InputError, match=r"cannot push to owner/name \(401: who are you\?\); log in with `hf auth"):
        push(Push(audited, "owner/name"))


def test_push_pull_audit_harden_push_again(audited: Path, hub: Hub, tmp_path: Path) -> None:
    """The whole way of a small model through a hub that is a folder."""
    push(Push(audited, "owner/small"))
    victim = load_victim("hub:owner/small")
    assert isinstance(victim, Stranger)
    assert victim.weights == load_run(audited).weights

    named = Path("hub:owner/small")
    first = audit(quick(named, data="digits", output=tmp_path / "audits", steps=30), ("doubleback", "audit"))
    own = json.loads((audited / "audit" / "results.json").read_text())
    assert first[str(named)]["attacks"].keys() == own["attacks"].keys()

    command = Harden(named, tmp_path / "harder", Hardening("50%", loop=Loop(1, 30)), "digits")
    assert harden(command, ("doubleback", "harden", "hub:owner/small"))["harden"]["weight"] > 0
    harder = load_victim(tmp_path / "harder")
    assert isinstance(harder, Stranger)
    assert harder.weights != victim.weights

    settings = {"data": "digits", "steps": 30}
    audit(quick(tmp_path / "harder", **settings), ("doubleback", "audit"))  # type: ignore[arg-type]
    (table,) = tables(read_audits([tmp_path / "audits", tmp_path / "harder"]))
    assert {one.name: one.made for one in table.entries} == {"small": "plain", "harder": "hardened"}

    push(Push(tmp_path / "harder", "owner/harder"))
    again = load_victim("hub:owner/harder")
    assert again.weights == harder.weights
    assert again.hardened is not None
    assert again.hardened["penalty"] == "spectral"
    card = (hub.home / "owner" / "harder" / "README.md").read_text()
    assert "It learned from digits images" in card
    assert "| worst-case AUDDC |" in card
    assert "hardened" in ModelCard.load(hub.home / "owner" / "harder" / "README.md").data.tags


def test_which_audit_the_card_tells_of(audited: Path, tmp_path: Path) -> None:
    """RUN/audit; else the only one beside it; else the one that is named, if it is of these very weights."""
    run = Path(shutil.copytree(audited, tmp_path / "run"))
    (run / "audit").rename(run / "audit-other")
    push(Push(run, "owner/name", output=tmp_path / "one"))
    assert (tmp_path / "one" / "audit" / "curves.npz").is_file()
    shutil.copytree(run / "audit-other", run / "audit-third")
    with pytest.raises(InputError, match=r"has several audits \(audit-other, audit-third\); name one: --audit DIR"):
        push(Push(run, "owner/name", output=tmp_path / "two"))
    push(Push(run, "owner/name", run / "audit-third", tmp_path / "two"))
    assert (tmp_path / "two" / "README.md").read_text() == (tmp_path / "one" / "README.md").read_text()


@pytest.mark.parametrize("other", ["hardened/audit", "plain", "nowhere"])
def test_an_audit_of_other_weights_is_refused(audited: Path, hardened: Path, tmp_path: Path, other: str) -> None:
    assert (hardened / "audit").is_dir()
    with pytest.raises(InputError, match=r"is not a finished audit|was made from other weights"):
        push(Push(audited, "owner/name", audited.parent / other, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_classifier(mlp: Path, tmp_path: Path) -> None:
    push(Push(mlp, "owner/mlp", output=tmp_path / "out"))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "This is a classifier of the class MLP" in card
    assert "| accuracy, test images |" in card
    with pytest.raises(InputError, match="holds a MLP, a classifier"):
        load_victim(tmp_path / "out")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda home: home / "nothing", "is not a finished run"),
        (lambda home: (home / "results.json").unlink() or home, "is not a finished run"),
        (lambda home: home / "audit", "holds no model that can be pushed"),
    ],
)
def test_what_is_no_run(audited: Path, tmp_path: Path, make: Callable[[Path], Path], says: str) -> None:
    copy = Path(shutil.copytree(audited, tmp_path / "copy"))
    with pytest.raises(InputError, match=says):
        push(Push(make(copy), "owner/name", output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_mixture_is_no_model_to_push(mixture: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no model that can be pushed"):
        push(Push(mixture, "owner/name", output=tmp_path / "out"))


def test_an_output_that_is_not_empty_is_kept(audited: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    push(Push(audited, "owner/name", output=tmp_path / "out"))
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match="exists and is not empty"):
        push(Push(audited, "owner/name", output=tmp_path / "out"))
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("push RUN name", "name is not the name of a repository; give owner/name"),
        ("push RUN a/b/c", "is not the name of a repository"),
        ("push RUN ../b", "is not the name of a repository"),
        ("push RUN a/b --license Mine!", "--license is 'Mine!'"),
        ("push RUN a/b --public --output OUT", "--public has no effect with --output"),
    ],
)
def test_command_lines_that_are_refused(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, says: str
) -> None:
    line = [word.replace("RUN", str(plain)).replace("OUT", str(tmp_path / "out")) for word in words.split()]
    assert main(line) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1


def test_the_command_line(audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(audited), "owner/name", "--output", str(tmp_path / "out"), "--license", "mit"]) == 0
    assert "this is what would be pushed" in capsys.readouterr().out
    assert yaml.safe_load((tmp_path / "out" / "README.md").read_text().split("---")[1])["license"] == "mit"


# -- what comes from the hub is a stranger's ---------------------------------------------------------------------


@pytest.fixture
def pulled(audited: Path, hub: Hub) -> Path:
    push(Push(audited, "owner/name"))
    return hub.home / "owner" / "name"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda home: (home / "model.safetensors").unlink(), "does not exist"),
        (lambda home: os.truncate(home / "model.safetensors", 100), "is damaged"),
        (lambda home: (home / "config.json").write_text('{"library_name": "doubleback"}'), "names the class"),
        (lambda home: (home / "config.json").write_text("{}"), "names no class"),
        (lambda home: (home / "config.json").unlink(), "holds no config.json"),
        (lambda home: ((home / "config.json").unlink(), os.mkfifo(home / "config.json")), "holds no config.json"),
    ],
)
def test_a_damaged_repository(pulled: Path, damage: Callable[[Path], Any], says: str) -> None:
    damage(pulled)
    with pytest.raises(InputError, match=says) as refused:
        load_victim("hub:owner/name")
    assert len(str(refused.value).splitlines()) == 1


def test_names_on_the_hub_that_lead_nowhere(pulled: Path) -> None:
    (pulled.parent / "other").mkdir()
    for name, says in {
        "hub:owner": "names no model",
        "hub:owner/other": "cannot be fetched",
        "hub:owner/name/below": "holds no folder below",
        "hub:owner/name/../other": "holds no folder",
    }.items():
        with pytest.raises(InputError, match=says):
            load_victim(name)


def test_a_pulled_model_says_itself_what_it_takes(pulled: Path) -> None:
    assert pulled.is_dir()
    with pytest.raises(InputError, match="--range has no effect on hub:owner/name, which brings its own settings"):
        load_victim("hub:owner/name", Wrapping(input_range=(-1.0, 1.0)))
    assert load_victim("hub:owner/name").images("digits").image_shape == (1, 8, 8)
