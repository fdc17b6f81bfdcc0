"""What `robustness` leaves, refuses and keeps, and where it goes on."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from doubleback.checkpoints import save_tensors
from doubleback.errors import InputError
from doubleback.experiments import robustness as module
from doubleback.experiments.robustness import robustness
from doubleback.experiments.runs import load_run
from doubleback.report.folders import read_folders
from doubleback.report.headline import headline
from doubleback.robustness import Withstood
from doubleback.robustness.measuring import _Attacked
from doubleback.settings import Threats
from doubleback.settings.commands import Robustness
from tests.experiments.conftest import WORDS, snapshot

SMALL = Threats(eps=("0.02", "8/255"), steps=4, queries=10)
NO_MORE = Threats(("fgsm",), eps=("8/255",), steps=1, queries=0)


def quick(*models: Path, output: Path, threats: Threats = SMALL, samples: int = 20) -> Robustness:
    return Robustness(models, threats, samples, output=output)


def test_robustness_leaves_what_is_documented(mixture: Path, mlp: Path, tmp_path: Path) -> None:
    results = robustness(quick(mixture, mlp, output=tmp_path / "r"), WORDS)
    assert json.loads((tmp_path / "r" / "results.json").read_text()) == results
    assert {path.name for path in (tmp_path / "r").iterdir()} == {
        "config.json",
        "results.json",
        "images.npz",
        "outcomes.npz",
    }
    assert results["eps"] == ["0.02", "8/255"]
    assert set(results["models"]) == {"mixture", "mlp"}
    for name, other in (("mixture", "mlp"), ("mlp", "mixture")):
        model = results["models"][name]
        assert set(model["robust_accuracy"]) == {"fgsm", "pgd", "apgd", "square", "noise", "longer"}
        assert set(model["transfer"]) == {other}
        assert model["worst_case"]["8/255"] <= model["robust_accuracy"]["pgd"]["8/255"] <= model["clean_accuracy"]
        assert set(model["flags"]) <= set(model["checks"])
        assert len(model["checks"]) == 7
    assert set(results["models"]["mixture"]["gradients"]) == {"score", "latent", "mixture"}
    with np.load(tmp_path / "r" / "images.npz") as arrays:
        assert arrays["mixture/x_adv"].shape == (8, 2, 1, 8, 8)
        assert arrays["source"].dtype == np.uint8
    with np.load(tmp_path / "r" / "outcomes.npz") as arrays:
        assert len(set(arrays["index"])) == 20
        for name, model in results["models"].items():
            assert arrays[f"{name}/clean"].mean() == pytest.approx(model["clean_accuracy"])
            assert arrays[f"{name}/attacks/pgd"].mean(1) == pytest.approx([*model["robust_accuracy"]["pgd"].values()])
            assert arrays[f"{name}/worst_case"].mean(1) == pytest.approx([*model["worst_case"].values()])
        assert arrays["mlp/transfer/mixture"].shape == (2, 20)
    assert "McNemar" in headline(read_folders([tmp_path / "r"])).notes[-1]
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["models"]["mlp"] == {"path": str(mlp), "weights": load_run(mlp).weights}


def test_robustness_is_kept_and_not_overwritten(mlp: Path, mixture: Path, tmp_path: Path) -> None:
    asked = quick(mlp, output=tmp_path / "r", threats=NO_MORE)
    results = robustness(asked, WORDS)
    before = snapshot(tmp_path)
    assert robustness(asked, ("another", "line")) == results
    for other, says in (
        (replace(asked, samples=10), "samples: 20 there, 10 here"),
        (replace(asked, models=(mixture,)), "made from other data or weights"),
        (replace(asked, black_box=(mixture,)), "made from other data or weights"),
    ):
        with pytest.raises(InputError, match=says):
            robustness(other, WORDS)
    assert snapshot(tmp_path) == before


def test_robustness_goes_on_after_an_interruption(
    mixture: Path, mlp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the second model: the first is not attacked again, and the results are those of one go."""
    asked = quick(mlp, mixture, output=tmp_path / "r", threats=NO_MORE)
    attacked, real = [], _Attacked.withstood

    def withstood(self: _Attacked) -> Withstood:
        attacked.append(self.model)
        if len(attacked) == 2:
            raise KeyboardInterrupt
        return real(self)

    monkeypatch.setattr(_Attacked, "withstood", withstood)
    with pytest.raises(KeyboardInterrupt):
        robustness(asked, WORDS)
    assert not (tmp_path / "r" / "results.json").exists()
    results = robustness(asked, WORDS)
    assert len(attacked) == 3  # the first, the one interrupted, the same again
    assert not (tmp_path / "r" / "unfinished").exists()
    whole = robustness(replace(asked, output=tmp_path / "whole"), WORDS)
    assert results["models"] == whole["models"]


def test_more_images_keep_the_first(mlp: Path, tmp_path: Path) -> None:
    """The images do not hang on how many are asked for: accuracies of nested samples are of nested sets."""
    few, more = (
        robustness(quick(mlp, output=tmp_path / str(n), threats=NO_MORE, samples=n), WORDS)["models"]["mlp"]
        for n in (10, 20)
    )
    right = few["clean_accuracy"] * 10
    assert right <= round(more["clean_accuracy"] * 20) <= right + 10


def test_models_that_only_make_examples(mixture: Path, mlp: Path, tmp_path: Path) -> None:
    asked = replace(quick(mlp, output=tmp_path / "r", threats=NO_MORE), black_box=(mixture,))
    results = robustness(asked, WORDS)
    assert set(results["models"]) == {"mlp"}
    assert set(results["models"]["mlp"]["transfer"]) == {"mixture"}
    assert set(json.loads((tmp_path / "r" / "config.json").read_text())["black_box"]) == {"mixture"}


def test_what_is_refused(mlp: Path, plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for asked, says in (
        (quick(output=out), "no model"),
        (quick(mlp, output=out, samples=0), "samples is 0"),
        (quick(mlp, mlp, output=out), "is given twice"),
        (replace(quick(mlp, output=out), black_box=(mlp,)), "is given twice"),
        (quick(plain, output=out), "doubleback classify"),
        (quick(tmp_path / "nowhere", output=out), "not a folder"),
    ):
        with pytest.raises(InputError, match=says):
            robustness(asked, WORDS)
        assert not out.exists(), says


def test_unfinished_work_is_of_its_own_command(mlp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes another epsilon's folder over (its config.json is gone) does not take its rights for his own."""
    asked = quick(mlp, output=tmp_path / "r", threats=NO_MORE)
    nearer = replace(asked, threats=replace(asked.threats, eps=("0.001",)))
    whole = robustness(replace(nearer, output=tmp_path / "whole"), WORDS)
    with monkeypatch.context() as patched:
        patched.setattr(module, "_shown_examples", stopped)
        with pytest.raises(KeyboardInterrupt):
            robustness(asked, WORDS)
    left = list((tmp_path / "r" / "unfinished").iterdir())
    assert len(left) == 1
    (tmp_path / "r" / "config.json").unlink()
    (tmp_path / "kept").mkdir()
    left[0].rename(tmp_path / "kept" / left[0].name)
    (tmp_path / "r" / "unfinished").rmdir()
    with monkeypatch.context() as patched:
        patched.setattr(module, "_shown_examples", stopped)
        with pytest.raises(KeyboardInterrupt):
            robustness(nearer, WORDS)
    own = next((tmp_path / "r" / "unfinished").iterdir())
    (tmp_path / "kept" / left[0].name).rename(own.parent / left[0].name)
    assert robustness(nearer, WORDS)["models"] == whole["models"]
    assert list((tmp_path / "r" / "unfinished").iterdir()) == [own.parent / left[0].name], "it is not ours to remove"


def test_unfinished_work_that_is_damaged_or_a_link(mlp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = quick(mlp, output=tmp_path / "r", threats=NO_MORE)
    with monkeypatch.context() as patched:
        patched.setattr(module, "_shown_examples", stopped)
        with pytest.raises(KeyboardInterrupt):
            robustness(asked, WORDS)
    (file,) = (tmp_path / "r" / "unfinished").iterdir()
    arrays = dict(np.load(file))
    for changes, says in (
        ({"attacks/noise": np.ones((1, 3), dtype=bool)}, "is of other images or attacks"),
        ({"attacks/noise": np.ones((1, 20))}, "is of other images or attacks"),
        ({"record": np.array("{")}, "is damaged"),
        ({"record": np.array('{"checks": [["nothing", 1]], "kind": "", "gradients": {}}')}, "is damaged"),
    ):
        np.savez(file, **arrays | changes)
        with pytest.raises(InputError, match=says):
            robustness(asked, WORDS)
    (tmp_path / "r" / "unfinished").rename(tmp_path / "elsewhere")
    (tmp_path / "r" / "unfinished").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="unfinished is a link"):
        robustness(asked, WORDS)
    assert (tmp_path / "elsewhere" / file.name).exists()


def stopped(*_: object) -> None:
    """Ctrl-C, when the models are done and the folder is not."""
    raise KeyboardInterrupt


def test_models_on_which_nothing_can_be_measured(mlp: Path, tmp_path: Path) -> None:
    bad = Path(shutil.copytree(mlp, tmp_path / "bad"))
    run = load_run(mlp)
    (bad / "results.json").unlink()
    for value, says in ((float("nan"), "weights that are not finite"), (3e38, "bad answers is not finite")):
        tensors = {name: torch.full_like(weight, value) for name, weight in run.model.state_dict().items()}
        save_tensors(bad / "model.safetensors", tensors, run.identity)
        with pytest.raises(InputError, match=says):
            robustness(quick(bad, output=tmp_path / "r", threats=NO_MORE), WORDS)
    assert not (tmp_path / "r").exists()
