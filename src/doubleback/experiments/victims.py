"""What a user names on the command line -> a model that can be attacked.

    runs/plain                         a run that `doubleback train` has written
    sd-vae/, hub:owner/name            a folder in the layout of diffusers, transformers, pythae or doubleback's own
                                       models (`push`); the same on the hub
    models.py:make, package.mod:make   a model, or what makes one, with --weights, --range, ...
    model.pt, model.pt2                TorchScript, or an exported program

No pickle is read: weights are safetensors, or loaded by torch as tensors alone.
"""

import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from doubleback.checkpoints import weights_digest
from doubleback.data import ImageData, Split, load_images, settled
from doubleback.errors import InputError, reason
from doubleback.experiments.libraries import from_hub, of_folder, said_of
from doubleback.experiments.runs import TrainedRun, load_run, seen_in
from doubleback.experiments.weights import misfit, scripted, tensors, with_weights
from doubleback.files import is_folder, read_json
from doubleback.folders import CONFIG, SEEN, WEIGHTS, within
from doubleback.imports import beside, code_digest, is_named, named_object
from doubleback.models import Autoencoder, Wrapped, wrap
from doubleback.models.pulling import Pullable, save_model
from doubleback.settings import Wrapping
from doubleback.settings.commands import Audit
from doubleback.settings.stored import flat, unflat
from doubleback.settings.words import words
from doubleback.trust import Check

LEFT = "weights"  # in a folder of `harden`: the new weights, in the layout of the model's library


@dataclass(frozen=True)
class Stranger:
    """A model of somebody else, as a run is seen by the commands.

    Attributes:
        folder: what the user has named, as a path: its last part names the audit.
        autoencoder: the model, on the CPU.
        identity: what it was made from.
        weights: digest of its weights.
        hardened: how `harden` has made it, where that is known.
        own: `data` and `image_size` of its own images, where these are known.
    """

    folder: Path
    autoencoder: Any
    identity: str
    weights: str
    hardened: dict[str, Any] | None = None
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def described(self) -> dict[str, Any]:
        """Of its training nothing is known."""
        return {}

    def named(self, data: str | None, image_size: int | None) -> dict[str, Any]:
        """`data` and `image_size` of the images that are meant: its own where none are named.

        Raises:
            InputError: it has none either.
        """
        if data is None and isinstance(self.own.get("data"), str):
            return {"data": self.own["data"], "image_size": image_size or self.own.get("image_size")}
        if data is None:
            raise InputError(f"{self.folder} has no images of its own; name some: --data NAME or PATH")
        return {"data": settled(data), "image_size": image_size}

    def images(self, data: str | None = None, image_size: int | None = None) -> ImageData:
        """The images of this data set, at the size that a model of our own takes; None: its own.

        Raises:
            InputError: none is named, or they cannot be loaded.
        """
        meant = self.named(data, image_size)
        shape = getattr(self.autoencoder, "image_shape", ()) if isinstance(self.autoencoder, Pullable) else ()
        square = shape[1] if shape and shape[1] == shape[2] else None
        return load_images(meant["data"], image_size=meant["image_size"] or square)

    def seen(self, split: Split) -> list[Check]:
        """The check of how many of these images it was hardened on, or its classifier made of, where that is known."""
        return seen_in(self.folder, split) if (self.folder / SEEN).is_file() else []


def load_victim(named: Path | str, wrapping: Wrapping | None = None) -> "TrainedRun | Stranger":
    """The model that is meant.

    Args:
        named: as above.
        wrapping: how it is loaded and fed.

    Raises:
        InputError: there is no such thing, it cannot be loaded, its weights do not fit, or a flag has no effect on it.
    """
    wrapping, text = wrapping or Wrapping(), str(named)
    path = Path(text)
    if not is_named(text) and not is_there(path):
        raise InputError(
            f"{text} is not a folder, a file or module:factory; give a run, a model's folder, hub:owner/name, or "
            "file.py:factory"
        )
    if is_folder(path) and (hardened := _how_hardened(path)):
        victim = load_victim(_weights_of(path), wrapping)
        if not isinstance(victim, Stranger):
            raise InputError(f"{victim.folder} is a run, not a model in its library's layout; give that run")
        return replace(victim, folder=path, hardened=hardened, own=hardened)
    if is_folder(path) and _is_run(path):
        if wrapping.said:
            raise InputError(f"{wrapping.said[0]} has no effect on {text}, a run of `doubleback train`; leave it out")
        return load_run(path)
    if text.startswith("hub:"):
        path = from_hub(text.removeprefix("hub:"))
    net = _loaded(text, path, wrapping)
    victim = _wrapped(net, wrapping, text)
    module = victim if isinstance(victim, nn.Module) else nn.Module()
    code = code_digest(text) if is_named(text) and not text.startswith("hub:") else ""
    identity = f"{type(net).__name__} {code}".strip()
    hardened = said_of(path).get("hardened") or _how_made(wrapping.weights)
    return Stranger(Path(text), victim, identity, weights_digest(module), hardened)


def images_of(victim: "TrainedRun | Stranger", data: str | None, image_size: int | None) -> ImageData:
    """The images that a victim is attacked with, or learns from: its own, or this data set's.

    Raises:
        InputError: it has none of its own and none are named, or a run is given a size, which it has.
    """
    if isinstance(victim, Stranger):
        return victim.images(data, image_size)
    if image_size is not None:
        raise InputError(f"--image-size has no effect on {victim.folder}, a run, which has a size; leave it out")
    return victim.images(data)


def named_as(named: Path | str) -> str:
    """A victim's name, as a folder can have it.

    >>> named_as("runs/plain"), named_as("hub:owner/name"), named_as("models.py:make")
    ('plain', 'name', 'models-make')
    """
    text = str(named)
    if is_named(text):
        return Path(text.removeprefix("hub:").replace(".py:", "-").replace(":", "-")).name
    return Path(text).resolve().name


def is_there(path: Path) -> bool:
    """Whether a folder or a regular file is there: not a pipe, which could be waited for without end."""
    try:
        return path.is_dir() or path.is_file()
    except OSError:  # a name that no file system takes
        return False


def _how_hardened(folder: Path) -> dict[str, Any] | None:
    """How `harden` has made this folder, if it is its folder for a model that is not a run."""
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    harden = config.get("harden")
    return harden if isinstance(harden, dict) and "train" not in config else None


def _how_made(weights: Path | None) -> dict[str, Any] | None:
    """How `harden` has made these weights, if they lie in the folder that it left."""
    return _how_hardened(weights.parent.parent) if weights is not None and weights.parent.name == LEFT else None


def _weights_of(folder: Path) -> Path:
    """The folder in its library's layout; of what code has to make nothing is run that a folder names."""
    home = within(folder, LEFT)
    if in_a_layout(home):
        return home
    raise InputError(
        f"{folder} holds weights without the code that makes their model; name that: {_line(folder, home / WEIGHTS)}"
    )


def in_a_layout(home: Path) -> bool:
    """Whether a folder of weights says what model they are of, as its library does."""
    return any((home / name).is_file() for name in (CONFIG, "model_config.json"))


def _line(folder: Path, weights: Path) -> str:
    """How a model is named that `harden` has left without its code: as its victim was, as far as the folder says."""
    left = read_json(folder / CONFIG)
    with suppress(TypeError, AttributeError, InputError):
        victim, data = left["victim"], left["harden"].get("data")
        wrapping = replace(fed_as(victim, folder / CONFIG), weights=weights)
        return shlex.join(words(Audit((Path(victim["name"]),), data=data, wrapping=wrapping))[1:])
    return f"file.py:make --weights {weights}"


def described(victim: Stranger, named: Path, wrapping: Wrapping) -> dict[str, Any]:
    """What a folder writes down of its victim: the name, without its path where that is a file's, and how it is fed."""
    name = str(named) if is_named(str(named)) else victim.folder.name
    return {"name": name, "identity": victim.identity, **flat(wrapping)}


def fed_as(described: Mapping[str, Any], where: Path) -> Wrapping:
    """How a victim is fed, from what `described` has written down; its weights are left out.

    Raises:
        InputError: `where` holds no such settings.
    """
    named = {one.name for one in fields(Wrapping)} - {"weights"}
    return unflat(Wrapping, {name: value for name, value in described.items() if name in named}, where)


def leave_weights(model: Any, folder: Path) -> None:
    """The weights of a model that is not a run, in the layout of its library, in `LEFT` of a command's folder."""
    if isinstance(model, Wrapped):
        model.save(within(folder, LEFT))
    elif isinstance(model, Pullable):
        save_model(model, within(folder, LEFT))


def _is_run(folder: Path) -> bool:
    config = folder / CONFIG
    return not (config.is_file() and not {"schema", "train"} & set(read_json(config))) and not any(
        (folder / name).is_file() for name in ("model_index.json", "model_config.json")
    )


def _loaded(text: str, path: Path, wrapping: Wrapping) -> Any:
    if is_folder(path):
        return _unweighted(of_folder(path), wrapping, text)
    if is_there(path):
        return _unweighted(_of_file(path), wrapping, text)
    return _of_factory(text, wrapping.weights)


def _unweighted(net: Any, wrapping: Wrapping, text: str) -> Any:
    if wrapping.weights is not None:
        raise InputError(f"--weights has no effect on {text}, which has its own; leave it out")
    return net


# -- files and factories -------------------------------------------------------------------------------------


def _of_file(path: Path) -> Any:
    """TorchScript, or an exported program."""
    if path.suffix == ".py":
        raise InputError(f"{path} is code; name the function in it that makes the model, as {path}:make")
    try:
        if path.suffix == ".pt2":
            return torch.export.load(path)
        return scripted(path)
    except Exception as error:
        raise InputError(
            f"{path} is neither TorchScript nor an exported program ({reason(error).partition('. ')[0][:120]}); of "
            f"weights alone, name what makes the model: file.py:make --weights {path}"
        ) from error


def _of_factory(text: str, weights: Path | None) -> Any:
    """The object of this name, made if it is what makes a model."""
    made = named_object(text)
    if isinstance(made, type) and weights is not None and hasattr(made, "from_state_dict"):
        try:
            return made.from_state_dict(tensors(weights))
        except InputError:
            raise
        except Exception as error:
            raise misfit(weights, reason(error)) from error
    if not _is_model(made):
        try:
            with beside(Path(text.rpartition(":")[0])):
                made = made()
        except (Exception, SystemExit) as error:
            raise InputError(
                f"{text} raises {type(error).__name__} when it is called ({reason(error)[:200]}); name a function that "
                "takes no arguments and gives a model"
            ) from error
    if not _is_model(made) and not hasattr(made, "encode"):
        raise InputError(
            f"{text} gives a {type(made).__name__}; it must give a model: a torch module, or what wrap gives"
        )
    return made if weights is None else with_weights(made, weights)


def _is_model(made: Any) -> bool:
    return not isinstance(made, type) and (isinstance(made, nn.Module) or type(made).__name__ == "ExportedProgram")


def _wrapped(net: Any, wrapping: Wrapping, text: str) -> Any:
    """The model as a victim, in evaluation mode."""
    if isinstance(net, nn.Module):
        for part in net.modules():
            part.training = False
    if isinstance(net, Autoencoder) and (isinstance(net, Wrapped | Pullable) or not wrapping.said):
        further = [flag for flag in wrapping.said if flag != "--weights"]
        if further:
            raise InputError(f"{further[0]} has no effect on {text}, which brings its own settings; leave it out")
        return net
    return wrap(
        net, input=wrapping.input_range, output=wrapping.output_range, mean=wrapping.mean, std=wrapping.std
    )  # fmt: skip
