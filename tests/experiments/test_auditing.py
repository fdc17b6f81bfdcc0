"""What `audit` leaves for each run, what it refuses before the first attack, and what it keeps."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from doubleback.checkpoints import save_tensors
from doubleback.errors import InputError
from doubleback.experiments.auditing import audit
from doubleback.experiments.runs import load_run
from doubleback.folders import Folder
from doubleback.settings.commands import Audit
from tests.data.folders import hub_folder, image_folder
from tests.experiments.conftest import WORDS, quick, snapshot
from tests.experiments.keys import AUDIT_KEYS, at


@pytest.fixture(scope="module")
def audited(plain: Path, hardened: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("audits")
    audit(quick(plain, hardened, output=output), ("doubleback", "audit"))
    return output


def test_audit_leaves_its_folders(plain: Path, hardened: Path, audited: Path) -> None:
    found = audit(quick(plain, hardened, output=audited), ("again",))
    assert list(found) == [str(plain), str(hardened)]
    for run, results in zip((plain, hardened), found.values(), strict=True):
        home = audited / run.name
        assert {path.name for path in home.iterdir()} == {"config.json", "results.json", "curves.npz", "images.npz"}
        assert results == json.loads((home / "results.json").read_text())
        assert all(isinstance(at(results, key), (int, float)) for key in AUDIT_KEYS)
        low, high = results["attacks"]["latent"]["auddc"]["envelope"]["ci95"]
        assert low < high
        config = json.loads((home / "config.json").read_text())
        assert config["command"] == ["doubleback", "audit"]
        assert (config["run"], config["weights"]) == (str(run), load_run(run).weights)
    pairs = [np.load(audited / run.name / "curves.npz") for run in (plain, hardened)]
    assert (pairs[0]["source_index"] == pairs[1]["source_index"]).all()


def test_an_audit_is_kept_unless_something_changed(plain: Path, hardened: Path, audited: Path) -> None:
    before = snapshot(audited)
    audit(quick(plain, output=audited), ("another", "command"))
    with pytest.raises(InputError, match=r"another configuration \(pairs: 4 there, 5 here\)"):
        audit(quick(plain, pairs=5, output=audited), WORDS)
    with pytest.raises(InputError, match=r"another configuration \(split: test there, validation here\)"):
        audit(quick(hardened, split="validation", output=audited), WORDS)
    assert snapshot(audited) == before


def test_an_audit_lies_in_its_runs_folder_unless_it_is_of_other_images(copy: Path, tmp_path: Path) -> None:
    """The test images, the validation images, or another data set's, at the size that the model takes; grey only."""
    audit(quick(copy, pairs=2, steps=2), WORDS)
    assert (copy / "audit" / "results.json").exists()
    audit(quick(copy, pairs=2, steps=2, split="validation"), WORDS)
    assert json.loads((copy / "audit-validation" / "config.json").read_text())["audit"]["split"] == "validation"
    with np.load(copy / "audit-validation" / "images.npz") as images:
        sources = images["source"]
    with np.load(copy / "audit-validation" / "curves.npz") as curves:
        places = torch.from_numpy(curves["source_index"])
    validation = load_run(copy).images().validation.images
    assert np.array_equal(sources, validation[places][: len(sources)].numpy())
    hub_folder(tmp_path / "grey")
    audit(quick(copy, pairs=2, steps=2, data=str(tmp_path / "grey")), WORDS)
    assert (copy / "audit-grey" / "results.json").exists()
    colour = image_folder(tmp_path / "colour")
    with pytest.raises(InputError, match="takes images of 1 channel and 8x8 pixels, these are 3 channels and 8x8"):
        audit(quick(copy, data=str(colour)), WORDS)
    assert not (copy / "audit-colour").exists()


def test_a_folder_is_named_by_what_it_is_not_by_how_it_was_said(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_folder(tmp_path / "grey")
    monkeypatch.chdir(tmp_path / "grey")
    audit(quick(copy, pairs=2, steps=2, data="."), WORDS)
    assert (copy / "audit-grey" / "results.json").exists()
    audit(quick(copy, pairs=2, steps=2, data="../grey"), WORDS)
    assert [path.name for path in copy.glob("audit*")] == ["audit-grey"]


def test_pairs_from_one_class_to_another(plain: Path, tmp_path: Path) -> None:
    ends = {"source_label": "1", "target_label": "0", "pairs": 3, "steps": 2}
    audit(quick(plain, output=tmp_path, **ends), WORDS)
    labels = load_run(plain).images().test.labels
    assert labels is not None
    with np.load(tmp_path / "plain" / "curves.npz") as curves:
        assert (labels[torch.from_numpy(curves["source_index"])] == 1).all()
        assert (labels[torch.from_numpy(curves["target_index"])] == 0).all()
    for wrong in ("11", "cat"):
        with pytest.raises(InputError, match=rf"'{wrong}' is unknown; choose one of 0, 1, 2"):
            audit(quick(plain, output=tmp_path / "other", **ends | {"source_label": wrong}), WORDS)
    assert not (tmp_path / "other").exists()


def test_what_is_refused_writes_nothing(plain: Path, hardened: Path, mlp: Path, tmp_path: Path) -> None:
    """Where one of several runs is unusable, none is attacked."""
    twin = Path(shutil.copytree(plain, tmp_path / "elsewhere" / "plain"))
    for command, says in (
        (quick(plain, hardened, output=tmp_path / "out", pairs=10_000), "ask for fewer pairs"),
        (Audit((plain,), ("code",), output=tmp_path / "out"), "code"),
        (Audit((plain,), (), output=tmp_path / "out"), "attack is missing"),
        (quick(plain, mlp, output=tmp_path / "out"), "is a classifier"),
        (quick(plain, tmp_path, output=tmp_path / "out"), "config.json does not exist"),
        (quick(plain, twin, output=tmp_path / "out"), "same folder name"),
        (quick(output=tmp_path / "out"), "no run to audit"),
    ):
        with pytest.raises(InputError, match=says):
            audit(command, WORDS)
        assert not (tmp_path / "out").exists(), says


def test_a_folder_that_another_writes_is_left_to_it(plain: Path, tmp_path: Path) -> None:
    asked = quick(plain, output=tmp_path, pairs=2, coefficients=2, steps=2)
    audit(asked, WORDS)
    config = json.loads((tmp_path / "plain" / "config.json").read_text())
    described = {name: config[name] for name in ("audit", "train", "identity", "weights", "images")}
    for name in ("curves.npz", "results.json"):
        (tmp_path / "plain" / name).unlink()
    before = snapshot(tmp_path)
    with (
        Folder(tmp_path / "plain", "audit", described, ()).claimed(),
        pytest.raises(InputError, match="being written by"),
    ):
        audit(asked, WORDS)
    assert snapshot(tmp_path) == before
    audit(asked, WORDS)
    assert (tmp_path / "plain" / "results.json").exists()


def test_an_audit_touches_no_other_run(copy: Path, hardened: Path, tmp_path: Path) -> None:
    """Neither does it write into a run that is named as the output, nor behind a link that lies in its own."""
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match="is a run or a study itself"):
        audit(quick(hardened, output=copy), WORDS)
    (tmp_path / "elsewhere").mkdir()
    (copy / "audit").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="copy/audit is a link"):
        audit(quick(copy), WORDS)
    (tmp_path / "audits").mkdir()
    (tmp_path / "audits" / "copy").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="audits/copy is a link"):
        audit(quick(copy, output=tmp_path / "audits"), WORDS)
    assert snapshot(tmp_path) == before


def test_a_model_whose_answers_are_not_finite_is_not_audited(copy: Path) -> None:
    """Its weights are finite, what they make of an image is not."""
    run = load_run(copy)
    tensors = {name: torch.full_like(value, 1e38) for name, value in run.model.state_dict().items()}
    save_tensors(copy / "model.safetensors", tensors, run.identity)
    (copy / "results.json").unlink()
    with pytest.raises(InputError, match="copy answers is not finite: nothing can be measured on it"):
        audit(quick(copy), WORDS)
    assert not (copy / "audit").exists()


@pytest.mark.parametrize("huge", [{"coefficients": 2**31 - 1}, {"samples": 2**31 - 1}])
def test_what_memory_cannot_hold_is_not_tried(huge: dict[str, int], copy: Path) -> None:
    with pytest.raises(InputError, match=r"needs \S+ GB of memory"):
        audit(quick(copy, **huge), WORDS)
    assert not (copy / "audit").exists()
