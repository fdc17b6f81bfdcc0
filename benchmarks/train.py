"""What a double-backpropagation step costs, in plain steps: python -m benchmarks.train

Plain, penalised and perturbed steps of each model (forward, backward, clip, Adam) alternate, eager and compiled, so
that noise on the machine meets them alike. Then whole trainings (`whole_training`). The last line is JSON: by model,
medians in milliseconds; `ratio` and `perturbed_ratio`, over a plain one; `compiled_speedup`, eager over compiled; the
seconds of each first compiled step; and the whole trainings. benchmarks/results/train.json holds it too.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.recording import mnist_or_digits, record
from benchmarks.whole_training import FULL, QUICK, whole_training
from doubleback.data import load_images
from doubleback.machine import has_bf16
from doubleback.models import DRAW, VAE, ConvVAE
from doubleback.objective import Objective
from doubleback.objective.autoencoder import Estimator
from doubleback.progress import progress_bar
from doubleback.training.loop import lay_channels_last

PENALTY = "reconstruction"
KINDS = ("plain", "penalised", "perturbed")


@dataclass(frozen=True)
class Case:
    """A model, on random images of its shape."""

    build: Callable[[], nn.Module]
    image_shape: tuple[int, int, int]
    batch: int
    weight: float


GREY, SMALL, LARGE = (1, 28, 28), (3, 32, 32), (3, 64, 64)
CASES = {
    "vae": Case(VAE, GREY, 1024, 0.03),
    "conv-vae 32x32": Case(lambda: ConvVAE(SMALL, latent=64, likelihood="gaussian"), SMALL, 128, 0.003),
    "conv-vae 64x64": Case(lambda: ConvVAE(LARGE, latent=64, likelihood="gaussian"), LARGE, 128, 0.003),
    "draw": Case(lambda: DRAW(GREY, steps=8, hidden=256), GREY, 128, 0.03),
    "draw, attention": Case(lambda: DRAW(GREY, steps=8, hidden=256, read_size=5, write_size=5), GREY, 128, 0.03),
}


def make_step(case: Case, mode: str, precision: str, kind: str, batch: int) -> Callable[[], None]:
    """One training step on a random batch, ready to be called."""
    torch.manual_seed(0)
    estimator: Estimator = "perturbed" if kind == "perturbed" else "exact"
    model: Any = case.build()
    objective = Objective(model, penalty=PENALTY, penalty_weight=case.weight, estimator=estimator)
    module: Callable[..., tuple[Tensor, ...]] = objective
    if mode == "compiled":
        lay_channels_last(objective)
        module = torch.compile(objective)
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-4, fused=True)
    x = torch.rand(batch, *case.image_shape)
    noise, _ = objective.draw(x, torch.Generator().manual_seed(0))

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            reconstruction, kl, penalty = module(x, noise, None, kind != "plain")
            loss = reconstruction.mean() + kl.mean() + case.weight * penalty.mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 30)
        optimizer.step()
        optimizer.zero_grad()

    return step


def timed(step: Callable[[], None], calls: int) -> float:
    """Milliseconds a call."""
    started = perf_counter()
    for _ in range(calls):
        step()
    return 1000 * (perf_counter() - started) / calls


def measure(name: str, modes: list[str], precisions: list[str], batch: int | None, rounds: int) -> dict[str, Any]:
    """The record of one model; a line for each mode and precision is printed."""
    torch.compiler.reset()  # else the models before count against the number of variants that it compiles
    case = CASES[name]
    variants = list(product(modes, precisions, KINDS))
    steps, compile_seconds = {}, {}
    with progress_bar(f"{name}: first steps", len(variants)) as advance:
        for mode, precision, kind in variants:
            step = make_step(case, mode, precision, kind, batch or case.batch)
            first = timed(step, 1) / 1000
            if mode == "compiled":
                compile_seconds[f"{precision} {kind}"] = round(first, 1)
            timed(step, 2)
            steps[mode, precision, kind] = step
            advance(1)
    taken: dict[tuple[str, str, str], list[float]] = {variant: [] for variant in variants}
    with progress_bar(f"{name}: steps", rounds) as advance:
        for _ in range(rounds):
            for variant in variants:
                taken[variant].append(timed(steps[variant], 3))
            advance(1)

    def quotient(over: tuple[str, str, str], under: tuple[str, str, str]) -> float:
        """The median over rounds of one time over another, taken side by side."""
        return round(median(one / other for one, other in zip(taken[over], taken[under], strict=True)), 3)

    milliseconds = {" ".join(variant): round(median(times), 2) for variant, times in taken.items()}
    ratios = {
        kind: {f"{m} {p}": quotient((m, p, kind), (m, p, "plain")) for m, p in product(modes, precisions)}
        for kind in ("penalised", "perturbed")
    }
    speedups = {}
    if {"eager", "compiled"} <= set(modes):
        speedups = {f"{p} {k}": quotient(("eager", p, k), ("compiled", p, k)) for p, k in product(precisions, KINDS)}
    for mode, precision in product(modes, precisions):
        times = "  ".join(f"{kind} {milliseconds[f'{mode} {precision} {kind}']:7.1f} ms" for kind in KINDS)
        said = ", ".join(f"{one[f'{mode} {precision}']:.2f}" for one in ratios.values())
        print(f"{name:16}{mode:9}{precision:8}{times}  ratios {said}", flush=True)
    for what, seconds in compile_seconds.items():
        print(f"{name:16}compiled {what}: first step {seconds} s, then {speedups.get(what, '-')} times eager's speed")
    return {
        "batch": batch or case.batch,
        "milliseconds": milliseconds,
        "ratio": ratios["penalised"],
        "perturbed_ratio": ratios["perturbed"],
        "compiled_speedup": speedups,
        "compile_seconds": compile_seconds,
    }


def main() -> None:
    """Measure, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=list(CASES), default=None, metavar="NAME", help="whose steps")
    parser.add_argument("--modes", nargs="+", choices=["eager", "compiled"], default=None)
    parser.add_argument(
        "--precisions", nargs="+", choices=["float32", "bf16"], help="float32, and bf16 where it is fast"
    )
    parser.add_argument("--batch", type=int, help="1024 for vae, else 128")
    parser.add_argument("--rounds", type=int, help="how often every kind of step has its turn; 5, 3 with --quick")
    parser.add_argument("--seeds", type=int, help="of the whole trainings; 2, 1 with --quick")
    parser.add_argument("--whole", nargs="*", choices=list(FULL), default=list(FULL), help="models trained as a whole")
    parser.add_argument("--quick", action="store_true", help="within a minute")
    given = parser.parse_args()
    names = given.models if given.models is not None else ["vae"] if given.quick else list(CASES)
    precisions = given.precisions or ["float32", *(["bf16"] if has_bf16() and not given.quick else [])]
    modes = given.modes or (["eager"] if given.quick else ["eager", "compiled"])
    settings = modes, precisions, given.batch, given.rounds or (3 if given.quick else 5)
    torch.compile(torch.neg)(torch.ones(1))  # import the compiler now, not in the first training that is timed
    models = {name: measure(name, *settings) for name in names}
    images = None if not given.whole else load_images("digits") if given.quick else mnist_or_digits()
    trainings = QUICK if given.quick else FULL
    seeds = given.seeds or (1 if given.quick else 2)
    whole = {
        name: whole_training(name, trainings[name], images, seeds=seeds, quick=given.quick)
        for name in given.whole
        if images
    }
    data = images.name if images else None
    figures = {"models": models, "whole_training": whole, "data": data}
    record("train", figures, quick=given.quick)


if __name__ == "__main__":
    main()
