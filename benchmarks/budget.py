"""Damage within Linf budgets: doubleback beside the same PGD in thirty lines of plain PyTorch, in one run.

    python -m benchmarks.budget [--quick]

A dense VAE (28x28), 100 images, and a convolutional one (64x64, colour), 20 images; 3 eps, 100 steps, two starts each.
What is compared is throughput, gradients of images a second of the processor's time, which others on the machine change
little; the damage of both stands beside it. Ratios over 1: doubleback is faster. They take turns, five times each; the
middle ratio counts.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import doubleback
from benchmarks.recording import record
from doubleback.evaluation import reconstruct
from doubleback.metrics.images import l2

EPS = (2 / 255, 4 / 255, 8 / 255)


def plain_pgd(model: Any, x: Tensor, eps: tuple[float, ...], steps: int, starts: int) -> Tensor:
    """What anyone would write: signed gradient steps from random points, each image's best; (E, N, ...)."""
    found = []
    with torch.no_grad():
        before = model(x).likelihood.mean
    for radius in eps:
        best, best_x = torch.full((len(x),), -1.0), x.clone()
        for start in range(starts):
            noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(start))
            z = (x + radius * (2 * noise - 1)).clamp(0, 1)
            for _ in range(steps):
                z.requires_grad_()
                moved = (model(z).likelihood.mean - before).flatten(1).square().sum(1)
                (g,) = torch.autograd.grad(moved.sum(), z)
                better = moved.detach() > best
                best = torch.where(better, moved.detach(), best)
                best_x[better] = z.detach()[better]
                z = z.detach() + 2.5 * radius / steps * g.sign()
                z = torch.minimum(torch.maximum(z, x - radius), x + radius).clamp(0, 1)
        found.append(best_x)
    return torch.stack(found)


def seconds(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    started = time.process_time()
    made = work()
    return time.process_time() - started, made


def compared(model: Any, x: Tensor, steps: int, times: int) -> dict[str, Any]:
    """The ratio of throughputs, and the damage of both at each eps."""
    work = 2 * steps * len(EPS) * len(x)

    def ours() -> Tensor:
        return doubleback.damage(model, x, eps=EPS, steps=steps, restarts=0).x_adv

    def theirs() -> Tensor:
        return plain_pgd(model, x, EPS, steps, 2)

    ratios, mine, other = [], x, x
    for _ in range(times):
        other_seconds, other = seconds(theirs)
        my_seconds, mine = seconds(ours)
        ratios.append(other_seconds / my_seconds)
    before = reconstruct(model, x)
    damage = {name: [l2(reconstruct(model, z), before).mean().item() for z in made]
              for name, made in (("doubleback", mine), ("plain", other))}  # fmt: skip
    return {
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "gradients_a_second": work / my_seconds,
        "damage": damage,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 images, 20 steps")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    count, steps = (20, 20) if quick else (100, 100)
    rows = {}
    for name, shape in (("VAE 28x28", (1, 28, 28)), ("ConvVAE 64x64", (3, 64, 64))):
        model = (doubleback.VAE if shape[0] == 1 else doubleback.ConvVAE)(shape).eval()
        images = count if shape[0] == 1 else max(4, count // 5)
        x = torch.rand(images, *shape, generator=torch.Generator().manual_seed(0))
        rows[name] = compared(model, x, steps, 5)
        print(name, rows[name], flush=True)
    record("budget", {"data": "random", "rows": rows}, quick=quick)


if __name__ == "__main__":
    main()
