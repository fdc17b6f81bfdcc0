"""A trained run, read back from its folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from doubleback.checkpoints import load_tensors, load_weights, weights_digest
from doubleback.data import ImageData, Split, as_classes, digests, load_images
from doubleback.errors import InputError
from doubleback.files import read_arrays, read_json
from doubleback.folders import CONFIG, RESULTS, SCHEMA, SEEN, WEIGHTS, digest
from doubleback.models import Autoencoder
from doubleback.progress import note
from doubleback.registry import MODELS, build
from doubleback.settings import Training
from doubleback.settings.stored import unflat
from doubleback.trust import Check

DESCRIBED = ("train", "image_shape", "classes", "images", "parent")  # what a run's identity is made of


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
    """

    folder: Path
    settings: Training
    model: Any
    identity: str
    weights: str
    fingerprint: str | None = None

    def images(self, data: str | None = None) -> ImageData:
        """The data that it was trained on, or other data brought to the same size; a line says if they have changed."""
        if data is None:
            images = open_images(self.settings)
            now = as_classes(images)[0] if self.settings.architecture.classifies else images
            if self.fingerprint not in (None, now.fingerprint):
                note(f"the images of {images.name} have changed since {self.folder} was trained on them")
            return images
        height, width = self.model.image_shape[1:]
        return _said(load_images(data, image_size=height if height == width else None))

    def seen(self, split: Split) -> list[Check]:
        """The check of how many of these images it was trained on, and a line; none where that was not written down."""
        known = read_arrays(self.folder / SEEN).get("digests")
        if known is None:
            return []
        seen = int(np.isin(digests(split), known).sum())
        if seen:
            note(f"{self.folder} was trained on {seen} of the {len(split)} images that it is tested on")
        return [Check.named("trained_on", seen / len(split))]

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
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give one that `doubleback train` has written")
    path = folder / CONFIG
    config = read_json(path)
    stored, image_shape = config.get("train"), config.get("image_shape")
    if config.get("schema") != SCHEMA or not isinstance(stored, dict) or not isinstance(image_shape, list):
        raise InputError(f"{path} is not the configuration of a run; give a folder that `doubleback train` has written")
    if "classify" in config:
        raise InputError(f"{folder} is a classifier that `classify` has made; give the run that it is of")
    settings = unflat(Training, stored, path)
    identity = digest({name: config[name] for name in DESCRIBED if name in config})
    tensors, _ = load_tensors(folder / WEIGHTS, identity)
    model = build_model(settings, tuple(image_shape), tuple(config.get("classes", ())))
    load_weights(model, tensors, folder / WEIGHTS)
    weights = weights_digest(model)
    measured = read_json(folder / RESULTS).get("weights") if (folder / RESULTS).is_file() else None
    if measured not in (None, weights):
        raise InputError(f"{folder / WEIGHTS} holds other weights than results.json was measured on; train it again")
    return TrainedRun(folder, settings, model.eval(), identity, weights, config.get("images"))


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


def build_model(settings: Training, image_shape: tuple[int, ...], classes: tuple[str | int, ...] = ()) -> Any:
    """The model of resolved settings, its weights drawn from torch's global generator; a classifier has `classes`.

    Raises:
        InputError: the images do not fit the model, or a size is out of range.
    """
    architecture = settings.architecture
    further: dict[str, Any] = {"likelihood": architecture.likelihood, "variance": architecture.variance}
    if MODELS[architecture.model].classifies:
        further = {"classes": classes}
    channels, height, width = image_shape
    return build(architecture.model, (channels, height, width), architecture.sizes.given, **further)
