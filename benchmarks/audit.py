"""The audit against scipy's L-BFGS-B, pair by pair and coefficient by coefficient: python -m benchmarks.audit

Both attack the same pairs of the same VAE with the same coefficients, latent (KL) and output, and are scored by the
same code. The baseline (m = 25, factr = 10, as Gondim-Ribeiro et al. 2018 run it) starts from the source plus 1e-8
noise and gets the device and the thread count that serve it best; its encoding of the latent target is counted, as
ours is. Then audits of more and more pairs, and the latent attack's share of the machine's rate of matrix products.
The last line is JSON, which benchmarks/results/audit.json holds too.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from benchmarks.rates import DEVICE, MatmulCounter, matmul_rate, timed
from benchmarks.recording import mnist_or_digits, record, told
from doubleback.attacks import coefficient_sweep, latent_attack
from doubleback.auditing import Audited, audit, draw_pairs
from doubleback.auditing.pairs import Pairs
from doubleback.data import ImageData, load_images
from doubleback.experiments.runs import load_run
from doubleback.metrics.curve import auddc
from doubleback.models import VAE
from doubleback.progress import progress_bar
from doubleback.tensors import placed
from doubleback.training import fit

ATTACKS = ("latent", "output")
MEMORY, FACTR = 25, 10.0
SHARE_PAIRS = {"cpu": 20, "cuda": 500}  # of which the share of the matrix rate is taken: one chunk


def load(given: argparse.Namespace) -> tuple[VAE, ImageData, str]:
    """A trained run, or a VAE trained now: on the data asked for, or the bundled digits if MNIST cannot be had."""
    if given.run:
        run = load_run(given.run)
        return run.model, run.images(), str(run.settings.images.data)
    images = load_images(given.data) if given.data else mnist_or_digits()
    epochs = given.epochs or (100 if images.name == "digits" and not given.data else 1 if given.quick else 5)
    torch.manual_seed(0)
    model = VAE(images.image_shape)
    fit(model, images, epochs=epochs)
    return model.eval(), images, given.data or images.name


def lbfgs(model: VAE, attack: str, source: Tensor, target: Tensor, C: float, maxiter: int, seed: int) -> Tensor:
    """One pair and one coefficient: source and target (1, C, H, W) -> x_adv."""
    with torch.no_grad():
        code = model.encode(target)

    def value_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        x = torch.from_numpy(flat).to(source).view_as(source).requires_grad_()
        aim = model.encode(x).kl(code) if attack == "latent" else (model(x).likelihood.mean - target).square().sum()
        value = (aim + C * (x - source).square().sum()).sum()
        (gradient,) = torch.autograd.grad(value, x)
        return value.item(), gradient.flatten().double().cpu().numpy()

    noise = 1e-8 * np.random.default_rng(seed).random(source.numel())
    found = minimize(
        value_and_gradient,
        (source.flatten().double().cpu().numpy() + noise).clip(0, 1),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, 1)] * source.numel(),
        options={"maxcor": MEMORY, "ftol": FACTR * np.finfo(float).eps, "gtol": 0, "maxiter": maxiter, "maxfun": 10**6},
    )
    return torch.from_numpy(found.x).to(source).view_as(source)


def best_place(model: VAE, source: Tensor, target: Tensor, maxiter: int) -> tuple[str, int]:
    """The device and the number of threads with which the baseline solves a few problems soonest."""
    available = torch.get_num_threads()
    seconds = {}
    for place in sorted({("cpu", 1), ("cpu", available), (DEVICE.type, available)}):
        with placed_at(place, model):
            x, goal = source[:1].to(place[0]), target[:1].to(place[0])
            started = time.perf_counter()
            for attack in ATTACKS:
                for C in (0.0, 0.01, 1.0):
                    lbfgs(model, attack, x, goal, C, maxiter, 0)
            seconds[place] = time.perf_counter() - started
    return min(seconds, key=lambda place: seconds[place])


@contextmanager
def placed_at(place: tuple[str, int], model: VAE) -> Iterator[None]:
    """The model on a device, PyTorch with so many threads, for a while."""
    device, threads = place
    available = torch.get_num_threads()
    torch.set_num_threads(threads)
    model.to(device)
    try:
        yield
    finally:
        model.to(DEVICE)
        torch.set_num_threads(available)


def baseline(model: VAE, source: Tensor, target: Tensor, C: Tensor, maxiter: int) -> tuple[dict[str, Tensor], float]:
    """x_adv (P, K, ...) of each attack, and the seconds for all of it."""
    found = {}
    started = time.perf_counter()
    with progress_bar("L-BFGS-B", len(ATTACKS) * len(source) * len(C)) as advance:
        for attack in ATTACKS:
            rows = []
            for i in range(len(source)):
                pair = source[i : i + 1], target[i : i + 1]
                for k, coefficient in enumerate(C.tolist()):
                    rows.append(lbfgs(model, attack, *pair, coefficient, maxiter, 1000 * i + k))
                    advance(1, attack)
            found[attack] = torch.cat(rows).view(len(source), len(C), *source.shape[1:])
    return found, time.perf_counter() - started


def scored(pairs: Pairs, x_adv: Tensor, convention: str) -> float:
    """Mean AUDDC over the pairs that are not flagged."""
    u, v = (found.double().cpu().numpy() for found in (pairs.distortion(x_adv), pairs.adversarial_distance(x_adv)))
    kept = ~pairs.flagged.cpu().numpy()
    return float(np.mean([auddc(*pair, convention) for pair in zip(u[kept], v[kept], strict=True)]))


def matmul_share(model: VAE, source: Tensor, target: Tensor, C: Tensor, steps: int, rounds: int) -> dict[str, float]:
    """The latent attack's rate of matrix products, as a share of the machine's, measured in turns.

    Counted in a run of its own: what the attack needs is an encoder's forward and its gradient in the input.
    """
    with MatmulCounter() as counter:
        latent_attack(model, source, target, coefficients=C, steps=steps)
    shares, rates = [], []
    for _ in range(rounds):
        rates.append(matmul_rate(1024, 512, 784))
        milliseconds = timed(lambda: latent_attack(model, source, target, coefficients=C, steps=steps), 1)
        shares.append(counter.flops / (milliseconds / 1000) / rates[-1])
    return {"matmul_share": median(shares), "matmul_gflops": median(rates) / 1e9}


def growth(
    model: VAE, images: ImageData, sizes: Sequence[int], settings: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Seconds and peak memory of whole audits of more and more pairs: linear and flat, if all is well.

    Each in a process of its own, that has audited once: memory is counted from a process's start. On a GPU the memory
    is the GPU's.
    """
    found: dict[str, dict[str, float]] = {"growth": {}, "peak_memory_mb": {}}
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool, placed_at(("cpu", torch.get_num_threads()), model):
        for pairs in sizes:
            seconds, memory = pool.apply(_audited, (model, images, pairs, settings))
            found["growth"][str(pairs)], found["peak_memory_mb"][str(pairs)] = seconds, memory
            print(f"{pairs:6} pairs {seconds:8.1f} s {memory:8.0f} MB at most", flush=True)
    return found


def _audited(model: VAE, images: ImageData, pairs: int, settings: dict[str, Any]) -> tuple[float, float]:
    model.to(DEVICE)
    audit(model, images, attacks=ATTACKS, **{**settings, "pairs": 1}, progress=False)
    results = audit(model, images, attacks=ATTACKS, **{**settings, "pairs": pairs}).results()
    memory = torch.cuda.max_memory_allocated() / 2**20 if DEVICE.type == "cuda" else results["peak_memory_mb"]
    return results["seconds"], memory


def ladder(model: VAE, images: ImageData, settings: dict[str, Any]) -> dict[str, dict[str, float]]:
    """What each step before the last gains: seconds and mean AUDDC of the same audit without those that follow."""
    never = {"STRIDE": 1, "PATIENCE": settings["steps"] + 1}
    steps: dict[str, dict[str, int]] = {
        "one batch, every row to its last step": never,
        "rows that have converged leave": {"STRIDE": 1},
    }
    found = {}
    for name, constants in steps.items():
        with patch.multiple("doubleback.attacks.sweep", **constants):
            found[name] = rung(audit(model, images, attacks=ATTACKS, **settings))
        print(f"{name:40} {found[name]['seconds']:8.1f} s", flush=True)
    return found


def rung(done: Audited) -> dict[str, float]:
    """Seconds, and the mean AUDDC of each attack."""
    figures = done.results()["attacks"]
    return {"seconds": done.seconds, **{f"auddc_{a}": figures[a]["auddc"]["envelope"]["mean"] for a in ATTACKS}}


def main() -> None:
    """Measure both, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a trained run to attack; by default one is trained first")
    parser.add_argument("--data", help="to train on; mnist by default, the bundled digits if that cannot be had")
    parser.add_argument("--epochs", type=int, help="of that training; 5 by default, 1 with --quick")
    parser.add_argument("--pairs", type=int, help="20 by default, 2 with --quick")
    parser.add_argument("--coefficients", type=int, help="50 by default, 20 with --quick")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--maxiter", type=int, default=300, help="of the baseline")
    parser.add_argument("--quick", action="store_true", help="within a minute")
    given = parser.parse_args()
    count, coefficients = (2, 20) if given.quick else (20, 50)
    count, coefficients = given.pairs or count, given.coefficients or coefficients
    model, images, name = load(given)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    test = images.test
    C = coefficient_sweep(coefficients)
    settings: dict[str, Any] = {"coefficients": coefficients, "steps": given.steps}

    audit(model, images, attacks=ATTACKS, **{**settings, "pairs": 1, "steps": 5}, progress=False)  # warm up
    grown = growth(model, images, (5, 10, 20) if given.quick else (10, 100, 1000), settings)
    places = draw_pairs(len(test), test.labels, SHARE_PAIRS[DEVICE.type], 0)
    source, target = (placed(model, test.images[index]) for index in places)
    share = matmul_share(model, source, target, C, given.steps, 5)
    settings["pairs"] = count
    ours = sorted(
        (audit(model, images, attacks=ATTACKS, **settings) for _ in range(3)), key=lambda found: found.seconds
    )[1]
    climbed = ladder(model, images, settings) | {"coefficients follow their neighbours": rung(ours)}
    source, target = source[:count], target[:count]
    place = device, threads = best_place(model, source, target, given.maxiter)
    with placed_at(place, model):
        theirs, seconds = baseline(model, source.to(device), target.to(device), C, given.maxiter)
    theirs = {attack: x_adv.to(DEVICE) for attack, x_adv in theirs.items()}

    pairs = Pairs(model, source, target, [None])
    figures = ours.results()["attacks"]
    found = {
        "speedup": seconds / ours.seconds,
        "auddc_ours": {a: figures[a]["auddc"]["envelope"]["mean"] for a in ATTACKS},
        "auddc_baseline": {a: scored(pairs, theirs[a], "envelope") for a in ATTACKS},
        "auddc_reference_ours": {a: figures[a]["auddc"]["reference"]["mean"] for a in ATTACKS},
        "auddc_reference_baseline": {a: scored(pairs, theirs[a], "reference") for a in ATTACKS},
        **share,
        **grown,
        "ladder": climbed,
        "seconds_ours": ours.seconds,
        "seconds_baseline": seconds,
        "baseline": {"maxiter": given.maxiter, "m": MEMORY, "factr": FACTR, "device": device, "threads": threads},
        "data": name,
        **settings,
    }
    print(f"{'':10}{'seconds':>10}" + "".join(f"{f'AUDDC {a}':>15}" for a in ATTACKS))
    for who, taken, areas in (("ours", ours.seconds, "auddc_ours"), ("L-BFGS-B", seconds, "auddc_baseline")):
        print(f"{who:10}{taken:10.1f}" + "".join(f"{found[areas][a]:15.4f}" for a in ATTACKS))
    print(f"{found['speedup']:.0f} times faster; {share['matmul_share']:.2f} of {share['matmul_gflops']:.0f} GFLOP/s")
    record("audit", found, quick=given.quick)


if __name__ == "__main__":
    told(main)
