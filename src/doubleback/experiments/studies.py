"""What classifiers withstand, from configuration to folder: `robustness` and `transition`, as on the command line."""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from doubleback.data import as_unit, rows_at_once
from doubleback.errors import InputError
from doubleback.evaluation import as_pixels, reconstruct
from doubleback.experiments import config, folders
from doubleback.experiments.classifiers import Loaded, device, identified, labelled_images, named
from doubleback.experiments.folders import IMAGES, RESULTS, SCHEMA
from doubleback.files import check_writable, read_arrays, read_json, write_arrays, write_json
from doubleback.metrics.intervals import wilson
from doubleback.mixture import LatentMixtureClassifier
from doubleback.models import Classifier
from doubleback.progress import progress_bar
from doubleback.randomness import Stream, check_seed, generator
from doubleback.robustness import Settings, Withstood, robust_accuracy
from doubleback.transition import Transition, image_transition

SHOWN_STEPS = 9  # images of a transition that are shown
SHOWN = 8  # transitions that are shown
UNFINISHED = "unfinished"  # folder of what an interrupted `robustness` has done


def robustness(settings: config.Robustness, command: Sequence[str]) -> dict[str, Any]:
    """Attack classifiers on the same images and leave a folder; what is finished there already is kept.

    Returns:
        What `results.json` holds.

    Raises:
        InputError: a setting, a model or the folder is unusable; found before the first attack.
    """
    if not settings.models:
        raise InputError("no model to attack; give one or more folders of `classify`, or of `train` with a classifier")
    everyone = named([*settings.models, *settings.black_box])
    models = dict(list(everyone.items())[: len(settings.models)])
    others = {name: one for name, one in everyone.items() if name not in models}
    chosen = {n: v for n, v in asdict(settings).items() if n not in ("models", "black_box", "output")}
    described = {
        "robustness": json.loads(json.dumps(chosen)),
        "models": identified(models),
        "black_box": identified(others),
    }
    folder = settings.output
    if folders.state_of(folder, "robustness", described) == "finished":
        return read_json(folder / RESULTS)
    x, y = _drawn_images(everyone, settings.split, settings.samples, settings.seed)
    attacked = Settings(
        attacks=settings.attack,
        norm=settings.norm,
        eps=_radii(settings.eps),
        steps=settings.steps,
        restarts=settings.restarts,
        queries=settings.queries,
        noise_samples=settings.noise_samples,
        seed=settings.seed,
    )
    check_writable(folder)
    started = time.perf_counter()

    def finished(name: str, one: Withstood) -> None:
        folders.write_config(folder, described, command)
        write_arrays(_unfinished(folder, name), one.arrays())

    found = robust_accuracy(
        {name: one.model for name, one in models.items()},
        x,
        y,
        black_box={name: one.model for name, one in others.items()},
        settings=attacked,
        known={name: _read(path) for name in models if (path := _unfinished(folder, name)).exists()},
        finished=finished,
    )
    results = {
        "schema": SCHEMA,
        "norm": settings.norm,
        "eps": list(settings.eps),
        "images": len(x),
        "seconds": time.perf_counter() - started,
        "models": {name: one.results(settings.eps) for name, one in found.items()},
    }
    folders.write_config(folder, described, command)
    write_arrays(folder / IMAGES, _shown_examples(x, found))
    write_json(folder / RESULTS, results)
    shutil.rmtree(folder / UNFINISHED)
    return results


def transition(settings: config.Transition, command: Sequence[str]) -> dict[str, Any]:
    """Move images from class to class by each classifier's gradient and leave a folder; what is finished is kept.

    Returns:
        What `results.json` holds.

    Raises:
        InputError: a setting, a classifier or the folder is unusable; found before the first step.
    """
    models = named(settings.classifiers)
    if not models:
        raise InputError("no classifier to follow; give a folder of `doubleback classify`")
    for one in models.values():
        if not isinstance(one.model, LatentMixtureClassifier):
            raise InputError(f"{one.folder} has no autoencoder to reconstruct with; give a folder of `classify`")
    judge = next(iter(named([settings.judge]).values())) if settings.judge else None
    if judge and any(judge.folder.resolve() == one.folder.resolve() for one in models.values()):
        raise InputError(f"{settings.judge} is one of the classifiers; give a judge that has no part in the transition")
    chosen = {n: v for n, v in asdict(settings).items() if n not in ("classifiers", "judge", "output")}
    described = {
        "transition": json.loads(json.dumps(chosen)),
        "models": identified(models),
        "judge": identified({"": judge})[""] if judge else None,
    }
    folder = settings.output
    if folders.state_of(folder, "transition", described) == "finished":
        return read_json(folder / RESULTS)
    x, source, target = _drawn_transitions(models, judge, settings)
    check_writable(folder)
    classes = next(iter(models.values())).model.classes
    started = time.perf_counter()
    results: dict[str, Any] = {}
    arrays = {"source_class": source[:SHOWN].cpu().numpy(), "target_class": target[:SHOWN].cpu().numpy()}
    moved = {name: _moved(name, one.model, x, target, settings) for name, one in models.items()}
    longest = max(len(way.path) for way in moved.values()) - 1
    arrays["shown"] = np.unique(np.linspace(0, longest, SHOWN_STEPS).round().astype(int))
    for name, way in moved.items():
        classifier = models[name].model
        assert isinstance(classifier, LatentMixtureClassifier)
        results[name] = _judged(way, classifier, judge.model if judge else None, x, source, target, settings.confidence)
        arrays |= _shown_transitions(name, way, classifier, arrays["shown"], longest)
    figures = {
        "schema": SCHEMA,
        "classes": [str(label) for label in classes],
        "images": len(x),
        "seconds": time.perf_counter() - started,
        "judge": judge.folder.resolve().name if judge else None,
        "models": results,
    }
    folders.write_config(folder, described, command)
    write_arrays(folder / IMAGES, arrays)
    write_json(folder / RESULTS, figures)
    return figures


def _unfinished(folder: Path, name: str) -> Path:
    """What one model withstood, until all are done: an interrupted command goes on from there."""
    return folder / UNFINISHED / f"{folders.digest({'model': name})}.npz"


def _read(path: Path) -> Withstood:
    arrays = read_arrays(path)
    try:
        return Withstood.of_arrays(arrays)
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); remove it") from error


def _radii(typed: Sequence[str]) -> list[float]:
    """Epsilons as typed: numbers, or fractions such as 8/255.

    Raises:
        InputError: one is neither, or is there twice.
    """
    radii: list[float] = []
    for eps in typed:
        try:
            radii.append(float(Fraction(eps)))
        except (ValueError, ZeroDivisionError, OverflowError):
            raise InputError(
                f"eps {eps!r} is no number; give numbers such as 0.1, or fractions such as 8/255"
            ) from None
        if not radii[-1] > 0:
            raise InputError(f"eps is {eps}; give a positive number, such as 0.1 or 8/255")
        if radii.count(radii[-1]) > 1:
            raise InputError(f"eps {eps} is there twice; give each once")
    return radii


def _drawn_images(models: dict[str, Loaded], split: str, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images of the split and the places of their classes, the same for every model; more images keep the first."""
    check_seed(seed)
    images, _ = labelled_images(models)
    part = getattr(images, split)
    if count < 1:
        raise InputError(f"samples is {count}; give a whole number of at least 1")
    rows = torch.randperm(len(part), generator=generator(seed, Stream.ORDER))[:count]
    return part.images[rows], part.labels[rows]


def _drawn_transitions(
    models: dict[str, Loaded], judge: Loaded | None, settings: config.Transition
) -> tuple[Tensor, Tensor, Tensor]:
    """Images in [0, 1], and the places of their own and of their target classes."""
    everyone = models | ({"the judge": judge} if judge else {})
    images, classes = labelled_images(everyone)
    places = {str(label): place for place, label in enumerate(classes)}
    for flag, label in (("from", settings.from_class), ("to", settings.to)):
        if label != "any" and label not in places:
            raise InputError(f"--{flag} is {label!r}; choose one of {', '.join(places)}, or any")
    if settings.from_class == settings.to != "any":
        raise InputError(f"--from and --to are both {settings.to}; choose two different classes")
    check_seed(settings.seed)
    part = getattr(images, settings.split)
    randomness = generator(settings.seed, Stream.ORDER)
    rows = torch.randperm(len(part), generator=randomness)
    labels = part.labels[rows]
    shift = torch.randint(1, len(classes), (len(rows),), generator=randomness)
    targets = (labels + shift) % len(classes) if settings.to == "any" else torch.full_like(labels, places[settings.to])
    kept = labels != targets
    if settings.from_class != "any":
        kept &= labels == places[settings.from_class]
    kept = torch.nonzero(kept).squeeze(1)[: settings.count]
    if settings.count < 1 or len(kept) < settings.count:
        raise InputError(
            f"count is {settings.count}, but {len(kept)} images can be moved; give a number from 1 to that"
        )
    return tuple(part.to(device()) for part in (as_unit(part.images[rows[kept]]), labels[kept], targets[kept]))  # type: ignore[return-value]


def _moved(name: str, model: Classifier, x: Tensor, target: Tensor, settings: config.Transition) -> Transition:
    with progress_bar(f"moving by {name}", settings.steps) as advance:
        return image_transition(
            model,
            x,
            target,
            eta=settings.eta,
            steps=settings.steps,
            confidence=settings.confidence,
            beyond=settings.beyond,
            shown=SHOWN,
            advance=advance,
        )


def _judged(
    moved: Transition,
    model: LatentMixtureClassifier,
    judge: Classifier | None,
    x: Tensor,
    source: Tensor,
    target: Tensor,
    confidence: float,
) -> dict[str, Any]:
    """The figures of one classifier's transitions."""
    own = moved.probabilities.gather(2, target.expand(len(moved.probabilities), -1)[..., None]).squeeze(2)
    figures: dict[str, Any] = {
        "reached": (own.amax(0) >= confidence).double().mean().item(),
        "steps": moved.steps.double().mean().item(),
        "distance": (moved.final - x).flatten(1).norm(dim=1).double().mean().item(),
    }
    if judge is None:
        return figures

    def agrees(images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([judge(batch).argmax(1) for batch in torch.split(images, rows_at_once(images))]) == labels

    says = {
        "image": agrees(moved.final, target),
        "reconstruction": agrees(reconstruct(model.autoencoder, moved.final), target),
        "source": agrees(x, source),
    }
    figures["judge"] = {name: right.double().mean().item() for name, right in says.items()}
    figures["ci95"] = {"judge": {name: wilson(int(right.sum()), len(right)) for name, right in says.items()}}
    return figures


def _shown_examples(x: Tensor, found: dict[str, Withstood]) -> dict[str, Any]:
    shown = {f"{name}/x_adv": one.shown for name, one in found.items()}
    return {"source": as_pixels(as_unit(x[: len(next(iter(shown.values())))])), **shown}  # type: ignore[arg-type]


def _shown_transitions(
    name: str, moved: Transition, model: LatentMixtureClassifier, shown: Any, longest: int
) -> dict[str, Any]:
    """What the report shows of the first images' paths; after its end, a transition stays where it is."""
    at = torch.from_numpy(shown).clamp_max(len(moved.path) - 1).to(moved.path.device)
    images = moved.path[at].transpose(0, 1)
    rest = longest + 1 - len(moved.probabilities)
    probabilities = torch.cat([moved.probabilities, moved.probabilities[-1:].expand(rest, -1, -1)])[:, : len(images)]
    return {
        f"{name}/images": as_pixels(images),
        f"{name}/reconstructions": as_pixels(reconstruct(model.autoencoder, images.flatten(0, 1)).view_as(images)),
        f"{name}/probabilities": probabilities.transpose(0, 1).float().cpu().numpy(),
        f"{name}/steps": moved.steps[: len(images)].cpu().numpy(),
    }
