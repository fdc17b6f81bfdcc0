"""Classifiers on disk: `classify` makes one of a run, `load_classifier` reads any back, several go by their names."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from doubleback.checkpoints import load_tensors, load_weights, save_tensors, weights_digest
from doubleback.data import ImageData, as_classes, digests, fingerprint
from doubleback.errors import InputError
from doubleback.evaluation import classification_quality
from doubleback.experiments.runs import Stored, TrainedRun, build_model, load_run, refuse_not_finite
from doubleback.files import is_folder, read_json, write_arrays
from doubleback.folders import CONFIG, SCHEMA, SEEN, WEIGHTS, Folder, digest, within
from doubleback.mixture import LatentMixtureClassifier, LatentMixtures
from doubleback.models import Classifier
from doubleback.processes import alone, refuse_too_large
from doubleback.progress import progress_bar
from doubleback.settings.commands import Classify
from doubleback.settings.stored import checked, flat
from doubleback.tensors import check_shape

CLASSIFIER = "classifier"  # where `classify` puts it, in the run's folder


@dataclass(frozen=True, eq=False)
class Loaded:
    """A classifier, read back.

    Attributes:
        folder: where it lives.
        model: a module in evaluation mode, its parameters frozen.
        run: that it was trained as, or whose code it classifies.
        weights: digest of its weights.
    """

    folder: Path
    model: Classifier
    run: TrainedRun
    weights: str


def load_classifier(folder: str | Path) -> Loaded:
    """Read a folder of `classify`, of `train` with a classifier, or of a run that has been classified.

    Raises:
        InputError: it is none of these, or damaged.
    """
    folder = Path(folder)
    if is_folder(folder) and (folder / CONFIG).exists() and "classify" in read_json(folder / CONFIG):
        return _load_mixture(folder)
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
    """Fit mixtures to a run's codes and leave a classifier's folder; what is there already is kept.

    Raises:
        InputError: a setting, the run or the folder is unusable; the images have no labels.
    """
    run = load_run(command.run)
    autoencoder = run.autoencoder.to(alone("classify"))
    images, classes = as_classes(run.images())
    assert images.train.labels is not None
    D = math.prod(autoencoder.noise_shape)
    refuse_too_large(
        32 * len(classes) * command.mixture.components * D**2,
        f"{command.mixture.components} Gaussians a class in {D} dimensions; give fewer --components",
    )
    described = {
        "classify": flat(command.mixture),
        "train": run.settings.described,
        "image_shape": list(autoencoder.image_shape),
        "run_identity": run.identity,
        "weights": run.weights,
        "images": fingerprint(images.train),
        "classes": list(classes),
    }
    path = command.output or within(command.run, CLASSIFIER)
    folder = Folder(path, "classify", described, words, (WEIGHTS, SEEN), {"run": str(command.run.resolve())})
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
        write_arrays(folder.path / SEEN, {"digests": digests(images.train)})
        return folder.finish(
            {
                "test": {"images": len(images.test), **classification_quality(model, images.test)},
                "mixtures": {"seconds": seconds, "converged": list(fitted.converged), "codes": len(images.train)},
                "flags": fitted.flags,
            }
        )


def named(paths: Sequence[Path]) -> dict[str, Loaded]:
    """Classifiers by the names of their folders; where two are alike, with their parents' names.

    Raises:
        InputError: one is there twice, or two cannot be told apart by these names.
    """
    loaded = [load_classifier(path) for path in paths]
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


def _load_mixture(folder: Path) -> Loaded:
    """A folder of `classify`."""
    path = folder / CONFIG
    config = read_json(path)
    needed = ("classify", "train", "image_shape", "run_identity", "classes")
    if config.get("schema") != SCHEMA or any(name not in config for name in needed):
        raise InputError(f"{path} is not of this version of `classify`; classify the run again")
    stored = checked(Stored, config, path)
    settings = stored.settings(path)
    if settings.architecture.classifies:
        raise InputError(f"{path} has {settings.architecture.model} where an autoencoder should be; restore it")
    identity = digest({name: config[name] for name in (*needed, "weights", "images") if name in config})
    tensors, _ = load_tensors(folder / WEIGHTS, identity)
    autoencoder = build_model(settings, stored.image_shape)
    mixtures = _mixtures(tensors, len(stored.classes), math.prod(autoencoder.noise_shape), folder / WEIGHTS)
    model = LatentMixtureClassifier(autoencoder, mixtures, stored.classes)
    load_weights(model, tensors, folder / WEIGHTS)
    weights = weights_digest(model)
    run = TrainedRun(folder, settings, autoencoder.eval(), identity, weights)
    return Loaded(folder, model.eval().requires_grad_(False), run, weights)


def _mixtures(tensors: Mapping[str, Tensor], K: int, D: int, path: Path) -> LatentMixtures:
    """The mixtures of K classes in D dimensions."""
    parts = [tensors.get(f"mixtures.{name}") for name in LatentMixtures.PARTS]
    shapes = [() if part is None else tuple(part.shape) for part in parts]
    M = shapes[0][1] if len(shapes[0]) == 2 else 0
    if not M or shapes != [(K, M), (K, M, D), (K, M, D, D)]:
        raise InputError(f"{path} does not hold mixtures of {K} classes in {D} dimensions; classify the run again")
    return LatentMixtures(*(part for part in parts if part is not None))
