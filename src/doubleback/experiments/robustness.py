"""`robustness`: what classifiers withstand, and its folder."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from doubleback.data import Split, fingerprint
from doubleback.errors import InputError
from doubleback.experiments.classifiers import identified, labelled_images, named, weights_of
from doubleback.files import read_arrays, write_arrays
from doubleback.folders import IMAGES, OUTCOMES, Folder, digest
from doubleback.randomness import Stream, generator
from doubleback.robustness import Withstood, robust_accuracy
from doubleback.settings.checks import at_least
from doubleback.settings.commands import Robustness
from doubleback.settings.stored import flat
from doubleback.tensors import as_pixels, as_unit

UNFINISHED = "unfinished"  # folder of what an interrupted `robustness` has done


def robustness(command: Robustness, words: Sequence[str]) -> dict[str, Any]:
    """Attack classifiers on the same images and leave a folder; what is finished there already is kept.

    Returns:
        What `results.json` holds.

    Raises:
        InputError: a setting, a model or the folder is unusable; found before the first attack.
    """
    if not command.models:
        raise InputError("no model to attack; give one or more folders of `classify`, or of `train` with a classifier")
    at_least(1, samples=command.samples)
    everyone = named([*command.models, *command.black_box])
    models = dict(list(everyone.items())[: len(command.models)])
    others = {name: one for name, one in everyone.items() if name not in models}
    images, _ = labelled_images(everyone)
    part = getattr(images, command.split)
    described = {
        "robustness": {n: v for n, v in flat(command).items() if n not in ("models", "black_box", "output")},
        "weights": {"models": weights_of(models), "black_box": weights_of(others)},
        "images": fingerprint(part),
    }
    noted = {"models": identified(models), "black_box": identified(others)}
    folder = Folder(command.output, "robustness", described, words, (IMAGES,), noted)
    with folder.claimed() as finished:
        if finished:
            shutil.rmtree(folder.path / UNFINISHED, ignore_errors=True)  # of a process killed at its last step
            return finished
        started = time.perf_counter()
        rows = torch.randperm(len(part), generator=generator(command.threats.seed, Stream.ORDER))[: command.samples]
        x, y = part.images[rows], part.labels[rows]
        found = robust_accuracy(
            {name: one.model for name, one in models.items()},
            x,
            y,
            black_box={name: one.model for name, one in others.items()},
            threats=command.threats,
            known={name: _read(path) for name in models if (path := _unfinished(folder, name)).exists()},
            finished=lambda name, one: write_arrays(_unfinished(folder, name), one.arrays()),
        )
        for name, one in found.items():
            one.checks += models[name].run.seen(Split(x))
        write_arrays(folder.path / IMAGES, _shown_examples(x, found))
        outcomes = {f"{name}/{what}": rights for name, one in found.items() for what, rights in one.outcomes().items()}
        write_arrays(folder.path / OUTCOMES, {"index": rows.numpy(), **outcomes})
        threats = command.threats
        results = folder.finish(
            {
                "norm": threats.norm,
                "eps": list(threats.eps),
                "images": len(x),
                "seconds": time.perf_counter() - started,
                "models": {name: one.results(threats.eps) for name, one in found.items()},
            }
        )
        shutil.rmtree(folder.path / UNFINISHED)
        return results


def _unfinished(folder: Folder, name: str) -> Path:
    """What one model withstood, until all are done: an interrupted command goes on from there."""
    return folder.path / UNFINISHED / f"{digest({'model': name})}.npz"


def _read(path: Path) -> Withstood:
    arrays = read_arrays(path)
    try:
        return Withstood.of_arrays(arrays)
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); remove it") from error


def _shown_examples(x: Tensor, found: dict[str, Withstood]) -> dict[str, Any]:
    shown = {f"{name}/x_adv": one.shown for name, one in found.items()}
    return {"source": as_pixels(as_unit(x[: len(next(iter(shown.values())))])), **shown}  # type: ignore[arg-type]
