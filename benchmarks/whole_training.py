"""What a whole hardened training costs, in whole plain ones: data, logging and validation included.

Plain eager float32 is what people run today; hardened runs in the model's fastest exact mode (bf16, compiled where that
gains), with the penalty on in the second half of the steps. Compile time is counted apart. Beside them the same-mode
ratio, and an eager float32 hardened training: is the fast one as good? Plain runs before and after the hardened one,
and their mean counts.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from doubleback.auditing import audit
from doubleback.data import ImageData, Split
from doubleback.evaluation import evaluating, reconstruction_quality
from doubleback.experiments.folders import AutoencoderModel
from doubleback.models import DRAW, VAE, ConvVAE
from doubleback.objective import Objective
from doubleback.training import fit

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Training:
    """A model and how it is trained; `compiled`: in its fastest mode."""

    build: Callable[[Shape], AutoencoderModel]
    batch: int
    weight: float
    epochs: int
    limit: int | None = None
    compiled: bool = True


FULL = {
    "vae": Training(VAE, 256, 0.03, 10),
    "conv_vae": Training(ConvVAE, 128, 0.03, 3, compiled=False),
    "draw": Training(lambda shape: DRAW(shape, steps=8, hidden=256), 128, 0.03, 3, limit=25600),
}
QUICK = {
    "vae": Training(VAE, 128, 0.03, 16),
    "conv_vae": Training(ConvVAE, 128, 0.03, 4, compiled=False),
    "draw": Training(lambda shape: DRAW(shape, steps=2, hidden=64), 128, 0.03, 16, compiled=False),
}
Mode = tuple[str, bool]  # precision, compiled
TODAY: Mode = ("32", False)


def whole_training(name: str, training: Training, images: ImageData, *, quick: bool) -> dict[str, Any]:
    """The record of one model; a line for each training is printed."""
    if training.limit:
        images = ImageData(
            images.name, images.train.at(slice(training.limit)), images.validation.at(slice(1000)), images.test
        )
    fast: Mode = ("bf16-mixed", training.compiled)
    before = _trained(name, training, images, TODAY, hardened=False, quick=quick)
    hardened = _trained(name, training, images, fast, hardened=True, quick=quick)
    after = _trained(name, training, images, TODAY, hardened=False, quick=quick)
    same_mode = _trained(name, training, images, fast, hardened=False, quick=quick)
    exact = _trained(name, training, images, TODAY, hardened=True, quick=quick)
    plain_seconds = (before["seconds"] + after["seconds"]) / 2
    found = {
        "plain_seconds": plain_seconds,
        "hardened_seconds": hardened["seconds"],
        "ratio": hardened["seconds"] / plain_seconds,
        "compile_seconds": hardened["compile_seconds"],
        "same_mode_ratio": hardened["seconds"] / same_mode["seconds"],
        "float32_eager_ratio": exact["seconds"] / plain_seconds,
        "mode": {"precision": fast[0], "compiled": fast[1]},
        "epochs": training.epochs,
        "images": len(images.train),
        "batch": training.batch,
        "noise": abs(math.log(after["seconds"] / before["seconds"])),
    }
    for kind, one in (("plain", before), ("hardened", hardened), ("hardened_float32_eager", exact)):
        found[kind] = {key: value for key, value in one.items() if key not in ("seconds", "compile_seconds")}
    print(
        f"{name:9} hardened / plain {found['ratio']:.2f}; in the same mode {found['same_mode_ratio']:.2f}, "
        f"both eager float32 {found['float32_eager_ratio']:.2f}",
        flush=True,
    )
    return found


def _trained(
    name: str, training: Training, images: ImageData, mode: Mode, *, hardened: bool, quick: bool
) -> dict[str, Any]:
    """Seconds, those of compiling apart, and how good it has become."""
    torch.compiler.reset()
    torch.manual_seed(0)
    model = training.build(images.image_shape)
    objective = Objective(
        model, penalty="reconstruction" if hardened else "none", penalty_weight=training.weight if hardened else None
    )
    precision, compiled = mode
    started = time.perf_counter()
    history = fit(
        objective, images, epochs=training.epochs, batch_size=training.batch, precision=precision, compile=compiled
    )
    seconds = time.perf_counter() - started - history.compile_seconds
    model.eval()
    found = {
        "seconds": seconds,
        "compile_seconds": history.compile_seconds,
        **_quality(model, images.test, pairs=5 if quick else 20),
    }
    kind = f"{'hardened' if hardened else 'plain'} {precision}{' compiled' if compiled else ''}"
    areas = ", ".join(f"{attack} {found[f'auddc_{attack}'] or math.nan:.3f}" for attack in ("latent", "output"))
    print(f"{name:9} {kind:30} {seconds:7.1f} s  L2 {found['reconstruction_l2']:.3f}  AUDDC {areas}", flush=True)
    return found


def _quality(model: AutoencoderModel, test: Split, pairs: int) -> dict[str, Any]:
    with evaluating(model):
        l2 = reconstruction_quality(model, test.images)["reconstruction_l2"]
    results = audit(model, test.images, test.labels, pairs=pairs, coefficients=15).results()["attacks"]
    found: dict[str, Any] = {"reconstruction_l2": l2}
    for attack in ("latent", "output"):
        area = results[attack]["auddc"]["envelope"]
        found |= {f"auddc_{attack}": area["mean"], f"auddc_{attack}_ci95": area["ci95"]}
    return found
