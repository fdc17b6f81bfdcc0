"""`attack`: one pair of your own images gives an adversarial image (lossless), the model's output, and a page."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from doubleback.attacks import Attack
from doubleback.auditing import audit
from doubleback.auditing.asked import attacks_asked
from doubleback.auditing.pairs import Pairs
from doubleback.data import Split, fingerprint
from doubleback.data.pixels import looks, to_pixels
from doubleback.defences import as_deployed
from doubleback.errors import InputError
from doubleback.evaluation import reconstruct
from doubleback.experiments.victims import load_victim
from doubleback.files import opened, replacing, write_arrays
from doubleback.folders import CURVES, IMAGES, Folder
from doubleback.models.base import acquaint, decodes
from doubleback.settings import Auditing, Threat
from doubleback.settings.commands import Attack as Command
from doubleback.settings.search import Price
from doubleback.settings.stored import flat
from doubleback.state import at_work
from doubleback.tensors import as_pixels, image_shape_of, placed


def attack(command: Command, words: Sequence[str]) -> list[str]:
    """Attack the pair, and fill the folder.

    The images that are kept have 8 bits, as a file has: what they reach is scored as they are read back.

    Returns:
        The figures, a line a goal.

    Raises:
        InputError: an image, the model, a goal or the folder is unusable.
    """
    victim = load_victim(command.victim, command.wrapping)
    model = victim.autoencoder
    ends = _read(command.source, command.target, model)
    threat = command.threat
    model = as_deployed(model, threat)
    undefended = replace(threat, survive=(), defend=())
    settings = Auditing(price=command.price, search=command.search, threat=undefended).resolved
    capability = threat.budget or Price((command.coefficient,))
    attacks = attacks_asked(model, command.attack, settings, ends[0], capability)
    kinds = ("adversarial", "reconstruction") if decodes(model) else ("adversarial",)
    files = [f"{kind}-{one.name}.png" for one in attacks for kind in kinds]
    described: dict[str, Any] = {
        "audit": flat(command.price) | flat(settings.search) | {"coefficient": command.coefficient},
        "train": victim.described,
        "weights": victim.weights,
        "goals": [one.name for one in attacks],
        "pair": fingerprint(Split(ends)),
    }
    if threat != Threat():
        described["threat"] = flat(threat)
    folder = Folder(command.output, "audit", described, words, (CURVES, IMAGES, *files))
    with folder.claimed() as finished:
        if finished is None:
            found = audit(
                model,
                settings=settings,
                pairs=[(ends[0], ends[1])],
                attacks=command.attack,
            )
            write_arrays(folder.path / CURVES, found.arrays())
            write_arrays(folder.path / IMAGES, found.gallery)
            kept = {one.name: _keep(folder.path, one, model, ends) for one in attacks}
            finished = folder.finish({**found.results(), "kept": kept})
    says = (
        "distortion {distortion:.3f}, adversarial distance {adversarial_distance:.3f} (1: unharmed, 0: the target), "
        "the reconstruction moved by {damage:.3f}"
    )
    return [f"{name}: {says.format(**one)}" for name, one in finished["kept"].items()]


def _keep(folder: Path, attack: Attack, model: Any, ends: Tensor) -> dict[str, float]:
    """Write the adversarial image and what comes out of it; what it reaches as the file holds it."""
    found = attack(model, ends[:1], ends[1:])
    file = as_pixels(found.x_adv[0])  # (1, C, H, W)
    _write(folder / f"adversarial-{attack.name}.png", file[0])
    with at_work(model):
        source, target = placed(model, ends[:1]), placed(model, ends[1:])
        acquaint(model, source)
        pair = Pairs(model, source, target, [None])
        x_adv = placed(model, torch.from_numpy(file))
        if decodes(model):
            _write(folder / f"reconstruction-{attack.name}.png", as_pixels(reconstruct(model, x_adv))[0])
        reached = pair.reached(x_adv[None], targeted=attack.goal.targeted) | {
            "distortion": pair.distortion(x_adv[None])
        }
    return {name: values.item() for name, values in reached.items()}


def _read(source: Path, target: Path, model: Any) -> Tensor:
    """Both images, (2, C, H, W) uint8, of the size and the channels that the model says, or their own."""
    shape = image_shape_of(model)
    contents = [_content(path) for path in (source, target)]
    named = list(zip(contents, map(str, (source, target)), strict=True))
    grey = shape[0] == 1 if shape else all(looks(*one).grey for one in named)
    size = shape[1] if shape and shape[1] == shape[2] else None
    ends = [torch.from_numpy(to_pixels(*one, grey, size, "white").array.copy()) for one in named]
    if ends[0].shape != ends[1].shape:
        sizes = " and ".join("x".join(map(str, end.shape[1:])) for end in ends)
        raise InputError(f"{source} and {target} differ in size ({sizes}); bring them to one")
    return torch.stack(ends)


def _content(path: Path) -> bytes:
    try:
        with opened(path) as stream:
            return stream.read()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); give an image") from error


def _write(path: Path, pixels: np.ndarray) -> None:
    with replacing(path) as scratch:
        Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0).squeeze())).save(scratch, format="PNG")
