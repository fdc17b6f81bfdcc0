"""`transition`: images moved from class to class, and their folder."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from doubleback.data import Split, fingerprint
from doubleback.errors import InputError
from doubleback.evaluation import reconstruct
from doubleback.experiments.classifiers import Loaded, identified, labelled_images, named, weights_of
from doubleback.experiments.runs import refuse_not_finite
from doubleback.files import write_arrays
from doubleback.folders import IMAGES, OUTCOMES, Folder
from doubleback.metrics.intervals import wilson
from doubleback.mixture import LatentMixtureClassifier
from doubleback.models import Classifier
from doubleback.processes import alone
from doubleback.progress import progress_bar
from doubleback.randomness import Stream, generator
from doubleback.settings.checks import seed_in_range
from doubleback.settings.commands import Transition
from doubleback.settings.stored import flat
from doubleback.tensors import as_pixels, as_unit, norm, rows_at_once
from doubleback.transition import Moved, image_transition

SHOWN_STEPS = 9  # images of a transition that are shown
SHOWN = 8  # transitions that are shown


@dataclass(frozen=True)
class _Drawn:
    """The images that are moved: x in [0, 1], the places of their own and of their target classes."""

    x: Tensor
    source: Tensor
    target: Tensor


def transition(command: Transition, words: Sequence[str]) -> dict[str, Any]:
    """Move images from class to class by each classifier's gradient and leave a folder; what is finished is kept.

    Returns:
        What `results.json` holds.

    Raises:
        InputError: a setting, a classifier or the folder is unusable; found before the first step.
    """
    models = named(command.classifiers, command.code)
    if not models:
        raise InputError("no classifier to follow; give a folder of `doubleback classify`")
    mixtures = {name: _mixture(one) for name, one in models.items()}
    judge = next(iter(named([command.judge], command.code).values())) if command.judge else None
    if judge and any(judge.folder.resolve() == one.folder.resolve() for one in models.values()):
        raise InputError(f"{command.judge} is one of the classifiers; give a judge that has no part in the transition")
    images, classes = labelled_images(models | ({"the judge": judge} if judge else {}))
    part: Split = getattr(images, command.split)
    drawn = _drawn(part, [str(label) for label in classes], command)
    for name, model in mixtures.items():
        refuse_not_finite(model.autoencoder, drawn.x, models[name].folder)
    described = {
        "transition": {n: v for n, v in flat(command).items() if n not in ("classifiers", "judge", "output", "code")},
        "weights": {"models": weights_of(models), "judge": judge and judge.weights},
        "images": fingerprint(part),
    }
    noted = {"models": identified(models), "judge": identified({"judge": judge})["judge"] if judge else None}
    folder = Folder(command.output, "transition", described, words, (IMAGES,), noted)
    with folder.claimed() as finished:
        if finished:
            return finished
        started = time.perf_counter()
        moved = {name: _moved(name, model, drawn, command) for name, model in mixtures.items()}
        longest = max(len(way.path) for way in moved.values()) - 1
        shown = np.unique(np.linspace(0, longest, SHOWN_STEPS).round().astype(int))
        arrays: dict[str, Any] = {"shown": shown}
        arrays |= {f"{end}_class": getattr(drawn, end)[:SHOWN].cpu().numpy() for end in ("source", "target")}
        results: dict[str, Any] = {}
        outcomes: dict[str, Any] = {}
        for name, way in moved.items():
            model = mixtures[name]
            held = _outcomes(way, model, judge.model if judge else None, drawn, command.walk.confidence)
            results[name] = _figures(way, drawn, held)
            outcomes |= {f"{name}/{what}": each.cpu().numpy() for what, each in held.items()}
            arrays |= _shown_transitions(name, way, model, shown, longest)
        write_arrays(folder.path / IMAGES, arrays)
        write_arrays(folder.path / OUTCOMES, outcomes)
        return folder.finish(
            {
                "classes": [str(label) for label in classes],
                "images": len(drawn.x),
                "seconds": time.perf_counter() - started,
                "judge": judge.folder.resolve().name if judge else None,
                "models": results,
            }
        )


def _mixture(one: Loaded) -> LatentMixtureClassifier:
    """The classifier, which has an autoencoder to reconstruct with."""
    if not isinstance(one.model, LatentMixtureClassifier):
        raise InputError(f"{one.folder} has no autoencoder to reconstruct with; give a folder of `classify`")
    return one.model


def _drawn(part: Split, classes: Sequence[str], command: Transition) -> _Drawn:
    """The images that the seed draws."""
    for flag, label in (("from", command.from_class), ("to", command.to)):
        if label != "any" and label not in classes:
            raise InputError(f"--{flag} is {label!r}; choose one of {', '.join(classes)}, or any")
    if command.from_class == command.to != "any":
        raise InputError(f"--from and --to are both {command.to}; choose two different classes")
    seed_in_range(command.seed)
    assert part.labels is not None
    randomness = generator(command.seed, Stream.ORDER)
    rows = torch.randperm(len(part), generator=randomness)
    labels = part.labels[rows]
    shift = torch.randint(1, len(classes), (len(rows),), generator=randomness)
    to_any = command.to == "any"
    targets = (labels + shift) % len(classes) if to_any else torch.full_like(labels, classes.index(command.to))
    kept = labels != targets
    if command.from_class != "any":
        kept &= labels == classes.index(command.from_class)
    kept = torch.nonzero(kept).squeeze(1)[: command.count]
    if command.count < 1 or len(kept) < command.count:
        raise InputError(f"count is {command.count}, but {len(kept)} images can be moved; give a number from 1 to that")
    device = alone("transition")
    return _Drawn(*(one.to(device) for one in (as_unit(part.images[rows[kept]]), labels[kept], targets[kept])))


def _moved(name: str, model: Classifier, drawn: _Drawn, command: Transition) -> Moved:
    with progress_bar(f"moving by {name}", command.walk.steps) as advance:
        return image_transition(model, drawn.x, drawn.target, command.walk, shown=SHOWN, advance=advance)


def _outcomes(
    moved: Moved, model: LatentMixtureClassifier, judge: Classifier | None, drawn: _Drawn, confidence: float
) -> dict[str, Tensor]:
    """Image by image, by their names in `outcomes.npz`: (N,) truth values of one classifier's transitions."""
    own = moved.probabilities.gather(2, drawn.target.expand(len(moved.probabilities), -1)[..., None]).squeeze(2)
    found = {"reached": own.amax(0) >= confidence}
    if judge is None:
        return found

    def agrees(images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([judge(batch).argmax(1) for batch in torch.split(images, rows_at_once(images))]) == labels

    found["judge/image"] = agrees(moved.final, drawn.target)
    found["judge/reconstruction"] = agrees(reconstruct(model.autoencoder, moved.final), drawn.target)
    found["judge/source"] = agrees(drawn.x, drawn.source)
    return found


def _figures(moved: Moved, drawn: _Drawn, outcomes: dict[str, Tensor]) -> dict[str, Any]:
    """The figures of one classifier's transitions."""
    figures: dict[str, Any] = {
        "reached": outcomes["reached"].double().mean().item(),
        "steps": moved.steps.double().mean().item(),
        "distance": norm(moved.final - drawn.x).double().mean().item(),
    }
    says = {name.removeprefix("judge/"): each for name, each in outcomes.items() if name.startswith("judge/")}
    if says:
        figures["judge"] = {name: right.double().mean().item() for name, right in says.items()}
        figures["ci95"] = {"judge": {name: wilson(int(right.sum()), len(right)) for name, right in says.items()}}
    return figures


def _shown_transitions(
    name: str, moved: Moved, model: LatentMixtureClassifier, shown: Any, longest: int
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
