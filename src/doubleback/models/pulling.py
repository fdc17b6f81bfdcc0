"""Models that are saved in the hub's layout and come back from it: `config.json` and `model.safetensors`.

    model.save_pretrained("my-model")
    model = VAE.from_pretrained("my-model")     # or "owner/name" on the hub

`config.json` holds every argument of the constructor. What is read may be a stranger's: only classes of this package
are made, weights are safetensors, and no pickle is ever read.

Source: `PyTorchModelHubMixin` of huggingface_hub, whose way to load (from pickles, too, and with weights missing) is
replaced.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from huggingface_hub import PyTorchModelHubMixin, snapshot_download
from torch import nn

from doubleback._version import __version__
from doubleback.checkpoints import load_weights, read_tensors, save_tensors, weights_digest
from doubleback.errors import InputError, reason
from doubleback.files import is_folder, read_json, write_json
from doubleback.models.weighing import weight_of
from doubleback.processes import refuse_too_large
from doubleback.registry import MODELS

LIBRARY = "doubleback"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
_LONGEST = 1000  # numbers in one argument: a deeper model than anyone's
_CARD = """---
{{ card_data }}
---

A model of doubleback: load it with `from_pretrained` of its class, which `config.json` names.
"""


class Pullable(
    PyTorchModelHubMixin, library_name=LIBRARY, tags=["doubleback", "autoencoder"], model_card_template=_CARD
):
    """A torch module that can be saved in the hub's layout, pushed, and pulled again.

    A subclass keeps its constructor, its `state_dict` and its docstring. All arguments of the constructor go into
    `config.json`, by place or by keyword, so they must be numbers, text, None, or rows of these.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the instance, and note what it is made with; the constructor judges the arguments."""
        made = object.__new__(cls)
        made._hub_mixin_config = _noted(cls, args, kwargs)
        return made

    def _save_pretrained(self, save_directory: Path) -> None:
        """Leave both files: `save_pretrained` makes the folder."""
        noted = self._hub_mixin_config
        assert isinstance(noted, Mapping)
        assert isinstance(self, nn.Module)
        if odd := [name for name, value in noted.items() if not _is_plain(value)]:
            raise InputError(
                f"{odd[0]} of the {type(self).__name__} is a {type(noted[odd[0]]).__name__}, which config.json cannot "
                "hold; make the model with numbers, text or None, or save its state_dict"
            )
        head = {"library_name": LIBRARY, "version": __version__, "architecture": type(self).__name__}
        write_json(save_directory / CONFIG, {**head, "arguments": noted})
        save_tensors(save_directory / WEIGHTS, self.state_dict(), weights_digest(self))

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **model_kwargs: Any,
    ) -> Self:
        """A model from a folder, or from the hub, with all of its weights.

        Args:
            pretrained_model_name_or_path: a folder in the hub's layout, or `owner/name` on the hub.
            force_download, token, cache_dir, local_files_only, revision: as in huggingface_hub; of a folder, unread.
            model_kwargs: arguments of the constructor instead of those in `config.json`.

        Returns:
            The model, on the CPU, in evaluation mode.

        Raises:
            InputError: there is no such folder or repository, or a file in it is missing, damaged or of another class.
        """
        text = str(pretrained_model_name_or_path)
        folder = Path(text)
        if not is_folder(folder):
            folder = fetched(
                text,
                force_download=force_download,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                revision=revision,
            )
        model: Self = read_model(folder, cls, model_kwargs)
        return model


def save_model(model: Pullable, folder: Path) -> None:
    """Leave `config.json` and `model.safetensors` in a folder, without a model card.

    Raises:
        InputError: an argument of the constructor cannot be written as JSON, or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model._save_pretrained(folder)


def fetched(name: str, **settings: Any) -> Path:
    """The folder of a repository of the hub, its JSON and its safetensors alone.

    Args:
        name: owner/name.
        settings: of huggingface_hub's `snapshot_download`.

    Raises:
        InputError: the name is wrong, or the repository cannot be fetched.
    """
    if name.count("/") != 1 or not all(name.split("/")):
        raise InputError(f"{name} is neither a folder nor owner/name of a model on the hub; give one of them")
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"], **settings))
    except Exception as error:
        raise InputError(f"{name} cannot be fetched ({reason(error)[:200]}); check the name and the network") from error


def is_saved(folder: Path) -> bool:
    """Whether `save_pretrained` has left a model of ours there.

    Raises:
        InputError: its `config.json` is damaged, or no regular file.
    """
    path = folder / CONFIG
    return path.is_file() and read_json(path).get("library_name") == LIBRARY


def saved_model(folder: Path) -> Any:
    """A model of this package, whichever class `config.json` names.

    Raises:
        InputError: as `read_model`, or the class is none of this package.
    """
    named = read_json(folder / CONFIG).get("architecture")
    homes = {one.home.partition(":")[2]: one.home.partition(":")[0] for one in MODELS.values()}
    if not isinstance(named, str) or named not in homes:
        raise InputError(
            f"{folder / CONFIG} names the class {str(named)[:60]!r}, which doubleback does not have; name what makes "
            f"the model: file.py:factory --weights {folder / WEIGHTS}"
        )
    return read_model(folder, getattr(import_module(f"doubleback.models.{homes[named]}"), named), {})


def read_model(folder: Path, kind: type[Any], changed: Mapping[str, Any]) -> Any:
    """A model of this class from its folder.

    Raises:
        InputError: a file is missing, damaged or of another class, memory cannot hold the model, or weights do not fit.
    """
    path = folder / CONFIG
    config = read_json(path)
    if config.get("library_name") != LIBRARY:
        raise InputError(f"{path} is not of a model that doubleback has saved; give a folder of `save_pretrained`")
    if config.get("architecture") != kind.__name__:
        named = str(config.get("architecture"))[:60]
        raise InputError(f"{path} is of a {named}, not of a {kind.__name__}; use {named}.from_pretrained")
    arguments = config.get("arguments")
    if not isinstance(arguments, dict) or not all(map(_is_plain, arguments.values())):
        raise InputError(f"{path} holds no arguments of a {kind.__name__}; fetch it again, or save the model again")
    given = {name: _rows(value) for name, value in arguments.items()} | dict(changed)
    tensors, _ = read_tensors(folder / WEIGHTS)
    try:
        if math.isinf(weight := weight_of(lambda: kind(**given))):
            raise ValueError("its arguments do not fit, or go beyond every memory")
        refuse_too_large(2 * weight, f"the {kind.__name__} of {path}; pull a smaller model")
        model = kind(**given)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} does not make a {kind.__name__} ({reason(error)[:200]}); save it again") from error
    load_weights(model, tensors, folder / WEIGHTS)
    return model.eval()


def _noted(kind: type[Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Every argument by its name: those that are given, and the defaults of the others."""
    taken = list(inspect.signature(kind.__init__).parameters.values())[1:]
    named = [one for one in taken if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    found = {one.name: one.default for one in named if one.default is not one.empty}
    found |= dict(zip([one.name for one in named if one.kind is not one.KEYWORD_ONLY], args, strict=False))
    return {name: _as_json(value) for name, value in {**found, **kwargs}.items()}


def _as_json(value: Any) -> Any:
    """The argument as JSON has it: a row as a list, a number of numpy's or torch's as Python's."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_as_json(one) for one in value]
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= _LONGEST and all(_is_plain(one) and not isinstance(one, list) for one in value)
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _rows(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
