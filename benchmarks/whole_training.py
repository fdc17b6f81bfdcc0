"""What a whole hardened training costs, in whole plain ones: data, logging and validation included.

Plain is eager float32, what people run today. Hardened runs fast: compiled, in bf16 where the machine has it, else
with the perturbed penalty at some of the steps; on a GPU as a CUDA graph, too. Exact is the eager float32 hardened
training, the penalty at every step of the second half: is the fast one as good? Every seed trains them all, one after
the other, every second seed in the reverse order; ratios are taken seed by seed. Compile time is counted apart, from
an empty cache.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from statistics import mean
from typing import Any

import torch
from torch._inductor.utils import fresh_cache

from doubleback.auditing import audit
from doubleback.data import ImageData, Split
from doubleback.evaluation import evaluating, reconstruction_quality
from doubleback.models import DRAW, VAE, ConvVAE
from doubleback.objective import Objective
from doubleback.processes import has_bf16
from doubleback.settings.loop import Precision
from doubleback.settings.penalty import Estimator
from doubleback.training import fit

Shape = tuple[int, int, int]
Model = VAE | ConvVAE | DRAW


@dataclass(frozen=True)
class Mode:
    """How fast a training is to go, and what it gives up for that."""

    precision: Precision = "32"
    compiled: bool = False
    graphed: bool = False
    estimator: Estimator = "exact"
    every: int = 1
    start: float = 0.5

    def __str__(self) -> str:
        return f"{self.precision} {'compiled' if self.compiled else 'eager'}{' graph' if self.graphed else ''}"


TODAY = Mode()
BF16 = Mode("bf16-mixed", compiled=True)
GPU = replace(BF16, graphed=True)
SPARSE = Mode(compiled=True, estimator="perturbed", every=2)


@dataclass(frozen=True)
class Training:
    """A model and how it is trained; `fast`: where there is no bf16; `gpu`: on a GPU."""

    build: Callable[[Shape], Model]
    batch: int
    weight: float
    epochs: int
    fast: Mode = SPARSE
    gpu: Mode = GPU
    limit: int | None = None


FULL = {
    "vae": Training(VAE, 256, 0.03, 10, replace(SPARSE, start=0.7)),
    "conv_vae": Training(ConvVAE, 128, 0.03, 2),
    "draw": Training(
        lambda shape: DRAW(shape, steps=8, hidden=256),
        128,
        0.03,
        3,
        replace(SPARSE, every=1, start=0.7),
        replace(GPU, compiled=False),
        limit=19200,
    ),
}
QUICK = {
    "vae": Training(VAE, 128, 0.03, 6),
    "conv_vae": Training(ConvVAE, 128, 0.03, 2),
    "draw": Training(lambda shape: DRAW(shape, steps=2, hidden=64), 128, 0.03, 6),
}


JUDGED = ("plain", "hardened", "exact")
FIGURES = ("reconstruction_l2", "auddc_latent", "auddc_output")


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    model: Model
    seconds: float  # those of compiling left out
    compile_seconds: float


def whole_training(name: str, training: Training, images: ImageData, *, seeds: int, quick: bool) -> dict[str, Any]:
    """The record of one model; a line for each training is printed."""
    if training.limit:
        images = ImageData(
            images.name, images.train.at(slice(training.limit)), images.validation.at(slice(1000)), images.test
        )
    fast = training.gpu if torch.cuda.is_available() else BF16 if has_bf16() else training.fast
    fast = replace(fast, compiled=fast.compiled and not quick)
    first = images.train.at(slice(2 * training.batch))
    _trained(replace(training, epochs=1), replace(images, train=first), TODAY, seed=0, hardened=True)  # warm up
    kinds = {"plain": (TODAY, False), "hardened": (fast, True), "exact": (TODAY, True), "same_mode": (fast, False)}
    trained: dict[str, list[Trained]] = {kind: [] for kind in kinds}
    quality: dict[str, list[dict[str, float | None]]] = {kind: [] for kind in JUDGED}
    with fresh_cache():
        for seed in range(seeds):
            for kind, (mode, hardened) in list(kinds.items())[:: -1 if seed % 2 else 1]:
                one = _trained(training, images, mode, seed=seed, hardened=hardened)
                trained[kind].append(one)
                said = f"{one.seconds:7.1f} s, compiling {one.compile_seconds:.1f} s"
                if kind in JUDGED:
                    quality[kind].append(_quality(one.model, images.test, pairs=5 if quick else 20))
                    shown = {figure: quality[kind][-1][figure] for figure in FIGURES}
                    said += "".join(f"  {figure} {value:.3f}" for figure, value in shown.items() if value is not None)
                print(f"{name:9} seed {seed} {kind:10} {mode!s:24} {said}", flush=True)

    def quotients(over: str, under: str) -> list[float]:
        return [one.seconds / other.seconds for one, other in zip(trained[over], trained[under], strict=True)]

    ratios = quotients("hardened", "plain")
    found: dict[str, Any] = {
        "plain_seconds": mean(one.seconds for one in trained["plain"]),
        "hardened_seconds": mean(one.seconds for one in trained["hardened"]),
        "ratio": mean(ratios),
        "ratios": ratios,
        "compile_seconds": trained["hardened"][0].compile_seconds,
        "same_mode_ratio": mean(quotients("hardened", "same_mode")),
        "float32_eager_ratio": mean(quotients("exact", "plain")),
        "mode": asdict(fast),
        "epochs": training.epochs,
        "images": len(images.train),
        "batch": training.batch,
    }
    for kind in JUDGED:
        found[kind] = {figure: _mean(one[figure] for one in quality[kind]) for figure in FIGURES}
        found[kind]["seeds"] = quality[kind]
    print(
        f"{name:9} hardened / plain {found['ratio']:.2f}; in the same mode {found['same_mode_ratio']:.2f}, "
        f"both eager float32 {found['float32_eager_ratio']:.2f}",
        flush=True,
    )
    return found


def _trained(training: Training, images: ImageData, mode: Mode, *, seed: int, hardened: bool) -> Trained:
    torch.compiler.reset()
    torch.manual_seed(seed)
    model = training.build(images.image_shape)
    objective = Objective(model)
    if hardened:
        objective = Objective(
            model,
            penalty="reconstruction",
            penalty_weight=training.weight,
            estimator=mode.estimator,
            every=mode.every,
            penalty_start=mode.start,
        )
    started = time.perf_counter()
    history = fit(
        objective,
        images,
        epochs=training.epochs,
        batch_size=training.batch,
        seed=seed,
        precision=mode.precision,
        compile=mode.compiled,
        cuda_graph=mode.graphed,
    )
    seconds = time.perf_counter() - started - history.compile_seconds
    return Trained(model.eval(), seconds, history.compile_seconds)


def _quality(model: Model, test: Split, pairs: int) -> dict[str, float | None]:
    """L2, and the AUDDC of both attacks with its 95 % interval over pairs; None where every pair is flagged."""
    with evaluating(model):
        found = {"reconstruction_l2": reconstruction_quality(model, test.images)["reconstruction_l2"]}
    results = audit(model, test.images, test.labels, pairs=pairs, coefficients=15).results()["attacks"]
    for attack in ("latent", "output"):
        area = results[attack]["auddc"]["envelope"]
        low, high = area["ci95"] or (None, None)
        found |= {f"auddc_{attack}": area["mean"], f"auddc_{attack}_low": low, f"auddc_{attack}_high": high}
    return found


def _mean(values: Iterable[float | None]) -> float | None:
    """Of those that are known."""
    known = [value for value in values if value is not None]
    return mean(known) if known else None
