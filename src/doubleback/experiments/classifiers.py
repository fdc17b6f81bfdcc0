"""Classifiers on disk: `classify` makes one of a run, `load_classifier` reads any back, several go by their names."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from doubleback.checkpoints import load_tensors, load_weights, save_tensors, weights_digest
from doubleback.data import ImageData, as_classes, digests, fingerprint
from doubleback.errors import InputError
from doubleback.evaluation import classification_quality
from doubleback.experiments.runs import Stored, TrainedRun, build_model, load_run, refuse_not_finite
from doubleback.experiments.victims import (
    LEFT,
    Stranger,
    described,
    fed_as,
    images_of,
    in_a_layout,
    leave_weights,
    load_victim,
)
from doubleback.files import is_folder, read_json, write_arrays
from doubleback.folders import CONFIG, SCHEMA, SEEN, WEIGHTS, Folder, digest, within
from doubleback.mixture import LatentMixtureClassifier, LatentMixtures
from doubleback.models import Autoencoder, Classifier
from doubleback.models.base import acquaint, encodes
from doubleback.processes import alone, refuse_too_large
from doubleback.progress import progress_bar
from doubleback.settings.commands import Classify
from doubleback.settings.stored import Whole, checked, flat
from doubleback.tensors import check_shape, placed

CLASSIFIER = "classifier"  # where `classify` puts it, in the run's folder


@dataclass(frozen=True, eq=False)
class Loaded:
    """A classifier, read back.

    Attributes:
        folder: where it lives.
        model: a module in evaluation mode, its parameters frozen.
        run: that it was trained as, or the model whose code it classifies.
        weights: digest of its weights.
    """

    folder: Path
    model: Classifier
    run: TrainedRun | Stranger
    weights: str


def load_classifier(folder: str | Path, code: str | None = None) -> Loaded:
    """Read a folder of `classify`, of `train` with a classifier, or of a run that has been classified.

    Args:
        folder: any of these.
        code: file.py:function, which makes the autoencoder of a classifier whose folder does not hold it.

    Raises:
        InputError: it is none of these, or damaged, or needs code that is not given.
    """
    folder = Path(folder)
    if is_folder(folder) and (folder / CONFIG).exists() and "classify" in read_json(folder / CONFIG):
        return _load_mixture(folder, code)
    run = load_run(folder)
    model = run.model
    if not isinstance(model, Classifier):
        if (folder / CLASSIFIER / CONFIG).exists():
            if read_json(folder / CLASSIFIER / CONFIG).get("weights") not in (None, run.weights):
                raise InputError(
                    f"{folder / CLASSIFIER} was made from other weights than {folder}; remove it, classify again"
                )
            return _load_mixture(folder / CLASSIFIER)
        raise InputError(f"{folder} is an autoencoder; make it a classifier first: doubleback classify {folder}")
    return Loaded(folder, run.model.requires_grad_(False), run, run.weights)


def classify(command: Classify, words: Sequence[str]) -> dict[str, Any]:
    """Fit mixtures to a model's codes and leave a classifier's folder; what is there already is kept.

    Raises:
        InputError: a setting, the model or the folder is unusable; the images have no labels.
    """
    victim = load_victim(command.run, command.wrapping)
    images, classes = as_classes(_images_of(victim, command))
    assert images.train.labels is not None
    autoencoder = victim.autoencoder.to(alone("classify"))
    D = _dimensions(autoencoder, images.train.images)
    refuse_too_large(
        32 * len(classes) * command.mixture.components * D**2,
        f"{command.mixture.components} Gaussians a class in {D} dimensions; give fewer --components",
    )
    what = {
        "classify": flat(command.mixture),
        **_made_of(victim, command),
        "image_shape": list(images.image_shape),
        "weights": victim.weights,
        "images": fingerprint(images.train),
        "classes": list(classes),
    }
    path = command.output or within(command.run, CLASSIFIER)
    folder = Folder(path, "classify", what, words, (WEIGHTS, SEEN), {"run": str(command.run.resolve())})
    with folder.claimed() as finished:
        if finished:
            return finished
        started = time.perf_counter()
        with progress_bar("fitting", len(classes)) as advance:
            fitted = LatentMixtureClassifier.fit(
                autoencoder, images.train.images, images.train.labels, command.mixture, advance=advance
            )
        seconds = time.perf_counter() - started
        model = LatentMixtureClassifier(autoencoder, fitted.mixtures, classes)
        save_tensors(folder.path / WEIGHTS, model.state_dict(), folder.identity)
        if isinstance(victim, Stranger):
            leave_weights(autoencoder, folder.path)
        write_arrays(folder.path / SEEN, {"digests": digests(images.train)})
        return folder.finish(
            {
                "test": {"images": len(images.test), **classification_quality(model, images.test)},
                "mixtures": {"seconds": seconds, "converged": list(fitted.converged), "codes": len(images.train)},
                "flags": fitted.flags,
            }
        )


def _images_of(victim: TrainedRun | Stranger, command: Classify) -> ImageData:
    """The images whose codes are fitted: those of a run, else what is named."""
    if isinstance(victim, Stranger) and command.output is None:
        raise InputError(f"{command.run} is not a run, so its classifier needs a folder; give one: --output DIR")
    if isinstance(victim, TrainedRun) and command.data is not None:
        raise InputError(f"--data has no effect on {command.run}, a run, which has images of its own; leave it out")
    return images_of(victim, command.data, command.image_size)


def _dimensions(autoencoder: Autoencoder, images: Tensor) -> int:
    """Of the code."""
    acquaint(autoencoder, placed(autoencoder, images[:1]))
    if not encodes(autoencoder):
        raise InputError("the model has no code, only an output; give one that encodes")
    return math.prod(autoencoder.noise_shape)


def _made_of(victim: TrainedRun | Stranger, command: Classify) -> dict[str, Any]:
    """The model behind a classifier: how its run was trained, or what was named."""
    if isinstance(victim, TrainedRun):
        return {"train": victim.settings.described, "run_identity": victim.identity}
    of_images = victim.named(command.data, command.image_size)
    return {"victim": described(victim, command.run, command.wrapping) | of_images}


def named(paths: Sequence[Path], code: str | None = None) -> dict[str, Loaded]:
    """Classifiers by the names of their folders; where two are alike, with their parents' names.

    Args:
        paths: their folders.
        code: as in `load_classifier`, for those whose folder does not hold their autoencoder.

    Raises:
        InputError: one is there twice, or two cannot be told apart by these names.
    """
    loaded = [load_classifier(path, code) for path in paths]
    where = alone("an attack on classifiers")
    for one in loaded:
        assert isinstance(one.model, nn.Module)
        one.model.to(where)
    homes = [one.folder.resolve() for one in loaded]
    resolved = [Path(path).resolve() for path in paths]
    names = [path.name for path in resolved]
    longer = [f"{path.parent.name}/{path.name}" if names.count(path.name) > 1 else path.name for path in resolved]
    for place, home in enumerate(homes):
        if home in homes[:place]:
            raise InputError(f"{paths[place]} is given twice; give each model once")
    if len(set(longer)) < len(longer):
        raise InputError("two of the models have the same folder name, and so do their parents; rename one")
    return dict(zip(longer, loaded, strict=True))


def identified(models: Mapping[str, Loaded]) -> dict[str, dict[str, str]]:
    """A study's models in its configuration: the path of each, and the digest of its weights."""
    return {name: {"path": str(one.folder.resolve()), "weights": one.weights} for name, one in models.items()}


def weights_of(models: Mapping[str, Loaded]) -> dict[str, str]:
    """The digests of the models' weights: what a study's folder depends on, wherever they lie."""
    return {name: one.weights for name, one in models.items()}


def labelled_images(models: dict[str, Loaded]) -> tuple[ImageData, tuple[str | int, ...]]:
    """The data of the first model; all must take its images and know its classes."""
    (first, one), *others = models.items()
    images, classes = as_classes(one.run.images())
    for name, other in [(first, one), *others]:
        if other.model.classes != classes:
            raise InputError(f"{name} does not know the classes of {images.name}; give models of the same data")
        check_shape(other.model, images.test.images)
        refuse_not_finite(other.model, images.test.images, other.folder)
    return images, classes


def _load_mixture(folder: Path, code: str | None = None) -> Loaded:
    """A folder of `classify`."""
    path = folder / CONFIG
    config = read_json(path)
    needed = ("classify", "image_shape", "classes", *(("victim",) if "victim" in config else ("train", "run_identity")))
    if config.get("schema") != SCHEMA or any(name not in config for name in needed):
        raise InputError(f"{path} is not of this version of `classify`; classify the run again")
    identity = digest({name: config[name] for name in (*needed, "weights", "images") if name in config})
    tensors, _ = load_tensors(folder / WEIGHTS, identity)
    run = _of_victim(folder, config, code) if "victim" in config else _of_run(folder, config, identity)
    autoencoder, classes = run.autoencoder, checked(_Classes, config, path).classes
    mixtures = _mixtures(tensors, len(classes), math.prod(autoencoder.noise_shape), folder / WEIGHTS)
    model = LatentMixtureClassifier(autoencoder, mixtures, classes)
    load_weights(model, tensors, folder / WEIGHTS)
    model.eval().requires_grad_(False)
    run = replace(run, identity=identity, weights=weights_digest(model))
    return Loaded(folder, model, run, run.weights)


def _of_run(folder: Path, config: dict[str, Any], identity: str) -> TrainedRun:
    """The run that a classifier was made of, before its weights are read."""
    stored = checked(Stored, config, folder / CONFIG)
    settings = stored.settings(folder / CONFIG)
    if settings.architecture.classifies:
        raise InputError(
            f"{folder / CONFIG} has {settings.architecture.model} where an autoencoder should be; restore it"
        )
    return TrainedRun(folder, settings, build_model(settings, stored.image_shape).eval(), identity, "")


def _of_victim(folder: Path, config: dict[str, Any], code: str | None) -> Stranger:
    """The model that a classifier was made of: in its library's layout in the folder, or made by the given code."""
    stored, home = checked(_StoredVictim, config, folder / CONFIG), within(folder, LEFT)
    if in_a_layout(home):
        victim = load_victim(home)
    elif code is None:
        raise InputError(
            f"{folder} does not hold the code of its autoencoder, which was {stored.victim.get('name')}; give that: "
            "--code FILE.py:FUNCTION"
        )
    else:
        victim = load_victim(code, fed_as(stored.victim, folder / CONFIG))
    if not isinstance(victim, Stranger):
        raise InputError(f"{code or home} is a run, and {folder} was made of another model; name that model's function")
    acquaint(victim.autoencoder, torch.full((1, *stored.image_shape), 0.5))
    own = {name: stored.victim.get(name) for name in ("data", "image_size")}
    return replace(victim, folder=folder, own=own)


@dataclass(frozen=True)
class _Classes:
    """The classes of a classifier's `config.json`."""

    classes: tuple[str | int, ...]


@dataclass(frozen=True)
class _StoredVictim(_Classes):
    """What the `config.json` of a classifier says of a model that is not a run.

    Attributes:
        victim: its name, how it is fed, and its images.
        image_shape: (C, H, W).
    """

    victim: dict[str, Any]
    image_shape: tuple[Whole, Whole, Whole]


def _mixtures(tensors: Mapping[str, Tensor], K: int, D: int, path: Path) -> LatentMixtures:
    """The mixtures of K classes in D dimensions."""
    parts = [tensors.get(f"mixtures.{name}") for name in LatentMixtures.PARTS]
    shapes = [() if part is None else tuple(part.shape) for part in parts]
    M = shapes[0][1] if len(shapes[0]) == 2 else 0
    if not M or shapes != [(K, M), (K, M, D), (K, M, D, D)]:
        raise InputError(f"{path} does not hold mixtures of {K} classes in {D} dimensions; classify the run again")
    return LatentMixtures(*(part for part in parts if part is not None))
