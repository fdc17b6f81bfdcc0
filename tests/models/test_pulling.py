"""Models of this package, saved in the hub's layout and made again from it; what is damaged is refused in a line."""

import copy
import inspect
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import nn

import doubleback
from doubleback.errors import InputError
from doubleback.models import DRAW, MLP, VAE, ConvVAE, CvNet, LeNet, LipschitzAE
from doubleback.models import pulling as home
from doubleback.models.parts import CodeAutoencoder
from doubleback.models.pulling import Pullable, saved_model
from doubleback.registry import MODELS, build

SMALL = (1, 12, 12)
MAKERS: dict[str, Callable[[], Any]] = {
    "VAE": lambda: VAE(SMALL, hidden=(8,), latent=3, likelihood="gaussian-learned", variance=0.1),
    "AE": lambda: VAE(image_shape=SMALL, hidden=[8], latent=3, variance=np.float32(0.5), variational=False),
    "ConvVAE": lambda: ConvVAE(SMALL, filters=(4, 8), hidden=8, latent=3),
    "ConvVAE-fitting": lambda: ConvVAE(SMALL, hidden=8, latent=3),
    "DRAW": lambda: DRAW(SMALL, steps=2, hidden=8, latent=3, read_size=3),
    "LipschitzAE": lambda: LipschitzAE(SMALL, hidden=(8,), latent=4, slope=1.5),
    "MLP": lambda: MLP(SMALL, ("cat", "dog"), hidden=(8,)),
    "LeNet": lambda: LeNet(SMALL, range(3)),
    "CvNet": lambda: CvNet((3, 8, 8), ("a", 1), filters=(8,), hidden=8),
}


def answers(model: Any) -> torch.Tensor:
    x = torch.rand(2, *model.image_shape, generator=torch.Generator().manual_seed(0))
    made = model(x)
    answer: torch.Tensor = made if isinstance(made, torch.Tensor) else made.likelihood.mean
    return answer.detach()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    VAE(SMALL, hidden=(8,), latent=3).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def altered(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize("name", MAKERS)
def test_a_model_comes_back_whole(name: str, tmp_path: Path) -> None:
    """Arguments by place and by keyword, of numpy's kinds too; every weight; evaluation mode."""
    model = MAKERS[name]().eval()
    model.save_pretrained(tmp_path)
    for again in (type(model).from_pretrained(tmp_path), saved_model(tmp_path)):
        assert type(again) is type(model)
        assert not again.training
        assert again.image_shape == model.image_shape
        assert getattr(again, "classes", ()) == getattr(model, "classes", ())
        assert all(torch.equal(one, again.state_dict()[key]) for key, one in model.state_dict().items())
        assert torch.equal(answers(again), answers(model))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_the_mixin_changes_nothing_else() -> None:
    model = MAKERS["VAE"]()
    assert isinstance(model, PyTorchModelHubMixin)
    assert "config" not in " ".join(model.state_dict())
    assert list(inspect.signature(VAE).parameters) == ["image_shape", "hidden", "latent", "pixels"]
    assert (VAE.__doc__ or "").startswith("Dense encoder and decoder")
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(answers(again.eval()), answers(model.eval()))
        assert again._hub_mixin_config == model._hub_mixin_config
    with pytest.raises(InputError, match="latent of the VAE is 0"):
        VAE(SMALL, latent=0)
    with pytest.raises(TypeError):
        VAE(SMALL, colour=3)
    with pytest.raises(TypeError):
        VAE(SMALL, (3,))  # type: ignore[misc]


def test_later_changes_of_a_list_do_not_reach_the_config(tmp_path: Path) -> None:
    widths = [8]
    model = VAE(SMALL, hidden=widths, latent=3)
    widths.append(4)
    model.save_pretrained(tmp_path)
    assert VAE.from_pretrained(tmp_path).noise_shape == (3,)


class OfModules(CodeAutoencoder):
    """A model of somebody's own, whose arguments JSON cannot hold."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__(encoder, nn.Unflatten(1, (1, 2, 2)), (1, 2, 2), 4, variational=False)


def test_what_json_cannot_hold_is_refused_as_it_is_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"encoder of the OfModules is a Flatten, which config\.json cannot hold"):
        OfModules(nn.Flatten()).save_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda home: (home / "config.json").unlink(), "config.json does not exist"),
        (lambda home: (home / "config.json").write_text("{"), "is not readable JSON"),
        (lambda home: (home / "config.json").write_text("[]"), "holds a JSON list"),
        (lambda home: altered(home, library_name="other"), "is not of a model that doubleback has saved"),
        (lambda home: altered(home, architecture="ConvVAE"), "is of a ConvVAE, not of a VAE"),
        (lambda home: altered(home, arguments=[1]), "holds no arguments of a VAE"),
        (lambda home: altered(home, arguments={"hidden": [[1]]}), "holds no arguments of a VAE"),
        (lambda home: altered(home, arguments={"hidden": [1] * 2000}), "holds no arguments of a VAE"),
        (lambda home: altered(home, arguments={"image_shape": [1, 12, 12], "colour": 1}), "does not make a VAE"),
        (lambda home: altered(home, arguments={"image_shape": "black"}), "does not make a VAE"),
        (lambda home: altered(home, arguments={"latent": 0}), "latent of the VAE is 0"),
        (lambda home: altered(home, arguments={"hidden": [10**18, 10**18]}), "does not make a VAE"),
        (lambda home: altered(home, arguments={"hidden": [10**6, 10**6]}), "GB of memory"),
        (lambda home: altered(home, arguments={"hidden": [8]}), "does not fit the model"),
        (lambda home: (home / "model.safetensors").unlink(), "model.safetensors does not exist"),
        (lambda home: (home / "model.safetensors").write_bytes(b"x" * 64), "is damaged"),
        (lambda home: ((home / "model.safetensors").unlink(), os.mkfifo(home / "model.safetensors")), "is a pipe"),
        (lambda home: ((home / "config.json").unlink(), os.mkfifo(home / "config.json")), "is a pipe"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(saved: Path, damage: Callable[[Path], Any], says: str) -> None:
    damage(saved)
    with pytest.raises(InputError) as refused:
        VAE.from_pretrained(saved)
    assert says in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    model = VAE(SMALL, hidden=(8,), latent=3)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="not finite"):
        VAE.from_pretrained(tmp_path)


def test_no_pickle_is_read(saved: Path) -> None:
    torch.save(VAE(SMALL, hidden=(8,), latent=3).state_dict(), saved / "pytorch_model.bin")
    (saved / "model.safetensors").unlink()
    with pytest.raises(InputError, match="does not exist"):
        VAE.from_pretrained(saved)


def test_only_classes_of_this_package_are_made(saved: Path) -> None:
    for name in ("os.system", "Objective", "nn.Linear", None, 3):
        altered(saved, architecture=name)
        with pytest.raises(InputError, match="doubleback does not have"):
            saved_model(saved)


def test_a_name_on_the_hub(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def snapshot(name: str, **settings: Any) -> str:
        asked.append((name, settings))
        return str(saved)

    monkeypatch.setattr(home, "snapshot_download", snapshot)
    assert isinstance(doubleback.VAE.from_pretrained("owner/name", revision="main"), VAE)
    ((name, settings),) = asked
    assert name == "owner/name"
    assert settings["revision"] == "main"
    assert not any("bin" in one or "pt" in one or "py" in one for one in settings["allow_patterns"])
    for other in ("owner", "a/b/c", "owner/"):
        with pytest.raises(InputError, match="neither a folder nor owner/name"):
            VAE.from_pretrained(other)


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise ConnectionError("no way\nout")

    monkeypatch.setattr(home, "snapshot_download", refuse)
    with pytest.raises(InputError, match=r"owner/name cannot be fetched \(no way\); check the name and the network"):
        VAE.from_pretrained("owner/name")


def test_every_model_of_the_registry_can_be_pulled() -> None:
    for name, one in MODELS.items():
        more = {"classes": (0, 1)} if one.classifies else {}
        assert isinstance(build(name, (3, 16, 16), {}, **more), Pullable)
