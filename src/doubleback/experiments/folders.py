"""Run folders (docs/run-directory.md): who they belong to, whether they may be written, how they are read back."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import doubleback
from doubleback.checkpoints import load_tensors, load_weights
from doubleback.data import ImageData, load_images
from doubleback.errors import InputError
from doubleback.experiments.config import Sizes, Train
from doubleback.files import read_json, write_json
from doubleback.models import DRAW, MLP, VAE, ConvVAE, CvNet, LeNet

SCHEMA = 1
CONFIG, RESULTS, WEIGHTS, CURVES, IMAGES = (
    "config.json",
    "results.json",
    "model.safetensors",
    "curves.npz",
    "images.npz",
)
State = Literal["free", "unfinished", "finished"]
AutoencoderModel = VAE | ConvVAE | DRAW
ClassifierModel = MLP | LeNet | CvNet
Model = AutoencoderModel | ClassifierModel
_NOT_OF_THE_RUN = ("output", "resume", "tensorboard", "cuda_graph")  # settings that the weights do not depend on


@dataclass(frozen=True, eq=False)
class Run:
    """A trained run, read back.

    Attributes:
        folder: where it lives.
        settings: how it was trained.
        model: with its weights, on the CPU, in evaluation mode.
        identity: digest of the settings, that every file of the run names.
    """

    folder: Path
    settings: Train
    model: Model
    identity: str

    def images(self, data: str | None = None) -> ImageData:
        """The data that it was trained on, or other data brought to the same size."""
        if data is None:
            return open_images(self.settings)
        height, width = self.model.image_shape[1:]
        return load_images(data, image_size=height if height == width else None)

    @property
    def autoencoder(self) -> AutoencoderModel:
        """Its model.

        Raises:
            InputError: the run is a classifier.
        """
        if isinstance(self.model, ClassifierModel):
            name = self.settings.model
            raise InputError(f"{self.folder} is a classifier ({name}); give an autoencoder, or use `robustness`")
        return self.model

    @property
    def results(self) -> dict[str, Any]:
        """What `results.json` holds."""
        return read_json(self.folder / RESULTS)


def load_run(folder: str | Path) -> Run:
    """Read a run folder that `doubleback train` has written.

    Raises:
        InputError: the folder, its configuration or its weights are missing, damaged, foreign or edited.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give one that `doubleback train` has written")
    path = folder / CONFIG
    config = read_json(path)
    settings, image_shape = config.get("train"), config.get("image_shape")
    if config.get("schema") != SCHEMA or not isinstance(settings, dict) or not isinstance(image_shape, list):
        raise InputError(f"{path} is not the configuration of a run; give a folder that `doubleback train` has written")
    if "classify" in config:
        raise InputError(f"{folder} is a classifier that `classify` has made; give the run that it is of")
    train = as_settings(folder, settings)
    classes = {"classes": config["classes"]} if "classes" in config else {}
    identity = digest({"train": settings, "image_shape": image_shape, **classes})
    tensors, _ = load_tensors(folder / WEIGHTS, identity)
    model = build_model(train, tuple(image_shape), tuple(config.get("classes", ())))
    load_weights(model, tensors, folder / WEIGHTS)
    return Run(folder, train, model.eval(), identity)


def as_settings(folder: Path, stored: Mapping[str, Any]) -> Train:
    """The settings of a run from its folder's `config.json`.

    Raises:
        InputError: one of them is not known.
    """
    if unknown := sorted(set(stored) - {field.name for field in fields(Train)}):
        raise InputError(
            f"{folder / CONFIG} holds the unknown setting {unknown[0]!r} (edited, or from another version); "
            "restore it, or train again"
        )
    values = _tupled(stored)
    values["init"] = Path(values["init"]) if values.get("init") else None
    return Train(output=folder, **values | {"sizes": Sizes(**_tupled(values.get("sizes") or {}))})


def open_images(settings: Train) -> ImageData:
    """The images that settings name; the same are held out for validation whatever the seed of the run."""
    assert settings.data is not None
    return load_images(settings.data, image_size=settings.image_size, limit=settings.limit)


def build_model(settings: Train, image_shape: tuple[int, int, int], classes: Sequence[str | int] = ()) -> Model:
    """The model of resolved settings, its weights drawn from torch's global generator; a classifier has `classes`.

    Raises:
        InputError: the images do not fit the model, or a size is out of range.
    """
    sizes = {name: value for name, value in asdict(settings.sizes).items() if value is not None}
    if settings.model == "mlp":
        return MLP(image_shape, classes, **sizes)
    if settings.model == "lenet":
        return LeNet(image_shape, classes)
    if settings.model in ("vae", "ae"):
        return VAE(image_shape, variational=settings.model == "vae", **sizes | _likelihood(settings))
    if len(sizes["hidden"]) != 1:
        raise InputError(f"--model.hidden is {sizes['hidden']}; {settings.model} has one: give one number")
    sizes["hidden"] = sizes["hidden"][0]
    if settings.model == "cvnet":
        return CvNet(image_shape, classes, **sizes)
    sizes |= _likelihood(settings)
    if settings.model == "draw":
        return DRAW(image_shape, **sizes)
    return ConvVAE(image_shape, variational=settings.model == "conv-vae", **sizes)


def _likelihood(settings: Train) -> dict[str, Any]:
    return {"likelihood": settings.likelihood, "variance": settings.variance}


def _tupled(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples that they were."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def described(settings: Train) -> dict[str, Any]:
    """The settings that a run's weights depend on, as JSON has them."""
    kept = {name: value for name, value in asdict(settings).items() if name not in _NOT_OF_THE_RUN}
    plain: dict[str, Any] = json.loads(json.dumps(kept, default=str))
    return plain


def digest(value: Mapping[str, Any]) -> str:
    """A digest of JSON data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def state_of(folder: Path, section: str, config: Mapping[str, Any]) -> State:
    """Whether a folder is free for a configuration, or holds it already, finished (with `results.json`) or not.

    Args:
        folder: what is to be written into.
        section: the part of `config` that says what is run, "train" or "audit".
        config: what is to become its `config.json`.

    Raises:
        InputError: the folder holds another configuration, or files of something else.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; give a folder to write to")
        if not (folder / CONFIG).exists():
            if folder.exists() and any(folder.iterdir()):
                raise InputError(f"{folder} is not empty and holds no run; give another --output")
            return "free"
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror or error}; give another folder") from error
    if differs := _difference(read_json(folder / CONFIG), config, section):
        raise InputError(f"{folder} holds another configuration ({differs}); give another --output, or remove it")
    return "finished" if (folder / RESULTS).exists() else "unfinished"


def write_config(folder: Path, config: Mapping[str, Any], command: Sequence[str]) -> None:
    """Write `config.json`."""
    record = {"schema": SCHEMA, "version": doubleback.__version__, "command": list(command), **config}
    write_json(folder / CONFIG, record)


def _difference(there: Mapping[str, Any], here: Mapping[str, Any], section: str) -> str:
    """The first setting in which two configurations differ; empty if there is none."""
    old, new = there.get(section), here[section]
    if not isinstance(old, dict):
        return f"no {section} settings there"
    for name in new | old:
        if old.get(name) != new.get(name):
            return f"{name.replace('_', '-')}: {old.get(name)} there, {new.get(name)} here"
    others = [name for name in here if name not in (section, "run")]
    return "" if all(there.get(name) == here[name] for name in others) else "made from other data or weights"
