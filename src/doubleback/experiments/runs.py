"""A trained run, read back from its folder."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from doubleback.checkpoints import load_tensors, load_weights, weights_digest
from doubleback.data import ImageData, Split, as_classes, digests, load_images, settled
from doubleback.errors import InputError
from doubleback.files import is_folder, read_arrays, read_json
from doubleback.folders import CONFIG, RESULTS, SCHEMA, SEEN, WEIGHTS, digest
from doubleback.models import Autoencoder, Classifier, Reconstruction
from doubleback.models.weighing import weight_of
from doubleback.processes import refuse_too_large
from doubleback.progress import note
from doubleback.registry import MODELS, build
from doubleback.settings import Training
from doubleback.settings.stored import Whole, checked, unflat
from doubleback.tensors import placed
from doubleback.trust import Check

FEW = 64  # images on which a model is tried before it is measured
DESCRIBED = (
    "train",
    "image_shape",
    "classes",
    "images",
    "parent",
    "harden",
    "victim",
)  # what a run's identity is made of


@dataclass(frozen=True)
class Stored:
    """What is read back of the `config.json` of a run, or of a classifier that was made of one.

    Attributes:
        train: the settings, flat.
        image_shape: (C, H, W).
        classes: of a classifier.
    """

    train: dict[str, Any]
    image_shape: tuple[Whole, Whole, Whole]
    classes: tuple[str | int, ...] = ()

    def settings(self, path: Path) -> Training:
        """The settings, which must be whole: of a run nothing is left out.

        Raises:
            InputError: one is missing, unknown or unusable.
        """
        found = unflat(Training, self.train, path)
        of_a_model: dict[str, object] = {"data": found.images.data, "model": found.architecture.model}
        if not found.architecture.classifies:
            architecture = found.architecture
            of_a_model |= {name: getattr(architecture, name) for name in ("likelihood", "variance")}
            of_a_model["kl_weight"] = found.kl_weight
        if left_out := [name for name, value in of_a_model.items() if value is None]:
            raise InputError(f"{path} does not hold the {left_out[0]} of its run; restore it, or train again")
        return found


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A trained run, read back.

    Attributes:
        folder: where it lives.
        settings: how it was trained.
        model: with its weights, on the CPU, in evaluation mode.
        identity: digest of what it was made from, that every file of the run names.
        weights: digest of its weights.
        fingerprint: of the images that it was trained, validated and tested on; None where it was not written down.
        hardened: how it was hardened since, as its configuration has it; None: it was not.
    """

    folder: Path
    settings: Training
    model: Any
    identity: str
    weights: str
    fingerprint: str | None = None
    hardened: dict[str, Any] | None = None

    def images(self, data: str | None = None) -> ImageData:
        """The data that it was trained on, or other data at the same size; a message says if they have changed."""
        if data is None:
            images = open_images(self.settings)
            now = as_classes(images)[0] if self.settings.architecture.classifies else images
            if self.fingerprint not in (None, now.fingerprint):
                note(f"the images of {images.name} have changed since {self.folder} was trained on them")
            return images
        height, width = self.model.image_shape[1:]
        had = self.settings.images
        kept = ("background", "image_column", "label_column", "parts") if settled(data) == had.data else ("background",)
        said = {name: value for name in kept if (value := getattr(had, name)) is not None}
        return _said(load_images(data, image_size=height if height == width else None, **said))

    @property
    def described(self) -> dict[str, Any]:
        """How it was trained, as its configuration has it."""
        return self.settings.described

    def seen(self, split: Split) -> list[Check]:
        """The check of how many of these images it was trained on, and a line; none where that was not written down."""
        return seen_in(self.folder, split)

    @property
    def autoencoder(self) -> Any:
        """Its model.

        Raises:
            InputError: the run is a classifier.
        """
        if not isinstance(self.model, Autoencoder):
            name = self.settings.architecture.model
            raise InputError(f"{self.folder} is a classifier ({name}); give an autoencoder, or use `robustness`")
        return self.model


def load_run(folder: str | Path) -> TrainedRun:
    """Read a run folder that `doubleback train` has written.

    Raises:
        InputError: the folder, its configuration or its weights are missing, damaged, foreign or edited.
    """
    folder = Path(folder)
    if not is_folder(folder):
        raise InputError(f"{folder} is not a folder; give one that `doubleback train` has written")
    path = folder / CONFIG
    config = read_json(path)
    if config.get("schema") != SCHEMA or not {"train", "image_shape"} <= set(config):
        raise InputError(f"{path} is not the configuration of a run; give a folder that `doubleback train` has written")
    if "classify" in config:
        raise InputError(f"{folder} is a classifier that `classify` has made; give the run that it is of")
    stored = checked(Stored, config, path)
    settings = stored.settings(path)
    identity = digest({name: config[name] for name in DESCRIBED if name in config})
    tensors, _ = load_tensors(folder / WEIGHTS, identity)
    model = build_model(settings, stored.image_shape, stored.classes)
    load_weights(model, tensors, folder / WEIGHTS)
    weights = weights_digest(model)
    measured = read_json(folder / RESULTS).get("weights") if (folder / RESULTS).exists() else None
    if measured not in (None, weights):
        raise InputError(f"{folder / WEIGHTS} holds other weights than results.json was measured on; train it again")
    return TrainedRun(folder, settings, model.eval(), identity, weights, config.get("images"), config.get("harden"))


def seen_in(folder: Path, split: Split) -> list[Check]:
    """The check of how many of these images a folder's model was trained on, and a line; none where it does not say."""
    known = read_arrays(folder / SEEN).get("digests")
    if known is None:
        return []
    seen = int(np.isin(digests(split), known).sum())
    if seen:
        note(f"{folder} was trained on {seen} of the {len(split)} images that it is tested on")
    return [Check.named("trained_on", seen / len(split))]


def refuse_not_finite(model: Autoencoder | Classifier, images: Tensor, folder: Path) -> None:
    """Refuse to measure a model whose answers are not numbers: every figure of them would look like one, and be none.

    Args:
        model: its codes and reconstructions, or its scores, are looked at.
        images: (N, C, H, W), uint8 or in [0, 1]; the first are tried.
        folder: where the model lives.

    Raises:
        InputError: one of them is not finite.
    """
    with torch.no_grad():
        answer = model(placed(model, images[:FEW]))
    parts = [answer.posterior.mean, answer.likelihood.mean] if isinstance(answer, Reconstruction) else [answer]
    if not all(part.isfinite().all() for part in parts):
        raise InputError(f"what {folder} answers is not finite: nothing can be measured on it; train it again")


def open_images(settings: Training) -> ImageData:
    """The images that settings name; the same are held out for validation whatever the seed of the run."""
    assert settings.images.data is not None
    said = {name: value for name, value in vars(settings.images).items() if value is not None}
    return _said(load_images(said.pop("data"), **said))


def _said(images: ImageData) -> ImageData:
    """The images, once their remarks are on stderr."""
    for remark in images.remarks:
        note(f"{images.name}: {remark}")
    return images


def build_model(
    settings: Training, image_shape: tuple[int, int, int], classes: tuple[str | int, ...] = (), *, copies: int = 2
) -> Any:
    """The model of resolved settings, its weights drawn from torch's global generator.

    Args:
        settings: resolved.
        image_shape: (C, H, W).
        classes: of a classifier.
        copies: of the weights that memory has to hold: the file's and the model's; training keeps more.

    Raises:
        InputError: the images do not fit the model, a size is out of range, or memory cannot hold the weights.
    """
    architecture = settings.architecture
    further: dict[str, Any] = {"likelihood": architecture.likelihood, "variance": architecture.variance}
    if MODELS[architecture.model].classifies:
        further = {"classes": classes}
    build_this = partial(build, architecture.model, image_shape, architecture.sizes.given, **further)
    refuse_too_large(copies * weight_of(build_this), f"{architecture.model} of these sizes; give smaller ones")
    return build_this()
