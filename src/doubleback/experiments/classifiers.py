"""Classifiers on disk: `classify` makes one of a run, `load_classifier` reads any back, several go by their names."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from doubleback.auditing import check_images
from doubleback.checkpoints import load_tensors, load_weights, save_tensors
from doubleback.data import ImageData, as_classes
from doubleback.errors import InputError
from doubleback.evaluation import classification_quality
from doubleback.experiments import config, folders
from doubleback.experiments.folders import CONFIG, RESULTS, SCHEMA, WEIGHTS, Run, load_run
from doubleback.files import check_writable, read_json, write_json
from doubleback.mixture import LatentMixtureClassifier, LatentMixtures
from doubleback.models import Classifier
from doubleback.progress import progress_bar
from doubleback.randomness import check_seed
from doubleback.training import launched, processes

CLASSIFIER = "classifier"  # where `classify` puts it, in the run's folder


@dataclass(frozen=True, eq=False)
class Loaded:
    """A classifier, read back.

    Attributes:
        folder: where it lives.
        model: a module in evaluation mode, its parameters frozen.
        run: that it was trained as, or whose code it classifies.
        identity: digest that its weights name.
    """

    folder: Path
    model: Classifier
    run: Run
    identity: str


def load_classifier(folder: str | Path) -> Loaded:
    """Read a folder of `classify`, of `train` with a classifier, or of a run that has been classified.

    Raises:
        InputError: it is none of these, or damaged.
    """
    folder = Path(folder)
    if (folder / CONFIG).is_file() and "classify" in read_json(folder / CONFIG):
        return _load_mixture(folder)
    run = load_run(folder)
    if not isinstance(run.model, Classifier):
        if (folder / CLASSIFIER / CONFIG).is_file():
            return _load_mixture(folder / CLASSIFIER)
        raise InputError(f"{folder} is an autoencoder; make it a classifier first: doubleback classify {folder}")
    return Loaded(folder, run.model.requires_grad_(False), run, run.identity)


def classify(settings: config.Classify, command: Sequence[str]) -> dict[str, Any]:
    """Fit mixtures to a run's codes and leave a classifier's folder; what is there already is kept.

    Returns:
        What `results.json` holds.

    Raises:
        InputError: a setting, the run or the folder is unusable; the images have no labels.
    """
    check_seed(settings.seed)
    run = load_run(settings.run)
    autoencoder = run.autoencoder.to(device())
    folder = settings.output or settings.run / CLASSIFIER
    chosen = {name: value for name, value in asdict(settings).items() if name not in ("run", "output")}
    described: dict[str, Any] = {
        "classify": chosen,
        "train": folders.described(run.settings),
        "image_shape": list(autoencoder.image_shape),
        "run_identity": run.identity,
    }
    if folders.state_of(folder, "classify", described) == "finished":
        return read_json(folder / RESULTS)
    images, classes = as_classes(run.images())
    assert images.train.labels is not None
    started = time.perf_counter()
    check_writable(folder)
    with progress_bar("fitting", len(classes)) as advance:
        fitted = LatentMixtureClassifier.fit(
            autoencoder, images.train.images, images.train.labels, advance=advance, **chosen
        )
    seconds = time.perf_counter() - started
    model = LatentMixtureClassifier(autoencoder, fitted.mixtures, classes)
    described["classes"] = list(classes)
    folders.write_config(folder, {**described, "run": str(settings.run.resolve())}, command)
    save_tensors(folder / WEIGHTS, model.state_dict(), folders.digest(described))
    results = {
        "schema": SCHEMA,
        "test": {"images": len(images.test), **classification_quality(model, images.test)},
        "mixtures": {
            "seconds": seconds,
            "converged": list(fitted.converged),
            "codes": len(images.train),
        },
    }
    write_json(folder / RESULTS, results)
    return results


def device() -> torch.device:
    """Where classifiers are fitted and attacked: the accelerator, if there is one.

    Raises:
        InputError: torchrun has started several processes, which would all do the same.
    """
    if processes(1) > 1:
        raise InputError("classifiers are for one process; start it without torchrun")
    place: torch.device = launched().device
    return place


def named(paths: Sequence[Path]) -> dict[str, Loaded]:
    """Classifiers by the names of their folders; where two are alike, with their parents' names.

    Raises:
        InputError: one is there twice, or two cannot be told apart by these names.
    """
    loaded = [load_classifier(path) for path in paths]
    where = device()
    for one in loaded:
        assert isinstance(one.model, nn.Module)
        one.model.to(where)
    homes = [one.folder.resolve() for one in loaded]
    resolved = [Path(path).resolve() for path in paths]
    names = [path.name for path in resolved]
    longer = [f"{path.parent.name}/{path.name}" if names.count(path.name) > 1 else path.name for path in resolved]
    for place, home in enumerate(homes):
        if home in homes[:place]:
            raise InputError(f"{paths[place]} is there twice; give each model once")
    if len(set(longer)) < len(longer):
        raise InputError("two of the models have the same folder name, and so have their parents; rename one")
    return dict(zip(longer, loaded, strict=True))


def identified(models: dict[str, Loaded]) -> dict[str, Any]:
    return {name: {"path": str(one.folder.resolve()), "identity": one.identity} for name, one in models.items()}


def labelled_images(models: dict[str, Loaded]) -> tuple[ImageData, tuple[str | int, ...]]:
    """The data of the first model; all must take its images and know its classes."""
    (first, one), *others = models.items()
    images, classes = as_classes(one.run.images())
    for name, other in [(first, one), *others]:
        if other.model.classes != classes:
            raise InputError(f"{name} does not know the classes of {images.name}; give models of the same data")
        check_images(other.model, images.test.images)
    return images, classes


def _load_mixture(folder: Path) -> Loaded:
    """A folder of `classify`."""
    stored = read_json(folder / CONFIG)
    known = ("classify", "train", "image_shape", "run_identity", "classes")
    if stored.get("schema") != SCHEMA or any(name not in stored for name in known):
        raise InputError(f"{folder / CONFIG} is not of this version of `classify`; classify the run again")
    described = {name: stored[name] for name in known}
    identity = folders.digest(described)
    tensors, _ = load_tensors(folder / WEIGHTS, identity)
    settings = folders.as_settings(folder, stored["train"])
    autoencoder = folders.build_model(settings, tuple(stored["image_shape"]))
    mixtures = LatentMixtures(*(tensors.get(f"mixtures.{name}", torch.empty(0)) for name in LatentMixtures.PARTS))
    model = LatentMixtureClassifier(autoencoder, mixtures, stored["classes"])  # type: ignore[arg-type]
    load_weights(model, tensors, folder / WEIGHTS)
    run = Run(folder, settings, autoencoder.eval(), identity)
    return Loaded(folder, model.eval().requires_grad_(False), run, identity)
