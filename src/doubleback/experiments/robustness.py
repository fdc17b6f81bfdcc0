"""`robustness`: what classifiers withstand, and its folder."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from doubleback.checkpoints import told_as_damage
from doubleback.data import Split, fingerprint
from doubleback.errors import InputError
from doubleback.experiments.classifiers import identified, labelled_images, named, weights_of
from doubleback.files import read_arrays, write_arrays
from doubleback.folders import IMAGES, OUTCOMES, Folder, digest, within
from doubleback.randomness import Stream, generator
from doubleback.robustness import Withstood, robust_accuracy
from doubleback.robustness.measuring import LONGER, NOISE, SHOWN
from doubleback.settings import Threats
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
    everyone = named([*command.models, *command.black_box], command.code)
    models = dict(list(everyone.items())[: len(command.models)])
    others = {name: one for name, one in everyone.items() if name not in models}
    images, _ = labelled_images(everyone)
    part = getattr(images, command.split)
    described = {
        "robustness": {n: v for n, v in flat(command).items() if n not in ("models", "black_box", "output", "code")},
        "weights": {"models": weights_of(models), "black_box": weights_of(others)},
        "images": fingerprint(part),
    }
    noted = {"models": identified(models), "black_box": identified(others)}
    folder = Folder(command.output, "robustness", described, words, (IMAGES,), noted)
    with folder.claimed() as finished:
        unfinished = {name: _unfinished(folder, name) for name in models}
        if finished:
            _remove(unfinished)  # of a process killed at its last step
            return finished
        started = time.perf_counter()
        rows = torch.randperm(len(part), generator=generator(command.threats.seed, Stream.ORDER))[: command.samples]
        x, y, threats = part.images[rows], part.labels[rows], command.threats
        found = robust_accuracy(
            {name: one.model for name, one in models.items()},
            x,
            y,
            black_box={name: one.model for name, one in others.items()},
            threats=threats,
            known={name: _read(path, threats, x) for name, path in unfinished.items() if path.exists()},
            finished=lambda name, one: write_arrays(unfinished[name], one.arrays()),
        )
        for name, one in found.items():
            one.checks += models[name].run.seen(Split(x))
        write_arrays(folder.path / IMAGES, _shown_examples(x, found))
        outcomes = {f"{name}/{what}": rights for name, one in found.items() for what, rights in one.outcomes().items()}
        write_arrays(folder.path / OUTCOMES, {"index": rows.numpy(), **outcomes})
        results = folder.finish(
            {
                "norm": threats.norm,
                "eps": list(threats.eps),
                "images": len(x),
                "seconds": time.perf_counter() - started,
                "models": {name: one.results(threats.eps) for name, one in found.items()},
            }
        )
        _remove(unfinished)
        return results


def _unfinished(folder: Folder, name: str) -> Path:
    """What one model withstood, until all are done: an interrupted command goes on from there.

    The name says of which command: what was begun at other epsilons, say, is nobody's here.
    """
    return within(folder.path, f"{UNFINISHED}/{digest({'model': name, 'of': folder.identity})}.npz")


def _remove(unfinished: Mapping[str, Path]) -> None:
    """Remove these files, and their folder if nobody has put anything else there."""
    for path in unfinished.values():
        path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()


def _read(path: Path, threats: Threats, x: Tensor) -> Withstood:
    """What was found before, if it is of these images under these attacks."""
    with told_as_damage(path):
        found = Withstood.of_arrays(read_arrays(path))
    table = (len(threats.eps), len(x))
    rights = {name: (right.dtype, tuple(right.shape)) == (torch.bool, table) for name, right in found.attacks.items()}
    whole = all(rights.values()) and {*threats.attack, NOISE, LONGER} <= set(rights)
    shown = (min(SHOWN, len(x)), len(threats.eps), *x.shape[1:])
    if not whole or found.clean.shape != (len(x),) or found.shown is None or found.shown.shape != shown:
        raise InputError(f"{path} is of other images or attacks; remove it")
    return found


def _shown_examples(x: Tensor, found: dict[str, Withstood]) -> dict[str, Any]:
    shown = {f"{name}/x_adv": one.shown for name, one in found.items()}
    return {"source": as_pixels(as_unit(x[: len(next(iter(shown.values())))])), **shown}  # type: ignore[arg-type]
