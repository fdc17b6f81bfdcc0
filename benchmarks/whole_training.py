"""What a whole hardened training costs, in whole plain ones: data, logging and validation included.

Plain eager float32 is what people run today. Hardened runs fast: compiled, in bf16 where the machine has it, else with
the penalty at few of the steps. Compile time is counted apart. Beside them the same-mode ratio, and an
eager float32 hardened training with the penalty at every step of the second half: is the fast one as good? Plain runs
before and after the hardened one, and their mean counts.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from doubleback.auditing import audit
from doubleback.data import ImageData, Split
from doubleback.evaluation import evaluating, reconstruction_quality
from doubleback.experiments.folders import AutoencoderModel
from doubleback.machine import has_bf16
from doubleback.models import DRAW, VAE, ConvVAE
from doubleback.objective import Objective
from doubleback.training import fit
from doubleback.training.launching import Precision

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Training:
    """A model and how it is trained; `every`: the steps that have the penalty where there is no bf16."""

    build: Callable[[Shape], AutoencoderModel]
    batch: int
    weight: float
    epochs: int
    every: int
    limit: int | None = None


@dataclass(frozen=True)
class Mode:
    """How fast it is to go."""

    precision: Precision = "32"
    compiled: bool = False
    every: int = 1
    start: float = 0.5

    def __str__(self) -> str:
        parts = (self.precision, "compiled" if self.compiled else "", f"every {self.every}" if self.every > 1 else "")
        return " ".join(filter(None, parts))


FULL = {
    "vae": Training(VAE, 256, 0.03, 10, 10),
    "conv_vae": Training(ConvVAE, 128, 0.03, 2, 10),
    "draw": Training(lambda shape: DRAW(shape, steps=8, hidden=256), 128, 0.03, 3, 5, limit=19200),
}
QUICK = {
    "vae": Training(VAE, 128, 0.03, 8, 10),
    "conv_vae": Training(ConvVAE, 128, 0.03, 2, 10),
    "draw": Training(lambda shape: DRAW(shape, steps=2, hidden=64), 128, 0.03, 8, 5),
}
TODAY = Mode()
SPARSE_START = 0.25  # share of the steps after which these have the penalty


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    model: AutoencoderModel
    seconds: float  # those of compiling left out
    compile_seconds: float


def whole_training(name: str, training: Training, images: ImageData, *, quick: bool) -> dict[str, Any]:
    """The record of one model; a line for each training is printed."""
    if training.limit:
        images = ImageData(
            images.name, images.train.at(slice(training.limit)), images.validation.at(slice(1000)), images.test
        )
    fast = Mode(compiled=not quick, every=training.every, start=SPARSE_START)
    if has_bf16():
        fast = Mode("bf16-mixed", compiled=not quick)
    first = images.train.at(slice(2 * training.batch))
    _trained(name, replace(training, epochs=1), replace(images, train=first), TODAY, hardened=True)  # warm up
    before = _trained(name, training, images, TODAY, hardened=False)
    hardened = _trained(name, training, images, fast, hardened=True)
    after = _trained(name, training, images, TODAY, hardened=False)
    same_mode = _trained(name, training, images, fast, hardened=False)
    exact = _trained(name, training, images, TODAY, hardened=True)
    plain_seconds = (before.seconds + after.seconds) / 2
    found: dict[str, Any] = {
        "plain_seconds": plain_seconds,
        "hardened_seconds": hardened.seconds,
        "ratio": hardened.seconds / plain_seconds,
        "compile_seconds": hardened.compile_seconds,
        "same_mode_ratio": hardened.seconds / same_mode.seconds,
        "float32_eager_ratio": exact.seconds / plain_seconds,
        "mode": asdict(fast),
        "epochs": training.epochs,
        "images": len(images.train),
        "batch": training.batch,
        "noise": abs(math.log(after.seconds / before.seconds)),
    }
    for kind, one in (("plain", before), ("hardened", hardened), ("hardened_float32_eager", exact)):
        found[kind] = _quality(one.model, images.test, pairs=5 if quick else 20)
        areas = ", ".join(f"{a} {found[kind][f'auddc_{a}'] or math.nan:.3f}" for a in ("latent", "output"))
        print(f"{name:9} {kind:30} L2 {found[kind]['reconstruction_l2']:.3f}  AUDDC {areas}", flush=True)
    print(
        f"{name:9} hardened / plain {found['ratio']:.2f}; in the same mode {found['same_mode_ratio']:.2f}, "
        f"both eager float32 {found['float32_eager_ratio']:.2f}",
        flush=True,
    )
    return found


def _trained(name: str, training: Training, images: ImageData, mode: Mode, *, hardened: bool) -> Trained:
    torch.compiler.reset()
    torch.manual_seed(0)
    model = training.build(images.image_shape)
    objective = Objective(model)
    if hardened:
        objective = Objective(
            model,
            penalty="reconstruction",
            penalty_weight=training.weight,
            penalty_every=mode.every,
            penalty_start=mode.start,
        )
    started = time.perf_counter()
    history = fit(
        objective,
        images,
        epochs=training.epochs,
        batch_size=training.batch,
        precision=mode.precision,
        compile=mode.compiled,
    )
    seconds = time.perf_counter() - started - history.compile_seconds
    kind = f"{'hardened' if hardened else 'plain'}, {mode}"
    print(f"{name:9} {kind:30} {seconds:7.1f} s, compiling {history.compile_seconds:.1f} s", flush=True)
    return Trained(model.eval(), seconds, history.compile_seconds)


def _quality(model: AutoencoderModel, test: Split, pairs: int) -> dict[str, Any]:
    with evaluating(model):
        l2 = reconstruction_quality(model, test.images)["reconstruction_l2"]
    results = audit(model, test.images, test.labels, pairs=pairs, coefficients=15).results()["attacks"]
    found: dict[str, Any] = {"reconstruction_l2": l2}
    for attack in ("latent", "output"):
        area = results[attack]["auddc"]["envelope"]
        found |= {f"auddc_{attack}": area["mean"], f"auddc_{attack}_ci95": area["ci95"]}
    return found
