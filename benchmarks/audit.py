"""The audit against scipy's L-BFGS-B, pair by pair and coefficient by coefficient: python -m benchmarks.audit

Both attack the same pairs of the same VAE with the same coefficients, latent (KL) and output, and are scored by the
same code. The baseline (m = 25, factr = 10, as Gondim-Ribeiro et al. 2018 run it) starts from the source plus 1e-8
noise and gets the thread count that serves it best; its encoding of the latent target is counted, as ours is. The last
line is JSON.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from doubleback.attacks import coefficient_sweep, latent_attack, output_attack
from doubleback.auditing import audit, draw_pairs
from doubleback.auditing.pairs import Pairs
from doubleback.data import ImageData, load_images
from doubleback.errors import InputError
from doubleback.evaluation import placed
from doubleback.experiments.folders import load_run
from doubleback.metrics.curve import auddc
from doubleback.models import VAE
from doubleback.progress import progress_bar
from doubleback.training import fit

ATTACKS = ("latent", "output")
MEMORY, FACTR = 25, 10.0


def load(given: argparse.Namespace) -> tuple[VAE, ImageData, str]:
    """A trained run, or a VAE trained now: on the data asked for, or the bundled digits if MNIST cannot be had."""
    if given.run:
        run = load_run(given.run)
        return run.model, run.images(), str(run.settings.data)
    name, epochs = given.data or "mnist", given.epochs or 5
    try:
        images = load_images(name)
    except InputError as error:
        if given.data:
            raise
        print(f"NO MNIST, so this measures the bundled digits instead: {error}", file=sys.stderr)
        name, epochs = "digits", given.epochs or 100
        images = load_images(name)
    torch.manual_seed(0)
    model = VAE(images.image_shape)
    fit(model, images, epochs=epochs)
    return model.eval(), images, name


def lbfgs(model: VAE, attack: str, source: Tensor, target: Tensor, C: float, maxiter: int, seed: int) -> Tensor:
    """One pair and one coefficient: source and target (1, C, H, W) -> x_adv."""
    with torch.no_grad():
        code = model.encode(target)

    def value_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        x = torch.from_numpy(flat).to(source).view_as(source).requires_grad_()
        aim = model.encode(x).kl(code) if attack == "latent" else (model(x).likelihood.mean - target).square().sum()
        value = (aim + C * (x - source).square().sum()).sum()
        (gradient,) = torch.autograd.grad(value, x)
        return value.item(), gradient.flatten().double().numpy()

    noise = 1e-8 * np.random.default_rng(seed).random(source.numel())
    found = minimize(
        value_and_gradient,
        (source.flatten().double().numpy() + noise).clip(0, 1),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, 1)] * source.numel(),
        options={"maxcor": MEMORY, "ftol": FACTR * np.finfo(float).eps, "gtol": 0, "maxiter": maxiter, "maxfun": 10**6},
    )
    return torch.from_numpy(found.x).to(source).view_as(source)


def best_thread_count(model: VAE, source: Tensor, target: Tensor, maxiter: int) -> int:
    """The number of threads with which the baseline solves a few problems soonest."""
    available = torch.get_num_threads()
    seconds = {}
    for threads in sorted({1, available}):
        torch.set_num_threads(threads)
        started = time.perf_counter()
        for attack in ATTACKS:
            for C in (0.0, 0.01, 1.0):
                lbfgs(model, attack, source[:1], target[:1], C, maxiter, 0)
        seconds[threads] = time.perf_counter() - started
    torch.set_num_threads(available)
    return min(seconds, key=lambda threads: seconds[threads])


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


def scored(pairs: Pairs, x_adv: Tensor, attack: str, convention: str) -> float:
    """Mean AUDDC over the pairs that are not flagged."""
    u, v = pairs.distortion(x_adv).double().numpy(), pairs.adversarial_distance(x_adv, attack).double().numpy()
    kept = ~pairs.flagged.numpy()
    return float(np.mean([auddc(*pair, convention) for pair in zip(u[kept], v[kept], strict=True)]))


def matmul_rate() -> float:
    """The machine's best rate of float32 matrix products of the attack's size, in FLOP/s."""
    a, b = torch.randn(1024, 512), torch.randn(512, 784)
    best = 0.0
    for _ in range(10):
        started = time.perf_counter()
        for _ in range(20):
            a @ b
        best = max(best, 20 * 2 * 1024 * 512 * 784 / (time.perf_counter() - started))
    return best


class MatmulCounter(TorchDispatchMode):
    """Counts the floating-point operations of matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, add what it costs."""
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.flops += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def matmul_flops(model: VAE, source: Tensor, target: Tensor, C: Tensor, steps: int) -> int:
    """What both attacks spend on matrix products, counted in a run of its own."""
    with MatmulCounter() as counter:
        for attack in (latent_attack, output_attack):
            attack(model, source, target, coefficients=C, steps=steps)
    return counter.flops


def main() -> None:
    """Measure both, print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a trained run to attack; by default one is trained first")
    parser.add_argument("--data", help="to train on; mnist by default, the bundled digits if that cannot be had")
    parser.add_argument("--epochs", type=int, help="of that training; 5 by default")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--coefficients", type=int, default=50)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--maxiter", type=int, default=300, help="of the baseline")
    given = parser.parse_args()
    model, images, name = load(given)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    test = images.test
    source_index, target_index = draw_pairs(len(test), test.labels, given.pairs, 0)
    source, target = placed(model, test.images[source_index]), placed(model, test.images[target_index])
    C = coefficient_sweep(given.coefficients)
    settings: dict[str, Any] = {"pairs": given.pairs, "coefficients": given.coefficients, "steps": given.steps}

    audit(model, images, attacks=ATTACKS, **{**settings, "pairs": 1, "steps": 5}, progress=False)  # warm up
    ours = min((audit(model, images, attacks=ATTACKS, **settings) for _ in range(3)), key=lambda found: found.seconds)
    threads = best_thread_count(model, source, target, given.maxiter)
    available = torch.get_num_threads()
    torch.set_num_threads(threads)
    theirs, seconds = baseline(model, source, target, C, given.maxiter)
    torch.set_num_threads(available)

    pairs = Pairs(model, source, target, [None])
    figures = ours.results()["attacks"]
    attacking = sum(figures[attack]["seconds"] for attack in ATTACKS)
    rate = matmul_rate()
    record = {
        "speedup": seconds / ours.seconds,
        "auddc_ours": {a: figures[a]["auddc"]["envelope"]["mean"] for a in ATTACKS},
        "auddc_baseline": {a: scored(pairs, theirs[a], a, "envelope") for a in ATTACKS},
        "auddc_reference_ours": {a: figures[a]["auddc"]["reference"]["mean"] for a in ATTACKS},
        "auddc_reference_baseline": {a: scored(pairs, theirs[a], a, "reference") for a in ATTACKS},
        "matmul_share": matmul_flops(model, source, target, C, given.steps) / attacking / rate,
        "matmul_gflops": rate / 1e9,
        "seconds_ours": ours.seconds,
        "seconds_baseline": seconds,
        "baseline": {"maxiter": given.maxiter, "m": MEMORY, "factr": FACTR, "threads": threads},
        "data": name,
        **settings,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
