"""A model in the layout of its library: diffusers, transformers, pythae, or doubleback itself; from disk or the hub.

What is read may be a stranger's: no pickle, and no code of a repository, is ever run.
"""

import importlib
from pathlib import Path
from typing import Any

from torch import nn

from doubleback.errors import InputError, reason
from doubleback.experiments.weights import with_weights
from doubleback.files import is_folder, read_json
from doubleback.folders import CONFIG
from doubleback.models import Autoencoder
from doubleback.models.pulling import fetched, is_saved, saved_model


def of_folder(folder: Path) -> Any:
    """A model from a folder in the layout of diffusers, transformers or pythae, or in that of our own models.

    Raises:
        InputError: it is in none of these layouts, a file is missing or damaged, or it holds a classifier.
    """
    if is_saved(folder):
        model = saved_model(folder)
        if isinstance(model, Autoencoder):
            return model
        raise InputError(f"{folder} holds a {type(model).__name__}, a classifier; give an autoencoder")
    if (folder / "model_index.json").is_file():  # a whole pipeline: its autoencoder
        return of_folder(folder / "vae")
    if (folder / "model_config.json").is_file():
        return _of_pythae(folder)
    if not (folder / CONFIG).is_file():
        raise InputError(
            f"{folder} holds no {CONFIG}; give a run, or a folder that diffusers or transformers has saved"
        )
    config = read_json(folder / CONFIG)
    if isinstance(name := config.get("_class_name"), str):
        return _pretrained("diffusers", name, folder)
    names = config.get("architectures")
    if isinstance(names, list) and names and isinstance(names[0], str):
        return _pretrained("transformers", names[0], folder)
    raise InputError(f"{folder / CONFIG} names no class (_class_name or architectures); give a folder of diffusers' or "
                     "transformers' layout, or a run")  # fmt: skip


def said_of(folder: Path) -> dict[str, Any]:
    """What the `config.json` of a model of ours says beside its class and arguments; nothing of any other folder."""
    found = read_json(folder / CONFIG) if is_folder(folder) and is_saved(folder) else {}
    return {"hardened": found["hardened"]} if isinstance(found.get("hardened"), dict) else {}


def _pretrained(library: str, name: str, folder: Path) -> Any:
    """A model that `save_pretrained` has left, with all of its weights."""
    home = _imported(library)
    kind = getattr(home, name, None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise InputError(
            f"{folder} is of the class {name}, which {library} does not have; install the version that does"
        )
    try:
        home.utils.logging.disable_progress_bar()
        quiet = {"low_cpu_mem_usage": False} if library == "diffusers" else {}
        net, info = kind.from_pretrained(  # type: ignore[attr-defined]
            str(folder), use_safetensors=True, output_loading_info=True, local_files_only=True, **quiet
        )
    except Exception as error:
        raise InputError(f"{folder} cannot be loaded as {name} ({reason(error)[:200]}); save it again") from error
    lost = [*info.get("missing_keys", ()), *info.get("mismatched_keys", ()), *info.get("error_msgs", ())]
    if lost:
        raise InputError(f"{folder} lacks {len(lost)} of the weights of {name}, as {str(lost[0])[:80]}; save it again")
    return net


def _of_pythae(folder: Path) -> Any:
    """A pythae model with its own encoder and decoder."""
    name = str(read_json(folder / "model_config.json").get("name", "")).removesuffix("Config")
    if any(folder.glob("*.pkl")):
        raise InputError(f"{folder} holds networks of its own as pickles, which are not read; name what makes it: "
                         "file.py:factory --weights FILE")  # fmt: skip
    models = _imported("pythae.models")
    kind, config = getattr(models, name, None), getattr(models, f"{name}Config", None)
    if kind is None or config is None:
        raise InputError(f"{folder} is of the class {name!r}, which pythae does not have; name what makes the model")
    try:
        net = kind(config.from_json_file(str(folder / "model_config.json")))
    except Exception as error:
        raise InputError(f"{folder} cannot be loaded as {name} ({reason(error)[:200]}); save it again") from error
    return with_weights(net, folder / "model.pt")


def from_hub(name: str) -> Path:
    """A model's folder from the hub: its JSON and its safetensors alone; `owner/name/sub` for a folder inside.

    Raises:
        InputError: the name is wrong, or the repository or the folder inside cannot be fetched.
    """
    owner, _, rest = name.partition("/")
    repository, _, below = rest.partition("/")
    if not owner or not repository:
        raise InputError(f"hub:{name} names no model; give hub:owner/name")
    home = fetched(f"{owner}/{repository}")
    if below and (".." in Path(below).parts or not is_folder(home / below)):
        raise InputError(f"hub:{name}: {owner}/{repository} holds no folder {below}; give one that it holds")
    return home / below


def _imported(library: str) -> Any:
    try:
        return importlib.import_module(library)
    except Exception as error:
        name = library.partition(".")[0]
        raise InputError(f"{name} is needed for this model ({reason(error)[:120]}): pip install {name}") from error
