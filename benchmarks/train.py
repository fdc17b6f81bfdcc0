"""What a double-backpropagation step costs, in plain steps: python -m benchmarks.train

Plain, penalised and perturbed steps of each model (forward, backward, clip, Adam) alternate, eager and compiled, so
that noise on the machine meets them alike; on a GPU recorded as a CUDA graph, too. Then whole trainings
(`whole_training`). The last line is JSON: by model, medians in milliseconds; `ratio` and `perturbed_ratio`, over a
plain one; `compiled_speedup`, eager over compiled; the seconds of each first compiled step; and the whole trainings.
On a GPU also `device_milliseconds`, of steps that wait for nobody; `python_share`, what is left of a step's time; and
`share_of_peak`, of the rate of large matrix products in that precision. benchmarks/results/train.json holds it too.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.rates import DEVICE, MatmulCounter, device_milliseconds, matmul_rate, timed
from benchmarks.recording import mnist_or_digits, record, told
from benchmarks.whole_training import FULL, QUICK, whole_training
from doubleback.data import load_images
from doubleback.models import DRAW, VAE, ConvVAE
from doubleback.objective import Objective, Terms
from doubleback.processes import has_bf16
from doubleback.progress import progress_bar
from doubleback.settings.penalty import Estimator
from doubleback.training.arithmetic import lay_channels_last
from doubleback.training.graph import WARM_UP, GraphedGradients

PENALTY = "reconstruction"
KINDS = ("plain", "penalised", "perturbed")
MODES = ("eager", "compiled", "graph", "compiled graph")
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Case:
    """A model, on random images of its shape; `unrolled`: its steps take a GPU's compiler minutes, a graph seconds."""

    build: Callable[[], nn.Module]
    image_shape: tuple[int, int, int]
    batch: int
    weight: float
    unrolled: bool = False


GREY, SMALL, LARGE = (1, 28, 28), (3, 32, 32), (3, 64, 64)
CASES = {
    "vae": Case(VAE, GREY, 1024, 0.03),
    "conv-vae 32x32": Case(lambda: ConvVAE(SMALL, latent=64, likelihood="gaussian"), SMALL, 128, 0.003),
    "conv-vae 64x64": Case(lambda: ConvVAE(LARGE, latent=64, likelihood="gaussian"), LARGE, 128, 0.003),
    "draw": Case(lambda: DRAW(GREY, steps=8, hidden=256), GREY, 128, 0.03, unrolled=True),
    "draw, attention": Case(
        lambda: DRAW(GREY, steps=8, hidden=256, read_size=5, write_size=5), GREY, 128, 0.03, unrolled=True
    ),
}
OF_A_GPU = {
    "draw T=64, attention": Case(
        lambda: DRAW(GREY, steps=64, hidden=256, read_size=5, write_size=5), GREY, 128, 0.03, unrolled=True
    ),
}


def make_step(case: Case, mode: str, precision: str, kind: str, batch: int) -> Callable[[], None]:
    """One training step on a random batch, ready to be called."""
    torch.manual_seed(0)
    estimator: Estimator = "perturbed" if kind == "perturbed" else "exact"
    model: Any = case.build()
    objective = Objective(model, penalty=PENALTY, penalty_weight=case.weight, estimator=estimator).to(DEVICE)
    module: Callable[..., Terms] = objective
    if "compiled" in mode:
        lay_channels_last(objective)
        module = torch.compile(objective)
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-4, fused=True)
    x = torch.rand(batch, *case.image_shape)
    noise, *_ = objective.draw(x, torch.Generator().manual_seed(0))
    assert noise is not None
    given = x.to(DEVICE), noise.to(DEVICE)

    def learn(x: Tensor, noise: Tensor) -> Tensor:
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = objective.total(module(x, noise, penalised=kind != "plain"), case.weight)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 30)
        return loss.detach()

    gradients = GraphedGradients(learn, objective.parameters()) if "graph" in mode else learn

    def step() -> None:
        gradients(*given)
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(name: str, case: Case, modes: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """The record of one model; a line for each mode and precision is printed."""
    torch.compiler.reset()  # else the models before count against the number of variants that it compiles
    batch = given.batch or case.batch
    modes = [mode for mode in modes if not (mode == "compiled graph" and case.unrolled)]
    variants = list(product(modes, given.precisions, given.kinds))
    steps, calls, compile_seconds = {}, {}, {}
    with progress_bar(f"{name}: first steps", len(variants)) as advance:
        for mode, precision, kind in variants:
            step = make_step(case, mode, precision, kind, batch)
            first = timed(step, 1) / 1000
            if "compiled" in mode:
                compile_seconds[f"{precision} {kind}"] = round(first, 1)
            timed(step, WARM_UP if "graph" in mode else 1)
            calls[mode, precision, kind] = max(3, min(50, int(50 / timed(step, 1))))
            steps[mode, precision, kind] = step
            advance(1)
    taken: dict[tuple[str, ...], list[float]] = {variant: [] for variant in variants}
    with progress_bar(f"{name}: steps", given.rounds) as advance:
        for _ in range(given.rounds):
            for variant in variants:
                taken[variant].append(timed(steps[variant], calls[variant]))
            advance(1)
    milliseconds = {variant: median(times) for variant, times in taken.items()}

    def quotient(over: tuple[str, str, str], under: tuple[str, str, str]) -> float:
        """The median over rounds of one time over another, taken side by side."""
        return round(median(one / other for one, other in zip(taken[over], taken[under], strict=True)), 3)

    found: dict[str, Any] = {
        "batch": batch,
        "milliseconds": {" ".join(variant): round(one, 3) for variant, one in milliseconds.items()},
    }
    for kind, called in (("penalised", "ratio"), ("perturbed", "perturbed_ratio")):
        if kind in given.kinds:
            ratios = {f"{m} {p}": quotient((m, p, kind), (m, p, "plain")) for m, p in product(modes, given.precisions)}
            found[called] = ratios
    if {"eager", "compiled"} <= set(modes):
        found["compiled_speedup"] = {
            f"{p} {k}": quotient(("eager", p, k), ("compiled", p, k)) for p, k in product(given.precisions, given.kinds)
        }
    found["compile_seconds"] = compile_seconds
    if DEVICE.type == "cuda":
        found |= on_the_device(steps, milliseconds, case, batch)
    _say(name, found, modes, given)
    return found


def on_the_device(
    steps: dict[tuple[str, ...], Callable[[], None]], milliseconds: dict[tuple[str, ...], float], case: Case, batch: int
) -> dict[str, Any]:
    """Of each step on a GPU, what is the device's: a step without a graph launches the kernels that its graph holds."""
    found: dict[str, dict[str, float]] = {"device_milliseconds": {}, "python_share": {}, "share_of_peak": {}}
    peak = {name: large_products(dtype) for name, dtype in DTYPES.items()}
    alone = {variant: device_milliseconds(step) for variant, step in steps.items() if "graph" in variant[0]}
    flops = {}
    for mode, precision, kind in steps:
        if kind not in flops:
            with MatmulCounter() as counter:
                make_step(case, "eager", "float32", kind, batch)()
            flops[kind] = counter.flops
        graph = "compiled graph" if "compiled" in mode else "graph"
        key, taken = f"{mode} {precision} {kind}", milliseconds[mode, precision, kind]
        if (graph, precision, kind) in alone:
            device = alone[graph, precision, kind]
            found["device_milliseconds"][key] = round(device, 3)
            found["python_share"][key] = round(max(0.0, 1 - device / taken), 3)
        found["share_of_peak"][key] = round(flops[kind] / (taken / 1000) / peak[precision], 3)
    return found | {"peak_tflops": {name: round(rate / 1e12, 1) for name, rate in peak.items()}, "flops": flops}


@cache
def large_products(dtype: torch.dtype) -> float:
    """The device's rate of them, FLOP/s."""
    return matmul_rate(8192, 8192, 8192, dtype)


def _say(name: str, found: dict[str, Any], modes: list[str], given: argparse.Namespace) -> None:
    for mode, precision in product(modes, given.precisions):
        of = [f"{mode} {precision} {kind}" for kind in given.kinds]
        times = "  ".join(
            f"{kind} {found['milliseconds'][key]:8.2f} ms" for kind, key in zip(given.kinds, of, strict=True)
        )
        said = [f"{found[r][f'{mode} {precision}']:.2f}" for r in ("ratio", "perturbed_ratio") if r in found]
        line = f"{name:22}{mode:15}{precision:8}{times}  ratios {', '.join(said)}"
        for share in ("python_share", "share_of_peak"):
            if share in found:
                line += f"  {share} " + ", ".join(f"{found[share][key]:.2f}" for key in of if key in found[share])
        print(line, flush=True)
    for what, seconds in found["compile_seconds"].items():
        print(f"{name:22}compiled {what}: first step {seconds} s", flush=True)


def main() -> None:
    """Measure, print a table and the JSON line."""
    on_gpu = DEVICE.type == "cuda"
    cases = CASES | (OF_A_GPU if on_gpu else {})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=list(cases), default=None, metavar="NAME", help="whose steps")
    parser.add_argument("--modes", nargs="+", choices=MODES[: 4 if on_gpu else 2], default=None)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of steps, beside plain")
    parser.add_argument("--precisions", nargs="+", choices=list(DTYPES), help="float32, and bf16 where it is fast")
    parser.add_argument("--batch", type=int, help="1024 for vae, else 128")
    parser.add_argument("--rounds", type=int, help="how often every kind of step has its turn; 5, 3 with --quick")
    parser.add_argument("--seeds", type=int, help="of the whole trainings; 2, 1 with --quick")
    parser.add_argument("--whole", nargs="*", choices=list(FULL), default=list(FULL), help="models trained as a whole")
    parser.add_argument("--quick", action="store_true", help="within a minute")
    given = parser.parse_args()
    names = given.models if given.models is not None else ["vae"] if given.quick else list(cases)
    given.precisions = given.precisions or ["float32", *(["bf16"] if has_bf16() and not given.quick else [])]
    given.kinds = [kind for kind in KINDS if kind == "plain" or kind in given.kinds]
    modes = given.modes or (["eager"] if given.quick else ["eager", *MODES[2:]] if on_gpu else list(MODES[:2]))
    given.rounds = given.rounds or (3 if given.quick else 5)
    torch.backends.cudnn.allow_tf32 = False  # as `fit` has it
    torch.compile(torch.neg)(torch.ones(1))  # import the compiler now, not in the first training that is timed
    models = {name: measure(name, cases[name], modes, given) for name in names}
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
    told(main)
